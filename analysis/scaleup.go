package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

const noService = "no Service in front of the target was watched"

// scaleUp works out a transition to more demand. See ScaleUp.
func (o *observed) scaleUp(w window) *ScaleUp {
	metric, noMetric := o.metric(w, asksMore)
	up := &ScaleUp{TimeToFull: o.timeToFull(w)}
	up.Plateau = o.supplyAt(w.end)
	seen := []boundary{{StageMetrics, metric, noMetric}}
	if b, changes := o.turning(w, StageRising, metric, func(u usage) float64 {
		return *u.ratio - 1 - policyOf(o.autoscaler(metric.t).Spec, o.flags).up
	}); changes {
		seen = append([]boundary{b}, seen...)
	}

	up.ColdStart = o.coldStart(w)
	rises, noRise := o.changesTo(Up, w), ""
	type wake struct{ activated, seen []boundary } // seen are of the pods of later steps
	wakes := map[int]wake{}                        // by the rise from no replica
	for i, c := range rises {
		if c.from != 0 {
			continue
		}
		active, why := o.active(w, c)
		following := w
		following.onset = c.t
		metric, noMetric := o.metric(following, asksMore)
		if noMetric == asksMore.already+loadChanged {
			noMetric = asksMore.already + "the target got its first replica"
		}
		wakes[i] = wake{[]boundary{{StageSignal, active, why}, {stage: StageActivation, sight: c.sight}}, []boundary{{StageMetrics, metric, noMetric}}}
	}
	unwatched := len(o.targets) == 0 || o.hasGap(w, targetSource) // new pods may be there all the same
	if len(rises) == 0 {
		noRise = o.notScaled(w, Up)
		if !unwatched {
			up.Latency, up.TimeToFull = absent(noRise), absent(noRise)
			return up
		}
	}
	for _, p := range o.pods {
		// Pods may come for other reasons, as when one crashed: those before
		// the decision are not its work.
		if p.foreign || p.replaces || !p.created.seen || !w.holds(p.created.t) || (len(rises) > 0 && p.created.t < rises[0].t.Add(-WatchDelay)) {
			continue
		}
		decision, by := boundary{stage: StageDecision, missing: noRise}, 0
		for i, c := range rises { // the last one before p was there
			if i == 0 || c.t <= p.created.t.Add(WatchDelay) {
				decision.sight, by = c.sight, i
			}
		}
		decided, from := append(slices.Clone(seen), decision), by
		for ; from >= 0; from-- {
			if of, is := wakes[from]; is && from == by {
				decided = of.activated
				break
			} else if is {
				decided = slices.Concat(of.activated, of.seen, []boundary{decision})
				break
			}
		}
		s := o.podStages(w, p, slices.Concat(decided, o.starting(w, p)))
		if p.answered.seen && p.inService.seen {
			// The way of the load may know sooner than the watch that p is ready.
			s.FirstAnswer = new(latency(p.inService.t, sight{max(p.answered.t, p.inService.t), p.inService.blur, true}))
		}
		s.FairShare = o.fairShare(p)
		up.Pods = append(up.Pods, s)
		if s.Latency.Seconds == nil {
			up.NeverServed = append(up.NeverServed, p.name)
		}
	}
	up.Median, up.Slowest = rank(up.Pods)
	switch {
	case len(up.Pods) > 0: // if none served, as far as the first pod got
		up.First, up.Latency = &up.Pods[0], up.Pods[0].Latency
	case noRise != "":
		up.Latency = absent(noRise)
	default:
		up.Latency = absent(o.missing(w, "a new pod", podSource))
	}
	return up
}

// turning is when the offered rate of a phase in which it changes (a ramp, a sine, a curve) alone would
// have taken the metric past a limit with the replicas of then: what comes after that is metrics lag. past
// is how far a reading is past the limit, below 0 before it. The rate is worked out by the line through
// the first reading past it, up to until, and the one before of the same source, each at the mean offered rate of its samples'
// windows; by their timestamps, which are another clock's. It is not known without two such readings, and
// where the rate does not change between them.
func (o *observed) turning(w window, stage string, until sight, past func(u usage) float64) (b boundary, changes bool) {
	if !slices.ContainsFunc(o.spans, func(s span) bool { return s.start == w.onset && s.plan.Changes() }) {
		return b, false
	}
	b = boundary{stage: stage, missing: "the samples before and after the metric passed its tolerance do not tell at which rate it did"}
	if !until.seen {
		return b, true
	}
	var before, passed usage
	latest := map[string]usage{} // by their sources
	for _, u := range o.usages[:after(o.usages, until.t)] {
		if u.v.ratio == nil {
			continue
		}
		before, passed = latest[u.v.signal], u.v
		latest[u.v.signal] = u.v
		if u.t > w.onset && before.ratio != nil && past(before) <= 0 && past(passed) > 0 {
			break
		}
	}
	if before.ratio == nil || passed.to > until.t || before.to > passed.to {
		return b, true
	}
	first, second := o.offered(before), o.offered(passed)
	if x, y := past(before), past(passed); x <= 0 && y > x && second != first {
		rate := first - x/(y-x)*(second-first)
		reached := false
		for t := w.onset; t <= until.t; t = t.Add(turningStep) {
			was := reached
			if reached = (o.offeredAt(t)-rate)*(second-first) >= 0; reached && !was {
				b.sight = sight{t: t, blur: passed.to.Sub(passed.from) / 2, seen: true}
				if second < first {
					break // a scale-down begins with the first of them
				}
			}
		}
	}
	return b, true
}

