package model

import (
	"container/heap"
	"time"
)

// turns is a Server in which the requests that have a worker share the processors by round
// robin, each for a Turn at a time. All changes of time go through step.
type turns struct {
	account
	lanes, workers, queue int

	running []*job // on a processor each
	ready   queue  // that have a worker, in the order of their turns
	line    queue  // that wait for a worker
	waiting waits  // that have had their CPU time
	over    []*job // whose memory the next ones use
	used    time.Duration
}

// job is a request that is not done.
type job struct {
	cpu, wait time.Duration // that it needs yet
	turn      time.Duration // that is left of its turn
	until     time.Duration // the end of its wait
	done      func(at time.Duration)
}

// jobsAtOnce is for how many jobs memory is taken at a time.
const jobsAtOnce = 32

func newTurns(a account, lanes, workers, queue int) *turns {
	s := &turns{account: a, lanes: lanes, workers: workers, queue: queue}
	a.node.turns = append(a.node.turns, s)
	return s
}

func (s *turns) Request(now, cpu, wait time.Duration, done func(at time.Duration)) bool {
	s.Advance(now)
	to := &s.ready
	if len(s.running)+s.ready.len()+len(s.waiting) >= s.workers {
		if to = &s.line; to.len() >= s.queue {
			return false
		}
	}
	if len(s.over) == 0 {
		for block := make([]job, jobsAtOnce); len(s.over) < len(block); {
			s.over = append(s.over, &block[len(s.over)])
		}
	}
	r := s.over[len(s.over)-1]
	s.over = s.over[:len(s.over)-1]
	*r = job{cpu: max(cpu, 1), wait: wait, done: done} // a request without cost waits for its turn too
	to.push(r)
	s.dispatch()
	return true
}

func (s *turns) Advance(now time.Duration) {
	s.node.advance(now)
	s.run(now)
}

func (s *turns) Held(now time.Duration) int {
	s.Advance(now)
	return len(s.running) + s.ready.len() + len(s.waiting) + s.line.len()
}

func (s *turns) Runnable(now time.Duration) time.Duration {
	s.Advance(now)
	cpu := time.Duration(1)
	if len(s.running) == s.lanes {
		for _, r := range s.running {
			cpu += min(r.cpu, r.turn)
		}
	}
	for _, r := range s.ready.jobs[s.ready.first:] {
		cpu += min(r.cpu, Turn)
	}
	at, lanes := s.now, time.Duration(s.lanes)
	left := min(s.left(), lanes*(s.periodEnd()-at))
	if cpu > left {
		each := max(1, min(s.node.capacity(), lanes*CFSPeriod))
		if s.quota > 0 {
			each = min(each, s.quota)
		}
		cpu -= max(left, 0)
		full := (cpu - 1) / each
		at = s.periodEnd() + full*CFSPeriod
		cpu -= full * each
	}
	return at + (cpu-1)/lanes
}

func (s *turns) Usage(now time.Duration) time.Duration {
	s.Advance(now)
	return s.used + s.usedIdle()
}

func (s *turns) Stat(now time.Duration) Stat {
	s.Advance(now)
	return s.past
}

func (s *turns) Stop(now time.Duration) {
	s.Advance(now)
	s.node.idle -= s.idle
	s.node.remove(s)
}

func (s *turns) periodEnd() time.Duration { return (s.now/CFSPeriod + 1) * CFSPeriod }

// left is the CPU time that the quota and the node leave for the rest of the period.
func (s *turns) left() time.Duration {
	i := int64(s.now / CFSPeriod)
	left := s.node.capacity() - s.node.ledger.at(i).used
	if s.quota > 0 {
		left = min(left, s.quota-s.ledger.at(i).used)
	}
	return left
}

// Next is when a request has had its turn, its CPU time or its wait, or when the CPU time of the
// period or the period itself ends.
func (s *turns) Next() time.Duration {
	at := Never
	if len(s.waiting) > 0 {
		at = s.waiting[0].until
	}
	if len(s.running) == 0 {
		return at
	}
	at = min(at, s.periodEnd())
	left := s.left()
	if left < time.Duration(len(s.running)) { // less than 1 ns each
		return at
	}
	first := left / time.Duration(len(s.running))
	for _, r := range s.running {
		first = min(first, r.cpu, r.turn)
	}
	return min(at, s.now+first)
}

// run lets time pass until an instant before which nothing happens.
func (s *turns) run(to time.Duration) {
	if to <= s.now {
		return
	}
	if n := time.Duration(len(s.running)); n > 0 {
		i := int64(s.now / CFSPeriod)
		own := s.ledger.at(i)
		left := s.left()
		each := min(to-s.now, max(0, left/n)) // idle CPU that began meanwhile may have taken more
		for _, r := range s.running {
			r.cpu -= each
			r.turn -= each
		}
		s.used += each * n
		own.used += each * n
		s.node.ledger.at(i).used += each * n
		if s.quota > 0 && each == 0 && s.quota-own.used < n {
			own.throttled += (to - s.now) * n
		}
	}
	s.now = to
	s.pass()
}

// step lets time pass until something happens, and lets it happen.
func (s *turns) step(at time.Duration) {
	s.run(at)
	for len(s.waiting) > 0 && s.waiting[0].until <= s.now {
		s.leave(heap.Pop(&s.waiting).(*job))
	}
	kept := s.running[:0]
	for _, r := range s.running {
		switch {
		case r.cpu <= 0 && r.wait > 0:
			r.until = s.now + r.wait
			heap.Push(&s.waiting, r)
		case r.cpu <= 0:
			s.leave(r)
		case r.turn <= 0:
			s.ready.push(r)
		default:
			kept = append(kept, r)
		}
	}
	s.running = kept
	s.dispatch()
}

// leave ends a request, and gives its worker to the next in the line.
func (s *turns) leave(r *job) {
	if s.line.len() > 0 {
		s.ready.push(s.line.pop())
	}
	done := r.done
	*r = job{}
	s.over = append(s.over, r)
	done(s.now)
}

// dispatch gives free processors to those whose turn it is.
func (s *turns) dispatch() {
	for len(s.running) < s.lanes && s.ready.len() > 0 {
		r := s.ready.pop()
		r.turn = Turn
		s.running = append(s.running, r)
	}
}

// queue gives requests in the order in which they came.
type queue struct {
	jobs  []*job
	first int // those before it were given
}

func (q *queue) len() int { return len(q.jobs) - q.first }

func (q *queue) push(r *job) {
	if len(q.jobs) == cap(q.jobs) && q.first > len(q.jobs)/2 {
		q.jobs, q.first = q.jobs[:copy(q.jobs, q.jobs[q.first:])], 0
	}
	q.jobs = append(q.jobs, r)
}

func (q *queue) pop() *job {
	q.first++
	return q.jobs[q.first-1]
}

// waits is a heap of requests by the end of their wait.
type waits []*job

func (w waits) Len() int           { return len(w) }
func (w waits) Less(i, j int) bool { return w[i].until < w[j].until }
func (w waits) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waits) Push(x any)        { *w = append(*w, x.(*job)) }
func (w *waits) Pop() any {
	last := (*w)[len(*w)-1]
	*w = (*w)[:len(*w)-1]
	return last
}
