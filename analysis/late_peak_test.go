package analysis

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/record"
)

// The highest of a metric is that from the load on: one that is over a window comes to it after a short load has ended, and what it
// came to before is not the load's.
func TestPeakOfTheLoad(t *testing.T) {
	for name, c := range map[string]struct {
		load  float64 // how long, from 40 s on
		read  map[float64]string
		share string
	}{
		"after it":  {20, map[float64]string{5: "0", 55: "40m", 85: "1320m", 140: "0"}, "66 %"},
		"before it": {60, map[float64]string{5: "0", 15: "1900m", 25: "0", 55: "1"}, "50 %"},
	} {
		m := watched(record.Phase{Name: "idle", Shape: record.ShapeIdle, Seconds: 30}, record.Phase{Name: "load", Shape: record.ShapeRate, Seconds: c.load, From: 10}, record.Phase{Name: "calm", Shape: record.ShapeIdle, Seconds: 100})
		m.phase(0, "idle", 10, 40)
		m.phase(1, "load", 40, 40+c.load)
		m.phase(2, "calm", 40+c.load, 140+c.load)
		m.hpa(3, 2, 2, -1)
		m.queueOnly(inAll("2"))
		for i := range m.entries {
			if a := m.entries[i].Autoscaler; a != nil {
				a.Spec.MaxReplicas = 5
			}
		}
		for _, at := range slices.Sorted(maps.Keys(c.read)) {
			m.queued(at, c.read[at])
		}
		m.end(140.5 + c.load)
		findings := m.analyze(t).Findings
		i := slices.IndexFunc(findings, func(f Finding) bool { return f.Kind == FoundLoadTooSmall })
		if i < 0 || !strings.Contains(findings[i].Seen, "came to "+c.share+" of the target at most") {
			t.Errorf("%s: found %v", name, findings)
		}
	}
}
