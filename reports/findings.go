package reports

import (
	"fmt"
	"strings"

	"github.com/hpabench/hpabench/analysis"
)

// NoFindings says that there are none.
const NoFindings = "Findings: none."

// about says what a finding is about, and when it was.
func about(f analysis.Finding) string {
	text := f.Object
	if n := len(f.Others); n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	switch {
	case f.SinceSeconds == nil:
		return text
	case *f.SinceSeconds < 0:
		text += ", since before the run"
	case f.UntilSeconds != nil && *f.UntilSeconds == *f.SinceSeconds:
		return text + fmt.Sprintf(", at %.1f s", *f.SinceSeconds)
	default:
		text += fmt.Sprintf(", since %.1f s", *f.SinceSeconds)
	}
	if f.UntilSeconds != nil {
		text += fmt.Sprintf(" until %.1f s", *f.UntilSeconds)
	}
	return text
}

// FindingLines are a finding for a terminal: what it is about, and indented what
// was seen, the cause and what to do. They are not wrapped.
func FindingLines(f analysis.Finding) (head string, below []string) {
	return fmt.Sprintf("%s: %s: %s", f.Severity, f.Kind, about(f)),
		[]string{f.Seen, "Cause: " + f.Cause, "To do: " + strings.ReplaceAll(f.Advice, "`", "")}
}
