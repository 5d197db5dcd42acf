package analysis

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/hpabench/hpabench/record"
)

// staleSignal is how old a value may be by the adapter's own time: rates are over a minute or two, and sources are asked
// each 30 s or sooner.
const staleSignal = 2 * time.Minute

// zero finds what a target without replicas showed, and what of the ways to its signals.
func (d *diagnosis) zero() {
	d.keda()
	d.signalsLost()
	d.unready()
	d.stuckAtZero()
	d.zeroFlapping()
	d.coldStarts()
}

func (d *diagnosis) scaledObject(name string) string { return "scaledobject/" + name }

// keda finds a ScaledObject that somebody holds, and one whose sources fail.
func (d *diagnosis) keda() {
	for i, s := range d.scaled {
		from, to := max(s.t, d.start), standsUntil(d.scaled, i, d.end)
		if from >= to || s.v.Deleted {
			continue
		}
		if s.v.Paused != "" {
			d.pausedAgain(d.paused(s, from, to))
		}
		if c := s.v.Condition("Fallback"); c != nil && c.Status == "True" {
			d.add(Finding{Kind: FoundFallback, Severity: Limits, Object: d.scaledObject(s.v.Name), SinceSeconds: new(from.Seconds()), UntilSeconds: d.until(to),
				Seen:   fmt.Sprintf("Its condition Fallback was True: %s", sentence(c.Message)),
				Cause:  "The source of a trigger failed, so that the HPA got the replicas of spec.fallback in place of a metric.",
				Advice: fmt.Sprintf("Look why the source does not answer: `kubectl describe scaledobject %s%s`.", s.v.Name, d.namespace())})
		}
	}
}

// pausedAgain adds f, or its stretch to the finding that is there.
func (d *diagnosis) pausedAgain(f Finding) {
	i := slices.IndexFunc(d.found, func(of Finding) bool { return of.Kind == FoundPaused })
	if i < 0 {
		d.add(f)
		return
	}
	is := &d.found[i]
	if is.UntilSeconds == nil || *is.UntilSeconds < *f.SinceSeconds {
		is.Seen += " Again: " + f.Seen
	}
	is.UntilSeconds, is.Spoils = f.UntilSeconds, is.Spoils || f.Spoils
	if f.Severity == Blocks && is.Severity != Blocks {
		is.Severity, is.Cause, is.Advice = Blocks, f.Cause, f.Advice
	}
}

// paused is the finding of a ScaledObject that annotations hold, from one instant to another. It spoils what is measured if
// somebody set or removed one meanwhile.
func (d *diagnosis) paused(s at[*record.ScaledObject], from, to record.Instant) Finding {
	names := strings.Split(s.v.Paused, ", ")
	var without []string
	for _, name := range names {
		without = append(without, strings.Split(name, "=")[0]+"-")
	}
	f := Finding{Kind: FoundPaused, Severity: Blocks, Object: d.scaledObject(s.v.Name), SinceSeconds: new(from.Seconds()), UntilSeconds: d.until(to),
		Seen:   fmt.Sprintf("It was paused, by its annotation %s.", strings.Join(names, " and ")),
		Cause:  "Somebody holds it: KEDA does not scale the target by its triggers meanwhile, and has no HPA for it.",
		Advice: fmt.Sprintf("`kubectl annotate scaledobject %s%s %s` lets it go.", s.v.Name, d.namespace(), strings.Join(without, " "))}
	out := record.PausedOut(s.v.Paused)
	if !s.v.Stopped() {
		f.Severity, f.Cause = Limits, "Somebody holds it: KEDA and its HPA do not scale the target in that direction meanwhile."
		if wants := d.heldBack(from, to); out && wants != "" {
			f.Severity = Blocks
			f.Seen += wants
		}
	}
	gone := slices.ContainsFunc(d.writes, func(w at[record.Change]) bool {
		return d.isHPA(w.v) && w.v.What == record.ChangeDeleted && w.t >= s.t
	})
	if gone && s.v.Stopped() {
		f.Cause, f.UntilSeconds = "Somebody holds it, and KEDA deleted its HPA for that: nothing scaled the target after that, whatever its load was.", nil
	}
	for _, w := range d.writes {
		i := slices.IndexFunc(w.v.Fields, func(f record.FieldChange) bool { return strings.HasPrefix(f.Path, pausePath) })
		if w.v.Kind != scaledKind || w.t != s.t && w.t != to || i < 0 {
			continue
		}
		did := "set"
		if w.v.Fields[i].Now == "" {
			did = "removed"
		}
		f.Seen += fmt.Sprintf(" At %.1f s %s %s %s.", w.t.Seconds(), who(w.v), did, strings.TrimPrefix(w.v.Fields[i].Path, "metadata.annotations."))
		f.Spoils = f.Spoils || d.within(w.t) && (gone || !d.looksOnly())
	}
	return f
}

