package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/expect"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
)

// syncPeriod is that of the HPA controller by default.
const syncPeriod = 15 * time.Second

// repeat makes a number of runs one after the other, each in a folder of its own, and
// shows what all of them say. It ends with the first that cannot be made.
func (a *app) repeat(ctx context.Context, t trial) error {
	base := t.dir
	all := analysis.Trials{Name: t.file.Metadata.Name}
	stdout := a.stdout
	var ended error
	for n := range t.repeat {
		t.id, t.dir = runner.NewID(), filepath.Join(base, fmt.Sprintf("trial-%02d", n+1))
		// Multiples of the golden ratio cover a period evenly however many there are, and
		// its parts too.
		_, part := math.Modf(float64(n) * math.Phi)
		t.wait = time.Duration(part * float64(syncPeriod))
		t.show.progress(runner.Progress{Message: fmt.Sprintf("trial %d of %d", n+1, t.repeat)})
		a.stdout = io.Discard // the report of each is in its folder
		err := t.run(ctx, a)
		a.stdout = stdout
		t.show = newDisplay(a.stderr, t.quiet)
		if run, err := record.Open(filepath.Join(t.dir, recordFile)); err == nil && began(run) {
			r, err := analysis.Analyze(run)
			if err != nil {
				return err
			}
			if r.Outcome == record.Completed {
				r.Expectations = expect.Judge(run.Header().Expect, r)
				all.Results, all.Sources = append(all.Results, r), append(all.Sources, run.Header().Source)
			}
		}
		if err != nil && !onlyMissed(err) {
			ended = fmt.Errorf("trial %d of %d: %w", n+1, t.repeat, err)
			break
		}
	}
	if len(all.Results) == 0 {
		return ended
	}
	c := analysis.Compare([]analysis.Trials{all}, regexp.MustCompile(mainFigures))
	verdicts := analysis.JudgeTrials(all.Results)
	if err := errors.Join(ended, writeTrials(filepath.Join(base, "trials.json"), c, verdicts)); err != nil {
		return err
	}
	switch t.output.format {
	case "json":
		if err := printTrials(a.stdout, c, verdicts); err != nil {
			return err
		}
	case "csv":
		if err := reports.CompareCSV(a.stdout, c); err != nil {
			return err
		}
	case "markdown":
		if err := reports.TrialsMarkdown(a.stdout, c, verdicts); err != nil {
			return err
		}
	default:
		if err := reports.TrialsTable(a.stdout, c, verdicts, width(a.stdout)); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.stderr, "the trials and their reports are in %s\n", base)
	var err error
	for _, v := range verdicts {
		if v.Verdict == analysis.Fail || v.Verdict == analysis.Inconclusive && t.inconclusive {
			err = errors.Join(err, fmt.Errorf("%w: %s: %s, met by %d of %d trials", errMissed, v.Expression, v.Verdict, v.Met, v.Trials))
		}
	}
	return err
}

func writeTrials(file string, c analysis.Comparison, verdicts []analysis.Verdict) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("writing the trials: %w", err)
	}
	return errors.Join(printTrials(f, c, verdicts), f.Close())
}

func printTrials(w io.Writer, c analysis.Comparison, verdicts []analysis.Verdict) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Verdicts []analysis.Verdict `json:"verdicts"`
		analysis.Comparison
	}{verdicts, c})
}
