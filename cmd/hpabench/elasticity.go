package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
	"github.com/hpabench/hpabench/scenarios"
)

func (a *app) elasticityCommand() *cobra.Command {
	var demand, supply, baseline, format string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "elasticity --demand FILE --supply FILE",
		Short: "Compare any demand and supply of replicas",
		Long: `Compare how many replicas were needed with how many there were, by the metrics of
SPEC RG Cloud (Herbst et al. 2013 and 2016, BUNGEE 2015), so that figures from
elsewhere can be compared.

Each file is CSV with the header seconds,replicas: from that second on there were
so many, until the next row. A time can also be 1m30s, 00:01:30, 2026-01-31T15:04:05Z,
or seconds or milliseconds since 1970. The last row holds until the longer file ends.

  accuracy     replicas that lacked (under) or were too many (over), on average
  normalized   the same as a part of the demand
  timeshare    part of the time in which some lacked or were too many
  jitter       changes of the supply beyond those of the demand, a minute
  speed-up     over a baseline: the geometric mean of the ratios of the four
               normalized accuracies and timeshares; none where one of them is 0`,
		Example: `  hpabench elasticity --demand demand.csv --supply supply.csv
  hpabench elasticity --demand demand.csv --supply new.csv --baseline old.csv -o json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			w := a.work(quiet)
			defer w.done()
			return a.elasticity(demand, supply, baseline, format, w)
		},
	}
	cmd.Flags().StringVar(&demand, "demand", "", "`file` with the replicas that were needed")
	cmd.Flags().StringVar(&supply, "supply", "", "`file` with the replicas that there were")
	cmd.Flags().StringVar(&baseline, "baseline", "", "`file` with another supply, to compare with")
	addOutput(cmd, &format, "table", "json", "table")
	addQuiet(cmd, &quiet)
	_ = cmd.MarkFlagRequired("demand")
	_ = cmd.MarkFlagRequired("supply")
	return cmd
}

func (a *app) elasticity(demandFile, supplyFile, baselineFile, format string, w *work) error {
	w.does("reading " + demandFile)
	demand, err := readLevels(demandFile)
	if err != nil {
		return runner.BadInput{Err: err}
	}
	measure := func(file string) (analysis.Elasticity, error) {
		w.does("reading " + file)
		supply, err := readLevels(file)
		if err != nil {
			return analysis.Elasticity{}, runner.BadInput{Err: err}
		}
		e, err := analysis.MeasureElasticity(demand, supply)
		if err != nil {
			return e, runner.BadInput{Err: fmt.Errorf("%s and %s: %w", demandFile, file, err)}
		}
		return e, nil
	}
	e, err := measure(supplyFile)
	if err != nil {
		return err
	}
	var speedUp *float64
	if baselineFile != "" {
		other, err := measure(baselineFile)
		if err != nil {
			return err
		}
		speedUp = e.SpeedUp(other)
	}
	w.done()
	if format == "json" {
		return reports.ElasticityJSON(a.stdout, e, speedUp)
	}
	return reports.ElasticityTable(a.stdout, e, baselineFile, speedUp, width(a.stdout))
}

// replicasColumn is the second one of a file of levels; no cluster has more than 150,000 pods
// (https://kubernetes.io/docs/setup/best-practices/cluster-large/).
var replicasColumn = scenarios.Column{Names: []string{"replicas", "pods"}, Most: 1_000_000}

// readLevels reads a step function of replicas.
func readLevels(file string) ([]analysis.Level, error) {
	source, err := scenarios.ReadFile(file, scenarios.MaxFile)
	if err != nil {
		return nil, err
	}
	return parseLevels(file, source)
}

func parseLevels(file string, source []byte) ([]analysis.Level, error) {
	steps, err := scenarios.ReadSteps(file, source, replicasColumn)
	if err != nil {
		return nil, err
	}
	levels := make([]analysis.Level, len(steps))
	for i, s := range steps {
		levels[i] = analysis.Level{At: s.At, Replicas: s.Value}
	}
	return levels, nil
}
