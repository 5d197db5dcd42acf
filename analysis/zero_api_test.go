package analysis

import (
	"strings"
	"testing"

	"github.com/hpabench/hpabench/record"
)

// Answers of an API in front of a queue that go on from before the load rose do not tell when the target served.
func TestAnswersGoOn(t *testing.T) {
	m := fromZero(record.ScaledObject{})
	m.signal(46.2, "5")
	m.endpoints(m.rises(50, "web-a"))
	m.held(40, 100, 12)
	for i := range m.entries { // no good answer is the first of the phase
		if l := m.entries[i].Load; l != nil {
			l.Answered, l.Codes = 10, map[string]uint64{"200": 10}
		}
	}
	r := m.analyze(t)
	if c := r.Transitions[0].ScaleUp.ColdStart; c == nil || c.Latency.Seconds != nil || c.Latency.Missing != answeredInFront {
		t.Errorf("the cold start is %+v", c)
	}
	for _, f := range r.Figures() {
		if strings.HasPrefix(f.Name, "scaleUp.coldStart") && f.Value != nil {
			t.Errorf("%s is %g", f.Name, *f.Value)
		}
	}
}
