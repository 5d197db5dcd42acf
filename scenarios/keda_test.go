package scenarios

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const scaledManifest = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 0
  selector: {matchLabels: {app: shop}}
  template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: shop, image: x/shop}]}}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{port: 80}]}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: shop-scaler}
spec: {scaleTargetRef: {name: shop}, maxReplicaCount: 4, triggers: [{type: prometheus, metadata: {serverAddress: "http://p", query: up, threshold: "1"}}]}
`

// TestScaledObject has the object, its HPA's name and the replicas to start with of a ScaledObject, in the scenario and among
// manifests, and faults of one that cannot be.
func TestScaledObject(t *testing.T) {
	const prometheus = `triggers: [{type: prometheus, metadata: {serverAddress: "http://p", query: up, threshold: "1"}}]`
	const cpu = `triggers: [{type: cpu, metricType: Utilization, metadata: {value: "60"}}]`
	short := func(replicas, scaled string) string {
		return fmt.Sprintf(`{deployment: {image: x/shop, port: 80%s}}, autoscaler: {scaledObject: {%s}}`, replicas, scaled)
	}
	for name, c := range map[string]struct {
		workload string
		hpa      string // its name
		replicas int64
		fault    string
	}{
		"from zero":          {workload: short("", prometheus), hpa: "keda-hpa-s", replicas: 0},
		"idle":               {workload: short("", "idleReplicaCount: 0, minReplicaCount: 3, "+prometheus), hpa: "keda-hpa-s", replicas: 0},
		"one at most":        {workload: short("", "maxReplicaCount: 1, "+prometheus), hpa: "keda-hpa-s", replicas: 0},
		"a minimum":          {workload: short("", "minReplicaCount: 2, "+prometheus), hpa: "keda-hpa-s", replicas: 2},
		"replicas":           {workload: short(", replicas: 1", prometheus), hpa: "keda-hpa-s", replicas: 1},
		"a name":             {workload: short("", "advanced: {horizontalPodAutoscalerConfig: {name: mine}}, "+prometheus), hpa: "mine", replicas: 0},
		"manifests":          {workload: `{manifests: [scaled]}`, hpa: "keda-hpa-shop-scaler", replicas: 0},
		"max below min":      {workload: short("", "minReplicaCount: 3, maxReplicaCount: 2, "+prometheus), fault: "minReplicaCount is 3, and must not be more than maxReplicaCount, which is 2"},
		"no trigger":         {workload: short("", "maxReplicaCount: 2"), fault: `missing field "triggers"`},
		"a misspelt field":   {workload: short("", "coolDownPeriod: 2, "+prometheus), fault: "cooldownPeriod"},
		"CPU from zero":      {workload: short(", resources: {requests: {cpu: 1}}", cpu), fault: "minReplicaCount is 0, from which triggers of cpu and memory alone do not bring it back"},
		"CPU from one":       {workload: short(", resources: {requests: {cpu: 1}}", "minReplicaCount: 1, "+cpu), hpa: "keda-hpa-s", replicas: 1},
		"idle of no minimum": {workload: short("", "idleReplicaCount: 0, "+prometheus), fault: "idleReplicaCount is 0, and must be less than minReplicaCount, which counts as 0"},
		"idle above minimum": {workload: short("", "idleReplicaCount: 3, minReplicaCount: 2, "+prometheus), fault: "idleReplicaCount is 3"},
		"fallback of CPU":    {workload: short(", resources: {requests: {cpu: 1}}", "minReplicaCount: 1, fallback: {failureThreshold: 1, replicas: 2}, "+cpu), fault: "fallback needs a trigger"},
		"two of a name":      {workload: short("", `triggers: [{type: cron, name: a, metadata: {}}, {type: kafka, name: a, metadata: {}}]`), fault: "two triggers have the name a"},
		"CPU and no request": {workload: short("", strings.Replace(cpu, "triggers", "minReplicaCount: 1, triggers", 1)), fault: "the autoscaler's target is a share of the cpu request"},
		"another target":     {workload: short("", "scaleTargetRef: {name: other}, "+prometheus), fault: "scaleTargetRef names Deployment other, but the target is Deployment s"},
		"a spec too":         {workload: strings.Replace(short("", prometheus), "autoscaler: {", "autoscaler: {max: 3, ", 1), fault: "stands in place of the other fields"},
		"more than its max":  {workload: short(", replicas: 9", "maxReplicaCount: 5, "+prometheus), fault: "replicas is 9, outside the autoscaler's 0 to 5"},
		"zero without KEDA":  {workload: `{deployment: {image: x/shop, port: 80, replicas: 0, resources: {requests: {cpu: 1}}}}, autoscaler: {cpuPercent: 50, max: 3}`, fault: "KEDA scales from 0"},
	} {
		source := fmt.Sprintf("apiVersion: hpabench.dev/v1alpha1\nkind: Scenario\nmetadata: {name: s}\nspec: {workload: %s,\n load: {phases: [{name: load, duration: 1m, rate: 1}]}}\n", c.workload)
		f, err := Parse("s.yaml", []byte(source), func(name string) (string, []byte, error) { return name, []byte(scaledManifest), nil })
		if c.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: %v, want %q", name, err, c.fault)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(f.Notes) > 0 {
			t.Errorf("%s: %q", name, f.Notes)
		}
		if f.AutoscalerName() != c.hpa {
			t.Errorf("%s: the HPA is %s, should be %s", name, f.AutoscalerName(), c.hpa)
		}
		scaled := 0
		for _, o := range f.Objects() {
			switch o.GetKind() {
			case "Deployment":
				if n, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas"); n != c.replicas {
					t.Errorf("%s: it starts with %d, should be %d", name, n, c.replicas)
				}
			case "ScaledObject":
				scaled++
				target, _, _ := unstructured.NestedString(o.Object, "spec", "scaleTargetRef", "name")
				if o.GetName() != f.ScaledObject() || target != f.TargetRef().Name {
					t.Errorf("%s: %s scales %s", name, o.GetName(), target)
				}
			case "HorizontalPodAutoscaler":
				t.Errorf("%s: there is an HPA, which KEDA makes", name)
			}
		}
		if scaled != 1 {
			t.Errorf("%s: there are %d ScaledObjects", name, scaled)
		}
	}
}

// TestNotesOfSlips: what is most likely a slip is told, as a newer KEDA may know a trigger of the name.
func TestNotesOfSlips(t *testing.T) {
	for spec, want := range map[string]string{
		"workload: {deployment: {image: nginx, port: 80}}, autoscaler: {scaledObject: {triggers: [{type: prometeus, metadata: {query: up}}]}}":              "no trigger of type prometeus, as trigger 0 has: did you mean prometheus?",
		"workload: {deployment: {image: nginx, port: 80, resources: {requests: {cpu: 1}}}, model: {cpu: {mean: 8m}}}, autoscaler: {cpuPercent: 50, max: 3}": "workload.model.cpu.mean is 8m0s of CPU time a request, and a request has 30s (load.timeout): none is answered in time.",
	} {
		f, err := Parse("s.yaml", []byte("apiVersion: hpabench.dev/v1alpha1\nkind: Scenario\nmetadata: {name: s}\nspec: {"+spec+", load: {phases: [{name: load, duration: 1m, rate: 1}]}}\n"), nil)
		if err != nil || len(f.Notes) != 1 || !strings.Contains(f.Notes[0], want) {
			t.Errorf("%s: %v, %v", spec, f.Notes, err)
		}
	}
}

// TestTargetOfScaledObject has a gateway beside the target, which scaleTargetRef names; where it does not, that alone is said.
func TestTargetOfScaledObject(t *testing.T) {
	manifests, _, _ := strings.Cut(scaledManifest, "---\napiVersion: keda.sh")
	manifests += "---\n" + strings.NewReplacer("name: shop", "name: gateway", "app: shop", "app: gateway", "replicas: 0", "replicas: 1").Replace(manifests)
	parsed := func(ref string) (*File, error) {
		return Parse("s.yaml", []byte(`apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: s}
spec:
  workload: {manifests: [all]}
  autoscaler: {scaledObject: {`+ref+`triggers: [{type: prometheus, metadata: {serverAddress: http://p, query: up, threshold: "1"}}]}}
  load: {service: gateway, via: job, phases: [{name: load, duration: 1m, rate: 1}]}
`), func(name string) (string, []byte, error) { return name, []byte(manifests), nil })
	}
	f, err := parsed("scaleTargetRef: {name: shop}, ")
	if err != nil {
		t.Fatal(err)
	}
	if f.TargetRef().Name != "shop" || f.InFront() != "gateway" {
		t.Errorf("the target is %v, in front of it %q", f.TargetRef(), f.InFront())
	}
	if _, err := parsed(""); err == nil || !strings.Contains(err.Error(), "say which one in spec.workload.target") || strings.Contains(err.Error(), "keda-hpa-") {
		t.Error(err)
	}
}
