package reports

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

// CompareTable writes a comparison for a terminal of that many columns.
func CompareTable(w io.Writer, c analysis.Comparison, width int) error {
	return writeSections(w, c.Assumed, compareSections(c), width)
}

// TrialsTable writes what several trials of a scenario say, or of each of several
// combinations of settings, for a terminal of that many columns. verdicts has a list for
// each of c.Names.
func TrialsTable(w io.Writer, c analysis.Comparison, verdicts [][]analysis.Verdict, width int) error {
	return writeSections(w, c.Assumed, trialSections(c, verdicts), width)
}

// TrialsMarkdown writes the same as Markdown.
func TrialsMarkdown(w io.Writer, title string, c analysis.Comparison, verdicts [][]analysis.Verdict) error {
	return markdownSections(w, title, c.Assumed, trialSections(c, verdicts))
}

// TrialsJSON writes the same as indented JSON: a Comparison with the verdicts of each of
// its names.
func TrialsJSON(w io.Writer, c analysis.Comparison, verdicts [][]analysis.Verdict) error {
	return indented(w, struct {
		Verdicts [][]analysis.Verdict `json:"verdicts"`
		analysis.Comparison
	}{verdicts, c})
}

// WriteTrials writes trials.json and junit.xml into dir, which it makes if need be.
func WriteTrials(dir, scenario string, c analysis.Comparison, verdicts [][]analysis.Verdict) error {
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = errors.Join(writeFile(filepath.Join(dir, "trials.json"), func(w io.Writer) error { return TrialsJSON(w, c, verdicts) }),
			writeFile(filepath.Join(dir, "junit.xml"), func(w io.Writer) error { return TrialsJUnit(w, scenario, c, verdicts) }))
	}
	if err != nil {
		return fmt.Errorf("writing the trials: %w", err)
	}
	return nil
}

// trialSections are the verdicts on the expectations, and the figures.
func trialSections(c analysis.Comparison, verdicts [][]analysis.Verdict) []section {
	if len(c.Names) > 1 {
		return []section{sweepSection(c, verdicts)}
	}
	if len(verdicts[0]) == 0 {
		return []section{spreadSection(c)}
	}
	g := &grid{columns: []column{{name: "verdict", text: true}, {name: "expected", text: true, give: true}, {name: "met"}, {name: "p"}, {name: "to settle"}}}
	var notes reasons
	for _, v := range verdicts[0] {
		for _, why := range v.Unmeasured {
			notes.add("%s: %s.", v.Expression, why)
		}
		more := ""
		if v.More > 0 {
			more = fmt.Sprintf("%d more", v.More)
		}
		g.add(v.Words(), v.Expression, fmt.Sprintf("%d of %d", v.Met, v.Trials), fmt.Sprintf("%.3f", v.P), more)
	}
	notes.add("Of the median run, by the sign test: p is how likely that many trials agree by chance. The verdict is pass or fail with p below %g, and inconclusive above; an expectation that no trial met fails with any p. To settle: so many more trials, if they went as most did.", analysis.Alpha)
	return append([]section{{title: "Expectations", grid: g, notes: notes}}, spreadSection(c))
}

// spreadSection shows how far each figure is spread over the trials.
func spreadSection(c analysis.Comparison) section {
	g := &grid{columns: []column{{name: "figure", text: true}, {name: "median"}, {name: fmt.Sprintf("%.0f %% interval", analysis.Confidence*100), spare: 1}, {name: "least"}, {name: "most"}, {name: "without", spare: 2, noted: true}}}
	for _, f := range c.Figures {
		d := f.Of[0]
		g.add(f.Name, figureOf(*d.Median, f.Unit), interval(d), figureOf(slices.Min(d.Values), ""), figureOf(slices.Max(d.Values), ""), number(&d.Missing))
	}
	return section{title: "Figures of " + record.Counted(c.Trials[0], "trial"), grid: g,
		notes: append(slices.Concat(c.Doubts, c.Findings), "The interval of the median is that of the order statistics, which assumes no distribution; it takes 6 trials. Without: trials in which it was not measured.")}
}

// sweepFigures are the columns of a sweep, those that matter least with the highest
// number first to go.
var sweepFigures = []struct {
	name  string
	spare int
}{
	{"scaleUp.coldStart", 0}, {"scaleUp.inService", 0}, {"scaleUp.timeToFull", 2}, {"scaleDown.latency", 0}, {"replicas.peak", 1}, {"replicas.saturated", 7},
	{"load.total.p99", 3}, {"load.total.errorShare", 8}, {"load.total.sloViolated", 4}, {"elasticity.underProvisioned.timeshare", 5}, {"elasticity.wasted", 6},
	{"queue.oldest", 1}, {"queue.drain", 2},
}

