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
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hpabench/hpabench/analysis"
)

// JSON writes r as indented JSON, see analysis.Result. The rows of the timeline are written
// one by one: all at once would take ten times their memory.
func JSON(w io.Writer, r *analysis.Result) error {
	if len(r.Timeline) == 0 {
		return indented(w, r)
	}
	rest := *r
	rest.Timeline = []analysis.Second{{Second: math.MinInt}}
	var all bytes.Buffer
	if err := indented(&all, &rest); err != nil {
		return err
	}
	row := func(s *analysis.Second) ([]byte, error) {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("    ", "  ")
		err := e.Encode(s)
		return append([]byte("    "), bytes.TrimRight(b.Bytes(), "\n")...), err
	}
	place, err := row(&rest.Timeline[0])
	if err != nil {
		return err
	}
	before, after, _ := bytes.Cut(all.Bytes(), place) // no text of r has a line end in JSON
	out := bufio.NewWriter(&visible{Writer: w})
	_, _ = out.Write(before) // Flush tells
	for i := range r.Timeline {
		if i > 0 {
			_, _ = out.WriteString(",\n")
		}
		b, err := row(&r.Timeline[i])
		if err != nil {
			return err
		}
		_, _ = out.Write(b)
	}
	_, _ = out.Write(after)
	return out.Flush()
}

func indented(w io.Writer, v any) error {
	e := json.NewEncoder(&visible{Writer: w})
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
		{"timeline.csv", timelineCSV},
		{"pods.csv", podsCSV},
		{"events.csv", eventsCSV},
		{"stages.csv", stagesCSV},
		{"findings.csv", findingsCSV},
		{"junit.xml", JUnit},
		{"metrics.txt", OpenMetrics},
	} {
		if err := writeFile(filepath.Join(dir, f.name), func(w io.Writer) error { return f.write(w, r) }); err != nil {
			return fmt.Errorf("writing report %s: %w", filepath.Join(dir, f.name), err)
		}
	}
	return nil
}

// writing is held while a temporary file is there, unfinished is its name.
var (
	writing    sync.Mutex
	unfinished atomic.Pointer[string]
)

// Hold lets no more reports be written, for a process that is about to end. It waits for so
// long at most for one that is being written, and then removes what is there of it.
func Hold(patience time.Duration) {
	for end := time.Now().Add(patience); !writing.TryLock(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			if name := unfinished.Load(); name != nil {
				_ = os.Remove(*name)
			}
			return
		}
	}
}

// writeFile writes what write makes to a temporary file beside file and renames it.
func writeFile(file string, write func(io.Writer) error) error {
	writing.Lock()
	defer writing.Unlock()
	temporary, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	unfinished.Store(new(temporary.Name()))
	defer os.Remove(temporary.Name()) // nothing is there any more once it is renamed
	if err := temporary.Chmod(0o644); err != nil {
		temporary.Close()
		return err
	}
	out := bufio.NewWriterSize(temporary, 1<<20)
	if err := errors.Join(write(out), out.Flush()); err != nil {
		temporary.Close()
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), file)
}
