package runner

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// How a Calibration goes: the rate rises by the factor growth up to HighestRate, then in
// closeSteps from the last rate that met the SLO to the first that did not, closeSweeps times at most.
const (
	growth      = 1.5
	HighestRate = 500_000 // requests a second
	closeSteps  = 8
	closeSweeps = 3
	steadySteps = 4 // of each rate of Steady, leastSteady at the least: several samples of metrics-server
	leastSteady = 40 * time.Second
	// leastRising is that of rates that rise: of one that lasts for a second, the answers of the second before are 1/growth,
	// which is less than keepsUp.
	leastRising = 2 * time.Second
	// SteadyRuns are made at most, each at SteadyLess times the capacity of the one before, or times the rate of
	// answers in that run where this is less.
	SteadyRuns = 4
	SteadyLess = 0.9
)

// Calibration searches the highest rate at which a number of replicas meets an SLO.
type Calibration struct {
	Replicas int
	From     float64       // the first rate for each replica, in requests a second
	Step     time.Duration // of each rate in a close sweep, at the least; half of it before
	Fewest   float64       // requests by which a rate can be judged
}

// Sweep is a row of rates, in requests a second, each of which lasts for Step. Close says that they lie
// between those that another sweep found.
type Sweep struct {
	Name  string
	Rates []float64
	Step  time.Duration
	Close bool
}

// Bracket is what a sweep found: the highest rate that met the SLO before the first that
// missed it. Met is 0 where none met it, Missed where none missed it. Doubt says how the load generator
// was late at Missed, which may be why; empty if it was not.
type Bracket struct {
	Met, Missed float64
	Doubt       string
}

// NoCapacity is why the sweeps of a number of replicas found no capacity.
type NoCapacity string

func (n NoCapacity) Error() string { return string(n) }

// Calibrate makes sweeps until one brackets the capacity closely. The error is a NoCapacity, or that of measure.
func Calibrate(c Calibration, measure func(Sweep) (Bracket, error)) error {
	var found []Bracket
	for {
		sweep, done, err := c.next(found)
		if done || err != nil {
			return err
		}
		b, err := measure(sweep)
		if err != nil {
			return err
		}
		found = append(found, b)
	}
}

// Lasts is how long the load of a sweep takes.
func (s Sweep) Lasts() time.Duration { return s.Step * time.Duration(len(s.Rates)) }

// Most are the most sweeps, and how long their load lasts at the least and at the most, if each rate makes Fewest requests in Step.
func (c Calibration) Most() (sweeps int, least, most time.Duration) {
	rising, _, _ := c.next(nil)
	least = c.Closely(math.Inf(1))
	return 1 + closeSweeps, least, least*closeSweeps + rising.Lasts()
}

// Closely is how long the load of a close sweep lasts whose lowest rate is from.
func (c Calibration) Closely(from float64) time.Duration {
	return c.lasting(c.Step, from) * (closeSteps + 1)
}

// lasting is a time of least or more in which a rate makes Fewest requests.
func (c Calibration) lasting(least time.Duration, rate float64) time.Duration {
	return max(least, time.Duration(math.Ceil(c.Fewest/rate))*time.Second)
}

// Steady is the nth sweep, from 1 on, by which the cost of a request is measured, if a replica serves perReplica requests a second.
func (c Calibration) Steady(n int, perReplica float64) Sweep {
	highest := perReplica * float64(c.Replicas)
	return Sweep{Name: fmt.Sprintf("steady-%d", n), Rates: []float64{highest / 5, highest}, Step: c.lasting(max(steadySteps*c.Step, leastSteady), highest)}
}

