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
	"k8s.io/apimachinery/pkg/api/resource"
)

// Now is what the HPA makes of its metrics at the end of a record, and what it
// would do next.
type Now struct {
	// Replicas is the target's spec.replicas, Ready how many of its pods are; both
	// are absent if the target was not seen.
	Replicas *int32 `json:"replicas,omitempty"`
	Ready    *int   `json:"ready,omitempty"`

	Metrics []MetricNow `json:"metrics"`
	// Recommended is the HPA's raw recommendation from its status, before min and
	// max, stabilization and scaling policies; absent while it lacks a metric.
	// ByPods is the same from the pods' newest samples, which the HPA may not have
	// seen yet; absent if they do not tell all of its metrics.
	Recommended *int32 `json:"recommended,omitempty"`
	ByPods      *int32 `json:"byPods,omitempty"`
	// Desired is what the HPA's last look came to.
	Desired *int32 `json:"desired,omitempty"`
	// LimitedBy says why Desired is not Recommended, or why the HPA leaves the
	// replicas as they are though the metric is not on its target: one of the
	// Limits; empty if there is no such thing.
	LimitedBy string `json:"limitedBy,omitempty"`
	Says      string `json:"says"` // all of it in a sentence or two

	Conditions []Condition `json:"conditions,omitempty"`
}

// What limits Now beside the Limits of a Step.
const (
	LimitTolerance = "tolerance"
	LimitMetrics   = "missing metrics"
)

// MetricNow is one of the HPA's metrics: its target, and its current value as the
// HPA's status and as the pods' newest samples have it, empty where they do not.
type MetricNow struct {
	Name   string `json:"name"`
	Target string `json:"target"`
	Status string `json:"status,omitempty"`
	Pods   string `json:"pods,omitempty"`
	// OldestSampleSeconds is the age of the oldest sample in Pods, by the clock of
	// the cluster and so only as good as that agrees with the runner's.
	OldestSampleSeconds *float64 `json:"oldestSampleSeconds,omitempty"`
}

// Condition is one of the HPA's. SinceSeconds is how long before the end of the
// record it became so, by the object's own timestamp.
type Condition struct {
	Type         string   `json:"type"`
	Status       string   `json:"status"`
	Reason       string   `json:"reason"`
	Message      string   `json:"message"`
	SinceSeconds *float64 `json:"sinceSeconds,omitempty"`
}

// now works out what the HPA would do at the end of run, which is what its last
// status tells: the metrics, the recommendation from them (see raw), and what
// that became. The order in which the HPA limits a recommendation is first
// stabilization and then min, max and scaling policies, as in normalizeDesiredReplicas
// and normalizeDesiredReplicasWithBehaviors of
// https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/controller/podautoscaler/horizontal.go;
// its conditions tell which of them it was, since what it recommended earlier and
// how often it scaled is not in its status. Nil without an HPA.
func (o *observed) now() *Now {
	hpa := o.autoscaler(o.end)
	if hpa == nil {
		return nil
	}
	end := o.header.Started.Add(time.Duration(o.end))
	v := o.newest(end)
	n := &Now{Metrics: v.metricsNow(hpa, o.flags)}
	for _, c := range hpa.Status.Conditions {
		is := Condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message}
		if !c.LastTransitionTime.IsZero() {
			is.SinceSeconds = new(end.Sub(c.LastTransitionTime.Time).Seconds())
		}
		n.Conditions = append(n.Conditions, is)
	}
	current := hpa.Status.CurrentReplicas
	if t, seen := last(o.targets, o.end); seen {
		n.Replicas = &t.Replicas
		c, _ := last(o.counts, o.end)
		n.Ready = &c.ready
		current = t.Replicas
	}
	p := policyOf(hpa.Spec, o.flags)
	if v.usage != nil {
		if byPods, ok := v.asked(hpa.Spec, current, p, o.flags); ok {
			n.ByPods = &byPods
		}
	}
	if want := o.want(o.end); want.ok {
		n.Recommended = &want.raw
	}
	if len(hpa.Status.Conditions) > 0 {
		n.Desired = &hpa.Status.DesiredReplicas
	}
	n.LimitedBy, n.Says = n.judge(*hpa, p, o.decisions[hpa])
	if c := hpaCondition(hpa, autoscalingv2.ScalingActive); c != nil && c.Reason == "ScalingDisabled" {
		n.Says = o.idle()
	}
	return n
}

