package runner

import (
	"slices"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// The API server takes the metric of a namespace for an object named metrics in it.
func TestSignalRights(t *testing.T) {
	for kind, want := range map[string]string{"Namespace": "get metrics rate", "Service": "get services/rate shop"} {
		of := task{spec: &autoscalingv2.HorizontalPodAutoscalerSpec{Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
			DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: kind, Name: "shop"}, Metric: autoscalingv2.MetricIdentifier{Name: "rate"}}}}}}
		rights := of.signalRights()
		if len(rights) != 1 || rights[0].group != "custom.metrics.k8s.io" || rights[0].verb+" "+rights[0].resource+" "+rights[0].name != want {
			t.Errorf("%s: %+v, want %s", kind, rights, want)
		}
	}
}

// What the HPA of a scenario goes by is among the rights that hpabench rbac prints.
func TestRolesOfSignals(t *testing.T) {
	files := scenario(t, `workload: {deployment: {image: nginx, port: 80, resources: {requests: {cpu: 50m}}}}
  autoscaler: {spec: {maxReplicas: 3, metrics: [
    {type: External, external: {metric: {name: s0-queue}, target: {type: AverageValue, averageValue: "10"}}},
    {type: Pods, pods: {metric: {name: rps}, target: {type: AverageValue, averageValue: "10"}}}]}}
  load: {phases: [{name: surge, duration: 1m, rate: 5}]}`, "")
	got := roles(t, Permission{Task: TaskRun, Files: files, Namespace: "n"})["Role n"]
	for _, want := range []string{"s0-queue.external.metrics.k8s.io: list", "pods/rps.custom.metrics.k8s.io *: get"} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not among %q", want, got)
		}
	}
}

// KEDA names the metrics of a ScaledObject by what its triggers are about, which the scenario does not tell.
func TestRolesOfScaledObject(t *testing.T) {
	files := scenario(t, `workload: {deployment: {image: nginx, port: 80}}
  autoscaler: {scaledObject: {triggers: [{type: rabbitmq, metadata: {queueName: orders, mode: QueueLength, value: "10"}}]}}
  load: {phases: [{name: surge, duration: 1m, rate: 5}]}`, "")
	for name, p := range map[string]Permission{
		"run":   {Task: TaskRun, Files: files, Namespace: "n"},
		"watch": {Task: TaskWatch, Ref: "scaledobject/web", Namespace: "n"},
	} {
		got := roles(t, p)["Role n"]
		if !slices.Contains(got, "*.external.metrics.k8s.io: list") || slices.ContainsFunc(got, func(r string) bool { return strings.Contains(r, "s0-") }) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
