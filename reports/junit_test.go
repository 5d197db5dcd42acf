package reports

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

func TestJUnit(t *testing.T) {
	for outcome, errors := range map[string]int{record.Completed: 0, record.Interrupted: 1} {
		var b bytes.Buffer
		r := &analysis.Result{Scenario: "spike", Outcome: outcome, Error: "Ctrl-C", EndSeconds: 61.5, Expectations: []analysis.Expectation{
			{Expression: `a < duration("5s") && b`, Outcome: analysis.Missed, Detail: "a = 6s ± 0.1s"}, {Expression: "c", Outcome: analysis.Met, Detail: "c = true"}}}
		if err := JUnit(&b, r); err != nil {
			t.Fatal(err)
		}
		var read struct {
			Suite struct {
				Name     string `xml:"name,attr"`
				Tests    int    `xml:"tests,attr"`
				Failures int    `xml:"failures,attr"`
				Errors   int    `xml:"errors,attr"`
				Cases    []struct {
					Name    string `xml:"name,attr"`
					Failure *struct {
						Message string `xml:"message,attr"`
					} `xml:"failure"`
				} `xml:"testcase"`
			} `xml:"testsuite"`
		}
		if err := xml.Unmarshal(b.Bytes(), &read); err != nil {
			t.Fatalf("%v\n%s", err, &b)
		}
		s := read.Suite
		if s.Name != "hpabench.spike" || s.Tests != 3 || s.Failures != 1 || s.Errors != errors || len(s.Cases) != 3 {
			t.Fatalf("%+v", s)
		}
		if c := s.Cases[1]; c.Name != `a < duration("5s") && b` || c.Failure == nil || c.Failure.Message != "missed: a = 6s ± 0.1s" || s.Cases[2].Failure != nil {
			t.Errorf("%+v", s.Cases)
		}
	}
}

func TestTrialsJUnit(t *testing.T) {
	var b bytes.Buffer
	verdicts := [][]analysis.Verdict{{{Expression: "a < b", Met: 5, Trials: 5, Verdict: analysis.Pass}}, {{Expression: "a < b", Trials: 5, Verdict: analysis.Fail, Unmeasured: []string{"in 5 trials: no scale-up"}}, {Expression: "c", Met: 1, Trials: 1, Verdict: analysis.Inconclusive, P: 0.5}}}
	if err := TrialsJUnit(&b, "spike", analysis.Comparison{Names: []string{"target=40", "target=80"}}, verdicts); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`tests="3" failures="1" errors="0" skipped="1"`, `classname="hpabench.spike.target=40"`, `<failure message="fail, met by 0 of 5 trials; in 5 trials: no scale-up; p 0.000"`, `<skipped message="inconclusive, met by 1 of 1 trial; p 0.500"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no %s in\n%s", want, &b)
		}
	}
}
