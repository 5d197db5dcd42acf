package analysis

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/ptr"

	"github.com/hpabench/hpabench/record"
	corev1 "k8s.io/api/core/v1"
)

// traffic finds what the load met.
func (d *diagnosis) traffic() {
	d.terminatingErrors()
	d.errors()
}

// cpuLimit finds containers, and whole pods, whose CPU stood at their limit for two samples.
func (d *diagnosis) cpuLimit() {
	if d.has(FoundCannotScale) {
		return // which tells that, and more
	}
	type key struct{ pod, container string }
	limits := map[key]float64{}
	for _, p := range d.own {
		for _, c := range p.now.Containers {
			if q, ok := c.Limits[corev1.ResourceCPU]; ok {
				limits[key{p.name, c.Name}] = q.AsApproximateFloat64()
			}
		}
		if r := p.now.Resources; r != nil && !r.Limits.Cpu().IsZero() {
			limits[key{p.name, ""}] = r.Limits.Cpu().AsApproximateFloat64() // of all containers together
		}
	}
	sees, request := "; and the HPA sees no more load than that", "; the request is what the HPA's target and the scheduler go by"
	if hpa := d.autoscaler(d.end); hpa == nil || !policyOf(hpa.Spec, d.flags).goesBy(corev1.ResourceCPU) {
		sees, request = "", ""
	}
	since := map[key]record.Instant{}
	at := func(t record.Instant, k key, cpu float64) {
		limit, has := limits[k]
		if !has || cpu < record.AtLimit*limit {
			delete(since, k)
			return
		}
		from, again := since[k]
		if !again {
			since[k] = t
			return
		}
		sees := sees
		if i := after(d.hpas, t) - 1; i >= 0 && record.NoneCounted(d.hpas[i].v.Spec.Metrics, d.hpas[i].v.Status) {
			sees = "" // it sees none at all
		}
		who := "Container " + k.container
		if k.container == "" {
			who = "The pod"
		}
		d.add(Finding{Kind: FoundCPULimit, Severity: Limits, Object: "pod/" + k.pod, SinceSeconds: new(from.Seconds()), UntilSeconds: d.until(t),
			Seen:   fmt.Sprintf("%s used %.0fm of CPU, and its limit is %.0fm.", who, cpu*1000, limit*1000),
			Cause:  "The kernel throttles it there (metrics.k8s.io does not tell for how long), so that requests wait" + sees + ".",
			Advice: "Raise or remove the CPU limit" + request + "."})
	}
	for _, u := range between(d.usages, d.start, d.end) {
		m := u.v.reading
		for i := range m.samples {
			s := &m.samples[i]
			if !s.New {
				continue
			}
			all := 0.0
			for _, c := range m.containersOf(s) {
				at(u.t, key{m.pod(s), m.name(&c)}, c.CPU)
				all += c.CPU
			}
			at(u.t, key{m.pod(s), ""}, all)
		}
	}
}

