package analysis

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
)

// fromZero is a run of a ScaledObject whose target has no pod. From 40 s on 10 requests come a second, which a gateway holds.
// KEDA polls each 5 s, and its metric is above what activates it from 46.2 s on.
func fromZero(s record.ScaledObject) *made {
	m := newMade(record.Phase{Name: "idle", Shape: record.ShapeIdle}, record.Phase{Name: "load", Shape: record.ShapeRate, From: 10, Seconds: 60}, record.Phase{Name: "calm", Shape: record.ShapeIdle, Seconds: 120})
	m.add(0.5, record.Entry{Subject: &record.Subject{Namespace: "shop", APIVersion: "apps/v1", Kind: "Deployment", Name: "web", Autoscaler: "keda-hpa-web", ScaledObject: "web"}})
	s.Name, s.PollingSeconds, s.CooldownSeconds, s.Max = "web", 5, 30, 5
	s.Triggers = []record.Trigger{{Type: "prometheus", Metric: "s0-prometheus", Activation: 0.1}}
	m.add(0.6, record.Entry{ScaledObject: &s})
	m.target(1, 0)
	m.hpa(2, 0, 0, -1)
	m.phase(0, "idle", 10, 40)
	m.phase(1, "load", 40, 100)
	m.phase(2, "calm", 100, 220)
	m.signal(3, "0")
	m.endpoints()
	m.end(221)
	for i := range m.entries {
		if a := m.entries[i].Autoscaler; a != nil {
			a.Spec.MinReplicas = new(int32(1))
			a.Spec.Metrics = []autoscalingv2.MetricSpec{{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "s0-prometheus"}, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("10"))}}}}
		}
	}
	return m
}

// signal is a reading of the metric of fromZero; without a value it is an error.
func (m *made) signal(t float64, value string) {
	s := &record.Signal{Metric: "external s0-prometheus"}
	if value == "" {
		s.Error = "no metrics returned from the source"
	} else {
		s.Value, s.Timestamp = new(resource.MustParse(value)), new(m.wall(t))
	}
	m.add(t, record.Entry{Signal: s})
}

// activated scales it at 50 s, has it answer at 53.4 s, and takes the pod away 30 s after the signal fell at 130 s.
func (m *made) activated() *made {
	m.signal(46.2, "300m")
	m.target(50, 1)
	m.event(50.1, "ScaledObject", "web", "KEDAScaleTargetActivated", "Scaled apps/v1.Deployment shop/web from 0 to 1, triggered by s0-prometheus")
	a := life{name: "web-a", created: 50.1, scheduled: 50.2, started: 51, ready: 53, inService: 53.1, terminating: 160.1, left: 160.2, exited: 161, gone: 161.5}
	m.pod(a)
	m.endpoints(a)
	m.add(53.4, record.Entry{Answer: &record.Answer{}})
	for n := 40; n < 100; n++ {
		s := &record.LoadSecond{Phase: 1, Second: n, Offered: 10, Sent: 10}
		if n == 53 {
			s.Answered, s.Codes = 140, map[string]uint64{"200": 140}
		} else if n > 53 {
			s.Answered, s.Codes = 10, map[string]uint64{"200": 10}
		}
		m.add(float64(n+1), record.Entry{Load: s})
	}
	m.signal(130, "0")
	m.target(160, 0)
	m.event(160.1, "ScaledObject", "web", "KEDAScaleTargetDeactivated", "Deactivated apps/v1.Deployment shop/web from 1 to 0")
	return m
}

