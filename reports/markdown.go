package reports

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/hpabench/hpabench/analysis"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
)

// Markdown writes r as a report that reads well where Markdown is rendered, and
// as text. What comes from the cluster cannot break its tables or its markup, and
// makes no link: words that a renderer would link are code.
func Markdown(w io.Writer, r *analysis.Result) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# hpabench: %s\n\n", escape(r.Scenario))
	for _, text := range r.Assumed {
		fmt.Fprintf(&b, "> Assumed: %s\n>\n", prose(text))
	}
	for _, text := range r.Warnings {
		fmt.Fprintf(&b, "> **Warning:** %s\n>\n", prose(text))
	}
	for _, text := range r.Notes {
		fmt.Fprintf(&b, "> Note: %s\n>\n", prose(text))
	}
	if len(r.Assumed)+len(r.Warnings)+len(r.Notes) > 0 {
		b.WriteByte('\n')
	}
	subject, rest := headline(r)
	fmt.Fprintf(&b, "**%s**; %s.\n", escape(subject), escape(rest))
	if text := setting(r); text != "" {
		fmt.Fprintf(&b, "\n%s\n", escape(text))
	}
	if len(r.Findings) == 0 {
		fmt.Fprintf(&b, "\n%s\n", noFindings)
	} else {
		b.WriteString("\n## Findings\n\n")
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "- **%s**: %s, %s. %s *Cause:* %s *To do:* %s\n", escape(f.Severity), escape(f.Kind), escape(about(f)), prose(f.Seen), prose(f.Cause), prose(f.Advice))
	}
	for _, s := range sections(r, markdownWidth) {
		if err := s.writeMarkdown(&b, r); err != nil {
			return err
		}
	}
	b.WriteString("\n<details><summary>What the figures mean</summary>\n")
	list(&b, definitions)
	b.WriteString("\n</details>\n")
	_, err := b.WriteTo(w)
	return err
}

func (s section) writeMarkdown(b *bytes.Buffer, r *analysis.Result) error {
	if s.folded {
		fmt.Fprintf(b, "\n<details><summary>%s (%d)</summary>\n", escape(s.title), len(s.grid.rows))
	} else {
		fmt.Fprintf(b, "\n## %s\n", escape(s.title))
	}
	list(b, s.text)
	if s.chart {
		fmt.Fprintf(b, "\n```text\n%s\n```\n%s", strings.Join(chart(r, 100), "\n"), mermaid(r.Timeline))
	}
	if s.grid != nil {
		b.WriteByte('\n')
		g := s.grid.mapped(func(c column, cell string) string {
			if c.bars {
				return blanks(cell)
			}
			return escape(cell)
		})
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

var markup = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "|", `\|`, "<", "&lt;", ">", "&gt;", "[", `\[`, "]", `\]`,
	"&", "&amp;", "#", `\#`, "~", `\~`, "$", `\$`)

// linked matches words of which renderers of GitHub's Markdown make a link or a mention:
// https://github.github.com/gfm/#autolinks-extension-
var linked = regexp.MustCompile(`(?i)://|\b(mailto|xmpp):|www\.|@`)

// listed matches the marks that begin a list in a list.
var listed = regexp.MustCompile(`^([-+]|\d+[.)])$`)

// escape puts s on one line and takes the meaning from its markup.
func escape(s string) string {
	words := strings.Fields(s)
	for i, word := range words {
		switch word = Visible(word); {
		case linked.MatchString(word):
			core := strings.TrimLeft(word, `("'`)
			before := markup.Replace(word[:len(word)-len(core)])
			address := strings.TrimRight(core, `)"'.,:;!?`)
			words[i] = before + code(address) + markup.Replace(core[len(address):])
		case i == 0 && listed.MatchString(word):
			words[i] = word[:len(word)-1] + `\` + word[len(word)-1:]
		default:
			words[i] = markup.Replace(word)
		}
	}
	return strings.Join(words, " ")
}

// code is a word as a code span, which can stand in a table too. It has no backquotes.
func code(word string) string {
	if word == "" {
		return ""
	}
	return "`" + strings.NewReplacer("`", "'", "|", `\|`).Replace(word) + "`"
}

// prose is escape for our own sentences, whose code spans stay. A sentence in which the
// cluster's text has backquotes too has none: nobody could tell whose they are.
func prose(s string) string {
	parts := strings.Split(oneLine(s), "`")
	if len(parts)%2 == 0 || strings.Contains(s, "``") {
		return escape(s)
	}
	for i, part := range parts {
		if i%2 == 1 {
			parts[i] = "`" + part + "`"
			continue
		}
		parts[i] = escape(part)
		if i > 0 && strings.HasPrefix(part, " ") {
			parts[i] = " " + parts[i]
		}
		if i < len(parts)-1 && strings.HasSuffix(part, " ") && strings.TrimSpace(part) != "" {
			parts[i] += " "
		}
	}
	return strings.Join(parts, "")
}
