package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// preflight finds out whether a run can work before anything is created.
type preflight struct {
	inspection
	file    *scenarios.File
	options Options
	notes   []string                     // what a reader of the run should know
	before  map[types.UID]bool           // pods in the namespace before the run created its own
	makers  []*unstructured.Unstructured // what makes pods in the namespace, or will, and was there before
	skipped map[schema.GroupKind]bool    // kinds that the cluster does not have, and whose objects are left out
}

// check runs the checks in the order in which one needs another, and returns
// an error when at least one found a fault.
func (p *preflight) check(ctx context.Context) error {
	p.interrupted = func() bool { return ctx.Err() != nil }
	p.notes = append(p.notes, p.file.Notes...)
	if p.checkServer(ctx) && p.checkWorkers() && p.checkKinds() && p.checkVolumes() && (p.checkTarget(ctx) || p.forbidden) {
		p.noteModel()
		if p.checkRights(ctx, p.task()) && !p.forbidden {
			p.checkAdmission(ctx)
		}
		p.checkMetrics(ctx, record.Fault)
		p.checkAdapters(ctx, record.Fault)
		p.checkShown()
		p.checkRoom(p.readNodes(ctx))
	}
	return p.faults(ctx, "nothing was created")
}

// checkWorkers refuses workers where pods are modelled.
func (p *preflight) checkWorkers() bool {
	if !p.viaJob() || p.cluster.Lab == nil {
		return true
	}
	return p.refuse("load", p.file.Fault("spec.load.via", "the pods of the embedded cluster are modelled, and cannot send load", "").Error(),
		"name a cluster with --context or --kubeconfig, or leave via out")
}

// checkShown looks whether anything of the run shows the metrics that the HPA reads from an adapter, where all pods are modelled and
// their namespace is new.
func (p *preflight) checkShown() {
	if p.cluster.Lab == nil || !p.own || p.scaled != "" || p.spec == nil {
		return
	}
	outcome, shown := record.Fault, p.file.Shown()
	if slices.ContainsFunc(p.spec.Metrics, func(m autoscalingv2.MetricSpec) bool {
		name := record.CustomMetric(m)
		return name == "" || slices.Contains(shown, name)
	}) {
		outcome = record.Warning // the HPA can act by that
	}
	for _, m := range p.spec.Metrics {
		if name := record.CustomMetric(m); name != "" && !slices.Contains(shown, name) {
			p.badInput = p.badInput || outcome == record.Fault
			p.add("adapter", outcome, fmt.Sprintf("nothing on the embedded cluster shows metric %s, which the HPA reads", name),
				"say what it tells of a pod (workload.model.metrics."+name+": {of: requests}), or what a source outside the cluster shows (a ConfigMap with the label hpabench.dev/signals)")
		}
	}
}

// noteModel says what becomes of the scenario's model of the workload, and what is
// assumed of it.
func (p *preflight) noteModel() {
	stated, template := p.file.Spec.Workload.Model, p.file.PodTemplate()
	if p.cluster.Lab == nil && stated != nil {
		p.notes = append(p.notes, "workload.model is for the embedded cluster; here the pods are real, and it is ignored.")
	}
	if p.cluster.Lab != nil && p.file.HasScaledObjects() {
		p.notes = append(p.notes, "KEDA on the embedded cluster is hpabench's own, written from the behaviour of KEDA 2.21; its Prometheus scrapes the modelled pods, whatever serverAddress is.")
	}
	if p.cluster.Lab == nil || template == nil || len(template.Spec.Containers) == 0 {
		return
	}
	if stated == nil {
		annotated, _ := model.Parse(template.Annotations[model.Annotation])
		stated = &annotated
	}
	for _, text := range []string{model.Assumed(&template.Spec.Containers[0], *stated), model.AssumedOthers(&template.Spec, false)} {
		if text != "" {
			p.cluster.Assumed = append(p.cluster.Assumed, text)
		}
	}
}

// objects are what the run creates. Their selectors select no pods of others.
func (p *preflight) objects() []*unstructured.Unstructured {
	objects := p.file.Objects()
	if p.cluster.Lab != nil {
		objects = p.file.ModelledObjects()
	}
	objects = slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool { return p.skipped[o.GroupVersionKind().GroupKind()] })
	for _, o := range objects {
		p.file.Move(o, p.namespace)
	}
	scenarios.Confine(objects, RunLabel, p.options.ID)
	p.waitForLoad(objects)
	return objects
}

