package model

import (
	"math"
	"slices"
	"time"
)

// A Node is the processors that its containers share, by CFS period: in each period
// they can use Cores × CFSPeriod of CPU time between them, first come, first served.
// The kernel shares by weight instead, in slices of milliseconds; over periods
// that are not full, which is where an autoscaler works, the two agree.
// Instants are durations since the node's start.
type Node struct {
	Cores  float64
	idle   float64 // cores that containers use without requests
	ledger ledger
	turns  []*turns // the servers that change without a call
}

// capacity is the CPU time of requests in a period.
func (n *Node) capacity() time.Duration {
	return inPeriod(forRequests(n.Cores, n.idle))
}

// busyShare of a limit or of a node is left for requests however much is idle
// CPU, so that every request ends. It is chosen, and counts only where a container idles at more than nine tenths of its
// limit, which no model and no record at hand does: these idle at 5m at most.
const busyShare = 0.1

// forRequests is what idle CPU leaves of a limit or of a node, in cores.
func forRequests(cores, idle float64) float64 { return max(cores-idle, cores*busyShare) }

// A Server is the requests of one container. It has no clock: each call says what time it is,
// as a duration since its node's start, and time must not go back on a node.
//
// Requests get a worker in the order in which they come, and use their CPU time with it; then
// they wait, without a processor, and give the worker back. A CPU limit holds as CFS bandwidth
// control does it (https://docs.kernel.org/scheduler/sched-bwc.html): in each period all threads
// together have limit × CFSPeriod; those that would run beyond it are throttled until the next
// period. Unlike the kernel's, periods begin at the same instants for all containers of a node.
//
// There are two, which agree where no request has more than one turn: fifo, which knows the end
// of a request when it comes and needs O(log n), and turns.
type Server interface {
	// Request takes a request on. It is false if the queue is full. Done is called with the end of
	// the request once that is known: by a fifo before Request returns, and by turns in a call
	// that comes at that instant or after it.
	Request(now, cpu, wait time.Duration, done func(at time.Duration)) bool
	// Next is the instant at which Advance has to be called next; Never for a fifo.
	Next() time.Duration
	// Advance lets happen what is due by now.
	Advance(now time.Duration)
	// Held is how many requests the container has.
	Held(now time.Duration) int
	// Runnable is when what costs nothing and needs no worker, a probe say, has run: when no thread of
	// the container is throttled, and a processor is free of the requests that
	// have a worker now: by turns, of one turn of each.
	Runnable(now time.Duration) time.Duration
	// Usage is the CPU time that has been used, idle CPU included.
	Usage(now time.Duration) time.Duration
	Stat(now time.Duration) Stat
	// Stop takes the container off its node. Its requests do not end.
	Stop(now time.Duration)
}

// Never is an instant that does not come.
const Never = time.Duration(math.MaxInt64)

// NewServer starts the server of a model under a CPU limit in cores (0: none).
func NewServer(n *Node, now time.Duration, m *Model, limit float64) Server {
	a := newAccount(n, now, limit, m.IdleCPU.AsApproximateFloat64())
	lanes := m.processors(limit, n.Cores)
	if m.InTurns() {
		return newTurns(a, lanes, *m.Workers, *m.Queue)
	}
	return newFIFO(a, lanes, *m.Workers, *m.Queue)
}

// Turn is the CPU time after which another request has its turn: Go's sysmon looks every 10 ms
// for what has run since its look before, and stops it at the next (forcePreemptNS in
// runtime/proc.go). The kernel's slices of threads are shorter (base_slice_ns, 3 ms), which
// makes little difference to requests that are longer than 20 ms.
const Turn = 20 * time.Millisecond

// InTurns says whether requests share the processors by turns, and more than 1 in 1,000 of them
// need a second turn: a tenth of those that p99 leaves out. Else the order of the ends is that of the arrivals. Where 3 in
// 10,000 need one, p99 is 2 % off without turns.
func (m *Model) InTurns() bool {
	return *m.Serving == Turns && m.CPU.longerThan(Turn-m.ConnectionCPU.Duration) > 0.001
}