// starved finds new pods that get next to nothing of the load, as on kept connections: its own, or those of what is between it and them.
func (d *diagnosis) starved() {
	twice, there := 0, living{pods: d.own}
	work, came, before := 0.0, uint64(0), d.start // CPU time in seconds, and requests, up to a reading
	sent := func(s secondSum) uint64 { return s.sent }
	var found *Finding
	for _, u := range between(d.usages, d.start, d.end) {
		phase := d.phase(u.t)
		m, fresh := u.v.reading, false
		use := map[string]float64{}
		for i := range m.samples {
			s := &m.samples[i]
			fresh = fresh || s.New
			for _, c := range m.containersOf(s) {
				use[m.pod(s)] += c.CPU
			}
		}
		if !fresh {
			continue
		}
		for _, cpu := range use {
			work += cpu * u.t.Sub(before).Seconds()
		}
		_, _, n := d.tally(math.Floor(before.Seconds()), math.Floor(u.t.Seconds()), sent)
		came, before = came+n, u.t
		// What the requests of the resolution before take, in cores, if each takes as much as those until then did: the older pods may still work
		// off others. It is not known of requests that hpabench did not send.
		present := math.Inf(1)
		if came > 0 {
			_, _, n := d.tally(u.t.Add(-d.every).Seconds(), u.t.Seconds(), sent)
			present = work / float64(came) * float64(n) / d.every.Seconds()
		}
		// The old pods are those that were there when the load began.
		var old, young []*pod
		for _, p := range there.at(u.t) {
			_, sampled := use[p.name]
			switch {
			case !sampled || !p.isReadyAt(u.t):
			case p.before || p.inService.seen && p.inService.t < phase.start:
				old = append(old, p)
			case p.inService.seen && u.t.Sub(p.inService.t) > 2*d.every+housekeeping && (probed(p) || p.answered.seen || !d.untaken(u.t)): // or it may not listen yet
				young = append(young, p)
			}
		}
		mean := func(pods []*pod) (sum float64) {
			for _, p := range pods {
				sum += use[p.name]
			}
			return sum / float64(len(pods))
		}
		if phase.plan.Shape == record.ShapeIdle || len(old) == 0 || len(young) == 0 || !d.aboveTarget(old, mean(old)) || mean(young) >= 0.2*mean(old) || !phase.plan.KeepAlive && mean(young) > 0.2*present/float64(len(old)+len(young)) {
			if twice = 0; found == nil {
				continue
			}
			found.UntilSeconds = new(u.t.Seconds())
			break
		}
		if twice++; twice != 2 || found != nil {
			continue
		}
		used := func(pods []*pod, which, of string) string {
			text := fmt.Sprintf("%s used %.0fm%s", record.Counted(len(pods), which), mean(pods)*1000, of)
			if len(pods) > 1 {
				text += " each"
			}
			return text
		}
		f := Finding{Kind: FoundStarved, Severity: Limits, Object: d.target(), SinceSeconds: new(young[0].inService.t.Seconds()),
			Seen:   fmt.Sprintf("%s, while %s.", used(young, "new pod", " of CPU"), used(old, "older pod", "")),
			Cause:  "A kept connection stays with the pod that it was opened to (keep-alive), so that new pods get requests only by new connections.",
			Advice: "Close connections after a while (the server's limit of requests or age per connection, or a proxy that balances requests); `keepAlive: false` in the scenario shows the difference, unless something in front of the pods keeps connections of its own."}
		if !phase.plan.KeepAlive && phase.plan.Shape != record.ShapeObserved {
			f.Cause = "The load keeps no connection, so something between it and the pods does: pods in front that call the target, a proxy, or `sessionAffinity` of the Service. What is kept stays with the pod that it was opened to."
			f.Advice = "Have what calls the pods close its connections after a while, or have a proxy balance its requests."
		}
		found = &f
	}
	if found != nil {
		d.add(*found)
	}
}

// untaken says whether connections were refused or dropped in the resolution before t.
func (d *diagnosis) untaken(t record.Instant) bool {
	_, _, n := d.tally(t.Add(-d.every).Seconds(), t.Seconds(), func(s secondSum) uint64 { return s.refused + s.dropped })
	return n > 0
}

// probed says whether p has a probe before which it is not ready.
func probed(p *pod) bool {
	return slices.ContainsFunc(p.now.Containers, func(c record.ContainerResources) bool { return c.ReadinessProbe != nil || c.StartupProbe != nil })
}

// aboveTarget says whether pods with that CPU on average, in cores, are above the
// HPA's target of CPU.
func (d *diagnosis) aboveTarget(pods []*pod, cpu float64) bool {
	hpa := d.autoscaler(d.end)
	if hpa == nil {
		return false
	}
	for _, m := range hpa.Spec.Metrics {
		if m.Resource == nil || m.Resource.Name != corev1.ResourceCPU {
			continue
		}
		target := m.Resource.Target
		if target.AverageValue != nil {
			return cpu > target.AverageValue.AsApproximateFloat64()
		}
		request, _ := record.Request(corev1.ResourceCPU, "", pods[0].now.Containers, pods[0].now.Resources)
		return target.AverageUtilization != nil && request.Sign() > 0 && cpu/request.AsApproximateFloat64()*100 > float64(*target.AverageUtilization)
	}
	return false
}

