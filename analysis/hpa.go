package analysis

import (
	"fmt"
	"math"
	"time"

	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// flags are those of the controller manager, which the API does not tell.
type flags struct {
	record.Controllers
	known bool // and not Kubernetes' defaults
}

// policy is what an HPA's spec says, with the flags where it is silent.
type policy struct {
	min, max int32
	up, down float64 // tolerances
	window   time.Duration
	metrics  []autoscalingv2.MetricSpec
	assumed  []string
}

func policyOf(spec autoscalingv2.HorizontalPodAutoscalerSpec, f flags) policy {
	p := policy{min: 1, max: spec.MaxReplicas, up: f.Tolerance, down: f.Tolerance, window: f.DownscaleStabilization.Duration, metrics: spec.Metrics}
	if spec.MinReplicas != nil {
		p.min = *spec.MinReplicas
	}
	var up, down *autoscalingv2.HPAScalingRules
	if spec.Behavior != nil {
		up, down = spec.Behavior.ScaleUp, spec.Behavior.ScaleDown
	}
	tolerance := func(rules *autoscalingv2.HPAScalingRules, is *float64, name string) {
		if rules != nil && rules.Tolerance != nil {
			*is = rules.Tolerance.AsApproximateFloat64()
		} else if !f.known {
			p.assumed = append(p.assumed, fmt.Sprintf("%s tolerance %g", name, f.Tolerance))
		}
	}
	tolerance(up, &p.up, "scale-up")
	tolerance(down, &p.down, "scale-down")
	if down != nil && down.StabilizationWindowSeconds != nil {
		p.window = time.Duration(*down.StabilizationWindowSeconds) * time.Second
	} else if !f.known {
		p.assumed = append(p.assumed, fmt.Sprintf("scale-down stabilization window %.0f s", p.window.Seconds()))
	}
	return p
}

func (p policy) result() *Autoscaler {
	a := &Autoscaler{Min: p.min, Max: p.max, ScaleUpTolerance: p.up, ScaleDownTolerance: p.down, ScaleDownWindowSeconds: p.window.Seconds(), Assumed: p.assumed}
	for _, m := range p.metrics {
		a.Metrics = append(a.Metrics, describe(m))
		if name, target := record.MetricTarget(m); a.TargetPercent == nil || name == "cpu" && target.AverageUtilization != nil {
			a.TargetPercent = target.AverageUtilization
		}
	}
	return a
}

func describe(m autoscalingv2.MetricSpec) string {
	name, target := record.MetricTarget(m)
	if name == "" {
		return string(m.Type)
	}
	switch {
	case target.AverageUtilization != nil:
		return fmt.Sprintf("%s %d %% of requests", name, *target.AverageUtilization)
	case target.AverageValue != nil:
		return fmt.Sprintf("%s %s a pod", name, target.AverageValue)
	case target.Value != nil:
		return fmt.Sprintf("%s %s", name, target.Value)
	}
	return name
}

// statusRatios returns current/target of each of the HPA's metrics as its status
// reports them. It has none unless the status has them all: the HPA does not
// scale down while one is missing, so nothing can be said then.
func statusRatios(a record.Autoscaler) []float64 {
	current := record.MetricsCurrent(a.Status)
	var ratios []float64
	for _, m := range a.Spec.Metrics {
		name, target := record.MetricTarget(m)
		now := current[name]
		switch {
		case target.AverageUtilization != nil && now.AverageUtilization != nil && *target.AverageUtilization > 0:
			ratios = append(ratios, float64(*now.AverageUtilization)/float64(*target.AverageUtilization))
		case positive(target.AverageValue) && now.AverageValue != nil:
			ratios = append(ratios, now.AverageValue.AsApproximateFloat64()/target.AverageValue.AsApproximateFloat64())
		case positive(target.Value) && now.Value != nil:
			ratios = append(ratios, now.Value.AsApproximateFloat64()/target.Value.AsApproximateFloat64())
		default:
			return nil
		}
	}
	return ratios
}

func positive(q *resource.Quantity) bool { return q != nil && q.Sign() > 0 }

// raw is the HPA's raw recommendation, before min and max, stabilization and
// scaling policies, worked out from what its status says that it saw: the largest
// over the metrics of ceil(currentReplicas × current/target), or currentReplicas
// where the ratio is within the tolerance. The source is
// https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details;
// the HPA itself counts only pods that are ready, which its status does not tell.
func raw(a record.Autoscaler, f flags) (int32, bool) {
	p, ratios := policyOf(a.Spec, f), statusRatios(a)
	var want int32
	for _, r := range ratios {
		n := a.Status.CurrentReplicas
		if r < 1-p.down || r > 1+p.up {
			n = int32(min(math.Ceil(float64(n)*r), math.MaxInt32))
		}
		want = max(want, n)
	}
	return want, len(ratios) > 0
}

// recommendation is raw between min and max: what goes into stabilization.
func recommendation(a record.Autoscaler, f flags) (int32, bool) {
	want, ok := raw(a, f)
	p := policyOf(a.Spec, f)
	return min(max(want, p.min), p.max), ok
}

// podRatio is current/target of the HPA's metric that is furthest above its
// target, as the HPA would work it out from m. It is not known if the HPA has
// metrics that are not in m, or if the requests of a pod are not known.
func podRatio(a record.Autoscaler, m *readings, alive map[string][]*pod, now time.Time, f flags) (float64, bool) {
	var largest float64
	for _, spec := range a.Spec.Metrics {
		name, container := resourceOf(spec)
		if name == "" {
			return 0, false
		}
		_, target := record.MetricTarget(spec)
		switch {
		case target.AverageUtilization != nil && *target.AverageUtilization > 0:
			use, requests, _ := podUsage(m, alive, name, container, now, f)
			if requests == nil || *requests <= 0 {
				return 0, false
			}
			// The HPA works in whole percent. The small term undoes what a
			// binary fraction takes off a decimal one.
			percent := math.Floor(use / *requests * 100 + 1e-9)
			largest = max(largest, percent/float64(*target.AverageUtilization))
		case positive(target.AverageValue):
			use, _, pods := podUsage(m, alive, name, container, now, f)
			if pods == 0 {
				return 0, false
			}
			largest = max(largest, use/float64(pods)/target.AverageValue.AsApproximateFloat64())
		default:
			return 0, false
		}
	}
	return largest, len(a.Spec.Metrics) > 0
}

// resourceOf is the resource that m is about, and the container if it is about one;
// empty for a metric that metrics.k8s.io does not have.
func resourceOf(m autoscalingv2.MetricSpec) (name corev1.ResourceName, container string) {
	switch {
	case m.Resource != nil:
		return m.Resource.Name, ""
	case m.ContainerResource != nil:
		return m.ContainerResource.Name, m.ContainerResource.Container
	}
	return "", ""
}

// podUsage sums usage and requests of the pods that the HPA counts, of those that are
// there by name, and says how many they are. Requests are nil if there are none or one of the pods' is not
// known: the HPA has no metric then.
func podUsage(m *readings, alive map[string][]*pod, name corev1.ResourceName, container string, now time.Time, f flags) (use float64, requests *float64, pods int) {
	var requested float64
	known := true
	for i := range m.samples {
		s := &m.samples[i]
		named := alive[m.pod(s)]
		if len(named) == 0 || !named[0].counted(s, name, now, f) {
			continue
		}
		p := named[0]
		pods++
		use += m.sampled(s, name, container)
		for _, c := range p.now.Containers {
			if container == "" || c.Name == container {
				q, has := c.Requests[name]
				known = known && has
				requested += q.AsApproximateFloat64()
			}
		}
	}
	if known && pods > 0 {
		requests = &requested
	}
	return use, requests, pods
}

func (r *readings) sampled(s *sample, name corev1.ResourceName, container string) (use float64) {
	for _, c := range r.containersOf(s) {
		switch {
		case container != "" && r.name(&c) != container:
		case name == corev1.ResourceCPU:
			// The HPA adds up whole millicores, rounded up (MilliValue). The small
			// term undoes what a binary fraction adds to a decimal one.
			use += math.Ceil(c.CPU*1000-1e-9) / 1000
		case name == corev1.ResourceMemory:
			use += float64(c.Memory)
		}
	}
	return use
}

// counted says whether the HPA would count the sample of p: not of a pod
// that is terminating, failed or pending, and for CPU not of one that is not
// ready or has not been for a whole window while it is young (groupPods in
// kubernetes/pkg/controller/podautoscaler/replica_calculator.go). Now and the
// times in the pod's status are wall clocks, as they are for the HPA.
func (p *pod) counted(s *sample, name corev1.ResourceName, now time.Time, f flags) bool {
	status := &p.now.Status
	if p.now.Deleting != nil || status.Phase == corev1.PodFailed || status.Phase == corev1.PodPending {
		return false
	}
	if name != corev1.ResourceCPU {
		return true
	}
	var ready *corev1.PodCondition
	for i, c := range status.Conditions {
		if c.Type == corev1.PodReady {
			ready = &status.Conditions[i]
		}
	}
	if ready == nil || status.StartTime == nil {
		return false
	}
	isnt := ready.Status == corev1.ConditionFalse
	if status.StartTime.Add(f.CPUInitialization.Duration).After(now) {
		window := time.Duration(s.Window * float64(time.Second))
		return !isnt && !s.timestamp().Before(ready.LastTransitionTime.Add(window))
	}
	return !isnt || !status.StartTime.Add(f.InitialReadiness.Duration).After(ready.LastTransitionTime.Time)
}
