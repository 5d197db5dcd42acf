package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	quota "k8s.io/apiserver/pkg/quota/v1"
	podresources "k8s.io/component-helpers/resource"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
	custommetrics "k8s.io/metrics/pkg/apis/custom_metrics"
	externalmetrics "k8s.io/metrics/pkg/apis/external_metrics"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/watch"
)

// staleMetrics is the age beyond which the newest sample of metrics-server is
// worth a warning: two of its default scrapes of 15 s, the sample's own window
// and some reserve.
const staleMetrics = 60 * time.Second

// inspection collects what is found out about a cluster and about one object on
// it that is scaled. It creates nothing.
type inspection struct {
	*Cluster
	subject
	checks    []record.Check
	report    func(record.Check)
	badInput  bool // a fault is in what the user asked for, not in the cluster
	forbidden bool // a check is Forbidden: which right it takes is said with the rights
	beside    int  // see Options

	interrupted func() bool
}

// subject is what is scaled, as far as it is known.
type subject struct {
	namespace  string
	own        bool // the namespace is the run's own
	gvk        schema.GroupVersionKind
	gvr        schema.GroupVersionResource
	name       string
	autoscaler string
	scaled     string // the ScaledObject that the HPA was made of; empty without one
	spec       *autoscalingv2.HorizontalPodAutoscalerSpec
	template   *corev1.PodTemplateSpec // nil where the kind has none that is known
	selector   string                  // of the pods of a target that exists already
	replicas   int32                   // those that are there before the run
	cluster    *record.Cluster
}

func (i *inspection) add(name, outcome, message, hint string) {
	i.put(record.Check{Name: name, Outcome: outcome, Message: message, Hint: hint})
}

func (i *inspection) put(c record.Check) {
	if i.interrupted() {
		return // what fails now says nothing about the cluster
	}
	c.Message = record.Cut(c.Message)
	i.forbidden = i.forbidden || c.Forbidden
	i.checks = append(i.checks, c)
	i.report(c)
}

// refuse adds a fault that is in what the user asked for. It returns false.
func (i *inspection) refuse(name, message, hint string) bool {
	i.badInput = true
	return i.fault(name, message, hint)
}

// fault adds a fault. It returns false.
func (i *inspection) fault(name, message, hint string) bool {
	i.add(name, record.Fault, message, hint)
	return false
}

// failed adds the fault that a request did not succeed. It returns false.
func (i *inspection) failed(name string, err error) bool {
	i.put(record.Check{Name: name, Outcome: record.Fault, Message: err.Error(), Forbidden: apierrors.IsForbidden(err)})
	return false
}

func (i *inspection) ok(name, message string, args ...any) {
	i.add(name, record.OK, fmt.Sprintf(message, args...), "")
}

// faults returns an error when a check found a fault: a BadInput if it is in what
// the user asked for. What is said of all of them comes after their number.
func (i *inspection) faults(ctx context.Context, after string) error {
	faults := 0
	for _, c := range i.checks {
		if c.Outcome == record.Fault {
			faults++
		}
	}
	if i.interrupted() {
		return context.Cause(ctx)
	}
	if faults == 0 {
		return nil
	}
	err := fmt.Errorf("the preflight found %s; %s", record.Counted(faults, "fault"), after)
	if i.badInput {
		return BadInput{err}
	}
	return err
}

func (i *inspection) checkServer(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout+i.login)
	defer cancel()
	var v version.Info
	body, err := i.Kube.Discovery().RESTClient().Get().AbsPath("/version").DoRaw(ctx)
	if err == nil {
		err = json.Unmarshal(body, &v)
	}
	const name = "API server"
	server := record.ShownURL(i.Config.Host)
	switch {
	case err == nil:
	case apierrors.IsForbidden(err):
		v.GitVersion = "of an unknown version"
		i.add(name, record.Warning, fmt.Sprintf("%s answers, and does not let this user read /version: %v", server, err),
			"the ClusterRole system:public-info-viewer allows it; without it the report does not name the version")
	case apierrors.IsUnauthorized(err):
		return i.fault(name, fmt.Sprintf("%s does not know these credentials: %v", server, err), "log in again")
	case errors.Is(err, errPlugin):
		return i.fault(name, fmt.Sprintf("no request was sent to %s: %v", server, err), "use credentials that need no plugin, or mend the plugin")
	default:
		return i.fault(name, fmt.Sprintf("%s does not answer: %v", server, err), "is the cluster up, and is this the right --context or --kubeconfig?")
	}
	i.cluster = &record.Cluster{Version: v.GitVersion}
	if i.cluster.Lab, i.cluster.Controllers, err = i.findLab(ctx); err != nil {
		return i.fault(name, fmt.Sprintf("finding out whether this is the embedded cluster: %v", err), "")
	}
	what := ""
	if lab := i.cluster.Lab; lab != nil {
		what = fmt.Sprintf(", embedded: modelled pods, %s timing", lab.Timing)
	} else {
		i.cluster.Controllers, i.cluster.ControllersFrom, i.cluster.ControllersUnknown = i.findControllers(ctx)
	}
	i.ok(name, "Kubernetes %s%s", v.GitVersion, what)
	return true
}

