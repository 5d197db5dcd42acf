package simulate

import (
	"bytes"
	"encoding/json"
	"fmt"
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
		entries, score, err = Simulate(r)
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

func BenchmarkSpike(b *testing.B) {
	r := library(b, "spike")
	for b.Loop() {
		synctest.Test(&testing.T{}, func(t *testing.T) {
			if _, _, err := Simulate(r); err != nil {
				b.Error(err)
			}
		})
	}
}
