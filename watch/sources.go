package watch

import (
	"context"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	"github.com/hpabench/hpabench/record"
)

// prepare makes one Reflector a resource, each with its selector and with what
// it records of a change.
func (w *Watcher) prepare(ctx context.Context, c Clients) {
	s := w.subject
	named := func(name string) func(*metav1.ListOptions) {
		return func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
		}
	}
	labelled := func(selector string) func(*metav1.ListOptions) {
		return func(o *metav1.ListOptions) { o.LabelSelector = selector }
	}
	everything := func(*metav1.ListOptions) {}
	core := c.Kube.CoreV1().RESTClient()

	if s.Autoscaler != "" {
		w.autoscaler = addTyped(ctx, w, "horizontalpodautoscalers", &autoscalingv2.HorizontalPodAutoscaler{}, c.Kube.AutoscalingV2().RESTClient(), everything,
			func(c change[*autoscalingv2.HorizontalPodAutoscaler]) {
				if c.now.Name != s.Autoscaler {
					w.changed(c.at, rival(c, s), false)
					return
				}
				w.rec.AddAt(c.at, record.Entry{Autoscaler: &record.Autoscaler{Name: c.now.Name, Deleted: c.removed, Spec: c.now.Spec, Status: c.now.Status}})
				w.changed(c.at, changeOf(autoscalerKind, c, autoscalerFields, anyPath), true)
			})
	}

	if s.ScaledObject != "" {
		w.scaled = addOptional(ctx, w, "scaledobjects", &unstructured.Unstructured{},
			untyped(c.Dynamic.Resource(ScaledObjects).Namespace(s.Namespace), named(s.ScaledObject)),
			func(c change[*unstructured.Unstructured]) {
				is := record.ScaledObjectOf(c.now)
				is.Deleted = c.removed
				w.rec.AddAt(c.at, record.Entry{ScaledObject: is})
				w.changed(c.at, changeOf("ScaledObject", c, scaledFields, showsScaled), true)
			})
	}

	if !s.Target.Empty() {
		w.target = add(ctx, w, s.Target.Resource, &unstructured.Unstructured{},
			untyped(c.Dynamic.Resource(s.Target).Namespace(s.Namespace), named(s.Name)),
			func(c change[*unstructured.Unstructured]) {
				t := targetEntry(c.now, s)
				t.Deleted = c.removed
				w.rec.AddAt(c.at, record.Entry{Target: &t})
				w.changed(c.at, changeOf(s.Kind, c, s.targetFields, showsTarget), true)
			})
	}

	w.sets = addTyped(ctx, w, "replicasets", &appsv1.ReplicaSet{}, c.Kube.AppsV1().RESTClient(), labelled(s.Selector),
		func(c change[*appsv1.ReplicaSet]) {
			w.rec.AddAt(c.at, record.Entry{ReplicaSet: &record.ReplicaSet{Name: c.now.Name, Deleted: c.removed,
				Replicas: ptr.Deref(c.now.Spec.Replicas, 0), Status: c.now.Status.Replicas, Ready: c.now.Status.ReadyReplicas}})
		})

	w.pods = addTyped(ctx, w, "pods", &corev1.Pod{}, core, labelled(s.Selector),
		func(c change[*corev1.Pod]) {
			w.rec.AddAt(c.at, record.Entry{Pod: podEntry(c)})
			if c.removed && c.was.DeletionTimestamp == nil {
				w.wg.Go(func() {
					w.lookForPod(ctx, c, cache.NewFilteredListWatchFromClient(core, "pods", s.Namespace, named(c.now.Name)))
				})
			} else if !c.removed && c.now.DeletionTimestamp == nil {
				w.changed(c.at, changeOf("Pod", c, w.selected, anyPath), false)
			}
		})

	for _, name := range s.Services {
		w.services = append(w.services, addTyped(ctx, w, "services", &corev1.Service{}, core, named(name),
			func(c change[*corev1.Service]) {
				w.changed(c.at, changeOf("Service", c, serviceFields, anyPath), true)
			}))
	}
	if len(s.Services) > 0 {
		w.slices = addTyped(ctx, w, "endpointslices", &discoveryv1.EndpointSlice{}, c.Kube.DiscoveryV1().RESTClient(),
			labelled(discoveryv1.LabelServiceName+" in ("+strings.Join(s.Services, ",")+")"),
			func(c change[*discoveryv1.EndpointSlice]) {
				w.rec.AddAt(c.at, record.Entry{Endpoints: &record.Endpoints{Slice: c.now.Name, Service: c.now.Labels[discoveryv1.LabelServiceName],
					Deleted: c.removed, Endpoints: endpoints(c.now)}})
			})
	}

	addTyped(ctx, w, "events", &corev1.Event{}, core, everything,
		func(c change[*corev1.Event]) {
			if e := eventEntry(c, s, w.rec.Clock.Start().Add(-s.Past)); e != nil {
				w.rec.AddAt(c.at, record.Entry{Event: e})
				if e.Type == corev1.EventTypeWarning {
					w.mu.Lock()
					w.mu.warnings[c.now.UID] = *e
					w.mu.Unlock()
				}
				if strings.Contains(e.Message, "violates PodSecurity") { // k8s.io/pod-security-admission/admission, EvaluatePod
					w.wg.Go(func() { w.lookAtNamespace(ctx, c.at) })
				}
			}
		})

	// Nothing but the name of who refuses or changes pods depends on these.
	addOptional(ctx, w, "resourcequotas", &corev1.ResourceQuota{}, cache.NewFilteredListWatchFromClient(core, "resourcequotas", s.Namespace, everything),
		func(c change[*corev1.ResourceQuota]) {
			w.changed(c.at, boundOf("ResourceQuota", c, func(o *corev1.ResourceQuota) map[string]any { return map[string]any{"spec": generic(o.Spec)} }), false)
		})
	addOptional(ctx, w, "limitranges", &corev1.LimitRange{}, cache.NewFilteredListWatchFromClient(core, "limitranges", s.Namespace, everything),
		func(c change[*corev1.LimitRange]) {
			w.changed(c.at, boundOf("LimitRange", c, func(o *corev1.LimitRange) map[string]any { return map[string]any{"spec": generic(o.Spec)} }), false)
		})
	for resource, kind := range record.AdmissionKinds {
		addOptional(ctx, w, resource, &unstructured.Unstructured{},
			untyped(c.Dynamic.Resource(admissionregistrationv1.SchemeGroupVersion.WithResource(resource)), everything),
			func(c change[*unstructured.Unstructured]) {
				for _, is := range admissionChanges(kind, c) {
					w.changed(c.at, is, false)
				}
			})
	}
}

