package analysis

import (
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// TestRoundingText wants figures of which the result follows, and a result that is no whole number.
func TestRoundingText(t *testing.T) {
	percent := func(goal int32) autoscalingv2.MetricTarget {
		return autoscalingv2.MetricTarget{AverageUtilization: &goal}
	}
	bytes := func(goal string) autoscalingv2.MetricTarget {
		return autoscalingv2.MetricTarget{AverageValue: new(resource.MustParse(goal))}
	}
	for _, c := range []struct {
		target  autoscalingv2.MetricTarget
		value   int64 // percent or bytes
		current int32
		want    int32
		text    string
	}{
		{percent(82), 1807, 1, 23, "1 × 1807/82 = 22.04, which rounds up to 23"},
		{percent(52), 64, 1, 2, "1 × 64/52 = 1.23, which rounds up to 2"},
		{bytes("52Mi"), 622 << 20 / 10, 2, 3, "2 × 62.2Mi/52Mi = 2.39, which rounds up to 3"},
		{bytes("400Mi"), 300 << 20, 3, 3, "3 × 300Mi/400Mi = 2.25, which rounds up to 3; 2 below 267Mi a pod"},
		{bytes("4Mi"), 5001 << 10, 1, 2, "1 × 5001Ki/4Mi = 1.22, which rounds up to 2"},
	} {
		m := proposal{spec: autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: corev1.ResourceMemory, Target: c.target}}}
		if c.target.AverageUtilization != nil {
			m.status.AverageUtilization = new(int32(c.value))
		} else {
			m.status.AverageValue = resource.NewQuantity(c.value, resource.BinarySI)
		}
		m.ratio = ratioOf(c.target, m.status)
		if got := m.rounding(c.current, c.want, policy{max: 30, up: 0.1, down: 0.1}); got != c.text {
			t.Errorf("%q, want %q", got, c.text)
		}
	}
}