// heldBack says how the load asked for replicas, in a stretch in which KEDA was not to add any; empty if it did not.
func (d *diagnosis) heldBack(from, to record.Instant) string {
	var atZero uint64
	for second := int(from.Seconds()); second < int(to.Seconds()); second++ {
		if n, ok := last(d.targets, record.Instant(second)*record.Instant(time.Second)); ok && n.Replicas == 0 {
			atZero += d.loads.second(second).sent
		}
	}
	if atZero > 0 {
		return fmt.Sprintf(" Meanwhile %s came while there was no replica.", record.Counted(atZero, "request"))
	}
	hpa := d.autoscaler(to)
	if hpa == nil {
		return ""
	}
	p := policyOf(hpa.Spec, d.flags)
	since, until, _ := d.beyond(from, to, func(u at[usage]) bool {
		n, ok := last(d.targets, u.t)
		return ok && *u.v.ratio > 1+p.up && n.Replicas < p.max
	})
	if until.Sub(since) <= 2*d.flags.Sync.Duration {
		return ""
	}
	return fmt.Sprintf(" Meanwhile the metric asked for more replicas for %.0f s.", until.Sub(since).Seconds())
}

// unready finds a ScaledObject that KEDA cannot work with. That the source of a trigger fails is told of its metric, where that
// was read.
func (d *diagnosis) unready() {
	unready := func(i int) bool {
		c := d.scaled[i].v.Condition("Ready")
		return c != nil && c.Status == "False" && !d.scaled[i].v.Deleted
	}
	for i, s := range d.scaled {
		from, to := max(s.t, d.start), standsUntil(d.scaled, i, d.end)
		if from >= to || !unready(i) || i > 0 && unready(i-1) && d.scaled[i].t > d.start {
			continue
		}
		for n := i; n < len(d.scaled) && unready(n); n++ { // KEDA writes it each time that it tries
			to = standsUntil(d.scaled, n, d.end)
		}
		c := s.v.Condition("Ready")
		if to.Sub(from) <= patience || c.Reason == "TriggerError" && d.hasIn(from.Seconds(), to.Seconds(), FoundSignalAbsent) {
			continue
		}
		d.add(Finding{Kind: FoundMetricsAbsent, Severity: Blocks, Object: d.scaledObject(s.v.Name), SinceSeconds: new(from.Seconds()), UntilSeconds: d.until(to),
			Seen:   fmt.Sprintf("Its condition Ready was False for %.0f s: %s", to.Sub(from).Seconds(), sentence(c.Message)),
			Cause:  "KEDA cannot work with the ScaledObject, or with the source of a trigger.",
			Advice: fmt.Sprintf("Look at `kubectl describe scaledobject %s%s` and at the logs of KEDA's operator.", s.v.Name, d.namespace())})
	}
}

// lost is a stretch in which the HPA's adapter had no value of a metric.
type lost struct {
	from, to record.Instant
	says     string // why, as the adapter or the client says
	silent   bool   // the adapter gave no answer
}

// allLost says whether the adapter had no value of any metric for more than half of a stretch, which signal-absent tells.
func (d *diagnosis) allLost(from, to record.Instant) bool {
	hpa := d.autoscaler(to)
	if hpa == nil {
		return false
	}
	for _, m := range hpa.Spec.Metrics {
		if record.CustomMetric(m) != "" && !d.lostThen(m, from, to) { // one of the pods activates nothing
			return false
		}
	}
	return len(hpa.Spec.Metrics) > 0
}

