package containers

import "time"

// A node is the processors that its containers share, by period: in each period
// they can use cores × period of CPU time between them, first come, first served.
// The kernel shares by weight instead, in slices of milliseconds; over periods
// that are not full, which is where an autoscaler works, the two agree.
type node struct {
	cores  float64
	idle   float64 // cores that containers use without requests
	ledger ledger
}

func (n *node) capacity() time.Duration {
	return share(max(n.cores-n.idle, n.cores*busyShare))
}

// busyShare of a limit or of a node is left for requests however much is idle
// CPU, so that every request ends.
const busyShare = 0.1

// share is how much CPU time so many cores are in one period.
func share(cores float64) time.Duration { return time.Duration(cores * float64(period)) }

// A scheduler works out when the requests of one container are done. It has no
// clock: each call says what time it is, as a duration since the node's start.
// What is asked of it must not go back in time.
//
// Requests get a worker in the order in which they come. With it they use their
// CPU time, on one processor, and then wait, without a processor, for as long as
// they have to. As both are known when the request comes, so is the end.
//
// A CPU limit holds as CFS bandwidth control does it
// (https://docs.kernel.org/scheduler/sched-bwc.html): in each period of 100 ms
// all threads together have limit × 100 ms; those that would run beyond it are
// throttled until the next period. Unlike the kernel's, periods begin at the
// same instants for all containers of a node, and the quota goes to requests in
// their order rather than to threads in slices of 5 ms: a thread can stop some
// milliseconds before or after the others, and the quota is used to the last.
type scheduler struct {
	node    *node
	started time.Duration
	idle    float64       // cores
	quota   time.Duration // of requests, in a period; 0: no limit
	workers int
	queue   int

	now    time.Duration
	ledger ledger
	lanes  []lane          // the processors that the container can use at once
	busy   freeTimes       // when each worker that has something to do is free
	starts []time.Duration // of requests that wait for a worker, in order
	past   Stat
}

// A lane is one processor's work for the container: stretches of time, in order
// and not overlapping.
type lane struct {
	free time.Duration
	runs []run
	done time.Duration // CPU time of the runs that are no longer kept
}

type run struct{ from, to time.Duration }

// Stat has the counters of a cgroup's cpu.stat that CPU limits move. As the
// kernel's, they count a period when it is over.
type Stat struct {
	Periods       int64         // in which the container had something to run
	Throttled     int64         // those of them in which it ran into its limit
	ThrottledTime time.Duration // summed over the threads that were held back
}

// newScheduler begins at now. Cores are the limit (0: none) and what is used
// without requests.
func newScheduler(n *node, now time.Duration, limit, idle float64, workers, queue int) *scheduler {
	s := &scheduler{node: n, started: now, now: now, idle: idle, workers: workers, queue: queue}
	if limit > 0 {
		// The kernel takes no quota under 1 ms, and kubelets round up to it.
		limit = max(limit, 0.01)
		s.idle = min(idle, limit*(1-busyShare))
		s.quota = share(limit - s.idle)
	}
	n.idle += s.idle
	cores := int(n.cores)
	if float64(cores) < n.cores {
		cores++
	}
	s.lanes = make([]lane, max(1, min(cores, workers)))
	for i := range s.lanes {
		s.lanes[i].free = now
	}
	s.ledger.first = int64(now / period)
	return s
}

// stop takes the container off its node: what it has reserved is given back.
func (s *scheduler) stop(now time.Duration) {
	s.advance(now)
	s.node.idle -= s.idle
	for _, l := range s.lanes {
		for _, r := range l.runs {
			for from := max(r.from, s.now); from < r.to; {
				i := int64(from / period)
				to := min(r.to, time.Duration(i+1)*period)
				s.node.ledger.at(i).used -= to - from
				from = to
			}
		}
	}
}

// request says when a request that comes at now is done: when it has had so much
// CPU time and then waited so long. It is refused if the queue is full.
func (s *scheduler) request(now, cpu, wait time.Duration) (done time.Duration, ok bool) {
	s.advance(now)
	start := s.now
	if len(s.busy) == s.workers {
		start = s.busy[0]
		if len(s.starts) >= s.queue {
			return 0, false
		}
		s.starts = append(s.starts, start)
	}
	done = s.run(start, cpu) + wait
	if len(s.busy) == s.workers {
		s.busy.replace(done)
	} else {
		s.busy.push(done)
	}
	return done, true
}

