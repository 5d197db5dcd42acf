package tune

import (
	"strings"
	"testing"

	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
)

// A pod of 10 ms a request and 20m at rest uses 520m at 50 requests/s.
func TestAtCapacity(t *testing.T) {
	for _, c := range []struct {
		name, resources, autoscaler string
		target                      float64
		says, fails                 string
		assumed                     string
	}{
		{name: "percent", autoscaler: "{cpuPercent: 50, min: 1, max: 5}", target: 236, says: "260 % of its request of 200m; with a target of 236 % the HPA adds one above 260 %"},
		{name: "tolerance", autoscaler: "{spec: {maxReplicas: 5, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}], behavior: {scaleUp: {tolerance: 0.3}}}}", target: 200},
		{name: "cores", autoscaler: "{spec: {maxReplicas: 5, metrics: [{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 100m}}}]}}", target: 0.472},
		{name: "of a container", autoscaler: "{spec: {maxReplicas: 5, metrics: [{type: ContainerResource, containerResource: {name: cpu, container: web, target: {type: Utilization, averageUtilization: 50}}}]}}", target: 236},
		{name: "the whole pod's request", resources: "template: {spec: {resources: {requests: {cpu: 400m}}}}", autoscaler: "{cpuPercent: 50, min: 1, max: 5}", target: 118},
		{name: "the whole pod's limit", resources: "template: {spec: {resources: {limits: {cpu: 400m}}}}", autoscaler: "{cpuPercent: 50, min: 1, max: 5}", target: 86, says: "of its request of 400m"},
		{name: "at the limit", resources: "resources: {requests: {cpu: 200m}, limits: {cpu: 500m}}", autoscaler: "{cpuPercent: 50, min: 1, max: 5}", target: 215, says: "its limit of 500m lets the metric rise to 475m for sure"},
		{name: "idle CPU is assumed", autoscaler: "{cpuPercent: 50, min: 1, max: 5}", target: 236, assumed: "too few samples", says: "its idle CPU of 20m is assumed (too few samples), 260 %"},
		{name: "memory", autoscaler: "{spec: {maxReplicas: 5, metrics: [{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 100Mi}}}]}}", fails: "first metric is not CPU"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resources := c.resources
			if resources == "" {
				resources = "resources: {requests: {cpu: 200m}}"
			}
			f, err := scenarios.Parse("s.yaml", []byte(`apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: web}
spec:
  workload:
    deployment: {image: example.com/web, replicas: 1, port: 80, `+resources+`}
    model: {cpu: {mean: 10ms}, idleCPU: 20m}
  autoscaler: `+c.autoscaler+`
  load: {phases: [{name: surge, duration: 1m, rate: 10}]}
`), nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := simulate.FromScenario(f)
			if err != nil {
				t.Fatal(err)
			}
			got, err := AtCapacity(r, 50, c.assumed)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("%v, want %q", err, c.fails)
				}
				return
			}
			if err != nil || got.Target != c.target || !strings.Contains(got.Reason, c.says) {
				t.Errorf("%+v, %v; want %v, %q", got, err, c.target, c.says)
			}
		})
	}
}