// lostThen says whether the adapter had no value of a metric for more than half of a stretch.
func (d *diagnosis) lostThen(m autoscalingv2.MetricSpec, from, to record.Instant) bool {
	name, _ := record.MetricTarget(m)
	sum := time.Duration(0)
	for _, l := range d.lostSignal(name) {
		sum += max(0, min(l.to, to).Sub(max(l.from, from)))
	}
	return 2*sum > to.Sub(from)
}

// lostSignal are the stretches of more than two of the HPA's syncs in which an adapter had no value of a metric. That hpabench may
// not read it, or has no answer from the API server to anything, is none.
func (d *diagnosis) lostSignal(metric string) (stretches []lost) {
	for _, c := range d.signals {
		if c.metric != metric {
			continue
		}
		for i, v := range c.values {
			from, to := max(v.t, d.start), standsUntil(c.values, i, d.end)
			if v.v != nil || from >= to {
				continue
			}
			if strings.HasPrefix(metric, podsMetric) || d.goneWithPods(c, i) {
				from = d.readyFrom(from, to) // before there was no pod that could have one
			}
			if from < to {
				stretches = append(stretches, lost{from, to, c.said[i].error, unansweredBy.MatchString(c.said[i].error)})
			}
		}
	}
	for _, g := range d.gaps {
		from, to := max(g.From, d.start), min(g.To, d.end)
		if g.Source == record.SignalSource(metric) && from < to && !notAllowed(g.Cause) && !d.unanswered(from, to) {
			stretches = append(stretches, lost{from, to, g.Cause, true})
		}
	}
	slices.SortStableFunc(stretches, func(a, b lost) int { return cmp.Compare(a.from, b.from) })
	var all []lost
	for _, s := range stretches {
		if n := len(all); n > 0 && s.from <= all[n-1].to.Add(WatchDelay) {
			all[n-1].to = max(all[n-1].to, s.to)
			continue
		}
		all = append(all, s)
	}
	return slices.DeleteFunc(all, func(s lost) bool { return s.to.Sub(s.from) <= 2*d.flags.Sync.Duration+time.Second })
}

// goneWithPods says whether a metric, of which the ith reading has no value, lost it soon after the last ready pod was gone, as a metric
// does that the pods give: stuck-at-zero tells what that costs. KEDA's triggers are to have values without a pod.
func (d *diagnosis) goneWithPods(c course, i int) bool {
	for i > 0 && c.values[i-1].v == nil {
		i--
	}
	lost := c.values[i].t
	k := after(d.counts, lost)
	for k > 0 && d.counts[k-1].v.ready == 0 {
		k--
	}
	return i > 0 && len(d.scaled) == 0 && k > 0 && k < after(d.counts, lost) && lost.Sub(d.counts[k].t) <= staleSignal
}

// query matches that of a URL, which is long and can be another each time.
var query = regexp.MustCompile(`\?[^\s"]+`)

// kedaSays is the first error of a trigger's source that KEDA told in a stretch, a sentence; empty without one. What its metrics
// API server answers does not have the error.
func (d *diagnosis) kedaSays(from, to record.Instant) string {
	for _, e := range d.byReason[[2]string{scaledKind, "KEDAScalerFailed"}] {
		if e.t >= from.Add(-apart) && e.t <= to {
			return sentence(query.ReplaceAllString(e.v.Message, "?…"))
		}
	}
	return ""
}

// unansweredBy are the words of an API server that has no answer of an adapter: apierrors.NewTimeoutError for one that came late, and
// NewServiceUnavailable.
var unansweredBy = regexp.MustCompile(`unable to return a response in the time allotted|currently unable to handle the request`)

// notAllowed says whether the cause of a gap is that hpabench has no right, as API servers word it.
func notAllowed(cause string) bool {
	return strings.Contains(cause, " is forbidden: ") || strings.Contains(cause, "Unauthorized")
}

// unanswered says whether the watch of the HPA had a gap too for half of a stretch: it is the API server then that did not answer.
func (d *diagnosis) unanswered(from, to record.Instant) bool {
	return slices.ContainsFunc(d.gaps, func(g record.Gap) bool {
		return sourceOf(g) == hpaSource && 2*min(g.To, to).Sub(max(g.From, from)) > to.Sub(from)
	})
}

