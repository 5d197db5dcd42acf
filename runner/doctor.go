package runner

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	quota "k8s.io/apiserver/pkg/quota/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	apihelper "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1/helper"
	"k8s.io/utils/ptr"

	"github.com/hpabench/hpabench/record"
)

const (
	// doctorLooks is how long one autoscaler is watched: for its state, and for one
	// reading of its pods' metrics.
	doctorLooks = 3 * time.Second
	// doctorPast is how old events may be that matter still. API servers keep them
	// for an hour by default.
	doctorPast = time.Hour
)

// Doctor finds out whether a cluster can autoscale at all, or one autoscaler. It
// changes nothing and sends no load.
type Doctor struct {
	Observer
	one bool // autoscaler was named
}

// Examination is what a Doctor saw.
type Examination struct {
	Checks  []record.Check
	Cluster *record.Cluster
	// Run is a record of the autoscaler that was named, for package analysis; nil
	// if none was, or if it could not be watched, which a check says.
	Run *record.Run
}

// NewDoctor prepares an examination of the autoscaler that ref names, as for
// NewObserver, or of the cluster if ref is empty: then with the autoscalers of the
// namespace, or of all if that is empty. For does not count.
func NewDoctor(c *Cluster, ref string, o ObserveOptions, progress func(Progress)) (*Doctor, error) {
	everywhere := ref == "" && o.Namespace == ""
	o.For = doctorLooks
	named := ref
	if ref == "" {
		named = "none"
	}
	observer, err := NewObserver(c, named, o, progress)
	if err != nil {
		return nil, err
	}
	if everywhere {
		observer.namespace = metav1.NamespaceAll
	}
	observer.past = doctorPast
	return &Doctor{*observer, ref != ""}, nil
}

// Examine looks. The error is a BadInput when what was named does not exist;
// everything else that is wrong is a check of the result or a finding that
// package analysis has of its Run.
func (d *Doctor) Examine(ctx context.Context) (*Examination, error) {
	d.interrupted = func() bool { return ctx.Err() != nil }
	if !d.checkServer(ctx) || d.one && !d.checkNamed(ctx, d.ref, record.Fault) && !d.forbidden || !d.one && !d.checkNamespace(ctx, namespaceHint) {
		return nil, d.faults(ctx, "there is nothing to examine")
	}
	t := d.task(TaskDoctor)
	t.one = d.one
	d.checkRights(ctx, t)
	d.checkMetricsAPI(ctx)
	d.checkMetrics(ctx, record.Fault)
	missing := record.Fault
	if usesResourceMetrics(d.spec) {
		missing = record.Warning // it still adds replicas
	}
	d.checkAdapters(ctx, missing)
	n := d.readNodes(ctx)
	d.checkNodes(n)
	if d.one {
		d.checkRoom(n)
	} else {
		d.checkAutoscalers(ctx)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if d.one && d.forbidden {
		d.add("watch", record.Warning, "the autoscaler was not watched, as a right is missing: what its pods, their metrics and the events say is not known", "")
	}
	e := &Examination{Checks: d.checks, Cluster: d.cluster}
	if !d.one || d.forbidden {
		return e, nil
	}
	d.progress(Progress{Message: fmt.Sprintf("watching HPA %s for %s", d.autoscaler, doctorLooks)})
	rec := record.NewRecorder(record.StartClock(), nil)
	if err := d.Run(ctx, rec); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	run := rec.Run()
	e.Run = &run
	return e, nil
}

const namespaceHint = "kubectl get namespaces lists those that there are"

// checkNamespace wants a namespace that was named to be there.
func (i *inspection) checkNamespace(ctx context.Context, hint string) bool {
	if i.namespace == metav1.NamespaceAll {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := i.Kube.CoreV1().Namespaces().Get(ctx, i.namespace, metav1.GetOptions{}); apierrors.IsNotFound(err) {
		return i.refuse("namespace", fmt.Sprintf("there is no namespace %q", i.namespace), hint)
	}
	return true
}

var apiServices = apiregistrationv1.SchemeGroupVersion.WithResource("apiservices")

// checkMetricsAPI looks who serves metrics.k8s.io, and whether that works.
func (i *inspection) checkMetricsAPI(ctx context.Context) {
	const name = "metrics API"
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	object, err := i.Dynamic.Resource(apiServices).Get(ctx, "v1beta1.metrics.k8s.io", metav1.GetOptions{})
	var api apiregistrationv1.APIService
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &api)
	}
	switch {
	case apierrors.IsForbidden(err):
		i.add(name, record.Warning, "no right to get apiservices.apiregistration.k8s.io, so that it is not known who serves the metrics", "whether they are there is below")
		return
	case apierrors.IsNotFound(err):
		i.add(name, record.Fault, "there is no APIService v1beta1.metrics.k8s.io", "install metrics-server: without it no HPA can scale on CPU or memory")
		return
	case err != nil:
		i.add(name, record.Fault, fmt.Sprintf("reading APIService v1beta1.metrics.k8s.io: %v", err), "")
		return
	}
	by, service := "the API server itself", api.Spec.Service
	if service != nil {
		by = fmt.Sprintf("Service %s in namespace %s", service.Name, service.Namespace)
	}
	why := "it has no condition Available"
	available := apihelper.GetAPIServiceConditionByType(&api, apiregistrationv1.Available)
	if available != nil {
		why = available.Reason + ": " + available.Message
	}
	if available != nil && available.Status == apiregistrationv1.ConditionTrue {
		i.ok(name, "APIService v1beta1.metrics.k8s.io is available, by %s", by)
	} else {
		i.add(name, record.Fault, fmt.Sprintf("APIService v1beta1.metrics.k8s.io, by %s, is not available: %s", by, why), metricsHint)
	}
	if service != nil {
		i.checkMetricsServer(ctx, service.Namespace, service.Name)
	}
}