// terminatingErrors finds requests that failed while a pod ended, and not before.
func (d *diagnosis) terminatingErrors() {
	total := func(from, to record.Instant) (c secondSum) {
		for n := int(from.Seconds()); n <= int(to.Seconds()); n++ {
			s := d.loads.second(n)
			c.errors += s.errors
			c.done += s.done
		}
		return c
	}
	for _, p := range d.own {
		if !p.terminating.seen || p.terminating.t < d.start || p.terminating.t >= d.end || d.endedWithAll(p.terminating.t) {
			continue
		}
		end := d.end
		if p.gone.seen {
			end = min(end, p.gone.t.Add(time.Second))
		}
		during := total(p.terminating.t, end)
		from := max(d.start, p.terminating.t.Add(-10*time.Second))
		before := total(from, p.terminating.t.Add(-time.Second))
		share := func(c secondSum) float64 { return float64(c.errors) / float64(max(c.done, 1)) }
		if during.errors == 0 || before.errors > 0 && share(during) < 5*share(before) {
			continue
		}
		listed := "its endpoint was taken out of service"
		if p.left.seen {
			listed = fmt.Sprintf("its address was no longer ready in the EndpointSlice %.1f s after it began to end", max(0, p.left.t.Sub(p.terminating.t).Seconds()))
		} else if p.serving {
			listed = "its address stayed ready in the EndpointSlice"
		}
		d.add(Finding{Kind: FoundTerminatingError, Severity: Limits, Object: "pod/" + p.name, SinceSeconds: new(p.terminating.t.Seconds()), UntilSeconds: d.until(end),
			Seen:   fmt.Sprintf("While it ended, %d of %d requests failed; in the 10 s before, %d of %d did. %s.", during.errors, during.done, before.errors, before.done, sentence(listed)[:len(sentence(listed))-1]),
			Cause:  "The server stops when it is told to, while requests still come to it: nodes and proxies learn later than it that it goes.",
			Advice: "Give the container a preStop hook that sleeps for a few seconds (`preStop: {sleep: {seconds: 5}}`), and let the server finish what it has begun."})
	}
}

// failedShare is the share of a phase's requests from which on failed ones limit what was measured;
// fewer are a notice.
const failedShare = 0.01

// saysWhyRequestsFail are the findings that explain failed requests in their time; those of saysWhyPodsAreSlow explain what waits
// too long (waitedCauses, waitedCodes, and droppedConnections of a full queue), and no other failure.
var (
	saysWhyRequestsFail = []string{FoundCrash, FoundOOM, FoundProbe, FoundNotReady,
		FoundStuckAtZero, FoundNeverActivated, FoundTerminatingError, FoundForeignScale, FoundDeleted, FoundChanged, FoundPodDeleted, FoundRival}
	saysWhyPodsAreSlow = []string{FoundUnschedulable, FoundImage, FoundQuota, FoundInit, FoundPostStart, FoundCPULimit, FoundCannotScale, FoundMaxReached, FoundMinIsMax, FoundNotScaled, FoundSeenLate, FoundStarved,
		FoundNoRequest, FoundMetricsAbsent, FoundStatusStale}
)

// mostPhases is how many phases a sentence names.
const mostPhases = 5

// What becomes of requests that no server takes, and of those that wait too long, by the causes of failures and the status codes.
const refusedConnection = "connection refused"

var (
	// A proxy or a port-forward takes a connection that no server takes, and drops it.
	droppedConnections = []string{"connection reset", "EOF", "port-forward", "no ready pod"}
	waitedCauses       = []string{"timeout"}
	waitedCodes        = []string{"503", "504"}
)

func sumOf(counts map[string]uint64, names []string) (n uint64) {
	for _, name := range names {
		n += counts[name]
	}
	return n
}

