// Package loadgen sends the load of a run and records every answer.
//
// vegeta sends each request; when, is said by schedules of our own (see
// schedule), and where to by a Way. Open loop: requests leave by schedule,
// whatever the answers do, and latency counts from the instant at which the
// request was due; what could not be sent by the end of the phase is counted as
// unsent. Closed loop: each worker sends when it has its answer, and latency
// counts from the sending.
//
// Load goes to the host of the Way only: paths are joined with its URL and checked
// (see record.JoinURL), redirects are not followed, no proxy is used, a name does not leave its
// part of the network (see addresses). The body of an answer is discarded as it comes
// and its head is bounded, so that memory depends on the load alone. A request that was
// lost on its way counts as failed even where net/http sent it again. HTTP/1.1, or
// HTTP/2 over TLS where that is asked for.
// Failures (no status code) are counted by a few causes; the first of each cause
// is recorded as a Note in its own words.
package loadgen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hpabench/hpabench/record"
	vegeta "github.com/tsenart/vegeta/v12/lib"
)

const (
	// maxInFlight bounds the requests of an open loop that wait for an answer.
	// Each has a goroutine and a connection here and a connection at the
	// workload; what the bound holds back is sent late, or counted as unsent.
	maxInFlight = 2000

	// defaultTimeout is for requests that name none.
	defaultTimeout = 30 * time.Second

	// maxGrace bounds how long requests in flight may still be answered after a
	// run was cancelled: a signal ends a command within two seconds.
	maxGrace = time.Second

	// lastCall is how long after the end of an open-loop phase a request may
	// still leave that was due just before: a timer is often a millisecond late,
	// which does not mean that the generator cannot keep up.
	lastCall = 50 * time.Millisecond

	// settle is how long after a second its counts are written: answers take a
	// moment from the wire to the ledger, and one entry is better than two.
	settle = 100 * time.Millisecond
)

// Request is what is sent, again and again.
type Request struct {
	Method  string      `json:"method,omitempty"`  // default GET
	Path    string      `json:"path,omitempty"`    // with its query; begins with a slash
	Headers http.Header `json:"headers,omitempty"` // a Host in it goes where it belongs
	Body    []byte      `json:"body,omitempty"`

	// Mix is what each phase sends in place of the above, by the index of the phase;
	// it may be shorter than the phases, and hold nil. Headers above are in all of it.
	Mix [][]Target `json:"mix,omitempty"`

	Timeout time.Duration `json:"timeout,omitempty"` // of one request, from its sending; default 30 s

	// TLS is how https is checked, nil for the default; HTTP2 lets it be HTTP/2 where
	// the server can.
	TLS   *TLS `json:"tls,omitempty"`
	HTTP2 bool `json:"http2,omitempty"`

	// MaxConnectionAge is how long a kept connection takes new requests; 0 is no
	// limit. All are replaced at once.
	MaxConnectionAge time.Duration `json:"maxConnectionAge,omitempty"`

	// PodHeader names the header of the answers that names the pod. Where the way
	// knows the pod it is not needed.
	PodHeader string `json:"podHeader,omitempty"`
}

// Target is one of several requests that a phase sends: Weight of the sum of all
// their weights, in turns that are as even as can be.
type Target struct {
	Weight  int         `json:"weight"`
	Method  string      `json:"method,omitempty"`
	Path    string      `json:"path"`
	Headers http.Header `json:"headers,omitempty"`
	Body    []byte      `json:"body,omitempty"`
}

// TLS is how the certificate of a server is checked.
type TLS struct {
	CA                 []byte `json:"ca,omitempty"` // in PEM, in place of the system's
	ServerName         string `json:"serverName,omitempty"`
	InsecureSkipVerify bool   `json:"insecureSkipVerify,omitempty"`
}

// config returns t for crypto/tls, nil for the default.
func (t *TLS) config() *tls.Config {
	if t == nil {
		return nil
	}
	c := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}
	if t.CA != nil {
		c.RootCAs = x509.NewCertPool()
		c.RootCAs.AppendCertsFromPEM(t.CA)
	}
	return c
}

// Share is the part of a load that a generator sends, where several do together:
// of the hits of a schedule every Of-th, beginning with Index (from 0), and as even
// a part of the workers of a closed loop. The zero Share is all of it.
type Share struct {
	Index int `json:"index"`
	Of    int `json:"of"`
}

// Generator sends the load of one run.
type Generator struct {
	phases  []record.Phase
	request Request
	way     Way
	rec     *record.Recorder
	ledger  *ledger
	mixes   [][]*Target // by phase, in the order in which they are sent
	nap     func(time.Duration)
}

// New returns a generator for the given phases. Way may be nil when no phase has
// load.
func New(phases []record.Phase, request Request, way Way, rec *record.Recorder) (*Generator, error) {
	return newShare(Share{}, phases, request, way, rec)
}

