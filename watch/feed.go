package watch

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/hpabench/hpabench/record"
)

// feed stands between a Reflector and the API server and keeps book of one
// resource: is its state known, and is a watch open that tells of changes? What
// lies between two such times is a gap.
//
// A Reflector gets there in three ways. It re-opens a watch where the last one
// ended; it opens a watch that sends the whole state first; or it lists and
// then opens a watch.
type feed struct {
	*cache.ListWatch
	ctx    context.Context
	rec    *record.Recorder
	wg     *sync.WaitGroup
	source string
	up     chan struct{} // closed when it can be observed for the first time
	fatal  chan<- error  // gets what makes that hopeless
	giveUp func()        // ends the feed where that is hopeless and it can be done without; nil if it cannot

	mu      sync.Mutex
	open    bool // the watch
	current bool // the state
	wasUp   bool
	err     error // the last
	gap     gap
}

// requestTimeout bounds a list of objects or PodMetrics.
const requestTimeout = 10 * time.Second

// ListWithContext is called by the Reflector.
func (f *feed) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	at := f.rec.Clock.Now()
	list, err := f.ListWatch.ListWithContext(ctx, o)
	if err != nil {
		f.failed(at, "listing", err)
	}
	return list, err
}

// WatchWithContext is called by the Reflector.
func (f *feed) WatchWithContext(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
	at := f.rec.Clock.Now()
	w, err := f.ListWatch.WatchWithContext(ctx, o)
	if err != nil {
		f.failed(at, "watching", err)
		return nil, err
	}
	// This is how client-go reports that the connection broke on the way.
	if reflect.TypeOf(w) == reflect.TypeOf(apiwatch.NewEmptyWatch()) {
		f.failed(at, "watching", errClosed)
		return w, nil
	}
	f.opened(f.rec.Clock.Now(), o.SendInitialEvents != nil && *o.SendInitialEvents)
	s := &stream{Interface: w, out: make(chan apiwatch.Event), stopped: make(chan struct{})}
	s.closed = func(cause error) {
		now := f.rec.Clock.Now()
		if errors.Is(cause, errClosed) && o.TimeoutSeconds != nil && now.Sub(at) >= time.Duration(*o.TimeoutSeconds)*time.Second-time.Second {
			cause = errExpired
		}
		f.closed(now, cause)
	}
	f.wg.Go(s.pass)
	return s, nil
}

var (
	errClosed  = errors.New("connection closed")
	errExpired = errors.New("watch expired") // the server ends each after the time that was asked for
)

// opened notes that a watch is open; initial if it sends the whole state first.
func (f *feed) opened(at record.Instant, initial bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = true
	f.current = f.current && !initial
	f.check(at)
}

// replaced notes that the whole state has been read.
func (f *feed) replaced(at record.Instant) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.current = true
	if f.gap.open != nil {
		f.gap.open.Relisted = true
	}
	f.check(at)
}

func (f *feed) check(at record.Instant) {
	if !f.open || !f.current {
		return
	}
	f.gap.end(at)
	if !f.wasUp {
		f.wasUp = true
		close(f.up)
	}
}

// closed notes that the watch has ended.
func (f *feed) closed(at record.Instant, cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = false
	if f.wasUp && f.ctx.Err() == nil {
		f.gap.begin(at, cause.Error())
	}
}

// failed notes that a request which began at the instant at got no answer, or
// one that was an error.
func (f *feed) failed(at record.Instant, doing string, err error) {
	// A server that cannot send the state by watch says so in this way, and the
	// Reflector then lists.
	if f.ctx.Err() != nil || apierrors.IsInvalid(err) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = fmt.Errorf("%s %s: %w", doing, f.source, err)
	switch {
	case f.wasUp:
		f.gap.fail(at, err)
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err), apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err):
		if f.giveUp != nil {
			f.giveUp()
			f.wasUp = true
			close(f.up)
			return
		}
		select {
		case f.fatal <- f.err:
		default:
		}
	}
}

func (f *feed) lastError() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// stop writes the gap that is still open.
func (f *feed) stop(at record.Instant) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gap.end(at)
}

// stream passes a watch on and calls closed once, when it has ended and before
// the reader can notice, so that it is over before the next one is opened.
type stream struct {
	apiwatch.Interface
	out     chan apiwatch.Event
	stopped chan struct{}
	closed  func(cause error)
	end     sync.Once
	stop    sync.Once
}

func (s *stream) pass() {
	defer close(s.out)
	for e := range s.Interface.ResultChan() {
		if e.Type == apiwatch.Error {
			s.end.Do(func() { s.closed(apierrors.FromObject(e.Object)) })
		}
		select {
		case s.out <- e:
		case <-s.stopped:
			return
		}
	}
	s.end.Do(func() { s.closed(errClosed) })
}

func (s *stream) ResultChan() <-chan apiwatch.Event { return s.out }

func (s *stream) Stop() {
	s.stop.Do(func() {
		s.end.Do(func() { s.closed(errClosed) })
		close(s.stopped)
		s.Interface.Stop()
	})
}

// gap keeps book of the stretches in which one source cannot be observed. It is
// not safe for use by several goroutines.
type gap struct {
	rec    *record.Recorder
	source string
	open   *record.Gap // nil while the source can be observed
	failed bool        // the cause names an error already
}

// begin opens a gap at from, unless one is open.
func (g *gap) begin(from record.Instant, cause string) {
	if g.open == nil {
		g.open = &record.Gap{Source: g.source, From: from, Cause: cause}
		g.failed = false
	}
}

// fail opens a gap at from because of err, or adds the first error to the cause
// of the one that is open.
func (g *gap) fail(from record.Instant, err error) {
	// The request's address is long and says no more than the source does.
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	switch {
	case g.open == nil:
		g.begin(from, err.Error())
	case !g.failed:
		g.open.Cause += "; " + err.Error()
	}
	g.failed = true
}

// end writes the open gap, if any.
func (g *gap) end(to record.Instant) {
	if g.open == nil {
		return
	}
	g.open.To = to
	g.rec.AddAt(to, record.Entry{Gap: g.open})
	g.open = nil
}
