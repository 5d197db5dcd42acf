package runner

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
)

// An HPA can act without the metric of an adapter where it has all of its other metrics.
func TestLackingSignals(t *testing.T) {
	cpu := autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: corev1.ResourceCPU}}
	external := func(name string) autoscalingv2.MetricSpec {
		return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: name}}}
	}
	has, none := autoscalingv2.MetricStatus{Type: autoscalingv2.ResourceMetricSourceType}, autoscalingv2.MetricStatus{}
	for name, c := range map[string]struct {
		metrics []autoscalingv2.MetricSpec
		status  []autoscalingv2.MetricStatus
		unable  bool
		lacks   string
		others  bool
	}{
		"all":                  {[]autoscalingv2.MetricSpec{cpu, external("a")}, []autoscalingv2.MetricStatus{has, has}, false, "", true},
		"one of two":           {[]autoscalingv2.MetricSpec{cpu, external("a")}, []autoscalingv2.MetricStatus{has, none}, false, "metric external a", true},
		"the last is left out": {[]autoscalingv2.MetricSpec{cpu, external("a")}, []autoscalingv2.MetricStatus{has}, false, "metric external a", true},
		"no CPU yet":           {[]autoscalingv2.MetricSpec{cpu, external("a")}, []autoscalingv2.MetricStatus{none, has}, false, "", false},
		"nothing yet":          {[]autoscalingv2.MetricSpec{cpu, external("a")}, nil, false, "metric external a", false},
		"the only one":         {[]autoscalingv2.MetricSpec{external("a")}, nil, false, "metric external a", false},
		"two of three":         {[]autoscalingv2.MetricSpec{external("a"), cpu, external("b")}, []autoscalingv2.MetricStatus{none, has, none}, false, "metric external a, metric external b", true},
		"no scale":             {[]autoscalingv2.MetricSpec{cpu, external("a")}, []autoscalingv2.MetricStatus{has, none}, true, "metric external a", false},
	} {
		hpa := &autoscalingv2.HorizontalPodAutoscaler{Spec: autoscalingv2.HorizontalPodAutoscalerSpec{Metrics: c.metrics}, Status: autoscalingv2.HorizontalPodAutoscalerStatus{CurrentMetrics: c.status}}
		if c.unable {
			hpa.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionFalse}}
		}
		if lacks, others := lackingSignals(hpa); strings.Join(lacks, ", ") != c.lacks || others != c.others {
			t.Errorf("%s: lacks %q, acts by others: %v", name, lacks, others)
		}
	}
}

// What a trigger of a ScaledObject fails with is in KEDA's event, and not in its condition.
func TestTriggerThatFails(t *testing.T) {
	is := &record.ScaledObject{Name: "web", Conditions: []record.Condition{{Type: "Ready", Status: "False", Reason: "TriggerError", Message: "Triggers defined in ScaledObject are not working correctly"}}}
	refused := time.Now().Add(-time.Hour)
	_, _, err := kedaReady(is, nil, []record.Event{{Kind: "ScaledObject", Reason: "KEDAScalerFailed", Message: "the result is empty"}, {Kind: "Pod", Reason: "BackOff", Message: "other"}}, nil, 0, "shop", true, &refused)
	if want := "KEDA cannot work with ScaledObject web: TriggerError: Triggers defined in ScaledObject are not working correctly: the result is empty (kubectl describe"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v", err)
	}
}

// One of two triggers that fails at zero ends no run: KEDA brings the target by the other.
func TestOneTriggerFailsAtZero(t *testing.T) {
	is := &record.ScaledObject{Name: "web", Conditions: []record.Condition{{Type: "Ready", Status: "False", Reason: "TriggerError", Message: "Triggers defined in ScaledObject are not working correctly"}}}
	refused := time.Now().Add(-time.Hour)
	done, note, err := kedaReady(is, new(autoscalingv2.HorizontalPodAutoscaler), []record.Event{{Kind: "ScaledObject", Reason: "KEDAScalerFailed", Message: "the result is empty"}}, []string{"no value"}, 1, "shop", true, &refused)
	if !done || err != nil || !strings.Contains(note, "are not working correctly: the result is empty. The run goes on") {
		t.Errorf("%v, %q, %v", done, note, err)
	}
}

// KEDA says Ready before it has asked the triggers for the first time.
func TestTriggersNotAskedYet(t *testing.T) {
	for status, want := range map[metav1.ConditionStatus]bool{metav1.ConditionUnknown: false, metav1.ConditionFalse: true} {
		is := &record.ScaledObject{Name: "web", Conditions: []record.Condition{{Type: "Ready", Status: metav1.ConditionTrue}, {Type: "Active", Status: status}}}
		if done, _, err := kedaReady(is, new(autoscalingv2.HorizontalPodAutoscaler), nil, nil, 1, "shop", true, new(time.Time)); done != want || err != nil {
			t.Errorf("Active %s: %v, %v", status, done, err)
		}
	}
}

// In the first seconds KEDA writes Ready and Active of a trigger that fails to and fro: what its adapter answers tells.
func TestTriggerThatFailsBetweenConditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := &record.ScaledObject{Name: "web", Conditions: []record.Condition{{Type: "Ready", Status: metav1.ConditionTrue}, {Type: "Active", Status: metav1.ConditionFalse}}}
		var refused time.Time
		for second, want := range []string{0: "", 30: "", 61: "KEDA cannot work with ScaledObject web: its triggers fail: no value (kubectl describe"} {
			done, _, err := kedaReady(is, new(autoscalingv2.HorizontalPodAutoscaler), nil, []string{"no value"}, 0, "shop", true, &refused)
			if done || (err != nil) != (want != "") || err != nil && !strings.HasPrefix(err.Error(), want) {
				t.Errorf("after %d s: %v, %v", second, done, err)
			}
			time.Sleep(time.Second)
		}
	})
}
