package analysis

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/hpabench/hpabench/record"
)

// Each figure of a result is described, and nothing else.
func TestDescribe(t *testing.T) {
	r := &Result{Transitions: []Transition{{ScaleUp: &ScaleUp{}}, {ScaleDown: &ScaleDown{}}}}
	r.Load.Phases = []PhaseLoad{{Name: "surge"}}
	used := map[string]bool{}
	for _, f := range r.Figures() {
		text := Describe(f.Name)
		if text == "" {
			t.Errorf("%s is not described", f.Name)
		}
		used[text] = true
	}
	for _, d := range described {
		if !used[d.text] {
			t.Errorf("%s is described, and no figure", d.name)
		}
	}
	if Describe("load.surge") != "" || Describe("scaleUp.inService.p50") == Describe("scaleUp.inService") || !strings.HasPrefix(Describe("transition.12.onset"), "When") {
		t.Error("names are matched too widely")
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
