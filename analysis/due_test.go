package analysis

import (
	"strings"
	"testing"

	"github.com/hpabench/hpabench/record"
)

// The timestamp of a sample is cut to whole seconds: one of the second in which the load changed may be of the load.
func TestChangeOnASampleOfTheSameSecond(t *testing.T) {
	for at, want := range map[float64]string{41.9: "2.600 ±0.1", 40.9: "spec.replicas went from 2 to 3 on samples from before the load changed"} { // of the second 40, in which the load begins, and of 39
		m := watched(record.Phase{Name: "idle", Seconds: 30.5, Shape: record.ShapeIdle}, record.Phase{Name: "load", Seconds: 100, Shape: record.ShapeRate, From: 10, To: 10})
		m.phase(0, "idle", 10, 40.5)
		m.phase(1, "load", 40.5, 140.5)
		m.metrics(at, 0.03, "a", "b")
		m.target(42.5, 3)
		m.hpa(42.51, 2, 3, 60)
		m.pod(life{name: "c", created: 42.6, scheduled: 42.7, started: 43, ready: 43.1})
		m.end(141)
		if got := figure(m.analyze(t).FirstUp().ScaleUp.Latency); !strings.HasPrefix(got, want) {
			t.Errorf("a sample that is read at %g s: a latency of %s, want %s", at, got, want)
		}
	}
}
