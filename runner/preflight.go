package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	podresources "k8s.io/component-helpers/resource"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// staleMetrics is the age beyond which the newest sample of metrics-server is
// worth a warning: two of its default scrapes of 15 s, the sample's own window
// and some reserve.
const staleMetrics = 60 * time.Second

// preflight finds out whether a run can work before anything is created.
type preflight struct {
	*Cluster
	file     *scenarios.File
	options  Options
	checks   []record.Check
	notes    []string // what a reader of the run should know
	report   func(record.Check)
	badInput bool // a fault is in what the user asked for, not in the cluster

	interrupted func() bool

	subject
}

// subject is what the run scales, as far as the preflight knows it.
type subject struct {
	namespace  string
	own        bool // the namespace is the run's own
	gvk        schema.GroupVersionKind
	gvr        schema.GroupVersionResource
	name       string
	autoscaler string
	spec       *autoscalingv2.HorizontalPodAutoscalerSpec
	template   *corev1.PodTemplateSpec // nil where the kind has none that is known
	replicas   int32                   // those that are there before the run
	cluster    *record.Cluster
}

func (p *preflight) add(name, outcome, message, hint string) {
	if p.interrupted() {
		return // what fails now says nothing about the cluster
	}
	c := record.Check{Name: name, Outcome: outcome, Message: message, Hint: hint}
	p.checks = append(p.checks, c)
	p.report(c)
}

// refuse adds a fault that is in what the user asked for. It returns false.
func (p *preflight) refuse(name, message, hint string) bool {
	p.badInput = true
	p.add(name, record.Fault, message, hint)
	return false
}

func (p *preflight) ok(name, message string, args ...any) {
	p.add(name, record.OK, fmt.Sprintf(message, args...), "")
}

// check runs the checks in the order in which one needs another, and returns
// an error when at least one found a fault.
func (p *preflight) check(ctx context.Context) error {
	p.interrupted = func() bool { return ctx.Err() != nil }
	if p.checkServer(ctx) && p.checkTarget(ctx) {
		p.checkRights(ctx)
		p.checkMetrics(ctx)
		p.checkRoom(ctx)
	}
	faults := 0
	for _, c := range p.checks {
		if c.Outcome == record.Fault {
			faults++
		}
	}
	if p.interrupted() {
		return context.Cause(ctx)
	}
	if faults == 0 {
		return nil
	}
	err := fmt.Errorf("the preflight found %d fault%s; nothing was created", faults, plural(faults))
	if p.badInput {
		return BadInput{err}
	}
	return err
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

func (p *preflight) checkServer(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var v version.Info
	body, err := p.Kube.Discovery().RESTClient().Get().AbsPath("/version").DoRaw(ctx)
	if err == nil {
		err = json.Unmarshal(body, &v)
	}
	if err != nil {
		hint := "is the cluster up, and is this the right --context or --kubeconfig?"
		if apierrors.IsUnauthorized(err) {
			hint = "log in again: the cluster does not know these credentials"
		}
		p.add("API server", record.Fault, fmt.Sprintf("%s does not answer: %v", p.Config.Host, err), hint)
		return false
	}
	p.cluster = &record.Cluster{Version: v.GitVersion}
	if p.cluster.Lab, err = p.findLab(ctx); err != nil {
		p.add("API server", record.Fault, fmt.Sprintf("finding out whether this is the embedded cluster: %v", err), "")
		return false
	}
	what := ""
	if lab := p.cluster.Lab; lab != nil {
		what = fmt.Sprintf(", embedded: modelled pods, %s timing", lab.Timing)
	} else if p.file.Spec.Workload.Model != nil {
		p.notes = append(p.notes, "workload.model is for the embedded cluster; here the pods are real, and it is ignored.")
	}
	p.ok("API server", "Kubernetes %s%s", v.GitVersion, what)
	if p.cluster.Lab != nil {
		p.noteGeneric()
	}
	return true
}

// noteGeneric says of what the image is modelled as when nothing is known of it.
func (p *preflight) noteGeneric() {
	template := p.file.PodTemplate()
	if template == nil || p.file.Spec.Workload.Model != nil || template.Annotations[model.Annotation] != "" || len(template.Spec.Containers) == 0 {
		return
	}
	main := template.Spec.Containers[0]
	m := model.Resolve(main.Image, main.Env, model.Model{})
	if m.Preset == model.Generic {
		p.notes = append(p.notes, fmt.Sprintf("Image %s is modelled as a generic server (%s of CPU a request, ready to listen %s after its start, %s of memory): state workload.model.",
			main.Image, m.CPU.Mean.Duration, m.Start.Duration+m.StartCPU.Duration, m.Memory))
	}
}

// objects are what the run creates.
func (p *preflight) objects() []*unstructured.Unstructured {
	if p.cluster.Lab != nil {
		return p.file.ModelledObjects()
	}
	return p.file.Objects()
}

// checkTarget finds the object that is to be scaled, or makes sure that the
// ones to be created are in nobody's way.
func (p *preflight) checkTarget(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if p.options.Namespace != "" {
		if _, err := p.Kube.CoreV1().Namespaces().Get(ctx, p.options.Namespace, metav1.GetOptions{}); apierrors.IsNotFound(err) {
			return p.refuse("namespace", fmt.Sprintf("there is no namespace %q", p.options.Namespace),
				"-n takes one that exists; without -n the run makes one of its own")
		}
	}
	ref := p.file.TargetRef()
	p.gvk, p.name = schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind), ref.Name
	if p.file.Spec.Workload.Existing != nil {
		return p.checkExisting(ctx)
	}
	p.autoscaler, p.spec, p.template = p.file.AutoscalerName(), p.file.Autoscaling(), p.file.PodTemplate()
	if !p.checkUnused(ctx) {
		return false
	}
	if !p.checkScalable() {
		return false
	}
	p.ok("target", "%s %s can be scaled", p.gvk.Kind, p.name)
	return true
}

