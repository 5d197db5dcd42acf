package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/runner"
)

func (a *app) elasticityCommand() *cobra.Command {
	var demand, supply, baseline, format string
	cmd := &cobra.Command{
		Use:   "elasticity --demand FILE --supply FILE",
		Short: "Compare any demand and supply of replicas",
		Long: `Compare how many replicas were needed with how many there were, by the metrics of
SPEC RG Cloud (Herbst et al. 2013 and 2016, BUNGEE 2015), so that figures from
elsewhere can be compared.

Each file is CSV with the header seconds,replicas: from that second on there were
so many, until the next row. The last row holds until the longer file ends.

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
			if format != "table" && format != "json" {
				return runner.BadInput{Err: fmt.Errorf("-o %s: must be one of json, table", format)}
			}
			return a.elasticity(demand, supply, baseline, format)
		},
	}
	cmd.Flags().StringVar(&demand, "demand", "", "`file` with the replicas that were needed")
	cmd.Flags().StringVar(&supply, "supply", "", "`file` with the replicas that there were")
	cmd.Flags().StringVar(&baseline, "baseline", "", "`file` with another supply, to compare with")
	cmd.Flags().StringVarP(&format, "output", "o", "table", "what to print: json, table")
	_ = cmd.MarkFlagRequired("demand")
	_ = cmd.MarkFlagRequired("supply")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "table"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) elasticity(demandFile, supplyFile, baselineFile, format string) error {
	demand, err := readLevels(demandFile)
	if err != nil {
		return runner.BadInput{Err: err}
	}
	measure := func(file string) (analysis.Elasticity, error) {
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
	if format == "json" {
		encoder := json.NewEncoder(a.stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(struct {
			analysis.Elasticity
			SpeedUp *float64 `json:"speedUp,omitempty"`
		}{e, speedUp})
	}
	fmt.Fprintf(a.stdout, "              under     over\naccuracy   %8.3f %8.3f  replicas\nnormalized %8.3f %8.3f  of the demand\ntimeshare  %8.3f %8.3f  of %g s\njitter     %8.3f           changes a minute\nused       %8.0f           replica-seconds, %.0f of them not needed\n",
		e.AccuracyUnder, e.AccuracyOver, e.NormalizedUnder, e.NormalizedOver, e.TimeshareUnder, e.TimeshareOver, e.Seconds, e.Jitter, e.ReplicaSeconds, e.Wasted)
	switch {
	case speedUp != nil:
		fmt.Fprintf(a.stdout, "speed-up   %8.3f           over %s\n", *speedUp, baselineFile)
	case baselineFile != "":
		fmt.Fprintf(a.stdout, "speed-up          –           over %s: a figure is 0, for which there is no ratio\n", baselineFile)
	}
	return nil
}

// readLevels reads a step function of replicas.
func readLevels(file string) ([]analysis.Level, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(rows) < 2 || strings.Join(rows[0], ",") != "seconds,replicas" {
		return nil, fmt.Errorf("%s:1: it needs the header seconds,replicas and a row at least", file)
	}
	var levels []analysis.Level
	for i, row := range rows[1:] {
		at, err := strconv.ParseFloat(strings.TrimSpace(row[0]), 64)
		n, err2 := strconv.ParseFloat(strings.TrimSpace(row[1]), 64)
		switch {
		case errors.Join(err, err2) != nil || math.IsNaN(at+n) || math.IsInf(at+n, 0) || n < 0:
			return nil, fmt.Errorf("%s:%d: %q is no time in seconds and number of replicas", file, i+2, strings.Join(row, ","))
		case i > 0 && at <= levels[i-1].At:
			return nil, fmt.Errorf("%s:%d: second %g comes after second %g", file, i+2, at, levels[i-1].At)
		}
		levels = append(levels, analysis.Level{At: at, Replicas: n})
	}
	return levels, nil
}
