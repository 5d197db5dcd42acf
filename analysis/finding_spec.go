package analysis

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// spec finds what the HPA's spec, with the pods' limits and requests, does not allow whatever the load.
func (d *diagnosis) spec(p policy) {
	d.cannotScale(p)
	d.minIsMax()
	d.disabled(p)
	d.runsAway(p)
	d.rounding(p)
}

// has says whether there is a finding of one of the kinds.
func (d *diagnosis) has(kinds ...string) bool {
	return slices.ContainsFunc(d.found, func(f Finding) bool { return slices.Contains(kinds, f.Kind) })
}

// hasIn says whether there is a finding of one of the kinds, which is more than a notice, of a time between
// two seconds of the run.
func (d *diagnosis) hasIn(from, to float64, kinds ...string) bool {
	return slices.ContainsFunc(d.found, func(f Finding) bool {
		return f.Severity != Notice && slices.Contains(kinds, f.Kind) && f.in(from, to)
	})
}

// in says whether it was so at a time between two instants.
func (f Finding) in(from, to float64) bool {
	if len(f.Spells) > 0 {
		return slices.ContainsFunc(f.Spells, func(s [2]float64) bool { return s[0] < to && s[1] > from })
	}
	return since(f) < to && (f.UntilSeconds == nil || *f.UntilSeconds > from)
}

// blockedIn is hasIn of findings that block.
func (d *diagnosis) blockedIn(from, to float64, kinds ...string) bool {
	return slices.ContainsFunc(d.found, func(f Finding) bool {
		return f.Severity == Blocks && slices.Contains(kinds, f.Kind) && f.in(from, to)
	})
}

// cannotScale finds limits of the containers that keep each of the HPA's metrics below the ratio at
// which a scale-up begins.
func (d *diagnosis) cannotScale(p policy) {
	if len(d.own) == 0 || p.min >= p.max {
		return
	}
	pod := &d.own[len(d.own)-1].now
	highest := record.HighestRatios(p.metrics, pod.Containers, pod.Resources)
	below, hardly := record.HeldBelow(p.metrics, highest, 1+p.up)
	if !below {
		return
	}
	var held, lower []string
	for i, m := range p.metrics {
		name, target := record.MetricTarget(m)
		held = append(held, fmt.Sprintf("%s at %.0f %% of its target at most", describe(m), highest[i]*100))
		if target.AverageUtilization != nil {
			lower = append(lower, fmt.Sprintf("%.0f %% or lower for %s", math.Ceil(highest[i]*float64(*target.AverageUtilization)/(1+p.up)-1e-9)-1, name))
		}
	}
	f := Finding{Kind: FoundCannotScale, Severity: Blocks, Object: d.hpa(), SinceSeconds: new(d.start.Seconds()),
		Seen:   fmt.Sprintf("The limits of the containers hold %s, and a scale-up begins above %.0f %%.", strings.Join(held, ", "), (1+p.up)*100),
		Cause:  "A container gets no more CPU than its limit, and is killed above its memory limit: the metric cannot show more load than that, and the HPA never adds a replica for it.",
		Advice: "Raise or remove the limits, or lower the target."}
	if hardly || slices.ContainsFunc(d.steps(window{onset: d.start, end: d.end}), func(s Step) bool { return s.To > max(s.From, p.min) && !s.Foreign }) {
		f.Severity, f.Cause = Limits, "A container gets hardly more CPU than its limit, and is killed above its memory limit: the metric shows more load than that by chance at most, and the HPA hardly ever adds a replica for it."
	}
	if len(lower) > 0 {
		f.Advice = fmt.Sprintf("Raise or remove the limits, or set the target to %s.", strings.Join(lower, ", "))
	}
	d.add(f)
}

// minIsMax finds an HPA whose bounds leave it one number of replicas.
func (d *diagnosis) minIsMax() {
	if s, ok := lastOf(d.scaled, d.end-1); ok && s.Least() < s.Max || !ok && d.subject != nil && d.subject.ScaledObject != "" {
		return // KEDA goes below the minimum of its HPA
	}
	if f, since := d.specFault(record.BoundsFault); f != nil {
		d.add(d.ofSpec(f, Blocks, since))
	}
}

