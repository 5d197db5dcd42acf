package loadgen

import (
	"math"
	"time"

	"github.com/hpabench/hpabench/record"
)

// pacer is the vegeta.Pacer of one open-loop phase. vegeta sleeps for the time
// that Pace returns, and nothing wakes it; so Pace waits itself until the hit is
// due, and returns early when the phase is over.
type pacer struct {
	*schedule
	clock record.Clock
	onset record.Instant
	over  <-chan struct{}
	timer *time.Timer
	nap   func(time.Duration) // sleeps for the last of it; nil in virtual time
}

func newPacer(s *schedule, clock record.Clock, onset record.Instant, over <-chan struct{}, nap func(time.Duration)) *pacer {
	return &pacer{schedule: s, clock: clock, onset: onset, over: over, timer: time.NewTimer(time.Hour), nap: nap}
}

// Pace returns when hit number hits is due, at once if it already was. It goes
// by the run's clock and not by elapsed, which counts from the moment that
// vegeta began, a little after the onset.
func (p *pacer) Pace(_ time.Duration, hits uint64) (_ time.Duration, stop bool) {
	if hits >= p.total {
		return 0, true
	}
	due := p.onset.Add(p.at(hits))
	wait := due.Sub(p.clock.Now())
	if p.nap != nil {
		wait -= coarse
	}
	if wait > 0 {
		p.timer.Reset(wait)
		select {
		case <-p.timer.C:
		case <-p.over:
			return 0, true
		}
	}
	for left := due.Sub(p.clock.Now()); left > 0 && p.nap != nil; left = due.Sub(p.clock.Now()) {
		p.nap(left)
	}
	return 0, isClosed(p.over)
}

// coarse is by how much timers of Go's runtime can be late on an idle machine.
const coarse = 1500 * time.Microsecond

// Rate returns the offered rate in hits a second, elapsed after the onset.
func (p *pacer) Rate(elapsed time.Duration) float64 { return p.rate(elapsed) }

// closedLoop is the vegeta.Pacer of a closed loop: each worker sends as soon as
// it has its answer and has thought, until the phase is over.
type closedLoop struct {
	over  <-chan struct{}
	think time.Duration
	free  chan struct{} // has an item for each worker that may send; nil if none thinks
}

func newClosedLoop(workers int, think time.Duration, over <-chan struct{}) closedLoop {
	c := closedLoop{over: over, think: think}
	if think > 0 {
		c.free = make(chan struct{}, workers)
		for range workers {
			c.free <- struct{}{}
		}
	}
	return c
}

// answered lets a worker think and send again.
func (c closedLoop) answered() {
	if c.free != nil {
		time.AfterFunc(c.think, func() { c.free <- struct{}{} })
	}
}

func (c closedLoop) Pace(time.Duration, uint64) (wait time.Duration, stop bool) {
	if c.free != nil {
		select {
		case <-c.free:
		case <-c.over:
		}
	}
	return 0, isClosed(c.over)
}

// Rate is without limit.
func (closedLoop) Rate(time.Duration) float64 { return math.Inf(1) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
