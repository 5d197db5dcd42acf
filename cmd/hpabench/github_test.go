package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/reports"
)

func TestTellGitHub(t *testing.T) {
	r := &analysis.Result{Scenario: "spike", Warnings: []string{"100 % of it,\nin two lines"}, Expectations: []analysis.Expectation{
		{Expression: "a < 5", Outcome: analysis.Missed, Detail: "a = 6"}, {Expression: "b < 5", Outcome: analysis.Met}}}
	var out strings.Builder
	t.Setenv("GITHUB_ACTIONS", "")
	t.Setenv("GITHUB_STEP_SUMMARY", "")
	if err := tellGitHub(&out, r); err != nil || out.Len() > 0 {
		t.Errorf("%q, %v elsewhere", &out, err)
	}
	summary := filepath.Join(t.TempDir(), "summary.md")
	if err := os.WriteFile(summary, []byte("of the step before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GITHUB_ACTIONS", "true")
	t.Setenv("GITHUB_STEP_SUMMARY", summary)
	if err := tellGitHub(&reports.Terminal{Writer: &out}, r); err != nil {
		t.Fatal(err)
	}
	if want := "::error title=hpabench%3A expectation missed::a < 5: a = 6\n::warning title=hpabench%3A spike::100 %25 of it,%0Ain two lines\n"; out.String() != want {
		t.Errorf("%s, want\n%s", &out, want)
	}
	if b, err := os.ReadFile(summary); err != nil || !strings.HasPrefix(string(b), "of the step before\n# hpabench: spike") {
		t.Errorf("%s, %v", b, err)
	}
}
