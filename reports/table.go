package reports

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// defaultWidth is that of a terminal that does not tell its own.
const defaultWidth = 80

// Table writes r for a terminal of that many columns; 0 stands for defaultWidth.
// With little room, columns that matter less are left out and long cells cut.
func Table(w io.Writer, r *analysis.Result, width int) error {
	if width <= 0 {
		width = defaultWidth
	}
	width = max(width, 40)
	var b bytes.Buffer
	paragraph := func(indent, text string) { writeParagraph(&b, width, indent, text) }
	for _, text := range r.Assumed {
		paragraph("Assumed: ", text)
	}
	for _, text := range r.Warnings {
		paragraph("Warning: ", text)
	}
	for _, text := range r.Notes {
		paragraph("Note: ", text)
	}
	if b.Len() > 0 {
		fmt.Fprintln(&b)
	}
	subject, rest := headline(r)
	paragraph("", fmt.Sprintf("%s: %s.", subject, rest))
	if text := setting(r); text != "" {
		paragraph("", text)
	}
	fmt.Fprintln(&b)
	if len(r.Findings) == 0 {
		paragraph("", noFindings)
	} else {
		paragraph("", "Findings")
	}
	for _, f := range r.Findings {
		head, below := findingLines(f)
		paragraph("  ", head)
		for _, text := range below {
			paragraph("    ", text)
		}
	}
	for _, s := range sections(r, width) {
		if s.title == "Events" {
			s = notable(s, r)
		}
		fmt.Fprintln(&b)
		if err := s.writeText(&b, width, r); err != nil {
			return err
		}
	}
	_, err := b.WriteTo(&Terminal{Writer: w})
	return err
}

// writeParagraph writes text broken into lines, of which those after the first are
// indented by blanks.
func writeParagraph(b *bytes.Buffer, width int, indent, text string) {
	for _, line := range Wrap(oneLine(text), width-utf8.RuneCountInString(indent)) {
		fmt.Fprintln(b, indent+line)
		indent = strings.Repeat(" ", utf8.RuneCountInString(indent))
	}
}

func (s section) writeText(b *bytes.Buffer, width int, r *analysis.Result) error {
	writeParagraph(b, width, "", s.title)
	for _, text := range s.text {
		writeParagraph(b, width, "  ", text)
	}
	if s.chart {
		for _, line := range chart(r, width-2) {
			fmt.Fprintln(b, "  "+line)
		}
	}
	if s.grid != nil && len(s.grid.rows) > 0 {
		fitting := s.grid.fit(width - 2)
		if err := draw(b, fitting); err != nil {
			return err
		}
		if left := leftOut(s.grid, fitting); left != nil {
			s.notes = append([]string{fmt.Sprintf("%d columns have no room for %s: a wider terminal or another -o shows them.", width, strings.Join(left, ", "))}, s.notes...)
		}
	}
	for _, text := range s.notes {
		writeParagraph(b, width, "  ", text)
	}
	return nil
}

// leftOut are the names of the noted columns of which fitting has fewer.
func leftOut(g, fitting *grid) (names []string) {
	count := map[string]int{}
	for _, c := range fitting.columns {
		count[c.name]++
	}
	for _, c := range g.columns {
		if count[c.name]--; c.noted && count[c.name] < 0 && !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
	}
	return names
}

// notable keeps those events that a reader at a terminal looks for: warnings,
// and what the HPA did.
func notable(s section, r *analysis.Result) section {
	s.grid = eventTable(slices.DeleteFunc(eventLines(r), func(l *eventLine) bool { return !isNotable(l.Event) }))
	others := 0
	for _, e := range r.Events {
		if !isNotable(e) {
			others++
		}
	}
	if others > 0 {
		are := " that are neither warnings nor the HPA's"
		if others == 1 {
			are = " that is neither a warning nor the HPA's"
		}
		s.notes = append(s.notes, "and "+record.Counted(others, "event")+are+"; all are in the other reports")
	}
	return s
}

