package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/restmapper"
	"k8s.io/utils/ptr"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/watch"
)

var hpaKind = autoscalingv2.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler").GroupKind()

// scaledKind is that of KEDA, which makes an HPA of each.
var (
	scaledKind     = schema.GroupKind{Group: watch.ScaledObjects.Group, Kind: "ScaledObject"}
	scaledResource = watch.ScaledObjects.GroupResource().String()
)

// scaledObjectOf is the name of the ScaledObject that an HPA was made of; empty without one.
func scaledObjectOf(hpa *autoscalingv2.HorizontalPodAutoscaler) string {
	if owner := metav1.GetControllerOf(hpa); owner != nil && owner.Kind == scaledKind.Kind && strings.HasPrefix(owner.APIVersion, scaledKind.Group+"/") {
		return owner.Name
	}
	return ""
}

func ofScaledObject(name string) string {
	if name == "" {
		return ""
	}
	return ", which KEDA made of ScaledObject " + name + ","
}

// reference is TYPE/NAME as kubectl takes it; without a TYPE it is an HPA.
type reference struct{ kind, name string }

func parseReference(s string) (reference, error) {
	kind, name, typed := strings.Cut(s, "/")
	if !typed {
		kind, name = "hpa", s
	}
	if kind == "" || name == "" || strings.Contains(name, "/") {
		return reference{}, BadInput{fmt.Errorf("%q names no autoscaler: use hpa/NAME, or the object that it scales, such as deployment/NAME", s)}
	}
	return reference{kind, name}, nil
}

// kindOf resolves the kind in a reference, whose name may be a short one, the
// plural, and with a group.
func (c *Cluster) kindOf(kind string) (schema.GroupVersionKind, error) {
	mapper := restmapper.NewShortcutExpander(c.mapper, c.discovery, nil)
	versioned, resource := schema.ParseResourceArg(strings.ToLower(kind))
	if versioned != nil {
		if gvk, err := mapper.KindFor(*versioned); err == nil {
			return gvk, nil
		}
	}
	return mapper.KindFor(resource.WithVersion(""))
}

// findAutoscaler finds the HPA that a reference names: itself, or the one that
// scales the object. It returns nil after a fault.
func (i *inspection) findAutoscaler(ctx context.Context, ref reference) *autoscalingv2.HorizontalPodAutoscaler {
	const name = "autoscaler"
	gvk, err := i.kindOf(ref.kind)
	if err != nil {
		i.refuse(name, fmt.Sprintf("the cluster has no resource %q: %v", ref.kind, err), "kubectl api-resources lists those that there are")
		return nil
	}
	list, err := limited(ctx, i.Kube.AutoscalingV2().HorizontalPodAutoscalers(i.namespace).List)
	if err != nil {
		i.failed(name, fmt.Errorf("listing the HPAs of namespace %s: %w", i.namespace, err))
		return nil
	}
	var found *autoscalingv2.HorizontalPodAutoscaler
	var names []string
	for _, h := range list.Items {
		target := h.Spec.ScaleTargetRef
		if gvk.GroupKind() == hpaKind && h.Name == ref.name || gvk.GroupKind() == scaledKind && scaledObjectOf(&h) == ref.name ||
			target.Kind == gvk.Kind && target.Name == ref.name && schema.FromAPIVersionAndKind(target.APIVersion, target.Kind).Group == gvk.Group {
			found, names = &h, append(names, h.Name)
		}
	}
	switch {
	case len(names) == 1:
		i.warnOfRivals(found, list.Items)
		return found
	case len(names) > 1:
		i.refuse(name, fmt.Sprintf("%d HPAs scale %s %s, and the HPA controller switches all of them off (AmbiguousSelector): %s", len(names), gvk.Kind, ref.name, strings.Join(names, ", ")),
			"name one of them, as hpa/NAME, and delete the others")
	case gvk.GroupKind() == hpaKind:
		i.refuse(name, fmt.Sprintf("there is no HPA %s in namespace %s", ref.name, i.namespace), i.elsewhere(ctx, list.Items))
	case gvk.GroupKind() == scaledKind:
		s := &record.ScaledObject{Name: ref.name}
		found, err := timed(ctx, func(ctx context.Context) (*unstructured.UnstructuredList, error) {
			return i.Dynamic.Resource(watch.ScaledObjects).Namespace(i.namespace).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + ref.name})
		})
		switch {
		case err == nil && len(found.Items) == 0:
			i.refuse(name, fmt.Sprintf("there is no ScaledObject %s in namespace %s", ref.name, i.namespace), fmt.Sprintf("kubectl get scaledobjects -n %s lists those that there are", i.namespace))
			return nil
		case err == nil: // without the right to list it, what KEDA says of it is not known
			s = record.ScaledObjectOf(&found.Items[0])
		}
		message, hint := withoutHPA(s, i.namespace)
		i.refuse(name, message, hint)
	default:
		i.refuse(name, fmt.Sprintf("no HPA in namespace %s scales %s %s", i.namespace, gvk.Kind, ref.name), i.elsewhere(ctx, list.Items))
	}
	return nil
}

