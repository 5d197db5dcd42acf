package loadgen

import (
	"math"
	"sort"
	"time"

	"github.com/hpabench/hpabench/record"
	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// schedule says when each hit of one open-loop phase is due. It is arithmetic
// only: no clock, no state.
//
// With H(t) the number of hits that the phase has asked for by the time t after
// its onset, hit n (from 0) is due at the first t with H(t) ≥ n. So hit 0 is due
// at the onset, and at a constant rate r hit n is due at n/r. H is as vegeta's
// pacers document it:
//
//	rate, ramp  H = bt + at²/2                    (LinearPacer; a = 0: ConstantPacer)
//	sine        H = Mt + (AP/2π)(1 − cos(2πt/P))  (SinePacer that starts MeanUp)
//	curve       the integral of its pieces
//
// vegeta's own Pace is not used, only its Rate: LinearPacer takes a start rate
// of 0 for no limit and waits by the rate of the moment; ConstantPacer and
// SinePacer send a hit at the end of its interval, not at the start; and none
// says when hit n is due, which latency counts from.
type schedule struct {
	duration time.Duration
	hits     func(t time.Duration) float64 // H
	total    uint64                        // hits that are due before duration
	rate     func(t time.Duration) float64 // its derivative, in hits a second

	guess     func(hit float64) time.Duration // about when it is due; nil if there is no short way to tell
	index, of uint64                          // of the hits, every of-th belongs to it, beginning with index
}

// newSchedule returns the schedule of p; nil if p is not an open loop.
func newSchedule(p record.Phase) *schedule {
	s := &schedule{duration: seconds(p.Seconds), of: 1}
	switch p.Shape {
	case record.ShapeRate:
		s.hits = linear(p.From, 0)
		s.rate = perSecond(p.From).Rate
		s.guess = func(hit float64) time.Duration { return time.Duration(hit / p.From * 1e9) }
	case record.ShapeRamp:
		slope := (p.To - p.From) / p.Seconds
		s.hits = linear(p.From, slope)
		s.rate = vegeta.LinearPacer{StartAt: perSecond(p.From), Slope: slope}.Rate
	case record.ShapeSine:
		s.hits = sine(p.From, p.Amplitude, p.Period)
		s.rate = vegeta.SinePacer{
			Period: seconds(p.Period),
			Mean:   perSecond(p.From),
			Amp:    perSecond(p.Amplitude),
		}.Rate
	case record.ShapeCurve:
		hits := p.CurveHits()
		s.hits = func(t time.Duration) float64 { return hits(t.Seconds()) }
		s.rate = func(t time.Duration) float64 { return p.RateAt(t.Seconds()) }
	default:
		return nil
	}
	// Without what floating-point rounding may have added, so that a hit that is
	// due at the very end is not planned.
	s.total = uint64(math.Ceil(s.hits(s.duration) * (1 - 1e-12)))
	return s
}

// share returns a part of s, which may be nil.
func (s *schedule) share(part Share) *schedule {
	if s == nil || part.Of <= 1 {
		return s
	}
	shared := *s
	shared.index, shared.of = uint64(part.Index), uint64(part.Of)
	shared.total = shared.part(s.total)
	whole := s.rate
	shared.rate = func(t time.Duration) float64 { return whole(t) / float64(part.Of) }
	return &shared
}

// part returns how many of the first n hits of the whole schedule are in s.
func (s *schedule) part(n uint64) uint64 {
	if n <= s.index {
		return 0
	}
	return (n-s.index-1)/s.of + 1
}

// at returns when hit n is due after the onset, to the nanosecond. A hit beyond
// the last is due when the phase is over.
func (s *schedule) at(n uint64) time.Duration {
	if n >= s.total {
		return s.duration
	}
	hit := float64(s.index + n*s.of)
	if s.guess != nil {
		// The search below in a few steps: what floating-point rounding leaves.
		if t := s.guess(hit); s.hits(t-near) < hit && s.hits(t+near) >= hit {
			return min(t-near+time.Duration(sort.Search(int(2*near), func(i int) bool { return s.hits(t-near+time.Duration(i)) >= hit })), s.duration-1)
		}
	}
	t := sort.Search(int(s.duration), func(t int) bool { return s.hits(time.Duration(t)) >= hit })
	return min(time.Duration(t), s.duration-1)
}

// near is how far off a guess may be.
const near = 4 * time.Nanosecond

// before returns how many hits are due before t.
func (s *schedule) before(t time.Duration) uint64 {
	if t >= s.duration {
		return s.total
	}
	n := min(s.total, s.part(uint64(math.Ceil(max(0, s.hits(t))))))
	for n > 0 && s.at(n-1) >= t {
		n--
	}
	for n < s.total && s.at(n) < t {
		n++
	}
	return n
}

func linear(start, slope float64) func(time.Duration) float64 {
	return func(t time.Duration) float64 {
		x := t.Seconds()
		return start*x + slope*x*x/2
	}
}

func sine(mean, amplitude, period float64) func(time.Duration) float64 {
	return func(t time.Duration) float64 {
		x := t.Seconds()
		return mean*x + amplitude*period/(2*math.Pi)*(1-math.Cos(2*math.Pi*x/period))
	}
}

// perSecond gives a rate to vegeta, which counts whole hits per stretch of time:
// hits in a million seconds, so that fractions are kept.
func perSecond(rate float64) vegeta.Rate {
	return vegeta.Rate{Freq: int(math.Round(rate * 1e6)), Per: 1e6 * time.Second}
}

func seconds(s float64) time.Duration {
	return time.Duration(math.Round(s * float64(time.Second)))
}
