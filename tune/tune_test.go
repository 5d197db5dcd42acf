package tune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/google/go-cmp/cmp"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
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
	run := &simulate.Run{Replicas: AtMin, Phases: []record.Phase{{Seconds: 600, Shape: record.ShapeRate, From: 10}}}
	run.Plant.Control.Sync.Duration, run.Plant.Metrics.Resolution.Duration = 15*time.Second, 15*time.Second
	run.Plant.Nodes = []simulate.Node{{Name: "large"}}
	run.Pod.Containers = make([]corev1.Container, 1)
	run.HPA = autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 5, Metrics: []autoscalingv2.MetricSpec{{
		Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu", Target: autoscalingv2.MetricTarget{AverageUtilization: new(int32(50))}},
	}}}
	ranges, err := ParseRanges(run, vary)
	if err != nil {
		t.Fatal(err)
	}
	return Search{Runs: []*simulate.Run{run}, PerDay: 1, Ranges: ranges, SLO: SLO{100 * time.Millisecond, 0.99}, Settings: 200, Phases: 15, Seed: 1, Workers: 2, Do: made}
}

func TestRecommendsTheCheapestThatMeetsTheSLO(t *testing.T) {
	s := search(t, "target=30..90")
	r, err := Tune(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	// 1 % of 1000 are 10 requests: 71 misses 5 to 5.7, 72 misses 10 and more.
	if got := r.Front[r.Best].Setting[0]; got != 71 {
		t.Errorf("target %g is recommended, should be 71: %+v", got, r.Front)
	}
	if r.Tried != 61 || r.Present.Setting[0] != 50 {
		t.Errorf("tried %d from %v, should be all of 61 and 50", r.Tried, r.Present.Setting)
	}
	for i, o := range r.Front[1:] {
		if before := r.Front[i]; o.Cost <= before.Cost || o.WorstMissed >= before.WorstMissed {
			t.Errorf("%+v after %+v is no front", o, before)
		}
	}
	if r.Hopeless == 0 {
		t.Error("none was given up, though those below 70 miss as little as 70 and cost more")
	}
	s.Workers = 1
	again, err := Tune(t.Context(), s)
	if err != nil || !reflect.DeepEqual(r, again) {
		t.Errorf("with one worker the result differs (%v): %s", err, cmp.Diff(r, again))
	}
	s.Ranges[0].Low = 80
	if r, err = Tune(t.Context(), s); err != nil || r.Verdict != NoneMeets || r.Tried != 11 || r.Front[r.Best].Setting[0] != 80 || !strings.HasSuffix(r.Reason, "; the present setting, outside the ranges, meets it") {
		t.Errorf("the present setting alone meets the SLO, and the reason is %q (%v)", r.Reason, err)
	}
	s.Ranges, _ = ParseRanges(s.Runs[0], "target=31..40") // dearer than the present 50, which meets the SLO as they do
	if r, err = Tune(t.Context(), s); err != nil || r.Verdict != KeepPresent || len(r.Notes) > 0 || !strings.HasPrefix(r.Reason, "the present setting, outside the ranges, meets p99 < 100ms too, and is ranked by 25.85 replica-hours a day, the cheapest within them by 26.35. Keep it") {
		t.Errorf("the present setting is cheaper, and %q is %s (%v)", r.Reason, r.Verdict, err)
	}
	s.Ranges, _ = ParseRanges(s.Runs[0], "target=50..50")
	if r, err = Tune(t.Context(), s); err != nil || r.Verdict != NoDifference || !strings.Contains(r.Reason, "is the only one that was tried") {
		t.Errorf("%q is %s (%v)", r.Reason, r.Verdict, err)
	}
	for vary, of := range map[string]int{"target=30..90": 20, "target=60..90": 20} { // the present one counts where it is within
		s.Ranges, _ = ParseRanges(s.Runs[0], vary)
		s.Settings = 20
		if r, err = Tune(t.Context(), s); err != nil || r.Tried != of {
			t.Errorf("%s: %d settings were tried, of %d at most (%v)", vary, r.Tried, of, err)
		}
	}
	s.Settings = 200
	s.Ranges, _ = ParseRanges(s.Runs[0], "min=6..9")
	if _, err := Tune(t.Context(), s); !errors.Is(err, ErrNoSetting) {
		t.Errorf("no min is within max, and the error is %v", err)
	}
	s.Ranges, _ = ParseRanges(s.Runs[0], "min=3..9")
	if r, err = Tune(t.Context(), s); err != nil || r.Verdict == Recommended && r.Front[r.Best].Setting[0] < 3 {
		t.Errorf("a min outside of 3..9 is recommended: %+v (%v)", r, err)
	}
	s.Ranges, _ = ParseRanges(s.Runs[0], "target=80..90")
	s.Runs[0].HPA.Metrics[0].Resource.Target.AverageUtilization = new(int32(85))
	if r, err = Tune(t.Context(), s); err != nil || !strings.HasPrefix(r.Reason, "none of") || r.Verdict != NoneMeets || r.Front[r.Best].Setting[0] != 80 {
		t.Errorf("none meets the SLO, and %v is recommended: %q (%v)", r.Front[r.Best].Setting, r.Reason, err)
	}
}

// A setting that meets the SLO in each phase is recommended though a cheaper one misses less on average.
func TestRecommendsByTheWorst(t *testing.T) {
	s := search(t, "target=60..61")
	s.SLO.Share = 0.99
	s.Do = func(_ context.Context, r *simulate.Run) (simulate.Score, error) {
		switch target, first := *r.HPA.Metrics[0].Resource.Target.AverageUtilization, r.Wait == 0; {
		case target == 61 && first:
			return simulate.Score{Requests: 1000, Missed: 12, ReplicaSeconds: 3600}, nil
		case target == 60:
			return simulate.Score{Requests: 1000, Missed: 9, ReplicaSeconds: 3700}, nil
		}
		return simulate.Score{Requests: 1000, ReplicaSeconds: 3600 * float64(91-*r.HPA.Metrics[0].Resource.Target.AverageUtilization) / 30}, nil
	}
	s.Runs[0].HPA.Metrics[0].Resource.Target.AverageUtilization = new(int32(30)) // dearer than both, and misses none
	r, err := Tune(t.Context(), s)
	if err != nil || r.Verdict != Recommended || r.Front[r.Best].WorstMissed != 0.009 {
		t.Errorf("recommended is %+v: %s (%v)", r.Front[r.Best], r.Reason, err)
	}
}

// A direction without policies of its own has no value of its own: null in JSON, and not rounded.
func TestSettingsThatTheHPADoesNotHave(t *testing.T) {
	s := search(t, "scaleUp.percent=50..100")
	s.Phases = 1
	r, err := Tune(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r.Present)
	if err != nil || !strings.Contains(string(text), `"setting":[null]`) || strings.Contains(r.Reason, "rounded") {
		t.Errorf("%s, %s (%v)", text, r.Reason, err)
	}
}

// Where nothing meets the SLO, the runs say which of start-up, capacity and latency is at fault;
// else what the next cheaper and more load would miss.
func TestNotes(t *testing.T) {
	pods := func(missed ...float64) func(r *simulate.Run) float64 { // with so many from the start, and without any
		return func(r *simulate.Run) float64 {
			if r.HPA.MinReplicas == nil {
				return missed[0]
			}
			return missed[*r.HPA.MinReplicas] * map[bool]float64{true: 0, false: 1}[r.Phases[0].From < 40]
		}
	}
	even := func(then float64, missed func(r *simulate.Run) float64) func(r *simulate.Run) float64 {
		return func(r *simulate.Run) float64 {
			if r.Even {
				return then
			}
			return missed(r)
		}
	}
	late := func(r *simulate.Run) float64 { return map[bool]float64{true: 0, false: 300}[r.HPA.MinReplicas != nil] }
	for want, missed := range map[string]func(r *simulate.Run) float64{
		"with the requests spread evenly over the pods 0.5 % of the requests miss the SLO at most, but kept connections stay with":     even(5, pods(300, 300, 300, 300, 300, 4)),
		"Have the pods in front close their connections to the target after a while":                                                   even(5, pods(300, 300, 300, 300, 300, 4)),
		"(finding starved). Close connections after less than the load's maxConnectionAge of 5s, or balance requests by a proxy.":      even(5, pods(300, 300, 300, 300, 300, 4)),
		"with 2 pods ready from the start 0.6 % of the requests miss the SLO at most, and more miss it with 5: take 2 as min and max.": pods(300, 200, 6, 300, 300, 300),
		"with 5 pods ready from the start and the requests spread evenly over them 0.4 % of the requests miss the SLO at most, but kept connections stay with the pods that they were opened to, and the others get few of the requests (finding starved). Close connections after a while (maxConnectionAge in the scenario's load shows what that does), or balance requests by a proxy; and the pods come too late, so take a shorter start-up or a higher min too.": func(r *simulate.Run) float64 {
			if r.Even && r.HPA.MinReplicas != nil {
				return 4
			}
			return pods(300, 300, 300, 300, 300, 300)(r)
		},
		"the pods come too late: a shorter start-up, or a higher min.": late, // the least bad, 90, is the cheapest
		"the pods come too late: a shorter start-up, a higher min, or a lower target.": func(r *simulate.Run) float64 {
			return late(r) + float64(*r.HPA.Metrics[0].Resource.Target.AverageUtilization)*map[bool]float64{true: 0, false: 1}[r.HPA.MinReplicas != nil]
		},
		"but for 30 s of the load the HPA counted no pod, since none was ready for long enough (finding none-counted): a readiness probe that holds": late,
		"the capacity is too low":     func(r *simulate.Run) float64 { return map[bool]float64{true: 0, false: 1000}[r.Phases[0].From < 40] },
		"no setting of the HPA can":   func(*simulate.Run) float64 { return 1000 },
		"With 2 times the load it mi": func(r *simulate.Run) float64 { return map[bool]float64{true: 20, false: 0}[r.Phases[0].From == 200] },
		"times the load it meets":     func(*simulate.Run) float64 { return 0 },
		"would save": func(r *simulate.Run) float64 {
			return max(0, float64(*r.HPA.Metrics[0].Resource.Target.AverageUtilization)-70) * 5
		},
		"target=90 is the edge":                          func(*simulate.Run) float64 { return 0 },
		"never scales: With 1.3 times the load it meets": func(*simulate.Run) float64 { return 0 }, // better than the edge is nothing
	} {
		s := search(t, "target=30..90")
		s.Phases, s.Runs[0].Phases = 2, []record.Phase{{Seconds: 60, Shape: record.ShapeRate, From: 100, KeepAlive: true}}
		if strings.Contains(want, "pods in front") {
			s.Runs[0].Front, s.Runs[0].Phases[0].KeepAlive = &simulate.Front{}, false
		}
		if strings.Contains(want, "maxConnectionAge of 5s") {
			s.Runs[0].MaxConnectionAge = 5 * time.Second
		}
		s.Do = func(ctx context.Context, r *simulate.Run) (simulate.Score, error) {
			score, err := made(ctx, r)
			score.Missed = missed(r)
			if strings.Contains(want, "none-counted") {
				score.Uncounted = 30
			}
			if !strings.Contains(want, "never scales: ") {
				score.Decisions = []simulate.Decision{{From: 1, To: 2}, {At: time.Minute, From: 2, To: 1}}
			}
			return score, err
		}
		r, err := Tune(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if notes := strings.Join(r.Notes, " "); !strings.HasPrefix("never scales: "+notes, want) && !strings.Contains(notes, want) || strings.Contains(notes+r.Reason, "e+") {
			t.Errorf("the notes are %q, should have %q", notes, want)
		}
		if s.Runs[0].Phases[0].From != 100 {
			t.Error("the load of the run itself was changed")
		}
	}
}

// A recommended HPA that cannot scale is said to be one.
func TestRecommendsOneNumberOfReplicas(t *testing.T) {
	s := search(t, "max=1..2")
	s.Runs[0].HPA.MaxReplicas = 2
	s.Do = func(_ context.Context, r *simulate.Run) (simulate.Score, error) {
		return simulate.Score{Requests: 1000, ReplicaSeconds: 3600 * float64(r.HPA.MaxReplicas)}, nil
	}
	r, err := Tune(t.Context(), s)
	want := "The recommended setting has the finding min-is-max: Its minReplicas and its maxReplicas are both 1."
	if err != nil || r.Verdict != Recommended || r.Front[r.Best].Setting[0] != 1 || !strings.Contains(strings.Join(r.Notes, " "), want) {
		t.Errorf("%+v (%v), the notes should have %q", r, err, want)
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
	if names := Knobs(); !slices.Equal(names, scenarios.SettingNames) {
		t.Errorf("tune has the settings %q, --set has %q", names, scenarios.SettingNames)
	}
	for _, name := range Knobs() {
		s := search(t, "target=30..90")
		if knobs[name].keda {
			s.Runs[0] = fromZero(t, "scale-from-zero")
		}
		ranges := []Range{{Name: name}}
		v := 7.0
		if knobs[name].share {
			v = 0.0755
		}
		with, err := apply(s.Runs[0], ranges, Setting{v})
		if err != nil {
			t.Fatal(err)
		}
		if got := present(with, ranges)[0]; math.Abs(got-v) > 1e-9 {
			t.Errorf("%s is %g after it was set to %g", name, got, v)
		}
		if got := present(s.Runs[0], ranges)[0]; got == v {
			t.Errorf("%s of the run that it was set from has changed", name)
		}
	}
}

func TestSample(t *testing.T) {
	ranges := search(t, "target=40..80,scaleDown.stabilization=0s..600s,scaleUp.tolerance=0.05..0.2").Ranges
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
	for vary, want := range map[string][]Setting{
		"target=1..4":                        {{1}, {4}, {3}, {2}}, // percents
		"scaleUp.tolerance=0.055..0.0555":    {{0.055}, {0.0555}, {0.0553}, {0.0551}, {0.0554}, {0.0552}},
		"scaleUp.tolerance=0.1..0.100000001": {{0.1}, {0.100000001}}, // a Quantity has nothing between
		"scaleDown.tolerance=0.055..0.08":    {{0.055}, {0.08}, {0.07}, {0.06}},
		"sync=1500ms..1700ms":                {{1.5}, {1.7}},
	} {
		if got := sample(search(t, vary).Ranges, 300); !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("of %s %v are tried, should be %v", vary, got, want)
		}
	}
	if got := Show(ranges, settings[1]); got != "target=80 scaleDown.stabilization=0s scaleUp.tolerance=0.05" {
		t.Error(got)
	}
}

func TestBadInput(t *testing.T) {
	run := search(t, "min=1..2").Runs[0]
	between := map[string]string{ // values that the fields cannot have
		"scaleDown.stabilization=1.5s..1700ms": "scaleDown.stabilization: 1.5s is not one of the values that it can have, which are whole seconds: write 1s or 2s",
		"min=1.5..3":                           "min: 1.5 is not one of the values that it can have, which are whole numbers of pods: write 1 or 2",
		"scaleUp.pods=2..2500m":                "scaleUp.pods: 2500m is not one of the values that it can have, which are whole numbers of pods: write 2 or 3",
		"scaleUp.percent=99.9..100":            "scaleUp.percent: 99.9 is not one of the values that it can have, which are whole percents: write 99 or 100",
		"target=50..50.5":                      "target: 50.5 is not one of the values that it can have, which are whole percents: write 50 or 51",
		"target=0.5..4":                        "target: 0.5 is not one of the values that it can have, which are whole percents: write 1",
		"sync=1.0005s..3s":                     "sync: 1.0005s is not one of the values that it can have, which are milliseconds: write 1s or 1.001s",
	}
	for text, want := range between {
		if _, err := ParseRanges(run, text); err == nil || err.Error() != want {
			t.Errorf("of --vary %s the error is %v, should be %q", text, err, want)
		}
		if _, err := Variants(run, []string{strings.ReplaceAll(text, "..", ",")}); err == nil || err.Error() != want {
			t.Errorf("of --set %s the error is %v, should be %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"target":                    "is not like target=40..80",
		"target=40":                 "is not like target=40..80",
		"target=40..":               "is not like target=40..80",
		"aim=40..80":                `there is no setting "aim": there are activationThreshold, cooldownPeriod, max, min, pollingInterval, scaleDown.percent, scaleDown.pods, scaleDown.stabilization (or stabilization), `,
		"target=80..40":             "80 is more than 40",
		"target=0..40":              "target: 0 must be 1 at least",
		"sync=15..30":               "sync: 15 is no duration: write it like 90s",
		"target=4..5,target=40..80": "target is there twice",
		"scaleUp.percent=50..100,scaleUp.pods=1..4": "scaleUp.percent and scaleUp.pods are each the only policy of scaleUp",
		"scaleDown.stabilization=a..b":              "scaleDown.stabilization: a is no duration",
	} {
		if _, err := ParseRanges(run, text); err == nil || !strings.Contains(err.Error(), want) {
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

// One setting is recommended for several loads: it meets the SLO under each.
func TestSeveralLoads(t *testing.T) {
	s := search(t, "target=30..90")
	other := *s.Runs[0]
	other.Phases = []record.Phase{{Seconds: 300, Shape: record.ShapeRate, From: 20}}
	other.HPA.MaxReplicas = 50
	s.Runs = append(s.Runs, &other)
	s.Do = func(_ context.Context, r *simulate.Run) (simulate.Score, error) {
		if r.HPA.MaxReplicas != 5 {
			t.Errorf("a run has the max %d of another scenario than the first", r.HPA.MaxReplicas)
		}
		target := float64(*r.HPA.Metrics[0].Resource.Target.AverageUtilization)
		from := map[float64]float64{10: 80, 13: 80, 20: 80, 26: 60}[r.Phases[0].From]
		if r.Phases[0].Seconds == 300 {
			from = 60
		}
		return simulate.Score{Requests: 1000, Missed: max(0, target-from) * 20, ReplicaSeconds: 3600 * 100 / target}, nil
	}
	r, err := Tune(t.Context(), s)
	if err != nil || r.Front[r.Best].Setting[0] != 60 || r.Runs%2 != 0 {
		t.Errorf("target %v is recommended, should be 60, after %d runs (%v)", r.Front[r.Best].Setting, r.Runs, err)
	}
	s.Loads, s.SLO.Share = []string{"spike", "ramp"}, 0.9
	if r, err = Tune(t.Context(), s); err != nil || !strings.HasSuffix(r.Reason, "10 % of the requests of ramp miss it in the worst") {
		t.Errorf("the reason is %q, should name ramp (%v)", r.Reason, err)
	}
	best := r.Front[r.Best]
	if loads := best.Loads; len(loads) != 2 || loads[0].WorstMissed != 0 || loads[1].WorstMissed != 0.1 || math.Abs(loads[0].Hours+loads[1].Hours-best.Hours) > 1e-9 || s.WorstLoad(best) != "ramp" {
		t.Errorf("by load it is %+v, of %+v", loads, best)
	}
	for _, want := range []string{"% of the requests of ramp miss the SLO with it in the worst.", "With 1.3 times each load it meets the SLO still: 10 % of the requests of ramp miss it"} {
		if notes := strings.Join(r.Notes, " "); !strings.Contains(notes, want) {
			t.Errorf("%q is not in %q", want, notes)
		}
	}
}

// What the HPA leaves after the load costs the rest of the day; a flap and the time at max cost what they are said to.
func TestCostOfADay(t *testing.T) {
	second, none := time.Second, [2]float64{}
	for name, c := range map[string]struct {
		perDay             int
		seconds            float64 // of the load
		min, replicas      int32
		decisions          []simulate.Decision
		hours, flaps, cost float64
		atMax              float64
		rest               [2]float64 // seconds after the load, and replica-seconds of them
	}{
		"min for the rest":           {1, 3600, 2, 2, nil, 46 + 3, 0, 49, 0, none},
		"twice a day":                {2, 3600, 2, 2, nil, 44 + 6, 0, 50, 0, none},
		"more than a day holds":      {100, 3600, 2, 2, nil, 72, 0, 72, 0, none},
		"longer than a day":          {1, 48 * 3600, 2, 2, nil, 1.5, 0, 1.5, 0, none},
		"at max for half of it":      {1, 3600, 1, 1, []simulate.Decision{{At: 1900 * second, From: 1, To: 4}, {At: 3700 * second, From: 4, To: 1}}, 26, 0, 26.5, 0.5, none},
		"down half an hour later":    {1, 3600, 1, 1, []simulate.Decision{{At: 200 * second, From: 1, To: 3}, {At: 5500 * second, From: 3, To: 1}}, 3 + 1.5 + 22.5, 0, 27, 0, [2]float64{1800, 5400}},
		"never down":                 {1, 3600, 1, 1, []simulate.Decision{{At: 200 * second, From: 1, To: 3}}, 3 + 69, 0, 72, 0, [2]float64{1800, 5400}},
		"at max from before":         {1, 3600, 1, 1, []simulate.Decision{{At: 50 * second, From: 1, To: 4}, {At: 1000 * second, From: 4, To: 1}}, 26, 0, 26.25, 0.25, none},
		"a flap of two replicas":     {1, 3600, 1, 3, []simulate.Decision{{At: 200 * second, From: 3, To: 1}, {At: 500 * second, From: 1, To: 3}, {At: 3700 * second, From: 3, To: 1}}, 26, 1, 26 + 2.0/12, 0, none},
		"a rise that comes later":    {1, 3600, 1, 3, []simulate.Decision{{At: 200 * second, From: 3, To: 1}, {At: 501 * second, From: 1, To: 3}, {At: 3700 * second, From: 3, To: 1}}, 26, 0, 26, 0, none},
		"min is max, so never at it": {1, 3600, 4, 4, nil, 92 + 3, 0, 95, 0, none},
	} {
		s := search(t, "target=50..50")
		s.PerDay, s.Phases = c.perDay, 1
		run := s.Runs[0]
		run.HPA.MinReplicas, run.HPA.MaxReplicas, run.Replicas = &c.min, 4, c.replicas
		run.Phases[0].Seconds = c.seconds
		s.Do = func(context.Context, *simulate.Run) (simulate.Score, error) {
			return simulate.Score{Requests: 1, ReplicaSeconds: 3 * 3600, RestSeconds: c.rest[0], RestReplicaSeconds: c.rest[1], Onset: 100, Decisions: c.decisions}, nil
		}
		r, err := Tune(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		o := r.Present
		for what, of := range map[string][2]float64{"replica-hours": {o.Hours, c.hours}, "flaps": {o.Flaps, c.flaps}, "cost": {o.Cost, c.cost}, "share at max": {o.AtMax, c.atMax}} {
			if math.Abs(of[0]-of[1]) > 1e-6 {
				t.Errorf("%s: %s %g, should be %g", name, what, of[0], of[1])
			}
		}
	}
}

// Where the nodes have room for fewer pods than the HPA may have, no setting is tried that begins with more, and the
// advice is not a higher max.
func TestNodesWithoutRoom(t *testing.T) {
	s := search(t, "min=1..5")
	s.Runs[0].Pod = corev1.PodSpec{Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("1")}}}}}
	s.Runs[0].Plant.Nodes = []simulate.Node{{Name: "small", Free: corev1.ResourceList{"cpu": resource.MustParse("3")}}}
	s.Do = func(_ context.Context, r *simulate.Run) (simulate.Score, error) {
		if err := r.CheckRoom(); err != nil {
			return simulate.Score{}, err
		}
		return simulate.Score{Requests: 1000, Missed: map[bool]float64{true: 300}[r.Phases[0].From == 10]}, nil
	}
	r, err := Tune(t.Context(), s)
	if err != nil || r.NoRoom != 2 || !strings.Contains(r.Notes[0], "with 3 pods ready from the start, the most that the nodes have room for, and a tenth of the load 0 %") {
		t.Errorf("%+v (%v)", r, err)
	}
}

// A load that tells nothing of the settings brings no recommendation, and of one that tells nothing of one of them
// that one stays as it is.
func TestNoDifference(t *testing.T) {
	s := search(t, "target=30..90,scaleDown.stabilization=0s..600s")
	s.Runs[0].Plant.Control.DownscaleStabilization.Duration = 285 * time.Second
	r, err := Tune(t.Context(), s)
	if err != nil || r.Verdict != Recommended || r.Front[r.Best].Setting[1] != 285 || !strings.Contains(strings.Join(r.Notes, " "), "scaleDown.stabilization makes no difference: with 0s and 600s the load comes to the same as with 285s.") {
		t.Errorf("%v: %v (%v)", r.Front[r.Best].Setting, r.Notes, err)
	}
	s.Do = func(context.Context, *simulate.Run) (simulate.Score, error) {
		return simulate.Score{Requests: 1000, Missed: 5, ReplicaSeconds: 3600}, nil
	}
	if r, err = Tune(t.Context(), s); err != nil || r.Verdict != NoDifference || !strings.Contains(r.Reason, "the load tells nothing") || len(r.Notes) > 0 {
		t.Errorf("%+v (%v)", r, err)
	}
	s.SLO.Share = 0.999
	if r, err = Tune(t.Context(), s); err != nil || r.Verdict != NoneMeets {
		t.Errorf("%+v (%v)", r, err)
	}
}

// What is tuned by faster periods than those of Kubernetes is tried with these too.
func TestFastTiming(t *testing.T) {
	s := search(t, "target=30..90")
	for _, of := range []struct{ resolution, slow time.Duration }{{5 * time.Second, 15 * time.Second}, {time.Minute, time.Minute}} {
		s.Runs[0].Plant.Control.Sync.Duration, s.Runs[0].Plant.Metrics.Resolution.Duration = 5*time.Second, of.resolution
		s.Do = func(ctx context.Context, r *simulate.Run) (simulate.Score, error) {
			score, err := made(ctx, r)
			if r.Plant.Control.Sync.Duration == 15*time.Second && r.Plant.Metrics.Resolution.Duration == of.slow {
				score.Missed = 200
			}
			return score, err
		}
		want := fmt.Sprintf("The HPA looks every 5s, and its metrics are new every %s. With 15s and %s, no faster than Kubernetes' defaults, it misses the SLO: 20 %% of the requests miss it in the worst.", of.resolution, of.slow)
		if r, err := Tune(t.Context(), s); err != nil || !slices.Contains(r.Notes, want) {
			t.Errorf("%v (%v)", r.Notes, err)
		}
	}
}

// A rounder value is taken if it costs no more than chance makes of the best one, and meets the SLO.
func TestRoundValues(t *testing.T) {
	for spread, want := range map[float64]float64{0: 71, 0.1: 70} {
		s := search(t, "target=30..90")
		s.Do = func(ctx context.Context, r *simulate.Run) (simulate.Score, error) {
			score, err := made(ctx, r)
			score.ReplicaSeconds *= 1 + spread*r.Wait.Seconds()/15
			return score, err
		}
		r, err := Tune(t.Context(), s)
		if err != nil || r.Front[r.Best].Setting[0] != want || strings.Contains(r.Reason, "in place of target=71") != (want == 70) {
			t.Errorf("with a spread of %g target %v is recommended, should be %g: %s (%v)", spread, r.Front[r.Best].Setting, want, r.Reason, err)
		}
	}
	s := search(t, "scaleDown.stabilization=0s..600s")
	s.Runs[0].Plant.Control.DownscaleStabilization.Duration = 47 * time.Second
	s.Do = func(ctx context.Context, r *simulate.Run) (simulate.Score, error) {
		score, err := made(ctx, r)
		window := r.Plant.Control.DownscaleStabilization.Seconds()
		if b := r.HPA.Behavior; b != nil && b.ScaleDown != nil && b.ScaleDown.StabilizationWindowSeconds != nil {
			window = float64(*b.ScaleDown.StabilizationWindowSeconds)
		}
		score.ReplicaSeconds += window/10 + r.Wait.Seconds()
		return score, err
	}
	if r, err := Tune(t.Context(), s); err != nil || r.Front[r.Best].Setting[0] != 47 || !strings.Contains(r.Reason, "with present and round values in place of scaleDown.stabilization=0s") {
		t.Errorf("%v is recommended, should be the present 47 s: %s (%v)", r.Front[r.Best].Setting, r.Reason, err)
	}
	for name, of := range map[string]map[float64][]float64{
		"target":                  {71: {70, 80, 70, 75}, 70: nil, 75: {70, 80}, 0.37: {0.4, 0.3, 0.35, 0.4}, 24 * mebi: {16 * mebi, 32 * mebi}},
		"scaleDown.stabilization": {315: {300, 600, 300, 360, 300, 330}, 300: nil, 90: {0, 300, 60, 120}},
		"min":                     {7: nil},
		"scaleUp.pods":            {7: nil},
		"scaleUp.tolerance":       {0.07: {0.1, 0, 0.05, 0.1}},
	} {
		for v, want := range of {
			if got := knobs[name].rounder(v); !slices.Equal(got, want) {
				t.Errorf("%s=%g rounds to %v, should to %v", name, v, got, want)
			}
		}
	}
}

// All present values that are kept cost together no more than chance makes of the best setting; and a setting that
// gets cheaper by it takes those out of the front that are worse in both respects.
func TestPresentValues(t *testing.T) {
	s := search(t, "scaleUp.stabilization=0s..600s,scaleDown.stabilization=0s..600s")
	s.Runs[0].HPA.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{
		ScaleUp:   &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(60))},
		ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(60))},
	}
	s.Do = func(_ context.Context, r *simulate.Run) (simulate.Score, error) {
		windows := *r.HPA.Behavior.ScaleUp.StabilizationWindowSeconds + *r.HPA.Behavior.ScaleDown.StabilizationWindowSeconds
		return simulate.Score{Requests: 1000, ReplicaSeconds: 3600 + 0.1*float64(windows) + r.Wait.Seconds()}, nil
	}
	r, err := Tune(t.Context(), s)
	if err != nil || r.Front[r.Best].Setting[0] != 60 || r.Front[r.Best].Setting[1] == 60 {
		t.Errorf("%v is recommended: %s (%v)", r.Front[r.Best].Setting, r.Reason, err)
	}

	s = search(t, "target=30..90")
	s.Do = func(context.Context, *simulate.Run) (simulate.Score, error) {
		return simulate.Score{Requests: 1000}, nil
	}
	r = &Result{Present: Outcome{Setting: Setting{50}}, Best: 1, Front: []Outcome{
		{Setting: Setting{72}, Cost: 1000, Misses: &Misses{WorstMissed: 0.02}},
		{Setting: Setting{71}, Cost: 1001, MostCost: 1002, Misses: &Misses{}},
	}}
	if err := s.round(t.Context(), r); err != nil || len(r.Front) != 1 || r.Best != 0 || r.Front[0].Setting[0] == 71 {
		t.Errorf("%+v (%v)", r, err)
	}
}

