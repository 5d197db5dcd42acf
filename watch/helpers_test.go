package watch

import (
	"testing"
	"time"
)

// until waits for a condition on what w knows.
func until(t *testing.T, w *Watcher, what string, ok func() bool) {
	t.Helper()
	late := time.After(2 * time.Minute)
	for {
		changed := w.Changed()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("waiting for %s: pods %d, in service %v, warnings %v", what, len(w.Pods()), w.ReadyPods(), w.Warnings())
		}
	}
}
