package tune

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
)

func TestMain(m *testing.M) {
	simulate.Child()
	os.Exit(m.Run())
}

// sixteenMinutes is the library's spike, longer: 4 minutes at 45 requests a second of 16.
func sixteenMinutes(b *testing.B) *simulate.Run {
	for _, f := range scenarios.Library() {
		if f.Metadata.Name != "spike" {
			continue
		}
		r, err := simulate.FromScenario(f)
		if err != nil {
			b.Fatal(err)
		}
		rate := func(name string, seconds, from float64) record.Phase {
			return record.Phase{Name: name, Seconds: seconds, Shape: record.ShapeRate, From: from}
		}
		r.Phases = []record.Phase{rate("idle", 120, 2), rate("spike", 240, 45), rate("calm", 600, 2)}
		return r
	}
	b.Fatal("the library has no spike")
	return nil
}

func benchmark(b *testing.B, settings, phases int) {
	pool, err := simulate.Start(runtime.GOMAXPROCS(0))
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	ranges, err := ParseRanges(sixteenMinutes(b), "target=40..80,scaleDown.stabilization=0s..600s")
	if err != nil {
		b.Fatal(err)
	}
	runs := 0
	for b.Loop() {
		r, err := Tune(b.Context(), Search{Runs: []*simulate.Run{sixteenMinutes(b)}, PerDay: 1, Ranges: ranges, SLO: SLO{250 * time.Millisecond, 0.99}, Settings: settings, Phases: phases,
			Seed: 1, Do: pool.Score, Workers: runtime.GOMAXPROCS(0)})
		if err != nil {
			b.Fatal(err)
		}
		runs += r.Runs
	}
	b.ReportMetric(float64(runs)/float64(b.N), "runs/op")
}

// BenchmarkRuns are 500 runs of 16 minutes.
func BenchmarkRuns(b *testing.B) { benchmark(b, 499, 1) }

// BenchmarkTune is a search over 300 settings from 15 points of the sync period.
func BenchmarkTune(b *testing.B) { benchmark(b, 300, 15) }
