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
func (c *Cluster) findLab(ctx context.Context) (*record.Lab, error) {
	about, err := c.Kube.CoreV1().ConfigMaps(metav1.NamespacePublic).Get(ctx, labConfigMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return labOf(about)
}

func labOf(about *corev1.ConfigMap) (*record.Lab, error) {
	l := &record.Lab{Timing: about.Data["timing"]}
	for key, seconds := range map[string]*float64{
		"hpaSyncPeriod": &l.HPASync, "metricsResolution": &l.MetricsResolution, "downscaleStabilization": &l.DownscaleStabilization,
		"cpuInitializationPeriod": &l.CPUInitialization, "initialReadinessDelay": &l.InitialReadiness,
	} {
		d, err := time.ParseDuration(about.Data[key])
		if err != nil {
			return nil, fmt.Errorf("reading %s of ConfigMap %s: %w", key, about.Name, err)
		}
		*seconds = d.Seconds()
	}
	var err error
	if l.Tolerance, err = strconv.ParseFloat(about.Data["tolerance"], 64); err != nil {
		return nil, fmt.Errorf("reading tolerance of ConfigMap %s: %w", about.Name, err)
	}
	return l, nil
}
