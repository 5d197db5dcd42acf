package simulate

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
)

// scraped lets a pod that starts be scraped.
func (w *world) scraped(p *pod) {
	if w.scaler != nil {
		w.collected(p)
	}
	p.shows = w.adapt(&w.Plant.Workload, p.random, func() (c model.Counts, listens, gone bool) {
		return model.Counts{Answered: p.answered, InFlight: w.inFlight(p)}, p.listens, !p.runs && p.deleted
	})
}

// adapted is what an adapter's Prometheus has read of a modelled pod, by metric.
type adapted struct {
	metrics  map[string]model.Metric
	readings map[string][]model.Reading
}

// adapt reads the metrics of a pod that listens until it is gone, each from a point of its period that is its own (Prometheus takes it
// from a hash of the target).
func (w *world) adapt(m *model.Model, random *rand.Rand, look func() (c model.Counts, listens, gone bool)) adapted {
	a := adapted{m.Metrics, map[string][]model.Reading{}}
	for _, name := range slices.Sorted(maps.Keys(m.Metrics)) {
		of := m.Metrics[name]
		var scrape func()
		scrape = func() {
			counts, listens, gone := look()
			if gone {
				return
			}
			if listens {
				a.readings[name] = of.Keep(a.readings[name], model.Reading{At: w.now, Value: of.Read(counts)})
			}
			w.after(of.Period(), scrape)
		}
		w.after(time.Duration(random.Int64N(int64(of.Period()))), scrape)
	}
	return a
}

// tell is what the adapter tells now.
func (a adapted) tell(name string, now time.Duration) (value float64, known bool) {
	return a.metrics[name].Tell(a.readings[name], now)
}

// adaptOthers reads the metrics of the pods in front of the target and of those that are called.
func (w *world) adaptOthers() {
	random := stream(w.Seed, math.MinInt+1)
	if w.Front != nil {
		w.others = append(w.others, w.adapt(&w.Front.Pod, random, func() (c model.Counts, listens, gone bool) { return w.frontCounts(), true, false }))
	}
	for i, pods := range w.chain.pods {
		for _, p := range pods {
			w.others = append(w.others, w.adapt(&w.Chain.Calls[i].Model, random, func() (c model.Counts, listens, gone bool) { return p.counts, true, false }))
		}
	}
}

// collected lets KEDA's Prometheus scrape a pod.
func (w *world) collected(p *pod) {
	var scrape func()
	scrape = func() {
		shows := w.Plant.Workload.Series(model.Counts{Came: p.answered, Answered: p.answered, Done: p.answered, InFlight: w.inFlight(p)})
		if !p.runs && p.deleted {
			w.scaler.collect(p.name, shows, true)
			return
		}
		if p.listens {
			w.scaler.collect(p.name, shows, false)
		}
		w.after(w.Plant.Metrics.Scrapes(), scrape)
	}
	w.after(time.Duration(p.random.Int64N(int64(w.Plant.Metrics.Scrapes()))), scrape)
}

// Custom is the world as a Workload: what an adapter that asks Prometheus tells now.
func (w *world) Custom(name string) metrics.PodMetricsInfo {
	w.catchUp()
	r := metrics.PodMetricsInfo{}
	m := w.Plant.Workload.Metrics[name]
	for _, p := range w.pods {
		if value, known := p.shows.tell(name, w.now); known {
			r[p.name] = metrics.PodMetric{Timestamp: w.wall().Time, Window: m.Range(), Value: int64(math.Round(value * 1000))}
		}
	}
	return r
}

// goneAtZero is a sentence on the metrics by which an HPA cannot leave zero replicas: the pods' own. It is empty where there are none.
func (r *Run) goneAtZero() string {
	var names []string
	resources := 0
	for _, m := range r.HPA.Metrics {
		name := record.CustomMetric(m)
		if _, own := r.Plant.Workload.Metrics[name]; own && (m.Pods != nil || !r.besides(name)) {
			names = append(names, name)
		} else if name == "" {
			resources++
		}
	}
	if r.Least() > 0 || r.KEDA != nil || len(names) == 0 || len(names)+resources < len(r.HPA.Metrics) {
		return ""
	}
	return fmt.Sprintf("the metric %s of the pods themselves (workload.model.metrics): while there is none it has no value, and the HPA stays at 0 replicas. A metric of what stands in front of them or outside is modelled as a gateway, a queue or a source (docs/signals.md).", strings.Join(names, " and ")+map[bool]string{true: " is", false: " are"}[len(names) == 1])
}

// besides says whether others than the target's pods show a metric: those in front of them, those that they call, or a source outside.
func (r *Run) besides(metric string) (shown bool) {
	_, shown = r.Outside[metric]
	of := func(m *model.Model) { _, has := m.Metrics[metric]; shown = shown || has }
	if r.Front != nil {
		of(&r.Front.Pod)
	}
	if r.Chain != nil {
		for i := range r.Chain.Calls {
			of(&r.Chain.Calls[i].Model)
		}
	}
	return shown
}

// Check says which metric of the HPA the plant does not have.
func (r *Run) Check() error {
	for _, m := range r.HPA.Metrics {
		name := record.CustomMetric(m)
		if name == "" || m.External != nil && r.KEDA != nil {
			continue
		}
		if _, own := r.Plant.Workload.Metrics[name]; !own && (m.Pods != nil || !r.besides(name)) {
			return fmt.Errorf("nothing is known of the metric %s, by which the HPA goes", name)
		}
	}
	return nil
}
