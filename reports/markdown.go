package reports

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/hpabench/hpabench/analysis"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
)

// Markdown writes r as a report that reads well where Markdown is rendered, and
// as text. What comes from the cluster cannot break its tables or its markup.
func Markdown(w io.Writer, r *analysis.Result) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# hpabench: %s\n\n", escape(r.Scenario))
	for _, text := range r.Warnings {
		fmt.Fprintf(&b, "> **Warning:** %s\n>\n", prose(text))
	}
	for _, text := range r.Notes {
		fmt.Fprintf(&b, "> Note: %s\n>\n", prose(text))
	}
	if len(r.Warnings)+len(r.Notes) > 0 {
		b.WriteByte('\n')
	}
	subject, rest := headline(r)
	fmt.Fprintf(&b, "**%s**; %s.\n", subject, escape(rest))
	if text := setting(r); text != "" {
		fmt.Fprintf(&b, "\n%s\n", escape(text))
	}
	if len(r.Findings) == 0 {
		fmt.Fprintf(&b, "\n%s\n", NoFindings)
	} else {
		b.WriteString("\n## Findings\n\n")
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "- **%s**: %s, %s. %s *Cause:* %s *To do:* %s\n", f.Severity, f.Kind, escape(about(f)), prose(f.Seen), prose(f.Cause), prose(f.Advice))
	}
	for _, s := range sections(r, markdownWidth) {
		if err := s.writeMarkdown(&b, r.Timeline); err != nil {
			return err
		}
	}
	b.WriteString("\n<details><summary>What the figures mean</summary>\n")
	list(&b, definitions)
	b.WriteString("\n</details>\n")
	_, err := b.WriteTo(w)
	return err
}

func (s section) writeMarkdown(b *bytes.Buffer, timeline []analysis.Second) error {
	if s.folded {
		fmt.Fprintf(b, "\n<details><summary>%s (%d)</summary>\n", s.title, len(s.grid.rows))
	} else {
		fmt.Fprintf(b, "\n## %s\n", escape(s.title))
	}
	list(b, s.text)
	if s.chart {
		fmt.Fprintf(b, "\n```text\n%s\n```\n%s", strings.Join(chart(timeline, 100), "\n"), mermaid(timeline))
	}
	if s.grid != nil {
		b.WriteByte('\n')
		g := &grid{columns: s.grid.columns}
		for _, row := range s.grid.rows {
			cells := make([]string, len(row))
			for i, c := range row {
				if s.grid.columns[i].bars {
					cells[i] = blanks(c)
				} else {
					cells[i] = escape(strings.TrimSpace(c))
				}
			}
			g.add(cells...)
		}
		if err := fill(newTable(b, g, tablewriter.WithRenderer(renderer.NewMarkdown())), g); err != nil {
			return err
		}
	}
	list(b, s.notes)
	if s.folded {
		b.WriteString("\n</details>\n")
	}
	return nil
}

// markdownWidth is the number of columns for which bars are drawn.
const markdownWidth = 110

// blanks keeps the blanks of a bar: in a code span, where all characters are of
// one width, and as no-break spaces, which a renderer does not drop.
func blanks(bar string) string {
	if bar == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(bar, " ", "\u00a0") + "`"
}

func list(b *bytes.Buffer, lines []string) {
	if len(lines) > 0 {
		b.WriteByte('\n')
	}
	for _, text := range lines {
		fmt.Fprintf(b, "- %s\n", escape(text))
	}
}

var markup = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "|", `\|`, "<", "&lt;", ">", "&gt;", "[", `\[`, "]", `\]`)

// escape puts s on one line and takes the meaning from its markup.
func escape(s string) string { return markup.Replace(oneLine(s)) }

// prose is escape for our own sentences, whose code spans stay.
func prose(s string) string {
	parts := strings.Split(oneLine(s), "`")
	if len(parts)%2 == 0 { // a lone backquote comes from the cluster
		return escape(s)
	}
	for i := range parts {
		if i%2 == 0 {
			parts[i] = markup.Replace(parts[i])
		}
	}
	return strings.Join(parts, "`")
}
