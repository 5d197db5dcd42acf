package watch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/hpabench/hpabench/record"
)

// mostFields and longestValue bound what a Change says: enough to tell what was done,
// whatever the size of the object.
const (
	mostFields   = 8
	longestValue = 120
)

// changeOf says what c did to an object: its end, or the difference of those of its
// fields that the function returns. It is nil if c did none of that, and for an object
// that is new. Values are shown of the fields that shown takes: others can hold secrets.
func changeOf[T object](kind string, c change[T], fields func(T) map[string]any, shown func(at []string) bool) *record.Change {
	is := &record.Change{Kind: kind, Name: c.now.GetName()}
	switch {
	case c.removed:
		if c.was.GetDeletionTimestamp() != nil {
			return nil // told when the deletion began
		}
		is.What = record.ChangeDeleted
		return is
	case !c.had:
		return nil
	case c.was.GetDeletionTimestamp() == nil && c.now.GetDeletionTimestamp() != nil:
		is.What = record.ChangeDeleted
		return is
	}
	is.What, is.Fields = record.ChangeUpdated, fieldChanges(leaves(fields(c.was), shown), leaves(fields(c.now), shown))
	if is.Fields == nil {
		return nil
	}
	by(is, writer(c.was.GetManagedFields(), c.now.GetManagedFields()))
	return is
}

// by enters who wrote what changed.
func by(c *record.Change, w *metav1.ManagedFieldsEntry) {
	if w != nil {
		c.By, c.Operation, c.Time = w.Manager, string(w.Operation), w.Time
	}
}

// writer is the manager that made the managed fields what they are now: the entry that
// is new, has a later time, or owns a field that it did not own. It is nil if there is
// none: who takes a field away, or writes twice in a second, leaves no trace.
func writer(was, now []metav1.ManagedFieldsEntry) *metav1.ManagedFieldsEntry {
	var found *metav1.ManagedFieldsEntry
	for i := range now {
		e := &now[i]
		if e.Subresource == "status" {
			continue
		}
		before := slices.IndexFunc(was, func(b metav1.ManagedFieldsEntry) bool {
			return b.Manager == e.Manager && b.Operation == e.Operation && b.Subresource == e.Subresource && b.APIVersion == e.APIVersion
		})
		wrote := before < 0 || !e.Time.Equal(was[before].Time) || !owned(*e).Difference(owned(was[before])).Empty()
		if wrote && (found == nil || later(*e, *found)) {
			found = e
		}
	}
	return found
}

// later says whether an entry was written after another one. Without a time it is a write
// through the scale subresource, and the latest.
func later(e, than metav1.ManagedFieldsEntry) bool {
	return e.Time == nil || than.Time != nil && !e.Time.Before(than.Time)
}

// owned are the fields of an entry; none if they cannot be read.
func owned(e metav1.ManagedFieldsEntry) *fieldpath.Set {
	set := &fieldpath.Set{}
	if e.FieldsV1 != nil {
		_ = set.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes()))
	}
	return set
}

// fieldChanges lists the paths whose values differ, the first ones if they are many.
func fieldChanges(was, now map[string]leaf) (all []record.FieldChange) {
	for _, path := range slices.Sorted(maps.Keys(was)) {
		if is, still := now[path]; !still || is.value != was[path].value {
			all = append(all, record.FieldChange{Path: path, Was: was[path].text(), Now: is.text()})
		}
	}
	for path, is := range now {
		if _, there := was[path]; !there {
			all = append(all, record.FieldChange{Path: path, Now: is.text()})
		}
	}
	slices.SortFunc(all, func(a, b record.FieldChange) int { return cmp.Compare(a.Path, b.Path) })
	if more := len(all) - mostFields; more > 0 {
		all = append(all[:mostFields], record.FieldChange{Path: fmt.Sprintf("and %d more fields", more)})
	}
	return all
}

// leaf is a value without fields of its own.
type leaf struct {
	value string
	shown bool
}

func (l leaf) text() string {
	switch {
	case !l.shown:
		return ""
	case len(l.value) > longestValue:
		return strings.ToValidUTF8(l.value[:longestValue], "") + "…"
	}
	return l.value
}

// element is a step of the way to a field that leads into a list, whatever the element's name.
const element = "[]"

