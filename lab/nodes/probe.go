package nodes

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/probe"
	httpprobe "k8s.io/kubernetes/pkg/probe/http"

	"github.com/hpabench/hpabench/model"
)

type kind int

const (
	startup kind = iota
	readiness
	liveness
)

func (k kind) String() string { return [...]string{"Startup", "Readiness", "Liveness"}[k] }

// result of a probe, past its thresholds.
type result int

const (
	unknown result = iota
	success
	failure
)

// prober runs one probe of one container through all its restarts, as a worker
// of the kubelet's prober does (pkg/kubelet/prober/worker.go): it ticks with the
// probe's period from the time at which the node took up the pod, and a
// readiness probe also runs at once when the container has started. The random
// wait of a kubelet that has just started is left out: the modelled nodes stand
// for nodes that have run for long. It keeps no goroutine between two runs.
type prober struct {
	p    *pod
	c    *container
	kind kind
	spec *corev1.Probe

	counter          // guarded by p.mu, as c is
	of      *attempt // what the counts are of

	mu struct {
		sync.Mutex
		timer   *time.Timer
		base    time.Time // the ticks are at base + k × period
		busy    bool
		again   bool // triggered while busy
		stopped bool
	}
}

// counter holds results against their thresholds.
type counter struct {
	model.Thresholds
	hold bool // no more probes until there is a new container
}

// add counts a result, and says whether it is past its threshold.
func (c *counter) add(r result, k kind, spec *corev1.Probe) bool {
	if !c.Add(r == success, model.ProbeOf(spec)) {
		return false
	}
	if k == startup || k == liveness && r == failure {
		*c = counter{hold: true}
	}
	return true
}

// due says whether a tick of a probe is to run it.
func due(k kind, spec *corev1.Probe, c *container, now time.Time) bool {
	if !c.running() || c.started() == (k == startup) {
		return false
	}
	return model.ProbeOf(spec).Due(now.Sub(c.now.start.Truncate(time.Second)))
}

func startProbers(p *pod, c *container) (r []*prober) {
	if c.init && !c.sidecar() {
		return nil
	}
	for k, spec := range []*corev1.Probe{c.spec.StartupProbe, c.spec.ReadinessProbe, c.spec.LivenessProbe} {
		if spec == nil {
			continue
		}
		w := &prober{p: p, c: c, kind: kind(k), spec: spec}
		w.mu.base = time.Now()
		w.mu.timer = time.AfterFunc(w.period(), w.tick)
		r = append(r, w)
	}
	return r
}

func (w *prober) period() time.Duration { return model.ProbeOf(w.spec).Period }

// trigger runs the probe at once and lets its ticks begin anew.
func (w *prober) trigger() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.base = time.Now()
	if w.mu.busy {
		w.mu.again = true
	} else if !w.mu.stopped {
		w.mu.timer.Reset(0)
	}
}

func (w *prober) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.stopped = true
	w.mu.timer.Stop()
}

func (w *prober) tick() {
	w.mu.Lock()
	if w.mu.busy || w.mu.stopped {
		w.mu.Unlock()
		return
	}
	w.mu.busy = true
	begun := time.Now()
	w.mu.Unlock()

	w.probe()

	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.busy = false
	if w.mu.stopped {
		return
	}
	if w.mu.again {
		w.mu.again = false
		w.mu.timer.Reset(0)
		return
	}
	// As with a ticker, one tick that was missed is made up for.
	ticks := begun.Sub(w.mu.base)/w.period() + 1
	w.mu.timer.Reset(time.Until(w.mu.base.Add(ticks * w.period())))
}

