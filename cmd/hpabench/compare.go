package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
)

var comparisonFormats = map[string]func(io.Writer, analysis.Comparison) error{
	"table":    func(w io.Writer, c analysis.Comparison) error { return reports.CompareTable(w, c, width(w)) },
	"markdown": reports.CompareMarkdown,
	"json":     reports.CompareJSON,
	"csv":      reports.CompareCSV,
}

func (a *app) compareCommand() *cobra.Command {
	var format, figures string
	var failOnRegression, force, quiet bool
	cmd := &cobra.Command{
		Use:   "compare A B [C…]",
		Short: "Compare records, or folders of them, side by side",
		Long: `Compare the figures of two or more sets of runs with those of the first.

Each of A, B… is a record, the folder of a run, or a folder that holds the folders
of several runs of the same scenario: its trials, but for those that did not come to their
end or that somebody spoiled. What differs in the setup (the scenario, the cluster,
versions) is said first.

A difference is significant by the Mann-Whitney U test (p < 0.05) with Holm's correction
for the number of differences: 5 % of the comparisons of equal runs at most show one that
is better or worse. The others are shown as ~. The more figures there are, the more trials
that takes: with two sets 4 of each for 1 figure, 5 for up to 6, 6 for 23, 7 for 85, 8 for
321; with three sets each figure counts twice. --figure names the figures that matter.

With --fail-on-regression the exit code is 1 when a figure is significantly worse. It is 1 too
when all trials of the first set scaled and none of another did (no scale-up or scale-down
latency), with two trials of each at least. It is 2 when there are too few trials in every set
for any figure to be worse: one trial of each decides nothing, as the next may differ.`,
		Example: `  hpabench compare before after
  hpabench compare --figure '^scaleUp' -o markdown 15s 30s
  hpabench compare --fail-on-regression main branch`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			names, err := regexp.Compile(figures)
			if err != nil {
				return runner.BadInput{Err: fmt.Errorf("--figure: %w", err)}
			}
			w := a.work(quiet)
			defer w.done()
			var all []analysis.Trials
			var notes []string
			for _, arg := range args {
				t, said, err := readTrials(arg, true, w)
				if err == nil && len(t.Results) == 0 {
					err = noneFinished(arg, said)
				}
				if err != nil {
					return runner.BadInput{Err: err}
				}
				notes = append(notes, said...)
				all = append(all, t)
				if first, this := all[0].Results[0].Scenario, t.Results[0].Scenario; first != this && !force {
					return runner.BadInput{Err: fmt.Errorf("%s is of scenario %s, %s of %s: --force compares them all the same", args[0], first, arg, this)}
				}
			}
			for i := range all { // two folders named alike are told apart by their paths
				if slices.ContainsFunc(all[:i], func(t analysis.Trials) bool { return filepath.Base(t.Name) == all[i].Name }) {
					all[i].Name = filepath.Clean(args[i])
				}
			}
			c := analysis.Compare(all, names)
			if len(c.Figures) == 0 {
				return runner.BadInput{Err: fmt.Errorf("no figure that was measured matches %q: hpabench report -o csv lists them", figures)}
			}
			w.done()
			a.notes(notes)
			if err := comparisonFormats[format](a.stdout, c); err != nil {
				return err
			}
			if failOnRegression {
				return a.regressions(c)
			}
			if format == "csv" { // which has no place for it
				a.notes(c.Few)
			}
			return nil
		},
	}
	addOutput(cmd, &format, "table", slices.Sorted(maps.Keys(comparisonFormats))...)
	cmd.Flags().StringVar(&figures, "figure", analysis.MainFigures, "`regular expression` for the names of the figures, as summary.csv has them")
	cmd.Flags().BoolVar(&failOnRegression, "fail-on-regression", false, "exit with code 1 when a figure is significantly worse")
	addQuiet(cmd, &quiet)
	cmd.Flags().BoolVar(&force, "force", false, "compare different scenarios")
	return cmd
}

// errRegression says that a figure is worse.
var errRegression = errors.New("regression")

