// Package watch observes what a cluster does with one scaled object, and when,
// and writes what it sees into a record.
//
// Everything but the usage of the pods arrives by watch: the autoscaler and others that
// scale the same object, its target, ReplicaSets, pods, Services, EndpointSlices,
// events, and, where that is allowed, the ResourceQuotas and LimitRanges of the
// namespace and the webhooks and admission policies of the cluster. Each watch is a
// client-go Reflector, without the queue of an informer behind it, so that no change is
// delayed or folded into the next one. The instant of an observation
// is read as soon as its object has been decoded. PodMetrics and the HPA's custom and external metrics cannot be watched
// and are polled.
//
// A stretch in which a source could not be observed is recorded as a Gap, even
// one of milliseconds. A connection that dies without a word is only noticed
// when the HTTP/2 health check of client-go gives it up, after up to 45
// seconds: the gap of a watch starts there, while the gap of the PodMetrics,
// which are asked for all the time, shows the true start.
//
// The number of API requests does not depend on the number of pods: one watch
// a resource, bounded by namespace and name or selector (but for webhooks and admission
// policies, which are the cluster's), and one list of PodMetrics and one request for each custom or external metric an
// interval. HPAs are
// watched in all of the namespace: one that appears there can scale the same object.
package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"

	"github.com/hpabench/hpabench/record"
)

// Subject says what to observe.
type Subject struct {
	Namespace string
	// Target and Kind are the same type of the scaled object, in both its
	// forms: apps/v1 deployments, Deployment. The object is not watched when
	// Target is empty, because the cluster does not know its kind.
	Target schema.GroupVersionResource
	Kind   string
	Name   string
	// ReplicasPath and StatusPath are the paths of the target's scale
	// subresource, as a CustomResourceDefinition gives them. Default:
	// .spec.replicas and .status.replicas.
	ReplicasPath, StatusPath string
	// Autoscaler is the name of the HPA; it is not watched when empty.
	Autoscaler string
	// ScaledObject is the name of that of KEDA that the HPA was made of; empty without one.
	ScaledObject string
	// Selector is the label selector of the target's pods.
	Selector string
	// Services are those in front of the target that are to be watched, with their
	// EndpointSlices; none are when it is empty.
	Services []string
	// Past is how much older than the record events may be that are there when
	// the watch opens. Default: none of them is recorded.
	Past time.Duration
}

// Clients are the ways to the API server. Their rest.Config should have a QPS
// of -1, or at least of 10 beyond what others use them for: a poll that waits
// for its turn is read late. It should have no Timeout, which would end every
// watch.
type Clients struct {
	Kube    kubernetes.Interface
	Dynamic dynamic.Interface
	Metrics metricsclient.Interface
	Signals Signals
}

// Watcher observes one Subject. Its methods may be called from any goroutine.
// Objects and slices that they return are shared: they must not be changed.
type Watcher struct {
	subject    Subject
	rec        *record.Recorder
	cancel     context.CancelFunc
	wg         sync.WaitGroup
	feeds      []*feed
	fatal      chan error // what makes it hopeless to wait for the feeds
	reflectors []*cache.Reflector

	autoscaler *store[*autoscalingv2.HorizontalPodAutoscaler] // nil when not watched
	scaled     *store[*unstructured.Unstructured]             // likewise; KEDA's
	target     *store[*unstructured.Unstructured]             // likewise
	pods       *store[*corev1.Pod]
	sets       *store[*appsv1.ReplicaSet]
	slices     *store[*discoveryv1.EndpointSlice] // nil when not watched
	services   []*store[*corev1.Service]
	metrics    *poller
	signals    *signals
	namespaces typedcorev1.NamespaceInterface

	ready atomic.Pointer[[]string]
	mu    struct {
		sync.Mutex
		changed   chan struct{}
		warnings  map[types.UID]record.Event
		lost      []record.Change
		namespace *corev1.Namespace // at the last look; nil if it may not be read
	}
}

// startTimeout bounds how long Start waits for the watches.
const startTimeout = 30 * time.Second

