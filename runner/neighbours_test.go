package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

const shopManifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop, tier: web}}
    spec: {containers: [{name: c, image: x/app, ports: [{containerPort: 80}], resources: {requests: {cpu: 100m}}}]}
---
{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {selector: {app: shop}, ports: [{port: 80}]}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: shop}
spec:
  maxReplicas: 6
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
`

// newShop is a run of the manifests in the namespace.
func newShop(t *testing.T, c *Cluster, namespace, manifests string, seen *[]record.Check) *Runner {
	t.Helper()
	file, err := scenarios.Parse("s.yaml", []byte(`
apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: shop}
spec:
  workload: {manifests: [shop.yaml], target: {kind: Deployment, name: shop}}
  load: {service: shop, phases: [{name: surge, duration: 1s, rate: 1}]}
`), func(name string) (string, []byte, error) { return name, []byte(manifests), nil })
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(c, file, Options{ID: NewID(), Namespace: namespace, Timeout: time.Minute}, func(p Progress) {
		if p.Check != nil {
			*seen = append(*seen, *p.Check)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const foreignShop = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: old-shop}, spec: {selector: {matchLabels: {app: shop}},
	template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: c, image: x/old, resources: {requests: {cpu: 100m}}}]}}}}`

const dataSet = `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db}, spec: {serviceName: db, replicas: 0, selector: {matchLabels: {app: db}},
	template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: x/db}]}},
	volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}}`

