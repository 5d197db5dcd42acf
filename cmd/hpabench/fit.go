package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/fit"
	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
	"github.com/hpabench/hpabench/simulate"
)

func (a *app) fitCommand() *cobra.Command {
	var format string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "fit RECORD…",
		Short: "Learn from a real run how its workload, cluster and metrics behave",
		Long: `Learn from a real run how its workload, its cluster and its metrics pipeline behave:
what a request costs, how long pods take to start, how old the metrics are that the
HPA sees. RECORD is a folder that run made, that of several trials, or the record.jsonl in
it; of several runs it is what they say together.

The result is a plant, for hpabench simulate --like and hpabench tune --like: a file
in YAML that can be changed by hand, to ask what if pods started faster. For each
parameter it has the measured value and the bounds between which nine of ten such
measurements would fall, or says why it could not be measured; docs/simulate.md
explains each. The record is then simulated on the plant, and what comes out of that
set against what was recorded: that takes some seconds.

` + exitCodes,
		Example: `  hpabench fit hpabench-demo-nginx-x7k2p -o table
  hpabench fit hpabench-demo-nginx-x7k2p > plant.yaml
  hpabench simulate demo-nginx --like plant.yaml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			w := a.work(quiet)
			defer w.done()
			f, err := fit.OpenWith(w.open, reproduce(cmd.Context(), w), args...)
			w.done()
			if err != nil {
				return runner.BadInput{Err: err}
			}
			if why := f.Reproduction.Fault(); why != "" {
				fmt.Fprintf(a.stderr, "warning: %s: %s; hpabench tune does not take it\n", strings.Join(args, ", "), why)
			}
			if format == "table" {
				return reports.FitTable(a.stdout, f, width(a.stdout))
			}
			return f.Write(a.stdout)
		},
	}
	addOutput(cmd, &format, "yaml", "table", "yaml")
	addQuiet(cmd, &quiet)
	return cmd
}

// reproduce has the fit of a record say how close simulations of it come to that.
func reproduce(ctx context.Context, w *work) func(file string, f *fit.Fit) error {
	return func(file string, f *fit.Fit) error {
		w.does("simulating " + file + " on the plant fitted to it")
		pool, err := simulate.Start(1)
		if err != nil {
			return err
		}
		defer pool.Close()
		return f.Reproduce(ctx, pool.Score)
	}
}
