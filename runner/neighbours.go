package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/watch"
)

const (
	neighboursHint = "leave out -n, or give the scenario's pods labels of their own"
	ownHint        = "leave out -n: the run then has a namespace of its own"
	othersHint     = "the HPA counts these pods as the target's own: give each workload labels of its own in its selector"
)

// checkSelectors refuses manifests in which the target's selector selects the pods
// of another workload for good: neither the HPA nor a report could tell them apart.
// Those of Jobs end, and are worth a warning.
func (p *preflight) checkSelectors() bool {
	objects := p.objects()
	target := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == p.gvk.Kind && o.GetName() == p.name })
	if target < 0 {
		return true
	}
	selector := scenarios.SelectsPods(objects[target])
	if selector == nil {
		return true
	}
	single := true
	for i, o := range objects {
		if i == target || !matchesAny(selector, scenarios.PodLabels(o)) {
			continue
		}
		message := fmt.Sprintf("%sthe selector of %s %s selects the pods of %s %s too", p.where(o), p.gvk.Kind, p.name, o.GetKind(), o.GetName())
		if kind := o.GetKind(); kind == "Job" || kind == "CronJob" {
			p.add("target", record.Warning, message, othersHint)
			continue
		}
		single = p.refuse("target", message, othersHint)
	}
	return single
}

// where is the place of an object in the manifests, with a colon; empty for one of
// the short form.
func (p *preflight) where(o *unstructured.Unstructured) string {
	for _, m := range p.file.Manifests {
		if m.Object.GetKind() == o.GetKind() && m.Object.GetName() == o.GetName() {
			return fmt.Sprintf("%s:%d: ", m.File, m.Line)
		}
	}
	return ""
}

func matchesAny(selector labels.Selector, sets []labels.Set) bool {
	return slices.ContainsFunc(sets, func(set labels.Set) bool { return selector.Matches(set) })
}

// conflict is what the run would do to others, and how to avoid it.
type conflict struct{ message, hint string }

// checkNeighbours refuses a run that would act on others' objects.
func (p *preflight) checkNeighbours(ctx context.Context) bool {
	conflicts, err := p.neighbours(ctx)
	for _, c := range conflicts {
		p.refuse("namespace", c.message, c.hint)
	}
	if apierrors.IsForbidden(err) {
		err = nil // a missing right is told with the rights
	}
	if err != nil {
		p.add("namespace", record.Fault, err.Error(), "")
	}
	return len(conflicts) == 0 && err == nil
}

// alone is checkNeighbours once more, just before the objects are created.
func (p *preflight) alone(ctx context.Context) error {
	conflicts, err := p.neighbours(ctx)
	for _, c := range conflicts {
		err = errors.Join(err, BadInput{fmt.Errorf("%s: %s", c.message, c.hint)})
	}
	return err
}

// makers are the kinds whose pods the selectors of the run must not select, also while
// they have none.
var makers = []schema.GroupVersionKind{
	appsv1.SchemeGroupVersion.WithKind("Deployment"), appsv1.SchemeGroupVersion.WithKind("StatefulSet"),
	appsv1.SchemeGroupVersion.WithKind("DaemonSet"), appsv1.SchemeGroupVersion.WithKind("ReplicaSet"),
	batchv1.SchemeGroupVersion.WithKind("Job"), batchv1.SchemeGroupVersion.WithKind("CronJob"),
	corev1.SchemeGroupVersion.WithKind("ReplicationController"),
}

// readMakers lists what makes pods in the namespace, or will. Kinds that may not be
// listed are left out: the rights tell of them.
func (p *preflight) readMakers(ctx context.Context) (found []*unstructured.Unstructured, err error) {
	for _, gvk := range makers {
		client, _, err := p.Cluster.resource(gvk, p.namespace)
		if err != nil {
			return nil, err
		}
		list, err := limited(ctx, client.List)
		if apierrors.IsForbidden(err) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("listing the %ss of namespace %s: %w", gvk.Kind, p.namespace, err)
		}
		for _, o := range list.Items {
			owner := metav1.GetControllerOf(&o)
			listed := owner != nil && (owner.Kind == "Deployment" || owner.Kind == "CronJob")
			if !listed && !jobEnded(o.Object) {
				found = append(found, &o)
			}
		}
	}
	return found, nil
}