// checkScalable resolves the target's kind and wants a scale subresource.
func (p *preflight) checkScalable() bool {
	const name = "target"
	_, mapping, err := p.Cluster.resource(p.gvk, p.namespace)
	if meta.IsNoMatchError(err) && p.definesKind() {
		return true
	}
	if meta.IsNoMatchError(err) {
		return p.refuse(name, fmt.Sprintf("the cluster does not know the kind %s: %v", p.gvk, err), "is its CustomResourceDefinition installed?")
	}
	scalable := false
	if err == nil {
		p.gvr = mapping.Resource
		scalable, err = p.scalable(p.gvr)
	}
	if err != nil {
		p.add(name, record.Fault, fmt.Sprintf("finding out whether %s can be scaled: %v", p.gvk.Kind, err), "")
		return false
	}
	if !scalable {
		return p.refuse(name, fmt.Sprintf("%s has no scale subresource, so that no HPA can scale it", p.gvk.Kind),
			"use a Deployment, a StatefulSet or another kind that kubectl scale takes")
	}
	return true
}

// definesKind says whether a CustomResourceDefinition of the manifests defines
// the target's kind, which is then unknown before the run.
func (p *preflight) definesKind() bool {
	return slices.ContainsFunc(p.file.Objects(), func(o *unstructured.Unstructured) bool {
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
		return o.GetKind() == "CustomResourceDefinition" && group == p.gvk.Group && kind == p.gvk.Kind
	})
}

// checkUnused refuses to touch an object that somebody else made.
func (p *preflight) checkUnused(ctx context.Context) bool {
	free := true
	for _, o := range p.file.Objects() {
		client, _, err := p.Cluster.resource(o.GroupVersionKind(), p.namespace)
		if err != nil {
			continue // told when it is created; a CRD of the manifests may define it
		}
		if _, err := client.Get(ctx, o.GetName(), metav1.GetOptions{}); err == nil {
			free = p.refuse("target", fmt.Sprintf("%s %s exists already: hpabench does not change what it did not create",
				o.GetKind(), o.GetName()), "give the scenario another name, leave out -n, or name the object under workload.existing")
		}
	}
	return free
}

