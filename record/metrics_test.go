package record

import (
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"sigs.k8s.io/yaml"
)

func TestMetricsRead(t *testing.T) {
	for status, want := range map[string]struct {
		read bool
		why  string
	}{
		`{}`: {},
		`{conditions: [{type: ScalingActive, status: "False", message: no metrics}], currentMetrics: [{type: Resource}]}`: {why: "no metrics"},
		`{conditions: [{type: AbleToScale, status: "False", message: no scale}]}`:                                         {why: "no scale"},
		`{conditions: [{type: ScalingActive, status: "True"}], currentMetrics: [{type: ""}]}`:                             {},
		`{conditions: [{type: ScalingActive, status: "True"}]}`:                                                           {},
		// Neither of these keeps it from its work.
		`{conditions: [{type: ScaledToZero, status: "False", message: not at zero}, {type: ScalingLimited, status: "False", message: within}]}`:                                                          {},
		`{conditions: [{type: ScalingActive, status: "True"}, {type: ScaledToZero, status: "False", message: not at zero}], currentMetrics: [{type: Resource}]}`:                                         {read: true},
		`{conditions: [{type: ScalingActive, status: "False", message: no metrics}, {type: ScaledToZero, status: "False", message: not at zero}, {type: ScalingLimited, status: "False", message: in}]}`: {why: "no metrics"},
	} {
		var s autoscalingv2.HorizontalPodAutoscalerStatus
		if err := yaml.Unmarshal([]byte(status), &s); err != nil {
			t.Fatal(err)
		}
		for _, metrics := range [][]autoscalingv2.MetricSpec{nil, make([]autoscalingv2.MetricSpec, 1)} {
			if read, why := MetricsRead(metrics, s); read != want.read || why != want.why {
				t.Errorf("%s: got %v, %q", status, read, why)
			}
		}
		if read, _ := MetricsRead(make([]autoscalingv2.MetricSpec, 2), s); read {
			t.Errorf("%s: one metric stands for two", status)
		}
	}
}
