package runner

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/hpabench/hpabench/scenarios"
)

// A run can begin while the target has no pod: port-forward finds the port in the template, and is not tried.
func TestWayToNoPod(t *testing.T) {
	template := &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}}}}}
	if port, err := targetPort(corev1.ServicePort{Port: 80, TargetPort: intstr.FromString("web")}, podsOr(nil, template)); port != 8080 || err != nil {
		t.Errorf("port %d, %v", port, err)
	}
	for kind, want := range map[string][2]bool{
		scenarios.ViaPortForward: {false, true}, scenarios.ViaNodePort: {false, false}, scenarios.ViaIngress: {true, true}, scenarios.ViaURL: {true, true},
	} {
		if got := [2]bool{tries(kind, true), tries(kind, false)}; got != want {
			t.Errorf("%s is tried without a pod and with one: %v, want %v", kind, got, want)
		}
	}
}
