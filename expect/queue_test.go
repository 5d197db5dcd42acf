package expect

import (
	"testing"

	"github.com/hpabench/hpabench/analysis"
)

// A queue can be judged: its drain is a duration, its backlog a whole number, and what was not read is missed.
func TestJudgeQueue(t *testing.T) {
	r := result()
	for _, c := range []struct {
		queue                       *analysis.Queue
		expression, outcome, detail string
	}{
		{&analysis.Queue{Peak: new(60.0), Drain: analysis.Latency{Seconds: new(31.4), PrecisionSeconds: 1}}, `queue.drain <= duration("90s") && queue.peak < 100`, analysis.Met, "queue.peak = 60, queue.drain = 31.4s ± 1s"},
		{&analysis.Queue{Peak: new(60.0), Drain: analysis.Latency{Missing: "it did not drain"}}, `queue.drain <= duration("90s")`, analysis.Missed, "queue.drain = not measured (it did not drain)"},
		{nil, `queue.oldest <= duration("90s")`, analysis.Missed, "queue.oldest = not measured (no queue was read (load.queue names one))"},
	} {
		r.Queue = c.queue
		if got := Judge([]string{c.expression}, r)[0]; got.Outcome != c.outcome || got.Detail != c.detail {
			t.Errorf("%s: %s, %q", c.expression, got.Outcome, got.Detail)
		}
	}
}
