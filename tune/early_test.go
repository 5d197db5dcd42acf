package tune

import (
	"context"
	"math"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

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
	if want := 590.0 / 600; math.Abs(r.Present.AtMax-want) > 1e-6 {
		t.Errorf("at max for %g of the load, should be %g", r.Present.AtMax, want)
	}
	if want := 48 + 600.0/3600; math.Abs(r.Present.Hours-want) > 1e-6 {
		t.Errorf("%g replica-hours a day, should be %g", r.Present.Hours, want)
	}
}

// An HPA whose policies let it take a pod away each half an hour is followed to the end of its way down.
func TestFollowsASlowPolicy(t *testing.T) {
	s := search(t, "target=50..50")
	s.Runs[0].HPA.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{
		StabilizationWindowSeconds: new(int32(60)), Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 1800}}}}
	do := s.Do
	s.Do = func(ctx context.Context, r *simulate.Run) (simulate.Score, error) {
		if r.Rest > 0 && r.Calm <= 1800*time.Second {
			t.Errorf("it is given up after %s without a decision", r.Calm)
		}
		return do(ctx, r)
	}
	if _, err := Tune(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}
