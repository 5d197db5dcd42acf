package e2e

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/fit"
	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
)

// rates are the numbers in the source of a library scenario that scale its load.
var rates = regexp.MustCompile(`\b(rate|from|to|mean|amplitude): (\d+)\b`)

// atLevel is a scenario of the library with its highest rate at a share of what its pods can serve
// at max replicas. Each container has its CPU request as its limit, since without a limit it is the
// node that bounds the rate. Where memory is what bounds it, it is the rate at which all pods
// together are at their memory limit. "" if the scenario has no rate.
func atLevel(t *testing.T, f *scenarios.File, level float64) string {
	t.Helper()
	load := strings.Index(string(f.Source), "\n  load:")
	head := strings.Replace(string(f.Source[:load]), "resources: {requests: {cpu: 100m}}", "resources: {requests: {cpu: 100m}, limits: {cpu: 100m}}", 1)
	limited := must(scenarios.Parse(f.Metadata.Name, []byte(head+string(f.Source[load:])), nil))
	run := must(simulate.FromScenario(limited))
	peak := 0.0
	for _, p := range run.Phases {
		peak = max(peak, p.From+p.Amplitude, p.To)
	}
	if peak == 0 {
		return ""
	}
	p := run.Modelled()
	capacity := p.MaxRate(true, 1, p.MostCPU())
	if each, limit := p.Model.MemoryPerRequest, p.First().Resources.Limits.Memory(); each != nil && !each.IsZero() && !limit.IsZero() {
		capacity = (limit.AsApproximateFloat64() - p.Model.Memory.AsApproximateFloat64()) / (each.AsApproximateFloat64() * p.Model.MemoryHeld.Seconds())
	}
	factor := level * capacity * float64(run.HPA.MaxReplicas) / peak
	return head + rates.ReplaceAllStringFunc(string(f.Source[load:]), func(s string) string {
		m := rates.FindStringSubmatch(s)
		return fmt.Sprintf("%s: %.4g", m[1], factor*must(strconv.ParseFloat(m[2], 64)))
	})
}

// agreed is what a run of a scenario and its simulations are compared by.
type agreed struct {
	answers, errors float64 // a second
	p50, p99        float64 // s
	cpu             float64 // cores, mean
}

func agreedOf(r *analysis.Result) (a agreed) {
	total, n := r.Load.Total, 0.0
	seconds := r.EndSeconds - r.StartSeconds
	a.answers, a.errors = float64(total.Answered)/seconds, float64(total.Errors)/seconds
	a.p50, a.p99 = zeroIfNone(total.Latency.P50), zeroIfNone(total.Latency.P99)
	for _, s := range r.Timeline {
		if at := float64(s.Second); at >= r.StartSeconds && at < r.EndSeconds && s.CPUCores != nil {
			a.cpu, n = a.cpu+*s.CPUCores, n+1
		}
	}
	a.cpu /= max(n, 1)
	return a
}

// inService are the pods in service at the end of a second; many before it is known.
func inService(s analysis.Second) float64 {
	if s.InService == nil {
		return math.Inf(1)
	}
	return float64(*s.InService)
}

func zeroIfNone(x *float64) float64 {
	if x == nil {
		return 0
	}
	return *x
}

// TestLibraryIsTheSameSimulated runs each scenario of the library on the embedded cluster at 0.5, 0.9
// and 1.2 of what its pods can serve at max replicas, and simulates the record. The simulation has the
// cluster of the record (nodes, metrics, flags, stages of pods), and the workload of the scenario.
// HPABENCH_E2E_AGREE is 1, or a folder with runs that were made earlier.
func TestLibraryIsTheSameSimulated(t *testing.T) {
	earlier := os.Getenv("HPABENCH_E2E_AGREE")
	if earlier == "" || !embedded {
		t.Skip("make agree runs it")
	}
	var mu sync.Mutex
	var table []string // of a line for each run
	outside := 0       // figures of runs
	t.Run("runs", func(t *testing.T) {
		for _, f := range scenarios.Library() {
			if f.HasScaledObjects() { // TestKEDALibrary runs them
				continue
			}
			for _, level := range []float64{0.5, 0.9, 1.2} {
				name := fmt.Sprintf("%s-%g", f.Metadata.Name, level)
				source := atLevel(t, f, level)
				if source == "" { // no rate, so no level
					if name, source = f.Metadata.Name, string(f.Source); level > 0.5 {
						continue
					}
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					dir, trials := filepath.Join(earlier, name), fmt.Sprint(trials(name))
					if earlier == "1" {
						run := startRun(t, scenario(t, source), precise, "--repeat", trials, "--parallel", trials)
						select {
						case <-run.exited:
						case <-time.After(25 * time.Minute):
							t.Fatal("the run takes longer than 25 minutes")
						}
						if run.code > 1 { // 1 is an expectation that was missed
							t.Fatalf("the run ended with %d", run.code)
						}
						dir = run.dir
					}
					dirs := must(filepath.Glob(filepath.Join(dir, "*", "record.jsonl")))
					if len(dirs) == 0 {
						dirs = []string{filepath.Join(dir, "record.jsonl")}
					}
					faults := map[string][]string{}
					for _, file := range dirs {
						line := agrees(t, filepath.Dir(file), func(figure, fault string) { faults[figure] = append(faults[figure], fault) })
						mu.Lock()
						table = append(table, fmt.Sprintf("| %s | %s |", regexp.MustCompile(`-(\d)`).ReplaceAllString(name, " $1"), line))
						mu.Unlock()
					}
					for figure, of := range faults {
						say := t.Logf
						if len(of) == len(dirs) {
							say = t.Errorf
						}
						say("%s, in %d of %d runs: %s", figure, len(of), len(dirs), strings.Join(of, "; "))
						mu.Lock()
						outside += len(of)
						mu.Unlock()
					}
				})
			}
		}
	})
	slices.Sort(table)
	const figures = 6 // in a line
	if all := figures * len(table); 10*outside > all {
		t.Errorf("%d of %d figures are outside of what is simulated: by chance it is one in 10 at most", outside, all)
	} else {
		t.Logf("%d of %d figures are outside of what is simulated", outside, all)
	}
	t.Logf("embedded, simulated:\n| scenario | answers/s | errors/s | p50, s | p99, s | CPU, cores | replica curve | among simulations |\n|---|---|---|---|---|---|---|---|\n%s", strings.Join(table, "\n"))
}

