package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// upAndDown goes from one replica to four and back, quickly where the timing is
// fast. A request costs 5 ms and a replica is to use 50m. The window outlasts the
// syncs in which, of the pods, only the old one's metrics count: its share of the
// load alone would scale down to one.
const upAndDown = `
apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: up-and-down}
spec:
  workload:
    deployment:
      image: registry.k8s.io/hpa-example
      port: 80
      resources: {requests: {cpu: 100m}}
      env: [{name: BURN, value: 5ms}]
      readinessProbe: {httpGet: {path: /healthz, port: 80}, periodSeconds: 1}
  autoscaler:
    spec:
      minReplicas: 1
      maxReplicas: 4
      metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
      behavior: {scaleDown: {stabilizationWindowSeconds: 15}}
  load:
    phases:
    - {name: idle, duration: 10s, rate: 2, keepAlive: false}
    - {name: surge, duration: 45s, rate: 36, keepAlive: false}
    - {name: calm, duration: 60s, rate: 2, keepAlive: false}
  expect:
  - replicas.peak == hpa.max
  - load.surge.errors == 0
`

// TestUpAndDown compares a run with what kubectl saw.
func TestUpAndDown(t *testing.T) {
	embeddedWillDo(t)
	seen := observeAll(t)
	run := startRun(t, scenario(t, upAndDown))
	run.wait(0, 4*time.Minute)
	r := run.result()
	seen.compare(t, run)
	if got := steps(r); got[0] != 1 || got[len(got)-1] != 1 || !slices.Contains(got, 4) {
		t.Errorf("replicas went %v, want 1 → 4 → 1", got)
	}
	if l := r.Load.Total; l.Answered != 10*2+45*36+60*2 {
		t.Errorf("%d requests were answered", l.Answered)
	}
	wantNothingLeft(t)
}

// newcomer is a user of a machine with no cluster and no kubeconfig. Linux's way
// to name the folder for caches is taken where there are others, too.
func newcomer(t *testing.T) (env []string) {
	t.Helper()
	home := t.TempDir()
	return append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME="+filepath.Join(home, "cache"), "KUBECONFIG=")
}

// TestNoCluster is a newcomer's first command.
func TestNoCluster(t *testing.T) {
	if !embedded {
		t.Skip("needs no cluster")
	}
	t.Parallel()
	env := newcomer(t)
	cmd := exec.Command(binary, "run", "--timing", "fast", "--out", "out", scenario(t, `
apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: first}
spec:
  workload:
    deployment: {image: "nginx:1.15.2", port: 80, resources: {requests: {cpu: 50m}}}
  autoscaler: {cpuPercent: 20, min: 1, max: 2}
  load: {phases: [{name: surge, duration: 5s, rate: 20}]}
`))
	cmd.Env, cmd.Dir = env, t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, words := range []string{"embedded", "fast", "surge"} {
		if !strings.Contains(string(out), words) {
			t.Errorf("the output lacks %q:\n%s", words, out)
		}
	}
}

// A flag that hpabench-lab does not take is bad input.
func TestBadLabFlags(t *testing.T) {
	if !embedded {
		t.Skip("needs no cluster")
	}
	t.Parallel()
	for flag, want := range map[string]string{"foo=1": "unknown flag: --foo", "nodes=0": "--nodes and --node-pods must be 1 or more"} {
		run := hpabench(t, "run", "spike", "--lab-flag", flag)
		run.wait(2, time.Minute)
		if said := run.stderr(); !strings.Contains(said, want) {
			t.Errorf("--lab-flag %s: it says %s", flag, said)
		}
	}
}

// TestLabUpAndDown keeps a cluster for kubectl, runs on it, and takes it away.
func TestLabUpAndDown(t *testing.T) {
	if !embedded {
		t.Skip("needs no cluster")
	}
	t.Parallel()
	env := newcomer(t)
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env, cmd.Dir = env, t.TempDir()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	t.Cleanup(func() { run(binary, "lab", "down") })
	run(binary, "lab", "up", "--timing", "fast")
	if out := run(binary, "lab", "up", "--timing", "fast"); !strings.Contains(out, "already") {
		t.Errorf("up twice says %s", out)
	}
	if out := run("kubectl", "get", "nodes"); !strings.Contains(out, "Ready") {
		t.Errorf("kubectl get nodes: %s", out)
	}
	if out := run("kubectl", "config", "current-context"); strings.TrimSpace(out) != "hpabench-lab" {
		t.Errorf("the current context is %s", out)
	}
	run(binary, "lab", "down")
	if out := run("kubectl", "config", "get-contexts", "-o", "name"); strings.TrimSpace(out) != "" {
		t.Errorf("contexts left: %s", out)
	}
	if out := run(binary, "lab", "down"); out == "" {
		t.Error("down without a cluster says nothing")
	}
}

// TestKubectl runs kubectl's everyday verbs.
func TestKubectl(t *testing.T) {
	embeddedWillDo(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error { // a copy, since the script sets its namespace
			config := filepath.Join(e.WorkDir, "kubeconfig")
			e.Setenv("KUBECONFIG", config)
			return os.WriteFile(config, must(os.ReadFile(kubeconfig)), 0o600)
		},
	})
}