// sweepSection has a row for each combination, and marks the best of each column.
func sweepSection(c analysis.Comparison, verdicts [][]analysis.Verdict) section {
	g := &grid{columns: []column{{name: "combination", text: true}, {name: "met", text: true}}}
	rows := make([][]string, len(c.Names))
	missed := reasons(slices.Concat(c.Doubts, c.Findings))
	for i, name := range c.Names {
		met, all := 0, 0
		for _, v := range verdicts[i] {
			met, all = met+v.Met, all+v.Trials
			if v.Met < v.Trials {
				missed.add("%s: %s: %s", name, v.Expression, v)
			}
		}
		cell := none
		if all > 0 {
			cell = fmt.Sprintf("%d of %d", met, all)
		}
		rows[i] = []string{fmt.Sprintf("%s (%d)", name, c.Trials[i]), cell}
	}
	for _, wanted := range sweepFigures {
		at := slices.IndexFunc(c.Figures, func(f analysis.ComparedFigure) bool { return f.Name == wanted.name })
		if at < 0 {
			continue
		}
		f := c.Figures[at]
		var medians []float64
		for _, d := range f.Of {
			if d.Median != nil {
				medians = append(medians, *d.Median)
			}
		}
		best, differ := slices.Min(medians), slices.Min(medians) != slices.Max(medians)
		if f.Better == analysis.HigherIsBetter {
			best = slices.Max(medians)
		}
		g.columns = append(g.columns, column{name: wanted.name, spare: wanted.spare, noted: true})
		for i, d := range f.Of {
			mark := " "
			if f.Better != "" && differ && d.Median != nil && *d.Median == best {
				mark = "*"
			}
			rows[i] = append(rows[i], distribution(d, f.Unit)+mark)
		}
	}
	for _, row := range rows {
		g.add(row...)
	}
	return section{title: "Combinations", grid: g, notes: append(missed, "Medians; (n): of n trials, where the others have none; * is the best of its column. With so many columns one is the best by chance: hpabench compare tests the differences between two of them. met: expectations, of all trials.")}
}

func writeSections(w io.Writer, assumed []string, sections []section, width int) error {
	var b bytes.Buffer
	width = max(width, 40)
	for _, text := range assumed {
		writeParagraph(&b, width, "Assumed: ", text)
	}
	for i, s := range sections {
		if i > 0 || b.Len() > 0 {
			fmt.Fprintln(&b)
		}
		if err := s.writeText(&b, width, nil); err != nil {
			return err
		}
	}
	_, err := b.WriteTo(&Terminal{Writer: w})
	return err
}

// CompareMarkdown writes a comparison as Markdown.
func CompareMarkdown(w io.Writer, c analysis.Comparison) error {
	return markdownSections(w, strings.Join(c.Names, " against "), c.Assumed, compareSections(c))
}

func markdownSections(w io.Writer, title string, assumed []string, sections []section) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# hpabench: %s\n", escape(title))
	for _, text := range assumed {
		fmt.Fprintf(&b, "\n> Assumed: %s\n", prose(text))
	}
	for _, s := range sections {
		if err := s.writeMarkdown(&b, nil); err != nil {
			return err
		}
	}
	_, err := b.WriteTo(w)
	return err
}

// CompareJSON writes a comparison as indented JSON, see analysis.Comparison.
func CompareJSON(w io.Writer, c analysis.Comparison) error { return indented(w, c) }

// CompareCSV writes one row a figure and trials: the median, its interval, and the
// difference from the first trials.
func CompareCSV(w io.Writer, c analysis.Comparison) error {
	rows := [][]string{{"name", "unit", "of", "trials", "missing", "median", "low", "high", "confidence", "difference", "relative", "p", "smallest_p", "adjusted_p", "significant", "worse"}}
	for _, f := range c.Figures {
		for i, d := range f.Of {
			row := []string{f.Name, f.Unit, c.Names[i], cell(&c.Trials[i]), cell(&d.Missing), cell(d.Median), cell(d.Low), cell(d.High), "", "", "", "", "", "", "", ""}
			if d.Low != nil {
				row[8] = cell(&d.Confidence)
			}
			if i > 0 {
				a := f.Against[i-1]
				row[9], row[10], row[11], row[12], row[13] = cell(a.Absolute), cell(a.Relative), cell(a.P), cell(&a.SmallestP), cell(a.AdjustedP)
				row[14], row[15] = fmt.Sprint(a.Significant), fmt.Sprint(a.Worse)
			}
			rows = append(rows, row)
		}
	}
	return write(w, rows)
}

// longestName is how long the name of a column may be: letters stand for longer ones.
const longestName = 16