// idle says what brings a target back from 0 replicas, at which its HPA does nothing.
func (o *observed) idle() string {
	s, seen := last(o.scaled, o.end)
	if !seen || s.Deleted || len(s.Triggers) == 0 {
		return "It is off (ScalingDisabled): its target has 0 replicas, and it looks at no metric until somebody scales that to 1 or more."
	}
	if record.PausedOut(s.Paused) {
		return fmt.Sprintf("It is off (ScalingDisabled): its target has 0 replicas, and KEDA brings it back no sooner than %s is taken out of ScaledObject %s.", s.Paused, s.Name)
	}
	var above []string
	for _, t := range s.Triggers {
		switch {
		case t.Type == "cron":
			above = append(above, "cron while that is active")
		case t.Type != "cpu" && t.Type != "memory": // of which there is none without a pod
			above = append(above, fmt.Sprintf("%s above %s", cmp.Or(t.Metric, t.Type), record.Plain(t.Activation, 6)))
		}
	}
	return fmt.Sprintf("It is idle (ScalingDisabled): its target has 0 replicas, and KEDA brings it to %d by %s.", max(s.Min, 1), strings.Join(above, ", or "))
}

// judge says what the HPA does with its recommendation, and what limits it.
func (n *Now) judge(hpa record.Autoscaler, p policy, d decision) (limitedBy, says string) {
	status := hpa.Status
	for _, kind := range []autoscalingv2.HorizontalPodAutoscalerConditionType{autoscalingv2.AbleToScale, autoscalingv2.ScalingActive} {
		for _, c := range n.Conditions {
			if c.Type != string(kind) || c.Status != string(corev1.ConditionFalse) {
				continue
			}
			limit := LimitUnknown
			if strings.HasPrefix(c.Reason, "FailedGet") && kind == autoscalingv2.ScalingActive {
				limit = LimitMetrics
			}
			if i := slices.IndexFunc(n.Metrics, func(m MetricNow) bool { return m.Status != "" }); i >= 0 && limit == LimitMetrics {
				return limit, fmt.Sprintf("It takes no replica away, and adds some by %s alone: %s is False (%s): %s.", n.Metrics[i].Name, kind, c.Reason, strings.TrimSuffix(c.Message, "."))
			}
			return limit, fmt.Sprintf("It does not scale: %s is False (%s): %s.", kind, c.Reason, strings.TrimSuffix(c.Message, "."))
		}
	}
	current := status.CurrentReplicas
	switch {
	case len(status.Conditions) == 0:
		return LimitUnknown, "The HPA controller has not looked at it yet."
	case current > p.max:
		return "", fmt.Sprintf("It scales from %d to its maximum of %d, whatever the metrics say.", current, p.max)
	case current < p.min && current > 0:
		return "", fmt.Sprintf("It scales from %d to its minimum of %d, whatever the metrics say.", current, p.min)
	case n.Recommended == nil:
		return LimitMetrics, fmt.Sprintf("Its status lacks a metric, without which it may scale up but never down; its last look came to %s.", replicas(status.DesiredReplicas))
	}
	want, desired := *n.Recommended, status.DesiredReplicas
	limitedBy = n.limitedBy(status, p, d)
	switch {
	case limitedBy == LimitTolerance:
		says = fmt.Sprintf("It stays at %s: the metric is off its target, but within the tolerance of %s.", replicas(current), tolerances(p))
	case limitedBy == LimitStabilization && want < current:
		says = fmt.Sprintf("It recommends %s and stays at %d, because it recommended more within its scale-down window of %.0f s.", replicas(want), desired, p.window.Seconds())
	case limitedBy == LimitStabilization:
		says = fmt.Sprintf("It recommends %s and goes to %d, because it recommended fewer within its scale-up window.", replicas(want), desired)
	case limitedBy == LimitMax, limitedBy == LimitMin:
		says = fmt.Sprintf("It recommends %s, but its %simum is %d.", replicas(want), limitedBy, desired)
	case limitedBy == LimitUpPolicy, limitedBy == LimitDownPolicy:
		says = fmt.Sprintf("It recommends %s; its %s lets it go from %d to %d at once.", replicas(want), limitedBy, current, desired)
	case limitedBy == LimitPods && want == desired:
		says = fmt.Sprintf("It comes to %s: %s.", replicas(desired), d.why(current, want, p))
	case limitedBy == LimitPods:
		says = fmt.Sprintf("By its metrics it would be %s; as it counts the pods without a metric or not ready, it came to %d.", replicas(want), desired)
	case limitedBy == LimitUnknown:
		says = fmt.Sprintf("By its metrics it would be %s; it came to %d, and its conditions do not say why.", replicas(want), desired)
	case desired == current && d.rounding(current, want, p) != "":
		says = fmt.Sprintf("It stays at %s: %s.", replicas(current), d.rounding(current, want, p))
	case desired == current && current == max(p.min, 1):
		says = fmt.Sprintf("It stays at %s, its minimum.", replicas(current))
	case desired == current:
		says = fmt.Sprintf("It stays at %s, as its metrics ask for.", replicas(current))
	default:
		says = fmt.Sprintf("It goes from %d to %s.", current, replicas(desired))
	}
	if n.ByPods != nil && *n.ByPods != want {
		says += fmt.Sprintf(" By the pods' newest samples it would recommend %d.", *n.ByPods)
	}
	return limitedBy, says
}

