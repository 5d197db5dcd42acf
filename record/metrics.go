package record

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/hpabench/hpabench/model"
)

// FlapWithin is how soon a scale-up makes the scale-down before it a flap, and for how long holding
// its replicas would have avoided it: Kubernetes' own stabilization window of a scale-down
// (--horizontal-pod-autoscaler-downscale-stabilization).
const FlapWithin = 5 * time.Minute

// AtLimit is the share of its CPU limit from which on a container's metric says that the limit holds it.
const AtLimit = 0.95

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

// ResourceOf is the resource that m is about, and the container if it is about one; empty for a
// metric that metrics.k8s.io does not have.
func ResourceOf(m autoscalingv2.MetricSpec) (name corev1.ResourceName, container string) {
	switch {
	case m.Resource != nil:
		return m.Resource.Name, ""
	case m.ContainerResource != nil:
		return m.ContainerResource.Name, m.ContainerResource.Container
	}
	return "", ""
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

// MetricsRead says whether an HPA with the metrics is active and its status has a value of each of them;
// if not, why says what the HPA's conditions AbleToScale and ScalingActive give as the reason. Its other
// conditions are False without keeping it from its work.
func MetricsRead(metrics []autoscalingv2.MetricSpec, s autoscalingv2.HorizontalPodAutoscalerStatus) (read bool, why string) {
	active := false
	for _, c := range s.Conditions {
		switch {
		case c.Type != autoscalingv2.AbleToScale && c.Type != autoscalingv2.ScalingActive:
		case c.Status == corev1.ConditionFalse:
			why = c.Message
		case c.Type == autoscalingv2.ScalingActive:
			active = c.Status == corev1.ConditionTrue
		}
	}
	// An HPA without metrics has one by default.
	return active && len(s.CurrentMetrics) >= max(1, len(metrics)) &&
		!slices.ContainsFunc(s.CurrentMetrics, func(m autoscalingv2.MetricStatus) bool { return m.Type == "" }), why
}

// NoPodCounts is in the error of upstream's replica calculator where an HPA counts none of its pods.
const NoPodCounts = "did not receive metrics for targeted pods"

// NoneCounted says whether an HPA counts none of its pods: by NoPodCounts, which its condition
// ScalingActive gives, or, where that goes by another of the metrics, as the status has no value of one of CPU.
func NoneCounted(metrics []autoscalingv2.MetricSpec, s autoscalingv2.HorizontalPodAutoscalerStatus) bool {
	for i, m := range s.CurrentMetrics {
		if i < len(metrics) && m.Type == "" {
			if name, _ := ResourceOf(metrics[i]); name == corev1.ResourceCPU {
				return true
			}
		}
	}
	return slices.ContainsFunc(s.Conditions, func(c autoscalingv2.HorizontalPodAutoscalerCondition) bool {
		return c.Type == autoscalingv2.ScalingActive && c.Status == corev1.ConditionFalse && strings.Contains(c.Message, NoPodCounts)
	})
}

// ContainersOf lists those of a pod whose use the HPA measures against their requests: init
// containers that go on running are among them.
func ContainersOf(spec corev1.PodSpec) []ContainerResources {
	var all []ContainerResources
	add := func(c corev1.Container) {
		r := ContainerResources{Name: c.Name, Requests: c.Resources.Requests, Limits: c.Resources.Limits,
			StartupProbe: probe(c.StartupProbe), ReadinessProbe: probe(c.ReadinessProbe), LivenessProbe: probe(c.LivenessProbe)}
		if hooks := c.Lifecycle; hooks != nil {
			r.PreStop, r.PostStart = hook(hooks.PreStop), hook(hooks.PostStart)
			if hooks.PreStop != nil && hooks.PreStop.Sleep != nil {
				r.PreStopSleep = &hooks.PreStop.Sleep.Seconds
			}
		}
		all = append(all, r)
	}
	for _, c := range spec.InitContainers {
		if model.Sidecar(c) {
			add(c)
		}
	}
	for _, c := range spec.Containers {
		add(c)
	}
	return all
}

// probe is a copy of a probe without what may be secret.
func probe(p *corev1.Probe) *corev1.Probe {
	if p = p.DeepCopy(); p == nil {
		return nil
	}
	if p.Exec != nil {
		p.Exec.Command = nil
	}
	if p.HTTPGet != nil {
		p.HTTPGet.HTTPHeaders = nil
		p.HTTPGet.Path, _, _ = strings.Cut(p.HTTPGet.Path, "?")
	}
	return p
}

// hook names the kind of a container's hook as its field in the API is called.
func hook(h *corev1.LifecycleHandler) string {
	switch {
	case h == nil:
		return ""
	case h.Exec != nil:
		return "exec"
	case h.HTTPGet != nil:
		return "httpGet"
	case h.TCPSocket != nil:
		return "tcpSocket"
	case h.Sleep != nil:
		return "sleep"
	}
	return ""
}

// Request is what a pod, or a container of it if container is not empty, requests of a resource: the
// request of whole, the resources of all containers together, else the sum of those of the containers,
// else the limit of whole. The limit of a container stands for a request that it does not have, as the
// API server makes it. lacking are the containers whose requests are missed, if any: the HPA controller
// then has no metric at all that is a share of them (calculateRequests in
// k8s.io/kubernetes/pkg/controller/podautoscaler).
func Request(name corev1.ResourceName, container string, containers []ContainerResources, whole *corev1.ResourceRequirements) (request resource.Quantity, lacking []string) {
	for _, c := range containers {
		if container != "" && c.Name != container {
			continue
		}
		one, requested := c.Requests[name]
		if !requested {
			one = c.Limits[name]
		}
		if request.Add(one); one.Sign() <= 0 {
			lacking = append(lacking, c.Name)
		}
	}
	if whole == nil || container != "" || len(whole.Requests)+len(whole.Limits) == 0 {
		return request, lacking
	}
	if all, requested := whole.Requests[name]; requested {
		request = all
	} else if request.IsZero() {
		request = whole.Limits[name]
	}
	if request.Sign() > 0 {
		lacking = nil
	}
	return request, lacking
}

// Limit is what containers of a pod may use of a resource together: the sum of their limits, if each has
// one, or the limit of whole, the resources of all containers, if that is lower; zero without a limit.
func Limit(name corev1.ResourceName, whole *corev1.ResourceRequirements, containers ...ContainerResources) resource.Quantity {
	var sum resource.Quantity
	own := corev1.ResourceList{}
	for _, c := range containers {
		limit, limited := c.Limits[name]
		if !limited {
			own = nil
			break
		}
		sum.Add(limit)
		own[name] = sum
	}
	return *model.Limit(&corev1.PodSpec{Resources: whole}, &corev1.Container{Resources: corev1.ResourceRequirements{Limits: own}}, name)
}

// WithoutRequest are the containers of a pod that lack the request of which a metric's target is a
// share; none if its target is no such share.
func WithoutRequest(m autoscalingv2.MetricSpec, containers []ContainerResources, whole *corev1.ResourceRequirements) (name corev1.ResourceName, lacking []string) {
	name, container := ResourceOf(m)
	if _, target := MetricTarget(m); name != "" && target.AverageUtilization != nil {
		_, lacking = Request(name, container, containers, whole)
	}
	return name, lacking
}

// HighestRatios are, for each of the metrics, the most that it can come to in relation to its target
// by the limits of the containers and of the whole pod, if it has any of its own. It is nil if one of
// the metrics has no such bound: a container without a limit, or a metric that is not of resources.
func HighestRatios(metrics []autoscalingv2.MetricSpec, containers []ContainerResources, whole *corev1.ResourceRequirements) (ratios []float64) {
	for _, m := range metrics {
		name, container := ResourceOf(m)
		_, target := MetricTarget(m)
		of := slices.DeleteFunc(slices.Clone(containers), func(c ContainerResources) bool { return container != "" && c.Name != container })
		limit := Limit(name, whole, of...)
		request, _ := Request(name, container, containers, whole)
		limits, requests := limit.AsApproximateFloat64(), request.AsApproximateFloat64()
		switch {
		case limits == 0:
			return nil
		case target.AverageUtilization != nil && *target.AverageUtilization > 0 && requests > 0:
			// The HPA reads whole percents (GetResourceUtilizationRatio in
			// k8s.io/kubernetes/pkg/controller/podautoscaler/metrics).
			ratios = append(ratios, math.Floor(limits*100/requests+1e-9)/float64(*target.AverageUtilization))
		case target.AverageValue != nil && target.AverageValue.Sign() > 0:
			ratios = append(ratios, limits/target.AverageValue.AsApproximateFloat64())
		default:
			return nil
		}
	}
	return ratios
}

// HeldBelow says whether the ratios of HighestRatios keep all metrics from being above the ratio edge; and whether they hardly do, as
// one of CPU is within 1 % of it: by the kernel's periods a sample may be as much above the limit.
func HeldBelow(metrics []autoscalingv2.MetricSpec, ratios []float64, edge float64) (held, hardly bool) {
	for i, ratio := range ratios {
		if ratio > edge {
			return false, false
		}
		name, _ := ResourceOf(metrics[i])
		hardly = hardly || name == corev1.ResourceCPU && ratio*1.01 > edge
	}
	return len(ratios) > 0, hardly
}

// generatedHash is the end of the name that a Deployment gives a ReplicaSet
// (k8s.io/apimachinery/pkg/util/rand, SafeEncodeString).
var generatedHash = regexp.MustCompile(`-[bcdfghjklmnpqrstvwxz2456789]{8,10}$`)

// PodOwner words the Owner of a Pod. A ReplicaSet whose name ends in a generated hash is taken for
// that of a Deployment.
func PodOwner(owner string) string {
	kind, name, _ := strings.Cut(owner, "/")
	switch hash := generatedHash.FindStringIndex(name); {
	case owner == "":
		return "nobody (bare)"
	case kind == "ReplicaSet" && hash != nil:
		return "Deployment " + name[:hash[0]]
	}
	return kind + " " + name
}
