package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hpabench/hpabench/record"
)

// short is a scenario that is over in a minute and a half.
const short = `
apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: short}
spec:
  workload:
    deployment: {image: %q, imagePullPolicy: IfNotPresent, replicas: 2, port: 80, resources: {requests: {cpu: 50m, memory: %s}}}
    model: %s
  autoscaler: {cpuPercent: 20, min: 2, max: 5}
  load:
    phases:
    - {name: idle, duration: 5s, rate: 0}
    - {name: surge, duration: 60s, rate: 100}
    - {name: calm, duration: 5s, rate: 0}
`

func shortScenario(t *testing.T) string {
	return scenario(t, fmt.Sprintf(short, "nginx:1.15.2", "16Mi", "{}"))
}

// wantRefused wants a run to end with the code, one message that has all the
// words, and nothing left behind.
func wantRefused(t *testing.T, run *invocation, code int, words ...string) {
	t.Helper()
	run.wait(code, 3*time.Minute)
	for _, word := range words {
		if !strings.Contains(run.stderr(), word) {
			t.Errorf("the message lacks %q", word)
		}
	}
	for _, line := range []string{"panic", "goroutine ", "Usage:"} {
		if strings.Contains(run.stderr(), line) {
			t.Errorf("the message has %q", line)
		}
	}
	wantNothingLeft(t)
}

func TestUnreachable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	config := regexp.MustCompile(`https?://[^"\s,}]+`).ReplaceAll(must(os.ReadFile(kubeconfig)), []byte("https://127.0.0.1:1"))
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, hpabench(t, "run", "--kubeconfig", file, shortScenario(t)), 3, "fault", "API server", "does not answer", "connection refused", "--context")
}