// newShare is New for a part of the load.
func newShare(share Share, phases []record.Phase, request Request, way Way, rec *record.Recorder) (*Generator, error) {
	for _, p := range phases {
		switch p.Shape {
		case record.ShapeIdle, record.ShapeRate, record.ShapeRamp, record.ShapeSine, record.ShapeCurve, record.ShapeWorkers:
		default:
			return nil, fmt.Errorf("phase %s: unknown shape %q", p.Name, p.Shape)
		}
		if way == nil && p.Shape != record.ShapeIdle {
			return nil, fmt.Errorf("phase %s has load, but there is no way to reach the workload", p.Name)
		}
	}
	if request.Timeout <= 0 {
		request.Timeout = defaultTimeout
	}
	host := ""
	if way != nil {
		host = way.host()
	}
	g := &Generator{phases: phases, request: request, way: way, rec: rec, ledger: newLedger(rec, podOf(way, request.PodHeader)), nap: nap}
	g.ledger.share = share
	for i := range phases {
		mix := []Target{{Weight: 1, Method: request.Method, Path: request.Path, Body: request.Body}}
		if i < len(request.Mix) && request.Mix[i] != nil {
			mix = slices.Clone(request.Mix[i])
		}
		for k := range mix {
			if way != nil {
				if _, err := record.JoinURL(way.next(), mix[k].Path); err != nil {
					return nil, fmt.Errorf("phase %s: %w", phases[i].Name, err)
				}
			}
			if strings.EqualFold(mix[k].Method, http.MethodConnect) {
				return nil, fmt.Errorf("phase %s: CONNECT asks for a tunnel to another host", phases[i].Name)
			}
			mix[k].Headers = headers(host, request.Headers, mix[k].Headers)
		}
		g.mixes = append(g.mixes, inTurns(mix))
	}
	return g, nil
}

// headers joins headers; those that come later replace those before. A host is for
// where none has one.
func headers(host string, several ...http.Header) http.Header {
	all := http.Header{}
	if host != "" {
		all.Set("Host", host)
	}
	for _, h := range several {
		for k, v := range h {
			all[textproto.CanonicalMIMEHeaderKey(k)] = v
		}
	}
	return all
}

// inTurns puts targets into an order that repeats, in which each is as often as its
// weight says and as evenly spread as can be: nginx's smooth weighted round robin,
// https://github.com/phusion/nginx/commit/27e94984486058d73157038f7950a0a36ecc6e35
func inTurns(mix []Target) []*Target {
	divisor, total := 0, 0
	for _, t := range mix {
		for a, b := divisor, t.Weight; ; a, b = b, a%b {
			if divisor = a; b == 0 {
				break
			}
		}
	}
	for _, t := range mix {
		total += t.Weight / divisor
	}
	turns, ahead := make([]*Target, total), make([]int, len(mix))
	if total == len(mix) { // all have the same weight
		for i := range mix {
			turns[i] = &mix[i]
		}
		return turns
	}
	for n := range turns {
		best := 0
		for i, t := range mix {
			if ahead[i] += t.Weight / divisor; ahead[i] > ahead[best] {
				best = i
			}
		}
		ahead[best] -= total
		turns[n] = &mix[best]
	}
	return turns
}

// podOf returns how the pod of an outcome is known, nil if it is not: a way to pods
// names it as the host.
func podOf(way Way, header string) func(*vegeta.Result) string {
	if _, byPod := way.(*forward); byPod {
		return func(r *vegeta.Result) string {
			host, _, _ := strings.Cut(strings.TrimPrefix(r.URL, "http://"), "/")
			if host == nobody {
				return ""
			}
			return host
		}
	}
	if header == "" {
		return nil
	}
	return func(r *vegeta.Result) string { return r.Headers.Get(header) }
}

// Run sends the phases one after the other, without a pause, and returns when
// the last request has its answer or has failed. It can be called once.
//
// When ctx is done, nothing more is sent. Requests in flight have the request's
// timeout, at most 1 s, to be answered; what is left is cut off and counted as
// aborted. Then Run returns the cause of ctx. The record is complete either way:
// each phase that began has its end.
func (g *Generator) Run(ctx context.Context) error { return g.RunAt(ctx, g.rec.Clock.Now()) }