// turningStep is the step of the search for that instant: the precision of a watch.
const turningStep = 100 * time.Millisecond

// offered is the mean of the planned rate in the window of a reading's samples, by a sum of 50 instants.
func (o *observed) offered(u usage) (mean float64) {
	const parts = 50
	for i := range parts {
		mean += o.offeredAt(u.from+record.Instant(float64(u.to-u.from)*(float64(i)+0.5)/parts)) / parts
	}
	return mean
}

// offeredAt is the planned rate at t; 0 outside all phases and where it is not planned.
func (o *observed) offeredAt(t record.Instant) float64 {
	s := o.phase(t)
	if rate := s.plan.PlannedRate(t.Sub(s.start).Seconds()); rate != nil {
		return *rate
	}
	return 0
}

// phase is that at t; one without a plan where there is none.
func (o *observed) phase(t record.Instant) span {
	for _, s := range o.spans {
		if s.start <= t && t < s.end {
			return s
		}
	}
	return span{start: o.start}
}

// changesTo are the changes of the target's replicas in w in one direction, but for those that were due before.
func (o *observed) changesTo(direction string, w window) (list []replicaChange) {
	for _, c := range o.changes {
		if w.holds(c.t) && (c.to > c.from) == (direction == Up) && !o.due(c, w) {
			list = append(list, c)
		}
	}
	return list
}

// due says whether the HPA decided a change on samples that are all from before the load changed, as of replicas
// that were more than it needed when the run began. It may have seen the reading that came next, too. Of an HPA with metrics
// that are not of samples it is not known; and what KEDA, somebody else or a bound did, the samples did not bring about.
func (o *observed) due(c replicaChange, w window) bool {
	status := o.statusOf(c)
	if _, keda := o.byKEDA(c); keda || status == nil || slices.ContainsFunc(status.v.Spec.Metrics, func(m autoscalingv2.MetricSpec) bool { return record.CustomMetric(m) != "" }) {
		return false
	}
	if p := policyOf(status.v.Spec, o.flags); c.from < p.min || c.from > p.max {
		return false
	}
	i := after(o.usages, c.t)
	return w.onsetBy == "" && i > 0 && o.old(o.usages[i-1].v, w) && (i == len(o.usages) || o.usages[i].t > c.t.Add(o.every()) || o.old(o.usages[i].v, w))
}

// old says whether all samples of a reading of the pods are from before the load changed.
func (o *observed) old(u usage, w window) bool {
	return len(u.reading.samples) > 0 && !slices.ContainsFunc(u.reading.samples, func(s sample) bool { return o.instant(s.timestamp()) > w.onset })
}

// starting are the stages of p from created to in service.
func (o *observed) starting(w window, p *pod) (ends []boundary) {
	for _, e := range []boundary{
		{stage: StageCreate, sight: p.created},
		{stage: StageSchedule, sight: p.scheduled},
		{stage: StagePull, sight: p.pulled},
		{stage: StageStart, sight: p.started},
		{stage: StageReady, sight: p.ready},
	} {
		ends = append(ends, o.within(w, e, podSource))
	}
	if !o.serviceWatched {
		return append(ends, boundary{stage: StageInService, missing: noService})
	}
	return append(ends, o.within(w, boundary{stage: StageInService, sight: p.inService}, endpointsSource))
}

// podStages makes the stages of p, whose latency is up to the last of them; where
// no Service was watched, it is up to Ready instead of in service.
func (o *observed) podStages(w window, p *pod, ends []boundary) PodStages {
	through := ends[len(ends)-1]
	if through.stage == StageInService && !o.serviceWatched {
		through = ends[len(ends)-2]
	}
	s := PodStages{Pod: p.name, Stages: stages(w.onset, ends)}
	if through.seen {
		s.Latency = latency(w.onset, through.sight)
	} else {
		s.Latency = absent(fmt.Sprintf("pod %s, %s: %s", p.name, through.stage, through.missing))
	}
	return s
}

// rank sorts pods by latency, those without one last, and returns the median (the
// lower one of two) and the slowest of those that have one.
func rank(pods []PodStages) (median, slowest *PodStages) {
	slices.SortStableFunc(pods, func(a, b PodStages) int {
		x, y := a.Latency.Seconds, b.Latency.Seconds
		switch {
		case x != nil && y != nil:
			return cmp.Compare(*x, *y)
		case x != nil:
			return -1
		case y != nil:
			return 1
		}
		return 0
	})
	n := slices.IndexFunc(pods, func(p PodStages) bool { return p.Latency.Seconds == nil })
	if n < 0 {
		n = len(pods)
	}
	if n == 0 {
		return nil, nil
	}
	return &pods[(n-1)/2], &pods[n-1]
}

