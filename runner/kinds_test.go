package runner

import (
	"errors"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/record"
)

// TestUnknownKinds has manifests of kinds that the embedded cluster does not have: all are
// named before anything is created, or left out where that was asked for.
func TestUnknownKinds(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	const (
		monitors = `---
{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: shop}, spec: {selector: {matchLabels: {app: shop}}}}
---
{apiVersion: keda.sh/v1alpha1, kind: TriggerAuthentication, metadata: {name: auth}}
`
		rollout  = "{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: shop}, spec: {template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: c, image: x/a, resources: {requests: {cpu: 50m}}}]}}}}\n"
		rollouts = `---
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: rollouts.argoproj.io}, spec: {group: argoproj.io, scope: Namespaced,
  names: {plural: rollouts, kind: Rollout}, versions: [{name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}
`
		definition = `---
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: servicemonitors.monitoring.coreos.com}, spec: {group: monitoring.coreos.com, scope: Namespaced,
  names: {plural: servicemonitors, kind: ServiceMonitor}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}}
---
{apiVersion: keda.sh/v1alpha1, kind: TriggerAuthentication, metadata: {name: auth}}
`
		spec   = "workload: {manifests: [objects.yaml], target: {kind: %, name: shop}}\n  autoscaler: {cpuPercent: 50, max: 3}\n  load: {service: shop, phases: [{name: surge, duration: 1s, rate: 1}]}"
		shop   = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: shop}, spec: {selector: {matchLabels: {app: shop}}, template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: c, image: x/a, resources: {requests: {cpu: 50m}}}]}}}}\n"
		front  = "---\n{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {selector: {app: shop}, ports: [{port: 80}]}}\n"
		option = "--skip-unknown leaves them out"
	)
	for name, test := range map[string]struct {
		target, manifests string
		skip              bool
		refused           []string
		hint              bool // of the option
		noted             []string
	}{
		"named":       {"Deployment", shop + front + monitors, false, []string{"the kinds of 2 objects: ServiceMonitor shop of monitoring.coreos.com/v1 (", "objects.yaml:5), TriggerAuthentication auth of keda.sh/v1alpha1 (", "objects.yaml:7)"}, true, nil},
		"left out":    {"Deployment", shop + front + monitors, true, nil, false, []string{"Left out", "ServiceMonitor shop", "TriggerAuthentication auth"}},
		"defined":     {"Deployment", shop + front + definition, false, []string{"the kinds of 1 object: TriggerAuthentication auth"}, true, nil},
		"the target":  {"Rollout", rollout + front, true, []string{"the kinds of 1 object: Rollout shop", "has the kind's controller"}, false, nil},
		"its kind":    {"Rollout", rollout + front + rollouts, true, []string{"nothing on the embedded cluster makes pods of the kind Rollout", "has the kind's controller"}, false, nil},
		"all known":   {"Deployment", shop + front, true, nil, false, nil},
		"all but one": {"Deployment", shop + front + strings.Split(monitors, "---\n{apiVersion: keda")[0], false, []string{"the kinds of 1 object: ServiceMonitor shop"}, true, nil},
	} {
		var seen []record.Check
		r, err := New(c, scenario(t, strings.Replace(spec, "%", test.target, 1), test.manifests)[0], Options{ID: NewID(), SkipUnknown: test.skip}, func(p Progress) {
			if p.Check != nil {
				seen = append(seen, *p.Check)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		err = r.Preflight(t.Context())
		said := checkText(seen)
		for _, check := range seen {
			said += "\n" + check.Hint
		}
		if errors.As(err, new(BadInput)) != (test.refused != nil) || err != nil && test.refused == nil || strings.Contains(said, option) != test.hint {
			t.Errorf("%s: %v\n%s", name, err, said)
		}
		for _, want := range test.refused {
			if !strings.Contains(said, want) {
				t.Errorf("%s: no %q in\n%s", name, want, said)
			}
		}
		notes := strings.Join(r.pre.notes, "\n")
		for _, want := range test.noted {
			if !strings.Contains(notes, want) {
				t.Errorf("%s: no %q in the notes\n%s", name, want, notes)
			}
		}
		if test.refused != nil {
			continue
		}
		var kinds []string
		for _, o := range r.pre.objects() {
			kinds = append(kinds, o.GetKind())
		}
		if got := strings.Join(kinds, " "); got != "Deployment Service HorizontalPodAutoscaler" {
			t.Errorf("%s: the objects are %s", name, got)
		}
	}
}

// TestAdapters has HPAs whose metrics nothing on the cluster shows: the run would wait for the first metric in vain. Beside another metric, by
// which the HPA can act, that is a warning.
func TestAdapters(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	const course = "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: outside, labels: {hpabench.dev/signals: \"\"}}\ndata: {queue: \"30\"}\n"
	external := `{type: External, external: {metric: {name: queue}, target: {type: AverageValue, averageValue: "30"}}}`
	for _, test := range []struct{ metrics, behind, want string }{
		{external, "", "fault adapter: nothing on the embedded cluster shows metric queue, which the HPA reads"},
		{external, course, ""},
		{external + `, {type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 1Gi}}}`, "", "warning adapter: nothing on the embedded cluster shows metric queue"},
		{`{type: Pods, pods: {metric: {name: queue}, target: {type: AverageValue, averageValue: "30"}}}`, "", "fault adapter: nothing on the embedded cluster shows metric queue"},
		{`{type: Object, object: {metric: {name: queue}, describedObject: {apiVersion: v1, kind: Service, name: shop}, target: {type: Value, value: "30"}}}`, "", "fault adapter: nothing on the embedded cluster shows metric queue"},
		{`{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 1Gi}}}`, "", ""},
	} {
		manifests, cpu, found := strings.Cut(shopManifests, "metrics: [")
		_, rest, closed := strings.Cut(cpu, "]")
		if !found || !closed {
			t.Fatal("the manifests have no list of metrics")
		}
		var seen []record.Check
		err := newShop(t, c, "", manifests+"metrics: ["+test.metrics+"]"+rest+test.behind, &seen).Preflight(t.Context())
		said := checkText(seen)
		if errors.As(err, new(BadInput)) != strings.HasPrefix(test.want, "fault") || err != nil && !errors.As(err, new(BadInput)) || !strings.Contains(said, test.want) || test.want == "" && strings.Contains(said, "nothing on the embedded cluster") {
			t.Errorf("%s%s: %v\n%s", test.metrics, test.behind, err, said)
		}
	}
}