func TestNoRights(t *testing.T) {
	kubectl(t, "create", "namespace", "no-rights")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", "no-rights") })
	kubectl(t, "create", "serviceaccount", "nobody", "-n", "no-rights")
	token := strings.TrimSpace(kubectl(t, "create", "token", "nobody", "-n", "no-rights"))
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, must(os.ReadFile(kubeconfig)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"set-credentials", "nobody", "--token", token}, {"set-context", "--current", "--user", "nobody"}} {
		if out, err := exec.Command("kubectl", append([]string{"--kubeconfig", file, "config"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	wantRefused(t, hpabench(t, "run", "--kubeconfig", file, shortScenario(t)), 3, "rights", "no right to", "create namespaces", "create deployments.apps", "list pods.metrics.k8s.io")
}

func TestNoMetricsAPI(t *testing.T) {
	needsKubelet(t) // the embedded metrics API cannot be taken away
	service := kubectl(t, "get", "apiservice", "v1beta1.metrics.k8s.io", "-o", "json")
	kubectl(t, "delete", "apiservice", "v1beta1.metrics.k8s.io")
	t.Cleanup(func() {
		cmd := exec.Command("kubectl", "--kubeconfig", kubeconfig, "create", "-f", "-")
		cmd.Stdin = strings.NewReader(service)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		kubectl(t, "wait", "--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io", "--timeout=60s")
	})
	wantRefused(t, startRun(t, shortScenario(t)), 3, "metrics.k8s.io is not served", "install metrics-server")
}

func TestUnschedulable(t *testing.T) {
	wantRefused(t, startRun(t, scenario(t, fmt.Sprintf(short, "nginx:1.15.2", "1Ti", "{}"))), 3,
		"the nodes have room for 0", "a pod cannot be scheduled", "Insufficient memory", "lower the requests")
}

func TestImageThatCannotBePulled(t *testing.T) {
	wantRefused(t, startRun(t, scenario(t, fmt.Sprintf(short, "nginx:no-such-tag", "16Mi", "{fault: {pull: true}}"))), 3,
		"a node cannot get image nginx:no-such-tag", "is the name right")
}

func TestTargetThatDoesNotExist(t *testing.T) {
	embeddedWillDo(t)
	file := scenario(t, `apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: existing}
spec:
  workload:
    existing: {kind: Deployment, name: nowhere}
  load: {phases: [{name: idle, duration: 5s, rate: 0}]}
`)
	wantRefused(t, startRun(t, file), 2, "scenario.yaml:6", "Deployment nowhere does not exist in namespace default")
}

// TestExisting runs against a workload that is there already, and wants it to be
// the same afterwards.
func TestExisting(t *testing.T) {
	kubectl(t, "create", "namespace", "existing")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", "existing") })
	for _, args := range [][]string{
		{"create", "deployment", "web", "--image=nginx:1.15.2", "--port=80"},
		{"set", "resources", "deployment", "web", "--requests=cpu=50m"},
		{"expose", "deployment", "web"},
		{"autoscale", "deployment", "web", "--cpu-percent=50", "--min=1", "--max=2"},
		{"rollout", "status", "deployment", "web"},
	} {
		kubectl(t, append(args, "-n", "existing")...)
	}
	spec := func() string {
		return kubectl(t, "get", "deploy,hpa,svc", "-n", "existing", "-o", "jsonpath={range .items[*]}{.kind}{.metadata.uid}{.metadata.generation}{.metadata.labels}{end}")
	}
	before := spec()
	file := scenario(t, `apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: existing}
spec:
  workload:
    existing: {kind: Deployment, name: web, namespace: existing}
  load:
    phases:
    - {name: warm, duration: 10s, rate: 20}
`)
	run := startRun(t, file)
	run.wait(0, 3*time.Minute)
	r := run.result()
	if r.Subject.Way != "portForward" {
		t.Errorf("a Service without NodePort was reached by %s", r.Subject.Way)
	}
	if l := r.Load.Total; l.Answered != 200 || l.Codes["200"] != 200 || served(t, run) != 200 {
		t.Errorf("want 200 requests answered with 200, got %d, %v", l.Answered, l.Codes)
	}
	if after := spec(); after != before {
		t.Errorf("the existing objects changed:\n%s\n%s", before, after)
	}
	wantNothingLeft(t)
}

// TestNamespace runs in a namespace that exists, which must be as before.
func TestNamespace(t *testing.T) {
	embeddedWillDo(t)
	kubectl(t, "create", "namespace", "shared")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", "shared") })
	kubectl(t, "create", "configmap", "precious", "-n", "shared")
	file := shortScenario(t)
	run := startRun(t, file, "-n", "shared")
	run.waitFor(`^surge `, 2*time.Minute)
	// A second run would need the same names: it must not touch the first one's.
	wantSecond := startRun(t, file, "-n", "shared")
	wantSecond.wait(2, time.Minute)
	if !strings.Contains(wantSecond.stderr(), "Deployment short exists already") {
		t.Errorf("the second run said: %s", wantSecond.stderr())
	}
	run.cmd.Process.Signal(os.Interrupt)
	run.wait(3, time.Minute)
	wantNothingLeft(t)
	kubectl(t, "get", "configmap", "precious", "-n", "shared")
}

// TestInterrupt ends a run by Ctrl-C in the middle of the surge.
func TestInterrupt(t *testing.T) {
	run := startRun(t, shortScenario(t))
	run.waitFor(`^surge `, 3*time.Minute)
	time.Sleep(10 * time.Second)
	run.cmd.Process.Signal(os.Interrupt)
	run.wait(3, time.Minute)
	wantNothingLeft(t)

	r := run.result()
	surge := r.Load.Phases[1]
	if r.Outcome != record.Interrupted || surge.Answered == 0 || surge.Sent != surge.Answered+surge.Failed+surge.Aborted {
		t.Errorf("outcome %q, surge %+v", r.Outcome, surge)
	}
	for _, file := range []string{"report.md", "summary.csv", "timeline.csv", "pods.csv", "events.csv"} {
		if body, err := os.ReadFile(filepath.Join(run.dir, file)); err != nil || len(body) == 0 {
			t.Errorf("%s: %v, %d bytes", file, err, len(body))
		}
	}
	if !strings.Contains(run.stdout.String(), "interrupted") {
		t.Error("the report does not say that the run was interrupted")
	}
}

// TestSignalsAtEachStage ends runs by each signal at each stage. Interrupted runs
// leave nothing; those that are killed leave nothing behind clean.
func TestSignalsAtEachStage(t *testing.T) {
	inFull(t)
	file := scenario(t, strings.NewReplacer("60s", "10s", "100", "5").Replace(fmt.Sprintf(short, "nginx:1.15.2", "16Mi", "{}")))
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Run("runs", func(t *testing.T) {
				for stage, pattern := range map[string]string{
					"preflight": `^ok +API server`, "namespace": `^creating namespace`, "service": `^creating Service`,
					"hpa": `^creating HorizontalPodAutoscaler`, "pods": `^waiting for the (pods|first metric)`, "metric": `^waiting for the first metric`,
					"idle": `^idle `, "surge": `^surge `, "calm": `^calm `, "tear-down": `^removing what the run created`,
				} {
					t.Run(stage, func(t *testing.T) {
						t.Parallel()
						run := startRun(t, file)
						run.waitFor(pattern, 3*time.Minute)
						_ = run.cmd.Process.Signal(signal)
						select {
						case <-run.exited:
						case <-time.After(2 * time.Minute):
							t.Fatal("it goes on")
						}
						if killed := run.code == -1; killed != (signal == syscall.SIGKILL) || !killed && run.code != 3 && stage != "tear-down" {
							t.Errorf("exit code %d", run.code)
						}
					})
				}
			})
			if signal == syscall.SIGKILL {
				clean(t, 0)
			}
			wantNothingLeft(t)
		})
	}
}

