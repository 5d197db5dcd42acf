package loadgen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hpabench/hpabench/record"
	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// pipes is a Way over pipes in memory, so that a whole run, with vegeta,
// net/http and a real http.Server, goes in the virtual time of a synctest bubble.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	dials    atomic.Int64
}

func (p *pipes) Kind() string   { return "pipes" }
func (p *pipes) URL() string    { return "http://workload" }
func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return podAddr("workload") }
func (p *pipes) next() string   { return "http://workload" }
func (p *pipes) host() string   { return "" }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	p.dials.Add(1)
	client, server := net.Pipe()
	select {
	case p.accepted <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// result is a run's record, added up.
type result struct {
	phases   []record.LoadSecond // one a phase; histograms are left out
	seconds  []record.LoadSecond // one a second
	marks    []string
	notes    []string
	p0, p50  time.Duration // of all answers
	max      time.Duration
	served   int64 // requests that the server saw
	dials    int64
	err      error
	answered []string                    // pods, by their first answer
	pods     map[string]record.PodSecond // in all; histograms are left out
}

// virtual runs phases in virtual time against handler. Start is called when the
// run begins.
func virtual(t *testing.T, phases []record.Phase, request Request, handler http.HandlerFunc, start func(cancel context.CancelCauseFunc, g *Generator)) result {
	t.Helper()
	var r result
	synctest.Test(t, func(t *testing.T) {
		way := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
		var served atomic.Int64
		server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			served.Add(1)
			handler(w, req)
		})}
		go server.Serve(way)
		r = generate(t, phases, request, way, start)
		server.Close() // and with it way
		synctest.Wait()
		r.served, r.dials = served.Load(), way.dials.Load()
	})
	return r
}