// From zero and back are transitions with stages of their own: the signal, KEDA's activation, its cooldown.
func TestFromZero(t *testing.T) {
	r := fromZero(record.ScaledObject{}).activated().analyze(t)
	up, down := r.Transitions[0], r.Transitions[1]
	equal(t, "stages up", show(up.ScaleUp.First.Stages), []string{"signal: 6.200 ±1.0", "activation: 3.800 ±1.0", "create: 0.100 ±0.1", "schedule: 0.100 ±0.1", "pull + init: 0.800 ±0.1", "start: 0.000 ±0.1", "ready: 2.000 ±0.1", "in service: 0.100 ±0.1"})
	c := up.ScaleUp.ColdStart
	if c == nil || figure(c.Latency) != "13.400 ±0.0" || c.Sent != 130 || c.Held != 130 || c.Failed != 0 {
		t.Errorf("the cold start is %+v", c)
	}
	if s := up.Steps[0]; s.Foreign || !strings.HasPrefix(s.Event, "Scaled apps/v1") {
		t.Errorf("KEDA's step is %+v", s)
	}
	equal(t, "stages down", show(down.ScaleDown.First.Stages)[:3], []string{"signal: 30.000 ±1.0", "cooldown: 30.000 ±6.0", "decision: 0.000 ±6.0"})
	if down.Steps[0].Foreign || down.ScaleDown.HeldByWindow.Missing != "KEDA took the last replica, by its cooldown period" {
		t.Errorf("KEDA's step is %+v, held by the window %+v", down.Steps[0], down.ScaleDown.HeldByWindow)
	}
	if z := r.AtZero; z == nil || fmt.Sprintf("%.1f s, %.3f", z.Seconds, z.Share) != "100.0 s, 0.476" || *r.Reach.Min != 0 {
		t.Errorf("at zero %+v, min %d", z, *r.Reach.Min)
	}
	equal(t, "findings", kindsOf(r), []string{"cold-start"})
}

func kindsOf(r *Result) (kinds []string) {
	for _, f := range r.Findings {
		kinds = append(kinds, f.Kind)
	}
	return kinds
}

// What a ScaledObject shows is a finding with its cause.
func TestZeroFindings(t *testing.T) {
	loaded := func(m *made, failed uint64) *made { // and never answered
		for n := 40; n < 100; n++ {
			s := &record.LoadSecond{Phase: 1, Second: n, Offered: 10, Sent: 10, Failed: failed}
			if failed > 0 {
				s.Errors = map[string]uint64{"timeout": failed}
			}
			m.add(float64(n+1), record.Entry{Load: s})
		}
		return m
	}
	with := func(m *made, signals ...any) *made {
		for i := 0; i < len(signals); i += 2 {
			m.signal(signals[i].(float64), signals[i+1].(string))
		}
		return m
	}
	two := fromZero(record.ScaledObject{})
	two.add(2.5, record.Entry{Signal: &record.Signal{Metric: "external s1-kafka", Value: new(resource.MustParse("0"))}})
	fallback := fromZero(record.ScaledObject{}).activated()
	fallback.add(60, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Conditions: []record.Condition{{Type: "Fallback", Status: "True", Message: "At least one trigger is falling back"}}}})
	again := fromZero(record.ScaledObject{}).activated()
	again.signal(165, "1")
	again.target(170, 1)
	again.event(170.1, "ScaledObject", "web", "KEDAScaleTargetActivated", "Scaled apps/v1.Deployment shop/web from 0 to 1")
	for name, c := range map[string]struct {
		m    *made
		want string // kind, object: parts of what is said
	}{
		"below the threshold": {loaded(with(fromZero(record.ScaledObject{}), 50.0, "50m"), 0), "never-activated scaledobject/web: stayed at 0 replicas for 180 s while 600 requests were sent, of which 0 failed | came to 0.05 at most, and a trigger activates above 0.1 | lower the trigger's activation threshold"},
		"KEDA is away":        {loaded(with(fromZero(record.ScaledObject{}), 50.0, "2"), 10), "never-activated scaledobject/web: of which 600 failed | KEDA does not work on it: metric external s0-prometheus was above what activates it (0.1) for | logs of KEDA's operator"},
		"one of two":          {loaded(with(two, 50.0, "2"), 0), "never-activated scaledobject/web: KEDA does not work on it: metric external s0-prometheus was above"},
		"for a moment":        {loaded(with(fromZero(record.ScaledObject{}), 50.0, "2", 56.0, "0"), 0), "never-activated scaledobject/web: Metric external s0-prometheus was above what activates it (0.1) for 6 s only, and KEDA polls each 5 s."},
		"no value":            {loaded(with(fromZero(record.ScaledObject{}), 20.0, ""), 0), "signal-absent hpa/keda-hpa-web: had no value for | No metrics returned from the source"},
		"paused":              {loaded(fromZero(record.ScaledObject{Paused: "autoscaling.keda.sh/paused-replicas=0"}), 0), "paused scaledobject/web: by its annotation autoscaling.keda.sh/paused-replicas=0 | `kubectl annotate scaledobject web -n shop autoscaling.keda.sh/paused-replicas-`"},
		"fallback":            {fallback, "fallback scaledobject/web: At least one trigger is falling back"},
		"there and back":      {again, "zero-flapping scaledobject/web: within 10 s, 1 time | `cooldownPeriod: 55`"},
		"refused":             {with(fromZero(record.ScaledObject{Conditions: []record.Condition{{Type: "Ready", Status: "False", Message: "error parsing prometheus metadata"}}})), "metrics-absent scaledobject/web: Error parsing prometheus metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.m.analyze(t)
			head, parts, _ := strings.Cut(c.want, ": ")
			found := false
			for _, f := range r.Findings {
				if f.Kind+" "+f.Object != head {
					continue
				}
				found = true
				for _, part := range strings.Split(parts, " | ") {
					if said := f.Seen + "\n" + f.Cause + "\n" + f.Advice; !strings.Contains(said, part) {
						t.Errorf("does not say %q: %s", part, said)
					}
				}
			}
			if !found {
				t.Errorf("wanted %s, found %v", head, r.Findings)
			}
		})
	}
}

