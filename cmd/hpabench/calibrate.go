package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/fit"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
	"github.com/hpabench/hpabench/tune"
)

type calibrateFlags struct {
	runFlags
	latency    time.Duration
	percentile int
	replicas   []int
	from       float64
	step       time.Duration
	printed    string
}

func (a *app) calibrateCommand() *cobra.Command {
	var f calibrateFlags
	cmd := &cobra.Command{
		Use:   "calibrate SCENARIO",
		Short: "Find how many requests a second a replica serves within the SLO",
		Long: `Find how many requests a second the workload of a scenario serves within its SLO, by
the number of its replicas, which the HPA is made to leave alone.

For each number of replicas the rate rises by half until the SLO is missed, and then in
eight steps from the last rate that met it to the first that did not. The SLO is met
when 99 % (--percentile) of the answers took no longer than the scenario's slo.latency
(or --latency) and 0.1 % at most were errors, or a single one. What misses it is judged by 100
requests at least (20 with --percentile 95), as of fewer a single late answer decides; a rate that
is looked at closely lasts as long as they take.

The capacity of a replica is the least rate by replica of all the numbers. Where a longer run
at it misses the SLO, it is lowered, up to three times: by a tenth, or to 90 % of the rate of
answers in that run where this is less. Where the load generator may be why it misses, the run
is made again. Where none of four runs meets the SLO, there is no capacity.

From what the pods used comes the highest target of the HPA by which it adds a replica before
the others serve more than that, if the load is steady. Simulations of the scenario's load try it;
where they miss the SLO, lower targets and then higher mins are tried as hpabench tune does. Pods
start in them as those did that the runs began with; what else is assumed is told, and how the target
does with 1.3 and 2 times the load.
-o yaml prints the HPA that meets it; where none does, nothing, and the exit code is 1.

When it ends early (Ctrl-C, a number of replicas whose sweeps differ), the exit code is 3. The rates
that met the SLO and missed it until then are printed, and no capacity. Once the capacity is known
with each number of replicas it is stored, also if the target is not known.

The capacity is stored beside the scenario as NAME.calibration.json, where hpabench run finds it:
so the demand for replicas is known, and the report has the elasticity. For another
workload or request it is not taken.`,
		Example: `  hpabench calibrate --context kind-kind --latency 100ms slow-start
  hpabench calibrate --replicas 1,2,4 --percentile 95 my-scenario.yaml
  hpabench calibrate --latency 100ms my-scenario.yaml -o yaml > hpa.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.calibrate(cmd.Context(), args[0], &f) },
	}
	f.cluster.add(cmd, "existing `namespace` to create the objects in (default: one of the run's own); without --context, of the kubeconfig's current context")
	f.lab.add(cmd)
	addPositive(cmd, &f.latency, "latency", 0, "`duration` that an answer may take (default: the scenario's slo.latency)")
	cmd.Flags().IntVar(&f.percentile, "percentile", 99, "share of the answers that must meet it: 50, 90, 95 or 99")
	cmd.Flags().IntSliceVar(&f.replicas, "replicas", []int{1, 2}, "`numbers` of replicas")
	cmd.Flags().Float64Var(&f.from, "from", 2, "first `rate`, in requests a second, for each replica")
	addPositive(cmd, &f.step, "step", 10*time.Second, "how long each rate lasts at least when it is looked at closely; half of that before")
	cmd.Flags().StringVar(&f.out, "out", "", "`folder` for the records of the runs (default hpabench-calibration-SCENARIO-ID)")
	addQuiet(cmd, &f.quiet)
	f.addSkipUnknown(cmd)
	addPositive(cmd, &f.timeout, "timeout", 5*time.Minute, "how long the pods may take to get ready, and then the HPA to its first metric (90s at least for one of CPU or memory)")
	addOutput(cmd, &f.printed, "table", "json", "table", "yaml")
	f.image, f.output.format = runner.WorkerImage, "table"
	return cmd
}

func (a *app) calibrate(ctx context.Context, name string, f *calibrateFlags) error {
	file, err := readScenario(name)
	if err != nil {
		return err
	}
	if f.latency == 0 && file.Spec.SLO != nil {
		f.latency = file.Spec.SLO.Latency.Duration
	}
	slices.Sort(f.replicas)
	switch bad := func(format string, args ...any) error { return runner.BadInput{Err: fmt.Errorf(format, args...)} }; {
	case f.latency <= 0:
		return bad("%s has no slo.latency: say by --latency what an answer may take", name)
	case !slices.Contains([]int{50, 90, 95, 99}, f.percentile):
		return bad("--percentile must be 50, 90, 95 or 99")
	case len(f.replicas) == 0 || f.replicas[0] < 1 || len(slices.Compact(slices.Clone(f.replicas))) < len(f.replicas):
		return bad("--replicas must be different numbers, 1 at least")
	case !(f.from > 0 && f.from*float64(slices.Max(f.replicas)) <= runner.HighestRate) || f.step < 2*time.Second:
		return bad("--from must be more than 0 and, times --replicas, %d at most; --step 2s at least", runner.HighestRate)
	case file.Spec.Workload.Existing != nil:
		return bad("calibrate changes the number of replicas, and what exists already is never changed: describe the workload in the scenario")
	case file.Spec.Autoscaler == nil:
		return bad("the HPA of %s is in a manifest, and calibrate must make it leave the replicas alone: put it under spec.autoscaler", name)
	}
	id := runner.NewID()
	f.out = cmp.Or(f.out, fmt.Sprintf("hpabench-calibration-%s-%s", file.Metadata.Name, id))
	if err := checkOut(f.out); err != nil {
		return err
	}
	defer a.orderly()()
	show := newDisplay(a.stderr, f.quiet)
	cluster, lab, err := f.connect(ctx, file, id, func(line string) { show.progress(runner.Progress{Message: line}) })
	if err != nil {
		return err
	}
	var ends context.Context
	if lab != nil {
		ends = ctx
		defer lab.Stop()
	} else {
		a.sayOnInterrupt(inCluster)
	}
	show.close()
	return a.calibrateBy(ctx, file, f, func(n int, sweep runner.Sweep) (r *analysis.Result, dir string, ended error) {
		fixed, err := sweep.Scenario(file, n)
		if err != nil {
			return nil, "", err
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		t := trial{runFlags: &f.runFlags, file: fixed, fixed: true, cluster: cluster, lab: lab, ends: ends, id: runner.NewID(), dir: filepath.Join(f.out, fmt.Sprintf("%d-replicas-%s", n, sweep.Name)), show: newDisplay(a.stderr, f.quiet)}
		t.show.prefix = fmt.Sprintf("%s, %s: ", record.Counted(n, "replica"), sweep.Name)
		t.seen = runner.Overload(func() { cancel(runner.ErrOverloaded) })
		run, ended := t.measure(ctx, a)
		t.show.close()
		ended = without(ended, runner.ErrOverloaded)
		if run == nil {
			return nil, t.dir, ended
		}
		r, err = judge(run, t.dir, f.output, nil)
		if err := errors.Join(err, spoiled(r, nil)); err != nil {
			return nil, t.dir, errors.Join(ended, err)
		}
		return r, t.dir, ended
	})
}

// sweeper makes a sweep with a number of replicas: its result, nil if nothing was recorded, the folder, and why it ended early.
type sweeper func(replicas int, sweep runner.Sweep) (r *analysis.Result, dir string, ended error)

// calibrateBy finds the capacity and the target by measure. The result is there too where a sweep was interrupted.
func (a *app) calibrateBy(ctx context.Context, file *scenarios.File, f *calibrateFlags, measure sweeper) error {
	c := analysis.Calibration{Version: analysis.CalibrationVersion, Scenario: file.Metadata.Name, Workload: fingerprint(file), Latency: f.latency.Seconds(), Percentile: f.percentile}
	say := func(format string, args ...any) {
		if !f.quiet {
			fmt.Fprintf(a.stderr, format+"\n", args...)
		}
	}
	var closely []string // records in whose runs the nodes have the image already
	ended := f.sweeps(&c, func(n int, sweep runner.Sweep) (*analysis.Result, string, error) {
		r, dir, err := measure(n, sweep)
		if r != nil && sweep.Close {
			closely = append(closely, dir)
		}
		return r, dir, err
	}, say)
	if len(c.Points) == 0 {
		return ended
	}
	complete, dir := ended == nil, ""
	if c.Complete(); complete {
		say("measuring what a request costs, for the target")
		dir, ended = f.steady(&c, measure)
		complete = !errors.As(ended, new(runner.NoCapacity))
	}
	if complete {
		if err := store(c, calibrationFile(file)); err != nil {
			return errors.Join(err, ended)
		}
		fmt.Fprintf(a.stderr, "the calibration is in %s, where hpabench run finds it; the records are in %s\n", calibrationFile(file), f.out)
	} else {
		fmt.Fprintf(a.stderr, "the calibration is not complete, and not stored; the records are in %s\n", f.out)
	}
	var target tune.Capacity
	why := ended
	if ended == nil {
		target, why = a.targetOf(ctx, file, c, append(closely, dir), f.quiet)
		ended = context.Cause(ctx)
		why = cmp.Or(ended, why)
	}
	var err error
	switch {
	case f.printed == "yaml" && why != nil:
		return fmt.Errorf("no target follows: %w", why)
	case f.printed == "yaml" && target.Manifest == nil:
		return fmt.Errorf("%w: %s", errNoAdvice, target.Reason)
	case f.printed == "yaml":
		err = reports.CalibrationYAML(a.stdout, c, target)
	case f.printed == "json":
		err = reports.CalibrationJSON(a.stdout, c, target, why)
	default:
		err = reports.CalibrationTable(a.stdout, c, target, why, width(a.stdout))
	}
	return errors.Join(err, ended)
}

// sweeps finds the points of c. The error says which of them are rough, or why there are no more.
func (f *calibrateFlags) sweeps(c *analysis.Calibration, measure sweeper, say func(format string, args ...any)) (ended error) {
	of := runner.Calibration{Replicas: f.replicas[0], From: f.from, Step: f.step, Fewest: c.Fewest()} // of fewer replicas the sweeps are longer
	sweeps, least, most := of.Most()
	say("calibrating %s: 2 to %d runs for each number, with %s to %s of load in all, and 1 to %d of %s at the end; more where a rate takes longer for %.0f requests", counts(f.replicas), sweeps, clock(least), clock(most), runner.SteadyRuns, clock(of.Steady(1, math.Inf(1)).Lasts()), of.Fewest)
	for i, n := range f.replicas {
		of.Replicas = n
		replicas, point := record.Counted(n, "replica"), analysis.CalibrationPoint{}
		why := runner.Calibrate(of, func(sweep runner.Sweep) (runner.Bracket, error) {
			since := time.Now()
			r, _, err := measure(n, sweep)
			if r == nil {
				return runner.Bracket{}, err
			}
			c.Cluster, c.Assumed = r.Cluster.Version, r.Cluster.Assumed
			switch now := c.Point(r, n, sweep.Rates, err != nil); {
			case err == nil || now.Below > 0 || now.Rate >= point.Below:
				point = now
			case now.Rate > 0: // and what missed the SLO is known from a sweep before
				point.Rate, point.Seconds = now.Rate, now.Seconds
			}
			if !sweep.Close && point.Rate > 0 && point.Below > 0 {
				took := time.Since(since)
				closely := of.Closely(point.Rate) + max(0, took-sweep.Step*time.Duration(len(r.Load.Phases)))
				say("%s: %s requests/s met the SLO; a close look takes about %s, all that is left about %s", replicas, record.Plain(point.Rate, 4), roughly(closely), roughly(closely+time.Duration(len(f.replicas)-i-1)*(took+closely)))
			}
			return runner.Bracket{Met: point.Rate, Missed: point.Below, Doubt: point.Doubt}, err
		})
		if point.Rate > 0 || point.Below > 0 {
			if why != nil {
				point.Rough = record.Cut(strings.TrimSpace(why.Error()))
			}
			c.Points = append(c.Points, point)
		}
		none := errors.As(why, new(runner.NoCapacity))
		if none {
			why = fmt.Errorf("with %s: %w", replicas, why)
		}
		if ended = errors.Join(ended, why); why != nil && !none {
			break
		}
	}
	return ended
}

// steady measures what a request costs at the capacity, which it lowers until a run at it meets the SLO. The error is a NoCapacity
// too where none did.
func (f *calibrateFlags) steady(c *analysis.Calibration, measure sweeper) (dir string, err error) {
	of := runner.Calibration{Replicas: f.replicas[0], Step: f.step, Fewest: c.Fewest()}
	var refuted error
	for n := 1; ; n++ {
		steady := of.Steady(n, c.CapacityPerReplica)
		r, dir, err := measure(of.Replicas, steady)
		if r == nil || err != nil {
			if refuted != nil {
				c.CapacityPerReplica = 0
			}
			return dir, errors.Join(refuted, err)
		}
		missed, doubt := c.Refuted(r, of.Replicas, steady.Rates)
		if missed == "" {
			return dir, nil
		}
		if doubt != "" {
			refuted = runner.NoCapacity(fmt.Sprintf("%s, but the load generator may be why (%s): calibrate again on an idle machine or with a longer --step", missed, doubt))
		} else {
			refuted = runner.NoCapacity(missed + ": calibrate again with a longer --step, or on an idle cluster")
			c.Lowered = strings.ToUpper(missed[:1]) + missed[1:] + ", so the capacity is below the two rates"
		}
		if n == runner.SteadyRuns {
			c.CapacityPerReplica = 0
			return dir, refuted
		}
		if doubt != "" {
			continue
		}
		c.CapacityPerReplica *= runner.SteadyLess
		// In an overload the answers are what is served, a little of it too late.
		if last := r.Load.Phases[len(r.Load.Phases)-1]; !last.Cut && last.AchievedRate != nil && *last.AchievedRate > 0 {
			served := last.AchievedRate
			c.CapacityPerReplica = min(c.CapacityPerReplica, runner.SteadyLess**served/float64(of.Replicas))
		}
	}
}

// store writes a calibration to where hpabench run finds it.
func store(c analysis.Calibration, name string) error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err == nil {
		err = os.WriteFile(name, append(b, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("storing the calibration: %w", err)
	}
	return nil
}

// counts are numbers of replicas, for people.
func counts(numbers []int) (text string) {
	for i, n := range numbers {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprint(n)
	}
	return text + map[bool]string{true: " replica", false: " replicas"}[text == "1"]
}

// targetOf is the HPA's target by the capacity and by what requests cost in the last of the records, tried by simulations of the
// scenario's load, in which pods start as they did in all of them.
func (a *app) targetOf(ctx context.Context, file *scenarios.File, c analysis.Calibration, records []string, quiet bool) (target tune.Capacity, err error) {
	w := a.work(quiet)
	defer w.done()
	w.does("trying the target by simulations")
	var fits []*fit.Fit
	for _, name := range records {
		of, err := fit.Open(name)
		if err != nil {
			return target, err
		}
		fits = append(fits, of)
	}
	learned := fits[len(fits)-1]
	learned.Starts(fits[:len(fits)-1]...)
	if why := learned.Missing("workload.cpu"); why != "" {
		return target, fmt.Errorf("what a request costs is not known (%s): calibrate again with a longer --step", why)
	}
	r, err := simulated(file, &learned.Plant)
	if err != nil {
		return target, err
	}
	r.Replicas = tune.AtMin // as hpabench tune tries them
	defer func() { target.Assumed = r.Assumed() }()
	if target, err = tune.AtCapacity(r, c.CapacityPerReplica, learned.Missing("workload.idleCPU")); err != nil {
		return target, err
	}
	pool, err := simulate.Start(runtime.GOMAXPROCS(0))
	if err != nil {
		return target, err
	}
	defer pool.Close()
	slo := tune.SLO{Latency: time.Duration(c.Latency * float64(time.Second)), Share: float64(c.Percentile) / 100}
	return target, target.Check(ctx, tune.Search{Runs: []*simulate.Run{r}, SLO: slo, Settings: 60, Phases: 15, PerDay: 1, Seed: 1, Do: pool.Score, Workers: runtime.GOMAXPROCS(0)})
}

// fingerprint is the same for scenarios whose workload and request are the same.
func fingerprint(file *scenarios.File) string {
	load := file.Spec.Load
	load.Phases = nil
	b, err := json.Marshal(struct {
		Workload  scenarios.Workload
		Load      scenarios.Load
		Manifests []scenarios.Manifest
	}{file.Spec.Workload, load, file.Manifests})
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// calibrationFile is where the calibration of a scenario is: beside it, for one of the
// library in the working directory.
func calibrationFile(file *scenarios.File) string {
	if file.Embedded || file.Path == scenarios.StandardInput {
		return file.Metadata.Name + ".calibration.json"
	}
	return strings.TrimSuffix(strings.TrimSuffix(file.Path, ".yaml"), ".yml") + ".calibration.json"
}

// calibrated gives a scenario that states no capacity the one that was found for it, and
// says so.
func calibrated(file *scenarios.File, say func(string)) error {
	name := calibrationFile(file)
	b, err := scenarios.ReadFile(name, scenarios.MaxSource)
	if file.Spec.CapacityPerReplica != nil || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var c analysis.Calibration
	if err == nil {
		c, err = parseCalibration(b)
	}
	switch {
	case err != nil:
		return runner.BadInput{Err: fmt.Errorf("%s is no calibration: %w; remove it, or run hpabench calibrate again", name, err)}
	case c.Workload != fingerprint(file):
		say(fmt.Sprintf("%s is of another workload or request, and not taken: hpabench calibrate makes it anew", name))
	default:
		file.Spec.CapacityPerReplica = &c.CapacityPerReplica
		say(fmt.Sprintf("one replica serves %s requests/s, by %s", record.Plain(c.CapacityPerReplica, 4), name))
	}
	return nil
}

// parseCalibration reads a file that calibrate wrote.
func parseCalibration(b []byte) (c analysis.Calibration, err error) {
	if b, err = record.PlainText(b); err != nil {
		return c, err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, err
	}
	if c.Version != analysis.CalibrationVersion {
		return c, fmt.Errorf("its version is %.40q and must be %q", c.Version, analysis.CalibrationVersion)
	}
	if !(c.CapacityPerReplica >= scenarios.MinCapacity && c.CapacityPerReplica <= scenarios.MaxCapacity) {
		return c, fmt.Errorf("its capacityPerReplica is %s and must be from %s to %s", record.Plain(c.CapacityPerReplica, 0), record.Plain(scenarios.MinCapacity, 0), record.Plain(scenarios.MaxCapacity, 0))
	}
	return c, nil
}
