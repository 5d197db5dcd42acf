package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/expect"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
)

func (a *app) reportCommand() *cobra.Command {
	var output outputFlag
	var out string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "report RECORD|FOLDER",
		Short: "Make the reports of a run again from its record",
		Long: `Make the reports of a run again from its record: a folder that run made, or the
record.jsonl in it. The record of a run that was killed will do: what had been
measured by then is reported. Of a folder that holds those of several trials it is what
they say together, and of one that holds combinations of settings (run --set, matrix) a
table of them. A trial that did not come to its end, or that somebody spoiled, is left out.

The exit code is 1 when an expectation was missed. Those of a run that did not
come to its end, or that somebody spoiled, are not judged.`,
		Example: `  hpabench report hpabench-demo-nginx-x7k2p
  hpabench report hpabench-demo-nginx-x7k2p -o markdown > report.md
  hpabench report record.jsonl --out again --plots`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output.plots && out == "" {
				return runner.BadInput{Err: errors.New("--plots needs --out FOLDER, where the pictures go")}
			}
			own := args[0]
			if filepath.Base(own) == record.File {
				own = filepath.Dir(own)
			}
			if !sameFolder(out, own) {
				if err := checkOut(out); err != nil {
					return err
				}
			}
			w := a.work(quiet)
			defer w.done()
			if folders := record.Folders(args[0]); len(folders) > 0 {
				return a.reportFolders(args[0], folders, out, output, w)
			}
			files, err := record.Files(args[0])
			if err != nil {
				return runner.BadInput{Err: err}
			}
			run, err := w.read(files[0])
			if err != nil {
				return runner.BadInput{Err: err}
			}
			_, err = a.report(run, out, output, w)
			return err
		},
	}
	output.add(cmd)
	cmd.Flags().StringVar(&out, "out", "", "`folder` for the reports (default: none are written)")
	addQuiet(cmd, &quiet)
	return cmd
}

// sameFolder says whether two names, one of which may go through a link, are of one folder.
func sameFolder(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// reportFolders shows what the trials in the folders of dir say together, or of each
// combination of settings, and writes it to out unless that is empty. Runs of the same
// scenario, to the letter, are trials of one combination.
func (a *app) reportFolders(dir string, folders []string, out string, output outputFlag, w *work) error {
	if err := output.allowTrials(); err != nil {
		return err
	}
	var all []combination
	var notes []string
	for _, folder := range slices.SortedFunc(slices.Values(folders), byValue) {
		t, said, err := readTrials(folder, false, w)
		if err != nil {
			return runner.BadInput{Err: err}
		}
		notes = append(notes, said...)
		for i, r := range t.Results {
			if len(all) > 0 && all[0].Results[0].Scenario != r.Scenario {
				return runner.BadInput{Err: fmt.Errorf("%s holds runs of scenario %s and of %s", dir, all[0].Results[0].Scenario, r.Scenario)}
			}
			at := slices.IndexFunc(all, func(c combination) bool { return c.Sources[0] == t.Sources[i] })
			if at < 0 {
				name := strings.ReplaceAll(t.Name, ",", " ") // as combination.folder was made
				at, all = len(all), append(all, combination{name: name, Trials: analysis.Trials{Name: name}})
			}
			all[at].Results, all[at].Sources = append(all[at].Results, r), append(all[at].Sources, t.Sources[i])
		}
	}
	w.done()
	if len(all) == 0 {
		return runner.BadInput{Err: noneFinished(dir, notes)}
	}
	a.notes(notes)
	if len(all) == 1 {
		all[0].name, all[0].Name = "", filepath.Base(filepath.Clean(dir))
	}
	return a.printTrials(trial{runFlags: &runFlags{output: output}, dir: out}, len(all) > 1, all)
}

// byValue compares folders of combinations, such as target=40,min=2, by the values of their settings.
func byValue(a, b string) int {
	valueOf := func(text string) (number float64, unit string) {
		unit = strings.TrimLeft(text, "+-.0123456789")
		if d, err := time.ParseDuration(text); err == nil && unit != "" {
			return d.Seconds(), "s"
		}
		number, _ = strconv.ParseFloat(strings.TrimSuffix(text, unit), 64)
		return number, unit
	}
	return slices.CompareFunc(strings.Split(filepath.Base(a), ","), strings.Split(filepath.Base(b), ","), func(a, b string) int {
		name, text, _ := strings.Cut(a, "=")
		other, against, _ := strings.Cut(b, "=")
		x, in := valueOf(text)
		y, of := valueOf(against)
		return cmp.Or(cmp.Compare(name, other), cmp.Compare(in, of), cmp.Compare(x, y), cmp.Compare(text, against))
	})
}

// judge works out the result of a run, with its expectations, and writes its reports to
// dir unless that is empty.
func judge(run *analysis.Builder, dir string, output outputFlag, w *work) (*analysis.Result, error) {
	w.does("working out the figures")
	result, err := run.Result()
	if err != nil {
		return nil, err
	}
	// What was expected of the whole run says nothing of a part, nor of something else.
	if header := run.Header(); header != nil && finished(result) {
		w.does("judging the expectations")
		result.Expectations = expect.Judge(header.Expect, result)
	}
	if dir != "" {
		w.does("writing the reports")
		err = reports.WriteAll(dir, result)
	}
	if output.plots {
		w.does("drawing the plots")
		err = errors.Join(err, reports.WritePlots(filepath.Join(dir, "plots"), result))
	}
	return result, err
}

// report shows the result of a run, and writes its reports to dir unless that
// is empty. The error is errMissed when an expectation was missed.
func (a *app) report(run *analysis.Builder, dir string, output outputFlag, w *work) (*analysis.Result, error) {
	result, err := judge(run, dir, output, w)
	w.done()
	if result == nil {
		return nil, err
	}
	return result, errors.Join(formats[output.format](a.stdout, result), err, tellGitHub(a.stderr, result), missed(result))
}

// missed is an errMissed for each expectation that was.
func missed(r *analysis.Result) (err error) {
	for _, e := range r.Expectations {
		if e.Outcome == analysis.Missed {
			err = errors.Join(err, fmt.Errorf("%w: %s: %s", errMissed, e.Expression, e.Detail))
		}
	}
	return err
}

// formats are the values of -o.
var formats = map[string]func(io.Writer, *analysis.Result) error{
	"table":       func(w io.Writer, r *analysis.Result) error { return reports.Table(w, r, width(w)) },
	"markdown":    reports.Markdown,
	"json":        reports.JSON,
	"csv":         reports.SummaryCSV,
	"junit":       reports.JUnit,
	"html":        reports.HTML,
	"openmetrics": reports.OpenMetrics,
}

// outputFlag is -o, with --plots beside it.
type outputFlag struct {
	format string
	plots  bool
}

func (f *outputFlag) add(cmd *cobra.Command) {
	addOutput(cmd, &f.format, "table", slices.Sorted(maps.Keys(formats))...)
	cmd.Flags().BoolVar(&f.plots, "plots", false, "write each picture of the HTML report as SVG and PNG too, to the folder plots beside it")
}

// terminal is the terminal that w writes to in the end, nil if that is none.
func terminal(w io.Writer) *os.File {
	if t, ok := w.(*reports.Terminal); ok {
		w = t.Writer
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// width is that of the terminal, or 100 columns for a file or a pipe.
func width(w io.Writer) int {
	if f := terminal(w); f != nil {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 { // 0 where nobody said
			return columns
		}
	}
	return 100
}
