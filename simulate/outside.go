package simulate

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hpabench/hpabench/signals"
)

// follow reads what sources outside the cluster show, and lets Prometheus scrape it.
func (w *world) follow() error {
	w.outside = map[string]*signals.Course{}
	names := slices.Sorted(maps.Keys(w.Run.Outside))
	for _, name := range names {
		c, err := signals.ParseCourse(w.Run.Outside[name])
		if err != nil {
			return fmt.Errorf("the course of metric %s: %w", name, err)
		}
		w.outside[name] = c
	}
	if w.scaler == nil || len(names) == 0 {
		return nil
	}
	w.loop(w.Plant.Metrics.Scrapes(), w.SignalsScraped, func() {
		for _, name := range names {
			if v, known := w.shown(name); known {
				w.scaler.prometheus.Add(signals.Series(name, "job", "outside", "namespace", namespace), w.began.Add(w.now), v)
			}
		}
	})
	return nil
}

// shown is what a source outside the cluster shows now of a metric: before the load what it does at its begin.
func (w *world) shown(metric string) (value float64, known bool) {
	c := w.outside[metric]
	if c == nil {
		return 0, false
	}
	since := time.Duration(0)
	if w.onset > 0 {
		since = w.now - w.onset
	}
	value, err := c.At(since)
	return value, err == nil
}

// Outside is the world as a Workload.
func (w *world) Outside(metric string) (value float64, known bool) {
	w.catchUp()
	value, known = w.shown(metric)
	for _, a := range w.others {
		if v, told := a.tell(metric, w.now); told {
			value, known = value+v, true
		}
	}
	return value, known
}
