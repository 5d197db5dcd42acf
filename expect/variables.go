package expect

import (
	"strings"

	"github.com/hpabench/hpabench/analysis"
)

// Variable is what an expression may use. Name has <phase> where the name of a phase
// goes, or total. Type is CEL's.
type Variable struct {
	Name, Type, Unit, Text string
}

// Variables lists all of them.
func Variables() []Variable {
	r := &analysis.Result{}
	r.Load.Phases = []analysis.PhaseLoad{{Name: "<phase>"}}
	var list []Variable
	for _, f := range r.Figures() {
		if f.Phase == "total" {
			continue // as of a phase
		}
		unit := map[string]string{"s": "s", "replicas": "replicas", "requests": "requests", "messages": "messages", "bytes": "bytes", "1/s": "requests/s"}[f.Unit]
		list = append(list, Variable{f.Name, strings.TrimPrefix(kind(f).String(), "google.protobuf."), unit, f.Help})
	}
	return append(list, Variable{Name: "findings", Type: "list(string)",
		Text: "The kinds of the findings: " + strings.Join(analysis.FindingKinds, ", ") + `. findings.none("flapping") is true when there is none of that kind.`})
}
