package watch

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/hpabench/hpabench/record"
)

func sec(s float64) record.Instant { return record.Instant(s * float64(time.Second)) }

func gaps(r *record.Recorder) []record.Gap {
	var all []record.Gap
	for _, e := range r.Run().Entries {
		if e.Gap != nil {
			all = append(all, *e.Gap)
		}
	}
	return all
}

func TestFeedGaps(t *testing.T) {
	refused := &url.Error{Op: "Get", URL: "https://127.0.0.1/long", Err: errors.New("connection refused")}
	noStreaming := apierrors.NewInvalid(schema.GroupKind{}, "", nil)
	tests := []struct {
		name  string
		steps func(*feed)
		want  []record.Gap
	}{
		{"listing first is no gap", func(f *feed) {
			f.failed(sec(1), "listing", refused)
			f.replaced(sec(2))
			f.opened(sec(3), false)
			f.stop(sec(4))
		}, nil},
		{"expired and opened again where it was", func(f *feed) {
			f.opened(sec(1), true)
			f.replaced(sec(2))
			f.closed(sec(300), errExpired)
			f.opened(sec(300.005), false)
		}, []record.Gap{{Source: "pods", From: sec(300), To: sec(300.005), Cause: "watch expired"}}},
		{"state by watch: over when the state is known", func(f *feed) {
			f.opened(sec(1), true)
			f.replaced(sec(2))
			f.closed(sec(5), errClosed)
			f.failed(sec(6), "watching", refused)
			f.failed(sec(7), "watching", errors.New("another"))
			f.opened(sec(8), true)
			f.replaced(sec(9))
		}, []record.Gap{{Source: "pods", From: sec(5), To: sec(9), Relisted: true, Cause: "connection closed; connection refused"}}},
		{"state by list: over when the watch is open", func(f *feed) {
			f.replaced(sec(1))
			f.opened(sec(2), false)
			f.closed(sec(5), errClosed)
			f.failed(sec(6), "watching", noStreaming)
			f.replaced(sec(7))
			f.opened(sec(8), false)
		}, []record.Gap{{Source: "pods", From: sec(5), To: sec(8), Relisted: true, Cause: "connection closed"}}},
		{"the watch breaks before it has sent the state", func(f *feed) {
			f.opened(sec(1), true)
			f.replaced(sec(2))
			f.closed(sec(5), errClosed)
			f.opened(sec(6), true)
			f.closed(sec(7), errClosed)
			f.stop(sec(9))
		}, []record.Gap{{Source: "pods", From: sec(5), To: sec(9), Cause: "connection closed"}}},
		{"two gaps have a cause each", func(f *feed) {
			f.opened(sec(1), true)
			f.replaced(sec(2))
			f.closed(sec(3), errClosed)
			f.failed(sec(4), "watching", refused)
			f.opened(sec(5), false)
			f.closed(sec(6), errClosed)
			f.failed(sec(7), "watching", errors.New("another"))
			f.opened(sec(8), false)
		}, []record.Gap{
			{Source: "pods", From: sec(3), To: sec(5), Cause: "connection closed; connection refused"},
			{Source: "pods", From: sec(6), To: sec(8), Cause: "connection closed; another"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := record.NewRecorder(record.StartClock(), nil)
			tt.steps(&feed{ctx: t.Context(), rec: rec, wg: new(sync.WaitGroup), up: make(chan struct{}), fatal: make(chan error, 1), gap: gap{rec: rec, source: "pods"}})
			if d := cmp.Diff(tt.want, gaps(rec)); d != "" {
				t.Errorf("gaps (-want +got):\n%s", d)
			}
		})
	}
}

// How a watch ended is told from how long it lasted, and from its last event.
func TestFeedCauses(t *testing.T) {
	tests := []struct {
		after time.Duration
		gone  bool
		want  string
	}{
		{300 * time.Second, false, "watch expired"},
		{200 * time.Second, false, "connection closed"},
		{300 * time.Second, true, "too old"},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			rec := record.NewRecorder(record.StartClock(), nil)
			server := apiwatch.NewFake()
			lw := &cache.ListWatch{WatchFuncWithContext: func(context.Context, metav1.ListOptions) (apiwatch.Interface, error) { return server, nil }}
			f := &feed{ListWatch: lw, ctx: t.Context(), rec: rec, wg: new(sync.WaitGroup), up: make(chan struct{}), gap: gap{rec: rec, source: "pods"}}
			f.replaced(0)
			seconds := int64(300)
			w, err := f.WatchWithContext(t.Context(), metav1.ListOptions{TimeoutSeconds: &seconds})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(tt.after)
			if tt.gone {
				s := apierrors.NewResourceExpired("too old").Status()
				go server.Error(&s)
				<-w.ResultChan()
			} else {
				go server.Stop()
				for range w.ResultChan() {
				}
			}
			w.Stop()
			f.wg.Wait()
			f.stop(rec.Clock.Now())
			at := record.Instant(tt.after)
			if d := cmp.Diff([]record.Gap{{Source: "pods", From: at, To: at, Cause: tt.want}}, gaps(rec)); d != "" {
				t.Errorf("gaps (-want +got):\n%s", d)
			}
		})
	}
}
