package loadgen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpabench/hpabench/record"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// process runs Work as a pod does: its input stays open when who writes to it goes,
// and all its output is kept.
type process struct {
	name   string
	input  *io.PipeWriter
	kill   context.CancelFunc
	broken atomic.Int64 // this many times its output ends too early
	noLog  atomic.Bool  // its output cannot be read from its beginning
	silent atomic.Bool  // nor as it comes
	last   [maxSummary]byte

	mu     sync.Mutex
	output []byte
	more   chan struct{} // closed when output has grown or the process has ended
	ended  string
	cuts   int
}

func startProcess(ctx context.Context, name, version string) *process {
	ctx, kill := context.WithCancel(ctx)
	in, input := io.Pipe()
	p := &process{name: name, input: input, kill: kill, more: make(chan struct{})}
	go func() {
		err := WorkIn(ctx, in, p, version, p)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.ended == "" {
			p.ended = fmt.Sprint("it returned ", err)
		}
		close(p.more)
		in.Close()
	}()
	return p
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended != "" {
		return 0, io.ErrClosedPipe
	}
	p.output = append(p.output, b...)
	close(p.more)
	p.more = make(chan struct{})
	return len(b), nil
}

// die ends it at once: nothing it writes is seen any more.
func (p *process) die() {
	p.mu.Lock()
	p.ended = "exit code 137"
	close(p.more)
	p.more = make(chan struct{})
	p.mu.Unlock()
	p.kill()
}

// WriteAt keeps its summary.
func (p *process) WriteAt(b []byte, _ int64) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return copy(p.last[:], b), nil
}

func (p *process) Summary(context.Context) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.last[:]), nil
}

func (p *process) Name() string { return p.name }

type console struct {
	io.Reader
	p      *process
	cancel context.CancelFunc
}

func (c console) Write(b []byte) (int, error) { return c.p.input.Write(b) }
func (c console) Close() error                { c.cancel(); return nil }

func (p *process) Attach(ctx context.Context) (io.ReadWriteCloser, error) {
	if p.silent.Load() {
		return nil, io.ErrUnexpectedEOF
	}
	ctx, cancel := context.WithCancel(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	return console{&tail{ctx: ctx, p: p, at: len(p.output), cuts: p.cuts}, p, cancel}, nil
}

func (p *process) Follow(ctx context.Context) (io.ReadCloser, error) {
	p.mu.Lock()
	t := &tail{ctx: ctx, p: p, cuts: p.cuts}
	p.mu.Unlock()
	if p.noLog.Load() {
		return nil, apierrors.NewBadRequest("failed to open log file")
	}
	if p.broken.Add(-1) >= 0 {
		return io.NopCloser(io.LimitReader(t, 1000)), nil
	}
	return io.NopCloser(t), nil
}

func (p *process) Ended(context.Context) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended, p.ended != ""
}

// tail reads the output of a process from a place on.
type tail struct {
	ctx  context.Context
	p    *process
	at   int
	cuts int // when it was opened
}

func (t *tail) Read(b []byte) (int, error) {
	for {
		t.p.mu.Lock()
		n, more, ended := copy(b, t.p.output[t.at:]), t.p.more, t.p.ended != ""
		cut := t.cuts < t.p.cuts
		t.p.mu.Unlock()
		t.at += n
		switch {
		case cut:
			return 0, io.ErrUnexpectedEOF
		case n > 0:
			return n, nil
		case ended:
			return 0, io.EOF
		}
		select {
		case <-more:
		case <-t.ctx.Done():
			return 0, t.ctx.Err()
		}
	}
}

// cut ends what is read of it now.
func (p *process) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts++
	close(p.more)
	p.more = make(chan struct{})
}

// fleet runs phases through n workers, against a server on this machine.
func fleet(t *testing.T, n int, phases []record.Phase, handler http.HandlerFunc, during func(processes []*process, cancel context.CancelCauseFunc)) (result, []*process) {
	t.Helper()
	way, requests, _ := serve(t, handler)
	rec := record.NewRecorder(record.StartClock(), nil)
	var workers []Worker
	var processes []*process
	for i := range n {
		p := startProcess(t.Context(), fmt.Sprintf("worker-%d", i), "v1")
		workers, processes = append(workers, p), append(processes, p)
	}
	f := NewFleet(workers, phases, Request{Path: "/", Timeout: 2 * time.Second}, way.URL(), rec, "v1", func(string) {})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	if during != nil {
		go during(processes, cancel)
	}
	err := f.Run(ctx)
	r := addUp(t, rec.Run(), len(phases))
	r.err, r.served = err, requests.Load()
	for i, p := range r.phases {
		if p.Offered != p.Sent+p.Unsent || p.Sent != p.Answered+p.Failed+p.Aborted+p.Unknown {
			t.Errorf("phase %d: offered %d, sent %d, unsent %d, answered %d, failed %d, aborted %d", i, p.Offered, p.Sent, p.Unsent, p.Answered, p.Failed, p.Aborted)
		}
	}
	return r, processes
}

