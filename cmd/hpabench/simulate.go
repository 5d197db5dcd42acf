package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/runner"
	"github.com/hpabench/hpabench/simulate"
)

type simulateFlags struct {
	output outputFlag
	out    string
	repeat int
	set    []string
	seed   uint64
}

func (a *app) simulateCommand() *cobra.Command {
	var f simulateFlags
	cmd := &cobra.Command{
		Use:   "simulate SCENARIO",
		Short: "Tell in a moment how a scenario would scale, without a cluster",
		Args:  cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return libraryNames(), cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.simulate(cmd.Context(), args[0], &f) },
	}
	f.output.add(cmd)
	cmd.Flags().StringVar(&f.out, "out", "", "`folder` for the record and the reports (default: none are written)")
	cmd.Flags().IntVar(&f.repeat, "repeat", 0, "make so many `runs`, each with other chance and from another point of the HPA's period (default: the scenario's repeat, else 1)")
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "`name=value,...`: make a run of each value, and of each combination with those of other names (see matrix in hpabench schema); can be repeated")
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "`number` that all chance comes from: with the same one, the same record to the byte")
	return cmd
}

func (a *app) simulate(ctx context.Context, name string, f *simulateFlags) error {
	if f.repeat < 0 {
		return runner.BadInput{Err: errors.New("--repeat must be 1 at least")}
	}
	file, err := readScenario(name)
	if err != nil {
		return err
	}
	settings, variants, said, err := variantsOf(file, f.set)
	if err != nil {
		return err
	}
	if said != "" {
		fmt.Fprintln(a.stderr, said)
	}
	if f.repeat == 0 {
		f.repeat = max(1, file.Spec.Repeat)
	}
	if err := f.output.ofSeveral(); err != nil && (f.repeat > 1 || len(variants) > 1) {
		return err
	}
	pool, err := simulate.Start(1)
	if err != nil {
		return err
	}
	defer pool.Close()
	all := make([]combination, len(variants))
	for i, v := range variants {
		all[i] = combinationOf(v, settings)
		r, err := simulate.FromScenario(v.File)
		if err != nil {
			return err
		}
		r.Header = v.File.Header()
		r.Header.Version, r.Header.MetricsEvery = version(), 1
		for n := range f.repeat {
			r.Wait, r.Seed = offset(n, r.Plant.Control.Sync.Duration), f.seed+uint64(n)
			r.Header.Run = fmt.Sprint("seed-", r.Seed)
			entries, _, err := pool.Do(ctx, r)
			if err != nil {
				return err
			}
			run, dir := record.Run{Entries: entries}, ""
			if f.out != "" {
				dir = all[i].folderOf(f.out, n, f.repeat)
				if err := writeRecord(dir, entries); err != nil {
					return err
				}
			}
			if f.repeat == 1 && len(variants) == 1 {
				return a.report(run, dir, f.output)
			}
			result, err := judge(run, dir, f.output)
			if err != nil {
				return err
			}
			all[i].Results, all[i].Sources = append(all[i].Results, result), append(all[i].Sources, r.Header.Source)
		}
	}
	return a.showSeveral(trial{runFlags: &runFlags{output: f.output}, file: file, dir: f.out}, settings, all)
}

// writeRecord writes a record to a new file in dir.
func writeRecord(dir string, entries []record.Entry) error {
	journal, err := createRecord(dir)
	if err != nil {
		return err
	}
	rec := record.NewRecorder(record.Clock{}, journal)
	for _, e := range entries {
		rec.AddAt(e.At, e)
	}
	return rec.Close()
}
