package record

import autoscalingv2 "k8s.io/api/autoscaling/v2"

// MetricTarget returns a name that tells m from the HPA's other metrics, and its
// target. The name is empty if the type and the fields of m do not match.
func MetricTarget(m autoscalingv2.MetricSpec) (string, autoscalingv2.MetricTarget) {
	switch {
	case m.Resource != nil:
		return string(m.Resource.Name), m.Resource.Target
	case m.ContainerResource != nil:
		return string(m.ContainerResource.Name) + " of container " + m.ContainerResource.Container, m.ContainerResource.Target
	case m.Pods != nil:
		return "pods' " + m.Pods.Metric.Name, m.Pods.Target
	case m.Object != nil:
		return m.Object.DescribedObject.Kind + "/" + m.Object.DescribedObject.Name + " " + m.Object.Metric.Name, m.Object.Target
	case m.External != nil:
		return "external " + m.External.Metric.Name, m.External.Target
	}
	return "", autoscalingv2.MetricTarget{}
}

// CustomMetric is the name of a metric that an adapter serves; empty for one of resources.
func CustomMetric(m autoscalingv2.MetricSpec) string {
	switch {
	case m.Pods != nil:
		return m.Pods.Metric.Name
	case m.Object != nil:
		return m.Object.Metric.Name
	case m.External != nil:
		return m.External.Metric.Name
	}
	return ""
}

// MetricCurrent is MetricTarget for the status.
func MetricCurrent(m autoscalingv2.MetricStatus) (string, autoscalingv2.MetricValueStatus) {
	switch {
	case m.Resource != nil:
		return string(m.Resource.Name), m.Resource.Current
	case m.ContainerResource != nil:
		return string(m.ContainerResource.Name) + " of container " + m.ContainerResource.Container, m.ContainerResource.Current
	case m.Pods != nil:
		return "pods' " + m.Pods.Metric.Name, m.Pods.Current
	case m.Object != nil:
		return m.Object.DescribedObject.Kind + "/" + m.Object.DescribedObject.Name + " " + m.Object.Metric.Name, m.Object.Current
	case m.External != nil:
		return "external " + m.External.Metric.Name, m.External.Current
	}
	return "", autoscalingv2.MetricValueStatus{}
}

// MetricsCurrent are the metrics that a status has, by the names of MetricCurrent.
func MetricsCurrent(s autoscalingv2.HorizontalPodAutoscalerStatus) map[string]autoscalingv2.MetricValueStatus {
	current := map[string]autoscalingv2.MetricValueStatus{}
	for _, m := range s.CurrentMetrics {
		name, value := MetricCurrent(m)
		current[name] = value
	}
	return current
}