// held is how many requests the container has at now.
func (s *scheduler) held(now time.Duration) int {
	s.advance(now)
	return len(s.busy) + len(s.starts)
}

// runnable is the first instant at which none of the container's threads is
// throttled, for what costs nothing but has to be run.
func (s *scheduler) runnable(now time.Duration) time.Duration {
	s.advance(now)
	i := int64(s.now / period)
	if e := s.ledger.at(i); e.throttled > 0 && e.since <= s.now {
		return time.Duration(i+1) * period
	}
	return s.now
}

// usage is the CPU time that has been used until now, idle CPU included.
func (s *scheduler) usage(now time.Duration) time.Duration {
	s.advance(now)
	used := time.Duration(s.idle * float64(s.now-s.started))
	for _, l := range s.lanes {
		used += l.done
		for _, r := range l.runs { // in the order of time
			if r.from >= s.now {
				break
			}
			used += min(r.to, s.now) - r.from
		}
	}
	return used
}

func (s *scheduler) stat(now time.Duration) Stat {
	s.advance(now)
	return s.past
}

// run reserves so much CPU time on the processor that is free first, from start
// on, and returns its end.
func (s *scheduler) run(start, cpu time.Duration) time.Duration {
	l := &s.lanes[0]
	for i := range s.lanes {
		if s.lanes[i].free < l.free {
			l = &s.lanes[i]
		}
	}
	at := max(start, l.free)
	capacity := s.node.capacity()
	for cpu > 0 {
		i := int64(at / period)
		end := time.Duration(i+1) * period
		onNode := s.node.ledger.at(i)
		n := min(cpu, end-at, max(0, capacity-onNode.used))
		if s.quota > 0 {
			own := s.ledger.at(i)
			if left := s.quota - own.used; left < n {
				n = left
				if own.throttled == 0 || at+n < own.since {
					own.since = at + n
				}
				own.throttled += end - (at + n)
			}
			own.used += n
		}
		if n > 0 {
			onNode.used += n
			l.add(run{at, at + n})
			at, cpu = at+n, cpu-n
		}
		if cpu > 0 {
			at = end
		}
	}
	l.free = at
	return at
}

func (l *lane) add(r run) {
	if n := len(l.runs); n > 0 && l.runs[n-1].to == r.from {
		l.runs[n-1].to = r.to
		return
	}
	l.runs = append(l.runs, r)
}

// advance forgets what is over.
func (s *scheduler) advance(now time.Duration) {
	s.now = max(s.now, now)
	for len(s.busy) > 0 && s.busy[0] <= s.now {
		s.busy.pop()
	}
	s.starts = drop(s.starts, func(start time.Duration) bool { return start <= s.now })
	for i := range s.lanes {
		l := &s.lanes[i]
		l.runs = drop(l.runs, func(r run) bool {
			if r.to > s.now {
				return false
			}
			l.done += r.to - r.from
			return true
		})
	}
	i := int64(s.now / period)
	if i > s.node.ledger.first {
		s.node.ledger.pass(i, func(entry) {})
	}
	if i > s.ledger.first {
		s.ledger.pass(i, func(e entry) {
			if e.used > 0 || e.throttled > 0 {
				s.past.Periods++
			}
			if e.throttled > 0 {
				s.past.Throttled++
				s.past.ThrottledTime += e.throttled
			}
		})
	}
}

// drop removes from the front of q what is over.
func drop[T any](q []T, over func(T) bool) []T {
	n := 0
	for n < len(q) && over(q[n]) {
		n++
	}
	if n == len(q) {
		return q[:0] // from the start of its memory
	}
	return q[n:]
}

// freeTimes is a heap; container/heap allocates for each Push and Pop.
type freeTimes []time.Duration

func (f *freeTimes) push(t time.Duration) {
	h := append(*f, t)
	*f = h
	for i := len(h) - 1; i > 0 && h[i] < h[(i-1)/2]; i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
}

// replace puts t in the place of the first.
func (f freeTimes) replace(t time.Duration) {
	i := 0
	for {
		child := 2*i + 1
		if child+1 < len(f) && f[child+1] < f[child] {
			child++
		}
		if child >= len(f) || t <= f[child] {
			break
		}
		f[i] = f[child]
		i = child
	}
	f[i] = t
}

func (f *freeTimes) pop() {
	last := len(*f) - 1
	t := (*f)[last]
	*f = (*f)[:last]
	if last > 0 {
		f.replace(t)
	}
}
