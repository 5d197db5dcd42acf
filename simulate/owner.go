package simulate

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"
	"k8s.io/kubernetes/pkg/controller"
)

// The owner of the pods is the target itself, where that is a StatefulSet, a ReplicaSet or
// a ReplicationController, else a ReplicaSet of it. In which order it creates and deletes
// pods is that of Kubernetes: of a ReplicaSet by controller.ActivePodsWithRanks, of a
// StatefulSet as updateStatefulSet has it (pkg/controller/statefulset/stateful_set_control.go).

const statefulSet = "StatefulSet"

func (w *world) owner() (kind, name string) {
	switch target := w.HPA.ScaleTargetRef; target.Kind {
	case statefulSet, "ReplicaSet", "ReplicationController":
		return target.Kind, target.Name
	default:
		return "ReplicaSet", target.Name + "-" + letters(stream(w.Seed, -2), 10)
	}
}

// message is that of the owner's event when it creates or deletes a pod.
func (w *world) message(verb, done string, p *pod) string {
	if w.StatefulSet != nil {
		return fmt.Sprintf("%s Pod %s in StatefulSet %s successful", verb, p.name, w.set)
	}
	return done + " pod: " + p.name
}

// reconcile is the owner's part: as many pods as the scale says.
func (w *world) reconcile() {
	if w.StatefulSet != nil {
		w.reconcileStatefulSet()
	} else {
		w.reconcileReplicaSet()
	}
	w.tellSet()
	w.tellTarget()
}

// reconcileSoon lets a StatefulSet go on after a change of a pod. A ReplicaSet waits for none.
func (w *world) reconcileSoon() {
	if w.StatefulSet != nil {
		w.after(w.Plant.Pods.Create.draw(w.random), w.reconcile)
	}
}

func (w *world) reconcileReplicaSet() {
	var active []*pod
	for _, p := range w.pods {
		if !p.deleted {
			active = append(active, p)
		}
	}
	for i := len(active); i < int(w.spec); i++ {
		w.create(0)
	}
	if n := len(active) - int(w.spec); n > 0 {
		for _, p := range w.surplus(active)[:n] {
			w.delete(p)
		}
	}
	w.status = w.spec
}

// surplus puts those of the pods first that a ReplicaSet deletes first.
func (w *world) surplus(active []*pod) []*pod {
	by := controller.ActivePodsWithRanks{Now: metav1.NewTime(w.began.Add(w.now))}
	named, onNode := map[string]*pod{}, map[int]int{}
	for _, p := range active {
		onNode[p.node]++
	}
	for _, p := range active {
		by.Pods, by.Rank = append(by.Pods, p.object), append(by.Rank, onNode[p.node])
		named[p.name] = p
	}
	sort.Sort(by)
	for i, o := range by.Pods {
		active[i] = named[o.Name]
	}
	return active
}

// reconcileStatefulSet takes the next step, or with the policy Parallel all of them. With
// OrderedReady a pod is created when all below it are available. The highest of those too
// many is deleted when none is terminating and all others are available, but for the lowest
// that is not.
func (w *world) reconcileStatefulSet() {
	defer func() { w.status = int32(len(w.pods)) }()
	parallel := w.StatefulSet.PodManagementPolicy == string(appsv1.ParallelPodManagement)
	pods := map[int32]*pod{}
	var surplus []*pod
	first := w.StatefulSet.FirstOrdinal
	end := first + w.spec
	for _, p := range w.pods {
		if pods[p.ordinal] = p; p.ordinal >= end {
			surplus = append(surplus, p)
		}
	}
	for i := first; i < end; i++ {
		switch p := pods[i]; {
		case p == nil:
			w.create(i)
			if !parallel {
				return
			}
		case !parallel && !w.available(p):
			return
		}
	}
	slices.SortFunc(surplus, func(a, b *pod) int { return cmp.Compare(b.ordinal, a.ordinal) })
	for i, p := range surplus {
		switch {
		case parallel && !p.deleted:
			w.delete(p)
		case parallel:
		case p.deleted || !w.available(p) && slices.ContainsFunc(surplus[i+1:], func(below *pod) bool { return !w.available(below) }):
			return
		default:
			w.delete(p)
			return
		}
	}
}

// available says whether a pod has been ready for long enough that the next may come.
func (w *world) available(p *pod) bool {
	return !p.deleted && podutil.IsPodAvailable(p.object, w.StatefulSet.MinReadySeconds, metav1.NewTime(w.began.Add(w.now)))
}
