package runner

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/hpabench/hpabench/record"
)

// noController is the hint where the embedded cluster is asked to scale a custom kind.
const noController = "run it on a cluster that has the kind's controller (--context), or by hpabench simulate, which goes by the pod template"

// checkKinds refuses objects of kinds that neither the cluster nor a
// CustomResourceDefinition of the manifests has; on the embedded cluster they can be left out.
func (p *preflight) checkKinds() bool {
	p.skipped = map[schema.GroupKind]bool{}
	var unknown []string
	needed := false // an unknown kind is the target's
	target := p.file.TargetRef()
	for _, o := range p.file.Objects() {
		gvk := o.GroupVersionKind()
		if _, _, err := p.Cluster.resource(gvk, p.namespace); !meta.IsNoMatchError(err) || p.defines(gvk.GroupKind()) {
			continue
		}
		at := p.file.ObjectFault(o, "", "")
		unknown = append(unknown, fmt.Sprintf("%s %s of %s (%s:%d)", o.GetKind(), o.GetName(), gvk.GroupVersion(), at.File, at.Line))
		p.skipped[gvk.GroupKind()] = true
		needed = needed || o.GetKind() == target.Kind && o.GetName() == target.Name || gvk.GroupKind() == scaledKind && o.GetName() == p.file.ScaledObject()
	}
	if len(unknown) == 0 {
		return true
	}
	list := strings.Join(unknown, ", ")
	if p.cluster.Lab != nil && p.options.SkipUnknown && !needed {
		p.notes = append(p.notes, "Left out, since the embedded cluster does not have their kinds: "+list+".")
		return true
	}
	hint := "install their CustomResourceDefinitions, or add these to the manifests"
	switch {
	case p.skipped[scaledKind] && p.cluster.Lab != nil:
		hint = "a ScaledObject is of KEDA, which this embedded cluster was started without: hpabench lab up --lab-flag keda=true starts one with it"
	case p.skipped[scaledKind]:
		hint = "a ScaledObject is of KEDA, which the cluster needs: https://keda.sh/docs/latest/deploy"
	case p.cluster.Lab == nil && p.options.SkipUnknown:
		hint += "; --skip-unknown is for the embedded cluster alone"
	case p.cluster.Lab != nil && needed:
		hint = noController
	case p.cluster.Lab != nil:
		hint = "--skip-unknown leaves them out; or add their CustomResourceDefinitions to the manifests"
	}
	return p.refuse("kinds", fmt.Sprintf("the cluster does not have the kinds of %s: %s", record.Counted(len(unknown), "object"), list), hint)
}

// defines says whether a CustomResourceDefinition of the manifests defines a kind, which is
// then unknown before the run.
func (p *preflight) defines(kind schema.GroupKind) bool {
	return definition(p.file.Objects(), kind) != nil
}

// checkAdmission lets the API server judge, without creating anything, what only it knows: the
// objects of a run in a namespace that is there, and those without a namespace.
func (p *preflight) checkAdmission(ctx context.Context) bool {
	if !p.creates() {
		return true
	}
	accepted := true
	for _, o := range p.objects() {
		client, mapping, err := p.Cluster.resource(o.GroupVersionKind(), p.namespace)
		if err != nil || p.own && mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			continue
		}
		if _, err := timed(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
			return client.Create(ctx, o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
		}); refusal(err) {
			accepted = p.refuse("admission", p.file.ObjectFault(o, err.Error(), "").Error(), "the API server of the cluster refuses it")
		}
	}
	if p.own || p.template == nil {
		return accepted
	}
	admitted, err := p.dryRunPod(ctx)
	if refusal(err) {
		return p.refuse("admission", p.file.Fault("spec.workload", fmt.Sprintf("a pod of %s %s would be refused: %v", p.gvk.Kind, p.name, err), "").Error(), "the API server of the cluster refuses it")
	}
	hint := "namespace " + p.namespace + " does not add one"
	if err != nil {
		hint = fmt.Sprintf("whether namespace %s adds one is not known: %v", p.namespace, err)
		admitted = &corev1.Pod{Spec: p.template.Spec}
	}
	for _, f := range p.file.LackingRequests(admitted.Spec) {
		accepted = p.refuse("requests", f.Error(), hint)
	}
	return accepted
}

// refusal says whether an API server refuses an object for what it is, and not for who asks
// or because it cannot answer without creating it.
func refusal(err error) bool {
	switch {
	case apierrors.IsForbidden(err):
		return !strings.Contains(err.Error(), " cannot create resource ")
	case apierrors.IsBadRequest(err):
		return !strings.Contains(err.Error(), "dry run") // by a webhook with side effects
	}
	return apierrors.IsInvalid(err)
}

// dryRunPod gives a pod of the target as the admission plugins of its namespace leave it.
func (p *preflight) dryRunPod(ctx context.Context) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	template := p.template.DeepCopy()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "hpabench-", Labels: template.Labels, Annotations: template.Annotations}, Spec: template.Spec}
	// What the run itself creates is not there yet.
	for _, o := range p.file.Objects() {
		switch {
		case o.GetKind() == "ServiceAccount" && o.GetName() == pod.Spec.ServiceAccountName:
			pod.Spec.ServiceAccountName, pod.Spec.DeprecatedServiceAccount = "", ""
		case o.GetKind() == "PriorityClass" && o.GetName() == pod.Spec.PriorityClassName:
			pod.Spec.PriorityClassName = ""
		case o.GetKind() == "RuntimeClass" && pod.Spec.RuntimeClassName != nil && o.GetName() == *pod.Spec.RuntimeClassName:
			pod.Spec.RuntimeClassName = nil
		case o.GroupVersionKind() == appsv1.SchemeGroupVersion.WithKind("StatefulSet") && o.GetName() == p.name:
			claims, _, _ := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
			for _, c := range claims {
				claim, _ := c.(map[string]any)
				name, _, _ := unstructured.NestedString(claim, "metadata", "name")
				pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
			}
		}
	}
	return p.Kube.CoreV1().Pods(p.namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}