// TestNeighbours has what somebody else made in the namespace of -n.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	pod := func(labels string) string {
		return `{apiVersion: v1, kind: Pod, metadata: {name: foreign, labels: ` + labels + `}, spec: {containers: [{name: c, image: x/a}]}}`
	}
	// idle is a workload without pods.
	idle := func(version, kind, fields string) string {
		return fmt.Sprintf(`{apiVersion: %s, kind: %s, metadata: {name: idle}, spec: {%sreplicas: 0, selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: x/a}]}}}}`, version, kind, fields)
	}
	closedTo := func(app string) string {
		return fmt.Sprintf(`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed}, spec: {podSelector: {matchLabels: {app: %s}}}}`, app)
	}
	for _, test := range []struct {
		name, extra string // of the manifests
		foreign     []string
		words       string // empty: the run can be made
	}{
		{"pods with the same labels", "", []string{pod("{app: shop, tier: web}"), foreignShop}, ""},
		{"a Service of other pods", "", []string{`{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {selector: {app: db}, ports: [{port: 80}]}}`}, ""},
		{"a Service", "", []string{`{apiVersion: v1, kind: Service, metadata: {name: front}, spec: {selector: {tier: web}, ports: [{port: 80}]}}`}, "Service front in namespace"},
		{"an HPA over the same pods", "", []string{foreignShop, `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: live},
			spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: old-shop}}}`}, "AmbiguousSelector"},
		{"an HPA of the target's name", "", []string{`{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: waiting},
			spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}}}`}, "HPA waiting in namespace"},
		{"an HPA of a kind without scale", "", []string{`{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: broken},
			spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: batch/v1, kind: Job, name: x}}}`}, ""},
		{"an HPA beside a broken one", "", []string{foreignShop, `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: broken},
			spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: DaemonSet, name: x}}}`, `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: live},
			spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: old-shop}}}`}, "AmbiguousSelector"},
		{"an HPA of other pods", "", []string{`{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: gone},
			spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: gone}}}`}, ""},
		{"a disruption budget of all pods", "", []string{`{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: budget}, spec: {minAvailable: 1, selector: {}}}`}, "selects all pods: it would count"},
		{"a policy of all pods", `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed}, spec: {podSelector: {}}}`, []string{pod("{app: db}")}, ""},
		{"a policy of others' pods", `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed}, spec: {podSelector: {matchLabels: {app: db}}}}`, []string{pod("{app: db}")}, "NetworkPolicy closed would select pods"},
		{"a Service of others' pods", `{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {selector: {app: db}, ports: [{port: 80}]}}`, []string{pod("{app: db}")}, "Service db would select pods"},
		{"a claim of the StatefulSet's name", dataSet, []string{`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data-db-0},
			spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`}, "PersistentVolumeClaim data-db-0 in namespace"},
		{"an HPA of others' workload", `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: more}, spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: old-shop}}}`,
			[]string{foreignShop}, "shop.yaml:21: HorizontalPodAutoscaler more would act on Deployment old-shop in namespace"},
		{"a quota", `{apiVersion: v1, kind: ResourceQuota, metadata: {name: two}, spec: {hard: {pods: "20"}}}`, nil, "shop.yaml:21: ResourceQuota two would hold for all pods of namespace"},
		{"a LimitRange", `{apiVersion: v1, kind: LimitRange, metadata: {name: small}, spec: {limits: [{type: Container, max: {cpu: "1"}}]}}`, nil, "shop.yaml:21: LimitRange small would hold for all pods of namespace"},
		{"addresses for others' Service", `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: more, labels: {kubernetes.io/service-name: prod}}, addressType: IPv4, endpoints: [{addresses: [10.244.0.250]}]}`,
			nil, "shop.yaml:21: EndpointSlice more would send requests for Service prod in namespace"},
		{"addresses for others' Service, as Endpoints", `{apiVersion: v1, kind: Endpoints, metadata: {name: prod}, subsets: [{addresses: [{ip: 10.244.0.250}]}]}`, nil, "shop.yaml:21: Endpoints prod would send requests for Service prod in namespace"},
		{"addresses for its own Service", `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: more, labels: {kubernetes.io/service-name: shop}}, addressType: IPv4, endpoints: [{addresses: [10.244.0.250]}]}`, nil, ""},
		{"a policy of others' Deployment without pods", closedTo("db"), []string{idle("apps/v1", "Deployment", "")}, "NetworkPolicy closed would select the pods of what is in namespace"},
		{"a budget of others' StatefulSet without pods", `{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: none}, spec: {maxUnavailable: 0, selector: {matchLabels: {app: db}}}}`,
			[]string{idle("apps/v1", "StatefulSet", "serviceName: db, ")}, "StatefulSet idle"},
		{"a Service of others' ReplicaSet without pods", `{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {selector: {app: db}, ports: [{port: 80}]}}`, []string{idle("apps/v1", "ReplicaSet", "")}, "ReplicaSet idle"},
		{"a policy of others' DaemonSet without nodes", closedTo("db"), []string{strings.NewReplacer("replicas: 0, ", "", "containers:", "nodeSelector: {no: node}, containers:").Replace(idle("apps/v1", "DaemonSet", ""))}, "DaemonSet idle"},
		{"a policy of others' CronJob", closedTo("db"), []string{`{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly}, spec: {schedule: "0 0 1 1 *", jobTemplate: {spec: {template: {metadata: {labels: {app: db}},
			spec: {restartPolicy: Never, containers: [{name: c, image: x/a}]}}}}}}`}, "CronJob nightly"},
		{"a policy of others' suspended Job", closedTo("db"), []string{`{apiVersion: batch/v1, kind: Job, metadata: {name: later}, spec: {suspend: true, template: {metadata: {labels: {app: db}},
			spec: {restartPolicy: Never, containers: [{name: c, image: x/a}]}}}}`}, "Job later"},
		{"a policy of no workload", closedTo("cache"), []string{idle("apps/v1", "Deployment", "")}, ""},
		{"a claim of another", dataSet, []string{`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data-db-old},
			spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`}, ""},
	} {
		ns := testNamespace(t, c)
		for _, source := range test.foreign {
			makeForeign(t, c, objectOfYAML(t, source), ns)
		}
		var seen []record.Check
		r := newShop(t, c, ns, shopManifests+"---\n"+test.extra, &seen)
		err := r.Preflight(t.Context())
		said := checkText(seen)
		var bad BadInput
		if test.words != "" && (!errors.As(err, &bad) || !strings.Contains(said, test.words)) || test.words == "" && errors.As(err, &bad) {
			t.Errorf("%s: %v\n%s", test.name, err, said)
		}
		// What comes after the preflight is seen before anything is created.
		if again := r.create(t.Context(), t.Context()); test.words != "" && (!errors.As(again, &bad) || !strings.Contains(again.Error(), test.words) || len(r.Left()) > 0) {
			t.Errorf("%s, seen at the creation: %v, left %v", test.name, again, r.Left())
		}
		if test.words != "" {
			continue
		}
		// The run's selectors take its own pods only.
		scale, err := c.Kube.AppsV1().Deployments(ns).GetScale(t.Context(), "shop", metav1.GetOptions{})
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if want := RunLabel + "=" + r.options.ID; !strings.Contains(scale.Status.Selector, want) {
			t.Errorf("%s: the HPA would select by %s, want %s in it", test.name, scale.Status.Selector, want)
		}
		_, service, err := r.findSubject(t.Context())
		if err != nil || service == nil || service.Name != "shop" {
			t.Errorf("%s: the load goes to Service %v, %v", test.name, service, err)
		}
		if err := r.created.tearDown(context.WithoutCancel(t.Context()), 0, func(string) {}); err != nil {
			t.Error(err)
		}
	}
}

