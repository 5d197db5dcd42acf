package analysis

import (
	"slices"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/record"
)

// A metric that is over a window comes to its highest after a short load has ended.
func TestPeakAfterTheLoad(t *testing.T) {
	m := watched(record.Phase{Name: "idle", Shape: record.ShapeIdle, Seconds: 30}, record.Phase{Name: "load", Shape: record.ShapeRate, Seconds: 20, From: 10}, record.Phase{Name: "calm", Shape: record.ShapeIdle, Seconds: 100})
	m.phase(0, "idle", 10, 40)
	m.phase(1, "load", 40, 60)
	m.phase(2, "calm", 60, 160)
	m.hpa(3, 2, 2, -1)
	m.queueOnly(inAll("2"))
	for i := range m.entries {
		if a := m.entries[i].Autoscaler; a != nil {
			a.Spec.MaxReplicas = 5
		}
	}
	m.queued(5, "0")
	m.queued(55, "40m")
	m.queued(85, "1320m")
	m.queued(140, "0")
	m.add(160.5, record.Entry{End: &record.End{Outcome: record.Completed}})
	r := m.analyze(t)
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Kind == FoundLoadTooSmall })
	if i < 0 || !strings.Contains(r.Findings[i].Seen, "came to 66 % of the target at most") {
		t.Errorf("found %v", r.Findings)
	}
}

// What a metric came to before the load is not the load's.
func TestPeakBeforeTheLoad(t *testing.T) {
	m := watched(record.Phase{Name: "idle", Shape: record.ShapeIdle, Seconds: 30}, record.Phase{Name: "load", Shape: record.ShapeRate, Seconds: 60, From: 10})
	m.phase(0, "idle", 10, 40)
	m.phase(1, "load", 40, 100)
	m.hpa(3, 2, 2, -1)
	m.queueOnly(inAll("2"))
	for i := range m.entries {
		if a := m.entries[i].Autoscaler; a != nil {
			a.Spec.MaxReplicas = 5
		}
	}
	m.queued(5, "0")
	m.queued(15, "1900m")
	m.queued(25, "0")
	m.queued(55, "1")
	m.add(100.5, record.Entry{End: &record.End{Outcome: record.Completed}})
	r := m.analyze(t)
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Kind == FoundLoadTooSmall })
	if i < 0 || !strings.Contains(r.Findings[i].Seen, "came to 50 % of the target at most") {
		t.Errorf("found %v", r.Findings)
	}
}
