package analysis

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
)

// scaling finds what the HPA did with its metrics, or did not.
func (d *diagnosis) scaling() {
	hpa := d.autoscaler(d.end)
	if hpa == nil {
		d.cpuLimit()
		return
	}
	p := policyOf(hpa.Spec, d.flags)
	d.spec(p)
	d.noneCounted(p)
	d.cpuLimit()
	d.foreign(p)
	d.maxReached(p)
	d.flapping()
	if slices.ContainsFunc(d.found, func(f Finding) bool { return f.Spoils }) {
		return // what the HPA did not do is not of itself
	}
	d.statusStale(p)
	d.notScaled(p)
	d.seenLate(p)
	d.loadTooSmall(p)
	d.upLimited()
	d.window(p)
}

// foreign finds replicas that the HPA did not set. Who set them spoils the measurement
// unless it may be the HPA controller, by its field manager.
func (d *diagnosis) foreign(p policy) {
	for _, s := range d.steps(window{onset: d.start, end: d.end}) {
		if !s.Foreign {
			continue
		}
		d.add(Finding{Kind: FoundForeignScale, Severity: Limits, Object: d.target(), SinceSeconds: new(s.AtSeconds), UntilSeconds: new(s.AtSeconds),
			Spoils: !d.looksOnly() && (!slices.Contains(d.managers, s.By) || s.By == "" && s.To < p.min), // a zero has no manager
			Seen:   fmt.Sprintf("Its spec.replicas went from %d to %d at %.1f s; neither an event nor the status of the HPA speaks of it, and the object says that %s wrote it.", s.From, s.To, s.AtSeconds, cmp.Or(s.By, "somebody")),
			Cause:  "A person, a deployment pipeline or another controller sets the replicas, too; the HPA starts over from what it finds.",
			Advice: "Leave spec.replicas out of what is applied (`kubectl apply`, Helm, GitOps) while an HPA scales the object, and have one autoscaler only."})
	}
}

// metricLevels are the readings of the HPA's metrics or, where hpabench did not read all of them, those in its
// status, which are of the pods that it found.
func (d *diagnosis) metricLevels() []at[usage] {
	if slices.ContainsFunc(d.usages, func(u at[usage]) bool { return u.v.ratio != nil }) {
		return d.usages
	}
	var levels []at[usage]
	for _, a := range d.hpas {
		u := usage{counted: int(a.v.Status.CurrentReplicas)}
		if ratios := statusRatios(a.v); len(ratios) > 0 {
			u.setRatios(ratios)
		}
		u.from, u.to = d.seenBy(a)
		levels = append(levels, at[usage]{a.t, u})
	}
	return levels
}

// seenBy is the window of the samples that the HPA saw before a status: of the reading before it, or of the one
// after it if that has the status's CPU and the one before has not, as readings may come later than samples.
func (d *diagnosis) seenBy(a at[*record.Autoscaler]) (from, to record.Instant) {
	has := func(u usage) bool {
		for i, m := range a.v.Spec.Metrics {
			if is := statusOf(a.v, i).AverageUtilization; is != nil && m.Resource != nil && m.Resource.Name == corev1.ResourceCPU && u.cpuPercent != nil {
				return int32(*u.cpuPercent) == *is
			}
		}
		return false
	}
	i := after(d.usages, a.t)
	if i > 0 {
		from, to = d.usages[i-1].v.from, d.usages[i-1].v.to
	}
	if i < len(d.usages) && has(d.usages[i].v) && (i == 0 || !has(d.usages[i-1].v)) {
		from, to = d.usages[i].v.from, d.usages[i].v.to
	}
	return from, to
}

// beyond is the longest stretch in which keep holds for the readings of the
// metric, each of which stands until the next one.
func (d *diagnosis) beyond(from, to record.Instant, keep func(at[usage]) bool) (start, end record.Instant, most float64) {
	var since record.Instant
	var peak float64
	holds := false
	for i := after(d.levels, from-1); i < len(d.levels); i++ {
		u := d.levels[i]
		if u.t > to {
			break
		}
		if u.v.ratio == nil || !keep(u) {
			holds, peak = false, 0
			continue
		}
		if !holds {
			holds, since = true, u.t
		}
		peak = max(peak, *u.v.ratio)
		until := standsUntil(d.levels, i, to)
		if until.Sub(since) > end.Sub(start) {
			start, end, most = since, until, peak
		}
	}
	return start, end, most
}

