package simulate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
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

// goneAtZero is a sentence on the metrics by which an HPA cannot leave zero replicas: the pods' own. It is empty where there are none.
func (r *Run) goneAtZero() string {
	var names []string
	resources := 0
	for _, m := range r.HPA.Metrics {
		name := record.CustomMetric(m)
		if _, own := r.Plant.Workload.Metrics[name]; own && r.Outside[name] == "" {
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
