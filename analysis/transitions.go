package analysis

import (
	"fmt"
	"math"
	"slices"

	"github.com/hpabench/hpabench/record"
)

// level is the demand of a phase at its start and at its end, in requests a
// second: the rate, a ramp's two ends, the mean of a sine or a curve, and for workers the mean
// rate that they achieved (that they sent, if nothing was answered).
func level(s span, load PhaseLoad) (from, to float64) {
	switch s.plan.Shape {
	case record.ShapeRate, record.ShapeSine:
		return s.plan.From, s.plan.From
	case record.ShapeRamp:
		return s.plan.From, s.plan.To
	case record.ShapeCurve:
		mean := s.plan.CurveHits()(s.plan.Seconds) / s.plan.Seconds
		return mean, mean
	case record.ShapeWorkers:
		if load.Seconds == nil || *load.Seconds <= 0 {
			return 0, 0
		}
		n := load.Answered
		if n == 0 {
			n = load.Sent
		}
		mean := float64(n) / *load.Seconds
		return mean, mean
	}
	return 0, 0
}

// window is the stretch of one transition.
type window struct {
	onset, end record.Instant
	turn       record.Instant // the changes of the replicas before it are another transition's
	endedBy    string
	onsetBy    string // see Transition
}

func (w window) holds(t record.Instant) bool { return t >= max(w.onset, w.turn) && t < w.end }

// transitions cuts the run at every change of demand. A run that begins with
// load has a transition at its start; the end of the last phase is none, because
// nothing is observed after it. Two phases of the same workers are no change,
// though the rates that they achieve differ. A ramp that leaps from the rate before it and goes the
// other way then is two transitions with one onset: the leap and the ramp.
func (o *observed) transitions(load Load) []Transition {
	if o.looksOnly() {
		return o.measure(o.turns())
	}
	var found []Transition
	var onsets []record.Instant
	var before span
	var was float64
	for _, s := range o.spans {
		from, to := level(s, load.phase(s.index))
		base := was
		if s.plan.Shape == record.ShapeRamp && (from > was) != (to > from) {
			leaps := o.differ(was, from)
			if !leaps || o.differ(from, to) {
				base = from
			}
			if leaps && base == from {
				t := Transition{Direction: Up, FromPhase: before.name, ToPhase: s.name, FromRate: was, ToRate: from, OnsetSeconds: s.start.Seconds()}
				if from < was {
					t.Direction = Down
				}
				found, onsets = append(found, t), append(onsets, s.start)
			}
		}
		same := s.plan.Shape == record.ShapeWorkers && before.plan.Shape == record.ShapeWorkers &&
			s.plan.Workers == before.plan.Workers && s.plan.Think == before.plan.Think && s.plan.KeepAlive == before.plan.KeepAlive
		if to != base && !same {
			t := Transition{Direction: Up, FromPhase: before.name, ToPhase: s.name, FromRate: base, ToRate: to, OnsetSeconds: s.start.Seconds()}
			// More workers are more demand, whatever a server at its limit makes of them.
			if to < base && (s.plan.Shape != record.ShapeWorkers || before.plan.Shape != record.ShapeWorkers || s.plan.Workers <= before.plan.Workers) {
				t.Direction = Down
			}
			found, onsets = append(found, t), append(onsets, s.start)
		}
		before, was = s, to
	}
	return o.measure(found, onsets)
}

// differ says whether the metric may be beyond the tolerance when one of two rates follows the other.
func (o *observed) differ(a, b float64) bool { return math.Abs(a-b) > o.flags.Tolerance*max(a, b) }

// turns cuts a stretch in which hpabench sent no load itself: a transition is a
// row of steps in one direction. Its onset is when the metric came to ask for that
// before the first of them, or that step where this was not seen.
func (o *observed) turns() (found []Transition, onsets []record.Instant) {
	since := o.start // of the last step of the transition before
	for _, c := range o.changes {
		if c.t < o.start || c.t >= o.end {
			continue
		}
		direction, asks := Up, asksMore
		if c.to < c.from {
			direction, asks = Down, asksFewer
		}
		if n := len(found); n == 0 || found[n-1].Direction != direction {
			t := Transition{Direction: direction, ToPhase: o.spans[0].name, OnsetBy: OnsetMetric}
			onset, seen := o.cameToAsk(since, c.t, c.from, asks)
			if !seen {
				t.OnsetBy, onset = OnsetDecision, c.t
			}
			t.OnsetSeconds = onset.Seconds()
			found, onsets = append(found, t), append(onsets, onset)
		}
		since = c.t
	}
	return found, onsets
}

