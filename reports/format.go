package reports

import (
	"fmt"
	"strings"

	"github.com/hpabench/hpabench/analysis"
)

// none stands in tables for what was not measured.
const none = "–"

// seconds writes a duration of the order of seconds.
func seconds(s *float64) string {
	if s == nil {
		return none
	}
	return fmt.Sprintf("%.1f s", *s)
}

// hundredths writes a stage: finer than most are precise, so that the stages in a
// table sum up to what is written below them.
func hundredths(s *float64) string {
	if s == nil {
		return none
	}
	return fmt.Sprintf("%.2f s", *s)
}

// exact writes a latency with its precision.
func exact(l analysis.Latency) string {
	if l.Seconds == nil {
		return none
	}
	return fmt.Sprintf("%.1f s (±%.1f s)", *l.Seconds, l.PrecisionSeconds)
}

// answer writes the latency of a request.
func answer(s *float64) string {
	switch {
	case s == nil:
		return none
	case *s >= 1:
		return fmt.Sprintf("%.2f s", *s)
	case *s >= 0.01:
		return fmt.Sprintf("%.0f ms", *s*1000)
	}
	return fmt.Sprintf("%.1f ms", *s*1000)
}

func rate(r *float64) string {
	if r == nil {
		return none
	}
	return fmt.Sprintf("%.1f", *r)
}

func percent(share *float64) string {
	if share == nil {
		return none
	}
	return fmt.Sprintf("%.1f %%", *share*100)
}

func number[N int | int32 | uint64](n *N) string {
	if n == nil {
		return none
	}
	return fmt.Sprint(*n)
}

// oneLine puts s on one line and makes it Visible.
func oneLine(s string) string { return Visible(strings.Join(strings.Fields(s), " ")) }
