package analysis

import (
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpabench/hpabench/record"
)

// Each row of the table is a figure, with all that a reader of it needs; and each stage that a
// pod can have is one.
func TestFigureTable(t *testing.T) {
	source, err := os.ReadFile("result.go")
	if err != nil {
		t.Fatal(err)
	}
	var all []Stage
	for i, m := range regexp.MustCompile(`(?m)^\tStage\w+ *= "([^"]+)"`).FindAllStringSubmatch(string(source), -1) {
		all = append(all, Stage{Name: m[1], Latency: Latency{Seconds: new(float64(i + 1))}})
	}
	pod := &PodStages{Stages: all}
	r := &Result{Transitions: []Transition{{ScaleUp: &ScaleUp{First: pod}}, {ScaleDown: &ScaleDown{First: pod}}}}
	r.Load.Phases = []PhaseLoad{{Name: "surge"}}
	names := map[string]bool{}
	stages := map[float64]bool{}
	for _, f := range r.Figures() {
		if names[f.Name] || f.Help == "" || !slices.Contains([]string{"s", "replicas", "requests", "messages", "1/s", "1", "bytes", "bool"}, f.Unit) ||
			!slices.Contains([]string{LowerIsBetter, HigherIsBetter, ""}, f.Better) {
			t.Errorf("%+v", f)
		}
		names[f.Name] = true
		if f.Stage != "" && f.Value != nil {
			stages[*f.Value] = true
		}
	}
	for _, row := range figureTable {
		if general := strings.NewReplacer("transition.*", "transition.1", "load.*", "load.surge").Replace(row.name); !names[general] {
			t.Errorf("%s is a row, and no figure", row.name)
		}
	}
	for _, s := range all {
		if !stages[*s.Seconds] {
			t.Errorf("the stage %q is no figure", s.Name)
		}
	}
	if len(all) < 15 {
		t.Errorf("%d stages were read", len(all))
	}
}

// 100 answers a second from 100 to 199 ms: of those 49 are slower than 150 ms.
func TestSLOViolated(t *testing.T) {
	m := newMade(record.Phase{Name: "surge", Shape: record.ShapeRate, From: 100, Seconds: 10})
	m.phase(0, "surge", 0, 10)
	m.load(0, 0, 10, 100, 100*time.Millisecond)
	m.end(10)
	if got := m.analyze(t).Load.Total.SLOViolated; got != nil {
		t.Errorf("without an SLO %g", *got)
	}
	m.entries[0].Header.SLOLatency = 0.150
	if got := m.analyze(t).Load.Phases[0].SLOViolated; got == nil || *got != 0.49 {
		t.Errorf("got %v, want 0.49", got)
	}
	for i := range m.entries {
		if l := m.entries[i].Load; l != nil { // 20 of 120 without an answer
			l.Sent, l.Offered, l.Failed = 120, 120, 20
		}
	}
	if got := m.analyze(t).Load.Total.SLOViolated; got == nil || math.Abs(*got-0.575) > 1e-9 {
		t.Errorf("got %v, want 69 of 120", got)
	}
	for i := range m.entries {
		if l := m.entries[i].Load; l != nil { // 10 answers of an error, which may be slow ones
			l.Codes = map[string]uint64{"200": 90, "500": 10}
		}
	}
	if got := m.analyze(t).Load.Total.SLOViolated; got != nil {
		t.Errorf("got %g, which nobody can know", *got)
	}
}

// A sentence that names five of more says how many more there are.
func TestFirstOf(t *testing.T) {
	equal(t, "phases", []string{firstOf(strings.Split("abcde", ""), ", ", "phase"), firstOf(strings.Split("abcdef", ""), ", ", "phase"), firstOf(strings.Split("abcdefg", ""), "; ", "pod")},
		[]string{"a, b, c, d, e", "a, b, c, d, e and 1 more phase", "a; b; c; d; e and 2 more pods"})
}