// latencies are the whole ones of a scale-up and of a scale-down.
var latencies = regexp.MustCompile(`^(scaleUp\.inService|scaleDown\.latency)$`)

// regressions is an errRegression for each figure that is significantly worse, and for each of latencies that all of the
// first trials have, where in none of the others the replicas changed. It is bad input where no figure could be worse.
// It notes which trials cannot be judged beside others.
func (a *app) regressions(c analysis.Comparison) (err error) {
	few, all := c.TooFew()
	if judged := func(f analysis.ComparedFigure) bool { return f.Better != "" }; !slices.ContainsFunc(c.Figures, judged) {
		few, all = []string{"of the figures that --figure names, less is no better than more. hpabench explain says of which it is."}, true
	}
	for _, f := range c.Figures {
		for i, d := range f.Against {
			switch of := f.Of[i+1]; {
			case latencies.MatchString(f.Name) && f.Of[0].Missing == 0 && of.Never == c.Trials[i+1] && min(c.Trials[0], c.Trials[i+1]) > 1, d.Worse && (of.Median == nil || of.Never > f.Of[0].Never):
				err = errors.Join(err, fmt.Errorf("%w: %s is measured in %d of %s of %s and in %d of %d of %s: %s", errRegression, f.Name,
					len(f.Of[0].Values), record.Counted(c.Trials[0], "trial"), c.Names[0], len(of.Values), c.Trials[i+1], c.Names[i+1], of.Reason))
			case d.Worse:
				err = errors.Join(err, fmt.Errorf("%w: %s is worse in %s: %s, not %s %s", errRegression, f.Name, c.Names[i+1], record.Plain(*f.Of[i+1].Median, 4), record.Plain(*f.Of[0].Median, 4), f.Unit))
			}
		}
	}
	if all && err == nil {
		return runner.BadInput{Err: fmt.Errorf("--fail-on-regression cannot fail: %s", strings.Join(few, " "))}
	}
	a.notes(few)
	return err
}

// finished says that a run is one of the trials: it came to its end, and nobody changed what it measured.
func finished(r *analysis.Result) bool {
	return r.Outcome == record.Completed && r.Spoiled() == nil
}

// noneFinished says that all runs in dir are left out, and what to do.
func noneFinished(dir string, left []string) error {
	return fmt.Errorf("%s holds no finished trial (%s): name the folder of one to see what it measured", dir, left[0])
}

// readTrials reads a record, the folder of one, or a folder of such folders. It notes which runs are not finished, and leaves
// them out, unless path is that of one such run and keep says that it was asked for.
func readTrials(path string, keep bool, w *work) (t analysis.Trials, notes []string, err error) {
	t.Name = filepath.Base(filepath.Clean(path))
	folders := record.Folders(path)
	files, err := record.Files(path)
	if err != nil {
		if len(folders) > 0 {
			err = fmt.Errorf("%s holds combinations of settings: compare two of its folders, such as %s, or see them all by hpabench report", path, folders[0])
		}
		return t, nil, err
	}
	for _, file := range files {
		run, err := w.read(file)
		if err != nil {
			return t, nil, err
		}
		r, err := judge(run, "", outputFlag{}, w)
		if err != nil {
			return t, nil, err
		}
		if !finished(r) {
			why := "somebody changed what it measured"
			if r.Outcome != record.Completed {
				why = cmp.Or(r.Outcome, "its record has no end")
			}
			if len(folders) > 0 || !keep {
				notes = append(notes, fmt.Sprintf("%s is left out of the trials: %s", filepath.Dir(file), why))
				continue
			}
			notes = append(notes, fmt.Sprintf("%s is compared by what was measured of it: %s", path, why))
		}
		if len(t.Results) > 0 && t.Results[0].Scenario != r.Scenario {
			return t, nil, fmt.Errorf("%s holds runs of scenario %s and of %s", path, t.Results[0].Scenario, r.Scenario)
		}
		t.Results, t.Sources = append(t.Results, r), append(t.Sources, run.Header().Source)
	}
	return t, notes, nil
}
