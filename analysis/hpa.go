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
	"k8s.io/utils/ptr"
)

// flags are those of the controller manager, which the API does not tell.
type flags struct {
	record.Controllers
	known bool // and not Kubernetes' defaults
	// changes of the HPA's status are those that Sync is estimated by.
	changes int
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
	p := policy{min: ptr.Deref(spec.MinReplicas, 1), max: spec.MaxReplicas, up: f.Tolerance, down: f.Tolerance, window: f.DownscaleStabilization.Duration, metrics: spec.Metrics}
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

// goesBy says whether a metric of the HPA is of a resource.
func (p policy) goesBy(resource corev1.ResourceName) bool {
	return slices.ContainsFunc(p.metrics, func(m autoscalingv2.MetricSpec) bool {
		name, _ := record.ResourceOf(m)
		return name == resource
	})
}

// within says whether the HPA leaves the replicas as they are at a ratio of current to target.
func (p policy) within(ratio float64) bool { return ratio >= 1-p.down && ratio <= 1+p.up }

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
	name, _, text := (&proposal{spec: m}).texts()
	if _, target := record.MetricTarget(m); target.AverageUtilization != nil {
		text += " of requests"
	}
	return strings.TrimSpace(cmp.Or(name, string(m.Type)) + " " + text)
}

// statusRatios returns current/target of each of the HPA's metrics as its status
// reports them. It has none unless the status has them all: the HPA does not
// scale down while one is missing, so nothing can be said then.
func statusRatios(a *record.Autoscaler) []float64 {
	var ratios []float64
	for i, m := range a.Spec.Metrics {
		_, target := record.MetricTarget(m)
		ratio := ratioOf(target, statusOf(a, i))
		if math.IsNaN(ratio) {
			return nil
		}
		ratios = append(ratios, ratio)
	}
	return ratios
}
