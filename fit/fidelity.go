package fit

import (
	"cmp"
	"math"
	"slices"

	"github.com/hpabench/hpabench/analysis"
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
func Compare(is *analysis.Result, foretold []*analysis.Result) (f Fidelity) {
	reality := curve(is)
	var curves [][]float64
	var errors []float64
	for _, r := range foretold {
		c := curve(r)
		area, between := 0.0, 0.0
		for i, n := range reality {
			area += n
			if i < len(c) {
				between += math.Abs(n - c[i])
			}
		}
		curves, errors = append(curves, c), append(errors, between/area)
	}
	slices.Sort(errors)
	f.Median, f.Best, f.Worst = quantile(errors, 0.5), errors[0], errors[len(errors)-1]
	inside, area, between := 0, 0.0, 0.0
	for i, n := range reality {
		var at []float64
		for _, c := range curves {
			if i < len(c) {
				at = append(at, c[i])
			}
		}
		if area += n; len(at) == 0 {
			between += n
			continue
		}
		slices.Sort(at)
		between += math.Abs(n - quantile(at, 0.5))
		if n >= at[0] && n <= at[len(at)-1] {
			inside++
		}
	}
	f.Curve, f.Inside = between/area, float64(inside)/float64(len(reality))
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
