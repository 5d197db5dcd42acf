package simulate

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/model"
)

// Probes of a pod in which requests wait.
const (
	readiness = iota
	liveness
)

// watch lets the readiness and liveness probes of a pod run, in which requests wait or which they cost
// something, until that is over: else they succeed, and need not be looked at.
func (w *world) watch(p *pod) {
	first := w.modelled.First()
	for kind, probe := range []*corev1.Probe{first.ReadinessProbe, first.LivenessProbe} {
		if p.watched[kind] || p.readyAt < 0 || probe == nil || probe.HTTPGet == nil && probe.GRPC == nil {
			continue
		}
		p.watched[kind] = true
		every := model.ProbeOf(probe)
		// The period is from when it was ready, or from when the node took up the pod.
		since := w.now - p.readyAt
		if kind == liveness {
			since = w.now - p.startedAt + w.modelled.Prepares() + p.life.start
		}
		w.whileRuns(p, every.Period-since%every.Period, func() { w.probe(p, kind, w.Plant.Workload.Costs(probe), every, model.Thresholds{}) })
	}
}

// probe runs a probe of a pod, as one request of many: it has an answer when the
// others before it had their turn. The next run follows at once where one takes longer than
// the period.
func (w *world) probe(p *pod, kind int, costs bool, probe model.Probe, results model.Thresholds) {
	if p.watched[kind] = !p.deleted && (costs || p.backlog > 0 || p.workers > 1 || p.readyAt < 0); !p.watched[kind] {
		return
	}
	came, due := w.now, probe.Due(w.now-p.startedAt.Truncate(time.Second))
	w.ask(p, costs && due, probe.Timeout, func(success bool) {
		past := due && results.Add(success, probe)
		if due && !success && !p.deleted { // as the kubelet words it
			w.tellEvent("Pod", p.name, corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe failed: context deadline exceeded while awaiting headers", [...]string{"Readiness", "Liveness"}[kind]))
		}
		switch ready := p.readyAt >= 0; {
		case p.deleted || !past:
		case kind == liveness:
			if !success {
				w.unhealthy(p)
				return // no probe until the container is another
			}
		case success == ready:
		case success:
			w.ready(p)
		default:
			w.unready(p)
		}
		w.whileRuns(p, max(0, came+probe.Period-w.now), func() { w.probe(p, kind, costs, probe, results) })
	})
}

// ask has a pod answer a probe, as an HTTP request if it costs what one does. Answered is called once, when
// the answer comes or the timeout is over, unless the container has ended by then.
func (w *world) ask(p *pod, costs bool, timeout time.Duration, answered func(success bool)) {
	m, came, takes, failed, inTime := &w.Plant.Workload, w.now, w.responds(p), false, false
	done := func(end time.Duration) { // a server in turns tells so later
		if inTime = end-came < timeout && w.now-came < timeout; inTime {
			w.whileRuns(p, max(0, end-w.now), func() { answered(!failed) })
		}
	}
	if !costs {
		done(came + takes)
	} else {
		cpu, wait := seconds((m.CPU.Draw(p.random)+m.ConnectionCPU.Duration).Seconds()*p.costs/w.Times()), m.Wait.Draw(p.random)
		failed = m.Fault != nil && p.random.Float64() < m.Fault.Errors
		if p.line == nil {
			p.cpu += cpu.Seconds()
			done(came + takes + model.OnThread(cpu, w.modelled.Limit()) + wait)
		} else if !p.line.server.Request(came, cpu, wait, done) {
			w.whileRuns(p, 0, func() { answered(false) })
			return
		}
		p.answered++
		w.holds(p, answers{came, came, 1})
		w.checkMemory(p)
	}
	if !inTime {
		w.whileRuns(p, timeout, func() {
			if !inTime {
				answered(false)
			}
		})
	}
}

// responds is how long a pod takes for a request that costs it nothing and needs no worker.
func (w *world) responds(p *pod) time.Duration {
	switch {
	case p.line != nil:
		return p.line.server.Runnable(w.now) - w.now
	case p.workers > 1 && p.rate > 0: // of a closed loop, which wait for each other
		in := min(w.inFlight(p), float64(*w.Plant.Workload.Workers))
		return seconds(min(max(0, in-1)*min(w.cost()*p.costs, model.Turn.Seconds())/p.cores, 3600))
	}
	return 0
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
	if w.modelled.Probes() > 0 {
		w.watch(p)
	}
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
