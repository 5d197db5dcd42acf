package reports

import (
	"fmt"
	"io"
	"strings"

	"github.com/hpabench/hpabench/fit"
	"github.com/hpabench/hpabench/record"
)

// FitTable writes what a fit measured for a terminal of that many columns.
func FitTable(w io.Writer, f *fit.Fit, width int) error {
	g := &grid{columns: []column{{name: "parameter", text: true}, {name: "value"}, {name: "9 of 10 within"}, {name: "samples"}}}
	s := section{title: "Plant of " + f.From, grid: g}
	var missing reasons
	for _, p := range f.Measured {
		switch {
		case p.Missing == "" && strings.HasPrefix(p.Unit, "of "): // of a custom metric
			g.add(p.Name, p.Show(p.Value)+" "+p.Unit, p.Show(p.Low)+" to "+p.Show(p.High), number(&p.Samples))
		case p.Missing == "":
			g.add(p.Name, p.Show(p.Value), p.Show(p.Low)+" to "+p.Show(p.High), number(&p.Samples))
		case p.Assumed == "":
			missing.add("%s: %s", p.Name, p.Missing)
		default:
			missing.add("%s: %s; assumed: %s", p.Name, p.Missing, p.Assumed)
		}
	}
	if r := f.Reproduction; r != nil && r.Problem == "" {
		s.notes = append(s.notes, fmt.Sprintf("Simulated on this plant, the pods in service differ from those recorded by %.1f %% on average (%s; up to %.0f %% is taken to be right).", r.Error*100, record.Counted(r.Runs, "run"), fit.MaxError*100))
	}
	list := []section{s}
	if missing != nil {
		list = append(list, section{title: "Not told by this record", text: missing})
	}
	return writeSections(w, nil, list, width)
}
