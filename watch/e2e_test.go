//go:build e2e

package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"

	"github.com/hpabench/hpabench/record"
)

// agree is how far an instant in the record may be from the one at which
// kubectl printed the same state.
const agree = 200 * time.Millisecond

// TestAgreesWithKubectl scales a Deployment through its HPA (its limits need no
// metrics) and compares the record with what kubectl -w printed meanwhile.
func TestAgreesWithKubectl(t *testing.T) {
	config := e2eConfig(t)
	clients := newClients(t, config)
	ns := e2eNamespace(t, clients.Kube)
	rec := record.NewRecorder(record.StartClock(), nil)

	var seen sightings
	for _, what := range []string{"pods", "deployments", "horizontalpodautoscalers"} {
		seen.watch(t, rec.Clock, ns, what)
	}
	w := start(t, clients, ns, rec)

	create(t, ns)
	until(t, w, "two pods in service", func() bool { return len(w.ReadyPods()) == 2 && w.Autoscaler() != nil })
	limits(t, clients.Kube, ns, 4, 5)
	until(t, w, "four pods in service", func() bool { return len(w.ReadyPods()) == 4 })
	until(t, w, "samples of four pods", func() bool {
		return slices.ContainsFunc(rec.Run().Entries, func(e record.Entry) bool { return e.PodMetrics != nil && len(e.PodMetrics.Samples) == 4 })
	})
	limits(t, clients.Kube, ns, 1, 1)
	until(t, w, "one pod left", func() bool { return len(w.Pods()) == 1 && len(w.ReadyPods()) == 1 })
	seen.settle(t)
	w.Stop()

	mine := milestones(rec.Run())
	theirs := seen.copy()
	for k, at := range theirs {
		m, ok := mine[k]
		if !ok {
			t.Errorf("kubectl saw %q at %v, the record has not", k, at)
		} else if d := time.Duration(m - at).Abs(); d > agree {
			t.Errorf("%q: recorded at %v, kubectl saw it at %v", k, m, at)
		} else {
			t.Logf("%-70s %9v  kubectl %+v", k, m, time.Duration(at-m).Round(10*time.Microsecond))
		}
	}
	for k, at := range mine {
		if _, ok := theirs[k]; !ok {
			t.Errorf("the record has %q at %v, kubectl has not", k, at)
		}
	}
	for _, k := range []string{"target spec 2", "target spec 4", "target spec 1", "autoscaler desired 4"} {
		if _, ok := mine[k]; !ok {
			t.Errorf("neither saw %q", k)
		}
	}

	rescales, samples := 0, 0
	for _, e := range rec.Run().Entries {
		if e.Event != nil && e.Event.Kind == "HorizontalPodAutoscaler" && e.Event.Reason == "SuccessfulRescale" {
			rescales++
		}
		if e.PodMetrics != nil {
			samples += len(e.PodMetrics.Samples)
		}
		if e.Gap != nil && e.Gap.Source != "podmetrics" {
			t.Errorf("unexpected gap: %+v", *e.Gap)
		}
		if e.Pod != nil && e.Pod.First {
			t.Errorf("pod %s was not there at the start", e.Pod.Name)
		}
	}
	if rescales != 2 {
		t.Errorf("%d events SuccessfulRescale are in the record, want 2", rescales)
	}
	if samples == 0 {
		t.Error("no samples of PodMetrics are in the record")
	}
}

// TestConnectionLost takes the way to the API server away, by a proxy between
// them that can be stopped, and changes the cluster meanwhile.
func TestConnectionLost(t *testing.T) {
	config := e2eConfig(t)
	direct := newClients(t, config)
	ns := e2eNamespace(t, direct.Kube)
	create(t, ns)

	via := &tcpProxy{to: strings.TrimPrefix(config.Host, "https://")}
	via.start(t)
	through := rest.CopyConfig(config)
	through.Host = "https://" + via.addr
	rec := record.NewRecorder(record.StartClock(), nil)
	w := start(t, newClients(t, through), ns, rec)
	until(t, w, "two pods in service", func() bool { return len(w.ReadyPods()) == 2 })

	down := rec.Clock.Now()
	via.stop()
	limits(t, direct.Kube, ns, 3, 5)
	time.Sleep(3 * time.Second)
	up := rec.Clock.Now()
	via.start(t)
	until(t, w, "three pods in service", func() bool { return len(w.ReadyPods()) == 3 })
	until(t, w, "samples", func() bool {
		return slices.ContainsFunc(rec.Run().Entries, func(e record.Entry) bool { return e.PodMetrics != nil })
	})
	w.Stop()

	gaps := map[string]record.Gap{}
	for _, e := range rec.Run().Entries {
		if e.Gap != nil {
			gaps[e.Gap.Source] = *e.Gap
			t.Logf("%+v", *e.Gap)
		}
	}
	for _, source := range []string{"horizontalpodautoscalers", "deployments", "replicasets", "pods", "endpointslices", "events", "podmetrics"} {
		g, ok := gaps[source]
		if !ok {
			t.Errorf("no gap of %s", source)
		} else if g.From > down.Add(time.Second) || g.To < up || g.To > up.Add(5*time.Second) {
			t.Errorf("gap of %s from %v to %v, but the connection was down from %v to %v", source, g.From, g.To, down, up)
		}
	}
}