// withoutHPA says why KEDA has no HPA for a ScaledObject.
func withoutHPA(s *record.ScaledObject, namespace string) (message, hint string) {
	message, hint = fmt.Sprintf("KEDA has no HPA for ScaledObject %s", s.Name), fmt.Sprintf("kubectl describe scaledobject %s -n %s tells more; does KEDA's operator run?", s.Name, namespace)
	switch ready := s.Condition("Ready"); {
	case s.Paused != "":
		annotation, _, _ := strings.Cut(s.Paused, "=")
		return message + ": it is paused, by its annotation " + s.Paused, fmt.Sprintf("kubectl annotate scaledobject %s -n %s %s- lets it go", s.Name, namespace, annotation)
	case ready != nil && ready.Status == metav1.ConditionFalse:
		message += ": " + ready.Message
	}
	return message, hint
}

// warnOfRivals names other HPAs that scale the same object.
func (i *inspection) warnOfRivals(hpa *autoscalingv2.HorizontalPodAutoscaler, here []autoscalingv2.HorizontalPodAutoscaler) {
	var rivals []string
	for _, h := range here {
		if a, b := h.Spec.ScaleTargetRef, hpa.Spec.ScaleTargetRef; h.Name != hpa.Name && a.Kind == b.Kind && a.Name == b.Name {
			rivals = append(rivals, h.Name)
		}
	}
	if len(rivals) > 0 {
		i.add("autoscaler", record.Warning, fmt.Sprintf("%s %s is scaled by HPA %s too, and the HPA controller switches all of them off (AmbiguousSelector)", hpa.Spec.ScaleTargetRef.Kind, hpa.Spec.ScaleTargetRef.Name, strings.Join(rivals, ", ")),
			"delete all but one")
	}
}

// elsewhere says which HPAs there are in the namespace, or else in which there are.
func (i *inspection) elsewhere(ctx context.Context, here []autoscalingv2.HorizontalPodAutoscaler) string {
	var names []string
	for _, h := range here {
		names = append(names, h.Name)
	}
	if len(names) > 0 {
		return "there are: " + some(names)
	}
	all, err := i.Kube.AutoscalingV2().HorizontalPodAutoscalers("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return "there is no HPA in this namespace: name another with -n"
	}
	if len(all.Items) == 0 {
		return "there is no HPA in any namespace: kubectl autoscale makes one"
	}
	for _, h := range all.Items {
		names = append(names, h.Namespace)
	}
	slices.Sort(names)
	return "there is none in this namespace, but in " + some(slices.Compact(names)) + ": name one with -n"
}