// errors finds phases in which requests failed and no other finding says why.
func (d *diagnosis) errors() {
	type why struct {
		cause, advice string // PODS in the cause are the pods
		phases, pods  []string
	}
	var phases []Finding
	var whys []why
	var more, moreFailed uint64
	for _, l := range d.r.Load.Phases {
		f, pod, failed := d.phaseErrors(l)
		if failed == 0 {
			continue
		}
		if phases = append(phases, f); len(phases) > mostPhases {
			more, moreFailed = more+1, moreFailed+failed
		}
		i := slices.IndexFunc(whys, func(w why) bool { return w.cause == f.Cause && w.advice == f.Advice })
		if i < 0 {
			i, whys = len(whys), append(whys, why{cause: f.Cause, advice: f.Advice})
		}
		w := &whys[i]
		w.phases, w.pods = append(w.phases, l.Name), append(w.pods, pod)
	}
	if len(phases) == 0 {
		return
	}
	all := phases[0]
	var causes, advices []string
	for _, w := range whys {
		cause := strings.Replace(w.cause, "PODS", firstOf(w.pods, "; ", "pod"), 1)
		if len(whys) > 1 {
			of := "Phase"
			if len(w.phases) > 1 {
				of = "Phases"
			}
			cause = fmt.Sprintf("%s %s: %s", of, firstOf(w.phases, ", ", "phase"), cause)
		}
		if causes = append(causes, cause); !slices.Contains(advices, w.advice) {
			advices = append(advices, w.advice)
		}
	}
	all.Cause, all.Advice = strings.Join(causes, " "), strings.Join(advices, " ")
	all.Seen = "In " + all.Seen
	for i, f := range phases[1:] {
		if f.Severity == Limits {
			all.Severity = Limits
		}
		if all.UntilSeconds = f.UntilSeconds; i+1 < mostPhases {
			all.Seen += "; in " + strings.Replace(f.Seen, " requests failed", "", 1)
		}
	}
	if more > 0 {
		all.Seen += fmt.Sprintf("; in %s another %d", record.Counted(int(more), "more phase"), moreFailed)
	}
	all.Seen += "."
	d.add(all)
}

// firstOf names the first mostPhases of names, and how many more there are.
func firstOf(names []string, between, what string) string {
	text := strings.Join(names[:min(len(names), mostPhases)], between)
	if more := len(names) - mostPhases; more > 0 {
		text += " and " + record.Counted(more, "more "+what)
	}
	return text
}

