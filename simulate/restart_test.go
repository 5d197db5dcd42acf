package simulate

import (
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// one is a run of a single pod that gets some requests a second for two minutes, of 10 ms of
// CPU each, with a limit of one core.
func one(rate float64) *Run {
	cost := &model.Cost{Mean: metav1.Duration{Duration: 10 * time.Millisecond}}
	cores := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
	pod := corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "example.com/web", Resources: corev1.ResourceRequirements{Requests: cores, Limits: cores}}}}
	r := &Run{
		Plant: Guess(pod, model.Model{CPU: cost}), Pod: pod, Name: "web", Replicas: 1, Timeout: 10 * time.Second, Seed: 1,
		Phases: []record.Phase{{Name: "low", Seconds: 10, Shape: record.ShapeIdle}, {Name: "high", Seconds: 120, Shape: record.ShapeRate, From: rate}},
		Header: &record.Header{MetricsEvery: 1},
	}
	r.HPA.MaxReplicas, r.HPA.ScaleTargetRef.Name, r.HPA.ScaleTargetRef.Kind = 1, "web", "Deployment"
	return r
}

func TestRestarts(t *testing.T) {
	seconds := func(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * time.Second} }
	memory := func(r *Run, limit, each string, held *metav1.Duration) {
		r.Pod.Containers[0].Resources.Limits[corev1.ResourceMemory] = resource.MustParse(limit)
		r.Plant.Workload.MemoryPerRequest, r.Plant.Workload.MemoryHeld = new(resource.MustParse(each)), held
	}
	liveness := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(80)}}, PeriodSeconds: 5, TimeoutSeconds: 1}
	for _, c := range []struct {
		name        string
		rate        float64
		change      func(r *Run)
		reason      string
		least, most int32
	}{
		{"healthy", 50, func(r *Run) {
			r.Pod.Containers[0].LivenessProbe = liveness
			memory(r, "128Mi", "1Mi", seconds(1))
		}, "", 0, 0},
		// It crashes at 40 s of each life: 1 restart at once, the next after 10 s, 20 s.
		{"crash", 50, func(r *Run) { r.Plant.Workload.Fault = &model.Fault{Crash: seconds(40)} }, "Error", 3, 3},
		// 50 requests a second are held for 4 s: 200 of 1 MiB.
		{"memory that is held", 50, func(r *Run) { memory(r, "128Mi", "1Mi", seconds(4)) }, "OOMKilled", 3, 6},
		// Of 150 requests a second 50 more wait each second.
		{"memory of those that wait", 150, func(r *Run) { memory(r, "128Mi", "1Mi", nil) }, "OOMKilled", 3, 6},
		{"liveness", 400, func(r *Run) { r.Pod.Containers[0].LivenessProbe = liveness; r.Plant.Workload.Workers = new(10_000) }, "Completed", 1, 6},
		{"liveness that nothing holds up", 50, func(r *Run) { r.Pod.Containers[0].LivenessProbe = liveness }, "", 0, 0},
		{"a command as a liveness probe", 400, func(r *Run) {
			r.Pod.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
		}, "", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, header := range []*record.Header{{MetricsEvery: 1}, nil} { // tune makes no record
				r := one(c.rate)
				c.change(r)
				r.Header = header
				entries, score := simulate(t, r)
				if header == nil {
					if failed := score.Missed > 0.02*score.Requests; failed != (c.reason != "" || c.rate > 100) {
						t.Errorf("without a record %.0f of %.0f requests are missed", score.Missed, score.Requests)
					}
					continue
				}
				var restarts int32
				reason, backOff := "", false
				for _, e := range entries {
					if e.Pod == nil || len(e.Pod.Status.ContainerStatuses) == 0 {
						continue
					}
					s := e.Pod.Status.ContainerStatuses[0]
					restarts = max(restarts, s.RestartCount)
					if s.LastTerminationState.Terminated != nil {
						reason = s.LastTerminationState.Terminated.Reason
					}
					backOff = backOff || s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff"
					if ended := s.State.Terminated; ended != nil && ended.FinishedAt.Time.After(time.Date(2000, 1, 1, 0, 0, 0, int(e.At), time.UTC)) {
						t.Errorf("at %s the container ended at %s already", e.At, ended.FinishedAt)
					}
					if s.Ready && s.State.Running == nil {
						t.Errorf("a container that does not run is ready at %s", e.At)
					}
				}
				if reason != c.reason || restarts < c.least || restarts > c.most || restarts > 1 && !backOff || restarts == 0 && backOff {
					t.Errorf("%d restarts for %q (back-off: %v), want %d to %d for %q", restarts, reason, backOff, c.least, c.most, c.reason)
				}
			}
		})
	}
}