// checkScalable resolves the target's kind and wants a scale subresource.
func (i *inspection) checkScalable() bool {
	const name = "target"
	_, mapping, err := i.resource(i.gvk, i.namespace)
	if meta.IsNoMatchError(err) {
		return i.refuse(name, fmt.Sprintf("the cluster does not know the kind %s: %v", i.gvk, err), "is its CustomResourceDefinition installed?")
	}
	scalable := false
	if err == nil {
		i.gvr = mapping.Resource
		scalable, err = i.scalable(i.gvr)
	}
	if err != nil {
		return i.fault(name, fmt.Sprintf("finding out whether %s can be scaled: %v", i.gvk.Kind, err), "")
	}
	if !scalable {
		return i.refuse(name, fmt.Sprintf("%s has no scale subresource, so that no HPA can scale it", i.gvk.Kind),
			"use a Deployment, a StatefulSet or another kind that kubectl scale takes")
	}
	return true
}

// readTarget reads a target that exists already: its scale and, if it has one,
// its pod template. The error passes apierrors.IsNotFound if it does not exist.
func (i *inspection) readTarget(ctx context.Context) error {
	object, err := timed(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return i.Dynamic.Resource(i.gvr).Namespace(i.namespace).Get(ctx, i.name, metav1.GetOptions{})
	})
	if err != nil {
		return fmt.Errorf("reading %s %s: %w", i.gvk.Kind, i.name, err)
	}
	scale, err := timed(ctx, func(ctx context.Context) (*autoscalingv1.Scale, error) {
		return i.scale(ctx, i.gvr, i.namespace, i.name)
	})
	if err != nil {
		return fmt.Errorf("reading the scale of %s %s: %w", i.gvk.Kind, i.name, err)
	}
	i.replicas, i.selector = scale.Status.Replicas, scale.Status.Selector
	if t, found, _ := unstructured.NestedMap(object.Object, "spec", "template"); found {
		template := new(corev1.PodTemplateSpec)
		if runtime.DefaultUnstructuredConverter.FromUnstructured(t, template) == nil {
			i.template = template
		}
	}
	return nil
}

// absent words that the target does not exist, with what to do.
func (i *inspection) absent() (message, hint string) {
	return fmt.Sprintf("%s %s does not exist in namespace %s", i.gvk.Kind, i.name, i.namespace),
		fmt.Sprintf("kubectl get %s -n %s lists what does", i.gvr.Resource, i.namespace)
}

// lackingRequests says which requests the HPA's metrics are shares of and the
// target's containers do not have. The pods themselves say what is requested in
// the end: a LimitRange can have added to the template.
func (i *inspection) lackingRequests(ctx context.Context) (messages []string) {
	if i.selector == "" {
		return nil
	}
	pods, err := timed(ctx, func(ctx context.Context) (*corev1.PodList, error) {
		return i.Kube.CoreV1().Pods(i.namespace).List(ctx, metav1.ListOptions{LabelSelector: i.selector, Limit: 1})
	})
	if err != nil || len(pods.Items) == 0 {
		return nil
	}
	for _, m := range i.spec.Metrics {
		if name, lacking := record.WithoutRequest(m, record.ContainersOf(pods.Items[0].Spec), pods.Items[0].Spec.Resources); len(lacking) > 0 {
			messages = append(messages, fmt.Sprintf("the autoscaler's target is a share of the %s request, and containers of %s %s have none: %s",
				name, i.gvk.Kind, i.name, strings.Join(lacking, ", ")))
		}
	}
	return messages
}