func e2eConfig(t *testing.T) *rest.Config {
	t.Helper()
	file := os.Getenv("HPABENCH_E2E_KUBECONFIG")
	if file == "" {
		t.Fatal("HPABENCH_E2E_KUBECONFIG must name the kubeconfig of a cluster for tests")
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return config
}

func newClients(t *testing.T, config *rest.Config) Clients {
	t.Helper()
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := metricsclient.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return Clients{Kube: kube, Dynamic: dyn, Metrics: metrics}
}

func e2eNamespace(t *testing.T, kube kubernetes.Interface) string {
	t.Helper()
	ns, err := kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "hpabench-watch-", Labels: map[string]string{"app.kubernetes.io/managed-by": "hpabench"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kube.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("removing namespace %s: %v", ns.Name, err)
		}
	})
	return ns.Name
}

func start(t *testing.T, c Clients, ns string, rec *record.Recorder) *Watcher {
	t.Helper()
	w, err := Start(t.Context(), c, Subject{
		Namespace:  ns,
		Target:     appsv1.SchemeGroupVersion.WithResource("deployments"),
		Kind:       "Deployment",
		Name:       "web",
		Autoscaler: "web",
		Selector:   "app=web",
		Services:   []string{"web"},
	}, rec, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

func create(t *testing.T, ns string) {
	t.Helper()
	manifest := `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: web
        image: nginx:1.15.2
        imagePullPolicy: IfNotPresent
        resources: {requests: {cpu: 10m}}
        readinessProbe: {httpGet: {port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 5
`
	cmd := kubectl(t.Context(), ns, "create", "-f", "-")
	cmd.Stdin = strings.NewReader(manifest)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kubectl create: %v\n%s", err, out)
	}
}

func limits(t *testing.T, kube kubernetes.Interface, ns string, min, max int) {
	t.Helper()
	patch := fmt.Sprintf(`{"spec":{"minReplicas":%d,"maxReplicas":%d}}`, min, max)
	if _, err := kube.AutoscalingV2().HorizontalPodAutoscalers(ns).Patch(t.Context(), "web", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

func kubectl(ctx context.Context, ns string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "kubectl", append([]string{"--kubeconfig", os.Getenv("HPABENCH_E2E_KUBECONFIG"), "-n", ns}, args...)...)
}

// sightings are the instants at which kubectl first printed a state.
type sightings struct {
	mu   sync.Mutex
	at   map[string]record.Instant
	last time.Time
}

func (s *sightings) watch(t *testing.T, clock record.Clock, ns, what string) {
	t.Helper()
	cmd := kubectl(t.Context(), ns, "get", what, "-w", "-o", "json", "--output-watch-events")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		in := json.NewDecoder(out)
		for {
			var e struct {
				Type   string
				Object json.RawMessage
			}
			if in.Decode(&e) != nil {
				return
			}
			s.note(clock.Now(), kubectlStates(what, e.Type == "DELETED", e.Object))
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
}

func (s *sightings) note(at record.Instant, states []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = time.Now()
	s.at = first(s.at, at, states)
}

// settle waits until kubectl has been quiet for a while.
func (s *sightings) settle(t *testing.T) {
	for t.Context().Err() == nil {
		s.mu.Lock()
		quiet := time.Since(s.last)
		s.mu.Unlock()
		if quiet > time.Second {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (s *sightings) copy() map[string]record.Instant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func first(m map[string]record.Instant, at record.Instant, states []string) map[string]record.Instant {
	if m == nil {
		m = map[string]record.Instant{}
	}
	for _, k := range states {
		if _, ok := m[k]; !ok {
			m[k] = at
		}
	}
	return m
}

func milestones(run record.Run) map[string]record.Instant {
	var m map[string]record.Instant
	for _, e := range run.Entries {
		switch {
		case e.Pod != nil:
			m = first(m, e.At, podStates(e.Pod.Name, e.Pod.Gone, e.Pod.Deleting, e.Pod.Status))
		case e.Target != nil:
			m = first(m, e.At, []string{fmt.Sprint("target spec ", e.Target.Replicas), fmt.Sprint("target ready ", *e.Target.Ready)})
		case e.Autoscaler != nil:
			m = first(m, e.At, []string{fmt.Sprint("autoscaler desired ", e.Autoscaler.Status.DesiredReplicas)})
		}
	}
	return m
}

func kubectlStates(what string, deleted bool, object []byte) []string {
	switch what {
	case "pods":
		var p corev1.Pod
		if json.Unmarshal(object, &p) == nil {
			return podStates(p.Name, deleted, p.DeletionTimestamp, p.Status)
		}
	case "deployments":
		var d appsv1.Deployment
		if json.Unmarshal(object, &d) == nil {
			return []string{fmt.Sprint("target spec ", *d.Spec.Replicas), fmt.Sprint("target ready ", d.Status.ReadyReplicas)}
		}
	default:
		var a autoscalingv2.HorizontalPodAutoscaler
		if json.Unmarshal(object, &a) == nil {
			return []string{fmt.Sprint("autoscaler desired ", a.Status.DesiredReplicas)}
		}
	}
	return []string{"unreadable " + what}
}

func podStates(name string, gone bool, deleting *metav1.Time, status corev1.PodStatus) []string {
	states := []string{name + " seen"}
	for _, c := range status.Conditions {
		if c.Status == corev1.ConditionTrue {
			states = append(states, name+" "+string(c.Type))
		}
	}
	if deleting != nil {
		states = append(states, name+" deleting")
	}
	if gone {
		states = append(states, name+" gone")
	}
	return states
}

// tcpProxy forwards connections to one address, always from the same port.
type tcpProxy struct {
	to, addr string
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
}

func (p *tcpProxy) start(t *testing.T) {
	t.Helper()
	addr := p.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p.listener, p.addr = l, l.Addr().String()
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", p.to)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			go func() { _, _ = io.Copy(in, out); in.Close() }()
			go func() { _, _ = io.Copy(out, in); out.Close() }()
		}
	}()
	t.Cleanup(func() { l.Close() })
}

func (p *tcpProxy) stop() {
	p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}
