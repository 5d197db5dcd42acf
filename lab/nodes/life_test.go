package nodes

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/record"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"

	"github.com/hpabench/hpabench/model"
)

// live runs a pod's worker in a bubble of modelled time and returns each change
// of its status with the seconds since its start, rounded up to tenths: jitter
// of the kubelet makes the times differ a little.
func live(t *testing.T, api *corev1.Pod, d time.Duration, describe func(*corev1.PodStatus) string) (said []string, when []time.Duration) {
	t.Helper()
	n, p := offline(t, api)
	p.node.phase = 0
	begun := time.Now()
	go func() {
		last := ""
		for {
			p, end := n.writes.Get()
			if end {
				return
			}
			n.writes.Done(p)
			p.mu.Lock()
			s := describe(&p.status)
			p.mu.Unlock()
			if s != last {
				said, when = append(said, s), append(when, time.Since(begun))
			}
			last = s
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	n.wg.Go(func() { p.run(ctx) })
	time.Sleep(d)
	synctest.Wait()
	cancel()
	n.writes.ShutDown()
	n.wg.Wait()
	// A probe that is about to be made has the pod in hand a little longer.
	for _, w := range p.probers {
		w.stop()
	}
	synctest.Wait()
	return said, when
}

func events(p *pod) (r []string) {
	for {
		select {
		case e := <-p.node.recorder.(*record.FakeRecorder).Events:
			r = append(r, e)
		default:
			return r
		}
	}
}

func containersOf(s *corev1.PodStatus) string {
	var r []string
	for _, c := range append(append([]corev1.ContainerStatus{}, s.InitContainerStatuses...), s.ContainerStatuses...) {
		state := "running"
		if c.State.Waiting != nil {
			state = c.State.Waiting.Reason
		} else if c.State.Terminated != nil {
			state = c.State.Terminated.Reason
		}
		if c.Ready {
			state += "*"
		}
		r = append(r, fmt.Sprintf("%s:%s/%d", c.Name, state, c.RestartCount))
	}
	return fmt.Sprintf("%s %s", s.Phase, strings.Join(r, " "))
}

func running(name string, command ...string) corev1.Container {
	return corev1.Container{Name: name, Image: "busybox", ImagePullPolicy: corev1.PullIfNotPresent, Command: command}
}

func podOf(policy corev1.RestartPolicy, containers ...corev1.Container) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "here", Name: "one", UID: "1", Generation: 1},
		Spec:       corev1.PodSpec{RestartPolicy: policy, Containers: containers},
		Status:     corev1.PodStatus{Phase: corev1.PodPending},
	}
}

// The order of states is what a kubelet of 1.37 with containerd showed of the
// same pod: one restart at once, then CrashLoopBackOff, shown when it is over.
func TestCrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said, when := live(t, podOf(corev1.RestartPolicyAlways, running("c", "sh", "-c", "sleep 2; exit 3")), 25*time.Second, containersOf)
		want := []string{
			"Pending c:ContainerCreating/0",
			"Running c:running*/0",
			"Running c:Error/0",
			"Running c:running*/1",
			"Running c:Error/1",
			"Running c:CrashLoopBackOff/1",
			"Running c:running*/2",
			"Running c:Error/2",
		}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Fatal(diff)
		}
		if wait := when[6] - when[4]; wait < 9*time.Second || wait > 16*time.Second {
			t.Errorf("the second restart comes %s after the end, not 10 s with a kubelet's jitter", wait)
		}
	})
}

func TestInitContainersAndSidecars(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := podOf(corev1.RestartPolicyNever, running("c", "sleep", "3"))
		side := running("side", "sleep", "infinity")
		side.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
		pod.Spec.InitContainers = []corev1.Container{running("one", "sleep", "2"), side, running("two", "sleep", "2")}
		pod.Spec.TerminationGracePeriodSeconds = new(int64(5))
		said, when := live(t, pod, 20*time.Second, containersOf)
		want := []string{
			"Pending one:PodInitializing/0 side:PodInitializing/0 two:PodInitializing/0 c:PodInitializing/0",
			"Pending one:running/0 side:PodInitializing/0 two:PodInitializing/0 c:PodInitializing/0",
			"Pending one:Completed*/0 side:PodInitializing/0 two:PodInitializing/0 c:PodInitializing/0",
			"Pending one:Completed*/0 side:running*/0 two:PodInitializing/0 c:PodInitializing/0",
			"Pending one:Completed*/0 side:running*/0 two:running/0 c:PodInitializing/0",
			"Pending one:Completed*/0 side:running*/0 two:Completed*/0 c:PodInitializing/0",
			"Running one:Completed*/0 side:running*/0 two:Completed*/0 c:running*/0",
			"Running one:Completed*/0 side:running*/0 two:Completed*/0 c:Completed/0",
			"Succeeded one:Completed*/0 side:Error/0 two:Completed*/0 c:Completed/0",
		}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Fatal(diff)
		}
		// sleep does not heed SIGTERM, and the kubelet looks once a second.
		if d := when[8] - when[7]; d < 5*time.Second || d.Truncate(time.Second) > 6*time.Second {
			t.Errorf("the sidecar ended %s after the others, not after its grace period and a look", d)
		}
	})
}

