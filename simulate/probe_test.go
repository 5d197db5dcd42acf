package simulate

import (
	"math"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
)

// A pod in which requests wait for longer than the probe does is not ready any more after
// three probes, and again when it has served them.
func TestReadinessIsLostUnderLoad(t *testing.T) {
	r := limited(t, "200m", 20*time.Millisecond, 1000, record.Phase{Seconds: 60, Shape: record.ShapeRate, From: 15}, record.Phase{Seconds: 60, Shape: record.ShapeRate, From: 1})
	r.Pod.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{}}, PeriodSeconds: 1, TimeoutSeconds: 2, FailureThreshold: 3}
	entries, _ := simulate(t, r)
	changes := readyChanges(entries)
	// There are 5 requests a second more than are served, so the wait is 2 s after 4 s, and
	// three probes fail in 6 s; then there are 50 in line, of which 30 are too many, and the
	// probe that tells so was sent up to 2 s later.
	if len(changes) < 2 || changes[0] < 9 || changes[0] > 11.5 || changes[1]-changes[0] < 2 || changes[1]-changes[0] > 6 {
		t.Errorf("the readiness changes after %v s, should after 10 s and three to five later", changes)
	}
}

// A probe that waits among the requests of an overload is answered when they are, not when its timeout is
// over: the pod is ready again as soon as it has served what it had, in a record and without one.
func TestReadinessComesBack(t *testing.T) {
	r := limited(t, "1", 50*time.Millisecond, 1000, record.Phase{Seconds: 20, Shape: record.ShapeRate, From: 40}, record.Phase{Seconds: 60, Shape: record.ShapeRate, From: 1})
	r.Pod.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{}}, PeriodSeconds: 1, TimeoutSeconds: 10, FailureThreshold: 1}
	entries, score := simulate(t, r)
	r.Header = nil
	_, without := simulate(t, r)
	changes := readyChanges(entries)
	if len(changes) < 2 {
		t.Fatalf("the readiness changes after %v s only", changes)
	}
	var onset, last float64
	for _, e := range entries {
		if e.Phase != nil && onset == 0 {
			onset = e.At.Seconds()
		}
		if e.Load != nil && e.Load.Answered > 0 && float64(e.Load.Second)+1-onset < changes[1] {
			last = max(last, float64(e.Load.Second)+1-onset)
		}
	}
	if changes[1]-last > 2.5 || math.Abs(score.Missed-without.Missed) > 0.5 {
		t.Errorf("the readiness changes after %v s, the last answer before is at %.0f s; %.1f requests are missed, without a record %.1f", changes, last, score.Missed, without.Missed)
	}
}

// readyChanges are the seconds from the first phase on at which the pods' condition Ready changes, of which the first
// is that it is lost.
func readyChanges(entries []record.Entry) (changes []float64) {
	var onset float64
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
	return changes
}

// A probe costs and holds what an HTTP request does, as on the embedded cluster, unless it asks for a status
// path: without load, and beside a load that is more than the pod can serve.
func TestProbesAreRequests(t *testing.T) {
	for _, c := range []struct {
		path          string
		cores, memory float64 // without load
		last          float64 // answer to 900 requests in 60 s, in seconds
	}{
		{"/", 0.02, 30 << 20, 96}, // 60 probes wait in line among them
		{"/healthz?full=1", 0, 10 << 20, 90},
	} {
		r := limited(t, "200m", 20*time.Millisecond, 1000, record.Phase{Seconds: 60, Shape: record.ShapeIdle}, record.Phase{Seconds: 60, Shape: record.ShapeRate, From: 15}, record.Phase{Seconds: 60, Shape: record.ShapeIdle})
		r.Pod.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: c.path}}, PeriodSeconds: 1, FailureThreshold: 1000}
		m := &r.Plant.Workload
		m.IdleCPU, m.Memory, m.MemoryPerRequest, m.MemoryHeld = resource.NewQuantity(0, resource.DecimalSI), resource.NewQuantity(10<<20, resource.BinarySI), resource.NewQuantity(1<<20, resource.BinarySI), &metav1.Duration{Duration: 20 * time.Second}
		entries, _ := simulate(t, r)
		var onset record.Instant
		var cores, memory, last float64
		for _, e := range entries {
			switch {
			case e.Phase != nil && onset == 0:
				onset = e.At
			case e.PodMetrics != nil && onset > 0 && e.At.Sub(onset) < 60*time.Second:
				if s := e.PodMetrics.Samples; len(s) > 0 {
					cores, memory = s[0].Containers[0].CPU, float64(s[0].Containers[0].Memory)
				}
			case e.Load != nil && e.Load.Answered > 0:
				last = float64(e.Load.Second) - onset.Seconds() - 60
			}
		}
		if math.Abs(cores-c.cores) > 0.001 || math.Abs(memory-c.memory) > 1<<20 || math.Abs(last-c.last) > 3 || r.Modelled().MostCPU() != 0.2-c.cores {
			t.Errorf("%s: %.3f cores and %.1f MiB without load; %.3f cores are left for requests; the last answer comes after %.0f s, and should after %.0f", c.path, cores, memory/(1<<20), r.Modelled().MostCPU(), last, c.last)
		}
	}
}
