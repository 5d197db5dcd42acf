package analysis

import (
	"slices"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/hpabench/hpabench/record"
)

// queue gives the HPA an external metric, beside those that it has.
func (m *made) queue(target autoscalingv2.MetricTarget) *made {
	for i := range m.entries {
		if a := m.entries[i].Autoscaler; a != nil {
			a.Spec.Metrics = append(slices.Clone(a.Spec.Metrics), autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType,
				External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "queue"}, Target: target}})
		}
	}
	return m
}

// queueOnly gives the HPA an external metric, and takes the others.
func (m *made) queueOnly(target autoscalingv2.MetricTarget) *made {
	for i := range m.entries {
		if a := m.entries[i].Autoscaler; a != nil {
			a.Spec.Metrics, a.Status.CurrentMetrics = nil, nil
		}
	}
	return m.queue(target)
}

// queued is what hpabench read of it at t.
func (m *made) queued(t float64, value string) {
	m.add(t, record.Entry{Signal: &record.Signal{Metric: "external queue", Value: new(resource.MustParse(value)), Timestamp: new(m.wall(t))}})
}

func perPod(value string) autoscalingv2.MetricTarget {
	return autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse(value))}
}

func inAll(value string) autoscalingv2.MetricTarget {
	return autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: new(resource.MustParse(value))}
}

// watched is an idle run of 100 s with two pods and an HPA.
func watched(phases ...record.Phase) *made {
	if phases == nil {
		phases = []record.Phase{{Name: "load", Seconds: 100, Shape: record.ShapeRate, From: 10, To: 10}}
	}
	m := newMade(phases...)
	m.add(0.5, record.Entry{Subject: &record.Subject{Namespace: "shop", APIVersion: "apps/v1", Kind: "Deployment", Name: "web", Autoscaler: "web"}})
	m.target(1, 2)
	m.hpa(2, 2, 2, 0)
	for _, name := range []string{"a", "b"} {
		m.pod(life{name: name, before: true, created: 1.5})
	}
	return m
}

// What was not read is not in the timeline: the pods before their first sample, and a metric that the HPA has no more.
func TestTimelineOfSignals(t *testing.T) {
	m := watched()
	m.phase(0, "load", 10, 110)
	m.hpa(3, 2, 2, -1)
	m.queueOnly(perPod("10"))
	m.hpa(60, 2, 2, -1)
	m.queued(5, "7")
	m.queued(12, "8")
	m.metrics(30, 0.01, "a", "b")
	m.end(111)
	r := m.analyze(t)
	for _, s := range r.Timeline {
		if (s.CPUCores != nil) != (s.Second >= 30) || (s.MemoryBytes != nil) != (s.Second >= 30) {
			t.Errorf("at %d s the CPU is %v, the memory %v", s.Second, s.CPUCores, s.MemoryBytes)
		}
		if (s.Signals[0] != nil) != (s.Second < 60) {
			t.Errorf("at %d s the metric is %v", s.Second, s.Signals[0])
		}
	}
}
