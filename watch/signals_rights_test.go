package watch

import (
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// That hpabench may not read a metric says nothing of the metric, unlike an error that the adapter answers.
func TestSignalThatMayNotBeRead(t *testing.T) {
	of := autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "queue"}}}
	for _, c := range []struct {
		err      error
		recorded bool
	}{
		{apierrors.NewForbidden(schema.GroupResource{Group: "external.metrics.k8s.io", Resource: "queue"}, "", nil), false},
		{apierrors.NewUnauthorized("the token has expired"), false},
		{apierrors.NewServiceUnavailable("the adapter is away"), true},
	} {
		s, err := Signals{External: adapter{"queue": func() (string, error) { return "", c.err }}}.Read(of, "shop", "")
		if (err == nil) != c.recorded || (s != nil && s.Error != "") != c.recorded {
			t.Errorf("%v: recorded %+v, error %v", c.err, s, err)
		}
	}
}
