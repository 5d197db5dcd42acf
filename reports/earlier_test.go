package reports

import (
	"slices"
	"testing"

	"github.com/hpabench/hpabench/analysis"
)

// A step that the load before brought about is told so.
func TestEarlierStep(t *testing.T) {
	got := steps(analysis.Transition{Steps: []analysis.Step{{From: 2, To: 4, AfterSeconds: 2.2, Earlier: true, Metric: "cpu 13 % of 5 %", Recommended: new(int32(4))}}})
	want := []string{"2 → 4 after 2.2 s, no part of the latency: the HPA decided it on samples from before the load changed: cpu 13 % of 5 % asks for 4"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
