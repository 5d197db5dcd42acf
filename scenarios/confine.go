package scenarios

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// Confine labels the pods of the objects with key and value, and adds that label
// to every selector of the objects that selects such pods: of workloads, Services,
// disruption budgets, network policies and custom kinds (of which some select the
// Services of the objects), and of the affinity and the spread of
// pod templates. In a namespace with other pods the objects then select their own
// pods only. A selector that selects none of these pods stays as it is, and so
// does the selector of a PersistentVolumeClaim, which selects volumes.
func Confine(objects []*unstructured.Unstructured, key, value string) {
	pods := podLabels(objects)
	all := pods
	for _, o := range objects {
		if o.GroupVersionKind().GroupKind().String() == "Service" {
			all = append(all[:len(all):len(all)], o.GetLabels())
		}
	}
	for _, o := range objects {
		of := pods
		if IsCustom(o) {
			of = all
		}
		for _, s := range selectorsOf(o) {
			s.confine(of, key, value)
		}
		for _, template := range templatesOf(o) {
			for _, s := range schedulingSelectors(template) {
				s.confine(pods, key, value)
			}
		}
	}
	for _, o := range objects {
		for _, template := range templatesOf(o) {
			mapIn(template, "metadata", "labels")[key] = value
		}
	}
}

// IsConfined says whether an object selects by the label that Confine added, with each of
// its selectors.
func IsConfined(o *unstructured.Unstructured, key, value string) bool {
	selectors := selectorsOf(o)
	for _, s := range selectors {
		fields := s.fields
		if !s.plain {
			fields, _ = s.fields["matchLabels"].(map[string]any)
		}
		if fields[key] != value {
			return false
		}
	}
	return len(selectors) > 0
}

// IsCustom says whether an object is of a kind that Kubernetes itself does not have.
func IsCustom(o *unstructured.Unstructured) bool {
	return !scheme.Scheme.IsGroupRegistered(o.GroupVersionKind().Group)
}

// PodSpecs are the specs of the pods that an object makes, one for each pod template; a
// Pod has its own. What cannot be read is left to the API server.
func PodSpecs(o *unstructured.Unstructured) (specs []corev1.PodSpec) {
	for _, template := range templatesOf(o) {
		var typed corev1.PodTemplateSpec
		if runtime.DefaultUnstructuredConverter.FromUnstructured(map[string]any{"spec": template["spec"]}, &typed) == nil {
			specs = append(specs, typed.Spec)
		}
	}
	return specs
}

// templatesOf are the pod templates of an object; a Pod is its own.
func templatesOf(o *unstructured.Unstructured) []map[string]any {
	if o.GroupVersionKind().GroupKind().String() == "Pod" {
		return []map[string]any{o.Object}
	}
	return podTemplates(o)
}

// PodLabels are the labels of the pods that an object makes, one set for each pod
// template; a Pod has its own. A custom kind without a pod template has none.
func PodLabels(o *unstructured.Unstructured) []labels.Set {
	var sets []labels.Set
	for _, template := range templatesOf(o) {
		set, _, _ := unstructured.NestedStringMap(template, "metadata", "labels")
		sets = append(sets, set)
	}
	return sets
}

// SelectsPods returns what an object selects pods by, or nil: the selector of a
// workload, a Service, a PodDisruptionBudget or a NetworkPolicy.
func SelectsPods(o *unstructured.Unstructured) labels.Selector {
	switch o.GetKind() {
	case "Service", "PodDisruptionBudget", "NetworkPolicy":
	default:
		if len(podTemplates(o)) == 0 {
			return nil
		}
	}
	for _, s := range selectorsOf(o) {
		if parsed := s.parse(); parsed != nil && (!s.plain || !parsed.Empty()) {
			return parsed
		}
	}
	return nil
}

func podLabels(objects []*unstructured.Unstructured) (sets []labels.Set) {
	for _, o := range objects {
		sets = append(sets, PodLabels(o)...)
	}
	return sets
}

