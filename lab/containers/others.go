package containers

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/hpabench/hpabench/model"
)

// others is what a process has to do with other pods: it forwards to them, calls them, or is part of a queue. Nil stands for
// one that is on its own.
type others struct {
	model  *model.Model
	client http.Client
	life   context.Context
	stop   context.CancelFunc
	failed atomic.Int64 // requests of a gateway that nobody took
	worked atomic.Int64 // messages

	mu           sync.Mutex
	waiting      []messages
	added, taken int
}

// messages came at a time.
type messages struct {
	n  int
	at time.Time
}

func newOthers(m *model.Model, dial func(string) (net.Conn, error)) *others {
	if m.Forwards == nil && len(m.Calls) == 0 && m.Takes == nil && (m.Holds == nil || !*m.Holds) {
		return nil
	}
	hold := time.Duration(0)
	if f := m.Forwards; f != nil && f.Hold != nil {
		hold = f.Hold.Duration
	}
	life, stop := context.WithCancel(context.Background())
	o := &others{model: m, life: life, stop: stop, client: http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 200, IdleConnTimeout: model.IdleConnection, DisableCompression: true,
			DialContext: func(_ context.Context, _, service string) (net.Conn, error) {
				if dial == nil {
					return nil, syscall.ECONNREFUSED
				}
				for until := time.Now().Add(hold); ; {
					conn, err := dial(strings.TrimSuffix(service, ":80"))
					if err == nil || time.Now().After(until) {
						return conn, err
					}
					select { // a request's own context does not end what it dials
					case <-life.Done():
						return nil, life.Err()
					case <-time.After(model.Redial):
					}
				}
			},
		},
	}}
	return o
}

// end ends what it has asked of others.
func (o *others) end() {
	if o != nil {
		o.stop()
	}
}

func (o *others) count(n *model.Counts) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	n.Failed, n.Done = float64(o.failed.Load()), float64(o.worked.Load())
	n.Waiting, n.Added, n.Taken = float64(o.added-o.taken), float64(o.added), float64(o.taken)
	if len(o.waiting) > 0 {
		n.Oldest = time.Since(o.waiting[0].at).Seconds()
	}
}

// hops counts how many pods a request has come through, so that one that comes back to where it was has an end.
const (
	hops     = "X-Hops"
	mostHops = 20
)

// reply is the answer of another pod.
type reply struct {
	status      int
	contentType string
	pod, body   []byte
}

// whileWaited is a context that ends when the client of a request has closed its connection, which is looked at every model.Redial: a
// gateway gives the request up then, as httputil.ReverseProxy and KEDA's interceptor do.
func (o *others) whileWaited(client net.Conn) (context.Context, context.CancelFunc) {
	waited, cancel := context.WithCancel(o.life)
	looks := time.AfterFunc(model.Redial, func() {
		for !left(client) {
			select {
			case <-waited.Done():
				return
			case <-time.After(model.Redial):
			}
		}
		cancel()
	})
	return waited, func() { looks.Stop(); cancel() }
}

// ask asks another pod, for a request that came through so many pods.
func (o *others) ask(ctx context.Context, method, service, path string, through int) (*reply, error) {
	if through >= mostHops {
		return nil, fmt.Errorf("the request came through %d pods: do they call each other in a circle?", through)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+service+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set(hops, strconv.Itoa(through+1))
	answer, err := o.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, model.MaxAnnotation)) // of a modelled pod, or of nobody
	return &reply{answer.StatusCode, answer.Header.Get("Content-Type"), []byte(answer.Header.Get(string(podHeader))), body}, err
}

// answer makes of a process's answer what comes of the others.
func (o *others) answer(ctx *fasthttp.RequestCtx) {
	switch {
	case o == nil, o.model.Takes != nil:
	case o.model.Forwards != nil:
		o.forward(ctx)
	case len(o.model.Calls) > 0:
		o.call(ctx)
	default:
		o.queue(ctx)
	}
}

