package analysis

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	defaults "k8s.io/kubernetes/pkg/apis/autoscaling/v2"

	"github.com/hpabench/hpabench/record"
)

// limited is what became of a raw recommendation: replicas, which limit made them of it, and
// the reason that the HPA's condition ScalingLimited gives.
type limited struct {
	to         int32
	by, text   string
	reason     string
	stabilized bool // by the window, before other limits
}

// Reasons of the condition ScalingLimited.
const (
	reasonWithin = "DesiredWithinRange"
	reasonMax    = "TooManyReplicas"
	reasonMin    = "TooFewReplicas"
	reasonUp     = "ScaleUpLimit"
	reasonDown   = "ScaleDownLimit"
)

var limitOf = map[string]string{reasonMax: LimitMax, reasonMin: LimitMin, reasonUp: LimitUpPolicy, reasonDown: LimitDownPolicy}

// normalize is what the HPA makes of the raw recommendation want at t, when it found current
// replicas: first stabilization, then policies and bounds. It is a copy of what is not
// exported of pkg/controller/podautoscaler/horizontal.go (Kubernetes 1.37):
// normalizeDesiredReplicas, and normalizeDesiredReplicasWithBehaviors for an HPA with a
// behavior. Slack makes all windows and periods longer: two instants a period apart may
// have been told apart by the controller in another way than by the watch. With other, what is
// not sure of the recommendations before is the least likely.
func (o *observed) normalize(spec autoscalingv2.HorizontalPodAutoscalerSpec, t record.Instant, current, want int32, slack time.Duration, other bool) limited {
	p := policyOf(spec, o.flags)
	up, down := behaviorOf(spec)
	r := limited{to: want, reason: reasonWithin}
	highest := o.recommended(t, p.window+slack, want, other, func(a, b int32) int32 { return max(a, b) })
	if up == nil {
		r.to = highest
	} else {
		window := time.Duration(*up.StabilizationWindowSeconds) * time.Second
		lowest := o.recommended(t, window+slack, want, other, func(a, b int32) int32 { return min(a, b) })
		if r.to = min(max(current, lowest), highest); r.to != want && want >= current {
			r.by, r.text = LimitStabilization, fmt.Sprintf("the scale-up stabilization window of %.0f s takes the lowest recommendation in it, %d", window.Seconds(), lowest)
		}
	}
	r.stabilized = r.to != want
	if r.stabilized && r.by == "" {
		r.by, r.text = LimitStabilization, fmt.Sprintf("the highest recommendation within the stabilization window of %.0f s was %d", p.window.Seconds(), highest)
	}
	limit := func(to int32, reason, text string) limited {
		if r.by != "" {
			text = r.text + ", and " + text
		}
		return limited{to, limitOf[reason], text, reason, r.stabilized}
	}
	least, most := p.min, p.max
	switch {
	case up == nil:
		allowed := max(2*current, 4) // scaleUpLimitFactor and scaleUpLimitMinimum
		switch {
		case r.to < least:
			return limit(least, reasonMin, fmt.Sprintf("the minimum is %d", least))
		case r.to > most && most <= allowed:
			return limit(most, reasonMax, fmt.Sprintf("the maximum is %d", most))
		case r.to > min(allowed, most):
			return limit(allowed, reasonUp, "a scale-up without a policy at most doubles the replicas, or goes to 4")
		}
	case r.to > current:
		allowed, text := o.policyLimit(spec, t, current, up, 1, slack)
		allowed = max(allowed, current)
		switch {
		case r.to > most && most <= allowed:
			return limit(most, reasonMax, fmt.Sprintf("the maximum is %d", most))
		case r.to > min(allowed, most):
			return limit(allowed, reasonUp, text)
		}
	case r.to < current:
		allowed, text := o.policyLimit(spec, t, current, down, -1, slack)
		allowed = min(allowed, current)
		switch {
		case r.to < least && least >= allowed:
			return limit(least, reasonMin, fmt.Sprintf("the minimum is %d", least))
		case r.to < max(allowed, least):
			return limit(allowed, reasonDown, text)
		}
	}
	return r
}

// behaviorOf are the rules of a spec as the API server fills them in; nil without a behavior.
func behaviorOf(spec autoscalingv2.HorizontalPodAutoscalerSpec) (up, down *autoscalingv2.HPAScalingRules) {
	if spec.Behavior == nil {
		return nil, nil
	}
	up, down = spec.Behavior.ScaleUp, spec.Behavior.ScaleDown
	if up == nil || up.SelectPolicy == nil || up.StabilizationWindowSeconds == nil || down == nil || down.SelectPolicy == nil {
		hpa := &autoscalingv2.HorizontalPodAutoscaler{Spec: *spec.DeepCopy()}
		defaults.SetDefaults_HorizontalPodAutoscalerBehavior(hpa)
		up, down = hpa.Spec.Behavior.ScaleUp, hpa.Spec.Behavior.ScaleDown
	}
	return up, down
}

