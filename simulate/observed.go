package simulate

import (
	"cmp"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/record"
)

// A record of hpabench watch has no load in it, but what the pods used: the load is taken
// to be as many requests, by what one costs, as use that much CPU.

// usage is what the pods used in a second of the record, in cores, and how many there were.
type usage struct{ cpu, pods float64 }

// observedPod is when a pod could use something and what of that its samples tell.
type observedPod struct {
	place    int     // in the order of the record
	from, to float64 // ready, and deleted or gone
	samples  []use
	passed   int // of samples
}

// use is one sample: cores, from one time to another.
type use struct{ from, to, cpu float64 }

// observe takes what the pods used in each second of a phase that was only watched, and
// where in it the HPA synced and metrics-server asked: a sample is of all of its window, so
// that others, at other times, would not show what these do.
func (r *Run) observe(run record.Run) {
	h := run.Header()
	byName := map[string]*observedPod{}
	var pods []*observedPod // in one order, by which sums of them come out the same
	var onset, end float64
	synced := false
	for _, e := range run.Entries {
		at := e.At.Seconds()
		switch {
		case e.Phase != nil && e.Phase.Edge == "start":
			onset = at
		case e.Phase != nil:
			end = at
		case e.Pod != nil:
			p := byName[e.Pod.Name]
			if p == nil {
				p = &observedPod{place: len(pods), from: math.Inf(1), to: math.Inf(1)}
				byName[e.Pod.Name], pods = p, append(pods, p)
			}
			for _, c := range e.Pod.Status.Conditions {
				if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
					p.from = min(p.from, at)
				}
			}
			if e.Pod.Gone || e.Pod.Deleting != nil {
				p.to = min(p.to, at)
			}
		case e.Autoscaler != nil && onset > 0 && !synced && len(e.Autoscaler.Status.CurrentMetrics) > 0:
			r.Wait, synced = seconds(onset-at), true
		case e.PodMetrics != nil:
			for _, s := range e.PodMetrics.Samples {
				if p := byName[s.Pod]; p != nil && s.New {
					// A timestamp has whole seconds.
					to := s.Timestamp.Sub(h.Started).Seconds() + 0.5
					u := use{from: to - s.Window, to: to}
					for _, c := range s.Containers {
						u.cpu += c.CPU
					}
					p.samples = append(p.samples, u)
					if r.Scraped == nil && onset > 0 && to > onset {
						r.Scraped = new(seconds(to - onset))
					}
				}
			}
		}
	}
	for _, p := range pods {
		slices.SortStableFunc(p.samples, func(a, b use) int { return cmp.Compare(a.to, b.to) })
	}
	// Only those that are there are looked at, in the one order.
	byStart := slices.Clone(pods)
	slices.SortStableFunc(byStart, func(a, b *observedPod) int { return cmp.Compare(a.from, b.from) })
	var there []*observedPod
	r.observed = make([]usage, max(0, int(end-onset)))
	for i := range r.observed {
		at := onset + float64(i) + 0.5
		came := false
		for ; len(byStart) > 0 && byStart[0].from <= at; byStart = byStart[1:] {
			there, came = append(there, byStart[0]), true
		}
		there = slices.DeleteFunc(there, func(p *observedPod) bool { return at >= p.to })
		if came {
			slices.SortFunc(there, func(a, b *observedPod) int { return a.place - b.place })
		}
		for _, p := range there {
			r.observed[i].pods++
			r.observed[i].cpu += p.at(at)
		}
	}
}

// at is what a pod used at a time, which is none before the last that was asked for: as its sample
// tells, and where there is none as the next one does, or the last.
func (s *observedPod) at(t float64) float64 {
	for s.passed < len(s.samples)-1 && t >= s.samples[s.passed].to {
		s.passed++
	}
	if len(s.samples) == 0 {
		return 0
	}
	return s.samples[s.passed].cpu
}

// demand makes the load of what was observed, by what a request costs on the plant.
func (r *Run) demand() {
	if len(r.observed) == 0 {
		return
	}
	p := record.Phase{Name: "observed", Seconds: float64(len(r.observed)), Shape: record.ShapeCurve, Made: "as many requests as use the CPU that was observed"}
	idle := r.Modelled().AtRest()
	for i, u := range r.observed {
		rate := math.Round(max(0, u.cpu-idle*u.pods)/max(r.Modelled().Cost(true), least)*1000) / 1000
		n := len(p.Curve)
		switch {
		case n == 0:
			p.Curve = append(p.Curve, record.RatePoint{Rate: rate})
		case p.Curve[n-1].Rate != rate:
			p.Curve = append(p.Curve, record.RatePoint{At: float64(i), Rate: p.Curve[n-1].Rate}, record.RatePoint{At: float64(i), Rate: rate})
		}
	}
	r.Phases, r.Lead = []record.Phase{p}, p.Curve[0].Rate
}
