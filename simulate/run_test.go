package simulate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// library is a run of a scenario of the library.
func library(t testing.TB, name string) *Run {
	t.Helper()
	for _, f := range scenarios.Library() {
		if f.Metadata.Name == name {
			r, err := FromScenario(f)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
	}
	t.Fatal("there is no scenario " + name)
	return nil
}

func simulate(t *testing.T, r *Run) (entries []record.Entry, score Score) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var err error
		score, err = Simulate(r, func(e record.Entry) { entries = append(entries, e) })
		if err != nil {
			t.Fatal(err)
		}
	})
	return entries, score
}

func TestTwice(t *testing.T) {
	for _, f := range scenarios.Library() {
		t.Run(f.Metadata.Name, func(t *testing.T) {
			var made [2][]byte
			for i := range made {
				r := library(t, f.Metadata.Name)
				r.Seed, r.Header = 7, &record.Header{Scenario: f.Metadata.Name, MetricsEvery: 1}
				entries, score := simulate(t, r)
				for _, e := range entries {
					line, err := json.Marshal(e)
					if err != nil {
						t.Fatal(err)
					}
					made[i] = append(append(made[i], line...), '\n')
				}
				s := ""
				for _, d := range score.Decisions {
					s += fmt.Sprintf(" %v %d", d.At.Round(100*time.Millisecond), d.To)
				}
				t.Logf("%.0f requests, %.0f missed, %.0f replica-seconds, onset %v:%s", score.Requests, score.Missed, score.ReplicaSeconds, score.Onset, s)
			}
			if !bytes.Equal(made[0], made[1]) {
				t.Error("two runs with one seed differ")
			}
		})
	}
}

// TestPlainTime is the second oracle: the same run with the clock of the machine, where
// nothing leaps, comes to the same decisions. Its periods are short, and it takes two
// minutes.
func TestPlainTime(t *testing.T) {
	if os.Getenv("HPABENCH_E2E_FIDELITY") == "" {
		t.Skip("make e2e-fidelity runs it")
	}
	short := func() *Run {
		r := library(t, "spike")
		// So that nothing depends on which of two things is first within half a second.
		r.Seed, r.Served = 3, &[2]time.Duration{1500 * time.Millisecond, 1500 * time.Millisecond}
		r.Plant.Control.Sync.Duration = 3 * time.Second
		r.Plant.Control.CPUInitialization.Duration, r.Plant.Control.InitialReadiness.Duration = 10*time.Second, time.Second
		r.Plant.Metrics.Housekeeping.Duration, r.Plant.Metrics.Resolution.Duration = 0, 5*time.Second
		r.HPA.Behavior.ScaleDown.StabilizationWindowSeconds = new(int32(10))
		for i, seconds := range []float64{5, 45, 45} {
			r.Phases[i].Seconds = seconds
		}
		return r
	}
	_, virtual := simulate(t, short())
	plain, err := Simulate(short(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("in virtual time from %.3f s %v\nin plain time from %.3f s %v", virtual.Onset, virtual.Decisions, plain.Onset, plain.Decisions)
	if len(virtual.Decisions) < 3 || len(virtual.Decisions) != len(plain.Decisions) {
		t.Fatal("there are not as many decisions")
	}
	for i, want := range virtual.Decisions {
		got := plain.Decisions[i]
		if off := got.At - want.At; got.From != want.From || got.To != want.To || off < -300*time.Millisecond || off > 300*time.Millisecond {
			t.Errorf("decision %d is %v, was %v in virtual time", i, got, want)
		}
	}
}

func BenchmarkSpike(b *testing.B) {
	r := library(b, "spike")
	for b.Loop() {
		synctest.Test(&testing.T{}, func(t *testing.T) {
			if _, err := Simulate(r, nil); err != nil {
				b.Error(err)
			}
		})
	}
}

// BenchmarkDayOnThePlant is 24 hours of the spike every 16 minutes: 2 to 45 requests a second.
func BenchmarkDayOnThePlant(b *testing.B) {
	r := library(b, "spike")
	r.Phases = nil
	for range 24 * 60 / 16 {
		r.Phases = append(r.Phases,
			record.Phase{Name: "low", Seconds: 50, Shape: record.ShapeRate, From: 2},
			record.Phase{Name: "spike", Seconds: 180, Shape: record.ShapeRate, From: 45},
			record.Phase{Name: "calm", Seconds: 730, Shape: record.ShapeRate, From: 2})
	}
	for b.Loop() {
		synctest.Test(&testing.T{}, func(t *testing.T) {
			if _, err := Simulate(r, nil); err != nil {
				b.Error(err)
			}
		})
	}
}
