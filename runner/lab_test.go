package runner

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/record"
)

func TestLabOf(t *testing.T) {
	about := read[corev1.ConfigMap](t, `
metadata: {name: hpabench-lab}
data: {timing: fast, hpaSyncPeriod: 5s, metricsResolution: 5s, downscaleStabilization: 1m0s, tolerance: "0.2",
  cpuInitializationPeriod: 5m0s, initialReadinessDelay: 30s, nodes: "8"}
`)
	want := &record.Lab{Timing: record.FastTiming, HPASync: 5, MetricsResolution: 5, DownscaleStabilization: 60, Tolerance: 0.2, CPUInitialization: 300, InitialReadiness: 30}
	got, err := labOf(&about)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	delete(about.Data, "tolerance")
	if got, err := labOf(&about); err == nil {
		t.Errorf("without the tolerance: %+v, want an error", got)
	}
}