// TestChainIsTheSameSimulated runs a chain whose last pods can do four times and twice what the spike asks of them.
func TestChainIsTheSameSimulated(t *testing.T) {
	embeddedWillDo(t)
	chain := string(must(os.ReadFile("../simulate/testdata/chain.yaml")))
	for _, cpu := range []string{"500m", "250m"} {
		t.Run(cpu, func(t *testing.T) {
			t.Parallel()
			run := startRun(t, scenario(t, strings.ReplaceAll(chain, "CPU", cpu)), precise)
			run.wait(0, 8*time.Minute)
			line := agrees(t, run.dir, func(figure, fault string) {
				say := t.Errorf
				// Of one run a decision comes a sync sooner or later by chance, and other tests beside it make requests slow.
				if slices.Contains([]string{"replica curve", "p50", "p99"}, figure) && os.Getenv("HPABENCH_E2E_AGREE") == "" {
					say = t.Logf
				}
				say("%s: %s", figure, fault)
			})
			t.Logf("answers/s, errors/s, p50 and p99 in s, CPU in cores; replica curve, and among simulations:\n%s", line)
		})
	}
}

// trials is how often a scenario is run. Where its pods are overloaded, chance decides whether they go out of
// service, or are killed for memory, before or after the HPA has metrics of them, and what comes after that.
func trials(name string) int {
	switch name {
	case "demo-nginx", "never-scales", "ramp-0.5", "ramp-0.9", "steps-0.5", "steps-0.9":
		return 1
	}
	return 3
}

// agrees holds a run against simulations of its record, and gives its line of the table. A figure is right if
// it is within its tolerance of the simulations' median, or, as chance has it, in their range: by chance a run is
// outside the range of 20 simulations once in 10 times, and each of three runs once in 1,000.
func agrees(t *testing.T, dir string, fault func(figure, fault string)) string {
	t.Helper()
	f, err := fit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	f.Plant.Workload, f.Plant.Costs, f.Plant.Pods.Ready, f.Reproduction = model.Model{}, nil, nil, nil
	plant := filepath.Join(t.TempDir(), "plant.yaml")
	must(0, os.WriteFile(plant, must(yaml.Marshal(f)), 0o666))
	const seeds = 20
	is, foretold := resultOf(t, dir), simulations(t, dir, seeds, "--like", plant)
	real := agreedOf(is)
	var all []agreed
	for _, r := range foretold {
		all = append(all, agreedOf(r))
	}
	line := ""
	for _, figure := range []struct {
		name               string
		relative, absolute float64
		of                 func(agreed) float64
	}{
		{"answers/s", 0.05, 0.1, func(a agreed) float64 { return a.answers }},
		{"errors/s", 0.2, 0.05 * (real.answers + real.errors), func(a agreed) float64 { return a.errors }},
		{"p50", 0.3, 0.01, func(a agreed) float64 { return a.p50 }},
		{"p99", 0.3, 0.05, func(a agreed) float64 { return a.p99 }},
		{"CPU", 0.07, 0.005, func(a agreed) float64 { return a.cpu }},
	} {
		slices.SortFunc(all, func(a, b agreed) int { return cmp.Compare(figure.of(a), figure.of(b)) })
		on, in, low, high := figure.of(real), figure.of(all[seeds/2]), figure.of(all[0]), figure.of(all[seeds-1])
		if math.Abs(on-in) > figure.relative*max(on, in)+figure.absolute && (on < low || on > high) {
			fault(figure.name, fmt.Sprintf("%.4g on the embedded cluster, %.4g simulated (%.4g to %.4g)", on, in, low, high))
		}
		line += fmt.Sprintf("%.3g, %.3g | ", on, in)
	}
	// Chance may take the run as far from the simulations as it takes one of these from the others. Where an
	// overload has the probe take pods out of service, they come and go every 10 to 20 s, and a second's drift
	// in each of these counts as an error.
	off, among := fit.CurveError(is, foretold), 0.0
	for i, r := range foretold {
		among = max(among, fit.CurveError(r, slices.Delete(slices.Clone(foretold), i, i+1)))
	}
	least := slices.MinFunc(is.Timeline, func(a, b analysis.Second) int { return cmp.Compare(inService(a), inService(b)) })
	most := max(fit.MaxError, among)
	if inService(least) < float64(is.Autoscaler.Min) {
		most = max(most, 2*fit.MaxError)
	}
	if off > most {
		fault("replica curve", fmt.Sprintf("%.1f %% from that simulated, and may be %.1f %%", off*100, most*100))
	}
	return line + fmt.Sprintf("%.1f %% | %.1f %%", off*100, among*100)
}
