package runner

import (
	"errors"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/record"
)

func TestParseReference(t *testing.T) {
	for s, want := range map[string]reference{
		"web": {"hpa", "web"}, "hpa/web": {"hpa", "web"}, "deployments.apps/web": {"deployments.apps", "web"},
	} {
		if got, err := parseReference(s); err != nil || got != want {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "/", "hpa/", "/web", "a/b/c"} {
		var bad BadInput
		if _, err := parseReference(s); !errors.As(err, &bad) {
			t.Errorf("%q: %v, want a BadInput", s, err)
		}
	}
}

func TestHealthOf(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	for _, test := range []struct {
		status, outcome, words string
	}{
		{`{currentReplicas: 3, conditions: [{type: AbleToScale, status: "True"}, {type: ScalingActive, status: "True"}, {type: ScalingLimited, status: "True", reason: TooFewReplicas}]}`,
			record.OK, "scales Deployment web between 1 and 10 replicas, now 3, on cpu ?/50%"},
		{`{conditions: [{type: ScalingActive, status: "False", reason: FailedGetResourceMetric, message: no metrics, lastTransitionTime: "2026-01-02T03:02:00Z"}]}`,
			record.Fault, "; ScalingActive is False since 2m0s (FailedGetResourceMetric): no metrics"},
		{`{conditions: [{type: ScalingLimited, status: "True", reason: TooManyReplicas}, {type: AbleToScale, status: "False", reason: FailedGetScale}]}`,
			record.Fault, "; it wants more than its maximum; AbleToScale is False (FailedGetScale)"},
		{`{conditions: [{type: ScalingActive, status: "False", reason: ScalingDisabled}]}`, record.Fault, "it is off, as its target has 0 replicas"},
		{`{}`, record.Fault, "has not looked at it since it was made, 4m0s ago"},
	} {
		hpa := read[autoscalingv2.HorizontalPodAutoscaler](t, `
metadata: {name: web, creationTimestamp: "2026-01-02T03:00:00Z"}
spec: {maxReplicas: 10, scaleTargetRef: {kind: Deployment, name: web}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}
status: `+test.status)
		got := healthOf(&hpa, now)
		if got.Outcome != test.outcome || !strings.Contains(got.Message, test.words) || (got.Hint == "") != (got.Outcome == record.OK) {
			t.Errorf("%s:\n%+v, want %s and %q", test.status, got, test.outcome, test.words)
		}
	}
	keda := read[autoscalingv2.HorizontalPodAutoscaler](t, `
metadata: {name: web, ownerReferences: [{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, name: web, controller: true}]}
spec: {maxReplicas: 1, scaleTargetRef: {kind: Deployment, name: web}}
status: {conditions: [{type: ScalingActive, status: "False", reason: ScalingDisabled}]}`)
	if got := healthOf(&keda, now); got.Outcome != record.OK || !strings.Contains(got.Message, "from which KEDA brings it back") {
		t.Errorf("of a ScaledObject at zero: %+v", got)
	}
}

// What the spec alone does not allow is told as the finding of the one that is named is.
func TestHealthOfSpec(t *testing.T) {
	for spec, want := range map[string][2]string{
		"minReplicas: 3, maxReplicas: 3": {record.Fault, "its minReplicas and its maxReplicas are both 3"},
		"maxReplicas: 1":                 {record.Fault, "its minReplicas and its maxReplicas are both 1"},
		"maxReplicas: 3, behavior: {scaleUp: {selectPolicy: Disabled}}":   {record.Warning, "its behavior.scaleUp.selectPolicy is Disabled"},
		"maxReplicas: 3, behavior: {scaleDown: {selectPolicy: Disabled}}": {record.Warning, "its behavior.scaleDown.selectPolicy is Disabled"},
	} {
		hpa := read[autoscalingv2.HorizontalPodAutoscaler](t, "{metadata: {name: web}, spec: {"+spec+", scaleTargetRef: {kind: Deployment, name: web}}, status: {conditions: [{type: ScalingActive, status: \"True\"}]}}")
		if got := healthOf(&hpa, time.Now()); got.Outcome != want[0] || !strings.Contains(got.Message, want[1]) || got.Hint == "" {
			t.Errorf("%s: %+v, want %q", spec, got, want)
		}
	}
}

func TestFree(t *testing.T) {
	node := read[corev1.Node](t, `{status: {allocatable: {cpu: "2", memory: 4Gi, pods: "3"}}}`)
	pods := read[corev1.PodList](t, `
items:
- {spec: {containers: [{name: a, resources: {requests: {cpu: 500m, example.com/gpu: "1"}}}]}}
- {spec: {containers: [{name: a}]}}
`)
	left := free(node, podsByNode(&pods)[""])
	if left.Cpu().String() != "1500m" || left.Memory().String() != "4Gi" || left.Pods().String() != "1" || len(left) != 3 {
		t.Errorf("left: %v", left)
	}
	if node.Status.Allocatable.Cpu().String() != "2" {
		t.Error("the node itself was changed")
	}
}

func podsByNode(pods *corev1.PodList) map[string][]*corev1.Pod {
	byNode := map[string][]*corev1.Pod{}
	for _, pod := range pods.Items {
		byNode[pod.Spec.NodeName] = append(byNode[pod.Spec.NodeName], &pod)
	}
	return byNode
}

// A ScaledObject has no HPA where KEDA does not take it, or somebody holds it.
func TestWithoutHPA(t *testing.T) {
	for want, s := range map[string]*record.ScaledObject{
		"KEDA has no HPA for ScaledObject web | does KEDA's operator run?":                                 {},
		"KEDA has no HPA for ScaledObject web: no threshold | describe scaledobject web -n shop":           {Conditions: []record.Condition{{Type: "Ready", Status: "False", Message: "no threshold"}}},
		"its annotation autoscaling.keda.sh/paused-replicas=0 | autoscaling.keda.sh/paused-replicas- lets": {Paused: "autoscaling.keda.sh/paused-replicas=0"},
	} {
		s.Name = "web"
		message, hint := withoutHPA(s, "shop")
		if m, h, _ := strings.Cut(want, " | "); !strings.Contains(message, m) || !strings.Contains(hint, h) {
			t.Errorf("%q, %q, want %q", message, hint, want)
		}
	}
}
