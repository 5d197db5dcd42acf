package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/hpabench/hpabench/analysis"
)

// small scales from one replica to six or so within a minute: a request costs 6 ms
// and something, and a replica is to use 10m. Each case changes what provokes its
// fault. Pods that ignore SIGTERM, as a shell does, are not waited for.
const small = `
apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: small}
spec:
  workload:
    deployment:
      image: registry.k8s.io/hpa-example
      imagePullPolicy: IfNotPresent
      port: 80
      resources: {requests: {cpu: 20m}}
      env: [{name: BURN, value: 6ms}]
      readinessProbe: {httpGet: {path: /healthz, port: 80}, periodSeconds: 1, timeoutSeconds: 3}
      template: {spec: {terminationGracePeriodSeconds: 1}}
  autoscaler:
    spec:
      minReplicas: 1
      maxReplicas: 9
      metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
  load:
    phases:
    - {name: idle, duration: 10s, rate: 0}
    - {name: surge, duration: 75s, rate: 10, keepAlive: false}
`

// sidecar is a change of small: a container beside the server.
func sidecar(fields string) string {
	return fmt.Sprintf("spec: {workload: {deployment: {template: {spec: {containers: [{name: sidecar, image: busybox, imagePullPolicy: IfNotPresent, %s}]}}}}}", fields)
}

// changed writes small with a change, a YAML of the fields that differ.
func changed(t *testing.T, name, change string) string {
	t.Helper()
	var whole map[string]any
	for _, text := range []string{small, "metadata: {name: " + name + "}", change} {
		var fields map[string]any
		if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		whole = merge(whole, fields)
	}
	return scenario(t, string(must(yaml.Marshal(whole))))
}

// merge puts the change into base. Lists are replaced.
func merge(base, change map[string]any) map[string]any {
	if base == nil {
		return change
	}
	for key, value := range change {
		if fields, ok := value.(map[string]any); ok {
			old, _ := base[key].(map[string]any)
			value = merge(old, fields)
		}
		base[key] = value
	}
	return base
}

// finding is what a case wants: the kind, the object and words, all three as
// regular expressions of the whole or of a part of the finding's sentences.
type finding struct {
	kind   string
	object string
	words  []string
}

// wantFindings wants the finding, and no other that blocks or limits.
func wantFindings(t *testing.T, found []analysis.Finding, want finding) {
	t.Helper()
	there := false
	for _, f := range found {
		t.Logf("%s %s on %s %v, %s to %s\n  seen: %s\n  cause: %s\n  advice: %s", f.Severity, f.Kind, f.Object, f.Others, seconds(f.SinceSeconds), seconds(f.UntilSeconds), f.Seen, f.Cause, f.Advice)
		if f.Kind != want.kind {
			if f.Severity != analysis.Notice {
				t.Errorf("a false finding: %s", f.Kind)
			}
			continue
		}
		there = true
		if !regexp.MustCompile("^(" + want.object + ")$").MatchString(f.Object) {
			t.Errorf("%s is found on %s, want %s", f.Kind, f.Object, want.object)
		}
		text := strings.Join([]string{f.Seen, f.Cause, f.Advice}, "\n")
		for _, words := range want.words {
			if !regexp.MustCompile(words).MatchString(text) {
				t.Errorf("%s does not say %q", f.Kind, words)
			}
		}
		if f.Seen == "" || f.Cause == "" || f.Advice == "" {
			t.Errorf("%s has an empty sentence", f.Kind)
		}
	}
	if !there {
		t.Errorf("%s was not found", want.kind)
	}
}

func seconds(at *float64) string {
	if at == nil {
		return "?"
	}
	return fmt.Sprintf("%.1f s", *at)
}

// runCase is a finding that a run of a changed small shows.
type runCase struct {
	finding
	change string
	args   []string                          // of hpabench run
	during func(t *testing.T, r *invocation) // from the start on; ends before the run
}

