package containers

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hpabench/hpabench/model"
)

// CPU is the processors of one node, shared by its containers.
type CPU struct {
	epoch time.Time
	mu    sync.Mutex // guards the node and the work of the containers on it
	node  model.Node
}

// NewCPU returns so many processors, with nothing running on them.
func NewCPU(cores float64) *CPU {
	return &CPU{epoch: time.Now(), node: model.Node{Cores: cores}}
}

// work is what a container has to do, on the clock and guarded by the lock of
// its node's CPU.
type work struct {
	cpu         *CPU
	model       *model.Model
	memoryLimit int64 // bytes; 0: none

	server model.Server
	timer  *time.Timer // at the server's next change; nil until there is one
	memory memory
	random *rand.Rand
	ended  bool
	end    time.Duration
}

func newWork(cpu *CPU, m *model.Model, limit float64, memoryLimit int64, seed string) *work {
	h := fnv.New64a()
	h.Write([]byte(seed))
	w := &work{
		cpu: cpu, model: m, memoryLimit: memoryLimit,
		memory: memory{idle: m.Memory.Value(), request: m.MemoryPerRequest.Value()},
		random: rand.New(rand.NewPCG(h.Sum64(), 0)),
	}
	if m.MemoryHeld != nil {
		w.memory.keep = &m.MemoryHeld.Duration
	}
	cpu.mu.Lock()
	defer cpu.mu.Unlock()
	w.server = model.NewServer(&cpu.node, w.now(), m, limit)
	return w
}

// now is only true while the lock is held: so time does not go back for the
// schedulers.
func (w *work) now() time.Duration {
	if w.ended {
		return w.end
	}
	return time.Since(w.cpu.epoch)
}

type outcome int

const (
	served outcome = iota
	failed         // answered with status 500
	refused
	outOfMemory
)

// end is that of a request: at an instant that is known, or when a channel is closed.
type end struct {
	in    time.Duration
	later chan struct{}
}

// request takes on a request and says when it ends.
func (w *work) request(firstOfConnection bool) (end, outcome) {
	w.cpu.mu.Lock()
	defer w.cpu.mu.Unlock()
	if w.ended {
		return end{}, refused
	}
	now := w.now()
	cpu, wait := w.model.CPU.Draw(w.random), w.model.Wait.Draw(w.random)
	if firstOfConnection {
		cpu += w.model.ConnectionCPU.Duration
	}
	e, ok := w.take(now, cpu, wait)
	if !ok {
		return end{}, refused
	}
	w.memory.add(now)
	if w.overLimit(now) {
		return end{}, outOfMemory
	}
	if f := w.model.Fault; f != nil && f.Errors > 0 && w.random.Float64() < f.Errors {
		return e, failed
	}
	return e, served
}

// take gives a request to the server.
func (w *work) take(now, cpu, wait time.Duration) (e end, ok bool) {
	known := false
	ok = w.server.Request(now, cpu, wait, func(at time.Duration) {
		if known = true; e.later != nil {
			close(e.later)
		} else {
			e.in = at - now
		}
	})
	if ok && !known {
		e.later = make(chan struct{})
		w.arm(now)
	}
	return e, ok
}

// arm sets the timer of the server's next change.
func (w *work) arm(now time.Duration) {
	next := w.server.Next()
	switch {
	case next == model.Never:
	case w.timer != nil:
		w.timer.Reset(next - now)
	default:
		w.timer = time.AfterFunc(next-now, func() {
			w.cpu.mu.Lock()
			defer w.cpu.mu.Unlock()
			if !w.ended {
				now := w.now()
				w.server.Advance(now)
				w.arm(now)
			}
		})
	}
}

// start takes on the CPU time of the process's own start. The memory that is used
// at all times can be too much already.
func (w *work) start() (end, outcome) {
	w.cpu.mu.Lock()
	defer w.cpu.mu.Unlock()
	if w.ended {
		return end{}, refused
	}
	now := w.now()
	if w.overLimit(now) {
		return end{}, outOfMemory
	}
	if w.model.StartCPU.Duration == 0 {
		return end{}, served
	}
	e, _ := w.take(now, w.model.StartCPU.Duration, 0) // no other request is there yet
	return e, served
}

func (w *work) overLimit(now time.Duration) bool {
	return w.memoryLimit > 0 && w.memory.at(now, w.server.Held(now)) > w.memoryLimit
}

// throttled is how long the container is still held back by its limit.
func (w *work) throttled() time.Duration {
	w.cpu.mu.Lock()
	defer w.cpu.mu.Unlock()
	now := w.now()
	return w.server.Runnable(now) - now
}

func (w *work) inFlight() int {
	w.cpu.mu.Lock()
	defer w.cpu.mu.Unlock()
	return w.server.Held(w.now())
}

func (w *work) usage(t time.Time) (time.Duration, int64) {
	w.cpu.mu.Lock()
	defer w.cpu.mu.Unlock()
	now := t.Sub(w.cpu.epoch)
	if w.ended {
		return w.server.Usage(w.end), 0
	}
	used := w.server.Usage(now)
	return used, w.memory.at(now, w.server.Held(now))
}

func (w *work) stat() model.Stat {
	w.cpu.mu.Lock()
	defer w.cpu.mu.Unlock()
	return w.server.Stat(w.now())
}

// stop ends all work: what is not done yet will not be.
func (w *work) stop() {
	w.cpu.mu.Lock()
	defer w.cpu.mu.Unlock()
	if !w.ended {
		w.end = w.now()
		w.ended = true
		w.server.Stop(w.end)
		if w.timer != nil {
			w.timer.Stop()
		}
	}
}

// memory is what the container's requests take. Instants are the server's.
type memory struct {
	idle, request int64          // bytes
	keep          *time.Duration // how long a request's is held; nil: as long as the request
	until         []time.Duration
}

func (m *memory) add(now time.Duration) {
	if m.keep != nil && m.request > 0 {
		m.until = append(m.until, now+*m.keep)
	}
}

func (m *memory) at(now time.Duration, requests int) int64 {
	if m.keep != nil {
		over, _ := slices.BinarySearch(m.until, now+1)
		m.until = m.until[over:]
		requests = len(m.until)
	}
	return m.idle + int64(requests)*m.request
}
