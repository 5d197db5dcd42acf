package watch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/hpabench/hpabench/record"
)

func podMetric(name string, at time.Time) metricsv1beta1.PodMetrics {
	return metricsv1beta1.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Timestamp:  metav1.NewTime(at),
		Window:     metav1.Duration{Duration: 15 * time.Second},
		Containers: []metricsv1beta1.ContainerMetrics{
			{Name: "c", Usage: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("1Ki")}},
			{Name: "side", Usage: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500000n")}},
		},
	}
}

// An interval is a second. Polls at 0, 1 s and so on are answered by turn.
func TestPoller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		answers := []func() ([]metricsv1beta1.PodMetrics, error){
			func() ([]metricsv1beta1.PodMetrics, error) { return nil, errors.New("not there yet") },
			func() ([]metricsv1beta1.PodMetrics, error) { // 1: b comes before a, both are new
				return []metricsv1beta1.PodMetrics{podMetric("b", began), podMetric("a", began)}, nil
			},
			func() ([]metricsv1beta1.PodMetrics, error) { // 2: nothing new
				return []metricsv1beta1.PodMetrics{podMetric("a", began), podMetric("b", began)}, nil
			},
			func() ([]metricsv1beta1.PodMetrics, error) { return nil, errors.New("away") },       // 3
			func() ([]metricsv1beta1.PodMetrics, error) { return nil, errors.New("still away") }, // 4
			func() ([]metricsv1beta1.PodMetrics, error) { // 5: only b is new, and it takes until 7.5
				time.Sleep(2500 * time.Millisecond)
				return []metricsv1beta1.PodMetrics{podMetric("a", began), podMetric("b", began.Add(15*time.Second))}, nil
			},
		}
		var asked []float64
		rec := record.NewRecorder(record.StartClock(), nil)
		p := &poller{rec: rec, gap: gap{rec: rec, source: "podmetrics"}}
		p.list = func(context.Context) (*metricsv1beta1.PodMetricsList, error) {
			asked = append(asked, rec.Clock.Now().Seconds())
			n := min(len(asked), len(answers)) - 1
			if len(asked) > len(answers) {
				return &metricsv1beta1.PodMetricsList{Items: []metricsv1beta1.PodMetrics{podMetric("a", began)}}, nil // nothing new
			}
			items, err := answers[n]()
			return &metricsv1beta1.PodMetricsList{Items: items}, err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 9500*time.Millisecond)
		defer cancel()
		repeat(ctx, time.Second, p.poll)

		// The tick at 6 waited for the slow request, that at 7 was lost.
		if d := cmp.Diff([]float64{0, 1, 2, 3, 4, 5, 7.5, 8, 9}, asked); d != "" {
			t.Errorf("asked at (-want +got):\n%s", d)
		}
		containers := []record.ContainerSample{{Name: "c", CPU: 0.25, Memory: 1024}, {Name: "side", CPU: 0.0015}}
		want := []record.Entry{
			{At: sec(1), Gap: &record.Gap{Source: "podmetrics", From: 0, To: sec(1), Cause: "not there yet"}},
			{At: sec(1), PodMetrics: &record.PodMetrics{Samples: []record.Sample{
				{Pod: "a", New: true, Timestamp: began, Window: 15, Containers: containers},
				{Pod: "b", New: true, Timestamp: began, Window: 15, Containers: containers},
			}}},
			{At: sec(7.5), Gap: &record.Gap{Source: "podmetrics", From: sec(2), To: sec(7.5), Cause: "away"}},
			{At: sec(7.5), PodMetrics: &record.PodMetrics{Samples: []record.Sample{
				{Pod: "a", Timestamp: began, Window: 15, Containers: containers},
				{Pod: "b", New: true, Timestamp: began.Add(15 * time.Second), Window: 15, Containers: containers},
			}}},
		}
		if d := cmp.Diff(want, rec.Run().Entries); d != "" {
			t.Errorf("record (-want +got):\n%s", d)
		}
	})
}
