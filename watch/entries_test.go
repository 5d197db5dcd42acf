package watch

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hpabench/hpabench/record"
)

func pod(name, uid, version string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid), ResourceVersion: version}}
}

func TestDiff(t *testing.T) {
	before := []*corev1.Pod{pod("same", "1", "10"), pod("changed", "2", "10"), pod("removed", "3", "10"), pod("web-0", "4", "10")}
	after := []*corev1.Pod{pod("same", "1", "10"), pod("changed", "2", "11"), pod("web-0", "5", "12"), pod("new", "6", "13")}
	var got []string
	for _, c := range diff(before, after) {
		switch {
		case c.removed:
			got = append(got, "- "+string(c.now.UID))
		case c.was == nil:
			got = append(got, "+ "+string(c.now.UID))
		default:
			got = append(got, c.was.ResourceVersion+" to "+c.now.ResourceVersion)
		}
	}
	// web-0 was made anew: its removal comes before its return.
	if d := cmp.Diff([]string{"- 3", "- 4", "10 to 11", "+ 5", "+ 6"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestTargetEntry(t *testing.T) {
	object := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"generation": int64(7)},
		"spec":     map[string]any{"replicas": int64(3), "minReadySeconds": int64(5), "ordinals": map[string]any{"start": int64(2)}, "size": map[string]any{"want": int64(5)}},
		"status":   map[string]any{"replicas": int64(2), "have": int64(4)},
	}}
	zero := int32(0)
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	sets := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}
	widgets := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
	tests := []struct {
		subject Subject
		want    record.Target
	}{
		{Subject{Target: deployments}, record.Target{Generation: 7, Replicas: 3, Status: 2, Ready: &zero}},
		{Subject{Target: sets}, record.Target{Generation: 7, Replicas: 3, Status: 2, Ready: &zero, StatefulSet: &record.StatefulSet{PodManagementPolicy: "OrderedReady", MinReadySeconds: 5, FirstOrdinal: 2}}},
		{Subject{Target: widgets, ReplicasPath: ".spec.size.want", StatusPath: "status.have"}, record.Target{Generation: 7, Replicas: 5, Status: 4}},
	}
	for _, tt := range tests {
		if d := cmp.Diff(tt.want, targetEntry(object, tt.subject)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.subject.Target.Resource, d)
		}
	}
}