func generate(t *testing.T, phases []record.Phase, request Request, way Way, start func(context.CancelCauseFunc, *Generator)) result {
	t.Helper()
	rec := record.NewRecorder(record.StartClock(), nil)
	g, err := New(phases, request, way, rec)
	if err != nil {
		t.Fatal(err)
	}
	if _, is := way.(*pipes); is {
		g.nap = nil // which takes real time
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	if start != nil {
		go start(cancel, g)
	}
	err = g.Run(ctx)
	r := addUp(t, rec.Run(), len(phases))
	r.err = err
	for i, p := range r.phases {
		if p.Offered != p.Sent+p.Unsent {
			t.Errorf("phase %d: offered %d ≠ sent %d + unsent %d", i, p.Offered, p.Sent, p.Unsent)
		}
		if p.Sent != p.Answered+p.Failed+p.Aborted {
			t.Errorf("phase %d: sent %d ≠ answered %d + failed %d + aborted %d", i, p.Sent, p.Answered, p.Failed, p.Aborted)
		}
		if codes := sum(p.Codes); codes != p.Answered {
			t.Errorf("phase %d: %d codes for %d answers", i, codes, p.Answered)
		}
		if errs := sum(p.Errors); errs != p.Failed {
			t.Errorf("phase %d: %d errors for %d failures", i, errs, p.Failed)
		}
	}
	return r
}

func addUp(t *testing.T, run record.Run, phases int) result {
	t.Helper()
	r := result{phases: make([]record.LoadSecond, phases), pods: map[string]record.PodSecond{}}
	latency := record.NewHistogram()
	for _, e := range run.Entries {
		switch {
		case e.Phase != nil:
			r.marks = append(r.marks, fmt.Sprintf("%v %s %s", e.At, e.Phase.Name, e.Phase.Edge))
		case e.Answer != nil && e.Answer.Pod != "":
			r.answered = append(r.answered, e.Answer.Pod)
		case e.Note != nil:
			r.notes = append(r.notes, e.Note.Text)
		case e.Load != nil:
			if err := e.Load.Latency.AddTo(latency); err != nil {
				t.Fatal(err)
			}
			for len(r.seconds) <= e.Load.Second {
				r.seconds = append(r.seconds, record.LoadSecond{Second: len(r.seconds)})
			}
			add(&r.seconds[e.Load.Second], e.Load)
			r.phases[e.Load.Phase].Phase = e.Load.Phase
			add(&r.phases[e.Load.Phase], e.Load)
			for pod, p := range e.Load.Pods {
				sum := r.pods[pod]
				r.pods[pod] = record.PodSecond{Answered: sum.Answered + p.Answered, Errors: sum.Errors + p.Errors}
				own := record.NewPodHistogram()
				if err := p.Latency.AddTo(own); err != nil || uint64(own.TotalCount()) != p.Answered {
					t.Errorf("pod %s: %d latencies of %d answers (%v)", pod, own.TotalCount(), p.Answered, err)
				}
			}
		}
	}
	answered := uint64(0)
	for _, p := range r.phases {
		answered += p.Answered
	}
	blind := uint64(0) // of lines of a worker that are lost
	for _, e := range run.Entries {
		if e.Load != nil && e.Load.Worker > 0 && e.Load.Latency == "" {
			blind += e.Load.Answered
		}
	}
	if n := latency.TotalCount(); uint64(n)+blind != answered {
		t.Errorf("the histograms hold %d latencies of %d answers", n, answered)
	}
	us := func(v int64) time.Duration { return (time.Duration(v) * time.Microsecond).Round(10 * time.Millisecond) }
	r.p0, r.p50, r.max = us(latency.Min()), us(latency.ValueAtQuantile(50)), us(latency.Max())
	return r
}

func add(to, e *record.LoadSecond) {
	to.Offered += e.Offered
	to.Sent += e.Sent
	to.Unsent += e.Unsent
	to.Answered += e.Answered
	to.Failed += e.Failed
	to.Aborted += e.Aborted
	to.Unknown += e.Unknown
	to.BytesIn += e.BytesIn
	to.BytesOut += e.BytesOut
	to.LateMax = max(to.LateMax, e.LateMax)
	addMap(&to.Codes, e.Codes)
	addMap(&to.Errors, e.Errors)
}

func addMap(to *map[string]uint64, from map[string]uint64) {
	for k, n := range from {
		if *to == nil {
			*to = map[string]uint64{}
		}
		(*to)[k] += n
	}
}

func sum(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

func ok(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }

// after answers when d has passed, unless the client has gone.
func after(d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		select {
		case <-time.After(d):
			ok(w, req)
		case <-req.Context().Done():
		}
	}
}

func rate(r, seconds float64) record.Phase {
	return record.Phase{Name: "rate", Shape: record.ShapeRate, From: r, Seconds: seconds, KeepAlive: true}
}

func workers(n int, seconds float64) record.Phase {
	return record.Phase{Name: "workers", Shape: record.ShapeWorkers, Workers: n, Seconds: seconds, KeepAlive: true}
}

func TestPhasesFollowWithoutPause(t *testing.T) {
	r := virtual(t, []record.Phase{
		{Name: "idle", Shape: record.ShapeIdle, Seconds: 1.5},
		{Name: "surge", Shape: record.ShapeRate, From: 10, Seconds: 2, KeepAlive: true},
		{Name: "ramp", Shape: record.ShapeRamp, From: 10, To: 0, Seconds: 2, KeepAlive: true},
		{Name: "wave", Shape: record.ShapeSine, From: 5, Amplitude: 5, Period: 1, Seconds: 2, KeepAlive: true},
	}, Request{Path: "/"}, ok, nil)
	if r.err != nil {
		t.Fatal(r.err)
	}
	if diff := cmp.Diff([]string{
		"0s idle start", "1.5s idle end",
		"1.5s surge start", "3.5s surge end",
		"3.5s ramp start", "5.5s ramp end",
		"5.5s wave start", "7.5s wave end",
	}, r.marks); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
	load := func(phase int, n uint64) record.LoadSecond {
		return record.LoadSecond{Phase: phase, Offered: n, Sent: n, Answered: n, BytesIn: 5 * n, Codes: map[string]uint64{"200": n}}
	}
	if diff := cmp.Diff([]record.LoadSecond{{}, load(1, 20), load(2, 10), load(3, 10)}, r.phases); diff != "" {
		t.Errorf("load by phase (-want +got):\n%s", diff)
	}
	var offered []uint64
	for _, s := range r.seconds {
		offered = append(offered, s.Offered)
	}
	// The ramp starts at 3.5 s and asks for 10t - 2.5t² in t: by 0.5 s 4.4, by
	// 1.5 s 9.4, and hit 0 is its own. The wave starts at 5.5 s, faster than its mean.
	if diff := cmp.Diff([]uint64{0, 5, 10, 5 + 5, 5, 0 + 5, 5}, offered[:7]); diff != "" {
		t.Errorf("offered by second (-want +got):\n%s", diff)
	}
	if r.served != 40 {
		t.Errorf("the server saw %d requests, want 40", r.served)
	}
	if r.dials != 1 {
		t.Errorf("%d connections for requests that share one", r.dials)
	}
}

func TestOpenLoopDoesNotWaitForAnswers(t *testing.T) {
	r := virtual(t, []record.Phase{rate(10, 10)}, Request{Path: "/"}, after(3*time.Second), nil)
	p := r.phases[0]
	if p.Offered != 100 || p.Answered != 100 || p.LateMax != 0 {
		t.Errorf("offered %d, answered %d, late %v s; want 100, 100, 0", p.Offered, p.Answered, p.LateMax)
	}
	if r.p0 != 3*time.Second || r.max != 3*time.Second {
		t.Errorf("latencies from %v to %v, want 3s", r.p0, r.max)
	}
	// Answers count when they come, also after the end of the phase.
	if first, last := r.seconds[3].Answered, r.seconds[12].Answered; first != 10 || last != 10 || len(r.seconds) != 13 {
		t.Errorf("%d answers in second 3, %d in second 12 of %d", first, last, len(r.seconds))
	}
}

// A workload that stalls makes the generator run into its bound; what it then
// cannot send is late or unsent, and latency counts from the schedule.
func TestStall(t *testing.T) {
	var stalled sync.WaitGroup
	stalled.Add(1)
	// 1000/s against the bound of 2000: from 2 s on nothing leaves; at 5 s the
	// stall ends and all that is due leaves at once.
	r := virtual(t, []record.Phase{rate(1000, 8)}, Request{Path: "/"}, func() http.HandlerFunc {
		var began time.Time
		var once sync.Once
		return func(w http.ResponseWriter, req *http.Request) {
			once.Do(func() { began = time.Now() })
			if left := 5*time.Second - time.Since(began); left > 0 {
				time.Sleep(left)
			}
			ok(w, req)
		}
	}(), nil)
	p := r.phases[0]
	if p.Offered != 8000 || p.Unsent != 0 || p.Answered != 8000 || r.served != 8000 {
		t.Errorf("offered %d, unsent %d, answered %d, served %d; want 8000, 0, 8000, 8000", p.Offered, p.Unsent, p.Answered, r.served)
	}
	if p.LateMax < 2.9 || p.LateMax > 3 {
		t.Errorf("the worst lateness is %v s, want 3 s", p.LateMax)
	}
	if r.max != 5*time.Second {
		t.Errorf("the longest latency is %v, want 5s: the first request", r.max)
	}
	for second, s := range r.seconds {
		if s.Offered != 1000 || s.Sent != 1000 {
			t.Errorf("second %d: offered %d, sent %d; both count by the schedule", second, s.Offered, s.Sent)
		}
	}
}

func TestUnsent(t *testing.T) {
	r := virtual(t, []record.Phase{rate(1000, 4)}, Request{Path: "/", Timeout: 20 * time.Second}, after(10*time.Second), nil)
	p := r.phases[0]
	if p.Offered != 4000 || p.Sent != maxInFlight || p.Unsent != 4000-maxInFlight || r.served != maxInFlight {
		t.Errorf("offered %d, sent %d, unsent %d, served %d; want 4000, 2000, 2000, 2000", p.Offered, p.Sent, p.Unsent, r.served)
	}
	if r.seconds[1].Unsent != 0 || r.seconds[2].Unsent != 1000 || r.seconds[3].Unsent != 1000 {
		t.Error("unsent requests do not stand in the seconds in which they were due")
	}
}

func TestClosedLoop(t *testing.T) {
	r := virtual(t, []record.Phase{workers(3, 10)}, Request{Path: "/"}, after(500*time.Millisecond), nil)
	p := r.phases[0]
	// The last three begin at 9.5 s; at 10 s the phase is over.
	if p.Offered != 60 || p.Sent != 60 || p.Answered != 60 || r.served != 60 {
		t.Errorf("offered %d, sent %d, answered %d, served %d; want 60 of each", p.Offered, p.Sent, p.Answered, r.served)
	}
	if r.p0 != 500*time.Millisecond || r.max != 500*time.Millisecond {
		t.Errorf("latencies from %v to %v, want 500ms", r.p0, r.max)
	}
	if r.dials != 3 {
		t.Errorf("%d connections, want one a worker", r.dials)
	}
}

func TestMaxConnectionAge(t *testing.T) {
	// One connection lasts for 2 s, so that ten seconds take five.
	r := virtual(t, []record.Phase{workers(1, 10)}, Request{Path: "/", MaxConnectionAge: 2 * time.Second}, after(100*time.Millisecond), nil)
	if r.phases[0].Answered != 100 || r.phases[0].Failed != 0 {
		t.Errorf("%d answered, %d failed of 100", r.phases[0].Answered, r.phases[0].Failed)
	}
	if r.dials != 5 {
		t.Errorf("%d connections, want 5", r.dials)
	}
}

// Which pod answered is known from a header that it sends.
func TestPodsByHeader(t *testing.T) {
	var turn atomic.Int64
	r := virtual(t, []record.Phase{rate(10, 6)}, Request{Path: "/", PodHeader: "X-Pod"}, func(w http.ResponseWriter, _ *http.Request) {
		switch n := turn.Add(1); {
		case n%3 == 0:
			w.Header().Set("X-Pod", "web-b")
			w.WriteHeader(http.StatusInternalServerError)
		case n < 50:
			w.Header().Set("X-Pod", "web-a")
		}
	}, nil)
	want := map[string]record.PodSecond{"web-a": {Answered: 33}, "web-b": {Answered: 20, Errors: 20}}
	if diff := cmp.Diff(want, r.pods); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"web-a", "web-b"}, r.answered); diff != "" {
		t.Errorf("first answers (-want +got):\n%s", diff)
	}
}

func TestClosedLoopThinks(t *testing.T) {
	phase := workers(2, 10)
	phase.Think = 0.4
	r := virtual(t, []record.Phase{phase, rate(1, 5)}, Request{Path: "/"}, after(100*time.Millisecond), nil)
	if n := r.phases[0].Answered; n != 40 {
		t.Errorf("%d answers, want 40: each worker sends every half second", n)
	}
	if r.max != 100*time.Millisecond {
		t.Errorf("the thinking counts as latency: %v", r.max)
	}
}

func TestClosedLoopWithRequests(t *testing.T) {
	phase := workers(3, 30)
	phase.Requests = 40
	r := virtual(t, []record.Phase{phase, rate(1, 5)}, Request{Path: "/"}, after(100*time.Millisecond), nil)
	if p := r.phases[0]; p.Offered != 120 || p.Sent != 120 || p.Answered != 120 {
		t.Errorf("offered %d, sent %d, answered %d; want 120 of each", p.Offered, p.Sent, p.Answered)
	}
	if diff := cmp.Diff([]string{"0s workers start", "4s workers end", "4s rate start", "9s rate end"}, r.marks); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
}

func TestClosedLoopWithoutKeepAlive(t *testing.T) {
	phase := workers(2, 3)
	phase.KeepAlive = false
	r := virtual(t, []record.Phase{workers(2, 3), phase}, Request{Path: "/"}, after(100*time.Millisecond), nil)
	p := r.phases[1]
	if p.Answered != 60 || r.dials != 2+60 {
		t.Errorf("%d answers over %d connections, want 60 over one each and 2 of the phase before", p.Answered, r.dials)
	}
}

