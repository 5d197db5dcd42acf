package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/reports"
)

// tellGitHub adds the report to the summary of a job of GitHub Actions, and annotates
// it with what was missed and what casts doubt on the run, where the environment
// says that it is one:
// https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
func tellGitHub(w io.Writer, r *analysis.Result) error {
	if file := os.Getenv("GITHUB_STEP_SUMMARY"); file != "" {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("writing the job's summary: %w", err)
		}
		defer f.Close()
		if err := reports.Markdown(f, r); err != nil {
			return fmt.Errorf("writing the job's summary: %w", err)
		}
	}
	if os.Getenv("GITHUB_ACTIONS") != "true" {
		return nil
	}
	annotate := func(level, title, text string) {
		fmt.Fprintf(w, "::%s title=%s::%s\n", level, property.Replace(title), message.Replace(text))
	}
	for _, e := range r.Expectations {
		if e.Outcome == analysis.Missed {
			annotate("error", "hpabench: expectation missed", e.Expression+": "+e.Detail)
		}
	}
	for _, text := range r.Warnings {
		annotate("warning", "hpabench: "+r.Scenario, text)
	}
	return nil
}

// What workflow commands want escaped.
var (
	message  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)