func (w *prober) probe() {
	p := w.p
	p.mu.Lock()
	a := w.c.now
	if a != w.of {
		w.of, w.counter = a, counter{}
	}
	if w.hold || !due(w.kind, w.spec, w.c, time.Now()) {
		p.mu.Unlock()
		return
	}
	ip := p.st.ip
	p.mu.Unlock()

	r, output, err := p.nodes.probe(w, a, ip)
	switch {
	case err != nil:
		p.event(w.c, corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe errored and resulted in %s state: %s", w.kind, probe.Unknown, err))
		return
	case r == probe.Failure:
		p.event(w.c, corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe failed: %s", w.kind, output))
	case r == probe.Warning:
		p.event(w.c, corev1.EventTypeWarning, "ProbeWarning", fmt.Sprintf("%s probe warning: %s", w.kind, output))
	}
	is := success
	if r == probe.Failure {
		is = failure
	}

	p.mu.Lock()
	changed := a == w.c.now && w.add(is, w.kind, w.spec) && a.results[w.kind] != is
	if changed {
		a.results[w.kind] = is
	}
	p.mu.Unlock()
	switch {
	case !changed:
	case w.kind == readiness:
		p.report() // nothing is to be done but to say so
	default:
		p.poke()
	}
}

// probe runs a probe once. HTTP probes are HTTP requests on a connection that
// is handed to the pod. A gRPC probe only looks whether something listens, and
// a command succeeds as long as the container runs: nothing is there to run it.
func (n *Nodes) probe(w *prober, a *attempt, ip string) (probe.Result, string, error) {
	if w.kind == readiness && time.Since(a.start) < a.fault {
		return probe.Failure, "HTTP probe failed with statuscode: 503", nil
	}
	timeout := model.ProbeOf(w.spec).Timeout
	switch {
	case w.spec.HTTPGet != nil:
		request, err := httpprobe.NewRequestForHTTPGetAction(w.spec.HTTPGet, w.c.spec, ip, "probe")
		if err != nil {
			return probe.Unknown, "", err
		}
		if request.URL.Scheme == "https" {
			port, _ := strconv.Atoi(request.URL.Port()) // the kubelet always writes it out
			return n.listens(request.URL.Hostname(), port)
		}
		return httpprobe.DoHTTPProbe(request, &http.Client{Timeout: timeout, Transport: n.transport, CheckRedirect: httpprobe.RedirectChecker(false)})
	case w.spec.TCPSocket != nil:
		port, err := probe.ResolveContainerPort(w.spec.TCPSocket.Port, w.c.spec)
		if err != nil {
			return probe.Unknown, "", err
		}
		host := w.spec.TCPSocket.Host
		if host == "" {
			host = ip
		}
		return n.listens(host, port)
	case w.spec.GRPC != nil:
		return n.listens(ip, int(w.spec.GRPC.Port))
	}
	return probe.Success, "", nil
}

func (n *Nodes) listens(host string, port int) (probe.Result, string, error) {
	address := net.JoinHostPort(host, fmt.Sprint(port))
	if to, err := netip.ParseAddrPort(address); err == nil {
		if _, err := n.listener(to); err == nil {
			return probe.Success, "", nil
		}
	}
	return probe.Failure, refused(address).Error(), nil
}

// dial opens a connection to a pod for a request of the kubelet's own.
func (n *Nodes) dial(_ context.Context, _, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, refused(address)
	}
	return n.connect(to)
}

// call opens a connection of a pod to one behind a Service.
func (n *Nodes) call(namespace, service string) (net.Conn, error) {
	if n.o.Route == nil {
		return nil, refused(service)
	}
	to, err := n.o.Route(namespace, service)
	if err != nil {
		return nil, err
	}
	return n.connect(to)
}

func (n *Nodes) connect(to netip.AddrPort) (net.Conn, error) {
	near, far := net.Pipe()
	if err := n.Handoff(to, far); err != nil {
		near.Close()
		far.Close()
		return nil, refused(to.String())
	}
	return near, nil
}

// refused is what connecting to a port says at which nothing listens.
func refused(address string) error {
	var to net.Addr
	if a, err := netip.ParseAddrPort(address); err == nil {
		to = net.TCPAddrFromAddrPort(a)
	}
	return &net.OpError{Op: "dial", Net: "tcp", Addr: to, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}
