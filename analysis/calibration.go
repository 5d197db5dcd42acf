package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hpabench/hpabench/record"
)

// CalibrationVersion names the version of the Calibration's JSON.
const CalibrationVersion = "hpabench.dev/calibration/v1"

// Calibration is how many requests a second a workload serves within its SLO, by the
// number of its replicas.
type Calibration struct {
	Version    string  `json:"version"`
	Scenario   string  `json:"scenario"`
	Workload   string  `json:"workload"` // a hash of what was calibrated: the workload and its request
	Latency    float64 `json:"sloLatencySeconds"`
	Percentile int     `json:"percentile"` // of the answers that must meet it
	Cluster    string  `json:"cluster"`
	// Assumed are sentences on what nobody measured of the pods, where they are modelled.
	Assumed []string `json:"assumed,omitempty"`
	// Points are in order of their replicas.
	Points []CalibrationPoint `json:"points"`
	// CapacityPerReplica is the least of rate/replicas, in requests a second, or lower; Lowered says why.
	// 0 is not known.
	CapacityPerReplica float64 `json:"capacityPerReplica,omitempty"`
	Lowered            string  `json:"lowered,omitempty"`
}

// CalibrationPoint is for one number of replicas the highest rate that met the SLO and
// the lowest above it that did not, in requests a second: the capacity is between them.
// Efficiency is Rate over replicas times the rate of a single one: 1 is linear.
type CalibrationPoint struct {
	Replicas   int      `json:"replicas"`
	Rate       float64  `json:"rate"` // 0 where no rate met it
	Below      float64  `json:"below"`
	Seconds    float64  `json:"latencySeconds"` // at Rate, of that percentile
	Efficiency *float64 `json:"efficiency,omitempty"`
	// Doubt says that at Below the load was not as planned either: the load generator may
	// be what could not keep up.
	Doubt string `json:"doubt,omitempty"`
	// Rough says why the rates between the two were not looked at closely; Below may be 0 then,
	// for not known.
	Rough string `json:"rough,omitempty"`
}

// Fewest is how many requests a rate needs so that a single late one is no more than the SLO allows: 100 if 99 % must be in time.
func (c *Calibration) Fewest() float64 { return 100 / float64(100-c.Percentile) }

// Point is what a sweep with a number of replicas says of the rates of its phases: Rate is the highest that met the SLO
// before the first that did not, 0 if none did, Below is 0 if all did. Where the load generator was late, or the requests
// were fewer than Fewest, that alone may be why a rate missed it: it does not count if a higher one met it. Where the sweep
// was interrupted, its last phase does not count.
func (c *Calibration) Point(r *Result, replicas int, rates []float64, interrupted bool) CalibrationPoint {
	point := CalibrationPoint{Replicas: replicas}
	for i, p := range r.Load.Phases {
		meets, at, doubt := c.met(r, p)
		switch {
		case meets:
			point = CalibrationPoint{Replicas: replicas, Rate: rates[i], Seconds: *at}
			continue
		case p.Cut && interrupted:
			return point
		case point.Below == 0:
			point.Below, point.Doubt = rates[i], doubt
		}
		if doubt == "" && (p.Cut || float64(p.Offered) >= c.Fewest()) {
			return point
		}
	}
	return point
}

// met says whether a phase of r met the SLO, and at which latency; doubt says how the load generator may be why it did not.
func (c *Calibration) met(r *Result, p PhaseLoad) (meets bool, at *float64, doubt string) {
	meets, at = p.MeetsSLO(c.Latency, c.Percentile)
	if at != nil && *at-p.LateMax > c.Latency && p.Unsent == 0 && (r.Cluster == nil || r.Cluster.Lab == nil) {
		return meets, at, "" // it missed the SLO by more than the load generator was late, and its pods are not on the same machine
	}
	return meets, at, p.Doubt
}

// Refuted says why the capacity is lower, by the last phase of a run with a number of replicas and one of the rates in each
// phase, the last of which is the capacity; empty where that met the SLO. Doubt says how the load generator may be why it did
// not. A phase that was cut is one in which the workload did not keep up.
func (c *Calibration) Refuted(r *Result, replicas int, rates []float64) (missed, doubt string) {
	last := len(r.Load.Phases) - 1
	p := r.Load.Phases[last]
	meets, at, doubt := c.met(r, p)
	if meets {
		return "", ""
	}
	missed = fmt.Sprintf("a longer run at %s requests/s a replica missed the SLO", record.Plain(rates[last]/float64(replicas), 4))
	if at != nil {
		missed += fmt.Sprintf(" (p%d %s s)", c.Percentile, record.Plain(*at, 3))
	}
	return missed, doubt
}

// Complete works out what follows from the points: no capacity where one of them is rough.
func (c *Calibration) Complete() {
	rough := slices.ContainsFunc(c.Points, func(p CalibrationPoint) bool { return p.Rough != "" })
	for i := range c.Points {
		p := &c.Points[i]
		if each := p.Rate / float64(p.Replicas); !rough && (i == 0 || each < c.CapacityPerReplica) {
			c.CapacityPerReplica = each
		}
		if c.Points[0].Replicas == 1 && c.Points[0].Rate > 0 {
			p.Efficiency = new(p.Rate / float64(p.Replicas) / c.Points[0].Rate)
		}
	}
}

// Where says in a sentence, without its full stop, where the capacity lies.
func (c *Calibration) Where() string {
	if c.Lowered != "" {
		return c.Lowered
	}
	if c.CapacityPerReplica > 0 {
		return "The capacity is between the two rates"
	}
	var known []string
	for _, p := range c.Points {
		var bounds []string
		if p.Rate > 0 {
			bounds = append(bounds, record.Plain(p.Rate, 4)+" or more")
		}
		if p.Below > 0 {
			bounds = append(bounds, "less than "+record.Plain(p.Below, 4))
		}
		known = append(known, fmt.Sprintf("%s requests/s with %s", strings.Join(bounds, " and "), record.Counted(p.Replicas, "replica")))
	}
	return "Known is: " + strings.Join(known, ", ")
}

// Doubts are sentences on what makes the capacity doubtful.
func (c *Calibration) Doubts() (list []string) {
	for _, p := range c.Points {
		if p.Doubt != "" {
			list = append(list, fmt.Sprintf("At %s requests/s the load was not as planned: %s. The load generator may be what did not keep up, and the capacity higher.", record.Plain(p.Below, 4), p.Doubt))
		}
		if p.Rough != "" {
			list = append(list, fmt.Sprintf("With %s the rates are rough: %s.", record.Counted(p.Replicas, "replica"), p.Rough))
		}
	}
	return list
}

// MeetsSLO says whether so many percent of the answers of a phase (50, 90, 95 or 99) were
// within a latency, in seconds, with 0.1 % of errors and 0.1 % unsent at most. The
// percentile itself is nil where nothing was answered.
func (p PhaseLoad) MeetsSLO(latency float64, percentile int) (meets bool, at *float64) {
	at = map[int]*float64{50: p.Latency.P50, 90: p.Latency.P90, 95: p.Latency.P95, 99: p.Latency.P99}[percentile]
	return at != nil && !p.Cut && *at <= latency && (*p.ErrorShare <= sloErrors || p.Errors == 1) && float64(p.Unsent) <= UnsentShare*float64(p.Offered), at
}

// sloErrors is the share of errors that an SLO allows; of few requests it allows one.
const sloErrors = 0.001
