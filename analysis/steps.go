package analysis

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// rescaleWithin is how far from a change of replicas its event and the status of
// the HPA that decided it may be seen.
const rescaleWithin = 5 * time.Second

func (o *observed) steps(w window) []Step {
	var steps []Step
	for _, c := range o.changes {
		if !w.holds(c.t) {
			continue
		}
		s := Step{AtSeconds: c.t.Seconds(), AfterSeconds: c.t.Sub(w.onset).Seconds(), From: c.from, To: c.to, By: c.by, Earlier: o.due(c, w)}
		s.Event = o.eventOf(c)
		status := o.statusOf(c)
		event, keda := o.byKEDA(c)
		if keda {
			s.Event, status = event, nil
		}
		if status != nil {
			o.explain(&s, c, *status)
		}
		s.Foreign = !keda && s.Event == "" && status == nil && o.watchedHPA(c.t)
		steps = append(steps, s)
	}
	return steps
}

// eventOf is the message of the HPA's event that tells of c, the nearest of several; empty if none came.
func (o *observed) eventOf(c replicaChange) (message string) {
	nearest, says := rescaleWithin, fmt.Sprintf("New size: %d;", c.to)
	for _, e := range between(o.events, c.t.Add(-rescaleWithin), c.t.Add(rescaleWithin)) {
		apart := e.t.Sub(c.t).Abs()
		if e.v.Reason == "SuccessfulRescale" && strings.HasPrefix(e.v.Message, says) && apart <= nearest {
			message, nearest = e.v.Message, apart
		}
	}
	return message
}

// statusOf is the status that the HPA wrote with its decision, milliseconds after
// the scale; nil if none came. On a cluster that is overloaded it may be long in
// coming: until the next change no other status has the replicas from before.
func (o *observed) statusOf(c replicaChange) *at[*record.Autoscaler] {
	until := o.end
	if i := sort.Search(len(o.changes), func(i int) bool { return o.changes[i].t > c.t }); i < len(o.changes) {
		until = o.changes[i].t
	}
	for _, a := range between(o.hpas, c.t.Add(-WatchDelay), max(until, c.t.Add(rescaleWithin))) {
		if a.v.Status.DesiredReplicas == c.to && a.v.Status.CurrentReplicas == c.from {
			return &a
		}
	}
	return nil
}

// watchedHPA says whether a decision of the HPA at t could not have gone unseen.
func (o *observed) watchedHPA(t record.Instant) bool {
	for _, source := range []string{hpaSource, "events"} {
		w := window{onset: t.Add(-rescaleWithin), end: min(t.Add(rescaleWithin), o.end)}
		if o.hasGap(w, source) || w.end < t.Add(time.Second) {
			return false
		}
	}
	_, known := last(o.hpas, t)
	return known
}

// explain fills in the metrics that a step was decided on and what limited it.
func (o *observed) explain(s *Step, c replicaChange, status at[*record.Autoscaler]) {
	s.Metric = metricText(*status.v)
	p := policyOf(status.v.Spec, o.flags)
	condition := hpaCondition(status.v, autoscalingv2.ScalingLimited)
	switch {
	case c.from > p.max && c.to == p.max:
		s.LimitedBy, s.Limit = LimitMax, fmt.Sprintf("the maximum is %d, whatever the metrics ask for", p.max)
		return
	case c.from < p.min && c.to == p.min:
		s.LimitedBy, s.Limit = LimitMin, fmt.Sprintf("the minimum is %d, whatever the metrics ask for", p.min)
		return
	}
	d := o.decisions[status.v]
	s.Proposals = d.results(c.from, p)
	if len(d.replicas) == 0 {
		s.LimitedBy, s.Limit = LimitMetrics, "the status that came with the decision does not have all of the HPA's metrics"
		return
	}
	// The last is for samples of all pods that the HPA saw and nobody else read.
	want, l := o.whichLimit(status.v.Spec, c, append(slices.Clone(d.replicas), d.formula(c.from, d.replicas[0], p)), condition)
	s.Recommended, s.LimitedBy, s.Limit = &want, l.by, l.text
	var or []int32
	for _, n := range d.replicas {
		if is := o.normalize(status.v.Spec, c.t, c.from, n, 0, false); n != want && is.to == l.to && is.reason == l.reason {
			or = append(or, n)
		}
	}
	s.decide(want, or)
	if formula := d.formula(c.from, want, p); formula != want {
		why := d.uncounted(c.from, formula, want)
		if s.LimitedBy == "" {
			s.LimitedBy, s.Limit = LimitPods, why
		} else if i := slices.IndexFunc(s.Proposals, func(p Proposal) bool { return p.Decided }); i >= 0 {
			s.Proposals[i].Uncounted = why
		}
	}
	if l.by == LimitUnknown || condition != nil && condition.Reason != l.reason {
		s.Disagrees = ""
		if condition != nil {
			s.Disagrees = fmt.Sprintf("the HPA's condition ScalingLimited says %s: %s", condition.Reason, condition.Message)
		}
	}
}

