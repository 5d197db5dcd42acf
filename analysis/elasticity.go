package analysis

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Level is a number of replicas that holds from a time on, in seconds, until the next.
type Level struct {
	At       float64 `json:"atSeconds"`
	Replicas float64 `json:"replicas"`
}

// Elasticity says how well supply followed demand, as SPEC RG Cloud defines it: Herbst,
// Kounev and Reussner, "Elasticity in Cloud Computing: What It Is, and What It Is
// Not", ICAC 2013; Herbst et al., "Ready for Rain? A View from SPEC Research on the
// Future of Cloud Metrics", 2016; and BUNGEE, SEAMS 2015. For demand d and supply s over
// T seconds:
//
//	AccuracyUnder, Over        1/T ∫ max(d−s, 0) dt and 1/T ∫ max(s−d, 0) dt, in replicas
//	NormalizedUnder, Over      the same with (d−s)/d and (s−d)/d, where d > 0
//	TimeshareUnder, Over       1/T ∫ [d>s] dt and 1/T ∫ [s>d] dt, from 0 to 1
//	Jitter                     (Σ|Δs| − Σ|Δd|)/T, in replicas a minute: positive where supply
//	                           changes more than demand does, negative where it changes less
//	ReplicaSeconds, Wasted     ∫ s dt, and of it ∫ max(s−d, 0) dt
//
// Each is better the nearer it is to zero.
type Elasticity struct {
	Seconds         float64 `json:"seconds"`
	AccuracyUnder   float64 `json:"accuracyUnder"`
	AccuracyOver    float64 `json:"accuracyOver"`
	NormalizedUnder float64 `json:"normalizedUnder"`
	NormalizedOver  float64 `json:"normalizedOver"`
	TimeshareUnder  float64 `json:"timeshareUnder"`
	TimeshareOver   float64 `json:"timeshareOver"`
	Jitter          float64 `json:"jitterPerMinute"`
	ReplicaSeconds  float64 `json:"replicaSeconds"`
	Wasted          float64 `json:"wastedReplicaSeconds"`
}

// demand is how many replicas the plan of the load needs, over all phases. It is
// missing, with the reason, where that is not known.
func (o *observed) demand() (demand []Level, missing string) {
	capacity := o.header.CapacityPerReplica
	if capacity <= 0 {
		return nil, "the scenario has no capacityPerReplica, without which the demand is not known"
	}
	for _, s := range o.spans {
		p := o.header.Phases[s.index]
		for t := 0.0; t < s.end.Sub(s.start).Seconds(); t += demandEvery {
			rate := p.PlannedRate(t)
			if rate == nil {
				return nil, fmt.Sprintf("phase %s is a closed loop, which offers what it gets answered", p.Name)
			}
			// Rounding errors are no demand.
			d := math.Ceil(max(0, *rate)/capacity - 1e-9)
			if n := len(demand); n == 0 || demand[n-1].Replicas != d {
				demand = append(demand, Level{s.start.Seconds() + t, d})
			}
		}
	}
	return demand, ""
}

// elasticity compares the ready replicas with the demand. It is missing, with the
// reason, where one of the two is not known.
func (o *observed) elasticity(demand []Level, missing string) (*Elasticity, string) {
	if missing != "" {
		return nil, missing
	}
	if len(o.spans) == 0 || len(o.counts) == 0 {
		return nil, "the pods were not observed during the phases"
	}
	first, ok := last(o.counts, o.start)
	if !ok {
		return nil, "the pods were not observed when the load began"
	}
	supply := []Level{{o.start.Seconds(), float64(first.ready)}}
	for _, c := range o.counts {
		if c.t > o.start && c.t < o.end {
			supply = append(supply, Level{c.t.Seconds(), float64(c.v.ready)})
		}
	}
	end := Level{o.end.Seconds(), supply[len(supply)-1].Replicas}
	e, err := MeasureElasticity(demand, append(supply, end))
	if err != nil {
		return nil, err.Error()
	}
	return &e, ""
}

// demandEvery is how often the plan of a phase is asked for its rate, in seconds.
const demandEvery = 0.1

// MeasureElasticity compares two step functions over the time from the later of their
// first levels to the later of their last ones; the last level of either holds until
// then. The error says why there is no such time.
func MeasureElasticity(demand, supply []Level) (Elasticity, error) {
	if len(demand) == 0 || len(supply) == 0 {
		return Elasticity{}, errors.New("elasticity needs a demand and a supply")
	}
	from := max(demand[0].At, supply[0].At)
	to := max(demand[len(demand)-1].At, supply[len(supply)-1].At)
	if to <= from {
		return Elasticity{}, fmt.Errorf("demand and supply have no time in common: from %g s to %g s", from, to)
	}
	times := []float64{from, to}
	for _, l := range slices.Concat(demand, supply) {
		if l.At > from && l.At < to {
			times = append(times, l.At)
		}
	}
	slices.Sort(times)
	e := Elasticity{Seconds: to - from}
	steps := 0.0
	for i, at := range times[:len(times)-1] {
		d, s, dt := levelAt(demand, at), levelAt(supply, at), times[i+1]-at
		under, over := max(d-s, 0)*dt, max(s-d, 0)*dt
		e.AccuracyUnder += under
		e.AccuracyOver += over
		if d > 0 {
			e.NormalizedUnder += under / d
			e.NormalizedOver += over / d
		}
		switch {
		case d > s:
			e.TimeshareUnder += dt
		case s > d:
			e.TimeshareOver += dt
		}
		e.ReplicaSeconds += s * dt
		if i > 0 {
			steps += math.Abs(s-levelAt(supply, times[i-1])) - math.Abs(d-levelAt(demand, times[i-1]))
		}
	}
	e.Wasted = e.AccuracyOver
	e.Jitter = steps / e.Seconds * 60
	for _, share := range []*float64{&e.AccuracyUnder, &e.AccuracyOver, &e.NormalizedUnder, &e.NormalizedOver, &e.TimeshareUnder, &e.TimeshareOver} {
		*share /= e.Seconds
	}
	return e, nil
}

// levelAt is the level that holds at a time, which is not before the first.
func levelAt(levels []Level, at float64) float64 {
	i, found := slices.BinarySearchFunc(levels, at, func(l Level, at float64) int {
		switch {
		case l.At < at:
			return -1
		case l.At > at:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	return levels[i].Replicas
}

// SpeedUp is by how much e is better than a baseline: the geometric mean of the ratios
// baseline/e of the normalized accuracies and the timeshares. It is nil where one of
// these is zero, for which there is no ratio.
func (e Elasticity) SpeedUp(baseline Elasticity) *float64 {
	product := 1.0
	for _, pair := range [][2]float64{{baseline.NormalizedUnder, e.NormalizedUnder}, {baseline.NormalizedOver, e.NormalizedOver},
		{baseline.TimeshareUnder, e.TimeshareUnder}, {baseline.TimeshareOver, e.TimeshareOver}} {
		if pair[0] == 0 || pair[1] == 0 {
			return nil
		}
		product *= pair[0] / pair[1]
	}
	return new(math.Pow(product, 0.25))
}
