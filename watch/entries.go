package watch

import (
	"cmp"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/hpabench/hpabench/record"
)

// targetEntry reads the target, whatever its kind is.
func targetEntry(o *unstructured.Unstructured, s Subject) record.Target {
	number := func(path string) (int32, bool) {
		n, ok, _ := unstructured.NestedInt64(o.Object, fieldsOf(path)...)
		return int32(n), ok
	}
	replicas := cmp.Or(s.ReplicasPath, ".spec.replicas")
	t := record.Target{Generation: o.GetGeneration(), Manager: manager(o, replicas)}
	t.Replicas, _ = number(replicas)
	t.Status, _ = number(cmp.Or(s.StatusPath, ".status.replicas"))
	if s.Target.Group == "apps" && s.Target.Resource == "statefulsets" {
		t.StatefulSet = record.StatefulSetOf(o)
	}
	// The kinds of Kubernetes itself leave a zero out; elsewhere a field that is
	// not there says nothing.
	builtin := s.Target.Group == "apps" || s.Target.Group == ""
	if ready, ok := number(".status.readyReplicas"); ok || builtin {
		t.Ready = &ready
	}
	return t
}

func fieldsOf(path string) []string { return strings.Split(strings.TrimPrefix(path, "."), ".") }

// manager returns who wrote the field at path last, empty if managedFields do not
// tell. Whoever changes a field takes it from its managers before, so that there
// are several only where they applied the same value. A write through the scale
// subresource is told with the object's own path and without a time; it counts as
// the latest.
func manager(o *unstructured.Unstructured, path string) string {
	var field fieldpath.Path
	for _, name := range fieldsOf(path) {
		field = append(field, fieldpath.FieldNameElement(name))
	}
	var last metav1.ManagedFieldsEntry
	for _, m := range o.GetManagedFields() {
		if owned(m).Has(field) && (last.Manager == "" || later(m, last)) {
			last = m
		}
	}
	return last.Manager
}

func podEntry(c change[*corev1.Pod]) *record.Pod {
	o := c.now
	return &record.Pod{
		Name:     o.Name,
		UID:      string(o.UID),
		Gone:     c.removed,
		First:    c.listed,
		Owner:    owner(o),
		Revision: o.Labels[appsv1.ControllerRevisionHashLabelKey],
		Node:     o.Spec.NodeName,
		Created:  o.CreationTimestamp,
		Deleting: o.DeletionTimestamp,
		Grace:    o.DeletionGracePeriodSeconds,
		Status:   o.Status,

		Containers: record.ContainersOf(o.Spec),
		Resources:  o.Spec.Resources,
	}
}

// owner is the controller of an object as Kind/name, empty without one.
func owner(o metav1.Object) string {
	if c := metav1.GetControllerOf(o); c != nil {
		return c.Kind + "/" + c.Name
	}
	return ""
}

// endpoints returns the pods in a slice. What conditions mean that are not set
// is said at discoveryv1.EndpointConditions.
func endpoints(o *discoveryv1.EndpointSlice) []record.Endpoint {
	var all []record.Endpoint
	for _, e := range o.Endpoints {
		if e.TargetRef == nil || e.TargetRef.Kind != "Pod" {
			continue
		}
		ready := ptr.Deref(e.Conditions.Ready, true)
		all = append(all, record.Endpoint{
			Pod:         e.TargetRef.Name,
			Ready:       ready,
			Serving:     ptr.Deref(e.Conditions.Serving, ready),
			Terminating: ptr.Deref(e.Conditions.Terminating, false),
		})
	}
	return all
}

// eventEntry returns nil if the event is not to be recorded: it is about
// something else, it says nothing new, it was removed (events expire), or it
// was there at the start and is from before since.
func eventEntry(c change[*corev1.Event], s Subject, since time.Time) *record.Event {
	if c.removed || !about(c.now.InvolvedObject, s) {
		return nil
	}
	e := event(c.now)
	if c.was != nil && event(c.was).Count == e.Count {
		return nil
	}
	// Events count in whole seconds.
	if c.listed && e.Time.Before(since.Truncate(time.Second)) {
		return nil
	}
	return &e
}

// about goes by name, because an event can be seen before the pod that it is
// about. Pods of another workload whose name begins like the target's and a
// hyphen pass too.
func about(o corev1.ObjectReference, s Subject) bool {
	switch o.Kind {
	case "HorizontalPodAutoscaler":
		return o.Name == s.Autoscaler
	case "ScaledObject":
		return o.Name == s.ScaledObject
	case s.Kind:
		return o.Name == s.Name
	case "ReplicaSet", "Pod":
		return strings.HasPrefix(o.Name, s.Name+"-")
	}
	return false
}

// event reads the count and time of either API for events: the older has
// count and lastTimestamp, the newer eventTime and a series.
func event(o *corev1.Event) record.Event {
	e := record.Event{
		Kind:    o.InvolvedObject.Kind,
		Name:    o.InvolvedObject.Name,
		Type:    o.Type,
		Reason:  o.Reason,
		Message: o.Message,
		Count:   max(o.Count, 1),
		Time:    o.LastTimestamp.Time,
	}
	if e.Time.IsZero() {
		e.Time = o.EventTime.Time
	}
	if o.Series != nil {
		e.Count, e.Time = o.Series.Count, o.Series.LastObservedTime.Time
	}
	return e
}

func readyByCondition(pods []*corev1.Pod) []string {
	var ready []string
	for _, p := range pods {
		if p.DeletionTimestamp == nil && podutil.IsPodReady(p) {
			ready = append(ready, p.Name)
		}
	}
	slices.Sort(ready)
	return ready
}

// readyBySlices leaves out pods that are in a slice but not the target's: the
// service may select others too.
func readyBySlices(pods []*corev1.Pod, all []*discoveryv1.EndpointSlice) []string {
	alive := map[string]bool{}
	for _, p := range pods {
		alive[p.Name] = p.DeletionTimestamp == nil
	}
	var ready []string
	for _, s := range all {
		for _, e := range endpoints(s) {
			if e.Ready && !e.Terminating && alive[e.Pod] {
				ready = append(ready, e.Pod)
			}
		}
	}
	slices.Sort(ready)
	return slices.Compact(ready)
}

// Others returns those of the pods, which the target's selector selects, that
// another object than the target made, by their owner references. Sets are the
// ReplicaSets that the selector selects. Of a custom kind it is not known how it
// makes its pods: none are others'.
func Others(s Subject, pods []*corev1.Pod, sets []*appsv1.ReplicaSet) []*corev1.Pod {
	owners := map[types.UID]*metav1.OwnerReference{}
	for _, set := range sets {
		owners[set.UID] = metav1.GetControllerOf(set)
	}
	var others []*corev1.Pod
	for _, pod := range pods {
		owner := metav1.GetControllerOf(pod)
		switch {
		case s.Target.Empty() || s.Target.Group != "apps" && s.Target.Group != "":
			continue
		case s.Kind == "Deployment" && owner != nil && owner.Kind == "ReplicaSet":
			known := false
			if owner, known = owners[owner.UID]; !known {
				continue // its ReplicaSet is yet to be seen
			}
		}
		if owner == nil || owner.Kind != s.Kind || owner.Name != s.Name {
			others = append(others, pod)
		}
	}
	return others
}

// Others returns the pods that the target's selector selects and that another
// object made.
func (w *Watcher) Others() []*corev1.Pod {
	return Others(w.subject, w.Pods(), w.sets.list())
}
