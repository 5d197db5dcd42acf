// Package expect judges a result by the expectations of its scenario: conditions
// in CEL, the language of Kubernetes validation, over the figures of the result.
// A figure's name is its name in the expression; one in seconds is a duration,
// a count is an int, whether something is so a bool, and what is left is a double.
package expect

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/hpabench/hpabench/analysis"
)

// identifier is what CEL takes for a variable. A phase whose name has a dash
// has no variables.
var identifier = regexp.MustCompile(`^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$`)

// Check says in one line what is wrong with an expression; nil if it is a
// condition over the figures of a run that has these phases.
func Check(expression string, phases []string) error {
	r := &analysis.Result{}
	for _, name := range phases {
		r.Load.Phases = append(r.Load.Phases, analysis.PhaseLoad{Name: name})
	}
	_, _, err := compile(expression, r.Figures())
	return err
}

// Judge evaluates the expressions over a result. One that uses a figure which
// was not measured is not known to hold, and so counts as missed.
func Judge(expressions []string, r *analysis.Result) []analysis.Expectation {
	figures := r.Figures()
	var judged []analysis.Expectation
	for _, expression := range expressions {
		e := analysis.Expectation{Expression: expression, Outcome: analysis.Missed}
		met, detail, err := judge(expression, figures)
		if e.Detail = detail; err != nil && detail == "" {
			e.Detail = err.Error()
		}
		if err == nil && met {
			e.Outcome = analysis.Met
		}
		judged = append(judged, e)
	}
	return judged
}

func judge(expression string, figures []analysis.Figure) (met bool, detail string, err error) {
	env, ast, err := compile(expression, figures)
	if err != nil {
		return false, "", err
	}
	used := map[string]bool{}
	for _, reference := range ast.NativeRep().ReferenceMap() {
		used[reference.Name] = true
	}
	values := map[string]any{}
	var shown []string
	for _, f := range figures {
		if f.Value != nil {
			values[f.Name] = value(f)
		}
		if used[f.Name] {
			shown = append(shown, f.Name+" = "+show(f))
		}
	}
	detail = strings.Join(shown, ", ")
	program, err := env.Program(ast)
	if err != nil {
		return false, detail, err
	}
	out, _, err := program.Eval(values)
	if err != nil {
		return false, detail, err
	}
	met, _ = out.Value().(bool)
	return met, detail, nil
}

func compile(expression string, figures []analysis.Figure) (*cel.Env, *cel.Ast, error) {
	var variables []cel.EnvOption
	for _, f := range figures {
		if identifier.MatchString(f.Name) {
			variables = append(variables, cel.Variable(f.Name, kind(f)))
		}
	}
	env, err := cel.NewEnv(variables...)
	if err != nil {
		return nil, nil, err
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		var all []string
		for _, e := range issues.Errors() {
			all = append(all, e.Message)
		}
		return nil, nil, errors.New(strings.Join(all, "; "))
	}
	if ast.OutputType() != cel.BoolType {
		return nil, nil, fmt.Errorf("it gives a value of type %s and is no condition", ast.OutputType())
	}
	return env, ast, nil
}

func kind(f analysis.Figure) *cel.Type {
	switch f.Unit {
	case "s":
		return cel.DurationType
	case "replicas", "requests", "bytes":
		return cel.IntType
	case "bool":
		return cel.BoolType
	}
	return cel.DoubleType
}

func value(f analysis.Figure) any {
	switch kind(f) {
	case cel.DurationType:
		return time.Duration(*f.Value * float64(time.Second))
	case cel.IntType:
		return int64(*f.Value)
	case cel.BoolType:
		return *f.Value != 0
	}
	return *f.Value
}

func show(f analysis.Figure) string {
	if f.Value == nil {
		return "not measured (" + f.Missing + ")"
	}
	s := fmt.Sprintf("%.6g", *f.Value)
	switch f.Unit {
	case "s":
		s += "s"
	case "bool":
		s = fmt.Sprint(*f.Value != 0)
	}
	if f.Precision > 0 {
		s += fmt.Sprintf(" ± %.2gs", f.Precision)
	}
	if f.Doubt != "" {
		s += " (doubtful: " + f.Doubt + ")"
	}
	return s
}
