package analysis

import (
	"slices"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/record"
)

// onARise is a run whose HPA goes by CPU, of which the pods use factor thousandths of a core for each request a second, and by an
// external metric that is far below its target. The rate rises by one a second from 40 s on.
func onARise(factor float64, signals bool) *made {
	m := watched(record.Phase{Name: "idle", Seconds: 30, Shape: record.ShapeIdle}, record.Phase{Name: "rise", Seconds: 100, Shape: record.ShapeRamp, From: 0, To: 100})
	m.phase(0, "idle", 10, 40)
	m.phase(1, "rise", 40, 140)
	for at := 10.0; at < 140; at += 15 {
		m.metrics(at, max(0, at-46)*factor/1000, "a", "b") // the mean of its window is of 6 s before
	}
	if signals {
		m.queue(inAll("100"))
		for at := 5.4; at < 141; at++ {
			m.queued(at, "1")
		}
	}
	m.end(141)
	return m
}

// The rate that a metric needs is that of its own samples, whenever another metric was read.
func TestLoadTooSmallOfSeveralMetrics(t *testing.T) {
	for _, signals := range []bool{false, true} {
		found := onARise(0.1, signals).analyze(t).Findings
		i := slices.IndexFunc(found, func(f Finding) bool { return f.Kind == FoundLoadTooSmall })
		if i < 0 || !strings.Contains(found[i].Advice, "send more than about 100 requests/s in phase rise") {
			t.Errorf("with signals %v: %+v", signals, found)
		}
	}
}

// When the rate was that at which the CPU passed its target is known beside another metric too.
func TestRisingOfSeveralMetrics(t *testing.T) {
	var seen []string
	for _, signals := range []bool{false, true} {
		m := onARise(0.15, signals)
		m.target(132, 3)
		m.hpa(132.01, 2, 3, 26)
		if signals {
			m.entries[len(m.entries)-1].Autoscaler.Spec = *m.entries[slices.IndexFunc(m.entries, func(e record.Entry) bool { return e.Autoscaler != nil })].Autoscaler.Spec.DeepCopy()
		}
		m.pod(life{name: "c", created: 132.1, scheduled: 132.2, started: 133, ready: 134})
		for _, s := range m.analyze(t).FirstUp().ScaleUp.First.Stages {
			if s.Name == StageRising {
				seen = append(seen, show([]Stage{s})...)
			}
		}
	}
	if len(seen) != 2 || seen[0] != seen[1] || strings.Contains(seen[0], "do not tell") {
		t.Errorf("%q", seen)
	}
}