// What is recommended in place of a cheaper one is still on the front, whose next cheaper misses the SLO.
func TestRoundedFront(t *testing.T) {
	s := search(t, "target=30..90")
	s.Do = func(_ context.Context, r *simulate.Run) (simulate.Score, error) {
		target := *r.HPA.Metrics[0].Resource.Target.AverageUtilization
		missed := map[int32]float64{69: 1, 70: 9, 71: 9.9}
		score := simulate.Score{Requests: 1000, Missed: missed[target], ReplicaSeconds: 3600 * (map[int32]float64{69: 1.05, 70: 1.1, 71: 1, 72: 0.9}[target] + r.Wait.Seconds()/15)}
		if score.Missed == 0 {
			score.Missed, score.ReplicaSeconds = 20, 36000
		}
		return score, nil
	}
	r, err := Tune(t.Context(), s)
	if err != nil || r.Verdict != Recommended {
		t.Fatalf("%+v (%v)", r, err)
	}
	for i, o := range r.Front[1:] {
		if before := r.Front[i]; o.Cost <= before.Cost || o.WorstMissed >= before.WorstMissed {
			t.Errorf("%v after %v is no front", o.Setting, before.Setting)
		}
	}
	if r.Best > 0 && s.meets(r.Front[r.Best-1]) {
		t.Errorf("%v meets the SLO for less than %v", r.Front[r.Best-1].Setting, r.Front[r.Best].Setting)
	}
}

