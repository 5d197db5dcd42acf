package e2e

import (
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// observer is an independent witness: it keeps what `kubectl get -w -o json`
// printed of a kind in all namespaces, and when.
type observer[T any] struct {
	mu   sync.Mutex
	seen []seen[T]
}

type seen[T any] struct {
	at     time.Time
	object T
}

// observe starts kubectl. It is ended with the test.
func observe[T any](t *testing.T, kind string) *observer[T] {
	t.Helper()
	cmd := exec.Command("kubectl", "--kubeconfig", kubeconfig, "get", kind, "-A", "-w", "-o", "json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &observer[T]{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.read(out)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-done
		cmd.Wait()
	})
	return o
}

func (o *observer[T]) read(in io.Reader) {
	for d := json.NewDecoder(in); ; {
		var object T
		if d.Decode(&object) != nil {
			return
		}
		at := time.Now()
		o.mu.Lock()
		o.seen = append(o.seen, seen[T]{at, object})
		o.mu.Unlock()
	}
}

// all returns what was seen of the objects that match.
func (o *observer[T]) all(match func(T) bool) []seen[T] {
	o.mu.Lock()
	defer o.mu.Unlock()
	var found []seen[T]
	for _, s := range o.seen {
		if match(s.object) {
			found = append(found, s)
		}
	}
	return found
}

// firstWhere returns when the first of them fulfils the condition; the zero
// time if none does.
func firstWhere[T any](all []seen[T], condition func(T) bool) time.Time {
	if i := slices.IndexFunc(all, func(s seen[T]) bool { return condition(s.object) }); i >= 0 {
		return all[i].at
	}
	return time.Time{}
}

// after returns what was seen from t on.
func after[T any](all []seen[T], t time.Time) []seen[T] {
	i := slices.IndexFunc(all, func(s seen[T]) bool { return s.at.After(t) })
	if i < 0 {
		return nil
	}
	return all[i:]
}

func hasCondition(pod corev1.Pod, kind corev1.PodConditionType) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == kind && c.Status == corev1.ConditionTrue
	})
}

// wantNear wants an instant of the report within 0.2 s of the observer's.
func wantNear(t *testing.T, what string, started time.Time, atSeconds *float64, observed time.Time) {
	t.Helper()
	switch {
	case atSeconds == nil && observed.IsZero():
	case atSeconds == nil:
		t.Errorf("%s: not in the report, observed at %s", what, observed)
	case observed.IsZero():
		t.Errorf("%s: reported at %.3f s, not observed", what, *atSeconds)
	default:
		reported := started.Add(time.Duration(*atSeconds * float64(time.Second)))
		difference := reported.Sub(observed)
		t.Logf("%-45s reported %9.3f s, the observer %+.3f s", what, *atSeconds, -difference.Seconds())
		if difference.Abs() > 200*time.Millisecond {
			t.Errorf("%s: reported %s after the observer saw it", what, difference)
		}
	}
}
