package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/fit"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/runner"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
	"github.com/hpabench/hpabench/tune"
)

type simulateFlags struct {
	output outputFlag
	out    string
	repeat int
	set    []string
	seed   uint64
	like   []string
	quiet  bool
}

func (a *app) simulateCommand() *cobra.Command {
	var f simulateFlags
	cmd := &cobra.Command{
		Use:   "simulate SCENARIO|RECORD",
		Short: "Tell in a moment how a scenario would scale, without a cluster",
		Long: `Tell how a scenario would scale, without a cluster: the HPA controller of Kubernetes
itself runs in virtual time, on a model of the pods, the nodes and the metrics. The
record that comes of it is as a real run's, marked as simulated, and so are its reports
and expectations.

SCENARIO is a file, or the name of one of the library (hpabench scenarios). In place of
it the RECORD of a real run, or its folder, can be given: then the run is made again, on
a model that is fitted to it, and with other settings of the HPA by --set, whose names
are those of hpabench tune. Of a load that hpabench watch only saw it takes as many
requests as use the CPU that was used.

Without --like nothing is known of the workload and the cluster but what the scenario
says; docs/simulate.md says what is taken then. With it they are as they were in a real
run, or as a file says that hpabench fit wrote.

Where the load begins in the HPA's sync period is chance on a cluster, and moves its
latencies by up to that period. The first run of a record begins where that did; --repeat 15
begins at different points of the period and gives the range. No file is written without --out.

` + exitCodes,
		Example: `  hpabench simulate spike
  hpabench simulate --repeat 15 --set target=40,60,80 spike
  hpabench simulate scenarios/spike.yaml --like hpabench-spike-x7k2p --out what-if
  hpabench simulate hpabench-spike-x7k2p
  hpabench simulate hpabench-shop-x7k2p --set target=50,70 --set scaleDown.stabilization=60s`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeScenarios,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.simulate(cmd.Context(), args[0], &f) },
	}
	f.output.add(cmd)
	cmd.Flags().StringVar(&f.out, "out", "", "`folder` for the record and the reports (default: none are written)")
	addRepeat(cmd, &f.repeat, "make so many `runs`, each with other chance and from another point of the HPA's period (default: the scenario's repeat, else 1)")
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "`name=value,...`: make a run of each value, and of each combination with those of other names (see matrix in hpabench schema); sync=5s sets the HPA controller's sync period, scrape=5s Prometheus' interval; can be repeated")
	cmd.Flags().StringArrayVar(&f.like, "like", nil, "`record` of a real run, its folder, that of several trials, or a file of hpabench fit: simulate its pods, its cluster and its metrics; of several, what they say together")
	addQuiet(cmd, &f.quiet)
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "seed of the random `number`s: the same seed gives the same record, byte for byte")
	return cmd
}

func (a *app) simulate(ctx context.Context, name string, f *simulateFlags) error {
	if err := checkOut(f.out); err != nil {
		return err
	}
	w := a.work(f.quiet)
	defer w.done()
	plant, err := a.likeOf(f.like, w, nil)
	if err != nil {
		return err
	}
	var cases []combination
	var runs []*simulate.Run
	vary := func(r *simulate.Run, values string, set []string) error {
		all, err := tune.Variants(r, set)
		if err != nil {
			return runner.BadInput{Err: fmt.Errorf("--set: %w", err)}
		}
		for _, v := range all {
			of := newCombination(strings.TrimSpace(values+" "+v.Name), r.Header.Scenario)
			if err := v.Run.CheckRoom(); err != nil {
				return runner.BadInput{Err: fmt.Errorf("%s: %w", strings.TrimSpace(name+" "+of.name), err)}
			}
			cases, runs = append(cases, of), append(runs, v.Run)
		}
		return nil
	}
	several := len(f.set) > 0
	if isRecord(name) {
		r, err := recorded(name, plant, w, nil)
		if err != nil {
			return err
		}
		if err := vary(r, "", f.set); err != nil {
			return err
		}
	} else {
		file, err := readScenario(name)
		if err != nil {
			return err
		}
		a.notes(file.Notes)
		isOfPlant := func(s string) bool { return strings.HasPrefix(s, "sync=") || strings.HasPrefix(s, "scrape=") } // and no field of a scenario
		settings, variants, said, err := variantsOf(file, slices.DeleteFunc(slices.Clone(f.set), isOfPlant))
		if err != nil {
			return err
		}
		if said != "" {
			fmt.Fprintln(a.stderr, said)
		}
		several, f.repeat = several || len(settings) > 0, cmp.Or(f.repeat, file.Spec.Repeat)
		for _, v := range variants {
			r, err := simulated(v.File, plant)
			if err != nil {
				return err
			}
			r.Header = v.File.Header()
			if err := vary(r, v.Name(settings), slices.DeleteFunc(slices.Clone(f.set), func(s string) bool { return !isOfPlant(s) })); err != nil {
				return err
			}
		}
	}
	f.repeat = max(1, f.repeat)
	if err := f.output.allowTrials(); err != nil && (f.repeat > 1 || len(runs) > 1) {
		return err
	}
	return a.simulateAll(ctx, cases, runs, several, f, w)
}

