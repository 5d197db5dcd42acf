package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

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
	apart := func(app string) string {
		return fmt.Sprintf(`{apiVersion: batch/v1, kind: Job, metadata: {name: apart}, spec: {suspend: true, template: {metadata: {labels: {app: apart}}, spec: {restartPolicy: Never, containers: [{name: c, image: x/a}],
			affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: %s}}}]}}}}}}`, app)
	}
	ingress := func(name, host string) string {
		return fmt.Sprintf(`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: %s}, spec: {rules: [{host: %q, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}]}}]}}`, name, host)
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
		{"anti-affinity to others' Deployment without pods", apart("db"), []string{idle("apps/v1", "Deployment", "")}, "Deployment idle"},
		{"a host that others have", ingress("mine", "a.example"), []string{ingress("front", "a.example")}, "Ingress mine would take the requests for host a.example, which Ingress front in namespace"},
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

type fixedMapper struct{ meta.RESTMapper }

func (fixedMapper) Reset() {}

// TestTrespasses has manifests that act on others by what they name, or in all namespaces.
func TestTrespasses(t *testing.T) {
	const web = `{kind: Deployment, metadata: {name: web}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c}]}}}}`
	const volume = `{kind: Pod, metadata: {name: o}, spec: {containers: [{name: c}], volumes: [{name: v, persistentVolumeClaim: {claimName: `
	const keepsOff = `{kind: Pod, metadata: {name: o}, spec: {containers: [{name: c}], affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, `
	file := &scenarios.File{}
	for _, made := range []string{`{kind: Service, metadata: {name: front, labels: {of: front}}}`, `{kind: PersistentVolumeClaim, metadata: {name: mine}}`, `{kind: ServiceAccount, metadata: {name: worker}}`,
		`{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: made}}`,
		`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: corners.example.com}, spec: {group: example.com, names: {kind: Corner}}}`} {
		file.Manifests = append(file.Manifests, scenarios.Manifest{Object: objectOfYAML(t, made)})
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	for kind, known := range builtin() {
		scope := map[bool]meta.RESTScope{true: meta.RESTScopeNamespace, false: meta.RESTScopeRoot}[known.namespaced]
		for _, version := range []string{"v1", "v1beta1"} {
			mapper.Add(kind.WithVersion(version), scope)
		}
	}
	mapper.Add(schema.GroupVersionKind{Group: "kyverno.io", Version: "v1", Kind: "ClusterPolicy"}, meta.RESTScopeRoot)
	client, err := dynamic.NewForConfig(&rest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cluster := &Cluster{Dynamic: client, mapper: fixedMapper{mapper}}
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

		// Where requests go.
		{`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: o}, spec: {defaultBackend: {service: {name: front}}}}`, "", nil},
		{`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: o}, spec: {rules: [{http: {paths: [{backend: {service: {name: front}}}, {backend: {service: {name: prod}}}]}}]}}`, "send requests to Service prod", []string{beside}},
		{`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: o}, spec: {parentRefs: [{name: gate}], hostnames: [a.example], rules: [{backendRefs: [{name: front}]}]}}`, "", nil},
		{`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: o}, spec: {parentRefs: [{name: gate}], rules: [{backendRefs: [{name: front}]}]}}`, "all hosts of Gateway gate", []string{own, beside}},
		{`{apiVersion: gateway.networking.k8s.io/v1, kind: TCPRoute, metadata: {name: o}, spec: {parentRefs: [{name: gate, namespace: infra}], rules: [{backendRefs: [{name: front}]}]}}`, "all hosts of Gateway gate", []string{own, beside}},
		{`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: o}, spec: {hostnames: [a.example], rules: [{backendRefs: [{name: prod}]}]}}`, "send requests to Service prod", []string{beside}},
		{`{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: o}, spec: {hostnames: [a.example], rules: [{backendRefs: [{name: front, namespace: prod}]}]}}`, "Service front in namespace prod", []string{own, beside}},
		{`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: o}, spec: {hostnames: [a.example], rules: [{filters: [{requestMirror: {backendRef: {name: prod}}}], backendRefs: [{name: front}]}]}}`, "send requests to Service prod", []string{beside}},
		{`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: o}, spec: {hosts: [front], http: [{route: [{destination: {host: front}}]}]}}`, "", nil},
		{`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: o}, spec: {hosts: [front], http: [{route: [{destination: {host: prod}}]}]}}`, "act on the requests for Service prod", []string{beside}},
		{`{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: o}, spec: {host: web.prod.svc.cluster.local}}`, "Service web in namespace prod", []string{own, beside}},
		{`{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: o}, spec: {selector: {istio: ingressgateway}}}`, "act on all namespaces", []string{own, beside}},
		{`{apiVersion: traefik.io/v1alpha1, kind: IngressRoute, metadata: {name: o}, spec: {routes: [{services: [{name: prod}]}]}}`, "send requests to Service prod", []string{beside}},
		{`{apiVersion: route.openshift.io/v1, kind: Route, metadata: {name: o}, spec: {host: a.example, to: {kind: Service, name: prod}}}`, "send requests to Service prod", []string{beside}},
		{`{kind: Service, metadata: {name: o}, spec: {externalIPs: [10.0.0.9]}}`, "all that the cluster sends to 10.0.0.9", []string{own, beside}},

		// Custom kinds in a namespace.
		{`{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: o}, spec: {endpointSelector: {matchLabels: {app: web}}}}`, "", nil},
		{`{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: o}, spec: {endpointSelector: {}}}`, "", nil},
		{`{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: o}, spec: {endpointSelector: {matchLabels: {app: db}}}}`, "others in namespace", []string{beside}},
		{`{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: o}, specs: [{endpointSelector: {}}]}`, "others in namespace", []string{beside}},
		{`{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: o}, spec: {selector: all()}}`, "others in namespace", []string{beside}},
		{`{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: o}, spec: {mtls: {mode: STRICT}}}`, "others in namespace", []string{beside}},
		{`{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: o}, spec: {selector: {matchLabels: {app: web}}}}`, "", nil},
		{`{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: o}, spec: {workloadSelector: {labels: {app: web}}}}`, "", nil},
		{`{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: o}, spec: {workloadSelector: {labels: {app: db}}}}`, "others in namespace", []string{beside}},
		{`{apiVersion: kyverno.io/v1, kind: Policy, metadata: {name: o}, spec: {rules: [{match: {any: [{resources: {kinds: [Pod]}}]}}]}}`, "others in namespace", []string{beside}},
		{`{apiVersion: keda.sh/v1alpha1, kind: TriggerAuthentication, metadata: {name: o}, spec: {}}`, "", nil},
		{`{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: o}, spec: {selector: {matchLabels: {of: front}}}}`, "", nil},
		{`{apiVersion: monitoring.coreos.com/v1, kind: PodMonitor, metadata: {name: o}, spec: {selector: {matchLabels: {app: db}}}}`, "others in namespace", []string{beside}},

		// What pods do.
		{volume + `data}}]}}`, "write to PersistentVolumeClaim data", []string{beside}},
		{volume + `data, readOnly: true}}]}}`, "", nil},
		{volume + `mine}}]}}`, "", nil},
		{`{kind: Pod, metadata: {name: o}, spec: {containers: [{name: c, envFrom: [{secretRef: {name: prod}}]}], volumes: [{name: v, configMap: {name: prod}}]}}`, "", nil},
		{`{kind: Pod, metadata: {name: o}, spec: {containers: [{name: c}], priorityClassName: system-node-critical}}`, "take the place of others", []string{own, beside}},
		{keepsOff + `namespaceSelector: {}, labelSelector: {matchLabels: {app: db}}}]}}}}`, "keep pods of other namespaces off", []string{own, beside}},
		{keepsOff + `namespaces: [prod], labelSelector: {matchLabels: {app: db}}}]}}}}`, "keep pods of other namespaces off", []string{own, beside}},
		{keepsOff + `namespaceSelector: {}, labelSelector: {matchLabels: {app: web}}}]}}}}`, "", nil},

		// What has no namespace.
		{`{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: o}, globalDefault: true, value: -1}`, "priority of all pods", []string{own, beside}},
		{`{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: o}, value: 1000}`, "take the place of others' pods, whose priority is 0", []string{own, beside}},
		{`{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: o}, value: 1000, preemptionPolicy: Never}`, "", nil},
		{`{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: o}, value: -1}`, "", nil},
		{`{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: o, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}}`, "StorageClass of all", []string{own, beside}},
		{`{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: o, annotations: {storageclass.kubernetes.io/is-default-class: "false"}}}`, "", nil},
		{`{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: o, annotations: {ingressclass.kubernetes.io/is-default-class: "true"}}}`, "IngressClass of all", []string{own, beside}},
		{`{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: FlowSchema, metadata: {name: o}}`, "all namespaces", []string{own, beside}},
		{`{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: PriorityLevelConfiguration, metadata: {name: o}}`, "all namespaces", []string{own, beside}},
		{`{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: o}}`, "all namespaces", []string{own, beside}},
		{`{apiVersion: v1, kind: Node, metadata: {name: o}}`, "all namespaces", []string{own, beside}},
		{`{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: o}}`, "all namespaces", []string{own, beside}},
		{`{apiVersion: example.com/v1, kind: Corner, metadata: {name: o}}`, "", nil}, // which the manifests define
		{`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: o}}`, "", nil},
		{`{apiVersion: v1, kind: PersistentVolume, metadata: {name: o}, spec: {storageClassName: manual}}`, "any claim", []string{own, beside}},
		{`{apiVersion: v1, kind: PersistentVolume, metadata: {name: o}, spec: {storageClassName: made}}`, "", nil},
		{`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: o}}`, "", nil},
		{`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: o, labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}}}`, "aggregate-to-view", []string{own, beside}},
		{`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: o}, subjects: [{kind: ServiceAccount, name: worker, namespace: n}]}`, "", nil},
		{`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: o}, subjects: [{kind: ServiceAccount, name: default, namespace: prod}]}`, "give rights to ServiceAccount default", []string{own, beside}},
		{`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: o}, subjects: [{kind: Group, name: "system:authenticated"}]}`, "give rights to Group system:authenticated", []string{own, beside}},
		{`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: o}, subjects: [{kind: ServiceAccount, name: default}]}`, "give rights to ServiceAccount default", []string{beside}},
		{`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: o}, subjects: [{kind: ServiceAccount, name: worker}]}`, "", nil},
		{`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: o}}`, "all namespaces", []string{own, beside}},
		{`{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: o}}`, "all namespaces", []string{own, beside}},
		{`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: o}}`, "all namespaces", []string{own, beside}},
		{`{apiVersion: admissionregistration.k8s.io/v1beta1, kind: MutatingAdmissionPolicyBinding, metadata: {name: o}}`, "all namespaces", []string{own, beside}},
	} {
		for _, where := range []string{embedded, own, beside} {
			p := &preflight{file: file, options: Options{ID: "abcde"}}
			p.Cluster = cluster
			p.gvk.Kind, p.name, p.namespace, p.own, p.cluster = "Rollout", "shop", "n", where != beside, &record.Cluster{}
			if where == embedded {
				p.cluster.Lab = &record.Lab{}
			}
			objects := append(p.file.Objects(), objectOfYAML(t, web), objectOfYAML(t, test.object))
			scenarios.Confine(objects, RunLabel, p.options.ID)
			got := p.trespasses(objects)
			refused := len(got) == 1 && strings.Contains(got[0].message, test.object[strings.Index(test.object, "kind: ")+6:strings.Index(test.object, ", metadata")]+" o would ") && strings.Contains(got[0].message, test.words)
			if refused != slices.Contains(test.refused, where) || len(got) > 0 && !refused {
				t.Errorf("%s %s: %v", test.object, where, got)
			}
		}
	}
}

func TestTakesHost(t *testing.T) {
	for _, test := range []struct {
		host, taken string
		want        bool
	}{
		{"a.example", "a.example", true}, {"a.example", "b.example", false}, {"", "", true}, {"", "a.example", false}, {"a.example", "", false},
		{"a.b.example", "*.b.example", true}, {"b.example", "*.b.example", false}, {"*.b.example", "a.b.example", false}, {"*.b.example", "*.b.example", true}, {"", "*.example", false},
	} {
		if got := takesHost(test.host, test.taken); got != test.want {
			t.Errorf("%q and others' %q: %v", test.host, test.taken, got)
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

// TestJobEnded: the API server sets completionTime of those that succeed alone.
func TestJobEnded(t *testing.T) {
	for conditions, want := range map[string]bool{
		`[]`: false, `[{"type": "Complete", "status": "True"}]`: true, `[{"type": "Failed", "status": "True"}]`: true,
		`[{"type": "FailureTarget", "status": "True"}]`: false, `[{"type": "Suspended", "status": "True"}, {"type": "Failed", "status": "False"}]`: false,
	} {
		var job map[string]any
		if err := json.Unmarshal([]byte(`{"status": {"conditions": `+conditions+`}}`), &job); err != nil {
			t.Fatal(err)
		}
		if jobEnded(job) != want {
			t.Errorf("a Job of %s has ended: %v", conditions, !want)
		}
	}
}