// compareSections are what differs, and the figures side by side.
func compareSections(c analysis.Comparison) []section {
	var list []section
	if len(c.Differ) > 0 {
		list = append(list, section{title: "Differences in setup", text: c.Differ})
	}
	g := &grid{columns: []column{{name: "figure", text: true}}}
	names := slices.Clone(c.Names)
	if slices.ContainsFunc(names, func(name string) bool { return len(name) > longestName }) {
		var text []string
		for i, name := range c.Names {
			names[i] = string(rune('A' + i%26))
			text = append(text, names[i]+": "+name)
		}
		list = append(list, section{title: "Runs", text: text})
	}
	intervals := slices.ContainsFunc(c.Figures, func(f analysis.ComparedFigure) bool {
		return slices.ContainsFunc(f.Of, func(d analysis.Distribution) bool { return d.Low != nil })
	})
	for i, name := range names {
		g.columns = append(g.columns, column{name: fmt.Sprintf("%s (%d)", name, c.Trials[i])})
		if intervals {
			g.columns = append(g.columns, column{name: "interval", spare: 2, noted: true})
		}
		if i > 0 {
			g.columns = append(g.columns, column{name: "Δ", text: true}, column{name: "p", spare: 1, noted: true})
		}
	}
	notes := reasons(slices.Concat(c.Few, c.Doubts, c.Findings))
	tested, corrected := 0, ""
	for _, f := range c.Figures {
		cells := []string{f.Name}
		for i, d := range f.Of {
			cells = append(cells, distribution(d, f.Unit))
			if intervals {
				cells = append(cells, interval(d))
			}
			if i == 0 {
				continue
			}
			a := f.Against[i-1]
			verdict := ""
			switch {
			case a.Worse:
				verdict = "worse"
			case a.Significant && f.Better != "":
				verdict = "better"
			case a.Significant:
				verdict = "differs"
			}
			cells = append(cells, strings.TrimSpace(differenceOf(a, f.Unit)+" "+verdict), "")
			if a.AdjustedP != nil {
				corrected = ", by Holm's correction"
				if cells[len(cells)-1] = fmt.Sprintf("%.3f", *a.AdjustedP); *a.AdjustedP < 0.0005 {
					cells[len(cells)-1] = "<0.001"
				}
				if f.Better != "" {
					tested++
				}
			}
		}
		g.add(cells...)
	}
	for i, x := range c.SpeedUp {
		if x != nil {
			notes.add("Elastic speed-up of %s over %s: %.2f (the geometric mean of how many times smaller the two normalized accuracies and the two timeshares are; above 1 is better).", c.Names[i+1], c.Names[0], *x)
		}
	}
	if tested > 0 {
		corrected += fmt.Sprintf(" for the %s that can be better or worse, and for the others among themselves", record.Counted(tested, "tested difference"))
	}
	notes.add("Δ: the difference from the first. Medians, with their %.0f %% interval, which takes 6 trials; (n): of n trials, where the others have none; a latency of replicas that never changed is longer than any. p: of the Mann-Whitney U test%s. ~: no significant difference (p ≥ %g).", analysis.Confidence*100, corrected, analysis.Alpha)
	return append(list, section{title: "Figures", grid: g, notes: notes})
}

// interval is that of the median.
func interval(d analysis.Distribution) string {
	if d.Low == nil {
		return none
	}
	return fmt.Sprintf("%s to %s", figureOf(*d.Low, ""), figureOf(*d.High, ""))
}

func distribution(d analysis.Distribution, unit string) string {
	switch {
	case d.Median == nil && d.Never > 0:
		return "never"
	case d.Median == nil:
		return "–"
	}
	s := figureOf(*d.Median, unit)
	if d.Missing > 0 {
		s += fmt.Sprintf(" (%d)", len(d.Values))
	}
	return s
}

func differenceOf(a analysis.Difference, unit string) string {
	switch {
	case a.P != nil && !a.Significant:
		return "~"
	case a.Absolute == nil && a.Significant:
		return "" // from or to never
	case a.Absolute == nil:
		return "–"
	case !a.Significant:
		return "~"
	case a.Relative == nil:
		sign := ""
		if *a.Absolute >= 0 {
			sign = "+"
		}
		return sign + figureOf(*a.Absolute, unit)
	}
	return fmt.Sprintf("%+.1f %%", *a.Relative*100)
}

// figureOf is a number with its unit, to four digits.
func figureOf(x float64, unit string) string {
	s := record.Plain(x, 4)
	switch unit {
	case "", "1", "replicas", "requests", "messages", "bool":
		return s
	case "1/s":
		return s + "/s"
	}
	return s + " " + unit
}
