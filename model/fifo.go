package model

import "time"

// fifo is a Server in which a request that has a processor keeps it until it has had all its CPU
// time. The quota goes to requests in their order rather than to threads in slices of 5 ms: a
// thread can stop some milliseconds before or after the others, and the quota is used to the
// last.
type fifo struct {
	account
	workers int
	queue   int
	lanes   []lane          // the processors that the container can use at once
	busy    freeTimes       // when each worker that has something to do is free
	starts  []time.Duration // of requests that wait for a worker, in order
	ends    []time.Duration // of the CPU time of requests, the first first
}

// A lane is one processor's work for the container: stretches of time, in order
// and not overlapping.
type lane struct {
	free time.Duration
	runs []run
	done time.Duration // CPU time of the runs that are no longer kept
}

type run struct{ from, to time.Duration }

func newFIFO(a account, lanes, workers, queue int) *fifo {
	s := &fifo{account: a, workers: workers, queue: queue, lanes: make([]lane, lanes)}
	for i := range s.lanes {
		s.lanes[i].free = a.now
	}
	return s
}

// Stop gives back what is reserved.
func (s *fifo) Stop(now time.Duration) {
	s.Advance(now)
	s.node.idle -= s.idle
	for _, l := range s.lanes {
		for _, r := range l.runs {
			for from := max(r.from, s.now); from < r.to; {
				i := int64(from / CFSPeriod)
				to := min(r.to, time.Duration(i+1)*CFSPeriod)
				s.node.ledger.at(i).used -= to - from
				from = to
			}
		}
	}
}

func (s *fifo) Request(now, cpu, wait time.Duration, done func(at time.Duration)) bool {
	s.Advance(now)
	start := s.now
	if len(s.busy) == s.workers {
		start = s.busy[0]
		if len(s.starts) >= s.queue {
			return false
		}
		s.starts = append(s.starts, start)
	}
	end := s.reserve(start, cpu)
	s.ends = append(s.ends, end)
	for i := len(s.ends) - 1; i > 0 && s.ends[i-1] > end; i-- { // one that came before may end after, on another processor
		s.ends[i-1], s.ends[i] = end, s.ends[i-1]
	}
	end += wait
	if len(s.busy) == s.workers {
		s.busy.replace(end)
	} else {
		s.busy.push(end)
	}
	done(end)
	return true
}

func (s *fifo) Next() time.Duration { return Never }

func (s *fifo) Held(now time.Duration) int {
	s.Advance(now)
	return len(s.busy) + len(s.starts)
}

func (s *fifo) Runnable(now time.Duration) time.Duration {
	s.Advance(now)
	at := s.now
	if n := len(s.ends) - len(s.starts) - len(s.lanes); n >= 0 {
		at = s.ends[n]
	}
	i := int64(at / CFSPeriod)
	if e := s.ledger.at(i); s.quota > 0 && e.used >= s.quota && (e.throttled == 0 || e.since <= at) {
		return time.Duration(i+1) * CFSPeriod
	}
	return at
}

func (s *fifo) Usage(now time.Duration) time.Duration {
	s.Advance(now)
	used := s.usedIdle()
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

func (s *fifo) Stat(now time.Duration) Stat {
	s.Advance(now)
	return s.past
}

// reserve gives CPU time on the processor that is free first, from start on, and returns its
// end.
func (s *fifo) reserve(start, cpu time.Duration) time.Duration {
	l := &s.lanes[0]
	for i := range s.lanes {
		if s.lanes[i].free < l.free {
			l = &s.lanes[i]
		}
	}
	at := max(start, l.free)
	capacity := s.node.capacity()
	for cpu > 0 {
		i := int64(at / CFSPeriod)
		end := time.Duration(i+1) * CFSPeriod
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

func (s *fifo) Advance(now time.Duration) {
	s.node.advance(now)
	s.now = max(s.now, now)
	for len(s.busy) > 0 && s.busy[0] <= s.now {
		s.busy.pop()
	}
	s.starts = drop(s.starts, func(start time.Duration) bool { return start <= s.now })
	s.ends = drop(s.ends, func(end time.Duration) bool { return end <= s.now })
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
	s.pass()
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
