package reports

import (
	"bytes"
	_ "embed"
	"html/template"
	"io"
	"slices"

	"github.com/hpabench/hpabench/analysis"
)

//go:embed report.html
var pageText string

var page = template.Must(template.New("report").Parse(pageText))

// rowsShown is how many rows a table of the page has at most; the CSV files have them
// all.
const rowsShown = 300

// HTML writes r as one page that needs nothing else: no script, no font, no network.
// Its pictures are SVG and follow the reader's light or dark scheme; each says in words
// what it shows.
func HTML(w io.Writer, r *analysis.Result) error {
	type chart struct {
		figure
		Picture template.HTML
	}
	type table struct {
		Title       string
		Text, Notes []string
		Columns     []string
		Left        []bool // which columns are text
		Rows        [][]string
		Folded      bool
		More        int // rows that are not shown
	}
	data := struct {
		*analysis.Result
		Subject, Rest, Setting, NoFindings string
		Charts                             []chart
		Tables                             []table
		Definitions                        []string
	}{Result: r, Setting: setting(r), NoFindings: noFindings, Definitions: definitions}
	data.Subject, data.Rest = headline(r)
	for _, f := range figures(r) {
		svg, err := f.SVG()
		if err != nil {
			return err
		}
		data.Charts = append(data.Charts, chart{f, template.HTML(svg)}) // the library escapes the markup in its texts
	}
	for _, s := range sections(r, markdownWidth) {
		t := table{Title: s.title, Text: s.text, Notes: s.notes, Folded: s.folded}
		if s.grid != nil {
			for _, c := range s.grid.columns {
				if !c.bars { // the waterfall shows them
					t.Columns, t.Left = append(t.Columns, c.name), append(t.Left, c.text)
				}
			}
			for _, row := range s.grid.rows[:min(rowsShown, len(s.grid.rows))] {
				cells := slices.Clone(row)
				for i := range slices.Backward(s.grid.columns) {
					if s.grid.columns[i].bars {
						cells = slices.Delete(cells, i, i+1)
					}
				}
				t.Rows = append(t.Rows, cells)
			}
			t.More = len(s.grid.rows) - len(t.Rows)
		}
		data.Tables = append(data.Tables, t)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		return err
	}
	_, err := b.WriteTo(&visible{Writer: w})
	return err
}
