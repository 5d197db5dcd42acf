package simulate

import (
	"cmp"
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

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

// Call is requests to the pods behind a Service, of which there are always as many.
type Call struct {
	To       string
	Times    int
	Replicas int
	Pod      corev1.PodSpec
	Model    model.Model
	Assumed  string // of the model
}

// modelled is a pod behind the Service, on a node with some cores.
func (c *Call) modelled(cores float64) model.Pod {
	return model.Pod{Model: &c.Model, Spec: &c.Pod, Cores: cores}
}

// mostCalls bounds the requests that a chain makes for each one of the load.
const mostCalls = 1000

// chainOf is the chain that begins with a request of the load; nil where there is none. It leaves out Services of whose pods
// the scenario says nothing, which it names.
func chainOf(f *scenarios.File, target, front *model.Model) (chain *Chain, unknown []string, err error) {
	chain = &Chain{Times: 1}
	var follow func(m *model.Model, times int, through []string) error
	follow = func(m *model.Model, times int, through []string) error {
		calls := slices.Clone(m.Calls)
		if m.Forwards != nil {
			calls = append(calls, model.Call{To: m.Forwards.To})
		}
		for _, to := range calls {
			name, n := serviceName(to.To), times*max(to.Times, 1)
			if slices.Contains(through, name) || f.Selects(name) {
				return fmt.Errorf("the pods call each other in a circle: %s", strings.Join(append(through, name), " → "))
			}
			template, replicas := f.Behind(name)
			if template == nil || len(template.Spec.Containers) == 0 {
				unknown = append(unknown, name)
				continue
			}
			stated, err := model.Parse(cmp.Or(template.Annotations[model.Annotation], "{}"))
			if err != nil {
				return err
			}
			first := &template.Spec.Containers[0]
			of := model.Resolve(first, stated)
			if of.Fault != nil && *of.Fault != (model.Fault{Errors: of.Fault.Errors}) {
				return fmt.Errorf("the pods behind %s have faults (model.fault), of which only errors are simulated", name)
			}
			if of.Holds != nil && *of.Holds || of.Takes != nil {
				return fmt.Errorf("%s is a queue or a worker, which answers no request of others", name)
			}
			i := slices.IndexFunc(chain.Calls, func(c Call) bool { return c.To == name })
			if i < 0 {
				i, chain.Calls = len(chain.Calls), append(chain.Calls, Call{To: name, Replicas: int(replicas), Pod: template.Spec, Model: of, Assumed: model.Assumed(first, stated)})
			}
			if chain.Calls[i].Times += n; chain.Calls[i].Times > mostCalls {
				return fmt.Errorf("more than %d requests to %s for each one of the load", mostCalls, name)
			}
			if err := follow(&of, n, append(slices.Clone(through), name)); err != nil {
				return err
			}
		}
		return nil
	}
	if front != nil && len(front.Calls) > 0 {
		others := *front
		others.Calls, chain.Times = nil, 0
		for _, to := range front.Calls {
			if f.Selects(serviceName(to.To)) {
				chain.Times += max(to.Times, 1)
			} else {
				others.Calls = append(others.Calls, to)
			}
		}
		if err := follow(&others, 1, []string{f.InFront()}); err != nil {
			return nil, nil, err
		}
	}
	if err := follow(target, chain.Times, []string{"the target"}); err != nil {
		return nil, nil, err
	}
	if chain.Times == 1 && len(chain.Calls) == 0 {
		chain = nil
	}
	return chain, unknown, nil
}

// serviceName is the name in a Service's address.
func serviceName(to string) string {
	name, _, _ := strings.Cut(to, ":")
	name, _, _ = strings.Cut(name, ".")
	return name
}

// Times is how many requests the target gets for each one of the load.
func (r *Run) Times() float64 {
	if r.Chain == nil {
		return 1
	}
	return float64(r.Chain.Times)
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
	servers  [][]model.Server // of each Call, by pod
	base     float64          // seconds that calls take which wait for no other
	batch    float64          // the number of requests that the servers take for one
	random   *rand.Rand
	agenda   agenda
	seq      int
	onTheWay []*calling
}

// calling is n requests that a pod has worked on and that call others.
type calling struct {
	phase       int
	n           float64
	came        time.Duration
	pod         *pod
	call, made  int  // of Chain.Calls; of its Times
	gone, ended bool // the clients have given up; all calls are made, or one failed
}

func (w *world) calls() bool { return w.Chain != nil && len(w.Chain.Calls) > 0 }

// startChain starts the servers of the pods that are called.
func (w *world) startChain() {
	if !w.calls() {
		return
	}
	most := 0.0
	w.chain.base = w.Calls().Seconds()
	for i := range w.Phases {
		for share := range mostGroups {
			if rate := w.Phases[i].PlannedRate(w.Phases[i].Seconds * (float64(share) + 0.5) / mostGroups); rate != nil {
				most = max(most, *rate)
			}
		}
	}
	w.chain.batch, w.chain.random = max(1, math.Floor(most/mostGroups)), stream(w.Seed, math.MinInt)
	for i := range w.Chain.Calls {
		c := &w.Chain.Calls[i]
		servers := make([]model.Server, c.Replicas)
		for k := range servers {
			p := c.modelled(w.modelled.Cores)
			servers[k] = p.Server(&model.Node{Cores: p.Cores}, w.now, false, 1, w.chain.batch)
		}
		w.chain.servers = append(w.chain.servers, servers)
	}
}

// callOthers makes calls, from a time on, for n requests that came to a pod.
func (w *world) callOthers(p *pod, phase int, n float64, came, at time.Duration) *calling {
	c := &calling{phase: phase, n: n, came: came, pod: p}
	p.calling += n
	w.chain.onTheWay = append(w.chain.onTheWay, c)
	w.chain.then(at, func() { w.call(c, at) })
	return c
}

func (s *chain) then(at time.Duration, do func()) {
	s.seq++
	heap.Push(&s.agenda, appointment{at, s.seq, do})
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
		w.called(c, now, true)
		return
	}
	c.made++
	servers, m, random := w.chain.servers[c.call], &w.Chain.Calls[c.call].Model, w.chain.random
	fails := m.Fault != nil && random.Float64() < m.Fault.Errors
	if len(servers) == 0 || !servers[random.IntN(len(servers))].Request(now, seconds(work(m, random, c.n, false)), m.Wait.Draw(random), func(end time.Duration) {
		w.chain.then(end, func() {
			if fails {
				w.called(c, end, false)
			} else {
				w.call(c, end)
			}
		})
	}) {
		w.called(c, now, false)
	}
}

