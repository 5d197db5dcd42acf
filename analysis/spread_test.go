package analysis

import (
	"fmt"
	"math"
	"testing"

	"github.com/hpabench/hpabench/record"
)

// Kept connections leave a new pod without requests for ten seconds; then it gets
// its share.
func TestSpread(t *testing.T) {
	m := newMade(record.Phase{Name: "idle", Shape: record.ShapeIdle}, record.Phase{Name: "load", Shape: record.ShapeRate, From: 100, KeepAlive: true})
	m.target(1, 1)
	lives := []life{{name: "a", before: true, created: 2, inService: 2.1}, {name: "b", created: 50.1, scheduled: 50.2, started: 51, ready: 51.5, inService: 52}}
	for _, l := range lives {
		m.pod(l)
	}
	m.endpoints(lives...)
	m.phase(0, "idle", 10, 40)
	m.phase(1, "load", 40, 92)
	m.target(50, 2)
	for second := 40; second < 92; second++ {
		pods := map[string]record.PodSecond{"a": {Answered: 100}}
		switch {
		case second == 55:
			pods = map[string]record.PodSecond{"a": {Answered: 99}, "b": {Answered: 1, Errors: 1}}
		case second >= 62:
			pods = map[string]record.PodSecond{"a": {Answered: 60}, "b": {Answered: 40}}
		}
		m.add(float64(second+1), record.Entry{Load: &record.LoadSecond{Phase: 1, Second: second, Offered: 100, Sent: 100, Answered: 100, Pods: pods}})
	}
	m.add(55.3, record.Entry{Answer: &record.Answer{Pod: "b"}})
	m.end(93)
	r := m.analyze(t)
	var got []string
	for _, p := range r.Load.Phases[1].Pods {
		got = append(got, fmt.Sprintf("%s %d %d %.3f %.2f", p.Pod, p.Answered, p.Errors, p.Share, *p.Rate))
	}
	// a: 22 s of 100, one of 99 (that of 22), 30 of 60, over 52 s; b: 1201 over 40 s.
	equal(t, "pods", got, []string{"a 3999 0 0.769 76.90", "b 1201 1 0.231 30.02"})
	s := r.Load.Phases[1].Spread
	a, b := 3999.0/52, 1201.0/40
	if s == nil || s.Pods != 2 || math.Abs(s.MaxOverMean-a/((a+b)/2)) > 1e-9 || math.Abs(s.Gini-(a-b)/(2*(a+b))) > 1e-9 {
		t.Errorf("spread %+v", s)
	}
	if total := r.Load.Total.Spread; total == nil || total.Pods != 2 {
		t.Errorf("spread of all %+v", total)
	}
	// Without an answer from b, a has all: 2 times the mean, and a Gini of 1/2.
	for i := range m.entries {
		if l := m.entries[i].Load; l != nil {
			l.Pods = map[string]record.PodSecond{"a": {Answered: 100}}
		}
	}
	if s := m.analyze(t).Load.Phases[1].Spread; s == nil || s.Pods != 2 || s.MaxOverMean != 2 || s.Gini != 0.5 {
		t.Errorf("spread with one pod left out: %+v", s)
	}
	p := r.Transitions[0].ScaleUp.Pods[0]
	equal(t, "pod b", []string{figure(*p.FirstAnswer), figure(*p.FairShare)}, []string{"3.300 ±0.1", "11.000 ±1.0"})
}
