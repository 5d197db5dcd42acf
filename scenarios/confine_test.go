package scenarios

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// TestConfine has the pods of a Deployment beside each object, and wants what
// selects these pods to select them only.
func TestConfine(t *testing.T) {
	const shop = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: shop}, spec: {selector: {matchLabels: {app: shop}},
		template: {metadata: {labels: {app: shop, tier: web}}, spec: {containers: [{name: c}]}}}}`
	for _, test := range []struct{ name, object, want string }{
		{"Service", `{kind: Service, spec: {selector: {app: shop}}}`, `{kind: Service, spec: {selector: {app: shop, run: x}}}`},
		{"headless Service of fewer labels", `{kind: Service, spec: {clusterIP: None, selector: {tier: web}}}`, `{kind: Service, spec: {clusterIP: None, selector: {tier: web, run: x}}}`},
		{"Service without a selector", `{kind: Service, spec: {type: ExternalName}}`, `{kind: Service, spec: {type: ExternalName}}`},
		{"Service with an empty selector", `{kind: Service, spec: {selector: {}}}`, `{kind: Service, spec: {selector: {}}}`},
		{"Service of other pods", `{kind: Service, spec: {selector: {app: db}}}`, `{kind: Service, spec: {selector: {app: db}}}`},
		{"Service of an earlier run's pods", `{kind: Service, spec: {selector: {app: shop, run: old}}}`, `{kind: Service, spec: {selector: {app: shop, run: old}}}`},
		{"PodDisruptionBudget by expression", `{kind: PodDisruptionBudget, spec: {selector: {matchExpressions: [{key: app, operator: In, values: [shop, db]}]}}}`,
			`{kind: PodDisruptionBudget, spec: {selector: {matchLabels: {run: x}, matchExpressions: [{key: app, operator: In, values: [shop, db]}]}}}`},
		{"NetworkPolicy of all pods", `{kind: NetworkPolicy, spec: {podSelector: {}}}`, `{kind: NetworkPolicy, spec: {podSelector: {matchLabels: {run: x}}}}`},
		{"NetworkPolicy of other pods", `{kind: NetworkPolicy, spec: {podSelector: {matchLabels: {app: db}}}}`, `{kind: NetworkPolicy, spec: {podSelector: {matchLabels: {app: db}}}}`},
		{"a claim of volumes", `{kind: PersistentVolumeClaim, spec: {selector: {matchLabels: {app: shop}}}}`, `{kind: PersistentVolumeClaim, spec: {selector: {matchLabels: {app: shop}}}}`},
		{"StatefulSet", `{kind: StatefulSet, spec: {selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c}]}}}}`,
			`{kind: StatefulSet, spec: {selector: {matchLabels: {app: db, run: x}}, template: {metadata: {labels: {app: db, run: x}}, spec: {containers: [{name: c}]}}}}`},
		{"ReplicationController", `{kind: ReplicationController, spec: {selector: {app: old}, template: {metadata: {labels: {app: old}}, spec: {containers: [{name: c}]}}}}`,
			`{kind: ReplicationController, spec: {selector: {app: old, run: x}, template: {metadata: {labels: {app: old, run: x}}, spec: {containers: [{name: c}]}}}}`},
		{"a selector that the API server adds or refuses", `{kind: ReplicationController, spec: {template: {metadata: {labels: }, spec: {containers: [{name: c}]}}}}`,
			`{kind: ReplicationController, spec: {template: {metadata: {labels: {run: x}}, spec: {containers: [{name: c}]}}}}`},
		{"custom kind", `{kind: Rollout, spec: {selector: {matchLabels: {app: r}}, template: {metadata: {labels: {app: r}}, spec: {containers: [{name: c}]}}}}`,
			`{kind: Rollout, spec: {selector: {matchLabels: {app: r, run: x}}, template: {metadata: {labels: {app: r, run: x}}, spec: {containers: [{name: c}]}}}}`},
		{"custom kind with the template elsewhere", `{kind: Rollout, spec: {workloadRef: {name: shop}, selector: {matchLabels: {app: shop}}}}`,
			`{kind: Rollout, spec: {workloadRef: {name: shop}, selector: {matchLabels: {app: shop, run: x}}}}`},
		{"Pod", `{kind: Pod, apiVersion: v1, metadata: {labels: {app: shop}}}`, `{kind: Pod, apiVersion: v1, metadata: {labels: {app: shop, run: x}}}`},
		{"affinity of a Pod", `{kind: Pod, apiVersion: v1, spec: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: shop}}}]}}}}`,
			`{kind: Pod, apiVersion: v1, metadata: {labels: {run: x}}, spec: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: shop, run: x}}}]}}}}`},
		{"a policy of Cilium", `{kind: CiliumNetworkPolicy, apiVersion: cilium.io/v2, spec: {endpointSelector: {}}}`, `{kind: CiliumNetworkPolicy, apiVersion: cilium.io/v2, spec: {endpointSelector: {matchLabels: {run: x}}}}`},
		{"a sidecar of Istio", `{kind: Sidecar, apiVersion: networking.istio.io/v1, spec: {workloadSelector: {labels: {tier: web}}}}`, `{kind: Sidecar, apiVersion: networking.istio.io/v1, spec: {workloadSelector: {labels: {tier: web, run: x}}}}`},
		{"CronJob", `{kind: CronJob, spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: c}]}}}}}}`,
			`{kind: CronJob, spec: {jobTemplate: {spec: {template: {metadata: {labels: {run: x}}, spec: {containers: [{name: c}]}}}}}}`},
		{"affinity and spread", `{kind: Job, spec: {template: {metadata: {labels: {app: j}}, spec: {containers: [{name: c}],
			topologySpreadConstraints: [{topologyKey: zone, labelSelector: {matchLabels: {app: j}}}, {topologyKey: zone}],
			affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: shop}}}]},
				podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {labelSelector: {matchLabels: {app: db}}}}]}}}}}}`,
			`{kind: Job, spec: {template: {metadata: {labels: {app: j, run: x}}, spec: {containers: [{name: c}],
			topologySpreadConstraints: [{topologyKey: zone, labelSelector: {matchLabels: {app: j, run: x}}}, {topologyKey: zone}],
			affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: shop, run: x}}}]},
				podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {labelSelector: {matchLabels: {app: db}}}}]}}}}}}`},
		{"fields that are none", `{kind: Service, spec: {selector: [1], template: x}}`, `{kind: Service, spec: {selector: [1], template: x}}`},
		{"no fields", `{kind: Gateway}`, `{kind: Gateway}`},
	} {
		objects := []*unstructured.Unstructured{objectFrom(t, shop), objectFrom(t, test.object)}
		Confine(objects, "run", "x")
		if diff := cmp.Diff(objectFrom(t, test.want).Object, objects[1].Object); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestSelectsPods(t *testing.T) {
	for object, want := range map[string]string{
		`{kind: Service, spec: {selector: {app: shop}}}`:                                                    "app=shop",
		`{kind: Service, spec: {selector: {}}}`:                                                             "none",
		`{kind: NetworkPolicy, spec: {podSelector: {}}}`:                                                    "",
		`{kind: PodDisruptionBudget, spec: {selector: }}`:                                                   "none",
		`{kind: ServiceMonitor, spec: {selector: {matchLabels: {app: a}}}}`:                                 "none",
		`{kind: DeploymentConfig, spec: {selector: {app: a}, template: {spec: {containers: [{name: c}]}}}}`: "app=a",
	} {
		selector := SelectsPods(objectFrom(t, object))
		if got := "none"; selector == nil && want != got || selector != nil && selector.String() != want {
			t.Errorf("%s selects by %v, want %s", object, selector, want)
		}
	}
}

func objectFrom(t *testing.T, source string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(source), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}