// checkExisting finds the named object and its HPA.
func (p *preflight) checkExisting(ctx context.Context) bool {
	e := p.file.Spec.Workload.Existing
	missing := func(message, hint string) bool {
		return p.refuse("target", p.file.Fault("spec.workload.existing", message, "").Error(), hint)
	}
	if !p.checkScalable() {
		return false
	}
	client := p.Dynamic.Resource(p.gvr).Namespace(p.namespace)
	object, err := client.Get(ctx, p.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return missing(fmt.Sprintf("%s %s does not exist in namespace %s", p.gvk.Kind, p.name, p.namespace),
			fmt.Sprintf("kubectl get %s -n %s lists what does", p.gvr.Resource, p.namespace))
	}
	if err != nil {
		p.add("target", record.Fault, fmt.Sprintf("reading %s %s: %v", p.gvk.Kind, p.name, err), "")
		return false
	}
	scale, err := p.scale(ctx, p.gvr, p.namespace, p.name)
	if err != nil {
		p.add("target", record.Fault, fmt.Sprintf("reading the scale of %s %s: %v", p.gvk.Kind, p.name, err), "")
		return false
	}
	p.replicas = scale.Status.Replicas
	if t, found, _ := unstructured.NestedMap(object.Object, "spec", "template"); found {
		template := new(corev1.PodTemplateSpec)
		if runtime.DefaultUnstructuredConverter.FromUnstructured(t, template) == nil {
			p.template = template
		}
	}
	hpas, err := p.Kube.AutoscalingV2().HorizontalPodAutoscalers(p.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		p.add("autoscaler", record.Fault, fmt.Sprintf("listing the HPAs of namespace %s: %v", p.namespace, err), "")
		return false
	}
	var names []string
	for _, h := range hpas.Items {
		ref := h.Spec.ScaleTargetRef
		if ref.Kind == p.gvk.Kind && ref.Name == p.name && (e.Autoscaler == "" || e.Autoscaler == h.Name) {
			names, p.autoscaler, p.spec = append(names, h.Name), h.Name, &h.Spec
		}
	}
	switch {
	case len(names) == 0 && e.Autoscaler != "":
		return missing(fmt.Sprintf("no HPA %s in namespace %s scales %s %s", e.Autoscaler, p.namespace, p.gvk.Kind, p.name),
			fmt.Sprintf("kubectl get hpa -n %s lists those that there are", p.namespace))
	case len(names) == 0:
		return missing(fmt.Sprintf("no HPA in namespace %s scales %s %s", p.namespace, p.gvk.Kind, p.name), "make one: kubectl autoscale")
	case len(names) > 1:
		return missing(fmt.Sprintf("%d HPAs scale %s %s: %s", len(names), p.gvk.Kind, p.name, strings.Join(names, ", ")),
			"name one in workload.existing.autoscaler; two HPAs on one object work against each other")
	}
	// The pods themselves say what is requested in the end: a LimitRange can have
	// added to the template.
	pods, err := p.Kube.CoreV1().Pods(p.namespace).List(ctx, metav1.ListOptions{LabelSelector: scale.Status.Selector, Limit: 1})
	if err == nil && len(pods.Items) > 0 {
		for _, m := range p.spec.Metrics {
			if name, lacking := scenarios.WithoutRequest(m, pods.Items[0].Spec); len(lacking) > 0 {
				missing(fmt.Sprintf("the autoscaler's target is a share of the %s request, and containers of %s %s have none: %s", name, p.gvk.Kind, p.name, strings.Join(lacking, ", ")),
					"kubectl set resources gives them one")
			}
		}
	}
	if p.badInput {
		return false
	}
	p.ok("target", "%s %s can be scaled; HPA %s does", p.gvk.Kind, p.name, p.autoscaler)
	return true
}

// right is one thing that the run has to be allowed.
type right struct {
	verb, group, resource, subresource string
	clusterWide                        bool
	optional                           string // what is lost without it; empty: the run cannot work
}

