package analysis

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/hpabench/hpabench/record"
)

// downStages are those of each pod, in their order.
var downStages = []string{StageMetrics, StageWindow, StageDecision, StageTerminating, StageOutOfService, StageExit, StageGone}

// scaleDown works out a transition to less demand. See ScaleDown.
func (o *observed) scaleDown(w window) *ScaleDown {
	down := &ScaleDown{Plateau: o.supplyAt(w.end)}
	metric := boundary{stage: StageMetrics}
	metric.sight, metric.missing = o.metric(w, asksFewer)
	falls := o.changesTo(Down, w)
	if len(falls) == 0 {
		no := o.notScaled(w, Down)
		down.Latency, down.HeldByWindow, down.LessWindow, down.Settle = absent(no), absent(no), absent(no), absent(no)
		down.Lower, down.Higher = Moment{Missing: no}, Moment{Missing: no}
		down.First = &PodStages{Latency: absent(no), Stages: stages(w.onset, append([]boundary{metric}, unseen(no, downStages[1:]...)...))}
		return down
	}
	down.Latency = latency(w.onset, falls[0].sight)
	o.heldByWindow(w, metric, falls[0], down)
	down.Settle = o.settle(w, falls[0])

	decided := make([][]boundary, len(falls)) // the stages up to each fall
	for i, c := range falls {
		if cooled := o.cooled(w, c); cooled != nil {
			decided[i] = append(cooled, boundary{stage: StageDecision, sight: c.sight})
			continue
		}
		ends := append(o.released(w, metric, c), boundary{stage: StageDecision, sight: c.sight})
		if b, changes := o.turning(w, StageFalling, c.sight, func(u usage) float64 { return o.spare(c, u) }); changes {
			ends = append([]boundary{b}, ends...)
		}
		decided[i] = ends
	}
	first := record.Instant(math.MaxInt64)
	for _, p := range o.pods {
		if p.foreign || p.replaced || !p.terminating.seen || !w.holds(p.terminating.t) || p.terminating.t < falls[0].t.Add(-WatchDelay) {
			continue
		}
		by := 0
		for i, c := range falls {
			if c.t <= p.terminating.t.Add(WatchDelay) {
				by = i
			}
		}
		s := o.podStages(w, p, slices.Concat(decided[by], o.ending(w, p)))
		s.Ended = p.ended()
		down.Pods = append(down.Pods, s)
		if p.terminating.t < first {
			first, down.First = p.terminating.t, &s
		}
	}
	if down.First == nil {
		no := o.missing(w, "a terminating pod", podSource)
		down.First = &PodStages{Latency: absent(no), Stages: stages(w.onset, append(decided[0], unseen(no, downStages[3:]...)...))}
		return down
	}
	down.Median, down.Slowest = rank(down.Pods)
	return down
}

// spare is by how many pods the demand of a reading is below what the HPA took for a fall of the replicas.
func (o *observed) spare(fall replicaChange, u usage) float64 {
	limit := float64(fall.to)
	if hpa := o.autoscaler(fall.t); hpa != nil {
		limit = min(limit, float64(fall.from)*(1-policyOf(hpa.Spec, o.flags).down))
	}
	return limit - *u.ratio*float64(u.counted)
}

func unseen(why string, names ...string) (list []boundary) {
	for _, name := range names {
		list = append(list, boundary{stage: name, missing: why})
	}
	return list
}

// ending are the stages of p from Terminating to gone.
func (o *observed) ending(w window, p *pod) []boundary {
	left := boundary{stage: StageOutOfService, missing: noService}
	switch {
	case !o.serviceWatched:
	case p.left.seen && p.left.t < p.terminating.t.Add(-afterGap):
		left.missing = fmt.Sprintf("pod %s was out of service before it was terminating", p.name)
	case p.left.seen && p.left.t >= w.onset || p.serving:
		left.sight = p.left
		left = o.within(w, left, endpointsSource)
	default:
		left.missing = fmt.Sprintf("pod %s was not in service since the onset", p.name)
	}
	list := []boundary{{stage: StageTerminating, sight: p.terminating}, left}
	if hook := o.preStop(p); hook.stage != "" {
		list = append(list, hook)
	}
	exit, gone := o.within(w, boundary{stage: StageExit, sight: p.exited}, podSource), o.within(w, boundary{stage: StageGone, sight: p.gone}, podSource)
	if gone.seen && !p.exited.seen && !o.hasGap(w, podSource) {
		exit.missing = fmt.Sprintf("not seen before pod %s was gone at %.1f s", p.name, gone.t.Seconds())
	}
	return append(list, exit, gone)
}

