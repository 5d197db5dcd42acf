package simulate

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hpabench/hpabench/model"
)

// Where a pod can serve all that it gets, how long requests take is what comes out of
// single requests, one by one, through a server that has as much to do: they meet each
// other by chance, and a CPU limit stops all of them when its share of a period is used.

// server is what a pod has for its requests, and what they cost.
type server struct {
	cpu, wait model.Cost
	limit     float64 // cores; 0 for none
	cores     float64 // that it can use of its node
	workers   int
}

// arrivals are how requests come to a server.
type arrivals struct {
	// every is the time between two requests to all of so many pods, of which each goes
	// to one at random.
	every time.Duration
	pods  int

	// closed are the workers of a closed loop, which send in place of those, again after a
	// pause from their answer.
	closed int
	pause  time.Duration
}

// A server is watched from several starts, at any point of the period, through so many
// requests, of which the first find it too empty.
const (
	watches  = 12
	watched  = 40
	tooEarly = 10
)

// known caches sojourns, which are the same each time, up to mostKnown of them: each has 3 KB.
var (
	known  sync.Map
	knowns atomic.Int64 // how many there are
)

const mostKnown = 30_000

// sojourns are how long requests take in the server, in seconds, from the shortest to the
// longest.
func (s server) sojourns(a arrivals) []float64 {
	type key struct {
		server
		arrivals
	}
	if is, ok := known.Load(key{s, a}); ok {
		return is.([]float64)
	}
	var is []float64
	random := rand.New(rand.NewPCG(1, 1))
	for range watches {
		is = append(is, s.follow(a, random, watched+a.closed)[tooEarly+a.closed:]...)
	}
	slices.Sort(is)
	if knowns.Add(1) > mostKnown {
		known.Clear()
		knowns.Store(1)
	}
	known.Store(key{s, a}, is)
	return is
}

// request is one that a server has.
type request struct {
	came, left float64 // when, and the CPU time that it needs yet
	turn       float64 // what it has left of its slice
	wait       float64 // how long it waits then
	waits      float64 // until when it does; 0 before
}

// single is a server that is followed request by request. Times are in seconds.
type single struct {
	server
	arrivals
	random *rand.Rand
	jobs   []request // in the order of their turns, and behind them those without a worker
	now    float64
	next   float64   // when a request comes
	due    []float64 // when the workers of a closed loop send one
	ends   float64   // the period of the limit
	left   float64   // of the CPU time in it
	took   []float64
}

// nothing is what is left of CPU time and of a wait when rounding is all there is, in seconds.
const nothing = 1e-9

// follow is how long each of n requests takes, in the order of their ends. Those that
// have a worker have their turns on the processors, for a slice each.
func (s server) follow(a arrivals, random *rand.Rand, n int) []float64 {
	q := &single{server: s, arrivals: a, random: random, now: random.Float64() * model.CFSPeriod.Seconds(), ends: model.CFSPeriod.Seconds(), left: s.limit * model.CFSPeriod.Seconds()}
	for range a.closed {
		q.due = append(q.due, q.now+random.Float64()*(a.pause+s.cpu.Mean.Duration).Seconds())
	}
	for q.comes(); len(q.took) < n; {
		working := min(len(q.jobs), s.workers)
		running, speed, at := q.upcoming(q.jobs[:working])
		work := speed * (at - q.now)
		q.now = at
		if s.limit > 0 {
			q.left -= work * float64(running)
			if q.now >= q.ends-nothing {
				q.ends += math.Floor((q.now-q.ends+nothing)/model.CFSPeriod.Seconds()+1) * model.CFSPeriod.Seconds()
				q.left = s.limit * model.CFSPeriod.Seconds()
			}
		}
		q.pass(working, running, work)
		if q.now >= q.next {
			q.jobs = append(q.jobs, request{came: q.now, left: max(nothing, s.cpu.Draw(random).Seconds()), turn: slice.Seconds(), wait: s.wait.Draw(random).Seconds()})
			if i := slices.Index(q.due, q.next); i >= 0 {
				q.due = slices.Delete(q.due, i, i+1)
			}
			q.comes()
		}
	}
	return q.took[:n]
}

// comes sets when the next request does: as many go to other pods as chance has it.
func (q *single) comes() {
	switch others := 0.0; {
	case len(q.due) > 0:
		q.next = slices.Min(q.due)
	case q.closed > 0:
		q.next = math.Inf(1)
	default:
		if q.pods > 1 {
			others = math.Floor(math.Log(1-q.random.Float64()) / math.Log(1-1/float64(q.pods)))
		}
		q.next = q.now + (1+others)*q.every.Seconds()
	}
}

