package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/fit"
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
	seed              uint64
	quiet, poorFit    bool
}

var tuneFormats = []string{"table", "json", "yaml"}

func (a *app) tuneCommand() *cobra.Command {
	var f tuneFlags
	cmd := &cobra.Command{
		Use:   "tune SCENARIO|RECORD",
		Short: "Search the settings of the HPA for those that meet an SLO at the least cost",
		Long: `Search the settings of the HPA for those that serve the load of a scenario, or of the
record of a real run, within an SLO with the fewest replica-hours, by simulation (see
hpabench simulate). Each setting is tried from several points of the HPA's sync period,
since where the load begins in it is chance on a cluster. A setting is dropped when
another is better from all points than it was from any.

--vary names what may change, and from where to where:
  target                               utilization in percent of the first metric that has it,
                                       else the averageValue or value of the first metric
  min, max                             replicas
  scaleUp.stabilization, scaleDown.…   the windows, 0s..600s
  scaleUp.tolerance, scaleDown.…       a share, 0.05..0.2
  scaleUp.percent, scaleDown.percent   one policy: so many percent in 15 s at most
  scaleUp.pods, scaleDown.pods         one policy: so many pods in 15 s at most
  sync                                 the controller manager's period, where it is yours

The table is the Pareto front: no other setting that was tried misses less and costs
less. -o yaml prints the HPA of the recommended one, to be applied. It is as good as the
model: --like takes one that is fitted to a real run, and a run of the recommended
setting on the cluster is the proof.

` + exitCodes,
		Example: `  hpabench tune scenarios/spike.yaml --slo 'p99 < 250ms' --vary target=40..80,scaleDown.stabilization=0s..600s
  hpabench tune spike --slo 'p99 < 250ms' --vary target=30..90,min=1..4 --like hpabench-spike-x7k2p
  hpabench tune spike --slo 'p95 < 100ms' --vary target=30..90 -o yaml | kubectl apply -f -`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return libraryNames(), cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.tune(cmd.Context(), args[0], &f) },
	}
	cmd.Flags().StringVar(&f.vary, "vary", "target=30..90,scaleDown.stabilization=0s..600s", "`name=from..to,...`: the settings that may change")
	cmd.Flags().StringVar(&f.slo, "slo", "", "`p99 < 250ms`: how many answers must come how soon (default: p99 with the scenario's slo.latency)")
	cmd.Flags().StringArrayVar(&f.like, "like", nil, "`record` of a real run, its folder, that of several trials, or a file of hpabench fit: simulate its pods, its cluster and its metrics; of several, what they say together")
	cmd.Flags().IntVar(&f.settings, "settings", 300, "try so many `settings` at most")
	cmd.Flags().IntVar(&f.phases, "phases", 15, "try each from so many `points` of the HPA's sync period")
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "`number` that all chance comes from: with the same one, the same result")
	cmd.Flags().StringVarP(&f.output, "output", "o", "table", "what to print: "+strings.Join(tuneFormats, ", ")+" (the HPA)")
	cmd.Flags().BoolVar(&f.poorFit, "allow-poor-fit", false, "take a record too whose simulation on the plant that is fitted to it differs from it by more than 10 %")
	addQuiet(cmd, &f.quiet)
	_ = cmd.RegisterFlagCompletionFunc("vary", func(_ *cobra.Command, _ []string, typed string) (names []string, _ cobra.ShellCompDirective) {
		before := typed[:strings.LastIndex(typed, ",")+1]
		for _, name := range tune.Knobs() {
			names = append(names, before+name+"=")
		}
		return names, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	})
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(tuneFormats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) tune(ctx context.Context, name string, f *tuneFlags) error {
	bad := func(err error) error { return runner.BadInput{Err: err} }
	switch {
	case !slices.Contains(tuneFormats, f.output):
		return bad(fmt.Errorf("-o %s: must be one of %s", f.output, strings.Join(tuneFormats, ", ")))
	case f.settings < 1 || f.settings > tune.MaxSettings:
		return bad(fmt.Errorf("--settings is %d, and must be from 1 to %d", f.settings, tune.MaxSettings))
	case f.phases < 1 || f.phases > scenarios.MaxRepeat:
		return bad(fmt.Errorf("--phases is %d, and must be from 1 to %d", f.phases, scenarios.MaxRepeat))
	}
	w := a.work(f.quiet)
	defer w.done()
	var check func(string, *fit.Fit) error
	if !f.poorFit {
		check = reproduce(ctx, w)
	}
	plant, err := likeOf(f.like, w, check)
	if err != nil {
		return err
	}
	run, err := toTune(name, plant, w, check)
	if err != nil {
		return err
	}
	if f.slo == "" {
		if run.SLO == 0 {
			return bad(fmt.Errorf("%s has no slo.latency: say by --slo 'p99 < 250ms' how soon answers must come", name))
		}
		f.slo = fmt.Sprintf("p99 < %s", run.SLO)
	}
	s := tune.Search{Run: run, Settings: f.settings, Phases: f.phases, Seed: f.seed, Workers: runtime.GOMAXPROCS(0)}
	if s.SLO, err = tune.ParseSLO(f.slo); err != nil {
		return bad(fmt.Errorf("--slo: %w", err))
	}
	if s.Ranges, err = tune.ParseRanges(f.vary); err != nil {
		return bad(fmt.Errorf("--vary: %w", err))
	}
	pool, err := simulate.Start(s.Workers)
	if err != nil {
		return err
	}
	defer pool.Close()
	s.Do = pool.Score
	s.Progress = func(done, of, hopeless int) {
		w.does(fmt.Sprintf("trying settings: %d of %d, %d dropped early", done, of, hopeless))
	}
	result, err := tune.Tune(ctx, s)
	w.done()
	if err != nil {
		return err
	}
	return a.showTuned(s, result, f.output)
}

