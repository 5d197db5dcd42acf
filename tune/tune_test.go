package tune

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/simulate"
)

// made is a run whose score follows from its target: the higher it is, the fewer
// replica-hours and the more misses, from half of the requests on a target of 80 on.
func made(_ context.Context, r *simulate.Run) (simulate.Score, error) {
	target := float64(*r.HPA.Metrics[0].Resource.Target.AverageUtilization)
	missed := max(0, target-70) * 5 * (1 + r.Wait.Seconds()/100)
	return simulate.Score{Requests: 1000, Missed: missed, ReplicaSeconds: 3600 * 100 / target * (1 + r.Wait.Seconds()/1000)}, nil
}

func search(t *testing.T, vary string) Search {
	t.Helper()
	ranges, err := ParseRanges(vary)
	if err != nil {
		t.Fatal(err)
	}
	run := &simulate.Run{}
	run.Plant.Control.Sync.Duration = 15 * time.Second
	run.HPA = autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 5, Metrics: []autoscalingv2.MetricSpec{{
		Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu", Target: autoscalingv2.MetricTarget{AverageUtilization: new(int32(50))}},
	}}}
	return Search{Run: run, Ranges: ranges, SLO: SLO{100 * time.Millisecond, 0.99}, Settings: 200, Phases: 15, Seed: 1, Workers: 2, Do: made}
}

