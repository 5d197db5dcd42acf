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
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

// Limits of expressions, which come with scenarios and records that strangers wrote.
const (
	// maxCost bounds an expression's evaluation in units of CEL's cost, about one for each
	// step: Kubernetes' PerCallLimit, 0.1 s
	// (k8s.io/apiserver/pkg/apis/cel). maxTotalCost bounds all expressions of a run.
	maxCost      = 1_000_000
	maxTotalCost = 4 * maxCost

	// maxLength bounds an expression, in characters, and maxDepth its nesting: the longest
	// of the library has 60. maxLoops bounds all, exists, map and filter inside each other.
	maxLength = 10_000
	maxDepth  = 100
	maxLoops  = 4

	// maxExpressions bounds the expressions of a run.
	maxExpressions = 1000
)

// variables are the figures as variables of CEL.
type variables struct {
	*cel.Env
	// phases finds literals, which stay as they are, and the names of phases in figures: any can be written
	// as it is, also one that CEL takes for a difference (ramp-up), a number (2x) or a word of its own (in),
	// so that the expression cannot be parsed before.
	phases *regexp.Regexp
	names  []string // of the phases, with total
}

// UnknownPhase says that an expression has a figure of a phase that the run has not.
type UnknownPhase struct {
	Name   string
	Phases []string // that there are, with total
}

func (u *UnknownPhase) Error() string {
	return fmt.Sprintf("there is no phase %q: there are %s", u.Name, strings.Join(u.Phases, ", "))
}

// literals are CEL's comments, its strings, raw and in three quotes too, and its quoted names: what is in them names no figure.
const literals = "//[^\\n]*|`[^`]*`" + `|\b[bB]?[rR](?s:""".*?"""|'''.*?'''|"[^"]*"|'[^']*')|(?s:"""(?:[^\\]|\\.)*?"""|'''(?:[^\\]|\\.)*?''')|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`

// ofPhase finds literals, and the names of phases in figures, whether there are such phases or not.
var ofPhase = regexp.MustCompile(literals + `\bload\.(?:` + "`([^`]*)`" + `|([\pL\pN_-]+))\.`)

// unknownPhase is an UnknownPhase of an expression, or nil.
func (v variables) unknownPhase(expression string) error {
	for _, found := range ofPhase.FindAllStringSubmatch(expression, -1) {
		if name := found[1] + found[2]; name != "" && !slices.Contains(v.names, name) {
			return &UnknownPhase{name, v.names}
		}
	}
	return nil
}

// quoted puts the names of phases into backticks, which is how CEL takes any name.
func (v variables) quoted(expression string) string {
	return v.phases.ReplaceAllStringFunc(expression, func(found string) string {
		if phase, is := strings.CutPrefix(found, "load."); is {
			return "load.`" + strings.TrimSuffix(phase, ".") + "`."
		}
		return found
	})
}

// Checker checks expressions over the figures of a run.
type Checker struct{ variables variables }

// NewChecker is one for a run that has these phases.
func NewChecker(phases []string) (*Checker, error) {
	r := &analysis.Result{}
	for _, name := range phases {
		r.Load.Phases = append(r.Load.Phases, analysis.PhaseLoad{Name: name})
	}
	variables, err := variablesOf(r.Figures())
	return &Checker{variables}, err
}

// Check says in one line what is wrong with an expression; nil if it is a
// condition over the figures.
func (c *Checker) Check(expression string) error {
	checked, err := compile(c.variables, expression)
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
		kinds, ok := list.(traits.Lister)
		name, isString := kind.(types.String)
		if !ok || !isString {
			return types.MaybeNoSuchOverloadErr(kind)
		}
		for it := kinds.Iterator(); it.HasNext() == types.True; {
			item := it.Next()
			one, ok := item.(types.String)
			if !ok {
				return types.MaybeNoSuchOverloadErr(item)
			}
			if sameKind(string(one), string(name)) {
				return types.False
			}
		}
		return types.True
	})))

// Judge evaluates the expressions over a result. One that uses a figure which
// was not measured is not known to hold, and so counts as missed.
func Judge(expressions []string, r *analysis.Result) []analysis.Expectation {
	figures := r.Figures()
	var judged []analysis.Expectation
	cost := uint64(maxTotalCost)
	variables, broken := variablesOf(figures)
	for i, expression := range expressions {
		if i == maxExpressions {
			return append(judged, analysis.Expectation{Expression: expression, Outcome: analysis.Missed,
				Detail: fmt.Sprintf("not judged, with %d more: a run may have %d expectations", len(expressions)-i-1, maxExpressions)})
		}
		e := analysis.Expectation{Expression: expression, Outcome: analysis.Missed}
		met, assumed, detail, err := false, false, "", broken
		switch {
		case err != nil:
		case cost == 0:
			err = fmt.Errorf("not judged: the expectations before it took %d steps", maxTotalCost)
		default:
			met, assumed, detail, err = judge(variables, expression, figures, r.Findings, &cost)
		}
		e.Detail, e.Assumed, e.Unmeasured = detail, assumed, err != nil
		switch {
		case err == nil || detail != "" && strings.Contains(err.Error(), "no such attribute"): // said as not measured
		case detail != "":
			e.Detail += ": " + err.Error()
		default:
			e.Detail = err.Error()
		}
		if err == nil && met {
			e.Outcome = analysis.Met
		}
		judged = append(judged, e)
	}
	return judged
}

