// Package expect judges a result by the expectations of its scenario: conditions
// in CEL, the language of Kubernetes validation, over the figures of the result.
// A figure's name is its name in the expression; one in seconds is a duration,
// a count is an int, whether something is so a bool, and what is left is a double.
// The variable findings lists the kinds of the findings; findings.none("flapping") says
// that there is none of that kind.
package expect

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

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
	_, checked, err := compile(expression, r.Figures())
	if err != nil {
		return err
	}
	for _, call := range ast.MatchDescendants(ast.NavigateAST(checked.NativeRep()), ast.FunctionMatcher("none")) {
		arg := call.AsCall().Args()[0]
		if name, ok := literal(arg); ok && !slices.ContainsFunc(analysis.FindingKinds, func(kind string) bool { return sameKind(kind, name) }) {
			return fmt.Errorf("there is no finding %q: they are %s", name, strings.Join(analysis.FindingKinds, ", "))
		}
	}
	return nil
}

func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().Value().(string)
	return s, ok
}

// sameKind says whether two names of a kind of finding are the same: max-reached may be
// written MaxReached.
func sameKind(a, b string) bool {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "-", "")) }
	return plain(a) == plain(b)
}

// none is the method of findings.
var none = cel.Function("none", cel.MemberOverload("findings_none", []*cel.Type{cel.ListType(cel.StringType), cel.StringType}, cel.BoolType,
	cel.BinaryBinding(func(list, kind ref.Val) ref.Val {
		for it := list.(traits.Lister).Iterator(); it.HasNext() == types.True; {
			if sameKind(it.Next().Value().(string), kind.Value().(string)) {
				return types.False
			}
		}
		return types.True
	})))

// Judge evaluates the expressions over a result. One that uses a figure which
// was not measured is not known to hold, and so counts as missed.
func Judge(expressions []string, r *analysis.Result) []analysis.Expectation {
	figures := r.Figures()
	kinds := []string{}
	for _, f := range r.Findings {
		kinds = append(kinds, f.Kind)
	}
	var judged []analysis.Expectation
	for _, expression := range expressions {
		e := analysis.Expectation{Expression: expression, Outcome: analysis.Missed}
		met, detail, err := judge(expression, figures, kinds)
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

func judge(expression string, figures []analysis.Figure, findings []string) (met bool, detail string, err error) {
	env, checked, err := compile(expression, figures)
	if err != nil {
		return false, "", err
	}
	used := map[string]bool{}
	for _, reference := range checked.NativeRep().ReferenceMap() {
		used[reference.Name] = true
	}
	values := map[string]any{"findings": findings}
	var shown []string
	for _, f := range figures {
		if f.Value != nil {
			values[f.Name] = value(f)
		}
		if used[f.Name] {
			shown = append(shown, f.Name+" = "+show(f))
		}
	}
	if used["findings"] {
		shown = append(shown, "findings = "+cmp.Or(strings.Join(findings, ", "), "none"))
	}
	detail = strings.Join(shown, ", ")
	program, err := env.Program(checked)
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
	variables := []cel.EnvOption{none, cel.Variable("findings", cel.ListType(cel.StringType))}
	for _, f := range figures {
		if identifier.MatchString(f.Name) {
			variables = append(variables, cel.Variable(f.Name, kind(f)))
		}
	}
	env, err := cel.NewEnv(variables...)
	if err != nil {
		return nil, nil, err
	}
	checked, issues := env.Compile(expression)
	if issues.Err() != nil {
		var all []string
		for _, e := range issues.Errors() {
			all = append(all, e.Message)
		}
		return nil, nil, errors.New(strings.Join(all, "; "))
	}
	if checked.OutputType() != cel.BoolType {
		return nil, nil, fmt.Errorf("it gives a value of type %s and is no condition", checked.OutputType())
	}
	return env, checked, nil
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