// specFault is the fault of the HPA's spec at the end, and since when it has had it.
func (d *diagnosis) specFault(of func(*autoscalingv2.HorizontalPodAutoscalerSpec) *record.SpecFault) (fault *record.SpecFault, since record.Instant) {
	for _, a := range slices.Backward(d.hpas[:after(d.hpas, d.end)]) {
		f := of(&a.v.Spec)
		if f == nil || fault != nil && f.Seen != fault.Seen {
			break
		}
		fault, since = f, a.t
	}
	return fault, max(since, d.start)
}

// ofSpec is the finding of what the HPA's spec has not allowed since then.
func (d *diagnosis) ofSpec(f *record.SpecFault, severity string, since record.Instant) Finding {
	return Finding{Kind: f.Kind, Severity: severity, Object: d.hpa(), SinceSeconds: new(since.Seconds()), Seen: f.Seen, Cause: f.Cause, Advice: f.Advice}
}

// disabled finds directions in which the HPA must not scale (selectPolicy: Disabled), and whether its
// metrics asked for that.
func (d *diagnosis) disabled(p policy) {
	for _, side := range []struct {
		up       bool
		pause    string // the annotation for which KEDA makes it so
		severity string // if the metrics asked for it
		other    string
		way      string
		asks     func(ratio float64, replicas int32) bool
	}{
		{true, "/paused-scale-out", Blocks, "more", "up", func(ratio float64, n int32) bool { return asksMore.is(ratio, n, p) && n < p.max }},
		{false, "/paused-scale-in", Limits, "fewer", "down", func(ratio float64, n int32) bool { return asksFewer.is(ratio, n, p) && n > p.min }},
	} {
		fault, since := d.specFault(func(spec *autoscalingv2.HorizontalPodAutoscalerSpec) *record.SpecFault {
			return record.DisabledFault(spec, side.up)
		})
		if fault == nil || slices.ContainsFunc(d.scaled, func(s at[*record.ScaledObject]) bool { return strings.Contains(s.v.Paused, side.pause) }) {
			continue // the finding paused tells it
		}
		f := d.ofSpec(fault, Notice, since)
		from, to, _ := d.beyond(since, d.end, func(u at[usage]) bool {
			n, ok := last(d.targets, u.t)
			return ok && side.asks(*u.v.ratio, n.Replicas)
		})
		n, _ := last(d.targets, d.end)
		stayed, _ := last(d.targets, from)
		want := d.want(d.end)
		now := d.looksOnly() && want.ok && want.n != n.Replicas && side.up == (want.n > n.Replicas)
		if now || to.Sub(from) > 2*d.flags.Sync.Duration {
			f.Severity = side.severity
			differs := func(n, to int32) string {
				to = min(max(to, p.min), p.max)
				return fmt.Sprintf("%s (%d %s)", replicas(to), max(n-to, to-n), side.other)
			}
			if now {
				f.Seen += fmt.Sprintf(" It recommends %s and stays at %d.", differs(n.Replicas, want.n), n.Replicas)
			} else {
				f.SinceSeconds, f.UntilSeconds = new(from.Seconds()), d.until(to)
				asked := stayed.Replicas // the furthest
				for _, u := range between(d.levels, from, to) {
					if n, ok := last(d.targets, u.t); ok && u.v.ratio != nil && n.Replicas == stayed.Replicas {
						if r := replicasFor(*u.v.ratio, n.Replicas, p); side.up == (r > asked) && r != asked {
							asked = r
						}
					}
				}
				f.Seen += fmt.Sprintf(" For %.0f s the metric asked for %s to %s and it stayed at %d (%s); without Disabled the window and the policies would still apply.", to.Sub(from).Seconds(), side.way, differs(stayed.Replicas, asked), stayed.Replicas, targets(p))
			}
		}
		d.found = append(d.found, f) // one for each direction
	}
}

// off says whether the rules of a direction forbid it.
func off(rules *autoscalingv2.HPAScalingRules) bool {
	return rules != nil && rules.SelectPolicy != nil && *rules.SelectPolicy == autoscalingv2.DisabledPolicySelect
}

