package simulate

import (
	"context"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"

	"github.com/hpabench/hpabench/record"
)

func TestMain(m *testing.M) {
	Child()
	Prepare()
	os.Exit(m.Run())
}

// instant is a workload whose pods are there and measured at once: they share a load,
// in milli-cores, each beside 10 of its own.
type instant struct {
	load   func(time.Duration) int64
	start  time.Time
	pods   cache.Indexer
	now    int32
	scaled []string
}

func (w *instant) Replicas() (spec, status int32) { return w.now, w.now }
func (w *instant) Pods() cache.Indexer            { return w.pods }

func (w *instant) Usage(corev1.ResourceName, string) metrics.PodMetricsInfo {
	r := metrics.PodMetricsInfo{}
	for _, name := range w.pods.ListKeys() {
		_, name, _ := cache.SplitMetaNamespaceKey(name)
		r[name] = metrics.PodMetric{Timestamp: time.Now(), Window: 15 * time.Second, Value: 10 + w.load(time.Since(w.start))/int64(w.now)}
	}
	return r
}

func (w *instant) Custom(string) metrics.PodMetricsInfo { return nil }

func (w *instant) External(string) (int64, bool, error) { return 0, false, nil }
func (w *instant) Outside(string) (float64, bool)       { return 0, false }

func (w *instant) SetReplicas(n int32) {
	w.scaled = append(w.scaled, fmt.Sprintf("%v %d", time.Since(w.start).Round(time.Second), n))
	w.set(n)
}

func (w *instant) set(n int32) {
	for i := min(n, w.now); i < max(n, w.now); i++ {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: fmt.Sprint("pod-", i), Labels: map[string]string{Label: "workload"}}}
		if i >= n {
			_ = w.pods.Delete(pod)
			continue
		}
		pod.Spec.Containers = []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}}}}
		// Long ready, so that what the pod uses counts at once.
		long := metav1.NewTime(w.start.Add(-time.Hour))
		pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &long, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: long}}}
		_ = w.pods.Add(pod)
	}
	w.now = n
}

func (*instant) Read(record.Signal) {}

// decisions of an HPA with target 60 % of 100m and a replica at first, for so long.
func decisions(t *testing.T, length time.Duration, behavior *autoscalingv2.HorizontalPodAutoscalerBehavior, load func(time.Duration) int64) (scaled []string) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(klog.NewContext(t.Context(), klog.Logger{}), length)
		defer cancel()
		w := &instant{load: load, start: time.Now(), pods: NewStore()}
		w.set(1)
		statuses := 0
		Autoscale(ctx, DefaultControllers(), &autoscalingv2.HorizontalPodAutoscaler{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "hpa", UID: "u"},
			Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
				ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "w"},
				MaxReplicas:    10, Behavior: behavior,
				Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
					Name:   corev1.ResourceCPU,
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(60))},
				}}},
			},
		}, w, func(autoscalingv2.HorizontalPodAutoscalerStatus) { statuses++ }, func(*corev1.Event) {})
		if statuses == 0 {
			t.Error("the HPA's status was never written")
		}
		scaled = w.scaled
	})
	return scaled
}

// TestEndsWithAStatus ends bubbles around the instant at which the controller's first status,
// written after three calls of 3 ms, reaches it by watch.
func TestEndsWithAStatus(t *testing.T) {
	for length := 9250 * time.Microsecond; length < 11*time.Millisecond; length += 250 * time.Microsecond {
		decisions(t, length, nil, surge)
	}
}

// surge is 300 milli-cores from 50 s to 230 s of every 16 minutes.
func surge(at time.Duration) int64 {
	if at %= 16 * time.Minute; at > 50*time.Second && at < 230*time.Second {
		return 300
	}
	return 0
}

// The figures follow from the rules that Kubernetes documents: 310m of 60m ask for 6, of
// which 4 is the most at first; then 6 pods of 60m. Up to 225 s 6 are recommended, and
// then 1, so that a window of 300 s ends at 525 s, by when the syncs are late by some
// milliseconds each.
func TestDecisionsFollowTheRules(t *testing.T) {
	for _, c := range []struct {
		name     string
		behavior *autoscalingv2.HorizontalPodAutoscalerBehavior
		want     []string
	}{
		{"of the defaults", nil, []string{"1m0s 4", "1m15s 6", "8m45s 1"}},
		{
			"window of a minute", &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(60))}},
			[]string{"1m0s 5", "1m15s 6", "4m45s 1"},
		},
		{
			"a pod a minute, no scale-down", &autoscalingv2.HorizontalPodAutoscalerBehavior{
				ScaleUp:   &autoscalingv2.HPAScalingRules{Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 60}}},
				ScaleDown: &autoscalingv2.HPAScalingRules{SelectPolicy: new(autoscalingv2.DisabledPolicySelect)},
			},
			[]string{"1m0s 2", "2m0s 3", "3m0s 4"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := decisions(t, 15*time.Minute, c.behavior, surge)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("decisions (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(got, decisions(t, 15*time.Minute, c.behavior, surge)); diff != "" {
				t.Errorf("a second time (-first +second):\n%s", diff)
			}
		})
	}
}

func BenchmarkDay(b *testing.B) {
	for b.Loop() {
		decisions(&testing.T{}, 24*time.Hour, nil, surge)
	}
}
