package model

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"gonum.org/v1/gonum/stat"
)

// Sojourns of HTTP requests in a pod that can serve all that it gets are those of single requests
// that are followed through a Server like the pod's. It is the queue D/G/k or, where requests go to
// one of several pods at random, Geo/G/k, FIFO or round robin, with a quota by CFS period: of the
// kinds with a closed form (M/G/1-PS, M/D/1) none has the quota, which decides the tail.

// Arrivals are how HTTP requests come to a pod.
type Arrivals struct {
	// Every is the time between two requests to all of Pods, of which each goes to one at random.
	Every time.Duration
	Pods  int
	// Load is the share of a pod's highest rate that it gets.
	Load float64

	// Workers of a closed loop send in place of those, again after a Pause from their answer.
	Workers int
	Pause   time.Duration
}

// OpenArrivals come at a share of a rate, in requests a second, to each of some pods. The share is
// rounded to levels, so that the same ones come again, and is less than 1.
func OpenArrivals(share, rate float64, pods int) Arrivals {
	if math.IsInf(rate, 1) { // the requests cost nothing
		rate = 1
	}
	pods = min(max(pods, 1), 1000)
	load := min(Level(share), 1-1./levels)
	return Arrivals{Every: seconds(1 / (rate * load * float64(pods))), Pods: pods, Load: load}
}

// levels is the number of shares of what a pod can do that are told apart: by 3 %. With 16 or 64 of them the medians of
// simulated phases are 2.4 % off at most, of exponential costs, and their p99 the same.
const levels = 32

// Level rounds a share to the nearest of the levels above 0.
func Level(share float64) float64 { return min(max(1, math.Round(share*levels)), levels) / levels }

// replications of a server begin empty at a random point of the CFS period. With 6 or 24 of them the medians of
// simulated phases are 4 % off at most, of exponential costs, and p99 2 %.
const replications = 12

// sample is the number of requests in a replication: first those that find the server too empty, then
// those that count. A queue forgets its start after about 1/(1 − load)² requests: with each one the CPU
// time that is to be served changes by −(1 − load) on average, with a variance of c², in units of the mean
// cost and of its square. Near the capacity that is Brownian motion reflected at 0, whose time scale is
// variance / drift²; c² is the sum of the squared coefficients of variation of the gaps and of the costs, and
// 1 where one of them is exponential and the other constant. No more than 100 are waited for and 300
// counted, as an autoscaler does not leave a pod so close to its capacity for longer. Requests that
// are alike and come evenly differ by the CFS period alone. The least numbers are chosen: what one worker of a closed
// loop sends is 4.9 % off with 5 to warm up and 1.7 % with 15 counted, and the same with 20 and with 60. Of exponential costs
// 50 or 200 counted in place of 100 move the median by 4 % at most and p99 by 2 %.
func (s requestServer) sample(a Arrivals) (warmUp, counted int) {
	constant := func(c Cost) bool { return c.Distribution == "" || c.Distribution == "constant" }
	if a.Workers > 0 || a.Pods <= 1 && constant(s.cpu) && constant(s.wait) {
		return 10 + a.Workers, 30
	}
	warmUp = int(min(max(10, math.Pow(1-a.Load, -2)), 100))
	return warmUp, max(100, 3*warmUp)
}

// Latencies is a distribution of times in seconds: values in ascending order, between whose
// neighbours it is even.
type Latencies struct {
	Sorted []float64
	// Line says that they are of a stretch of a line, in which each value differs: they are not
	// worth keeping.
	Line bool
	mean float64 // 0 where it is not known yet
}

// Range are latencies from one value to another.
func Range(from, to float64) *Latencies {
	return &Latencies{Sorted: []float64{min(from, to), max(from, to)}, Line: true}
}

// Mean of the values.
func (l *Latencies) Mean() float64 {
	if l.mean == 0 {
		l.mean = stat.Mean(l.Sorted, nil)
	}
	return l.mean
}

// Max is the longest.
func (l *Latencies) Max() float64 { return l.Sorted[len(l.Sorted)-1] }

// Quantile is by Hyndman and Fan's definition 7, as of R and NumPy.
func (l *Latencies) Quantile(share float64) float64 {
	at := share * float64(len(l.Sorted)-1)
	i := min(int(at), len(l.Sorted)-2)
	return l.Sorted[i] + (l.Sorted[i+1]-l.Sorted[i])*(at-float64(i))
}