// preStop is the end of p's preStop hooks. The API does not tell it, so it is
// known for a sleep only: that begins with the kubelet's Killing event, and ends
// early when the grace period does. It has no stage if p has no such hook.
func (o *observed) preStop(p *pod) boundary {
	var longest time.Duration
	b := boundary{}
	for _, c := range p.now.Containers {
		switch {
		case c.PreStop == "":
		case c.PreStopSleep == nil:
			return boundary{stage: StagePreStop, missing: fmt.Sprintf("Kubernetes does not tell when a preStop hook of kind %s ends", c.PreStop)}
		default:
			b.stage = StagePreStop
			longest = max(longest, time.Duration(*c.PreStopSleep)*time.Second)
		}
	}
	if b.stage == "" {
		return b
	}
	if p.now.Grace != nil && *p.now.Grace > 0 {
		longest = min(longest, time.Duration(*p.now.Grace)*time.Second)
	}
	b.sight = p.terminating
	for _, e := range o.byReason[[2]string{"Pod", "Killing"}] {
		if e.v.Name == p.name && e.t >= p.terminating.t {
			b.sight = o.see("events", e.t)
			break
		}
	}
	b.t = b.t.Add(longest)
	return b
}

// ended says how p's containers ended, empty if that was not seen.
func (p *pod) ended() string {
	for _, c := range p.now.Status.ContainerStatuses {
		t := c.State.Terminated
		switch {
		case t == nil:
			continue
		case t.ExitCode == 137 && p.grace != nil:
			return fmt.Sprintf("killed, exit code 137; its grace time was %d s", *p.grace)
		case t.ExitCode != 0 || len(p.now.Status.ContainerStatuses) == 1:
			return fmt.Sprintf("exit code %d", t.ExitCode)
		}
	}
	return ""
}

// released are the ends of the metrics lag and of the stabilization window of a fall. The metrics lag
// lasts until the HPA no longer recommends more than the fall leaves, which for a later fall may be
// after the metrics first asked for fewer replicas; then the window holds the fall for its length at
// most. Where it did not hold the fall, the stage has no length.
func (o *observed) released(w window, metric boundary, fall replicaChange) []boundary {
	b := boundary{stage: StageWindow}
	_, higher, window, no := o.held(w, fall)
	if no != "" {
		b.missing = no
		return []boundary{metric, b}
	}
	if metric.seen && metric.t > fall.t.Add(WatchDelay) { // it asked for fewer all the time before the fall
		metric.sight, metric.missing = sight{}, asksFewer.already+loadChanged
	}
	if higher.seen && higher.t > w.onset && (!metric.seen || higher.t > metric.t) {
		metric.sight = higher
		metric.t = min(higher.t, fall.t)
	}
	b.sight = sight{t: w.onset, seen: true}
	if metric.seen {
		b.sight = metric.sight
	}
	if ends := higher.t.Add(window); higher.seen && ends > b.t {
		higher.t = min(ends, fall.t)
		b.sight = higher
	}
	return []boundary{metric, b}
}

// heldByWindow fills in Lower, Higher, HeldByWindow, which is as long as the stage of the window, and
// LessWindow. Where the metric was not seen to fall, it begins with the HPA's lower recommendation.
func (o *observed) heldByWindow(w window, metric boundary, decision replicaChange, down *ScaleDown) {
	lower, higher, _, no := o.held(w, decision)
	if o.cooled(w, decision) != nil {
		no = "KEDA took the last replica, by its cooldown period"
	}
	down.Lower, down.Higher = lower.moment(no), higher.moment(no)
	if no == "" && !higher.seen {
		down.Higher.Missing = fmt.Sprintf("the HPA was not seen to recommend more than %s", record.Counted(decision.to, "replica"))
	}
	if no != "" {
		down.HeldByWindow, down.LessWindow = absent(no), absent(no)
		return
	}
	var held time.Duration
	ends := o.released(w, metric, decision)
	if !ends[0].seen {
		ends[0].sight = lower
	}
	if higher.seen {
		held = max(0, ends[1].t.Sub(ends[0].t))
	}
	blur := max(ends[0].blur, ends[1].blur, decision.blur)
	down.HeldByWindow = Latency{Seconds: new(held.Seconds()), PrecisionSeconds: blur.Seconds()}
	down.LessWindow = Latency{Seconds: new((decision.t.Sub(w.onset) - held).Seconds()), PrecisionSeconds: blur.Seconds()}
}

