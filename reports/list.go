package reports

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
)

// ListTable writes rows for a terminal of that many columns: the last cell, a text, on
// lines of its own below the others.
func ListTable(w io.Writer, columns []string, rows [][]string, width int) error {
	var b bytes.Buffer
	for _, row := range rows {
		n := len(row) - 1
		head := row[0]
		for i := 1; i < n; i++ {
			if row[i] != "" {
				head += fmt.Sprintf("  %s %s", columns[i], row[i])
			}
		}
		fmt.Fprintln(&b, Visible(lineEnds.Replace(head)))
		writeParagraph(&b, max(width, 40), "    ", row[n])
	}
	_, err := b.WriteTo(&Terminal{Writer: w})
	return err
}

// Columns writes rows as kubectl does, the names of the columns first.
func Columns(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// ListMarkdown writes the rows as a table in Markdown.
func ListMarkdown(w io.Writer, columns []string, rows [][]string) error {
	g := &grid{}
	for _, name := range columns {
		g.columns = append(g.columns, column{name: name, text: true})
	}
	for _, row := range rows {
		cells := []string{code(row[0])}
		for _, c := range row[1:] {
			cells = append(cells, escape(c))
		}
		g.add(cells...)
	}
	var b bytes.Buffer
	if err := fill(newTable(&b, g, tablewriter.WithRenderer(renderer.NewMarkdown())), g); err != nil {
		return err
	}
	_, err := b.WriteTo(w)
	return err
}
