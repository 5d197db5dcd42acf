package reports

import (
	"fmt"
	"strings"

	"github.com/hpabench/hpabench/analysis"
)

// noFindings says that there are none.
const noFindings = "Findings: none."

// about says what a finding is about, and when it was.
func about(f analysis.Finding) string {
	text := objects(f)
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

// objects are what a finding is about.
func objects(f analysis.Finding) string {
	if n := len(f.Others); n > 0 {
		return fmt.Sprintf("%s and %d more", f.Object, n)
	}
	return f.Object
}

// findingLines are a finding for a terminal: what it is about, and indented what
// was seen, the cause and what to do. They are not wrapped.
func findingLines(f analysis.Finding) (head string, below []string) {
	return fmt.Sprintf("%s: %s: %s", f.Severity, f.Kind, about(f)),
		[]string{f.Seen, "Cause: " + f.Cause, "To do: " + strings.ReplaceAll(f.Advice, "`", "")}
}
