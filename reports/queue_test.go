package reports

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

// queued is a run of 30 s whose queue fills in 10 s and drains in 10 s, and could not be read in the second after.
func queued() *analysis.Result {
	r := &analysis.Result{Version: analysis.Version, Scenario: "queue", Subject: &record.Subject{Kind: "Deployment", Name: "worker"}, EndSeconds: 30}
	for n := range 30 {
		s := analysis.Second{Second: n, Phase: "busy", Ready: new(n / 10), Spec: new(int32(n / 10))}
		if backlog := float64(max(0, 10*min(n, 20-n))); n != 20 {
			s.Backlog, s.Oldest = &backlog, new(backlog/8)
		}
		r.Timeline = append(r.Timeline, s)
	}
	r.Queue = &analysis.Queue{Peak: new(100.0), PeakAt: new(10.0), Last: new(0.0), Oldest: analysis.Latency{Seconds: new(12.5), PrecisionSeconds: 1},
		Drain: analysis.Latency{Seconds: new(10.0), PrecisionSeconds: 1}}
	return r
}

// A queue is in each report: as a sentence, a line of bars, two pictures and two columns.
func TestQueueInReports(t *testing.T) {
	const sentence = "Most messages waiting: 100 at 10.0 s; at the last reading: 0; longest wait of the oldest: 12.5 s (±1.0 s); drained 10.0 s (±1.0 s) after the end of the load."
	r := queued()
	var text, markdown, page, table bytes.Buffer
	for _, err := range []error{Table(&text, r, 160), Markdown(&markdown, r), HTML(&page, r), timelineCSV(&table, r)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, of := range map[string]string{"text": strings.Join(strings.Fields(text.String()), " "), "Markdown": markdown.String(), "HTML": page.String()} {
		if !strings.Contains(of, sentence) {
			t.Errorf("%s has no sentence on the queue:\n%.3000s", name, of)
		}
	}
	for _, line := range []string{"backlog ", "max 100\n", "oldest  ", "max 12.5 s\n"} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("the text has no %q:\n%s", line, text.String())
		}
	}
	for _, says := range []string{`id="queue"`, "Queue: messages that wait, in messages. backlog: first 0, at most 100 at 10 s, last 0.", `id="queue-age"`, "in s. oldest: first 0, at most 12.5 at 10 s, last 0."} {
		if !strings.Contains(page.String(), says) {
			t.Errorf("the page has no %q", says)
		}
	}
	rows, err := csv.NewReader(&table).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for row, want := range map[int]string{0: "[queue_backlog queue_oldest_seconds]", 11: "[100 12.5]", 21: "[ ]", 22: "[0 0]"} {
		if got := fmt.Sprint(rows[row][len(rows[row])-2:]); got != want {
			t.Errorf("row %d ends with %s, want %s", row, got, want)
		}
	}
	r.Queue.Drain.Seconds = new(0.0)
	text.Reset()
	if err := Table(&text, r, 160); err != nil || !strings.Contains(text.String(), "(±1.0 s); empty at the end of the load.") {
		t.Errorf("%v:\n%q", err, text.String())
	}
	r.Queue = &analysis.Queue{Missing: "the queue could not be read: \x1b[31m refused"}
	text.Reset()
	if err := Table(&text, r, 160); err != nil || !strings.Contains(text.String(), "the queue could not be read: ") || strings.Contains(text.String(), "\x1b") {
		t.Errorf("%v:\n%q", err, text.String())
	}
	r.Queue = nil
	text.Reset()
	table.Reset()
	if err := Table(&text, r, 160); err != nil || strings.Contains(text.String(), "Queue") {
		t.Errorf("there is no queue (%v):\n%s", err, text.String())
	}
	if err := timelineCSV(&table, r); err != nil || strings.Contains(table.String(), "queue") {
		t.Errorf("there is no queue (%v)", err)
	}
}
