package loadgen

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// slowConnect tells a connection whose first packet was lost: TCP sends that again
// after a second.
const slowConnect = 900 * time.Millisecond

// errLost is the fate of a request whose connection was closed after it was
// written and before an answer came.
var errLost = errors.New("the connection was closed before the answer")

// transport sends requests over the connections that a Way makes, and can cut
// them all off. There is one for requests that share connections and one for
// requests that do not.
//
// Nothing comes from the environment (proxies) and nothing is added to a
// request: load goes where the user sent it, as it was written.
type transport struct {
	http   atomic.Pointer[http.Transport]
	fresh  func() *http.Transport
	age    time.Duration // after which http is replaced, and with it all connections; 0 is never
	born   atomic.Int64  // when http was made, by time.Since(began)
	began  time.Time
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	slow   func() // is told of each connection that took slowConnect to open
	ctx    context.Context
	cancel context.CancelFunc

	mu   sync.Mutex
	open map[*connection]struct{}
}

func newTransport(way Way, request *Request, keepAlive bool, slow func()) *transport {
	t := &transport{began: time.Now(), dial: way.dial, slow: slow, open: map[*connection]struct{}{}}
	if keepAlive {
		t.age = request.MaxConnectionAge
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.fresh = func() *http.Transport {
		return &http.Transport{
			DialContext:         t.connect,
			DisableKeepAlives:   !keepAlive,
			DisableCompression:  true,
			TLSClientConfig:     request.TLS.Clone(),
			ForceAttemptHTTP2:   request.HTTP2,
			MaxIdleConnsPerHost: maxInFlight,
			// Below the usual timeouts of servers, so that few requests meet a
			// connection that the server is just closing.
			IdleConnTimeout:     30 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second,
		}
	}
	t.http.Store(t.fresh())
	return t
}

// RoundTrip sends req once. When a server closes a shared connection without an
// answer, as a pod does that is killed, net/http quietly sends a GET again; an
// answer to that would hide the failure, so it counts as one.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Header.Del("X-Vegeta-Seq")
	var written atomic.Int32
	trace := &httptrace.ClientTrace{WroteHeaders: func() { written.Add(1) }}
	resp, err := t.current().RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err == nil && written.Load() > 1 {
		resp.Body.Close()
		return nil, errLost
	}
	return resp, err
}

// current is the pool of connections that takes new requests. What is under way in
// one that is too old goes on to its end there.
func (t *transport) current() *http.Transport {
	pool := t.http.Load()
	if t.age == 0 {
		return pool
	}
	now, born := int64(time.Since(t.began)), t.born.Load()
	if now-born < int64(t.age) || !t.born.CompareAndSwap(born, now) {
		return pool
	}
	next := t.fresh()
	t.http.Store(next)
	pool.CloseIdleConnections()
	// Those that had a request then are idle soon, or closed with the transport.
	time.AfterFunc(time.Second, pool.CloseIdleConnections)
	return next
}

// close ends every connection, and with it every request in flight; no new one
// can be made afterwards.
func (t *transport) close() {
	t.cancel()
	t.mu.Lock()
	open := t.open
	t.open = nil
	t.mu.Unlock()
	for c := range open {
		c.Conn.Close()
	}
	t.http.Load().CloseIdleConnections()
}

func (t *transport) connect(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	began := time.Now()
	conn, err := t.dial(ctx, network, address)
	if time.Since(began) >= slowConnect {
		t.slow()
	}
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn, transport: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		conn.Close()
		return nil, net.ErrClosed
	}
	t.open[c] = struct{}{}
	return c, nil
}

// connection leaves its transport's list when it is closed.
type connection struct {
	net.Conn
	transport *transport
}

func (c *connection) Close() error {
	c.transport.mu.Lock()
	delete(c.transport.open, c)
	c.transport.mu.Unlock()
	return c.Conn.Close()
}
