package watch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/hpabench/hpabench/record"
)

func parsed[T any](t *testing.T, source string) *T {
	t.Helper()
	o := new(T)
	if err := yaml.UnmarshalStrict([]byte(source), o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestChangeOfAutoscaler(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 5, 0, time.UTC))
	const was = `{metadata: {name: web, labels: {a: b}, managedFields: [
		{manager: hpabench-abcde, operation: Apply, time: "2026-03-01T12:00:00Z", fieldsV1: {"f:spec": {"f:maxReplicas": {}}}},
		{manager: kube-controller-manager, operation: Update, subresource: status, time: "2026-03-01T12:00:01Z"}]},
		spec: {maxReplicas: 5, scaleTargetRef: {kind: Deployment, name: web}}}`
	for name, c := range map[string]struct {
		now  string
		want *record.Change
	}{
		"status alone": {`{metadata: {name: web, labels: {a: b}, managedFields: [
			{manager: hpabench-abcde, operation: Apply, time: "2026-03-01T12:00:00Z", fieldsV1: {"f:spec": {"f:maxReplicas": {}}}},
			{manager: kube-controller-manager, operation: Update, subresource: status, time: "2026-03-01T12:00:16Z"}]},
			spec: {maxReplicas: 5, scaleTargetRef: {kind: Deployment, name: web}}, status: {currentReplicas: 3}}`, nil},
		"patched": {`{metadata: {name: web, labels: {a: b}, managedFields: [
			{manager: hpabench-abcde, operation: Apply, time: "2026-03-01T12:00:00Z", fieldsV1: {}},
			{manager: kubectl-patch, operation: Update, time: "2026-03-01T12:00:05Z", fieldsV1: {"f:spec": {"f:maxReplicas": {}}}},
			{manager: kube-controller-manager, operation: Update, subresource: status, time: "2026-03-01T12:00:16Z"}]},
			spec: {maxReplicas: 3, minReplicas: 2, scaleTargetRef: {kind: Deployment, name: web}}}`,
			&record.Change{Kind: autoscalerKind, Name: "web", What: record.ChangeUpdated, By: "kubectl-patch", Operation: "Update", Time: &at,
				Fields: []record.FieldChange{{Path: "spec.maxReplicas", Was: "5", Now: "3"}, {Path: "spec.minReplicas", Now: "2"}}}},
		"a label taken away, which leaves no trace": {`{metadata: {name: web, managedFields: [
			{manager: hpabench-abcde, operation: Apply, time: "2026-03-01T12:00:00Z", fieldsV1: {"f:spec": {"f:maxReplicas": {}}}}]},
			spec: {maxReplicas: 5, scaleTargetRef: {kind: Deployment, name: web}}}`,
			&record.Change{Kind: autoscalerKind, Name: "web", What: record.ChangeUpdated, Fields: []record.FieldChange{{Path: "metadata.labels.a", Was: "b"}}}},
		"its deletion begins": {`{metadata: {name: web, deletionTimestamp: "2026-03-01T12:00:05Z"}, spec: {maxReplicas: 5}}`,
			&record.Change{Kind: autoscalerKind, Name: "web", What: record.ChangeDeleted}},
	} {
		got := changeOf(autoscalerKind, change[*autoscalingv2.HorizontalPodAutoscaler]{
			was: parsed[autoscalingv2.HorizontalPodAutoscaler](t, was), now: parsed[autoscalingv2.HorizontalPodAutoscaler](t, c.now), had: true}, autoscalerFields, anyPath)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestChangesShowNoSecret changes much of a target: of the environment and the
// arguments only the names are told, and not all of many fields.
func TestChangesShowNoSecret(t *testing.T) {
	target := func(source string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: *parsed[map[string]any](t, source)}
	}
	c := change[*unstructured.Unstructured]{had: true,
		was: target(`{metadata: {name: web}, spec: {replicas: 2, template: {spec: {containers: [{name: web, image: a, args: [hunter2], env: [{name: P, value: hunter3}]}]}}}}`),
		now: target(`{metadata: {name: web}, spec: {replicas: 4, template: {spec: {containers: [{name: web, image: b, args: [hunter4], env: [{name: P, value: hunter5}]}]}}}}`)}
	container := "spec.template.spec.containers[web]."
	want := &record.Change{Kind: "Deployment", Name: "web", What: record.ChangeUpdated, Fields: []record.FieldChange{
		{Path: container + "args[0]"}, {Path: container + "env[P].value"}, {Path: container + "image", Was: "a", Now: "b"}}}
	if diff := cmp.Diff(want, changeOf("Deployment", c, Subject{}.targetFields, showsTarget)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, path := range map[string][]string{
		`{containers: [{name: web, env: [{name: "].resources.x", value: VALUE}]}]}`: {"containers", "[web].env[].resources.x].value"},
		`{containers: [{name: web, env: [{name: "].image", value: VALUE}]}]}`:       {"containers", "[web].env[].image].value"},
		`{a: {"x].image": VALUE}}`:                                       {"a", ".x].image"},
		`{metadata: {"labels.x": VALUE}}`:                                {"metadata", ".labels.x"},
		`{volumes: [{name: v, image: {reference: VALUE}}]}`:              {"volumes", "[v].image.reference"},
		`{containers: [{name: web, resources: {limits: {cpu: VALUE}}}]}`: {"containers", "[web].resources.limits.cpu", "1", "2"},
		`{initContainers: [{name: "a].env[b", image: VALUE}]}`:           {"initContainers", "[a].env[b].image", "1", "2"},
	} {
		of := func(value string) *unstructured.Unstructured {
			return target("{metadata: {name: web}, spec: {template: {spec: " + strings.ReplaceAll(name, "VALUE", `"`+value+`"`) + "}}}")
		}
		field := record.FieldChange{Path: "spec.template.spec." + path[0] + path[1]}
		if len(path) > 2 {
			field.Was, field.Now = path[2], path[3]
		}
		got := changeOf("Deployment", change[*unstructured.Unstructured]{had: true, was: of("1"), now: of("2")}, Subject{}.targetFields, showsTarget)
		if diff := cmp.Diff([]record.FieldChange{field}, got.Fields); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	c.now = c.was.DeepCopy()
	_ = unstructured.SetNestedField(c.now.Object, int64(4), "spec", "replicas")
	if got := changeOf("Deployment", c, Subject{}.targetFields, showsTarget); got != nil {
		t.Errorf("replicas alone are a change: %+v", got)
	}
	var many []any
	for range 50 {
		many = append(many, "x")
	}
	_ = unstructured.SetNestedSlice(c.now.Object, many, "spec", "many")
	if got := changeOf("Deployment", c, Subject{}.targetFields, showsTarget); len(got.Fields) != mostFields+1 || got.Fields[mostFields].Path != "and 42 more fields" {
		t.Errorf("of 50 fields it tells %+v", got.Fields)
	}
}

func TestRival(t *testing.T) {
	s := Subject{Kind: "Deployment", Name: "web", Autoscaler: "web"}
	s.Target.Group = "apps"
	hpa := func(group, name string) *autoscalingv2.HorizontalPodAutoscaler {
		return &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "other", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl-create"}}},
			Spec: autoscalingv2.HorizontalPodAutoscalerSpec{ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: group + "/v1", Kind: "Deployment", Name: name}}}
	}
	type hpaChange = change[*autoscalingv2.HorizontalPodAutoscaler]
	for name, c := range map[string]struct {
		change hpaChange
		want   string
	}{
		"new":               {hpaChange{now: hpa("apps", "web")}, record.ChangeCreated},
		"turned to it":      {hpaChange{was: hpa("apps", "shop"), had: true, now: hpa("apps", "web")}, record.ChangeCreated},
		"as before":         {hpaChange{was: hpa("apps", "web"), had: true, now: hpa("apps", "web")}, ""},
		"turned away":       {hpaChange{was: hpa("apps", "web"), had: true, now: hpa("apps", "shop")}, record.ChangeDeleted},
		"gone":              {hpaChange{was: hpa("apps", "web"), had: true, now: hpa("apps", "web"), removed: true}, record.ChangeDeleted},
		"of another target": {hpaChange{now: hpa("apps", "shop")}, ""},
		"of another group":  {hpaChange{now: hpa("example.com", "web")}, ""},
	} {
		got := rival(c.change, s)
		if got == nil {
			got = &record.Change{}
		}
		if got.What != c.want || got.What == record.ChangeCreated && !c.change.had && got.By != "kubectl-create" {
			t.Errorf("%s: got %+v, want %q", name, got, c.want)
		}
	}
}

func TestOwner(t *testing.T) {
	pod := parsed[corev1.Pod](t, `{metadata: {ownerReferences: [{apiVersion: v1, kind: Node, name: n, uid: ""}, {apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: "", controller: true}]}}`)
	if got := owner(pod); got != "ReplicaSet/web-1" {
		t.Errorf("got %q", got)
	}
}

// TestChangeOfBounds tells of quotas that are new, and not of those that were there.
func TestChangeOfBounds(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 5, 0, time.UTC))
	quota := func(pods string) *corev1.ResourceQuota {
		return parsed[corev1.ResourceQuota](t, `{metadata: {name: two, managedFields: [{manager: kubectl-create, operation: Update, time: "2026-03-01T12:00:05Z", fieldsV1: {"f:spec": {"f:hard": {"f:pods": {}}}}}]},
			spec: {hard: {pods: "`+pods+`"}}, status: {used: {pods: "1"}}}`)
	}
	is := func(what string, by bool, fields ...record.FieldChange) *record.Change {
		c := &record.Change{Kind: "ResourceQuota", Name: "two", What: what, Fields: fields}
		if by {
			c.By, c.Operation, c.Time = "kubectl-create", "Update", &at
		}
		return c
	}
	for name, test := range map[string]struct {
		change[*corev1.ResourceQuota]
		want *record.Change
	}{
		"there before": {change[*corev1.ResourceQuota]{now: quota("2"), listed: true}, nil},
		"new":          {change[*corev1.ResourceQuota]{now: quota("2")}, is(record.ChangeCreated, true, record.FieldChange{Path: "spec.hard.pods", Now: "2"})},
		"status alone": {change[*corev1.ResourceQuota]{was: quota("2"), had: true, now: quota("2")}, nil},
		"smaller":      {change[*corev1.ResourceQuota]{was: quota("9"), had: true, now: quota("2")}, is(record.ChangeUpdated, false, record.FieldChange{Path: "spec.hard.pods", Was: "9", Now: "2"})},
		"gone":         {change[*corev1.ResourceQuota]{was: quota("2"), had: true, now: quota("2"), removed: true}, is(record.ChangeDeleted, false)},
	} {
		got := boundOf("ResourceQuota", test.change, func(o *corev1.ResourceQuota) map[string]any { return map[string]any{"spec": generic(o.Spec)} })
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestAdmissionChanges tells of each webhook of a configuration that is new, changed or gone,
// and of policies, and not of those that were there.
func TestAdmissionChanges(t *testing.T) {
	type object = unstructured.Unstructured
	of := func(fields string) *object {
		return &object{Object: *parsed[map[string]any](t, `{metadata: {name: two}, `+fields+`}`)}
	}
	hooks := func(policy, more string) *object {
		return of(`webhooks: [{name: a.example.com, failurePolicy: ` + policy + `, clientConfig: {caBundle: ` + strings.Repeat("A", longestValue) + policy + `}}` + more + `]`)
	}
	const b = `, {name: b.example.com, failurePolicy: Fail}`
	rule := strings.Repeat("a", longestValue)
	policy := func(rule string) *object {
		return of(`spec: {validations: [{expression: ` + rule + `}]}, status: {observedGeneration: 1}`)
	}
	gone := policy("a")
	for name, test := range map[string]struct {
		change[*object]
		want string
	}{
		"hooks there before": {change[*object]{now: hooks("Fail", b), listed: true}, ""},
		"new hooks":          {change[*object]{now: hooks("Fail", b)}, "created [{webhooks[a.example.com]  }] created [{webhooks[b.example.com]  }]"},
		"a hook more":        {change[*object]{was: hooks("Fail", ""), had: true, now: hooks("Fail", b)}, "updated [{webhooks[b.example.com]  }]"},
		"a hook less":        {change[*object]{was: hooks("Fail", b), had: true, now: hooks("Fail", "")}, "updated [{webhooks[b.example.com]  }]"},
		"a hook stricter": {change[*object]{was: hooks("Ignore", b), had: true, now: hooks("Fail", b)},
			"updated [{webhooks[a.example.com].clientConfig.caBundle  } {webhooks[a.example.com].failurePolicy Ignore Fail}]"},
		"hooks gone":      {change[*object]{was: hooks("Fail", ""), had: true, now: hooks("Fail", ""), removed: true}, "deleted [{webhooks[a.example.com]  }]"},
		"a new policy":    {change[*object]{now: policy("a")}, "created []"},
		"another rule":    {change[*object]{was: policy(rule + "b"), had: true, now: policy(rule + "c")}, "updated [{spec.validations[0].expression " + rule + "… " + rule + "…}]"},
		"the same policy": {change[*object]{was: policy("a"), had: true, now: policy("a")}, ""},
		"a policy gone":   {change[*object]{was: gone, had: true, now: gone, removed: true}, "deleted []"},
	} {
		var got []string
		for _, c := range admissionChanges("Kind", test.change) {
			if c.Kind != "Kind" || c.Name != "two" {
				t.Errorf("%s: %+v", name, c)
			}
			got = append(got, fmt.Sprint(c.What, " ", c.Fields))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %s\nwant %s", name, strings.Join(got, " "), test.want)
		}
	}
}

// Of a ScaledObject the pauses and the spec are told, without what its triggers' sources are.
func TestChangeOfScaledObject(t *testing.T) {
	object := func(source string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: *parsed[map[string]any](t, source)}
	}
	got := changeOf("ScaledObject", change[*unstructured.Unstructured]{had: true,
		was: object(`{metadata: {name: web, annotations: {kubectl.kubernetes.io/last-applied-configuration: hunter1}}, spec: {cooldownPeriod: 300, triggers: [{type: rabbitmq, metadata: {host: "amqp://u:hunter2@q"}}]}}`),
		now: object(`{metadata: {name: web, annotations: {autoscaling.keda.sh/paused: "true"}}, spec: {cooldownPeriod: 30, triggers: [{type: rabbitmq, metadata: {host: "amqp://u:hunter3@q"}}, {type: redis, metadata: {password: hunter4}}]}, status: {hpaName: x}}`),
	}, scaledFields, showsScaled)
	want := []record.FieldChange{
		{Path: "metadata.annotations.autoscaling.keda.sh/paused", Now: "true"},
		{Path: "spec.cooldownPeriod", Was: "300", Now: "30"},
		{Path: "spec.triggers[0].metadata.host"},
		{Path: "spec.triggers[1].metadata.password"},
		{Path: "spec.triggers[1].type", Now: "redis"},
	}
	if diff := cmp.Diff(want, got.Fields); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
