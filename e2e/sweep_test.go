package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hpabench/hpabench/record"
)

const swept = `
apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: sweep}
spec:
  workload:
    deployment: {image: registry.k8s.io/hpa-example, imagePullPolicy: IfNotPresent, port: 80, resources: {requests: {cpu: 50m}}}
  autoscaler: {cpuPercent: 50, min: 1, max: 6}
  load:
    phases:
    - {name: surge, duration: 8s, rate: 5}
  expect: [load.surge.errors == 0]
  matrix:
    target: [40, 80]
`

// TestSweep makes two combinations twice each, all at the same time.
func TestSweep(t *testing.T) {
	embeddedWillDo(t)
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	i := hpabench(t, "run", "--kubeconfig", kubeconfig, "--repeat", "2", "--parallel", "4", "--out", out, scenario(t, swept))
	i.wait(0, 5*time.Minute)
	overlaps(t, out, "target=40/trial-01", "target=40/trial-02", "target=80/trial-01", "target=80/trial-02")
	b := must(os.ReadFile(filepath.Join(out, "trials.json")))
	var all struct {
		Names    []string
		Trials   []int
		Verdicts [][]struct{ Met, Trials int }
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if strings.Join(all.Names, " ") != "target=40 target=80" || all.Trials[1] != 2 || all.Verdicts[1][0].Met != 2 {
		t.Errorf("%+v", all)
	}
}

// TestSweepWithoutRoom: two runs that do not fit on the nodes together are made in turn.
func TestSweepWithoutRoom(t *testing.T) {
	if !embedded {
		t.Skip("it is the nodes of the embedded cluster that have room for eight such pods")
	}
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	i := hpabench(t, "run", "--kubeconfig", kubeconfig, "--parallel", "2", "--out", out, "--set", "workload.deployment.resources.requests.cpu=3", scenario(t, swept))
	i.wait(0, 5*time.Minute)
	if !strings.Contains(i.stderr(), "no room for this run beside others: waiting") {
		t.Error("it did not wait")
	}
	var runs []string
	for _, dir := range must(os.ReadDir(out)) {
		if dir.IsDir() {
			runs = append(runs, dir.Name())
		}
	}
	if len(runs) != 2 {
		t.Fatalf("runs %q", runs)
	}
	a, b := span(t, filepath.Join(out, runs[0])), span(t, filepath.Join(out, runs[1]))
	if a[0].Before(b[1]) && b[0].Before(a[1]) {
		t.Errorf("the runs went on at the same time: %v, %v", a, b)
	}
}

// overlaps wants the loads of the runs to have gone on at the same time.
func overlaps(t *testing.T, out string, runs ...string) {
	t.Helper()
	first := span(t, filepath.Join(out, runs[0]))
	for _, name := range runs[1:] {
		if s := span(t, filepath.Join(out, name)); s[0].After(first[1]) || s[1].Before(first[0]) {
			t.Errorf("%s went from %v, %s from %v", runs[0], first, name, s)
		}
	}
}

// span is when a run began and when its load ended.
func span(t *testing.T, dir string) (s [2]time.Time) {
	t.Helper()
	run := must(record.Open(filepath.Join(dir, "record.jsonl")))
	s[0] = run.Header().Started
	for _, e := range run.Entries {
		if e.Phase != nil {
			s[1] = s[0].Add(time.Duration(e.At))
		}
	}
	return s
}
