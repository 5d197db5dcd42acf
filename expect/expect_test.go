package expect

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hpabench/hpabench/analysis"
)

func result() *analysis.Result {
	return &analysis.Result{
		Findings: []analysis.Finding{{Kind: analysis.FoundMaxReached}},
		Reach:    analysis.Reach{Peak: new(5), Last: new(2), Min: new(int32(2)), Max: new(int32(5))},
		Load:     analysis.Load{Phases: []analysis.PhaseLoad{{Name: "surge", Errors: 3, ErrorShare: new(0.25)}}},
		Transitions: []analysis.Transition{{Direction: analysis.Up, ScaleUp: &analysis.ScaleUp{
			Latency:    analysis.Latency{Seconds: new(97.25), PrecisionSeconds: 0.1},
			TimeToFull: analysis.Latency{Missing: "the run ended before"},
		}}},
	}
}

// A finding of a load that was not as planned is told as doubtful.
func TestJudgeDoubtful(t *testing.T) {
	r := result()
	r.Findings[0].Doubt = "the load of phase surge was not as planned"
	if got := Judge([]string{`findings.none("max-reached")`}, r)[0].Detail; got != "findings = max-reached (doubtful: the load of phase surge was not as planned)" {
		t.Error(got)
	}
}

func TestJudge(t *testing.T) {
	for _, test := range []struct{ expression, outcome, detail string }{
		{"replicas.peak == hpa.max", analysis.Met, "replicas.peak = 5, hpa.max = 5"},
		{"replicas.last > hpa.min", analysis.Missed, "replicas.last = 2, hpa.min = 2"},
		{`scaleUp.inService <= duration("90s")`, analysis.Missed, "scaleUp.inService = 97.25s ± 0.1s"},
		{`scaleUp.inService <= duration("98s") && replicas.peak > 1`, analysis.Met, "scaleUp.inService = 97.25s ± 0.1s, replicas.peak = 5"},
		{`scaleUp.timeToFull <= duration("1h")`, analysis.Missed, "scaleUp.timeToFull = not measured (the run ended before)"},
		{`scaleDown.latency <= duration("1h")`, analysis.Missed, "scaleDown.latency = not measured (no phase brought less load)"},
		{`findings.none("Flapping") && !findings.none("MaxReached")`, analysis.Met, "findings = max-reached"},
		{`findings.none("max-reached")`, analysis.Missed, "findings = max-reached"},
		{`size(findings) == 1`, analysis.Met, "findings = max-reached"},
		{"load.surge.errors == 3 && load.surge.errorShare < 0.3", analysis.Met, "load.surge.errors = 3, load.surge.errorShare = 0.25"},
	} {
		want := []analysis.Expectation{{Expression: test.expression, Outcome: test.outcome, Detail: test.detail, Unmeasured: strings.Contains(test.detail, "not measured")}}
		if diff := cmp.Diff(want, Judge([]string{test.expression}, result())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.expression, diff)
		}
	}
}

func TestCheck(t *testing.T) {
	checker, err := NewChecker([]string{"surge", "on-1"})
	if err != nil {
		t.Fatal(err)
	}
	for expression, want := range map[string]string{
		"replicas.peak == hpa.max":              "",
		"load.surge.errors == 0":                "",
		"load.calm.errors == 0":                 `there is no phase "calm": there are total, surge, on-1`,
		"load.on-2.errors == 0":                 `there is no phase "on-2": there are total, surge, on-1`,
		"load.`1 on`.errors == 0":               `there is no phase "1 on": there are total, surge, on-1`,
		"load.surge.eror == 0":                  "undeclared reference to 'load.surge.eror'",
		`"load.x.y" == 1`:                       "no matching overload",
		"load.surge.eror == 0 // load.calm.p99": "undeclared reference to 'load.surge.eror'",
		"replicas.peek == hpa.max":              "undeclared reference",
		"scaleUp.inService < 90":                "no matching overload",
		"replicas.peak + 1":                     "no condition",
		`findings.none("flapping")`:             "",
		`findings.none("flaping")`:              "there is no finding \"flaping\": they are no-request,",
		`findings.none(1)`:                      "no matching overload",
		"replicas.peak == hpa.max &":            "Syntax error",
		`"a".matches("[")`:                      "error parsing regexp",
		`matches("a", "a(")`:                    "error parsing regexp",
		`"a".matches("^a$")`:                    "",
		`scaleUp.inService < duration("90x")`:   "duration",
		`timestamp("yesterday") < timestamp("2026-01-01T00:00:00Z")`: "cannot parse",
	} {
		err := checker.Check(expression)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", expression, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want %q", expression, err, want)
		}
	}
}