// signalsLost finds metrics that an adapter had no value of for longer than two of the HPA's syncs, and values that were old
// when they were read.
func (d *diagnosis) signalsLost() {
	var metrics []string
	for _, c := range d.signals {
		metrics = append(metrics, c.metric)
	}
	for _, g := range d.gaps {
		if name, is := strings.CutPrefix(g.Source, record.SignalSource("")); is && !slices.Contains(metrics, name) {
			metrics = append(metrics, name)
		}
	}
	for _, metric := range metrics {
		d.signalLost(metric)
	}
	for _, c := range d.signals {
		var old time.Duration
		var stale record.Instant
		for i, v := range c.values {
			from, to := max(v.t, d.start), standsUntil(c.values, i, d.end)
			if from >= to {
				continue
			}
			age := c.said[i].age
			if age <= staleSignal {
				old = 0
				continue
			}
			if old == 0 {
				stale = from
			}
			if old += to.Sub(from); old > 2*d.flags.Sync.Duration {
				d.add(Finding{Kind: FoundSignalStale, Severity: Limits, Object: d.hpa(), SinceSeconds: new(stale.Seconds()), UntilSeconds: d.until(to),
					Seen:   fmt.Sprintf("The value of metric %s was %.0f s old by the adapter's own time when it was read.", c.metric, age.Seconds()),
					Cause:  "The source is behind, is asked seldom, or the clocks of the cluster and of this machine differ.",
					Advice: "Look how often the source takes the metric (a scrape interval, the window of a rate), and at the adapter's cache."})
			}
		}
	}
}

// signalLost finds the stretches in which an adapter had no value of a metric. Of several metrics at the same time that is one
// finding: their source is most often the same.
func (d *diagnosis) signalLost(metric string) {
	stretches := d.lostSignal(metric)
	if len(stretches) == 0 {
		return
	}
	l, sum := stretches[0], time.Duration(0)
	for _, s := range stretches {
		l.to, sum = s.to, sum+s.to.Sub(s.from)
	}
	from, until := l.from.Seconds(), d.until(l.to)
	if notServed.MatchString(l.says) && d.hasIn(from, l.to.Seconds(), FoundMetricsAbsent) {
		return
	}
	for i := range d.found {
		f := &d.found[i]
		if f.Kind != FoundSignalAbsent || since(*f) >= l.to.Seconds() || f.UntilSeconds != nil && *f.UntilSeconds <= from {
			continue
		}
		f.Seen += fmt.Sprintf(" Metric %s had none for %.0f s either.", metric, sum.Seconds())
		if hpa := d.autoscaler(d.end); hpa != nil && !slices.ContainsFunc(hpa.Spec.Metrics, func(m autoscalingv2.MetricSpec) bool { return !d.lostThen(m, l.from, l.to) }) {
			f.Severity, f.Cause = Blocks, strings.TrimSuffix(f.Cause, " "+withoutOne)
		}
		if f.SinceSeconds = new(min(since(*f), from)); until == nil || f.UntilSeconds != nil && *until > *f.UntilSeconds {
			f.UntilSeconds = until
		}
		return
	}
	seen := fmt.Sprintf("Metric %s had no value for %.0f s", metric, sum.Seconds())
	if n := len(stretches); n > 1 {
		seen += fmt.Sprintf(" in %d stretches", n)
	}
	f := Finding{Kind: FoundSignalAbsent, Severity: d.without(), Object: d.hpa(), SinceSeconds: &from, UntilSeconds: until,
		Seen:   seen + ": " + sentence(l.says),
		Cause:  "The adapter, or the source that it asks, does not answer, or nothing matches what the metric selects.",
		Advice: "Look at the adapter (KEDA, prometheus-adapter) and ask its source by hand; an alert on a metric that is gone is worth more than one on its value."}
	if says := d.kedaSays(l.from, l.to); says != "" {
		f.Cause = "KEDA's operator could not use the source of a trigger: " + says
		f.Advice = "Ask the source by hand; an alert on a metric that is gone is worth more than one on its value."
	}
	if l.silent {
		f.Seen = seen + ", as its adapter gave no answer: " + sentence(l.says)
		f.Cause = "The adapter is down, or waits for its source. KEDA's waits for KEDA's operator."
		f.Advice = "Look at the pods and the logs of the adapter (prometheus-adapter, KEDA's metrics API server), and with KEDA at those of KEDA's operator."
	}
	if f.Severity == Limits {
		f.Cause += " " + withoutOne
	}
	d.found = append(d.found, f)
}