// jobEnded says whether an object is a Job that makes no more pods.
func jobEnded(object map[string]any) bool {
	conditions, _, _ := unstructured.NestedSlice(object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(c any) bool {
		condition, _ := c.(map[string]any)
		return (condition["type"] == string(batchv1.JobComplete) || condition["type"] == string(batchv1.JobFailed)) && condition["status"] == string(corev1.ConditionTrue)
	})
}

// makersSelected names those whose pods the selector selects.
func makersSelected(makers []*unstructured.Unstructured, selector labels.Selector) (names []string) {
	for _, o := range makers {
		if matchesAny(selector, scenarios.PodLabels(o)) {
			names = append(names, o.GetKind()+" "+o.GetName())
		}
	}
	return names
}

// neighbours names the objects of the run that act on others, what is in the namespace of -n
// already and would select the pods of the run, and the pods there that the run's objects
// would select. A Service sends its users to such pods, and a disruption budget counts them.
func (p *preflight) neighbours(ctx context.Context) (conflicts []conflict, err error) {
	if !p.creates() {
		return nil, nil
	}
	objects := p.objects()
	conflicts = p.trespasses(objects)
	taken, err := p.takenHosts(ctx, objects)
	conflicts = append(conflicts, taken...)
	if p.own || err != nil {
		return conflicts, err
	}
	var ours []labels.Set
	for _, o := range objects {
		ours = append(ours, scenarios.PodLabels(o)...)
	}
	hint := neighboursHint
	if slices.ContainsFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == "StatefulSet" }) {
		hint += " (its StatefulSet another name)"
	}
	add := func(format string, args ...any) {
		conflicts = append(conflicts, conflict{fmt.Sprintf(format, args...), hint})
	}

	pods, err := limited(ctx, p.Kube.CoreV1().Pods(p.namespace).List)
	if err != nil {
		return conflicts, fmt.Errorf("listing the pods of namespace %s: %w", p.namespace, err)
	}
	p.before = map[types.UID]bool{}
	for _, pod := range pods.Items {
		p.before[pod.UID] = true
	}
	if p.makers, err = p.readMakers(ctx); err != nil {
		return conflicts, err
	}
	for _, o := range objects {
		if selector := scenarios.SelectsPods(o); selector != nil {
			if names := selected(pods.Items, selector); len(names) > 0 {
				add("%s%s %s would select pods of namespace %s that the run did not make: %s", p.where(o), o.GetKind(), o.GetName(), p.namespace, some(names))
			} else if names = makersSelected(p.makers, selector); len(names) > 0 {
				add("%s%s %s would select the pods of what is in namespace %s already: %s", p.where(o), o.GetKind(), o.GetName(), p.namespace, some(names))
			}
		}
		for _, term := range antiAffinity(o) {
			selector, err := metav1.LabelSelectorAsSelector(term.LabelSelector)
			if err != nil {
				continue // the API server says why
			}
			if names := append(selected(pods.Items, selector), makersSelected(p.makers, selector)...); len(names) > 0 {
				conflicts = append(conflicts, conflict{fmt.Sprintf("%s%s %s would keep others of namespace %s off the nodes of its pods, by its podAntiAffinity: %s", p.where(o), o.GetKind(), o.GetName(), p.namespace, some(names)),
					"leave out -n, or let the term select the run's pods alone"})
			}
		}
	}

	services, err := limited(ctx, p.Kube.CoreV1().Services(p.namespace).List)
	if err != nil {
		return conflicts, fmt.Errorf("listing the Services of namespace %s: %w", p.namespace, err)
	}
	for _, s := range services.Items {
		if selector := labels.SelectorFromSet(s.Spec.Selector); !selector.Empty() && matchesAny(selector, ours) {
			add("Service %s in namespace %s selects %s, which are labels of the run's pods: it would send its users to them", s.Name, p.namespace, selector)
		}
	}

	budgets, err := limited(ctx, p.Kube.PolicyV1().PodDisruptionBudgets(p.namespace).List)
	if err != nil {
		return conflicts, fmt.Errorf("listing the PodDisruptionBudgets of namespace %s: %w", p.namespace, err)
	}
	for _, b := range budgets.Items {
		if selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector); err == nil && matchesAny(selector, ours) {
			what := selector.String() + ", which are labels of the run's pods"
			if selector.Empty() {
				what = "all pods"
			}
			add("PodDisruptionBudget %s in namespace %s selects %s: it would count the run's pods as its own", b.Name, p.namespace, what)
		}
	}

	if err := p.takenClaims(ctx, objects, add); err != nil {
		return conflicts, err
	}
	err = p.otherAutoscalers(ctx, ours, add)
	return conflicts, err
}

