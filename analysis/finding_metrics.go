package analysis

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// settling is how long after a pod is ready metrics-server may take to have a
// sample of it beside its resolution: the kubelet looks every 10 to 15 s, and a
// rate takes two looks.
const settling = 60 * time.Second

// housekeeping is by how much a sample may be older than its scrape: the kubelet
// itself looks at a container every 10 to 15 s.
const housekeeping = 15 * time.Second

const metricsAPI = "apiservice/v1beta1.metrics.k8s.io"

// resolution is how often metrics-server takes samples: what the embedded cluster
// tells, else the shortest time between two timestamps of a pod, else its default.
func (d *diagnosis) resolution() time.Duration {
	if d.cluster != nil && d.cluster.Lab != nil {
		return time.Duration(d.cluster.Lab.MetricsResolution * float64(time.Second))
	}
	shortest := time.Duration(math.MaxInt64)
	before := map[uint32]int64{}
	for _, u := range d.usages {
		for i := range u.v.reading.samples {
			s := &u.v.reading.samples[i]
			if t, known := before[s.pod]; known && s.stamp > t {
				shortest = min(shortest, time.Duration(s.stamp-t))
			}
			before[s.pod] = s.stamp
		}
	}
	if shortest > 5*time.Minute {
		return 15 * time.Second
	}
	return max(shortest, 5*time.Second).Round(5 * time.Second)
}

// metrics finds what keeps the HPA from its metrics.
func (d *diagnosis) metrics() {
	if d.noRequest() {
		return
	}
	hpa := d.autoscaler(d.end)
	if hpa != nil && d.metricNotServed(hpa) || hpa != nil && !slices.ContainsFunc(hpa.Spec.Metrics, func(m autoscalingv2.MetricSpec) bool { name, _ := record.ResourceOf(m); return name != "" }) {
		return
	}
	if !d.metricsAbsent(hpa) {
		d.metricsStale()
		d.metricsMissing()
	}
}

// noRequest finds pods without the request that the HPA's metric is a share of.
func (d *diagnosis) noRequest() bool {
	hpa := d.autoscaler(d.end)
	if hpa == nil {
		return false
	}
	said := ""
	for _, c := range hpa.Status.Conditions {
		if c.Status == corev1.ConditionFalse && strings.Contains(c.Message, "missing request for") {
			said = c.Message
		}
	}
	if said == "" && len(statusRatios(hpa)) > 0 {
		return false // older records do not have the requests of a whole pod
	}
	for i, m := range hpa.Spec.Metrics {
		for _, p := range d.own {
			name, lacking := record.WithoutRequest(m, p.now.Containers, p.now.Resources)
			if len(lacking) == 0 || p.gone.seen && p.gone.t < d.end {
				continue
			}
			f := Finding{Kind: FoundNoRequest, Object: d.target(), SinceSeconds: new(p.shown.t.Seconds()),
				Seen:   fmt.Sprintf("Containers of its pods have no %s request: %s%s.", name, strings.Join(lacking, ", "), detail(said)),
				Cause:  fmt.Sprintf("The HPA's target is a share of the %s request. ", name),
				Advice: fmt.Sprintf("Give them one: `kubectl set resources %s%s -c %s --requests=%s=…`.", d.target(), d.namespace(), lacking[0], name)}
			f.lacks(i, values(hpa))
			d.add(f)
			return true
		}
	}
	return false
}

const withoutOne = "Without one of its metrics the HPA takes no replica away, and adds some by the others alone."

// lacks says what it means that the HPA has no value of its ith metric: it blocks, unless the HPA has those of
// others.
func (f *Finding) lacks(i int, has []bool) {
	if slices.Contains(has[:i], true) || slices.Contains(has[i+1:], true) {
		f.Severity = Limits
		f.Cause += withoutOne
		return
	}
	f.Severity = Blocks
	f.Cause += "Without a metric the HPA does not scale."
}

// values says of which of the HPA's metrics its status has a value.
func values(hpa *record.Autoscaler) (has []bool) {
	for i := range hpa.Spec.Metrics {
		s := statusOf(hpa, i)
		has = append(has, s.Value != nil || s.AverageValue != nil || s.AverageUtilization != nil)
	}
	return has
}

