package simulate

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hpabench/hpabench/model"
)

// Where a pod gets more than it can serve, its requests wait, and are followed one by one through
// the server of the embedded cluster. A server does not see that a client has given up: it works on,
// and nobody gets the answer.

// line is the HTTP requests of a pod that cannot serve all that it gets.
type line struct {
	node     model.Node
	server   model.Server
	random   *rand.Rand
	batch    float64       // the number of requests that are followed as one
	used     time.Duration // CPU time that is accounted for
	arriving request       // that is not a whole batch yet
	requests []*request    // in the order of arrival, with some of those that are answered
	late     int           // those before it have been given up, or were answered before
	arrived  int           // requests, in all
	answered int           // of requests
	ending   ending
	due      []*request // memory of answerLine
}

// request stands for n HTTP requests of a phase.
type request struct {
	phase     int
	n         float64
	came, end time.Duration // the end is model.Never while it is not known
	gone      bool          // the clients have given up or were answered, which is taken down
	line      *line         // in which it is
	place     int           // in the order of arrival
	ends      func(at time.Duration)
}

// ending is a heap of requests by their ends.
type ending []*request

func (e ending) Len() int           { return len(e) }
func (e ending) Less(i, j int) bool { return e[i].end < e[j].end }
func (e ending) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ending) Push(x any)        { *e = append(*e, x.(*request)) }
func (e *ending) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// newRequest has the memory of one that is over, where there is one.
func (w *world) newRequest(phase int, n float64, came time.Duration) *request {
	var r *request
	if i := len(w.spare); i > 0 {
		r, w.spare = w.spare[i-1], w.spare[:i-1]
	} else {
		r = new(request)
		r.ends = func(at time.Duration) {
			r.end = at
			heap.Push(&r.line.ending, r)
		}
	}
	r.phase, r.n, r.came, r.end, r.gone = phase, n, came, model.Never, false
	return r
}

// batchTime is the time within which requests are served as one: the kernel gives CPU time to a
// container under a limit in slices of that length (sched_cfs_bandwidth_slice_us), so that requests
// which take less are not told apart by it.
const batchTime = 5 * time.Millisecond

// newLine is that of a pod whose first requests that wait come now.
func (w *world) newLine(p *pod) *line {
	m := w.Plant.Workload
	// So that batches share the processors and wait as requests do: of ten workers under an overload a fifth in place of a
	// tenth moves p99 by 1.4 % and the errors by 0.7 points, a twentieth neither.
	most := float64(*m.Workers) / 10
	if *m.Workers == 1 && m.Wait.Mean.Duration == 0 {
		most = math.Inf(1)
	}
	rate := p.rate
	if p.workers > 0 && inWaves(w.planned()) { // which is that of a moment
		rate = 0
	}
	l := &line{batch: max(1, math.Floor(min(max(rate, min(p.highest, 1e6))*batchTime.Seconds(), most))), random: stream(w.Seed, -p.born)}
	l.node.Cores = w.Plant.Nodes[p.node].CPU
	l.server = w.modelled.Server(&l.node, w.now, w.connects(), p.costs, l.batch)
	return l
}

// serve is a step of one pod.
func (w *world) serve(p *pod, dt float64) {
	enough := p.rate <= p.highest*(1+rounding)
	if p.line == nil {
		if enough {
			w.flows(p, dt)
			return
		}
		p.line = w.newLine(p)
	}
	w.watch(p)
	l, to := p.line, w.now+seconds(dt)
	// The probes are requests of the server. It needs some CPU in each CFS period to come to an end: 100 ns.
	l.node.Cores = max(p.cores+w.modelled.Probes()*w.modelled.Cost(true), 1e-6)
	if a := &l.arriving; a.n > 0 && (a.phase != w.traffic.phase || p.rate == 0) {
		w.arrive(p, w.now)
	}
	l.arriving.phase = w.traffic.phase
	for rest := p.rate * dt; rest > 0; {
		n := min(rest, l.batch-l.arriving.n)
		l.arriving.n += n
		p.backlog += n
		if rest -= n; l.arriving.n >= l.batch-rounding {
			w.arrive(p, max(to-seconds(rest/p.rate), l.arriving.came))
		}
	}
	l.server.Advance(to)
	w.answersFree(p, w.answerLine(p, to), to)
	few := p.workers // in a pod without a line
	if p.rate > 0 && enough {
		few = max(few, l.batch, p.rate*w.sojourns(p).Mean())
	}
	if enough && p.backlog <= few+rounding {
		w.finish(p, to)
	}
}

// arrive lets the requests that have gathered come to the server.
func (w *world) arrive(p *pod, at time.Duration) {
	a := &p.line.arriving
	r := w.newRequest(a.phase, a.n, at)
	a.n, a.came = 0, at
	w.join(p, r, at)
}

// join lets requests come to the server of a pod that has a line.
func (w *world) join(p *pod, r *request, at time.Duration) {
	l, m := p.line, &w.Plant.Workload
	r.line, r.place = l, l.arrived
	l.arrived++
	if l.server.Request(at, seconds(work(m, l.random, r.n, w.connects())*p.costs), w.modelled.Model.Wait.Draw(l.random), r.ends) {
		l.requests = append(l.requests, r)
		return
	}
	p.backlog -= r.n
	if !r.gone {
		w.brokenOff(r.phase, at, r.n, r.came)
	}
	w.spare = append(w.spare, r)
}

