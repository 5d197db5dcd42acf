package simulate

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	autoscalingclient "k8s.io/client-go/kubernetes/typed/autoscaling/v2"
	v1core "k8s.io/client-go/kubernetes/typed/core/v1"
	autoscalinglisters "k8s.io/client-go/listers/autoscaling/v2"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"

	"github.com/hpabench/hpabench/record"
)

// The controller's clients, of which each has just the calls that it makes: any other
// would panic. client-go's fake clientset is many times slower.

type cluster struct {
	Workload
	call   time.Duration // takes this long
	hpas   cache.Indexer
	heard  cache.ResourceEventHandler // of the controller, for HPAs
	watch  sync.WaitGroup             // of HPAs; a bubble must not end before it
	status func(autoscalingv2.HorizontalPodAutoscalerStatus)
}

type scales struct {
	scale.ScaleInterface
	*cluster
}

func (s scales) Scales(string) scale.ScaleInterface { return s }

func (s scales) Get(_ context.Context, _ schema.GroupResource, name string, _ metav1.GetOptions) (*autoscalingv1.Scale, error) {
	time.Sleep(s.call)
	spec, status := s.Replicas()
	return &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       autoscalingv1.ScaleSpec{Replicas: spec},
		Status:     autoscalingv1.ScaleStatus{Replicas: status, Selector: Selector},
	}, nil
}

func (s scales) Update(_ context.Context, _ schema.GroupResource, to *autoscalingv1.Scale, _ metav1.UpdateOptions) (*autoscalingv1.Scale, error) {
	time.Sleep(s.call)
	s.SetReplicas(to.Spec.Replicas)
	return to, nil
}

type autoscalers struct {
	autoscalingclient.HorizontalPodAutoscalerInterface
	*cluster
}

func (a autoscalers) HorizontalPodAutoscalers(string) autoscalingclient.HorizontalPodAutoscalerInterface {
	return a
}

func (a autoscalers) UpdateStatus(_ context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, _ metav1.UpdateOptions) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	time.Sleep(a.call)
	hpa = hpa.DeepCopy()
	old, _, err := a.hpas.Get(hpa)
	if err == nil {
		err = a.hpas.Update(hpa)
	}
	if err != nil {
		return nil, err
	}
	a.status(hpa.Status)
	a.watch.Go(func() { // after the answer
		time.Sleep(latency)
		a.heard.OnUpdate(old, hpa)
	})
	return hpa, nil
}

type meter struct {
	metrics.MetricsClient
	*cluster
}

func (m meter) GetResourceMetric(_ context.Context, of corev1.ResourceName, _ string, _ labels.Selector, container string) (metrics.PodMetricsInfo, time.Time, error) {
	time.Sleep(m.call)
	usage := m.Usage(of, container)
	if len(usage) == 0 {
		return nil, time.Time{}, errNoMetrics
	}
	return usage, time.Now(), nil
}

func (m meter) GetRawMetric(name, _ string, _, _ labels.Selector) (metrics.PodMetricsInfo, time.Time, error) {
	values, at, err := m.values(name)
	is := record.Signal{Metric: metricName(autoscalingv2.MetricSpec{Pods: &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: name}}})}
	for _, pod := range slices.Sorted(maps.Keys(values)) {
		is.Pods = append(is.Pods, record.PodSignal{Pod: pod, Value: *resource.NewMilliQuantity(values[pod].Value, resource.DecimalSI)})
	}
	m.Read(is)
	return values, at, err
}

func metricName(of autoscalingv2.MetricSpec) string {
	name, _ := record.MetricTarget(of)
	return name
}

func (m meter) values(name string) (metrics.PodMetricsInfo, time.Time, error) {
	time.Sleep(m.call)
	values := m.Custom(name)
	if len(values) == 0 {
		return nil, time.Time{}, errNoCustom
	}
	return values, time.Now(), nil
}

// sum is what GetObjectMetric and GetExternalMetric tell: that of the pods, and of a source outside.
func (m meter) sum(name string, of autoscalingv2.MetricSpec) (sum int64, at time.Time, err error) {
	values, at, err := m.values(name)
	for _, v := range values {
		sum += v.Value
	}
	if outside, known := m.Outside(name); known {
		sum, at, err = sum+int64(math.Round(outside*1000)), time.Now(), nil
	}
	if err != nil && of.External != nil {
		err = errExternal
	}
	if err == nil {
		m.Read(record.Signal{Metric: metricName(of), Value: resource.NewMilliQuantity(sum, resource.DecimalSI)})
	}
	return sum, at, err
}

func (m meter) GetObjectMetric(name, _ string, of *autoscalingv2.CrossVersionObjectReference, _ labels.Selector) (sum int64, at time.Time, err error) {
	return m.sum(name, autoscalingv2.MetricSpec{Object: &autoscalingv2.ObjectMetricSource{DescribedObject: *of, Metric: autoscalingv2.MetricIdentifier{Name: name}}})
}

func (m meter) GetExternalMetric(name, _ string, _ labels.Selector) ([]int64, time.Time, error) {
	if value, of, err := m.External(name); of { // which is watched beside the HPA
		time.Sleep(m.call)
		return []int64{value}, time.Now(), err
	}
	sum, at, err := m.sum(name, external(name))
	return []int64{sum}, at, err
}

type mapper struct{ meta.RESTMapper }

func (mapper) RESTMappings(kind schema.GroupKind, _ ...string) ([]*meta.RESTMapping, error) {
	return []*meta.RESTMapping{{Resource: schema.GroupVersionResource{Group: kind.Group, Resource: kind.Kind}, GroupVersionKind: kind.WithVersion("")}}, nil
}

type events struct {
	v1core.EventInterface
	seen func(*corev1.Event)
}

func (e events) Events(string) v1core.EventInterface { return e }

func (e events) CreateWithEventNamespace(is *corev1.Event) (*corev1.Event, error) {
	e.seen(is)
	return is, nil
}

func (e events) PatchWithEventNamespace(is *corev1.Event, _ []byte) (*corev1.Event, error) {
	e.seen(is)
	return is, nil
}

type informer struct {
	cache.SharedIndexInformer
	store cache.Indexer
	heard *cache.ResourceEventHandler
}

func (i informer) HasSynced() bool       { return true }
func (i informer) GetStore() cache.Store { return i.store }

func (i informer) AddEventHandlerWithResyncPeriod(h cache.ResourceEventHandler, _ time.Duration) (cache.ResourceEventHandlerRegistration, error) {
	*i.heard = h
	return nil, nil
}

type hpaInformer struct{ informer }

func (i hpaInformer) Informer() cache.SharedIndexInformer { return i.informer }

func (i hpaInformer) Lister() autoscalinglisters.HorizontalPodAutoscalerLister {
	return autoscalinglisters.NewHorizontalPodAutoscalerLister(i.store)
}

type podInformer struct{ informer }

func (i podInformer) Informer() cache.SharedIndexInformer { return i.informer }
func (i podInformer) Lister() corelisters.PodLister       { return corelisters.NewPodLister(i.store) }