// clean runs hpabench clean and returns what it printed.
func clean(t *testing.T, code int, args ...string) string {
	t.Helper()
	c := hpabench(t, append([]string{"clean", "--kubeconfig", kubeconfig}, args...)...)
	c.wait(code, 3*time.Minute)
	return c.stdout.String()
}

// TestKilled leaves the run's namespace behind, which clean must remove, but not
// while the run is alive.
func TestKilled(t *testing.T) {
	embeddedWillDo(t)
	run := startRun(t, shortScenario(t))
	run.waitFor(`^surge `, 2*time.Minute)
	if out := clean(t, 0); !strings.Contains(out, "still going on") {
		t.Errorf("clean beside a run: %s", out)
	}
	if out := clean(t, 0, "--all", "--dry-run"); !strings.Contains(out, "would be removed") {
		t.Errorf("dry run: %s", out)
	}
	run.cmd.Process.Kill()
	<-run.exited

	again := hpabench(t, "report", run.dir)
	again.wait(0, time.Minute)
	if !strings.Contains(again.stdout.String(), "surge") {
		t.Error("the record of a killed run gives no report")
	}
	if out := clean(t, 0); !strings.Contains(out, ": removed") {
		t.Errorf("clean after the kill: %s", out)
	}
	wantNothingLeft(t)
}

// TestQuota has pods that cannot even be created.
func TestQuota(t *testing.T) {
	embeddedWillDo(t)
	kubectl(t, "create", "namespace", "quota")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", "quota") })
	kubectl(t, "create", "quota", "one", "--hard=pods=1", "-n", "quota")
	wantRefused(t, startRun(t, shortScenario(t), "-n", "quota"), 3, "1 of 2 ready", "pods cannot be created", "exceeded quota: one")
}

// TestInterruptTwice ends a run at once; it must say what it leaves.
func TestInterruptTwice(t *testing.T) {
	embeddedWillDo(t)
	run := startRun(t, shortScenario(t))
	run.waitFor(`waiting for the first metric`, time.Minute)
	run.cmd.Process.Signal(os.Interrupt)
	run.waitFor(`ending in order`, 10*time.Second)
	run.cmd.Process.Signal(os.Interrupt)
	run.wait(3, 10*time.Second)
	if !strings.Contains(run.stderr(), "left in the cluster: namespace/hpabench-short-") {
		t.Error("the run does not say what it left")
	}
	clean(t, 0)
	wantNothingLeft(t)
}