// maxReached finds that the maximum held the HPA back: the metric of all pods was
// above the target for two syncs.
func (d *diagnosis) maxReached(p policy) {
	if d.has(FoundMinIsMax, FoundRunsAway) {
		return
	}
	held := func(u at[usage]) bool {
		t, ok := last(d.targets, u.t)
		return ok && t.Replicas >= p.max && u.v.counted >= int(t.Replicas) && *u.v.ratio > 1+p.up
	}
	start, end, most := d.beyond(d.start, d.end, held)
	if end.Sub(start) < 2*d.flags.Sync.Duration {
		return
	}
	// Before all pods counted it was above the target too, with fewer of them.
	i := after(d.targets, start)
	for i > 0 && d.targets[i-1].v.Replicas >= p.max {
		i--
	}
	since := max(d.targets[i].t, d.start)
	if !slices.ContainsFunc(between(d.levels, since, start), func(u at[usage]) bool { return u.v.ratio != nil && *u.v.ratio <= 1+p.up }) {
		start = since
	}
	for _, u := range between(d.levels, d.start, d.end) { // the peak may be in a shorter stretch
		if u.v.ratio != nil && held(u) {
			most = max(most, *u.v.ratio)
		}
	}
	want := int32(math.Ceil(float64(p.max)*most - 1e-9))
	peak, remedy := fmt.Sprintf("for %d at the peak", want), ""
	if d.hasIn(start.Seconds(), end.Seconds(), FoundCPULimit) && p.goesBy(corev1.ResourceCPU) {
		peak, remedy = fmt.Sprintf("for %d or more at the peak; a CPU limit holds the metric", want), "; and raise or remove the CPU limit"
	}
	if d.hasIn(start.Seconds(), end.Seconds(), FoundStarved) {
		remedy += "; spread the requests over all pods first (finding starved), as more replicas are no help before"
	}
	f := Finding{Kind: FoundMaxReached, Severity: Limits, Object: d.hpa(), SinceSeconds: new(start.Seconds()), UntilSeconds: d.until(end),
		Seen:   fmt.Sprintf("With its maximum of %s the metric stayed above the target for %.0f s: up to %.0f %% of it (%s).", record.Counted(p.max, "replica"), end.Sub(start).Seconds(), most*100, targets(p)),
		Cause:  fmt.Sprintf("The load asks for more replicas than it may have: %s.", peak),
		Advice: fmt.Sprintf("Raise maxReplicas to %d or more if the nodes have room, or make a request cheaper%s.", want, remedy)}
	if slices.ContainsFunc(p.metrics, func(m autoscalingv2.MetricSpec) bool { _, target := record.MetricTarget(m); return target.Value != nil }) {
		f.Advice = "Raise maxReplicas if more pods bring the metric down; else use a target of type AverageValue, which divides the metric by the replicas."
	}
	d.add(f)
}

func targets(p policy) string {
	var list string
	for i, m := range p.metrics {
		if i > 0 {
			list += ", "
		}
		list += describe(m)
	}
	return "target: " + list
}

// notScaled finds that the HPA did not follow its metric: spec.replicas stayed
// below the maximum though the metric of all pods was above the target for two
// of its syncs.
func (d *diagnosis) notScaled(p policy) {
	if slices.ContainsFunc(d.found, func(f Finding) bool {
		return f.Severity == Blocks && slices.Contains([]string{FoundMetricsAbsent, FoundNoRequest, FoundStatusStale, FoundOverlap, FoundMinIsMax, FoundDirectionDisabled, FoundNeverActivated, FoundStuckAtZero}, f.Kind)
	}) {
		return // that is why
	}
	for _, t := range d.r.Transitions {
		if slices.ContainsFunc(t.Steps, func(s Step) bool { return s.To > s.From }) || t.Direction != Up {
			continue
		}
		onset, end := record.Instant(t.OnsetSeconds*1e9), record.Instant(t.EndSeconds*1e9)
		from, to, most := d.beyond(onset+1, end, func(u at[usage]) bool {
			x, ok := last(d.targets, u.t)
			return ok && x.Replicas < p.max && u.v.counted >= int(x.Replicas) && *u.v.ratio > 1+p.up
		})
		if to.Sub(from) <= 2*d.flags.Sync.Duration+time.Second || d.blockedIn(from.Seconds(), to.Seconds(), FoundSignalAbsent, FoundPaused) {
			continue
		}
		f := Finding{Kind: FoundNotScaled, Severity: Blocks, Object: d.hpa(), SinceSeconds: new(from.Seconds()), UntilSeconds: d.until(to),
			Seen:   fmt.Sprintf("It added no replica, though the metric was above the target for %.0f s, at up to %.0f %% of it (%s), and its maximum is %d.", to.Sub(from).Seconds(), most*100, targets(p), p.max),
			Cause:  "The HPA controller does not work on it, or sees other metrics than metrics.k8s.io serves.",
			Advice: fmt.Sprintf("Look at the conditions and events of `kubectl describe %s%s`.", d.hpa(), d.namespace())}
		if says := d.unable(end); says != "" {
			f.Cause = says
		} else if hpa := d.autoscaler(to - 1); hasReason(hpa, autoscalingv2.AbleToScale, "ScaleUpStabilized") {
			if up, _ := behaviorOf(hpa.Spec); up != nil && *up.StabilizationWindowSeconds > 0 {
				f.Cause = fmt.Sprintf("Its behavior.scaleUp.stabilizationWindowSeconds is %d: it takes the lowest recommendation of that time.", *up.StabilizationWindowSeconds)
				f.Advice = "Set a smaller behavior.scaleUp.stabilizationWindowSeconds; the default is 0."
			} else { // the spec is newer than the status
				f.Cause = "Its behavior.scaleUp.stabilizationWindowSeconds made it take the lowest recommendation of that time, until somebody took the window out of its spec."
				f.Advice = "Run it again with the spec that it has now."
			}
		} else if hasReason(hpa, autoscalingv2.ScalingLimited, "ScaleUpLimit") {
			f.Cause = "The replicas that the policies in its behavior.scaleUp allow in their periods were used up by earlier scale-ups."
			f.Advice = "Allow more replicas in a shorter period, in behavior.scaleUp.policies."
		}
		d.add(f)
	}
}

