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

// A target that begins at zero, and that no Service is in front of, has no replicas then: they are not unobserved.
func TestBeginsAtZeroWithoutService(t *testing.T) {
	m := fromZero(record.ScaledObject{})
	m.signal(46.2, "5")
	m.rises(50, "worker-a")
	if r := m.analyze(t); r.Timeline[0].Ready == nil || *r.Timeline[0].Ready != 0 {
		t.Errorf("it begins with %v ready replicas", r.Timeline[0].Ready)
	}
}
