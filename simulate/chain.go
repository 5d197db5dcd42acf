package simulate

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/scenarios"
)

// Chain is the HTTP requests that modelled pods make for each one of the load.
type Chain struct {
	// Times is how many requests the pods in front make to the target, one after another; 1 where the load comes to the
	// target itself. They are simulated as one request that takes so many times the CPU and the wait.
	Times int
	// Calls are made one after another, once the target has done its work.
	Calls []Call
}

// Call is requests to the pods of a workload, of which there are always as many.
type Call struct {
	To       string // the workload, as Deployment stock
	Times    int
	Replicas int
	Pod      corev1.PodSpec
	Model    model.Model
	Assumed  string // of the model
}

// modelled is one of the pods, on a node with some cores.
func (c *Call) modelled(cores float64) model.Pod {
	return model.Pod{Model: &c.Model, Spec: &c.Pod, Cores: cores}
}

// noService begins the To of a Call to a Service that the scenario does not have, which fails.
const noService = "Service "

// mostCalls bounds the requests to a workload for each one of the load.
const mostCalls = 1000

// chaining finds the Chain of a scenario.
type chaining struct {
	*scenarios.File
	Chain
	ignored []string // what makes no difference
}

// chainOf is the chain that begins with a request of the load; nil where there is none. It names what of it makes no
// difference to a simulation.
func chainOf(f *scenarios.File, target, front *model.Model) (chain *Chain, ignored []string, err error) {
	c := chaining{File: f, Chain: Chain{Times: 1}}
	if front != nil && len(front.Calls) > 0 {
		others := *front
		others.Calls, c.Times = nil, 0
		for _, to := range front.Calls {
			if name, here := local(to.To); here && f.Selects(name) {
				c.Times += max(to.Times, 1)
			} else {
				others.Calls = append(others.Calls, to)
			}
		}
		if err := c.follow(&others, 1, f.InFront()); err != nil {
			return nil, nil, err
		}
		for _, to := range c.Calls {
			if to.Model.Fault != nil {
				return nil, nil, fmt.Errorf("%s, which the pods in front call, answers with errors (model.fault): what they call fails before or after the target is not simulated", to.To)
			}
		}
	}
	if err := c.follow(target, c.Times, "the target"); err != nil {
		return nil, nil, err
	}
	slices.Sort(c.ignored)
	if c.Times == 1 && len(c.Calls) == 0 {
		return nil, slices.Compact(c.ignored), nil
	}
	return &c.Chain, slices.Compact(c.ignored), nil
}

