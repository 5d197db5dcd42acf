package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/loadgen"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/runner"
)

type attackFlags struct {
	output   outputFlag
	url, out string
	quiet    bool
	worker   bool
}

func (a *app) attackCommand() *cobra.Command {
	var f attackFlags
	cmd := &cobra.Command{
		Use:   "attack SCENARIO",
		Short: "Send the load of a scenario, and nothing else",
		Long: `Send the load of a scenario to a URL and report what became of it. No cluster is
looked at, nothing is created, and the scenario's expectations are not judged: this
shows what the load generator of hpabench run does, and what a machine can send.

The same command is a worker of via: job, with --worker: it then takes its orders
from its standard input and writes what it counts to its standard output. Nobody
needs to type that.

` + exitCodes,
		Example: `  hpabench attack --url http://127.0.0.1:8080 spike
  hpabench attack my-scenario.yaml --out sent -o json`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case f.worker && len(args) > 0:
				return errors.New("--worker gets its load from its orders, and takes no scenario")
			case !f.worker && len(args) != 1:
				return errors.New("name a scenario: a file, or one of the library (hpabench scenarios)")
			}
			return nil
		},
		ValidArgsFunction: completeScenarios,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.worker {
				defer a.orderly()()
				return a.worker(cmd.Context())
			}
			return a.attack(cmd.Context(), args[0], &f)
		},
	}
	f.output.add(cmd)
	cmd.Flags().StringVar(&f.url, "url", "", "where the load goes (default: load.url of the scenario)")
	cmd.Flags().StringVar(&f.out, "out", "", "`folder` for the record and the reports (default hpabench-SCENARIO-ID)")
	addQuiet(cmd, &f.quiet)
	cmd.Flags().BoolVar(&f.worker, "worker", false, "be a worker of via: job")
	return cmd
}

// terminationLog is where the kubelet reads a container's termination message.
const terminationLog = "/dev/termination-log"

func (a *app) worker(ctx context.Context) error {
	summary, err := os.OpenFile(terminationLog, os.O_WRONLY, 0)
	if err != nil { // not in a pod
		return loadgen.Work(ctx, os.Stdin, a.stdout, version())
	}
	defer summary.Close()
	return loadgen.WorkIn(ctx, os.Stdin, a.stdout, version(), summary)
}

func (a *app) attack(ctx context.Context, name string, f *attackFlags) error {
	file, err := readScenario(name)
	if err != nil {
		return err
	}
	if err := runner.CheckAttack(file, f.url); err != nil {
		return err
	}
	show := newDisplay(a.stderr, f.quiet)
	defer show.close()
	id := runner.NewID()
	dir := cmp.Or(f.out, fmt.Sprintf("hpabench-%s-%s", file.Metadata.Name, id))
	_, err = os.Stat(dir)
	own := errors.Is(err, os.ErrNotExist)
	journal, err := createRecord(dir, func(line string) { show.progress(runner.Progress{Message: line}) })
	if err != nil {
		return err
	}
	over := a.orderly()
	defer over()
	rec, run := recorder(journal)
	runErr := runner.Attack(ctx, file, f.url, runner.Options{ID: id, Version: version()}, rec, show.progress)
	show.close()
	over()
	if runErr != nil && !run.Began() {
		err := errors.Join(runErr, rec.Close(), os.Remove(filepath.Join(journal.folder(), record.File)))
		if own {
			_ = os.Remove(journal.folder()) // unless somebody put something there
		}
		return err
	}
	runErr = errors.Join(runErr, rec.Close())
	_, err = a.report(run, journal.folder(), f.output, a.work(f.quiet))
	fmt.Fprintln(a.stderr, whereabouts(journal.folder()))
	return errors.Join(runErr, err)
}
