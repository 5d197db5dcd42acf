package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/keda"
)

// needsKEDA skips a test where the cluster has no KEDA, or no Prometheus for its triggers.
func needsKEDA(t *testing.T) {
	t.Helper()
	if out, err := tryKubectl("get", "crd", "scaledobjects.keda.sh"); err != nil {
		t.Skipf("NOT RUN: the cluster has no KEDA (../shared/cluster/add prometheus, add keda): %s", out)
	}
}

// scaledObject is what the test looks at of one.
type scaledObject struct {
	metav1.ObjectMeta `json:"metadata"`
	Status            struct {
		Conditions []struct{ Type, Status string }
	} `json:"status"`
}

// TestScaleFromZero runs a target that a gateway stands in front of from no pod to some and back, and holds each decision and
// each instant of each pod against what kubectl saw. The stages add up, and the requests are held.
func TestScaleFromZero(t *testing.T) {
	needsKEDA(t)
	if embedded {
		t.Parallel()
	}
	seen, objects := observeAll(t), observe[scaledObject](t, "scaledobjects")
	run := startRun(t, "scale-from-zero")
	run.wait(0, 8*time.Minute)
	seen.compare(t, run)
	r := run.result()
	up := r.FirstUp()
	if up == nil || up.ScaleUp.First == nil || up.Steps[0].From != 0 {
		t.Fatalf("no start from zero: %+v", r.Transitions)
	}
	first := up.ScaleUp.First
	sum := 0.0
	for _, s := range first.Stages {
		if s.Seconds == nil {
			t.Errorf("stage %s: %s", s.Name, s.Missing)
			continue
		}
		sum += *s.Seconds
	}
	if first.Stages[0].Name != analysis.StageSignal || first.Stages[1].Name != analysis.StageActivation || math.Abs(sum-*first.Latency.Seconds) > 1e-3 {
		t.Errorf("the stages %+v sum up to %.3f s, and the pod was in service after %.3f s", first.Stages, sum, *first.Latency.Seconds)
	}
	cold := up.ScaleUp.ColdStart
	if cold == nil || cold.Latency.Seconds == nil || *cold.Latency.Seconds < *first.Latency.Seconds-0.2 || *cold.Latency.Seconds > *first.Latency.Seconds+3 || cold.Failed > cold.Sent/100 || cold.Held < 20 {
		t.Errorf("the cold start is %+v, with the first pod in service after %.3f s", cold, *first.Latency.Seconds)
	}
	down := r.LastDown()
	if n := len(down.Steps); n == 0 || down.Steps[n-1].To != 0 || down.ScaleDown.Settle.Seconds == nil {
		t.Errorf("it does not go back to zero: %+v", down)
	}
	for _, transition := range r.Transitions {
		for _, s := range transition.Steps {
			if s.Foreign || (s.From == 0 || s.To == 0) != strings.Contains(s.Event, "apps/v1.Deployment") {
				t.Errorf("the step %d → %d is told as %+v", s.From, s.To, s)
			}
		}
	}
	// The gateway and the node's proxy may lose one of a thousand connections; then that is told.
	want := []string{analysis.FoundColdStart}
	if r.Load.Total.Failed > 0 {
		want = append(want, analysis.FoundErrors)
	}
	if kinds := kindsOf(r); !slices.Equal(kinds, want) {
		t.Errorf("found %v", kinds)
		for _, f := range r.Findings {
			t.Errorf("%s: %s", f.Kind, f.Seen)
		}
	}
	// The conditions of the ScaledObject, as they came.
	rec := run.record()
	is := ""
	for _, e := range rec.Entries {
		if e.ScaledObject == nil || e.ScaledObject.Deleted || e.ScaledObject.Condition("Active") == nil {
			continue
		}
		active := string(e.ScaledObject.Condition("Active").Status)
		if active == is {
			continue
		}
		is = active
		at := e.At.Seconds()
		if at < r.StartSeconds { // KEDA writes it several times in its first second
			continue
		}
		observed := firstWhere(after(objects.all(func(o scaledObject) bool { return o.Namespace == r.Subject.Namespace }), r.Started.Add(time.Duration((at-1)*float64(time.Second)))), func(o scaledObject) bool {
			return slices.ContainsFunc(o.Status.Conditions, func(c struct{ Type, Status string }) bool { return c.Type == "Active" && c.Status == active })
		})
		wantNear(t, fmt.Sprintf("ScaledObject: active %s", active), r.Started, &at, observed)
	}
}

