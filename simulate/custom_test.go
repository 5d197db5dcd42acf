package simulate

import (
	"fmt"
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

// An External metric is the sum over the pods that show one of its name: those of a gateway bring the target back from zero, those that the
// target calls scale it. A scenario where neither shows it is refused with the reason.
func TestGoesByMetricOfOtherPods(t *testing.T) {
	source := func(least, calls, service, metrics string) string {
		return fmt.Sprintf(`
apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: web}
spec:
  workload: {target: {kind: Deployment, name: web}%s}
  autoscaler: {spec: {minReplicas: %s, maxReplicas: 10, metrics: [{type: External, external: {metric: {name: asked}, target: {type: AverageValue, averageValue: "10"}}}]}}
  load: {service: %s, keepAlive: false, phases: [{name: none, duration: 20s, rate: 0}, {name: busy, duration: 180s, rate: 40}]}
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, type: NodePort, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: other}, spec: {selector: {app: other}, type: NodePort, ports: [{port: 80}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: registry.k8s.io/hpa-example}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: other}
spec:
  selector: {matchLabels: {app: other}}
  template:
    metadata: {labels: {app: other}, annotations: {hpabench.dev/model: '{%s}'}}
    spec: {containers: [{name: other, image: example.com/other}]}
`, calls, least, service, metrics)
	}
	const asked = `"metrics": {"asked": {"of": "requests"}}`
	for name, text := range map[string]string{
		"gateway": source("0", "", "other", `"forwards": {"to": "web", "hold": "60s"}, `+asked),
		"called":  source("1", ", model: {calls: [{to: other}]}", "web", asked),
		"beside":  source("1", "", "web", asked),
	} {
		r, err := fromText(t, text)
		if name == "beside" {
			if err == nil || !strings.Contains(err.Error(), "the HPA goes by asked of pods that are not simulated") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		fitted := Guess(r.Pod, model.Model{Metrics: map[string]model.Metric{"asked": {Of: model.OfRequests}}}) // a fit takes it for the target's
		r.Like(fitted)
		if err := r.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_, score := simulate(t, r)
		if n := len(score.Decisions); n == 0 || score.Decisions[n-1].To != 4 || score.Missed > 0 {
			t.Errorf("%s: %.1f missed, and the decisions are %v, should come to 4", name, score.Missed, score.Decisions)
		}
	}
}