// TestTrespasses has manifests that act on others by what they name, or in all namespaces.
func TestTrespasses(t *testing.T) {
	const web = `{kind: Deployment, metadata: {name: web}}`
	const embedded, own, beside = "on the embedded cluster", "in a namespace of its own", "with -n"
	for _, test := range []struct {
		object, words string
		refused       []string
	}{
		{`{kind: HorizontalPodAutoscaler, metadata: {name: o}, spec: {scaleTargetRef: {kind: Deployment, name: web}}}`, "", nil},
		{`{kind: HorizontalPodAutoscaler, metadata: {name: o}, spec: {scaleTargetRef: {kind: Rollout, name: shop}}}`, "", nil},
		{`{kind: HorizontalPodAutoscaler, metadata: {name: o}, spec: {scaleTargetRef: {kind: StatefulSet, name: web}}}`, "act on StatefulSet web", []string{beside}},
		{`{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: o}, spec: {scaleTargetRef: {name: web}}}`, "", nil},
		{`{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: o}, spec: {scaleTargetRef: {name: prod}}}`, "act on Deployment prod", []string{beside}},
		{`{apiVersion: autoscaling.k8s.io/v1, kind: VerticalPodAutoscaler, metadata: {name: o}, spec: {targetRef: {kind: StatefulSet, name: prod}}}`, "act on StatefulSet prod", []string{beside}},
		{`{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: o}, spec: {workloadRef: {kind: Deployment, name: prod}}}`, "act on Deployment prod", []string{beside}},
		{`{apiVersion: gateway.networking.k8s.io/v1, kind: BackendTLSPolicy, metadata: {name: o}, spec: {targetRefs: [{kind: Deployment, name: web}, {kind: Service, name: prod}]}}`, "act on Service prod", []string{beside}},
		{`{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: o}}`, "", nil},
		{`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: o}}`, "all namespaces", []string{own, beside}},
		{`{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: o}}`, "all namespaces", []string{own, beside}},
		{`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: o}}`, "all namespaces", []string{own, beside}},
		{`{apiVersion: admissionregistration.k8s.io/v1beta1, kind: MutatingAdmissionPolicyBinding, metadata: {name: o}}`, "all namespaces", []string{own, beside}},
	} {
		for _, where := range []string{embedded, own, beside} {
			p := &preflight{file: &scenarios.File{}}
			p.gvk.Kind, p.name, p.namespace, p.own, p.cluster = "Rollout", "shop", "n", where != beside, &record.Cluster{}
			if where == embedded {
				p.cluster.Lab = &record.Lab{}
			}
			got := p.trespasses([]*unstructured.Unstructured{objectOfYAML(t, web), objectOfYAML(t, test.object)})
			refused := len(got) == 1 && strings.Contains(got[0].message, test.object[strings.Index(test.object, "kind: ")+6:strings.Index(test.object, ", metadata")]+" o would ") && strings.Contains(got[0].message, test.words)
			if refused != slices.Contains(test.refused, where) || len(got) > 0 && !refused {
				t.Errorf("%s %s: %v", test.object, where, got)
			}
		}
	}
}