// follow adds the calls of pods that get so many requests for each one of the load, through others.
func (c *chaining) follow(m *model.Model, times int, through ...string) error {
	if m.Forwards != nil {
		return fmt.Errorf("pods that forward to %s are simulated in front of the target alone", m.Forwards.To)
	}
	for _, to := range m.Calls {
		name, here := local(to.To)
		n := times * max(to.Times, 1)
		if !here {
			c.ignored = append(c.ignored, "the pods' requests to "+to.To+", of whose pods it says nothing")
			continue
		}
		if c.Selects(name) && c.InFront() == through[0] {
			return fmt.Errorf("the target is called by others than the pods in front: %s", strings.Join(append(through, name), " → "))
		}
		if slices.Contains(through, name) || c.Selects(name) {
			return fmt.Errorf("the pods call each other in a circle: %s", strings.Join(append(through, name), " → "))
		}
		_, port, _ := strings.Cut(to.To, ":")
		of, err := c.Behind(name, port)
		if err != nil {
			return err
		}
		if of == nil && !slices.ContainsFunc(c.Objects(), func(o *unstructured.Unstructured) bool { return o.GetKind() == "Service" && o.GetName() == name }) {
			is := model.Resolve(new(corev1.Container), model.Model{CPU: new(model.Cost)})
			c.Calls = append(c.Calls, Call{To: noService + name, Times: n, Pod: corev1.PodSpec{Containers: make([]corev1.Container, 1)}, Model: is})
			continue
		}
		if of == nil {
			c.ignored = append(c.ignored, "the pods' requests to "+to.To+", of whose pods it says nothing")
			continue
		}
		if of.Replicas < 0 || of.Replicas > MaxPods {
			return fmt.Errorf("%s has %d replicas, and a simulation %d at most", of.Name, of.Replicas, MaxPods)
		}
		first := &of.Template.Spec.Containers[0]
		stated, err := model.Parse(cmp.Or(of.Template.Annotations[model.Annotation], "{}"))
		if err != nil {
			return err
		}
		is := model.Resolve(first, stated)
		switch {
		case is.Fault != nil && *is.Fault != (model.Fault{Errors: is.Fault.Errors}):
			return fmt.Errorf("%s has faults (model.fault), of which only errors are simulated in pods that others call", of.Name)
		case is.Holds != nil && *is.Holds || is.Takes != nil:
			return fmt.Errorf("%s is a queue or a worker, which answers no request of others", of.Name)
		}
		if of.Autoscaler != "" {
			c.ignored = append(c.ignored, fmt.Sprintf("%s: there are always %d replicas of %s", of.Autoscaler, of.Replicas, of.Name))
		}
		if first.LivenessProbe != nil {
			c.ignored = append(c.ignored, "the liveness probe of "+of.Name)
		}
		i := slices.IndexFunc(c.Calls, func(c Call) bool { return c.To == of.Name })
		if i < 0 {
			i, c.Calls = len(c.Calls), append(c.Calls, Call{To: of.Name, Replicas: int(of.Replicas), Pod: of.Template.Spec, Model: is, Assumed: model.Assumed(first, stated)})
		}
		if c.Calls[i].Times += n; c.Calls[i].Times > mostCalls {
			return fmt.Errorf("more than %d requests to %s for each one of the load", mostCalls, of.Name)
		}
		if err := c.follow(&is, n, append(slices.Clone(through), name)...); err != nil {
			return err
		}
	}
	return nil
}

// local is the name in a Service's address, and whether it is of the pods' own namespace.
func local(to string) (name string, here bool) {
	name, _, _ = strings.Cut(to, ":")
	name, _, other := strings.Cut(name, ".")
	return name, !other
}

// Times is how many requests the target gets for each one of the load.
func (r *Run) Times() float64 {
	if r.Chain == nil {
		return 1
	}
	return float64(r.Chain.Times)
}

// inAll is the target's pod as all requests for one of the load find it: their waits are one after another. That they
// take so many times the CPU is a factor of what a request costs.
func (r *Run) inAll() model.Pod {
	p := r.Modelled()
	if r.Times() > 1 {
		m, wait := *p.Model, *p.Model.Wait
		wait.Mean.Duration *= time.Duration(r.Chain.Times)
		m.Wait, p.Model = &wait, &m
	}
	return p
}

// Calls is how long the calls of a request take that wait for no other request.
func (r *Run) Calls() (takes time.Duration) {
	if r.Chain == nil {
		return 0
	}
	for _, c := range r.Chain.Calls {
		takes += time.Duration(c.Times) * c.modelled(r.Modelled().Cores).ServiceTime(false)
	}
	return takes
}

// chain is the calls of a world.
type chain struct {
	base     float64        // seconds that calls take which wait for no other
	pods     [][]*calledPod // of each Call
	inTurns  []model.Server // of them, those that change without a call
	random   *rand.Rand
	agenda   agenda
	onTheWay []*calling

	flowing       []flowing // of this step
	gathered      float64   // requests of a phase that are not a whole one yet
	gatheredPhase int
	last          *pod // that had them
}

// flowing is n requests that a pod without a line gets in a step.
type flowing struct {
	pod *pod
	n   float64
}

// calledPod is a pod that others call. New connections come to it while it is ready.
type calledPod struct {
	server  model.Server
	ready   bool
	results model.Thresholds
	counts  model.Counts
}

