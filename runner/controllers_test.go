package runner

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
)

// staticPod is what kubeadm writes to /etc/kubernetes/manifests/kube-controller-manager.yaml
// (kubeadm v1.37, of a cluster of kind), with FLAGS.
const staticPod = `apiVersion: v1
kind: Pod
metadata:
  name: kube-controller-manager-kind-control-plane
  namespace: kube-system
  labels: {component: kube-controller-manager, tier: control-plane}
spec:
  hostNetwork: true
  containers:
  - name: kube-controller-manager
    image: registry.k8s.io/kube-controller-manager:v1.37.2
    command:
    - kube-controller-manager
    - --allocate-node-cidrs=true
    - --authentication-kubeconfig=/etc/kubernetes/controller-manager.conf
    - --bind-address=127.0.0.1
    - --cluster-cidr=10.244.0.0/16
    - --controllers=*,bootstrapsigner,tokencleaner
    - --enable-hostpath-provisioner=true
    - --leader-elect=true
    - --use-service-account-credentials=true
    `

func TestControllersOf(t *testing.T) {
	seconds := func(n int) metav1.Duration { return metav1.Duration{Duration: time.Duration(n) * time.Second} }
	defaults := record.DefaultControllers()
	with := func(change func(c *record.Controllers)) *record.Controllers {
		c := defaults
		change(&c)
		return &c
	}
	for flags, want := range map[string]*record.Controllers{
		"": &defaults,
		"- --horizontal-pod-autoscaler-sync-period=30s": with(func(c *record.Controllers) { c.Sync = seconds(30) }),
		// kubeadm's extraArgs are args of the command; flags may be apart from their values.
		"args: [--horizontal-pod-autoscaler-downscale-stabilization, 1m0s, --v, '2', --horizontal-pod-autoscaler-tolerance=0.05]": with(func(c *record.Controllers) {
			c.DownscaleStabilization, c.Tolerance = seconds(60), 0.05
		}),
		"- --horizontal-pod-autoscaler-cpu-initialization-period=2m\n    - --horizontal-pod-autoscaler-initial-readiness-delay=10s\n    - --profiling": with(func(c *record.Controllers) {
			c.CPUInitialization, c.InitialReadiness = seconds(120), seconds(10)
		}),
		"- --horizontal-pod-autoscaler-sync-period=30s\n    - --horizontal-pod-autoscaler-sync-period=20s": with(func(c *record.Controllers) { c.Sync = seconds(20) }),
		"- --horizontal-pod-autoscaler-sync-period=$(PERIOD)":                                              nil,
		"- --horizontal-pod-autoscaler-sync-period=-5s":                                                    nil,
	} {
		pod := read[corev1.Pod](t, staticPod+flags)
		got, err := controllersOf(&pod)
		if (err != nil) != (want == nil) {
			t.Errorf("%s: %v", flags, err)
		} else if err == nil {
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", flags, d)
			}
		}
	}
	pods := func(flags ...string) (list []corev1.Pod) {
		for i, f := range flags {
			list = append(list, read[corev1.Pod](t, staticPod+f))
			list[i].Name = fmt.Sprint("m-", i+1)
		}
		return list
	}
	for name, c := range map[string]struct {
		pods    []corev1.Pod
		unknown string
		known   bool
	}{
		"none":       {nil, "", false},
		"alike":      {pods("", "- --v=2"), "", true},
		"different":  {pods("", "- --horizontal-pod-autoscaler-sync-period=30s"), "differ between pods (kube-system/m-2 has others than kube-system/m-1), of which only one leads", false},
		"unreadable": {pods("- --horizontal-pod-autoscaler-sync-period=$(PERIOD)"), "cannot be read from the command of pod kube-system/m-1 (", false},
	} {
		if got, _, unknown := controllersIn(c.pods); (got != nil) != c.known || !strings.HasPrefix(unknown, c.unknown) || (unknown == "") != (c.unknown == "") {
			t.Errorf("%s: %v, %q; should be %q", name, got, unknown, c.unknown)
		}
	}
	if _, err := controllersOf(&corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "other"}}}}); err == nil {
		t.Error("a pod of something else has flags")
	}
}