// notServed are the words of a client for an API group that the cluster does not serve: of
// k8s.io/metrics/pkg/client/custom_metrics, and of the API server.
var notServed = regexp.MustCompile(`no custom metrics API .* registered|could not find the requested resource|not found in API group`)

// metricNotServed finds metrics of the HPA that an adapter would have to serve and that it does not
// have, and those of a container that the pods do not have.
func (d *diagnosis) metricNotServed(hpa *record.Autoscaler) (found bool) {
	if c := hpaCondition(hpa, autoscalingv2.ScalingActive); c != nil && c.Reason == "ScalingDisabled" {
		return false // it does not look at its metrics while the target has 0 replicas
	}
	has := values(hpa)
	for i, m := range hpa.Spec.Metrics {
		if has[i] {
			continue
		}
		name, _ := record.MetricTarget(m)
		f := Finding{Kind: FoundMetricsAbsent, Object: d.hpa()}
		said, long, events := "", d.end.Sub(d.start) > patience, 0
		for _, c := range hpa.Status.Conditions {
			if c.Type == autoscalingv2.ScalingActive && c.Status == corev1.ConditionFalse {
				said, f.SinceSeconds = c.Message, new(d.instant(c.LastTransitionTime.Time).Seconds())
				long = long || d.end.Sub(d.instant(c.LastTransitionTime.Time)) > patience
			}
		}
		// The reasons are of k8s.io/kubernetes/pkg/controller/podautoscaler, getUnableComputeReplicaCountCondition.
		d.eventsOf("HorizontalPodAutoscaler", "FailedGet"+string(m.Type)+"Metric", func(t record.Instant, e record.Event) {
			if said, events = e.Message, events+int(max(1, e.Count)); f.SinceSeconds == nil {
				f.SinceSeconds = new(t.Seconds())
			}
		})
		resource, _ := record.ResourceOf(m)
		switch container := m.ContainerResource; {
		case resource != "" && resource != corev1.ResourceCPU && resource != corev1.ResourceMemory:
			f.Seen = fmt.Sprintf("Its metric is %s, and metrics.k8s.io has cpu and memory alone.", name)
			f.Advice = "Scale on one of these, or on a metric that an adapter serves."
		case container != nil && len(d.own) > 0:
			var names []string
			for _, c := range d.own[len(d.own)-1].now.Containers {
				names = append(names, c.Name)
			}
			if slices.Contains(names, container.Container) {
				continue
			}
			f.Seen = fmt.Sprintf("Its metric is %s, and the pods have no such container: they have %s.", name, strings.Join(names, ", "))
			f.Advice = "Name one of these in the HPA's metric."
		case record.CustomMetric(m) != "":
			group := "custom.metrics.k8s.io"
			if m.External != nil {
				group = "external.metrics.k8s.io"
			}
			if len(hpa.Status.Conditions) == 0 || !notServed.MatchString(said) && !long && events < 2 {
				continue
			}
			if !notServed.MatchString(said) && (d.has(FoundCrash, FoundOOM, FoundProbe) || d.wentToZero(f.SinceSeconds)) && d.hadValue(name) && d.noneReady(f.SinceSeconds) {
				continue // there was no pod to have one, and stuck-at-zero says what that costs
			}
			if lost := d.lostSignal(name); !notServed.MatchString(said) && len(lost) > 0 && lost[len(lost)-1].to >= d.end.Add(-2*d.flags.Sync.Duration) { // until when the HPA has looked again
				continue // signal-absent tells it
			}
			f.Seen = fmt.Sprintf("It has no metric %s from %s%s.", name, group, detail(said))
			f.Advice = fmt.Sprintf("`kubectl get apiservices | grep %s` shows whether an adapter (KEDA, prometheus-adapter) serves the API group; if one does, its logs tell why it has no value.", group)
			if notServed.MatchString(said) {
				f.Cause = fmt.Sprintf("No adapter serves %s. ", group)
				f.Advice = "Install an adapter (KEDA, prometheus-adapter), or take the metric out of the HPA."
			}
		default:
			continue
		}
		if f.SinceSeconds == nil {
			f.SinceSeconds = new(d.start.Seconds())
		}
		f.lacks(i, has)
		d.found = append(d.found, f) // each metric is another cause
		found = true
	}
	return found
}