// likeOf is the plant that --like names, nil for none. check is called with each fit of a record; without
// one a fit that does not reproduce its record is taken, and a note says so.
func (a *app) likeOf(names []string, w *work, check func(string, *fit.Fit) error) (*simulate.Plant, error) {
	if len(names) == 0 {
		return nil, nil
	}
	like, err := fit.OpenWith(w.open, check, names...)
	if err == nil && check != nil {
		err = poorFit(strings.Join(names, ", "), like)
	}
	if err != nil {
		return nil, runner.BadInput{Err: fmt.Errorf("--like: %w", err)}
	}
	if why := like.Reproduction.Fault(); why != "" {
		fmt.Fprintf(a.stderr, "note: --like %s: %s\n", strings.Join(names, ", "), why)
	}
	return &like.Plant, nil
}

// poorFit says that a fit is none to tune by.
func poorFit(name string, f *fit.Fit) error {
	if why := f.Reproduction.Fault(); why != "" {
		longer := "take a longer run"
		if f.Reproduction.Kept {
			longer += ", or one without kept connections, whose load tells the pods apart (keepAlive: false)"
		}
		return fmt.Errorf("%s: %s: what is tuned by it may be wrong; %s, or this one all the same by --allow-poor-fit", name, why, longer)
	}
	return nil
}

// simulated is the run of a scenario, on a plant if one is given.
func simulated(f *scenarios.File, plant *simulate.Plant) (*simulate.Run, error) {
	r, err := simulate.FromScenario(f)
	if err != nil {
		return nil, err
	}
	if plant != nil {
		r.Like(*plant)
	}
	if err := r.Check(); err != nil {
		return nil, f.Fault("spec.autoscaler", err.Error(), "say what it tells of a pod: workload.model.metrics.NAME: {of: requests} or {of: inFlight}, or --like a record of a run with it")
	}
	if err := r.CheckRoom(); err != nil {
		return nil, f.Fault("spec.workload", err.Error(), "lower the requests or the replicas, or --like a plant with larger nodes, as hpabench fit writes it")
	}
	return r, nil
}

// isRecord says whether a name is that of a record or of a run's folder.
func isRecord(name string) bool {
	if _, err := os.Stat(filepath.Join(name, record.File)); err == nil {
		return true
	}
	return filepath.Ext(name) == filepath.Ext(record.File)
}

