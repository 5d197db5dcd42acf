package watch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
	"k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
	"k8s.io/metrics/pkg/client/external_metrics"

	"github.com/hpabench/hpabench/record"
)

// adapter serves external metrics by functions.
type adapter map[string]func() (string, error)

func (a adapter) NamespacedMetrics(string) external_metrics.MetricsInterface { return a }

func (a adapter) List(name string, _ labels.Selector) (*v1beta1.ExternalMetricValueList, error) {
	value, err := a[name]()
	if err != nil {
		return nil, err
	}
	return &v1beta1.ExternalMetricValueList{Items: []v1beta1.ExternalMetricValue{{MetricName: name, Value: resource.MustParse(value)}}}, nil
}

// A metric is asked for each second though another does not answer, an error that is an answer is recorded as such and any
// other as a gap, which is over when the HPA has the metric no more.
func TestSignals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := record.NewRecorder(record.StartClock(), nil)
		w := &Watcher{subject: Subject{Namespace: "shop", Autoscaler: "web"}, rec: rec, autoscaler: &store[*autoscalingv2.HorizontalPodAutoscaler]{Store: cache.NewStore(cache.MetaNamespaceKeyFunc)}}
		set := func(metrics ...string) {
			hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "web"}}
			for _, name := range metrics {
				hpa.Spec.Metrics = append(hpa.Spec.Metrics, autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: name}}})
			}
			if err := w.autoscaler.Store.Add(hpa); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		after := func(s float64) bool { return time.Since(began).Seconds() > s }
		s := &signals{w: w, metrics: map[string]*signal{}, clients: Signals{External: adapter{
			"quick": func() (string, error) {
				switch {
				case after(6.5):
					return "", apierrors.NewServiceUnavailable("the adapter is away")
				case after(3.5):
					return "9", nil
				}
				return "7", nil
			},
			"slow": func() (string, error) {
				time.Sleep(4500 * time.Millisecond)
				return "", errors.New("no answer")
			},
		}}}
		set("quick", "slow")
		time.AfterFunc(7500*time.Millisecond, func() { set("quick") })
		ctx, cancel := context.WithTimeout(t.Context(), 9500*time.Millisecond)
		defer cancel()
		repeat(ctx, time.Second, s.poll)
		s.end(rec.Clock.Now())
		synctest.Wait()
		time.Sleep(5 * time.Second) // until the answers that nobody waits for

		type told struct {
			At    float64
			Value string
		}
		var got []told
		for _, e := range rec.Run().Entries {
			switch {
			case e.Signal != nil && e.Signal.Value != nil:
				got = append(got, told{e.At.Seconds(), e.Signal.Value.String()})
			case e.Signal != nil:
				got = append(got, told{e.At.Seconds(), e.Signal.Error})
			}
		}
		if d := cmp.Diff([]told{{0, "7"}, {4, "9"}, {7, "the adapter is away"}}, got); d != "" {
			t.Errorf("signals (-want +got):\n%s", d)
		}
		if d := cmp.Diff([]record.Gap{{Source: "metric external slow", From: 0, To: sec(8), Cause: "no answer"}}, gaps(rec)); d != "" {
			t.Errorf("gaps (-want +got):\n%s", d)
		}
	})
}