// noneCounted finds the longest time in which the HPA counted none of its pods, though they had samples, if it was longer than
// a pod that has become ready may take to a sample that counts, or, where pods counted before, than two syncs.
func (d *diagnosis) noneCounted(p policy) {
	var longest spell
	for i := 0; i < len(d.hpas); i++ {
		s := spell{from: max(d.start, d.hpas[i].t)}
		for ; i < len(d.hpas) && record.NoneCounted(d.hpas[i].v.Spec.Metrics, d.hpas[i].v.Status); i++ {
			s.to = standsUntil(d.hpas, i, d.end)
		}
		if s.to.Sub(s.from) > longest.to.Sub(longest.from) {
			longest = s
		}
	}
	had := slices.ContainsFunc(between(d.usages, longest.from, longest.to), func(u at[usage]) bool { return len(u.v.reading.samples) > 0 })
	patience := settling + 2*d.every
	counted := slices.ContainsFunc(d.hpas[:after(d.hpas, longest.from-1)], func(a at[*record.Autoscaler]) bool { return len(statusRatios(a.v)) > 0 })
	if counted && slices.ContainsFunc(d.own, func(p *pod) bool {
		return (p.before || p.ready.seen && p.ready.t < longest.from.Add(-2*d.every)) && (!p.terminating.seen || p.terminating.t > longest.to)
	}) {
		patience = 2*d.flags.Sync.Duration + time.Second
	}
	if longest.to.Sub(longest.from) <= patience || !had || d.has(FoundCrash, FoundOOM) {
		return
	}
	said, others := false, false // that it counts none, and a value of another metric
	d.eventsOf("HorizontalPodAutoscaler", "FailedGetResourceMetric", func(t record.Instant, e record.Event) {
		said = said || t >= longest.from.Add(-WatchDelay) && t <= longest.to && strings.Contains(e.Message, record.NoPodCounts)
	})
	for _, a := range between(d.hpas, longest.from, longest.to-1) {
		said, others = said || record.NoneCounted(nil, a.v.Status), others || slices.Contains(values(a.v), true)
	}
	if !said {
		return
	}
	n, _ := last(d.targets, longest.from)
	severity, so := Blocks, ", so it left their number as it is"
	if others {
		severity, so = Limits, " for its metric of CPU, and went by the others alone. It removes no replica while one metric is missing"
	}
	sent := uint64(0)
	_, _, failed := d.tally(longest.from.Seconds(), longest.to.Seconds(), func(s secondSum) uint64 {
		sent = max(sent, s.sent)
		return s.errors
	})
	if failed == 0 && float64(sent) <= d.borne(n.Replicas) {
		severity = Notice // nothing asked for more
	}
	f := Finding{Kind: FoundNoneCounted, Severity: severity, Object: d.hpa(), SinceSeconds: new(longest.from.Seconds()), UntilSeconds: d.until(longest.to),
		Seen:   fmt.Sprintf("For %.0f s it counted no pod of the target (%s)%s.", longest.to.Sub(longest.from).Seconds(), replicas(n.Replicas), so),
		Cause:  "No pod counts that is pending, has failed or is about to end.",
		Advice: "Give the readiness probe a longer `timeoutSeconds`, so that load alone takes no pod out; a higher CPU limit or `minReplicas` leave room for the load until new pods serve."}
	if p.goesBy(corev1.ResourceCPU) {
		f.Cause = fmt.Sprintf("In its first %.0f s (--horizontal-pod-autoscaler-cpu-initialization-period) the CPU of a pod counts only while it is ready, and by a sample that began after it last became so. A readiness probe that fails in an overload leaves the HPA without a pod to go by just when it should add some.", d.flags.CPUInitialization.Seconds())
	}
	d.add(f)
}

// hadValue says whether a status of the HPA had a value of a metric in the run.
func (d *diagnosis) hadValue(name string) bool {
	return slices.ContainsFunc(d.hpas, func(a at[*record.Autoscaler]) bool {
		_, has := record.MetricsCurrent(a.v.Status)[name]
		return has
	})
}

// wentToZero says whether the target had no replica at a time.
func (d *diagnosis) wentToZero(at *float64) bool {
	n, ok := last(d.targets, record.Instant(ptr.Deref(at, d.start.Seconds())*1e9))
	return ok && n.Replicas == 0
}

