package simulate

import (
	"math"
	"slices"
	"time"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
)

// Front is what takes the load in place of the target's pods: a gateway in front of them, or a queue of which they take the
// messages.
type Front struct {
	Pod   model.Model   // of the front
	Queue bool          // else a gateway
	Hold  time.Duration // of a gateway
	Shown bool          // of a queue: the record has its backlog
}

// front is what goes on there.
type front struct {
	came, failed float64    // requests
	answered     float64    // of them, when Prometheus scraped it
	held         []*request // by a gateway, in the order in which they came
	added, taken float64    // messages
	waiting      []message
	told         *record.Queue // what is in the record
	dials        []answers     // of a gateway for requests that it gave up, which go on until it would have held these
}

// message stands for n of them that came at a time.
type message struct {
	n     float64
	came  time.Duration
	phase int // -1 before the load
}

// mostGroups bounds into how many a step's requests are parted that a front keeps.
const mostGroups = 100

// parts are equal parts of n requests that came evenly in a time, each with the middle of its own.
func parts(n float64, from, to time.Duration) (each float64, at []time.Duration) {
	count := int(min(max(1, math.Round(n)), mostGroups))
	for i := range count {
		at = append(at, from+time.Duration((float64(i)+0.5)/float64(count)*float64(to-from)))
	}
	return n / float64(count), at
}

// scrapeFront lets Prometheus scrape the front.
func (w *world) scrapeFront() {
	w.loop(w.Plant.Metrics.Scrapes(), w.SignalsScraped, func() {
		w.scaler.collect("front", w.Front.Pod.Series(w.frontCounts()), false)
	})
}

// frontCounts are what the front shows now.
func (w *world) frontCounts() model.Counts {
	w.front.answered = max(w.front.answered, w.front.came-w.atFront())
	n := model.Counts{Came: w.front.came, Answered: w.front.answered, Failed: w.front.failed, InFlight: w.atFront(), Added: w.front.added, Taken: w.front.taken, Waiting: w.backlog()}
	if n.Waiting > 0 && len(w.front.waiting) > 0 {
		n.Oldest = (w.now - w.front.waiting[0].came).Seconds()
	}
	return n
}

// tellQueue tells of the queue as hpabench reads it, where the scenario asks for that.
func (w *world) tellQueue(every time.Duration) {
	is := &record.Queue{Backlog: w.backlog(), Oldest: new(0.0)}
	if len(w.front.waiting) > 0 && is.Backlog > 0 {
		is.Oldest = new((w.now - w.front.waiting[0].came).Seconds())
	}
	if w.front.told == nil || !w.front.told.Same(is) {
		w.front.told = is
		w.tell(record.Entry{Queue: is})
	}
	w.after(every, func() { w.tellQueue(every) })
}

// backlog is how many messages wait: whole ones, as what is left of a sum of parts would activate a trigger.
func (w *world) backlog() float64 { return math.Round(max(0, w.front.added-w.front.taken)) }

// atFront is how many requests a gateway has that are not answered.
func (w *world) atFront() (n float64) {
	for _, r := range w.front.held {
		n += r.n
	}
	for _, p := range w.pods {
		if n += w.inFlight(p); p.line != nil {
			for _, r := range p.line.requests {
				if r.gone && r.end > w.now { // the pod works on
					n -= r.n
				}
			}
		}
	}
	return max(0, n)
}

// hold lets a gateway hold n requests that came until a time.
func (w *world) hold(n float64, to time.Duration) {
	each, at := parts(n, w.now, to)
	for _, came := range at {
		w.front.held = append(w.front.held, w.newRequest(w.traffic.phase, each, came))
	}
}

// expire fails requests that a gateway has held for as long as it does, or their clients have waited for as long as they do: it gives
// them up then.
func (w *world) expire(to time.Duration) {
	w.front.held = slices.DeleteFunc(w.front.held, func(r *request) bool {
		held := min(w.Front.Hold, w.Timeout)
		if r.came+held > to {
			return false
		}
		if w.front.failed += r.n; held < w.Front.Hold {
			w.dialsOn(r)
			w.failed(r.phase, r.came+held, r.n, "timeout")
		} else {
			w.unanswered(r.phase, r.came+held, r.n, held, w.failure("503"))
		}
		w.spare = append(w.spare, r)
		return true
	})
}

// failure is the status of an answer that tells of an error: the one that is given, or the one of pods in front that call the target.
func (w *world) failure(given string) string {
	if w.Front != nil && len(w.Front.Pod.Calls) > 0 {
		return badGateway
	}
	return given
}

// unanswered are n requests that are answered with the status of an error after a while.
func (w *world) unanswered(phase int, at time.Duration, n float64, took time.Duration, code string) {
	if took > w.Timeout {
		w.failed(phase, at-took+w.Timeout, n, "timeout")
	} else if phase >= 0 {
		w.score.Missed += n
		w.thinks(phase, at, n)
		w.journal.answered(phase, at, code, n, model.Range(took.Seconds(), took.Seconds()), 1, w.trips)
	}
}

// release lets what a gateway holds come to the pods in service. It tries each 100 ms, so that they come half of that after the
// first pod does.
func (w *world) release() {
	w.after(model.Redial/2, func() {
		takes := slices.DeleteFunc(slices.Clone(w.serving), func(p *pod) bool { return !p.listens })
		if len(takes) == 0 {
			return
		}
		w.capacities(step.Seconds())
		for _, r := range w.front.held {
			p := takes[w.random.IntN(len(takes))]
			if p.line == nil {
				p.line = w.newLine(p)
			}
			p.backlog += r.n
			w.join(p, r, w.now)
		}
		for _, d := range w.front.dials {
			if d.to > w.now {
				w.leaveIdle(takes[w.random.IntN(len(takes))], d.n)
			}
		}
		w.front.held, w.front.dials = nil, nil
	})
}