// upcoming is how many of the requests with a worker are on a processor, how fast they are
// there, and when something happens next: one comes, has had its turn, ends its work or its
// wait, the limit is reached, or its period ends.
func (q *single) upcoming(working []request) (running int, speed, at float64) {
	at = q.next
	processors, first := int(math.Ceil(q.cores)), math.Inf(1)
	for _, r := range working {
		if r.waits > 0 {
			at = min(at, r.waits)
		} else if running < processors {
			running++
			first = min(first, r.left, r.turn)
		}
	}
	speed = min(1, q.cores/float64(running))
	if q.limit > 0 && running > 0 {
		at = min(at, q.ends)
		if q.left <= nothing {
			return running, 0, at
		}
		at = min(at, q.now+q.left/(speed*float64(running)))
	}
	return running, speed, min(at, q.now+first/speed)
}

// pass gives so much CPU time to those that are on a processor, and lets go whoever is done.
func (q *single) pass(working, running int, work float64) {
	kept, again := q.jobs[:0:0], []request(nil)
	for i, r := range q.jobs {
		if i == working {
			kept, again = append(kept, again...), nil
		}
		if i < working && r.waits == 0 && running > 0 {
			running--
			r.left -= work
			if r.turn -= work; r.left < nothing {
				r.waits = q.now + r.wait
			}
		}
		switch {
		case r.waits > 0 && r.waits <= q.now+nothing:
			q.took = append(q.took, q.now-r.came)
			if q.closed > 0 {
				q.due = append(q.due, q.now+q.pause.Seconds())
				q.comes()
			}
		case r.turn < nothing:
			r.turn = slice.Seconds()
			again = append(again, r)
		default:
			kept = append(kept, r)
		}
	}
	q.jobs = append(kept, again...)
}

// sojourns are how long the requests of a pod without a line take in it, in seconds, sorted.
func (w *world) sojourns(p *pod) []float64 {
	connects, most := w.connects(), w.modelled.MostCPU()
	cores := most * level(p.cores/most)
	s := serverOf(w.modelled, connects, p.costs, cores)
	highest := w.modelled.MaxRate(connects, p.costs, cores)
	if p.workers > 0 && w.traffic.phase >= 0 {
		pause := w.trip + w.Phases[w.traffic.phase].Think
		if p.workers <= few {
			return s.sojourns(arrivals{closed: max(1, int(math.Round(p.workers))), pause: seconds(pause)})
		}
		// Many are as good as any that send at the same rate, or all wait for each other.
		share := p.workers / max(w.service().Seconds()+pause, least) / highest
		if took := p.workers/highest - pause; share >= 1 {
			return []float64{took, took}
		}
		return s.sojourns(open(share, highest, 1))
	}
	if w.receiving < 0 {
		w.receiving = 0
		for _, other := range w.serving {
			if other.rate > 0 {
				w.receiving++
			}
		}
	}
	pods := w.receiving
	if w.Even {
		pods = 1
	}
	return s.sojourns(open(p.rate/p.highest, highest, pods))
}

// few workers of a closed loop can be followed one by one.
const few = 64

// levels are how many shares there are of what a pod can do, so that the same ones come again.
const levels = 32

func level(share float64) float64 { return min(max(1, math.Round(share*levels)), levels) / levels }

// open are arrivals at a share of the highest rate, but not at that.
func open(share, highest float64, pods int) arrivals {
	if math.IsInf(highest, 1) { // they cost nothing
		highest = 1
	}
	pods = min(max(pods, 1), 1000)
	rate := highest * min(level(share), 1-1./levels) * float64(pods)
	return arrivals{every: seconds(1 / rate), pods: pods}
}

// server is a pod with so many cores, in which requests cost so much of the mean.
func serverOf(p model.Pod, connects bool, costs, cores float64) server {
	s := server{cpu: *p.Model.CPU, wait: *p.Model.Wait, limit: p.Limit(), cores: cores, workers: *p.Model.Workers}
	s.cpu.Mean.Duration = seconds(p.Cost(connects) * costs)
	if s.limit > 0 && s.cores >= s.limit*(1-1e-9) {
		s.cores = math.Ceil(s.limit) // of which the limit leaves a part of the time
	}
	return s
}

// InPod is how long requests are in a pod, in seconds and sorted, where they come at a rate,
// in requests a second, to each of so many pods, and cost so much of the mean.
func (r *Run) InPod(rate float64, pods int, connects bool, costs float64) []float64 {
	p := r.Modelled()
	highest := p.MaxRate(connects, costs, p.MostCPU())
	return serverOf(p, connects, costs, p.MostCPU()).sojourns(open(rate/highest, highest, pods))
}

// quantile of values that are sorted and lie evenly between each other, as of a share of
// them.
func quantile(sorted []float64, share float64) float64 {
	at := share * float64(len(sorted)-1)
	i := min(int(at), len(sorted)-2)
	return sorted[i] + (sorted[i+1]-sorted[i])*(at-float64(i))
}

// above is the share of sorted values that are more than a limit.
func above(sorted []float64, limit float64) float64 {
	n := len(sorted)
	i, _ := slices.BinarySearch(sorted, limit)
	switch i {
	case 0:
		return 1
	case n:
		return 0
	}
	between := (limit - sorted[i-1]) / (sorted[i] - sorted[i-1])
	return 1 - (float64(i-1)+between)/float64(n-1)
}
