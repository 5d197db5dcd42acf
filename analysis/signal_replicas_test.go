package analysis

import (
	"testing"

	"github.com/hpabench/hpabench/record"
)

// A value that stays the same is another share of the target when there are other replicas.
func TestRatioOfOtherReplicas(t *testing.T) {
	m := watched()
	m.phase(0, "load", 10, 110)
	m.queueOnly(perPod("10"))
	m.queued(5, "40")
	m.target(20, 4)
	m.end(111)
	var b Builder
	for _, e := range m.entries {
		b.AddEntry(e)
	}
	o := observe(&b)
	for at, want := range map[float64]float64{10: 2, 19: 2, 21: 1, 60: 1} {
		if u, _ := last(o.usages, record.Instant(at*1e9)); u.ratio == nil || *u.ratio != want {
			t.Errorf("at %g s the ratio is %v, should be %g", at, u.ratio, want)
		}
	}
}