// calling is a request that a pod has worked on and that calls others. It counts as n: what is left of a phase is no whole one.
type calling struct {
	phase       int
	n           float64
	came        time.Duration
	pod         *pod
	call, made  int  // of Chain.Calls; of its Times
	gone, ended bool // the clients have given up; all calls are made, or one failed
}

// connection is a kept one to a pod, which was used up to a time.
type connection struct {
	to   *calledPod
	used time.Duration
}

func (w *world) calls() bool { return w.Chain != nil && len(w.Chain.Calls) > 0 }

// startChain starts the pods that are called.
func (w *world) startChain() {
	if !w.calls() {
		return
	}
	w.chain.base, w.chain.random = w.Calls().Seconds(), stream(w.Seed, math.MinInt)
	for i := range w.Chain.Calls {
		c := &w.Chain.Calls[i]
		of := c.modelled(w.modelled.Cores)
		pods := make([]*calledPod, c.Replicas)
		for k := range pods {
			p := &calledPod{ready: true, server: of.Server(&model.Node{Cores: of.Cores}, w.now, false, 1, 1)}
			if pods[k] = p; of.Model.InTurns() {
				w.chain.inTurns = append(w.chain.inTurns, p.server)
			}
			if probe := of.First().ReadinessProbe; probe != nil && (probe.HTTPGet != nil || probe.GRPC != nil) {
				every := model.ProbeOf(probe)
				w.probeCalled(p, every, w.now+time.Duration(w.chain.random.Int64N(int64(every.Period))))
			}
		}
		w.chain.pods = append(w.chain.pods, pods)
	}
}

// probeCalled runs the readiness probe of a pod from a time on.
func (w *world) probeCalled(p *calledPod, probe model.Probe, at time.Duration) {
	w.chain.agenda.add(at, func() {
		takes := min(p.server.Runnable(at)-at, probe.Timeout)
		w.chain.agenda.add(at+takes, func() {
			if success := takes < probe.Timeout; p.results.Add(success, probe) {
				p.ready = success
			}
		})
		w.probeCalled(p, probe, at+max(takes, probe.Period))
	})
}

// flowOn makes calls for the requests that flowed through pods up to a time: they come evenly, as the load does, each from a pod at random.
func (w *world) flowOn(to time.Duration) {
	s := &w.chain
	all := 0.0
	for _, f := range s.flowing {
		all += f.n
	}
	from := func() *pod {
		at := s.random.Float64() * all
		for _, f := range s.flowing {
			if at -= f.n; at <= 0 {
				return f.pod
			}
		}
		return s.flowing[len(s.flowing)-1].pod
	}
	if s.gathered > rounding && (all == 0 || s.gatheredPhase != w.traffic.phase) {
		w.callOthers(s.last, s.gatheredPhase, s.gathered, w.now, w.now, false)
	}
	if all == 0 || s.gatheredPhase != w.traffic.phase {
		s.gathered, s.gatheredPhase = 0, w.traffic.phase
	}
	for rest := all; rest > 0; {
		n := min(rest, 1-s.gathered)
		s.gathered += n
		if rest -= n; s.gathered < 1-rounding {
			s.last = from()
			break
		}
		p, at := from(), to-time.Duration(rest/all*float64(to-w.now))
		w.callOthers(p, w.traffic.phase, s.gathered, at-seconds(w.sojourns(p).Quantile(s.random.Float64())), at, false)
		s.gathered = 0
	}
	s.flowing = s.flowing[:0]
}

// callOthers makes calls, from a time on, for n requests that came to a pod, of whose clients some have gone.
func (w *world) callOthers(p *pod, phase int, n float64, came, at time.Duration, gone bool) {
	c := &calling{phase: phase, n: n, came: came, pod: p, gone: gone}
	p.calling += n
	w.holds(p, answers{came, came, n * w.Times()})
	w.chain.onTheWay = append(w.chain.onTheWay, c)
	if errors := w.errors(); errors > 0 && w.chain.random.Float64() < errors { // which makes no calls
		w.chain.agenda.add(at, func() { w.called(c, at, w.failure("500")) })
		return
	}
	w.chain.agenda.add(at, func() { w.call(c, at) })
}

