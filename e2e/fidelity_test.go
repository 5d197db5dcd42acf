package e2e

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/fit"
	"github.com/hpabench/hpabench/record"
)

// TestFidelity runs scenarios on the real cluster, fits a plant to two runs of the first of them, and
// says how well it foretells the others. HPABENCH_E2E_FIDELITY is 1, or a folder with runs
// that were made earlier.
func TestFidelity(t *testing.T) {
	earlier := os.Getenv("HPABENCH_E2E_FIDELITY")
	if earlier == "" {
		t.Skip("make e2e-fidelity runs it")
	}
	runs := map[string]string{}
	names := []string{"spike", "flapping", "ramp", "sine", "slow-start", "slow-stop", "steps"}
	for _, name := range names {
		if runs[name] = filepath.Join(earlier, name); earlier == "1" {
			var twice []string
			if name == names[0] {
				twice = []string{"--repeat", "2"}
			}
			run := startRun(t, name, twice...)
			run.wait(0, 20*time.Minute)
			runs[name] = run.dir
		}
	}
	var curves []float64
	decisions, near := 0, 0
	for _, name := range names[1:] {
		is := resultOf(t, runs[name])
		var foretold []*analysis.Result
		for seed := range 15 {
			out := filepath.Join(t.TempDir(), fmt.Sprint(seed))
			simulation := hpabench(t, "simulate", runs[name], "--like", runs[names[0]], "--seed", fmt.Sprint(seed+1), "--out", out, "-o", "json")
			select {
			case <-simulation.exited: // with 1 if an expectation was missed
			case <-time.After(time.Minute):
				t.Fatal("a simulation takes longer than a minute")
			}
			foretold = append(foretold, resultOf(t, out))
		}
		f := fit.Compare(is, foretold)
		curves = append(curves, f.Curve)
		line := ""
		for _, d := range f.Decisions {
			decisions++
			off := "not foretold"
			if d.Off != nil {
				off = fmt.Sprintf("%+.1f s", *d.Off)
				// An hpabench that watches sees a decision to a tenth of a second, and syncs come
				// later by some milliseconds each.
				if math.Abs(*d.Off) <= 15.5 {
					near++
				}
			}
			line += fmt.Sprintf("\n  %5.1f s %d → %d: %s", d.At, d.From, d.To, off)
		}
		t.Logf("%s: the replica curves are %.1f %% apart in the median simulation (%.1f to %.1f); the real one is inside all of theirs for %.0f %% of the time%s",
			name, f.Curve*100, f.Best*100, f.Worst*100, f.Inside*100, line)
	}
	slices.Sort(curves)
	median := (curves[2] + curves[3]) / 2
	t.Logf("in the median of %d scenarios the curves are %.1f %% apart; %d of %d decisions are within a sync period", len(curves), median*100, near, decisions)
	if median > 0.1 {
		t.Errorf("the median error of the replica curves is %.1f %%, should be 10 %% at most", median*100)
	}
	if float64(near) < 0.9*float64(decisions) {
		t.Errorf("%d of %d decisions are within a sync period, should be nine of ten", near, decisions)
	}
}

func resultOf(t *testing.T, dir string) *analysis.Result {
	t.Helper()
	run, err := record.Open(filepath.Join(dir, "record.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := analysis.Analyze(run)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