func (c runCase) run(t *testing.T) {
	name := strings.ToLower(c.kind)
	// Cases wait for one another, so that instants are only known now. Pods that
	// start half a minute from now are not the first.
	in := func(d time.Duration) string { return fmt.Sprint(time.Now().Add(d).Unix()) }
	change := strings.NewReplacer("IN_30S", in(30*time.Second), "IN_85S", in(85*time.Second)).Replace(c.change)
	run := startRun(t, changed(t, name, change), c.args...)
	if c.during != nil {
		c.during(t, run)
	}
	code := 0
	if c.kind == analysis.FoundForeignScale { // what somebody did spoils the measurement
		code = 3
	}
	run.wait(code, 6*time.Minute)
	r := run.result()
	t.Logf("replicas went %v", steps(r))
	wantFindings(t, r.Findings, c.finding)
	wantStagesAddUp(t, r)
}

// inSurge does something some time after the surge began.
func inSurge(after time.Duration, do func(t *testing.T, r *invocation)) func(*testing.T, *invocation) {
	return func(t *testing.T, r *invocation) {
		r.waitFor(`^surge `, 4*time.Minute)
		time.Sleep(after)
		do(t, r)
	}
}

// namespaceOf is where the run is, while it is.
func namespaceOf(t *testing.T, deployment string) string {
	t.Helper()
	return strings.TrimSpace(kubectl(t, "get", "deployments", "-A", "--field-selector=metadata.name="+deployment, "-o", "jsonpath={.items[0].metadata.namespace}"))
}

