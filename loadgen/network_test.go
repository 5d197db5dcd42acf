package loadgen

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hpabench/hpabench/record"
	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// serve runs handler on a port of this machine and counts requests and
// connections.
func serve(t *testing.T, handler http.HandlerFunc) (way Way, requests, connections *atomic.Int64) {
	requests, connections = new(atomic.Int64), new(atomic.Int64)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		requests.Add(1)
		handler(w, req)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	address := server.Listener.Addr().(*net.TCPAddr)
	return NodePort(address.IP.String(), int32(address.Port)), requests, connections
}

func TestOverTheNetwork(t *testing.T) {
	way, requests, connections := serve(t, ok)
	if err := Reachable(t.Context(), way); err != nil {
		t.Fatal(err)
	}
	fresh := workers(2, 0.3)
	fresh.KeepAlive = false
	r := generate(t, []record.Phase{rate(200, 1), workers(2, 0.3), fresh}, Request{Path: "/"}, way, nil)
	if r.err != nil {
		t.Fatal(r.err)
	}
	if n := r.phases[0].Offered; n != 200 {
		t.Errorf("offered %d, want 200", n)
	}
	var sent, answered uint64
	for i, p := range r.phases {
		if p.Answered == 0 {
			t.Errorf("phase %d: no answer", i)
		}
		sent, answered = sent+p.Sent, answered+p.Answered
	}
	if n := uint64(requests.Load()); n != sent || n != answered {
		t.Errorf("the server saw %d requests; sent %d, answered %d", n, sent, answered)
	}
	// Reachable's connection, at most one a worker that vegeta started, and one
	// a request in the last phase.
	if n, last := uint64(connections.Load()), r.phases[2].Sent; n < 1+last || n > 1+last+r.phases[0].Sent {
		t.Errorf("%d connections, of which %d for the last phase", n, last)
	}
}