// However often the last replica goes and comes back, that is one finding, of what holds it: no window of the HPA does.
func TestZeroFlappingIsNoFlapping(t *testing.T) {
	m := fromZero(record.ScaledObject{}).activated()
	for at := 165.0; at < 200; at += 20 {
		m.signal(at, "1")
		m.target(at+5, 1)
		m.event(at+5.1, "ScaledObject", "web", "KEDAScaleTargetActivated", "Scaled apps/v1.Deployment shop/web from 0 to 1")
		m.signal(at+6, "0")
		m.target(at+15, 0)
		m.event(at+15.1, "ScaledObject", "web", "KEDAScaleTargetDeactivated", "Deactivated apps/v1.Deployment shop/web from 1 to 0")
	}
	for _, f := range m.analyze(t).Findings {
		if f.Kind == FoundFlapping {
			t.Errorf("found %+v", f)
		}
	}
}

// A value that is old by the adapter's own time.
func TestStaleSignal(t *testing.T) {
	m := fromZero(record.ScaledObject{}).activated()
	for n := 60.0; n < 200; n += 30 {
		m.add(n, record.Entry{Signal: &record.Signal{Metric: "external s0-prometheus", Value: new(resource.MustParse("5")), Timestamp: new(m.started.Add(time.Duration(n-200) * time.Second))}})
	}
	r := m.analyze(t)
	for _, f := range r.Findings {
		if f.Kind == FoundSignalStale && strings.Contains(f.Seen, "200 s old") {
			return
		}
	}
	t.Errorf("found %v", r.Findings)
}

// A target whose signal takes several polls is activated all the same: the cold start says what took the time.
func TestActivatedLate(t *testing.T) {
	m := fromZero(record.ScaledObject{})
	m.target(55, 0) // its status
	m.signal(67, "300m")
	m.target(70, 1)
	m.event(70.1, "ScaledObject", "web", "KEDAScaleTargetActivated", "Scaled apps/v1.Deployment shop/web from 0 to 1, triggered by s0-prometheus")
	a := life{name: "web-a", created: 70.1, scheduled: 70.2, started: 71, ready: 73, inService: 73.1}
	m.pod(a)
	m.endpoints(a)
	m.add(73.4, record.Entry{Answer: &record.Answer{}})
	for n := 40; n < 100; n++ {
		s := &record.LoadSecond{Phase: 1, Second: n, Offered: 10, Sent: 10}
		if n > 73 {
			s.Answered, s.Codes = 10, map[string]uint64{"200": 10}
		}
		m.add(float64(n+1), record.Entry{Load: s})
	}
	equal(t, "findings", kindsOf(m.analyze(t)), []string{"cold-start"})
}