// hpaCondition is a condition of an HPA; nil without it, or without the HPA.
func hpaCondition(a *record.Autoscaler, kind autoscalingv2.HorizontalPodAutoscalerConditionType) *autoscalingv2.HorizontalPodAutoscalerCondition {
	if a == nil {
		return nil
	}
	for i, c := range a.Status.Conditions {
		if c.Type == kind {
			return &a.Status.Conditions[i]
		}
	}
	return nil
}

// whichLimit finds which of the recommendations it was that became c.to, and what limited
// it: as the HPA's condition says if one of them agrees with that.
func (o *observed) whichLimit(spec autoscalingv2.HorizontalPodAutoscalerSpec, c replicaChange, wants []int32, says *autoscalingv2.HorizontalPodAutoscalerCondition) (want int32, l limited) {
	found := false
	for i, slack := range []time.Duration{0, 0, time.Second, -time.Second} {
		for _, n := range wants {
			is := o.normalize(spec, c.t, c.from, n, slack, i == 1)
			if is.to != c.to {
				continue
			}
			if says == nil || is.reason == says.Reason {
				return n, is
			}
			if !found {
				want, l, found = n, is, true
			}
		}
	}
	if found {
		return want, l
	}
	if slices.Contains(wants, c.to) { // whatever a window should have held by the instants that were seen
		return c.to, limited{to: c.to, reason: reasonWithin}
	}
	want = wants[0]
	l = limited{to: c.to, by: LimitUnknown, text: "neither a bound, a policy nor the window explains it"}
	p := policyOf(spec, o.flags)
	up, _ := behaviorOf(spec)
	window := p.window
	if c.to > c.from && up != nil {
		window = time.Duration(*up.StabilizationWindowSeconds) * time.Second
	}
	if unseen := c.t.Add(-window) < o.firstWant(); unseen && (c.to > want) == (c.to < c.from) {
		l.by, l.text, l.reason = LimitStabilization, fmt.Sprintf("it must have recommended %d within the stabilization window of %.0f s, before its status was first seen", c.to, window.Seconds()), reasonWithin
	} else if is := o.normalize(spec, c.t, c.from, c.to, 0, false); is.to == c.to && is.by == "" && says != nil && says.Reason == is.reason {
		is.by, is.text = LimitPods, fmt.Sprintf("no reading tells why the HPA asked for %d; by its conditions nothing limited that, so the HPA saw metrics that were gone before the next reading", c.to)
		return c.to, is
	}
	return want, l
}

// firstWant is when the first status that tells a recommendation was seen.
func (o *observed) firstWant() record.Instant {
	if i := slices.IndexFunc(o.wants, func(w want) bool { return w.ok }); i >= 0 {
		return o.hpas[i].t
	}
	return o.end
}

// metricText is current/target of each metric, as kubectl get hpa shows them.
func metricText(a record.Autoscaler) string {
	var parts []string
	for i, spec := range a.Spec.Metrics {
		m := proposal{spec: spec, status: statusOf(&a, i)}
		if name, current, target := m.texts(); current != "" {
			parts = append(parts, fmt.Sprintf("%s %s of %s", name, current, target))
		}
	}
	return strings.Join(parts, ", ")
}