// hasReason says whether a condition of the HPA has a reason.
func hasReason(a *record.Autoscaler, kind autoscalingv2.HorizontalPodAutoscalerConditionType, reason string) bool {
	c := hpaCondition(a, kind)
	return c != nil && c.Reason == reason
}

// unable is what the HPA says at t of why it does not scale; empty if it can. Other conditions that are
// False, such as ScalingLimited and ScaledToZero, are no reason.
func (d *diagnosis) unable(t record.Instant) (says string) {
	for _, kind := range []autoscalingv2.HorizontalPodAutoscalerConditionType{autoscalingv2.AbleToScale, autoscalingv2.ScalingActive} {
		if c := hpaCondition(d.autoscaler(t), kind); c != nil && c.Status == corev1.ConditionFalse {
			says = fmt.Sprintf("It says that %s is False: %s: %s", c.Type, c.Reason, sentence(c.Message))
		}
	}
	return says
}

// mostLoaded is the transition up in which the HPA's ith metric was highest, by when its samples end, and its readings before and then;
// nil without a reading.
func (d *diagnosis) mostLoaded(i int, p policy) (most *Transition, idle, peak usage) {
	name, _ := record.ResourceOf(p.metrics[i])
	for k := range d.r.Transitions {
		t := &d.r.Transitions[k]
		onset, end := record.Instant(t.OnsetSeconds*1e9), record.Instant(t.EndSeconds*1e9)
		risen, edge := end, end // when the load falls again: of short phases that each rise, a reading comes in a later one
		for _, next := range d.r.Transitions[k+1:] {
			if next.ScaleUp == nil {
				break
			}
			risen, edge = record.Instant(next.EndSeconds*1e9), end.Add(-stampCut)
		}
		var before usage
		for _, u := range d.levels {
			if name == "" || u.v.to == 0 {
				u.v.from, u.v.to = u.t, u.t // it is not of samples
			}
			first, past := onset, end // samples may reach stampCut beyond the time that they say, into a load that rose
			if name != "" {
				first, past = onset.Add(-stampCut), edge
			}
			switch {
			case name != "" && u.v.signal != "": // which has the samples of the reading before
			case t.ScaleUp == nil || u.v.ratio == nil || u.v.to >= past || u.t >= risen:
			case u.v.to <= first:
				before = u.v
			case most == nil || u.v.ratioOf(i) >= peak.ratioOf(i):
				most, idle, peak = t, before, u.v
			}
		}
	}
	return most, idle, peak
}

// rise is how a metric of the HPA rose with the load, and at which rate it would have asked for more replicas.
type rise struct {
	metric, phase string
	spec          autoscalingv2.MetricSpec
	grew          bool // with the load
	follows       bool // or it is not known whether it did
	peak          float64
	rate          float64 // infinite if it is not known
	least         float64 // what rate is at least, by where in their second the samples end
}

// stampCut is by how much later a sample may end than its timestamp says, which metrics.k8s.io cuts to whole seconds.
const stampCut = time.Second

// A rate is worked out of a rise of leastRise of the whole units that a metric comes in at least, as rounding
// makes an error of one of them, and up to mostTimes the rate that was sent.
const leastRise, mostTimes = 5, 10

// riseOf is that of the HPA's ith metric, by the line through idle and the peak.
func (d *diagnosis) riseOf(i int, p policy) rise {
	m := p.metrics[i]
	r := rise{spec: m, rate: math.Inf(1), least: math.Inf(1)}
	r.metric, _ = record.MetricTarget(m)
	name, _ := record.ResourceOf(m)
	t, idle, peak := d.mostLoaded(i, p)
	if t == nil || name == corev1.ResourceMemory {
		return r
	}
	from, rate := d.rates(t, idle, peak)
	r.peak = peak.ratioOf(i)
	late, lateRate := from, rate
	if name != "" {
		late, lateRate = d.rates(t, idle.later(stampCut), peak.later(stampCut))
	}
	r.phase, r.follows = d.phasesOf(t, peak), idle.ratio == nil || rate <= from && lateRate <= late
	if r.follows {
		return r
	}
	_, target := record.MetricTarget(m)
	rose := r.peak - idle.ratioOf(i)
	r.grew = rose > 0
	if rose*float64(goalOf(target)) > leastRise-0.5 {
		line := func(from, rate float64) float64 { return rate + (1+p.up-r.peak)/rose*(rate-from) }
		one, other := line(late, lateRate), line(late, lateRate)
		if rate > from {
			one = line(from, rate)
		}
		if r.least = min(one, other); rate > from && max(one, other) <= min(mostTimes*rate, mostApart*r.least) {
			r.rate = max(one, other)
		}
	}
	return r
}

