package nodes

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAddressesAreNotTakenAgainAtOnce(t *testing.T) {
	networks, err := podNetworks(2, 150)
	if err != nil {
		t.Fatal(err)
	}
	if networks[0].String() != "10.244.0.0/23" || networks[1].String() != "10.244.2.0/23" {
		t.Fatalf("networks %v", networks)
	}
	n := newNode(newNodes(nil, Options{}.withDefaults()), 0, networks[0])
	seen := map[string]bool{}
	for range 510 {
		a, ok := n.allocate()
		if !ok || seen[a.String()] || !networks[0].Contains(a) {
			t.Fatalf("%s after %d addresses", a, len(seen))
		}
		seen[a.String()] = true
		if len(seen) < 400 {
			n.release(a)
		}
	}
	if a, ok := n.allocate(); !ok || a.String() != "10.244.0.1" {
		t.Errorf("after a whole round: %s", a)
	}
	if _, err := podNetworks(250, 2000); err == nil {
		t.Error("more addresses than there are")
	}
}

func TestLogs(t *testing.T) {
	l := newLogs()
	for _, line := range []string{"one", "two", "three"} {
		_, _ = l.Write([]byte(line + "\n"))
	}
	for name, c := range map[string]struct {
		o    corev1.PodLogOptions
		want string
	}{
		"all":    {corev1.PodLogOptions{}, "one\ntwo\nthree\n"},
		"tail":   {corev1.PodLogOptions{TailLines: new(int64(2))}, "two\nthree\n"},
		"none":   {corev1.PodLogOptions{TailLines: new(int64(0))}, ""},
		"bytes":  {corev1.PodLogOptions{LimitBytes: new(int64(5))}, "one\nt"},
		"future": {corev1.PodLogOptions{SinceTime: &metav1.Time{Time: time.Now().Add(time.Hour)}}, ""},
	} {
		var b strings.Builder
		if err := l.copy(t.Context(), &b, &c.o); err != nil || b.String() != c.want {
			t.Errorf("%s: %q, %v", name, b.String(), err)
		}
	}
	_, _ = l.Write([]byte(strings.Repeat("x", maxLog-5) + "\n"))
	var b strings.Builder
	if err := l.copy(t.Context(), &b, &corev1.PodLogOptions{}); err != nil || !strings.HasPrefix(b.String(), "three\nxxx") {
		t.Errorf("too much: %.20q, %v", b.String(), err)
	}
}

func TestLogsFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLogs()
		_, _ = l.Write([]byte("one\n"))
		var b strings.Builder
		done := make(chan error)
		go func() { done <- l.copy(t.Context(), &b, &corev1.PodLogOptions{Follow: true}) }()
		synctest.Wait()
		_, _ = l.Write([]byte("two\n"))
		synctest.Wait()
		l.end()
		if err := <-done; err != nil || b.String() != "one\ntwo\n" {
			t.Errorf("%q, %v", b.String(), err)
		}
	})
}

func TestStatusPatchTouchesOnlyWhatIsOurs(t *testing.T) {
	sent := &corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
		{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady"}, {Type: "theirs", Status: corev1.ConditionFalse}}}
	status := sent.DeepCopy()
	status.Conditions[1].Status = corev1.ConditionTrue
	if patch, err := statusPatch("1", sent, status); err != nil || patch != nil {
		t.Errorf("a condition of others: %s, %v", patch, err)
	}
	status.Conditions[0].Status, status.Conditions[0].Reason = corev1.ConditionTrue, ""
	patch, err := statusPatch("1", sent, status)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"metadata":{"uid":"1"},"status":{"$setElementOrder/conditions":[{"type":"Ready"}],"conditions":[{"reason":null,"status":"True","type":"Ready"}]}}`
	if string(patch) != want {
		t.Errorf("patch %s", patch)
	}
}

// counting is a process that has used a second of CPU time for each second.
type counting struct {
	process
	begun time.Time
}

func (c counting) Usage(now time.Time) (time.Duration, int64) { return now.Sub(c.begun), 7 }

func TestUsageIsSampledWithJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sampler
		if _, ok := s.last(); ok {
			t.Error("a sample before the start")
		}
		s.run(counting{begun: time.Now()}, 10*time.Second)
		defer s.stop()
		for range 20 {
			before, _ := s.last()
			after := before
			for after == before {
				time.Sleep(time.Millisecond)
				after, _ = s.last()
			}
			if gap := after.At.Sub(before.At); gap < 10*time.Second || gap > 20*time.Second || after.CPU-before.CPU != gap {
				t.Fatalf("the next sample after %s with %s", gap, after.CPU-before.CPU)
			}
		}
		s.stop()
		if _, ok := s.last(); ok {
			t.Error("a sample after the end")
		}
	})
}

func TestReadinessGates(t *testing.T) {
	pod := podOf(corev1.RestartPolicyAlways, running("c"))
	pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "x"}}
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s := newState(pod, "10.0.0.1", now)
	s.main[0].now = &attempt{start: now, process: startScript(-1, 0)}
	condition := func(old *corev1.PodStatus, at time.Time) (corev1.PodStatus, corev1.PodCondition) {
		status := podStatus(pod, old, s, at)
		for _, c := range status.Conditions {
			if c.Type == corev1.PodReady {
				return status, c
			}
		}
		t.Fatal("no Ready condition")
		return status, corev1.PodCondition{}
	}
	status, c := condition(&pod.Status, now)
	if c.Status != corev1.ConditionFalse || c.Reason != "ReadinessGatesNotReady" {
		t.Errorf("without its gate: %+v", c)
	}
	status, c = condition(&status, now.Add(time.Minute))
	if !c.LastTransitionTime.Time.Equal(now) {
		t.Errorf("a condition that stays has a new time: %s", c.LastTransitionTime)
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: "x", Status: corev1.ConditionTrue}}
	_, c = condition(&status, now.Add(2*time.Minute))
	if c.Status != corev1.ConditionTrue || !c.LastTransitionTime.Time.Equal(now.Add(2*time.Minute)) {
		t.Errorf("with its gate: %+v", c)
	}
}

func TestTagged(t *testing.T) {
	for image, want := range map[string]string{
		"nginx": "nginx:latest", "nginx:1": "nginx:1", "host:5000/nginx": "host:5000/nginx:latest", "nginx@sha256:0": "nginx@sha256:0",
	} {
		if got := tagged(image); got != want {
			t.Errorf("%s: %s", image, got)
		}
	}
}