// leaves are the values of an object without fields of their own, by their paths. An
// element of a list is called by its name, or else its index. Shown gets the way to each as
// steps: names are free to look like a path.
func leaves(object map[string]any, shown func(at []string) bool) map[string]leaf {
	all := map[string]leaf{}
	var walk func(path string, at []string, v any)
	walk = func(path string, at []string, v any) {
		at = at[:len(at):len(at)]
		switch v := v.(type) {
		case map[string]any:
			for k, of := range v {
				walk(strings.TrimPrefix(path+"."+k, "."), append(at, k), of)
			}
		case []any:
			for i, of := range v {
				name := fmt.Sprint(i)
				if m, ok := of.(map[string]any); ok {
					if s, ok := m["name"].(string); ok {
						name = s
					}
				}
				walk(path+"["+name+"]", append(at, element), of)
			}
		default:
			text, _ := json.Marshal(v)
			all[path] = leaf{strings.Trim(string(text), `"`), shown(at)}
		}
	}
	walk("", nil, object)
	return all
}

// generic is a typed object as JSON has it.
func generic(o any) map[string]any {
	var m map[string]any
	text, err := json.Marshal(o)
	if err != nil || json.Unmarshal(text, &m) != nil {
		return nil
	}
	return m
}

func labelsOf(labels map[string]string) map[string]any {
	m := map[string]any{}
	for k, v := range labels {
		m[k] = v
	}
	return map[string]any{"labels": m}
}

const autoscalerKind = "HorizontalPodAutoscaler"

func anyPath([]string) bool { return true }

// notCertificate leaves out what nobody can read.
func notCertificate(at []string) bool { return !slices.Contains(at, "caBundle") }

func autoscalerFields(o *autoscalingv2.HorizontalPodAutoscaler) map[string]any {
	return map[string]any{"metadata": labelsOf(o.Labels), "spec": generic(o.Spec)}
}

// scaledFields are the spec of a ScaledObject and the annotations by which it is paused.
func scaledFields(o *unstructured.Unstructured) map[string]any {
	spec, _, _ := unstructured.NestedMap(o.Object, "spec") // a copy
	annotations := map[string]any{}
	for k, v := range o.GetAnnotations() {
		if strings.HasPrefix(k, "autoscaling.keda.sh/") {
			annotations[k] = v
		}
	}
	return map[string]any{"metadata": map[string]any{"annotations": annotations}, "spec": spec}
}

// showsScaled takes what can hold no secret, unlike the metadata of triggers.
func showsScaled(at []string) bool { return !slices.Contains(at, "metadata") || at[0] == "metadata" }

func serviceFields(o *corev1.Service) map[string]any {
	return map[string]any{"metadata": labelsOf(o.Labels), "spec": generic(o.Spec)}
}

// targetFields are the spec of the target and its labels, less the replicas, which the
// HPA sets.
func (s Subject) targetFields(o *unstructured.Unstructured) map[string]any {
	spec, _, _ := unstructured.NestedMap(o.Object, "spec") // a copy
	all := map[string]any{"metadata": labelsOf(o.GetLabels()), "spec": spec}
	unstructured.RemoveNestedField(all, fieldsOf(cmp.Or(s.ReplicasPath, ".spec.replicas"))...)
	return all
}

// showsTarget takes what can hold no secret, unlike the environment and the arguments
// of containers.
func showsTarget(at []string) bool {
	for _, way := range [][]string{{"metadata", "labels"}, {"spec", "selector"}, {"spec", "template", "metadata", "labels"}} {
		if len(at) > len(way) && slices.Equal(at[:len(way)], way) {
			return true
		}
	}
	i := slices.Index(at, element)
	if i < 1 || i+1 >= len(at) || at[i-1] != "containers" && at[i-1] != "initContainers" {
		return false
	}
	of := at[i+1:]
	return len(of) == 1 && of[0] == "image" || len(of) > 1 && of[0] == "resources"
}

// selected are the labels of a pod by which the target or a Service selects it.
func (w *Watcher) selected(o *corev1.Pod) map[string]any {
	of := map[string]any{}
	keep := func(key string) {
		if value, has := o.Labels[key]; has {
			of[key] = value
		}
	}
	if selector, err := labels.Parse(w.subject.Selector); err == nil {
		requirements, _ := selector.Requirements()
		for _, r := range requirements {
			keep(r.Key())
		}
	}
	for _, s := range w.services {
		for _, service := range s.list() {
			for key := range service.Spec.Selector {
				keep(key)
			}
		}
	}
	return map[string]any{"metadata": map[string]any{"labels": of}}
}