func TestRefusedIsAFailure(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	way, err := URL("http://" + listener.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if err := Reachable(t.Context(), way); err == nil {
		t.Error("reachable, but nobody listens")
	}
	r := generate(t, []record.Phase{rate(50, 0.2)}, Request{Path: "/"}, way, nil)
	if diff := cmp.Diff(map[string]uint64{"connection refused": 10}, r.phases[0].Errors); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

func TestNothingLeavesAfterCancel(t *testing.T) {
	way, requests, _ := serve(t, ok)
	var then int64
	r := generate(t, []record.Phase{workers(4, 60)}, Request{Path: "/"}, way, func(cancel context.CancelCauseFunc, g *Generator) {
		for g.Progress().Answered < 100 {
			time.Sleep(time.Millisecond)
		}
		cancel(errStop)
	})
	then = requests.Load()
	time.Sleep(50 * time.Millisecond)
	if now := requests.Load(); now != then || uint64(now) != r.phases[0].Sent || r.phases[0].Aborted != 0 {
		t.Errorf("the server saw %d, then %d requests; sent %d, aborted %d", then, now, r.phases[0].Sent, r.phases[0].Aborted)
	}
}

func TestURL(t *testing.T) {
	for base, want := range map[string]string{
		"http://a:8080":    "http://a:8080",
		"https://a/below/": "https://a/below",
		"http://u:p@a":     "http://u:p@a",
		"a:8080":           "",
		"http:///x":        "",
		"ftp://a":          "",
		"http://a/?q=1":    "",
		"http://%":         "",
	} {
		way, err := URL(base)
		if got := err == nil && way.next() == want; got != (want != "") {
			t.Errorf("URL(%q) = %v, %v", base, way, err)
		}
	}
	if way, _ := URL("http://u:secret@a"); way.URL() != "http://xxxxx@a" {
		t.Errorf("a password is shown: %s", way.URL())
	}
}

// A record is read from JSON, and its histograms merge without loss.
func TestRecordedHistogramsMerge(t *testing.T) {
	rec := record.NewRecorder(record.StartClock(), nil)
	l := newLedger(rec, nil)
	p := l.start(0, workers(1, 60), 0)
	for second := range 3 {
		for i := range 1000 {
			l.answer(p, &vegeta.Result{
				Code:      200,
				Timestamp: rec.Clock.Start().Add(time.Duration(second) * time.Second),
				Latency:   time.Duration(i) * time.Millisecond,
			})
		}
		l.write(startOf(second + 1))
	}
	l.answer(p, &vegeta.Result{Code: 200, Timestamp: rec.Clock.Start(), Latency: time.Hour})
	l.write(startOf(4000))

	sum := record.NewHistogram()
	for _, e := range rec.Run().Entries {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var back record.Entry
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if back.Load != nil {
			if err := back.Load.Latency.AddTo(sum); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := sum.TotalCount(); n != 3001 {
		t.Errorf("%d latencies, want 3001", n)
	}
	if p50 := sum.ValueAtQuantile(50); p50 < 499000 || p50 > 501000 {
		t.Errorf("p50 %d µs, want 500 ms", p50)
	}
	if most := time.Duration(sum.Max()) * time.Microsecond; most < record.MaxLatency || most > record.MaxLatency*1001/1000 {
		t.Errorf("an answer after an hour counts as %v, want %v", most, record.MaxLatency)
	}
}

// A tenth of an hour at 10,000/s: what an hour takes stays far below 100 MiB.
func TestMemoryOfAnHour(t *testing.T) {
	const rate, length = 10_000, 360
	rec := record.NewRecorder(record.StartClock(), nil)
	l := newLedger(rec, nil)
	p := l.start(0, record.Phase{Shape: record.ShapeRate, From: rate, Seconds: length}, 0)
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / (1 << 20)
	}
	random := rand.New(rand.NewPCG(1, 2))
	before := 0.0
	for second := range length {
		for n := range rate {
			l.send(p)
			at := time.Duration(second)*time.Second + time.Duration(n)*time.Second/rate
			l.answer(p, &vegeta.Result{Seq: uint64(second*rate + n), Code: 200, Timestamp: rec.Clock.Start().Add(at),
				Latency: time.Duration(random.ExpFloat64() * float64(20*time.Millisecond))})
		}
		l.write(startOf(second + 1))
		if second == 10 { // when all that is kept for use again is there
			before = heap()
		}
	}
	grown := (heap() - before) / (length - 11) * 3600
	t.Logf("%.1f MiB at first, %.1f MiB more after an hour", before, grown)
	if grown > 50 {
		t.Errorf("an hour takes %.1f MiB", grown)
	}
	runtime.KeepAlive(rec)
}

// BenchmarkRecord shows what one answer costs beside vegeta: no allocation.
func BenchmarkRecord(b *testing.B) {
	rec := record.NewRecorder(record.StartClock(), nil)
	l := newLedger(rec, nil)
	p := l.start(0, record.Phase{Shape: record.ShapeRate, From: 1e6, Seconds: 1e5}, 0)
	r := &vegeta.Result{Code: 200, Timestamp: rec.Clock.Start(), Latency: time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		l.send(p)
		l.answer(p, r)
	}
}

// BenchmarkOpenLoop sends 5,000 requests a second for a second to this machine.
func BenchmarkOpenLoop(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(ok))
	defer server.Close()
	way, _ := URL(server.URL)
	for b.Loop() {
		rec := record.NewRecorder(record.StartClock(), nil)
		g, _ := New([]record.Phase{rate(5000, 1)}, Request{Path: "/"}, way, rec)
		if err := g.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
		unsent, late := uint64(0), 0.0
		for _, e := range rec.Run().Entries {
			if e.Load != nil {
				unsent, late = unsent+e.Load.Unsent, max(late, e.Load.LateMax)
			}
		}
		b.ReportMetric(float64(unsent), "unsent")
		b.ReportMetric(late*1e3, "ms-late-max")
	}
}

// A good answer is an entry of its own where there was none for a second before it.
func TestGoodAnswers(t *testing.T) {
	rec := record.NewRecorder(record.StartClock(), nil)
	l := newLedger(rec, nil)
	p := l.start(0, workers(1, 60), 0)
	for _, a := range []struct {
		at   time.Duration
		code uint16
	}{{0, 503}, {500, 302}, {1500, 200}, {2000, 404}, {2600, 200}, {2700, 200}} {
		l.answer(p, &vegeta.Result{Code: a.code, Timestamp: rec.Clock.Start(), Latency: a.at * time.Millisecond})
	}
	l.write(startOf(4000))
	var got []float64
	for _, e := range rec.Run().Entries {
		if e.Answer != nil {
			got = append(got, e.At.Seconds())
		}
	}
	if !slices.Equal(got, []float64{0.5, 2.6}) {
		t.Errorf("good answers at %v", got)
	}
}