// mostApart is how many times the other of two rates may be, by where the samples end, for it to be told.
const mostApart = 1.25

// later is a reading whose samples end later.
func (u usage) later(by time.Duration) usage {
	if u.to > 0 {
		u.from, u.to = u.from.Add(by), u.to.Add(by)
	}
	return u
}

// phasesOf names the phases in which the samples of a transition's peak were taken.
func (d *diagnosis) phasesOf(t *Transition, peak usage) string {
	if first := d.phase(max(peak.from, d.start)).name; peak.from.Seconds() < t.OnsetSeconds && first != t.ToPhase {
		return fmt.Sprintf("phases %s to %s", first, t.ToPhase)
	}
	return "phase " + t.ToPhase
}

// rates are those of the load at idle and at the peak. The samples may be older than the phase, and on a ramp or
// a sine the rate is not that of all of it.
func (d *diagnosis) rates(t *Transition, idle, peak usage) (from, rate float64) {
	onset := record.Instant(t.OnsetSeconds * 1e9)
	from, rate = t.FromRate, t.ToRate
	if idle.to > 0 && d.phase(onset-1).plan.Shape != record.ShapeWorkers {
		from = d.offered(idle)
	}
	if peak.to > 0 && d.phase(onset).plan.Shape != record.ShapeWorkers {
		rate = d.offered(peak)
	}
	return from, rate
}

