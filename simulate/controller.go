// Package simulate runs the HPA controller of Kubernetes itself, unmodified, in virtual
// time: in a bubble of testing/synctest, whose clock leaps to the next timer whenever all
// goroutines wait.
package simulate

import (
	"context"
	"errors"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/cache"
	defaults "k8s.io/kubernetes/pkg/apis/autoscaling/v2"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"

	"github.com/hpabench/hpabench/record"
)

// Workload is what the controller sees of a Deployment and does to it. Its methods are
// called from the controller's goroutine, and must lock what others change.
type Workload interface {
	// Replicas are those of the scale: asked for, and there. Each sync begins with this call.
	Replicas() (spec, status int32)
	// SetReplicas is the controller's write of the scale.
	SetReplicas(n int32)
	// Pods is a NewStore in which the pods with the label of Selector are, with all that
	// the controller goes by: phase, startTime, Ready and what they request.
	Pods() cache.Indexer
	// Usage is what metrics.k8s.io tells now of the pods, by name: milli-cores, or
	// thousandths of a byte. container is empty for the sum over a pod's containers.
	Usage(resource corev1.ResourceName, container string) metrics.PodMetricsInfo
	// Custom is what an adapter tells now of a custom metric of the pods, in thousandths.
	Custom(name string) metrics.PodMetricsInfo
	// External is what KEDA tells now of a metric, in thousandths; of is false if it is none of KEDA's.
	External(name string) (thousandths int64, of bool, err error)
	// Outside is what others than the pods show now of a metric: pods around them, and sources outside the cluster.
	Outside(metric string) (value float64, known bool)
	// Read is called with what the controller reads of custom metrics.
	Read(record.Signal)
}

// Selector is that of the scale; Label and Workload's pods must agree with it.
const (
	Label    = "app"
	Selector = Label + "=workload"
)

// Prepare makes the process fit for bubbles, once and before the first. An error that a
// controller meets would otherwise wait by a clock that all of the process shares, and
// so for years where a bubble's stands in the year 2000.
func Prepare() { utilruntime.ErrorHandlers = nil }

// NewStore is an empty store of objects, as a lister reads it.
func NewStore() cache.Indexer {
	return cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
}

// latency is how long a watch takes to tell. From 0.5 to 2 ms the curves of six library scenarios are the same.
const latency = time.Millisecond

// Autoscale lets the controller act for an HPA until ctx is done; its first sync is now.
// It is to be called in a bubble, with a logger in ctx. What the HPA's spec leaves out is set as the API server
// does. status is called with each new status of it, event with its events.
func Autoscale(ctx context.Context, flags Controllers, hpa *autoscalingv2.HorizontalPodAutoscaler, w Workload, status func(autoscalingv2.HorizontalPodAutoscalerStatus), event func(*corev1.Event)) {
	hpa = hpa.DeepCopy()
	hpa.Spec = withDefaults(hpa.Spec)
	c := &cluster{Workload: w, call: flags.Latency.Duration, hpas: NewStore(), status: status}
	if err := c.hpas.Add(hpa); err != nil {
		panic(err) // its key can always be made
	}
	controller := podautoscaler.NewHorizontalController(ctx, events{seen: event}, scales{cluster: c}, autoscalers{cluster: c}, mapper{}, meter{cluster: c},
		hpaInformer{informer{store: c.hpas, heard: &c.heard}}, podInformer{informer{store: w.Pods(), heard: new(cache.ResourceEventHandler)}},
		flags.Sync.Duration, flags.DownscaleStabilization.Duration, flags.Tolerance, flags.CPUInitialization.Duration, flags.InitialReadiness.Duration)
	c.heard.OnAdd(hpa, true)
	controller.Run(ctx, 1)
	c.watch.Wait()
}

// withDefaults is a spec as the API server keeps it.
func withDefaults(spec autoscalingv2.HorizontalPodAutoscalerSpec) autoscalingv2.HorizontalPodAutoscalerSpec {
	hpa := &autoscalingv2.HorizontalPodAutoscaler{Spec: *spec.DeepCopy()}
	defaults.SetDefaults_HorizontalPodAutoscaler(hpa)
	defaults.SetDefaults_HorizontalPodAutoscalerBehavior(hpa)
	return hpa.Spec
}

// As the controller's own client says it.
var (
	errNoMetrics = errors.New("no metrics returned from resource metrics API")
	errNoCustom  = errors.New("no metrics returned from custom metrics API")
	errExternal  = errors.New("no metrics returned from external metrics API")
)
