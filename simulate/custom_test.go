package simulate

import (
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
)

// 40 requests a second, at 10 of them a pod.
func TestGoesByCustomMetrics(t *testing.T) {
	ten := resource.MustParse("10")
	metric := autoscalingv2.MetricIdentifier{Name: "requests_per_second"}
	for _, m := range []autoscalingv2.MetricSpec{
		{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{Metric: metric, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &ten}}},
		{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{Metric: metric, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &ten}}},
		{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: metric, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &ten}}},
	} {
		for _, of := range []model.Metric{{Of: model.OfRequests}, {Of: model.OfInFlight, Scale: 200}} { // of 5 ms each
			t.Run(string(m.Type)+" of "+of.Of, func(t *testing.T) {
				r := library(t, "spike")
				r.HPA.Metrics = []autoscalingv2.MetricSpec{m}
				if err := r.Check(); err == nil {
					t.Error("there is no error that the metric is not known")
				}
				r.Plant.Workload.Metrics = map[string]model.Metric{metric.Name: of}
				if err := r.Check(); err != nil {
					t.Error(err)
				}
				r.Phases = []record.Phase{{Name: "surge", Seconds: 240, Shape: record.ShapeRate, From: 40}}
				_, score := simulate(t, r)
				if n := len(score.Decisions); n == 0 || score.Decisions[n-1].To != 4 {
					t.Errorf("the decisions are %v, should come to 4", score.Decisions)
				}
			})
		}
	}
}

// A metric of the pods is gone with the last of them, and an HPA that goes by it stays at 0 replicas, as on a cluster: that is
// told as assumed. A source outside brings it back, to as many replicas as it asks for.
func TestStaysAtZero(t *testing.T) {
	twenty := resource.MustParse("20")
	target := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &twenty}
	queue := autoscalingv2.MetricIdentifier{Name: "queue"}
	for _, m := range []autoscalingv2.MetricSpec{
		{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: queue, Target: target}},
		{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{Metric: queue, Target: target}},
	} {
		for outside, want := range map[string]int32{"": 0, "t > 180.0 ? 60 : 0": 3} {
			r := library(t, "spike")
			r.HPA.MinReplicas, r.HPA.MaxReplicas, r.HPA.Metrics = new(int32(0)), 10, []autoscalingv2.MetricSpec{m}
			r.HPA.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(0))}}
			if outside == "" {
				r.Plant.Workload.Metrics = map[string]model.Metric{"queue": {Of: model.OfRequests}}
			} else {
				r.Outside = map[string]string{"queue": outside}
			}
			r.Phases = []record.Phase{{Name: "calm", Seconds: 180, Shape: record.ShapeIdle}, {Name: "again", Seconds: 180, Shape: record.ShapeRate, From: 60}}
			_, score := simulate(t, r)
			if n := len(score.Decisions); n == 0 || score.Decisions[n-1].To != want {
				t.Errorf("%s, %q outside: the decisions are %v, should come to %d", m.Type, outside, score.Decisions, want)
			}
			if told := strings.Contains(strings.Join(r.Assumed(), " "), "while there is none it has no value"); told != (outside == "") {
				t.Errorf("%s, %q outside: assumed are %q", m.Type, outside, r.Assumed())
			}
		}
	}
}
