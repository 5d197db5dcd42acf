package analysis

import (
	"math"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/hpabench/hpabench/record"
)

// timeline has a row for each second that the judged stretch touches, or for each of the
// stretches of every seconds where there would be too many. A state is that at the row's
// end, or at the end of the stretch if it comes first.
func (o *observed) timeline(load map[int]*row, demand []Level) (rows []Second, every int) {
	if len(o.spans) == 0 {
		return nil, 0
	}
	every = max(o.loads.every, everyFor(o.end.Sub(o.start).Seconds()))
	if every > o.loads.every {
		load = coarser(load, o.loads.every, every)
	}
	phase := ""
	spans := o.spans
	first, _ := floorDiv(int(math.Floor(o.start.Seconds())), every)
	length := record.Instant(every) * record.Instant(time.Second)
	rows = make([]Second, 0, max(0, int(o.end/length)-first+1))
	for n := first; record.Instant(n)*length < o.end; n++ {
		r := Second{Second: n * every}
		if l := load[n]; l != nil {
			r = l.Second
		}
		t := min(record.Instant(n+1)*length, o.end) - 1
		for len(spans) > 0 && spans[0].start <= t {
			phase, spans = spans[0].name, spans[1:]
		}
		r.Phase = phase
		if len(demand) > 0 {
			r.Demand = new(levelAt(demand, max(t.Seconds(), demand[0].At)))
		}
		// The figures are those of the observations themselves, to spare the memory of copies.
		inGap := func(g record.Gap) bool { return sourceOf(g) == metricsSource && g.From < t && g.To > t }
		if i := after(o.totals, t) - 1; i >= 0 && !slices.ContainsFunc(o.gaps, inGap) {
			u := &o.totals[i].v
			r.CPUCores, r.MemoryBytes, r.CPUPercent = &u.cpu, &u.memory, u.percent
		}
		a, ok := last(o.hpas, t)
		for _, c := range o.signals {
			value, _ := last(c.values, t)
			if ok && !hasMetric(a, c.metric) || slices.ContainsFunc(o.gaps, func(g record.Gap) bool { return g.Source == record.SignalSource(c.metric) && g.From < t && g.To > t }) {
				value = nil
			}
			r.Signals = append(r.Signals, value)
		}
		if q := o.queueAt(t); q != nil {
			r.Backlog, r.Oldest = &q.Backlog, q.Oldest
		}
		if ok {
			r.Desired, r.HPAPercent = &a.Status.DesiredReplicas, reportedPercent(a)
		}
		if i := after(o.targets, t) - 1; i >= 0 {
			r.Spec = &o.targets[i].v.Replicas
		}
		if i := after(o.counts, t) - 1; i >= 0 {
			c := &o.counts[i].v
			r.Pods, r.Ready, r.Terminating = &c.pods, &c.ready, &c.terminating
			if o.serviceWatched {
				r.InService = &c.inService
			}
		}
		rows = append(rows, r)
	}
	if every == 1 {
		every = 0
	}
	return rows, every
}

// hasMetric says whether an HPA goes by a metric of that name.
func hasMetric(a *record.Autoscaler, metric string) bool {
	return slices.ContainsFunc(a.Spec.Metrics, func(m autoscalingv2.MetricSpec) bool {
		name, _ := record.MetricTarget(m)
		return name == metric
	})
}

// coarser sums up rows of so many seconds to longer ones. Their percentiles are not known.
func coarser(load map[int]*row, from, to int) map[int]*row {
	longer := map[int]*row{}
	for n, r := range load {
		k, _ := floorDiv(n*from, to)
		l := longer[k]
		if l == nil {
			l = &row{Second: Second{Second: k * to}}
			longer[k] = l
		}
		l.Offered += r.Offered
		l.Answered += r.Answered
		l.Failed += r.Failed
		l.Unsent += r.Unsent
		l.Late += r.Late
		l.LateMax = max(l.LateMax, r.LateMax)
	}
	return longer
}

func reportedPercent(a *record.Autoscaler) *int32 {
	var first *int32
	for _, m := range a.Status.CurrentMetrics {
		name, current := record.MetricCurrent(m)
		if name == "cpu" && current.AverageUtilization != nil {
			return current.AverageUtilization
		}
		if first == nil {
			first = current.AverageUtilization
		}
	}
	return first
}

// reach works out how far the replicas went. See Reach.
func (o *observed) reach() Reach {
	var r Reach
	if hpa := o.autoscaler(o.end); hpa != nil {
		p := policyOf(hpa.Spec, o.flags)
		r.Min, r.Max = &p.min, &p.max
		if s, ok := lastOf(o.scaled, o.end); ok {
			r.Min = new(s.Least())
		}
	}
	for _, t := range o.targets {
		if t.t < o.end {
			if t.t <= o.start {
				r.DesiredPeak = nil // the last one before the start is what counts
			}
			r.LastDesired = &t.v.Replicas
			if r.DesiredPeak == nil || t.v.Replicas > *r.DesiredPeak {
				r.DesiredPeak = &t.v.Replicas
			}
		}
	}
	var atMax time.Duration
	var first sight
	for i, c := range o.counts {
		from, until := max(c.t, o.start), standsUntil(o.counts, i, o.end)
		if from >= until {
			continue
		}
		r.Last = &c.v.ready
		if r.Peak == nil || c.v.ready > *r.Peak {
			r.Peak = &c.v.ready
		}
		if r.Max != nil && c.v.ready >= int(*r.Max) {
			atMax += until.Sub(from)
			if !first.seen {
				first = o.see(podSource, c.t)
				if c.t < o.start {
					first = sight{t: o.start, seen: true}
				}
			}
		}
	}
	switch {
	case r.Peak == nil:
		r.Missing = "the pods were not observed during the phases"
	case r.Max == nil:
		r.Missing = "the HPA was not observed"
	}
	no := r.Missing
	if no == "" {
		no = "the replicas did not get to the maximum"
		r.Saturated = new(atMax.Seconds() / o.end.Sub(o.start).Seconds())
		if *r.Max != *r.Min {
			r.Fraction = new(float64(*r.Peak-int(*r.Min)) / float64(*r.Max-*r.Min))
		}
	}
	r.FirstAtMax = first.moment(no)
	return r
}
