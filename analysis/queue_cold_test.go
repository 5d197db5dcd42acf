package analysis

import (
	"testing"

	"github.com/hpabench/hpabench/record"
)

// A queue's answer after the activation and before a pod is in service is not the target's.
func TestQueueAnswersBeforeThePod(t *testing.T) {
	m := fromZero(record.ScaledObject{})
	m.signal(46.2, "5")
	m.endpoints(m.rises(50, "web-a"))
	m.held(40, 100, 10.4)
	r := m.analyze(t)
	if c := r.Transitions[0].ScaleUp.ColdStart; c == nil || c.Latency.Missing != answeredInFront {
		t.Errorf("the cold start is %+v", c)
	}
}