// Whatever a phase may be called, its figures can be named as they are in the tables.
func TestAnyPhaseHasVariables(t *testing.T) {
	for _, name := range []string{"ramp-up", "ramp", "up", "rate-1", "2x", "1", "in", "true", "null", "loop", "total-load", "a_b", "a-b-c", "a--b"} {
		r := &analysis.Result{Load: analysis.Load{Phases: []analysis.PhaseLoad{{Name: "ramp", Errors: 1}, {Name: "up", Errors: 2}, {Name: name, Errors: 3, ErrorShare: new(0.25)}}}}
		if name == "ramp" || name == "up" {
			r.Load.Phases = r.Load.Phases[2:]
		}
		checker, err := NewChecker([]string{"ramp", name})
		if err != nil {
			t.Fatal(err)
		}
		for expression, want := range map[string]string{
			"load." + name + ".errors == 3":                                          "load." + name + ".errors = 3",
			"load." + name + ".errors-load." + name + ".errors == 0":                 "load." + name + ".errors = 3",
			`"load.` + name + `.errors" == 'load.' + '` + name + `' + ".errors"`:     "",
			`'''a 'load.` + name + `.x' b''' == "a 'load.` + name + `.x' b" // it's`: "",
			`r"\" + "load.` + name + `.x" == '\\load.` + name + `.x'`:                "",
		} {
			if err := checker.Check(expression); err != nil {
				t.Errorf("%s: %v", expression, err)
			}
			if got := Judge([]string{expression}, r)[0]; got.Outcome != analysis.Met || got.Detail != want {
				t.Errorf("%s is %s (%s), should be met (%s)", expression, got.Outcome, got.Detail, want)
			}
		}
		if err := checker.Check("load." + name + ".eror == 3"); err == nil || !strings.Contains(err.Error(), "load."+name+".eror") {
			t.Errorf("of an unknown figure of phase %s the error is %v", name, err)
		}
	}
}

