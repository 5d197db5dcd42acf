package analysis

import (
	"slices"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
)

// Of a metric by pod the HPA leaves out pods that are about to end or pending.
func TestSignalOfPods(t *testing.T) {
	pod := func(name string, phase corev1.PodPhase, deleting bool) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.PodStatus{Phase: phase}}
		if deleting {
			p.DeletionTimestamp = &metav1.Time{}
		}
		return p
	}
	s := &record.Signal{Metric: "pods' rps", Timestamp: new(time.Now())}
	for name, value := range map[string]string{"a": "20", "b": "30", "ending": "0", "failed": "0", "pending": "0", "gone": "40"} {
		s.Pods = append(s.Pods, record.PodSignal{Pod: name, Value: resource.MustParse(value)})
	}
	v := &view{pods: []*corev1.Pod{pod("a", "Running", false), pod("b", "Running", false), pod("ending", "Running", true), pod("failed", "Failed", false), pod("pending", "Pending", false)},
		signals: signals{"pods' rps": {{0, s}}}}
	metric := autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "rps"}, Target: perPod("20")}}
	if ratio, pods, known := v.signal(metric); ratio != 1.5 || pods != 3 || !known {
		t.Errorf("a ratio of %g of %d pods (%v), should be 1.5 of 3", ratio, pods, known)
	}
	// As Kubernetes' calculator has it.
	if _, value, _, err := (&view{pods: v.pods, byPod: s}).ask(metric, 2, 2, policy{}, flags{Controllers: record.DefaultControllers()}); value != 30_000 || err != nil {
		t.Errorf("the HPA makes %d of it (%v)", value, err)
	}
	for _, p := range v.pods {
		p.Status.Phase = corev1.PodFailed
	}
	s.Pods = slices.DeleteFunc(s.Pods, func(p record.PodSignal) bool { return p.Pod == "gone" })
	if _, _, known := v.signal(metric); known {
		t.Error("the metric of no pod is known")
	}
}