// rights lists what this run needs, in the order in which it needs it.
func (p *preflight) rights() []right {
	var rs []right
	if p.own {
		for _, verb := range []string{"create", "get", "delete"} {
			rs = append(rs, right{verb: verb, resource: "namespaces", clusterWide: true})
		}
	}
	if p.creates() {
		for _, verb := range []string{"create", "get", "patch", "delete"} {
			rs = append(rs, right{verb: verb, group: "coordination.k8s.io", resource: "leases"})
		}
		for _, o := range p.file.Objects() {
			_, mapping, err := p.Cluster.resource(o.GroupVersionKind(), p.namespace)
			if err != nil {
				continue
			}
			for _, verb := range []string{"get", "create", "patch", "delete"} {
				rs = append(rs, right{verb: verb, group: mapping.Resource.Group, resource: mapping.Resource.Resource,
					clusterWide: mapping.Scope.Name() == meta.RESTScopeNameRoot})
			}
		}
	}
	defined := !p.gvr.Empty() // and not by the manifests: what is not there yet cannot be asked for
	if defined {
		rs = append(rs, right{verb: "get", group: p.gvr.Group, resource: p.gvr.Resource, subresource: "scale"})
	}
	for _, verb := range []string{"list", "watch"} {
		if defined {
			rs = append(rs, right{verb: verb, group: p.gvr.Group, resource: p.gvr.Resource})
		}
		rs = append(rs, right{verb: verb, group: "autoscaling", resource: "horizontalpodautoscalers"},
			right{verb: verb, resource: "pods"},
			right{verb: verb, group: "apps", resource: "replicasets"},
			right{verb: verb, group: "discovery.k8s.io", resource: "endpointslices"},
			right{verb: verb, resource: "events"})
	}
	rs = append(rs, right{verb: "list", resource: "services"},
		right{verb: "list", group: "metrics.k8s.io", resource: "pods"},
		right{verb: "list", resource: "nodes", clusterWide: true, optional: "neither the nodes nor their room are known"})
	if via := p.file.Spec.Load.ViaOrAuto(); !p.file.HasLoad() {
		// nothing is sent
	} else if via == scenarios.ViaPortForward {
		rs = append(rs, right{verb: "create", resource: "pods", subresource: "portforward"})
	} else if via == scenarios.ViaAuto {
		rs = append(rs, right{verb: "create", resource: "pods", subresource: "portforward", optional: "the load cannot fall back to port-forward"})
	}
	slices.SortStableFunc(rs, func(a, b right) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(rs)
}

func (r right) String() string {
	s := r.resource
	if r.subresource != "" {
		s += "/" + r.subresource
	}
	if r.group != "" {
		s += "." + r.group
	}
	return r.verb + " " + s
}

func (p *preflight) creates() bool { return p.file.Spec.Workload.Existing == nil }

func (p *preflight) checkRights(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 4*requestTimeout)
	defer cancel()
	var missing []string
	rights := p.rights()
	for _, r := range rights {
		attributes := &authorizationv1.ResourceAttributes{Verb: r.verb, Group: r.group, Resource: r.resource, Subresource: r.subresource}
		if !r.clusterWide {
			attributes.Namespace = p.namespace
		}
		review, err := p.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: attributes}}, metav1.CreateOptions{})
		switch {
		case err != nil:
			p.add("rights", record.Fault, fmt.Sprintf("asking for the right to %s: %v", r, err), "")
			return
		case review.Status.Allowed:
		case r.optional != "":
			p.add("rights", record.Warning, fmt.Sprintf("no right to %s", r), "without it "+r.optional)
		default:
			missing = append(missing, r.String())
		}
	}
	if len(missing) > 0 {
		where := "in namespace " + p.namespace
		if p.own {
			where = "in all namespaces: the run makes one of its own; or use -n with a namespace in which you have them"
		}
		p.add("rights", record.Fault, "no right to "+strings.Join(missing, ", "), "these are needed "+where)
		return
	}
	p.ok("rights", "all %d that the run needs", len(rights))
}

// usesResourceMetrics says whether the HPA reads metrics.k8s.io.
func usesResourceMetrics(spec *autoscalingv2.HorizontalPodAutoscalerSpec) bool {
	return spec == nil || len(spec.Metrics) == 0 || slices.ContainsFunc(spec.Metrics, func(m autoscalingv2.MetricSpec) bool {
		return m.Type == autoscalingv2.ResourceMetricSourceType || m.Type == autoscalingv2.ContainerResourceMetricSourceType
	})
}

func (p *preflight) checkMetrics(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	outcome := record.Fault
	if !usesResourceMetrics(p.spec) {
		outcome = record.Warning // the HPA can work without; only our CPU figures are missing then
	}
	const hint = "kubectl top nodes must work: install metrics-server, or look at its logs and at the APIService v1beta1.metrics.k8s.io"
	nodes, err := p.Metrics.MetricsV1beta1().NodeMetricses().List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		p.add("metrics", record.Warning, "no right to list nodes.metrics.k8s.io, so that their age is not known", "the run waits for the HPA's first metric in any case")
		return
	}
	if err != nil {
		p.add("metrics", outcome, fmt.Sprintf("metrics.k8s.io is not served: %v", err), hint)
		return
	}
	if len(nodes.Items) == 0 && p.cluster.Lab != nil {
		p.ok("metrics", "metrics.k8s.io is served; the cluster has just started, and its first sample is still to come")
		return
	}
	if len(nodes.Items) == 0 {
		p.add("metrics", outcome, "metrics.k8s.io is served but has no sample of any node", hint+"; just after its start it needs a minute")
		return
	}
	newest := slices.MaxFunc(nodes.Items, func(a, b metricsv1beta1.NodeMetrics) int { return a.Timestamp.Compare(b.Timestamp.Time) })
	age := time.Since(newest.Timestamp.Time).Round(time.Second)
	if age > staleMetrics {
		p.add("metrics", record.Warning, fmt.Sprintf("the newest sample is %s old", age),
			"metrics-server is behind, or the clocks of this machine and the cluster differ")
		return
	}
	p.ok("metrics", "metrics.k8s.io is served; the newest sample is %s old, over %s", max(age, 0), newest.Window.Duration)
}

