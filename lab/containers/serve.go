package containers

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/hpabench/hpabench/model"
)

// granularity is the shortest time for which a request is held back: a sleeping
// Go program wakes up at whole milliseconds at best. What is nearer is answered
// at once, so latency can be that much too short. The CPU time is accounted for
// in any case, and what follows queues behind it, so throughput and usage are
// exact.
const granularity = time.Millisecond

// newConnectionPatience is how long a process that stops waits for the first
// request of a connection, as Go's http.Server does.
const newConnectionPatience = 5 * time.Second

// conn is a connection that the container serves.
type conn struct {
	net.Conn
	state atomic.Int32 // fasthttp.ConnState: new, active or idle
}

func (c *conn) closeIfIdle() {
	switch fasthttp.ConnState(c.state.Load()) {
	case fasthttp.StateIdle:
		_ = c.Close()
	case fasthttp.StateNew:
		time.AfterFunc(newConnectionPatience, func() {
			if fasthttp.ConnState(c.state.Load()) == fasthttp.StateNew {
				_ = c.Close()
			}
		})
	}
}

// Serve takes over an established connection and serves HTTP on it until it
// ends; it does not wait for that. It is an error if the process does not listen:
// the connection is the caller's then.
func (c *Container) Serve(nc net.Conn) error {
	connection := &conn{Conn: nc}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mu.listening {
		return errors.New("nobody listens: connection refused")
	}
	c.mu.conns[connection] = struct{}{}
	c.accepted.Add(1)
	go func() {
		_ = c.server.ServeConn(connection) // how a client leaves is its own affair
		c.mu.Lock()
		delete(c.mu.conns, connection)
		last := len(c.mu.conns) == 0
		c.mu.Unlock()
		if last && c.closing.Load() {
			c.end(completed)
		}
	}()
	return nil
}

// The Date header comes from a goroutine of fasthttp that begins with the first
// answer and never ends. It begins here, so as not to belong to a test's bubble of
// testing/synctest.
func init() { _, _ = new(fasthttp.ResponseHeader).WriteTo(io.Discard) }

// configure sets up the server. Small buffers, because there can be thousands of
// connections in one process; bodies are streamed, as nobody looks at them.
func (c *Container) configure() {
	c.server = fasthttp.Server{
		Handler:                      c.handle,
		ConnState:                    c.track,
		ReadBufferSize:               4096,
		WriteBufferSize:              512,
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        c.model.Preset != model.Nginx,
		Name:                         "nginx",
		NoDefaultContentType:         true,
	}
}

func (c *Container) track(nc net.Conn, state fasthttp.ConnState) {
	connection := nc.(*conn)
	connection.state.Store(int32(state))
	if state == fasthttp.StateIdle && c.closing.Load() {
		_ = connection.Close()
	}
}

var podHeader = []byte("X-Pod")

func (c *Container) handle(ctx *fasthttp.RequestCtx) {
	c.requests.Add(1)
	if body := ctx.RequestBodyStream(); body != nil {
		_, _ = io.Copy(io.Discard, body) // fasthttp ends a connection whose body is broken
	}
	h := &ctx.Response.Header
	h.SetCanonical(podHeader, c.pod)
	h.SetContentType("text/plain; charset=utf-8")
	if path := string(ctx.Path()); c.model.Status(path) {
		c.hold(c.work.throttled())
		ctx.Response.SetBodyString(c.status(path))
	} else {
		c.came.Add(1)
		c.inFlight.Add(1)
		c.answer(ctx)
		c.inFlight.Add(-1)
	}
	if c.closing.Load() {
		ctx.SetConnectionClose()
	}
}

func (c *Container) answer(ctx *fasthttp.RequestCtx) {
	end, outcome := c.work.request(ctx.ConnRequestNum() == 1)
	switch outcome {
	case refused:
		reset(ctx.Conn().(*conn).Conn)
		return
	case outOfMemory:
		c.end(oomKilled)
		return
	}
	c.await(end)
	if outcome == failed {
		ctx.SetStatusCode(fasthttp.StatusInternalServerError)
		ctx.SetBodyString("error, as the model says\n")
		return
	}
	if c.model.Preset == model.Nginx {
		ctx.Response.Header.SetContentType("text/html")
	}
	ctx.Response.SetBodyRaw(c.body)
	c.others.answer(ctx)
	c.answered.Add(1)
}

// hold waits, or until the process has ended.
func (c *Container) hold(d time.Duration) {
	if d < granularity {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.done:
	}
}

// await waits for the end of a request, or of the process.
func (c *Container) await(e end) {
	if e.later == nil {
		c.hold(e.in)
		return
	}
	select {
	case <-e.later:
	case <-c.done:
	}
}

// status is the text of a status path.
func (c *Container) status(path string) string {
	switch path {
	case "/nginx_status":
		return c.stubStatus()
	case "/served":
		return fmt.Sprintln(c.answered.Load())
	case model.MetricsPath:
		return c.metrics()
	}
	return "ok\n"
}

// stubStatus is the text of nginx's ngx_http_stub_status_module.
func (c *Container) stubStatus() string {
	c.mu.Lock()
	active := len(c.mu.conns)
	c.mu.Unlock()
	accepted, writing := c.accepted.Load(), min(c.work.inFlight()+1, active)
	return fmt.Sprintf("Active connections: %d \nserver accepts handled requests\n %d %d %d \nReading: 0 Writing: %d Waiting: %d \n",
		active, accepted, accepted, c.requests.Load(), writing, active-writing)
}