// phaseErrors tells, in a part of a sentence, of the requests of a phase that failed and of which no other finding says why; failed is
// their number. PODS in its cause stands for pod, which took no connections.
func (d *diagnosis) phaseErrors(l PhaseLoad) (f Finding, pod string, failed uint64) {
	if l.Errors == 0 || l.StartSeconds == nil || l.Seconds == nil {
		return f, "", 0
	}
	from, to := *l.StartSeconds, *l.StartSeconds+*l.Seconds
	untaken, count := func(s secondSum) uint64 { return s.refused }, func(s secondSum) uint64 { return s.errors }
	ofNew := l.Failures[refusedConnection] // by new pods, if there are some
	if ofNew == 0 {
		untaken = func(s secondSum) uint64 { return s.dropped }
		ofNew = sumOf(l.Failures, droppedConnections)
	}
	first, last, _ := d.tally(from, to, untaken)
	p, all, whole := d.unprobed(first, last, untaken), l.Errors, l
	if d.hasIn(from, to, saysWhyPodsAreSlow...) || d.blockedIn(from, to, FoundDirectionDisabled) { // which say why requests wait
		waited, drops := waitedCauses, p == nil || l.Failures[refusedConnection] > 0 || 2*ofNew < all
		if drops {
			waited = slices.Concat(waited, droppedConnections)
			ofNew = l.Failures[refusedConnection]
		}
		l.Errors -= sumOf(l.Failures, waited) + sumOf(l.Codes, waitedCodes)
		l.Failures, l.Codes = without(l.Failures, waited), without(l.Codes, waitedCodes)
		count = func(s secondSum) uint64 {
			if drops {
				s.errors -= s.dropped
			}
			return s.errors - s.waited
		}
	}
	if failed = l.Errors; failed == 0 {
		return f, "", 0
	}
	if 2*ofNew < failed {
		p = nil
	}
	first, last, within := d.tally(from, to, count)
	if within == 0 { // all of them after its end
		first, last = int(from), int(to)
	}
	atZero := func() bool { // most of them
		n, known := d.targetAt(last)
		return 2*d.failedAtZero(first, last, count) >= failed || known && n.Replicas == 0 && within < failed // by a timeout later
	}
	others, of := "for another reason than slow or too few pods", ": "+failures(l)
	if near, kinds := d.spellsIn(from, to, saysWhyRequestsFail); len(near) > 0 && !atZero() {
		if first, last, within = d.tally(from, to, count, near...); within == 0 {
			return f, "", 0
		}
		failed = min(failed, within)
		others = fmt.Sprintf("more than %.0f s before or %.0f s after the times of finding %s", d.unseen().Seconds(), patience.Seconds(), strings.Join(kinds, " and "))
		if failed < all {
			of = fmt.Sprintf("; all %d failures: %s", all, failures(whole))
		}
	}
	when, since, until := fmt.Sprintf("between %d and %d s", first, last+1), float64(first), record.Instant(last+1)*record.Instant(time.Second)
	switch {
	case within == 0:
		when, since, until = "all of them after its end", to, d.end
	case within < failed:
		when, until = when+fmt.Sprintf(" and %d of them after its end", failed-within), d.end
	}
	if p != nil { // what was found later in the phase does not say why
		from, to = float64(first), float64(last+1)
	}
	if slices.ContainsFunc(d.found, func(f Finding) bool {
		return f.Severity != Notice && len(f.Spells) == 0 && slices.Contains(saysWhyRequestsFail, f.Kind) && f.in(from, to)
	}) || d.blockedIn(from, to, FoundPaused, FoundSignalAbsent) {
		return f, "", 0
	}
	done := l.Answered + l.Failed
	percent := func(n uint64) string { return record.Plain(float64(n)/float64(done)*100, 2) }
	seen := fmt.Sprintf("phase %s %d of %d requests failed (%s %%)", l.Name, all, done, percent(all))
	if failed < all {
		seen += fmt.Sprintf(", %d of them (%s %%) %s", failed, percent(failed), others)
	}
	f = Finding{Kind: FoundErrors, Severity: Notice, Object: d.target(), SinceSeconds: &since, UntilSeconds: d.until(until),
		Seen: fmt.Sprintf("%s, %s%s", seen, when, of)}
	if float64(failed) >= failedShare*float64(done) {
		f.Severity = Limits
	}
	f.Cause, f.Advice = d.whyFailed(l)
	if p != nil {
		pod = fmt.Sprintf("pod %s at %.1f s%s", p.name, p.inService.t.Seconds(), d.silence(p))
		f.Cause = "Pods came into service before their programs took connections: PODS. A pod without a readiness probe is ready as soon as its containers run."
		f.Advice = "Give the container a readinessProbe (`readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}`, say), so that a pod has requests when it can answer them."
	}
	if atZero() {
		f.Cause = "The target had 0 replicas."
		f.Advice = "Look for who set its spec.replicas to 0. An HPA does nothing from there, unless it came to 0 by itself: `kubectl scale` to 1 or more brings it back."
		s, keda := lastOf(d.scaled, d.end)
		if hpa := d.autoscaler(d.end); keda && s.Least() == 0 || !keda && hpa != nil && ptr.Deref(hpa.Spec.MinReplicas, 1) == 0 {
			f.Cause = "The requests came while there was no pod, and nothing in front of the target held them."
			if 2*l.Failures["timeout"] >= l.Errors {
				f.Cause = "The requests came while there was no pod, and none was ready before their timeout."
			}
			f.Advice = "Put something in front that holds requests until a pod is ready (a gateway, KEDA's HTTP add-on), let clients try again, or keep one replica."
			if 2*l.unanswered() < l.Errors { // without a pod something in front answers
				f.Cause = "The requests came while there was no pod, and what is in front of the target answered them before one was ready."
				f.Advice = "Let what is in front hold requests until a pod is ready, for longer than the cold start takes, let clients try again, or keep one replica."
			}
		}
	}
	return f, pod, failed
}