// noneReady says whether no pod was ready at a time or at one after it, of the whole run without one.
func (d *diagnosis) noneReady(since *float64) bool {
	from := d.start
	if since != nil {
		from = record.Instant(*since * 1e9)
	}
	for _, c := range d.counts[max(0, after(d.counts, from)-1):after(d.counts, d.end)] {
		if c.v.ready == 0 {
			return true
		}
	}
	return false
}

// inOneProcess rewords a finding on metrics-server for the embedded cluster, which has none in a pod.
func (d *diagnosis) inOneProcess(f *Finding) {
	if d.cluster == nil || d.cluster.Lab == nil {
		return
	}
	f.Cause = "The embedded cluster takes and serves the metrics itself, in the one process of its control plane (hpabench-lab): that ended, or had no CPU for it."
	f.Advice = "Look whether hpabench-lab still runs (`hpabench lab status` lists those that do), and whether something else takes the CPU of this machine; then run again."
}

// metricsAbsent finds that metrics.k8s.io does not answer, or has nothing of the
// pods though they are ready.
func (d *diagnosis) metricsAbsent(hpa *record.Autoscaler) bool {
	f := Finding{Kind: FoundMetricsAbsent, Severity: Blocks, Object: metricsAPI,
		Cause:  "metrics-server is not there, is not ready, or cannot reach the kubelets.",
		Advice: "`kubectl top pods` must work: look at `kubectl get apiservice v1beta1.metrics.k8s.io`, and at the pods and logs of metrics-server in kube-system."}
	d.inOneProcess(&f)
	for _, g := range d.gaps {
		from, to := max(g.From, d.start), min(g.To, d.end)
		if sourceOf(g) != metricsSource || to.Sub(from) <= 2*d.every {
			continue
		}
		f.SinceSeconds, f.UntilSeconds = new(g.From.Seconds()), d.until(to)
		f.Seen = fmt.Sprintf("metrics.k8s.io did not answer for %.0f s%s.", to.Sub(from).Seconds(), detail(g.Cause))
		d.add(f)
		return true
	}
	for _, c := range d.checks {
		if c.Name == "metrics" && c.Outcome != record.OK && !strings.Contains(c.Message, "no right") && !strings.Contains(c.Message, "old") {
			f.Seen = sentence(c.Message)
			d.add(f)
			return true
		}
	}
	// The HPA itself says so, for long and although pods could have metrics.
	if hpa == nil || len(statusRatios(hpa)) > 0 {
		return false
	}
	for _, c := range hpa.Status.Conditions {
		t := d.instant(c.LastTransitionTime.Time)
		if c.Type != autoscalingv2.ScalingActive || c.Status != corev1.ConditionFalse || !strings.HasPrefix(c.Reason, "FailedGet") ||
			strings.Contains(c.Message, "missing request for") || d.end.Sub(t) <= settling+2*d.every {
			continue
		}
		for _, p := range d.own {
			ready := condition(p.now.Status, corev1.PodReady)
			if ready == nil || p.gone.seen || d.end.Sub(d.instant(ready.LastTransitionTime.Time)) <= settling+2*d.every {
				continue
			}
			f.Object, f.SinceSeconds = d.hpa(), new(t.Seconds())
			f.Seen = fmt.Sprintf("It has no metric%s.", detail(c.Message))
			d.add(f)
			return true
		}
	}
	return false
}

