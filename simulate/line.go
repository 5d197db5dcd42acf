package simulate

import (
	"math"

	"gonum.org/v1/gonum/stat"
)

// Where a pod gets more than it can serve, its requests wait. Those that have a worker share
// its CPU, so that with many workers all of them take longer the more there are (processor
// sharing), and with few the others wait in line. A server does not see that a client has
// given up: it works on, and nobody gets the answer.

// cohort are requests of a phase that came evenly from one time to another, in seconds.
type cohort struct {
	phase    int
	from, to float64
	n        float64
	// start and end are what each request of the pod that had a worker all along had got, in
	// seconds of CPU, when the first and the last of these were given theirs. begun says that
	// they were.
	begun      bool
	start, end float64
}

// serve is a step of one pod.
func (w *world) serve(p *pod, dt float64) {
	at := w.now.Seconds()
	for to := at + dt; at < to; {
		next := to
		if p.rate <= p.highest*(1+1e-9) {
			if p.backlog == 0 {
				w.flows(p, at, to)
				return
			}
			if !w.shares(p) && p.rate < p.highest { // the line may end
				next = min(to, at+p.backlog/(p.highest-p.rate))
			}
		}
		if w.shares(p) {
			next = min(next, at+max(shortest, min(max(p.backlog, 1), float64(*w.Plant.Workload.Workers))*w.cost()*p.costs/p.cores/4))
		}
		w.line(p, at, next)
		at = next
	}
}

// shortest is the least time, in seconds, for which the number of requests in a pod is
// taken to be the same.
const shortest = 0.005

// shares says whether so many requests share the CPU of a pod that their number makes a
// difference to how long they take. Else they come one after the other.
func (w *world) shares(p *pod) bool {
	return float64(*w.Plant.Workload.Workers)*w.cost()*p.costs/p.cores > step.Seconds()/4
}

// flows is a stretch in which the pod can serve all that it gets.
func (w *world) flows(p *pod, from, to float64) {
	n := p.rate * (to - from)
	if n <= 0 {
		return
	}
	p.cpu += n * w.cost() * p.costs
	p.answered += n
	if w.journal != nil || w.SLO > 0 {
		w.answered(w.traffic.phase, from, n, w.sojourns(p))
	}
}

// sojourns are how long the requests of a pod without a line take in it, in seconds, sorted.
func (w *world) sojourns(p *pod) []float64 {
	s := w.server(w.connects(), p.costs, p.cores)
	if p.workers > 0 {
		return s.sojourns(arrivals{workers: max(1, int(math.Round(p.workers))), pause: seconds(w.trip + w.Phases[w.traffic.phase].Think)})
	}
	pods := len(w.serving)
	if w.Even {
		pods = 1
	}
	return s.sojourns(open(p.rate, p.highest, pods))
}

// open are arrivals at a rate, of which there are some between none and the highest to
// choose from, so that the same ones come again.
func open(rate, highest float64, pods int) arrivals {
	const levels = 32
	level := min(max(1, math.Round(rate/highest*levels)), levels-1) / levels
	if math.IsInf(highest, 1) { // they cost nothing
		highest = 1
	}
	return arrivals{every: seconds(1 / (highest * level * float64(max(pods, 1)))), pods: pods}
}

// line is a stretch of a step in which requests wait.
func (w *world) line(p *pod, from, to float64) {
	before := p.backlog
	if n := p.rate * (to - from); n > 0 {
		p.queue = append(p.queue, cohort{phase: w.traffic.phase, from: from, to: to, n: n})
		p.backlog += n
	}
	if w.shares(p) {
		w.share(p, before, from, to)
	} else {
		w.oneByOne(p, from, to)
	}
	if len(p.queue) == 0 || p.backlog < 1e-9 {
		p.queue, p.backlog = p.queue[:0], 0
	}
	if over := p.backlog - float64(*w.Plant.Workload.Workers+*w.Plant.Workload.Queue); over > 0 {
		last := &p.queue[len(p.queue)-1]
		over = min(over, last.n)
		w.failed(last.phase, seconds(from), over, "reset")
		last.n -= over
		p.backlog -= over
	}
}

func (w *world) oneByOne(p *pod, from, to float64) {
	at := from
	for served := p.highest * (to - from); served > 0 && len(p.queue) > 0; {
		n := min(served, p.queue[0].n)
		next := min(to, at+n/p.highest)
		p.cpu += n * w.cost() * p.costs
		w.done(p, n, at, next, w.service().Seconds())
		served -= n
		at = next
	}
}

