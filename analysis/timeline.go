package analysis

import (
	"math"
	"slices"
	"time"

	"github.com/hpabench/hpabench/record"
)

// timeline has a row for each second that the judged stretch touches. A state is
// that at the second's end, or at the end of the stretch if it comes first.
func (o *observed) timeline(load map[int]Second, demand []Level) []Second {
	if len(o.spans) == 0 {
		return nil
	}
	var rows []Second
	for n := int(math.Floor(o.start.Seconds())); record.Instant(n)*record.Instant(time.Second) < o.end; n++ {
		row := load[n]
		row.Second = n
		t := min(record.Instant(n+1)*record.Instant(time.Second), o.end) - 1
		for _, s := range o.spans {
			if s.start <= t {
				row.Phase = s.name
			}
		}
		if len(demand) > 0 {
			row.Demand = new(levelAt(demand, max(t.Seconds(), demand[0].At)))
		}
		inGap := func(g record.Gap) bool { return sourceOf(g) == metricsSource && g.From < t && g.To > t }
		if u, ok := last(o.usages, t); ok && !slices.ContainsFunc(o.gaps, inGap) {
			row.CPUCores, row.MemoryBytes, row.CPUPercent = &u.cpu, &u.memory, u.cpuPercent
		}
		if a, ok := last(o.hpas, t); ok {
			row.Desired, row.HPAPercent = &a.Status.DesiredReplicas, reportedPercent(a)
		}
		if x, ok := last(o.targets, t); ok {
			row.Spec = &x.Replicas
		}
		if c, ok := last(o.counts, t); ok {
			row.Pods, row.Ready, row.Terminating = &c.pods, &c.ready, &c.terminating
			if o.serviceWatched {
				row.InService = &c.inService
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func reportedPercent(a record.Autoscaler) *int32 {
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
	}
	within := window{onset: o.start, end: o.end}
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
		until := o.end
		if i+1 < len(o.counts) {
			until = min(until, o.counts[i+1].t)
		}
		from := max(c.t, within.onset)
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