// toTune is the run of a scenario, or of a record.
func toTune(name string, plant *simulate.Plant, w *work, check func(string, *fit.Fit) error) (*simulate.Run, error) {
	if isRecord(name) {
		return recorded(name, plant, w, check)
	}
	file, err := readScenario(name)
	if err != nil {
		return nil, err
	}
	return simulated(file, plant)
}

// tuned is a result for -o json.
type tuned struct {
	Version string   `json:"version"`
	Assumed []string `json:"assumed,omitempty"`
	Ranges  []string `json:"settings"` // the names of the values
	*tune.Result
}

func (a *app) showTuned(s tune.Search, r *tune.Result, format string) error {
	best := r.Front[r.Recommended]
	var missed error
	if !r.Met {
		missed = fmt.Errorf("%w: no setting meets %s", errMissed, s.SLO)
	}
	hpa, err := tune.Object(s.Run.Name, s.Run, s.Ranges, best.Setting)
	if err != nil {
		return err
	}
	manifest, err := scenarios.YAML(map[string]any{"apiVersion": hpa.APIVersion, "kind": hpa.Kind, "metadata": map[string]any{"name": hpa.Name}, "spec": hpa.Spec})
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(s.Ranges, func(r tune.Range) bool { return r.Name == "sync" }); i >= 0 {
		flag := "# with kube-controller-manager --horizontal-pod-autoscaler-sync-period=" + tune.Values(s.Ranges, best.Setting)[i]
		manifest = append([]byte(flag+"\n"), manifest...)
	}
	switch format {
	case "yaml":
		if missed != nil { // nothing to apply
			return fmt.Errorf("%w: %s. %s", missed, r.Reason, strings.Join(r.Notes, " "))
		}
		for _, text := range s.Run.Assumed() {
			fmt.Fprintf(a.stdout, "# Assumed: %s\n", text)
		}
		_, err := fmt.Fprintf(a.stdout, "# %s\n%s", r.Reason, manifest)
		return err
	case "json":
		t := tuned{Version: "hpabench.dev/tune/v1", Assumed: s.Run.Assumed(), Result: r}
		for _, of := range s.Ranges {
			t.Ranges = append(t.Ranges, of.Name)
		}
		e := json.NewEncoder(a.stdout)
		e.SetIndent("", "  ")
		return errors.Join(e.Encode(t), missed)
	}
	text := func(format string, args ...any) {
		fmt.Fprintln(a.stdout, strings.Join(reports.Wrap(fmt.Sprintf(format, args...), width(a.stdout)), "\n"))
	}
	for _, assumed := range s.Run.Assumed() {
		text("Assumed: %s", assumed)
	}
	text("Simulated: %d settings tried, %d dropped early, %d runs; missed is the share of requests outside %s, and may be %.3g %%.",
		r.Tried, r.Hopeless, r.Runs, s.SLO, (1-s.SLO.Share)*100)
	fmt.Fprintln(a.stdout)
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  \t%s\tmissed\tworst\treplica-hours\n", strings.Join(columns(s.Ranges), "\t"))
	row := func(mark string, o tune.Outcome) {
		fmt.Fprintf(t, "%s\t%s\t%.2f %%\t%.2f %%\t%.3f (%.3f – %.3f)\n", mark, strings.Join(tune.Values(s.Ranges, o.Setting), "\t"), o.Missed*100, o.WorstMissed*100, o.Hours, o.LeastHours, o.MostHours)
	}
	for i, o := range r.Front {
		mark := "  "
		if i == r.Recommended {
			mark = map[bool]string{true: "→ ", false: "✗ "}[r.Met]
		}
		row(mark, o)
	}
	row("is", r.Present)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	verdict := "→ is recommended"
	if missed != nil {
		verdict = "Nothing is recommended; ✗ is the least bad"
	}
	text("%s: %s.", verdict, r.Reason)
	for _, note := range r.Notes {
		text("%s", note)
	}
	fmt.Fprintln(a.stdout, "is: the present setting.")
	if missed == nil {
		_, err = fmt.Fprintf(a.stdout, "\n%s", manifest)
	}
	return errors.Join(err, missed)
}

// columns are the names of the settings, without the direction where only one has it.
func columns(ranges []tune.Range) (names []string) {
	for _, r := range ranges {
		_, name, found := strings.Cut(r.Name, ".")
		if !found || slices.ContainsFunc(ranges, func(other tune.Range) bool { return other != r && strings.HasSuffix(other.Name, "."+name) }) {
			name = strings.ToLower(strings.TrimPrefix(r.Name, "scale"))
		}
		names = append(names, name)
	}
	return names
}