// podsMetric begins the name of a metric of the pods, see record.MetricTarget.
const podsMetric = "pods' "

// readyFrom is the first instant from one to another at which a pod was ready, which can have a value of a metric of the pods; the other
// if none was.
func (d *diagnosis) readyFrom(from, to record.Instant) record.Instant {
	if len(d.counts) == 0 {
		return from
	}
	for _, c := range d.counts[max(0, after(d.counts, from)-1):] {
		if c.t >= to {
			break
		}
		if c.v.ready > 0 {
			return max(from, c.t)
		}
	}
	return to
}

// without is how bad it is that one metric has no value: the HPA still adds replicas by another.
func (d *diagnosis) without() string {
	if hpa := d.autoscaler(d.end); hpa != nil && len(hpa.Spec.Metrics) > 1 {
		return Limits
	}
	return Blocks
}

// stuckAtZero finds that the target stayed without a replica while requests were sent: for more than two syncs of an HPA,
// or as many polls of KEDA. Where KEDA brought one back in the end, the cold start says what took so long.
func (d *diagnosis) stuckAtZero() {
	for i, n := range d.targets {
		if n.v.Replicas != 0 || i > 0 && d.targets[i-1].v.Replicas == 0 {
			continue
		}
		from, to := max(n.t, d.start), d.end
		if rise := slices.IndexFunc(d.targets[i:], func(t at[record.Target]) bool { return t.v.Replicas != 0 }); rise > 0 {
			to = min(d.end, d.targets[i+rise].t)
		}
		s, keda := lastOf(d.scaled, to-1)
		if from >= to || d.takenByOthers(n.t) || keda && s.Deleted {
			continue // what somebody else did, another finding says
		}
		later := keda && to < d.end && !d.takenByOthers(to) // KEDA brought one back, in a phase that is told by the cold start
		if later {
			to = d.phase(to).start
		}
		var failed, sent uint64
		first, last := to, from
		until := int(to.Seconds())
		if to == d.end {
			until++ // the last second is not whole
		}
		for second := int(from.Seconds()); second < until; second++ {
			s, at := d.loads.second(second), record.Instant(second)*record.Instant(time.Second)
			failed, sent = failed+s.errors, sent+s.sent
			if s.errors > 0 || keda && s.sent > 0 { // which something in front may hold
				first, last = min(first, at), at
			}
		}
		patience := 2 * d.flags.Sync.Duration
		if keda {
			patience = 2 * time.Duration(s.PollingSeconds) * time.Second
		}
		if later {
			patience += settling // in which a metric may still be on its way
		}
		if last.Sub(first) <= patience+time.Second || d.blockedIn(first.Seconds(), to.Seconds(), FoundPaused) || keda && d.allLost(first, to) {
			continue
		}
		f := Finding{Kind: FoundStuckAtZero, Severity: Blocks, Object: d.hpa(), SinceSeconds: new(first.Seconds()), UntilSeconds: d.until(to),
			Seen:   fmt.Sprintf("It stayed at 0 replicas for %.0f s while %s were sent, of which %d failed.", to.Sub(first).Seconds(), record.Counted(sent, "request"), failed),
			Cause:  d.unable(to - 1),
			Advice: "Scale on a metric that shows requests while there is no pod, such as the length of a queue or the rate at the ingress, or set minReplicas to 1."}
		if f.Cause == "" {
			f.Cause = "Its metric does not show the requests that come while there is no pod."
		}
		if keda {
			f.Kind, f.Object = FoundNeverActivated, d.scaledObject(s.Name)
			f.Cause, f.Advice = d.notActivated(first, to, s)
		}
		if later {
			f.Severity = Limits
		}
		d.add(f)
	}
}

// takenByOthers says whether the last change of the replicas up to t was not the autoscaler's.
func (d *diagnosis) takenByOthers(t record.Instant) bool {
	steps := d.steps(window{end: t + 1})
	return len(steps) > 0 && steps[len(steps)-1].Foreign
}

