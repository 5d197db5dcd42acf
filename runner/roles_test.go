package runner

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/hpabench/hpabench/scenarios"
)

// roles are what a Permission prints: the rules by kind and namespace, each as a line.
func roles(t *testing.T, p Permission) map[string][]string {
	t.Helper()
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	rules := map[string][]string{}
	for _, document := range strings.Split(b.String(), "\n---\n") {
		var object struct{ Kind string }
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		into := map[string]any{"Role": &rbacv1.Role{}, "ClusterRole": &rbacv1.ClusterRole{}, "RoleBinding": &rbacv1.RoleBinding{}, "ClusterRoleBinding": &rbacv1.ClusterRoleBinding{}, "ServiceAccount": &corev1.ServiceAccount{}}[object.Kind]
		if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		switch o := into.(type) {
		case *rbacv1.Role:
			rules["Role "+o.Namespace] = lines(o.Rules)
		case *rbacv1.ClusterRole:
			rules["ClusterRole"] = lines(o.Rules)
		}
	}
	return rules
}

func lines(rules []rbacv1.PolicyRule) (all []string) {
	for _, r := range rules {
		for _, resource := range append(r.Resources, r.NonResourceURLs...) {
			group := strings.Join(r.APIGroups, " ")
			if group != "" {
				group = "." + group
			}
			all = append(all, fmt.Sprintf("%s: %s", strings.Join(append([]string{resource + group}, r.ResourceNames...), " "), strings.Join(r.Verbs, " ")))
		}
	}
	return all
}

