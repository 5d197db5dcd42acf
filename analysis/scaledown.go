package analysis

import (
	"fmt"
	"time"

	"github.com/hpabench/hpabench/record"
)

// scaleDown works out a transition to less demand. See ScaleDown.
func (o *observed) scaleDown(w window) *ScaleDown {
	down := &ScaleDown{Plateau: o.supplyAt(w.end)}
	metric, noMetric := o.metric(w, func(ratio float64, p policy) bool { return ratio < 1-p.down })
	var decision *replicaChange
	for _, c := range o.changes() {
		if w.holds(c.t) && c.to < c.from {
			decision = &c
			break
		}
	}
	if decision == nil {
		no := o.notScaled(w, Down)
		down.Latency, down.HeldByWindow, down.LessWindow, down.Settle = absent(no), absent(no), absent(no), absent(no)
		down.Lower, down.Higher = Moment{Missing: no}, Moment{Missing: no}
		down.Stages = stages(w.onset, []boundary{
			{StageMetrics, metric, noMetric}, {stage: StageDecision, missing: no}, {stage: StageTerminating, missing: no},
			{stage: StageOutOfService, missing: no}, {stage: StageGone, missing: no},
		})
		return down
	}
	down.Latency = latency(w.onset, decision.sight)
	o.heldByWindow(w, *decision, down)
	down.Settle = o.settle(w, *decision)

	ends := []boundary{{StageMetrics, metric, noMetric}, {stage: StageDecision, sight: decision.sight}}
	var first *pod
	for _, p := range o.pods {
		if p.terminating.seen && w.holds(p.terminating.t) && p.terminating.t >= decision.t.Add(-WatchDelay) &&
			(first == nil || p.terminating.t < first.terminating.t) {
			first = p
		}
	}
	if first == nil {
		no := o.missing(w, "a terminating pod", podSource)
		ends = append(ends, boundary{stage: StageTerminating, missing: no}, boundary{stage: StageOutOfService, missing: no}, boundary{stage: StageGone, missing: no})
	} else {
		down.Pod = first.name
		left := boundary{stage: StageOutOfService, missing: noService}
		switch {
		case !o.serviceWatched:
		case first.left.seen && first.left.t < first.terminating.t.Add(-afterGap):
			left.missing = fmt.Sprintf("pod %s was out of service before it was terminating", first.name)
		case first.left.seen && first.left.t >= w.onset || first.serving:
			left.sight = first.left
			left = o.within(w, left, endpointsSource)
		default:
			left.missing = fmt.Sprintf("pod %s was not in service since the onset", first.name)
		}
		ends = append(ends, boundary{stage: StageTerminating, sight: first.terminating}, left,
			o.within(w, boundary{stage: StageGone, sight: first.gone}, podSource))
	}
	down.Stages = stages(w.onset, ends)
	return down
}

// heldByWindow fills in Lower, Higher, HeldByWindow and LessWindow.
func (o *observed) heldByWindow(w window, decision replicaChange, down *ScaleDown) {
	var lower, higher sight
	var known *record.Instant // when the first status that tells a recommendation was seen
	sync := o.shortestSync()
	current := func(t record.Instant) int32 {
		c, _ := last(o.targets, t)
		return c.Replicas
	}
	for i, a := range o.hpas {
		if a.t >= decision.t {
			break
		}
		want, ok := recommendation(a.v, o.flags)
		if !ok {
			continue
		}
		if known == nil {
			known = &o.hpas[i].t
		}
		until := decision.t
		if i+1 < len(o.hpas) {
			until = min(until, o.hpas[i+1].t)
		}
		if want > decision.to {
			// The same recommendation may have been repeated, unseen, until the
			// status changed.
			higher = o.see(hpaSource, a.t)
			if until < decision.t {
				higher.blur = max(higher.blur, until.Sub(a.t)-sync)
			}
		}
		if !lower.seen && until > w.onset && want < current(max(a.t, w.onset)) {
			lower = o.see(hpaSource, max(a.t, w.onset))
			if a.t <= w.onset {
				lower.blur = 0
			}
		}
	}
	policy := policy{window: o.flags.downWindow}
	if hpa := o.autoscaler(decision.t); hpa != nil {
		policy = policyOf(hpa.Spec, o.flags)
	}
	no := ""
	switch {
	case known == nil:
		no = "no status of the HPA with its metrics was seen before the decision"
	case !higher.seen && decision.t.Sub(*known) < policy.window:
		no = fmt.Sprintf("the HPA's status was first seen less than its window of %.0f s before the decision", policy.window.Seconds())
	}
	if no == "" && !lower.seen { // the status that brought the decision comes after it
		lower = decision.sight
	}
	down.Lower, down.Higher = lower.moment(no), higher.moment(no)
	if no == "" && !higher.seen {
		down.Higher.Missing = fmt.Sprintf("the HPA was not seen to recommend more than %d replicas", decision.to)
	}
	if no != "" {
		down.HeldByWindow, down.LessWindow = absent(no), absent(no)
		return
	}
	var held time.Duration
	blur := max(lower.blur, decision.blur)
	if higher.seen {
		held = max(0, min(decision.t, higher.t.Add(policy.window)).Sub(lower.t))
		blur = max(blur, higher.blur)
	}
	down.HeldByWindow = Latency{Seconds: new(held.Seconds()), PrecisionSeconds: blur.Seconds()}
	down.LessWindow = Latency{Seconds: new((decision.t.Sub(w.onset) - held).Seconds()), PrecisionSeconds: blur.Seconds()}
}

// shortestSync is the HPA's sync period as far as its statuses tell: the
// shortest time between two of them that is no mere follow-up (the HPA is
// synced again when its own scaling changes it).
func (o *observed) shortestSync() time.Duration {
	shortest := o.flags.sync
	for i := 1; i < len(o.hpas); i++ {
		if d := o.hpas[i].t.Sub(o.hpas[i-1].t); d >= time.Second {
			shortest = min(shortest, d)
		}
	}
	return shortest
}

// settle is onset → supply at the plateau for good and the last of the pods that
// the scale-down ended gone.
func (o *observed) settle(w window, decision replicaChange) Latency {
	plateau := o.supplyAt(w.end)
	if plateau == nil {
		return absent("the pods were not observed")
	}
	if t, ok := last(o.targets, w.end-1); ok && *plateau > int(t.Replicas) {
		return absent(fmt.Sprintf("still %d replicas were %s, of %d wanted, when %s at %.1f s", *plateau, o.supplyName(), t.Replicas, w.endedBy, w.end.Seconds()))
	}
	at := o.supplySince(w, func(n int) bool { return n <= *plateau })
	for _, p := range o.pods {
		if !p.terminating.seen || !w.holds(p.terminating.t) || p.terminating.t < decision.t.Add(-WatchDelay) {
			continue
		}
		if !p.gone.seen || p.gone.t >= w.end {
			return absent(fmt.Sprintf("pod %s: %s", p.name, o.missing(w, "its end", podSource)))
		}
		if p.gone.t > at.t {
			at = p.gone
		}
	}
	return latency(w.onset, at)
}
