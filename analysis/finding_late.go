package analysis

import (
	"fmt"
	"slices"

	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// seenLate finds a surge that was over before the HPA added replicas for it, as its metric came later, or, where requests failed or
// were slow, as a surge shorter than a sample is lost in the mean.
func (d *diagnosis) seenLate(p policy) {
	if d.looksOnly() || d.cut() {
		return
	}
	rises := func(t Transition) int {
		return slices.IndexFunc(t.Steps, func(s Step) bool { return s.To > s.From && !s.Foreign })
	}
	for i, t := range d.r.Transitions[:max(0, len(d.r.Transitions)-1)] {
		next := d.r.Transitions[i+1]
		onset, end := record.Instant(t.OnsetSeconds*1e9), record.Instant(t.EndSeconds*1e9)
		n, known := last(d.targets, end)
		// Up to when the load before it may still show: two scrapes and two syncs.
		until := min(d.end, end.Add(2*d.every+housekeeping+2*d.flags.Sync.Duration), record.Instant(next.EndSeconds*1e9))
		if t.Direction != Up || next.Direction != Down || t.EndSeconds != next.OnsetSeconds || rises(t) >= 0 || !known || n.Replicas == 0 || n.Replicas >= p.max ||
			slices.ContainsFunc(d.found, func(f Finding) bool {
				return f.Severity == Blocks && since(f) < until.Seconds() && (f.UntilSeconds == nil || *f.UntilSeconds > t.OnsetSeconds)
			}) {
			continue
		}
		var first, highest at[usage]
		for _, u := range between(d.levels, onset+1, until) {
			if u.v.ratio == nil || u.v.to > 0 && u.v.to <= onset {
				continue
			}
			if *u.v.ratio > 1+p.up && first.t == 0 {
				first = u
			}
			if highest.t == 0 || *u.v.ratio > *highest.v.ratio {
				highest = u
			}
		}
		phase := slices.IndexFunc(d.r.Load.Phases, func(l PhaseLoad) bool { return l.Name == t.ToPhase })
		if phase < 0 {
			continue
		}
		l, lasted, came, over := d.r.Load.Phases[phase], end.Sub(onset), "", ""
		severity := Notice
		if l.SLOViolated != nil && *l.SLOViolated >= failedShare || d.overloadShare(l.Name) >= failedShare {
			severity = Limits
		}
		switch k := rises(next); {
		case first.t > 0 && k >= 0 && record.Instant(next.Steps[k].AtSeconds*1e9) < until:
			s := next.Steps[k]
			// hpabench may read it a second later than the HPA.
			came = fmt.Sprintf("its metric was first above the target at %.1f s, and spec.replicas rose from %d to %d at %.1f s, %.0f s after the end", min(first.t.Seconds(), s.AtSeconds), s.From, s.To, s.AtSeconds, s.AtSeconds-t.EndSeconds)
			over = "Replicas that come after the surge do not help against it."
		case first.t == 0 && highest.t > 0 && severity == Limits && lasted < d.every+housekeeping:
			came = fmt.Sprintf("its metric came to %.0f %% of the target at most, at %.1f s", *highest.v.ratio*100, highest.t.Seconds())
			over = "A sample is the mean of the time since the one before it, of which the surge was a part only."
		default:
			continue
		}
		if l.Errors > 0 {
			came += fmt.Sprintf("; %d of %d requests failed", l.Errors, l.Answered+l.Failed)
		}
		path := "the source of its metric and the HPA's sync"
		if slices.ContainsFunc(p.metrics, func(m autoscalingv2.MetricSpec) bool { name, _ := record.ResourceOf(m); return name != "" }) {
			path = fmt.Sprintf("the kubelet's samples, metrics-server (each %.0f s) and the HPA's sync (each %.0f s)", d.every.Seconds(), d.flags.Sync.Seconds())
		}
		d.add(Finding{Kind: FoundSeenLate, Severity: severity, Object: d.hpa(), SinceSeconds: new(t.OnsetSeconds), UntilSeconds: d.until(until),
			Seen:   fmt.Sprintf("The load of phase %s was over after %.0f s, at %.1f s, before the HPA added a replica: %s.", t.ToPhase, lasted.Seconds(), t.EndSeconds, came),
			Cause:  fmt.Sprintf("The surge was shorter than %s take. %s", path, over),
			Advice: "Raise minReplicas, or lower the target, so that the pods that are there bear a surge; take a metric that is there sooner (a shorter `--metric-resolution` of metrics-server, requests in flight or a queue, over a short mean); or put a queue in front."})
	}
}