// rival says that another HPA scales the target, or does no more; nil otherwise.
func rival(c change[*autoscalingv2.HorizontalPodAutoscaler], s Subject) *record.Change {
	scales := func(o *autoscalingv2.HorizontalPodAutoscaler) bool {
		ref := o.Spec.ScaleTargetRef
		return ref.Kind == s.Kind && ref.Name == s.Name && schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind).Group == s.Target.Group
	}
	is := &record.Change{Kind: autoscalerKind, Name: c.now.Name}
	switch was, now := c.had && scales(c.was), !c.removed && scales(c.now); {
	case now && !was:
		is.What = record.ChangeCreated
		if c.had {
			by(is, writer(c.was.ManagedFields, c.now.ManagedFields))
		} else {
			by(is, writer(nil, c.now.ManagedFields))
		}
	case was && !now:
		is.What = record.ChangeDeleted
	default:
		return nil
	}
	return is
}

// boundOf says what c did to an object that bounds the pods of the namespace: its making
// too, unless it was there when observing began.
func boundOf[T object](kind string, c change[T], fields func(T) map[string]any) *record.Change {
	if c.had || c.removed || c.listed {
		return changeOf(kind, c, fields, notCertificate)
	}
	is := &record.Change{Kind: kind, Name: c.now.GetName(), What: record.ChangeCreated, Fields: fieldChanges(nil, leaves(fields(c.now), notCertificate))}
	by(is, writer(nil, c.now.GetManagedFields()))
	return is
}

// admissionChanges says what c did to one of record.AdmissionKinds: of a configuration for each
// of its webhooks, as the API server names the webhook in a refusal and not the configuration.
// What is new or gone has the names of its webhooks alone.
func admissionChanges(kind string, c change[*unstructured.Unstructured]) (all []*record.Change) {
	parts := func(o *unstructured.Unstructured) map[string]any {
		if o == nil {
			return nil
		}
		webhooks, is, _ := unstructured.NestedSlice(o.Object, "webhooks")
		if !is {
			return map[string]any{"spec": o.Object["spec"]}
		}
		of := map[string]any{}
		for _, w := range webhooks {
			if w, ok := w.(map[string]any); ok {
				of[fmt.Sprintf("webhooks[%v]", w["name"])] = w
			}
		}
		return of
	}
	was, now := parts(c.was), parts(c.now)
	names := slices.AppendSeq(slices.Collect(maps.Keys(was)), maps.Keys(now))
	slices.Sort(names)
	for _, part := range slices.Compact(names) {
		is := boundOf(kind, c, func(o *unstructured.Unstructured) map[string]any {
			if p, has := parts(o)[part]; has {
				return map[string]any{part: p}
			}
			return nil
		})
		if is == nil {
			continue
		}
		if _, before := was[part]; !before || now[part] == nil || is.What == record.ChangeDeleted {
			is.Fields = nil
			if part != "spec" {
				is.Fields = []record.FieldChange{{Path: part}}
			}
		}
		all = append(all, is)
	}
	return all
}

// lookAtNamespace records a change of the levels of pod security that the namespace's labels
// set, since the last look: to watch a namespace takes a right in all.
func (w *Watcher) lookAtNamespace(ctx context.Context, at record.Instant) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	now, err := w.namespaces.Get(ctx, w.subject.Namespace, metav1.GetOptions{})
	if err != nil {
		return
	}
	w.mu.Lock()
	was := w.mu.namespace
	w.mu.namespace = now
	w.mu.Unlock()
	if was != nil && now.DeletionTimestamp == nil {
		w.changed(at, changeOf("Namespace", change[*corev1.Namespace]{was: was, had: true, now: now}, podSecurity, anyPath), false)
	}
}

// podSecurity are the labels by which a namespace refuses pods:
// https://kubernetes.io/docs/concepts/security/pod-security-admission/
func podSecurity(o *corev1.Namespace) map[string]any {
	levels := map[string]string{}
	for key, value := range o.Labels {
		if strings.HasPrefix(key, "pod-security.kubernetes.io/enforce") {
			levels[key] = value
		}
	}
	return map[string]any{"metadata": labelsOf(levels)}
}

// lookForPod finds out whether a pod that is not selected any more is there still: the
// watch does not tell the end of a pod from that of its label.
func (w *Watcher) lookForPod(ctx context.Context, c change[*corev1.Pod], pods *cache.ListWatch) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := pods.ListWithContext(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, p := range list.(*corev1.PodList).Items {
		if p.UID == c.was.UID && p.DeletionTimestamp == nil {
			c.now, c.had, c.removed = &p, true, false
			w.changed(c.at, changeOf("Pod", c, w.selected, anyPath), false)
		}
	}
}

// changed records a change, if it is one; needed says that nothing can be measured
// without the object.
func (w *Watcher) changed(at record.Instant, c *record.Change, needed bool) {
	if c == nil {
		return
	}
	w.rec.AddAt(at, record.Entry{Change: c})
	if needed && c.What == record.ChangeDeleted {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.mu.lost = append(w.mu.lost, *c)
	}
}
