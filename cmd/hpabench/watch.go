package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/runner"
)

type watchFlags struct {
	cluster clusterFlags
	output  outputFlag
	out     string
	quiet   bool
	options runner.ObserveOptions
}

func (a *app) watchCommand() *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:   "watch TYPE/NAME",
		Short: "Watch an autoscaler that exists and report how it scaled",
		Long: `Watch an autoscaler that exists, whatever load others send, until Ctrl-C or for as
long as --for says, and report how it scaled: the same record and reports that
hpabench run makes. Nothing is created or changed and no load is sent.

TYPE/NAME is an HPA (hpa/web, or just web) or the object that it scales
(deployment/web). As no load is known, what is measured begins when the pods'
metrics leave the HPA's target.

` + existingHelp + `
The folder given by --out gets the record, from which hpabench report makes every
report again, and the reports.

Exit codes:
  0  done, with Ctrl-C too
  2  bad input: the command line or what it names is at fault
  3  the cluster or the measurement failed, or what was watched was deleted`,
		Example: `  hpabench watch --context prod -n shop hpa/web
  hpabench watch --context prod -n shop deployment/web --for 30m --out peak
  hpabench watch web --for 10m -o markdown > report.md`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: f.cluster.completeAutoscalers,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.watch(cmd.Context(), args[0], &f) },
	}
	f.cluster.add(cmd, "`namespace` of the autoscaler (default: that of the context); without --context, of the kubeconfig's current context")
	f.output.add(cmd)
	cmd.Flags().DurationVar(&f.options.For, "for", 0, "how long, up to 744h (default: until Ctrl-C, and that long at most)")
	cmd.Flags().StringVar(&f.out, "out", "", "`folder` for the record and the reports (default hpabench-NAME-ID)")
	addQuiet(cmd, &f.quiet)
	addPositive(cmd, &f.options.MetricsEvery, "metrics-every", time.Second, "how often the pods' metrics are read, and each custom or external one of the HPA: the precision of their figures")
	return cmd
}

const existingHelp = `Name the cluster. Without --context, --kubeconfig and -n it is the embedded one
that hpabench lab up keeps; -n alone means the kubeconfig's current context.
`

func (a *app) watch(ctx context.Context, ref string, f *watchFlags) error {
	show := newDisplay(a.stderr, f.quiet)
	defer show.close()
	cluster, err := f.cluster.existing(ctx, func(line string) { show.progress(runner.Progress{Message: line}) })
	if err != nil {
		return err
	}
	o := f.options
	o.ID, o.Namespace, o.Version = runner.NewID(), f.cluster.namespace, version()
	observer, err := runner.NewObserver(cluster, ref, o, show.progress)
	if err != nil {
		return err
	}
	over := show.slow("asking the cluster")
	err = observer.Preflight(ctx)
	over()
	if err != nil {
		return err
	}
	dir := cmp.Or(f.out, fmt.Sprintf("hpabench-%s-%s", observer.Autoscaler(), o.ID))
	journal, err := createRecord(dir, func(line string) { show.progress(runner.Progress{Message: line}) })
	if err != nil {
		return err
	}
	if o.For == 0 {
		show.progress(runner.Progress{Message: "watching until Ctrl-C"})
	}
	a.sayOnInterrupt("ending, and then the report; once more ends at once")
	over = a.orderly()
	defer over()
	rec, run := recorder(journal)
	runErr := observer.Run(ctx, rec)
	show.close()
	over()
	if runErr != nil && !run.Began() {
		fmt.Fprintf(a.stderr, "nothing was observed, so there is nothing to report; what was seen is in %s\n", filepath.Join(journal.folder(), record.File))
		return errors.Join(runErr, rec.Close())
	}
	runErr = errors.Join(runErr, rec.Close())
	result, err := a.report(run, journal.folder(), f.output, a.work(f.quiet))
	fmt.Fprintln(a.stderr, whereabouts(journal.folder()))
	return errors.Join(runErr, spoiled(result, runErr), err)
}

// completionTimeout bounds how long a completion waits for the cluster.
const completionTimeout = 2 * time.Second

// completeAutoscalers offers the HPAs of the namespace, and nothing if the cluster
// does not answer.
func (f *clusterFlags) completeAutoscalers(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	cluster, err := f.existing(ctx, func(string) {})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, _ := cluster.Autoscalers(ctx, f.namespace)
	return names, cobra.ShellCompDirectiveNoFileComp
}