// some lists names, of very many the first.
func some(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// checkNamed reads the HPA and what it scales. Severity is the outcome if the HPA
// cannot do its work, which its conditions tell. It returns false if there is no HPA;
// a target that is missing is a fault.
func (i *inspection) checkNamed(ctx context.Context, ref reference, severity string) bool {
	if !i.checkNamespace(ctx, namespaceHint) {
		return false
	}
	hpa := i.findAutoscaler(ctx, ref)
	if hpa == nil {
		return false
	}
	target := hpa.Spec.ScaleTargetRef
	i.autoscaler, i.scaled, i.spec, i.name = hpa.Name, scaledObjectOf(hpa), &hpa.Spec, target.Name
	i.gvk = schema.FromAPIVersionAndKind(target.APIVersion, target.Kind)
	// The HPA goes by group and kind, whatever the version.
	if _, mapping, err := i.resource(i.gvk.GroupKind().WithVersion(""), i.namespace); err == nil {
		i.gvk = mapping.GroupVersionKind
	}
	c := healthOf(hpa, time.Now())
	if c.Outcome == record.Fault {
		c.Outcome = severity
	}
	i.add("autoscaler", c.Outcome, "HPA "+hpa.Name+ofScaledObject(i.scaled)+" "+c.Message, c.Hint)
	if !i.checkScalable() {
		return true
	}
	switch err := i.readTarget(ctx); {
	case apierrors.IsNotFound(err):
		message, hint := i.absent()
		i.refuse("target", message, hint)
	case err != nil:
		i.failed("target", err)
	case i.selector == "":
		i.add("target", severity, fmt.Sprintf("the scale of %s %s has no selector", i.gvk.Kind, i.name), "without it neither the HPA nor hpabench can find the pods")
	default:
		i.ok("target", "%s %s can be scaled", i.gvk.Kind, i.name)
	}
	return true
}

// healthOf says whether an HPA works, by the conditions of its status.
func healthOf(hpa *autoscalingv2.HorizontalPodAutoscaler, now time.Time) record.Check {
	low := ptr.Deref(hpa.Spec.MinReplicas, 1)
	c := record.Check{Outcome: record.OK, Message: fmt.Sprintf("scales %s %s between %d and %d replicas, now %d, on %s",
		hpa.Spec.ScaleTargetRef.Kind, hpa.Spec.ScaleTargetRef.Name, low, hpa.Spec.MaxReplicas, hpa.Status.CurrentReplicas, metricsLine(hpa))}
	worse := func(outcome, message, hint string) {
		c.Message += "; " + message
		if c.Outcome != record.Fault {
			c.Outcome, c.Hint = outcome, hint
		}
	}
	for _, f := range record.SpecFaults(&hpa.Spec) {
		outcome := record.Warning
		if f.Kind == record.MinIsMax {
			if low == 1 && scaledObjectOf(hpa) != "" {
				continue // of which KEDA may take the last replica
			}
			outcome = record.Fault // as the finding blocks
		}
		worse(outcome, strings.TrimSuffix(strings.ToLower(f.Seen[:1])+f.Seen[1:], "."), f.Advice)
	}
	if len(hpa.Status.Conditions) == 0 {
		if age := now.Sub(hpa.CreationTimestamp.Time).Round(time.Second); age > unseenFor {
			worse(record.Fault, fmt.Sprintf("the HPA controller has not looked at it since it was made, %s ago", age), "does kube-controller-manager run?")
		} else {
			c.Message += "; it is new, and the HPA controller has not looked at it yet"
		}
	}
	for _, is := range hpa.Status.Conditions {
		since := ""
		if !is.LastTransitionTime.IsZero() {
			since = fmt.Sprintf(" since %s", now.Sub(is.LastTransitionTime.Time).Round(time.Second))
		}
		no := is.Status == corev1.ConditionFalse
		switch {
		case is.Reason == "ScalingDisabled" && scaledObjectOf(hpa) != "":
			c.Message += "; its target has 0 replicas, from which KEDA brings it back"
		case is.Reason == "ScalingDisabled":
			outcome := record.Fault
			if low == 0 {
				outcome = record.Warning // something else may bring it back
			}
			worse(outcome, "it is off, as its target has 0 replicas", fmt.Sprintf("kubectl scale %s %s --replicas=%d brings it back", strings.ToLower(hpa.Spec.ScaleTargetRef.Kind), hpa.Spec.ScaleTargetRef.Name, max(low, 1)))
		case no && (is.Type == autoscalingv2.AbleToScale || is.Type == autoscalingv2.ScalingActive):
			outcome := record.Fault
			if strings.HasPrefix(is.Reason, "FailedGet") && slices.ContainsFunc(hpa.Status.CurrentMetrics, func(m autoscalingv2.MetricStatus) bool { return m.Type != "" }) {
				outcome = record.Warning // it adds replicas by the metrics that it has
			}
			worse(outcome, fmt.Sprintf("%s is False%s (%s): %s", is.Type, since, is.Reason, is.Message), conditionHint(is.Reason))
		case is.Type == autoscalingv2.ScalingLimited && !no && is.Reason == "TooManyReplicas" && !slices.ContainsFunc(hpa.Status.Conditions, func(c autoscalingv2.HorizontalPodAutoscalerCondition) bool { return c.Reason == "ScaleDownStabilized" }): // by what it recommended before
			worse(record.Warning, fmt.Sprintf("it wants more than its maximum%s", since), "raise maxReplicas if the load is meant to be served")
		}
	}
	return c
}

// unseenFor is how old an HPA is without a status when its controller does not
// work: it looks at a new one within its period of 15 s.
const unseenFor = time.Minute

func conditionHint(reason string) string {
	switch {
	case reason == "FailedGetScale":
		return "does the target exist, and are its kind and apiVersion in scaleTargetRef right?"
	case slices.Contains([]string{"FailedGetPodsMetric", "FailedGetObjectMetric", "FailedGetExternalMetric"}, reason):
		return "does an adapter (KEDA, prometheus-adapter) serve the metric? kubectl get apiservices lists custom.metrics.k8s.io and external.metrics.k8s.io if one does"
	case reason == "FailedGetContainerResourceMetric":
		return "do the pods have that container, and does it have a request? kubectl top pods --containers must show it"
	case strings.HasPrefix(reason, "FailedGet"):
		return "do all containers have requests, and does kubectl top pods show the pods? Those that just started need a minute"
	}
	return "kubectl describe hpa tells more"
}