// notActivated says why KEDA left a target at its idle replicas in a stretch of load: by the metric that was longest above what
// activates it.
func (d *diagnosis) notActivated(from, to record.Instant, s *record.ScaledObject) (cause, advice string) {
	cause, advice = "No metric of it had a value that hpabench could read.", fmt.Sprintf("Look at `kubectl describe scaledobject %s%s`, and ask the triggers' sources by hand.", s.Name, d.namespace())
	longest := time.Duration(-1)
	for _, c := range d.signals {
		var most *float64
		above, none := time.Duration(0), time.Duration(0)
		for i, v := range c.values {
			if v.t >= to || standsUntil(c.values, i, to) <= from {
				continue
			}
			if v.v == nil {
				none += standsUntil(c.values, i, to).Sub(max(v.t, from))
				continue
			}
			if most == nil || *v.v > *most {
				most = v.v
			}
			if d.activates(c, i) {
				above += standsUntil(c.values, i, to).Sub(max(v.t, from))
			}
		}
		if most == nil || above <= longest {
			continue
		}
		longest = above
		value, known := d.activation(c.metric, to-1)
		switch threshold := record.Plain(value, 4); {
		case !known:
			cause = fmt.Sprintf("Metric %s came to %s at most; which value activates the target is not known.", c.metric, record.Plain(*most, 4))
			advice = fmt.Sprintf("Look at the triggers and their activation thresholds: `kubectl describe scaledobject %s%s`.", s.Name, d.namespace())
		case above == 0 && none > to.Sub(from)/2:
			cause = fmt.Sprintf("Metric %s had no value for %.0f s.", c.metric, none.Seconds())
		case above == 0 && *most == 0:
			cause = fmt.Sprintf("Metric %s was 0: it does not show the requests that come while there is no pod, or its query finds no series, which KEDA reads as 0.", c.metric)
			advice = "Ask the trigger's source by hand whether it finds something; scale on a metric that shows requests while there is no pod, such as the length of a queue or the rate at the ingress; or set minReplicaCount to 1."
		case above == 0:
			cause = fmt.Sprintf("Metric %s came to %s at most, and a trigger activates above %s: it does not show the requests that come while there is no pod, or its activation threshold is too high.", c.metric, record.Plain(*most, 4), threshold)
			advice = "Scale on a metric that shows requests while there is no pod, such as the length of a queue or the rate at the ingress; lower the trigger's activation threshold; or set minReplicaCount to 1."
		case above > 2*time.Duration(s.PollingSeconds)*time.Second:
			cause = fmt.Sprintf("KEDA does not work on it: metric %s was above what activates it (%s) for %.0f s, and KEDA polls each %d s.", c.metric, threshold, above.Seconds(), s.PollingSeconds)
			advice = fmt.Sprintf("Look at the logs of KEDA's operator, and at `kubectl describe scaledobject %s%s`.", s.Name, d.namespace())
		default:
			cause = fmt.Sprintf("Metric %s was above what activates it (%s) for %.0f s only, and KEDA polls each %d s.", c.metric, threshold, above.Seconds(), s.PollingSeconds)
			advice = "Scale on a metric that stays while requests wait, such as the length of a queue or a rate over a longer time; or set a shorter pollingInterval."
		}
	}
	return cause, advice
}

// lastOf is last for pointers.
func lastOf[T any](sorted []at[*T], t record.Instant) (*T, bool) {
	v, ok := last(sorted, t)
	return v, ok && v != nil
}

// zeroFlapping finds that the target lost its last replica and got it back soon.
func (d *diagnosis) zeroFlapping() {
	var needed time.Duration
	var first, last record.Instant
	n := 0
	for i := 1; i < len(d.changes); i++ {
		fall, rise := d.changes[i-1], d.changes[i]
		if fall.to != 0 || rise.from != 0 || fall.t < d.start || rise.t >= d.end || rise.t.Sub(fall.t) > record.FlapWithin {
			continue
		}
		if n++; n == 1 {
			first = fall.t
		}
		last, needed = rise.t, max(needed, rise.t.Sub(fall.t))
	}
	if n == 0 {
		return
	}
	object, window, now := d.hpa(), "behavior.scaleDown.stabilizationWindowSeconds", 0.0
	if hpa := d.autoscaler(last); hpa != nil {
		now = policyOf(hpa.Spec, d.flags).window.Seconds()
	}
	if s, ok := lastOf(d.scaled, last); ok {
		object, window, now = d.scaledObject(s.Name), "cooldownPeriod", float64(s.CooldownSeconds)
	}
	d.add(Finding{Kind: FoundZeroFlapping, Severity: Limits, Object: object, SinceSeconds: new(first.Seconds()), UntilSeconds: new(last.Seconds()),
		Seen:   fmt.Sprintf("It took the last replica away and brought one back within %.0f s, %s.", needed.Seconds(), record.Counted(n, "time")),
		Cause:  "The pauses of the load are longer than what holds the last replica, and each costs a cold start.",
		Advice: fmt.Sprintf("`%s: %.0f` would have held it; it is %.0f now.", window, now+needed.Seconds()+d.flags.Sync.Seconds(), now)})
}

