package runner

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
)

// A run begins at zero where KEDA has the target there on purpose, whether or not the ScaledObject can be watched.
func TestKEDAReady(t *testing.T) {
	off := &autoscalingv2.HorizontalPodAutoscaler{Status: autoscalingv2.HorizontalPodAutoscalerStatus{Conditions: []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScalingActive, Status: "False", Reason: "ScalingDisabled"}}}}
	object := func(min int32, ready metav1.ConditionStatus) *record.ScaledObject {
		return &record.ScaledObject{Name: "web", Min: min, Conditions: []record.Condition{{Type: "Ready", Status: ready, Message: "no threshold"}}}
	}
	for name, c := range map[string]struct {
		is   *record.ScaledObject
		hpa  *autoscalingv2.HorizontalPodAutoscaler
		zero bool
		want bool
	}{
		"at zero":              {object(0, "True"), off, true, true},
		"a replica":            {object(0, "True"), off, false, false},
		"a minimum":            {object(2, "True"), off, true, false},
		"no HPA yet":           {object(0, "True"), nil, true, false},
		"not taken yet":        {object(0, "Unknown"), off, true, false},
		"no right":             {nil, off, true, true},
		"no right, no HPA yet": {nil, nil, true, false},
		"no right, not looked": {nil, new(autoscalingv2.HorizontalPodAutoscaler), true, false},
	} {
		var refused time.Time
		if got, _, err := kedaReady(c.is, c.hpa, nil, nil, 0, "shop", c.zero, &refused); got != c.want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var refused time.Time
		for i, ready := range []metav1.ConditionStatus{"False", "False", "True", "False", "False", "False"} {
			_, _, err := kedaReady(object(0, ready), off, nil, nil, 0, "shop", true, &refused)
			if (err != nil) != (i == 5) || err != nil && !strings.Contains(err.Error(), "KEDA cannot work with ScaledObject web: ") {
				t.Errorf("after %d s: %v", i*10, err)
			}
			time.Sleep(10 * time.Second)
		}
	})
}