// within drops what was seen after the end of w, and gives the reason if e was
// not seen.
func (o *observed) within(w window, e boundary, source string) boundary {
	if e.seen && e.t >= w.end {
		e.sight = sight{}
	}
	if !e.seen {
		e.missing = o.missing(w, "", source)
	}
	return e
}

// neverScaled begins the reason why a latency was not measured where the replicas did not change.
const neverScaled = "no scale-"

// notScaled says why spec.replicas did not change in that direction in w.
func (o *observed) notScaled(w window, direction string) string {
	change, limit := "rise", "maximum"
	if direction == Down {
		change, limit = "fall", "minimum"
	}
	if len(o.targets) == 0 {
		return "the target's replicas were not observed"
	}
	n, ok := last(o.targets, max(w.onset, w.turn))
	if !ok || o.hasGap(w, targetSource) {
		return o.missing(w, "a "+change+" of spec.replicas", targetSource)
	}
	if direction == Down && len(o.changesTo(Up, w)) > 0 { // which the load before asked for
		n, _ = last(o.targets, w.end-1)
	}
	for _, c := range o.changes {
		if w.holds(c.t) && (c.to > c.from) == (direction == Up) && o.due(c, w) {
			return fmt.Sprintf("spec.replicas went from %d to %d on samples from before the load changed, and did not %s after that before %s at %.1f s", c.from, c.to, change, w.endedBy, w.end.Seconds())
		}
	}
	if hpa := o.autoscaler(w.end); hpa != nil {
		p := policyOf(hpa.Spec, o.flags)
		if s, ok := lastOf(o.scaled, w.end-1); ok && direction == Down && goesBelow(s, n.Replicas) && n.Replicas <= p.min {
			return fmt.Sprintf(neverScaled+"down happened: spec.replicas was at %d, the minimum of the HPA; KEDA takes it to %d when no trigger was active for %d s (cooldownPeriod), and did not before %s at %.1f s", n.Replicas, s.Least(), s.CooldownSeconds, w.endedBy, w.end.Seconds())
		}
		if direction == Up && n.Replicas >= p.max || direction == Down && n.Replicas <= p.min {
			return fmt.Sprintf(neverScaled+"%s happened: spec.replicas was at the %s of %d already", direction, limit, n.Replicas)
		}
	}
	why := ""
	if hpa := o.autoscaler(w.end - 1); hpa != nil {
		if want := o.want(w.end - 1); want.ok && want.n == n.Replicas {
			why = fmt.Sprintf("; the HPA recommended %d, at %s", want.n, metricText(*hpa))
			if because := o.decisions[hpa].why(hpa.Status.CurrentReplicas, want.raw, policyOf(hpa.Spec, o.flags)); because != "" {
				why += ": " + because
			}
		}
	}
	return fmt.Sprintf(neverScaled+"%s happened: spec.replicas did not %s from %d before %s at %.1f s%s", direction, change, n.Replicas, w.endedBy, w.end.Seconds(), why)
}

func (o *observed) hasGap(w window, source string) bool {
	return slices.ContainsFunc(o.gaps, func(g record.Gap) bool {
		return sourceOf(g) == source && hides(g, w)
	})
}

// supplyAt is the supply just before t.
func (o *observed) supplyAt(t record.Instant) *int {
	if c, ok := last(o.counts, t-1); ok {
		return new(o.supplyOf(c))
	}
	return nil
}

// supplySince is the instant in w since which ok held for supply until the end
// of w, and by how much earlier it may have been.
func (o *observed) supplySince(w window, ok func(supply int) bool) sight {
	source := podSource
	if o.serviceWatched {
		source = endpointsSource
	}
	var since sight
	held := false
	for _, c := range o.counts[max(0, after(o.counts, w.onset-1)-1):] {
		if c.t >= w.end {
			break
		}
		switch now := ok(o.supplyOf(c.v)); {
		case !now:
			held = false
		case !held:
			held = true
			since = o.see(source, c.t)
			if c.t < w.onset { // it has been so since before the onset
				since = sight{t: w.onset, seen: true}
			}
		}
	}
	if !held {
		return sight{}
	}
	return since
}

func (o *observed) timeToFull(w window) Latency {
	plateau := o.supplyAt(w.end)
	if plateau == nil {
		return absent("the pods were not observed")
	}
	if t, ok := last(o.targets, w.end-1); ok && *plateau < int(t.Replicas) {
		return absent(fmt.Sprintf("only %d of %d replicas were %s when %s at %.1f s", *plateau, t.Replicas, o.supplyName(), w.endedBy, w.end.Seconds()))
	}
	if before := o.supplyAt(max(w.onset, w.turn)); before != nil && *plateau <= *before {
		return absent(fmt.Sprintf("supply ended at %d, not above where it began", *plateau))
	}
	return latency(w.onset, o.supplySince(w, func(n int) bool { return n >= *plateau }))
}

func (o *observed) supplyName() string {
	if o.serviceWatched {
		return "in service"
	}
	return "ready"
}
