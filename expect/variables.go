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
	r.Load.Phases = []analysis.PhaseLoad{{Name: "*"}}
	var list []Variable
	for _, f := range r.Figures() {
		if strings.HasPrefix(f.Name, "load.total.") {
			continue // as of a phase
		}
		unit := map[string]string{"1": "", "bool": "", "1/s": "requests/s"}
		v := Variable{Name: strings.ReplaceAll(f.Name, "*", "<phase>"), Type: kind(f).String(), Unit: f.Unit, Text: analysis.Describe(f.Name)}
		if u, is := unit[f.Unit]; is {
			v.Unit = u
		}
		v.Type = strings.TrimPrefix(v.Type, "google.protobuf.")
		list = append(list, v)
	}
	return append(list, Variable{Name: "findings", Type: "list(string)",
		Text: "The kinds of the findings: " + strings.Join(analysis.FindingKinds, ", ") + `. findings.none("flapping") is true when there is none of that kind.`})
}