func TestManager(t *testing.T) {
	early, late := metav1.Unix(100, 0), metav1.Unix(200, 0)
	entry := func(name string, at *metav1.Time, fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: name, Time: at, FieldsV1: metav1.NewFieldsV1(fields)}
	}
	const replicas, template = `{"f:spec":{"f:replicas":{}}}`, `{"f:spec":{"f:template":{}}}`
	for _, tt := range []struct {
		name    string
		entries []metav1.ManagedFieldsEntry
		path    string
		want    string
	}{
		{"none", nil, ".spec.replicas", ""},
		{"the only owner, though another wrote later", []metav1.ManagedFieldsEntry{entry("hpa", &early, replicas), entry("kubectl", &late, template)}, ".spec.replicas", "hpa"},
		{"the later of two", []metav1.ManagedFieldsEntry{entry("kubectl", &late, replicas), entry("hpa", &early, replicas)}, ".spec.replicas", "kubectl"},
		{"through the scale", []metav1.ManagedFieldsEntry{entry("kubectl", nil, replicas), entry("create", &late, template)}, ".spec.replicas", "kubectl"},
		{"a custom resource", []metav1.ManagedFieldsEntry{entry("a", &late, replicas), entry("b", &early, `{"f:spec":{"f:size":{"f:want":{}}}}`)}, ".spec.size.want", "b"},
		{"damaged", []metav1.ManagedFieldsEntry{entry("hpa", &early, "{")}, ".spec.replicas", ""},
	} {
		o := &unstructured.Unstructured{Object: map[string]any{}}
		o.SetManagedFields(tt.entries)
		if got := targetEntry(o, Subject{ReplicasPath: tt.path}).Manager; got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestHooks(t *testing.T) {
	got := record.ContainersOf(corev1.PodSpec{Containers: []corev1.Container{
		{Name: "plain"},
		{Name: "hooked", Lifecycle: &corev1.Lifecycle{
			PreStop:   &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 5}},
			PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{}}}},
	}})
	want := []record.ContainerResources{{Name: "plain"}, {Name: "hooked", PreStop: "sleep", PreStopSleep: new(int64(5)), PostStart: "exec"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// A pod's own requests count in place of its containers'.
func TestPodResources(t *testing.T) {
	resources := &corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("200m")}}
	got := podEntry(change[*corev1.Pod]{now: &corev1.Pod{Spec: corev1.PodSpec{Resources: resources}}})
	if d := cmp.Diff(resources, got.Resources); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestEventEntry(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 6e8, time.UTC)
	s := Subject{Kind: "Deployment", Name: "web", Autoscaler: "scaler"}
	about := func(kind, name string, more ...func(*corev1.Event)) *corev1.Event {
		e := &corev1.Event{InvolvedObject: corev1.ObjectReference{Kind: kind, Name: name}, LastTimestamp: metav1.NewTime(start), Count: 1}
		for _, f := range more {
			f(e)
		}
		return e
	}
	old := func(e *corev1.Event) { e.LastTimestamp = metav1.NewTime(start.Add(-time.Second)) }
	sameSecond := func(e *corev1.Event) { e.LastTimestamp = metav1.NewTime(start.Truncate(time.Second)) }
	twice := func(e *corev1.Event) { e.Count = 2 }
	newAPI := func(e *corev1.Event) {
		e.LastTimestamp, e.Count, e.EventTime = metav1.Time{}, 0, metav1.NewMicroTime(start)
	}
	series := func(e *corev1.Event) {
		e.Series = &corev1.EventSeries{Count: 4, LastObservedTime: metav1.NewMicroTime(start.Add(time.Minute))}
	}
	tests := []struct {
		name   string
		change change[*corev1.Event]
		want   *record.Event
	}{
		{"target", change[*corev1.Event]{now: about("Deployment", "web")}, &record.Event{Kind: "Deployment", Name: "web", Count: 1, Time: start}},
		{"autoscaler", change[*corev1.Event]{now: about("HorizontalPodAutoscaler", "scaler")}, &record.Event{Kind: "HorizontalPodAutoscaler", Name: "scaler", Count: 1, Time: start}},
		{"pod", change[*corev1.Event]{now: about("Pod", "web-1-2", newAPI)}, &record.Event{Kind: "Pod", Name: "web-1-2", Count: 1, Time: start}},
		{"series", change[*corev1.Event]{now: about("Pod", "web-1-2", newAPI, series)}, &record.Event{Kind: "Pod", Name: "web-1-2", Count: 4, Time: start.Add(time.Minute)}},
		{"other kind of the same name", change[*corev1.Event]{now: about("Service", "web")}, nil},
		{"other autoscaler", change[*corev1.Event]{now: about("HorizontalPodAutoscaler", "web")}, nil},
		{"other pod", change[*corev1.Event]{now: about("Pod", "webby-1")}, nil},
		{"once more", change[*corev1.Event]{was: about("Pod", "web-1"), now: about("Pod", "web-1", twice)}, &record.Event{Kind: "Pod", Name: "web-1", Count: 2, Time: start}},
		{"same count", change[*corev1.Event]{was: about("Pod", "web-1"), now: about("Pod", "web-1")}, nil},
		{"expired", change[*corev1.Event]{now: about("Pod", "web-1"), removed: true}, nil},
		{"listed, older than the run", change[*corev1.Event]{now: about("Pod", "web-1", old), listed: true}, nil},
		{"listed, in the second of the start", change[*corev1.Event]{now: about("Pod", "web-1", sameSecond), listed: true}, &record.Event{Kind: "Pod", Name: "web-1", Count: 1, Time: start.Truncate(time.Second)}},
		{"watched, with a clock that is behind", change[*corev1.Event]{now: about("Pod", "web-1", old)}, &record.Event{Kind: "Pod", Name: "web-1", Count: 1, Time: start.Add(-time.Second)}},
	}
	for _, tt := range tests {
		if d := cmp.Diff(tt.want, eventEntry(tt.change, s, start)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

func TestReady(t *testing.T) {
	yes, no := true, false
	condition := func(name string, s corev1.ConditionStatus) *corev1.Pod {
		p := pod(name, name, "1")
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: s}}
		return p
	}
	leaving := condition("leaving", corev1.ConditionTrue)
	leaving.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	pods := []*corev1.Pod{condition("z", corev1.ConditionTrue), condition("a", corev1.ConditionTrue), condition("starting", corev1.ConditionFalse), leaving}

	if d := cmp.Diff([]string{"a", "z"}, readyByCondition(pods)); d != "" {
		t.Errorf("by condition (-want +got):\n%s", d)
	}
	at := func(name string, c discoveryv1.EndpointConditions) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: name}, Conditions: c}
	}
	slices := []*discoveryv1.EndpointSlice{
		{Endpoints: []discoveryv1.Endpoint{
			at("z", discoveryv1.EndpointConditions{}), // not set means ready
			at("starting", discoveryv1.EndpointConditions{Ready: &no}),
			at("leaving", discoveryv1.EndpointConditions{Ready: &yes}), // its slice does not know yet
			at("of another target", discoveryv1.EndpointConditions{Ready: &yes}),
			{Conditions: discoveryv1.EndpointConditions{Ready: &yes}}, // no pod
		}},
		{Endpoints: []discoveryv1.Endpoint{ // IPv6
			at("z", discoveryv1.EndpointConditions{Ready: &yes}),
			at("a", discoveryv1.EndpointConditions{Ready: &yes, Terminating: &yes}), // published all the same
		}},
	}
	if d := cmp.Diff([]string{"z"}, readyBySlices(pods, slices)); d != "" {
		t.Errorf("by slices (-want +got):\n%s", d)
	}
}
