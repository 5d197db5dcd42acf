package fit

import (
	"context"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/simulate"
)

// curveError is the area between the curve of pods in service of a real run and the foretold one, in pods by
// second, as a share of the area under the real one. The foretold one is in each second the median of the
// simulated runs: of all curves the one that is least far from them by that area.
func curveError(reality []float64, simulated [][]float64) float64 {
	between := 0.0
	for i, n := range reality {
		at := []float64{}
		for _, c := range simulated {
			if i < len(c) {
				at = append(at, c[i])
			}
		}
		if len(at) > 0 {
			slices.Sort(at)
			n -= quantile(at, 0.5)
		}
		between += math.Abs(n)
	}
	return between / max(floats.Sum(reality), 1) // of a run without pods it is the pod-seconds foretold
}

// CurveError is that of a run against simulated ones of the same load.
func CurveError(is *analysis.Result, foretold []*analysis.Result) float64 {
	var curves [][]float64
	for _, r := range foretold {
		curves = append(curves, curve(r))
	}
	return curveError(curve(is), curves)
}

// MaxError is the Reproduction up to which a fit is taken to be that of its record: the HPA itself
// does nothing about a tenth (--horizontal-pod-autoscaler-tolerance).
const MaxError = 0.1

// Reproduction is how close simulations of a record on the plant that is fitted to it come to it.
type Reproduction struct {
	// Error is mean |Δ pods in service| / mean pods in service.
	Error   float64 `json:"error"`
	Runs    int     `json:"runs"`              // that were simulated
	Problem string  `json:"problem,omitempty"` // why none could be
	// Kept says that requests were sent on kept connections, by which a record does not tell what each pod answered.
	Kept bool `json:"keptConnections,omitempty"`
}

// Fault says in a sentence how the fit fails to reproduce its record; "" if it does not.
func (r *Reproduction) Fault() string {
	switch {
	case r == nil: // a plant that was written by hand
		return ""
	case r.Problem != "":
		return "the record cannot be simulated on the plant fitted to it: " + r.Problem
	case r.Error > MaxError:
		return fmt.Sprintf("simulated on the plant fitted to it, the pods in service differ from those recorded by %.1f %% on average, which is more than %.0f %%", r.Error*100, MaxError*100)
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
	// The median of 15, and of a record of many hours, of which chance evens out by itself, of fewer: 15 hours in all. 15 others
	// differ by 3.3 points at most for eight real runs, and 45 by 1.7.
	n := int(min(15, max(1, 15*3600/max(1, length))))
	r := Reproduction{Runs: n, Kept: slices.ContainsFunc(f.own.Phases, func(p record.Phase) bool { return p.KeepAlive })}
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
			f.Reproduction = &Reproduction{Problem: err.Error(), Kept: r.Kept}
			return nil
		}
		curves = append(curves, supply(score, len(f.supply)))
	}
	r.Error = curveError(f.supply, curves)
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
	watched := slices.ContainsFunc(r.Timeline, func(s analysis.Second) bool { return s.InService != nil }) // a Service in front of them
	for _, s := range r.Timeline {
		if at := float64(s.Second); at < math.Floor(r.StartSeconds) || at >= r.EndSeconds {
			continue
		}
		switch {
		case s.InService != nil:
			last = float64(*s.InService)
		case !watched && s.Ready != nil:
			last = float64(*s.Ready)
		}
		c = append(c, last)
	}
	return c
}