// held finds ScaleDown.Lower and Higher for a decision, and the window that was
// set then; or why they are not known. Higher is not seen if there was none.
func (o *observed) held(w window, decision replicaChange) (lower, higher sight, window time.Duration, no string) {
	var known *record.Instant // when the first status that tells a recommendation was seen
	current := func(t record.Instant) int32 {
		c, _ := last(o.targets, t)
		return c.Replicas
	}
	window = o.flags.DownscaleStabilization.Duration
	if hpa := o.autoscaler(decision.t); hpa != nil {
		window = policyOf(hpa.Spec, o.flags).window
	}
	// A status stays as it is where the recommendation falls without another metric: where the replicas fell, the window
	// was over.
	latest := decision.t
	if slices.ContainsFunc(o.changes, func(c replicaChange) bool { return c.t == decision.t }) {
		latest = decision.t.Add(-window)
	}
	before := after(o.hpas, decision.t-1)
	if i := slices.IndexFunc(o.wants[:before], func(w want) bool { return w.ok }); i >= 0 {
		known = &o.hpas[i].t
	}
	until := func(i int) record.Instant { return standsUntil(o.hpas, i, decision.t) }
	for i := before - 1; i >= 0; i-- {
		if !o.wants[i].ok || o.wants[i].n <= decision.to {
			continue
		}
		// The HPA does not write a status that is the same: until it wrote the
		// next one, each of its syncs recommended the same.
		t := o.hpas[i].t
		higher = o.see(hpaSource, max(t, min(until(i).Add(-o.flags.Sync.Duration), latest)))
		if higher.t > t && !o.flags.known { // the period is assumed
			higher.blur = max(higher.blur, min(higher.t.Sub(t), o.shortest-o.flags.Sync.Duration))
		}
		break
	}
	for i := max(0, after(o.hpas, w.onset)-1); i < before; i++ {
		if t := o.hpas[i].t; o.wants[i].ok && until(i) > w.onset && o.wants[i].n < current(max(t, w.onset)) {
			lower = o.see(hpaSource, max(t, w.onset))
			if t <= w.onset {
				lower.blur = 0
			}
			break
		}
	}
	switch {
	case known == nil:
		no = "no status of the HPA with its metrics was seen before the decision"
	case !higher.seen && decision.t.Sub(*known) < window:
		no = fmt.Sprintf("the HPA's status was first seen less than its window of %.0f s before the decision", window.Seconds())
	}
	if no == "" && !lower.seen { // the status that brought the decision comes after it
		lower = decision.sight
	}
	return lower, higher, window, no
}

// shortestSync is the shortest time between two statuses of the HPA that is no
// mere follow-up (it is synced again when its own scaling changes it). Its sync
// period, which the API does not tell, is not longer.
func (o *observed) shortestSync() time.Duration {
	shortest := time.Duration(math.MaxInt64)
	for i := 1; i < len(o.hpas); i++ {
		if d := o.hpas[i].t.Sub(o.hpas[i-1].t); d >= time.Second {
			shortest = min(shortest, d)
		}
	}
	return shortest
}

// lowered is how many of n replicas the HPA would leave at the end of w if its window and its policies did not hold
// them, by its status and by its metrics, which the status may lag behind. A metric that swings about its target after
// a scale-down is not below it before two syncs have found it so.
func (o *observed) lowered(w window, n int32) int32 {
	hpa := o.autoscaler(w.end)
	if hpa == nil {
		return n
	}
	p, wants := policyOf(hpa.Spec, o.flags), n
	if want := o.want(w.end); want.ok {
		wants = min(wants, want.n)
	}
	if u, ok := last(o.usages, w.end); ok && u.ratio != nil {
		wants = min(wants, replicasFor(*u.ratio, n, p))
	}
	_, higher, _, _ := o.held(w, replicaChange{sight: sight{t: w.end, seen: true}, from: n, to: n - 1})
	if len(o.changesTo(Down, w)) > 0 && higher.seen && w.end.Sub(higher.t) < 2*o.flags.Sync.Duration {
		return n
	}
	return min(n, max(p.min, wants))
}

// settle is onset → supply at the plateau for good and the last of the pods that
// the scale-down ended gone. Pods that are not ready for a time do not delay it; replicas that fell
// below the plateau and rose again do.
func (o *observed) settle(w window, decision replicaChange) Latency {
	plateau := o.supplyAt(w.end)
	if plateau == nil {
		return absent("the pods were not observed")
	}
	if t, ok := last(o.targets, w.end-1); ok && *plateau > int(t.Replicas) {
		return absent(fmt.Sprintf("of %d wanted replicas still %d were %s when %s at %.1f s", t.Replicas, *plateau, o.supplyName(), w.endedBy, w.end.Seconds()))
	}
	n, _ := last(o.targets, w.end-1)
	if wants := o.lowered(w, n.Replicas); wants < n.Replicas {
		return absent(fmt.Sprintf("the HPA asked for %d of %s when %s at %.1f s", wants, record.Counted(n.Replicas, "replica"), w.endedBy, w.end.Seconds()))
	}
	if cooling := o.cooling(w.end, n.Replicas); cooling != "" {
		return absent(fmt.Sprintf("there were %s when %s at %.1f s, and %s", record.Counted(n.Replicas, "replica"), w.endedBy, w.end.Seconds(), cooling))
	}
	rose := slices.ContainsFunc(o.changes, func(c replicaChange) bool { return w.holds(c.t) && int(c.to) < *plateau })
	at := o.supplySince(w, func(n int) bool { return n == *plateau || n < *plateau && !rose })
	for _, p := range o.pods {
		if p.foreign || p.replaced || !p.terminating.seen || !w.holds(p.terminating.t) || p.terminating.t < decision.t.Add(-WatchDelay) {
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