func through(ctx *fasthttp.RequestCtx) int {
	n, _ := strconv.Atoi(string(ctx.Request.Header.Peek(hops)))
	return n
}

func (o *others) forward(ctx *fasthttp.RequestCtx) {
	waited, over := o.whileWaited(ctx.Conn().(*conn).Conn)
	defer over()
	answer, err := o.ask(waited, string(ctx.Method()), o.model.Forwards.To, string(ctx.RequestURI()), through(ctx))
	if err != nil {
		o.failed.Add(1)
		ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
		ctx.SetBodyString(err.Error() + "\n")
		return
	}
	ctx.SetStatusCode(answer.status)
	ctx.Response.Header.SetContentType(answer.contentType)
	if len(answer.pod) > 0 {
		ctx.Response.Header.SetCanonical(podHeader, answer.pod)
	}
	ctx.Response.SetBodyRaw(answer.body)
}

func (o *others) call(ctx *fasthttp.RequestCtx) {
	for _, c := range o.model.Calls {
		for range max(c.Times, 1) {
			answer, err := o.ask(o.life, http.MethodGet, c.To, "/", through(ctx))
			if err == nil && answer.status >= 400 {
				err = fmt.Errorf("%s answers %d %s", c.To, answer.status, http.StatusText(answer.status))
			}
			if err != nil {
				o.failed.Add(1)
				ctx.SetStatusCode(fasthttp.StatusBadGateway)
				ctx.SetBodyString(err.Error() + "\n")
				return
			}
		}
	}
}

// queue takes a message, or gives the one that came first, as one-node/parts does.
func (o *others) queue(ctx *fasthttp.RequestCtx) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch method, path := string(ctx.Method()), string(ctx.Path()); {
	case method == http.MethodPost && path == "/":
		n, err := strconv.Atoi(string(ctx.QueryArgs().Peek("n")))
		if err != nil || n < 1 {
			n = 1
		}
		n = min(n, maxAdded)
		o.waiting = append(o.waiting, messages{n, time.Now()})
		o.added += n
		ctx.SetStatusCode(fasthttp.StatusAccepted)
		ctx.SetBodyString("")
	case method != http.MethodGet || path != "/take":
		ctx.SetStatusCode(fasthttp.StatusNotFound)
		ctx.SetBodyString("POST / adds a message, and GET /take gives one\n")
	case len(o.waiting) == 0:
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		ctx.SetBodyString("")
	default:
		first := &o.waiting[0]
		ctx.SetBodyString(fmt.Sprintf("%.3f\n", time.Since(first.at).Seconds()))
		if first.n--; first.n == 0 {
			o.waiting = o.waiting[1:]
		}
		o.taken++
	}
}

// maxAdded bounds the messages of one request.
const maxAdded = 1_000_000

// takeMessages lets a worker take messages until the process ends, each of its threads one after another.
func (c *Container) takeMessages() {
	if c.others == nil || c.model.Takes == nil {
		return
	}
	for range *c.model.Workers {
		go func() {
			for c.others.life.Err() == nil && !c.asked() {
				answer, err := c.others.ask(c.others.life, http.MethodGet, *c.model.Takes, "/take", 0)
				if err != nil || answer.status != http.StatusOK {
					c.hold(model.LookIn)
					continue
				}
				end, outcome := c.work.request(false)
				for outcome == refused && c.others.life.Err() == nil { // busy with a request
					c.hold(granularity)
					end, outcome = c.work.request(false)
				}
				if outcome == outOfMemory {
					c.end(oomKilled)
					return
				}
				c.await(end)
				c.others.worked.Add(1)
			}
		}()
	}
}

// metrics is the text of the process's Series, in Prometheus' format.
func (c *Container) metrics() string {
	var b strings.Builder
	for _, s := range c.Series() {
		kind := "gauge"
		if s.Counter {
			kind = "counter"
		}
		fmt.Fprintf(&b, "# HELP %[1]s %[2]s\n# TYPE %[1]s %[3]s\n%[1]s %[4]v\n", s.Name, s.Help, kind, s.Value)
	}
	return b.String()
}
