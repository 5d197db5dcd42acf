package tune

import (
	"context"
	"fmt"
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/simulate"
)

// Capacity is a target by which the HPA adds a pod before the others serve more than they can.
type Capacity struct {
	CPU    float64 `json:"cpuPerReplica"` // cores that a pod uses at its highest rate within the SLO
	Steady float64 `json:"steadyTarget"`  // the highest for a steady load, in the unit of the HPA's metric: percent, or cores
	// Target and Min meet the SLO in simulations of the scenario's load; nil where none do.
	Target *float64 `json:"target,omitempty"`
	Min    *float64 `json:"min,omitempty"`
	Reason string   `json:"reason"`
	// Notes are sentences on the two with more load, Assumed on what nobody measured of what was simulated.
	Notes    []string `json:"notes,omitempty"`
	Assumed  []string `json:"assumed,omitempty"`
	Manifest []byte   `json:"-"` // the HPA with them, in YAML; nil where there are none
}

// AtCapacity is the target of the HPA of r, whose first metric is CPU, if a pod serves rate requests
// a second within the SLO. At that rate the pod uses
//
//	idle CPU + rate × CPU of a request
//
// cores, and the HPA adds a pod when the metric is above target × (1 + tolerance)
// (https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details),
// so the target is the metric at that rate over 1 + tolerance, rounded down. A CPU limit holds the
// metric too: the target is within record.AtLimit of it. assumed is why the idle CPU is that of the model and was not
// measured; empty if it was.
func AtCapacity(r *simulate.Run, rate float64, assumed string) (c Capacity, err error) {
	t := target(r)
	m := r.HPA.Metrics[0]
	name, container := record.ResourceOf(m)
	if t != targetOf(&r.HPA.Metrics[0]) || name != corev1.ResourceCPU {
		return c, fmt.Errorf("the HPA's first metric is not CPU: what a pod serves tells a target of CPU only")
	}
	pod := r.Modelled()
	if container != "" && container != pod.First().Name {
		return c, fmt.Errorf("the HPA's first metric is of container %s, and the requests are served by %s", container, pod.First().Name)
	}
	cost := pod.Cost(!r.Phases[0].KeepAlive)
	c.CPU = pod.AtRest() + rate*cost
	text := fmt.Sprintf("at %s requests/s a replica uses %.0fm of CPU (%.2f ms a request)", record.Plain(rate, 4), c.CPU*1000, cost*1000)
	if assumed != "" {
		text += fmt.Sprintf(", its idle CPU of %s is assumed (%s)", pod.Model.IdleCPU, assumed)
	}
	used := c.CPU
	if limit := pod.Limit(); limit > 0 && used > record.AtLimit*limit {
		used = record.AtLimit * limit
		text += fmt.Sprintf(", and its limit of %.0fm lets the metric rise to %.0fm for sure", limit*1000, used*1000)
	}
	tolerance := r.Plant.Control.Tolerance
	if b := r.HPA.Behavior; b != nil && b.ScaleUp != nil && b.ScaleUp.Tolerance != nil {
		tolerance = b.ScaleUp.Tolerance.AsApproximateFloat64()
	}
	switch {
	case t.AverageUtilization != nil:
		requested, _ := record.Request(name, container, record.ContainersOf(*pod.Spec), pod.Spec.Resources)
		request := requested.AsApproximateFloat64()
		c.Steady = math.Floor(used / request * 100 / (1 + tolerance))
		c.Reason = fmt.Sprintf("%s, %.0f %% of its request of %.0fm; with a target of %.0f %% the HPA adds one above %.0f %%, by its tolerance of %s", text, used/request*100, request*1000, c.Steady, c.Steady*(1+tolerance), record.Plain(tolerance, 2))
	default:
		c.Steady = math.Floor(used*1000/(1+tolerance)) / 1000
		c.Reason = fmt.Sprintf("%s; with a target of %.0fm the HPA adds one above %.0fm, by its tolerance of %s", text, c.Steady*1000, c.Steady*1000*(1+tolerance), record.Plain(tolerance, 2))
	}
	if c.Steady < knobs["target"].least || math.IsInf(c.Steady, 0) {
		return c, fmt.Errorf("%s: too little for a target", text)
	}
	c.Reason += ". It is the highest target for a steady load: while new pods start, the others get more"
	return c, nil
}

// Check tries the steady target by simulations of the load of s; if it misses the SLO, lower targets, and then higher
// mins too.
func (c *Capacity) Check(ctx context.Context, s Search) error {
	steady, err := apply(s.Runs[0], []Range{{Name: "target"}}, Setting{c.Steady})
	if err != nil {
		return err
	}
	steady.Replicas, steady.SLO = s.Runs[0].Replicas, s.SLO.Latency
	s.Runs = []*simulate.Run{steady}
	low, least := max(knobs["target"].least, c.Steady/10), knobs["min"].get(steady)
	if target(steady).AverageUtilization != nil {
		low = max(1, math.Floor(low))
	}
	var r *Result
	for _, most := range []float64{least, knobs["max"].get(steady)} {
		s.Ranges = []Range{{"target", low, c.Steady, stepOf("target", steady)}, {"min", least, most, stepOf("min", steady)}}
		if r, err = Tune(ctx, s); err != nil {
			return err
		}
		if r.Verdict != NoneMeets {
			break
		}
	}
	best := r.Present.Setting
	simulations := fmt.Sprintf(". In %d simulations of the scenario's load ", s.Phases)
	switch missed := percent(r.Present.WorstMissed); {
	case r.Verdict == NoDifference:
		c.Reason += fmt.Sprintf("%sno target makes a difference, so whether it leaves enough room is not known: hpabench tune tells it of a load that makes the HPA scale", simulations)
	case s.meets(r.Present):
		c.Reason += fmt.Sprintf("%sit meets %s: %s of the requests miss it in the worst", simulations, s.SLO, missed)
	case r.Verdict == Recommended:
		best = r.Front[r.Best].Setting
		c.Reason += fmt.Sprintf("%sit does not meet %s: %s of the requests miss it in the worst. To take is %s, %s", simulations, s.SLO, missed, Show(s.Ranges, best), r.Reason)
	default:
		c.Reason += fmt.Sprintf("%sit does not meet %s: %s of the requests miss it in the worst. There is none to take: %s", simulations, s.SLO, missed, strings.Join(append([]string{r.Reason + "."}, r.Notes...), " "))
		c.Reason = strings.TrimSuffix(c.Reason, ".")
		return nil
	}
	c.Target, c.Min = &best[0], &best[1]
	if c.Notes, err = s.robustness(ctx, best); err != nil {
		return err
	}
	c.Manifest, err = s.Manifest(best)
	return err
}
