package simulate

import (
	"math"
	"slices"
	"time"

	"github.com/hpabench/hpabench/model"
)

// Where a pod gets more than it can serve, its requests wait: as of model.Server, but of many
// requests at once. Those that have a worker are served one after the other or by turns, so that
// with many workers all of them take longer the more there are, and the others wait in line. A server does not see that a client
// has given up: it works on, and nobody gets the answer.

// cohort are requests of a phase that came evenly from one time to another, in seconds.
type cohort struct {
	phase    int
	from, to float64
	n        float64
	left     float64 // CPU seconds of each
	gone     bool    // their clients have given up, which is taken down
}

// take makes the first n of c a cohort of their own.
func (c *cohort) take(n float64) cohort {
	taken := *c
	taken.n, taken.to = n, c.from+(c.to-c.from)*n/c.n
	c.from = taken.to
	c.n -= n
	return taken
}

// join makes c and what came evenly after it one cohort, if they are alike. Without it, cohorts
// that are parted at the end of each step would become more and more.
func (c *cohort) join(next cohort) bool {
	const nearly = 1e-9 // rounding, in seconds
	length, more := c.to-c.from, next.to-next.from
	uneven := math.Abs(c.n*more - next.n*length)
	if c.phase != next.phase || c.gone != next.gone || math.Abs(c.left-next.left) > nearly || math.Abs(next.from-c.to) > nearly ||
		uneven > c.n*(1e-6*more+nearly) && uneven > next.n*(1e-6*length+nearly) {
		return false
	}
	c.to, c.n = next.to, c.n+next.n
	return true
}

// queued is a queue with a cohort at its end.
func queued(queue []cohort, c cohort) []cohort {
	if n := len(queue); n > 0 && queue[n-1].join(c) {
		return queue
	}
	return append(queue, c)
}

// pop drops the first cohort once there is nothing left of it.
func pop(queue []cohort) []cohort {
	if len(queue) > 0 && queue[0].n <= 1e-9 {
		return queue[1:]
	}
	return queue
}

// serve is a step of one pod.
func (w *world) serve(p *pod, dt float64) {
	at := w.now.Seconds()
	most := float64(*w.Plant.Workload.Workers + *w.Plant.Workload.Queue)
	for to := at + dt; at < to; {
		next := to
		turns := w.turns(p)
		if p.rate <= p.highest*(1+1e-9) {
			if p.backlog == 0 {
				w.flows(p, at, to)
				return
			}
			if !turns && p.rate < p.highest { // the line may end
				next = min(to, at+max(1e-6, p.backlog/(p.highest-p.rate)))
			}
		}
		if over := p.rate - p.highest; over > 0 && p.backlog < most-0.5 { // until the queue is full
			next = min(next, at+max(1e-6, (most-p.backlog)/over))
		}
		if turns { // a part of what it takes until all have had theirs
			next = min(next, at+max(shortest, min(p.backlog, float64(*w.Plant.Workload.Workers))*model.Turn.Seconds()/p.cores/4))
		}
		w.line(p, at, next)
		at = next
	}
}

// shortest is the least time, in seconds, for which the number of requests in a pod is
// taken to be the same.
const shortest = 0.005

// turns says whether requests of a pod have more than one turn, and so many of them that
// these make a difference to how long they take. Else they are served one after the other.
func (w *world) turns(p *pod) bool {
	m, cost := &w.Plant.Workload, w.cost()*p.costs
	return *m.Serving == model.Turns && cost > model.Turn.Seconds() && float64(*m.Workers)*cost/p.cores > step.Seconds()/4
}

// flows is a stretch in which the pod can serve all that it gets.
func (w *world) flows(p *pod, from, to float64) {
	n := p.rate * (to - from)
	if n <= 0 {
		return
	}
	if p.workers > 1 {
		w.watch(p)
	}
	p.cpu += n * w.cost() * p.costs
	p.answered += n
	if w.journal != nil || w.SLO > 0 {
		w.answered(w.traffic.phase, from, n, w.sojourns(p))
	}
}

