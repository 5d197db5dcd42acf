package analysis

import (
	"slices"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
)

// The HPA of the records made by hand has a target of 20 %, min 2 and max 5.
func TestNow(t *testing.T) {
	type conditions = map[autoscalingv2.HorizontalPodAutoscalerConditionType]string // "True Reason"
	fine := conditions{"AbleToScale": "True ReadyForNewScale", "ScalingActive": "True ValidMetricFound", "ScalingLimited": "False DesiredWithinRange"}
	for _, test := range []struct {
		name                      string
		current, desired, percent int32
		conditions                conditions
		limitedBy, says           string
	}{
		{"on target", 3, 3, 20, fine, "", "It stays at 3 replicas, as its metrics ask for."},
		{"within tolerance", 3, 3, 22, fine, LimitTolerance, "It stays at 3 replicas: the metric is off its target, but within the tolerance of 10 %."},
		{"scales", 2, 4, 40, conditions{"AbleToScale": "True SucceededRescale", "ScalingActive": "True ValidMetricFound"}, "", "It goes from 2 to 4 replicas."},
		{"at max", 4, 5, 80, conditions{"ScalingLimited": "True TooManyReplicas"}, LimitMax, "It recommends 16 replicas, but its maximum is 5."},
		{"at min", 2, 2, 1, conditions{"ScalingLimited": "True TooFewReplicas"}, LimitMin, "It recommends 1 replica, but its minimum is 2."},
		{"held", 5, 5, 8, conditions{"AbleToScale": "True ScaleDownStabilized"}, LimitStabilization, "It recommends 2 replicas and stays at 5, because it recommended more within its scale-down window of 300 s."},
		{"policy", 2, 4, 200, conditions{"ScalingLimited": "True ScaleUpLimit"}, LimitUpPolicy, "It recommends 20 replicas; its scale-up policy lets it go from 2 to 4 at once."},
		{"pods that are not ready", 3, 3, 60, fine, LimitPods, "By its metrics it would be 9 replicas; as it counts the pods without a metric or not ready, it came to 3."},
		{"a metric is missing", 3, 3, -1, fine, LimitMetrics, "Its status lacks a metric, without which it may scale up but never down; its last look came to 3 replicas."},
		{"no metrics", 3, 3, -1, conditions{"ScalingActive": "False FailedGetResourceMetric"}, LimitMetrics, "It does not scale: ScalingActive is False (FailedGetResourceMetric): of ScalingActive."},
		{"no scale", 3, 3, 60, conditions{"AbleToScale": "False FailedGetScale", "ScalingActive": "False FailedGetResourceMetric"}, LimitUnknown, "It does not scale: AbleToScale is False (FailedGetScale): of AbleToScale."},
		{"above max", 9, 5, -1, conditions{"AbleToScale": "True SucceededRescale"}, "", "It scales from 9 to its maximum of 5, whatever the metrics say."},
		{"off at zero", 0, 0, -1, conditions{"ScalingActive": "False ScalingDisabled"}, LimitUnknown, "It is off (ScalingDisabled): its target has 0 replicas, and it looks at no metric until somebody scales that to 1 or more."},
		{"idle at zero", 0, 0, -1, conditions{"ScalingActive": "False ScalingDisabled"}, LimitUnknown, "It is idle (ScalingDisabled): its target has 0 replicas, and KEDA brings it to 1 by s0-prometheus above 0.1, or cron while that is active."},
		{"paused at zero", 0, 0, -1, conditions{"ScalingActive": "False ScalingDisabled"}, LimitUnknown, "It is off (ScalingDisabled): its target has 0 replicas, and KEDA brings it back no sooner than autoscaling.keda.sh/paused-scale-out is taken out of ScaledObject web."},
		{"new", 0, 0, -1, nil, LimitUnknown, "The HPA controller has not looked at it yet."},
	} {
		m := newMade(record.Phase{Name: "observed", Shape: record.ShapeObserved, Seconds: 3})
		m.phase(0, "observed", 1, 4)
		m.target(0.5, test.current)
		m.hpa(0.5, test.current, test.desired, test.percent)
		hpa := m.entries[len(m.entries)-1].Autoscaler
		for kind, is := range test.conditions {
			status, reason, _ := strings.Cut(is, " ")
			hpa.Status.Conditions = append(hpa.Status.Conditions, autoscalingv2.HorizontalPodAutoscalerCondition{
				Type: kind, Status: corev1.ConditionStatus(status), Reason: reason, Message: "of " + string(kind)})
		}
		if strings.HasSuffix(test.name, "at zero") && test.name != "off at zero" {
			m.entries = append(m.entries, record.Entry{ScaledObject: &record.ScaledObject{Paused: map[bool]string{true: "autoscaling.keda.sh/paused-scale-out"}[test.name == "paused at zero"], Name: "web", Max: 5, Triggers: []record.Trigger{{Type: "prometheus", Metric: "s0-prometheus", Activation: 0.1}, {Type: "cron"}, {Type: "cpu", Metric: "cpu"}}}})
		}
		r, err := Analyze(record.Run{Entries: m.entries})
		if err != nil {
			t.Fatal(err)
		}
		if r.Now == nil || r.Now.LimitedBy != test.limitedBy || r.Now.Says != test.says {
			t.Errorf("%s: %+v\nwant %q, %s", test.name, r.Now, test.limitedBy, test.says)
		}
	}

	m := newMade(record.Phase{Name: "surge", Shape: record.ShapeRate, From: 5, Seconds: 3})
	m.phase(0, "surge", 1, 4)
	m.hpa(0.5, 2, 2, 10)
	if r, err := Analyze(record.Run{Entries: m.entries}); err != nil || r.Now != nil {
		t.Errorf("a run has %+v (%v)", r.Now, err)
	}
}