// loadTooSmall finds that no load of the run brought a metric to its target,
// and says which rate would have.
func (d *diagnosis) loadTooSmall(p policy) {
	var t *Transition
	var idle, peak usage
	highest := 0
	for i := range p.metrics {
		if x, before, most := d.mostLoaded(i, p); x != nil && (t == nil || most.ratioOf(i) > peak.ratioOf(highest)) {
			t, idle, peak, highest = x, before, most, i
		}
	}
	top, covered := d.mostSent()
	if d.looksOnly() || d.has(FoundCannotScale, FoundMinIsMax, FoundMetricsAbsent, FoundNotScaled, FoundStuckAtZero, FoundNeverActivated) || d.cut() ||
		slices.ContainsFunc(d.r.Transitions, func(t Transition) bool {
			return slices.ContainsFunc(t.Steps, func(s Step) bool { return s.To > s.From })
		}) {
		return
	}
	const notKnown = "No sample is of that load alone, so that whether it is too small is not known."
	if t == nil && top.ToRate > 0 && top.EndSeconds == d.r.EndSeconds && top.EndSeconds-top.OnsetSeconds < d.inSight().Seconds() &&
		slices.ContainsFunc(d.levels, func(u at[usage]) bool { return u.v.ratio != nil && u.v.to > 0 && u.v.signal == "" }) &&
		!slices.ContainsFunc(d.found, func(f Finding) bool { return f.Severity == Blocks && f.in(top.OnsetSeconds, top.EndSeconds) }) {
		d.tooShort(top, "no sample that ends in it was read.", notKnown)
	}
	if t == nil || t.ToRate <= 0 {
		return
	}
	if slices.ContainsFunc(d.r.Transitions, func(other Transition) bool {
		return other.ToRate > t.ToRate && d.overloadShare(other.ToPhase) >= failedShare
	}) {
		return // a higher load, in which the HPA counted no pod, was too much for these
	}
	if up, _ := behaviorOf(d.autoscaler(d.end).Spec); off(up) || d.hasIn(t.OnsetSeconds, t.EndSeconds, FoundNotReady, FoundProbe, FoundCrash, FoundOOM) {
		return // or the HPA does not count the pods that serve the load
	}
	onset, end := record.Instant(t.OnsetSeconds*1e9), record.Instant(t.EndSeconds*1e9)
	if n, ok := last(d.targets, onset); !ok || n.Replicas >= p.max {
		return
	}
	if *peak.ratio > 1+p.up {
		d.notLooked(p, *t)
		return
	}
	memory := true
	var first rise
	var rises []rise
	for i, m := range p.metrics {
		name, _ := record.ResourceOf(m)
		memory = memory && name == corev1.ResourceMemory
		r := d.riseOf(i, p)
		if rises = append(rises, r); i == 0 || r.rate < first.rate {
			first = r
		}
	}
	rate, its := t.ToRate, "its metric"
	if name, _ := record.ResourceOf(p.metrics[highest]); name != corev1.ResourceMemory {
		_, rate = d.rates(t, idle, peak)
	}
	// A metric that is a rate over a minute, say, may come to its highest after the load that brought it there.
	later := time.Duration(0)
	for _, u := range between(d.levels, onset+1, d.end-1) {
		if u.v.ratio != nil && *u.v.ratio > *peak.ratio {
			peak, later = u.v, u.t.Sub(end)
		}
	}
	if *peak.ratio > 1+p.up {
		return
	}
	advised := rises
	known := later <= 0 && !math.IsInf(first.rate, 1) && !slices.ContainsFunc(rises, func(r rise) bool { // one that is nearer may be first
		return math.IsInf(r.rate, 1) && (r.grew || r.follows) && r.peak > first.peak
	})
	if known {
		advised = []rise{first}
	}
	enough := false // the load was, or may have been
	if later <= 0 && !memory {
		enough = top.ToRate >= first.least
		if name, _ := record.ResourceOf(p.metrics[highest]); name != "" && !covered && (enough || top.ToRate > rate && math.IsInf(first.least, 1)) {
			cause := notKnown
			if enough {
				cause = "The load is not too small but too short: it was over before the HPA read a sample that is of that load alone."
			}
			d.tooShort(top, fmt.Sprintf("its metric came to %.0f %% of the target at most (%s), and a scale-up begins above %.0f %%.", *peak.ratio*100, targets(p), (1+p.up)*100), cause)
			return
		}
	}
	lower, when := "Set a lower target", ""
	if len(rises) > 1 {
		name, _ := record.MetricTarget(p.metrics[highest])
		if its = "its highest metric, " + name + ","; known {
			lower, when = lower+" for "+first.metric, fmt.Sprintf(", at which %s comes to %.0f %% of its target", first.metric, (1+p.up)*100)
		}
	}
	f := Finding{Kind: FoundLoadTooSmall, Severity: Limits, Object: d.hpa(), SinceSeconds: &t.OnsetSeconds, UntilSeconds: d.until(end),
		Seen:   fmt.Sprintf("With %s requests/s %s came to %.0f %% of the target at most (%s), and a scale-up begins above %.0f %%.", record.Plain(rate, 4), its, *peak.ratio*100, targets(p), (1+p.up)*100),
		Cause:  "The load is too small for as many replicas as there are.",
		Advice: lower}
	for _, r := range advised {
		if name, _ := record.ResourceOf(r.spec); name != "" && r.spec.Resource != nil && r.spec.Resource.Target.AverageUtilization != nil {
			if less := fmt.Sprintf(", or request less %s", map[bool]string{true: "CPU", false: string(name)}[name == corev1.ResourceCPU]); !strings.Contains(f.Advice, less) {
				f.Advice += less
			}
		}
	}
	if later > 0 {
		f.Seen = fmt.Sprintf("Its metric came to %.0f %% of the target at most (%s), %.0f s after the load of phase %s had ended, and a scale-up begins above %.0f %%.", *peak.ratio*100, targets(p), later.Seconds(), t.ToPhase, (1+p.up)*100)
	}
	switch share := d.overloadShare(t.ToPhase); {
	case share >= failedShare && d.hasIn(t.OnsetSeconds, t.EndSeconds, FoundCPULimit) && p.goesBy(corev1.ResourceCPU):
		f.Cause = fmt.Sprintf("%s %% of the requests of phase %s failed already: a CPU limit is reached before the metric is where a scale-up begins.", record.Plain(share*100, 2), t.ToPhase)
		f.Advice += "; or raise or remove the CPU limit."
	case share >= failedShare:
		f.Cause = fmt.Sprintf("The metric does not follow the load: %s %% of the requests of phase %s failed already, so that something else than what it measures is at its limit.", record.Plain(share*100, 2), t.ToPhase)
		f.Advice += "; or scale on what is at its limit, such as the requests in flight."
	case memory:
		f.Cause = "The metric does not rise enough with the load; memory in particular depends on what the server keeps, not on the rate."
		f.Advice += "; or scale on a metric that follows the load."
	case known && !enough:
		f.Advice += fmt.Sprintf(", or send more than about %s requests/s in %s%s.", record.Plain(first.rate, 2), first.phase, when)
	case later > 0 || enough:
		f.Advice += ", or send more load, or as much for longer."
	case !slices.ContainsFunc(rises, func(r rise) bool { return r.grew || r.follows }):
		f.Cause = "The metric does not rise with the load."
		f.Advice += "; or scale on a metric that follows the load."
	default:
		f.Advice += ", or send more load."
	}
	d.add(f)
}

// mostSent is the transition up to the highest rate, and whether samples are of that load alone.
func (d *diagnosis) mostSent() (top Transition, covered bool) {
	for _, t := range d.r.Transitions {
		if t.ScaleUp != nil && t.ToRate > top.ToRate {
			top = t
		}
	}
	onset, end := record.Instant(top.OnsetSeconds*1e9), record.Instant(top.EndSeconds*1e9)
	in := d.phase(onset)
	return top, !in.plan.Changes() && slices.ContainsFunc(between(d.levels, onset, d.end), func(u at[usage]) bool {
		return u.v.ratio != nil && u.v.from >= onset && u.v.to < end
	})
}

