package runner

import (
	"fmt"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/hpabench/hpabench/loadgen"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/watch"
)

func loadProgress(g loadgen.Progress, phases []record.Phase, w *watch.Watcher) *LoadProgress {
	l := &LoadProgress{PhaseLeft: g.Left, RunLeft: g.Left, Rate: g.Achieved, Failed: g.Failed,
		Metrics: metricsLine(w.Autoscaler()), Phase: phases[g.Phase].Name, Ready: len(w.ReadyPods())}
	for _, later := range phases[g.Phase+1:] {
		l.RunLeft += time.Duration(later.Seconds * float64(time.Second))
	}
	if target, found := w.Target(); found {
		l.Replicas = target.Replicas
	}
	return l
}

// metricsLine shows current/target of each metric, as kubectl get hpa does.
func metricsLine(hpa *autoscalingv2.HorizontalPodAutoscaler) string {
	if hpa == nil {
		return ""
	}
	var parts []string
	for i, spec := range hpa.Spec.Metrics {
		var status autoscalingv2.MetricStatus
		if i < len(hpa.Status.CurrentMetrics) {
			status = hpa.Status.CurrentMetrics[i]
		}
		parts = append(parts, metricLine(spec, status))
	}
	return strings.Join(parts, ", ")
}

func metricLine(spec autoscalingv2.MetricSpec, status autoscalingv2.MetricStatus) string {
	var name string
	var target autoscalingv2.MetricTarget
	current := autoscalingv2.MetricValueStatus{}
	switch {
	case spec.Resource != nil:
		name, target = string(spec.Resource.Name), spec.Resource.Target
		if status.Resource != nil {
			current = status.Resource.Current
		}
	case spec.ContainerResource != nil:
		name, target = string(spec.ContainerResource.Name), spec.ContainerResource.Target
		if status.ContainerResource != nil {
			current = status.ContainerResource.Current
		}
	case spec.Pods != nil:
		name, target = spec.Pods.Metric.Name, spec.Pods.Target
		if status.Pods != nil {
			current = status.Pods.Current
		}
	case spec.Object != nil:
		name, target = spec.Object.Metric.Name, spec.Object.Target
		if status.Object != nil {
			current = status.Object.Current
		}
	case spec.External != nil:
		name, target = spec.External.Metric.Name, spec.External.Target
		if status.External != nil {
			current = status.External.Current
		}
	}
	shown, wanted := "?", "?"
	switch {
	case target.AverageUtilization != nil:
		wanted = fmt.Sprintf("%d%%", *target.AverageUtilization)
		if current.AverageUtilization != nil {
			shown = fmt.Sprintf("%d%%", *current.AverageUtilization)
		}
	case target.AverageValue != nil:
		wanted = target.AverageValue.String()
		if current.AverageValue != nil {
			shown = current.AverageValue.String()
		}
	case target.Value != nil:
		wanted = target.Value.String()
		if current.Value != nil {
			shown = current.Value.String()
		}
	}
	return name + " " + shown + "/" + wanted
}
