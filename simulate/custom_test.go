package simulate

import (
	"math"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
)

// Worked out by hand, after two minutes with rate(x[1m]): rise × the time that it is taken
// to be over ÷ the time between the first reading and the last ÷ the window.
func TestRateIsThatOfPrometheus(t *testing.T) {
	at := func(seconds, value float64) Reading { return Reading{time.Duration(seconds * 1e9), value} }
	for _, c := range []struct {
		name     string
		readings []Reading
		want     float64 // -1 for none
	}{
		{"none", nil, -1},
		{"one", []Reading{at(110, 5)}, -1},
		{"one in the window", []Reading{at(50, 5), at(110, 5)}, -1},
		{"evenly", []Reading{at(65, 100), at(80, 250), at(95, 400), at(110, 550)}, 10},
		{"since half the window", []Reading{at(95, 100), at(110, 250)}, 150. * (15 + 7.5 + 10) / 15 / 60},
		{"since zero", []Reading{at(95, 0), at(110, 150)}, 150. * (15 + 10) / 15 / 60},
		{"no rise", []Reading{at(95, 10), at(110, 10)}, 0},
	} {
		got, known := Rate(c.readings, 120*time.Second, time.Minute)
		if !known {
			got = -1
		}
		if math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %g, should be %g", c.name, got, c.want)
		}
	}
}

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

// Requests that find no pod raise a metric of requests in front of the pods, and bring the HPA from 0
// to as many replicas as the load needs; a metric of the requests in flight has none of them.
func TestComesBackFromZero(t *testing.T) {
	twenty := resource.MustParse("20")
	target := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &twenty}
	queue := autoscalingv2.MetricIdentifier{Name: "queue"}
	for _, m := range []autoscalingv2.MetricSpec{
		{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: queue, Target: target}},
		{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{Metric: queue, Target: target}},
	} {
		for of, want := range map[string]int32{model.OfRequests: 3, model.OfInFlight: 0} {
			r := library(t, "spike")
			r.HPA.MinReplicas, r.HPA.MaxReplicas, r.HPA.Metrics = new(int32(0)), 10, []autoscalingv2.MetricSpec{m}
			r.HPA.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(0))}}
			r.Plant.Workload.Metrics = map[string]model.Metric{"queue": {Of: of}}
			r.Phases = []record.Phase{{Name: "calm", Seconds: 180, Shape: record.ShapeIdle}, {Name: "again", Seconds: 180, Shape: record.ShapeRate, From: 60}}
			_, score := simulate(t, r)
			if n := len(score.Decisions); n == 0 || score.Decisions[n-1].To != want {
				t.Errorf("%s of %s: the decisions are %v, should come to %d", m.Type, of, score.Decisions, want)
			}
		}
	}
}
