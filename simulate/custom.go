package simulate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
)

// scraped lets a pod that starts be scraped, from a point of the period that is its own
// (Prometheus takes it from a hash of the target).
func (w *world) scraped(p *pod) {
	if w.scaler != nil {
		w.collected(p)
	}
	for _, name := range slices.Sorted(maps.Keys(w.Plant.Workload.Metrics)) {
		every := w.Plant.Workload.Metrics[name].Period()
		var scrape func()
		scrape = func() {
			if !p.runs && p.deleted {
				return
			}
			w.read(p, name)
			w.after(every, scrape)
		}
		w.after(time.Duration(p.random.Int64N(int64(every))), scrape)
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

func (w *world) read(p *pod, name string) {
	m := w.Plant.Workload.Metrics[name]
	if !p.listens {
		return
	}
	value := p.answered
	if m.Of == model.OfInFlight {
		value = w.inFlight(p)
	}
	if p.readings == nil {
		p.readings = map[string][]model.Reading{}
	}
	p.readings[name] = m.Keep(p.readings[name], model.Reading{At: w.now, Value: value})
}

// entrance keeps account of the requests that came while no pod took them, as a queue or an ingress
// in front of the pods shows them: an External or Object metric of requests has them too, and
// brings an HPA from 0 replicas to more.
func (w *world) entrance() {
	for name, m := range w.Plant.Workload.Metrics {
		if m.Of != model.OfRequests {
			continue
		}
		var scrape func()
		scrape = func() {
			w.waited[name] = m.Keep(w.waited[name], model.Reading{At: w.now, Value: w.unserved})
			w.after(m.Period(), scrape)
		}
		w.after(0, scrape)
	}
}

// Unserved is the rate of such requests as a metric of that name has it, known only for one of requests.
func (w *world) Unserved(name string) (perSecond float64, known bool) {
	return w.Plant.Workload.Metrics[name].Tell(w.waited[name], w.now)
}

// Custom is the world as a Workload: what an adapter that asks Prometheus tells now.
func (w *world) Custom(name string) metrics.PodMetricsInfo {
	w.catchUp()
	r := metrics.PodMetricsInfo{}
	m := w.Plant.Workload.Metrics[name]
	for _, p := range w.pods {
		if value, known := m.Tell(p.readings[name], w.now); known {
			r[p.name] = metrics.PodMetric{Timestamp: w.wall().Time, Window: m.Range(), Value: int64(math.Round(value * 1000))}
		}
	}
	return r
}

// Check says which metric of the HPA the plant does not have.
func (r *Run) Check() error {
	for _, m := range r.HPA.Metrics {
		name := record.CustomMetric(m)
		if name == "" || m.External != nil && r.KEDA != nil {
			continue
		}
		_, known := r.Plant.Workload.Metrics[name]
		if _, outside := r.Outside[name]; !known && !outside {
			return fmt.Errorf("nothing is known of the metric %s, by which the HPA goes", name)
		}
	}
	return nil
}
