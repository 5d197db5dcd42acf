package watch

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"

	"github.com/hpabench/hpabench/record"
)

// flaky speaks list and watch as an API server does, to a real client, and can
// fail in the ways that a test asks for. It knows pods; of all else there is
// none.
type flaky struct {
	*httptest.Server
	mu      sync.Mutex
	changed chan struct{}
	pods    map[string]*corev1.Pod
	log     []metav1.WatchEvent
	oldest  int // versions before it are gone from the log

	listOnly bool // refuse to send the state by watch, as servers before 1.32 do
	refuse   func(path string) *metav1.Status
}

func newFlaky(t *testing.T) *flaky {
	f := &flaky{changed: make(chan struct{}), pods: map[string]*corev1.Pod{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.CloseClientConnections()
		f.Close()
	})
	return f
}

func (f *flaky) clients(t *testing.T) Clients {
	t.Helper()
	config := &rest.Config{Host: f.URL, QPS: -1}
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

// set changes what the server does, and wakes its watches.
func (f *flaky) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

// put creates or changes a pod; the log's length is the resource version.
func (f *flaky) put(name string) {
	f.set(func() {
		kind := "MODIFIED"
		if f.pods[name] == nil {
			kind = "ADDED"
		}
		p := &corev1.Pod{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", UID: types.UID(name)},
		}
		f.pods[name] = p
		f.append(kind, p)
	})
}

func (f *flaky) remove(name string) {
	f.set(func() {
		p := f.pods[name].DeepCopy()
		delete(f.pods, name)
		f.append("DELETED", p)
	})
}

func (f *flaky) append(kind string, p *corev1.Pod) {
	p.ResourceVersion = strconv.Itoa(len(f.log) + 1)
	raw, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	e := metav1.WatchEvent{Type: kind}
	e.Object.Raw = raw
	f.log = append(f.log, e)
}

var kinds = map[string][2]string{
	"horizontalpodautoscalers": {"autoscaling/v2", "HorizontalPodAutoscaler"},
	"deployments":              {"apps/v1", "Deployment"},
	"replicasets":              {"apps/v1", "ReplicaSet"},
	"endpointslices":           {"discovery.k8s.io/v1", "EndpointSlice"},
	"services":                 {"v1", "Service"},
	"events":                   {"v1", "Event"},
	"pods":                     {"v1", "Pod"},
	"resourcequotas":           {"v1", "ResourceQuota"},
	"limitranges":              {"v1", "LimitRange"},
}

func init() {
	for resource, kind := range record.AdmissionKinds {
		kinds[resource] = [2]string{"admissionregistration.k8s.io/v1", kind}
	}
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	refuse, listOnly, version, oldest := f.refuse, f.listOnly, len(f.log), f.oldest
	var items []corev1.Pod
	resource := path.Base(r.URL.Path)
	metrics := strings.Contains(r.URL.Path, "metrics.k8s.io")
	if resource == "pods" && !metrics {
		for _, p := range f.pods {
			items = append(items, *p)
		}
	}
	f.mu.Unlock()

	w.Header().Set("Content-Type", "application/json")
	reply := func(code int, body any) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body)
	}
	if refuse != nil {
		if s := refuse(r.URL.Path); s != nil {
			s.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
			reply(int(s.Code), s)
			return
		}
	}
	kind := kinds[resource]
	if metrics {
		kind = [2]string{"metrics.k8s.io/v1beta1", "PodMetrics"}
	}
	q := r.URL.Query()
	if q.Get("watch") == "" {
		reply(http.StatusOK, map[string]any{
			"apiVersion": kind[0], "kind": kind[1] + "List",
			"metadata": map[string]any{"resourceVersion": strconv.Itoa(max(version, 1))}, "items": items,
		})
		return
	}

	initial := q.Get("sendInitialEvents") == "true"
	if initial && listOnly {
		reply(http.StatusUnprocessableEntity, apierrors.NewInvalid(schema.GroupKind{}, "", nil).Status())
		return
	}
	send := func(kind string, object any) {
		_ = json.NewEncoder(w).Encode(map[string]any{"type": kind, "object": object})
		w.(http.Flusher).Flush()
	}
	w.(http.Flusher).Flush()
	from, _ := strconv.Atoi(q.Get("resourceVersion"))
	if !initial && from < oldest {
		send("ERROR", apierrors.NewResourceExpired("too old resource version").Status())
		return
	}
	if initial {
		for _, p := range items {
			send("ADDED", p)
		}
		send("BOOKMARK", map[string]any{"apiVersion": kind[0], "kind": kind[1], "metadata": map[string]any{
			"resourceVersion": strconv.Itoa(max(version, 1)), "annotations": map[string]string{metav1.InitialEventsAnnotationKey: "true"},
		}})
		from = version
	}
	for {
		f.mu.Lock()
		var news []metav1.WatchEvent
		if resource == "pods" {
			news, from = f.log[from:], len(f.log)
		}
		changed := f.changed
		f.mu.Unlock()
		for _, e := range news {
			send(e.Type, e.Object)
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func (f *flaky) start(t *testing.T, rec *record.Recorder) (*Watcher, error) {
	t.Helper()
	w, err := Start(t.Context(), f.clients(t), Subject{
		Namespace: "ns", Name: "web", Kind: "Deployment", Autoscaler: "web", Selector: "app=web", Services: []string{"web"},
		Target: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"},
	}, rec, time.Second)
	if err == nil {
		t.Cleanup(w.Stop)
	}
	return w, err
}

// has waits until exactly these pods are known.
func has(t *testing.T, w *Watcher, want string) {
	t.Helper()
	until(t, w, "pods "+want, func() bool {
		var names []string
		for _, p := range w.Pods() {
			names = append(names, p.Name)
		}
		return strings.Join(names, " ") == want
	})
}

// story tells a record's entries about pods and their gaps, in order.
func story(rec *record.Recorder) string {
	var s []string
	for _, e := range rec.Run().Entries {
		switch {
		case e.Pod != nil && e.Pod.First:
			s = append(s, "("+e.Pod.Name+")")
		case e.Pod != nil && e.Pod.Gone:
			s = append(s, "-"+e.Pod.Name)
		case e.Pod != nil:
			s = append(s, "+"+e.Pod.Name)
		case e.Gap != nil && e.Gap.Source == "pods" && e.Gap.Relisted:
			s = append(s, "GAP relisted")
		case e.Gap != nil && e.Gap.Source == "pods":
			s = append(s, "GAP")
		}
	}
	return strings.Join(s, " ")
}

// onlyGap returns the one gap of the pods.
func onlyGap(t *testing.T, rec *record.Recorder) record.Gap {
	t.Helper()
	var all []record.Gap
	for _, g := range gaps(rec) {
		if g.Source == "pods" {
			all = append(all, g)
		}
	}
	if len(all) != 1 {
		t.Fatalf("gaps of pods: %+v, want one", all)
	}
	return all[0]
}

// The connection breaks and the watch goes on where it was: nothing is missed.
func TestResumes(t *testing.T) {
	f := newFlaky(t)
	f.put("a")
	rec := record.NewRecorder(record.StartClock(), nil)
	w, err := f.start(t, rec)
	if err != nil {
		t.Fatal(err)
	}
	f.put("b")
	has(t, w, "a b")
	down := rec.Clock.Now()
	f.CloseClientConnections()
	f.put("c")
	f.remove("c")
	f.put("d")
	has(t, w, "a b d")
	w.Stop()

	if got, want := story(rec), "(a) +b GAP +c -c +d"; got != want {
		t.Errorf("recorded %q, want %q", got, want)
	}
	if g := onlyGap(t, rec); g.From < down || g.To < g.From || g.Cause != "connection closed" {
		t.Errorf("gap %+v, but the connection was cut at %v", g, down)
	}
}

// The server answers with errors for a while, and the state must be read again.
func TestServerErrors(t *testing.T) {
	for _, listOnly := range []bool{false, true} {
		f := newFlaky(t)
		f.listOnly = listOnly
		f.put("a")
		rec := record.NewRecorder(record.StartClock(), nil)
		w, err := f.start(t, rec)
		if err != nil {
			t.Fatal(err)
		}
		f.put("b")
		has(t, w, "a b")

		asked := make(chan struct{}, 1000)
		f.set(func() {
			f.refuse = func(p string) *metav1.Status {
				if strings.HasSuffix(p, "/namespaces/ns/pods") && !strings.Contains(p, "metrics") {
					asked <- struct{}{}
				}
				s := apierrors.NewInternalError(errClosed).Status()
				return &s
			}
		})
		f.CloseClientConnections()
		for range 3 {
			<-asked
		}
		f.remove("a")
		f.put("c")
		up := rec.Clock.Now()
		f.set(func() { f.refuse = nil })
		has(t, w, "b c")
		w.Stop()

		want := "(a) +b GAP relisted -a +c"
		if listOnly {
			want = "(a) +b -a +c GAP relisted"
		}
		if got := story(rec); got != want {
			t.Errorf("list only %v: recorded %q, want %q", listOnly, got, want)
		}
		if g := onlyGap(t, rec); g.To < up || !strings.HasPrefix(g.Cause, "connection closed; Internal error") {
			t.Errorf("list only %v: gap %+v, but errors ended at %v", listOnly, g, up)
		}
	}
}

// The server has forgotten the changes since the watch broke.
func TestTooOld(t *testing.T) {
	f := newFlaky(t)
	f.put("a")
	rec := record.NewRecorder(record.StartClock(), nil)
	w, err := f.start(t, rec)
	if err != nil {
		t.Fatal(err)
	}
	f.put("b")
	has(t, w, "a b")
	f.set(func() {
		// In one step, so that no watch can send it.
		delete(f.pods, "a")
		f.append("DELETED", pod("a", "a", ""))
		f.oldest = len(f.log)
		f.CloseClientConnections()
	})
	has(t, w, "b")
	w.Stop()
	if got := story(rec); !strings.HasSuffix(got, "GAP relisted -a") {
		t.Errorf("recorded %q, want the state to have been read again", got)
	}
}

// A gap that is open when observing ends is written then.
func TestStopInGap(t *testing.T) {
	f := newFlaky(t)
	rec := record.NewRecorder(record.StartClock(), nil)
	w, err := f.start(t, rec)
	if err != nil {
		t.Fatal(err)
	}
	f.put("a")
	has(t, w, "a")
	f.Listener.Close()
	f.CloseClientConnections()
	refused := rec.Clock.Now()
	time.Sleep(time.Second) // until it is noticed
	w.Stop()
	if g := onlyGap(t, rec); g.To < refused || g.From > g.To {
		t.Errorf("gap %+v, but the server was away from %v until the end", g, refused)
	}
	n := len(rec.Run().Entries)
	w.Stop()
	if m := len(rec.Run().Entries); m != n {
		t.Errorf("the second Stop wrote %d entries", m-n)
	}
}

func TestStartForbidden(t *testing.T) {
	f := newFlaky(t)
	f.refuse = func(p string) *metav1.Status {
		if path.Base(p) != "replicasets" {
			return nil
		}
		s := apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "replicasets"}, "", errClosed).Status()
		return &s
	}
	rec := record.NewRecorder(record.StartClock(), nil)
	_, err := f.start(t, rec)
	if err == nil || !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "replicasets in namespace ns: ") {
		t.Errorf("Start returned %v, want a forbidden list of replicasets", err)
	}
	if g := gaps(rec); g != nil {
		t.Errorf("gaps %+v, but nothing had been observed", g)
	}
}

