package analysis

import (
	"fmt"
	"slices"
	"time"

	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// seenLate finds a surge that was over before the HPA added replicas for it, as its metric came later.
func (d *diagnosis) seenLate(p policy) {
	if d.looksOnly() || d.cut() {
		return
	}
	takes := d.inSight()
	var end record.Instant // of the surge, or of the one before
	for i, t := range d.r.Transitions {
		onset := record.Instant(t.OnsetSeconds * 1e9)
		n, known := last(d.targets, onset)
		if t.Direction != Up || t.FromPhase == "" || onset < end || !known || n.Replicas == 0 || n.Replicas >= p.max {
			continue
		}
		bear := max(t.FromRate, d.borne(n.Replicas)) * (1 + p.up) // the HPA takes rates within its tolerance as one
		if t.ToRate <= bear {
			continue
		}
		if end = d.surgeOver(t, bear); end.Sub(onset) > takes {
			end = onset.Add(takes) // what rises soon after is not of a load that these replicas are known to bear
			continue
		}
		until := min(d.end, end.Add(takes)) // up to when the surge may still show
		var rise *Step
		for _, next := range d.r.Transitions[i:] {
			if next.Direction == Up && next.OnsetSeconds >= end.Seconds() {
				until = min(until, record.Instant(next.OnsetSeconds*1e9))
			}
			if k := slices.IndexFunc(next.Steps, func(s Step) bool { return s.To > s.From && !s.Foreign }); k >= 0 && (rise == nil || next.Steps[k].AtSeconds < rise.AtSeconds) {
				rise = &next.Steps[k]
			}
		}
		if rise == nil || rise.AtSeconds < end.Seconds() || rise.AtSeconds >= until.Seconds() || slices.ContainsFunc(d.found, func(f Finding) bool {
			return f.Severity == Blocks && f.in(t.OnsetSeconds, until.Seconds())
		}) {
			continue
		}
		seen := slices.IndexFunc(d.levels, func(u at[usage]) bool {
			return u.t > onset && u.t <= until && u.v.ratio != nil && asksMore.is(*u.v.ratio, n.Replicas, p) && (u.v.to == 0 || u.v.to > onset)
		})
		if seen < 0 || slices.ContainsFunc(between(d.hpas, onset, record.Instant(rise.AtSeconds*1e9)), func(a at[*record.Autoscaler]) bool {
			return a.v.Status.DesiredReplicas <= a.v.Status.CurrentReplicas && (hasReason(a.v, autoscalingv2.ScalingLimited, reasonUp) || hasReason(a.v, autoscalingv2.AbleToScale, windowHolds))
		}) {
			continue // or its behavior held it
		}
		severity, failed := Notice, ""
		for _, s := range d.spans {
			if l := d.r.Load.phase(s.index); s.start.Seconds() >= t.OnsetSeconds && s.start < end && d.overloadShare(l.Name) >= failedShare {
				severity, failed = Limits, failed+fmt.Sprintf("; %d of %d requests of phase %s failed", l.Errors, l.Answered+l.Failed, l.Name)
			}
		}
		path := "the source of its metric and the HPA's sync"
		if slices.ContainsFunc(p.metrics, func(m autoscalingv2.MetricSpec) bool { name, _ := record.ResourceOf(m); return name != "" }) {
			path = fmt.Sprintf("the kubelet's samples, metrics-server (each %.0f s) and the HPA's sync (each %.0f s)", d.every.Seconds(), d.flags.Sync.Seconds())
		}
		d.add(Finding{Kind: FoundSeenLate, Severity: severity, Object: d.hpa(), SinceSeconds: new(t.OnsetSeconds), UntilSeconds: d.until(until),
			// hpabench may read the metric a second later than the HPA.
			Seen: fmt.Sprintf("The surge from phase %s on was over after %.0f s, at %.1f s, before the HPA added a replica: its metric was first above the target at %.1f s, and spec.replicas rose from %d to %d at %.1f s, %.0f s after the end%s.",
				t.ToPhase, end.Sub(onset).Seconds(), end.Seconds(), min(d.levels[seen].t.Seconds(), rise.AtSeconds), rise.From, rise.To, rise.AtSeconds, rise.AtSeconds-end.Seconds(), failed),
			Cause:  fmt.Sprintf("The surge was shorter than %s take. Replicas that come after the surge do not help against it.", path),
			Advice: "Raise minReplicas, or lower the target, so that the pods that are there bear a surge; take a metric that is there sooner (a shorter `--metric-resolution` of metrics-server, requests in flight or a queue, over a short mean); or put a queue in front."})
	}
}

// borne is the highest steady rate of a phase at whose end, after a scrape and a sync, the HPA wanted no more than n replicas; 0 without one.
func (d *diagnosis) borne(n int32) (rate float64) {
	for _, s := range d.spans {
		from, to := level(s, d.r.Load.phase(s.index))
		if want := d.want(s.end); from == to && s.end.Sub(s.start) > d.every+housekeeping+d.flags.Sync.Duration && want.ok && want.n <= n {
			rate = max(rate, from)
		}
	}
	return rate
}

// surgeOver is when the load that rose with t was again at most the rate bear; the end of the run if it never was.
func (d *diagnosis) surgeOver(t Transition, bear float64) record.Instant {
	for _, s := range d.spans {
		if s.start.Seconds() < t.OnsetSeconds {
			continue
		}
		from, to := level(s, d.r.Load.phase(s.index))
		switch {
		case s.start.Seconds() > t.OnsetSeconds && from <= bear:
			return s.start
		case from > to && to <= bear:
			return s.start.Add(time.Duration(float64(s.end.Sub(s.start)) * (from - bear) / (from - to)))
		}
	}
	return d.end
}
