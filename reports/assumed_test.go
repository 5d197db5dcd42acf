package reports

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/analysis"
)

// Each format says what is assumed, and which verdicts rest on it.
func TestAssumedIsSaid(t *testing.T) {
	r := &analysis.Result{Scenario: "shop", Outcome: "completed", Assumed: []string{"nothing is known of image shop"}, Expectations: []analysis.Expectation{
		{Expression: "rests", Outcome: analysis.Met, Assumed: true},
		{Expression: "holds", Outcome: analysis.Met},
	}}
	const verdict = "met, on assumed values"
	for name, format := range map[string]struct {
		write func(io.Writer, *analysis.Result) error
		want  []string
	}{
		"table":       {func(w io.Writer, r *analysis.Result) error { return Table(w, r, 100) }, []string{"Assumed: nothing", verdict}},
		"markdown":    {Markdown, []string{"> Assumed: nothing", verdict}},
		"json":        {JSON, []string{`"nothing is known of image shop"`, `"assumed": true`}},
		"junit":       {JUnit, []string{"assumed: nothing", verdict}},
		"html":        {HTML, []string{"<strong>Assumed:</strong> nothing", verdict}},
		"openmetrics": {OpenMetrics, []string{`assumed="true"`}},
	} {
		var b bytes.Buffer
		if err := format.write(&b, r); err != nil {
			t.Fatal(name, err)
		}
		for _, want := range format.want {
			if n := strings.Count(b.String(), want); n != 1 {
				t.Errorf("%s says %q %d times:\n%s", name, want, n, &b)
			}
		}
	}
	trials := []analysis.Trials{{Name: "a", Results: []*analysis.Result{r}}}
	c, verdicts := analysis.Compare(trials, regexp.MustCompile("^$")), [][]analysis.Verdict{analysis.JudgeTrials(trials[0].Results)}
	var table, junit bytes.Buffer
	if err := TrialsTable(&table, c, verdicts, 100); err != nil || !strings.HasPrefix(table.String(), "Assumed: nothing") {
		t.Errorf("%v:\n%s", err, &table)
	}
	if err := TrialsJUnit(&junit, "shop", c, verdicts); err != nil || strings.Count(junit.String(), ", on assumed values, met by") == 0 {
		t.Errorf("%v:\n%s", err, &junit)
	}
}
