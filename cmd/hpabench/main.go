// Command hpabench measures how Kubernetes workloads autoscale. See README.md,
// or hpabench --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	_ "golang.org/x/crypto/x509roots/fallback" // the image has no certificates of its own
	"k8s.io/klog/v2"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
)

// Exit codes, as the help text has them.
const (
	exitDone     = 0
	exitMissed   = 1
	exitBadInput = 2
	exitFailed   = 3
)

// gcPercent makes the garbage collector run less often than by default: it takes a
// tenth of the CPU when requests are sent as fast as can be, and the heap is small.
const gcPercent = 400

const exitCodes = `Exit codes:
  0  done
  1  an expectation of the scenario was missed, doctor found a fault, compare
     --fail-on-regression a regression, or tune or calibrate nothing to recommend
  2  bad input: the scenario, the command line or what they name is at fault, such as a kind that
     the cluster does not know or a metric that no adapter serves
  3  the cluster or the measurement failed, the run was interrupted, or somebody
     changed what it measured`

// errMissed says that the run was measured and an expectation was not met.
var errMissed = errors.New("expectation missed")

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	simulate.Child()
	klog.SetLogger(klog.Logger{}) // client-go's own log is not for this terminal
	log.SetOutput(io.Discard)     // nor is net/http's
	ctx, cancel := context.WithCancelCause(context.Background())
	a := &app{stdout: &reports.Terminal{Writer: os.Stdout}, stderr: &reports.Terminal{Writer: os.Stderr}}
	a.obey(cancel)
	os.Exit(a.run(ctx, os.Args[1:]))
}

// app is what the commands share: where they read and write.
type app struct {
	stdout, stderr io.Writer

	mu          sync.Mutex
	left        []func() []string // what runs that go on would leave behind
	onInterrupt string            // what Ctrl-C means to the command, if that is not to break off
	cutOff      bool              // it was interrupted with nothing to end in order
	ordered     int               // how many things have to be ended in order, see orderly
	unmade      map[string]bool   // files that are not there whole yet
}

// abandon ends at once, and says what is left of runs.
func (a *app) abandon() {
	a.mu.Lock()
	var left []string
	for _, of := range a.left {
		left = append(left, of()...)
	}
	a.sayLeft(left)
	a.mu.Unlock()
	a.end("ended")
}

// sayLeft names what is left in the cluster and how to get rid of it.
func (a *app) sayLeft(left []string) {
	if len(left) == 0 {
		return
	}
	fmt.Fprintf(a.stderr, "hpabench: left in the cluster: %s\nhpabench clean removes it (with the --context or --kubeconfig of the run, and -n NAMESPACE for what is in a namespace that the run did not make)\n", strings.Join(left, ", "))
}

// run executes one command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	parsed := false
	root := a.root()
	root.PersistentPreRun = func(*cobra.Command, []string) { parsed = true }
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	if a.isCutOff() {
		err = runner.ErrInterrupted // and not what each client made of it, or an end by itself just then
	}
	if shown, is := a.stdout.(*reports.Terminal); is {
		if err == nil {
			err, parsed = shown.Err(), true // --help is not parsed
		}
		if errors.Is(shown.Err(), syscall.EPIPE) {
			err = without(err, syscall.EPIPE) // its reader, such as head, has read enough
		}
	}
	var faults scenarios.Faults
	var fault scenarios.Fault
	var badInput runner.BadInput
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &faults), errors.As(err, &fault):
		fmt.Fprintln(a.stderr, err) // file:line: comes first, for editors
		return exitBadInput
	}
	fmt.Fprintln(a.stderr, "hpabench:", strings.ReplaceAll(record.Cut(usage(err)), "\n", "\nhpabench: "))
	switch {
	case !parsed || errors.As(err, &badInput):
		return exitBadInput
	case onlyMissed(err), errors.Is(err, errIll):
		return exitMissed
	}
	return exitFailed
}

// without drops from joined errors those that are part.
func without(err, part error) error {
	joined, is := err.(interface{ Unwrap() []error })
	switch {
	case !errors.Is(err, part):
		return err
	case !is:
		return nil
	}
	var rest error
	for _, e := range joined.Unwrap() {
		rest = errors.Join(rest, without(e, part))
	}
	return rest
}

// onlyMissed says whether nothing went wrong but what is exit code 1.
func onlyMissed(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return !slices.ContainsFunc(joined.Unwrap(), func(e error) bool { return !onlyMissed(e) })
	}
	return slices.ContainsFunc([]error{errMissed, errNoAdvice, errRegression}, func(e error) bool { return errors.Is(err, e) })
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "hpabench",
		Short: "Measure how Kubernetes workloads autoscale",
		Long: `hpabench measures how a Kubernetes workload autoscales: it creates the workload
and its HPA from a scenario, sends load, watches what the cluster does, and
reports how long scaling took and which part of it was slow.

` + exitCodes,
		Example: `  hpabench scenarios
  hpabench run scenarios/demo-nginx.yaml
  hpabench run --context kind-kind scenarios/demo-nginx.yaml
  hpabench report hpabench-demo-nginx-x7k2p -o markdown
  hpabench watch --context prod -n shop hpa/web
  hpabench doctor --context prod -n shop hpa/web`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(a.runCommand(), a.attackCommand(), a.calibrateCommand(), a.elasticityCommand(), a.compareCommand(), a.validateCommand(), a.schemaCommand(), a.explainCommand(), a.scenariosCommand(), a.reportCommand(), a.simulateCommand(), a.fitCommand(), a.tuneCommand(), a.watchCommand(), a.doctorCommand(), a.rbacCommand(), a.cleanCommand(), a.labCommand(), a.versionCommand())
	root.SetFlagErrorFunc(flagError)
	countArguments(root)
	return root
}