// Of ten in a hundred requests just ten may miss p90.
func TestMeetsAtTheShare(t *testing.T) {
	for _, percent := range []float64{80, 90, 95, 99, 99.9} {
		s := Search{SLO: SLO{Share: percent / 100}}
		if share := 100 - percent; !s.met(math.Round(share*10) / 1000) {
			t.Errorf("with p%g %g %% miss it, and it is said to be missed", percent, share)
		}
	}
}

// A record of hpabench watch has no requests, so no share of them is said to be missed, and nothing is
// recommended.
func TestWithoutRequests(t *testing.T) {
	run, err := record.Open("../reports/testdata/recorded-demo-nginx.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	header := *run.Header()
	header.Source, header.Phases = "", []record.Phase{{Name: "observed", Shape: record.ShapeObserved}}
	for i, e := range run.Entries {
		if e.Header != nil {
			run.Entries[i].Header = &header
		}
	}
	s := search(t, "target=30..90")
	if s.Runs[0], err = simulate.FromRecord(run); err != nil {
		t.Fatal(err)
	}
	r, err := Tune(t.Context(), s)
	if err != nil || r.Verdict != Unknown || r.Hopeless > 0 || r.Tried < 61 {
		t.Fatalf("%+v (%v)", r, err)
	}
	b, err := json.Marshal(r)
	if err != nil || strings.Contains(strings.ToLower(string(b)), "missed\":") || !strings.Contains(string(b), "replicaHoursPerDay") {
		t.Errorf("%.500s (%v)", b, err)
	}
}

// A run AtMin begins with the min of each setting, and not with the replicas of a Deployment that the HPA would have
// taken away before the load.
func TestBeginsAtMin(t *testing.T) {
	s := search(t, "min=1..4")
	var began []int32
	s.Workers, s.Phases = 1, 1
	s.Do = func(_ context.Context, r *simulate.Run) (simulate.Score, error) {
		if began = append(began, r.Replicas); r.Replicas != *r.HPA.MinReplicas {
			t.Errorf("with min %d it begins with %d", *r.HPA.MinReplicas, r.Replicas)
		}
		return simulate.Score{Requests: 1000, ReplicaSeconds: 3600}, nil
	}
	s.Runs[0].HPA.MinReplicas = new(int32(1))
	if _, err := Tune(t.Context(), s); err != nil || len(began) < 4 {
		t.Errorf("%v (%v)", began, err)
	}
}

// A run that begins without a pod does so with each setting.
func TestBeginsAtZero(t *testing.T) {
	r := search(t, "min=1..4").Runs[0]
	for _, replicas := range []int32{0, 3} {
		r.Replicas = replicas
		for _, texts := range [][]string{nil, {"target=40,60"}, {"min=1,2"}} {
			all, err := Variants(r, texts)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range all {
				if v.Run.Replicas != replicas {
					t.Errorf("%v: %q begins with %d, not %d", texts, v.Name, v.Run.Replicas, replicas)
				}
			}
		}
	}
}
