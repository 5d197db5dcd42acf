package simulate

import (
	"cmp"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Probes are those of the kubelet (pkg/kubelet/prober of Kubernetes). A worker of each runs
// it with its period, from when the node took up the pod. A readiness probe also runs at
// once when the container is seen to have started, and when the kubelet looks at all
// containers next, which is within Relist; its period begins anew then.

// Relist is how often a kubelet looks at all containers (genericPlegRelistPeriod in
// pkg/kubelet).
const Relist = time.Second

// ReadyAfter is how long after its start the first container is ready, by its model and
// its probes, where the node took up the pod so long before and looks at all containers so
// long after it.
func (r *Run) ReadyAfter(before, relist time.Duration) time.Duration {
	c, listens := r.first(), r.listens()
	started := time.Duration(0)
	if p := c.StartupProbe; p != nil {
		started = success(p, listens, every(p)-before%every(p))
	}
	switch p := c.ReadinessProbe; {
	case p != nil && c.StartupProbe != nil:
		return success(p, listens, started)
	case p != nil:
		return success(p, listens, 0, relist)
	case c.StartupProbe != nil:
		return started
	}
	return listens
}

// success is when a probe has succeeded, that runs at some times and with its period from
// the last of them on.
func success(p *corev1.Probe, listens time.Duration, runs ...time.Duration) time.Duration {
	at := runs[0]
	for i := 1; at < listens || at < time.Duration(p.InitialDelaySeconds)*time.Second; i++ {
		if i < len(runs) {
			at = runs[i]
		} else {
			at += every(p)
		}
	}
	return at + time.Duration(max(p.SuccessThreshold, 1)-1)*every(p)
}

// every is the period of a probe; what it leaves out has the API's default.
func every(p *corev1.Probe) time.Duration {
	return time.Duration(cmp.Or(p.PeriodSeconds, 10)) * time.Second
}

// watch lets the readiness probe of a pod in which requests wait run, until none does: then it
// succeeds, and need not be looked at.
func (w *world) watch(p *pod) {
	probe := w.first().ReadinessProbe
	if p.watched || p.readyAt < 0 || probe == nil || probe.HTTPGet == nil && probe.GRPC == nil {
		return
	}
	p.watched = true
	w.after(every(probe)-(w.now-p.readyAt)%every(probe), func() { w.probe(p, 0, 0) })
}

// probe runs the readiness probe of a pod, as one request of many: it has an answer when the
// others before it had their turn. The next run follows at once where one takes longer than
// the period.
func (w *world) probe(p *pod, failed, succeeded int32) {
	probe := w.first().ReadinessProbe
	ready := p.readyAt >= 0
	if p.watched = !p.deleted && (p.backlog > 0 || p.workers > 1 || !ready); !p.watched {
		return
	}
	timeout := time.Duration(cmp.Or(probe.TimeoutSeconds, 1)) * time.Second
	takes := min(w.responds(p), timeout)
	if takes < timeout {
		failed, succeeded = 0, succeeded+1
	} else {
		failed, succeeded = failed+1, 0
	}
	w.after(takes, func() {
		switch {
		case p.deleted:
		case !ready && succeeded >= cmp.Or(probe.SuccessThreshold, 1):
			w.ready(p)
		case ready && failed >= cmp.Or(probe.FailureThreshold, 3):
			w.unready(p)
		}
	})
	w.after(max(takes, every(probe)), func() { w.probe(p, failed, succeeded) })
}

// responds is how long a pod takes for a request that costs it nothing and needs no worker:
// until those that are served have had their turn.
func (w *world) responds(p *pod) time.Duration {
	before := 0.0
	for _, c := range p.served {
		before += c.n * min(c.left, slice.Seconds()) / p.cores
	}
	if p.backlog == 0 && p.workers > 1 && p.rate > 0 { // of a closed loop, which wait for each other
		in := min(w.inFlight(p), float64(*w.Plant.Workload.Workers))
		before = max(0, in-1) * min(w.cost()*p.costs, slice.Seconds()) / p.cores
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
