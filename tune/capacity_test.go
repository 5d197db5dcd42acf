package tune

import (
	"context"
	"strings"
	"testing"

	"k8s.io/utils/ptr"

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
			if err != nil || got.Steady != c.target || !strings.Contains(got.Reason, c.says) {
				t.Errorf("%+v, %v; want %v, %q", got, err, c.target, c.says)
			}
		})
	}
}

// The steady target is tried under the load: it stays where it holds, else a lower one or a higher min is found, else the
// reason says why there is none.
func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		missed      func(target float64, min int32) float64 // of 1000
		target, min float64
		says, note  string
	}{
		"holds":           {func(target float64, min int32) float64 { return 4 }, 90, 1, "In 15 simulations of the scenario's load it meets p99 < 100ms: 0.4 % of the requests miss it in the worst", "With 1.3 times the load it meets the SLO still: 0.4 %"},
		"a lower target":  {func(target float64, min int32) float64 { return max(0, target-45) * 5 }, 47, 1, "it does not meet p99 < 100ms: 22.5 % of the requests miss it in the worst. To take is target=47 min=1", "With 2 times the load it meets the SLO still: 1 %"},
		"a higher min":    {func(target float64, min int32) float64 { return map[bool]float64{true: 500}[min < 3] }, 90, 3, "To take is target=90 min=3", "With 2 times the load"},
		"none":            {func(target float64, min int32) float64 { return 500 }, 0, 0, "There is none to take: none of", ""},
		"never scales up": {nil, 90, 1, "no target makes a difference, so whether it leaves enough room is not known", "With 2 times the load"},
	} {
		s := search(t, "target=30..90")
		s.Settings = 60
		s.Do = func(ctx context.Context, r *simulate.Run) (simulate.Score, error) {
			if r.Replicas != ptr.Deref(r.HPA.MinReplicas, 1) {
				t.Errorf("%s: with min %d a simulation begins with %d", name, ptr.Deref(r.HPA.MinReplicas, 1), r.Replicas)
			}
			score, err := made(ctx, r)
			if score.Missed = 0; c.missed == nil {
				score.ReplicaSeconds = 3600
			} else {
				score.Missed = c.missed(float64(*r.HPA.Metrics[0].Resource.Target.AverageUtilization), ptr.Deref(r.HPA.MinReplicas, 1))
			}
			return score, err
		}
		got := Capacity{Steady: 90}
		if err := got.Check(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if is := (got.Target != nil); is != (c.target > 0) || is != (len(got.Manifest) > 0) || is && (*got.Target != c.target || *got.Min != c.min) || !strings.Contains(got.Reason, c.says) || !strings.Contains(strings.Join(got.Notes, " "), c.note) {
			t.Errorf("%s: %v, %v: %s %s", name, got.Target, got.Min, got.Reason, got.Notes)
		}
	}
}
