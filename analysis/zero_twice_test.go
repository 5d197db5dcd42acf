package analysis

import (
	"testing"

	"github.com/hpabench/hpabench/record"
)

// Pods of a second rise from zero have stages of their own.
func TestTwiceFromZero(t *testing.T) {
	m := fromZero(record.ScaledObject{})
	m.signal(42.2, "1")
	a := m.rises(45, "web-a")
	m.signal(55, "0")
	m.target(70, 0)
	m.event(70.1, "ScaledObject", "web", "KEDAScaleTargetDeactivated", "Deactivated apps/v1.Deployment shop/web from 1 to 0")
	m.signal(81, "1")
	b := m.rises(85, "web-b")
	m.endpoints(a, b)
	pods := m.held(40, 100, 48.2).analyze(t).Transitions[0].ScaleUp.Pods
	equal(t, "stages of the second", show(pods[len(pods)-1].Stages)[:2], []string{"signal: 41.000 ±1.0", "activation: 4.000 ±1.0"})
}
