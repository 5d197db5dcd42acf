package simulate

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
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

	// workers of a closed loop come in place of those, again after a pause from their answer.
	workers int
	pause   time.Duration
}

// period of CPU limits, in which a container has limit × period of CPU time (CFS
// bandwidth control, https://docs.kernel.org/scheduler/sched-bwc.html).
const period = 100 * time.Millisecond

// A server is watched from several starts, at any point of the period, through so many
// requests, of which the first find it too empty.
const (
	watches  = 12
	watched  = 40
	tooEarly = 10
)

// known are the sojourns that were worked out: they are the same each time.
var known sync.Map

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
		is = append(is, s.serve(a, random, watched)[tooEarly:]...)
	}
	slices.Sort(is)
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

// serve is how long each of n requests takes, in the order of their ends. Those that
// have a worker have their turns on the processors, for a slice each.
func (s server) serve(a arrivals, random *rand.Rand, n int) (took []float64) {
	var jobs []request // in the order of their turns, and those without a worker behind them
	now, next := random.Float64()*period.Seconds(), math.Inf(1)
	quota := s.limit * period.Seconds()
	ends := period.Seconds() // of the period
	left := quota            // in it
	var due []float64        // of a closed loop
	gap := func() float64 {  // as many requests go to other pods as chance has it
		n := 1.0
		if a.pods > 1 {
			n += math.Floor(math.Log(1-random.Float64()) / math.Log(1-1/float64(a.pods)))
		}
		return n * a.every.Seconds()
	}
	if a.workers == 0 {
		next = now + gap()
	}
	for range a.workers {
		due = append(due, now+random.Float64()*(a.pause.Seconds()+s.cpu.Mean.Seconds()))
	}
	for len(took) < n {
		if len(due) > 0 {
			next = slices.Min(due)
		}
		// What happens next: one comes, ends its work or its wait, the limit is reached,
		// or a period begins.
		working := jobs[:min(len(jobs), s.workers)]
		running, processors := 0, int(math.Ceil(s.cores))
		at := next
		for _, r := range working {
			if r.waits > 0 {
				at = min(at, r.waits)
			} else if running < processors {
				running++
			}
		}
		speed := min(1, s.cores/float64(running))
		if s.limit > 0 && left <= 0 {
			speed = 0
		}
		if s.limit > 0 && running > 0 {
			at = min(at, ends)
			if speed > 0 {
				at = min(at, now+left/(speed*float64(running)))
			}
		}
		onProcessor := 0
		for _, r := range working {
			if r.waits == 0 && onProcessor < running && speed > 0 {
				at = min(at, now+min(r.left, r.turn)/speed)
				onProcessor++
			}
		}
		work := speed * (at - now)
		left -= work * float64(running)
		now = at
		const nothing = 1e-12
		if s.limit > 0 {
			if left < nothing {
				left = 0
			}
			if now >= ends-nothing {
				ends += math.Floor((now-ends+nothing)/period.Seconds()+1) * period.Seconds()
				left = quota
			}
		}
		var kept, again []request
		onProcessor = 0
		for i, r := range jobs {
			if i == len(working) {
				kept = append(kept, again...)
				again = nil
			}
			if i < len(working) && r.waits == 0 && onProcessor < running {
				onProcessor++
				r.left -= work
				if r.turn -= work; r.left < nothing {
					r.waits = now + r.wait
				}
			}
			switch {
			case r.waits > 0 && r.waits <= now+nothing:
				took = append(took, now-r.came)
				if a.workers > 0 {
					due = append(due, now+a.pause.Seconds())
				}
			case r.turn < nothing:
				r.turn = slice.Seconds()
				again = append(again, r)
			default:
				kept = append(kept, r)
			}
		}
		jobs = append(kept, again...)
		if now >= next {
			jobs = append(jobs, request{came: now, left: max(nothing, s.cpu.Draw(random).Seconds()), turn: slice.Seconds(), wait: s.wait.Draw(random).Seconds()})
			if i := slices.Index(due, next); i >= 0 {
				due = slices.Delete(due, i, i+1)
				next = math.Inf(1)
			} else {
				next = now + gap()
			}
		}
	}
	return took[:n]
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
	switch {
	case i == 0:
		return 1
	case i == n:
		return 0
	}
	between := (limit - sorted[i-1]) / (sorted[i] - sorted[i-1])
	return 1 - (float64(i-1)+between)/float64(n-1)
}
