package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
)

// combination is one of those of a sweep, with what its trials said.
type combination struct {
	name, folder string
	analysis.Trials
	verdicts []analysis.Verdict
}

// newCombination is one by its values, and by the scenario's name where there are none.
func newCombination(values, scenario string) (c combination) {
	c.name, c.Name = values, scenario
	if values != "" {
		c.Name = values
		c.folder = unsafe.ReplaceAllString(strings.ReplaceAll(values, " ", ","), "_")
	}
	return c
}

// folder of the nth of so many runs of c, in dir.
func (c *combination) folderOf(dir string, n, repeat int) string {
	if dir = filepath.Join(dir, c.folder); repeat > 1 {
		dir = filepath.Join(dir, fmt.Sprintf("trial-%02d", n+1))
	}
	return dir
}

// several makes a number of runs of each variant, and shows what all of them say. It
// begins no more when one could not be made.
func (a *app) several(ctx context.Context, t trial, settings []scenarios.Setting, variants []scenarios.Variant) error {
	all := make([]combination, len(variants))
	for i, v := range variants {
		all[i] = newCombination(v.Name(settings), v.Metadata.Name)
	}
	parallel := min(t.parallel, t.repeat*len(variants))
	var mu sync.Mutex
	ended := runner.Trials(ctx, t.repeat*len(variants), parallel, func(i int, alone func() error) error {
		n, of := i/len(variants), i%len(variants)
		over := a.orderly()
		one := t
		one.file, one.id, one.alone = variants[of].File, runner.NewID(), alone
		one.dir, one.part = all[of].folderOf(t.dir, n, t.repeat), simulate.Part(n)
		one.show = newDisplay(a.stderr, t.quiet)
		what := strings.TrimSpace(fmt.Sprintf("trial %d of %d %s", n+1, t.repeat, all[of].name))
		if parallel > 1 {
			one.show.live, one.show.prefix = nil, "["+strings.TrimSpace(fmt.Sprintf("%d %s", n+1, all[of].name))+"] "
			one.beside = parallel - 1
		}
		one.show.progress(runner.Progress{Message: what})
		run, err := one.measure(ctx, a)
		one.show.close()
		over() // judging looks at no context
		var r *analysis.Result
		if run != nil {
			var unwritten error
			r, unwritten = judge(run, one.dir, t.output, nil)
			err = errors.Join(err, spoiled(r, err), unwritten)
		}
		if r != nil && finished(r) {
			mu.Lock()
			defer mu.Unlock()
			all[of].Results, all[of].Sources = append(all[of].Results, r), append(all[of].Sources, run.Header().Source)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
	done := slices.DeleteFunc(all, func(c combination) bool { return len(c.Results) == 0 })
	if len(done) == 0 {
		return ended
	}
	return errors.Join(ended, a.printTrials(t, len(settings) > 0, done))
}

// unsafe are the characters that a folder's name should not have.
var unsafe = regexp.MustCompile(`[^\w=.,%+-]+`)

// allowTrials refuses what there is of single runs only.
func (f *outputFlag) allowTrials() error {
	if slices.Contains([]string{"html", "openmetrics"}, f.format) {
		return runner.BadInput{Err: fmt.Errorf("-o %s is of a single run: each of several has it in its folder", f.format)}
	}
	return nil
}

// printTrials shows what the trials of each combination say.
func (a *app) printTrials(t trial, set bool, done []combination) error {
	var trials []analysis.Trials
	var verdicts [][]analysis.Verdict
	for i := range done {
		done[i].verdicts = analysis.JudgeTrials(done[i].Results)
		trials, verdicts = append(trials, done[i].Trials), append(verdicts, done[i].verdicts)
	}
	c := analysis.Compare(trials, regexp.MustCompile(analysis.MainFigures))
	if set {
		c.Differ = nil // the settings, which the names say
	}
	name := done[0].Results[0].Scenario
	var err error
	if t.dir != "" {
		err = reports.WriteTrials(t.dir, name, c, verdicts)
		defer fmt.Fprintf(a.stderr, "the trials and their reports are in %s\n", t.dir)
	}
	markdown := func(w io.Writer) error { return reports.TrialsMarkdown(w, name, c, verdicts) }
	switch t.output.format {
	case "json":
		err = errors.Join(err, reports.TrialsJSON(a.stdout, c, verdicts))
	case "csv":
		err = errors.Join(err, reports.CompareCSV(a.stdout, c))
	case "junit":
		err = errors.Join(err, reports.TrialsJUnit(a.stdout, name, c, verdicts))
	case "markdown":
		err = errors.Join(err, markdown(a.stdout))
	default:
		err = errors.Join(err, reports.TrialsTable(a.stdout, c, verdicts, width(a.stdout)))
	}
	err = errors.Join(err, summarize(markdown))
	var failed error
	for _, d := range done {
		for _, v := range d.verdicts {
			if v.Verdict != analysis.Fail && (v.Verdict != analysis.Inconclusive || !t.inconclusive || len(d.Results) == 1) {
				continue
			}
			fault := fmt.Errorf("%w: %s: %s", errMissed, v.Expression, v)
			if d.name != "" {
				fault = fmt.Errorf("%s: %w", d.name, fault)
			}
			failed = errors.Join(failed, fault)
		}
	}
	if failed == nil {
		return err
	}
	annotate(a.stderr, "error", "hpabench: expectation missed", failed.Error())
	return errors.Join(err, failed)
}