// podTemplates returns the pod templates of an object of any kind, found by their
// shape: a list of containers in the template's spec.
func podTemplates(o *unstructured.Unstructured) (found []map[string]any) {
	for _, path := range [][]string{{"spec", "template"}, {"spec", "jobTemplate", "spec", "template"}} {
		template, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
		if template, ok := template.(map[string]any); ok {
			if containers, _, _ := unstructured.NestedFieldNoCopy(template, "spec", "containers"); containers != nil {
				found = append(found, template)
			}
		}
	}
	return found
}

// selector is a label selector inside an object.
type selector struct {
	fields map[string]any
	plain  bool // labels alone, as a Service has it, and no metav1.LabelSelector
}

// selectorsOf returns the selectors of the object itself.
func selectorsOf(o *unstructured.Unstructured) (found []selector) {
	if o.GetKind() == "PersistentVolumeClaim" {
		return nil
	}
	// The last two are those of policies of Cilium and of what configures proxies of Istio:
	// https://docs.cilium.io/en/stable/security/policy/intro/#rule-basics
	// https://istio.io/latest/docs/reference/config/networking/sidecar/#WorkloadSelector
	for _, path := range [][]string{{"selector"}, {"podSelector"}, {"endpointSelector"}, {"workloadSelector", "labels"}} {
		fields, _, _ := unstructured.NestedFieldNoCopy(o.Object, append([]string{"spec"}, path...)...)
		if fields, ok := fields.(map[string]any); ok {
			plain := o.GetKind() == "Service" || len(fields) > 0 && fields["matchLabels"] == nil && fields["matchExpressions"] == nil
			found = append(found, selector{fields, plain})
		}
	}
	return found
}

// schedulingSelectors returns the selectors by which a pod template wants its pods
// near other pods or away from them.
func schedulingSelectors(template map[string]any) (found []selector) {
	list := func(in any, path ...string) []any {
		fields, _ := in.(map[string]any)
		items, _, _ := unstructured.NestedFieldNoCopy(fields, path...)
		all, _ := items.([]any)
		return all
	}
	add := func(term any) {
		fields, _ := term.(map[string]any)
		if s, ok := fields["labelSelector"].(map[string]any); ok {
			found = append(found, selector{fields: s})
		}
	}
	for _, constraint := range list(template, "spec", "topologySpreadConstraints") {
		add(constraint)
	}
	for _, affinity := range []string{"podAffinity", "podAntiAffinity"} {
		for _, term := range list(template, "spec", "affinity", affinity, "requiredDuringSchedulingIgnoredDuringExecution") {
			add(term)
		}
		for _, weighted := range list(template, "spec", "affinity", affinity, "preferredDuringSchedulingIgnoredDuringExecution") {
			fields, _ := weighted.(map[string]any)
			add(fields["podAffinityTerm"])
		}
	}
	return found
}

// parse returns nil for what is no selector.
func (s selector) parse() labels.Selector {
	if s.plain {
		set, ok, _ := unstructured.NestedStringMap(map[string]any{"s": s.fields}, "s")
		if !ok {
			return nil
		}
		return labels.SelectorFromSet(set)
	}
	var typed metav1.LabelSelector
	if runtime.DefaultUnstructuredConverter.FromUnstructured(s.fields, &typed) != nil {
		return nil
	}
	parsed, err := metav1.LabelSelectorAsSelector(&typed)
	if err != nil {
		return nil
	}
	return parsed
}

// confine adds the label to a selector that selects one of the pods.
func (s selector) confine(pods []labels.Set, key, value string) {
	parsed := s.parse()
	if parsed == nil || s.plain && parsed.Empty() { // a Service's that is empty selects nothing
		return
	}
	for _, set := range pods {
		if !parsed.Matches(set) {
			continue
		}
		if s.plain {
			s.fields[key] = value
		} else {
			mapIn(s.fields, "matchLabels")[key] = value
		}
		return
	}
}

// mapIn returns the map at a path, and makes it where there is none: YAML writes
// an empty mapping as null.
func mapIn(object map[string]any, path ...string) map[string]any {
	for _, field := range path {
		inner, ok := object[field].(map[string]any)
		if !ok {
			inner = map[string]any{}
			object[field] = inner
		}
		object = inner
	}
	return object
}