// A Job's pods that the selector matches count with those of the target, whichever the record lists first:
// the HPA or the pods.
func TestPodsListedAfterTheAutoscaler(t *testing.T) {
	run, err := record.Open("testdata/foreign-pods.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	hpa := slices.IndexFunc(run.Entries, func(e record.Entry) bool { return e.Autoscaler != nil })
	pods := slices.IndexFunc(run.Entries, func(e record.Entry) bool { return e.Target != nil })
	after := slices.Insert(slices.Clone(run.Entries), pods+1, run.Entries[hpa])
	after = slices.Delete(after, hpa, hpa+1)
	for name, entries := range map[string][]record.Entry{"before": run.Entries, "after": after} {
		r, err := Analyze(record.Run{Entries: entries})
		if err != nil {
			t.Fatal(err)
		}
		if n := r.Now; n == nil || n.LimitedBy != LimitPods || n.Recommended == nil || *n.Recommended != 4 || !strings.Contains(n.Says, "2 of 6 pods") {
			t.Errorf("with the HPA %s the pods: %+v", name, n)
		}
	}
}

// Of two pods nobody but the HPA read a sample, by which it removes two: its condition says that there were some.
func TestSamplesThatTheHPAAloneRead(t *testing.T) {
	m := newMade(record.Phase{Name: "observed", Shape: record.ShapeObserved, Seconds: 30})
	m.phase(0, "observed", 1, 30)
	m.target(0.5, 4)
	for i, name := range []string{"a", "b", "c", "d"} {
		m.pod(life{name: name, before: true, created: 0.1 + float64(i)/100})
	}
	m.metrics(15, 0.001, "a", "b")
	m.hpa(4, 4, 4, 2)
	m.hpa(19, 4, 2, 2)
	for _, e := range m.entries {
		if e.Autoscaler != nil {
			e.Autoscaler.Spec = spec(&autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(0))}})
		}
	}
	m.entries[len(m.entries)-1].Autoscaler.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{
		{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue, Reason: "SucceededRescale"},
		{Type: autoscalingv2.ScalingLimited, Status: corev1.ConditionTrue, Reason: "TooFewReplicas"},
	}
	m.target(19.1, 2)
	r := m.analyze(t)
	if n := r.Now; n == nil || n.Recommended == nil || *n.Recommended != 1 || n.LimitedBy != LimitMin {
		t.Errorf("now %+v", r.Now)
	}
	for _, transition := range r.Transitions {
		for _, s := range transition.Steps {
			if s.LimitedBy != LimitMin || s.Recommended == nil || *s.Recommended != 1 || s.Disagrees != "" {
				t.Errorf("the step %+v", s)
			}
		}
	}
}

// From 0 replicas the HPA takes the ratio itself, within the tolerance too: getUsageRatioReplicaCount.
func TestReplicasForFromZero(t *testing.T) {
	p := policy{up: 0.1, down: 0.1}
	for ratio, want := range map[float64]int32{0: 0, 0.4: 1, 1.05: 2, 2.3: 3} {
		if got := replicasFor(ratio, 0, p); got != want {
			t.Errorf("from 0 replicas a ratio of %g comes to %d, should to %d", ratio, got, want)
		}
	}
}
