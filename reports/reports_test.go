package reports

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

var update = flag.Bool("update", false, "write the golden files")

// results reads each record of testdata.
func results(t *testing.T) map[string]*analysis.Result {
	t.Helper()
	files, err := filepath.Glob("testdata/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no records in testdata (%v)", err)
	}
	all := map[string]*analysis.Result{}
	for _, file := range files {
		run, err := record.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := analysis.Analyze(run)
		if err != nil {
			t.Fatal(err)
		}
		// Package expect judges these; here they only have to be shown.
		for _, e := range run.Header().Expect {
			r.Expectations = append(r.Expectations, analysis.Expectation{Expression: e, Outcome: analysis.Missed, Detail: "1 | 2"})
		}
		all[strings.TrimSuffix(file, ".jsonl")] = r
	}
	return all
}

// A stage is said to be most of a latency only where it is more than half of it.
func TestHeadlineNamesTheLongestPart(t *testing.T) {
	r := results(t)["testdata/demo-nginx"]
	latency := &r.FirstUp().ScaleUp.Latency
	for factor, want := range map[float64]string{1: ", most of it metrics lag with ", 3: ", the longest part metrics lag with "} {
		is := latency.Seconds
		latency.Seconds = new(*is * factor)
		if _, text := headline(r); !strings.Contains(text, want) {
			t.Errorf("it says %q, and should say %q", text, want)
		}
		latency.Seconds = is
	}
}

// Replicas that follow a load when it is over are no scale-up that did not happen.
func TestHeadlineOfLateSteps(t *testing.T) {
	up := analysis.Transition{Direction: analysis.Up, ScaleUp: &analysis.ScaleUp{Latency: analysis.Latency{Missing: "no scale-up happened: why"}}}
	down := analysis.Transition{Direction: analysis.Down, ScaleDown: &analysis.ScaleDown{Latency: analysis.Latency{Missing: "no scale-down happened: why"}}}
	rise, fall := analysis.Step{AtSeconds: 210, From: 1, To: 5}, analysis.Step{AtSeconds: 390, From: 5, To: 2}
	with := func(t analysis.Transition, steps ...analysis.Step) analysis.Transition {
		t.Steps = steps
		return t
	}
	for want, list := range map[string][]analysis.Transition{
		"replicas rose only when the load had fallen again: 1 → 5 at 210.0 s; replicas fell only when the load had risen again: 5 → 2 at 390.0 s": {up, with(down, rise), with(up, fall), down},
		"no scale-up happened: why; no scale-down happened: why": {with(up, fall), down},
	} {
		if _, text := headline(&analysis.Result{Transitions: list}); text != want {
			t.Errorf("it says %q, and should say %q", text, want)
		}
	}
}

func TestGolden(t *testing.T) {
	for name, r := range results(t) {
		for end, write := range map[string]func(io.Writer, *analysis.Result) error{
			".txt":          func(w io.Writer, r *analysis.Result) error { return Table(w, r, 80) },
			".wide.txt":     func(w io.Writer, r *analysis.Result) error { return Table(w, r, 160) },
			".md":           Markdown,
			".json":         JSON,
			".summary.csv":  SummaryCSV,
			".timeline.csv": timelineCSV,
			".pods.csv":     podsCSV,
			".events.csv":   eventsCSV,
			".stages.csv":   stagesCSV,
			".findings.csv": findingsCSV,
		} {
			var got bytes.Buffer
			if err := write(&got, r); err != nil {
				t.Errorf("%s%s: %v", name, end, err)
				continue
			}
			// The CSV files have all of it too; two of the JSON are kept for their form.
			if end == ".json" && !slices.Contains([]string{"testdata/interrupted", "testdata/workers"}, name) {
				continue
			}
			if *update {
				if err := os.WriteFile(name+end, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				continue
			}
			want, err := os.ReadFile(name + end)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got.String()); d != "" {
				t.Errorf("%s%s (-want +got); -update writes it anew:\n%s", name, end, d)
			}
		}
	}
}

// A column that decides is not left out without a word, one of several neither.
func TestNotedColumns(t *testing.T) {
	for width, left := range map[int]string{25: "interval, p:", 34: "interval", 40: "interval", 80: ""} {
		g := &grid{columns: []column{{name: "figure"}, {name: "interval", spare: 2, noted: true}, {name: "p", spare: 1, noted: true}, {name: "p", spare: 1, noted: true}}}
		g.add("a figure of a run", "10 to 20", "0.008", "0.016")
		var b bytes.Buffer
		if err := (section{title: "Figures", grid: g}).writeText(&b, width, nil); err != nil {
			t.Fatal(err)
		}
		said := strings.Join(strings.Fields(b.String()), " ")
		if strings.Contains(said, "columns have no room for ") != (left != "") || !strings.Contains(said, left) {
			t.Errorf("in %d columns %q is left out:\n%s", width, left, b.String())
		}
	}
}

func TestTableFits(t *testing.T) {
	for name, r := range results(t) {
		r.Events = append(r.Events, analysis.Event{Event: record.Event{Kind: "Pod", Name: "x", Type: "Warning", Reason: "Failed", Message: strings.Repeat("long ", 60)}})
		for i := range r.Pods {
			r.Pods[i].Name = "a-deployment-with-quite-a-long-name-" + r.Pods[i].Name
		}
		for _, width := range []int{80, 100, 160} {
			var b bytes.Buffer
			if err := Table(&b, r, width); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(b.String()) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > width {
					t.Errorf("%s at %d columns has a line of %d: %s", name, width, n, line)
				}
			}
		}
	}
}