// work is the CPU time of n requests, in seconds.
func work(m *model.Model, random *rand.Rand, n float64, connects bool) (cpu float64) {
	draws := max(1, math.Round(n))
	for range int(draws) {
		cpu += m.CPU.Draw(random).Seconds()
		if connects {
			cpu += m.ConnectionCPU.Seconds()
		}
	}
	return cpu * n / draws
}

// answerLine takes down which requests of a pod have been answered by a time, which clients have given
// up, and the CPU time that the server has used. It gives how many of those that waited were answered.
func (w *world) answerLine(p *pod, to time.Duration) (free float64) {
	l := p.line
	used := l.server.Usage(to)
	p.cpu += (used - l.used).Seconds()
	l.used = used
	due := l.due[:0]
	for len(l.ending) > 0 && l.ending[0].end <= to {
		due = append(due, heap.Pop(&l.ending).(*request))
	}
	for ; l.late < len(l.requests) && l.requests[l.late].came+w.Timeout <= to; l.late++ {
		if r := l.requests[l.late]; r.end > to {
			due = append(due, r)
		}
	}
	slices.SortFunc(due, func(a, b *request) int { return a.place - b.place })
	for _, r := range due {
		if late := r.came + w.Timeout; !r.gone && r.end > late && late <= to {
			w.failed(r.phase, late, r.n, "timeout")
			r.gone = true
		}
		if r.end > to {
			continue
		}
		l.answered++
		p.backlog -= r.n
		if count := max(1, math.Round(r.n)); w.calls() {
			for range int(count) {
				w.callOthers(p, r.phase, r.n/count, r.came, r.end, r.gone)
			}
		} else {
			if !r.gone {
				free += r.n
				took := (r.end - r.came).Seconds()
				w.answered(r.phase, r.end.Seconds(), r.n, model.Range(took, took))
			}
			p.answered += r.n * w.Times()
		}
		r.gone = true
	}
	if l.due = due; l.answered > len(l.requests)/2 {
		w.forget(l, to)
	}
	return free
}

// forget takes out of a line the requests that are answered by a time.
func (w *world) forget(l *line, to time.Duration) {
	late := l.late
	kept := l.requests[:0]
	for i, r := range l.requests {
		if r.end > to {
			kept = append(kept, r)
			continue
		}
		if w.spare = append(w.spare, r); i < late {
			l.late--
		}
	}
	clear(l.requests[len(kept):])
	l.requests, l.answered = kept, 0
}

// finish lets the requests of a pod that has no line from a time on come to their ends, which are close.
func (w *world) finish(p *pod, to time.Duration) {
	if p.line == nil {
		return
	}
	if p.line.arriving.n > 0 {
		w.arrive(p, to)
	}
	for at := p.line.server.Next(); at != model.Never; at = p.line.server.Next() { // of probes too
		p.line.server.Advance(at)
	}
	for _, r := range p.line.requests {
		to = max(to, r.end)
	}
	w.answerLine(p, to)
	p.line, p.backlog = nil, 0
}

// cut ends all requests of a pod whose process ends. Unless it is graceful they get no answer.
func (w *world) cut(p *pod, graceful bool) {
	if !graceful {
		w.cutCalls(p)
	}
	if p.line == nil {
		return
	}
	if graceful {
		w.finish(p, w.now)
		return
	}
	for _, r := range append(p.line.requests, &p.line.arriving) {
		if !r.gone {
			w.brokenOff(r.phase, w.now, r.n, r.came)
		}
	}
	p.line, p.backlog = nil, 0
}

// brokenOff are n requests that came at a time, and whose connection a pod resets.
func (w *world) brokenOff(phase int, at time.Duration, n float64, came time.Duration) {
	if w.Front == nil {
		w.failed(phase, at, n, "connection reset")
		return
	}
	w.front.failed += n // which answers in the pod's place
	w.unanswered(phase, at, n, at-came, w.failure("503"))
}

// lost are the requests that no pod has answered when all comes to its end.
func (w *world) lost() {
	for _, r := range w.front.held {
		if !r.gone {
			w.failed(r.phase, r.came+w.Timeout, r.n, "timeout")
		}
	}
	for _, c := range w.chain.onTheWay {
		if !c.gone && !c.ended {
			w.failed(c.phase, c.came+w.Timeout, c.n, "timeout")
		}
	}
	for _, p := range w.pods {
		if p.line == nil {
			continue
		}
		for _, r := range append(p.line.requests, &p.line.arriving) {
			if !r.gone {
				w.failed(r.phase, r.came+w.Timeout, r.n, "timeout")
			}
		}
	}
}

// flows is a stretch in which the pod can serve all that it gets.
func (w *world) flows(p *pod, dt float64) {
	n := p.rate * dt
	if n <= 0 {
		return
	}
	if p.workers > 1 {
		w.watch(p)
	}
	p.cpu += n * w.cost() * p.costs
	if w.calls() {
		w.chain.flowing = append(w.chain.flowing, flowing{p, n})
		return
	}
	p.answered += n * w.Times()
	if w.journal != nil || w.SLO > 0 || w.traffic.waiting > 0 {
		w.answered(w.traffic.phase, w.now.Seconds(), n, w.sojourns(p))
	}
}

// inFlight is how many requests a pod has; without a line by Little's law.
func (w *world) inFlight(p *pod) float64 {
	switch {
	case p.line != nil:
		return p.calling + p.backlog
	case p.rate == 0:
		return p.calling
	}
	return p.calling + p.rate*w.sojourns(p).Mean()
}
