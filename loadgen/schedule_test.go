package loadgen

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hpabench/hpabench/record"
	vegeta "github.com/tsenart/vegeta/v12/lib"
)

func TestSchedule(t *testing.T) {
	ms := time.Millisecond
	for _, test := range []struct {
		name  string
		phase record.Phase
		want  []time.Duration
	}{
		{"rate", record.Phase{Shape: record.ShapeRate, From: 4, Seconds: 1}, []time.Duration{0, 250 * ms, 500 * ms, 750 * ms}},
		{"rate below one", record.Phase{Shape: record.ShapeRate, From: 0.1, Seconds: 30}, []time.Duration{0, 10 * time.Second, 20 * time.Second}},
		{"rate of zero", record.Phase{Shape: record.ShapeRate, Seconds: 30}, nil},
		// H = t²: the square roots.
		{"ramp from zero", record.Phase{Shape: record.ShapeRamp, To: 4, Seconds: 2}, []time.Duration{0, time.Second, 1414213562, 1732050808}},
		// H = 4t - t²: the same, backwards, but for the hit at the start.
		{"ramp to zero", record.Phase{Shape: record.ShapeRamp, From: 4, Seconds: 2}, []time.Duration{0, 267949192, 585786438, time.Second}},
		// A full period of a sine asks for as much as its mean.
		{"sine", record.Phase{Shape: record.ShapeSine, From: 1, Amplitude: 1, Period: 1, Seconds: 3}, []time.Duration{0, time.Second, 2 * time.Second}},
		// Two a second, then a leap to four, then down to none: H = 4t − 2t² there.
		{"curve", record.Phase{Shape: record.ShapeCurve, Curve: []record.RatePoint{{At: 0, Rate: 2}, {At: 1, Rate: 2}, {At: 1, Rate: 4}, {At: 2, Rate: 0}}, Seconds: 3},
			[]time.Duration{0, 500 * ms, time.Second, 1292893219}},
	} {
		s := newSchedule(test.phase)
		var got []time.Duration
		for n := range s.total {
			got = append(got, s.at(n))
		}
		near := cmp.Comparer(func(a, b time.Duration) bool { return (a - b).Abs() <= 2 })
		if diff := cmp.Diff(test.want, got, near); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		if got := s.at(s.total); got != s.duration {
			t.Errorf("%s: the hit after the last is due at %v, want %v", test.name, got, s.duration)
		}
	}
}

var shapes = map[string]record.Phase{
	"rate":           {Shape: record.ShapeRate, From: 33.3, Seconds: 61},
	"rounded rate":   {Shape: record.ShapeRate, From: 1.1, Seconds: 90},
	"round rate":     {Shape: record.ShapeRate, From: 100, Seconds: 60},
	"ramp up":        {Shape: record.ShapeRamp, From: 5, To: 120, Seconds: 30},
	"ramp from zero": {Shape: record.ShapeRamp, From: 0, To: 77, Seconds: 30},
	"ramp to zero":   {Shape: record.ShapeRamp, From: 77, To: 0, Seconds: 40},
	"sine":           {Shape: record.ShapeSine, From: 50, Amplitude: 40, Period: 12, Seconds: 60},
	"curve":          {Shape: record.ShapeCurve, Curve: []record.RatePoint{{At: 0, Rate: 20}, {At: 10, Rate: 80}, {At: 10, Rate: 5}, {At: 30, Rate: 40}}, Seconds: 50},
	"full sine":      {Shape: record.ShapeSine, From: 50, Amplitude: 50, Period: 20, Seconds: 60},
}

// before and at are two views of one plan: they must never disagree by a hit.
func TestScheduleCounts(t *testing.T) {
	// In floating point, 1.1 × 90 is a little more than 99.
	if n := newSchedule(shapes["rounded rate"]).total; n != 99 {
		t.Errorf("%d hits at 1.1/s in 90 s, want 99", n)
	}
	for name, phase := range shapes {
		s := newSchedule(phase)
		previous := time.Duration(-1)
		for n := range s.total {
			at := s.at(n)
			if at <= previous || at >= s.duration {
				t.Fatalf("%s: hit %d is due at %v, the one before at %v", name, n, at, previous)
			}
			previous = at
			if s.before(at) != n || s.before(at+1) != n+1 {
				t.Fatalf("%s: hit %d is due at %v, but %d are due before that and %d up to then", name, n, at, s.before(at), s.before(at+1))
			}
			if h := s.hits(at); math.Abs(h-float64(n)) > 1e-4 {
				t.Fatalf("%s: H = %v when hit %d is due", name, h, n)
			}
		}
		// The rate is the slope of H: one hit in about 1/rate.
		for at := time.Second; at < s.duration; at += 1700 * time.Millisecond {
			h := time.Millisecond
			slope := (s.hits(at+h) - s.hits(at-h)) / (2 * h).Seconds()
			if rate := s.rate(at); math.Abs(rate-slope) > 1e-3*math.Max(1, rate) {
				t.Errorf("%s: rate at %v is %v, but H grows by %v/s", name, at, rate, slope)
			}
		}
	}
}

