package fit

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/simulate"
)

// Fidelity is how well simulated runs foretold a real one.
type Fidelity struct {
	// Curve is the area between the real run's curve of pods in service and the foretold
	// one, from the onset of the load to its end, as a share of the area under the real one.
	// The foretold one is in each second the median of the simulated runs: of all curves the
	// one that is least far from them by that area.
	Curve float64
	// Median is the same of the median simulated run for itself, Best and Worst of those.
	Median, Best, Worst float64
	// Inside is the share of the load's seconds in which the real supply is between the
	// least and the most of the simulated ones.
	Inside    float64
	Decisions []Foretold
}

// Foretold is a decision of the real run. Off is by how many seconds the nearest decision
// in the same direction of the median simulated run is early (−) or late; nil if most have
// none.
type Foretold struct {
	At       float64 // since the onset
	From, To int32
	Off      *float64
}

// Compare sets a real run against simulated ones of the same load.
func Compare(is *analysis.Result, foretold []*analysis.Result) Fidelity {
	var curves [][]float64
	for _, r := range foretold {
		curves = append(curves, curve(r))
	}
	f := compareCurves(curve(is), curves)
	for _, d := range decisions(is) {
		d := Foretold{At: d.AtSeconds - is.StartSeconds, From: d.From, To: d.To}
		var offs []float64
		for _, r := range foretold {
			off := math.Inf(1)
			for _, other := range decisions(r) {
				if by := other.AtSeconds - r.StartSeconds - d.At; (other.To > other.From) == (d.To > d.From) && math.Abs(by) < math.Abs(off) {
					off = by
				}
			}
			offs = append(offs, off)
		}
		slices.Sort(offs)
		if off := quantile(offs, 0.5); !math.IsInf(off, 0) && !math.IsNaN(off) {
			d.Off = &off
		}
		f.Decisions = append(f.Decisions, d)
	}
	return f
}

// compareCurves sets the pods in service in each second of a real run against those of simulated ones.
func compareCurves(reality []float64, curves [][]float64) (f Fidelity) {
	area := max(floats.Sum(reality), 1) // of a run without pods it is the pod-seconds foretold
	var errors []float64
	for _, c := range curves {
		between := 0.0
		for i, n := range reality {
			if i < len(c) {
				between += math.Abs(n - c[i])
			}
		}
		errors = append(errors, between/area)
	}
	slices.Sort(errors)
	f.Median, f.Best, f.Worst = quantile(errors, 0.5), errors[0], errors[len(errors)-1]
	inside, between := 0, 0.0
	for i, n := range reality {
		var at []float64
		for _, c := range curves {
			if i < len(c) {
				at = append(at, c[i])
			}
		}
		if len(at) == 0 {
			between += n
			continue
		}
		slices.Sort(at)
		between += math.Abs(n - quantile(at, 0.5))
		if n >= at[0] && n <= at[len(at)-1] {
			inside++
		}
	}
	f.Curve, f.Inside = between/area, float64(inside)/float64(max(1, len(reality)))
	return f
}

// MaxError is the Reproduction up to which a fit is taken to be that of its record: the HPA itself
// does nothing about a tenth (--horizontal-pod-autoscaler-tolerance).
const MaxError = 0.1

// Reproduction is how close simulations of a record on the plant that is fitted to it come to it.
type Reproduction struct {
	// Error is Fidelity.Curve: mean |Δ pods in service| / mean pods in service.
	Error   float64 `json:"error"`
	Runs    int     `json:"runs"`              // that were simulated
	Problem string  `json:"problem,omitempty"` // why none could be
}

// Fault says in a sentence how the fit fails to reproduce its record; "" if it does not.
func (r *Reproduction) Fault() string {
	switch {
	case r == nil: // a plant that was written by hand
		return ""
	case r.Problem != "":
		return "the record cannot be simulated on the plant fitted to it: " + r.Problem
	case r.Error > MaxError:
		return fmt.Sprintf("simulated on the plant fitted to it, the record's pods in service are %.1f %% from those recorded, and may be %.0f %%", r.Error*100, MaxError*100)
	}
	return ""
}

// Reproduce simulates the record that f is learnt from, on f, and has f say how close that comes.
// do makes a run.
func (f *Fit) Reproduce(ctx context.Context, do func(context.Context, *simulate.Run) (simulate.Score, error)) error {
	if f.own == nil {
		return nil
	}
	length := float64(len(f.supply))
	// The median of many, and of a record of many hours, of which chance evens out by itself, of one.
	n := int(min(15, max(1, 15*3600/max(1, length))))
	r := Reproduction{Runs: n}
	var curves [][]float64
	for seed := range n {
		run := *f.own
		run.Like(f.Plant)
		run.Costs, run.Seed = f.Costs, uint64(seed+1)
		score, err := do(ctx, &run)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			f.Reproduction = &Reproduction{Problem: err.Error()}
			return nil
		}
		curves = append(curves, supply(score, len(f.supply)))
	}
	r.Error = compareCurves(f.supply, curves).Curve
	f.Reproduction = &r
	return nil
}

// supply is the pods in service in the middle of each second of a simulated load.
func supply(s simulate.Score, seconds int) []float64 {
	c, pods := make([]float64, seconds), 0
	changes := s.Supply
	for i := range c {
		for ; len(changes) > 0 && changes[0].At.Seconds() <= s.Onset+float64(i)+0.5; changes = changes[1:] {
			pods = changes[0].Pods
		}
		c[i] = float64(pods)
	}
	return c
}

// curve is the pods in service in each second of the load.
func curve(r *analysis.Result) (c []float64) {
	last := 0.0
	for _, s := range r.Timeline {
		if at := float64(s.Second); at < math.Floor(r.StartSeconds) || at >= r.EndSeconds {
			continue
		}
		if s.InService != nil {
			last = float64(*s.InService)
		}
		c = append(c, last)
	}
	return c
}

// decisions are the steps of all transitions.
func decisions(r *analysis.Result) (steps []analysis.Step) {
	for _, t := range r.Transitions {
		steps = append(steps, t.Steps...)
	}
	slices.SortFunc(steps, func(a, b analysis.Step) int { return cmp.Compare(a.AtSeconds, b.AtSeconds) })
	return slices.CompactFunc(steps, func(a, b analysis.Step) bool { return a.AtSeconds == b.AtSeconds })
}