// cameToAsk is the last time in from to to at which the metric came to ask for more than n replicas, or fewer, if it
// still did at to.
func (o *observed) cameToAsk(from, to record.Instant, n int32, asks asking) (at record.Instant, seen bool) {
	was := true
	for _, u := range o.usages[o.reading(from):after(o.usages, to)] {
		if u.v.ratio == nil {
			continue
		}
		is := asks.is(*u.v.ratio, n, policyOf(o.autoscaler(u.t).Spec, o.flags))
		if is && !was && u.t > from {
			at, seen = u.t, true
		}
		seen, was = seen && is, is
	}
	return at, seen
}

// reading is the place of the last of usages up to t with a ratio, or of the first of all.
func (o *observed) reading(t record.Instant) int {
	i := after(o.usages, t) - 1
	for i > 0 && o.usages[i].v.ratio == nil {
		i--
	}
	return max(0, i)
}

// measure works out the transitions that begin at the onsets.
func (o *observed) measure(found []Transition, onsets []record.Instant) []Transition {
	var turn record.Instant
	for i := range found {
		t, w := &found[i], window{onset: onsets[i], end: o.end, turn: turn, endedBy: o.endedBy, onsetBy: found[i].OnsetBy}
		if next := slices.IndexFunc(onsets, func(onset record.Instant) bool { return onset > w.onset }); next >= 0 {
			w.end, w.endedBy = onsets[next], "the next change of load came"
		}
		t.Steps = o.steps(w)
		if turn = 0; i+1 < len(found) && onsets[i+1] == w.onset {
			w, turn = o.leap(w, t.Direction)
			t.Steps = o.steps(window{onset: w.onset, end: turn})
		}
		t.EndSeconds = w.end.Seconds()
		if t.Direction == Up {
			t.ScaleUp = o.scaleUp(w)
		} else {
			t.ScaleDown = o.scaleDown(w)
		}
	}
	return found
}

// leap ends the window of a leap when the replicas, after they went its way, go the way of the ramp that
// it begins. The changes of the replicas from turn on are the ramp's.
func (o *observed) leap(w window, direction string) (leap window, turn record.Instant) {
	turn = w.onset
	for _, c := range o.changes {
		switch {
		case !w.holds(c.t):
		case (c.to > c.from) == (direction == Up):
			turn = c.t + 1
		case turn > w.onset:
			w.end, w.endedBy = c.t, "the replicas followed the ramp"
			return w, turn
		}
	}
	return w, turn
}

// hides says whether a change in w may have gone unseen in the gap. A watch that
// goes on where it was shows late what it missed; one that lists anew, or does
// not come back within w, may not. Samples of metrics are gone when nobody reads
// them.
func hides(g record.Gap, w window) bool {
	return g.From < w.end && g.To > w.onset && g.To > g.From && (g.Relisted || g.To >= w.end || isPolled(g.Source))
}

// missing says why something was not seen in w: a gap of one of the sources, or
// what ended w before it came. What may be empty.
func (o *observed) missing(w window, what string, sources ...string) string {
	if what != "" {
		what += " was "
	}
	for _, source := range sources {
		for _, g := range o.gaps {
			if sourceOf(g) == source && hides(g, w) {
				return fmt.Sprintf("%snot observed: the watch on %s had a gap from %.1f to %.1f s", what, g.Source, g.From.Seconds(), g.To.Seconds())
			}
		}
	}
	return fmt.Sprintf("%snot seen before %s at %.1f s", what, w.endedBy, w.end.Seconds())
}

func absent(missing string) Latency { return Latency{Missing: missing} }

// latency is s − from.
func latency(from record.Instant, s sight) Latency {
	return Latency{Seconds: new(s.t.Sub(from).Seconds()), PrecisionSeconds: s.blur.Seconds()}
}

// replicaChange is one change of the target's spec.replicas.
type replicaChange struct {
	sight
	from, to int32
	by       string
}

func (o *observed) changesOf() []replicaChange {
	var found []replicaChange
	for i, t := range o.targets {
		if i > 0 && t.v.Replicas != o.targets[i-1].v.Replicas {
			found = append(found, replicaChange{o.see(targetSource, t.t), o.targets[i-1].v.Replicas, t.v.Replicas, t.v.Manager})
		}
	}
	return found
}

// asking is what a metric asks of n replicas, by its ratio of current to target.
type asking struct {
	is            func(ratio float64, n int32, p policy) bool
	that, already string // said of a metric that was not seen, and of one that asked for it before the load changed
}