func TestOneWorkerDrainsBesideTheNextPhase(t *testing.T) {
	r := virtual(t, []record.Phase{workers(1, 2), rate(1, 5)}, Request{Path: "/"}, after(1500*time.Millisecond), nil)
	if diff := cmp.Diff([]string{"0s workers start", "2s workers end", "2s rate start", "7s rate end"}, r.marks); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
	if r.phases[0].Answered != 2 || r.phases[1].Answered != 5 {
		t.Errorf("answered %d and %d, want 2 and 5", r.phases[0].Answered, r.phases[1].Answered)
	}
}

func TestTimeoutIsAFailure(t *testing.T) {
	r := virtual(t, []record.Phase{rate(2, 3)}, Request{Path: "/timeout", Timeout: time.Second}, after(time.Minute), nil)
	p := r.phases[0]
	if diff := cmp.Diff(map[string]uint64{"timeout": 6}, p.Errors); diff != "" || p.Answered != 0 {
		t.Errorf("answered %d; errors (-want +got):\n%s", p.Answered, diff)
	}
	if len(r.notes) != 1 || !strings.Contains(r.notes[0], `Get "http://workload/timeout": `) {
		t.Errorf("notes %q, want the first failure in its own words", r.notes)
	}
}

var errStop = errors.New("the user pressed Ctrl-C")

