package simulate

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

const ordered = `apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: ordered}
spec:
  workload: {manifests: [m.yaml], model: {cpu: {mean: 1ms}}}
  load:
    phases:
    - {name: idle, duration: 15s, rate: 0}
    - {name: surge, duration: 150s, rate: 150}
    - {name: calm, duration: 200s, rate: 0}
`

const orderedManifests = `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  replicas: 2
  SPEC
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 30
      containers:
      - name: web
        image: example.com/web:1
        ports: [{containerPort: 80}]
        lifecycle: {preStop: {sleep: {seconds: 7}}}
        resources: {requests: {cpu: 20m}}
        readinessProbe: {httpGet: {port: 80}, initialDelaySeconds: 15, periodSeconds: 2}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  minReplicas: 2
  maxReplicas: 6
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: web}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]
  behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
`

// stages are when a pod was first seen so, in seconds; 0 if it never was.
type stages struct{ created, ready, deleted, gone float64 }

// podsOf are the pods of a record by name, those of the same name one after the other.
func podsOf(entries []record.Entry) (pods map[string]*stages, created []string) {
	pods = map[string]*stages{}
	for _, e := range entries {
		p := e.Pod
		if p == nil {
			continue
		}
		s := pods[p.Name]
		if s == nil {
			s = &stages{created: e.At.Seconds()}
			pods[p.Name], created = s, append(created, p.Name)
		}
		ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		for _, is := range []struct {
			so bool
			at *float64
		}{{ready, &s.ready}, {p.Deleting != nil, &s.deleted}, {p.Gone, &s.gone}} {
			if is.so && *is.at == 0 {
				*is.at = e.At.Seconds()
			}
		}
	}
	return pods, created
}

// The embedded cluster, whose controller is Kubernetes' own, created web-2 to web-5 of the
// first case 16 to 17 s apart, each when the one before was ready.
func TestStatefulSetOrder(t *testing.T) {
	for _, c := range []struct {
		spec     string
		first    int
		parallel bool
		beyond   float64 // seconds that the next waits for beyond Ready
	}{
		{spec: "podManagementPolicy: OrderedReady"},
		{spec: "minReadySeconds: 10", beyond: 10},
		{spec: "ordinals: {start: 5}", first: 5},
		{spec: "podManagementPolicy: Parallel", parallel: true},
		{spec: "podManagementPolicy: Parallel\n  minReadySeconds: 10", parallel: true},
	} {
		t.Run(c.spec, func(t *testing.T) {
			manifests := strings.ReplaceAll(orderedManifests, "SPEC", c.spec)
			f, err := scenarios.Parse("s.yaml", []byte(ordered), func(name string) (string, []byte, error) {
				if name != "m.yaml" {
					return name, nil, os.ErrNotExist
				}
				return name, []byte(manifests), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			r, err := FromScenario(f)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = &record.Header{MetricsEvery: 1}
			entries, score := simulate(t, r)
			again, err := FromRecord(record.Run{Entries: entries})
			if err != nil || *again.StatefulSet != *r.StatefulSet {
				t.Errorf("its record is of a StatefulSet with %+v, not %+v (%v)", again.StatefulSet, r.StatefulSet, err)
			}
			pods, created := podsOf(entries)
			for i, name := range created {
				if want := fmt.Sprintf("web-%d", c.first+i); name != want {
					t.Fatalf("pod %d that was created is %s, not %s", i, name, want)
				}
			}
			if len(created) != 6 || len(score.Decisions) < 2 {
				t.Fatalf("%d pods were created by %v", len(created), score.Decisions)
			}
			within := 1.0
			soon := func(what string, at, after float64) {
				t.Helper()
				if at < after || at > after+within {
					t.Errorf("%s at %.2f s, and should be at %.2f s", what, at, after)
				}
			}
			// The decision that a pod was created or deleted for, if not for another pod.
			decision := func(is func(Decision) bool) (at float64) {
				i := slices.IndexFunc(score.Decisions, is)
				return score.Decisions[i].At.Seconds()
			}
			for i := 2; i < 6; i++ {
				p, below := pods[created[i]], pods[created[i-1]]
				from := decision(func(d Decision) bool { return d.To > int32(i) })
				if !c.parallel { // minReadySeconds count from a whole second
					from = max(from, below.ready+c.beyond-min(1, c.beyond))
				}
				soon(created[i]+" was created", p.created, from)
			}
			for i := 2; i < 6; i++ {
				from := decision(func(d Decision) bool { return d.To <= int32(i) && d.To < d.From })
				if i < 5 && !c.parallel { // the controller's next deletion came 4 to 14 ms after the pod above was gone
					from, within = max(from, pods[created[i+1]].gone), 0.05
				}
				soon(created[i]+" was deleted", pods[created[i]].deleted, from)
			}
		})
	}
}

// A ReplicaSet takes the pod whose node has most of its pods, of which those that terminate
// are none.
func TestSurplus(t *testing.T) {
	w := &world{began: time.Now()}
	made := func(name string, node int, deleted bool) *pod {
		o := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}, Spec: corev1.PodSpec{NodeName: fmt.Sprint(node)}}
		o.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
		return &pod{name: name, node: node, deleted: deleted, object: o}
	}
	w.Run, w.used = &Run{}, []int{2, 3}
	active := []*pod{made("alone", 1, false), made("one", 0, false), made("other", 0, false)}
	w.pods = append(slices.Clone(active), made("goes", 1, true), made("goes too", 1, true))
	if p := w.surplus(active)[0]; p.node != 0 {
		t.Errorf("%s goes first, which is alone on its node", p.name)
	}
}
