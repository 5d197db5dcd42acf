package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"k8s.io/metrics/pkg/client/custom_metrics"
	"k8s.io/metrics/pkg/client/external_metrics"

	"github.com/hpabench/hpabench/record"
)

// Signals are the clients by which the HPA controller reads metrics that metrics.k8s.io does not have. Their
// rest.Config should have a Timeout, as they take no context.
type Signals struct {
	Custom   custom_metrics.CustomMetricsClient
	External external_metrics.ExternalMetricsClient
}

// Read reads a metric of an HPA in a namespace, whose pods match a selector, as the HPA controller does. An error that the
// API server or the adapter answered is in the Signal; the error is of a request without an answer, of one that this user may
// not send, which says nothing of what the HPA gets, or of a metric that these APIs do not have.
func (c Signals) Read(m autoscalingv2.MetricSpec, namespace, pods string) (*record.Signal, error) {
	name, _ := record.MetricTarget(m)
	s := &record.Signal{Metric: name}
	is, err := metricOf(m)
	if err != nil {
		return nil, err
	}
	selector := labels.Everything()
	if is.Selector != nil {
		if selector, err = metav1.LabelSelectorAsSelector(is.Selector); err != nil {
			return nil, fmt.Errorf("the selector of metric %s: %w", name, err)
		}
	}
	var latest time.Time
	take := func(t metav1.Time) {
		if t.After(latest) {
			latest = t.Time
		}
	}
	switch {
	case m.Pods != nil:
		of, err := labels.Parse(pods)
		if err != nil {
			return nil, fmt.Errorf("the selector of the pods: %w", err)
		}
		list, err := c.Custom.NamespacedMetrics(namespace).GetForObjects(schema.GroupKind{Kind: "Pod"}, of, is.Name, selector)
		if err != nil {
			return answered(s, err)
		}
		for _, v := range list.Items {
			take(v.Timestamp)
			s.Pods = append(s.Pods, record.PodSignal{Pod: v.DescribedObject.Name, Value: v.Value})
		}
		slices.SortFunc(s.Pods, func(a, b record.PodSignal) int { return strings.Compare(a.Pod, b.Pod) })
		if len(s.Pods) == 0 {
			s.Error = "no metrics returned from custom metrics API" // as the HPA controller says
		}
	case m.Object != nil:
		of := m.Object.DescribedObject
		kind := schema.FromAPIVersionAndKind(of.APIVersion, of.Kind).GroupKind()
		var v *v1beta2.MetricValue
		if kind.Kind == "Namespace" && kind.Group == "" {
			v, err = c.Custom.RootScopedMetrics().GetForObject(kind, namespace, is.Name, selector)
		} else {
			v, err = c.Custom.NamespacedMetrics(namespace).GetForObject(kind, of.Name, is.Name, selector)
		}
		if err != nil {
			return answered(s, err)
		}
		take(v.Timestamp)
		s.Value = &v.Value
	default:
		list, err := c.External.NamespacedMetrics(namespace).List(is.Name, selector)
		if err != nil {
			return answered(s, err)
		}
		sum := int64(0)
		for _, v := range list.Items {
			take(v.Timestamp)
			sum += v.Value.MilliValue()
		}
		if s.Value = resource.NewMilliQuantity(sum, resource.DecimalSI); len(list.Items) == 0 {
			s.Value, s.Error = nil, "no metrics returned from external metrics API"
		}
	}
	if s.Error == "" {
		s.Timestamp = &latest
	}
	return s, nil
}

func metricOf(m autoscalingv2.MetricSpec) (autoscalingv2.MetricIdentifier, error) {
	switch {
	case m.Pods != nil:
		return m.Pods.Metric, nil
	case m.Object != nil:
		return m.Object.Metric, nil
	case m.External != nil:
		return m.External.Metric, nil
	}
	return autoscalingv2.MetricIdentifier{}, fmt.Errorf("a metric of type %s is in metrics.k8s.io", m.Type)
}

// answered puts an error that was an answer into s, and gives any other.
func answered(s *record.Signal, err error) (*record.Signal, error) {
	if !errors.As(err, new(apierrors.APIStatus)) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		return nil, err
	}
	s.Error = record.Cut(err.Error())
	return s, nil
}

// signals asks for the metrics of the HPA as it is, again and again.
type signals struct {
	w       *Watcher
	clients Signals
	mu      sync.Mutex // of the metrics
	metrics map[string]*signal
}

// signal is what was read of a metric.
type signal struct {
	gap      gap
	asked    bool           // and not answered yet
	told     *record.Signal // what is in the record
	at       record.Instant // since when
	answered record.Instant // the last answer
}

// poll asks for each metric whose last answer is there: a slow adapter holds up no other metric, and, as the clients take no
// context, no end of the run. A metric that the HPA has no more is not away.
func (s *signals) poll(ctx context.Context) {
	hpa := s.w.Autoscaler()
	s.mu.Lock()
	defer s.mu.Unlock()
	has := map[string]bool{}
	if hpa != nil {
		for _, m := range hpa.Spec.Metrics {
			name, _ := record.MetricTarget(m)
			if record.CustomMetric(m) == "" || has[name] {
				continue
			}
			has[name] = true
			of := s.metrics[name]
			if of == nil {
				of = &signal{gap: gap{rec: s.w.rec, source: record.SignalSource(name)}}
				s.metrics[name] = of
			}
			if !of.asked {
				of.asked = true
				go s.read(ctx, of, m)
			}
		}
	}
	for name, of := range s.metrics {
		if !has[name] {
			of.gap.end(s.w.rec.Clock.Now())
			delete(s.metrics, name)
		}
	}
}

func (s *signals) read(ctx context.Context, of *signal, m autoscalingv2.MetricSpec) {
	asked := s.w.rec.Clock.Now()
	now, err := s.clients.Read(m, s.w.subject.Namespace, s.w.subject.Selector)
	at := s.w.rec.Clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if of.asked = false; ctx.Err() != nil {
		return
	}
	if err != nil {
		if of.answered > 0 {
			asked = of.answered // nothing is known of the time since
		}
		of.gap.fail(asked, err)
		return
	}
	of.gap.end(at)
	of.answered = at
	if of.told == nil || !of.told.Same(now) || at.Sub(of.at) >= record.SignalEvery {
		of.told, of.at = now, at
		s.w.rec.AddAt(at, record.Entry{Signal: now})
	}
}

// SignalErrors are what the adapters last answered in place of values of the HPA's metrics, and how many of these have a value.
func (w *Watcher) SignalErrors() (errors []string, values int) {
	w.signals.mu.Lock()
	defer w.signals.mu.Unlock()
	for _, of := range w.signals.metrics {
		switch {
		case of.told == nil:
		case of.told.Error == "":
			values++
		default:
			errors = append(errors, of.told.Error)
		}
	}
	slices.Sort(errors)
	return errors, values
}

// end writes the gaps that are open.
func (s *signals) end(now record.Instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range s.metrics {
		of.gap.end(now)
	}
}
