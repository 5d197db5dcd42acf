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
}

func newPacer(s *schedule, clock record.Clock, onset record.Instant, over <-chan struct{}) *pacer {
	return &pacer{schedule: s, clock: clock, onset: onset, over: over, timer: time.NewTimer(0)}
}

// Pace returns when hit number hits is due, at once if it already was. It goes
// by the run's clock and not by elapsed, which counts from the moment that
// vegeta began, a little after the onset.
func (p *pacer) Pace(_ time.Duration, hits uint64) (wait time.Duration, stop bool) {
	if hits >= p.total {
		return 0, true
	}
	due := p.onset.Add(p.at(hits))
	p.timer.Reset(due.Sub(p.clock.Now()))
	select {
	case <-p.timer.C:
		return 0, isClosed(p.over)
	case <-p.over:
		return 0, true
	}
}

// Rate returns the offered rate in hits a second, elapsed after the onset.
func (p *pacer) Rate(elapsed time.Duration) float64 { return p.rate(elapsed) }

// closedLoop is the vegeta.Pacer of a closed loop: each worker sends as soon as
// it has its answer, until the phase is over.
type closedLoop struct{ over <-chan struct{} }

func (c closedLoop) Pace(time.Duration, uint64) (wait time.Duration, stop bool) {
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
