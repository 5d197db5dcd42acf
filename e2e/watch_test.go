package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

// standing is a Deployment that is there already, with its HPA: its name, what
// comes into the pod's spec and into its container, and the HPA's target.
const standing = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: 2
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 1
      %[2]s
      containers:
      - {name: web, imagePullPolicy: IfNotPresent, %[3]s}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: %[1]s}
spec:
  minReplicas: 2
  maxReplicas: 6
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %[4]s}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
  behavior: {scaleDown: {stabilizationWindowSeconds: 15}}
`

const healthy = `image: "nginx:1.15.2", resources: {requests: {cpu: 50m, memory: 16Mi}}`

// watch starts `hpabench watch`.
func watch(t *testing.T, args ...string) *invocation {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	i := hpabench(t, append([]string{"watch", "--kubeconfig", kubeconfig, "--out", dir}, args...)...)
	i.dir = dir
	return i
}

// until waits for what kubectl prints.
func until(t *testing.T, want string, args ...string) {
	t.Helper()
	var out string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		if out, _ = tryKubectl(args...); strings.Contains(out, want) {
			return
		}
	}
	t.Fatalf("kubectl %s never said %q, but %s", strings.Join(args, " "), want, out)
}

// untilActive waits until an HPA has its metrics.
func untilActive(t *testing.T, name string) {
	t.Helper()
	until(t, "True", "get", "hpa", name, "-o", `jsonpath={.status.conditions[?(@.type=="ScalingActive")].status}`)
}

// TestWatch watches somebody else scaling: by hand, and then the HPA that takes
// that back.
func TestWatch(t *testing.T) {
	embeddedWillDo(t)
	apply(t, fmt.Sprintf(standing, "watched", "", healthy, "watched"))
	untilActive(t, "watched")
	before := kubectl(t, "get", "deployment,hpa", "watched", "-o", "jsonpath={range .items[*]}{.metadata.uid}{.metadata.labels}{end}")
	w := watch(t, "deployment/watched")
	w.waitFor("ready 2/2", time.Minute)
	kubectl(t, "scale", "deployment", "watched", "--replicas=4")
	w.waitFor("ready 4/", time.Minute) // the HPA may have taken it back by then
	until(t, "2", "get", "deployment", "watched", "-o", "jsonpath={.spec.replicas}")
	time.Sleep(2 * time.Second)
	w.cmd.Process.Signal(os.Interrupt)
	w.wait(0, time.Minute)

	run, r := w.record(), w.result()
	h := run.Header()
	if h.Scenario != "hpa/watched" || len(h.Phases) != 1 || h.Phases[0].Shape != record.ShapeObserved || h.Phases[0].Seconds != 0 {
		t.Errorf("the header has %+v", h)
	}
	var edges, managers []string
	for _, e := range run.Entries {
		if e.Phase != nil {
			edges = append(edges, e.Phase.Edge)
		}
		if e.Target != nil {
			managers = append(managers, e.Target.Manager)
		}
		if e.Load != nil || e.Gap != nil {
			t.Errorf("unexpected: %+v", e)
		}
	}
	if !slices.Equal(edges, []string{"start", "end"}) || run.Truncated || r.Outcome != record.Completed {
		t.Errorf("phase %v, truncated %v, outcome %s", edges, run.Truncated, r.Outcome)
	}
	// The HPA's is kube-controller-manager, and the lab's own name where that is
	// the process.
	managers = slices.Compact(managers)
	if n := len(managers); n < 3 || managers[n-2] != "kubectl" || managers[n-1] == "" || managers[n-1] == "kubectl" {
		t.Errorf("the replicas were written by %v", managers)
	}
	// On its way down it may stop at 3: a pod without metrics counts as fully used.
	if got := slices.DeleteFunc(steps(r), func(n int32) bool { return n == 3 }); !slices.Equal(got, []int32{2, 4, 2}) {
		t.Errorf("replicas went %v, want 2 → 4 → 2", steps(r))
	}
	if r.Now == nil || r.Now.Recommended == nil || *r.Now.Recommended > 2 || r.Now.Replicas == nil || *r.Now.Replicas != 2 {
		t.Errorf("it would do now: %+v", r.Now)
	}
	if after := kubectl(t, "get", "deployment,hpa", "watched", "-o", "jsonpath={range .items[*]}{.metadata.uid}{.metadata.labels}{end}"); after != before {
		t.Errorf("the objects changed:\n%s\n%s", before, after)
	}
	wantNothingLeft(t)
}

// TestWatchFor ends by itself, watches an HPA that cannot work, and says what is
// wrong with it before.
func TestWatchFor(t *testing.T) {
	embeddedWillDo(t)
	apply(t, fmt.Sprintf(standing, "unmeasured", "", `image: "nginx:1.15.2"`, "unmeasured"))
	until(t, "False", "get", "hpa", "unmeasured", "-o", `jsonpath={.status.conditions[?(@.type=="ScalingActive")].status}`)
	w := watch(t, "unmeasured", "--for", "4s")
	w.wait(0, time.Minute)
	for _, words := range []string{"warning  autoscaler: HPA unmeasured", "ScalingActive is False", "warning  target: the autoscaler's target is a share of the cpu request", "left"} {
		if !strings.Contains(w.stderr(), words) {
			t.Errorf("it did not say %q", words)
		}
	}
	if r := w.result(); r.EndSeconds-r.StartSeconds < 4 || r.EndSeconds-r.StartSeconds > 10 {
		t.Errorf("it watched for %.1f s, want 4 s", r.EndSeconds-r.StartSeconds)
	}
}

func TestWatchWhatIsNotThere(t *testing.T) {
	embeddedWillDo(t)
	apply(t, fmt.Sprintf(standing, "there", "", healthy, "there"))
	for _, test := range []struct{ ref, words string }{
		{"hpa/nowhere", "there is no HPA nowhere in namespace default"},
		{"hpa/nowhere", "there are: "},
		{"deployment/nowhere", "no HPA in namespace default scales Deployment nowhere"},
		{"frobs/nowhere", `the cluster has no resource "frobs"`},
		{"a/b/c", "names no autoscaler"},
	} {
		w := watch(t, test.ref)
		w.wait(2, time.Minute)
		if !strings.Contains(w.stderr(), test.words) {
			t.Errorf("%s: it did not say %q", test.ref, test.words)
		}
	}
	if out, err := exec.Command(binary, "__complete", "watch", "--kubeconfig", kubeconfig, "").Output(); err != nil || !strings.Contains(string(out), "hpa/there\n") {
		t.Errorf("completion gives %s (%v)", out, err)
	}
}

// diagnosis is the JSON of `hpabench doctor`, as far as tests look at it.
type diagnosis struct {
	Able     bool               `json:"able"`
	Checks   []record.Check     `json:"checks"`
	Cluster  *record.Cluster    `json:"cluster"`
	Now      *analysis.Now      `json:"now"`
	Findings []analysis.Finding `json:"findings"`
}

func doctor(t *testing.T, code int, args ...string) diagnosis {
	t.Helper()
	i := hpabench(t, append([]string{"doctor", "--kubeconfig", kubeconfig, "-o", "json"}, args...)...)
	i.wait(code, time.Minute)
	var d diagnosis
	if err := json.Unmarshal(i.stdout.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d.Able != (code == 0) {
		t.Errorf("exit code %d, and able is %v", code, d.Able)
	}
	return d
}

func TestDoctorHealthy(t *testing.T) {
	embeddedWillDo(t)
	apply(t, fmt.Sprintf(standing, "fit", "", healthy, "fit"))
	untilActive(t, "fit")
	kubectl(t, "rollout", "status", "deployment", "fit")
	d := doctor(t, 0, "hpa/fit")
	for _, c := range d.Checks {
		if c.Outcome != record.OK {
			t.Errorf("a healthy cluster has %+v", c)
		}
	}
	if len(d.Findings) != 0 {
		t.Errorf("a healthy autoscaler has the findings %+v", d.Findings)
	}
	if d.Now == nil || len(d.Now.Metrics) != 1 || d.Now.Metrics[0].Target != "50 %" || d.Now.Metrics[0].Status == "" || d.Now.Metrics[0].Pods == "" ||
		d.Now.LimitedBy != analysis.LimitMin || *d.Now.Desired != 2 {
		t.Errorf("it would do now: %+v", d.Now)
	}
	if n := d.Cluster.Nodes; len(n) == 0 || n[0].Free.Cpu().IsZero() || n[0].Free.Cpu().AsApproximateFloat64() > n[0].CPU {
		t.Errorf("the nodes are %+v", n)
	}

	c := doctor(t, 0, "-n", "default")
	if !slices.ContainsFunc(c.Checks, func(c record.Check) bool {
		return c.Name == "hpa/fit -n default" && c.Outcome == record.OK
	}) {
		t.Errorf("the cluster's checks lack the HPA: %+v", c.Checks)
	}
}

// TestDoctorIll provokes what keeps an autoscaler from scaling and wants it found,
// and nothing else.
func TestDoctorIll(t *testing.T) {
	embeddedWillDo(t)
	const waiting = `jsonpath={.items[*].status.containerStatuses[*].state.waiting.reason}`
	for _, test := range []struct {
		name, pod, container, target string
		shows                        []string // kubectl's arguments, and what they print when it has come
		finding                      string
		check                        string // words of the check that is a fault
	}{
		{"no-request", "", `image: "nginx:1.15.2"`, "", []string{"FailedGetResourceMetric", "get", "hpa", "no-request", "-o", "jsonpath={.status.conditions[*].reason}"}, analysis.FoundNoRequest, "ScalingActive is False"},
		{"no-target", "", healthy, "nowhere", []string{"FailedGetScale", "get", "hpa", "no-target", "-o", "jsonpath={.status.conditions[*].reason}"}, "", "Deployment nowhere does not exist in namespace default"},
		{"no-image", "", `image: "nginx:no-such-tag", resources: {requests: {cpu: 50m}}`, "", []string{"ImagePull", "get", "pods", "-l", "app=no-image", "-o", waiting}, analysis.FoundImage, ""},
		{"no-node", "nodeSelector: {disk: nowhere}", healthy, "", []string{"Unschedulable", "get", "pods", "-l", "app=no-node", "-o", "jsonpath={.items[*].status.conditions[*].reason}"}, analysis.FoundUnschedulable, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			target := test.target
			if target == "" {
				target = test.name
			}
			yaml := fmt.Sprintf(standing, test.name, test.pod, test.container, target)
			if test.name == "no-image" { // what a modelled pull has to be told
				yaml = strings.Replace(yaml, "metadata: {labels: {app: no-image}}", `metadata: {labels: {app: no-image}, annotations: {hpabench.dev/model: '{"fault": {"pull": true}}'}}`, 1)
			}
			apply(t, yaml)
			until(t, test.shows[0], test.shows[1:]...)
			d := doctor(t, 1, "hpa/"+test.name)
			var kinds []string
			for _, f := range d.Findings {
				kinds = append(kinds, f.Kind)
			}
			if test.finding != "" && !slices.Contains(kinds, test.finding) {
				t.Errorf("found %v, want %s", kinds, test.finding)
			}
			var faults []string
			for _, c := range d.Checks {
				if c.Outcome == record.Fault {
					faults = append(faults, c.Message)
				}
			}
			if !strings.Contains(strings.Join(faults, "\n"), test.check) {
				t.Errorf("faults %q, want one with %q", faults, test.check)
			}
			t.Logf("findings %+v\nnow %+v", d.Findings, d.Now)
		})
	}
	doctor2 := hpabench(t, "doctor", "--kubeconfig", kubeconfig, "hpa/nowhere")
	doctor2.wait(2, time.Minute)
}