// Expressions that would run for hours, or need gigabytes, are refused, or broken off.
func TestExpressionsAreBounded(t *testing.T) {
	checker, err := NewChecker([]string{"surge"})
	if err != nil {
		t.Fatal(err)
	}
	nested := func(depth int, macro, inner string) string {
		for i := range depth {
			inner = fmt.Sprintf("[1,2,3,4,5,6,7,8,9,10].%s(x%d, %s)", macro, i, inner)
		}
		return inner
	}
	hundred := "[" + strings.Repeat("1,", 99) + "1]"
	loops := func(list string) string {
		return fmt.Sprintf("%[1]s.all(a, %[1]s.all(b, %[1]s.all(c, %[1]s.all(d, a + b + c + d > 0))))", list)
	}
	double := `"0123456789"`
	for range 11 { // 10 bytes to 20 KB, and each step of the loop has a copy
		double = fmt.Sprintf("[%s].map(s, s + s)[0]", double)
	}
	for name, test := range map[string]struct{ expression, refused, missed string }{
		"eight all":        {expression: nested(8, "all", "true"), refused: "nesting"},
		"eight map":        {expression: "size(" + nested(8, "map", "1") + ") > 0", refused: "nesting"},
		"eight filter":     {expression: "size(" + strings.ReplaceAll(nested(8, "filter", "size([1]) > 0"), ", [", ", [] != [") + ") > 0", refused: "nesting"},
		"eight exists":     {expression: nested(8, "exists", "false"), refused: "nesting"},
		"eleven doublings": {expression: double + ` == ""`, refused: "nesting"},
		"long":             {expression: "true" + strings.Repeat(" && true", 3000), refused: "it has 24004 characters, and may have 10000"},
		"deep":             {expression: strings.Repeat("(", 1000) + "true" + strings.Repeat(")", 1000), refused: "recursion"},
		"deep minus":       {expression: strings.Repeat("!", 5000) + "true", refused: ""},
		"four of hundred":  {expression: loops(hundred), missed: "it takes more than 1000000 steps, and was broken off"},
		"of findings":      {expression: "findings.all(f, " + loops(hundred) + ")", refused: "nesting"},
		"dynamic list":     {expression: `dyn([1]).none("flapping")`, missed: "no such overload"},
		"dynamic name":     {expression: `findings.none(dyn(1))`, missed: "no such overload"},
		"no list":          {expression: `dyn(1).none("flapping")`, missed: "no such overload"},
		"divided by zero":  {expression: "1 / (replicas.peak - replicas.peak) > 0", missed: "zero"},
		"overflow":         {expression: "9223372036854775807 + replicas.peak > 0", missed: "overflow"},
		"long duration":    {expression: `scaleUp.inService < duration("9223372036854775807s")`, refused: "invalid duration"},
		"odd pattern":      {expression: `"a".matches("(" + "(((((")`, missed: "missing closing"},
		"NUL":              {expression: "true \x00", refused: "Syntax error"},
		"no UTF-8":         {expression: "\"\xff\" == \"\"", refused: ""},
	} {
		err := checker.Check(test.expression)
		if test.refused != "" {
			if err == nil || !strings.Contains(err.Error(), test.refused) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 1000 {
				t.Errorf("%s: %v, want %q on one line", name, err, test.refused)
			}
		}
		if got := Judge([]string{test.expression}, result())[0]; test.missed != "" && (err != nil || got.Outcome != analysis.Missed || !strings.Contains(got.Detail, test.missed)) {
			t.Errorf("%s: %v, then %+v, want %q", name, err, got, test.missed)
		}
	}
	many := make([]string, 5000)
	for i := range many {
		many[i] = loops(hundred)
	}
	judged := Judge(many, result())
	if n := len(judged); n != maxExpressions+1 || !strings.Contains(judged[n-1].Detail, "not judged, with 3999 more") {
		t.Errorf("%d of 5000 judged, the last: %+v", n, judged[n-1])
	}
}

func FuzzExpression(f *testing.F) {
	for _, expression := range []string{
		"replicas.peak == hpa.max", `scaleUp.inService <= duration("90s")`, `findings.none("Flapping") && !findings.exists(f, f.matches("a+"))`,
		"load.surge.errors == 3 || [1, 2].map(x, x * 2)[0] > 1", `dyn([1]).none("flapping")`, `{"a": 1}.a == 1 ? true : "b" in ["b"]`, "1u / 0u > 9.5e300",
		`timestamp("2026-01-31T00:00:00Z") + duration("1h") > timestamp(0)`, `size("😀".split("")) > 0`,
	} {
		f.Add(expression)
	}
	checker, err := NewChecker([]string{"surge"})
	if err != nil {
		f.Fatal(err)
	}
	figures := result().Figures()
	f.Fuzz(func(t *testing.T, expression string) {
		if err := checker.Check(expression); err != nil {
			if err.Error() == "" {
				t.Error("no message")
			}
			return
		}
		left := uint64(maxCost)
		if _, _, _, err := judge(checker.variables, expression, figures, []analysis.Finding{{Kind: "flapping"}}, &left); err != nil && strings.Contains(err.Error(), "internal error") {
			t.Errorf("%q: %v", expression, err)
		}
	})
}