// longerThan is the share of draws above some time (see Draw for the distributions).
func (c *Cost) longerThan(d time.Duration) float64 {
	mean, limit := c.Mean.Seconds(), d.Seconds()
	switch {
	case mean <= 0 || limit <= 0:
		if mean > limit {
			return 1
		}
		return 0
	case c.Distribution == "exponential":
		return math.Exp(-limit / mean)
	case c.Distribution == "lognormal":
		variance := c.variance()
		return 0.5 * math.Erfc((math.Log(limit/mean)+variance/2)/math.Sqrt(2*variance))
	case mean > limit:
		return 1
	}
	return 0
}

// processors is how many threads of a container can run at once. By turns, as of Go programs,
// there are no more than the limit rounded up, but two (GOMAXPROCS of Go 1.25 and later).
func (m *Model) processors(limit, cores float64) int {
	n := math.Ceil(cores)
	if *m.Serving == Turns && limit > 0 {
		n = min(n, max(2, math.Ceil(limit)))
	}
	return max(1, min(int(n), *m.Workers))
}

// account is the CPU time of one container: its quota, and what it used.
type account struct {
	node    *Node
	started time.Duration
	now     time.Duration
	idle    float64       // cores
	quota   time.Duration // of requests, in a period; 0: no limit
	ledger  ledger
	past    Stat
}

func newAccount(n *Node, now time.Duration, limit, idle float64) account {
	a := account{node: n, started: now, now: now, idle: idle}
	if limit > 0 {
		limit = max(limit, minLimit)
		a.idle = min(idle, limit*(1-busyShare))
		a.quota = inPeriod(forRequests(limit, idle))
	}
	n.idle += a.idle
	a.ledger.first = int64(now / CFSPeriod)
	return a
}

// usedIdle is the CPU time that the container used without requests.
func (a *account) usedIdle() time.Duration {
	return time.Duration(a.idle * float64(a.now-a.started))
}

// pass forgets the periods that are over; of the node those that are over for all of its servers.
func (a *account) pass() {
	i := int64(a.now / CFSPeriod)
	if i > a.node.ledger.first {
		over := i
		for _, s := range a.node.turns {
			if len(s.running)+len(s.waiting) > 0 { // others take no CPU time before they have come to the present
				over = min(over, int64(s.now/CFSPeriod))
			}
		}
		a.node.ledger.pass(over, func(entry) {})
	}
	if i > a.ledger.first {
		a.ledger.pass(i, func(e entry) {
			if e.used > 0 || e.throttled > 0 {
				a.past.Periods++
			}
			if e.throttled > 0 {
				a.past.Throttled++
				a.past.ThrottledTime += e.throttled
			}
		})
	}
}

// Stat has the counters of a cgroup's cpu.stat that CPU limits move. As the
// kernel's, they count a period when it is over.
type Stat struct {
	Periods       int64         // in which the container had something to run
	Throttled     int64         // those of them in which it ran into its limit
	ThrottledTime time.Duration // summed over the threads that were held back
}

// A ledger says how much CPU time is taken in each period, from the present one
// as far as something is reserved. Instants are durations since the node's start.
type ledger struct {
	first   int64 // index of entries[0]
	entries []entry
}

type entry struct {
	used      time.Duration
	throttled time.Duration // summed over the threads that were held back
	since     time.Duration // the instant at which the first of them was
}

// at returns the entry of the period with index i, which cannot be before the
// first. It is valid until the next call.
func (l *ledger) at(i int64) *entry {
	for int64(len(l.entries)) <= i-l.first {
		l.entries = append(l.entries, entry{})
	}
	return &l.entries[i-l.first]
}

// pass drops what is before the period with index i, giving each entry to f.
func (l *ledger) pass(i int64, f func(entry)) {
	n := min(i-l.first, int64(len(l.entries)))
	for _, e := range l.entries[:max(n, 0)] {
		f(e)
	}
	if n > 0 {
		l.entries = append(l.entries[:0], l.entries[n:]...)
	}
	l.first = max(l.first, i)
}

// advance lets the servers in turns of the node come to now, in the order of what happens.
func (n *Node) advance(now time.Duration) {
	for {
		var first *turns
		at := now
		for _, s := range n.turns {
			if t := s.Next(); t <= at && (first == nil || t < at) {
				first, at = s, t
			}
		}
		if first == nil {
			break
		}
		first.step(at)
	}
	for _, s := range n.turns {
		s.run(now)
	}
}

// remove takes a server off the node.
func (n *Node) remove(s *turns) {
	n.turns = slices.DeleteFunc(n.turns, func(other *turns) bool { return other == s })
}