// within is a latency that is known, with its precision where that shows.
func within(l Latency) string {
	if l.PrecisionSeconds < 0.05 {
		return fmt.Sprintf("%.1f s", *l.Seconds)
	}
	return fmt.Sprintf("%.1f ± %.1f s", *l.Seconds, l.PrecisionSeconds)
}

// coldStarts says of the longest start from zero which stage took most of it, and what would shorten that.
func (d *diagnosis) coldStarts() {
	var of *Transition
	var each []string
	var since, until float64
	for i, t := range d.r.Transitions {
		if t.ScaleUp == nil || t.ScaleUp.ColdStart == nil || t.ScaleUp.ColdStart.Latency.Seconds == nil || t.ScaleUp.First == nil {
			continue
		}
		c := t.ScaleUp.ColdStart
		if until = t.OnsetSeconds + *c.Latency.Seconds; each == nil {
			since = t.OnsetSeconds
		}
		each = append(each, fmt.Sprintf("%s from %.1f s on (%d requests held, %d failed)", within(c.Latency), t.OnsetSeconds, c.Held, c.Failed))
		if of == nil || *t.ScaleUp.ColdStart.Latency.Seconds > *of.ScaleUp.ColdStart.Latency.Seconds {
			of = &d.r.Transitions[i]
		}
	}
	if of == nil {
		return
	}
	cold := of.ScaleUp.ColdStart
	longest := Stage{}
	for _, s := range of.ScaleUp.First.Stages {
		if s.Seconds != nil && (longest.Seconds == nil || *s.Seconds > *longest.Seconds) {
			longest = s
		}
	}
	if longest.Seconds == nil {
		return
	}
	polling := "the HPA looks each sync period"
	if s, ok := lastOf(d.scaled, d.end); ok {
		polling = fmt.Sprintf("KEDA polls each %d s (pollingInterval)", s.PollingSeconds)
	}
	advice := map[string]string{
		StageSignal:     "Take a signal that is there sooner: shorter scrape intervals and windows of rates, or a source that is asked itself (a queue, the gateway), rather than through Prometheus.",
		StageActivation: fmt.Sprintf("Look more often: %s.", polling),
		StageSchedule:   "Keep room on the nodes for a pod, so that none has to be bought first.",
		StagePull:       "Keep the image on the nodes, make it smaller, or do less in init containers.",
		StageStart:      "Make the program start sooner.",
		StageReady:      "Make the program start sooner, and probe it more often (periodSeconds of its readiness or startup probe).",
	}[longest.Name]
	if advice == "" {
		advice = "Keep one replica (a min of 1) if requests must not wait for it."
	}
	share, its := "The longest part", "it"
	if *longest.Seconds > *cold.Latency.Seconds/2 {
		share = "Most"
	}
	seen := fmt.Sprintf("From no pod it took %s to the first good answer; %d requests were held and %d failed meanwhile.", within(cold.Latency), cold.Held, cold.Failed)
	if len(each) > 1 {
		seen = fmt.Sprintf("It had no pod at the onset of %d loads; to the first good answer it took %s.", len(each), strings.Join(each, ", "))
		its = "the slowest"
	}
	d.add(Finding{Kind: FoundColdStart, Severity: Notice, Object: d.target(), SinceSeconds: &since, UntilSeconds: &until,
		Seen:   seen,
		Cause:  fmt.Sprintf("%s of %s was the stage %s with %.1f s.", share, its, longest.Name, *longest.Seconds),
		Advice: advice})
}
