package analysis

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// The stages of a transition add up to its latency, to the millisecond, whatever
// was seen late, in another order or not at all.
func TestStagesAddUp(t *testing.T) {
	pods, missing := 0, 0
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 1))
		m := demo(record.Phase{Name: "idle", Shape: record.ShapeIdle}, record.Phase{Name: "surge", Shape: record.ShapeRate, From: 100}, record.Phase{Name: "calm", Shape: record.ShapeIdle}).finished()
		for i := range m.entries {
			e := &m.entries[i]
			if e.Pod != nil || e.Endpoints != nil || e.PodMetrics != nil || e.Autoscaler != nil || e.Event != nil {
				e.At = max(0, e.At+record.Instant((random.Float64()*random.Float64()*4-0.5)*1e9))
			}
		}
		m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool {
			return e.Load != nil || (e.Pod != nil || e.Endpoints != nil || e.PodMetrics != nil) && random.Float64() < 0.1
		})
		if random.Float64() < 0.5 {
			from := random.Float64() * 600
			m.gap([]string{podSource, endpointsSource, metricsSource, hpaSource}[random.IntN(4)], from, from+random.Float64()*60)
		}
		for _, tr := range m.analyze(t).Transitions {
			var all []PodStages
			if tr.ScaleUp != nil {
				all = tr.ScaleUp.Pods
				if f := tr.ScaleUp.First; f != nil && figure(f.Latency) != figure(tr.ScaleUp.Latency) {
					t.Errorf("seed %d: the first pod took %s, the scale-up %s", seed, figure(f.Latency), figure(tr.ScaleUp.Latency))
				}
			} else {
				all = tr.ScaleDown.Pods
				if f := tr.ScaleDown.First; len(all) > 0 && tr.ScaleDown.Latency.Seconds != nil {
					decided := slices.IndexFunc(f.Stages, func(s Stage) bool { return s.Name == StageDecision })
					if e := f.Stages[decided].EndsAtSeconds; e != nil && len(tr.Steps) == 1 && math.Abs(total(f.Stages[:decided+1])-*tr.ScaleDown.Latency.Seconds) > 5e-4 {
						t.Errorf("seed %d: the stages up to the decision sum up to %v, the scale-down took %s", seed, total(f.Stages[:decided+1]), figure(tr.ScaleDown.Latency))
					}
				}
			}
			for _, p := range all {
				pods++
				if p.Latency.Seconds == nil {
					missing++
					continue
				}
				if math.Abs(total(p.Stages)-*p.Latency.Seconds) > 5e-4 {
					t.Errorf("seed %d, %s of scale-%s: the stages %s sum up to %v, not to %v", seed, p.Pod, tr.Direction, show(p.Stages), total(p.Stages), *p.Latency.Seconds)
				}
				for i, s := range p.Stages {
					if (s.Seconds == nil) == (s.Missing == "") || s.Seconds != nil && *s.Seconds < 0 {
						t.Errorf("seed %d, %s: stage %d is %+v", seed, p.Pod, i, s)
					}
				}
			}
		}
	}
	if pods < 400 || missing == 0 || missing > pods/2 {
		t.Errorf("%d pods, %d of them without a latency: the records are not what this is to be tried on", pods, missing)
	}
}

func total(stages []Stage) (seconds float64) {
	for _, s := range stages {
		if s.Seconds != nil {
			seconds += *s.Seconds
		}
	}
	return seconds
}