const requestHint = "kubectl set resources gives them one"

// task is what a command is about to do with the target, as far as it is known.
func (i *inspection) task(command string) task {
	t := task{command: command, namespace: i.namespace, own: i.own, lab: i.cluster.Lab != nil, name: i.name, metricsServer: metav1.NamespaceSystem, spec: i.spec, scaled: i.scaled,
		mapping: func(gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
			_, mapping, err := i.resource(gvk, i.namespace)
			return mapping, err
		}}
	if i.gvk.Kind != "" {
		t.target = i.gvr.GroupResource()
	}
	return t
}

// usesResourceMetrics says whether the HPA reads metrics.k8s.io.
func usesResourceMetrics(spec *autoscalingv2.HorizontalPodAutoscalerSpec) bool {
	return spec == nil || len(spec.Metrics) == 0 || slices.ContainsFunc(spec.Metrics, func(m autoscalingv2.MetricSpec) bool {
		return m.Type == autoscalingv2.ResourceMetricSourceType || m.Type == autoscalingv2.ContainerResourceMetricSourceType
	})
}

const metricsHint = "kubectl top nodes must work: install metrics-server, or look at its logs and at the APIService v1beta1.metrics.k8s.io"

// checkMetrics looks whether there are samples and how old they are. That there
// are none is of the given outcome if the HPA reads them.
func (i *inspection) checkMetrics(ctx context.Context, outcome string) {
	if !usesResourceMetrics(i.spec) {
		outcome = record.Warning // the HPA can work without; only our CPU figures are missing then
	}
	nodes, err := limited(ctx, i.Metrics.MetricsV1beta1().NodeMetricses().List)
	switch {
	case apierrors.IsForbidden(err):
		i.add("metrics", record.Warning, "no right to list nodes.metrics.k8s.io, so that their age is not known", "the HPA's own status tells whether it has its metrics")
	case err != nil && i.cluster.Lab != nil:
		i.add("metrics", outcome, fmt.Sprintf("metrics.k8s.io is not served: %v", err), "the embedded cluster serves it itself: hpabench lab status lists those that run")
	case err != nil:
		i.add("metrics", outcome, fmt.Sprintf("metrics.k8s.io is not served: %v", err), metricsHint)
	case len(nodes.Items) == 0 && i.cluster.Lab != nil:
		i.ok("metrics", "metrics.k8s.io is served; the cluster has just started, and its first sample is still to come")
	case len(nodes.Items) == 0:
		i.add("metrics", outcome, "metrics.k8s.io is served but has no sample of any node", metricsHint+"; just after its start it needs a minute")
	default:
		newest := slices.MaxFunc(nodes.Items, func(a, b metricsv1beta1.NodeMetrics) int { return a.Timestamp.Compare(b.Timestamp.Time) })
		if age := time.Since(newest.Timestamp.Time).Round(time.Second); age > staleMetrics {
			i.add("metrics", record.Warning, fmt.Sprintf("the newest sample is %s old", age),
				"metrics-server is behind, or the clocks of this machine and the cluster differ")
		} else {
			i.ok("metrics", "metrics.k8s.io is served; the newest sample is %s old, over %s", max(age, 0), newest.Window.Round(100*time.Millisecond))
		}
	}
}

// checkAdapters looks whether the API groups are served from which the HPA reads metrics that
// metrics.k8s.io does not have. That one is not is of the given outcome.
func (i *inspection) checkAdapters(ctx context.Context, outcome string) {
	if i.spec == nil {
		return
	}
	told := map[string]bool{}
	for _, m := range i.spec.Metrics {
		name, group := record.CustomMetric(m), custommetrics.GroupName
		if m.External != nil {
			group = externalmetrics.GroupName
		}
		what := "metric " + name
		if i.selector == "" && i.scaled != "" {
			what = "the metrics of ScaledObject " + i.scaled // KEDA names them when it has taken it
		}
		if name == "" || told[what] {
			continue
		}
		told[what] = true
		groups, err := timed(ctx, func(context.Context) (*metav1.APIGroupList, error) { return i.Kube.Discovery().ServerGroups() })
		switch {
		case err != nil:
			i.add("adapter", record.Warning, fmt.Sprintf("listing the API groups: %v", err), fmt.Sprintf("whether %s serves %s is not known", group, what))
		case !slices.ContainsFunc(groups.Groups, func(g metav1.APIGroup) bool { return g.Name == group }):
			i.badInput = i.badInput || outcome == record.Fault // as an unknown kind is
			i.add("adapter", outcome, fmt.Sprintf("the HPA reads %s from %s, and the cluster does not serve that API group", what, group),
				"install an adapter (KEDA, prometheus-adapter), or take the metric out of the HPA")
		case i.selector == "":
			i.ok("adapter", "%s is served, from which the HPA reads %s", group, what)
		default:
			i.checkSignal(m, group, outcome)
		}
	}
}

