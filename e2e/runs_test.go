package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/analysis"
)

// TestDemoNginx is the walk-through. Within its long calm there is room on the
// machine for the other two runs that are compared with the observers, and for the
// load from the cluster.
func TestDemoNginx(t *testing.T) {
	needsKubelet(t)
	seen := observeAll(t)
	run := startRun(t, "../scenarios/demo-nginx.yaml")
	run.waitFor(`^surge `, 3*time.Minute)
	run.waitFor(`^calm `, 4*time.Minute)
	time.Sleep(2 * time.Second) // what is in flight when the phase ends
	served := served(t, run)

	t.Run("beside", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T){"slow-start": testSlowStart, "slow-stop": testSlowStop} {
			t.Run(name, func(t *testing.T) {
				t.Parallel() // they hardly use the machine
				test(t)
			})
		}
	})
	t.Run("job", testJob)
	t.Run("job-logs", testJobLogs)

	run.wait(0, 12*time.Minute)
	r := run.result()
	seen.compare(t, run)
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

// served sums up nginx's own counters of the workload's pods, less these requests.
func served(t *testing.T, run *invocation) (sum uint64) {
	t.Helper()
	namespace := ""
	for _, e := range run.record().Entries {
		if e.Subject != nil {
			namespace = e.Subject.Namespace
		}
	}
	for _, pod := range strings.Fields(kubectl(t, "get", "pods", "-n", namespace, "-l", "!batch.kubernetes.io/job-name", "-o", "jsonpath={.items[*].metadata.name}")) {
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

// observers are kubectl's watches beside a run.
type observers struct {
	autoscalers *observer[autoscalingv2.HorizontalPodAutoscaler]
	deployments *observer[appsv1.Deployment]
	pods        *observer[corev1.Pod]
}

func observeAll(t *testing.T) observers {
	return observers{observe[autoscalingv2.HorizontalPodAutoscaler](t, "hpa"), observe[appsv1.Deployment](t, "deployments"), observe[corev1.Pod](t, "pods")}
}

// compare holds every decision, as the target's scale and the HPA's status show
// it, and every instant of every pod against what the observers saw.
func (o observers) compare(t *testing.T, run *invocation) {
	t.Helper()
	r := run.result()
	// The same number of replicas can come twice: only what was seen from a second
	// before the report's instant on can be the same change.
	since := func(at float64) time.Time { return r.Started.Add(time.Duration((at - 1) * float64(time.Second))) }
	deployment := o.deployments.all(func(d appsv1.Deployment) bool { return d.Namespace == r.Subject.Namespace && d.Name == r.Subject.Name })
	for _, transition := range r.Transitions {
		for _, step := range transition.Steps {
			observed := firstWhere(after(deployment, since(step.AtSeconds)), func(d appsv1.Deployment) bool { return *d.Spec.Replicas == step.To })
			wantNear(t, fmt.Sprintf("decision %d → %d", step.From, step.To), r.Started, &step.AtSeconds, observed)
		}
	}
	// The other way round: nothing that the observers saw is missing.
	got := steps(r)
	scales := got[:1:1]
	for _, s := range after(deployment, since(r.StartSeconds)) {
		if n := *s.object.Spec.Replicas; scales[len(scales)-1] != n {
			scales = append(scales, n)
		}
	}
	if !slices.Equal(got, scales) {
		t.Errorf("the report has the replicas %v, the observer saw %v", got, scales)
	}
	uids := map[string]bool{}
	for _, p := range r.Pods {
		uids[p.UID] = true
	}
	for _, s := range o.pods.all(func(o corev1.Pod) bool { return o.Namespace == r.Subject.Namespace }) {
		if !uids[string(s.object.UID)] && strings.HasPrefix(s.object.Name, r.Subject.Name+"-") { // and of nothing in front of it
			t.Errorf("pod %s is not in the report", s.object.Name)
		}
	}
	autoscaler := o.autoscalers.all(func(h autoscalingv2.HorizontalPodAutoscaler) bool {
		return h.Namespace == r.Subject.Namespace && h.Name == r.Subject.Autoscaler
	})
	desired := int32(-1) // until the list that a run's watch begins with, which tells no instant of a change
	for _, e := range run.record().Entries {
		if a := e.Autoscaler; a != nil && !a.Deleted && a.Status.DesiredReplicas != desired {
			first := desired < 0
			desired = a.Status.DesiredReplicas
			if first {
				continue
			}
			at := e.At.Seconds()
			observed := firstWhere(after(autoscaler, since(at)), func(h autoscalingv2.HorizontalPodAutoscaler) bool { return h.Status.DesiredReplicas == desired })
			wantNear(t, fmt.Sprintf("HPA status: desired %d", desired), r.Started, &at, observed)
		}
	}
	for _, p := range r.Pods {
		if p.Before {
			continue
		}
		seen := o.pods.all(func(o corev1.Pod) bool { return string(o.UID) == p.UID })
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
	seen := observeAll(t)
	run := startRun(t, "../scenarios/slow-start.yaml")
	run.wait(0, 8*time.Minute)
	r := run.result()
	seen.compare(t, run)
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
	seen := observeAll(t)
	run := startRun(t, "../scenarios/slow-stop.yaml")
	run.wait(0, 8*time.Minute)
	r := run.result()
	seen.compare(t, run)
	down := r.LastDown()
	if down == nil || down.ScaleDown.First == nil {
		t.Fatal("no scale-down in the report")
	}
	// preStop sleeps for 12 s, then the server drains for 3 s; the endpoint goes
	// at once.
	wantStage(t, down.ScaleDown.First.Stages, analysis.StagePreStop, 11.5, 13)
	wantStage(t, down.ScaleDown.First.Stages, analysis.StageExit, 2.5, 6)
	wantStage(t, down.ScaleDown.First.Stages, analysis.StageOutOfService, 0, 2)
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
