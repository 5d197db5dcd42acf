package loadgen

import (
	"cmp"
	"context"
	"crypto/tls"
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

// transport sends requests over the connections that a Way makes, and can cut
// them all off. There is one for requests that share connections and one for
// requests that do not.
//
// Nothing comes from the environment (proxies) and nothing is added to a
// request: load goes where the user sent it, as it was written.
type transport struct {
	as    http.RoundTripper // this, behind what says who asks
	pool  atomic.Pointer[connections]
	fresh func() connections
	age   time.Duration // after which pool is replaced, and with it all connections; 0 is never
	born  atomic.Int64  // when pool was made, by time.Since(began)
	began time.Time
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	// single closes connections with a reset: nothing then remembers them, neither
	// the workload nor the connection tracking of its node. Otherwise a source port
	// that comes round again within two minutes loses its first packet at times, and
	// waits for one or two seconds.
	single bool
	slow   func() // is told of each connection that took slowConnect to open
	ctx    context.Context
	cancel context.CancelFunc

	mu   sync.Mutex
	open map[*connection]struct{}
}

// connections are a pool of ours, or for HTTP/2 one of net/http.
type connections interface {
	http.RoundTripper
	CloseIdleConnections()
}

func newTransport(way Way, request *Request, keepAlive bool, slow func()) *transport {
	t := &transport{began: time.Now(), single: !keepAlive, dial: way.dial, slow: slow, open: map[*connection]struct{}{}}
	if keepAlive {
		t.age = request.MaxConnectionAge
	}
	t.as = t
	t.ctx, t.cancel = context.WithCancel(context.Background())
	secure := request.TLS.config()
	switch w := way.(type) {
	case authenticated:
		secure, t.as = w.tls(), w.wrap(t)
	case *direct:
		if secure == nil {
			secure = &tls.Config{}
		}
		secure.ServerName = cmp.Or(secure.ServerName, w.header)
	}
	t.fresh = func() connections {
		if !request.HTTP2 {
			return newPool(t.connect, secure, request.Timeout, keepAlive)
		}
		return &http.Transport{
			DialContext:         t.connect,
			DisableKeepAlives:   !keepAlive,
			DisableCompression:  true,
			TLSClientConfig:     secure,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: maxInFlight,
			IdleConnTimeout:     idleTimeout,
			TLSHandshakeTimeout: handshakeTimeout,
		}
	}
	first := t.fresh()
	t.pool.Store(&first)
	return t
}

// RoundTrip sends req once. When a server closes a shared connection without an
// answer, as a pod does that is killed, net/http quietly sends a GET again; an
// answer to that would hide the failure, so it counts as one.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Header.Del("X-Vegeta-Seq")
	current := t.current()
	if ours, is := current.(*pool); is {
		return ours.RoundTrip(req)
	}
	var written atomic.Int32
	trace := &httptrace.ClientTrace{WroteHeaders: func() { written.Add(1) }}
	resp, err := current.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err == nil && written.Load() > 1 {
		resp.Body.Close()
		return nil, errLost
	}
	return resp, err
}

// current is the pool that takes new requests. What is under way in one that is
// too old goes on to its end there.
func (t *transport) current() connections {
	pool := *t.pool.Load()
	if t.age == 0 {
		return pool
	}
	now, born := int64(time.Since(t.began)), t.born.Load()
	if now-born < int64(t.age) || !t.born.CompareAndSwap(born, now) {
		return pool
	}
	next := t.fresh()
	t.pool.Store(&next)
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
	(*t.pool.Load()).CloseIdleConnections()
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
	if tcp, is := conn.(*net.TCPConn); is && t.single {
		_ = tcp.SetLinger(0)
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
