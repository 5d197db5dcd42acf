package runner

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCalibrate searches workloads whose true capacity is known, some of which serve less for
// longer or another rate each time.
func TestCalibrate(t *testing.T) {
	always := func(capacity float64) func(int) float64 { return func(int) float64 { return capacity } }
	for name, c := range map[string]struct {
		replicas int
		capacity func(sweep int) float64
		sweeps   int
		fault    string
	}{
		"one replica":           {1, always(40), 2, ""},
		"three replicas":        {3, always(120), 2, ""},
		"at the first rate":     {1, always(10), 2, ""},
		"less for longer":       {1, func(sweep int) float64 { return map[bool]float64{true: 40, false: 31}[sweep == 0] }, 3, ""},
		"more for longer":       {1, func(sweep int) float64 { return map[bool]float64{true: 40, false: 60}[sweep == 0] }, 3, ""},
		"less than the first":   {2, always(19), 1, "20 requests/s already miss the SLO: say a lower --from, or a longer --latency"},
		"few requests":          {1, always(9), 1, "10 requests/s already miss the SLO: say a lower --from, or a longer --latency, or, since of fewer than 100 requests a single late one decides, --step 20s"},
		"more than the highest": {1, always(1e6), 1, "still meet the SLO: say a higher --from"},
		"another each time":     {1, func(sweep int) float64 { return []float64{40, 10, 90, 1}[sweep] }, 4, "varied between sweeps (about 33.75 requests/s)"},
	} {
		t.Run(name, func(t *testing.T) {
			var last Bracket
			sweeps := 0
			err := Calibrate(Calibration{Replicas: c.replicas, From: 10, Step: 10 * time.Second, Fewest: 100}, func(s Sweep) (b Bracket, err error) {
				for _, rate := range s.Rates {
					if rate > c.capacity(sweeps) {
						b.Missed = rate
						break
					}
					b.Met = rate
				}
				if s.Close != (sweeps > 0) || !s.Close && s.Step != 5*time.Second || s.Close && (s.Step < 10*time.Second || s.Step.Seconds()*s.Rates[0] < 100) {
					t.Errorf("the step of %s is %s from %g requests/s on", s.Name, s.Step, s.Rates[0])
				}
				sweeps++
				last = b
				return b, nil
			})
			if sweeps != c.sweeps || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Fatalf("%d sweeps, error %v; should be %d, %q", sweeps, err, c.sweeps, c.fault)
			}
			if capacity := c.capacity(sweeps - 1); err == nil && !(last.Met <= capacity && capacity < last.Missed && last.Missed-last.Met < 0.1*capacity) {
				t.Errorf("%+v, and the capacity is %g", last, capacity)
			}
		})
	}
	for name, c := range map[string]struct {
		found []Bracket
		fault string
	}{
		"until there is no doubt":   {[]Bracket{{20, 30, "late"}, {25, 26, "late"}, {25, 26, ""}}, ""},
		"doubt to the end":          {[]Bracket{{20, 30, ""}, {25, 26, "late"}, {25, 26, "late"}, {25, 26, "late"}}, ""},
		"doubt, and then none met":  {[]Bracket{{20, 30, ""}, {25, 26, "late"}, {0, 20, ""}, {0, 13, ""}}, "varied between sweeps (about 20 requests/s)"},
		"doubt, and then all met":   {[]Bracket{{20, 30, ""}, {25, 26, "late"}, {30, 0, ""}, {45, 0, ""}}, "varied"},
		"all met, and then doubt":   {[]Bracket{{20, 30, ""}, {30, 0, ""}, {33, 34, "late"}, {33, 34, "late"}}, ""},
		"none met, and then doubt":  {[]Bracket{{20, 30, ""}, {0, 20, "late"}, {15, 16, "late"}, {0, 13, "late"}}, "varied"},
		"doubt, and then elsewhere": {[]Bracket{{20, 30, ""}, {25, 26, "late"}, {30, 0, ""}, {33, 34, ""}}, ""},
	} {
		sweeps := 0
		err := Calibrate(Calibration{Replicas: 1, From: 10}, func(Sweep) (Bracket, error) {
			sweeps++
			return c.found[sweeps-1], nil
		})
		if sweeps != len(c.found) || (err == nil) != (c.fault == "") || err != nil && (!errors.As(err, new(NoCapacity)) || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: %d sweeps, error %v; should be %d, %q", name, sweeps, err, len(c.found), c.fault)
		}
	}
	of := Calibration{Replicas: 2, From: 10, Step: 10 * time.Second}
	sweeps, least, most := of.Most()
	if sweeps != 4 || least != 90*time.Second || most != 270*time.Second+25*5*time.Second {
		t.Errorf("%d sweeps, %s to %s", sweeps, least, most)
	}
	if steady := of.Steady(1, 25); !slices.Equal(steady.Rates, []float64{10, 50}) || steady.Lasts() != 80*time.Second {
		t.Errorf("%+v, should be a fifth and the whole of 50 requests/s for 80 s", steady)
	}
	of.Step = 2 * time.Second // which makes metrics-server no faster, nor the answers come with the rate
	if sweep, _, err := of.next(nil); err != nil || sweep.Step != 2*time.Second {
		t.Errorf("each rising rate lasts for %s, %v; should for 2 s", sweep.Step, err)
	}
	if short := of.Steady(1, 25).Step; short != 40*time.Second {
		t.Errorf("each rate lasts for %s, should for 40 s", short)
	}
	of.Fewest = 100
	if steady := of.Steady(1, 0.3); steady.Step < 167*time.Second || of.Closely(3) != 9*34*time.Second {
		t.Errorf("%+v and %s, should make 100 requests at the capacity", steady, of.Closely(3))
	}
	broken := errors.New("broken")
	if err := Calibrate(Calibration{Replicas: 1, From: 1}, func(Sweep) (Bracket, error) { return Bracket{}, broken }); !errors.Is(err, broken) {
		t.Errorf("the error of a sweep comes back as %v", err)
	}
}

func TestOverload(t *testing.T) {
	over := 0
	sees := Overload(func() { over++ })
	for i, rate := range []float64{100, 69, 69, 70, 69, 69, 69} {
		sees(Progress{Load: &LoadProgress{Rate: rate, Offered: new(100.0)}})
		sees(Progress{Message: "nothing of the load"})
		if want := map[bool]int{true: 1}[i == 6]; over != want {
			t.Errorf("after %d samples it was over %d times, should be %d", i+1, over, want)
		}
	}
}
