package simulate

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
)

// Reading is a pod's value of a custom metric at a scrape.
type Reading struct {
	At    time.Duration
	Value float64
}

// scraped lets a pod that starts be scraped, from a point of the period that is its own
// (Prometheus takes it from a hash of the target).
func (w *world) scraped(p *pod) {
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
		p.readings = map[string][]Reading{}
	}
	// One that is older than the window is of no use any more.
	kept := slices.DeleteFunc(p.readings[name], func(r Reading) bool { return r.At <= w.now-m.Range() })
	p.readings[name] = append(kept, Reading{w.now, value})
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
			kept := slices.DeleteFunc(w.waited[name], func(r Reading) bool { return r.At <= w.now-m.Range() })
			w.waited[name] = append(kept, Reading{w.now, w.unserved})
			w.after(m.Period(), scrape)
		}
		w.after(0, scrape)
	}
}

// Unserved is the rate of such requests as a metric of that name has it, known only for one of requests.
func (w *world) Unserved(name string) (perSecond float64, known bool) {
	m := w.Plant.Workload.Metrics[name]
	perSecond, known = Rate(w.waited[name], w.now, m.Range())
	return perSecond * cmp.Or(m.Scale, 1), known
}

// Custom is the world as a Workload: what an adapter that asks Prometheus tells now.
func (w *world) Custom(name string) metrics.PodMetricsInfo {
	w.catchUp()
	r := metrics.PodMetricsInfo{}
	m := w.Plant.Workload.Metrics[name]
	for _, p := range w.pods {
		readings := p.readings[name]
		if len(readings) == 0 {
			continue
		}
		value := readings[len(readings)-1].Value
		if m.Of == model.OfRequests {
			var known bool
			if value, known = Rate(readings, w.now, m.Range()); !known {
				continue
			}
		}
		r[p.name] = metrics.PodMetric{
			Timestamp: w.wall().Time, Window: m.Range(),
			Value: int64(math.Round(value * cmp.Or(m.Scale, 1) * 1000)),
		}
	}
	return r
}

// Rate is that of a counter, a second, as rate() of Prometheus has it: it goes on to the
// edges of the window where they are not far, else by half a scrape, and not below zero
// (extrapolatedRate in promql/functions.go).
func Rate(readings []Reading, now, window time.Duration) (perSecond float64, known bool) {
	for len(readings) > 0 && readings[0].At <= now-window {
		readings = readings[1:]
	}
	if len(readings) < 2 {
		return 0, false
	}
	first, last := readings[0], readings[len(readings)-1]
	sampled := (last.At - first.At).Seconds()
	between := sampled / float64(len(readings)-1)
	edge := func(d float64) float64 {
		if d >= between*1.1 {
			return between / 2
		}
		return d
	}
	before, after := edge((first.At - (now - window)).Seconds()), edge((now - last.At).Seconds())
	rise := last.Value - first.Value
	if rise > 0 {
		before = min(before, sampled*first.Value/rise)
	}
	return rise * (sampled + before + after) / sampled / window.Seconds(), true
}

// Check says which metric of the HPA the plant does not have.
func (r *Run) Check() error {
	for _, m := range r.HPA.Metrics {
		name := record.CustomMetric(m)
		if name == "" {
			continue
		}
		if _, known := r.Plant.Workload.Metrics[name]; !known {
			return fmt.Errorf("nothing is known of the metric %s, by which the HPA goes", name)
		}
	}
	return nil
}
