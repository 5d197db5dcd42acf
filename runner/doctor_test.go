package runner

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/hpabench/hpabench/record"
)

// TestDoctorWithoutRights: what a right is missing for is Forbidden, and hides no fault that can be seen without it.
func TestDoctorWithoutRights(t *testing.T) {
	admin := testCluster(t)
	namespace := testNamespace(t, admin)
	create := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	deployment := read[appsv1.Deployment](t, `{metadata: {name: web}, spec: {replicas: 1, selector: {matchLabels: {app: web}},
		template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web, resources: {requests: {cpu: 10m}}}]}}}}`)
	hpa := read[autoscalingv2.HorizontalPodAutoscaler](t, `{metadata: {name: web}, spec: {minReplicas: 2, maxReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web},
		metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}}`)
	role := read[rbacv1.Role](t, `{metadata: {name: looks}, rules: [
		{apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: [list]}, {apiGroups: [apps], resources: [deployments, deployments/scale], verbs: [get]}]}`)
	binding := read[rbacv1.RoleBinding](t, `{metadata: {name: looks}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: looks}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: looks}]}`)
	_, err := admin.Kube.AppsV1().Deployments(namespace).Create(t.Context(), &deployment, metav1.CreateOptions{})
	create(err)
	_, err = admin.Kube.AutoscalingV2().HorizontalPodAutoscalers(namespace).Create(t.Context(), &hpa, metav1.CreateOptions{})
	create(err)
	_, err = admin.Kube.RbacV1().Roles(namespace).Create(t.Context(), &role, metav1.CreateOptions{})
	create(err)
	_, err = admin.Kube.RbacV1().RoleBindings(namespace).Create(t.Context(), &binding, metav1.CreateOptions{})
	create(err)
	for _, c := range []struct {
		user, ref        string
		forbidden, other bool // faults
	}{{"nobody", "", true, false}, {"nobody", "web", true, false}, {"looks", "", false, true}, {"looks", "web", true, true}} {
		cluster := testCluster(t, func(config *rest.Config) {
			config.Impersonate = rest.ImpersonationConfig{UserName: c.user, Groups: []string{"system:authenticated"}}
		})
		// The authorizer sees a new role some time later, and a new lab makes the default ones.
		if err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			_, err := cluster.Kube.AutoscalingV2().HorizontalPodAutoscalers(namespace).List(ctx, metav1.ListOptions{})
			_, kinds := cluster.Kube.Discovery().ServerGroups()
			return (err == nil) == (c.user == "looks") && kinds == nil, nil
		}); err != nil {
			t.Fatal(err)
		}
		d, err := NewDoctor(cluster, c.ref, ObserveOptions{Namespace: namespace}, func(Progress) {})
		if err != nil {
			t.Fatal(err)
		}
		e, err := d.Examine(t.Context())
		if err != nil {
			t.Errorf("%s looks at %q: %v", c.user, c.ref, err)
			continue
		}
		forbidden, other := false, false
		for _, check := range e.Checks {
			if check.Outcome == record.Fault {
				forbidden, other = forbidden || check.Forbidden, other || !check.Forbidden
			}
		}
		if forbidden != c.forbidden || other != c.other || (e.Run != nil) != (c.ref != "" && !forbidden) {
			t.Errorf("%s looks at %q: forbidden %t, other faults %t, watched %t: %+v", c.user, c.ref, forbidden, other, e.Run != nil, e.Checks)
		}
	}
}

// TestDoctorAtZero: a metric of the pods has no value where there is none, which is no fault of its adapter.
func TestDoctorAtZero(t *testing.T) {
	cluster := testCluster(t)
	namespace := testNamespace(t, cluster)
	deployment := read[appsv1.Deployment](t, `{metadata: {name: web}, spec: {replicas: 0, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web}]}}}}`)
	hpa := read[autoscalingv2.HorizontalPodAutoscaler](t, `{metadata: {name: web}, spec: {maxReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web},
		metrics: [{type: Pods, pods: {metric: {name: rps}, target: {type: AverageValue, averageValue: "10"}}}]}}`)
	if _, err := cluster.Kube.AppsV1().Deployments(namespace).Create(t.Context(), &deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Kube.AutoscalingV2().HorizontalPodAutoscalers(namespace).Create(t.Context(), &hpa, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	d, err := NewDoctor(cluster, "web", ObserveOptions{Namespace: namespace}, func(Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	e, err := d.Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if said := checkText(e.Checks); !strings.Contains(said, "ok adapter: custom.metrics.k8s.io is served; metric rps is of the pods, and there is none") {
		t.Error(said)
	}
}