// An expectation is read whole, however narrow the terminal.
func TestExpectationsAreWhole(t *testing.T) {
	e := analysis.Expectation{Expression: "scaleUp.firstReady < 30s and scaleUp.slowest < 60s and errors < 1 %", Outcome: analysis.Missed, Detail: "scaleUp.firstReady = 31.6 s ±0.1 s, scaleUp.slowest = 46.7 s"}
	for _, width := range []int{40, 80, 200} {
		var b bytes.Buffer
		if err := Table(&b, &analysis.Result{Scenario: "shop", Outcome: "completed", Expectations: []analysis.Expectation{e}}, width); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{e.Expression, e.Detail} {
			if said := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(said, want) {
				t.Errorf("in %d columns %q is not whole:\n%s", width, want, b.String())
			}
		}
	}
}

// A result of nothing at all: no report panics, no absent figure is written as 0.
func TestEmptyResult(t *testing.T) {
	r, err := analysis.Analyze(record.Run{Truncated: true, Entries: []record.Entry{{Header: &record.Header{Format: record.Format, Run: "x", Scenario: "y"}}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "out")
	if err := WriteAll(dir, r); err != nil {
		t.Fatal(err)
	}
	if err := WritePlots(filepath.Join(dir, "plots"), r); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Table(&b, r, 0); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(b.String(), "Warning: The record has no end") {
		t.Errorf("the table does not start with the warning:\n%s", b.String())
	}
	summary, err := os.ReadFile(filepath.Join(dir, "summary.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "scaleUp.inService,,s,,no phase brought more load,\n"; !strings.Contains(string(summary), want) {
		t.Errorf("summary.csv lacks %q:\n%s", want, summary)
	}
}

// What comes from the cluster stays in its cell.
func TestHostileEvents(t *testing.T) {
	message := "a | b\nc <script> `d` *e* \"f\", g"
	r := &analysis.Result{
		Warnings: []string{"Pod p was never ready (a | <b> `open)."},
		Events:   []analysis.Event{{AtSeconds: 1, Event: record.Event{Kind: "Pod", Name: "p", Reason: "R", Message: message}}},
	}
	var md, events bytes.Buffer
	if err := errors.Join(Markdown(&md, r), eventsCSV(&events, r)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a \\| b c &lt;script&gt; \\`d\\` \\*e\\* \"f\", g", "(a \\| &lt;b&gt; \\`open)"} {
		if !strings.Contains(md.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, md.String())
		}
	}
	rows, err := csv.NewReader(&events).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][5] != oneLine(message) {
		t.Errorf("events.csv: %q, %v", rows, err)
	}
}

func TestJSONReadsBack(t *testing.T) {
	for name, r := range results(t) {
		var b bytes.Buffer
		if err := JSON(&b, r); err != nil {
			t.Fatal(err)
		}
		var back analysis.Result
		if err := json.Unmarshal(b.Bytes(), &back); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(*r, back); d != "" {
			t.Errorf("%s (-written +read):\n%s", name, d)
		}
	}
}

// TestHold ends the process in the middle of a report that takes long: nothing of it is left.
func TestHold(t *testing.T) {
	dir, began, on, ended := t.TempDir(), make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		ended <- writeFile(filepath.Join(dir, "report.html"), func(io.Writer) error { close(began); <-on; return nil })
	}()
	<-began
	Hold(time.Millisecond)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v (%v)", left, err)
	}
	close(on)
	if err := <-ended; err == nil {
		t.Error("a report that was removed is said to be there")
	}
}

func TestWriteAllNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "result.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	err := WriteAll(dir, &analysis.Result{})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "result.json")) {
		t.Errorf("error %v, want one that names result.json", err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*.*.*"))
	if len(left) > 0 {
		t.Errorf("temporary files are left: %q", left)
	}
}

// The page of a day with a thousand pods and forty transitions is no larger than allowed.
func TestHTMLOfALongRun(t *testing.T) {
	r := results(t)["testdata/recorded-demo-nginx"]
	for len(r.Timeline) < 24*60*60 {
		s := r.Timeline[len(r.Timeline)%600]
		s.Second = len(r.Timeline)
		r.Timeline = append(r.Timeline, s)
	}
	for len(r.Pods) < 1000 {
		r.Pods = append(r.Pods, r.Pods[0])
	}
	for len(r.Events) < 1000 {
		r.Events = append(r.Events, r.Events[0])
	}
	for len(r.Transitions) < 40 {
		r.Transitions = append(r.Transitions, r.Transitions[0])
	}
	var b bytes.Buffer
	if err := HTML(&b, r); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", b.Len())
	if b.Len() > 500_000 {
		t.Errorf("the page has %d bytes", b.Len())
	}
}

// A metric of less than 1 has a highest value.
func TestChartOfFractions(t *testing.T) {
	r := &analysis.Result{Signals: []analysis.Signal{{Name: "error_share"}}}
	for i, value := range []float64{0.125, 0.268, 0.0625} {
		r.Timeline = append(r.Timeline, analysis.Second{Second: i, Signals: []*float64{&value}})
	}
	if text := strings.Join(chart(r, 80), "\n"); !strings.Contains(text, "max 0.268") {
		t.Error(text)
	}
	r.Timeline[1].Signals = []*float64{new(1046.0)}
	if text := strings.Join(chart(r, 80), "\n"); !strings.Contains(text, "max 1046") {
		t.Error(text)
	}
}