// KEDA writes no event of a third activation within six minutes of the second, and counts that: it is KEDA's nevertheless.
func TestSeriesOfActivations(t *testing.T) {
	active := func(m *made, t float64, status metav1.ConditionStatus) {
		m.add(t, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Max: 5, Conditions: []record.Condition{{Type: "Active", Status: status}}}})
	}
	scaled := func(m *made, t float64, n int32, by string) {
		m.add(t, record.Entry{Target: &record.Target{Replicas: n, Status: n, Manager: by}})
	}
	for name, c := range map[string]struct {
		up, down string // field managers
		active   metav1.ConditionStatus
		foreign  []bool
	}{
		"KEDA":                     {"keda-operator", "", metav1.ConditionTrue, []bool{false, false, false, false}},
		"a person, to one":         {"kubectl", "", metav1.ConditionTrue, []bool{false, false, true, false}},
		"a person, to zero":        {"keda-operator", "", metav1.ConditionFalse, []bool{false, false, false, true}},
		"a person that has a name": {"keda-operator", "kubectl", metav1.ConditionTrue, []bool{false, false, false, true}},
	} {
		m := fromZero(record.ScaledObject{}).activated()
		scaled(m, 175, 1, c.up)
		active(m, 175.1, metav1.ConditionTrue)
		if c.active == metav1.ConditionTrue {
			active(m, 190, metav1.ConditionFalse)
		}
		scaled(m, 205, 0, c.down)
		r := m.analyze(t)
		var foreign []bool
		for _, transition := range r.Transitions {
			for _, s := range transition.Steps {
				foreign = append(foreign, s.Foreign)
			}
		}
		if !slices.Equal(foreign, c.foreign) {
			t.Errorf("%s: the steps are foreign: %v, want %v", name, foreign, c.foreign)
		}
		if spoiled := len(r.Spoiled()) > 0; spoiled != slices.Contains(c.foreign, true) {
			t.Errorf("%s: spoiled is %v: %v", name, spoiled, r.Findings)
		}
	}
}

// For how long a target that was not observed had no replica is not known.
func TestAtZeroUnobserved(t *testing.T) {
	m := newMade(record.Phase{Name: "load", Shape: record.ShapeRate, From: 10, Seconds: 60})
	m.phase(0, "load", 10, 70)
	m.end(71)
	for _, f := range m.analyze(t).Figures() {
		if strings.HasPrefix(f.Name, "replicas.atZero") && (f.Value != nil || f.Missing == "") {
			t.Errorf("%s is %v (%s)", f.Name, f.Value, f.Missing)
		}
	}
}

// From 0 to 1 and back is a choice, though the HPA that KEDA makes for it has none.
func TestOneAtMost(t *testing.T) {
	for least, want := range map[int32][]string{0: {"cold-start"}, 1: {"min-is-max", "cold-start"}} {
		m := fromZero(record.ScaledObject{Min: least}).activated()
		for i := range m.entries {
			if a := m.entries[i].Autoscaler; a != nil {
				a.Spec.MaxReplicas = 1
			}
			if s := m.entries[i].ScaledObject; s != nil {
				s.Max = 1
			}
		}
		equal(t, fmt.Sprintf("findings with a minimum of %d", least), kindsOf(m.analyze(t)), want)
	}
}

// A target that KEDA's cooldown holds at the HPA's minimum is not at KEDA's.
func TestCooldownOutlastsTheLoad(t *testing.T) {
	m := fromZero(record.ScaledObject{}).activated()
	m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool {
		return e.At.Seconds() > 159 && e.At.Seconds() < 163 && (e.Target != nil || e.Event != nil || e.Pod != nil || e.Endpoints != nil)
	})
	down := m.analyze(t).LastDown()
	if want := "KEDA takes it to 0 when no trigger was active for 30 s (cooldownPeriod), and did not before"; !strings.Contains(down.ScaleDown.Latency.Missing, want) {
		t.Errorf("%q is not in %q", want, down.ScaleDown.Latency.Missing)
	}
}

// What something in front of the target answers itself, as an API in front of a queue does, is no cold start of the target.
func TestAnsweredWithoutAPod(t *testing.T) {
	m := fromZero(record.ScaledObject{}).activated()
	m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool { return e.Answer != nil || e.Load != nil })
	m.add(40.1, record.Entry{Answer: &record.Answer{}})
	for n := 40; n < 100; n++ {
		m.add(float64(n+1), record.Entry{Load: &record.LoadSecond{Phase: 1, Second: n, Offered: 10, Sent: 10, Answered: 10, Codes: map[string]uint64{"202": 10}}})
	}
	r := m.analyze(t)
	if c := r.FirstUp().ScaleUp.ColdStart; c == nil || !strings.Contains(c.Latency.Missing, "from something in front of the target") {
		t.Errorf("the cold start is %+v", c)
	}
	equal(t, "findings", kindsOf(r), []string(nil))
}

