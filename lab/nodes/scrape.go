package nodes

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/signals"
)

// scraper reads what a pod's first container shows as Prometheus does, each metric of its model from a point of its period that is
// its own. The readings go on when the container is started again.
type scraper struct {
	mu       sync.Mutex
	metrics  map[string]model.Metric
	readings map[string][]model.Reading // on the clock of the nodes
}

// run scrapes a process from now on, until its end.
func (s *scraper) run(p process, metrics map[string]model.Metric, clock func() time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metrics = metrics
	if s.readings == nil {
		s.readings = map[string][]model.Reading{}
	}
	for name, m := range metrics {
		scrape(p, m.Period(), func() {
			r := model.Reading{At: clock(), Value: m.Read(p.Counts())}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.readings[name] = m.Keep(s.readings[name], r)
		})
	}
}

// scrape looks at a process that listens again and again, from a point of the period on.
func scrape(p process, every time.Duration, look func()) {
	timer := time.NewTimer(rand.N(every))
	go func() {
		defer timer.Stop()
		for {
			select {
			case <-p.Done():
				return
			case <-timer.C:
			}
			if p.Listening() {
				look()
			}
			timer.Reset(every)
		}
	}()
}

// collect lets a Prometheus scrape all that a container shows.
func collect(to *signals.Store, p process, namespace, pod string) {
	var seen []signals.Labels
	var mu sync.Mutex
	scrape(p, to.Every, func() {
		mu.Lock()
		defer mu.Unlock()
		select {
		case <-p.Done():
			return
		default:
		}
		seen = seen[:0]
		now := time.Now()
		for _, s := range p.Series() {
			of := signals.Series(s.Name, "job", "pods", "namespace", namespace, "pod", pod)
			to.Add(of, now, s.Value)
			seen = append(seen, of)
		}
	})
	go func() {
		<-p.Done()
		mu.Lock()
		defer mu.Unlock()
		for _, of := range seen {
			to.End(of, time.Now())
		}
	}()
}

// PodMetric is what an adapter that asks Prometheus tells of a pod's metric.
type PodMetric struct {
	Pod    string
	Value  float64
	Window time.Duration // what a rate is over; 0 of another metric
}

// Custom gives a metric of the pods of a namespace that show one of the name, in the order of their names, as far as its value is
// known.
func (n *Nodes) Custom(namespace, metric string) (told []PodMetric) {
	now := n.clock()
	for _, p := range n.all() {
		if p.namespace != namespace {
			continue
		}
		p.scrapes.mu.Lock()
		m, shows := p.scrapes.metrics[metric]
		value, known := m.Tell(p.scrapes.readings[metric], now)
		p.scrapes.mu.Unlock()
		if shows && known {
			of := PodMetric{Pod: p.name, Value: value}
			if m.Of == model.OfRequests {
				of.Window = m.Range()
			}
			told = append(told, of)
		}
	}
	slices.SortFunc(told, func(a, b PodMetric) int { return strings.Compare(a.Pod, b.Pod) })
	return told
}

// CustomNames are the names of all metrics that pods show.
func (n *Nodes) CustomNames() []string {
	names := map[string]bool{}
	for _, p := range n.all() {
		p.scrapes.mu.Lock()
		for name := range p.scrapes.metrics {
			names[name] = true
		}
		p.scrapes.mu.Unlock()
	}
	return slices.Sorted(maps.Keys(names))
}

// clock is that of the readings.
func (n *Nodes) clock() time.Duration { return time.Since(n.started) }

// all are the pods that are there.
func (n *Nodes) all() []*pod {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return slices.Collect(maps.Values(n.mu.pods))
}