// checkSignal reads a metric as the HPA does. That it has no value is of the given outcome where the target is there already and
// the HPA cannot act by another metric.
func (i *inspection) checkSignal(m autoscalingv2.MetricSpec, group, outcome string) {
	name := record.CustomMetric(m)
	if slices.ContainsFunc(i.spec.Metrics, func(other autoscalingv2.MetricSpec) bool {
		if record.CustomMetric(other) == "" {
			return true
		}
		value, err := i.Signals.Read(other, i.namespace, i.selector)
		return !equality.Semantic.DeepEqual(other, m) && err == nil && value.Error == ""
	}) {
		outcome = record.Warning
	}
	value, err := i.Signals.Read(m, i.namespace, i.selector)
	switch {
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		i.add("adapter", record.Warning, fmt.Sprintf("no right to read metric %s: %v", name, err), "the metric is not recorded; what the HPA makes of it is in its status")
	case err != nil:
		i.add("adapter", record.Warning, fmt.Sprintf("reading metric %s from %s: %v", name, group, err), "the adapter behind that API does not answer: look at its pods and its logs")
	case value.Error != "" && m.Pods != nil && i.replicas == 0:
		i.ok("adapter", "%s is served; metric %s is of the pods, and there is none", group, name)
	case value.Error != "":
		i.add("adapter", outcome, fmt.Sprintf("the HPA reads metric %s from %s, and it has no value now: %s", name, group, value.Error), "look at what the adapter (KEDA, prometheus-adapter) asks its source for, and whether the selector of the metric matches")
	case value.Value != nil:
		i.ok("adapter", "%s serves metric %s, which is %s now", group, name, value.Value)
	default:
		i.ok("adapter", "%s serves metric %s of %s", group, name, record.Counted(len(value.Pods), "pod"))
	}
}

// nodes are those of the cluster with the pods on them; known is false if the
// pods could not be listed.
type nodes struct {
	list  []corev1.Node            // nil if they could not be listed
	pods  map[string][]*corev1.Pod // by the node's name
	known bool
}

// readNodes reads and describes the nodes.
func (i *inspection) readNodes(ctx context.Context) (n nodes) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := i.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		if !apierrors.IsForbidden(err) { // that was said with the rights
			i.add(RoomCheck, record.Warning, fmt.Sprintf("listing the nodes: %v", err), "")
		}
		return n
	}
	pods, err := i.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		FieldSelector: fields.ParseSelectorOrDie("status.phase!=Succeeded,status.phase!=Failed").String()})
	n = nodes{append([]corev1.Node{}, list.Items...), map[string][]*corev1.Pod{}, err == nil}
	if n.known {
		for _, pod := range pods.Items {
			n.pods[pod.Spec.NodeName] = append(n.pods[pod.Spec.NodeName], &pod)
		}
	} else {
		i.add(RoomCheck, record.Warning, fmt.Sprintf("listing the pods of all namespaces: %v", err), "without them the room on the nodes is not known")
	}
	for _, node := range n.list {
		info := node.Status.NodeInfo
		described := record.Node{Name: node.Name, CPU: node.Status.Allocatable.Cpu().AsApproximateFloat64(),
			Memory: node.Status.Allocatable.Memory().Value(), OS: info.OperatingSystem + "/" + info.Architecture,
			Kubelet: info.KubeletVersion, Runtime: info.ContainerRuntimeVersion, Schedule: !node.Spec.Unschedulable, Taints: node.Spec.Taints}
		if n.known {
			described.Free = free(node, n.pods[node.Name])
		}
		i.cluster.Nodes = append(i.cluster.Nodes, described)
	}
	return n
}

// RoomCheck is the name of the check that the nodes have room for the pods.
const RoomCheck = "room"

