package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/reports"
)

// tellGitHub adds the report to the summary of a job of GitHub Actions, and annotates
// it with what was missed and what casts doubt on the run, where the environment
// says that it is one.
func tellGitHub(w io.Writer, r *analysis.Result) error {
	for _, e := range r.Expectations {
		if e.Outcome == analysis.Missed {
			annotate(w, "error", "hpabench: expectation missed", e.Expression+": "+e.Detail)
		}
	}
	for _, text := range r.Warnings {
		annotate(w, "warning", "hpabench: "+r.Scenario, text)
	}
	return summarize(func(f io.Writer) error { return reports.Markdown(f, r) })
}

// annotate annotates a job of GitHub Actions:
// https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
func annotate(w io.Writer, level, title, text string) {
	if os.Getenv("GITHUB_ACTIONS") != "true" {
		return
	}
	if t, ok := w.(*reports.Terminal); ok {
		w = t.Writer // which this is a command to
	}
	fmt.Fprintf(w, "::%s title=%s::%s\n", level, property.Replace(reports.Visible(title)), message.Replace(reports.Visible(text)))
}

// summarize adds Markdown to the summary of a job.
func summarize(write func(io.Writer) error) error {
	file := os.Getenv("GITHUB_STEP_SUMMARY")
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		err = errors.Join(write(f), f.Close())
	}
	if err != nil {
		return fmt.Errorf("writing the job's summary: %w", err)
	}
	return nil
}

// What workflow commands want escaped.
var (
	message  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)