// together are the cases that leave the node and its metrics as they are.
//
// metrics-missing and metrics-stale are not among them, as one metrics-server
// scrapes one node in time or not at all, nor is not-scaled: package analysis
// tests them.
func together() []runCase {
	return []runCase{
		{
			finding: finding{analysis.FoundCrash, "pod/crash-.*", []string{"exit(ed|s)?.* 3", "sidecar", "`kubectl .*logs .*--previous"}},
			// The first pod stays, or the run would wait for it; the new ones crash.
			change: sidecar(`command: [sh, -c, "test $(date +%s) -lt IN_30S && sleep 1d; sleep 20; exit 3"], resources: {requests: {cpu: 1m}}`),
		},
		{
			finding: finding{analysis.FoundOOM, "pod/out-of-memory-.*", []string{"OOMKilled", "20Mi", "sidecar"}},
			// dd fills a buffer of more than the container may have.
			change: sidecar(`command: [sh, -c, "test $(date +%s) -lt IN_30S && sleep 1d; sleep 15; exec dd if=/dev/zero of=/dev/null bs=64M count=1"], resources: {requests: {cpu: 1m}, limits: {memory: 20Mi}}`),
		},
		{
			finding: finding{analysis.FoundProbe, "pod/probe-.*", []string{"[Rr]eadiness", "`kubectl "}},
			// All of them fail from somewhere in the surge on, which begins 35 to 65 s
			// after the start.
			change: sidecar(`command: [sh, -c, "sleep 1d"], resources: {requests: {cpu: 1m}}, readinessProbe: {exec: {command: [sh, -c, "test $(date +%s) -lt IN_85S"]}, periodSeconds: 1, timeoutSeconds: 3}`),
		},
		{
			finding: finding{analysis.FoundInit, "pod/init-.*", []string{"prepare", `4[5-9](\.\d+)? s`}},
			change: `
spec:
  workload: {deployment: {template: {spec: {initContainers: [{name: prepare, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "45"]}]}}}}
  load: {phases: [{name: surge, duration: 100s, rate: 10, keepAlive: false}]}`,
		},
		{
			finding: finding{analysis.FoundPostStart, "pod/post-start-.*", []string{"postStart", `4[5-9](\.\d+)? s`}},
			change: `
spec:
  workload: {deployment: {lifecycle: {postStart: {sleep: {seconds: 45}}}, template: {spec: {terminationGracePeriodSeconds: 60}}}}
  load: {phases: [{name: surge, duration: 100s, rate: 10, keepAlive: false}]}`,
		},
		{
			finding: finding{analysis.FoundQuota, "(replicaset|deployment)/quota.*", []string{"two-pods", `pods`, "`kubectl "}},
			args:    []string{"-n", "hpabench-e2e-quota"},
		},
		{
			finding: finding{analysis.FoundForeignScale, "deployment/foreign-scale", []string{"kubectl", `\b8\b`}},
			during: inSurge(55*time.Second, func(t *testing.T, r *invocation) {
				kubectl(t, "scale", "deployment", "foreign-scale", "-n", namespaceOf(t, "foreign-scale"), "--replicas=8")
			}),
		},
		{
			finding: finding{analysis.FoundMaxReached, "hpa/max-reached", []string{`\b2\b`, "50 %"}},
			change:  `spec: {autoscaler: {spec: {maxReplicas: 2}}}`,
		},
		{
			finding: finding{analysis.FoundLoadTooSmall, "hpa/load-too-small", []string{`\d requests (a|per) second|\d/s`, "50 %"}},
			change:  `spec: {load: {phases: [{name: surge, duration: 60s, rate: 1, keepAlive: false}]}}`,
		},
		{
			finding: finding{analysis.FoundStarved, "(service|deployment|pod)/starved.*", []string{"keepAlive|keep-alive|connection"}},
			// An open loop whose requests do not overlap takes one connection.
			change: `spec: {load: {phases: [{name: idle, duration: 10s, rate: 0}, {name: surge, duration: 90s, rate: 10, keepAlive: true}]}}`,
		},
		{
			finding: finding{analysis.FoundCPULimit, "(pod|deployment)/cpu-limit.*", []string{"sidecar", "15m"}},
			// A replica is to use 30m of the 60m that it requests.
			change: `
spec:
  workload:
    deployment:
      resources: {requests: {cpu: 45m}}
      template: {spec: {containers: [{name: sidecar, image: busybox, imagePullPolicy: IfNotPresent, command: [sh, -c, "while :; do :; done"], resources: {requests: {cpu: 15m}, limits: {cpu: 15m}}}]}}`,
		},
		{
			finding: finding{analysis.FoundWindow, "hpa/window", []string{`300 s`, `20 s`, "stabilizationWindowSeconds"}},
			change: `
spec:
  load:
    phases:
    - {name: surge, duration: 75s, rate: 10, keepAlive: false}
    - {name: calm, duration: 20s, rate: 0}`,
		},
		{
			finding: finding{analysis.FoundFlapping, "hpa/flapping", []string{`\d reversals`, "stabilizationWindowSeconds"}},
			change: `
spec:
  autoscaler: {spec: {behavior: {scaleDown: {stabilizationWindowSeconds: 0}}}}
  load:
    phases:
    - {name: on-1, duration: 40s, rate: 10, keepAlive: false}
    - {name: off-1, duration: 45s, rate: 0}
    - {name: on-2, duration: 40s, rate: 10, keepAlive: false}
    - {name: off-2, duration: 45s, rate: 0}
    - {name: on-3, duration: 40s, rate: 10, keepAlive: false}
    - {name: off-3, duration: 45s, rate: 0}`,
		},
		{
			finding: finding{analysis.FoundTerminatingError, "(pod|deployment|service)/terminating-errors.*", []string{"preStop"}},
			// nginx ends at once when it is told to, before the node's rules know.
			change: `
spec:
  workload: {deployment: {image: "nginx:1.15.2", readinessProbe: null}}
  autoscaler:
    spec:
      metrics: [{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 10m}}}]
      behavior: {scaleDown: {stabilizationWindowSeconds: 15}}
  load:
    phases:
    - {name: surge, duration: 75s, rate: 200, keepAlive: false}
    - {name: calm, duration: 75s, rate: 60, keepAlive: false}`,
		},
	}
}

