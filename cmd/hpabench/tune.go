package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/fit"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
	"github.com/hpabench/hpabench/tune"
)

type tuneFlags struct {
	vary, slo, output string
	like              []string
	settings, phases  int
	perDay            int
	seed              uint64
	quiet, poorFit    bool
}

func (a *app) tuneCommand() *cobra.Command {
	var f tuneFlags
	cmd := &cobra.Command{
		Use:   "tune SCENARIO|RECORD…",
		Short: "Search the settings of the HPA or the ScaledObject for those that meet an SLO at the least cost",
		Long: `Search the settings of the HPA or the ScaledObject for those that serve the load of a scenario, or of the
record of a real run, within an SLO with the fewest replica-hours, by simulation (see
hpabench simulate). Each setting is tried from several points of the HPA's sync period,
since where the load begins in it is chance on a cluster. A setting is dropped when
another is better from all points than it was from any.

Of several scenarios or records there is one recommendation, which meets the SLO under
the load of each: the workload and the HPA are those of the first.

--vary names what may change, and from where to where:
  target                               utilization in percent of the first metric that has it,
                                       else the averageValue or value of the first metric; of a
                                       ScaledObject that of its first trigger of cpu or memory,
                                       else its threshold
  min, max                             replicas; min from 0 with a ScaledObject, or a metric that is
                                       not of the pods
  scaleUp.stabilization, scaleDown.…   the windows, 0s..600s
  scaleUp.tolerance, scaleDown.…       a share, 0.05..0.2
  scaleUp.percent, scaleDown.percent   one policy: so many percent in 15 s at most
  scaleUp.pods, scaleDown.pods         one policy: so many pods in 15 s at most
  sync                                 the controller manager's period, where it is yours
  pollingInterval, cooldownPeriod      of a ScaledObject, 5s..60s
  threshold, activationThreshold       of its first trigger of type prometheus
  scrape                               Prometheus' interval, for the triggers of a ScaledObject
Without --vary these are target, and scaleDown.stabilization from 0s to 600s; of a ScaledObject
that goes to zero cooldownPeriod from 0s to 600s and pollingInterval from 5s to 60s in its place.
A target in percent is from 30 to 90 then, another from half of the present one to twice.

The table is the Pareto front: no other setting that was tried misses less in its worst run
and costs less. Costs are the replica-hours of a day, in which the load comes once (--per-day); with
spec.cost in the scenario, also in money. The load of a scenario finds the HPA at its min, that of a record the replicas
that there were; after it the HPA goes down as it does without load. A scale-down
that is undone within 5 minutes costs as much as holding its replicas for that time, and
the time at max one more replica, as the HPA has none left to add: the column "ranked by".
Of settings that cost the same but for chance the one with the roundest values is taken.

Where no setting meets the SLO, all come to the same, or the present one is outside the ranges and
meets the SLO for no more, nothing is recommended, -o yaml prints nothing, and the exit code is 1.

A record of hpabench watch has no requests: whether an SLO is met is not known, and
nothing is recommended; the table has the costs. Of a load that goes to a queue those requests miss
the SLO whose messages wait in it for longer. -o yaml prints the HPA or the ScaledObject of the
recommended setting, to be applied. It is as good as the
model: --like takes one that is fitted to a real run, and a run of the recommended
setting on the cluster is the proof.

` + exitCodes,
		Example: `  hpabench tune scenarios/spike.yaml --slo 'p99 < 250ms' --vary target=40..80,scaleDown.stabilization=0s..600s
  hpabench tune spike --slo 'p99 < 250ms' --vary target=30..90,min=1..4 --like hpabench-spike-x7k2p
  hpabench tune spike ramp sine --slo 'p99 < 250ms'
  hpabench tune queue-worker --slo 'p90 < 30s' --vary threshold=2..20,cooldownPeriod=0s..300s
  hpabench tune spike --slo 'p95 < 100ms' --vary target=30..90 -o yaml | kubectl apply -f -`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeScenarios,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.tune(cmd.Context(), args, &f) },
	}
	cmd.Flags().StringVar(&f.vary, "vary", "", "`name=from..to,...`: the settings that may change (default: see above)")
	cmd.Flags().StringVar(&f.slo, "slo", "", "`p99 < 250ms`: how many answers must come how soon (default: p99 with the scenario's slo.latency)")
	cmd.Flags().StringArrayVar(&f.like, "like", nil, "`record` of a real run, its folder, that of several trials, or a file of hpabench fit: simulate its pods, its cluster and its metrics; of several, what they say together")
	cmd.Flags().IntVar(&f.settings, "settings", 300, "try so many `settings` at most")
	cmd.Flags().IntVar(&f.phases, "phases", 15, "try each from so many `points` of the HPA's sync period")
	cmd.Flags().IntVar(&f.perDay, "per-day", 1, "`times` that the load comes in a day")
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "seed of the random `number`s: the same seed gives the same result")
	addOutput(cmd, &f.output, "table", "json", "table", "yaml")
	cmd.Flags().BoolVar(&f.poorFit, "allow-poor-fit", false, "take a record too whose simulation on the plant that is fitted to it differs from it by more than 10 %")
	addQuiet(cmd, &f.quiet)
	_ = cmd.RegisterFlagCompletionFunc("vary", func(_ *cobra.Command, _ []string, typed string) (names []string, _ cobra.ShellCompDirective) {
		before := typed[:strings.LastIndex(typed, ",")+1]
		for _, name := range tune.Knobs() {
			names = append(names, before+name+"=")
		}
		return names, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

func (a *app) tune(ctx context.Context, names []string, f *tuneFlags) error {
	bad := func(err error) error { return runner.BadInput{Err: err} }
	switch {
	case f.settings < 1 || f.settings > tune.MaxSettings:
		return bad(fmt.Errorf("--settings is %d, and must be from 1 to %d", f.settings, tune.MaxSettings))
	case f.phases < 1 || f.phases > scenarios.MaxRepeat:
		return bad(fmt.Errorf("--phases is %d, and must be from 1 to %d", f.phases, scenarios.MaxRepeat))
	case f.perDay < 1 || f.perDay > maxPerDay:
		return bad(fmt.Errorf("--per-day is %d, and must be from 1 to %d", f.perDay, maxPerDay))
	}
	w := a.work(f.quiet)
	defer w.done()
	var check func(string, *fit.Fit) error
	if !f.poorFit {
		check = reproduce(ctx, w)
	}
	plant, err := a.likeOf(f.like, w, check)
	if err != nil {
		return err
	}
	s := tune.Search{Settings: f.settings, Phases: f.phases, PerDay: f.perDay, Seed: f.seed, Workers: runtime.GOMAXPROCS(0)}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return bad(fmt.Errorf("%s is named twice: name each load once; --per-day says how often they come", name))
		}
		run, cost, err := toTune(name, plant, w, check)
		if err != nil {
			return err
		}
		s.Runs, s.Loads = append(s.Runs, run), append(s.Loads, name)
		if !run.SameWorkload(s.Runs[0]) {
			fmt.Fprintf(a.stderr, "note: %s differs from %s in its pods or its HPA: only its load is taken, the pods and the HPA are those of %s\n", name, names[0], names[0])
		}
		s.Cost = cmp.Or(s.Cost, cost)
	}
	switch observed := slices.IndexFunc(s.Runs, (*simulate.Run).Observed); {
	case observed >= 0 && (f.slo != "" || f.output == "yaml"):
		return bad(fmt.Errorf("%s is a record of hpabench watch, which has no requests: whether a setting meets an SLO is not known, and none is recommended; without --slo and -o yaml the table has what each costs", names[observed]))
	case observed >= 0:
	case f.slo == "" && s.Runs[0].SLO == 0:
		return bad(fmt.Errorf("%s has no slo.latency: say by --slo 'p99 < 250ms' how soon answers must come", names[0]))
	default:
		if s.SLO, err = tune.ParseSLO(cmp.Or(f.slo, fmt.Sprintf("p99 < %s", s.Runs[0].SLO))); err != nil {
			return bad(fmt.Errorf("--slo: %w", err))
		}
	}
	f.vary = cmp.Or(f.vary, tune.Usual(s.Runs[0]))
	if s.Ranges, err = tune.ParseRanges(s.Runs[0], f.vary); err != nil {
		return bad(fmt.Errorf("--vary: %w", err))
	}
	pool, err := simulate.Start(s.Workers)
	if err != nil {
		return err
	}
	defer pool.Close()
	s.Do = pool.Score
	s.Progress = func(done, of, hopeless int) {
		w.does(fmt.Sprintf("trying settings: %d %% through, %d dropped early", done*100/of, hopeless))
	}
	result, err := tune.Tune(ctx, s)
	w.done()
	if errors.Is(err, tune.ErrNoSetting) {
		return bad(fmt.Errorf("--vary %s: %w", f.vary, err))
	}
	if err != nil {
		return err
	}
	return a.showTuned(s, result, f.output)
}