func sentence(s string) string {
	s = strings.TrimSuffix(oneLine(s), ".")
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// metricsStale finds samples that are older than two resolutions, beside what the
// kubelet's own looks may make of them.
func (d *diagnosis) metricsStale() {
	limit, patience := 2*d.every+housekeeping, settling+2*d.every
	newest := map[string]time.Time{}
	var worst time.Duration
	var f *Finding
	there := living{pods: d.own}
	check := func(t record.Instant) {
		for _, p := range there.at(t) {
			stamp, known := newest[p.name]
			if !known || !p.isReadyAt(t) || t < d.start || t > d.end {
				continue
			}
			age := t.Sub(d.instant(stamp))
			if age <= limit || age <= worst || t.Sub(p.runsSince(t)) <= patience {
				continue
			}
			worst = age
			if f == nil {
				f = &Finding{Kind: FoundMetricsStale, Severity: Blocks, Object: "pod/" + p.name, SinceSeconds: new(t.Seconds()),
					Cause:  "metrics-server did not scrape the node in time, or its kubelet did not answer; the HPA decides on old figures meanwhile.",
					Advice: "Look at the logs of metrics-server and at its CPU; `--metric-resolution` below what the nodes can serve does this, too."}
				d.inOneProcess(f)
			}
			f.Seen = fmt.Sprintf("Its newest sample was up to %.0f s old; metrics-server takes one every %.0f s.", worst.Seconds(), d.every.Seconds())
		}
	}
	for _, u := range d.usages {
		check(u.t)
		m := u.v.reading
		for i := range m.samples {
			s := &m.samples[i]
			newest[m.pod(s)] = s.timestamp()
		}
	}
	check(d.end)
	if f != nil {
		d.add(*f)
	}
}

// living goes through the pods with time.
type living struct {
	pods []*pod // by when they were first seen
	now  []*pod
}

// at are the pods that were seen by t and of which none is known to end by then; t never
// goes back.
func (l *living) at(t record.Instant) []*pod {
	l.now = slices.DeleteFunc(l.now, func(p *pod) bool {
		return p.terminating.seen && p.terminating.t <= t || p.gone.seen && p.gone.t <= t
	})
	for len(l.pods) > 0 && l.pods[0].shown.t <= t {
		l.now, l.pods = append(l.now, l.pods[0]), l.pods[1:]
	}
	return l.now
}

// isReadyAt says whether p was ready at t and not about to go.
func (p *pod) isReadyAt(t record.Instant) bool {
	ready := p.ready.seen && p.ready.t <= t || p.beforeStates[&p.ready]
	return ready && p.shown.t <= t && (!p.terminating.seen || p.terminating.t > t) && (!p.gone.seen || p.gone.t > t)
}

// never is after all instants of a record.
const never = record.Instant(math.MaxInt64)

// runsSince is the latest start of a container, never if one of them does not run, and long ago if none is known.
func (o *observed) runsSince(s corev1.PodStatus) record.Instant {
	since := -never / 2
	for _, c := range s.ContainerStatuses {
		if c.State.Running == nil {
			return never
		}
		since = max(since, o.instant(c.State.Running.StartedAt.Time))
	}
	return since
}

// runsSince is since when all containers of p run at t; t if one of them does not.
func (p *pod) runsSince(t record.Instant) record.Instant {
	since, _ := last(p.runs, t)
	return min(t, since)
}

// metricsMissing finds pods that have no sample though others have one. Whether a pod that has
// one in the first reading had one before, nobody knows.
func (d *diagnosis) metricsMissing() {
	patience := settling + 2*d.every
	first := map[string]record.Instant{}
	var opened, anyAt record.Instant
	for _, u := range d.usages {
		m := u.v.reading
		for i := range m.samples {
			name := m.pod(&m.samples[i])
			if _, known := first[name]; !known {
				first[name] = u.t
			}
			anyAt = u.t
			opened = cmp.Or(opened, u.t)
		}
	}
	for _, p := range d.own {
		ready := p.ready.t
		if c := condition(p.now.Status, corev1.PodReady); p.beforeStates[&p.ready] && c != nil {
			ready = d.instant(c.LastTransitionTime.Time)
		} else if !p.ready.seen {
			continue
		}
		if p.now.Status.Phase == corev1.PodSucceeded || p.now.Status.Phase == corev1.PodFailed {
			continue
		}
		end := d.end
		if p.terminating.seen {
			end = min(end, p.terminating.t)
		}
		got, has := first[p.name]
		if has {
			end = min(end, got)
		}
		ready = max(ready, p.runsSince(end)) // nobody has samples of a container that is down
		if has && got == opened || end.Sub(ready) <= patience || anyAt == 0 || anyAt < ready.Add(patience) {
			continue
		}
		f := Finding{Kind: FoundMetricsMissing, Severity: Limits, Object: "pod/" + p.name, SinceSeconds: new(ready.Seconds()),
			Seen:   fmt.Sprintf("It was ready for %.0f s without a sample in metrics.k8s.io, while other pods had some.", end.Sub(ready).Seconds()),
			Cause:  "metrics-server cannot scrape its node. The HPA takes such a pod as idle when it adds replicas, and as at all of its request when it removes some.",
			Advice: fmt.Sprintf("`kubectl top node %s` and the logs of metrics-server tell whether it can reach the node's kubelet.", p.now.Node)}
		d.inOneProcess(&f)
		if has {
			f.UntilSeconds = new(got.Seconds())
		}
		d.add(f)
	}
}
