package runner

import (
	"testing"
	"time"

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
	flags := record.DefaultControllers()
	flags.Sync.Duration, flags.DownscaleStabilization.Duration, flags.Tolerance = 5*time.Second, time.Minute, 0.2
	want := &record.Cluster{Lab: &record.Lab{Timing: record.FastTiming, MetricsResolution: 5}, Controllers: &flags}
	lab, controllers, err := labOf(&about)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &record.Cluster{Lab: lab, Controllers: controllers}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	delete(about.Data, "tolerance")
	if _, got, err := labOf(&about); err == nil {
		t.Errorf("without the tolerance: %+v, want an error", got)
	}
}

// The loads of trials are spread over the sync period that the cluster has.
func TestOffset(t *testing.T) {
	fast := record.DefaultControllers()
	fast.Sync.Duration = 5 * time.Second
	for _, c := range []struct {
		cluster *record.Cluster
		want    time.Duration
	}{{nil, 7500 * time.Millisecond}, {&record.Cluster{}, 7500 * time.Millisecond}, {&record.Cluster{Controllers: &fast}, 2500 * time.Millisecond}} {
		if got := offset(0.5, c.cluster); got != c.want {
			t.Errorf("half of the period of %+v is %s, should be %s", c.cluster, got, c.want)
		}
	}
}
