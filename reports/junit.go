package reports

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

// JUnit writes one test case an expectation, and one for the run itself, which is an
// error when it did not come to its end. The format is that of
// https://github.com/testmoapp/junitxml, which CI systems read.
func JUnit(w io.Writer, r *analysis.Result) error {
	suite := junitSuite{Name: "hpabench." + r.Scenario, Timestamp: r.Started.UTC().Format(time.RFC3339), Seconds: r.EndSeconds}
	run := junitCase{Name: "the run is complete", Class: suite.Name, Seconds: r.EndSeconds}
	if r.Outcome != record.Completed {
		run.Error = &junitReason{Message: r.Outcome + ": " + r.Error}
		if r.Truncated {
			run.Error.Message = "the record has no end"
		}
		suite.Errors++
	}
	for _, text := range r.Assumed {
		run.Output += "assumed: " + text + "\n"
	}
	suite.Cases = append(suite.Cases, run)
	for _, e := range r.Expectations {
		c := junitCase{Name: e.Expression, Class: suite.Name, Output: e.Words() + ": " + e.Detail}
		if e.Outcome == analysis.Missed {
			c.Failure = &junitReason{Message: e.Words() + ": " + e.Detail, Type: e.Outcome}
			suite.Failures++
		}
		suite.Cases = append(suite.Cases, c)
	}
	return suite.write(w)
}

// TrialsJUnit writes one test case an expectation of each combination, judged over all of
// its trials. One that is inconclusive counts as skipped.
func TrialsJUnit(w io.Writer, scenario string, c analysis.Comparison, verdicts [][]analysis.Verdict) error {
	suite := junitSuite{Name: "hpabench." + scenario, Output: strings.Join(c.Doubts, "\n")}
	for i, list := range verdicts {
		for _, v := range list {
			reason := &junitReason{Message: fmt.Sprintf("%s; p %.3f", v, v.P), Type: v.Verdict}
			one := junitCase{Name: v.Expression, Class: suite.Name, Output: reason.Message}
			if len(verdicts) > 1 {
				one.Class += "." + c.Names[i]
			}
			switch v.Verdict {
			case analysis.Fail:
				one.Failure = reason
				suite.Failures++
			case analysis.Inconclusive:
				one.Skipped = reason
				suite.Skipped++
			}
			suite.Cases = append(suite.Cases, one)
		}
	}
	return suite.write(w)
}

func (s junitSuite) write(w io.Writer) error {
	s.Tests = len(s.Cases)
	w = &visible{Writer: w}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}{Suites: []junitSuite{s}}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Seconds   float64     `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr,omitempty"`
	Cases     []junitCase `xml:"testcase"`
	Output    string      `xml:"system-out,omitempty"`
}

type junitCase struct {
	Name    string       `xml:"name,attr"`
	Class   string       `xml:"classname,attr"`
	Seconds float64      `xml:"time,attr"`
	Failure *junitReason `xml:"failure"`
	Error   *junitReason `xml:"error"`
	Skipped *junitReason `xml:"skipped"`
	Output  string       `xml:"system-out,omitempty"`
}

type junitReason struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
}
