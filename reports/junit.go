package reports

import (
	"encoding/xml"
	"io"
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
	suite.Cases = append(suite.Cases, run)
	for _, e := range r.Expectations {
		c := junitCase{Name: e.Expression, Class: suite.Name, Output: e.Detail}
		if e.Outcome == analysis.Missed {
			c.Failure = &junitReason{Message: "missed: " + e.Detail, Type: e.Outcome}
			suite.Failures++
		}
		suite.Cases = append(suite.Cases, c)
	}
	suite.Tests = len(suite.Cases)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}{Suites: []junitSuite{suite}}); err != nil {
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
	Seconds   float64     `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string       `xml:"name,attr"`
	Class   string       `xml:"classname,attr"`
	Seconds float64      `xml:"time,attr"`
	Failure *junitReason `xml:"failure"`
	Error   *junitReason `xml:"error"`
	Output  string       `xml:"system-out,omitempty"`
}

type junitReason struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
}
