// Package containers runs modelled containers: real HTTP on real connections,
// answered when a modelled process would have had the CPU time for it.
//
// A request takes the CPU time that its model says from its container's limit and
// from its node's processors; model.Server works out when it is done. No CPU time
// is really burned, so that one machine can stand for many nodes.
package containers

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/hpabench/hpabench/model"
)

// Config is what a container is started with.
type Config struct {
	Model       model.Model // as model.Resolve returns it
	Node        *CPU
	CPULimit    float64   // cores; 0: none
	MemoryLimit int64     // bytes; 0: none
	Pod         string    // its name: sent with each answer as X-Pod, and the seed of what is random
	Log         io.Writer // what the process prints, a line a write; nil: nowhere
	// Dial connects to a pod behind a Service of the pod's namespace, named as the model does. Error: nobody takes the connection.
	// Nil: nobody ever does.
	Dial func(service string) (net.Conn, error)
}

// Exit is how a container ended, in the words of a pod's status.
type Exit struct {
	Code   int
	Reason string // Completed, Error or OOMKilled
}

var (
	completed = Exit{0, "Completed"}
	crashed   = Exit{1, "Error"}
	killed    = Exit{137, "Error"}
	oomKilled = Exit{137, "OOMKilled"}
)

// Container is one process. Its methods can be called at any time and from
// several goroutines.
type Container struct {
	model  model.Model
	work   *work
	server fasthttp.Server
	pod    []byte
	body   []byte
	log    io.Writer
	done   chan struct{}

	accepted atomic.Int64 // connections
	requests atomic.Int64 // of any path
	came     atomic.Int64 // requests that are to take CPU time
	answered atomic.Int64 // that took it
	inFlight atomic.Int64 // of those that came
	others   *others      // nil for one that is on its own
	closing  atomic.Bool  // each connection is closed after its request

	mu struct {
		sync.Mutex
		listening bool
		asked     bool // to end, by SIGTERM
		exit      *Exit
		conns     map[*conn]struct{}
		timers    []*time.Timer
	}
}

// Start starts the process. It listens when Model.Start is over and it has had
// the CPU time of Model.StartCPU.
func Start(cfg Config) *Container {
	c := &Container{model: cfg.Model, pod: []byte(cfg.Pod), log: cfg.Log, done: make(chan struct{})}
	c.work = newWork(cfg.Node, &c.model, cfg.CPULimit, cfg.MemoryLimit, cfg.Pod)
	c.body = []byte(*c.model.Body)
	c.configure()
	c.others = newOthers(&c.model, cfg.Dial)
	c.mu.conns = map[*conn]struct{}{}
	c.print("starting")
	if f := c.model.Fault; f != nil && f.Crash != nil {
		c.after(f.Crash.Duration, func() {
			c.print("crashing, as the model says")
			c.end(crashed)
		})
	}
	c.after(c.model.Start.Duration, func() {
		rest, outcome := c.work.start()
		if outcome == outOfMemory {
			c.end(oomKilled)
			return
		}
		c.await(rest)
		c.listen()
		c.takeMessages()
	})
	return c
}

func (c *Container) listen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.exit == nil && !c.mu.asked {
		c.mu.listening = true
		c.print("listening")
	}
}

// after calls f when d has passed, unless the container has ended by then.
func (c *Container) after(d time.Duration, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.exit == nil {
		c.mu.timers = append(c.mu.timers, time.AfterFunc(d, f))
	}
}

// asked says whether it is to end.
func (c *Container) asked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.asked
}

// Listening says whether connections are accepted.
func (c *Container) Listening() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.listening
}

// Usage is the CPU time that the container had used at now since it started, and
// its memory in bytes. CPU time that is only reserved for requests is not in it.
// Now must not be before that of an earlier call; after the end the CPU time stays
// as it is and memory is 0.
func (c *Container) Usage(now time.Time) (cpu time.Duration, memory int64) {
	return c.work.usage(now)
}

// Counts are what the process knows of itself.
func (c *Container) Counts() model.Counts {
	n := model.Counts{Came: float64(c.came.Load()), Answered: float64(c.answered.Load()), InFlight: float64(c.inFlight.Load())}
	c.others.count(&n)
	return n
}

// Series are what the process shows to Prometheus.
func (c *Container) Series() []model.Series { return c.model.Series(c.Counts()) }

// Stat has the counters of what the CPU limit did to the container until now.
func (c *Container) Stat() model.Stat { return c.work.stat() }

// Terminate is SIGTERM. The process goes on for Model.Drain, then it accepts no
// more connections, answers what it has if it is graceful, and exits with code 0.
// A process that does not listen yet exits at once.
func (c *Container) Terminate() {
	c.mu.Lock()
	again, drain := c.mu.asked || c.mu.exit != nil, c.model.Drain.Duration
	c.mu.asked = true
	if !c.mu.listening {
		drain = 0
	}
	c.mu.Unlock()
	if again {
		return
	}
	c.print("SIGTERM")
	if drain > 0 {
		c.after(drain, c.stop)
	} else {
		c.stop()
	}
}

// stop ends the process as soon as its requests are answered.
func (c *Container) stop() {
	if !*c.model.Graceful {
		c.end(completed)
		return
	}
	c.closing.Store(true)
	c.mu.Lock()
	c.mu.listening = false
	for conn := range c.mu.conns {
		conn.closeIfIdle()
	}
	last := len(c.mu.conns) == 0
	c.mu.Unlock()
	if last {
		c.end(completed)
	}
}

// Kill is SIGKILL: the process ends and its connections are reset.
func (c *Container) Kill() { c.end(killed) }

// Done is closed when the process has ended.
func (c *Container) Done() <-chan struct{} { return c.done }

// Exit says how the process ended. It waits for Done.
func (c *Container) Exit() Exit {
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.mu.exit
}

func (c *Container) end(e Exit) {
	c.mu.Lock()
	if c.mu.exit != nil {
		c.mu.Unlock()
		return
	}
	c.mu.exit = &e
	c.mu.listening = false
	for _, t := range c.mu.timers {
		t.Stop()
	}
	c.work.stop()
	c.others.end()
	for conn := range c.mu.conns {
		if e == completed {
			conn.Close()
		} else {
			reset(conn.Conn)
		}
	}
	c.mu.Unlock()
	c.print(fmt.Sprintf("exit %d %s", e.Code, e.Reason))
	close(c.done)
}

func (c *Container) print(line string) {
	if c.log != nil {
		fmt.Fprintln(c.log, line)
	}
}

// reset closes conn so that the other side sees a reset (RST) rather than an
// orderly end, where the kind of connection has such a thing.
func reset(conn net.Conn) {
	if c, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = c.SetLinger(0) // then it is an orderly end
	}
	_ = conn.Close()
}