func checkText(seen []record.Check) (text string) {
	for _, s := range seen {
		text += s.Outcome + " " + s.Name + ": " + s.Message + "\n"
	}
	return text
}

// TestOverlap has manifests in which the target's selector selects others' pods.
func TestOverlap(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	always := `template: {metadata: {labels: {app: shop, role: batch}}, spec: {containers: [{name: c, image: x/b}]}}`
	once := strings.Replace(always, "spec: {", "spec: {restartPolicy: Never, ", 1)
	for object, want := range map[string]string{
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: batch}, spec: {selector: {matchLabels: {role: batch}}, ` + always + `}}`: record.Fault,
		`{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: batch}, spec: {selector: {matchLabels: {role: batch}}, ` + always + `}}`:  record.Fault,
		`{apiVersion: v1, kind: Pod, metadata: {name: batch, labels: {app: shop}}, spec: {containers: [{name: c, image: x/b}]}}`:           record.Fault,
		`{apiVersion: batch/v1, kind: Job, metadata: {name: batch}, spec: {` + once + `}}`:                                                 record.Warning,
	} {
		var seen []record.Check
		err := newShop(t, c, "", shopManifests+"---\n"+object, &seen).Preflight(t.Context())
		var bad BadInput
		said := checkText(seen)
		if errors.As(err, &bad) != (want == record.Fault) || !strings.Contains(said, want+" target: shop.yaml:21: the selector of Deployment shop selects the pods of") {
			t.Errorf("%s: %v\n%s", object, err, said)
		}
	}
}

// TestExistingOverlap has the pods of another Deployment and of a Job in the selector
// of a target that exists: only those of the Job will end.
func TestExistingOverlap(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	template := `template: {metadata: {labels: {app: shop, role: batch}}, spec: {restartPolicy: %s, containers: [{name: c, image: x/b, resources: {requests: {cpu: 10m}}}]}}`
	for _, test := range []struct{ foreign, words string }{
		{`{apiVersion: apps/v1, kind: Deployment, metadata: {name: batch}, spec: {selector: {matchLabels: {role: batch}}, ` + fmt.Sprintf(template, "Always") + `}}`, "selects pods of others too: batch-"},
		{`{apiVersion: batch/v1, kind: Job, metadata: {name: batch}, spec: {` + fmt.Sprintf(template, "Never") + `}}`, ""},
	} {
		ns := testNamespace(t, c)
		for _, source := range append(strings.Split(shopManifests, "---"), test.foreign) {
			makeForeign(t, c, objectOfYAML(t, source), ns)
		}
		for selector, want := range map[string]int{"app=shop": 2, "role=batch": 1} {
			eventually(t, "the pods of "+selector, func() bool {
				pods, err := c.Kube.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
				return err == nil && len(pods.Items) == want
			})
		}
		file, err := scenarios.Parse("s.yaml", []byte(`
apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: there}
spec:
  workload: {existing: {kind: Deployment, name: shop}}
  load: {phases: [{name: surge, duration: 1s, rate: 1}]}
`), nil)
		if err != nil {
			t.Fatal(err)
		}
		var seen []record.Check
		r, err := New(c, file, Options{ID: NewID(), Namespace: ns}, func(p Progress) { seen = append(seen, *p.Check) })
		if err != nil {
			t.Fatal(err)
		}
		var bad BadInput
		err = r.Preflight(t.Context())
		if said := checkText(seen); errors.As(err, &bad) != (test.words != "") || !strings.Contains(said, test.words) {
			t.Errorf("beside %s: %v\n%s", test.foreign, err, said)
		}
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not there after a minute", what)
		}
	}
}
