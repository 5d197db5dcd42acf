package reports

import (
	"fmt"
	"io"
	"time"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/tune"
)

// CalibrationJSON writes a calibration with the target that follows, unless why says why there is none.
func CalibrationJSON(w io.Writer, c analysis.Calibration, target tune.Capacity, why error) error {
	out := struct {
		analysis.Calibration
		Target *tune.Capacity `json:"target,omitempty"`
	}{Calibration: c}
	if why == nil {
		out.Target = &target
	}
	return indented(w, out)
}

// CalibrationTable writes the same for a terminal of that many columns.
func CalibrationTable(w io.Writer, c analysis.Calibration, target tune.Capacity, why error, width int) error {
	follows := target.Reason
	if why != nil {
		follows = "no target follows: " + why.Error()
	}
	g := &grid{columns: []column{{name: "replicas"}, {name: "requests/s"}, {name: "missed from"}, {name: fmt.Sprintf("p%d", c.Percentile)}, {name: "efficiency"}}}
	var notes reasons
	for _, p := range c.Points {
		if p.Doubt != "" {
			notes.add("At %s requests/s the load was not as planned: %s. The load generator may be what did not keep up, and the capacity higher.", record.Plain(p.Below, 4), p.Doubt)
		}
		if p.Rough != "" {
			notes.add("With %s the rates are rough: %s.", record.Counted(p.Replicas, "replica"), p.Rough)
		}
		below := none
		if p.Below > 0 {
			below = record.Plain(p.Below, 4)
		}
		g.add(number(&p.Replicas), record.Plain(p.Rate, 4), below, answer(&p.Seconds), percent(p.Efficiency))
	}
	where := "The capacity is between the two rates"
	if c.Lowered != "" {
		where = c.Lowered
	}
	serves := "How many requests/s a replica serves is not known:"
	if c.CapacityPerReplica > 0 {
		serves = fmt.Sprintf("One replica serves %s requests/s:", record.Plain(c.CapacityPerReplica, 4))
	}
	return writeSections(w, nil, []section{{title: "Capacity of " + c.Scenario, grid: g,
		notes: append(notes, fmt.Sprintf("%s %d %% of the answers within %s, 0.1 %% errors at most. %s. Efficiency: of so many times the rate of a single replica.",
			serves, c.Percentile, time.Duration(c.Latency*float64(time.Second)), where), "Target: "+follows+".")}}, width)
}
