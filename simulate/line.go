package simulate

import (
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
	requests []*request    // that are not answered, in the order of arrival
}

// request stands for n HTTP requests of a phase.
type request struct {
	phase     int
	n         float64
	came, end time.Duration // the end is model.Never while it is not known
	gone      bool          // the clients have given up, which is taken down
}

// batchTime is the time within which requests are served as one: the kernel gives CPU time to a
// container under a limit in slices of that length (sched_cfs_bandwidth_slice_us), so that requests
// which take less are not told apart by it.
const batchTime = 5 * time.Millisecond

// newLine is that of a pod whose first requests that wait come now.
func (w *world) newLine(p *pod) *line {
	m := w.Plant.Workload
	most := float64(*m.Workers) / 10 // so that batches share the processors and wait as requests do
	if *m.Workers == 1 && m.Wait.Mean.Duration == 0 {
		most = math.Inf(1)
	}
	l := &line{batch: max(1, math.Floor(min(max(p.rate, min(p.highest, 1e6))*batchTime.Seconds(), most))), random: stream(w.Seed, -p.born)}
	l.node.Cores = w.Plant.Nodes[p.node].CPU
	l.server = w.modelled.Server(&l.node, w.now, w.connects(), p.costs, l.batch)
	return l
}

// serve is a step of one pod.
func (w *world) serve(p *pod, dt float64) {
	enough := p.rate <= p.highest*(1+1e-9)
	if p.line == nil {
		if enough {
			w.flows(p, dt)
			return
		}
		p.line = w.newLine(p)
	}
	w.watch(p)
	l, to := p.line, w.now+seconds(dt)
	l.node.Cores = max(p.cores+w.modelled.Probes()*w.modelled.Cost(true), 1e-6) // the probes are requests of the server
	if a := &l.arriving; a.n > 0 && (a.phase != w.traffic.phase || p.rate == 0) {
		w.arrive(p, w.now)
	}
	l.arriving.phase = w.traffic.phase
	for rest := p.rate * dt; rest > 0; {
		n := min(rest, l.batch-l.arriving.n)
		l.arriving.n += n
		p.backlog += n
		if rest -= n; l.arriving.n >= l.batch-1e-9 {
			w.arrive(p, max(to-seconds(rest/p.rate), l.arriving.came))
		}
	}
	l.server.Advance(to)
	w.answerLine(p, to)
	few := p.workers // in a pod without a line
	if p.rate > 0 && enough {
		few = max(few, l.batch, p.rate*w.sojourns(p).Mean())
	}
	if enough && p.backlog <= few+1e-9 {
		w.finish(p, to)
	}
}

// arrive lets the requests that have gathered come to the server.
func (w *world) arrive(p *pod, at time.Duration) {
	l := p.line
	r := l.arriving
	l.arriving = request{phase: r.phase, came: at}
	r.came, r.end = at, model.Never
	w.join(p, &r, at)
}

// join lets requests come to the server of a pod that has a line.
func (w *world) join(p *pod, r *request, at time.Duration) {
	l, m := p.line, &w.Plant.Workload
	draws := max(1, math.Round(r.n))
	cpu := 0.0
	for range int(draws) {
		cpu += m.CPU.Draw(l.random).Seconds()
		if w.connects() {
			cpu += m.ConnectionCPU.Seconds()
		}
	}
	if l.server.Request(at, seconds(cpu*p.costs*r.n/draws), m.Wait.Draw(l.random), func(end time.Duration) { r.end = end }) {
		l.requests = append(l.requests, r)
		return
	}
	p.backlog -= r.n
	w.failed(r.phase, at, r.n, "connection reset")
}

// answerLine takes down which requests of a pod have been answered by a time, which clients have given
// up, and the CPU time that the server has used.
func (w *world) answerLine(p *pod, to time.Duration) {
	l := p.line
	used := l.server.Usage(to)
	p.cpu += (used - l.used).Seconds()
	l.used = used
	l.requests = slices.DeleteFunc(l.requests, func(r *request) bool {
		if late := r.came + w.Timeout; !r.gone && r.end > late && late <= to {
			w.failed(r.phase, late, r.n, "timeout")
			r.gone = true
		}
		if r.end > to {
			return false
		}
		if !r.gone {
			took := (r.end - r.came).Seconds()
			w.answered(r.phase, r.end.Seconds(), r.n, model.Range(took, took))
		}
		p.answered += r.n
		p.backlog -= r.n
		return true
	})
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
	if p.line == nil {
		return
	}
	if graceful {
		w.finish(p, w.now)
		return
	}
	for _, r := range append(p.line.requests, &p.line.arriving) {
		switch {
		case r.gone:
		case w.Front != nil: // which answers in its place
			w.front.failed += r.n
			w.unanswered(r.phase, w.now, r.n, w.now-r.came)
		default:
			w.failed(r.phase, w.now, r.n, "connection reset")
		}
	}
	p.line, p.backlog = nil, 0
}

// lost are the requests that no pod has answered when all comes to its end.
func (w *world) lost() {
	for _, r := range w.front.held {
		if !r.gone {
			w.failed(r.phase, r.came+w.Timeout, r.n, "timeout")
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
	p.answered += n
	if w.journal != nil || w.SLO > 0 {
		w.answered(w.traffic.phase, w.now.Seconds(), n, w.sojourns(p))
	}
}

// inFlight is how many requests a pod has; without a line by Little's law.
func (w *world) inFlight(p *pod) float64 {
	switch {
	case p.line != nil:
		return p.backlog
	case p.rate == 0:
		return 0
	}
	return p.rate * w.sojourns(p).Mean()
}
