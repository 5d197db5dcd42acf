package analysis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"

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
