package analysis

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
)

// The rules of groupPods in kubernetes/pkg/controller/podautoscaler/replica_calculator.go.
func TestCounted(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	young, old := start.Add(2*time.Minute), start.Add(10*time.Minute)
	for name, c := range map[string]struct {
		resource corev1.ResourceName
		ready    corev1.ConditionStatus
		since    time.Duration // the Ready condition's last change, from start
		sampled  time.Duration
		now      time.Time
		phase    corev1.PodPhase
		deleting bool
		why      string // it does not count; empty if it does or is none of the replicas
		want     bool
	}{
		"ready for a window":        {"cpu", "True", 10 * time.Second, 20 * time.Second, young, "Running", false, "", true},
		"ready for less":            {"cpu", "True", 10 * time.Second, 19 * time.Second, young, "Running", false, "with a sample that began before readiness", false},
		"not ready any more, young": {"cpu", "False", 60 * time.Second, 90 * time.Second, young, "Running", false, "not ready", false},
		"not ready any more, old":   {"cpu", "False", 60 * time.Second, 9 * time.Minute, old, "Running", false, "", true},
		"never ready, old":          {"cpu", "False", 5 * time.Second, 9 * time.Minute, old, "Running", false, "not ready", false},
		"memory, not ready":         {"memory", "False", 5 * time.Second, 6 * time.Second, young, "Running", false, "", true},
		"memory, pending":           {"memory", "False", 5 * time.Second, 6 * time.Second, young, "Pending", false, "not ready", false},
		"no sample yet":             {"memory", "True", 10 * time.Second, 0, young, "Running", false, "without a metric", false},
		"terminating":               {"cpu", "True", 10 * time.Second, 60 * time.Second, young, "Running", true, "", false},
		"failed":                    {"memory", "True", 10 * time.Second, 60 * time.Second, young, "Failed", false, "", false},
	} {
		p := &pod{name: "p"}
		p.now.Name = "p"
		p.now.Status = corev1.PodStatus{Phase: c.phase, StartTime: &metav1.Time{Time: start}, Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: c.ready, LastTransitionTime: metav1.NewTime(start.Add(c.since))}}}
		if c.deleting {
			p.now.Deleting = &metav1.Time{Time: start}
		}
		names := &texts{}
		s := sample{stamp: start.Add(c.sampled).UnixNano(), Window: 10, pod: names.add("p"), containers: 1}
		v := &view{pods: []*corev1.Pod{api(&p.now)}, usage: &readings{names, []sample{s}, []container{{CPU: 1, name: names.add("c")}}}, at: c.now}
		if c.sampled == 0 {
			v.usage.samples = nil
		}
		got := v.counted(c.resource, "", flags{Controllers: record.DefaultControllers()})
		if got.pods == 1 != c.want || got.uncounted() != c.why {
			t.Errorf("%s: counted %v, %q, want %v, %q", name, got.pods, got.uncounted(), c.want, c.why)
		}
	}
}

// TestTolerances holds the order of the fields of Kubernetes' type, which has no constructor.
func TestTolerances(t *testing.T) {
	if got, want := (policy{down: 0.1, up: 0.2}).tolerances().String(), "[down:10.0%, up:20.0%]"; got != want {
		t.Errorf("tolerances %s, want %s", got, want)
	}
}
