package loadgen

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

const (
	// idleTimeout is below the usual timeouts of servers, so that few requests meet
	// a connection that the server is just closing.
	idleTimeout = 30 * time.Second

	// handshakeTimeout is that of TLS.
	handshakeTimeout = 10 * time.Second

	// maxHead bounds the head of an answer, with the interim answers (1xx) before it:
	// four times what Node.js and HAProxy take by default (16 KiB), so that 2,000
	// heads at once stay below 128 MiB.
	maxHead = 64 << 10

	// rested is how long a connection must have been idle to be looked at before it
	// is used again: in less the server will not have closed it.
	rested = time.Millisecond
)

var (
	errLost    = errors.New("the connection was closed before the answer")
	errTimeout = errors.New("timeout: no answer in time")
	errHead    = fmt.Errorf("answer head longer than %d KiB", maxHead>>10)
	errStatus  = errors.New("malformed HTTP status code, which has three digits")
)

// pool sends HTTP/1.1 requests over connections that it keeps, each in the
// goroutine that asks. net/http's Transport hands every request to a goroutine
// that writes and one that reads, which costs as much as all the rest of a small
// request; messages are written and read by net/http here too.
//
// A request is never sent twice: one whose connection is lost has failed.
type pool struct {
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	tls       *tls.Config
	keepAlive bool
	timeout   time.Duration // of a request, from its sending to the end of the answer

	mu     sync.Mutex
	idle   map[origin][]*pooled // the last used at the end
	closed bool
}

type origin struct{ scheme, host string }

// pooled is a connection that carries one request at a time.
type pooled struct {
	net.Conn
	pool   *pool
	origin origin
	input  io.LimitedReader // of Conn
	reader *bufio.Reader    // of input
	writer *bufio.Writer
	timer  *time.Timer // closes it when a request takes too long
	late   chan struct{}
	idle   time.Time // since when
}

func newPool(dial func(ctx context.Context, network, address string) (net.Conn, error), secure *tls.Config, timeout time.Duration, keepAlive bool) *pool {
	return &pool{dial: dial, tls: secure, keepAlive: keepAlive, timeout: timeout, idle: map[origin][]*pooled{}}
}

func (p *pool) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Close = !p.keepAlive
	c, err := p.take(req)
	if err != nil {
		return nil, err
	}
	resp, err := c.ask(req)
	if err != nil {
		if isClosed(c.late) {
			err = errTimeout
		}
		c.end(false)
		return nil, err
	}
	further := p.keepAlive && !resp.Close && !req.Close && resp.StatusCode >= 200
	if resp.Body == http.NoBody {
		c.end(further)
		return resp, nil
	}
	resp.Body = &body{c, resp.Body, further}
	return resp, nil
}

// ask writes req and reads the head of its answer.
func (c *pooled) ask(req *http.Request) (*http.Response, error) {
	lost := req.Write(c.writer)
	if lost == nil {
		lost = c.writer.Flush()
	}
	c.input.N = maxHead
	for {
		resp, err := http.ReadResponse(c.reader, req)
		switch {
		case err != nil && c.input.N <= 0:
			return nil, errHead
		case err != nil && lost != nil:
			return nil, lost // what could not be written can have an answer: too large, say
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, errLost
		case err != nil:
			return nil, err
		case resp.StatusCode/100 != 1 || resp.StatusCode == http.StatusSwitchingProtocols:
			resp.Close = resp.Close || lost != nil
			c.input.N = math.MaxInt64
			return resp, nil
		}
	}
}

// body is the body of an answer, at whose end the connection is free: another
// request may have it by the time that the body is closed.
type body struct {
	connection *pooled // nil when it is free
	answer     io.ReadCloser
	further    bool // another request may follow
}

func (b *body) Read(p []byte) (int, error) {
	c := b.connection
	if c == nil {
		return 0, io.EOF
	}
	n, err := b.answer.Read(p)
	if err == nil {
		return n, nil
	}
	if isClosed(c.late) {
		err = errTimeout
	}
	b.connection = nil
	c.end(err == io.EOF && b.further)
	return n, err
}

func (b *body) Close() error {
	if c := b.connection; c != nil {
		b.connection = nil
		c.end(false)
	}
	return nil
}

// take returns an idle connection to where req goes, or a new one, whose timer runs.
func (p *pool) take(req *http.Request) (*pooled, error) {
	to := origin{req.URL.Scheme, req.URL.Host}
	for p.keepAlive {
		p.mu.Lock()
		list := p.idle[to]
		if len(list) == 0 {
			p.mu.Unlock()
			break
		}
		c := list[len(list)-1]
		list[len(list)-1] = nil
		p.idle[to] = list[:len(list)-1]
		p.mu.Unlock()
		if idle := time.Since(c.idle); idle < rested || idle < idleTimeout && alive(c.Conn) {
			c.timer.Reset(p.timeout)
			return c, nil
		}
		c.Conn.Close()
	}
	c := &pooled{pool: p, origin: to, late: make(chan struct{})}
	ctx, cancel := context.WithTimeoutCause(req.Context(), p.timeout, errTimeout)
	defer cancel()
	began := time.Now()
	var err error
	if c.Conn, err = p.connect(ctx, to); err != nil {
		return nil, err
	}
	c.input.R = c.Conn
	c.reader, c.writer = bufio.NewReader(&c.input), bufio.NewWriter(c.Conn)
	c.timer = time.AfterFunc(p.timeout-time.Since(began), func() {
		close(c.late)
		c.Conn.Close()
	})
	return c, nil
}

func (p *pool) connect(ctx context.Context, to origin) (net.Conn, error) {
	address := to.host
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, to.scheme) // net knows the ports of http and https
	}
	conn, err := p.dial(ctx, "tcp", address)
	if err != nil || to.scheme == "http" {
		return conn, err
	}
	config := &tls.Config{}
	if p.tls != nil {
		config = p.tls.Clone()
	}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	secure := tls.Client(conn, config)
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// end gives c back when its request is over; again says whether it can take another.
func (c *pooled) end(again bool) {
	again = c.timer.Stop() && again && c.reader.Buffered() == 0
	p := c.pool
	p.mu.Lock()
	if again = again && !p.closed; again {
		c.idle = time.Now()
		p.idle[c.origin] = append(p.idle[c.origin], c)
	}
	p.mu.Unlock()
	if !again {
		c.Conn.Close()
	}
}

// CloseIdleConnections closes the connections: those that have a request, when it
// is over. No request may be sent afterwards.
func (p *pool) CloseIdleConnections() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, list := range idle {
		for _, c := range list {
			c.Conn.Close()
		}
	}
}

// alive says whether the other side has left an idle connection open, as far as
// can be known without waiting.
func alive(conn net.Conn) bool {
	for {
		switch c := conn.(type) {
		case *tls.Conn:
			conn = c.NetConn()
			continue
		case *connection:
			conn = c.Conn
			continue
		case *podConn:
			return !isClosed(c.failed)
		case syscall.Conn:
			return nothingToRead(c)
		}
		return true
	}
}