// runsAway finds a target of type Value whose metric did not fall while the HPA at least doubled the
// replicas for it. The HPA multiplies the replicas by current/target at each sync
// (GetObjectMetricReplicas and GetExternalMetricReplicas of
// k8s.io/kubernetes/pkg/controller/podautoscaler), so that only more pods that bring the value down
// end that before the maximum.
func (d *diagnosis) runsAway(p policy) {
	for i, m := range p.metrics {
		name, target := record.MetricTarget(m)
		if target.Value == nil || target.Value.Sign() <= 0 {
			continue
		}
		var first *at[*record.Autoscaler]
		var before float64
		for k := range d.hpas {
			a := &d.hpas[k]
			status := statusOf(a.v, i)
			if a.t > d.end || status.Value == nil {
				continue
			}
			value := status.Value.AsApproximateFloat64()
			n := a.v.Status.CurrentReplicas
			switch ratio := value / target.Value.AsApproximateFloat64(); {
			case ratio <= 1+p.up:
				first = nil
				continue
			case first == nil || value < before*(1-p.down) || n < first.v.Status.CurrentReplicas:
				first, before = a, value
				continue
			}
			if n < 2*max(1, first.v.Status.CurrentReplicas) || n-first.v.Status.CurrentReplicas < 2 {
				continue
			}
			d.add(Finding{Kind: FoundRunsAway, Severity: Limits, Object: d.hpa(), SinceSeconds: new(first.t.Seconds()), UntilSeconds: d.until(a.t),
				Seen:   fmt.Sprintf("Its metric %s was %s with %s and %s with %d, and its target is a Value of %s.", name, record.Plain(before, 4), replicas(first.v.Status.CurrentReplicas), record.Plain(value, 4), n, target.Value),
				Cause:  "A Value is compared with the metric of all pods together: where more pods do not bring it down, the HPA multiplies the replicas at each sync, up to its maximum.",
				Advice: "Use a target of type AverageValue, which divides the metric by the replicas; keep Value for a metric that falls when pods are added, such as a latency or the length of a queue."})
			return
		}
	}
}

// rounding finds replicas that stay more than the metric asks for, as the HPA rounds up: at the end of
// a transition to less load for two syncs, or, where hpabench sends no load itself, at the end.
func (d *diagnosis) rounding(p policy) {
	var ends []record.Instant
	least := time.Duration(0)
	if d.looksOnly() {
		ends = []record.Instant{d.end}
	} else {
		least = 2 * d.flags.Sync.Duration
		for _, t := range d.r.Transitions {
			if t.Direction == Down {
				ends = append(ends, record.Instant(t.EndSeconds*1e9))
			}
		}
	}
	for _, end := range ends {
		i := after(d.hpas, end-1) - 1
		if i < 0 {
			continue
		}
		a := d.hpas[i].v
		current := a.Status.CurrentReplicas
		text := d.decisions[a].rounding(current, current, p)
		if now, _ := last(d.targets, end); text == "" || now.Replicas != current {
			continue
		}
		from := d.hpas[i].t
		for ; i >= 0 && d.wants[i].ok && d.wants[i].raw == current && d.hpas[i].v.Status.CurrentReplicas == current; i-- {
			ratios := statusRatios(d.hpas[i].v)
			if len(ratios) == 0 || slices.Max(ratios) >= 1-p.down {
				break
			}
			from = d.hpas[i].t
		}
		if from = max(from, d.start); end.Sub(from) <= least {
			continue
		}
		d.add(Finding{Kind: FoundRounding, Severity: Notice, Object: d.hpa(), SinceSeconds: new(from.Seconds()), UntilSeconds: d.until(end),
			Seen:   fmt.Sprintf("It stayed at %s for %.0f s with its metric below the target: %s.", replicas(current), end.Sub(from).Seconds(), text),
			Cause:  "The HPA rounds the replicas that its metric asks for up to a whole number, which weighs most with few replicas.",
			Advice: "Leave it so if the room to spare is wanted; a higher target lets the HPA take a replica away sooner."})
	}
}
