package nodes

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"
	kubecontainer "k8s.io/kubernetes/pkg/kubelet/container"
	"k8s.io/utils/ptr"

	"github.com/hpabench/hpabench/model"
)

// pod is one pod and its worker. As in the kubelet, the worker reports what is,
// then does what is to be done, and comes back when something has happened.
type pod struct {
	nodes           *Nodes
	node            *node
	uid             types.UID
	namespace, name string
	wake            chan struct{}   // holds one when there is something to do
	life            context.Context // of the node under it
	stop            context.CancelFunc
	ending          context.Context // done when nothing more is to be started
	end             context.CancelFunc

	mu      sync.Mutex
	api     *corev1.Pod // as it was last seen; never changed
	gone    bool        // from the API
	st      *state
	probers []*prober
	scrapes scraper
	status  corev1.PodStatus // as last worked out
	sent    corev1.PodStatus // as the API has it of us
}

func newPod(n *Nodes, on *node, api *corev1.Pod) *pod {
	p := &pod{nodes: n, node: on, uid: api.UID, namespace: api.Namespace, name: api.Name, wake: make(chan struct{}, 1),
		api: api, st: newState(api, on.ip.String(), time.Now()), status: api.Status, sent: api.Status}
	p.life, p.stop = context.WithCancel(context.Background())
	p.ending, p.end = context.WithCancel(p.life)
	if api.DeletionTimestamp != nil {
		p.end()
	}
	return p
}

// poke lets the worker look again.
func (p *pod) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pod) update(api *corev1.Pod) {
	p.mu.Lock()
	was := p.api
	p.api = api
	p.mu.Unlock()
	switch {
	case api.DeletionTimestamp != nil && was.DeletionTimestamp == nil:
		p.end()
	case len(api.Spec.ReadinessGates) > 0 || api.Generation != was.Generation || !apiequality.Semantic.DeepEqual(api.Spec.ActiveDeadlineSeconds, was.Spec.ActiveDeadlineSeconds):
		p.poke()
	}
}

// deleted is called when the API has the pod no longer: at the end of an orderly
// deletion, or at once when it was forced.
func (p *pod) deleted(api *corev1.Pod) {
	p.mu.Lock()
	p.api, p.gone = api, true
	p.mu.Unlock()
	p.end()
	p.poke()
}

// run is the worker.
func (p *pod) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		p.stop()
		p.killAll(0)
	})
	defer stop()
	if !podutil.IsPodPhaseTerminal(p.status.Phase) {
		p.runContainers()
		if ctx.Err() != nil {
			p.killAll(0)
			return
		}
		p.terminate(ctx)
	} else { // it had ended before these nodes began
		p.mu.Lock()
		p.st.terminal = true
		p.mu.Unlock()
	}
	<-p.ending.Done() // a pod that has completed stays until it is deleted
	if !p.isGone() {
		p.nodes.writes.Add(p)
	}
	for ctx.Err() == nil && !p.isGone() {
		select {
		case <-ctx.Done():
		case <-p.wake:
		}
	}
	p.nodes.forget(p)
}

func (p *pod) isGone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// runContainers returns when the pod is to end.
func (p *pod) runContainers() {
	for p.ending.Err() == nil {
		again, finished := p.sync()
		if finished {
			return
		}
		select {
		case <-p.wake:
		case <-time.After(again):
		case <-p.ending.Done():
		}
	}
}

// idleResync is the resync interval of a healthy pod without events.
const idleResync = 24 * time.Hour