// A container that is killed for memory has given no more answers than its limit has room for: in 85 s there are four
// lives of a container that is killed after 4 s each, and the next one begins after 90 s, by the back-off. A leap of the
// rate within the phase makes no difference, and the kubelet sees the end within its period.
func TestKilledAtTheLimit(t *testing.T) {
	for _, c := range []struct {
		rate, seconds, lives, most float64
		curve                      []record.RatePoint
	}{
		{60, 85, 4, 259, nil},
		{700, 1, 1, 255 + 700/20, nil}, // in a step of a 20th of a second
		{600, 7.8, 1, 255 + 600/20, []record.RatePoint{{Rate: 1}, {At: 7.1, Rate: 1}, {At: 7.1, Rate: 600}}},
	} {
		r := one(c.rate)
		r.Phases[1].Seconds = c.seconds
		if c.curve != nil {
			r.Phases[1].Shape, r.Phases[1].Curve, r.Phases[0].Shape, r.Phases[0].From = record.ShapeCurve, c.curve, record.ShapeRate, 0.1
		}
		r.Pod.Containers[0].Resources.Limits[corev1.ResourceMemory] = resource.MustParse("256Mi")
		m := &r.Plant.Workload
		m.CPU.Mean.Duration = time.Millisecond
		m.Memory, m.MemoryPerRequest, m.MemoryHeld = new(resource.MustParse("1Mi")), new(resource.MustParse("1Mi")), &metav1.Duration{Duration: time.Hour}
		entries, _ := simulate(t, r)
		answered, last := 0.0, metav1.Time{}
		for _, e := range entries {
			if e.Load != nil {
				answered += float64(e.Load.Answered)
			}
			if e.Pod == nil || len(e.Pod.Status.ContainerStatuses) == 0 {
				continue
			}
			if ended := e.Pod.Status.ContainerStatuses[0].LastTerminationState.Terminated; ended != nil && ended.FinishedAt != last {
				last = ended.FinishedAt
				if seen := time.Duration(e.At) - last.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); seen > model.Relist+time.Second {
					t.Errorf("at %g requests/s the end at %s is seen after %s", c.rate, last, seen)
				}
			}
		}
		if answered < c.lives*254 || answered > c.lives*c.most {
			t.Errorf("at %g requests/s %g lives of a container have %g answers, and memory for 255 each", c.rate, c.lives, answered)
		}
	}
}

// A kept connection to a container that has ended is opened anew, to a pod that takes it.
func TestConnectionsLeaveEnded(t *testing.T) {
	r := one(20)
	r.Replicas, r.HPA.MinReplicas, r.HPA.MaxReplicas, r.Phases[1].KeepAlive = 2, new(int32(2)), 2, true
	r.Phases[1].Seconds = 40 // in which each is killed once, and started again at once
	r.Pod.Containers[0].Resources.Limits[corev1.ResourceMemory] = resource.MustParse("300Mi")
	m := &r.Plant.Workload
	m.Memory, m.MemoryPerRequest, m.MemoryHeld = new(resource.MustParse("1Mi")), new(resource.MustParse("1Mi")), &metav1.Duration{Duration: 20 * time.Second}
	_, score := simulate(t, r)
	if score.Missed > 0.01*score.Requests {
		t.Errorf("%.0f of %.0f requests fail, though one of two pods takes connections", score.Missed, score.Requests)
	}
}