// untyped lists and watches a resource of which there is no Go type here, or several alike.
func untyped(r dynamic.ResourceInterface, bound func(*metav1.ListOptions)) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			bound(&o)
			return r.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			bound(&o)
			return r.Watch(ctx, o)
		},
	}
}

// retry is the Reflector's pause between attempts: short, so that a gap is at
// most a second longer than its cause.
var retry = wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 10, Cap: time.Second}

// addTyped adds a source of which there is a Go type.
func addTyped[T object](ctx context.Context, w *Watcher, resource string, of T, client cache.Getter, bound func(*metav1.ListOptions), observe func(change[T])) *store[T] {
	return add(ctx, w, resource, of, cache.NewFilteredListWatchFromClient(client, resource, w.subject.Namespace, bound), observe)
}

func add[T object](ctx context.Context, w *Watcher, source string, of T, lw *cache.ListWatch, observe func(change[T])) *store[T] {
	where := " in namespace " + w.subject.Namespace
	if record.AdmissionKinds[source] != "" {
		where = ""
	}
	f := &feed{
		ListWatch: lw,
		ctx:       ctx,
		rec:       w.rec,
		wg:        &w.wg,
		source:    source + where,
		up:        make(chan struct{}),
		fatal:     w.fatal,
		gap:       gap{rec: w.rec, source: source},
	}
	s := &store[T]{Store: cache.NewStore(cache.MetaNamespaceKeyFunc), feed: f, observe: observe, after: w.refresh}
	w.feeds = append(w.feeds, f)
	w.reflectors = append(w.reflectors, cache.NewReflectorWithOptions(f, of, s, cache.ReflectorOptions{
		Name: source, Logger: &klog.Logger{}, Backoff: &retry,
	}))
	return s
}

// addOptional adds a source that can be done without where the user may not read it or the
// server does not have it.
func addOptional[T object](ctx context.Context, w *Watcher, source string, of T, lw *cache.ListWatch, observe func(change[T])) *store[T] {
	ctx, end := context.WithCancel(ctx)
	s := add(ctx, w, source, of, lw, observe)
	s.feed.giveUp = end
	return s
}

// ScaledObjects are those of KEDA.
var ScaledObjects = schema.GroupVersionResource{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledobjects"}
