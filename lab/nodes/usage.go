package nodes

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hpabench/hpabench/model"
)

// PodUsage is what the containers of a pod had used when they were last looked
// at, as a kubelet's /metrics/resource says it.
type PodUsage struct {
	Namespace, Name string
	Containers      []ContainerUsage
}

// ContainerUsage is one sample of a container.
type ContainerUsage struct {
	Name   string
	Start  time.Time     // of the container
	At     time.Time     // of the sample
	CPU    time.Duration // CPU time since the start
	Memory int64         // bytes, the working set
}

// Usage gives the last sample of each container that runs on a node. A
// container that has none yet is absent, and so is a pod without any.
func (n *Nodes) Usage(node string) (r []PodUsage) {
	on := n.byName[node]
	if on == nil {
		return nil
	}
	for _, p := range on.running() {
		u := PodUsage{Namespace: p.namespace, Name: p.name}
		p.mu.Lock()
		for _, c := range p.st.all() {
			if !c.running() {
				continue
			}
			if s, ok := c.now.usage.last(); ok {
				s.Name, s.Start = c.spec.Name, c.now.start
				u.Containers = append(u.Containers, s)
			}
		}
		p.mu.Unlock()
		if len(u.Containers) > 0 {
			r = append(r, u)
		}
	}
	return r
}

// NodeUsage gives what all containers of a node have used since its start, those
// that have ended too.
func (n *Nodes) NodeUsage(node string) (u ContainerUsage, ok bool) {
	on := n.byName[node]
	if on == nil {
		return u, false
	}
	u = ContainerUsage{Name: node, Start: n.started, At: time.Now()}
	for _, p := range on.running() {
		p.mu.Lock()
		for _, c := range p.st.all() {
			if c.running() {
				cpu, memory := c.now.process.Usage(u.At)
				u.CPU += cpu
				u.Memory += memory
			}
		}
		p.mu.Unlock()
	}
	u.CPU += time.Duration(on.endedCPU.Load())
	// A container that ended meanwhile may be in there twice: the next look must
	// not find less.
	for last := on.toldCPU.Load(); ; last = on.toldCPU.Load() {
		u.CPU = max(u.CPU, time.Duration(last))
		if on.toldCPU.CompareAndSwap(last, int64(u.CPU)) {
			return u, true
		}
	}
}

// sampler looks at a container's usage when its node's cAdvisor would.
type sampler struct {
	mu    sync.Mutex
	timer *time.Timer
	has   bool
	at    ContainerUsage
}

// run samples at once and then when cAdvisor would.
func (s *sampler) run(p process, interval time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil && !s.has {
		return // stopped
	}
	now := time.Now()
	cpu, memory := p.Usage(now)
	unchanged := s.has && cpu == s.at.CPU && memory == s.at.Memory
	s.at, s.has = ContainerUsage{At: now, CPU: cpu, Memory: memory}, true
	s.timer = time.AfterFunc(model.NextSample(interval, unchanged, rand.Float64()), func() { s.run(p, interval) })
}

func (s *sampler) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.has = false
}

func (s *sampler) last() (ContainerUsage, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at, s.has
}