// An init container that goes on running is shown to run from when it began, wherever it stands beside one
// that takes long, and whatever the pod does later.
func TestSidecarsShowTheirStart(t *testing.T) {
	r := one(100)
	r.HPA.MaxReplicas = 2
	sidecar := func(name string) corev1.Container {
		return corev1.Container{Name: name, Image: "x/proxy", RestartPolicy: new(corev1.ContainerRestartPolicyAlways), Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")}}}
	}
	r.Pod.InitContainers = []corev1.Container{sidecar("early"), {Name: "prepare", Image: "busybox", Command: []string{"sleep", "20"}}, {Name: "again", Image: "busybox", Command: []string{"sleep", "20"}}, sidecar("late")}
	entries, _ := simulate(t, r)
	pods := map[string]bool{}
	for _, e := range entries {
		if e.Pod == nil {
			continue
		}
		pods[e.Pod.Name] = true
		for i, s := range e.Pod.Status.InitContainerStatuses {
			if s.State.Running == nil {
				continue
			}
			after, least := s.State.Running.StartedAt.Sub(e.Pod.Created.Time), []float64{0, 0, 20, 40}[i]
			if after.Seconds() < least || after.Seconds() > least+5 {
				t.Errorf("%s of %s is shown to run from %s after the creation, should be %g s", s.Name, e.Pod.Name, after, least)
			}
		}
	}
	if len(pods) < 2 {
		t.Errorf("there are only the pods of the start: %v", pods)
	}
}

// What can never be ready is refused with its place; what makes no difference is named.
func TestRefuses(t *testing.T) {
	const scenario = `apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: web}
spec:
  workload: {manifests: [m.yaml], model: {cpu: {mean: 1ms}, start: 40s, MODEL}}
  autoscaler: {cpuPercent: 50, max: 2}
  load: {phases: [{name: a, duration: 30s, rate: 1}]}
`
	const manifests = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      POD
      containers:
      - name: web
        image: example.com/web
        ports: [{containerPort: 80}]
        resources: {requests: {cpu: 100m}}
        CONTAINER
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
`
	for _, c := range []struct{ model, pod, container, refused, ignored string }{
		{model: "memory: 10Mi"},
		{model: "fault: {pull: true}", refused: "s.yaml:5: the image cannot be pulled"},
		{pod: "initContainers: [{name: i, image: busybox, command: [sh, -c, 'sleep 2; exit 1']}]", refused: "m.yaml:9: the init container i exits with 1"},
		{pod: "initContainers: [{name: i, image: busybox, command: [sleep, infinity]}]", refused: "m.yaml:9: the init container i never ends"},
		{pod: "initContainers: [{name: i, image: busybox, command: [sleep, '3']}]"},
		{pod: "initContainers: [{name: i, image: busybox, restartPolicy: Always, command: [sleep, infinity], resources: {requests: {cpu: 10m}}}]"},
		{pod: "readinessGates: [{conditionType: example.com/x}]", refused: "m.yaml:9: the pods are ready when"},
		{pod: "schedulingGates: [{name: example.com/x}]", refused: "m.yaml:9: the pods wait for somebody"},
		{model: "memory: 1Gi", container: "livenessProbe: {httpGet: {port: 80}, periodSeconds: 5}", refused: "m.yaml:15: the container is killed before it listens, which takes 40s"},
		{container: "livenessProbe: {httpGet: {port: 80}, initialDelaySeconds: 60}"},
		{container: "startupProbe: {httpGet: {port: 80}, periodSeconds: 2}", refused: "m.yaml:15: the container is killed before it listens"},
		{container: "startupProbe: {httpGet: {port: 80}, periodSeconds: 2, failureThreshold: 30}"},
		{pod: "nodeSelector: {a: b}", ignored: "the pods' nodeSelector"},
		{pod: "topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}]", ignored: "topologySpreadConstraints"},
	} {
		in := func(text string) string {
			return strings.NewReplacer("MODEL", c.model, "POD", c.pod, "CONTAINER", c.container).Replace(text)
		}
		f, err := scenarios.Parse("s.yaml", []byte(in(scenario)), func(name string) (string, []byte, error) {
			if name != "m.yaml" {
				return name, nil, os.ErrNotExist
			}
			return name, []byte(in(manifests)), nil
		})
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		r, err := FromScenario(f)
		switch {
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%+v: %v", c, err)
		case c.refused == "" && err != nil:
			t.Errorf("%+v: %v", c, err)
		case err == nil && (r.Ignored == "") != (c.ignored == "") || err == nil && !strings.Contains(r.Ignored, c.ignored):
			t.Errorf("%+v: ignored: %q", c, r.Ignored)
		}
	}
}

// A pod without a readiness probe is in service as soon as its containers run, as the kubelet has it, and refuses its share of the
// requests until its program listens; with one it has no request before.
func TestWithoutReadinessProbe(t *testing.T) {
	for name, probe := range map[string]*corev1.Probe{"without": nil, "with": library(t, "spike").Pod.Containers[0].ReadinessProbe} {
		r := library(t, "spike")
		r.Pod.Containers[0].ReadinessProbe = probe
		r.Plant.Workload.Start = &metav1.Duration{Duration: 10 * time.Second}
		r.SLO = 0
		// 1 → 4 → 5, say: of 45 requests a second three quarters for 10 s, and a fifth.
		if _, score := simulate(t, r); probe == nil && (score.Missed < 250 || score.Missed > 600) || probe != nil && score.Missed > 0 {
			t.Errorf("%s a probe %.0f of %.0f requests were refused", name, score.Missed, score.Requests)
		}
	}
}