// RunAt is Run, with the onset of the first phase at the given instant.
func (g *Generator) RunAt(ctx context.Context, onset record.Instant) error {
	select {
	case <-time.After(onset.Sub(g.rec.Clock.Now())):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ended := make(chan struct{})
	written := make(chan error, 1)
	go func() { written <- g.write(ended) }()

	shared, single := (*transport)(nil), (*transport)(nil)
	if g.way != nil {
		shared, single = newTransport(g.way, &g.request, true, g.ledger.slowConnect), newTransport(g.way, &g.request, false, g.ledger.slowConnect)
		defer shared.close()
		defer single.close()
	}

	var answers sync.WaitGroup // one collector a phase
	for i, p := range g.phases {
		if ctx.Err() != nil {
			break
		}
		t := single
		if p.KeepAlive {
			t = shared
		}
		onset = g.run(ctx, i, p, onset, t, &answers)
	}

	drained := make(chan struct{})
	go func() { answers.Wait(); close(drained) }()
	var cut error
	select {
	case <-drained:
		cut = context.Cause(ctx)
	case <-ctx.Done():
		cut = context.Cause(ctx)
		select {
		case <-drained:
		case <-time.After(min(g.request.Timeout, maxGrace)):
			g.ledger.abort()
			shared.close()
			single.close()
			<-drained
		}
	}
	close(ended)
	return errors.Join(cut, <-written)
}

// run sends one phase and returns when it is over: at its planned end, when all
// the requests of a closed loop are answered, or when ctx is done. Answers may
// still be on their way. It returns the end.
func (g *Generator) run(ctx context.Context, index int, plan record.Phase, onset record.Instant, t *transport, answers *sync.WaitGroup) record.Instant {
	p := g.ledger.start(index, plan, onset)
	if plan.Shape != record.ShapeIdle && (p.schedule != nil || p.Workers > 0) {
		workers, most := uint64(vegeta.DefaultWorkers), uint64(maxInFlight)
		loop := newClosedLoop(p.Workers, seconds(plan.Think), p.over)
		pace := vegeta.Pacer(loop)
		if p.schedule != nil {
			pace = newPacer(p.schedule, g.rec.Clock, onset, p.over, g.nap)
		} else {
			workers, most = uint64(p.Workers), uint64(p.Workers)
		}
		client := &http.Client{Transport: t.as}
		if g.request.HTTP2 {
			client.Timeout = g.request.Timeout // our own pool sees to it itself
		}
		attacker := vegeta.NewAttacker(
			vegeta.Client(client),
			vegeta.Redirects(vegeta.NoFollow),
			vegeta.Workers(workers),
			vegeta.MaxWorkers(most),
		)
		results := attacker.Attack(g.target(ctx, p), pace, 0, "")
		answers.Go(func() {
			for r := range results {
				if r.Error != errOver.Error() {
					g.ledger.answer(p, r)
					loop.answered()
				}
			}
		})
	}

	timer := time.NewTimer(p.end.Sub(g.rec.Clock.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.answered:
	case <-ctx.Done():
	}
	if p.allSent != nil {
		timer.Reset(lastCall)
		select {
		case <-p.allSent:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	g.ledger.finish(p)
	return p.end
}

// errOver is what a request meets that vegeta would send when its phase is over; it is not sent, and not counted.
var errOver = errors.New("the phase is over")

// target makes the requests of p, one a call.
func (g *Generator) target(ctx context.Context, p *phase) vegeta.Targeter {
	mix := g.mixes[p.index]
	return func(t *vegeta.Target) error {
		if ctx.Err() != nil {
			return errOver
		}
		hit, ok := g.ledger.send(p)
		if !ok {
			return errOver
		}
		target := mix[hit%uint64(len(mix))]
		t.Method = target.Method
		t.URL = g.way.next() + target.Path
		t.Header = target.Headers
		t.Body = target.Body
		return nil
	}
}

// write writes each second when it is over, and the rest once ended is closed.
func (g *Generator) write(ended <-chan struct{}) error {
	for {
		now := g.rec.Clock.Now()
		next := startOf(secondOf(now.Add(-settle)) + 1).Add(settle)
		select {
		case <-time.After(next.Sub(now)):
			if err := g.ledger.write(g.rec.Clock.Now().Add(-settle)); err != nil {
				return err
			}
		case <-ended:
			return g.ledger.write(g.rec.Clock.Now().Add(time.Second))
		}
	}
}

// Progress is how far a run is.
type Progress struct {
	Phase   int           // index of the phase; -1 before the first
	Elapsed time.Duration // of the phase
	Left    time.Duration // of the phase

	// Offered is the rate of the schedule now, in requests a second; nil in a
	// closed loop, which has none.
	Offered *float64
	// Achieved is the number of answers in the last whole second of the run.
	Achieved float64

	// Since the run began. Failed requests have no status code.
	Sent, Answered, Failed uint64
}

// within sets what is of the phase: s is its schedule, nil if it has none.
func (p *Progress) within(now, onset, end record.Instant, idle bool, s *schedule) {
	p.Elapsed, p.Left = min(now, end).Sub(onset), max(0, end.Sub(now))
	if idle {
		p.Offered = new(float64)
	} else if s != nil {
		p.Offered = new(s.rate(p.Elapsed))
	}
}

// Progress returns how far the run is. It may be called at any time, from any
// goroutine.
func (g *Generator) Progress() Progress {
	mu := &g.ledger.mu
	mu.Lock()
	defer mu.Unlock()
	result := Progress{Phase: -1, Sent: mu.sent, Answered: mu.answered, Failed: mu.failed}
	p := mu.phase
	if p == nil {
		return result
	}
	now := g.rec.Clock.Now()
	result.Phase = p.index
	result.within(now, p.onset, p.end, p.ended || p.Shape == record.ShapeIdle, p.schedule)
	last := secondOf(now) - 1
	if last >= 0 {
		if r := mu.recent[last%len(mu.recent)]; r.second == last {
			result.Achieved = float64(r.answers)
		}
	}
	return result
}
