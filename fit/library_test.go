package fit

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
)

const keptSuffix, unlikeSuffix, laterSuffix = ", kept", ", kept, of pods that are not alike", ", from another point of the sync period"

// unlike are what a request costs in the pods that are not alike, relative to the plant.
var unlike = []float64{0.7, 1.3, 1, 0.8, 1.2}

// libraryRecords are those of each library scenario as it is simulated, on connections that are not
// kept and on kept ones; and on kept ones that come to another pod now and then, which costs more or less. Some
// are of a second trial too.
func libraryRecords(t *testing.T) map[string]record.Run {
	t.Helper()
	runs := map[string]record.Run{}
	for _, s := range scenarios.Library() {
		kept := strings.ReplaceAll(string(s.Source), ", keepAlive: false", "")
		for name, text := range map[string]string{s.Metadata.Name: string(s.Source), s.Metadata.Name + keptSuffix: kept, s.Metadata.Name + unlikeSuffix: kept, s.Metadata.Name + laterSuffix: string(s.Source)} {
			switch {
			case name == "memory": // its connections are kept
				continue
			case strings.HasSuffix(name, unlikeSuffix) && !slices.Contains([]string{"ramp", "sine", "spike", "steps"}, s.Metadata.Name),
				strings.HasSuffix(name, laterSuffix) && !slices.Contains([]string{"ramp", "slow-start", "spike"}, s.Metadata.Name):
				continue
			}
			f, err := scenarios.Parse(name, []byte(text), nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := simulate.FromScenario(f)
			if err != nil {
				t.Fatal(err)
			}
			r.Header, r.Seed = f.Header(), 1
			r.Header.MetricsEvery = 1
			if strings.HasSuffix(name, unlikeSuffix) {
				r.Costs, r.MaxConnectionAge = unlike, 40*time.Second
			}
			if strings.HasSuffix(name, laterSuffix) {
				r = r.Nth(r.Seed, 1)
			}
			var run record.Run
			synctest.Test(t, func(t *testing.T) {
				if _, err := simulate.Simulate(r, func(e record.Entry) { run.Entries = append(run.Entries, e) }); err != nil {
					t.Fatal(err)
				}
			})
			runs[name] = run
		}
	}
	return runs
}

// A fit reproduces the record that it is learnt from: of each library scenario, on new connections and
// on kept ones, of which a NodePort does not tell the pod.
func TestFitsReproduceTheirRecords(t *testing.T) {
	for name, run := range libraryRecords(t) {
		f := learn(t, run)
		reproduce(t, f)
		t.Logf("%-20s error %.3f", name, f.Reproduction.Error)
		// Each decision of flapping hangs on which sample the HPA saw, and on the one before: the plant
		// that the record was made on is 8 % from it.
		if why := f.Reproduction.Fault(); why != "" && (name != "flapping" || f.Reproduction.Error > 0.13) {
			t.Errorf("%s: %s", name, why)
		}
		cpu := 1.0
		for _, p := range f.Measured {
			if p.Name == "workload.cpu" {
				cpu = p.Value / f.own.Modelled().Cost(false)
			}
		}
		for i, c := range f.Costs {
			truth := 1.0
			if strings.HasSuffix(name, unlikeSuffix) {
				truth = unlike[i%len(unlike)]
			}
			if strings.Contains(name, keptSuffix) && c > 0 && math.Abs(c*cpu/truth-1) > 0.1 {
				t.Errorf("%s: a request costs %.2f times the model's in pod %d, should cost %g", name, c*cpu, i, truth)
			}
		}
	}
}

func reproduce(t *testing.T, f *Fit) {
	t.Helper()
	if err := f.Reproduce(t.Context(), func(_ context.Context, r *simulate.Run) (score simulate.Score, err error) {
		synctest.Test(t, func(*testing.T) { score, err = simulate.Simulate(r, nil) })
		return score, err
	}); err != nil {
		t.Fatal(err)
	}
}
