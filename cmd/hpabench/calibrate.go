package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
(or --latency) and 0.1 % at most were errors. The capacity of a replica is the least
rate by replica of all the numbers.

From what the pods used comes the target of the HPA by which it adds a replica before the
others serve more than that; -o yaml prints the HPA with it.
It is the highest target for a steady load; tune finds one that a changing load needs.

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
	cmd.Flags().DurationVar(&f.latency, "latency", 0, "`duration` that an answer may take (default: the scenario's slo.latency)")
	cmd.Flags().IntVar(&f.percentile, "percentile", 99, "share of the answers that must meet it: 50, 90, 95 or 99")
	cmd.Flags().IntSliceVar(&f.replicas, "replicas", []int{1, 2}, "`numbers` of replicas")
	cmd.Flags().Float64Var(&f.from, "from", 2, "first `rate`, in requests a second, for each replica")
	cmd.Flags().DurationVar(&f.step, "step", 10*time.Second, "how long each rate lasts when it is looked at closely; half of that before")
	cmd.Flags().StringVar(&f.out, "out", "", "`folder` for the records of the runs (default hpabench-calibration-SCENARIO-ID)")
	addQuiet(cmd, &f.quiet)
	f.addSkipUnknown(cmd)
	cmd.Flags().DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long the pods may take to get ready, and then the HPA to its first metric")
	addOutput(cmd, &f.printed, "table", "json", "table", "yaml")
	f.image, f.output.format = runner.WorkerImage, "table"
	return cmd
}

func (a *app) calibrate(ctx context.Context, name string, f *calibrateFlags) error {
	file, err := readScenario(name)
	if err != nil {
		return err
	}
	latency := f.latency
	if latency == 0 && file.Spec.SLO != nil {
		latency = file.Spec.SLO.Latency.Duration
	}
	slices.Sort(f.replicas)
	switch bad := func(format string, args ...any) error { return runner.BadInput{Err: fmt.Errorf(format, args...)} }; {
	case latency <= 0:
		return bad("%s has no slo.latency: say by --latency what an answer may take", name)
	case !slices.Contains([]int{50, 90, 95, 99}, f.percentile):
		return bad("--percentile must be 50, 90, 95 or 99")
	case len(f.replicas) == 0 || f.replicas[0] < 1:
		return bad("--replicas must be 1 at least")
	case f.from <= 0 || f.from*float64(slices.Max(f.replicas)) > runner.HighestRate || f.step < 2*time.Second:
		return bad("--from must be more than 0 and reasonable, --step 2s at least")
	case file.Spec.Workload.Existing != nil:
		return bad("calibrate changes the number of replicas, and what exists already is never changed: describe the workload in the scenario")
	case file.Spec.Autoscaler == nil:
		return bad("the HPA of %s is in a manifest, and calibrate must make it leave the replicas alone: put it under spec.autoscaler", name)
	}
	id := runner.NewID()
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
	base := cmp.Or(f.out, fmt.Sprintf("hpabench-calibration-%s-%s", file.Metadata.Name, id))
	var records []string
	c := analysis.Calibration{Version: analysis.CalibrationVersion, Scenario: file.Metadata.Name, Workload: fingerprint(file), Latency: latency.Seconds(), Percentile: f.percentile}
	for _, n := range f.replicas {
		var point analysis.CalibrationPoint
		measure := func(sweep runner.Sweep) (found runner.Bracket, err error) {
			fixed, err := sweep.Scenario(file, n)
			if err != nil {
				return found, err
			}
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			t := trial{runFlags: &f.runFlags, file: fixed, cluster: cluster, lab: lab, ends: ends, id: runner.NewID(), dir: filepath.Join(base, fmt.Sprintf("%d-replicas-%s", n, sweep.Name)), show: newDisplay(a.stderr, f.quiet)}
			t.seen = runner.Overload(func() { cancel(runner.ErrOverloaded) })
			run, err := t.measure(ctx, a)
			t.show.close()
			if run == nil || err != nil && !errors.Is(err, runner.ErrOverloaded) {
				return found, err
			}
			r, err := judge(run, t.dir, f.output, nil)
			if err := errors.Join(err, spoiled(r, nil)); err != nil {
				return found, err
			}
			c.Cluster, records = r.Cluster.Version, append(records, t.dir)
			point = capacity(r, n, sweep.Rates, latency.Seconds(), f.percentile)
			return runner.Bracket{Met: point.Rate, Missed: point.Below}, nil
		}
		if err := runner.Calibrate(runner.Calibration{Replicas: n, From: f.from, Step: f.step}, measure); err != nil {
			return err
		}
		c.Points = append(c.Points, point)
	}
	c.Complete()
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(calibrationFile(file), append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("storing the calibration: %w", err)
	}
	fmt.Fprintf(a.stderr, "the calibration is in %s, where hpabench run finds it; the records are in %s\n", calibrationFile(file), base)
	target, none := targetOf(file, c.CapacityPerReplica, records)
	switch {
	case f.printed == "yaml" && none != nil:
		return fmt.Errorf("no target follows: %w", none)
	case f.printed == "yaml":
		_, err := fmt.Fprintf(a.stdout, "# %s.\n%s", target.Reason, target.Manifest)
		return err
	case f.printed == "json":
		return reports.CalibrationJSON(a.stdout, c, target, none)
	}
	return reports.CalibrationTable(a.stdout, c, target, none, width(a.stdout))
}

// targetOf is the HPA's target by the capacity and by what requests cost in the records.
func targetOf(file *scenarios.File, capacity float64, records []string) (target tune.Capacity, err error) {
	learned, err := fit.Open(records...)
	if err != nil {
		return target, err
	}
	if why := learned.Missing("workload.cpu"); why != "" {
		return target, fmt.Errorf("what a request costs is not known: %s", why)
	}
	r, err := simulated(file, &learned.Plant)
	if err != nil {
		return target, err
	}
	return tune.AtCapacity(r, capacity, learned.Missing("workload.idleCPU"))
}

// capacity is the highest rate that met the SLO before the first that did not: Rate is 0
// if none did, Below if all did.
func capacity(r *analysis.Result, replicas int, rates []float64, latency float64, percentile int) analysis.CalibrationPoint {
	point := analysis.CalibrationPoint{Replicas: replicas}
	for i, p := range r.Load.Phases {
		meets, at := p.MeetsSLO(latency, percentile)
		if !meets {
			point.Below, point.Doubt = rates[i], p.Doubt
			break
		}
		point.Rate, point.Seconds = rates[i], *at
	}
	return point
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