// scenario reads a scenario with its manifests.
func scenario(t *testing.T, spec, manifests string) []*scenarios.File {
	t.Helper()
	dir := t.TempDir()
	for name, body := range map[string]string{"s.yaml": "apiVersion: hpabench.dev/v1alpha1\nkind: Scenario\nmetadata: {name: shop}\nspec:\n  " + spec, "objects.yaml": manifests} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	file, err := scenarios.Read(filepath.Join(dir, "s.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return []*scenarios.File{file}
}

func TestBuiltinKinds(t *testing.T) {
	for kind, want := range map[string]builtinResource{
		"Deployment.apps": {"deployments", true}, "Namespace.": {"namespaces", false}, "Endpoints.": {"endpoints", true},
		"Ingress.networking.k8s.io": {"ingresses", true}, "IngressClass.networking.k8s.io": {"ingressclasses", false},
		"PriorityClass.scheduling.k8s.io": {"priorityclasses", false}, "HorizontalPodAutoscaler.autoscaling": {"horizontalpodautoscalers", true},
		"ValidatingAdmissionPolicy.admissionregistration.k8s.io": {"validatingadmissionpolicies", false},
		"NetworkPolicy.networking.k8s.io":                        {"networkpolicies", true},
		"CustomResourceDefinition.apiextensions.k8s.io":          {"customresourcedefinitions", false},
	} {
		if got := builtin()[schema.ParseGroupKind(kind)]; got != want {
			t.Errorf("%s: %+v, want %+v", kind, got, want)
		}
	}
}

// observed are the rules of every run, in its namespace.
var observed = []string{
	"pods: list watch", "replicasets.apps: list watch", "endpointslices.discovery.k8s.io: list watch", "events: list watch", "pods.metrics.k8s.io: list",
	"resourcequotas: list watch", "limitranges: list watch",
}

// observedAround are the rules of every run in the whole cluster.
var observedAround = []string{"nodes: list", "nodes.metrics.k8s.io: list",
	"validatingwebhookconfigurations.admissionregistration.k8s.io: list watch", "mutatingwebhookconfigurations.admissionregistration.k8s.io: list watch",
	"validatingadmissionpolicies.admissionregistration.k8s.io: list watch", "validatingadmissionpolicybindings.admissionregistration.k8s.io: list watch",
	"mutatingadmissionpolicies.admissionregistration.k8s.io: list watch", "mutatingadmissionpolicybindings.admissionregistration.k8s.io: list watch",
}

// TestRoles holds what is printed for several scenarios against what it has to be,
// beside the rules of every run.
func TestRoles(t *testing.T) {
	const manifests = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: shopz.example.com}
spec: {group: example.com, scope: Cluster, names: {kind: Shop, plural: shopz}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}
---
{apiVersion: example.com/v1, kind: Shop, metadata: {name: corner}}
---
{apiVersion: other.example.com/v1, kind: Policy, metadata: {name: mine}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: one}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: two}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules:
- {apiGroups: [""], resources: [configmaps], resourceNames: [one], verbs: [get, update]}
- {apiGroups: [apps, batch], resources: ["*"], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reads}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: views}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: prober}
rules: [{nonResourceURLs: [/probe], verbs: [get]}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx, resources: {requests: {cpu: 50m}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 8443, appProtocol: https}]}
`
	const tail = "autoscaler: {cpuPercent: 50, max: 3}\n  load: {phases: [{name: surge, duration: 1m, rate: 5}]"
	short := func(load string) []*scenarios.File {
		return scenario(t, "workload: {deployment: {image: nginx, port: 80, resources: {requests: {cpu: 50m}}}}\n  "+tail+load+"}", "")
	}
	lease := []string{"leases.coordination.k8s.io: get create patch delete", "namespaces n: get"}
	// A run with -n, beside its target and HPA: what it could harm.
	among := slices.Concat(observed, lease, []string{"poddisruptionbudgets.policy: list", "pods: create", "deployments/scale.apps: get", "statefulsets/scale.apps: get", "services: list watch create",
		"deployments.apps: list", "statefulsets.apps: list", "daemonsets.apps: list", "jobs.batch: list", "cronjobs.batch: list", "replicationcontrollers: list"})
	made := slices.Concat(among, []string{"deployments.apps shop: get list watch delete", "deployments.apps: create",
		"horizontalpodautoscalers.autoscaling shop: get delete", "horizontalpodautoscalers.autoscaling: list watch create", "services shop: get delete"})
	room := slices.Concat(observedAround, []string{"pods: list"})
	existing := scenario(t, "workload: {existing: {kind: Rollout, apiVersion: argoproj.io/v1alpha1, name: web, namespace: prod, autoscaler: web}}\n  load: {phases: [{name: surge, duration: 1m, rate: 5}], via: job}", "")
	watchesDeployments := append([]string{"deployments/scale.apps: get", "deployments.apps: get list watch", "horizontalpodautoscalers.autoscaling: list watch", "services: list watch"}, observed...)
	for _, test := range []struct {
		name string
		Permission
		want map[string][]string
	}{
		{"a namespace of its own", Permission{Task: TaskRun, Files: short("")}, map[string][]string{
			"ClusterRole": slices.Concat(observed, observedAround, []string{"namespaces: get create delete", "leases.coordination.k8s.io: create patch", "pods/portforward: create",
				"deployments/scale.apps shop: get", "deployments.apps shop: list watch", "deployments.apps: create", "horizontalpodautoscalers.autoscaling: list watch create", "services: list watch create"})}},
		{"in a namespace, by NodePort", Permission{Task: TaskRun, Files: short(", via: nodePort"), Namespace: "n"}, map[string][]string{
			"Role n":      made,
			"ClusterRole": room}},
		{"by the API server's proxy", Permission{Task: TaskRun, Files: short(", via: apiProxy, targets: [{path: /}, {method: POST, path: /}]"), Namespace: "n"}, map[string][]string{
			"Role n":      slices.Concat(made, []string{"services/proxy http:shop:80: get create"}),
			"ClusterRole": room}},
		{"manifests", Permission{Task: TaskRun, Files: scenario(t, "workload: {manifests: [objects.yaml]}\n  "+tail+", via: ingress}", manifests), Namespace: "n"}, map[string][]string{
			"Role n": slices.Concat(among, []string{"ingresses.networking.k8s.io: list",
				"statefulsets.apps web: get list watch delete", "statefulsets.apps: create", "horizontalpodautoscalers.autoscaling web: get delete", "horizontalpodautoscalers.autoscaling: list watch create",
				"services web: get delete", "configmaps one: get update delete", "configmaps two: get delete", "configmaps: create", "policies.other.example.com mine: get delete", "policies.other.example.com: create",
				"roles.rbac.authorization.k8s.io reader: get delete", "roles.rbac.authorization.k8s.io: create", "rolebindings.rbac.authorization.k8s.io reads views: get delete", "rolebindings.rbac.authorization.k8s.io: create",
				"*.apps: list", "*.batch: list", "clusterroles.rbac.authorization.k8s.io view: bind"}),
			"ClusterRole": slices.Concat(room, []string{"shopz.example.com corner: get delete", "shopz.example.com: create", "customresourcedefinitions.apiextensions.k8s.io shopz.example.com: get delete", "customresourcedefinitions.apiextensions.k8s.io: create",
				"clusterroles.rbac.authorization.k8s.io prober: get delete", "clusterroles.rbac.authorization.k8s.io: create", "/probe: get"})}},
		{"to a URL, with a Secret", Permission{Task: TaskRun, Files: short(", url: \"http://x\", auth: {bearer: {secret: {name: token, key: t}}}"), Namespace: "n"}, map[string][]string{
			"Role n":      slices.Concat(made, []string{"secrets token: get"}),
			"ClusterRole": room}},
		{"of what exists, by a Job", Permission{Task: TaskRun, Files: existing}, map[string][]string{
			"Role prod": slices.Concat(observed[1:], []string{"pods: get list watch", "leases.coordination.k8s.io: get create patch delete", "namespaces prod: get", "rollouts/scale.argoproj.io web: get", "rollouts.argoproj.io web: get list watch",
				"horizontalpodautoscalers.autoscaling: list watch", "services: list watch", "jobs.batch: get create delete", "pods/attach: create", "pods/log: get"}),
			"ClusterRole": slices.Concat(room, []string{"customresourcedefinitions.apiextensions.k8s.io rollouts.argoproj.io: get"})}},
		{"watch", Permission{Task: TaskWatch, Namespace: "n"}, map[string][]string{"Role n": append(watchesDeployments, "namespaces n: get"), "ClusterRole": room}},
		{"watch everywhere", Permission{Task: TaskWatch}, map[string][]string{"ClusterRole": slices.Concat(watchesDeployments, observedAround)}},
		{"watch sts/web", Permission{Task: TaskWatch, Namespace: "n", Ref: "sts/web"}, map[string][]string{
			"Role n":      slices.Concat(observed, []string{"statefulsets/scale.apps web: get", "statefulsets.apps web: get list watch", "horizontalpodautoscalers.autoscaling: list watch", "services: list watch", "namespaces n: get"}),
			"ClusterRole": room}},
	} {
		got := roles(t, test.Permission)
		sorted := func(m map[string][]string) map[string][]string {
			m = maps.Clone(m)
			for k, v := range m {
				m[k] = slices.Sorted(slices.Values(v))
			}
			return m
		}
		if diff := cmp.Diff(sorted(test.want), sorted(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestRolesOfHostileNames has names that would end a value or a comment of YAML.
func TestRolesOfHostileNames(t *testing.T) {
	const more = "\n- apiGroups: [\"*\"]\n  resources: [\"*\"]\n  verbs: [\"*\"]\n"
	for _, hostile := range []string{"x" + more, "x\"]" + more, "x\r- apiGroups: [\"*\"]", "x\u2028- a: b", "x\u0085- a: b", "\"], verbs: [\"*", "x\n---\nkind: ClusterRole", "\\", "\x7f\x1b[2J"} {
		s := hostile
		is := &rule{verbs: []string{s}, group: s, resources: []string{s}, names: []string{s, "y"}, purposes: []string{"what Role " + s + " grants", s}, optional: s}
		var read []rbacv1.PolicyRule
		if err := yaml.UnmarshalStrict([]byte(is.String()), &read); err != nil {
			t.Errorf("%q: %v in\n%s", hostile, err, is.String())
			continue
		}
		want := []rbacv1.PolicyRule{{APIGroups: []string{hostile}, Resources: []string{hostile}, ResourceNames: []string{hostile, "y"}, Verbs: []string{hostile}}}
		if diff := cmp.Diff(want, read); diff != "" {
			t.Errorf("%q: %s", hostile, diff)
		}
	}
}