// tooShort adds that the load of a transition was over before the HPA saw how high it is.
func (d *diagnosis) tooShort(t Transition, saw, cause string) {
	d.add(Finding{Kind: FoundSeenLate, Severity: Limits, Object: d.hpa(), SinceSeconds: new(t.OnsetSeconds), UntilSeconds: d.until(record.Instant(t.EndSeconds * 1e9)),
		Seen:   fmt.Sprintf("The load of phase %s, of up to %s requests/s, lasted %.0f s, and the HPA added no replica: %s", t.ToPhase, record.Plain(t.ToRate, 4), t.EndSeconds-t.OnsetSeconds, saw),
		Cause:  cause,
		Advice: fmt.Sprintf("Let phase %s last %.0f s or longer (two samples and two syncs), or let a phase of less load follow, in which the HPA may still see it.", t.ToPhase, d.inSight().Seconds())})
}

// inSight is how long a load lasts that the HPA is sure to see: two scrapes and two syncs.
func (d *diagnosis) inSight() time.Duration {
	return 2*d.every + housekeeping + 2*d.flags.Sync.Duration
}

// notLooked finds that a metric came to ask for more replicas so shortly before the end that the HPA did not look at it.
func (d *diagnosis) notLooked(p policy, t Transition) {
	levels := between(d.levels, record.Instant(t.OnsetSeconds*1e9), d.end)
	i := slices.IndexFunc(levels, func(u at[usage]) bool { return u.v.ratio != nil && *u.v.ratio > 1+p.up })
	if i < 0 || d.end.Sub(levels[i].t) > d.flags.Sync.Duration || len(between(d.hpas, levels[i].t, d.end)) > 0 {
		return
	}
	d.tooShort(t, fmt.Sprintf("its metric came to %.0f %% of the target (%s) at %.1f s, and the HPA did not look at it before %s at %.1f s.", *levels[i].v.ratio*100, targets(p), levels[i].t.Seconds(), d.endedBy, d.end.Seconds()),
		"The load is not too small but too short for the HPA to see it.")
}

// overloadShare is the share of a phase's requests that failed as they do where more come than are served, not by
// an error of the program; 0 if none were sent.
func (d *diagnosis) overloadShare(phase string) float64 {
	for _, l := range d.r.Load.Phases {
		if total := l.Answered + l.Failed; l.Name == phase && total > 0 {
			failed := sumOf(l.Failures, waitedCauses) + sumOf(l.Failures, droppedConnections) + l.Failures[refusedConnection] + sumOf(l.Codes, waitedCodes)
			return float64(failed) / float64(total)
		}
	}
	return 0
}

// cut says whether the run ended before its load did.
func (d *diagnosis) cut() bool {
	return d.finish == nil || d.finish.Outcome != record.Completed
}

// flapping finds that replicas were taken away and given back, and says which
// stabilization window would have held them.
func (d *diagnosis) flapping() {
	var own []replicaChange
	foreign := map[float64]bool{}
	for _, t := range d.r.Transitions {
		for _, s := range t.Steps {
			foreign[s.AtSeconds] = s.Foreign
		}
	}
	for _, c := range d.changes {
		if c.t >= d.start && c.t < d.end && !foreign[c.t.Seconds()] {
			own = append(own, c)
		}
	}
	reversals := 0
	var first, last record.Instant
	var needed time.Duration
	for i := 1; i < len(own); i++ {
		fall, rise := own[i-1], own[i]
		if (fall.to < fall.from) == (rise.to < rise.from) || fall.to == 0 || fall.from == 0 {
			continue // from zero and back is told by zeroFlapping
		}
		reversals++
		if fall.to > fall.from || rise.t.Sub(fall.t) > record.FlapWithin {
			continue
		}
		if last = rise.t; first == 0 {
			first = fall.t
		}
		needed = max(needed, rise.t.Sub(d.heldSince(fall)))
	}
	if reversals < 2 || last == 0 {
		return
	}
	for i, fall := range own { // of several steps, each up to where as many were wanted again
		for _, rise := range own[i+1:] {
			if fall.to > fall.from || fall.to == 0 || rise.t.Sub(fall.t) > record.FlapWithin {
				break
			}
			if rise.to >= fall.from {
				needed = max(needed, rise.t.Sub(d.heldSince(fall)))
				break
			}
		}
	}
	seconds := int(math.Ceil(needed.Seconds()/5)) * 5
	d.add(Finding{Kind: FoundFlapping, Severity: Limits, Object: d.hpa(), SinceSeconds: new(first.Seconds()), UntilSeconds: new(last.Seconds()),
		Seen:   fmt.Sprintf("It changed direction often: %d reversals, with replicas taken away and added again within %.0f s.", reversals, record.FlapWithin.Seconds()),
		Cause:  "Its stabilization window is shorter than the pauses of the load.",
		Advice: fmt.Sprintf("`behavior.scaleDown.stabilizationWindowSeconds: %d` would have held the replicas.", seconds)})
}