// recorded is the run that a record is of, on a plant that is fitted to it, and checked, unless
// there is another.
func recorded(name string, plant *simulate.Plant, w *work, check func(string, *fit.Fit) error) (*simulate.Run, error) {
	files, err := record.Files(name)
	if err != nil {
		return nil, runner.BadInput{Err: err}
	}
	name = files[0]
	bad := func(err error) error { return runner.BadInput{Err: fmt.Errorf("%s: %w", name, err)} }
	in, err := w.open(name)
	if err != nil {
		return nil, runner.BadInput{Err: fmt.Errorf("reading a record: %w", err)}
	}
	defer in.Close()
	source, err := fit.Read(in)
	if err != nil {
		return nil, bad(err)
	}
	w.does("fitting a plant to " + name)
	r, err := source.Run()
	if err != nil {
		return nil, bad(err)
	}
	if plant == nil {
		learned, err := source.Learn()
		if err != nil {
			return nil, bad(err)
		}
		if check != nil {
			if err := cmp.Or(check(name, learned), poorFit(name, learned)); err != nil {
				return nil, runner.BadInput{Err: err}
			}
		}
		plant, r.Costs = &learned.Plant, learned.Costs
	}
	r.Like(*plant)
	if err := r.Check(); err != nil {
		return nil, bad(fmt.Errorf("%w, and the record does not show what it tells: write workload.metrics into a plant (hpabench fit) and take it by --like", err))
	}
	h := *source.Header()
	r.Header = &h
	return r, nil
}

// simulateAll makes the runs of each case, and reports them as real ones are.
func (a *app) simulateAll(ctx context.Context, cases []combination, runs []*simulate.Run, set bool, f *simulateFlags, w *work) error {
	pool, err := simulate.Start(1)
	if err != nil {
		return err
	}
	defer pool.Close()
	for i, of := range runs {
		of.Header.Version, of.Header.MetricsEvery = version(), 1
		for n := range f.repeat {
			r := of.Nth(f.seed, n)
			r.Header.Run = fmt.Sprint("seed-", r.Seed)
			dir := ""
			if f.out != "" {
				dir = cases[i].folderOf(f.out, n, f.repeat)
			}
			w.does("simulating")
			if f.repeat*len(runs) > 1 {
				w.does(fmt.Sprintf("simulating run %d of %d", i*f.repeat+n+1, f.repeat*len(runs)))
			}
			run, err := a.simulated(ctx, pool, r, dir, w)
			if err != nil {
				return err
			}
			if f.repeat == 1 && len(runs) == 1 {
				_, err := a.report(run, dir, f.output, w)
				return err
			}
			result, err := judge(run, dir, f.output, w)
			if err != nil {
				return err
			}
			cases[i].Results, cases[i].Sources = append(cases[i].Results, result), append(cases[i].Sources, r.Header.Source)
		}
	}
	w.done()
	return a.printTrials(trial{runFlags: &runFlags{output: f.output}, dir: f.out}, set, cases)
}

// simulated makes a run, and writes its record to a new file in dir unless that is empty.
func (a *app) simulated(ctx context.Context, pool *simulate.Pool, r *simulate.Run, dir string, w *work) (*analysis.Builder, error) {
	var b analysis.Builder
	var length float64
	for _, p := range r.Phases {
		length += p.Seconds
	}
	write := func([]byte) error { return nil }
	close := func() error { return nil }
	if dir != "" {
		journal, err := newRecord(dir)
		if err != nil {
			return nil, err
		}
		made := a.unmake(journal.Name())
		lines := bufio.NewWriterSize(journal, 1<<20)
		whole := false
		defer func() {
			if !whole {
				_ = journal.Close()
				_ = os.Remove(journal.Name())
			}
			made()
		}()
		write = func(line []byte) error {
			_, _ = lines.Write(line) // the next write tells
			return lines.WriteByte('\n')
		}
		close = func() error {
			err := errors.Join(lines.Flush(), journal.Close())
			whole = err == nil
			return err
		}
	}
	type part struct {
		line []byte
		analysis.Prepared
	}
	_, err := pool.Do(ctx, r, func(in io.Reader) error {
		_, err := record.Stream(in, func(line []byte, e *record.Entry) (part, error) { return part{line, analysis.Prepare(e)}, nil }, func(p part) error {
			w.part(p.At.Seconds() / length)
			b.Add(p.Prepared)
			return write(p.line)
		})
		return err
	})
	if err == nil {
		err = close()
	}
	if err != nil {
		return nil, err
	}
	return &b, nil
}
