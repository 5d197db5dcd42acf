package watch

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

func TestOthers(t *testing.T) {
	meta := func(name, ownerKind, owner string) metav1.ObjectMeta {
		m := metav1.ObjectMeta{Name: name, UID: types.UID(name)}
		if owner != "" {
			m.OwnerReferences = []metav1.OwnerReference{{Kind: ownerKind, Name: owner, UID: types.UID(owner), Controller: new(true)}}
		}
		return m
	}
	var pods []*corev1.Pod
	for _, p := range [][3]string{{"own", "ReplicaSet", "web-1"}, {"new", "ReplicaSet", "web-2"}, {"batch", "ReplicaSet", "batch-1"}, {"job", "Job", "web"},
		{"orphan", "", ""}, {"set", "StatefulSet", "web"}, {"plain", "ReplicaSet", "plain"}, {"old", "ReplicationController", "web"}} {
		pods = append(pods, &corev1.Pod{ObjectMeta: meta(p[0], p[1], p[2])})
	}
	sets := []*appsv1.ReplicaSet{{ObjectMeta: meta("web-1", "Deployment", "web")}, {ObjectMeta: meta("batch-1", "Deployment", "batch")}, {ObjectMeta: meta("plain", "", "")}}
	for target, want := range map[schema.GroupVersionKind]string{
		{Group: "apps", Version: "v1", Kind: "Deployment"}:           "batch job orphan set plain old",
		{Group: "apps", Version: "v1", Kind: "StatefulSet"}:          "own new batch job orphan plain old",
		{Version: "v1", Kind: "ReplicationController"}:               "own new batch job orphan set plain",
		{Group: "argoproj.io", Version: "v1alpha1", Kind: "Rollout"}: "",
	} {
		s := Subject{Target: target.GroupVersion().WithResource("some"), Kind: target.Kind, Name: "web"}
		var got []string
		for _, pod := range Others(s, pods, sets) {
			got = append(got, pod.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", target.Kind, got, want)
		}
	}
	if got := Others(Subject{}, pods, sets); len(got) > 0 {
		t.Errorf("%d pods of others than a target of a kind that is not known", len(got))
	}
}
