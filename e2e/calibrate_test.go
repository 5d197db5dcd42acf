package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"sigs.k8s.io/yaml"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

// TestCalibrate: a pod with a fifth of a CPU that spends 5 ms on a request serves 40/s,
// and a little more while it may catch up. The run after it knows the demand.
func TestCalibrate(t *testing.T) {
	embeddedWillDo(t)
	t.Parallel()
	file := scenario(t, `
apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: calibrate}
spec:
  workload:
    deployment:
      image: registry.k8s.io/hpa-example
      imagePullPolicy: IfNotPresent
      port: 80
      resources: {requests: {cpu: 50m}, limits: {cpu: 200m}}
  autoscaler: {cpuPercent: 50, min: 1, max: 6}
  slo: {latency: 250ms}
  load:
    phases:
    - {name: surge, duration: 5s, rate: 1}
`)
	i := hpabench(t, "calibrate", "--kubeconfig", kubeconfig, "--replicas", "1", "--from", "10", "--step", "4s", file, "-o", "yaml")
	i.wait(0, 10*time.Minute) // a sweep in which the load generator is late is made again
	var hpa autoscalingv2.HorizontalPodAutoscaler
	if err := yaml.UnmarshalStrict(i.stdout.Bytes(), &hpa); err != nil {
		t.Fatal(err)
	}
	// 5 ms a request of at most 190m, which is 0.95 of the limit, over 1.1 and the request.
	if target := *hpa.Spec.Metrics[0].Resource.Target.AverageUtilization; target < 130 || target > 345 {
		t.Errorf("%s\nwant a target of about 345 %% at most", i.stdout.String())
	}
	for _, text := range []string{"# Assumed: hpabench's defaults", "# One replica serves ", "# With 1.3 times the load it "} {
		if !strings.Contains(i.stdout.String(), text) {
			t.Errorf("%s\nshould have %q", i.stdout.String(), text)
		}
	}
	if strings.Contains(i.stdout.String(), "pods.start") {
		t.Errorf("%s\nassumes how long a pod takes to start, which its runs began with", i.stdout.String())
	}
	var c analysis.Calibration
	if err := json.Unmarshal(must(os.ReadFile(strings.TrimSuffix(file, ".yaml")+".calibration.json")), &c); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", c)
	if len(c.Points) != 1 || c.CapacityPerReplica < 15 || c.CapacityPerReplica > 55 || c.Points[0].Below <= c.CapacityPerReplica || c.Points[0].Seconds > 0.25 {
		t.Errorf("%+v, want about 40/s", c)
	}

	out := filepath.Join(t.TempDir(), "out")
	i = hpabench(t, "run", "--kubeconfig", kubeconfig, "--out", out, file)
	i.wait(0, 4*time.Minute)
	r := must(analysis.Analyze(must(record.Open(filepath.Join(out, "record.jsonl")))))
	if !strings.Contains(i.stderr(), "one replica serves") || r.Elasticity == nil || r.Elasticity.TimeshareUnder != 0 || r.Load.Total.SLOViolated == nil {
		t.Errorf("elasticity %+v, %s", r.Elasticity, r.ElasticityMissing)
	}
}
