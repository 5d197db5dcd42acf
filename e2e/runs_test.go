//go:build e2e

package e2e

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/analysis"
)

// surgeOver is closed when demo-nginx has only its long calm before it: then
// there is room on the machine for the runs beside it.
var surgeOver = make(chan struct{})

// TestRuns has the long runs side by side, one load at a time.
func TestRuns(t *testing.T) {
	t.Run("demo-nginx", func(t *testing.T) {
		t.Parallel()
		defer func() {
			select {
			case <-surgeOver:
			default:
				close(surgeOver)
			}
		}()
		testDemoNginx(t)
	})
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		<-surgeOver
		t.Run("start", testSlowStart)
		t.Run("stop", testSlowStop)
	})
}

func testDemoNginx(t *testing.T) {
	deployments, pods := observe[appsv1.Deployment](t, "deployments"), observe[corev1.Pod](t, "pods")
	run := startRun(t, "../scenarios/demo-nginx.yaml")
	run.waitFor(`^surge `, 3*time.Minute)
	run.waitFor(`^calm `, 4*time.Minute)
	time.Sleep(2 * time.Second) // what is in flight when the phase ends
	served := served(t, run)
	close(surgeOver)
	run.wait(0, 12*time.Minute)

	r := run.result()
	compare(t, r, deployments, pods)
	if got := steps(r); got[0] != 2 || got[len(got)-1] != 2 || *r.Reach.DesiredPeak != 5 || *r.Reach.Peak != 5 {
		t.Errorf("replicas went %v, ready peak %d; want 2 → 5 → 2", got, *r.Reach.Peak)
	}
	surge := r.Load.Phases[1]
	t.Logf("requests: sent %d, answered %d, failed %d; nginx counted %d", surge.Sent, surge.Answered, surge.Failed, served)
	if surge.Answered+surge.Failed != surge.Sent || surge.Answered != served {
		t.Errorf("nginx counted %d requests, the report has %d answered of %d sent", served, surge.Answered, surge.Sent)
	}
	wantNamespaceGone(t, r)
}

