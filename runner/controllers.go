package runner

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
)

// findControllers reads the flags of the HPA controller from the static pods of
// kube-controller-manager, as clusters of kubeadm and kind have them, and says where it
// read them. It gives nil where there are none or this user may not see them, and where
// their flags differ: which of them leads can change.
func (c *Cluster) findControllers(ctx context.Context) (*record.Controllers, string) {
	pods, err := limited(ctx, c.Kube.CoreV1().Pods(metav1.NamespaceSystem).List, "component=kube-controller-manager")
	if err != nil {
		return nil, ""
	}
	var found *record.Controllers
	from := ""
	for _, pod := range pods.Items {
		flags, err := controllersOf(&pod)
		if err != nil || found != nil && *found != *flags {
			return nil, ""
		}
		found, from = flags, fmt.Sprintf("the command of pod %s/%s", pod.Namespace, pod.Name)
	}
	return found, from
}

// controllersOf are the flags by the command of a pod of kube-controller-manager, and what
// Kubernetes sets where it has none of them.
func controllersOf(pod *corev1.Pod) (*record.Controllers, error) {
	i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == "kube-controller-manager" })
	if i < 0 {
		return nil, fmt.Errorf("pod %s has no container kube-controller-manager", pod.Name)
	}
	is := record.DefaultControllers()
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.ParseErrorsAllowlist.UnknownFlags = true
	const prefix = "horizontal-pod-autoscaler-"
	f.DurationVar(&is.Sync.Duration, prefix+"sync-period", is.Sync.Duration, "")
	f.DurationVar(&is.DownscaleStabilization.Duration, prefix+"downscale-stabilization", is.DownscaleStabilization.Duration, "")
	f.Float64Var(&is.Tolerance, prefix+"tolerance", is.Tolerance, "")
	f.DurationVar(&is.CPUInitialization.Duration, prefix+"cpu-initialization-period", is.CPUInitialization.Duration, "")
	f.DurationVar(&is.InitialReadiness.Duration, prefix+"initial-readiness-delay", is.InitialReadiness.Duration, "")
	if err := f.Parse(slices.Concat(pod.Spec.Containers[i].Command, pod.Spec.Containers[i].Args)); err != nil {
		return nil, err
	}
	return &is, is.Check()
}

// labConfigMap in kube-public is on the embedded cluster alone and says how that
// was set.
const labConfigMap = "hpabench-lab"

// findLab reads how the embedded cluster was set; nil for another cluster.
func (c *Cluster) findLab(ctx context.Context) (*record.Lab, *record.Controllers, error) {
	about, err := c.Kube.CoreV1().ConfigMaps(metav1.NamespacePublic).Get(ctx, labConfigMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return labOf(about)
}

func labOf(about *corev1.ConfigMap) (*record.Lab, *record.Controllers, error) {
	var c record.Controllers
	var resolution metav1.Duration
	for key, d := range map[string]*metav1.Duration{
		"hpaSyncPeriod": &c.Sync, "metricsResolution": &resolution, "downscaleStabilization": &c.DownscaleStabilization,
		"cpuInitializationPeriod": &c.CPUInitialization, "initialReadinessDelay": &c.InitialReadiness,
	} {
		var err error
		if d.Duration, err = time.ParseDuration(about.Data[key]); err != nil {
			return nil, nil, fmt.Errorf("reading %s of ConfigMap %s: %w", key, about.Name, err)
		}
	}
	var err error
	if c.Tolerance, err = strconv.ParseFloat(about.Data["tolerance"], 64); err != nil {
		return nil, nil, fmt.Errorf("reading tolerance of ConfigMap %s: %w", about.Name, err)
	}
	return &record.Lab{Timing: about.Data["timing"], MetricsResolution: resolution.Seconds()}, &c, nil
}