// recommended folds the recommendations within a window before t into n.
func (o *observed) recommended(t record.Instant, window time.Duration, n int32, other bool, fold func(a, b int32) int32) int32 {
	next := t
	for i := sort.Search(len(o.recs), func(i int) bool { return o.recs[i].t >= t }) - 1; i >= 0; i-- {
		from := o.recs[i].t
		if o.recs[i].v.ok && o.lastSync(from, next) > t.Add(-window) {
			n = fold(n, o.recs[i].raw(other))
		}
		if from <= t.Add(-window) {
			return n
		}
		next = from
	}
	if len(o.hpas) > 0 && o.sawFirstSync() {
		n = fold(n, o.hpas[0].v.Status.CurrentReplicas) // recordInitialRecommendation
	}
	return n
}

// lastSync is when the HPA last looked with the status that it wrote at from, before it wrote
// the next one. It does not write a status that is the same.
func (o *observed) lastSync(from, next record.Instant) record.Instant {
	syncs := math.Round(next.Sub(from).Seconds() / o.flags.Sync.Seconds())
	if syncs < 2 {
		return from
	}
	return next - record.Instant(float64(next-from)/syncs)
}

// sawFirstSync says whether the HPA controller had come to no number of replicas yet when the
// watch opened.
func (o *observed) sawFirstSync() bool {
	return hpaCondition(o.hpas[0].v, autoscalingv2.ScalingLimited) == nil
}

// policyLimit is how many replicas the policies of rules allow at t, and by which: sign is 1
// for a rise, -1 for a fall. Each policy counts from the replicas at the start of its period:
// calculateScaleUpLimitWithScalingRules and calculateScaleDownLimitWithBehaviors.
func (o *observed) policyLimit(spec autoscalingv2.HorizontalPodAutoscalerSpec, t record.Instant, current int32, rules *autoscalingv2.HPAScalingRules, sign int32, slack time.Duration) (int32, string) {
	if *rules.SelectPolicy == autoscalingv2.DisabledPolicySelect {
		return current, "its policy is Disabled"
	}
	type rule struct {
		allowed int32
		text    string
	}
	var all []rule
	up, down := behaviorOf(spec)
	events := append(o.scaleEvents(t, up, 1), o.scaleEvents(t, down, -1)...)
	for _, p := range rules.Policies {
		start := current
		from := t.Add(-time.Duration(p.PeriodSeconds)*time.Second - slack)
		for _, e := range events {
			if e.t > from {
				start -= e.v
			}
		}
		r := rule{start + sign*p.Value, fmt.Sprintf("its policy is %s in %d s", record.Counted(p.Value, "pod"), p.PeriodSeconds)}
		if p.Type == autoscalingv2.PercentScalingPolicy {
			part := float64(start) * (1 + float64(sign*p.Value)/100)
			if sign > 0 {
				part = math.Ceil(part)
			}
			r = rule{int32(min(max(part, math.MinInt32), math.MaxInt32)), fmt.Sprintf("its policy is %d %% in %d s", p.Value, p.PeriodSeconds)}
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return current, "it has no policy"
	}
	compare := func(a, b rule) int { return int(sign) * int(a.allowed-b.allowed) }
	if *rules.SelectPolicy == autoscalingv2.MinChangePolicySelect {
		r := slices.MinFunc(all, compare)
		return r.allowed, r.text
	}
	r := slices.MaxFunc(all, compare)
	return r.allowed, r.text
}

// scaleEvents are the changes of one sign by the HPA before t that its controller remembers: a
// new one takes the place of one that is older than the longest period of its direction's
// rules, whatever the periods of the other direction (storeScaleEvent).
func (o *observed) scaleEvents(t record.Instant, rules *autoscalingv2.HPAScalingRules, sign int32) (events []at[int32]) {
	longest := int32(0)
	for _, p := range rules.Policies {
		longest = max(longest, p.PeriodSeconds)
	}
	type slot struct {
		at[int32]
		outdated bool
	}
	var slots []slot
	for _, c := range o.changes {
		if c.t >= t-record.Instant(rescaleBlur) {
			break
		}
		if !slices.Contains(o.managers, c.by) || (c.to-c.from)*sign < 0 {
			continue
		}
		free := -1
		for i := range slots {
			slots[i].outdated = slots[i].outdated || slots[i].t < c.t.Add(-time.Duration(longest)*time.Second)
			if slots[i].outdated {
				free = i
			}
		}
		s := slot{at: at[int32]{c.t, c.to - c.from}}
		if free < 0 {
			slots = append(slots, s)
		} else {
			slots[free] = s
		}
	}
	for _, s := range slots {
		events = append(events, s.at)
	}
	return events
}

// rescaleBlur is how long after a look the HPA's own write of the scale may be seen.
const rescaleBlur = 50 * time.Millisecond

// managersOf are the field managers of the changes that the HPA's status or event tells, and those that may be it: none, and
// the name that its program has upstream.
func (o *observed) managersOf() []string {
	managers := []string{"", "kube-controller-manager"}
	for _, c := range o.changes {
		if _, keda := o.byKEDA(c); !keda && !slices.Contains(managers, c.by) && (o.statusOf(c) != nil || o.eventOf(c) != "") {
			managers = append(managers, c.by)
		}
	}
	return managers
}