// What lasts over several entries of the record is told with all of its time.
func TestLasting(t *testing.T) {
	m := fromZero(record.ScaledObject{})
	m.signal(20, "")
	for n := 60.0; n < 180; n += 60 { // an error that stays the same is recorded once in a minute
		m.signal(n, "")
	}
	for n := 100.0; n < 200; n += 20 {
		m.add(n, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Max: 5, Conditions: []record.Condition{{Type: "Ready", Status: "False", Message: fmt.Sprintf("attempt %.0f", n)}}}})
	}
	m.signal(180, "0")
	m.add(200, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Max: 5, Conditions: []record.Condition{{Type: "Ready", Status: "True"}}}})
	var got []string
	for _, f := range m.analyze(t).Findings {
		got = append(got, fmt.Sprintf("%s from %.0f to %.0f: %s", f.Kind, *f.SinceSeconds, *f.UntilSeconds, f.Seen))
	}
	equal(t, "findings", got, []string{
		"signal-absent from 20 to 180: Metric external s0-prometheus had no value for 160 s: No metrics returned from the source.",
		"metrics-absent from 100 to 200: Its condition Ready was False for 100 s: Attempt 100.",
	})
}

// A pod of a later step has the stages of the HPA after those of the activation.
func TestAfterTheActivation(t *testing.T) {
	m := fromZero(record.ScaledObject{}).activated()
	m.signal(60, "22")
	m.target(65, 2)
	m.event(65.1, "HorizontalPodAutoscaler", "keda-hpa-web", "SuccessfulRescale", "New size: 2; reason: external metric s0-prometheus above target")
	b := life{name: "web-b", created: 65.1, scheduled: 65.2, started: 66, ready: 68, inService: 68.1}
	m.pod(b)
	m.endpoints(life{name: "web-a", inService: 53.1}, b)
	up := m.analyze(t).FirstUp().ScaleUp
	i := slices.IndexFunc(up.Pods, func(p PodStages) bool { return p.Pod == "web-b" })
	equal(t, "stages", show(up.Pods[i].Stages)[:5], []string{"signal: 6.200 ±1.0", "activation: 3.800 ±1.0", "metrics lag: 10.000 ±1.0", "decision: 5.000 ±1.0", "create: 0.100 ±0.1"})
}

// A trigger of type external is asked itself whether it is active, whatever its value is; one of cron has 0 outside its hours, and
// the replicas that it wants in them, be that 1.
func TestActivityByType(t *testing.T) {
	for kind, signal := range map[string]string{"external": "6.200 ±1.0", "cron": "2.000 ±1.0"} {
		m := fromZero(record.ScaledObject{}).activated()
		for at, value := range map[float64]string{3: "0", 42: "1"} {
			m.add(at, record.Entry{Signal: &record.Signal{Metric: "external s1-other", Value: new(resource.MustParse(value))}})
		}
		for i := range m.entries {
			if s := m.entries[i].ScaledObject; s != nil {
				s.Triggers = append(s.Triggers, record.Trigger{Type: kind, Metric: "s1-other"})
			}
		}
		equal(t, kind, show(m.analyze(t).FirstUp().ScaleUp.First.Stages)[:1], []string{"signal: " + signal})
	}
}

// A cooldown that began before the load fell goes on after it.
func TestCooldownFromBefore(t *testing.T) {
	m := fromZero(record.ScaledObject{}).activated()
	for i := range m.entries {
		if e := &m.entries[i]; e.Signal != nil && e.At.Seconds() == 130 {
			e.At = record.Instant(95 * time.Second)
		}
	}
	equal(t, "stages", show(m.analyze(t).LastDown().ScaleDown.First.Stages)[:2], []string{"cooldown: 25.000 ±6.0", "decision: 35.000 ±6.0"})
}
