package model

import (
	"math"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Pod is a modelled pod on a node with nothing else on it: what it can do follows from its
// model, its containers and the node's cores.
type Pod struct {
	Model *Model
	Spec  *corev1.PodSpec
	Cores float64 // of the node
}

// First is the container that the model is of.
func (p Pod) First() *corev1.Container { return &p.Spec.Containers[0] }

// Limit is the CPU limit of the first container in cores; 0 without one.
func (p Pod) Limit() float64 {
	return Limit(p.Spec, p.First(), corev1.ResourceCPU).AsApproximateFloat64()
}

// Limit is what container c of a pod may use of a resource: its own limit, or that of all containers
// together if it is lower; zero without one.
func Limit(pod *corev1.PodSpec, c *corev1.Container, name corev1.ResourceName) *resource.Quantity {
	own, limited := c.Resources.Limits[name]
	if pod.Resources != nil {
		if all, has := pod.Resources.Limits[name]; has && (!limited || all.Cmp(own) < 0) {
			return &all
		}
	}
	return &own
}

// Cost is the mean CPU time of an HTTP request in seconds, on a new connection or a kept one.
func (p Pod) Cost(connects bool) float64 {
	c := p.Model.CPU.Mean.Seconds()
	if connects {
		c += p.Model.ConnectionCPU.Seconds()
	}
	return c
}

// ServiceTime is how long an HTTP request takes in a pod that has no other.
func (p Pod) ServiceTime(connects bool) time.Duration {
	return OnThread(seconds(p.Cost(connects)), p.Limit()) + p.Model.Wait.Mean.Duration
}

// Probes is how many of a ready pod's probes a second cost what an HTTP request on a new connection costs.
func (p Pod) Probes() (perSecond float64) {
	for _, probe := range []*corev1.Probe{p.First().ReadinessProbe, p.First().LivenessProbe} {
		if p.Model.Costs(probe) {
			perSecond += 1 / ProbeOf(probe).Period.Seconds()
		}
	}
	return perSecond
}

// AtRest is the CPU that a ready pod uses without load, in cores.
func (p Pod) AtRest() float64 {
	return p.Model.IdleCPU.AsApproximateFloat64() + p.Probes()*p.Cost(true)
}

// MostCPU is what the requests of the pod can use at most, in cores.
func (p Pod) MostCPU() float64 {
	idle := p.AtRest()
	most := min(forRequests(p.Cores, idle), float64(*p.Model.Workers))
	if l := p.Limit(); l > 0 {
		most = min(most, forRequests(max(l, minLimit), idle))
	}
	return most
}

// MaxRate is the number of HTTP requests a second that a pod with some cores can serve, if they
// cost factor × the mean. It is infinite where they take no time.
func (p Pod) MaxRate(connects bool, factor, cores float64) float64 {
	cost := p.Cost(connects) * factor
	return min(cores/cost, float64(*p.Model.Workers)/(cost+p.Model.Wait.Mean.Seconds()))
}

// Listens is how long after its start the first container listens.
func (p Pod) Listens() time.Duration {
	return p.Model.Start.Duration + OnThread(p.Model.StartCPU.Duration, p.Limit())
}

// Prepares is how long the init containers take, of those that only wait: what others do is not
// known.
func (p Pod) Prepares() (all time.Duration) {
	for i := range p.Spec.InitContainers {
		all += p.Prepare(i)
	}
	return all
}

// Prepare is how long one of them takes.
func (p Pod) Prepare(i int) time.Duration {
	c := p.Spec.InitContainers[i]
	if takes, _, known := Script(slices.Concat(c.Command, c.Args)); known && !Sidecar(c) {
		return max(0, takes)
	}
	return 0
}

// Sidecar says whether an init container goes on running beside the others.
func Sidecar(c corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// ReadyAfter is how long after its start the first container is ready, by its model and its
// probes, where the node took up the pod at a time before it, and the kubelet looks at all
// containers at a time after it (within Relist). The start was so long into a second of the clock.
//
// The kubelet runs a probe with its period, from when it took up the pod. A readiness probe also
// runs at once when the container is seen to have started, and when the kubelet looks at all
// containers next; its period begins anew then (pkg/kubelet/prober).
func (p Pod) ReadyAfter(before, relist, into time.Duration) time.Duration {
	c, listens := p.First(), p.Listens()
	started := p.hook()
	if c.StartupProbe != nil {
		startup := ProbeOf(c.StartupProbe)
		started = startup.Succeeds(listens, into, started+startup.Period-(before+started)%startup.Period)
	}
	if f := p.Model.Fault; f != nil && f.Unready != nil && c.ReadinessProbe != nil {
		listens = max(listens, f.Unready.Duration)
	}
	switch {
	case c.ReadinessProbe != nil && c.StartupProbe != nil:
		return ProbeOf(c.ReadinessProbe).Succeeds(listens, into, started)
	case c.ReadinessProbe != nil:
		return ProbeOf(c.ReadinessProbe).Succeeds(listens, into, started, started+relist)
	case c.StartupProbe != nil:
		return started
	}
	return started + SyncDelay // whether or not it listens
}

// hook is how long the kubelet waits for the first container's postStart hook, before which it
// does not probe: a sleep, or a command that only waits.
func (p Pod) hook() time.Duration {
	l := p.First().Lifecycle
	switch {
	case l == nil || l.PostStart == nil:
	case l.PostStart.Sleep != nil:
		return time.Duration(l.PostStart.Sleep.Seconds) * time.Second
	case l.PostStart.Exec != nil:
		takes, _, _ := Script(l.PostStart.Exec.Command)
		return max(0, takes)
	}
	return 0
}

// ServesOn is how long a pod serves after its deletion: through its preStop hook, and for as
// long as its process takes then, within its grace period.
func (p Pod) ServesOn() time.Duration {
	serves := p.Model.Drain.Duration
	if l := p.First().Lifecycle; l != nil && l.PreStop != nil {
		switch stop := l.PreStop; {
		case stop.Sleep != nil:
			serves += time.Duration(stop.Sleep.Seconds) * time.Second
		case stop.Exec != nil:
			takes, _, _ := Script(stop.Exec.Command)
			serves += max(0, takes)
		}
	}
	return min(serves, p.Grace())
}

// Grace is how long the containers have to end.
func (p Pod) Grace() time.Duration {
	grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if g := p.Spec.TerminationGracePeriodSeconds; g != nil {
		grace = *g
	}
	return time.Duration(grace) * time.Second
}

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }
