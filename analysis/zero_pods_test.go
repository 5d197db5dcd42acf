package analysis

import (
	"slices"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/hpabench/hpabench/record"
)

// A metric of the pods has no value while there is none.
func TestNoPodsNoValue(t *testing.T) {
	m := fromZero(record.ScaledObject{}).activated()
	for i := range m.entries {
		if a := m.entries[i].Autoscaler; a != nil {
			a.Spec.Metrics = append(slices.Clone(a.Spec.Metrics), autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "busy"}, Target: perPod("3")}})
		}
	}
	m.add(3, record.Entry{Signal: &record.Signal{Metric: "pods' busy", Error: "no metrics returned from custom metrics API"}})
	m.add(60, record.Entry{Signal: &record.Signal{Metric: "pods' busy", Pods: []record.PodSignal{{Pod: "web-a", Value: resource.MustParse("2")}}, Timestamp: new(m.wall(60))}})
	m.add(162, record.Entry{Signal: &record.Signal{Metric: "pods' busy", Error: "no metrics returned from custom metrics API"}})
	equal(t, "findings", kindsOf(m.analyze(t)), []string{"cold-start"})
}

// A metric that ready pods had no value of is lost, also where there is no pod in the end.
func TestPodsAndNoValue(t *testing.T) {
	m := fromZero(record.ScaledObject{}).activated()
	for i := range m.entries {
		if a := m.entries[i].Autoscaler; a != nil {
			a.Spec.Metrics = append(slices.Clone(a.Spec.Metrics), autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "busy"}, Target: perPod("3")}})
		}
	}
	for _, at := range []float64{3, 60, 120, 180} { // an error that stays the same is recorded once in a minute
		m.add(at, record.Entry{Signal: &record.Signal{Metric: "pods' busy", Error: "no metrics returned from custom metrics API"}})
	}
	r := m.analyze(t)
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Kind == FoundSignalAbsent })
	if i < 0 || *r.Findings[i].SinceSeconds != 53 || *r.Findings[i].UntilSeconds != 180 {
		t.Errorf("found %v", r.Findings)
	}
}