// heldSince is from when a stabilization window counts that would have held a scale-down: the last higher
// recommendation before it, else as long before the scale-down as the window is that let it happen.
func (d *diagnosis) heldSince(fall replicaChange) record.Instant {
	_, higher, window, no := d.held(window{onset: d.start, end: d.end}, fall)
	if no == "" && higher.seen {
		return min(higher.t, fall.t.Add(-window))
	}
	return fall.t.Add(-window)
}

// windowHolds is the reason of the condition AbleToScale while the scale-up window holds the replicas: see
// stabilizeRecommendationWithBehaviors in k8s.io/kubernetes/pkg/controller/podautoscaler.
const windowHolds = "ScaleUpStabilized"

// heldUp is the longest time in which scale-up policies held the HPA below what it recommended, or in which the scale-up window alone
// did, by its statuses from the first on, and the most that it asked for meanwhile; empty without one.
func (d *diagnosis) heldUp() (first at[*record.Autoscaler], until record.Instant, asked int32) {
	held := func(i int) (by string) {
		a := d.hpas[i].v
		up, _ := behaviorOf(a.Spec) // which another finding tells if it is off
		switch {
		case d.hpas[i].t < d.start || !d.wants[i].ok || d.wants[i].n <= a.Status.DesiredReplicas || off(up):
		case hasReason(a, autoscalingv2.ScalingLimited, reasonUp):
			return reasonUp
		case hasReason(a, autoscalingv2.AbleToScale, windowHolds):
			return windowHolds
		}
		return ""
	}
	for i := 0; i < len(d.hpas) && d.hpas[i].t < d.end; i++ {
		by := held(i)
		if by == "" {
			continue
		}
		from, most := d.hpas[i], d.wants[i].n
		for ; i+1 < len(d.hpas) && held(i+1) == by; i++ {
			most = max(most, d.wants[i+1].n)
		}
		// Or another finding says so.
		if to := standsUntil(d.hpas, i, d.end); to.Sub(from.t) > until.Sub(first.t) && !d.hasIn(from.t.Seconds(), to.Seconds(), FoundNotScaled) {
			first, until, asked = from, to, most
		}
	}
	return first, until, asked
}

// upLimited finds the scale-up that policies or the window held longest below what the HPA recommended: for longer than one
// sync, after which the HPA would have taken its next step anyway.
func (d *diagnosis) upLimited() {
	if d.has(FoundRunsAway) {
		return // more replicas sooner are no help
	}
	first, until, asked := d.heldUp()
	lasted := until.Sub(first.t)
	if lasted <= d.flags.Sync.Duration+time.Second {
		return
	}
	n, _ := last(d.targets, until)
	late := fmt.Sprintf("it had %d", n.Replicas)
	switch w := d.want(until); {
	case n.Replicas >= asked:
		late = "it had them"
	case w.ok && w.n > n.Replicas:
		late = "it still asked for more"
	case w.ok:
		late += fmt.Sprintf(" and asked for %d", w.n)
	}
	spec, from, to := first.v.Spec, first.v.Status.CurrentReplicas, first.v.Status.DesiredReplicas
	went := fmt.Sprintf("stayed at %d", from)
	if to > from {
		went = fmt.Sprintf("went from %d to %d", from, to)
	}
	if l := d.normalize(spec, first.t, from, d.want(first.t).raw, 0, false); l.by == LimitUpPolicy || l.by == LimitStabilization {
		went += " (" + l.text + ")"
	}
	advised := autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, PeriodSeconds: 15}}}}
	if spec.Behavior != nil {
		advised.ScaleDown = spec.Behavior.ScaleDown
	}
	spec.Behavior = &advised
	up, _ := behaviorOf(spec)
	allowed, _ := d.policyLimit(spec, first.t, from, up, 1, 0) // by a policy of no pods
	f := Finding{Kind: FoundUpLimited, Severity: Limits, Object: d.hpa(), SinceSeconds: new(first.t.Seconds()), UntilSeconds: d.until(until),
		Seen:   fmt.Sprintf("It asked for up to %s and %s; %.0f s later %s.", replicas(asked), went, lasted.Seconds(), late),
		Cause:  "Its scale-up policies limit how many replicas it adds within their periods, whatever its metrics ask for.",
		Advice: fmt.Sprintf("`behavior.scaleUp: {selectPolicy: Max, policies: [{type: Pods, value: %d, periodSeconds: 15}]}` would have let it go to %d as soon as it asked for them.", asked-allowed, asked)}
	if !hasReason(first.v, autoscalingv2.ScalingLimited, reasonUp) {
		f.Cause = "Its scale-up stabilization window takes the lowest recommendation in it: a load that does not last as long brings no replica."
		f.Advice = "Take `behavior.scaleUp.stabilizationWindowSeconds` out, or set it shorter than the loads that are to be served."
	}
	d.add(f)
}