// Start begins to observe s and to write into rec, polling PodMetrics, and each metric of the HPA that is not of
// metrics.k8s.io, once per interval every. It returns when the state of every watched resource is known
// and its watch is open, or with an error that names the resource that could
// not be read. Objects that do not exist yet are no error.
//
// Observing ends with ctx; Stop must be called all the same.
func Start(ctx context.Context, c Clients, s Subject, rec *record.Recorder, every time.Duration) (*Watcher, error) {
	// The empty logger keeps what client-go has to say from the terminal.
	ctx, cancel := context.WithCancel(klog.NewContext(ctx, klog.Logger{}))
	w := &Watcher{subject: s, rec: rec, cancel: cancel, fatal: make(chan error, 1)}
	w.mu.changed = make(chan struct{})
	w.mu.warnings = map[types.UID]record.Event{}
	w.ready.Store(new([]string))

	w.metrics, w.namespaces = podMetrics(c.Metrics, s, rec), c.Kube.CoreV1().Namespaces()
	w.signals = &signals{w: w, clients: c.Signals, metrics: map[string]*signal{}}
	w.prepare(ctx, c)
	for i, r := range w.reflectors {
		w.wg.Go(func() { r.RunWithContext(w.feeds[i].ctx) })
	}
	if err := w.await(ctx); err != nil {
		w.Stop()
		return nil, err
	}
	w.wg.Go(func() { repeat(ctx, every, w.metrics.poll) })
	w.wg.Go(func() { repeat(ctx, every, w.signals.poll) })
	w.wg.Go(func() { w.lookAtNamespace(ctx, w.rec.Clock.Now()) })
	return w, nil
}

func (w *Watcher) await(ctx context.Context) error {
	late := time.NewTimer(startTimeout)
	defer late.Stop()
	for _, f := range w.feeds {
		select {
		case <-f.up:
		case err := <-w.fatal:
			return err
		case <-late.C:
			return fmt.Errorf("watching %s: not there after %v: %w", f.source, startTimeout, cmp.Or(f.lastError(), errNoAnswer))
		case <-ctx.Done():
			return fmt.Errorf("watching %s: %w", f.source, context.Cause(ctx))
		}
	}
	return nil
}

var errNoAnswer = errors.New("no answer from the API server")

// Stop ends observing, waits until nothing more is written and writes the gaps
// that are still open. While the API server is away it can take a second.
func (w *Watcher) Stop() {
	w.cancel()
	w.wg.Wait()
	now := w.rec.Clock.Now()
	for _, f := range w.feeds {
		f.stop(now)
	}
	w.metrics.gap.end(now)
	w.signals.end(now)
}

// Changed returns a channel that is closed at the next change of anything that
// the other methods return. Take it before looking, so that no change is missed
// in between.
func (w *Watcher) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.changed
}

// refresh is called after every change.
func (w *Watcher) refresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	// Worked out here and not where it is asked for, which is for each request.
	var ready []string
	if w.slices != nil {
		ready = readyBySlices(w.pods.list(), w.slices.list())
	} else {
		ready = readyByCondition(w.pods.list())
	}
	w.ready.Store(&ready)
	close(w.mu.changed)
	w.mu.changed = make(chan struct{})
}

// Services are the names of those in front of the target that are watched.
func (w *Watcher) Services() []string { return w.subject.Services }

// Pods returns the target's pods as they are now, by name.
func (w *Watcher) Pods() []*corev1.Pod {
	pods := w.pods.list()
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return pods
}

// ReadyPods returns the names of the target's pods that take requests, sorted:
// those that are ready in an EndpointSlice of the services, or, when no service
// is watched, those whose condition Ready is true. Pods that are being deleted
// are not among them. It costs no more than a load from memory.
func (w *Watcher) ReadyPods() []string { return *w.ready.Load() }

// Autoscaler returns the HPA as it is now, nil if it is not there.
func (w *Watcher) Autoscaler() *autoscalingv2.HorizontalPodAutoscaler {
	if w.autoscaler == nil {
		return nil
	}
	return w.autoscaler.named(w.subject.Autoscaler)
}

// ScaledObject returns KEDA's object as it is now, nil if it is not there.
func (w *Watcher) ScaledObject() *record.ScaledObject {
	if w.scaled == nil {
		return nil
	}
	if o := w.scaled.named(w.subject.ScaledObject); o != nil {
		return record.ScaledObjectOf(o)
	}
	return nil
}

// Target returns the scaled object as it is now; false if it is not there.
func (w *Watcher) Target() (record.Target, bool) {
	if w.target == nil {
		return record.Target{}, false
	}
	if o := w.target.named(w.subject.Name); o != nil {
		return targetEntry(o, w.subject), true
	}
	return record.Target{}, false
}

// Lost returns the deletions that were seen of the HPA, its ScaledObject, the target and the Services, in
// their order. What is made again under the same name is another object: it stays lost.
func (w *Watcher) Lost() []record.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.mu.lost)
}

// Warnings returns the recorded events of type Warning about the subject, each
// with its latest count, by time.
func (w *Watcher) Warnings() []record.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Values(w.mu.warnings), func(a, b record.Event) int { return a.Time.Compare(b.Time) })
}
