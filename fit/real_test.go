package fit

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hpabench/hpabench/record"
)

// What was measured of testdata/workers.jsonl, a real run of a server of whose requests 4 are
// worked on at a time, each for 3 ms of CPU and 100 ms of waiting, and 60 more may wait for
// that, is what it was.
func TestLearnsRealWorkers(t *testing.T) {
	f, err := Open(filepath.Join("testdata", "workers.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	w := f.Plant.Workload
	if w.Workers == nil || *w.Workers != 4 || w.Queue == nil || *w.Queue < 58 || *w.Queue > 62 {
		t.Fatalf("there are %v workers and a queue of %v, should be 4 and 60", w.Workers, w.Queue)
	}
	if wait := w.Wait.Mean.Seconds(); wait < 0.098 || wait > 0.103 {
		t.Errorf("a request waits for %g s, should for 0.1", wait)
	}
}

// The real runs of testdata take as long as their simulations: limited.jsonl is one pod of hpa-example
// that has 50 ms of CPU in each 100 ms, and whose requests take about 51, at rates up to more
// than it can serve.
func TestLatencyIsThatOfRealRuns(t *testing.T) {
	for name, after := range map[string]string{"limited": "r2", "workers": ""} {
		run, err := record.Open(filepath.Join("testdata", name+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		foretold := foretell(t, run, learn(t, run).Plant, 5)
		for i, is := range analyze(t, run).Load.Phases {
			if is.Name == after { // where what was left of the overload is all that counts
				continue
			}
			// Of an overload the simulated median moves by a twentieth with a hundredth of the cost.
			var p50, p90, rate []float64
			for _, r := range foretold {
				p := &r.Load.Phases[i]
				p50, p90, rate = append(p50, *p.Latency.P50), append(p90, *p.Latency.P90), append(rate, *p.AchievedRate)
			}
			for _, of := range []struct {
				figure    string
				real      float64
				simulated []float64
				share     float64
			}{{"p50", *is.Latency.P50, p50, 0.3}, {"p90", *is.Latency.P90, p90, 0.25}, {"answers a second", *is.AchievedRate, rate, 0.12}} {
				slices.Sort(of.simulated)
				median := of.simulated[len(of.simulated)/2]
				t.Logf("%s, %s: %s %.3f, when simulated %.3f", name, is.Name, of.figure, of.real, median)
				if math.Abs(median-of.real) > of.share*of.real {
					t.Errorf("%s, %s: %s is %.3f, but %.3f when simulated", name, is.Name, of.figure, of.real, median)
				}
			}
		}
	}
}