// otherAutoscalers adds the HPAs of the namespace that would scale the target or count its
// pods: one with pods of another in its selector does nothing (AmbiguousSelector).
func (p *preflight) otherAutoscalers(ctx context.Context, ours []labels.Set, add func(format string, args ...any)) error {
	hpas, err := limited(ctx, p.Kube.AutoscalingV2().HorizontalPodAutoscalers(p.namespace).List)
	if err != nil {
		return fmt.Errorf("listing the HPAs of namespace %s: %w", p.namespace, err)
	}
	selectors, failures := make([]labels.Selector, len(hpas.Items)), make([]error, len(hpas.Items))
	var reads errgroup.Group
	reads.SetLimit(parallelReads)
	for i, h := range hpas.Items {
		reads.Go(func() error {
			selectors[i], failures[i] = timed(ctx, func(ctx context.Context) (labels.Selector, error) {
				return p.selectorOf(ctx, h.Spec.ScaleTargetRef)
			})
			return nil
		})
	}
	var unknown error
	_ = reads.Wait() // the failures are told one by one
	for i, h := range hpas.Items {
		target := h.Spec.ScaleTargetRef
		if target.Kind == p.gvk.Kind && target.Name == p.name {
			add("HPA %s in namespace %s scales %s %s already", h.Name, p.namespace, p.gvk.Kind, p.name)
			continue
		}
		selector, err := selectors[i], failures[i]
		if err != nil {
			// Also a missing right, which depends on what is scaled.
			p.forbidden = p.forbidden || apierrors.IsForbidden(err)
			unknown = errors.Join(unknown, fmt.Errorf("finding out which pods HPA %s in namespace %s counts: %w", h.Name, p.namespace, err))
			continue
		}
		if matchesAny(selector, ours) {
			add("HPA %s in namespace %s selects %s by %s %s, which are labels of the run's pods: it would be switched off (AmbiguousSelector)",
				h.Name, p.namespace, selector, target.Kind, target.Name)
		}
	}
	return unknown
}

// takenClaims adds the claims of others that a StatefulSet among the objects would
// take for its own, as it goes by their names: its pods would write into them, and
// they would be deleted with it.
func (p *preflight) takenClaims(ctx context.Context, objects []*unstructured.Unstructured, add func(format string, args ...any)) (err error) {
	var claims *corev1.PersistentVolumeClaimList
	for _, o := range objects {
		templates, _, _ := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
		if o.GetKind() != "StatefulSet" || len(templates) == 0 {
			continue
		}
		if claims == nil {
			if claims, err = limited(ctx, p.Kube.CoreV1().PersistentVolumeClaims(p.namespace).List); err != nil {
				return fmt.Errorf("listing the PersistentVolumeClaims of namespace %s: %w", p.namespace, err)
			}
		}
		for _, t := range templates {
			template, _ := t.(map[string]any)
			name, _, _ := unstructured.NestedString(template, "metadata", "name")
			for _, claim := range claims.Items {
				ordinal, is := strings.CutPrefix(claim.Name, name+"-"+o.GetName()+"-")
				if _, err := strconv.ParseUint(ordinal, 10, 31); is && err == nil {
					add("%sStatefulSet %s would take PersistentVolumeClaim %s in namespace %s, which is there already, for its own", p.where(o), o.GetName(), claim.Name, p.namespace)
				}
			}
		}
	}
	return nil
}

// parallelReads bounds the requests for the scales of HPAs' targets at once.
const parallelReads = 8

// noScale is what the client of scales says of a kind that has none, for which it
// has no error of its own (k8s.io/client-go/scale, NewDiscoveryScaleKindResolver).
const noScale = "could not find scale subresource"

