package simulate

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/record"
)

// A pod in which requests wait for longer than the probe does is not ready any more after
// three probes, and again when it has served them.
func TestReadinessIsLostUnderLoad(t *testing.T) {
	r := limited(t, "200m", 20*time.Millisecond, 1000, record.Phase{Seconds: 60, Shape: record.ShapeRate, From: 15}, record.Phase{Seconds: 60, Shape: record.ShapeRate, From: 1})
	r.Pod.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{}}, PeriodSeconds: 1, TimeoutSeconds: 2, FailureThreshold: 3}
	entries, _ := simulate(t, r)
	var onset float64
	var changes []float64
	was := true
	for _, e := range entries {
		if e.Phase != nil && onset == 0 {
			onset = e.At.Seconds()
		}
		if e.Pod == nil || onset == 0 {
			continue
		}
		for _, c := range e.Pod.Status.Conditions {
			if is := c.Status == corev1.ConditionTrue; c.Type == corev1.PodReady && is != was {
				was, changes = is, append(changes, e.At.Seconds()-onset)
			}
		}
	}
	// There are 5 requests a second more than are served, so the wait is 2 s after 4 s, and
	// three probes fail in 6 s; then there are 50 in line, of which 30 are too many, and the
	// probe that tells so was sent up to 2 s later.
	if len(changes) < 2 || changes[0] < 9 || changes[0] > 11.5 || changes[1]-changes[0] < 2 || changes[1]-changes[0] > 6 {
		t.Errorf("the readiness changes after %v s, should after 10 s and three to five later", changes)
	}
}
