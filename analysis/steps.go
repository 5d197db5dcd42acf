package analysis

import (
	"fmt"
	"math"
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
		s := Step{AtSeconds: c.t.Seconds(), AfterSeconds: c.t.Sub(w.onset).Seconds(), From: c.from, To: c.to, By: c.by}
		nearest, says := rescaleWithin, fmt.Sprintf("New size: %d;", c.to)
		for _, e := range between(o.events, c.t.Add(-rescaleWithin), c.t.Add(rescaleWithin)) {
			apart := e.t.Sub(c.t).Abs()
			if e.v.Reason == "SuccessfulRescale" && strings.HasPrefix(e.v.Message, says) && apart <= nearest {
				s.Event, nearest = e.v.Message, apart
			}
		}
		status := o.statusOf(c)
		if status != nil {
			o.explain(&s, c, at[record.Autoscaler]{status.t, *status.v})
		}
		s.Foreign = s.Event == "" && status == nil && o.watchedHPA(c.t)
		steps = append(steps, s)
	}
	return steps
}

// statusOf is the status that the HPA wrote with its decision, milliseconds after
// the scale; nil if none came.
func (o *observed) statusOf(c replicaChange) *at[*record.Autoscaler] {
	for _, a := range between(o.hpas, c.t.Add(-WatchDelay), c.t.Add(rescaleWithin)) {
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

// explain fills in the metric that a step was decided on and what limited it.
func (o *observed) explain(s *Step, c replicaChange, status at[record.Autoscaler]) {
	s.Metric = metricText(status.v)
	want, ok := raw(status.v, o.flags)
	if !ok {
		s.LimitedBy, s.Limit = LimitPods, "the status that came with the decision does not have all of the HPA's metrics"
		return
	}
	s.Recommended = &want
	counted, text := o.leftOut(status, want)
	s.LimitedBy, s.Limit = o.limit(c, status, counted)
	if s.LimitedBy == "" && counted != want {
		s.LimitedBy, s.Limit = LimitPods, text
	}
	for _, x := range status.v.Status.Conditions {
		if x.Type != autoscalingv2.ScalingLimited {
			continue
		}
		by := map[string]string{"TooManyReplicas": LimitMax, "TooFewReplicas": LimitMin, "ScaleUpLimit": LimitUpPolicy, "ScaleDownLimit": LimitDownPolicy}[x.Reason]
		// The condition knows of no other limits than these.
		ours := s.LimitedBy
		if ours == LimitStabilization || ours == LimitPods || ours == LimitUnknown {
			ours = ""
		}
		if x.Status != "True" {
			by = ""
		}
		if s.LimitedBy == LimitPods && by == LimitMax && c.to == policyOf(status.v.Spec, o.flags).max {
			// Of two explanations the HPA's own, which knows whom it counted.
			s.LimitedBy, s.Limit, ours = by, fmt.Sprintf("the maximum is %d", c.to), by
		}
		if by != ours {
			s.Disagrees = fmt.Sprintf("the HPA's condition ScalingLimited says %s: %s", x.Reason, x.Message)
		}
	}
}

// limit says what made c.to of the raw recommendation want. The order is that of
// the HPA: stabilization comes first, then policies and bounds, of which the
// tighter one counts.
func (o *observed) limit(c replicaChange, status at[record.Autoscaler], want int32) (by, text string) {
	if c.to == want {
		return "", ""
	}
	p := policyOf(status.v.Spec, o.flags)
	behavior := status.v.Spec.Behavior
	if c.to > c.from {
		allowed, rule := o.upLimit(c, behavior)
		switch {
		case c.to == p.min && want < c.to:
			return LimitMin, fmt.Sprintf("the minimum is %d", p.min)
		case want < c.to:
			return LimitUnknown, "the metrics of its status ask for fewer"
		case c.to == p.max && p.max <= allowed:
			return LimitMax, fmt.Sprintf("the maximum is %d", p.max)
		case c.to == allowed:
			return LimitUpPolicy, rule
		case behavior != nil && behavior.ScaleUp != nil && behavior.ScaleUp.StabilizationWindowSeconds != nil && *behavior.ScaleUp.StabilizationWindowSeconds > 0:
			window := time.Duration(*behavior.ScaleUp.StabilizationWindowSeconds) * time.Second
			if o.wasRecommended(c.to, status.t, window, slices.Min[[]int32]) {
				return LimitStabilization, fmt.Sprintf("the scale-up stabilization window of %.0f s takes the lowest recommendation in it", window.Seconds())
			}
		}
	} else {
		allowed, rule := o.downLimit(c, behavior)
		switch {
		case want > c.to:
			return LimitUnknown, "the metrics of its status ask for more"
		case c.to == p.min && p.min >= allowed:
			return LimitMin, fmt.Sprintf("the minimum is %d", p.min)
		case c.to == allowed && allowed > 0:
			return LimitDownPolicy, rule
		}
		if o.wasRecommended(c.to, status.t, p.window, slices.Max[[]int32]) {
			return LimitStabilization, fmt.Sprintf("%d were recommended within the stabilization window of %.0f s", c.to, p.window.Seconds())
		}
	}
	return LimitUnknown, "neither a bound, a policy nor the window explains it"
}

// wasRecommended says whether n is the lowest or highest of the recommendations
// in the window before t. A status stands for those of the syncs until the next
// one. When the HPA looks just as one of them leaves the window, either may hold.
func (o *observed) wasRecommended(n int32, t record.Instant, window time.Duration, of func([]int32) int32) bool {
	for _, slack := range []time.Duration{0, time.Second, -time.Second} {
		var all []int32
		for i := after(o.hpas, t) - 1; i >= 0; i-- {
			again := o.hpas[i].t
			if i+1 < len(o.hpas) {
				again = max(again, o.hpas[i+1].t.Add(-o.flags.Sync.Duration))
			}
			if again < t.Add(slack-window) {
				break
			}
			if o.wants[i].ok {
				all = append(all, o.wants[i].n)
			}
		}
		if len(all) > 0 && of(all) == n {
			return true
		}
	}
	return false
}

// upLimit is how many replicas the scale-up policies allow, and the rule in
// words. Without a behavior it is that of scaleUpLimitFactor and
// scaleUpLimitMinimum in kubernetes/pkg/controller/podautoscaler/horizontal.go;
// with one, what its policies are set to, as the API server fills them in.
func (o *observed) upLimit(c replicaChange, b *autoscalingv2.HorizontalPodAutoscalerBehavior) (int32, string) {
	if b == nil || b.ScaleUp == nil {
		return max(2*c.from, 4), "a scale-up without a policy at most doubles the replicas, or goes to 4"
	}
	return o.policies(c, b.ScaleUp, 1)
}

func (o *observed) downLimit(c replicaChange, b *autoscalingv2.HorizontalPodAutoscalerBehavior) (int32, string) {
	if b == nil || b.ScaleDown == nil {
		return 0, ""
	}
	return o.policies(c, b.ScaleDown, -1)
}

// policies is the limit that rules set for c: sign is 1 for a rise, -1 for a
// fall. Each policy counts from the replicas at the start of its period, as
// calculateScaleUpLimitWithScalingRules does there.
func (o *observed) policies(c replicaChange, rules *autoscalingv2.HPAScalingRules, sign int32) (int32, string) {
	if rules.SelectPolicy != nil && *rules.SelectPolicy == autoscalingv2.DisabledPolicySelect {
		return c.from, "its policy is Disabled"
	}
	least := rules.SelectPolicy != nil && *rules.SelectPolicy == autoscalingv2.MinChangePolicySelect
	limit, text := int32(-1), ""
	for _, p := range rules.Policies {
		start := c.from
		for i := sort.Search(len(o.changes), func(i int) bool { return o.changes[i].t >= c.t }) - 1; i >= 0; i-- {
			before := o.changes[i]
			if before.t < c.t.Add(-time.Duration(p.PeriodSeconds)*time.Second) {
				break
			}
			if (before.to-before.from)*sign > 0 {
				start -= before.to - before.from
			}
		}
		n := start + sign*p.Value
		if p.Type == autoscalingv2.PercentScalingPolicy {
			part := float64(start) * (1 + float64(sign*p.Value)/100)
			n = int32(math.Ceil(part))
		}
		n = max(n, 0)
		further := (n-limit)*sign > 0
		if limit < 0 || further != least {
			unit := map[autoscalingv2.HPAScalingPolicyType]string{autoscalingv2.PercentScalingPolicy: "%", autoscalingv2.PodsScalingPolicy: "pods"}[p.Type]
			limit, text = n, fmt.Sprintf("its policy is %d %s in %d s", p.Value, unit, p.PeriodSeconds)
		}
	}
	if limit < 0 {
		if sign > 0 {
			return math.MaxInt32, ""
		}
		return 0, ""
	}
	return limit, text
}

// leftOut is what becomes of the raw recommendation want when the HPA leaves out
// pods that are not ready yet, and takes pods without a metric as idle when it
// adds replicas and as at all of their request when it removes some; then it does
// not turn the direction (GetResourceReplicas in
// kubernetes/pkg/controller/podautoscaler/replica_calculator.go). It is worked out
// from the pods' samples, as if all requested the same.
func (o *observed) leftOut(status at[record.Autoscaler], want int32) (int32, string) {
	c, known := last(o.counts, status.t-1)
	u, sampled := last(o.usages, status.t-1)
	current, pods := status.v.Status.CurrentReplicas, int32(c.pods-c.terminating)
	counted := int32(u.counted)
	if !known || !sampled || counted == 0 || counted >= pods || pods > current || want <= current {
		return want, ""
	}
	less := max(current, int32(math.Ceil(float64(want)/float64(current)*float64(counted))))
	if ratios := statusRatios(status.v); len(ratios) == 1 {
		less = max(current, int32(math.Ceil(ratios[0]*float64(counted))))
	}
	return less, fmt.Sprintf("%d of %d pods were not ready or had no metrics yet, and the HPA takes them as idle when it adds: %d become %d", pods-counted, pods, want, less)
}

// metricText is current/target of each metric, as kubectl get hpa shows them.
func metricText(a record.Autoscaler) string {
	current := record.MetricsCurrent(a.Status)
	var parts []string
	for _, m := range a.Spec.Metrics {
		name, target := record.MetricTarget(m)
		now := current[name]
		switch {
		case target.AverageUtilization != nil && now.AverageUtilization != nil:
			parts = append(parts, fmt.Sprintf("%s %d %% of %d %%", name, *now.AverageUtilization, *target.AverageUtilization))
		case target.AverageValue != nil && now.AverageValue != nil:
			parts = append(parts, fmt.Sprintf("%s %s of %s a pod", name, now.AverageValue, target.AverageValue))
		case target.Value != nil && now.Value != nil:
			parts = append(parts, fmt.Sprintf("%s %s of %s", name, now.Value, target.Value))
		}
	}
	return strings.Join(parts, ", ")
}
