package watch

import (
	"context"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"

	"github.com/hpabench/hpabench/record"
)

// poller asks for the usage of the target's pods again and again.
type poller struct {
	rec  *record.Recorder
	list func(context.Context) (*metricsv1beta1.PodMetricsList, error)

	gap  gap
	last *record.Instant      // the last answer
	seen map[string]time.Time // the timestamps in it, by pod
}

func podMetrics(c metricsclient.Interface, s Subject, rec *record.Recorder) *poller {
	return &poller{
		rec: rec,
		list: func(ctx context.Context) (*metricsv1beta1.PodMetricsList, error) {
			return c.MetricsV1beta1().PodMetricses(s.Namespace).List(ctx, metav1.ListOptions{LabelSelector: s.Selector})
		},
		gap: gap{rec: rec, source: "podmetrics"},
	}
}

// repeat polls at once and every interval. The ticks of a ticker that fall into a slow request
// are lost, so that none queues up behind it.
func repeat(ctx context.Context, every time.Duration, poll func(context.Context)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		poll(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *poller) poll(ctx context.Context) {
	asked := p.rec.Clock.Now()
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := p.list(request)
	at := p.rec.Clock.Now()
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		// Nothing is known of the time since the last answer.
		if p.last != nil {
			asked = *p.last
		}
		p.gap.fail(asked, err)
		return
	}
	p.gap.end(at)
	p.last = &at

	all, seen, news := samples(list.Items), map[string]time.Time{}, false
	for i := range all {
		s := &all[i]
		before, known := p.seen[s.Pod]
		s.New = !known || !before.Equal(s.Timestamp)
		news = news || s.New
		seen[s.Pod] = s.Timestamp
	}
	if p.seen = seen; news {
		p.rec.AddAt(at, record.Entry{PodMetrics: &record.PodMetrics{Samples: all}})
	}
}

// samples translates a list, sorted by pod.
func samples(items []metricsv1beta1.PodMetrics) []record.Sample {
	var all []record.Sample
	for _, m := range items {
		s := record.Sample{Pod: m.Name, Timestamp: m.Timestamp.Time, Window: m.Window.Seconds()}
		for _, c := range m.Containers {
			s.Containers = append(s.Containers, record.ContainerSample{
				Name: c.Name, CPU: c.Usage.Cpu().AsApproximateFloat64(), Memory: c.Usage.Memory().Value(),
			})
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b record.Sample) int { return strings.Compare(a.Pod, b.Pod) })
	return all
}
