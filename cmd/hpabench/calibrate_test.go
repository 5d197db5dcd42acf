package main

import (
	"testing"

	"github.com/hpabench/hpabench/analysis"
)

// A rate at which the load generator was late tells nothing where a higher one does.
func TestCapacity(t *testing.T) {
	met := analysis.PhaseLoad{Latency: analysis.Quantiles{P99: new(0.1)}, ErrorShare: new(0.0)}
	missed := analysis.PhaseLoad{Latency: analysis.Quantiles{P99: new(2.0)}, ErrorShare: new(0.0)}
	late := missed
	late.Doubt, late.LateMax = "requests were sent up to 2 s late", 2
	little := missed
	little.Doubt, little.LateMax = "requests were sent up to 0.2 s late", 0.2
	cut := met
	cut.Cut = true
	for name, c := range map[string]struct {
		phases      []analysis.PhaseLoad
		interrupted bool
		rate, below float64
		doubt       string
	}{
		"as planned":          {[]analysis.PhaseLoad{met, met, missed}, false, 20, 30, ""},
		"late, and then met":  {[]analysis.PhaseLoad{met, late, met, missed}, false, 30, 40, ""},
		"late, and missed":    {[]analysis.PhaseLoad{met, late, missed}, false, 10, 20, late.Doubt},
		"late by less":        {[]analysis.PhaseLoad{met, little, met}, false, 10, 20, ""},
		"late from there on":  {[]analysis.PhaseLoad{met, late, late}, false, 10, 20, late.Doubt},
		"overloaded":          {[]analysis.PhaseLoad{met, cut}, false, 10, 20, ""},
		"interrupted":         {[]analysis.PhaseLoad{met, met, cut}, true, 20, 0, ""},
		"interrupted at once": {[]analysis.PhaseLoad{cut}, true, 0, 0, ""},
	} {
		r := &analysis.Result{}
		r.Load.Phases = c.phases
		got := capacity(r, 1, []float64{10, 20, 30, 40}, 0.25, 99, c.interrupted)
		if got.Rate != c.rate || got.Below != c.below || got.Doubt != c.doubt {
			t.Errorf("%s: %+v, want %v to %v", name, got, c.rate, c.below)
		}
	}
}