// TestFindings provokes what hpabench has findings of, for real, and wants that
// cause and no other.
func TestFindings(t *testing.T) {
	inFindings(t)
	kubectl(t, "create", "namespace", "hpabench-e2e-quota")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", "hpabench-e2e-quota", "--wait=false") })
	kubectl(t, "create", "quota", "two-pods", "--hard=pods=2", "-n", "hpabench-e2e-quota")
	t.Run("together", func(t *testing.T) {
		for _, c := range doctorCases {
			t.Run("doctor-"+c.kind, func(t *testing.T) {
				t.Parallel()
				c.run(t)
			})
		}
		for _, c := range together() {
			t.Run(c.kind, func(t *testing.T) {
				t.Parallel()
				c.run(t)
			})
		}
		t.Run("none", func(t *testing.T) {
			t.Parallel()
			testHealthy(t)
		})
	})
}

func inFindings(t *testing.T) {
	t.Helper()
	needsKubelet(t)
	if os.Getenv("HPABENCH_E2E_FINDINGS") == "" {
		t.Skip("make e2e-findings runs it")
	}
}

// testHealthy goes up and down as it should: nothing is found.
func testHealthy(t *testing.T) {
	run := startRun(t, changed(t, "healthy", `
spec:
  autoscaler: {spec: {behavior: {scaleDown: {stabilizationWindowSeconds: 15}}}}
  load:
    phases:
    - {name: idle, duration: 10s, rate: 0}
    - {name: surge, duration: 75s, rate: 10, keepAlive: false}
    - {name: calm, duration: 75s, rate: 0}`))
	run.wait(0, 6*time.Minute)
	r := run.result()
	got := steps(r)
	if got[len(got)-1] != 1 || *r.Reach.Peak < 4 {
		t.Errorf("replicas went %v", got)
	}
	for _, f := range r.Findings {
		t.Errorf("a false finding: %s %s on %s: %s %s", f.Severity, f.Kind, f.Object, f.Seen, f.Cause)
	}
	wantStagesAddUp(t, r)
}

// doctorCase is a finding that hpabench doctor has of an autoscaler that exists.
type doctorCase struct {
	finding
	container string // of the one pod of the Deployment web
}

var doctorCases = []doctorCase{
	{finding{analysis.FoundNoRequest, "deployment/web", []string{"web", "cpu|CPU", "`kubectl set resources "}},
		`image: "nginx:1.15.2"`},
	{finding{analysis.FoundImage, "pod/web-.*", []string{"nginx:no-such-tag", "pull"}},
		`image: "nginx:no-such-tag", resources: {requests: {cpu: 20m}}`},
	{finding{analysis.FoundUnschedulable, "pod/web-.*", []string{"Insufficient memory", "1Ti"}},
		`image: "nginx:1.15.2", resources: {requests: {cpu: 20m, memory: 1Ti}}`},
}

func (c doctorCase) run(t *testing.T) {
	namespace := "hpabench-e2e-" + c.kind
	apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: %[1]s}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, imagePullPolicy: IfNotPresent, %[2]s}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: %[1]s}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
`, namespace, c.container))
	// The HPA has looked at its pods twice by then, and metrics-server, too.
	kubectl(t, "wait", "--for=condition=ScalingActive=False", "hpa/web", "-n", namespace, "--timeout=60s")
	time.Sleep(30 * time.Second)
	doctor := hpabench(t, "doctor", "--kubeconfig", kubeconfig, "-n", namespace, "hpa/web", "-o", "json")
	doctor.wait(1, time.Minute)
	var d struct {
		Able     bool               `json:"able"`
		Findings []analysis.Finding `json:"findings"`
	}
	if err := json.Unmarshal(doctor.stdout.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d.Able {
		t.Error("doctor says that it is able to scale")
	}
	wantFindings(t, d.Findings, c.finding)
}
