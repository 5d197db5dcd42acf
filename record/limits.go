package record

import (
	"fmt"
	"math"
	"time"
)

// Limits on what a record may say, which somebody else may have written: what reads it
// goes through its seconds one by one.
const (
	// MaxLoad bounds what is measured, that is the sum of the phases. Reports and simulations
	// keep each second of it in memory.
	MaxLoad = 31 * 24 * time.Hour

	// MaxInstant is the latest instant of an entry: there is a week for what is before and
	// after the phases.
	MaxInstant = MaxLoad + maxAfter

	maxPhases  = 100_000
	maxPoints  = 4_000_000 // of all curves
	maxRate    = 1e7       // requests/s
	maxWorkers = 1_000_000
)

// Check says what a header cannot have.
func (h *Header) Check() error {
	if len(h.Phases) > maxPhases {
		return fmt.Errorf("it has %d phases, and may have %d", len(h.Phases), maxPhases)
	}
	points, length := 0, 0.0
	for i := range h.Phases {
		p := &h.Phases[i]
		if err := p.check(); err != nil {
			return fmt.Errorf("phases[%d]: %w", i, err)
		}
		points += len(p.Curve)
		length += p.Seconds
	}
	if points > maxPoints {
		return fmt.Errorf("its curves have %d points, and may have %d", points, maxPoints)
	}
	return figures{
		{"the sum of the phases' seconds", math.Round(length), MaxLoad.Seconds()}, {"metricsEverySeconds", h.MetricsEvery, MaxInstant.Seconds()},
		{"capacityPerReplica", h.CapacityPerReplica, 1e9}, {"sloLatencySeconds", h.SLOLatency, MaxInstant.Seconds()},
	}.check()
}

func (p *Phase) check() error {
	if err := (figures{
		{"seconds", p.Seconds, MaxLoad.Seconds()}, {"from", p.From, maxRate}, {"to", p.To, maxRate}, {"amplitude", p.Amplitude, maxRate},
		{"periodSeconds", p.Period, MaxInstant.Seconds()}, {"thinkSeconds", p.Think, MaxInstant.Seconds()}, {"workers", float64(p.Workers), maxWorkers},
	}).check(); err != nil {
		return err
	}
	for i, c := range p.Curve {
		if err := between(fmt.Sprintf("the rate of curve[%d]", i), c.Rate, maxRate); err != nil {
			return err
		}
		if !(c.At >= 0 && c.At <= MaxInstant.Seconds()) || i > 0 && c.At < p.Curve[i-1].At {
			return fmt.Errorf("the time of curve[%d] is %s s: times rise from 0 to %s", i, Plain(c.At, 0), Plain(MaxInstant.Seconds(), 0))
		}
	}
	return nil
}
