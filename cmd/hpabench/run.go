package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/runner"
)

// recordFile is the name of the record in a run's folder.
const recordFile = "record.jsonl"

type runFlags struct {
	cluster      clusterFlags
	output       outputFlag
	out          string
	keep, quiet  bool
	metricsEvery time.Duration
	timeout      time.Duration
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run SCENARIO",
		Short: "Run a scenario on a cluster and report how it scaled",
		Long: `Run a scenario on a cluster and report how it scaled.

SCENARIO is a file, or the name of one of the library (hpabench scenarios).
The run looks whether it can work before it creates anything, makes a namespace
of its own, sends the load, and removes all that it created. Ctrl-C ends it in
order: what was measured is reported, what was created is removed.

The folder given by --out gets the record, from which hpabench report makes
every report again, and the reports: report.md, result.json, summary.csv,
timeline.csv, pods.csv and events.csv.

` + exitCodes,
		Example: `  hpabench run --context kind-kind scenarios/demo-nginx.yaml
  hpabench run --kubeconfig ~/.kube/config slow-start --out before -o markdown`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return libraryNames(), cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.runScenario(cmd.Context(), args[0], &f) },
	}
	f.cluster.add(cmd, "existing `namespace` to create the objects in (default: one of the run's own)")
	f.output.add(cmd)
	cmd.Flags().StringVar(&f.out, "out", "", "`folder` for the record and the reports (default hpabench-SCENARIO-ID)")
	cmd.Flags().BoolVar(&f.keep, "keep", false, "leave what the run created")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "show no progress")
	cmd.Flags().DurationVar(&f.metricsEvery, "metrics-every", time.Second, "how often the pods' metrics are read: the precision of their figures")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long the pods may take to get ready, and then the HPA to its first metric")
	return cmd
}

func (a *app) runScenario(ctx context.Context, name string, f *runFlags) error {
	file, err := readScenario(name)
	if err != nil {
		return err
	}
	if file.Embedded && filepath.Ext(name) != "" {
		fmt.Fprintf(a.stderr, "there is no file %s here: taking the library's %s\n", name, file.Metadata.Name)
	}
	cluster, err := f.cluster.connect()
	if err != nil {
		return err
	}
	id := runner.NewID()
	show := newDisplay(a.stderr, f.quiet)
	defer show.close()
	r, err := runner.New(cluster, file, runner.Options{ID: id, Namespace: f.cluster.namespace, Keep: f.keep,
		MetricsEvery: f.metricsEvery, Timeout: f.timeout, Version: version()}, show.progress)
	if err != nil {
		return err
	}
	if err := r.Preflight(ctx); err != nil {
		return err
	}

	dir := f.out
	if dir == "" {
		dir = fmt.Sprintf("hpabench-%s-%s", file.Metadata.Name, id)
	}
	journal, err := createRecord(dir)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.left = r.Left
	a.mu.Unlock()
	rec := record.NewRecorder(record.StartClock(), journal)
	runErr := r.Run(ctx, rec)
	show.close()
	a.sayLeft(r.Left())
	if runErr != nil && !began(rec.Run()) {
		fmt.Fprintf(a.stderr, "no load was sent, so there is nothing to report; what was seen is in %s\n", journal.Name())
		return errors.Join(runErr, rec.Close())
	}
	err = a.report(rec.Run(), dir, f.output)
	fmt.Fprintf(a.stderr, "the record and the reports are in %s\n", dir)
	return errors.Join(runErr, rec.Close(), err)
}

// began says whether any load phase began.
func began(run record.Run) bool {
	return slices.ContainsFunc(run.Entries, func(e record.Entry) bool { return e.Phase != nil })
}

// createRecord opens the record in dir, and refuses to write over one.
func createRecord(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, runner.BadInput{Err: fmt.Errorf("creating the folder for the record: %w", err)}
	}
	file := filepath.Join(dir, recordFile)
	journal, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, os.ErrExist) {
		return nil, runner.BadInput{Err: fmt.Errorf("%s exists already: name another folder with --out", file)}
	}
	if err != nil {
		return nil, runner.BadInput{Err: fmt.Errorf("creating the record: %w", err)}
	}
	return journal, nil
}