func TestRecommendsTheCheapestThatMeetsTheSLO(t *testing.T) {
	s := search(t, "target=30..90")
	r, err := Tune(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	// 1 % of 1000 are 10 requests: 71 misses 5 to 5.7, 72 misses 10 and more.
	if got := r.Front[r.Recommended].Setting[0]; got != 71 {
		t.Errorf("target %g is recommended, should be 71: %+v", got, r.Front)
	}
	if r.Tried != 61 || r.Present.Setting[0] != 50 {
		t.Errorf("tried %d from %v, should be all of 61 and 50", r.Tried, r.Present.Setting)
	}
	for i, o := range r.Front[1:] {
		if before := r.Front[i]; o.Hours <= before.Hours || o.Missed >= before.Missed {
			t.Errorf("%+v after %+v is no front", o, before)
		}
	}
	if r.Hopeless == 0 {
		t.Error("none was given up, though those below 70 miss as little as 70 and cost more")
	}
	s.Workers = 1
	again, err := Tune(t.Context(), s)
	if err != nil || !reflect.DeepEqual(r, again) {
		t.Errorf("with one worker the result differs (%v)", err)
	}
	s.Ranges[0].Low = 80
	if r, err = Tune(t.Context(), s); err != nil || !strings.HasPrefix(r.Reason, "the cheapest") {
		t.Errorf("the present setting alone meets the SLO, and the reason is %q (%v)", r.Reason, err)
	}
	s.Run.HPA.Metrics[0].Resource.Target.AverageUtilization = new(int32(85))
	if r, err = Tune(t.Context(), s); err != nil || !strings.HasPrefix(r.Reason, "none of") || r.Met || r.Front[r.Recommended].Setting[0] != 80 {
		t.Errorf("none meets the SLO, and %v is recommended: %q (%v)", r.Front[r.Recommended].Setting, r.Reason, err)
	}
}

// Where nothing meets the SLO, the runs say which of start-up, capacity and latency is at fault;
// else what the next cheaper and more load would miss.
func TestNotes(t *testing.T) {
	for want, missed := range map[string]func(r *simulate.Run) float64{
		"the pods come too late":      func(r *simulate.Run) float64 { return map[bool]float64{true: 0, false: 300}[r.HPA.MinReplicas != nil] },
		"the capacity is too low":     func(r *simulate.Run) float64 { return map[bool]float64{true: 0, false: 1000}[r.Phases[0].From < 40] },
		"no setting of the HPA can":   func(*simulate.Run) float64 { return 1000 },
		"With 2 times the load it mi": func(r *simulate.Run) float64 { return map[bool]float64{true: 20, false: 0}[r.Phases[0].From == 200] },
		"times the load it meets":     func(*simulate.Run) float64 { return 0 },
		"would save": func(r *simulate.Run) float64 {
			return max(0, float64(*r.HPA.Metrics[0].Resource.Target.AverageUtilization)-70) * 5
		},
		"target=90 is the edge": func(*simulate.Run) float64 { return 0 },
	} {
		s := search(t, "target=30..90")
		s.Phases, s.Run.Phases = 2, []record.Phase{{Seconds: 60, Shape: record.ShapeRate, From: 100}}
		s.Do = func(ctx context.Context, r *simulate.Run) (simulate.Score, error) {
			score, err := made(ctx, r)
			score.Missed = missed(r)
			return score, err
		}
		r, err := Tune(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if notes := strings.Join(r.Notes, " "); !strings.Contains(notes, want) || strings.Contains(notes+r.Reason, "e+") {
			t.Errorf("the notes are %q, should have %q", notes, want)
		}
		if s.Run.Phases[0].From != 100 {
			t.Error("the load of the run itself was changed")
		}
	}
}

func TestAnErrorEndsTheSearch(t *testing.T) {
	s := search(t, "target=30..90")
	broken := errors.New("broken")
	s.Do = func(context.Context, *simulate.Run) (simulate.Score, error) {
		return simulate.Score{}, broken
	}
	if _, err := Tune(t.Context(), s); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
}

// Each knob has the effect that it is named for, and is read back as it was set.
func TestKnobs(t *testing.T) {
	for _, name := range Knobs() {
		s := search(t, "target=30..90")
		ranges := []Range{{Name: name}}
		v := 7.0
		if knobs[name].share {
			v = 0.07
		}
		with, err := apply(s.Run, ranges, Setting{v})
		if err != nil {
			t.Fatal(err)
		}
		if got := present(with, ranges)[0]; math.Abs(got-v) > 1e-9 {
			t.Errorf("%s is %g after it was set to %g", name, got, v)
		}
		if got := present(s.Run, ranges)[0]; got == v {
			t.Errorf("%s of the run that it was set from has changed", name)
		}
	}
}

func TestSample(t *testing.T) {
	ranges, err := ParseRanges("target=40..80,scaleDown.stabilization=0s..600s,scaleUp.tolerance=0.05..0.2")
	if err != nil {
		t.Fatal(err)
	}
	settings := sample(ranges, 300)
	if len(settings) != 300 || !slices.Equal(settings[0], Setting{40, 0, 0.05}) {
		t.Errorf("%d settings from %v on", len(settings), settings[0])
	}
	low := 0
	for _, s := range settings {
		if s[1] < 300 {
			low++
		}
	}
	if low < 140 || low > 160 {
		t.Errorf("%d of 300 are in the lower half of a range", low)
	}
	if got := Show(ranges, settings[1]); got != "target=80 scaleDown.stabilization=0s scaleUp.tolerance=0.05" {
		t.Error(got)
	}
}

func TestBadInput(t *testing.T) {
	for text, want := range map[string]string{
		"target":                      "is not like target=40..80",
		"target=40":                   "is not like target=40..80",
		"aim=40..80":                  `there is no setting "aim": there are max, min, scaleDown.`,
		"target=80..40":               "80 is more than 40",
		"target=0..40":                "target must be 0.001 at least",
		"sync=15..30":                 "sync: time: missing unit",
		"target=4..5,target=40..80":   "target is there twice",
		"scaleDown.stabilization=a..": "scaleDown.stabilization: time: invalid",
	} {
		if _, err := ParseRanges(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("of %s the error is %v, should have %q", text, err, want)
		}
	}
	for text, want := range map[string]string{"99 < 1s": "is not like", "p100 < 1s": "between 0 and 100", "p99 < 5": "is no latency"} {
		if _, err := ParseSLO(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("of %s the error is %v, should have %q", text, err, want)
		}
	}
	if s, err := ParseSLO("p99.9<=1.5s"); err != nil || s.Share < 0.9989 || s.Latency != 1500*time.Millisecond {
		t.Errorf("%v, %v", s, err)
	}
}
