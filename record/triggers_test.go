package record

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// What activates a trigger is in its metadata, under a name of its type, and may be below 0. With a formula it is the formula's own.
func TestTriggers(t *testing.T) {
	o := new(unstructured.Unstructured)
	if err := yaml.Unmarshal([]byte(`
spec:
  advanced: {scalingModifiers: {formula: a + b, target: "2", activationTarget: "1.5"}}
  triggers:
  - {type: prometheus, name: a, metadata: {query: up, threshold: "1", activationThreshold: "-1"}}
  - {type: kafka, name: b, metadata: {lagThreshold: "1", activationLagThreshold: "7"}}
  - {type: rabbitmq, metadata: {value: "1", activationValue: "NaN"}}
status: {externalMetricNames: [s0-prometheus, s1-kafka-orders, s2-rabbitmq-q], compositeScalerName: composite-metric}
`), &o.Object); err != nil {
		t.Fatal(err)
	}
	want := []Trigger{{"prometheus", "s0-prometheus", -1}, {"kafka", "s1-kafka-orders", 7}, {"rabbitmq", "s2-rabbitmq-q", 0}, {"scalingModifiers", "composite-metric", 1.5}}
	if d := cmp.Diff(want, ScaledObjectOf(o).Triggers); d != "" {
		t.Errorf("triggers (-want +got):\n%s", d)
	}
}