func TestCancelLetsAnswersIn(t *testing.T) {
	var last atomic.Int64 // when the server saw its last request
	r := virtual(t, []record.Phase{rate(10, 60), rate(10, 60)}, Request{Path: "/"}, func(w http.ResponseWriter, req *http.Request) {
		last.Store(time.Now().UnixNano())
		after(900*time.Millisecond)(w, req)
	}, func(cancel context.CancelCauseFunc, _ *Generator) {
		time.Sleep(10*time.Second + 50*time.Millisecond)
		if n := last.Load(); time.Since(time.Unix(0, n)) > 100*time.Millisecond {
			t.Errorf("nothing was sent just before the end")
		}
		cancel(errStop)
	})
	if !errors.Is(r.err, errStop) {
		t.Errorf("Run returned %v, want the cause of its context", r.err)
	}
	p := r.phases[0]
	if p.Offered != 101 || p.Answered != 101 || p.Aborted != 0 || r.served != 101 {
		t.Errorf("offered %d, answered %d, aborted %d, served %d; want 101, 101, 0, 101", p.Offered, p.Answered, p.Aborted, r.served)
	}
	if diff := cmp.Diff([]string{"0s rate start", "10.05s rate end"}, r.marks); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
}

func TestCancelAbortsWhatHangs(t *testing.T) {
	for name, phase := range map[string]record.Phase{"open": rate(10, 60), "closed": workers(4, 60)} {
		t.Run(name, func(t *testing.T) {
			r := virtual(t, []record.Phase{phase}, Request{Path: "/"}, after(time.Hour), func(cancel context.CancelCauseFunc, _ *Generator) {
				time.Sleep(1950 * time.Millisecond)
				cancel(errStop)
			})
			p := r.phases[0]
			want := uint64(20)
			if name == "closed" {
				want = 4
			}
			if p.Sent != want || p.Aborted != want || p.Failed != 0 || r.served != int64(want) {
				t.Errorf("sent %d, aborted %d, failed %d, served %d; want %d, %[5]d, 0, %[5]d", p.Sent, p.Aborted, p.Failed, r.served, want)
			}
			if len(r.seconds) != 3 || r.seconds[2].Aborted != want {
				t.Errorf("the requests were cut off in second %d, want 2: 1.95 s and 1 s of grace", len(r.seconds)-1)
			}
		})
	}
}

