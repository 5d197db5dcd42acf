package runner

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
)

// findControllers reads the flags of the HPA controller from the static pods of
// kube-controller-manager, as clusters of kubeadm and kind have them, and says where it
// read them, or why they are not known, as Cluster.ControllersUnknown has it.
func (c *Cluster) findControllers(ctx context.Context) (flags *record.Controllers, from, unknown string) {
	pods, err := limited(ctx, c.Kube.CoreV1().Pods(metav1.NamespaceSystem).List, "component=kube-controller-manager")
	switch {
	case apierrors.IsForbidden(err):
		return nil, "", "this user has no right to read (kubectl auth can-i list pods -n " + metav1.NamespaceSystem + ")"
	case err != nil:
		return nil, "", "could not be read (" + record.Cut(err.Error()) + ")"
	}
	return controllersIn(pods.Items)
}

// controllersIn is findControllers of the pods. Where their flags differ it is not known which of them leads.
func controllersIn(pods []corev1.Pod) (found *record.Controllers, from, unknown string) {
	for _, pod := range pods {
		name := pod.Namespace + "/" + pod.Name
		flags, err := controllersOf(&pod)
		switch {
		case err != nil:
			return nil, "", fmt.Sprintf("cannot be read from the command of pod %s (%s)", name, record.Cut(err.Error()))
		case found != nil && *found != *flags:
			return nil, "", fmt.Sprintf("differ between pods (%s has others than %s), of which only one leads", name, strings.TrimPrefix(from, "the command of pod "))
		}
		found, from = flags, "the command of pod "+name
	}
	return found, from, ""
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