// limitedBy finds what made Recommended into the status' desired replicas.
func (n *Now) limitedBy(status autoscalingv2.HorizontalPodAutoscalerStatus, p policy, d decision) string {
	want, desired, current := *n.Recommended, status.DesiredReplicas, status.CurrentReplicas
	has := func(reasons ...string) bool {
		return slices.ContainsFunc(n.Conditions, func(c Condition) bool {
			return c.Status == string(corev1.ConditionTrue) && slices.Contains(reasons, c.Reason)
		})
	}
	switch {
	case want == desired && want == current && d.withinTolerance(p):
		return LimitTolerance
	case want == desired && d.proposals != nil && d.formula(current, want, p) != want:
		return LimitPods
	case want == desired:
		return ""
	case has("ScaleUpLimit"):
		return LimitUpPolicy
	case has("ScaleDownLimit"):
		return LimitDownPolicy
	case want > p.max && desired == p.max:
		return LimitMax
	case want < p.min && desired == p.min:
		return LimitMin
	case has("ScaleDownStabilized", "ScaleUpStabilized"):
		return LimitStabilization
	case n.Replicas != nil && n.Ready != nil && int32(*n.Ready) < *n.Replicas:
		return LimitPods
	}
	return LimitUnknown
}

// replicas counts them in words.
func replicas(n int32) string {
	return record.Counted(n, "replica")
}

func tolerances(p policy) string {
	if p.up == p.down {
		return record.Plain(p.up*100, 6) + " %"
	}
	return fmt.Sprintf("%s %% up and %s %% down", record.Plain(p.up*100, 6), record.Plain(p.down*100, 6))
}

// newest is what the HPA would see at the end of the record.
func (o *observed) newest(end time.Time) *view {
	v := &view{at: end}
	for _, p := range o.pods {
		if !p.gone.seen {
			v.pods = append(v.pods, p.api)
		}
	}
	for _, u := range o.usages {
		if u.v.signal == "" && u.t <= o.end {
			v.usage = u.v.reading
		}
	}
	return v
}

// metricsNow shows each of the HPA's metrics as kubectl get hpa does.
func (v *view) metricsNow(hpa *record.Autoscaler, f flags) []MetricNow {
	list := []MetricNow{}
	for i, spec := range hpa.Spec.Metrics {
		p := proposal{spec: spec, status: statusOf(hpa, i)}
		m := MetricNow{}
		m.Name, m.Status, m.Target = p.texts()
		if v.usage != nil {
			m.byPods(spec, v, f)
		}
		list = append(list, m)
	}
	return list
}

func optional(q *resource.Quantity) string {
	if q == nil {
		return ""
	}
	return q.String()
}

// byPods fills in what the pods' samples tell of the metric.
func (m *MetricNow) byPods(spec autoscalingv2.MetricSpec, v *view, f flags) {
	name, container := record.ResourceOf(spec)
	if name == "" {
		return
	}
	counted := v.counted(name, container, f)
	if counted.pods == 0 {
		return
	}
	m.OldestSampleSeconds = new(v.at.Sub(counted.oldest).Seconds())
	_, target := record.MetricTarget(spec)
	switch mean := counted.use / int64(counted.pods); {
	case target.AverageUtilization == nil && name == corev1.ResourceMemory:
		m.Pods = fmt.Sprintf("%.0fMi", float64(mean)/1000/(1<<20))
	case target.AverageUtilization == nil:
		m.Pods = resource.NewMilliQuantity(mean, resource.DecimalSI).String()
	case counted.requested:
		m.Pods = fmt.Sprintf("%.0f %%", math.Floor(counted.percent()))
	}
}