// vegeta may hand over one more hit while a phase ends: it must not leave.
func TestNothingIsSentWhenThePhaseIsOver(t *testing.T) {
	for _, plan := range []record.Phase{rate(10, 2), workers(1, 2)} {
		synctest.Test(t, func(t *testing.T) {
			rec := record.NewRecorder(record.StartClock(), nil)
			g, err := New([]record.Phase{plan}, Request{Path: "/"}, &pipes{}, rec)
			if err != nil {
				t.Fatal(err)
			}
			p := g.ledger.start(0, plan, 0)
			send := func(ctx context.Context) error { return g.target(ctx, p)(new(vegeta.Target)) }
			if err := send(t.Context()); err != nil {
				t.Error(err)
			}
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			if err := send(cancelled); err != errOver {
				t.Errorf("%s: a request left after the run was cancelled: %v", plan.Name, err)
			}
			time.Sleep(2 * time.Second)
			if err := send(t.Context()); plan.Shape == record.ShapeWorkers && err != errOver {
				t.Errorf("a worker sent at the end of its phase: %v", err)
			}
			time.Sleep(lastCall)
			g.ledger.finish(p)
			if err := send(t.Context()); err != errOver {
				t.Errorf("%s: a request left after the phase: %v", plan.Name, err)
			}
			if p.end.Seconds() != 2 {
				t.Errorf("%s: the phase ended at %v, want its planned end", plan.Name, p.end)
			}
		})
	}
}

func TestCancelAbortsConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nobodyAccepts := &pipes{accepted: make(chan net.Conn)}
		r := generate(t, []record.Phase{rate(10, 60)}, Request{Path: "/"}, nobodyAccepts, func(cancel context.CancelCauseFunc, _ *Generator) {
			time.Sleep(1950 * time.Millisecond)
			cancel(errStop)
		})
		if len(r.seconds) != 3 || r.seconds[2].Aborted != 20 {
			t.Errorf("the requests were cut off in second %d, want 2", len(r.seconds)-1)
		}
	})
}

// The hit that is due at the very instant of the end may have left already.
func TestCancelAtTheInstantOfAHit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := record.NewRecorder(record.StartClock(), nil)
		l := newLedger(rec, nil)
		p := l.start(0, rate(10, 2), 0)
		l.send(p)
		l.finish(p)
		if err := l.write(startOf(10)); err != nil {
			t.Fatal(err)
		}
		if got := addUp(t, rec.Run(), 1).phases[0]; got.Offered != 1 || got.Sent != 1 || got.Unsent != 0 {
			t.Errorf("offered %d, sent %d, unsent %d; want 1, 1, 0", got.Offered, got.Sent, got.Unsent)
		}
	})
}

func TestIdleNeedsNoWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := generate(t, []record.Phase{{Name: "idle", Shape: record.ShapeIdle, Seconds: 60}}, Request{}, nil, func(cancel context.CancelCauseFunc, _ *Generator) {
			time.Sleep(20 * time.Second)
			cancel(errStop)
		})
		if !errors.Is(r.err, errStop) {
			t.Errorf("Run returned %v", r.err)
		}
		if diff := cmp.Diff([]string{"0s idle start", "20s idle end"}, r.marks); diff != "" {
			t.Errorf("marks (-want +got):\n%s", diff)
		}
	})
	if _, err := New([]record.Phase{workers(1, 1)}, Request{}, nil, nil); err == nil {
		t.Error("New took a phase with load and no way to send it")
	}
}

func TestProgress(t *testing.T) {
	var got []string
	virtual(t, []record.Phase{rate(10, 10), workers(2, 5)}, Request{Path: "/"}, after(400*time.Millisecond), func(_ context.CancelCauseFunc, g *Generator) {
		for _, at := range []time.Duration{0, 4500, 8000} {
			time.Sleep(at*time.Millisecond + time.Microsecond)
			p := g.Progress()
			offered := "none"
			if p.Offered != nil {
				offered = fmt.Sprint(*p.Offered)
			}
			got = append(got, fmt.Sprintf("phase %d, %v of %v, offered %s, achieved %v, sent %d, answered %d, failed %d", p.Phase,
				p.Elapsed.Round(time.Millisecond), (p.Elapsed+p.Left).Round(time.Millisecond), offered, p.Achieved, p.Sent, p.Answered, p.Failed))
		}
	})
	if diff := cmp.Diff([]string{
		"phase 0, 0s of 10s, offered 10, achieved 0, sent 1, answered 0, failed 0",
		"phase 0, 4.5s of 10s, offered 10, achieved 10, sent 46, answered 42, failed 0",
		"phase 1, 2.5s of 5s, offered none, achieved 4, sent 114, answered 112, failed 0",
	}, got); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

func TestRequestGoesOutAsItIs(t *testing.T) {
	var got string
	r := virtual(t, []record.Phase{rate(1, 1)}, Request{
		Method: "PUT", Path: "/a?b=c", Body: []byte("body"),
		Headers: http.Header{"host": {"example.com"}, "X-One": {"1", "2"}},
	}, func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		req.Header.Del("User-Agent")
		got = fmt.Sprintf("%s %s %s %v %s", req.Host, req.Method, req.RequestURI, req.Header, body)
	}, nil)
	if want := "example.com PUT /a?b=c map[Content-Length:[4] X-One:[1 2]] body"; got != want {
		t.Errorf("the server saw\n%s, want\n%s", got, want)
	}
	if r.phases[0].BytesOut != 4 {
		t.Errorf("%d bytes out, want 4", r.phases[0].BytesOut)
	}
}