// Stages of a pod that goes: a preStop hook that sleeps is told apart from what
// the container takes itself; of any other hook the end is not known.
func TestPreStop(t *testing.T) {
	for hook, want := range map[string][]string{
		"sleep": {"preStop: 12.000 ±0.1 with out of service", "exit: 3.000 ±0.1", "gone: 0.500 ±0.1"},
		"exec":  {"preStop: Kubernetes does not tell when a preStop hook of kind exec ends", "exit: 15.000 ±0.1 with out of service, preStop", "gone: 0.500 ±0.1"},
		"":      {"exit: 15.000 ±0.1 with out of service", "gone: 0.500 ±0.1"},
	} {
		m := newMade(record.Phase{Name: "load", Shape: record.ShapeRate, From: 20}, record.Phase{Name: "calm", Shape: record.ShapeIdle})
		m.target(1, 4)
		m.phase(0, "load", 10, 100)
		m.phase(1, "calm", 100, 200)
		m.target(130, 3)
		m.pod(life{name: "b", before: true, created: 3, terminating: 130.1, exited: 145.1, gone: 145.6})
		for _, e := range m.entries {
			if e.Pod != nil && e.Pod.Name == "b" && hook != "" {
				e.Pod.Containers = []record.ContainerResources{{Name: "nginx", PreStop: hook}}
				if hook == "sleep" {
					e.Pod.Containers[0].PreStopSleep = new(int64(12))
				}
			}
		}
		m.end(201)
		r := m.analyze(t)
		down := r.Transitions[len(r.Transitions)-1].ScaleDown
		equal(t, fmt.Sprintf("hook %q", hook), show(down.First.Stages)[5:], want)
	}
}

// A record of `hpabench watch` has no load that is known: the transitions are the
// rows of steps in one direction, each from when the metric passed its tolerance.
func TestObserved(t *testing.T) {
	m := demo(record.Phase{Name: "observed", Shape: record.ShapeObserved})
	m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool { return e.Phase != nil || e.Load != nil })
	m.phase(0, "observed", 10, 600)
	r := m.finished().analyze(t)
	var got []string
	for _, tr := range r.Transitions {
		line := fmt.Sprintf("%s from %.1f by %s, %d steps", tr.Direction, tr.OnsetSeconds-surge, tr.OnsetBy, len(tr.Steps))
		if tr.ScaleUp != nil {
			line += ": " + figure(tr.ScaleUp.Latency)
		} else {
			line += ": " + figure(tr.ScaleDown.Latency)
		}
		got = append(got, line)
	}
	equal(t, "transitions", got, []string{"up from 12.2 by metric, 2 steps: 4.800 ±0.1", "down from 72.2 by metric, 2 steps: 287.500 ±0.1"})
	if s := r.Transitions[0].ScaleUp.First.Stages[0]; s.Seconds != nil || s.Missing == "" {
		t.Errorf("the metrics lag of an unknown load is %+v", s)
	}
}

// A step that neither the HPA's event nor its status speaks of is somebody else's.
func TestForeignStep(t *testing.T) {
	m := demo()
	m.add(surge+100, record.Entry{Target: &record.Target{Replicas: 1, Status: 5, Manager: "kubectl"}})
	slices.SortStableFunc(m.entries, func(a, b record.Entry) int { return int((a.At - b.At) / 1000) })
	var got []string
	for _, tr := range m.finished().analyze(t).Transitions {
		for _, s := range tr.Steps {
			got = append(got, fmt.Sprintf("%d→%d %v %s", s.From, s.To, s.Foreign, s.By))
		}
	}
	equal(t, "steps", got[:3], []string{"2→4 false ", "4→5 false ", "5→1 true kubectl"})
}

// TestNotEarlier wants only what the HPA decided by its metrics told as the work of the load before: not what somebody set, nor a bound.
func TestNotEarlier(t *testing.T) {
	for name, raised := range map[string]bool{"somebody": false, "the minimum": true} {
		m := demo()
		m.target(surge+1, 3) // the samples of then are from before the surge
		if raised {
			s := spec(nil)
			s.MinReplicas = new(int32(3))
			m.add(surge+1.01, record.Entry{Autoscaler: &record.Autoscaler{Name: "demo-nginx", Spec: s, Status: autoscalingv2.HorizontalPodAutoscalerStatus{CurrentReplicas: 2, DesiredReplicas: 3}}})
		}
		first := m.finished().analyze(t).Transitions[0].Steps[0]
		if first.From != 2 || first.To != 3 || first.Foreign == raised || first.Earlier {
			t.Errorf("%s: the first step is %+v", name, first)
		}
	}
}
