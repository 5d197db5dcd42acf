package lab

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/hpabench/hpabench/signals"
)

// sources are what sources outside the cluster show, by the ConfigMaps that say so.
type sources struct {
	mu sync.Mutex
	of map[types.NamespacedName]source
}

type source struct {
	courses map[string]*signals.Course
	began   time.Time
}

// follow reads the ConfigMaps until ctx is done, and lets a Prometheus scrape what they say, unless it is nil.
func (s *sources) follow(ctx context.Context, client kubernetes.Interface, prometheus *signals.Store) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = signals.CourseLabel }))
	informer := factory.Core().V1().ConfigMaps().Informer()
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { s.take(ctx, o.(*corev1.ConfigMap)) },
		UpdateFunc: func(_, o any) { s.take(ctx, o.(*corev1.ConfigMap)) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			is := o.(*corev1.ConfigMap)
			delete(s.of, types.NamespacedName{Namespace: is.Namespace, Name: is.Name})
		},
	})
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	if prometheus == nil {
		<-ctx.Done()
		return
	}
	ticker := time.NewTicker(prometheus.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.scrape(prometheus)
		}
	}
}

func (s *sources) take(ctx context.Context, is *corev1.ConfigMap) {
	of := source{courses: map[string]*signals.Course{}, began: is.CreationTimestamp.Time}
	if at, err := time.Parse(time.RFC3339Nano, is.Annotations[signals.BeganAnnotation]); err == nil {
		of.began = at
	}
	for name, text := range is.Data {
		c, err := signals.ParseCourse(text)
		if err != nil {
			klog.FromContext(ctx).Error(err, "Reading a course", "configMap", klog.KObj(is), "metric", name)
			continue
		}
		of.courses[name] = c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[types.NamespacedName{Namespace: is.Namespace, Name: is.Name}] = of
}

// value is the sum of what the sources of a namespace show now of a metric.
func (s *sources) value(namespace, metric string) (sum float64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, of := range s.of {
		if c := of.courses[metric]; c != nil && at.Namespace == namespace {
			if v, err := c.At(time.Since(of.began)); err == nil {
				sum, known = sum+v, true
			}
		}
	}
	return sum, known
}

func (s *sources) scrape(to *signals.Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for at, of := range s.of {
		for name, c := range of.courses {
			if v, err := c.At(now.Sub(of.began)); err == nil {
				to.Add(signals.Series(name, "job", "outside", "namespace", at.Namespace, "source", at.Name), now, v)
			}
		}
	}
}
