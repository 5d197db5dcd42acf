package analysis

import (
	"strings"
	"testing"

	"github.com/hpabench/hpabench/record"
)

// What hid a metric is a gap of its own source.
func TestGapsOfSignals(t *testing.T) {
	for source, want := range map[string]string{"metric external queue": "not observed: the watch on metric external queue had a gap from 50.0 to 80.0 s", "podmetrics": "not seen before"} {
		m := watched(record.Phase{Name: "idle", Seconds: 30, Shape: record.ShapeIdle}, record.Phase{Name: "load", Seconds: 100, Shape: record.ShapeRate, From: 10, To: 10})
		m.phase(0, "idle", 10, 40)
		m.phase(1, "load", 40, 140)
		m.queueOnly(perPod("10"))
		m.queued(5, "0")
		m.gap(source, 50, 80)
		m.queued(80, "20")
		m.end(141)
		var b Builder
		for _, e := range m.entries {
			b.AddEntry(e)
		}
		o := observe(&b)
		if _, missing := o.metric(window{onset: 40e9, end: 140e9, endedBy: "the load phases ended"}, asksMore); !strings.Contains(missing, want) {
			t.Errorf("with a gap of %s: %q, want %q", source, missing, want)
		}
	}
}