// call makes the next call, or answers the clients.
func (w *world) call(c *calling, now time.Duration) {
	if c.ended {
		return
	}
	for c.call < len(w.Chain.Calls) && c.made == w.Chain.Calls[c.call].Times {
		c.call, c.made = c.call+1, 0
	}
	if c.call == len(w.Chain.Calls) {
		w.called(c, now, "200")
		return
	}
	c.made++
	at, m, random := c.call, &w.Chain.Calls[c.call].Model, w.chain.random
	to := c.pod.connection(at, now)
	if to == nil {
		ready := slices.DeleteFunc(slices.Clone(w.chain.pods[at]), func(p *calledPod) bool { return !p.ready })
		if len(ready) == 0 {
			w.called(c, now, badGateway)
			return
		}
		to = ready[random.IntN(len(ready))]
	}
	fails := m.Fault != nil && random.Float64() < m.Fault.Errors
	if !to.server.Request(now, seconds(work(m, random, 1, false)), m.Wait.Draw(random), func(end time.Duration) {
		w.chain.agenda.add(end, func() {
			if to.counts.InFlight--; !fails {
				to.counts.Answered++
			}
			c.pod.connections[at] = append(c.pod.connections[at], connection{to, end})
			if fails {
				w.called(c, end, badGateway)
			} else {
				w.call(c, end)
			}
		})
	}) {
		w.called(c, now, badGateway)
		return
	}
	to.counts.InFlight++
}

// badGateway is the status of an answer of which a call failed.
const badGateway = "502"

// connection takes the one that was used last of a pod's to those of a Call; nil where all are in use or too old.
func (p *pod) connection(call int, now time.Duration) *calledPod {
	for len(p.connections) <= call {
		p.connections = append(p.connections, nil)
	}
	kept := p.connections[call]
	if len(kept) == 0 || now-kept[len(kept)-1].used >= model.IdleConnection {
		p.connections[call] = kept[:0] // those before were used earlier
		return nil
	}
	p.connections[call] = kept[:len(kept)-1]
	return kept[len(kept)-1].to
}

// called ends calls: the clients get an answer of the pod.
func (w *world) called(c *calling, now time.Duration, code string) {
	if c.ended {
		return
	}
	c.ended = true
	c.pod.calling = max(0, c.pod.calling-c.n)
	c.pod.answered += c.n * w.Times()
	switch took := now - c.came; {
	case c.gone:
	case code == "200":
		w.answeredBut(0, c.phase, now.Seconds(), c.n, model.Range(took.Seconds(), took.Seconds()))
	default:
		w.unanswered(c.phase, now, c.n, took, code)
	}
}

// followCalls lets the calls go on up to a time, and takes down which clients have given up by then.
func (w *world) followCalls(to time.Duration) {
	if !w.calls() {
		return
	}
	for s := &w.chain; ; {
		at, next := s.agenda.next(), model.Server(nil)
		for _, server := range s.inTurns {
			if t := server.Next(); t < at {
				at, next = t, server
			}
		}
		if at > to {
			break
		}
		if next != nil {
			next.Advance(at)
		} else {
			s.agenda.do()
		}
	}
	w.chain.onTheWay = slices.DeleteFunc(w.chain.onTheWay, func(c *calling) bool {
		if late := c.came + w.Timeout; !c.ended && !c.gone && late <= to {
			w.failed(c.phase, late, c.n, "timeout")
			c.gone = true
		}
		return c.ended
	})
}

// cutCalls ends those of a pod whose process ends.
func (w *world) cutCalls(p *pod) {
	for _, c := range w.chain.onTheWay {
		if c.pod != p || c.ended {
			continue
		}
		if c.ended = true; !c.gone {
			w.brokenOff(c.phase, w.now, c.n, c.came)
		}
	}
	p.calling = 0
}