// sync reports what is and does what is to be done. It says after what time to
// look again if nothing happens before, or that the pod has come to its end.
func (p *pod) sync() (again time.Duration, finished bool) {
	p.report()
	p.mu.Lock()
	again = idleResync
	if s := p.api.Spec.ActiveDeadlineSeconds; s != nil {
		again = time.Until(p.st.seen.Truncate(time.Second).Add(time.Duration(*s) * time.Second))
	}
	if again <= 0 {
		p.st.reason, p.st.notice = "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
		p.mu.Unlock()
		p.event(nil, corev1.EventTypeNormal, p.st.reason, p.st.notice)
		return 0, true
	}
	first := !p.st.sandbox
	if first && !p.network() {
		p.mu.Unlock()
		p.event(nil, corev1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: no free IP addresses")
		return min(again, jittered(10*time.Second)), false
	}
	failed := p.failedProbes()
	p.mu.Unlock()

	for _, f := range failed {
		p.kill(f.c, f.a, f.message, f.grace, nil)
	}
	p.mu.Lock()
	start, finished := p.st.toStart(p.api)
	p.mu.Unlock()
	if finished {
		return 0, true
	}
	done := len(failed) > 0
	var retry time.Duration // the longest, as the kubelet takes it only when all are back-offs
	for _, c := range start {
		killed := slices.ContainsFunc(failed, func(f failedProbe) bool { return f.c == c })
		switch wait, err := p.start(c, killed); {
		case p.ending.Err() != nil:
			return 0, false
		case err != nil:
			p.mu.Lock()
			c.waiting = err
			p.mu.Unlock()
			retry = max(retry, wait)
		default:
			done = true
		}
	}
	switch {
	case retry == 0 && done:
		return model.SyncDelay, false
	case first && retry > 0:
		retry = p.node.relist(time.Now()) // the new sandbox is seen
	}
	if retry > 0 {
		again = min(again, retry)
	}
	return again, false
}

// network gives the pod its address and starts its probes. It is called with mu
// held.
func (p *pod) network() bool {
	if p.api.Spec.HostNetwork {
		p.st.ip = p.st.hostIP
	} else {
		ip, ok := p.node.allocate()
		if !ok {
			return false
		}
		p.st.ip = ip.String()
		p.nodes.ips.Store(ip, p)
	}
	p.st.sandbox = true
	for _, c := range p.st.all() {
		p.probers = append(p.probers, startProbers(p, c)...)
	}
	return true
}

// report works out the status, and hands it on to be written if it has changed.
// Like the kubelet's UpdatePodStatus it also has readiness probed at once for
// what has started and is not ready.
func (p *pod) report() {
	p.mu.Lock()
	defer p.mu.Unlock()
	status := podStatus(p.api, &p.status, p.st, time.Now())
	if !apiequality.Semantic.DeepEqual(&status, &p.status) {
		p.status = status
		p.nodes.writes.Add(p)
	}
	for _, w := range p.probers {
		if w.kind == readiness && w.c.started() && !w.c.ready() {
			w.trigger()
		}
	}
}

type failedProbe struct {
	c       *container
	a       *attempt
	message string
	grace   int64
}

// failedProbes gives the containers that are to be killed since a probe says so.
// It is called with mu held.
func (p *pod) failedProbes() (r []failedProbe) {
	for _, c := range p.st.all() {
		if !c.running() {
			continue
		}
		probe, spec := "liveness", c.spec.LivenessProbe
		if c.now.results[liveness] != failure {
			probe, spec = "startup", c.spec.StartupProbe
			if c.now.results[startup] != failure {
				continue
			}
		}
		f := failedProbe{c, c.now, fmt.Sprintf("Container %s failed %s probe", c.spec.Name, probe), ptr.Deref(spec.TerminationGracePeriodSeconds, p.grace())}
		if c.sidecar() {
			f.message = "Init c" + f.message[1:]
		} else if p.api.Spec.RestartPolicy != corev1.RestartPolicyNever {
			f.message += ", will be restarted"
		}
		r = append(r, f)
	}
	return r
}

// grace is how many seconds the containers have to end.
func (p *pod) grace() int64 {
	spec := ptr.Deref(p.api.Spec.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds)
	return max(1, ptr.Deref(p.api.DeletionGracePeriodSeconds, spec))
}

// terminate ends what runs and gives back what the pod held.
func (p *pod) terminate(ctx context.Context) {
	p.report()
	p.mu.Lock()
	grace := p.grace()
	for _, w := range p.probers {
		if w.kind != readiness {
			w.stop()
		}
	}
	p.mu.Unlock()
	p.killAll(grace)
	// The kubelet goes on with a pod that it has stopped when it has looked once
	// more (syncTerminatedPod takes a status from after that).
	select {
	case <-time.After(p.node.relist(time.Now())):
	case <-ctx.Done():
	}

	p.mu.Lock()
	for _, w := range p.probers {
		w.stop()
	}
	p.st.terminal, p.st.sandbox = true, false
	ip, own := p.st.ip, !p.api.Spec.HostNetwork
	p.mu.Unlock()
	if a, err := netip.ParseAddr(ip); err == nil && own {
		p.nodes.ips.Delete(a)
		p.node.release(a)
	}
	p.report()
}

// at gives the process that listens at a port: of the container that declares
// it, else of the first one that declares no ports at all, else of the first:
// to declare ports is a courtesy.
func (p *pod) at(port int32) process {
	p.mu.Lock()
	defer p.mu.Unlock()
	var first, open process
	for _, c := range slices.Concat(p.st.main, p.st.init) {
		if !c.running() {
			continue
		}
		for _, cp := range c.spec.Ports {
			if cp.ContainerPort == port {
				return c.now.process
			}
		}
		first = cmp.Or(first, c.now.process)
		if len(c.spec.Ports) == 0 {
			open = cmp.Or(open, c.now.process)
		}
	}
	return cmp.Or(open, first)
}

// event tells of something that happened to the pod, or to one of its containers.
func (p *pod) event(c *container, kind, reason, message string) {
	p.mu.Lock()
	api := p.api
	p.mu.Unlock()
	var about runtime.Object = api
	if c != nil {
		if ref, err := kubecontainer.GenerateContainerRef(api, c.spec); err == nil {
			about = ref
		}
	}
	p.node.recorder.Event(about, kind, reason, message)
}