// Above is the share of the times that are more than a limit.
func (l *Latencies) Above(limit float64) float64 {
	n := len(l.Sorted)
	i := sort.Search(n, func(i int) bool { return l.Sorted[i] > limit })
	switch i {
	case 0:
		return 1
	case n:
		return 0
	}
	between := (limit - l.Sorted[i-1]) / (l.Sorted[i] - l.Sorted[i-1])
	return 1 - (float64(i-1)+between)/float64(n-1)
}

// requestServer is all that decides the sojourns in a pod.
type requestServer struct {
	cpu, wait    Cost
	limit, cores float64 // that idle CPU leaves
	workers      int
	serving      string
}

// SojournCache keeps sojourns, which are the same each time: maxSojourns of them, of 3 to 29 KB each. The
// zero value is ready for use, by one goroutine at a time.
type SojournCache struct {
	kept map[sojournKey]*Latencies
}

type sojournKey struct {
	requestServer
	Arrivals
}

const maxSojourns = 10_000

// Sojourns are how long HTTP requests are in a pod that has some of its node's cores, if they cost
// factor × the mean.
func (p Pod) Sojourns(c *SojournCache, a Arrivals, connects bool, factor, cores float64) *Latencies {
	key := sojournKey{p.server(connects, factor, cores), a}
	if l := c.kept[key]; l != nil {
		return l
	}
	l := &Latencies{}
	random := rand.New(rand.NewPCG(1, 1))
	warmUp, counted := key.sample(a)
	for range replications {
		l.Sorted = append(l.Sorted, key.follow(a, random, warmUp+counted)[warmUp:]...)
	}
	slices.Sort(l.Sorted)
	if c.kept == nil || len(c.kept) >= maxSojourns {
		c.kept = map[sojournKey]*Latencies{}
	}
	c.kept[key] = l
	return l
}

func (p Pod) server(connects bool, factor, cores float64) requestServer {
	idle := p.Model.IdleCPU.AsApproximateFloat64()
	s := requestServer{cpu: *p.Model.CPU, wait: *p.Model.Wait, cores: forRequests(cores, idle), workers: *p.Model.Workers, serving: *p.Model.Serving}
	s.cpu.Mean.Duration = seconds(p.Cost(connects) * factor)
	if limit := p.Limit(); limit > 0 {
		s.limit = forRequests(max(limit, minLimit), idle)
	}
	return s
}

// Server is that of a pod alone on a node, which works on batches of HTTP requests that cost factor × the
// mean. Idle CPU is off the pod's limit; that of the node is the caller's to take off.
func (p Pod) Server(n *Node, now time.Duration, connects bool, factor, batch float64) Server {
	batches := func(requests int) int { return int(math.Ceil(float64(requests) / batch)) }
	return p.server(connects, factor, n.Cores).start(n, now, batches(*p.Model.Workers), batches(*p.Model.Queue))
}

func (s requestServer) start(n *Node, now time.Duration, workers, queue int) Server {
	m := Model{CPU: &s.cpu, Wait: &s.wait, Workers: &workers, Queue: &queue, Serving: &s.serving, ConnectionCPU: duration(0), IdleCPU: quantity("0")}
	return NewServer(n, now, &m, s.limit)
}

// follow is how long each of n HTTP requests takes, in seconds, in the order in which their ends
// come to be known.
func (s requestServer) follow(a Arrivals, random *rand.Rand, n int) (took []float64) {
	took = make([]float64, 0, n+a.Workers)
	now := time.Duration(random.Float64() * float64(CFSPeriod))
	server := s.start(&Node{Cores: s.cores}, now, s.workers, MaxWorkers)
	var due []time.Duration // when workers of a closed loop send
	for range a.Workers {
		due = append(due, now+time.Duration(random.Float64()*float64(a.Pause+s.cpu.Mean.Duration)))
	}
	// Those to other pods are as many as chance has it.
	gap := func() time.Duration {
		if a.Pods <= 1 {
			return a.Every
		}
		others := math.Floor(math.Log(1-random.Float64()) / math.Log(1-1/float64(a.Pods)))
		return time.Duration((1 + others) * float64(a.Every))
	}
	next := now + gap()
	for len(took) < n {
		if a.Workers > 0 {
			if next = Never; len(due) > 0 {
				next = slices.Min(due)
			}
		}
		if at := server.Next(); at < next {
			server.Advance(at)
			continue
		}
		came := next
		if i := slices.Index(due, came); i >= 0 {
			due = slices.Delete(due, i, i+1)
		}
		server.Request(came, s.cpu.Draw(random), s.wait.Draw(random), func(at time.Duration) {
			took = append(took, (at - came).Seconds())
			if a.Workers > 0 {
				due = append(due, at+a.Pause)
			}
		})
		next = came + gap()
	}
	return took[:n]
}