// givesUp says whether a gateway is in front, which closes the connection of a request whose client has gone: the pod works on it.
func (w *world) givesUp() bool { return w.Front != nil && w.Front.Pod.Forwards != nil }

// idleConnections are pods at the other end, and when each was used last.
type idleConnections struct {
	to   []*pod
	used []time.Duration
}

// mostIdle is how many idle connections a gateway keeps.
const mostIdle = 200

// leaveIdle keeps the connections of n requests to a pod that are no longer used.
func (w *world) leaveIdle(p *pod, n float64) {
	t := &w.traffic
	for range int(max(1, math.Round(n))) {
		if len(t.connections) < mostIdle {
			t.used = append(t.used, make([]time.Duration, len(t.connections)-len(t.used))...)
			t.connections, t.used = append(t.connections, p), append(t.used[:len(t.connections)], w.now)
		}
	}
}

// dialsOn keeps what a gateway dials for a request that needs it no more.
func (w *world) dialsOn(r *request) {
	w.front.dials = slices.DeleteFunc(w.front.dials, func(d answers) bool { return d.to <= w.now })
	w.front.dials = append(w.front.dials, answers{r.came, r.came + w.Front.Hold, r.n})
}

// forward sets the rates of the pods to which a gateway forwards while some have a line, and says what it holds. Each request
// takes the connection that was used last, or a new one to a pod in service. In a line it keeps that until it is answered.
func (w *world) forward(rate, dt float64) (held float64) {
	t := &w.traffic
	count := max(1, math.Floor(t.sent+rate*dt)-math.Floor(t.sent))
	each := rate / count
	open := slices.DeleteFunc(slices.Clone(w.serving), func(p *pod) bool { return !p.listens })
	var idle idleConnections
	for i, p := range t.connections {
		if p != nil && p.listens && i < len(t.used) && w.now-t.used[i] < model.IdleConnection {
			idle.to, idle.used = append(idle.to, p), append(idle.used, t.used[i])
		}
	}
	leave := func(p *pod) { idle.to, idle.used = append(idle.to, p), append(idle.used, w.now) }
	var busy []*pod // of pods without a line, the first to answer first
	for range int(count) {
		var p *pod
		if last := len(idle.to) - 1; last >= 0 {
			p, idle.to, idle.used = idle.to[last], idle.to[:last], idle.used[:last]
		} else if len(open) > 0 {
			p = open[w.random.IntN(len(open))]
		} else {
			held += each
			continue
		}
		if p.rate += each; p.line != nil {
			continue
		}
		if busy = append(busy, p); float64(len(busy)) > rate*w.base() {
			leave(busy[0])
			busy = busy[1:]
		}
	}
	for _, p := range busy {
		leave(p)
	}
	if t.left = idle; t.left.to == nil {
		t.left.to = []*pod{}
	}
	return held
}

// answersFree gives the connections of n answers of a pod with a line to what a gateway holds, or leaves them idle.
func (w *world) answersFree(p *pod, n float64, at time.Duration) {
	if !w.givesUp() || w.planned().Shape == record.ShapeWorkers {
		return
	}
	for n > rounding && len(w.front.held) > 0 {
		r := w.front.held[0]
		n, w.front.held = n-r.n, w.front.held[1:]
		w.dialsOn(r)
		p.backlog += r.n
		w.join(p, r, at)
	}
	if n >= 0.5 {
		w.leaveIdle(p, n)
	}
}

// add takes messages from requests, which are answered at once, up to a time.
func (w *world) add(n float64, to time.Duration) {
	each, at := parts(n, w.now, to)
	for _, came := range at {
		w.front.waiting = append(w.front.waiting, message{each, came, w.traffic.phase})
	}
	w.front.added += n
	w.thinks(w.traffic.phase, to, n)
	if w.traffic.phase >= 0 && w.journal != nil {
		w.journal.answered(w.traffic.phase, w.now, "202", n, model.Range(0, 0), 1, w.trips)
	}
}

// take lets the pods take messages for a while, each as many as it can work on.
func (w *world) take(dt float64) {
	left := w.front.added - w.front.taken
	if left <= rounding {
		return
	}
	working := 0.0
	for _, p := range w.pods {
		if p.rate = 0; p.listens {
			p.rate = left / dt
		}
	}
	w.capacities(dt)
	for _, p := range w.pods {
		if p.listens {
			working += p.highest
		}
	}
	share := min(1, left/dt/max(working, rounding))
	for _, p := range w.pods {
		if !p.listens {
			continue
		}
		n := p.highest * share * dt
		p.rate = 0
		p.cpu += n * w.modelled.Cost(false) * p.costs
		p.answered += n
		w.front.taken += n
		for n > rounding && len(w.front.waiting) > 0 {
			first := &w.front.waiting[0]
			took := min(n, first.n)
			first.n, n = first.n-took, n-took
			if late := w.now+seconds(dt/2)-first.came > w.SLO; late && w.SLO > 0 && first.phase >= 0 {
				w.score.Missed += took
			}
			if first.n <= rounding {
				w.front.waiting = w.front.waiting[1:]
			}
		}
	}
}

// Keeps says whether the pods' connections are kept: those of a gateway to them, and theirs to a queue, are, whatever the clients do.
func (r *Run) Keeps(p *record.Phase) bool { return p.KeepAlive || r.Front != nil }