var (
	asksMore = asking{func(ratio float64, _ int32, p policy) bool { return ratio > 1+p.up },
		"beyond the tolerance", "the metric was beyond the tolerance already when "}
	asksFewer = asking{func(ratio float64, n int32, p policy) bool { return replicasFor(ratio, n, p) < n },
		"that asks for fewer replicas", "the metric asked for fewer replicas already when "}
)

const loadChanged = "the load changed"

// metric finds when the HPA's metrics came to ask for more replicas, or fewer, in w:
// when the first PodMetrics sample, or value of another metric, was read that says so. Where these do not tell
// all of the HPA's metrics, it is the first status of the HPA that says so,
// and the precision is the period of the HPA's sync.
func (o *observed) metric(w window, asks asking) (sight, string) {
	if w.onsetBy != "" {
		return sight{}, "the load is not hpabench's, so when it changed is not known"
	}
	already, before := false, false // asked for it all the time, and when the load changed
	for _, u := range o.usages[o.reading(w.onset):] {
		if u.v.ratio == nil {
			continue
		}
		if u.t >= w.end {
			break
		}
		ratio := *u.v.ratio
		n, ok := last(o.targets, max(u.t, w.onset))
		if ok && n.Replicas == 0 && ratio > 0 {
			ratio = math.Inf(1) // any value asks for the first replica
		}
		if !ok {
			n.Replicas = int32(u.v.counted)
		}
		beyond := asks.is(ratio, n.Replicas, policyOf(o.autoscaler(u.t).Spec, o.flags))
		switch {
		case u.t <= w.onset || o.old(u.v, w):
			already, before = beyond, beyond
		case !beyond:
			already = false
		case !already:
			return o.see(u.v.source(), u.t), ""
		}
	}
	if already || before {
		return sight{}, asks.already + loadChanged
	}
	if slices.ContainsFunc(o.usages, func(u at[usage]) bool { return u.v.ratio != nil }) {
		var sources []string
		for _, m := range o.autoscaler(w.end).Spec.Metrics {
			source := metricsSource
			if name, _ := record.MetricTarget(m); record.CustomMetric(m) != "" {
				source = record.SignalSource(name)
			}
			sources = append(sources, source)
		}
		return sight{}, o.missing(w, "a metric "+asks.that, sources...)
	}
	for _, a := range between(o.hpas, w.onset+1, w.end-1) {
		ratios := statusRatios(a.v)
		if len(ratios) > 0 && asks.is(slices.Max(ratios), a.v.Status.CurrentReplicas, policyOf(a.v.Spec, o.flags)) {
			s := o.see(hpaSource, a.t)
			s.blur = max(s.blur, o.flags.Sync.Duration)
			return s, ""
		}
	}
	if slices.ContainsFunc(o.wants, func(w want) bool { return w.ok }) {
		return sight{}, o.missing(w, "an HPA status with a metric "+asks.that, hpaSource)
	}
	return sight{}, "neither the pods' metrics nor the HPA's status tell the metric"
}

// source is that of the reading.
func (u *usage) source() string {
	if u.signal != "" {
		return record.SignalSource(u.signal)
	}
	return metricsSource
}

// boundary is the end of a stage; missing says why it was not seen.
type boundary struct {
	stage string
	sight
	missing string
}

// stages makes stages of the boundaries from onset on. They sum up to the last
// boundary that was seen.
func stages(onset record.Instant, ends []boundary) []Stage {
	later := sight{t: math.MaxInt64}
	for i := len(ends) - 1; i >= 0; i-- {
		e := &ends[i]
		switch {
		case !e.seen:
		case e.t > later.t && e.t.Sub(later.t) > e.blur+later.blur+WatchDelay:
			e.seen, e.missing = false, "seen only after the stages that follow it"
		default:
			e.t = min(later.t, max(e.t, onset))
			later = e.sight
		}
	}
	var list []Stage
	var skipped []string
	from := sight{t: onset}
	for _, e := range ends {
		s := Stage{Name: e.stage}
		if e.seen {
			s.Latency = Latency{Seconds: new(e.t.Sub(from.t).Seconds()), PrecisionSeconds: max(from.blur, e.blur).Seconds()}
			s.EndsAtSeconds = new(e.t.Seconds())
			s.Includes, skipped, from = skipped, nil, e.sight
		} else {
			s.Missing = e.missing
			skipped = append(skipped, e.stage)
		}
		list = append(list, s)
	}
	return list
}