// errNoAdvice says that no setting meets the SLO, or that the load does not tell the settings apart.
var errNoAdvice = errors.New("nothing is recommended")

// maxPerDay is once a minute.
const maxPerDay = 24 * 60

// toTune is the run of a scenario and what its replicas cost, or the run of a record.
func toTune(name string, plant *simulate.Plant, w *work, check func(string, *fit.Fit) error) (*simulate.Run, *scenarios.Price, error) {
	if isRecord(name) {
		run, err := recorded(name, plant, w, check)
		if err != nil {
			return nil, nil, err
		}
		// The manifests that the scenario names are not in the record. Of one that cannot be read its cost is not known.
		if file, _ := scenarios.Parse(name, []byte(run.Header.Source), nil); file != nil {
			return run, file.Spec.Cost, nil
		}
		return run, nil, nil
	}
	file, err := readScenario(name)
	if err != nil {
		return nil, nil, err
	}
	run, err := simulated(file, plant)
	if err != nil {
		return nil, nil, err
	}
	run.Replicas = tune.AtMin // the load comes after a rest
	return run, file.Spec.Cost, nil
}

func (a *app) showTuned(s tune.Search, r *tune.Result, format string) error {
	var missed error
	switch r.Verdict {
	case tune.NoneMeets:
		missed = fmt.Errorf("%w: no setting meets %s", errNoAdvice, s.SLO)
	case tune.NoDifference, tune.KeepPresent:
		missed = errNoAdvice
	}
	manifest, err := s.Manifest(r.Front[r.Best].Setting)
	if err != nil {
		return err
	}
	switch format {
	case "yaml":
		if missed != nil { // nothing to apply
			return fmt.Errorf("%w: %s", missed, strings.Join(append([]string{r.Reason + "."}, r.Notes...), " "))
		}
		if bytes.Contains(manifest, []byte(record.Hidden)) {
			return fmt.Errorf("the autoscaler has values that a record does not keep, as they may be secret (%s): tune the scenario in place of its record, or look at -o table", record.Hidden)
		}
		for _, text := range s.Runs[0].Assumed() {
			fmt.Fprintf(a.stdout, "# Assumed: %s\n", text)
		}
		for _, text := range append([]string{r.Reason}, r.Notes...) {
			fmt.Fprintf(a.stdout, "# %s\n", text)
		}
		_, err = a.stdout.Write(manifest)
	case "json":
		err = reports.TuneJSON(a.stdout, s, r)
	default:
		if err = reports.TuneTable(a.stdout, s, r, width(a.stdout)); err == nil && r.Verdict == tune.Recommended {
			_, err = fmt.Fprintf(a.stdout, "\n%s", manifest)
		}
	}
	return errors.Join(err, missed)
}