// judge takes what the evaluation costs off the cost that is left.
func judge(variables variables, expression string, figures []analysis.Figure, findings []analysis.Finding, left *uint64) (met, assumed bool, detail string, err error) {
	checked, err := compile(variables, expression)
	if err != nil {
		return false, false, "", err
	}
	used := map[string]bool{}
	for _, reference := range checked.NativeRep().ReferenceMap() {
		used[reference.Name] = true
	}
	kinds, told := []string{}, []string{}
	for _, f := range findings {
		kinds, told = append(kinds, f.Kind), append(told, f.Kind)
		if f.Doubt != "" {
			told[len(told)-1] += " (doubtful: " + f.Doubt + ")"
		}
	}
	values := map[string]any{"findings": kinds}
	var shown []string
	for _, f := range figures {
		if f.Value != nil {
			values[f.Name] = value(f)
		}
		if used[f.Name] {
			shown = append(shown, f.Name+" = "+show(f))
			assumed = assumed || f.Assumed
		}
	}
	if used["findings"] {
		shown = append(shown, "findings = "+cmp.Or(strings.Join(told, ", "), "none"))
	}
	detail = strings.Join(shown, ", ")
	limit := min(maxCost, *left)
	program, err := variables.Program(checked, cel.CostLimit(limit))
	if err != nil {
		return false, assumed, detail, err
	}
	out, details, err := program.Eval(values)
	if details != nil && details.ActualCost() != nil {
		*left -= min(*left, *details.ActualCost())
	}
	if err != nil && strings.Contains(err.Error(), "cost limit exceeded") {
		*left -= min(*left, limit)
		return false, assumed, "", fmt.Errorf("it takes more than %d steps, and was broken off", limit)
	}
	if err != nil {
		return false, assumed, detail, err
	}
	met, _ = out.Value().(bool)
	return met, assumed, detail, nil
}

// variablesOf are those of expressions over figures.
func variablesOf(figures []analysis.Figure) (v variables, err error) {
	options := []cel.EnvOption{none, cel.Variable("findings", cel.ListType(cel.StringType)),
		cel.ParserExpressionSizeLimit(maxLength), cel.ParserRecursionLimit(maxDepth), cel.EnableIdentifierEscapeSyntax(),
		cel.ASTValidators(cel.ValidateComprehensionNestingLimit(maxLoops))}
	var phases []string
	for _, f := range figures {
		options = append(options, cel.Variable(f.Name, kind(f)))
		if name := regexp.QuoteMeta(f.Phase); name != "" && !slices.Contains(phases, name) {
			phases, v.names = append(phases, name), append(v.names, f.Phase)
		}
	}
	v.phases = regexp.MustCompile(literals + `\bload\.(?:` + strings.Join(phases, "|") + `)\.`)
	v.Env, err = cel.NewEnv(options...)
	return v, err
}

// texts are functions whose argument, where it is written out, can be judged before the run.
var texts = map[string]func(string) error{
	"matches":   func(text string) error { _, err := regexp.Compile(text); return err },
	"duration":  func(text string) error { _, err := time.ParseDuration(text); return err },
	"timestamp": func(text string) error { _, err := time.Parse(time.RFC3339, text); return err },
}

func compile(v variables, expression string) (*cel.Ast, error) {
	if n := utf8.RuneCountInString(expression); n > maxLength {
		return nil, fmt.Errorf("it has %d characters, and may have %d", n, maxLength)
	}
	// Env.Compile draws a picture of each error's place, which takes half of the time.
	checked, issues := v.Parse(v.quoted(expression))
	if len(issues.Errors()) == 0 {
		checked, issues = v.Check(checked)
	}
	if len(issues.Errors()) > 0 {
		if err := v.unknownPhase(expression); err != nil {
			return nil, err
		}
		var all []string
		for i, e := range issues.Errors() {
			if i == 3 {
				all = append(all, fmt.Sprintf("and %d more", len(issues.Errors())-i))
				break
			}
			all = append(all, e.Message)
		}
		return nil, errors.New(strings.Join(all, "; "))
	}
	for _, call := range ast.MatchDescendants(ast.NavigateAST(checked.NativeRep()), ast.KindMatcher(ast.CallKind)) {
		function, args := call.AsCall().FunctionName(), call.AsCall().Args() // of the function, or of the method
		if parse := texts[function]; parse != nil {
			if text, is := literal(args[len(args)-1]); is {
				if err := parse(text); err != nil {
					return nil, fmt.Errorf("%s of %q: %w", function, text, err)
				}
			}
		}
	}
	if checked.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("it gives a value of type %s and is no condition", checked.OutputType())
	}
	return checked, nil
}

func kind(f analysis.Figure) *cel.Type {
	if t, named := kinds[f.Unit]; named {
		return t
	}
	return cel.DoubleType
}

// kinds are the types of figures by their unit; others are doubles.
var kinds = map[string]*cel.Type{"s": cel.DurationType, "replicas": cel.IntType, "requests": cel.IntType, "messages": cel.IntType, "bytes": cel.IntType, "bool": cel.BoolType}

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
	s := record.Plain(*f.Value, 6)
	switch f.Unit {
	case "s":
		s += "s"
	case "bool":
		s = fmt.Sprint(*f.Value != 0)
	}
	if f.Precision > 0 {
		s += " ± " + record.Plain(f.Precision, 2) + "s"
	}
	if f.Doubt != "" {
		s += " (doubtful: " + f.Doubt + ")"
	}
	return s
}
