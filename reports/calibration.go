package reports

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
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
	g := &grid{columns: []column{{name: "replicas"}, {name: "requests/s"}, {name: "missed from"}, {name: fmt.Sprintf("p%d", c.Percentile)}, {name: "efficiency"}}}
	for _, p := range c.Points {
		met, below, within := none, none, none
		if p.Rate > 0 {
			met, within = record.Plain(p.Rate, 4), answer(&p.Seconds)
		}
		if p.Below > 0 {
			below = record.Plain(p.Below, 4)
		}
		g.add(number(&p.Replicas), met, below, within, percent(p.Efficiency))
	}
	notes := slices.Concat(c.Doubts(), []string{capacity(c) + " Efficiency: of so many times the rate of a single replica."}, follows(target, why))
	return writeSections(w, rests(c, target), []section{{title: "Capacity of " + c.Scenario, grid: g, notes: notes}}, width)
}

// CalibrationYAML writes the HPA with the target, and in comments what it rests on.
func CalibrationYAML(w io.Writer, c analysis.Calibration, target tune.Capacity) error {
	var b bytes.Buffer
	comment := func(text string) { fmt.Fprintf(&b, "# %s\n", strings.ReplaceAll(text, "\n", " ")) }
	for _, text := range rests(c, target) {
		comment("Assumed: " + text)
	}
	for _, text := range slices.Concat(c.Doubts(), []string{capacity(c)}, follows(target, nil)) {
		comment(text)
	}
	_, err := w.Write(append(b.Bytes(), target.Manifest...))
	return err
}

// rests are sentences on what the capacity and the target rest on that nobody measured.
func rests(c analysis.Calibration, target tune.Capacity) []string {
	all := slices.Clone(c.Assumed)
	for _, text := range target.Assumed {
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// capacity says what a replica serves.
func capacity(c analysis.Calibration) string {
	serves := "How many requests/s a replica serves is not known:"
	if c.CapacityPerReplica > 0 {
		serves = fmt.Sprintf("One replica serves %s requests/s:", record.Plain(c.CapacityPerReplica, 4))
	}
	return fmt.Sprintf("%s %d %% of the answers within %s, 0.1 %% errors at most. %s.", serves, c.Percentile, time.Duration(c.Latency*float64(time.Second)), c.Where())
}

// follows says which target follows from the capacity, or why there is none.
func follows(target tune.Capacity, why error) []string {
	if why != nil {
		return []string{fmt.Sprintf("Target: no target follows: %s.", why)}
	}
	return append([]string{fmt.Sprintf("Target: %s.", target.Reason)}, target.Notes...)
}
