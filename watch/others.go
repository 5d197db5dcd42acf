package watch

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

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