// TestManifests scales a StatefulSet of the user's own manifests, of which one
// object belongs to no namespace, and keeps what it made.
func TestManifests(t *testing.T) {
	embeddedWillDo(t)
	file := scenario(t, `apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: manifests}
spec:
  workload:
    manifests: [web.yaml]
  load:
    via: portForward
    headers: {X-Test: "1"}
    phases:
    - {name: surge, duration: 45s, rate: 50}
    - {name: calm, duration: 5s, rate: 0}
  expect:
  - load.surge.errors == 0
  - replicas.peak > hpa.min
`)
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "web.yaml"), []byte(`
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: hpabench-e2e}
value: 10
preemptionPolicy: Never
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {BURN: 5ms}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      priorityClassName: hpabench-e2e
      containers:
      - name: web
        image: registry.k8s.io/hpa-example
        imagePullPolicy: IfNotPresent
        envFrom: [{configMapRef: {name: settings}}]
        ports: [{name: http, containerPort: 80}]
        readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
        resources: {requests: {cpu: 100m}}
      - name: sidecar
        image: busybox
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "sleep 1d"]
        resources: {requests: {cpu: 10m}}
      terminationGracePeriodSeconds: 1
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: web}
  maxReplicas: 3
  metrics: [{type: ContainerResource, containerResource: {name: cpu, container: web, target: {type: Utilization, averageUtilization: 50}}}]
`), 0o666); err != nil {
		t.Fatal(err)
	}
	run := startRun(t, file, "--keep")
	run.wait(0, 4*time.Minute)
	r := run.result()
	if r.Subject.Kind != "StatefulSet" || r.Subject.Way != "portForward" || r.Load.Phases[0].Answered != 50*45 {
		t.Errorf("%+v, %d answers", r.Subject, r.Load.Phases[0].Answered)
	}
	if !strings.Contains(run.stderr(), "left in the cluster: namespace/"+r.Subject.Namespace+", priorityclass/hpabench-e2e") {
		t.Error("the run does not say what it kept")
	}
	kubectl(t, "get", "statefulset", "web", "-n", r.Subject.Namespace)
	clean(t, 0)
	wantNothingLeft(t)
	kubectl(t, "wait", "--for=delete", "priorityclass/hpabench-e2e", "--timeout=1s")
}

// TestStuckNamespace has a namespace of a run held by a finalizer, and a copy of it.
func TestStuckNamespace(t *testing.T) {
	embeddedWillDo(t)
	file := filepath.Join(t.TempDir(), "stuck.yaml")
	must(0, os.WriteFile(file, []byte(`
apiVersion: v1
kind: Namespace
metadata: {name: hpabench-e2e-stuck, labels: {app.kubernetes.io/managed-by: hpabench, hpabench.dev/scenario: e2e, hpabench.dev/run: stuck}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: holder, namespace: hpabench-e2e-stuck, finalizers: [example.com/hold]}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: hpabench-stuck, namespace: hpabench-e2e-stuck, labels: {app.kubernetes.io/managed-by: hpabench, hpabench.dev/run: stuck}}
`), 0o666))
	kubectl(t, "create", "--field-manager=hpabench-stuck", "-f", file) // as the run would have
	apply(t, `
apiVersion: v1
kind: Namespace
metadata: {name: hpabench-e2e-copy, labels: {app.kubernetes.io/managed-by: hpabench, hpabench.dev/scenario: e2e, hpabench.dev/run: copy}}
`)
	// Somebody else's, which must stay as it is.
	apply(t, `
apiVersion: v1
kind: Namespace
metadata: {name: foreign-stuck}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: holder, namespace: foreign-stuck, finalizers: [example.com/hold]}
`)
	kubectl(t, "delete", "namespace", "foreign-stuck", "--wait=false")
	t.Cleanup(func() {
		kubectl(t, "patch", "configmap", "holder", "-n", "foreign-stuck", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	})
	out := clean(t, 3, "--timeout", "8s")
	for _, words := range []string{"configmaps", "example.com/hold", "--finalize"} {
		if !strings.Contains(out, words) {
			t.Errorf("clean does not say %q:\n%s", words, out)
		}
	}
	clean(t, 0, "--timeout", "5s", "--finalize")
	if f := kubectl(t, "get", "namespace", "foreign-stuck", "-o", "jsonpath={.status.phase} {.spec.finalizers}"); f != `Terminating ["kubernetes"]` {
		t.Errorf("somebody else's namespace is %s", f)
	}
	if phase := kubectl(t, "get", "namespace", "hpabench-e2e-copy", "-o", "jsonpath={.status.phase}"); phase != "Active" {
		t.Errorf("a namespace that somebody labelled as a run's is %s", phase)
	}
	kubectl(t, "delete", "namespace", "hpabench-e2e-copy")
	wantNothingLeft(t)
	// What was given up with the namespace is the test's to remove.
	kubectl(t, "create", "namespace", "hpabench-e2e-stuck")
	kubectl(t, "patch", "configmap", "holder", "-n", "hpabench-e2e-stuck", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	kubectl(t, "delete", "namespace", "hpabench-e2e-stuck")
}