// checkRoom counts how many pods of the template the nodes have room for, by
// the requests of what runs there now.
func (p *preflight) checkRoom(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	nodes, err := p.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		if !apierrors.IsForbidden(err) { // that was said with the rights
			p.add("room", record.Warning, fmt.Sprintf("listing the nodes: %v", err), "")
		}
		return
	}
	for _, n := range nodes.Items {
		info := n.Status.NodeInfo
		p.cluster.Nodes = append(p.cluster.Nodes, record.Node{Name: n.Name, CPU: n.Status.Allocatable.Cpu().AsApproximateFloat64(),
			Memory: n.Status.Allocatable.Memory().Value(), OS: info.OperatingSystem + "/" + info.Architecture,
			Kubelet: info.KubeletVersion, Runtime: info.ContainerRuntimeVersion, Schedule: !n.Spec.Unschedulable})
	}
	if p.template == nil || p.spec == nil {
		return
	}
	pods, err := p.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		FieldSelector: fields.ParseSelectorOrDie("status.phase!=Succeeded,status.phase!=Failed").String()})
	if err != nil {
		p.add("room", record.Warning, fmt.Sprintf("listing the pods of all namespaces: %v", err), "without them the room on the nodes is not known")
		return
	}
	wanted := int64(p.spec.MaxReplicas) - int64(p.replicas)
	fit, err := room(nodes.Items, pods.Items, p.template)
	switch {
	case err != nil:
		p.add("room", record.Warning, fmt.Sprintf("reading the pod template: %v", err), "")
	case fit < wanted:
		p.add("room", record.Warning, fmt.Sprintf("the nodes have room for %d more pods, max replicas needs %d", fit, wanted),
			"lower the requests or max, or add nodes: pods beyond that stay Pending unless the cluster adds nodes by itself")
	default:
		p.ok("room", "for max replicas: %d more pods needed, %s fit", wanted, atMost(fit))
	}
}

// roomCap bounds the count of pods that fit where the template requests nothing.
const roomCap = 1000

func atMost(n int64) string {
	if n >= roomCap {
		return fmt.Sprintf("%d or more", roomCap)
	}
	return fmt.Sprint(n)
}

// room returns how many more pods of the template fit on the nodes that would
// take them (not cordoned, taints tolerated, node selector and affinity met).
func room(nodes []corev1.Node, pods []corev1.Pod, template *corev1.PodTemplateSpec) (int64, error) {
	pod := &corev1.Pod{Spec: template.Spec}
	requests := podresources.PodRequests(pod, podresources.PodResourcesOptions{})
	affinity := nodeaffinity.GetRequiredNodeAffinity(pod)
	byNode := map[string][]*corev1.Pod{}
	for i := range pods {
		byNode[pods[i].Spec.NodeName] = append(byNode[pods[i].Spec.NodeName], &pods[i])
	}
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
		free := node.Status.Allocatable.DeepCopy()
		slots := free.Pods().Value() - int64(len(byNode[node.Name]))
		for _, other := range byNode[node.Name] {
			for name, used := range podresources.PodRequests(other, podresources.PodResourcesOptions{}) {
				left := free[name]
				left.Sub(used)
				free[name] = left
			}
		}
		fit := min(max(slots, 0), roomCap)
		for name, request := range requests {
			if left := free[name]; request.Sign() > 0 {
				fit = min(fit, max(int64(left.AsApproximateFloat64()/request.AsApproximateFloat64()), 0))
			}
		}
		total = min(total+fit, roomCap)
	}
	return total, nil
}