// window finds a scale-down that the stabilization window did not let happen, or not to its end, before
// the load changed again or the run ended.
func (d *diagnosis) window(p policy) {
	if _, down := behaviorOf(d.autoscaler(d.end).Spec); off(down) {
		return
	}
	for i, t := range d.r.Transitions {
		if t.Direction != Down || d.looksOnly() {
			continue
		}
		onset, end := record.Instant(t.OnsetSeconds*1e9), record.Instant(t.EndSeconds*1e9)
		n, ok := last(d.targets, end)
		if !ok || n.Replicas <= p.min || d.cut() && t.EndSeconds == d.r.EndSeconds {
			continue
		}
		wants := d.lowered(window{onset: onset, end: end}, n.Replicas)
		// Of a recommendation that fell in steps, the first one waited longest.
		keeps := func(to int32) (sight, time.Duration) {
			_, higher, window, _ := d.held(window{onset: onset, end: end}, replicaChange{sight: sight{t: end, seen: true}, from: n.Replicas, to: to})
			return higher, window
		}
		higher, held := keeps(n.Replicas - 1)
		if wants >= n.Replicas || !higher.seen || higher.t.Add(held) < end {
			continue
		}
		calm := end.Sub(onset).Seconds()
		cause := fmt.Sprintf("It last recommended %s at %.1f s, and keeps them until %.1f s", replicas(n.Replicas), higher.t.Seconds(), higher.t.Add(held).Seconds())
		lastHigher, _ := keeps(wants)
		if lastHigher.t != higher.t {
			cause += fmt.Sprintf("; it goes to %d, which it recommends now, at %.1f s at the earliest", wants, lastHigher.t.Add(held).Seconds())
		}
		less := fmt.Sprintf("there was less load for %.0f s only (from phase %s on)", calm, t.ToPhase)
		if i > 0 && d.r.Transitions[i-1].OnsetSeconds == t.OnsetSeconds {
			less = fmt.Sprintf("the load was below the %s requests/s that phase %s began with for %.0f s only", record.Plain(t.FromRate, 4), t.ToPhase, calm)
		}
		seen := "No scale-down could be seen"
		if len(d.changesTo(Down, window{onset: onset, end: end})) > 0 {
			seen, higher = "The scale-down could not be seen to its end", lastHigher
		}
		needed := math.Ceil((higher.t.Add(held).Sub(onset) + 2*d.flags.Sync.Duration).Seconds())
		advice := fmt.Sprintf("Let the phase last more than %.0f s", needed)
		if s := d.phase(onset); s.plan.Changes() { // one that lasts longer falls later
			advice = fmt.Sprintf("Add a phase of the least load, of more than %.0f s, after it", needed-calm)
		}
		d.add(Finding{Kind: FoundWindow, Severity: Limits, Object: d.hpa(), SinceSeconds: new(onset.Seconds()), UntilSeconds: d.until(end),
			Seen:   fmt.Sprintf(seen+": %s, and its stabilization window is %.0f s.", less, held.Seconds()),
			Cause:  cause + ".",
			Advice: advice + ", or set a smaller behavior.scaleDown.stabilizationWindowSeconds."})
	}
}

// statusStale finds that the HPA did not look any more: what its status says is
// off from what the pods' metrics have said for more than two syncs. The age of
// a status alone tells nothing, as the HPA does not write one that is the same.
func (d *diagnosis) statusStale(p policy) {
	differs := func(u at[usage]) bool {
		a, ok := last(d.hpas, u.t)
		if !ok {
			return false
		}
		x, watched := last(d.targets, u.t)
		ratios := statusRatios(a)
		return watched && len(ratios) > 0 && u.v.counted >= int(x.Replicas) && math.Abs(*u.v.ratio-slices.Max(ratios)) > max(p.up, p.down, 0.1)
	}
	// A stretch counts only as far as no status came in it.
	for i, a := range d.hpas {
		start, end, _ := d.beyond(max(a.t, d.start), standsUntil(d.hpas, i, d.end), differs)
		for _, m := range a.v.Spec.Metrics {
			name, _ := record.MetricTarget(m)
			for _, l := range d.lostSignal(name) {
				switch {
				case len(a.v.Spec.Metrics) > 1 && !l.silent: // it goes on by the others
				case l.from > start: // it waits for that one
					end = min(end, l.from)
				default:
					start = max(start, min(l.to, end))
				}
			}
		}
		if end.Sub(start) <= 3*d.flags.Sync.Duration { // two, and the one that was under way
			continue
		}
		d.add(Finding{Kind: FoundStatusStale, Severity: Blocks, Object: d.hpa(), SinceSeconds: new(start.Seconds()), UntilSeconds: d.until(end),
			Seen:   fmt.Sprintf("Its status was not updated for %.0f s, though the pods' metrics had changed by more than the tolerance (it says %s).", end.Sub(start).Seconds(), metricText(*a.v)),
			Cause:  "The HPA controller is down, overloaded with HPAs, or cannot read the metrics.",
			Advice: "Look at the logs of kube-controller-manager; with many HPAs it may need more `--concurrent-horizontal-pod-autoscaler-syncs`."})
		return
	}
}
