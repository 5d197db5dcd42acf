package nodes

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/lab/containers"
	"github.com/hpabench/hpabench/model"
)

// start starts a container, as startContainer of the kubelet does: the back-off,
// the image, the process, its hook. If it cannot, it says why and after what
// time to try again. killed says that the node has just killed the one before.
func (p *pod) start(c *container, killed bool) (time.Duration, *corev1.ContainerStateWaiting) {
	if wait, err := p.inBackOff(c, killed); err != nil {
		return wait, err
	}
	m, err := p.model(c)
	if err != nil {
		p.event(c, corev1.EventTypeWarning, "Failed", "Error: "+err.Error())
		return jittered(10 * time.Second), &corev1.ContainerStateWaiting{Reason: "CreateContainerConfigError", Message: err.Error()}
	}
	if err := p.node.images.ensure(p.ending, p, c, m); err != nil {
		if p.ending.Err() == nil {
			p.event(c, corev1.EventTypeWarning, "Failed", "Error: "+err.Reason)
		}
		return jittered(10 * time.Second), err
	}
	if p.ending.Err() != nil {
		return 0, nil
	}

	a := &attempt{id: runtimeName + "://" + newID(), imageID: imageID(c.spec.Image), start: time.Now(), logs: newLogs(), resources: *c.spec.Resources.DeepCopy()}
	if m.Fault != nil && m.Fault.Unready != nil {
		a.fault = m.Fault.Unready.Duration
	}
	p.event(c, corev1.EventTypeNormal, "Created", "Container created")
	p.mu.Lock()
	api, grace := p.api, p.grace()
	p.mu.Unlock()
	limit := func(name corev1.ResourceName) *resource.Quantity { return model.Limit(&api.Spec, c.spec, name) }
	if takes, code, ok := runsToEnd(api, c, m.Start.Duration); ok {
		a.process = startScript(takes, code)
	} else {
		a.process = containers.Start(containers.Config{
			Model: m, Node: p.node.cpu, Pod: p.name, Log: a.logs,
			CPULimit: limit(corev1.ResourceCPU).AsApproximateFloat64(), MemoryLimit: limit(corev1.ResourceMemory).Value(),
			Dial: func(service string) (net.Conn, error) { return p.nodes.call(p.namespace, service) },
		})
	}
	p.mu.Lock()
	if c.now != nil {
		c.last = c.now
		c.restarts++
	}
	c.now, c.waiting = a, nil
	p.mu.Unlock()
	p.event(c, corev1.EventTypeNormal, "Started", "Container started")
	time.AfterFunc(p.node.relist(time.Now()), p.poke) // the kubelet's next look has the pod's status taken once more, and its readiness probed
	a.usage.run(a.process, p.nodes.o.Housekeeping)
	if c == p.st.main[0] {
		p.scrapes.run(a.process, m.Metrics, p.nodes.clock)
		if to := p.nodes.o.Prometheus; to != nil {
			collect(to, a.process, p.namespace, p.name)
		}
	}
	p.nodes.wg.Go(func() { p.await(a) })

	if l := c.spec.Lifecycle; l != nil && l.PostStart != nil {
		if err := p.hook(p.ending, c, l.PostStart); err != nil {
			p.event(c, corev1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed")
			p.kill(c, a, "FailedPostStartHook", grace, nil)
			return jittered(10 * time.Second), &corev1.ContainerStateWaiting{Reason: "PostStartHookError", Message: err.Error()}
		}
	}
	return 0, nil
}

// await takes note of a process's end. The kubelet sees it at its next look.
func (p *pod) await(a *attempt) {
	<-a.process.Done()
	p.ended(a)
	time.AfterFunc(p.node.relist(time.Now()), p.poke)
}

func (p *pod) ended(a *attempt) {
	now := time.Now()
	exit := a.process.Exit()
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.end != nil {
		return
	}
	a.end = &corev1.ContainerStateTerminated{
		ExitCode: int32(exit.Code), Reason: exit.Reason, ContainerID: a.id,
		StartedAt: metav1.Time{Time: a.start.Truncate(time.Second)}, FinishedAt: metav1.Time{Time: now.Truncate(time.Second)},
	}
	a.usage.stop()
	a.logs.end()
	cpu, _ := a.process.Usage(now)
	p.node.endedCPU.Add(int64(cpu))
}

// inBackOff is doBackOff of the kubelet: the first restart comes at once, each
// one after it 10 s, 20 s and so on to 5 min after the end of the last attempt,
// and from 10 s again when it ran for 10 min. The end of one that was killed just
// now has not been seen yet: what counts is the one before it.
func (p *pod) inBackOff(c *container, killed bool) (time.Duration, *corev1.ContainerStateWaiting) {
	p.mu.Lock()
	var ended *corev1.ContainerStateTerminated
	if killed && c.last != nil {
		ended = c.last.end
	} else if !killed && c.now != nil {
		ended = c.now.end
	}
	p.mu.Unlock()
	if ended == nil {
		return 0, nil
	}
	key := p.backOffKey(c)
	if !p.node.backOff.IsInBackOffSince(key, ended.FinishedAt.Time) {
		p.node.backOff.Next(key, ended.FinishedAt.Time)
		return 0, nil
	}
	full := fmt.Sprintf("%s_%s(%s)", p.name, p.namespace, p.uid)
	p.event(c, corev1.EventTypeWarning, "BackOff", fmt.Sprintf("Back-off restarting failed container %s in pod %s", c.spec.Name, full))
	wait := p.node.backOff.Get(key)
	left := max(0, time.Until(ended.FinishedAt.Add(wait)))
	return max(model.Retry(left, mathrand.Float64()), time.Millisecond), &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff",
		Message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", wait, c.spec.Name, full)}
}

func (p *pod) backOffKey(c *container) string { return string(p.uid) + "_" + c.spec.Name }

// model gives how a container behaves. The annotation is the first container's.
func (p *pod) model(c *container) (m model.Model, err error) {
	p.mu.Lock()
	annotation := p.api.Annotations[model.Annotation]
	p.mu.Unlock()
	if annotation != "" && c == p.st.main[0] {
		if m, err = model.Parse(annotation); err != nil {
			return m, err
		}
	}
	return model.Resolve(c.spec, m), nil
}

// newID is an id as a container runtime gives it.
func newID() string {
	var b [32]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x", b)
}