// called ends calls: the clients get an answer of the pod, which is 502 where a call has failed.
func (w *world) called(c *calling, now time.Duration, succeeded bool) {
	if c.ended {
		return
	}
	c.ended = true
	c.pod.calling -= c.n
	c.pod.answered += c.n * w.Times()
	w.holds(c.pod, answers{now, now, c.n * w.Times()})
	took := (now - c.came).Seconds()
	switch {
	case c.gone:
	case succeeded:
		w.answered(c.phase, now.Seconds(), c.n, model.Range(took, took))
	default:
		w.unanswered(c.phase, now, c.n, now-c.came, "502")
	}
}

// followCalls lets the calls go on up to a time, and takes down which clients have given up by then.
func (w *world) followCalls(to time.Duration) {
	if !w.calls() {
		return
	}
	for s := &w.chain; ; {
		at := model.Never
		if len(s.agenda) > 0 {
			at = s.agenda[0].at
		}
		var next model.Server
		for _, servers := range s.servers {
			for _, server := range servers {
				if t := server.Next(); t < at {
					at, next = t, server
				}
			}
		}
		if at > to {
			break
		}
		if next != nil {
			next.Advance(at)
		} else {
			heap.Pop(&s.agenda).(appointment).do()
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
			w.brokenOff(c.phase, c.n, c.came)
		}
	}
	p.calling = 0
}
