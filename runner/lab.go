package runner

import (
	"context"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
)

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
