package expect

import (
	"os"
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
		want := []analysis.Expectation{{Expression: test.expression, Outcome: test.outcome, Detail: test.detail}}
		if diff := cmp.Diff(want, Judge([]string{test.expression}, result())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.expression, diff)
		}
	}
}

func TestCheck(t *testing.T) {
	for expression, want := range map[string]string{
		"replicas.peak == hpa.max":   "",
		"load.surge.errors == 0":     "",
		"load.calm.errors == 0":      "undeclared reference",
		"replicas.peek == hpa.max":   "undeclared reference",
		"scaleUp.inService < 90":     "no matching overload",
		"replicas.peak + 1":          "no condition",
		`findings.none("flapping")`:  "",
		`findings.none("flaping")`:   "there is no finding \"flaping\": they are no-request,",
		`findings.none(1)`:           "no matching overload",
		"replicas.peak == hpa.max &": "Syntax error",
	} {
		err := Check(expression, []string{"surge", "on-1"})
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", expression, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want %q", expression, err, want)
		}
	}
}

// Every variable is explained, and docs/expectations.md has them all.
func TestVariables(t *testing.T) {
	doc, err := os.ReadFile("../docs/expectations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range Variables() {
		if v.Text == "" || v.Type == "" {
			t.Errorf("%+v", v)
		}
		if !strings.Contains(string(doc), "`"+v.Name+"`") {
			t.Errorf("docs/expectations.md has no %s; make docs writes it", v.Name)
		}
	}
}