// checkRoom counts how many pods of the template the nodes have room for, by the
// requests of what runs there now.
func (i *inspection) checkRoom(n nodes) {
	if !n.known || i.template == nil || i.spec == nil {
		return
	}
	wanted := max(int64(i.spec.MaxReplicas)-int64(i.replicas), 0) + int64(i.beside)*int64(i.spec.MaxReplicas)
	fit, err := room(n.list, n.pods, i.template)
	switch {
	case err != nil:
		i.add(RoomCheck, record.Warning, fmt.Sprintf("reading the pod template: %v", err), "")
	case fit < wanted:
		i.add(RoomCheck, record.Warning, fmt.Sprintf("the nodes have room for %d more pods, max replicas needs %d", fit, wanted),
			"lower the requests or max, or add nodes: pods beyond that stay Pending unless the cluster adds nodes by itself")
	case fit >= roomCap:
		i.ok(RoomCheck, "for max replicas: %d more pods needed, %d or more fit", wanted, roomCap)
	default:
		i.ok(RoomCheck, "for max replicas: %d more pods needed, %d fit", wanted, fit)
	}
}

// roomCap bounds the count of pods that fit where the template requests nothing.
const roomCap = 1000

// free is what the requests of the pods on the node leave of what is allocatable;
// that of pods is how many more it takes.
func free(node corev1.Node, on []*corev1.Pod) corev1.ResourceList {
	used := corev1.ResourceList{corev1.ResourcePods: *resource.NewQuantity(int64(len(on)), resource.DecimalSI)}
	for _, pod := range on {
		used = quota.Add(used, podresources.PodRequests(pod, podresources.PodResourcesOptions{}))
	}
	left := node.Status.Allocatable
	return quota.Mask(quota.Subtract(left, used), quota.ResourceNames(left))
}

// room returns how many more pods of the template fit on the nodes that would
// take them (not cordoned, taints tolerated, node selector and affinity met).
func room(nodes []corev1.Node, byNode map[string][]*corev1.Pod, template *corev1.PodTemplateSpec) (int64, error) {
	pod := &corev1.Pod{Spec: template.Spec}
	requests := podresources.PodRequests(pod, podresources.PodResourcesOptions{})
	affinity := nodeaffinity.GetRequiredNodeAffinity(pod)
	var total int64
	for _, node := range nodes {
		if node.Spec.Unschedulable {
			continue
		}
		_, tainted := corev1helpers.FindMatchingUntoleratedTaint(klog.Logger{}, node.Spec.Taints, pod.Spec.Tolerations, func(t *corev1.Taint) bool {
			return t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute
		}, true)
		match, err := affinity.Match(&node)
		if err != nil {
			return 0, err
		}
		if tainted || !match {
			continue
		}
		left := free(node, byNode[node.Name])
		fit := min(max(left.Pods().Value(), 0), roomCap)
		for name, request := range requests {
			if is := left[name]; request.Sign() > 0 {
				fit = min(fit, max(int64(is.AsApproximateFloat64()/request.AsApproximateFloat64()), 0))
			}
		}
		total = min(total+fit, roomCap)
	}
	return total, nil
}

// matchesNoPod is a label selector that no pod matches.
const matchesNoPod = "hpabench.dev/nobody,!hpabench.dev/nobody"

// watched says what is to be watched of a target that exists, and of one that
// does not: its HPA. The Services are looked for, and the one that takes the load, as
// services does.
func (i *inspection) watched(ctx context.Context, among, named string) (s watch.Subject, load *corev1.Service, err error) {
	s = watch.Subject{Namespace: i.namespace, Target: i.gvr, Kind: i.gvk.Kind, Name: i.name, Autoscaler: i.autoscaler, ScaledObject: i.scaled, Selector: cmp.Or(i.selector, matchesNoPod)}
	if !s.Target.Empty() {
		s.ReplicasPath, s.StatusPath = i.replicaPaths(ctx, s.Target)
	}
	if i.selector == "" {
		return s, nil, nil
	}
	podLabels := map[string]string{}
	if i.template != nil {
		podLabels = i.template.Labels
	} else if selector, err := labels.ConvertSelectorToLabelsMap(i.selector); err == nil {
		podLabels = selector
	}
	s.Services, load, err = i.services(ctx, i.namespace, among, podLabels, named)
	return s, load, err
}
