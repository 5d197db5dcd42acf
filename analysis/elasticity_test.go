package analysis

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hpabench/hpabench/record"
)

var nearly = cmpopts.EquateApprox(0, 1e-9)

// Worked out by hand: demand 2, 4 from 60 s, 1 from 120 s; supply 2, 4 from 90 s, 3 from
// 150 s, 1 from 210 s; to 240 s. Under: 2 for 30 s. Over: 3 for 30 s and 2 for 60 s.
func TestElasticityByHand(t *testing.T) {
	demand := []Level{{0, 2}, {60, 4}, {120, 1}, {240, 1}}
	supply := []Level{{0, 2}, {90, 4}, {150, 3}, {210, 1}}
	got, err := MeasureElasticity(demand, supply)
	if err != nil {
		t.Fatal(err)
	}
	want := Elasticity{Seconds: 240, AccuracyUnder: 60. / 240, AccuracyOver: 210. / 240, NormalizedUnder: 0.5 * 30 / 240, NormalizedOver: 210. / 240,
		TimeshareUnder: 30. / 240, TimeshareOver: 90. / 240, Jitter: (5. - 5) / 4, ReplicaSeconds: 180 + 240 + 180 + 30, Wasted: 210}
	if d := cmp.Diff(want, got, nearly); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	// A supply that stays at 4 never lacks anything: a speed-up over it is undefined.
	fixed, err := MeasureElasticity(demand, []Level{{0, 4}})
	if err != nil || fixed.TimeshareUnder != 0 || got.SpeedUp(fixed) != nil {
		t.Errorf("%+v, %v", fixed, err)
	}
	// One that lags twice as long is half as good in each of the shares under, and so on.
	slow, err := MeasureElasticity(demand, []Level{{0, 2}, {119, 4}, {180, 3}, {239, 1}})
	if err != nil {
		t.Fatal(err)
	}
	ratio := (0.5 * 59) / (0.5 * 30) * (180. + 118) / 210 * 59 / 30 * 119 / 90
	if s := got.SpeedUp(slow); s == nil || math.Abs(*s-math.Pow(ratio, 0.25)) > 1e-9 {
		t.Errorf("speed-up %v, want %v", s, math.Pow(ratio, 0.25))
	}
	if _, err := MeasureElasticity(demand, []Level{{500, 1}}); err == nil {
		t.Error("no error for series without a time in common")
	}
}

// The same by adding up milliseconds.
func TestElasticityByMilliseconds(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		series := func() (levels []Level) {
			at := float64(random.IntN(2000)) / 1000
			for range 1 + random.IntN(8) {
				levels = append(levels, Level{at, float64(random.IntN(5))})
				at += float64(1+random.IntN(3000)) / 1000
			}
			return levels
		}
		demand, supply := series(), series()
		got, err := MeasureElasticity(demand, supply)
		if err != nil {
			continue
		}
		want := Elasticity{}
		hold := func(levels []Level, ms int) (v float64) {
			for _, l := range levels {
				if l.At*1000 <= float64(ms)+0.5 {
					v = l.Replicas
				}
			}
			return v
		}
		from := int(math.Round(1000 * max(demand[0].At, supply[0].At)))
		to := int(math.Round(1000 * max(demand[len(demand)-1].At, supply[len(supply)-1].At)))
		T := float64(to - from)
		for ms := from; ms < to; ms++ {
			d, s := hold(demand, ms), hold(supply, ms)
			if ms > from {
				want.Jitter += (math.Abs(s-hold(supply, ms-1)) - math.Abs(d-hold(demand, ms-1))) / T * 60000
			}
			want.ReplicaSeconds += s / 1000
			if d > s {
				want.AccuracyUnder += (d - s) / T
				want.NormalizedUnder += (d - s) / d / T
				want.TimeshareUnder += 1 / T
			}
			if s > d {
				want.AccuracyOver += (s - d) / T
				want.Wasted += (s - d) / 1000
				want.TimeshareOver += 1 / T
				if d > 0 {
					want.NormalizedOver += (s - d) / d / T
				}
			}
		}
		want.Seconds = T / 1000
		if d := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-6)); d != "" {
			t.Errorf("demand %v, supply %v (-want +got):\n%s", demand, supply, d)
		}
	}
}

// Demand comes from the plan, supply from the ready pods.
func TestElasticityOfARun(t *testing.T) {
	for name, c := range map[string]struct {
		capacity float64
		shape    string
		missing  string
	}{"open": {10, "rate", ""}, "closed": {10, "workers", "phase high is a closed loop, which offers what it gets answered"}, "not stated": {0, "rate", "the scenario has no capacityPerReplica, without which the demand is not known"}} {
		m := newMade(record.Phase{Name: "low", Shape: "rate", From: 20, Seconds: 100}, record.Phase{Name: "high", Shape: c.shape, From: 35, Seconds: 100})
		m.entries[0].Header.CapacityPerReplica = c.capacity
		m.pod(life{name: "a", before: true, created: 1})
		m.pod(life{name: "b", before: true, created: 1})
		m.phase(0, "low", 10, 110)
		m.phase(1, "high", 110, 210)
		m.end(211)
		r := m.analyze(t)
		if r.ElasticityMissing != c.missing {
			t.Errorf("%s: %q", name, r.ElasticityMissing)
		}
		if c.missing != "" {
			continue
		}
		want := &Elasticity{Seconds: 200, AccuracyUnder: 1, NormalizedUnder: 0.25, TimeshareUnder: 0.5, Jitter: -0.6, ReplicaSeconds: 400}
		if d := cmp.Diff(want, r.Elasticity, nearly); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
