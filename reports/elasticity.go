package reports

import (
	"fmt"
	"io"

	"github.com/hpabench/hpabench/analysis"
)

// ElasticityTable writes the elasticity of a supply, and its speed-up over a baseline unless that is
// empty, for a terminal of that many columns.
func ElasticityTable(w io.Writer, e analysis.Elasticity, baseline string, speedUp *float64, width int) error {
	s := elasticityOf(e)
	s.title = fmt.Sprintf("Elasticity over %g s", e.Seconds)
	switch {
	case speedUp != nil:
		s.notes = append(s.notes, fmt.Sprintf("speed-up over %s: %.3f", baseline, *speedUp))
	case baseline != "":
		s.notes = append(s.notes, fmt.Sprintf("speed-up over %s: none, as a figure is 0, for which there is no ratio", baseline))
	}
	return writeSections(w, nil, []section{s}, width)
}

// ElasticityJSON writes the same as indented JSON; nil is no speed-up.
func ElasticityJSON(w io.Writer, e analysis.Elasticity, speedUp *float64) error {
	return indented(w, struct {
		analysis.Elasticity
		SpeedUp *float64 `json:"speedUp,omitempty"`
	}{e, speedUp})
}