// served sums up nginx's own counters of the pods of a run, less these requests.
func served(t *testing.T, run *invocation) (sum uint64) {
	t.Helper()
	namespace := ""
	for _, e := range run.record().Entries {
		if e.Subject != nil {
			namespace = e.Subject.Namespace
		}
	}
	for _, pod := range strings.Fields(kubectl(t, "get", "pods", "-n", namespace, "-o", "jsonpath={.items[*].metadata.name}")) {
		status := kubectl(t, "get", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+pod+"/proxy/nginx_status")
		m := regexp.MustCompile(`requests\s+(\d+) (\d+) (\d+)`).FindStringSubmatch(status)
		if m == nil {
			t.Fatalf("nginx_status of %s: %s", pod, status)
		}
		n, err := strconv.ParseUint(m[3], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += n - 1
	}
	return sum
}

// compare holds every decision and every instant of every pod against what the
// observers saw.
func compare(t *testing.T, r *analysis.Result, deployments *observer[appsv1.Deployment], pods *observer[corev1.Pod]) {
	t.Helper()
	deployment := deployments.all(func(d appsv1.Deployment) bool { return d.Namespace == r.Subject.Namespace && d.Name == r.Subject.Name })
	for _, transition := range r.Transitions {
		for _, step := range transition.Steps {
			after := r.Started.Add(time.Duration((step.AtSeconds - 1) * float64(time.Second)))
			observed := firstWhere(deployment, func(d appsv1.Deployment) bool { return *d.Spec.Replicas == step.To })
			for _, s := range deployment { // the same number can come twice: take the one from about then
				if *s.object.Spec.Replicas == step.To && s.at.After(after) {
					observed = s.at
					break
				}
			}
			wantNear(t, "decision "+strconv.Itoa(int(step.From))+" → "+strconv.Itoa(int(step.To)), r.Started, &step.AtSeconds, observed)
		}
	}
	for _, p := range r.Pods {
		if p.Before {
			continue
		}
		seen := pods.all(func(o corev1.Pod) bool { return string(o.UID) == p.UID })
		wantNear(t, p.Name+" created", r.Started, p.Created, firstWhere(seen, func(corev1.Pod) bool { return true }))
		wantNear(t, p.Name+" scheduled", r.Started, p.Scheduled, firstWhere(seen, func(o corev1.Pod) bool { return hasCondition(o, corev1.PodScheduled) }))
		wantNear(t, p.Name+" ready", r.Started, p.Ready, firstWhere(seen, func(o corev1.Pod) bool { return hasCondition(o, corev1.PodReady) }))
		if p.Terminating != nil {
			wantNear(t, p.Name+" terminating", r.Started, p.Terminating, firstWhere(seen, func(o corev1.Pod) bool { return o.DeletionTimestamp != nil }))
		}
	}
}

// steps returns the replicas that the target's scale went through.
func steps(r *analysis.Result) []int32 {
	var all []int32
	for _, t := range r.Transitions {
		for _, s := range t.Steps {
			if len(all) == 0 {
				all = append(all, s.From)
			}
			all = append(all, s.To)
		}
	}
	if len(all) == 0 {
		all = append(all, -1)
	}
	return all
}

func testSlowStart(t *testing.T) {
	deployments, pods := observe[appsv1.Deployment](t, "deployments"), observe[corev1.Pod](t, "pods")
	run := startRun(t, "../scenarios/slow-start.yaml")
	run.wait(0, 8*time.Minute)
	r := run.result()
	compare(t, r, deployments, pods)
	up := r.FirstUp()
	if up == nil || up.ScaleUp.First == nil {
		t.Fatal("no scale-up in the report")
	}
	// The init container sleeps for 8 s, and the server comes up 6 s after its
	// container started, which the startup probe finds out within its period.
	wantStage(t, up.ScaleUp.First.Stages, analysis.StagePull, 8, 12)
	wantStage(t, up.ScaleUp.First.Stages, analysis.StageReady, 5.5, 10)
	wantNamespaceGone(t, r)
}

func testSlowStop(t *testing.T) {
	deployments, pods := observe[appsv1.Deployment](t, "deployments"), observe[corev1.Pod](t, "pods")
	run := startRun(t, "../scenarios/slow-stop.yaml")
	run.wait(0, 8*time.Minute)
	r := run.result()
	compare(t, r, deployments, pods)
	down := r.LastDown()
	if down == nil || down.ScaleDown.Pod == "" {
		t.Fatal("no scale-down in the report")
	}
	// preStop sleeps for 12 s, then the server drains for 3 s; the endpoint goes
	// at once.
	wantStage(t, down.ScaleDown.Stages, analysis.StageGone, 14.5, 22)
	wantStage(t, down.ScaleDown.Stages, analysis.StageOutOfService, 0, 2)
	wantNamespaceGone(t, r)
}

func wantStage(t *testing.T, stages []analysis.Stage, name string, atLeast, atMost float64) {
	t.Helper()
	for _, s := range stages {
		if s.Name != name {
			continue
		}
		if s.Seconds == nil {
			t.Errorf("stage %q is missing: %s", name, s.Missing)
			return
		}
		t.Logf("stage %q took %.3f s", name, *s.Seconds)
		if *s.Seconds < atLeast || *s.Seconds > atMost {
			t.Errorf("stage %q took %.3f s, want %v to %v", name, *s.Seconds, atLeast, atMost)
		}
		return
	}
	t.Errorf("there is no stage %q", name)
}

func wantNamespaceGone(t *testing.T, r *analysis.Result) {
	t.Helper()
	if out, err := tryKubectl("get", "namespace", r.Subject.Namespace); err == nil {
		t.Errorf("the run's namespace is still there:\n%s", out)
	}
}