// share lets the requests that have a worker share what the pod has: each gets dv of CPU,
// and those are done that have got what they cost, which is in the order in which they came.
func (w *world) share(p *pod, before, from, to float64) {
	workers, cost := float64(*w.Plant.Workload.Workers), w.cost()*p.costs
	come := p.backlog - before
	each := func(gone float64) float64 { // if so many are done by the end
		in := min(workers, before+(come-gone)/2)
		return (to - from) * min(1, p.cores/in)
	}
	p.begin(min(workers, p.backlog), p.given, p.given+each(0))
	dv := each(p.finished(p.given + each(0) - cost))
	had := p.given
	p.given += dv
	gone := 0.0
	for len(p.queue) > 0 && p.queue[0].begun && p.queue[0].start < p.given-cost {
		c := &p.queue[0]
		share := c.until(p.given - cost)
		last := c.start + share*(c.end-c.start)
		at, next := from+(c.start+cost-had)/dv*(to-from), from+(last+cost-had)/dv*(to-from)
		c.start = last
		gone += c.n * share
		w.done(p, c.n*share, at, next, w.Plant.Workload.Wait.Mean.Seconds())
	}
	p.begin(min(workers, p.backlog), had, p.given) // as those that are done let them
	p.cpu += dv * min(workers, before+(come-gone)/2)
	if p.rate <= p.highest && p.backlog < 1 { // the others find no line any more
		for len(p.queue) > 0 {
			c := &p.queue[0]
			p.cpu += c.n * max(0, cost-(p.given-(c.start+c.end)/2))
			w.done(p, c.n, to, to, w.Plant.Workload.Wait.Mean.Seconds())
		}
		p.given = 0
	}
}

// begin gives workers to as many of the requests as there are for, from the oldest on.
func (p *pod) begin(workers, from, to float64) {
	for i := 0; i < len(p.queue) && workers > 1e-9; i++ {
		c := &p.queue[i]
		if !c.begun {
			if c.n > workers {
				rest := *c
				rest.n, rest.from = c.n-workers, c.from+(c.to-c.from)*workers/c.n
				c.n, c.to = workers, rest.from
				p.queue = append(p.queue[:i+1], append([]cohort{rest}, p.queue[i+1:]...)...)
				c = &p.queue[i]
			}
			c.begun, c.start, c.end = true, from, to
		}
		workers -= c.n
	}
}

// finished are the requests that were given their worker before.
func (p *pod) finished(before float64) (n float64) {
	for i := range p.queue {
		c := &p.queue[i]
		if !c.begun || c.start >= before {
			break
		}
		n += c.n * c.until(before)
	}
	return n
}

// until is the share of c that was given its worker before.
func (c *cohort) until(before float64) float64 {
	if c.end <= before {
		return 1
	}
	return (before - c.start) / (c.end - c.start)
}

// done takes the first n requests, of the first cohort, from a pod: they are answered from
// one time to another, and took so long beside what they were in line for.
func (w *world) done(p *pod, n, from, to, beside float64) {
	c := &p.queue[0]
	came := c.from + (c.to-c.from)*n/c.n
	took := [2]float64{max(0, from-c.from) + beside, max(0, to-came) + beside}
	if took[0] > took[1] {
		took[0], took[1] = took[1], took[0]
	}
	w.answered(c.phase, from, n, took[:])
	p.answered += n
	p.backlog -= n
	c.from = came
	if c.n -= n; c.n <= 1e-9 {
		p.queue = p.queue[1:]
	}
}

// cut ends all requests of a pod whose process ends.
func (w *world) cut(p *pod) {
	for len(p.queue) > 0 {
		c := &p.queue[0]
		now := w.now.Seconds()
		if *w.Plant.Workload.Graceful || now-c.from > w.Timeout.Seconds() {
			w.done(p, c.n, now, now, 0)
			continue
		}
		w.failed(c.phase, w.now, c.n, "reset")
		p.queue = p.queue[1:]
	}
	p.queue, p.backlog, p.given = nil, 0, 0
}

// lost are the requests that no pod has answered when all comes to its end.
func (w *world) lost() {
	for _, p := range w.pods {
		for _, c := range p.queue {
			w.failed(c.phase, seconds(c.from)+w.Timeout, c.n, "timeout")
		}
	}
}

// inFlight is how many requests a pod has; without a line by Little's law.
func (w *world) inFlight(p *pod) float64 {
	switch {
	case p.backlog > 0 && w.shares(p):
		return p.backlog
	case p.backlog > 0:
		return p.backlog + p.highest*w.service().Seconds()
	case p.rate == 0:
		return 0
	}
	return p.rate * stat.Mean(w.sojourns(p), nil)
}

// server is a pod with so many cores, in which requests cost so much of the mean.
func (r *Run) server(connects bool, costs, cores float64) server {
	m := &r.Plant.Workload
	s := server{cpu: *m.CPU, wait: *m.Wait, limit: r.limit(), cores: cores, workers: *m.Workers}
	s.cpu.Mean.Duration = seconds(r.Cost(connects) * costs)
	if s.limit >= s.cores*(1-1e-9) && s.limit > 0 {
		s.cores = math.Ceil(s.limit) // which the limit itself makes less
	}
	return s
}

// InPod is how long requests are in a pod, in seconds and sorted, where they come at a rate,
// in requests a second, to each of so many pods, and cost so much of the mean.
func (r *Run) InPod(rate float64, pods int, connects bool, costs float64) []float64 {
	highest := r.MostCPU() / (r.Cost(connects) * costs)
	return r.server(connects, costs, r.MostCPU()).sojourns(open(rate, highest, pods))
}
