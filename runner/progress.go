package runner

import (
	"fmt"
	"math"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/hpabench/hpabench/loadgen"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/watch"
)

func loadProgress(g loadgen.Progress, phases []record.Phase, state State) *LoadProgress {
	l := &LoadProgress{PhaseLeft: g.Left, RunLeft: g.Left, Rate: g.Achieved, Offered: g.Offered, Failed: g.Failed,
		Phase: phases[g.Phase].Name, State: state}
	for _, later := range phases[g.Phase+1:] {
		l.RunLeft += time.Duration(later.Seconds * float64(time.Second))
	}
	return l
}

func stateOf(w *watch.Watcher) State {
	s := State{Metrics: metricsLine(w.Autoscaler()), Ready: len(w.ReadyPods())}
	if target, found := w.Target(); found {
		s.Replicas = target.Replicas
	}
	return s
}

// metricsLine shows current/target of each metric, as kubectl get hpa does.
func metricsLine(hpa *autoscalingv2.HorizontalPodAutoscaler) string {
	if hpa == nil {
		return ""
	}
	current := record.MetricsCurrent(hpa.Status)
	var parts []string
	for _, m := range hpa.Spec.Metrics {
		name, target := record.MetricTarget(m)
		shown, wanted := "?", "?"
		switch now := current[name]; {
		case target.AverageUtilization != nil:
			wanted = fmt.Sprintf("%d%%", *target.AverageUtilization)
			if now.AverageUtilization != nil {
				shown = fmt.Sprintf("%d%%", *now.AverageUtilization)
			}
		case target.AverageValue != nil:
			shown, wanted = quantity(now.AverageValue), quantity(target.AverageValue)
		case target.Value != nil:
			shown, wanted = quantity(now.Value), quantity(target.Value)
		}
		parts = append(parts, name+" "+shown+"/"+wanted)
	}
	return strings.Join(parts, ", ")
}

// quantity is "?" for none, and for the least int64 in thousandths (the highest on arm64), which the HPA controller writes of a
// sum that it divides by no replicas. Of the least as it is read MilliValue is 0.
func quantity(q *resource.Quantity) string {
	if q == nil || math.Abs(q.AsApproximateFloat64()) >= math.MaxInt64/1000 {
		return "?"
	}
	return q.String()
}