func TestMixOfTargets(t *testing.T) {
	var got []string
	r := virtual(t, []record.Phase{rate(10, 1), rate(3, 1)}, Request{
		Path: "/", Headers: http.Header{"X-All": {"yes"}, "X-Some": {"no"}},
		Mix: [][]Target{{{Weight: 6, Path: "/a"}, {Weight: 2, Path: "/b", Method: "POST", Body: []byte("body"), Headers: http.Header{"x-some": {"yes"}}}, {Weight: 2, Path: "/c"}}},
	}, func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		got = append(got, strings.TrimSpace(fmt.Sprint(req.Method, " ", req.URL, " ", req.Header.Get("X-All"), " ", req.Header.Get("X-Some"), " ", string(body))))
	}, nil)
	a, b, c := "GET /a yes no", "POST /b yes yes body", "GET /c yes no"
	if diff := cmp.Diff([]string{a, b, a, c, a, a, b, a, c, a, "GET / yes no", "GET / yes no", "GET / yes no"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r.phases[0].BytesOut != 8 {
		t.Errorf("%d bytes out, want 8", r.phases[0].BytesOut)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	r := virtual(t, []record.Phase{rate(5, 1)}, Request{Path: "/"}, func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, "/elsewhere", http.StatusFound)
	}, nil)
	if diff := cmp.Diff(map[string]uint64{"302": 5}, r.phases[0].Codes); diff != "" || r.served != 5 {
		t.Errorf("served %d; codes (-want +got):\n%s", r.served, diff)
	}
}

// net/http sends a GET again when a shared connection ends without an answer.
// That the first was lost must not disappear.
func TestLostRequestIsAFailure(t *testing.T) {
	var n atomic.Int64
	r := virtual(t, []record.Phase{rate(1, 10)}, Request{Path: "/"}, func(w http.ResponseWriter, req *http.Request) {
		if n.Add(1) == 5 {
			panic(http.ErrAbortHandler) // closes the connection
		}
		ok(w, req)
	}, nil)
	p := r.phases[0]
	if diff := cmp.Diff(map[string]uint64{"EOF": 1}, p.Errors); diff != "" || p.Answered != 9 {
		t.Errorf("answered %d of %d; errors (-want +got):\n%s", p.Answered, p.Sent, diff)
	}
}

func TestCauseOf(t *testing.T) {
	for text, want := range map[string]string{
		`Get "http://a/timeout": dial tcp 127.0.0.1:1: connect: connection refused`:                   "connection refused",
		`Get "http://a/": read tcp 127.0.0.1:5->127.0.0.1:1: read: connection reset by peer`:          "connection reset",
		`Get "http://a/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`: "timeout",
		`context deadline exceeded (Client.Timeout or context cancellation while reading body)`:       "timeout",
		`Get "http://a/": EOF`:          "EOF",
		`unexpected EOF`:                "EOF",
		`Get "http://_/": no ready pod`: "no ready pod",
		`Get "http://p/": port-forward to pod p: error forwarding port 80: dial tcp: connection refused`:     "connection refused",
		`Get "http://p/": port-forward to pod p: pods "p" not found`:                                         "port-forward",
		`Get "https://a/": tls: failed to verify certificate: x509: certificate signed by unknown authority`: "TLS",
		`Get "http://a/": something else`: "other",
	} {
		if got := causeOf(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
