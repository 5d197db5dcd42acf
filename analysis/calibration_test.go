package analysis

import "testing"

// A rate at which the load generator was late, or of which there were few requests, tells nothing where a higher one does.
func TestCalibrationPoint(t *testing.T) {
	met := PhaseLoad{Offered: 100, Latency: Quantiles{P99: new(0.1)}, ErrorShare: new(0.0)}
	missed := PhaseLoad{Offered: 100, Latency: Quantiles{P99: new(2.0)}, ErrorShare: new(0.0)}
	few := missed
	few.Offered = 99
	late := missed
	late.Doubt, late.LateMax = "requests were sent up to 2 s late", 2
	little := missed
	little.Doubt, little.LateMax = "requests were sent up to 0.2 s late", 0.2
	once := met
	once.Errors, once.ErrorShare = 1, new(0.01)
	twice := met
	twice.Errors, twice.ErrorShare = 2, new(0.02)
	cut := met
	cut.Cut = true
	for name, c := range map[string]struct {
		phases      []PhaseLoad
		interrupted bool
		rate, below float64
		doubt       string
	}{
		"as planned":          {[]PhaseLoad{met, met, missed}, false, 20, 30, ""},
		"late, and then met":  {[]PhaseLoad{met, late, met, missed}, false, 30, 40, ""},
		"late, and missed":    {[]PhaseLoad{met, late, missed}, false, 10, 20, late.Doubt},
		"late by less":        {[]PhaseLoad{met, little, met}, false, 10, 20, ""},
		"late from there on":  {[]PhaseLoad{met, late, late}, false, 10, 20, late.Doubt},
		"overloaded":          {[]PhaseLoad{met, cut}, false, 10, 20, ""},
		"few, and then met":   {[]PhaseLoad{met, few, met, missed}, false, 30, 40, ""},
		"few, and missed":     {[]PhaseLoad{met, few, missed, met}, false, 10, 20, ""},
		"a single error":      {[]PhaseLoad{met, once, met, missed}, false, 30, 40, ""},
		"two errors":          {[]PhaseLoad{met, twice, met, missed}, false, 10, 20, ""},
		"interrupted":         {[]PhaseLoad{met, met, cut}, true, 20, 0, ""},
		"interrupted at once": {[]PhaseLoad{cut}, true, 0, 0, ""},
	} {
		r := &Result{}
		r.Load.Phases = c.phases
		got := (&Calibration{Latency: 0.25, Percentile: 99}).Point(r, 1, []float64{10, 20, 30, 40}, c.interrupted)
		if got.Rate != c.rate || got.Below != c.below || got.Doubt != c.doubt {
			t.Errorf("%s: %+v, want %v to %v", name, got, c.rate, c.below)
		}
	}
}
