package loadgen

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// slowConnect tells a connection whose first packet was lost: TCP sends that again
// after a second.
const slowConnect = 900 * time.Millisecond

const (
	// streamWindow bounds what an HTTP/2 server may send of one answer before it is
	// read; net/http's default is 4 MiB, and 2,000 answers at once could then take
	// 8 GB. At a round trip of 1 ms it allows 256 MB/s for each answer.
	streamWindow = 256 << 10

	// connectionWindow is the same of all answers of a connection; the most that
	// net/http takes is just below 4 MiB.
	connectionWindow = 4<<20 - 1
)

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
	single    bool
	podHeader string // canonical; "" for none
	slow      func() // is told of each connection that took slowConnect to open
	ctx       context.Context
	cancel    context.CancelFunc

	mu   sync.Mutex
	open map[*connection]struct{}
}

// connections are a pool of ours, or for HTTP/2 one of net/http.
type connections interface {
	http.RoundTripper
	CloseIdleConnections()
}

func newTransport(way Way, request *Request, keepAlive bool, slow func()) *transport {
	t := &transport{began: time.Now(), single: !keepAlive, podHeader: textproto.CanonicalMIMEHeaderKey(request.PodHeader), dial: way.dial, slow: slow, open: map[*connection]struct{}{}}
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

			MaxResponseHeaderBytes: maxHead,
			HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: connectionWindow},
		}
	}
	first := t.fresh()
	t.pool.Store(&first)
	return t
}

// RoundTrip sends req once. When a server closes a shared connection without an
// answer, as a pod does that is killed, net/http quietly sends a GET again; an
// answer to that would hide the failure, so it counts as one.
//
// Of the answer the body is discarded as it comes and the head is forgotten but for
// the header that names the pod, so that an answer takes the same memory whatever a
// server sends, and Location leads nowhere. No error has a secret of req.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Header.Del("X-Vegeta-Seq")
	resp, err := t.ask(req)
	if err != nil {
		return nil, withoutSecrets(err, req)
	}
	// By https://www.rfc-editor.org/rfc/rfc9110#section-15 a code has three digits; HTTP/2
	// would hand on any number, and vegeta the lowest 16 bits of it.
	if resp.StatusCode < 100 || resp.StatusCode > 999 {
		resp.Body.Close()
		return nil, errStatus
	}
	var pod []string
	if t.podHeader != "" {
		pod = resp.Header[t.podHeader]
	}
	resp.Header, resp.Trailer = http.Header{}, nil
	if len(pod) > 0 && isPodName(pod[0]) {
		resp.Header[t.podHeader] = []string{strings.Clone(pod[0])}
	}
	if resp.Body != http.NoBody {
		resp.Body = &length{ReadCloser: resp.Body, req: req}
	}
	return resp, nil
}

// length stands for the body of an answer. What is read from it is the number of
// bytes in that body, in 8 bytes: vegeta keeps what it reads until the answer is
// counted, and only the number is.
type length struct {
	io.ReadCloser
	req  *http.Request
	read bool
}

func (l *length) Read(p []byte) (int, error) {
	if l.read {
		return 0, io.EOF
	}
	n, err := io.Copy(io.Discard, l.ReadCloser)
	if err != nil {
		return 0, withoutSecrets(err, l.req)
	}
	l.read = true
	return copy(p, binary.BigEndian.AppendUint64(nil, uint64(n))), io.EOF
}

// lengthOf is the length of an answer's body, of which length was read.
func lengthOf(r *vegeta.Result) uint64 {
	if len(r.Body) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(r.Body)
}

// isPodName says whether the value of a header can be the name of a pod: by
// https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ it has 253
// characters at most. An address with a port, as proxies tell it, is taken too.
func isPodName(value string) bool {
	return value != "" && len(value) <= 253 && !strings.ContainsFunc(value, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune("<>\"'`|\\", r)
	})
}

// ask sends req once and returns its answer.
func (t *transport) ask(req *http.Request) (*http.Response, error) {
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
