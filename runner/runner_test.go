package runner

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// read makes an object from YAML.
func read[T any](t *testing.T, source string) T {
	t.Helper()
	var object T
	if err := yaml.UnmarshalStrict([]byte(source), &object); err != nil {
		t.Fatal(err)
	}
	return object
}

func TestRoom(t *testing.T) {
	nodes := read[corev1.NodeList](t, `
items:
- {metadata: {name: free, labels: {disk: ssd}}, status: {allocatable: {cpu: "2", memory: 4Gi, pods: "110"}}}
- {metadata: {name: busy}, status: {allocatable: {cpu: "2", memory: 4Gi, pods: "3"}}}
- {metadata: {name: cordoned}, spec: {unschedulable: true}, status: {allocatable: {cpu: "64", memory: 64Gi, pods: "110"}}}
- {metadata: {name: tainted}, spec: {taints: [{key: gpu, effect: NoSchedule}]}, status: {allocatable: {cpu: "4", memory: 4Gi, pods: "110"}}}
`).Items
	pods := read[corev1.PodList](t, `
items:
- {spec: {nodeName: busy, containers: [{name: a, resources: {requests: {cpu: 500m}}}]}}
- {spec: {nodeName: free, containers: [{name: a, resources: {requests: {cpu: 100m, memory: 3Gi}}}]}}
- {spec: {containers: [{name: pending, resources: {requests: {cpu: "2"}}}]}}
`)
	for _, test := range []struct {
		name, template string
		want           int64
	}{
		{"by CPU, and by pods on the busy node", `{spec: {containers: [{name: a, resources: {requests: {cpu: 200m}}}]}}`, 9 + 2},
		{"by memory on one of them", `{spec: {containers: [{name: a, resources: {requests: {memory: 512Mi}}}]}}`, 2 + 2},
		{"with what an init container needs", `{spec: {initContainers: [{name: i, resources: {requests: {cpu: "1"}}}], containers: [{name: a}]}}`, 1 + 1},
		{"by node selector", `{spec: {nodeSelector: {disk: ssd}, containers: [{name: a, resources: {requests: {cpu: 200m}}}]}}`, 9},
		{"with a toleration", `{spec: {tolerations: [{key: gpu, operator: Exists}], containers: [{name: a, resources: {requests: {cpu: "1"}}}]}}`, 1 + 1 + 4},
		{"with what no node has", `{spec: {containers: [{name: a, resources: {requests: {example.com/gpu: "1"}}}]}}`, 0},
		{"with no request", `{spec: {containers: [{name: a}]}}`, 109 + 2},
	} {
		template := read[corev1.PodTemplateSpec](t, test.template)
		if got, err := room(nodes, podsByNode(&pods), &template); err != nil || got != test.want {
			t.Errorf("%s: room for %d, want %d (%v)", test.name, got, test.want, err)
		}
	}
}

func TestPodTrouble(t *testing.T) {
	for _, test := range []struct {
		status, words string
		patience      time.Duration
	}{
		{`{conditions: [{type: PodScheduled, status: "True"}], containerStatuses: [{name: a, state: {running: {}}}]}`, "", 0},
		{`{containerStatuses: [{name: a, state: {waiting: {reason: ContainerCreating}}}]}`, "", 0},
		{`{conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/1 nodes: Insufficient cpu."}]}`,
			"a pod cannot be scheduled: 0/1 nodes: Insufficient cpu. (lower the requests", hopelessAfter},
		{`{conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/1 nodes: pod has unbound immediate PersistentVolumeClaims."}]}`,
			"a pod cannot be scheduled: 0/1 nodes: pod has unbound immediate PersistentVolumeClaims. (kubectl describe pvc says why", hopelessAfter},
		{`{containerStatuses: [{name: a, image: web, state: {waiting: {reason: ErrImagePull, message: "no such host"}}}]}`, "a node cannot get image web (is the name right, and can the nodes reach its registry?): no such host", hopelessAfter},
		{`{containerStatuses: [{name: a, state: {waiting: {reason: CreateContainerConfigError, message: "configmap \"c\" not found"}}}]}`, `container a cannot start: configmap "c" not found`, hopelessAfter},
		{`{containerStatuses: [{name: a, restartCount: 1, state: {waiting: {reason: CrashLoopBackOff}}}]}`, "", 0},
		{`{containerStatuses: [{name: a, restartCount: 3, lastState: {terminated: {exitCode: 137, reason: OOMKilled}}, state: {waiting: {reason: CrashLoopBackOff}}}]}`,
			"container a of pod web-1 ended 3 times with exit code 137 (OOMKilled)", 0},
	} {
		pod := &corev1.Pod{Status: read[corev1.PodStatus](t, test.status)}
		pod.Name = "web-1"
		got := podTrouble(pod)
		if !strings.HasPrefix(got.text, test.words) || (got.text == "") != (test.words == "") || got.patience != test.patience {
			t.Errorf("%s:\n%+v, want %q after %s", test.status, got, test.words, test.patience)
		}
	}
}