// TestOptionalForbidden wants a watch without what it can do without: it is asked for once,
// and is no gap.
func TestOptionalForbidden(t *testing.T) {
	f := newFlaky(t)
	var asked atomic.Int64
	f.refuse = func(p string) *metav1.Status {
		if _, admission := record.AdmissionKinds[path.Base(p)]; !admission && path.Base(p) != "resourcequotas" && path.Base(p) != "limitranges" && path.Base(p) != "ns" {
			return nil
		}
		asked.Add(1)
		s := apierrors.NewForbidden(schema.GroupResource{Resource: path.Base(p)}, "", errClosed).Status()
		return &s
	}
	rec := record.NewRecorder(record.StartClock(), nil)
	w, err := f.start(t, rec)
	if err != nil {
		t.Fatal(err)
	}
	f.put("a")
	has(t, w, "a")
	w.Stop()
	if g := gaps(rec); g != nil || asked.Load() > 2*8+1 { // a watch that sends the state, and a list; the namespace once
		t.Errorf("%d requests, gaps %+v", asked.Load(), g)
	}
}

// One request of each kind, however many pods there are.
func TestRequests(t *testing.T) {
	count := func(pods int) map[string]int {
		f := newFlaky(t)
		for i := range pods {
			f.put("p" + strconv.Itoa(i))
		}
		var mu sync.Mutex
		asked := map[string]int{}
		f.refuse = func(p string) *metav1.Status {
			mu.Lock()
			defer mu.Unlock()
			if !strings.Contains(p, "metrics.k8s.io") {
				asked[path.Base(p)]++
			}
			return nil
		}
		w, err := f.start(t, record.NewRecorder(record.StartClock(), nil))
		if err != nil {
			t.Fatal(err)
		}
		f.put("last")
		until(t, w, "all pods", func() bool { return len(w.Pods()) == pods+1 })
		w.Stop()
		return asked
	}
	for _, n := range []int{1, 200} {
		for resource, requests := range count(n) {
			if requests != 1 {
				t.Errorf("%d pods: %d requests for %s, want 1", n, requests, resource)
			}
		}
	}
}