// checkMetricsServer looks for the Deployments behind the Service of the metrics
// API. What may not be read is left out: the samples tell whether it works.
func (i *inspection) checkMetricsServer(ctx context.Context, namespace, service string) {
	const name = "metrics-server"
	s, err := i.Kube.CoreV1().Services(namespace).Get(ctx, service, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		i.add(name, record.Fault, fmt.Sprintf("there is no Service %s in namespace %s", service, namespace), "install metrics-server anew")
	}
	if err != nil || len(s.Spec.Selector) == 0 {
		return
	}
	selector := labels.SelectorFromSet(s.Spec.Selector)
	deployments, err := i.Kube.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, d := range deployments.Items {
		if !selector.Matches(labels.Set(d.Spec.Template.Labels)) {
			continue
		}
		said := fmt.Sprintf("Deployment %s in namespace %s: %d of %d pods ready", d.Name, namespace, d.Status.ReadyReplicas, ptr.Deref(d.Spec.Replicas, 1))
		if d.Status.ReadyReplicas > 0 {
			i.ok(name, "%s", said)
			continue
		}
		pods, err := i.Kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
		if err == nil {
			for _, p := range pods.Items {
				if t := podTrouble(&p); t.text != "" {
					said += "; " + t.text
					break
				}
			}
		}
		i.add(name, record.Fault, said, fmt.Sprintf("kubectl logs and kubectl describe deployment %s -n %s tell why", d.Name, namespace))
	}
}

// checkNodes says how many nodes take pods and what is left on them.
func (i *inspection) checkNodes(n nodes) {
	if n.list == nil {
		i.add("nodes", record.Warning, "the nodes are not known", "it takes the right to list the nodes of the cluster")
		return
	}
	var unready, cordoned, pressed []string
	left, all := corev1.ResourceList{}, corev1.ResourceList{}
	take := 0
	for _, node := range n.list {
		ready := false
		for _, c := range node.Status.Conditions {
			switch is := c.Status == corev1.ConditionTrue; {
			case c.Type == corev1.NodeReady:
				ready = is
			case is && strings.HasSuffix(string(c.Type), "Pressure"):
				pressed = append(pressed, fmt.Sprintf("%s (%s)", node.Name, c.Type))
			}
		}
		switch {
		case !ready:
			unready = append(unready, node.Name)
		case node.Spec.Unschedulable:
			cordoned = append(cordoned, node.Name)
		default:
			take++
			all = quota.Add(all, node.Status.Allocatable)
			left = quota.Add(left, free(node, n.pods[node.Name]))
		}
	}
	said := fmt.Sprintf("%d of %d take pods", take, len(n.list))
	if n.known && take > 0 {
		const gib = 1 << 30
		said += fmt.Sprintf(", with %.1f of %.1f cores and %.1f of %.1f GiB of memory not requested", left.Cpu().AsApproximateFloat64(), all.Cpu().AsApproximateFloat64(),
			left.Memory().AsApproximateFloat64()/gib, all.Memory().AsApproximateFloat64()/gib)
	}
	outcome, hint := record.OK, ""
	for _, trouble := range []struct {
		what  string
		names []string
	}{{"not ready", unready}, {"under pressure", pressed}, {"cordoned", cordoned}} {
		if len(trouble.names) > 0 {
			said += fmt.Sprintf("; %s: %s", trouble.what, some(trouble.names))
			outcome, hint = record.Warning, "kubectl describe node tells more"
		}
	}
	if take == 0 {
		outcome = record.Fault
	}
	i.add("nodes", outcome, said, hint)
}

// checkAutoscalers adds a check for each HPA in the namespace, or in all; where
// these may not be listed, in that of the context.
func (i *inspection) checkAutoscalers(ctx context.Context) {
	const name = "autoscalers"
	list, err := limited(ctx, i.Kube.AutoscalingV2().HorizontalPodAutoscalers(i.namespace).List)
	if apierrors.IsForbidden(err) && i.namespace == metav1.NamespaceAll {
		i.namespace = i.Cluster.Namespace
		i.add(name, record.Warning, "no right to list HPAs in all namespaces", "those of namespace "+i.namespace+" follow; -n names another")
		list, err = limited(ctx, i.Kube.AutoscalingV2().HorizontalPodAutoscalers(i.namespace).List)
	}
	switch {
	case apierrors.IsForbidden(err):
		r := right{verb: "list", group: hpaKind.Group, resource: "horizontalpodautoscalers"}
		i.put(record.Check{Name: name, Outcome: record.Fault, Message: "no right to list HPAs in namespace " + i.namespace, Hint: "so it is not known how they are; " + i.canI(r) + " tells whether you have it", Forbidden: true})
	case err != nil:
		i.fault(name, fmt.Sprintf("listing the HPAs: %v", err), "")
	case len(list.Items) == 0:
		i.ok(name, "there is no HPA here")
	default:
		for _, h := range list.Items {
			c := healthOf(&h, time.Now())
			i.add("hpa/"+h.Name+" -n "+h.Namespace, c.Outcome, c.Message, c.Hint)
		}
	}
}