// timed makes one request, in the time that one may take: what needs several has that time
// for each.
func timed[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return ask(ctx)
}

// limited lists what the selectors select, in the time that one request may take.
func limited[T any](ctx context.Context, list func(context.Context, metav1.ListOptions) (T, error), selectors ...string) (T, error) {
	return timed(ctx, func(ctx context.Context) (T, error) {
		return list(ctx, metav1.ListOptions{LabelSelector: strings.Join(selectors, ",")})
	})
}

// selectorOf returns the selector of an HPA's target: one that selects nothing
// when there is no such target, or when the HPA cannot scale it.
func (p *preflight) selectorOf(ctx context.Context, target autoscalingv2.CrossVersionObjectReference) (labels.Selector, error) {
	group, err := schema.ParseGroupVersion(target.APIVersion)
	if err != nil {
		return labels.Nothing(), nil // that HPA does nothing
	}
	_, mapping, err := p.Cluster.resource(group.WithKind(target.Kind), p.namespace)
	if meta.IsNoMatchError(err) {
		return labels.Nothing(), nil
	} else if err != nil {
		return nil, err
	}
	scale, err := p.scale(ctx, mapping.Resource, p.namespace, target.Name)
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || err != nil && strings.Contains(err.Error(), noScale) || err == nil && scale.Status.Selector == "" {
		return labels.Nothing(), nil
	} else if err != nil {
		return nil, err
	}
	selector, err := labels.Parse(scale.Status.Selector)
	if err != nil {
		return labels.Nothing(), nil // that HPA does nothing, and says so
	}
	return selector, nil
}

func selected(pods []corev1.Pod, selector labels.Selector) (names []string) {
	for _, pod := range pods {
		if selector.Matches(labels.Set(pod.Labels)) {
			names = append(names, pod.Name)
		}
	}
	return names
}

// alsoSelected refuses the selector of a target whose kind chooses it itself, which
// is known only when the target is there, when it selects pods that were there before.
func (p *preflight) alsoSelected(ctx context.Context, selector string) error {
	if len(p.before) == 0 && len(p.makers) == 0 {
		return nil
	}
	parsed, err := labels.Parse(selector)
	if err != nil {
		return fmt.Errorf("reading the selector of %s %s: %w", p.gvk.Kind, p.name, err)
	}
	pods, err := p.Kube.CoreV1().Pods(p.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return fmt.Errorf("listing the pods of %s %s: %w", p.gvk.Kind, p.name, err)
	}
	names := makersSelected(p.makers, parsed)
	for _, pod := range pods.Items {
		if p.before[pod.UID] {
			names = append(names, pod.Name)
		}
	}
	if len(names) > 0 {
		return BadInput{fmt.Errorf("%s %s selects pods of namespace %s that the run did not make (%s): %s; leave out -n", p.gvk.Kind, p.name, p.namespace, selector, some(names))}
	}
	return nil
}

// othersPods lists the pods that the selector of a target that exists selects and
// that another object made; those of Jobs end, and are left out.
func (i *inspection) othersPods(ctx context.Context) (names []string, err error) {
	if i.selector == "" {
		return nil, nil
	}
	pods, err := limited(ctx, i.Kube.CoreV1().Pods(i.namespace).List, i.selector)
	if err != nil {
		return nil, fmt.Errorf("listing the pods of %s %s: %w", i.gvk.Kind, i.name, err)
	}
	sets, err := limited(ctx, i.Kube.AppsV1().ReplicaSets(i.namespace).List, i.selector)
	if err != nil {
		return nil, fmt.Errorf("listing the ReplicaSets of %s %s: %w", i.gvk.Kind, i.name, err)
	}
	subject := watch.Subject{Target: i.gvr, Kind: i.gvk.Kind, Name: i.name}
	for _, pod := range watch.Others(subject, pointers(pods.Items), pointers(sets.Items)) {
		owner := metav1.GetControllerOf(pod)
		if !podutil.IsPodTerminal(pod) && (owner == nil || owner.Kind != "Job") {
			names = append(names, pod.Name)
		}
	}
	return names, nil
}

func pointers[T any](values []T) []*T {
	all := make([]*T, len(values))
	for i := range values {
		all[i] = &values[i]
	}
	return all
}