// A ScaledObject that KEDA does not take, or that somebody holds, ends the run in seconds with what KEDA says.
func TestScaledObjectThatCannotWork(t *testing.T) {
	needsKEDA(t)
	for name, c := range map[string]struct{ scaled, says string }{
		"incomplete": {"spec: {scaleTargetRef: {name: shop}, triggers: [{type: rabbitmq, metadata: {queueName: jobs}}]}", "KEDA cannot work with ScaledObject shop: "},
		"paused":     {"", "ScaledObject shop is paused by its annotation autoscaling.keda.sh/paused-replicas=0"},
	} {
		t.Run(name, func(t *testing.T) {
			object := "metadata: {name: shop}\n" + c.scaled
			if c.scaled == "" {
				object = "metadata: {name: shop, annotations: {autoscaling.keda.sh/paused-replicas: \"0\"}}\nspec: {scaleTargetRef: {name: shop}, triggers: [{type: prometheus, metadata: {serverAddress: \"http://127.0.0.1:9090\", query: up, threshold: \"1\"}}]}"
			}
			dir := t.TempDir()
			gateway := must(os.ReadFile("testdata/gateway.yaml"))
			for file, text := range map[string]string{
				"gateway.yaml": string(gateway), "scaled.yaml": "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\n" + object + "\n",
				"s.yaml": "apiVersion: hpabench.dev/v1alpha1\nkind: Scenario\nmetadata: {name: cannot}\nspec: {workload: {manifests: [gateway.yaml, scaled.yaml], target: {kind: Deployment, name: shop}}, load: {service: gateway, phases: [{name: load, duration: 10s, rate: 1}]}}\n",
			} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			run := startRun(t, filepath.Join(dir, "s.yaml"))
			run.wait(3, 2*time.Minute)
			if took := time.Since(began); took > time.Minute || !strings.Contains(run.stderr(), c.says) {
				t.Errorf("after %s it says, without %q:\n%s", took, c.says, run.stderr())
			}
		})
	}
}

// TestHPAOfScaledObject holds the HPA that package keda makes of a ScaledObject to that which KEDA makes.
func TestHPAOfScaledObject(t *testing.T) {
	needsKEDA(t)
	spec := `
scaleTargetRef: {name: shop}
idleReplicaCount: 0
minReplicaCount: 2
maxReplicaCount: 5
advanced: {horizontalPodAutoscalerConfig: {behavior: {scaleDown: {stabilizationWindowSeconds: 30}}}}
triggers:
- {type: prometheus, metadata: {serverAddress: "http://127.0.0.1:9090", query: up, threshold: "10.5", activationThreshold: "0.1"}}
- {type: cron, metadata: {timezone: Europe/Berlin, start: "0 6 * * 1-5", end: "0,30 20 * * *", desiredReplicas: "3"}}
- {type: memory, metricType: AverageValue, metadata: {value: 100Mi}}
- {type: prometheus, metricType: Value, metadata: {serverAddress: "http://127.0.0.1:9090", query: up, threshold: "7"}}
- {type: cpu, metricType: Utilization, metadata: {value: "60"}}
`
	s := new(keda.ScaledObject)
	if err := yaml.UnmarshalStrict([]byte(spec), s); err != nil {
		t.Fatal(err)
	}
	const namespace = "hpabench-e2e-keda"
	object := must(json.Marshal(map[string]any{"apiVersion": keda.APIVersion, "kind": keda.Kind, "metadata": map[string]string{"name": "web", "namespace": namespace}, "spec": s}))
	apply(t, `apiVersion: v1
kind: Namespace
metadata: {name: `+namespace+`}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: `+namespace+`}
spec:
  replicas: 0
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: shop, image: registry.k8s.io/hpa-example, resources: {requests: {cpu: 100m, memory: 100Mi}}}]}
---
`+string(object)+"\n")
	kubectl(t, "wait", "--for=create", "--timeout=1m", "-n", namespace, "hpa/"+s.HPAName("web"))
	var made autoscalingv2.HorizontalPodAutoscaler
	if err := json.Unmarshal([]byte(kubectl(t, "get", "hpa", s.HPAName("web"), "-n", namespace, "-o", "json")), &made); err != nil {
		t.Fatal(err)
	}
	want := s.HPA("web").Spec
	want.Behavior = made.Spec.Behavior // with the API server's defaults
	if down := made.Spec.Behavior.ScaleDown; *down.StabilizationWindowSeconds != 30 {
		t.Errorf("its window is %d s", *down.StabilizationWindowSeconds)
	}
	if !equality.Semantic.DeepEqual(want, made.Spec) {
		t.Errorf("KEDA makes %+v, package keda %+v", made.Spec, want)
	}
}

func kindsOf(r *analysis.Result) (kinds []string) {
	for _, f := range r.Findings {
		kinds = append(kinds, f.Kind)
	}
	return kinds
}

// TestKEDALibrary runs the scenarios of the library that are for KEDA and that no other test runs, and holds each instant against what
// kubectl saw.
func TestKEDALibrary(t *testing.T) {
	embeddedWillDo(t)
	needsKEDA(t)
	if embedded {
		t.Parallel()
	}
	for name, holds := range map[string]func(t *testing.T, r *analysis.Result){
		"queue-worker": func(t *testing.T, r *analysis.Result) {
			if got := steps(r); got[0] != 0 || got[len(got)-1] != 0 || slices.Max(got) < 2 {
				t.Errorf("replicas went %v, want from 0 to some and back", got)
			}
			if l := r.Load.Total; l.Failed > 0 || l.Answered != 480 {
				t.Errorf("%d messages were taken, and %d requests failed", l.Answered, l.Failed)
			}
		},
		"keda-cron-and-cpu": func(t *testing.T, r *analysis.Result) {
			if got := steps(r); got[len(got)-1] != 2 || slices.Max(got) != 5 {
				t.Errorf("replicas went %v, want 2 at the end, as the hours have it, and 5 before", got)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			if embedded {
				t.Parallel()
			}
			seen := observeAll(t)
			run := startRun(t, name)
			run.wait(0, 8*time.Minute)
			seen.compare(t, run)
			holds(t, run.result())
		})
	}
}