// Where vegeta's own pacers take the parameters, they plan the same hits, each
// one interval later; LinearPacer sends its first at the onset, as we do, and so
// one more.
func TestScheduleIsVegetas(t *testing.T) {
	for _, test := range []struct {
		name  string
		pacer vegeta.Pacer
		phase record.Phase
		first int           // vegeta's hit n is our hit n+1, but for the first so many
		close time.Duration // how far the instants may lie apart
	}{
		{"rate", vegeta.ConstantPacer{Freq: 100, Per: time.Second},
			record.Phase{Shape: record.ShapeRate, From: 100, Seconds: 20}, 0, time.Microsecond},
		// It waits by the rate of the moment: up to two thirds of an interval off
		// where the rate is low.
		{"ramp up", vegeta.LinearPacer{StartAt: vegeta.Rate{Freq: 10, Per: time.Second}, Slope: 2},
			record.Phase{Shape: record.ShapeRamp, From: 10, To: 50, Seconds: 20}, 1, 20 * time.Millisecond},
		{"ramp down", vegeta.LinearPacer{StartAt: vegeta.Rate{Freq: 50, Per: time.Second}, Slope: -2},
			record.Phase{Shape: record.ShapeRamp, From: 50, To: 10, Seconds: 20}, 1, 20 * time.Millisecond},
		{"sine", vegeta.SinePacer{Period: 10 * time.Second, Mean: vegeta.Rate{Freq: 50, Per: time.Second}, Amp: vegeta.Rate{Freq: 40, Per: time.Second}},
			record.Phase{Shape: record.ShapeSine, From: 50, Amplitude: 40, Period: 10, Seconds: 20}, 0, time.Millisecond},
	} {
		s := newSchedule(test.phase)
		var theirs []time.Duration
		for elapsed := time.Duration(0); ; {
			wait, _ := test.pacer.Pace(elapsed, uint64(len(theirs)))
			elapsed += max(0, wait)
			if elapsed > s.duration {
				break
			}
			theirs = append(theirs, elapsed)
		}
		if off := int(s.total) - len(theirs); off < -1 || off > 1 {
			t.Errorf("%s: %d hits, vegeta sends %d", test.name, s.total, len(theirs))
		}
		for n := test.first; n < len(theirs) && n+1 < int(s.total); n++ {
			if off := (theirs[n] - s.at(uint64(n)+1)).Abs(); off > test.close {
				t.Fatalf("%s: hit %d is due at %v, vegeta sends it at %v", test.name, n+1, s.at(uint64(n)+1), theirs[n])
			}
		}
	}
}

// The shares of a schedule are the whole, hit by hit and second by second.
func TestSharesAreTheWhole(t *testing.T) {
	for _, p := range []record.Phase{
		{Shape: record.ShapeRate, From: 333.3, Seconds: 7},
		{Shape: record.ShapeRate, From: 1, Seconds: 2},
		{Shape: record.ShapeRamp, From: 0, To: 100, Seconds: 5},
		{Shape: record.ShapeSine, From: 20, Amplitude: 20, Period: 3, Seconds: 10},
	} {
		whole := newSchedule(p)
		for _, of := range []int{1, 2, 3, 7} {
			var parts []*schedule
			for i := range of {
				parts = append(parts, newSchedule(p).share(Share{i, of}))
			}
			for n := range whole.total {
				if got := parts[n%uint64(of)].at(n / uint64(of)); got != whole.at(n) {
					t.Fatalf("%s of %d: hit %d is due at %v, not at %v", p.Shape, of, n, got, whole.at(n))
				}
			}
			for at := time.Duration(0); at <= whole.duration; at += 100 * time.Millisecond {
				sum := uint64(0)
				for _, part := range parts {
					sum += part.before(at)
				}
				if sum != whole.before(at) {
					t.Errorf("%s of %d: %d hits before %v, not %d", p.Shape, of, sum, at, whole.before(at))
				}
			}
		}
	}
}