// next is the sweep that follows those which found the brackets; there is none when the last one
// was close and has both ends.
func (c Calibration) next(found []Bracket) (sweep Sweep, done bool, err error) {
	rising := max(c.Step/2, leastRising)
	if len(found) == 0 {
		sweep = Sweep{Name: "rising", Step: rising}
		for rate := c.From * float64(c.Replicas); rate <= HighestRate; rate *= growth {
			sweep.Rates = append(sweep.Rates, rate)
		}
		return sweep, false, nil
	}
	low, high := found[0].Met, found[0].Missed
	switch doubt := found[0].Doubt; {
	case low == 0 && doubt != "":
		return sweep, false, NoCapacity(fmt.Sprintf("%s requests/s miss the SLO, but the load generator may be why (%s): calibrate again on an idle machine or with a longer --step, or say a lower --from", record.Plain(high, 4), doubt))
	case low == 0:
		hint := ""
		if high*rising.Seconds() < c.Fewest {
			hint = fmt.Sprintf(", or, since of fewer than %.0f requests a single late one decides, --step %s", c.Fewest, 2*c.lasting(rising, high))
		}
		return sweep, false, NoCapacity(record.Plain(high, 4) + " requests/s already miss the SLO: say a lower --from, or a longer --latency" + hint)
	case high == 0:
		return sweep, false, NoCapacity(record.Plain(low, 4) + " requests/s still meet the SLO: say a higher --from")
	}
	for _, b := range found[1:] {
		switch {
		case b.Met == 0: // held for longer, the first rate missed the SLO
			low, high = low/growth, low
		case b.Missed == 0:
			low, high = b.Met, b.Met*growth
		}
	}
	switch last := found[len(found)-1]; {
	case len(found) > 1 && last.Met > 0 && last.Missed > 0 && (last.Doubt == "" || len(found) > closeSweeps):
		return sweep, true, nil
	case len(found) > closeSweeps:
		return sweep, false, NoCapacity(fmt.Sprintf("the highest rate within the SLO varied between sweeps (about %s requests/s): calibrate again on an idle cluster or with a longer --step, unless the pods differ from each other",
			record.Plain(found[0].Met, 4)))
	}
	sweep = Sweep{Name: fmt.Sprintf("closely-%d", len(found)), Step: c.lasting(c.Step, low), Close: true}
	for i := range closeSteps + 1 {
		sweep.Rates = append(sweep.Rates, low+(high-low)*float64(i)/closeSteps)
	}
	return sweep, false, nil
}

// Scenario is a scenario with a fixed number of replicas and the rates of s as its load.
func (s Sweep) Scenario(file *scenarios.File, replicas int) (*scenarios.File, error) {
	var phases []any
	for i, rate := range s.Rates {
		phases = append(phases, map[string]any{"name": fmt.Sprintf("rate_%d", i+1), "duration": s.Step.String(), "rate": rate})
	}
	settings := []scenarios.Setting{
		{Name: "autoscaler", Values: []any{map[string]any{"min": replicas, "max": replicas}}},
		{Name: "load.phases", Values: []any{phases}},
		{Name: "expect", Values: []any{[]any{}}},
	}
	if file.Spec.Workload.Deployment != nil {
		settings = append(settings, scenarios.Setting{Name: "workload.deployment.replicas", Values: []any{replicas}})
	}
	variants, err := file.Variants(settings)
	if err != nil {
		return nil, err
	}
	made := variants[0].File
	// Of an HPA with these replicas alone the user need not know.
	made.Notes = slices.DeleteFunc(made.Notes, func(note string) bool { return !slices.Contains(file.Notes, note) })
	return made, nil
}

// ErrOverloaded ends a sweep whose rate is beyond what the workload serves.
var ErrOverloaded = errors.New("the workload does not keep up")

// A sweep is over when fewer than keepsUp of the requests are answered overloadedAfter times in a row,
// that is for about as many seconds.
const (
	keepsUp         = 0.7
	overloadedAfter = 3
)

// Overload calls over once the progress of a run shows that the workload does not keep up.
func Overload(over func()) func(Progress) {
	slow := 0
	return func(p Progress) {
		if p.Load == nil || p.Load.Offered == nil {
			return
		}
		if slow++; p.Load.Rate >= keepsUp**p.Load.Offered {
			slow = 0
		}
		if slow >= overloadedAfter {
			over()
		}
	}
}
