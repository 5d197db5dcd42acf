package simulate

import (
	"time"

	"github.com/hpabench/hpabench/model"
)

// watch lets the readiness probe of a pod in which requests wait run, until none does: then it
// succeeds, and need not be looked at.
func (w *world) watch(p *pod) {
	probe := w.modelled.First().ReadinessProbe
	if p.watched || p.readyAt < 0 || probe == nil || probe.HTTPGet == nil && probe.GRPC == nil {
		return
	}
	p.watched = true
	every := model.ProbeOf(probe).Period
	w.after(every-(w.now-p.readyAt)%every, func() { w.probe(p, model.Thresholds{}) })
}

// probe runs the readiness probe of a pod, as one request of many: it has an answer when the
// others before it had their turn. The next run follows at once where one takes longer than
// the period.
func (w *world) probe(p *pod, results model.Thresholds) {
	probe := model.ProbeOf(w.modelled.First().ReadinessProbe)
	ready := p.readyAt >= 0
	if p.watched = !p.deleted && (p.backlog > 0 || p.workers > 1 || !ready); !p.watched {
		return
	}
	takes := min(w.responds(p), probe.Timeout)
	success := takes < probe.Timeout
	past := results.Add(success, probe)
	w.after(takes, func() {
		switch {
		case p.deleted || !past || success == ready:
		case success:
			w.ready(p)
		default:
			w.unready(p)
		}
	})
	w.after(max(takes, probe.Period), func() { w.probe(p, results) })
}

// responds is how long a pod takes for a request that costs it nothing and needs no worker:
// until those that are served have had their turn.
func (w *world) responds(p *pod) time.Duration {
	before := 0.0
	for _, c := range p.served {
		before += c.n * min(c.left, model.Turn.Seconds()) / p.cores
	}
	if p.backlog == 0 && p.workers > 1 && p.rate > 0 { // of a closed loop, which wait for each other
		in := min(w.inFlight(p), float64(*w.Plant.Workload.Workers))
		before = max(0, in-1) * min(w.cost()*p.costs, model.Turn.Seconds()) / p.cores
	}
	return seconds(min(before, 3600))
}

// ready lets a pod be ready, and in service a moment later.
func (w *world) ready(p *pod) {
	p.readyAt = w.now
	w.show(p)
	w.tellSet()
	w.tellTarget()
	w.after(p.life.inService, func() {
		if !p.deleted && p.readyAt >= 0 {
			w.enter(p)
		}
	})
	w.reconcileSoon()
	if s := w.StatefulSet; s != nil && s.MinReadySeconds > 0 {
		since := w.now - w.wall().Sub(w.began) // Ready's instant is in whole seconds
		w.after(time.Duration(s.MinReadySeconds)*time.Second-since, w.reconcile)
	}
}

// unready takes a pod out of service; it keeps its connections.
func (w *world) unready(p *pod) {
	p.readyAt = -1
	w.show(p)
	w.tellSet()
	w.tellTarget()
	w.after(p.life.out, func() {
		if p.readyAt < 0 {
			w.withdraw(p)
		}
	})
}