// without is counts but for some names.
func without(counts map[string]uint64, names []string) map[string]uint64 {
	counts = maps.Clone(counts)
	maps.DeleteFunc(counts, func(name string, _ uint64) bool { return slices.Contains(names, name) })
	return counts
}

// unseen is how long a server that runs may fail before that is seen: for as long as the slowest of its probes takes to fail, and for five
// seconds at least, as a container that ends takes the requests with it that came just before.
func (d *diagnosis) unseen() time.Duration {
	seconds := int32(5)
	for _, p := range d.own {
		for _, c := range p.now.Containers {
			for _, probe := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe} {
				if probe != nil {
					seconds = max(seconds, probe.PeriodSeconds*probe.FailureThreshold+probe.TimeoutSeconds)
				}
			}
		}
	}
	return time.Duration(seconds) * time.Second
}

// spellsIn are the spells of findings of some kinds, which are more than a notice, between two seconds, each with the time before it in
// which it was unseen and patience after it; and the kinds.
func (d *diagnosis) spellsIn(from, to float64, of []string) (spells [][2]float64, kinds []string) {
	before := d.unseen().Seconds()
	for _, f := range d.found {
		for _, s := range f.Spells {
			if s[0], s[1] = s[0]-before, s[1]+patience.Seconds(); f.Severity != Notice && slices.Contains(of, f.Kind) && s[0] < to && s[1] > from {
				spells = append(spells, s)
				if !slices.Contains(kinds, f.Kind) {
					kinds = append(kinds, f.Kind)
				}
			}
		}
	}
	return spells, kinds
}

// tally are the first and the last second between two times, but for some spells, that have a count, and its sum; the seconds are -1 if
// none has one.
func (d *diagnosis) tally(from, to float64, count func(secondSum) uint64, but ...[2]float64) (first, last int, sum uint64) {
	first, last = -1, -1
	for n := int(from); n < int(math.Ceil(to)); n++ {
		if x := count(d.loads.second(n)); x > 0 && !slices.ContainsFunc(but, func(s [2]float64) bool { return s[0] < float64(n+1) && s[1] > float64(n) }) {
			sum += x
			if last = n; first < 0 {
				first = n
			}
		}
	}
	return first, last, sum
}

// unprobed is a pod without a readiness or startup probe that came into service when requests began to fail, between two
// seconds, or up to two seconds before; nil if there is none. Where the way of the load tells pods apart it did not answer for a
// second. Requests that failed before it came, as in an overload, do so for another reason.
func (d *diagnosis) unprobed(first, last int, count func(secondSum) uint64) *pod {
	for _, p := range d.own {
		at := int(p.inService.t.Seconds())
		_, _, before := d.tally(float64(at-6), float64(at-1), count)
		if !p.inService.seen || at < first-2 || at > last || p.answered.seen && p.answered.t.Sub(p.inService.t) < time.Second || before > 0 || probed(p) {
			continue
		}
		return p
	}
	return nil
}

// targetAt is the target at the beginning of a second.
func (d *diagnosis) targetAt(second int) (record.Target, bool) {
	return last(d.targets, record.Instant(second)*record.Instant(time.Second))
}