func TestFleet(t *testing.T) {
	phases := []record.Phase{rate(301, 2), {Name: "idle", Shape: record.ShapeIdle, Seconds: 1}, workers(4, 1)}
	r, _ := fleet(t, 3, phases, ok, func(p []*process, _ context.CancelCauseFunc) { p[1].broken.Store(3) })
	if r.err != nil {
		t.Fatal(r.err)
	}
	if p := r.phases[0]; p.Offered != 602 || p.Answered != 602 {
		t.Errorf("offered %d, answered %d, want 602", p.Offered, p.Answered)
	}
	if n := r.phases[0].Answered + r.phases[2].Answered; uint64(r.served) != n || r.phases[2].Answered < 10 {
		t.Errorf("the server saw %d requests, %d are recorded", r.served, n)
	}
	if len(r.marks) != 6 || len(r.notes) != 1 || !strings.Contains(r.notes[0], "the load is sent in the cluster by 3 workers, whose clocks agree") {
		t.Errorf("marks %q, notes %q", r.marks, r.notes)
	}
}

// A worker that dies takes with it what it has not told. What was due by then may
// have been sent; the rest was not.
func TestFleetLosesAWorker(t *testing.T) {
	r, _ := fleet(t, 4, []record.Phase{rate(400, 6)}, ok, func(p []*process, _ context.CancelCauseFunc) {
		time.Sleep(headStart + 3*time.Second)
		p[2].die()
	})
	p := r.phases[0]
	if p.Offered != 2400 || p.Unsent < 100 || p.Unsent > 300 || p.Aborted == 0 || p.Aborted > 300 || p.Failed != 0 {
		t.Errorf("offered %d, unsent %d, aborted %d, failed %d", p.Offered, p.Unsent, p.Aborted, p.Failed)
	}
	if n := uint64(r.served); n < p.Answered || n > p.Answered+p.Aborted {
		t.Errorf("the server saw %d requests; %d answered and %d aborted", n, p.Answered, p.Aborted)
	}
	if r.err != nil || !strings.Contains(strings.Join(r.notes, "\n"), "worker 3 of 4 (worker-2) ended before its load was over: exit code 137") {
		t.Errorf("%v, notes %q", r.err, r.notes)
	}
}

// A log that is deleted in the load costs no count: what is lost of it is in the totals of
// the lines that still come, and if none does, in the summary.
func TestFleetLosesALog(t *testing.T) {
	t.Parallel()
	r, _ := fleet(t, 3, []record.Phase{rate(300, 9)}, ok, func(p []*process, _ context.CancelCauseFunc) {
		time.Sleep(headStart + 1500*time.Millisecond)
		for i, p := range p[:2] {
			p.noLog.Store(true)
			p.silent.Store(i == 1)
			p.cut()
		}
	})
	if p := r.phases[0]; r.err != nil || p.Offered != 2700 || p.Unknown != 0 || p.Answered != uint64(r.served) || p.Answered+p.Unsent != 2700 {
		t.Errorf("%v: offered %d, answered %d, failed %d, aborted %d, unsent %d, unknown %d; served %d", r.err, p.Offered, p.Answered, p.Failed, p.Aborted, p.Unsent, p.Unknown, r.served)
	}
	if notes := strings.Join(r.notes, "\n"); !strings.Contains(notes, "lines of worker 1 of 3 (worker-0) were lost: its counts are those of its totals") {
		t.Error(notes)
	}
}

func TestFleetIsStopped(t *testing.T) {
	r, processes := fleet(t, 2, []record.Phase{rate(100, 60), rate(100, 60)}, ok, func(_ []*process, cancel context.CancelCauseFunc) {
		time.Sleep(headStart + 1500*time.Millisecond)
		cancel(errStop)
	})
	p := r.phases[0]
	// What was due or on its way when the stop came, of each worker one, is unsent or aborted.
	if n := uint64(r.served); !errors.Is(r.err, errStop) || p.Offered < 100 || p.Offered > 400 || p.Failed != 0 || p.Unsent+p.Aborted > 2 || n < p.Answered || n > p.Offered {
		t.Errorf("%v: offered %d, answered %d, failed %d, unsent %d, aborted %d, served %d", r.err, p.Offered, p.Answered, p.Failed, p.Unsent, p.Aborted, n)
	}
	if len(r.marks) != 2 || r.phases[1].Offered != 0 {
		t.Errorf("marks %q", r.marks)
	}
	for _, p := range processes {
		if _, ended := p.Ended(t.Context()); !ended || !bytes.Contains(p.output, []byte(`"outcome":"interrupted"`)) {
			t.Errorf("%s still goes on", p.name)
		}
	}
}

func TestFleetOfAnotherVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFleet([]Worker{startProcess(t.Context(), "old", "v0")}, []record.Phase{rate(1, 1)}, Request{Path: "/"}, "http://127.0.0.1:1", record.NewRecorder(record.StartClock(), nil), "v1", func(string) {})
		if err := f.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "worker 1 of 1, old: its image has hpabench v0, and this is v1") {
			t.Error(err)
		}
	})
}
