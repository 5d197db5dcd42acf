package fit

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
)

const keptSuffix = ", kept"

// libraryRecords are those of each library scenario as it is simulated, on connections that are not
// kept and on kept ones.
func libraryRecords(t *testing.T) map[string]record.Run {
	t.Helper()
	runs := map[string]record.Run{}
	for _, s := range scenarios.Library() {
		for name, text := range map[string]string{s.Metadata.Name: string(s.Source), s.Metadata.Name + keptSuffix: strings.ReplaceAll(string(s.Source), ", keepAlive: false", "")} {
			if name == "memory" {
				continue // its connections are kept
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
		if kept := strings.HasSuffix(name, keptSuffix); kept != (f.Plant.Costs == nil) && asked(f) {
			t.Errorf("%s: costs by pod are %v", name, f.Plant.Costs)
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

func asked(f *Fit) bool {
	return slices.ContainsFunc(f.Measured, func(p Parameter) bool { return p.Name == "workload.cpu" && p.Missing == "" })
}