// failedAtZero is how many of the requests that count tells failed, from one second to another, while the target had 0 replicas and until its first pod was in
// service.
func (d *diagnosis) failedAtZero(from, to int, count func(secondSum) uint64) (failed uint64) {
	zero := false
	for n := int(d.start.Seconds()); n <= to; n++ {
		t := record.Instant(n) * record.Instant(time.Second)
		target, known := d.targetAt(n)
		supply := d.supplyAt(t)
		zero = known && target.Replicas == 0 || zero && supply != nil && *supply == 0
		if zero && n >= from {
			failed += count(d.loads.second(n))
		}
	}
	return failed
}

// silence is how long a pod in service gave no answer, in words; empty if that is not known.
func (d *diagnosis) silence(p *pod) string {
	if !p.answered.seen {
		return ""
	}
	return fmt.Sprintf(", and first answered %.1f s later", p.answered.t.Sub(p.inService.t).Seconds())
}

// failures are the status codes of errors and the causes of failures in l, the most frequent first.
func failures(l PhaseLoad) string {
	type failure struct {
		name string
		n    uint64
	}
	var all []failure
	for code, n := range l.Codes {
		if code < "200" || code >= "400" {
			all = append(all, failure{"code " + code, n})
		}
	}
	for cause, n := range l.Failures {
		all = append(all, failure{cause, n})
	}
	slices.SortFunc(all, func(a, b failure) int {
		return cmp.Or(cmp.Compare(b.n, a.n), strings.Compare(a.name, b.name))
	})
	var text []string
	for _, f := range all[:min(len(all), 3)] {
		text = append(text, fmt.Sprintf("%d × %s", f.n, f.name))
	}
	return strings.Join(text, ", ")
}

// whyNoAnswer are causes of failures, with what they mean and what to do; WAITED and MORE are said by whyFailed.
var whyNoAnswer = []struct {
	causes        []string
	cause, advice string
}{
	{waitedCauses, "The requests waited longer than their timeout: more came than WAITED, or the server hangs.",
		"MORE, or raise load.timeout."},
	{append([]string{refusedConnection}, droppedConnections...), "No server took the connections: none listened, or its queue of connections was full; or it closed them without an answer.",
		"MORE."},
	{[]string{"generator out of files or ports"}, "The load generator had no file descriptor or port left on its machine; the workload has no part in it.",
		"Raise its limit (`ulimit -n`), send on kept connections (`keepAlive: true`), or send from workers in the cluster (`via: job`)."},
	{[]string{"no HTTP", "answer head longer than 64 KiB"}, "What answered did not speak HTTP as the load generator reads it.", "Look at the port and the path of the load, and at an answer with `curl -v`."},
	{nil, "The requests did not come to the workload.", "The causes are those of the load generator: name resolution, TLS or the network between it and the workload."},
}

// unanswered is how many requests of p had no answer.
func (p PhaseLoad) unanswered() (n uint64) {
	for _, of := range p.Failures {
		n += of
	}
	return n
}

// whyFailed is the likely cause of the most frequent error of l, and what to do.
func (d *diagnosis) whyFailed(l PhaseLoad) (cause, advice string) {
	more := "lower the HPA's target or raise minReplicas so that the pods that are there bear the load until new ones are"
	if d.autoscaler(d.end) == nil {
		more = "send less, or give the server more capacity"
	}
	compare, waited := "compare the failures with the ready replicas in the timeline; ", "the ready pods served, as before a scale-up takes effect"
	if d.subject != nil && d.subject.Kind == "" { // no pods were looked at
		compare, waited = "", "the server answers in that time"
	}
	total := l.unanswered()
	if 2*total < l.Errors {
		return "The server, or a proxy in front of it, answered with these codes.", "Look at the server's logs for that time; an overloaded server or a proxy without a ready pod answers 503 or 504."
	}
	rest, most := total, uint64(0)
	for _, why := range whyNoAnswer {
		n := sumOf(l.Failures, why.causes)
		if rest -= n; why.causes == nil {
			n = rest
		}
		if n > most {
			most, cause, advice = n, why.cause, why.advice
		}
	}
	says := strings.NewReplacer("WAITED", waited, "MORE", strings.TrimSuffix(sentence(compare+more), "."))
	return says.Replace(cause), says.Replace(advice)
}
