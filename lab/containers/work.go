package containers

import (
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hpabench/hpabench/model"
)

// CPU is the processors of one node, shared by its containers.
type CPU struct {
	epoch time.Time
	mu    sync.Mutex // guards the node and the work of the containers on it
	node  node
}

// NewCPU returns so many processors, with nothing running on them.
func NewCPU(cores float64) *CPU {
	return &CPU{epoch: time.Now(), node: node{cores: cores}}
}

// work is what a container has to do, on the clock and guarded by the lock of
// its node's CPU.
type work struct {
	cpu         *CPU
	model       *model.Model
	memoryLimit int64 // bytes; 0: none

	scheduler *scheduler
	memory    memory
	random    *rand.Rand
	ended     bool
	end       time.Duration
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
	w.scheduler = newScheduler(&cpu.node, w.now(), limit, m.IdleCPU.AsApproximateFloat64(), *m.Workers, *m.Queue)
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

// request takes on a request and says how long it will last.
func (w *work) request(firstOfConnection bool) (time.Duration, outcome) {
	w.cpu.mu.Lock()
	defer w.cpu.mu.Unlock()
	if w.ended {
		return 0, refused
	}
	now := w.now()
	cpu, wait := w.model.CPU.Draw(w.random), w.model.Wait.Draw(w.random)
	if firstOfConnection {
		cpu += w.model.ConnectionCPU.Duration
	}
	done, ok := w.scheduler.request(now, cpu, wait)
	if !ok {
		return 0, refused
	}
	w.memory.add(now)
	if w.overLimit(now) {
		return 0, outOfMemory
	}
	if f := w.model.Fault; f != nil && f.Errors > 0 && w.random.Float64() < f.Errors {
		return done - now, failed
	}
	return done - now, served
}

// start takes on the CPU time of the process's own start. The memory that is used
// at all times can be too much already.
func (w *work) start() (time.Duration, outcome) {
	w.cpu.mu.Lock()
	defer w.cpu.mu.Unlock()
	if w.ended {
		return 0, refused
	}
	now := w.now()
	if w.overLimit(now) {
		return 0, outOfMemory
	}
	done, _ := w.scheduler.request(now, w.model.StartCPU.Duration, 0) // no other request is there yet
	return done - now, served
}

func (w *work) overLimit(now time.Duration) bool {
	return w.memoryLimit > 0 && w.memory.at(now, w.scheduler.held(now)) > w.memoryLimit
}

// throttled is how long the container is still held back by its limit.
func (w *work) throttled() time.Duration {
	w.cpu.mu.Lock()
	defer w.cpu.mu.Unlock()
	now := w.now()
	return w.scheduler.runnable(now) - now
}

func (w *work) inFlight() int {
	w.cpu.mu.Lock()
	defer w.cpu.mu.Unlock()
	return w.scheduler.held(w.now())
}

func (w *work) usage(t time.Time) (time.Duration, int64) {
	w.cpu.mu.Lock()
	defer w.cpu.mu.Unlock()
	now := t.Sub(w.cpu.epoch)
	if w.ended {
		return w.scheduler.usage(w.end), 0
	}
	used := w.scheduler.usage(now)
	return used, w.memory.at(now, w.scheduler.held(now))
}

func (w *work) stat() Stat {
	w.cpu.mu.Lock()
	defer w.cpu.mu.Unlock()
	return w.scheduler.stat(w.now())
}

// stop ends all work: what is not done yet will not be.
func (w *work) stop() {
	w.cpu.mu.Lock()
	defer w.cpu.mu.Unlock()
	if !w.ended {
		w.end = w.now()
		w.ended = true
		w.scheduler.stop(w.end)
	}
}

// memory is what the container's requests take. Instants are a scheduler's.
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
		m.until = drop(m.until, func(t time.Duration) bool { return t <= now })
		requests = len(m.until)
	}
	return m.idle + int64(requests)*m.request
}
