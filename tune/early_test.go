package tune

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/hpabench/hpabench/simulate"
)

// A load that is over before its time leaves a longer rest.
func TestCostOfALoadThatEndsEarly(t *testing.T) {
	s := search(t, "target=50..50")
	s.Phases = 1
	s.Runs[0].HPA.MinReplicas = new(int32(2))
	s.Runs[0].Phases[0].Seconds = 3600
	s.Do = func(context.Context, *simulate.Run) (simulate.Score, error) {
		return simulate.Score{Requests: 1, ReplicaSeconds: 3 * 600, Onset: 100, Ended: 700, Decisions: []simulate.Decision{{At: 110 * time.Second, From: 2, To: 5}, {At: 800 * time.Second, From: 5, To: 2}}}, nil
	}
	r, err := Tune(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if want := 48 + 600.0/3600; math.Abs(r.Present.Hours-want) > 1e-6 {
		t.Errorf("%g replica-hours a day, should be %g", r.Present.Hours, want)
	}
}
