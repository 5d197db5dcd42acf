// Package reports turns a result of package analysis into bytes, one file a
// format: a table for a terminal, HTML, Markdown, JSON, CSV, JUnit,
// OpenMetrics, and pictures.
//
// Table and Markdown say the same in the same order, which sections makes for
// both: first what casts doubt on the run, then the answer in a sentence, then
// the details. What was not measured is "–" in tables, with the reason below,
// and an empty cell in CSV.
package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hpabench/hpabench/analysis"
)

// JSON writes r as indented JSON, see analysis.Result.
func JSON(w io.Writer, r *analysis.Result) error { return indented(w, r) }

func indented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// WriteAll writes report.html, report.md, result.json, summary.csv, timeline.csv, pods.csv,
// events.csv, stages.csv, findings.csv, junit.xml and metrics.txt into dir, which it makes if
// need be. Each file is there whole or not at all; one that is there already is replaced.
func WriteAll(dir string, r *analysis.Result) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing the reports: %w", err)
	}
	for _, f := range []struct {
		name  string
		write func(io.Writer, *analysis.Result) error
	}{
		{"report.html", HTML},
		{"report.md", Markdown},
		{"result.json", JSON},
		{"summary.csv", SummaryCSV},
		{"timeline.csv", TimelineCSV},
		{"pods.csv", PodsCSV},
		{"events.csv", EventsCSV},
		{"stages.csv", StagesCSV},
		{"findings.csv", FindingsCSV},
		{"junit.xml", JUnit},
		{"metrics.txt", OpenMetrics},
	} {
		if err := writeFile(filepath.Join(dir, f.name), func(w io.Writer) error { return f.write(w, r) }); err != nil {
			return fmt.Errorf("writing report %s: %w", filepath.Join(dir, f.name), err)
		}
	}
	return nil
}

// writeFile writes what write makes to a temporary file beside file and renames it.
func writeFile(file string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) // nothing is there any more once it is renamed
	if err := temporary.Chmod(0o644); err != nil {
		temporary.Close()
		return err
	}
	if _, err := b.WriteTo(temporary); err != nil {
		temporary.Close()
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), file)
}