// line is a stretch of a step in which requests wait.
func (w *world) line(p *pod, from, to float64) {
	m, cost := &w.Plant.Workload, w.cost()*p.costs
	if n := p.rate * (to - from); n > 0 {
		// What the full queue does not take is refused when it comes.
		if refused := min(n, p.backlog+n-p.highest*(to-from)-float64(*m.Workers+*m.Queue)); refused > 0 {
			w.failed(w.traffic.phase, seconds(from), refused, "connection reset")
			n -= refused
		}
		p.waiting = append(p.waiting, cohort{phase: w.traffic.phase, from: from, to: to, n: n, left: cost})
		p.backlog += n
	}
	w.watch(p)
	turns, beside := w.turns(p), m.Wait.Mean.Seconds()
	if !turns {
		beside += cost
	}
	for at := from; at < to-1e-9; {
		p.admit(float64(*m.Workers))
		if len(p.served) == 0 {
			break
		}
		c := &p.served[0]
		gets, each := c.left, 1/p.highest // CPU seconds, and how long it takes
		if turns {
			gets = min(gets, model.Turn.Seconds())
			each *= gets / cost
		}
		n := min(c.n, (to-at)/each)
		next := min(to, at+n*each)
		had := c.take(n)
		p.served = pop(p.served)
		had.left -= gets
		p.cpu += n * gets
		if had.left > 1e-9 {
			p.served = queued(p.served, had)
		} else {
			p.busy -= n
			w.done(p, had, at, next, beside)
		}
		at = next
	}
	rest := 1e-6 // that finds no line any more
	if turns {
		rest = 1
	}
	rest = max(rest, p.workers) // of a closed loop, which send no more than they wait for
	if p.backlog < rest && p.rate <= p.highest {
		w.finish(p, to)
	}
	for over := p.backlog - float64(*m.Workers+*m.Queue); over > 1e-9 && len(p.waiting) > 0; {
		last := &p.waiting[len(p.waiting)-1]
		n := min(over, last.n)
		if !last.gone {
			w.failed(last.phase, seconds(from), n, "connection reset")
		}
		last.n -= n
		p.backlog -= n
		if over -= n; last.n <= 1e-9 {
			p.waiting = p.waiting[:len(p.waiting)-1]
		}
	}
	if n := len(p.waiting); n > 1 { // those of this step join the ones before, now that the line is no longer than its queue
		p.waiting = queued(p.waiting[:n-1], p.waiting[n-1])
	}
}

// admit gives a worker to those that wait first, as long as there is one.
func (p *pod) admit(workers float64) {
	for len(p.waiting) > 0 && p.busy < workers-1e-9 {
		c := p.waiting[0].take(min(p.waiting[0].n, workers-p.busy))
		p.waiting = pop(p.waiting)
		p.busy += c.n
		p.served = queued(p.served, c)
	}
}

// done are requests of a pod that are answered from one time to another, after so long beside
// what they waited.
func (w *world) done(p *pod, c cohort, from, to, beside float64) {
	if !c.gone {
		w.answered(c.phase, from, c.n, model.Range(max(0, from-c.from)+beside, max(0, to-c.to)+beside))
	}
	p.answered += c.n
	p.backlog -= c.n
}

// finish serves all requests of a pod at once.
func (w *world) finish(p *pod, at float64) {
	for _, c := range slices.Concat(p.served, p.waiting) {
		p.cpu += c.n * c.left
		w.done(p, c, at, at, w.Plant.Workload.Wait.Mean.Seconds())
	}
	p.served, p.waiting, p.backlog, p.busy = nil, nil, 0, 0
}

// cut ends all requests of a pod whose process ends. Unless it is graceful they get no answer.
func (w *world) cut(p *pod, graceful bool) {
	if graceful {
		w.finish(p, w.now.Seconds())
		return
	}
	for _, c := range slices.Concat(p.served, p.waiting) {
		if seconds(c.from)+w.Timeout < w.now {
			w.late(c)
		} else {
			w.failed(c.phase, w.now, c.n, "connection reset")
		}
	}
	p.served, p.waiting, p.backlog, p.busy = nil, nil, 0, 0
}

// lost are the requests that no pod has answered when all comes to its end.
func (w *world) lost() {
	for _, p := range w.pods {
		for _, c := range slices.Concat(p.served, p.waiting) {
			w.late(c)
		}
	}
}

// giveUp takes down whose time-out passed before a time, while their pod has yet to come to them.
func (w *world) giveUp(before time.Duration) {
	sent := (before - w.Timeout).Seconds()
	leave := func(queue []cohort) (all []cohort) {
		for _, c := range queue {
			if !c.gone && c.from < sent && c.to > sent {
				late := c.take(c.n * (sent - c.from) / (c.to - c.from))
				w.late(late)
				late.gone = true
				all = append(all, late)
			} else if c.to <= sent {
				w.late(c)
				c.gone = true
			}
			all = append(all, c)
		}
		return all
	}
	for _, p := range w.pods {
		p.served, p.waiting = leave(p.served), leave(p.waiting)
	}
}

// late takes down each request of a cohort at its time-out, unless that was done.
func (w *world) late(c cohort) {
	if c.gone {
		return
	}
	for from := c.from; c.n > 0; {
		at := from + w.Timeout.Seconds()
		next := max(math.Floor(at)+1-w.Timeout.Seconds(), from+1e-6)
		if next >= c.to {
			w.failed(c.phase, seconds(at), c.n, "timeout")
			return
		}
		n := c.n * (next - from) / (c.to - from)
		w.failed(c.phase, seconds(at), n, "timeout")
		c.n -= n
		from = next
	}
}

// inFlight is how many requests a pod has; without a line by Little's law.
func (w *world) inFlight(p *pod) float64 {
	switch {
	case p.backlog > 0 && w.turns(p):
		return p.backlog
	case p.backlog > 0:
		return p.backlog + p.highest*w.service().Seconds()
	case p.rate == 0:
		return 0
	}
	return p.rate * w.sojourns(p).Mean()
}