func TestCreationTrouble(t *testing.T) {
	events := []record.Event{
		{Kind: "ReplicaSet", Name: "other-1", Reason: "FailedCreate", Message: "of another"},
		{Kind: "ReplicaSet", Name: "web-1", Reason: "FailedCreate", Message: "exceeded quota"},
		{Kind: "Pod", Name: "web-1-x", Reason: "FailedMount", Message: "no volume"},
	}
	if got := creationTrouble(events, "web", true); len(got) != 1 || got[0].text != "pods cannot be created: exceeded quota" {
		t.Errorf("got %+v", got)
	}
	if got := creationTrouble(events, "web", false); got != nil {
		t.Errorf("with all pods there: %+v", got)
	}
	if got := creationTrouble(events[:1], "web", true); got != nil {
		t.Errorf("of another workload: %+v", got)
	}
}

func TestMetricsLine(t *testing.T) {
	for _, test := range []struct{ hpa, want string }{
		{`{spec: {metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 20}}}]},
		   status: {currentMetrics: [{type: Resource, resource: {name: cpu, current: {averageUtilization: 12, averageValue: 6m}}}]}}`, "cpu 12%/20%"},
		{`{spec: {metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 20}}}]}}`, "cpu ?/20%"},
		{`{spec: {metrics: [{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 24Mi}}},
		                    {type: External, external: {metric: {name: queue}, target: {type: Value, value: "30"}}}]},
		   status: {currentMetrics: [{type: Resource, resource: {name: memory, current: {averageValue: 12Mi}}}, {type: External, external: {metric: {name: queue}, current: {value: "7"}}}]}}`,
			"memory 12Mi/24Mi, external queue 7/30"},
		{`{spec: {metrics: [{type: External, external: {metric: {name: rps}, target: {type: AverageValue, averageValue: "10"}}}]},
		   status: {currentMetrics: [{type: External, external: {metric: {name: rps}, current: {averageValue: "-9223372036854775808m"}}}]}}`, "external rps ?/10"},
	} {
		hpa := read[autoscalingv2.HorizontalPodAutoscaler](t, test.hpa)
		if got := metricsLine(&hpa); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestPorts(t *testing.T) {
	service := read[corev1.Service](t, `{metadata: {name: web}, spec: {ports: [{name: http, port: 80, targetPort: web}, {name: admin, port: 8080}]}}`)
	pods := []*corev1.Pod{{Spec: read[corev1.PodSpec](t, `{containers: [{name: a, ports: [{name: web, containerPort: 3000}]}]}`)}}
	for wanted, want := range map[intstr.IntOrString]int32{
		intstr.FromInt32(80): 3000, intstr.FromString("http"): 3000, intstr.FromInt32(8080): 8080, intstr.FromString("admin"): 8080,
	} {
		port, err := servicePort(&service, &wanted)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := targetPort(port, pods); err != nil || got != want {
			t.Errorf("%s leads to port %d, want %d (%v)", wanted.String(), got, want, err)
		}
	}
	for _, wanted := range []*intstr.IntOrString{nil, {IntVal: 81}, {Type: intstr.String, StrVal: "grpc"}} {
		if port, err := servicePort(&service, wanted); err == nil {
			t.Errorf("%v leads to %v", wanted, port)
		}
	}
}

func TestNodeAddresses(t *testing.T) {
	nodes := read[corev1.NodeList](t, `
items:
- {status: {addresses: [{type: InternalIP, address: 203.0.113.1}, {type: ExternalIP, address: 198.51.100.1}, {type: Hostname, address: one}]}}
- {status: {addresses: [{type: InternalIP, address: 203.0.113.2}]}}
- {status: {addresses: [{type: InternalIP, address: 203.0.113.3}]}}
`).Items
	if got := strings.Join(nodeAddresses(nodes), " "); got != "198.51.100.1 203.0.113.1 203.0.113.2" {
		t.Errorf("got %s", got)
	}
	nodes[2].Status.Addresses[0].Address = "127.0.0.1" // an address of this machine
	if got := nodeAddresses(nodes); got[0] != "127.0.0.1" {
		t.Errorf("a node on this machine is tried at %v", got)
	}
}

func TestNamespaceOfARun(t *testing.T) {
	file, err := scenarios.Read("demo-nginx")
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(&Cluster{}, file, Options{ID: "abcde"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.pre.namespace != "hpabench-demo-nginx-abcde" || !r.pre.own {
		t.Errorf("the run's namespace is %q", r.pre.namespace)
	}
	if r, err = New(&Cluster{}, file, Options{ID: "abcde", Namespace: "mine"}, nil); err != nil || r.pre.own {
		t.Errorf("with -n: own namespace %v, %v", r.pre.own, err)
	}
}

// TestProgressIsToldByOneAtATime lets many goroutines tell at once, as that of the Lease does
// beside the one of the run.
func TestProgressIsToldByOneAtATime(t *testing.T) {
	file, err := scenarios.Read("demo-nginx")
	if err != nil {
		t.Fatal(err)
	}
	var telling atomic.Int32
	r, err := New(&Cluster{}, file, Options{ID: "abcde"}, func(Progress) {
		if telling.Add(1) > 1 {
			t.Error("two tell at a time")
		}
		time.Sleep(time.Millisecond)
		telling.Add(-1)
	})
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 10 {
		wait.Go(func() { r.say("said") })
		wait.Go(func() { r.pre.report(record.Check{}) })
	}
	wait.Wait()
}

func TestLeft(t *testing.T) {
	c := &created{namespace: "hpabench-x", own: true}
	c.remember(object{gvk: namespaceKind, name: "hpabench-x"})
	c.remember(object{gvk: corev1.SchemeGroupVersion.WithKind("Service"), namespace: "hpabench-x", name: "web"}) // goes with it
	c.remember(object{gvk: schema.GroupVersionKind{Version: "v1", Kind: "PriorityClass"}, name: "low"})
	c.remember(object{gvk: namespaceKind, name: "hpabench-x", uid: "1"})
	if got := strings.Join(c.left(), ", "); got != "namespace/hpabench-x, priorityclass/low" {
		t.Errorf("left: %s", got)
	}
}

// A short --timeout is of the pods: the first metric of a resource takes as long as metrics-server and the HPA do.
func TestPatience(t *testing.T) {
	for metrics, want := range map[string]time.Duration{
		`[{type: Resource, resource: {name: cpu}}]`: firstResource,
		`[{type: External, external: {metric: {name: q}}}, {type: ContainerResource, containerResource: {name: cpu}}]`: firstResource,
		`[{type: External, external: {metric: {name: q}}}]`:                                                            30 * time.Second,
	} {
		specs := read[[]autoscalingv2.MetricSpec](t, metrics)
		if got := patience(specs, 30*time.Second); got != want {
			t.Errorf("%s: %s, want %s", metrics, got, want)
		}
		if got := patience(specs, 5*time.Minute); got != 5*time.Minute {
			t.Errorf("%s: %s of 5 minutes", metrics, got)
		}
	}
}