// checkTarget finds the object that is to be scaled, or makes sure that the
// ones to be created are in nobody's way.
func (p *preflight) checkTarget(ctx context.Context) bool {
	if p.options.Namespace != "" && !p.checkNamespace(ctx, "-n takes one that exists; without -n the run makes one of its own") {
		return false
	}
	ref := p.file.TargetRef()
	p.gvk, p.name = schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind), ref.Name
	if p.file.Spec.Workload.Existing != nil {
		return p.checkExisting(ctx)
	}
	p.autoscaler, p.scaled, p.spec, p.template = p.file.AutoscalerName(), p.file.ScaledObject(), p.file.Autoscaling(), p.file.PodTemplate()
	if p.template != nil {
		p.template.Labels = labels.Merge(p.template.Labels, labels.Set{RunLabel: p.options.ID})
	}
	if !p.checkUnused(ctx) || !p.checkSelectors() || !p.checkNeighbours(ctx) || !p.checkScalable() {
		return false
	}
	p.ok("target", "%s %s can be scaled", p.gvk.Kind, p.name)
	return true
}

func (p *preflight) checkScalable() bool {
	if _, _, err := p.Cluster.resource(p.gvk, p.namespace); meta.IsNoMatchError(err) && p.defines(p.gvk.GroupKind()) {
		if p.cluster.Lab != nil {
			return p.refuse("target", p.file.Fault("spec.workload", fmt.Sprintf("nothing on the embedded cluster makes pods of the kind %s", p.gvk.Kind), "").Error(), noController)
		}
		return true
	}
	return p.inspection.checkScalable()
}

// checkUnused refuses to touch an object that somebody else made.
func (p *preflight) checkUnused(ctx context.Context) bool {
	free := true
	for _, o := range p.file.Objects() {
		client, _, err := p.Cluster.resource(o.GroupVersionKind(), p.namespace)
		if err != nil {
			continue // told when it is created; a CRD of the manifests may define it
		}
		if there, err := timed(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
			return client.Get(ctx, o.GetName(), metav1.GetOptions{})
		}); err == nil {
			message, hint := "hpabench does not change what it did not create", "give the scenario another name, leave out -n, or name the object under workload.existing"
			if run := there.GetLabels()[RunLabel]; run != "" {
				message, hint = "run "+run+" made it", "when that run has ended, remove what it left: hpabench clean -n "+there.GetNamespace()
			}
			free = p.refuse("target", fmt.Sprintf("%s %s exists already: %s", o.GetKind(), o.GetName(), message), hint)
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
	if err := p.readTarget(ctx); apierrors.IsNotFound(err) {
		return missing(p.absent())
	} else if err != nil {
		return p.failed("target", err)
	}
	hpas, err := limited(ctx, p.Kube.AutoscalingV2().HorizontalPodAutoscalers(p.namespace).List)
	if err != nil {
		return p.failed("autoscaler", fmt.Errorf("listing the HPAs of namespace %s: %w", p.namespace, err))
	}
	var names []string
	for _, h := range hpas.Items {
		ref := h.Spec.ScaleTargetRef
		if ref.Kind == p.gvk.Kind && ref.Name == p.name && (e.Autoscaler == "" || e.Autoscaler == h.Name) {
			names, p.autoscaler, p.scaled, p.spec = append(names, h.Name), h.Name, scaledObjectOf(&h), &h.Spec
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
			"name one in workload.existing.autoscaler; the HPA controller switches off all HPAs of one object (AmbiguousSelector): delete the others")
	}
	for _, message := range p.lackingRequests(ctx) {
		missing(message, requestHint)
	}
	if others, err := p.othersPods(ctx); err != nil {
		return p.failed("target", err)
	} else if len(others) > 0 {
		missing(fmt.Sprintf("the selector of %s %s (%s) selects pods of others too: %s", p.gvk.Kind, p.name, p.selector, some(others)), othersHint)
	}
	if p.badInput {
		return false
	}
	p.ok("target", "%s %s can be scaled; HPA %s%s does", p.gvk.Kind, p.name, p.autoscaler, ofScaledObject(p.scaled))
	return true
}

// task is this run, of which the rights are asked for.
func (p *preflight) task() task {
	t := p.inspection.task(TaskRun)
	t.file = p.file
	if resource, _, err := t.resource(p.gvk); err == nil { // which the manifests may define
		t.target = resource.GroupResource()
	}
	return t
}

// viaJob says whether the load is sent from the cluster.
func (p *preflight) viaJob() bool {
	return p.file.HasLoad() && p.file.Spec.Load.ViaOrAuto() == scenarios.ViaJob
}

func (p *preflight) creates() bool { return p.file.Spec.Workload.Existing == nil }