func TestImageThatCannotBePulled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := podOf(corev1.RestartPolicyAlways, running("c"))
		pod.Annotations = map[string]string{model.Annotation: `{"fault":{"pull":true}}`}
		said, when := live(t, pod, 20*time.Second, containersOf)
		want := []string{
			"Pending c:ContainerCreating/0",
			"Pending c:ErrImagePull/0",
			"Pending c:ImagePullBackOff/0",
		}
		if diff := cmp.Diff(want, said[:3]); diff != "" {
			t.Error(diff)
		}
		if when[1] > 2*time.Second || when[2]-when[1] < 10*time.Second || when[2]-when[1] > 15*time.Second {
			t.Errorf("ErrImagePull after %s, ImagePullBackOff after %s", when[1], when[2])
		}
	})
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := podOf(corev1.RestartPolicyAlways, running("c", "sleep", "infinity"))
		pod.Spec.ActiveDeadlineSeconds = new(int64(5))
		pod.Spec.TerminationGracePeriodSeconds = new(int64(3))
		said, when := live(t, pod, 20*time.Second, func(s *corev1.PodStatus) string { return string(s.Phase) + s.Reason })
		if diff := cmp.Diff([]string{"Pending", "Running", "FailedDeadlineExceeded"}, said); diff != "" {
			t.Fatal(diff)
		}
		if d := when[2].Round(time.Second); d != 8*time.Second && d != 9*time.Second {
			t.Errorf("failed after %s, not after deadline, grace period and a look", d)
		}
	})
}

// A pod without a process: what it does depends on what its probes say. There
// are no ports, so a TCP probe fails and an exec probe succeeds.
func TestProbesTakeTheirTime(t *testing.T) {
	exec := corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}
	tcp := corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(80)}}
	ready := func(s *corev1.PodStatus) string {
		if len(s.ContainerStatuses) == 0 || s.ContainerStatuses[0].State.Running == nil {
			return "not running"
		}
		c := s.ContainerStatuses[0]
		return fmt.Sprintf("started=%v ready=%v restarts=%d", *c.Started, c.Ready, c.RestartCount)
	}
	for name, c := range map[string]struct {
		startup, readiness, liveness *corev1.Probe
		start                        string // of a process in the place of a command
		says                         []string
		after                        []time.Duration // rounded to seconds
	}{
		"readiness is probed when the container runs": {
			readiness: &corev1.Probe{ProbeHandler: exec, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3},
			says:      []string{"not running", "started=true ready=false restarts=0", "started=true ready=true restarts=0"},
			after:     []time.Duration{0, 0, 0},
		},
		"and at the kubelet's next look": {
			readiness: &corev1.Probe{ProbeHandler: tcp, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3, TimeoutSeconds: 1},
			start:     `{"start": "200ms"}`,
			says:      []string{"not running", "started=true ready=false restarts=0", "started=true ready=true restarts=0"},
			after:     []time.Duration{0, 0, time.Second},
		},
		"an initial delay is waited for in periods": {
			readiness: &corev1.Probe{ProbeHandler: exec, InitialDelaySeconds: 5, PeriodSeconds: 3, SuccessThreshold: 2, FailureThreshold: 3},
			says:      []string{"not running", "started=true ready=false restarts=0", "started=true ready=true restarts=0"},
			after:     []time.Duration{0, 0, 10 * time.Second}, // at 1 s, its next look, they begin anew
		},
		"a startup probe holds the others back": {
			startup:   &corev1.Probe{ProbeHandler: exec, PeriodSeconds: 4, SuccessThreshold: 1, FailureThreshold: 3},
			readiness: &corev1.Probe{ProbeHandler: exec, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3},
			says:      []string{"not running", "started=false ready=false restarts=0", "started=true ready=false restarts=0", "started=true ready=true restarts=0"},
			after:     []time.Duration{0, 0, 4 * time.Second, 4 * time.Second},
		},
		"liveness kills": {
			liveness: &corev1.Probe{ProbeHandler: tcp, PeriodSeconds: 3, SuccessThreshold: 1, FailureThreshold: 2, TerminationGracePeriodSeconds: new(int64(4))},
			// The end is not reported apart from the restart.
			says:  []string{"not running", "started=true ready=true restarts=0", "started=true ready=true restarts=1"},
			after: []time.Duration{0, 0, 10 * time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				container := running("c", "sleep", "infinity")
				container.StartupProbe, container.ReadinessProbe, container.LivenessProbe = c.startup, c.readiness, c.liveness
				if c.start != "" {
					container.Command, container.Ports = nil, []corev1.ContainerPort{{ContainerPort: 80}}
				}
				pod := podOf(corev1.RestartPolicyAlways, container)
				pod.Annotations = map[string]string{model.Annotation: c.start}
				said, when := live(t, pod, 12*time.Second, ready)
				if diff := cmp.Diff(c.says, said); diff != "" {
					t.Fatal(diff)
				}
				for i, at := range when {
					if at.Round(time.Second) != c.after[i] {
						t.Errorf("%s after %s, not %s", said[i], at, c.after[i])
					}
				}
			})
		})
	}
}

func TestDeletionTakesPreStopAndGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		container := running("c", "sleep", "infinity")
		container.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sleep", "4"}}}}
		api := podOf(corev1.RestartPolicyAlways, container)
		n, p := offline(t, api)
		ctx, cancel := context.WithCancel(t.Context())
		n.wg.Go(func() { p.run(ctx) })
		time.Sleep(time.Second)

		deleted := api.DeepCopy()
		deleted.DeletionTimestamp, deleted.DeletionGracePeriodSeconds = new(metav1.Now()), new(int64(10))
		asked := time.Now()
		p.update(deleted)
		for time.Sleep(time.Second - time.Millisecond); ; time.Sleep(time.Second) {
			p.mu.Lock()
			phase, ready, finished := p.status.Phase, p.status.ContainerStatuses[0].Ready, podutil.IsPodPhaseTerminal(p.status.Phase)
			p.mu.Unlock()
			if finished {
				if phase != corev1.PodFailed {
					t.Errorf("phase %s after SIGKILL", phase)
				}
				break
			}
			if !ready {
				t.Error("not ready before its container has ended")
			}
		}
		if took := time.Since(asked).Round(time.Second); took != 11*time.Second {
			t.Errorf("it took %s, not the grace period with the hook in it", took)
		}
		if exit := p.st.main[0].now.end.ExitCode; exit != 137 {
			t.Errorf("exit code %d, not that of SIGKILL", exit)
		}
		if _, taken := n.ips.Load(p.node.network.Addr().Next()); taken {
			t.Error("its address is still taken")
		}
		var reasons []string
		for _, e := range events(p) {
			reasons = append(reasons, strings.Fields(e)[1])
		}
		if diff := cmp.Diff([]string{"Pulled", "Created", "Started", "Killing"}, reasons); diff != "" {
			t.Error(diff)
		}
		p.deleted(deleted)
		synctest.Wait()
		if len(n.mu.pods) > 0 {
			t.Error("the pod is not forgotten")
		}
		cancel()
		n.writes.ShutDown()
		n.wg.Wait()
	})
}

func TestEndOfTheNodesWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		container := running("c", "sleep", "infinity")
		container.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 20}}}
		api := podOf(corev1.RestartPolicyAlways, container)
		n, p := offline(t, api)
		ctx, cancel := context.WithCancel(t.Context())
		n.wg.Go(func() { p.run(ctx) })
		time.Sleep(time.Second)
		deleted := api.DeepCopy()
		deleted.DeletionTimestamp, deleted.DeletionGracePeriodSeconds = new(metav1.Now()), new(int64(30))
		p.update(deleted)
		time.Sleep(time.Second)
		begun := time.Now()
		cancel()
		n.writes.ShutDown()
		n.wg.Wait()
		if took := time.Since(begun); took > 0 {
			t.Errorf("it took %s", took)
		}
	})
}