func isNotable(e analysis.Event) bool {
	return e.Type == "Warning" || e.Kind == "HorizontalPodAutoscaler"
}

const between = 2 // spaces between columns: tablewriter's padding, one a side

// mapped returns g with its names and cells as change makes them.
func (g *grid) mapped(change func(c column, cell string) string) *grid {
	m := &grid{columns: slices.Clone(g.columns)}
	for i, c := range g.columns {
		m.columns[i].name = change(column{text: c.text}, c.name)
	}
	for _, row := range g.rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = change(g.columns[i], cell)
		}
		m.add(cells...)
	}
	return m
}

// lineEnds are the characters that a cell must not have: it is one line, whose blanks
// count.
var lineEnds = strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ", "\t", " ")

// fit returns g with columns left out and cells cut so that it is at most width wide.
// Its cells are Visible and of one line.
func (g *grid) fit(width int) *grid {
	g = g.mapped(func(_ column, cell string) string { return Visible(lineEnds.Replace(cell)) })
	columns, rows := g.columns, g.rows
	for {
		widths := measure(columns, rows)
		total := (&grid{columns, rows}).width()
		if total <= width {
			break
		}
		spare := -1
		for i, c := range columns {
			if c.spare > 0 && (spare < 0 || c.spare > columns[spare].spare) {
				spare = i
			}
		}
		if spare < 0 {
			rows = cut(columns, rows, widths, total-width)
			break
		}
		columns = slices.Delete(slices.Clone(columns), spare, spare+1)
		for i, row := range rows {
			rows[i] = slices.Delete(slices.Clone(row), spare, spare+1)
		}
	}
	return &grid{columns, rows}
}

func (g *grid) width() int {
	total := -between
	for _, w := range measure(g.columns, g.rows) {
		total += w + between
	}
	return total
}

func measure(columns []column, rows [][]string) []int {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = utf8.RuneCountInString(c.name)
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	return widths
}

// cut makes the columns that give way narrower by excess characters in all, the
// widest of them first.
func cut(columns []column, rows [][]string, widths []int, excess int) [][]string {
	widths = slices.Clone(widths)
	for ; excess > 0; excess-- {
		widest := -1
		for i, c := range columns {
			if c.give && widths[i] > 6 && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	rows = slices.Clone(rows)
	for j, row := range rows {
		row = slices.Clone(row)
		for i, c := range columns {
			runes, room := []rune(row[i]), widths[i]
			switch {
			case !c.give || len(runes) <= room:
			case c.tail:
				row[i] = "…" + string(runes[len(runes)-room+1:])
			default:
				row[i] = string(runes[:room-1]) + "…"
			}
		}
		rows[j] = row
	}
	return rows
}

// draw writes g as plain columns, indented by two.
func draw(w io.Writer, g *grid) error {
	var b bytes.Buffer
	t := newTable(&b, g, tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
		Borders:  tw.BorderNone,
		Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
	})))
	if err := fill(t, g); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, " "+strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func newTable(w io.Writer, g *grid, options ...tablewriter.Option) *tablewriter.Table {
	var align []tw.Align
	for _, c := range g.columns {
		if c.text {
			align = append(align, tw.AlignLeft)
		} else {
			align = append(align, tw.AlignRight)
		}
	}
	return tablewriter.NewTable(w, append([]tablewriter.Option{
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithHeaderAutoWrap(tw.WrapNone),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
		tablewriter.WithTrimSpace(tw.Off),
		tablewriter.WithHeaderAlignmentConfig(tw.CellAlignment{PerColumn: align}),
		tablewriter.WithRowAlignmentConfig(tw.CellAlignment{PerColumn: align}),
	}, options...)...)
}

func fill(t *tablewriter.Table, g *grid) error {
	var names []string
	for _, c := range g.columns {
		names = append(names, c.name)
	}
	t.Header(names)
	if err := t.Bulk(g.rows); err != nil {
		return err
	}
	return t.Render()
}

// Wrap breaks text into lines of at most width characters, between words.
func Wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}
