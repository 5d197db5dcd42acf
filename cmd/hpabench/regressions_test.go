package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/analysis"
)

// A set in none of whose trials the replicas changed has no median to tell, though others never changed in the first either.
func TestRegressionOfNever(t *testing.T) {
	none := analysis.Distribution{Missing: 4, Never: 4, Reason: "no scale-up happened"}
	c := analysis.Comparison{Names: []string{"a", "b"}, Trials: []int{24, 4}, Figures: []analysis.ComparedFigure{{Name: "scaleUp.inService", Unit: "s", Better: analysis.LowerIsBetter,
		Of:      []analysis.Distribution{{Values: make([]float64, 20), Median: new(15.0), Missing: 4, Never: 4}, none},
		Against: []analysis.Difference{{P: new(0.007), AdjustedP: new(0.007), Significant: true, Worse: true}}}}}
	err := (&app{stderr: new(bytes.Buffer)}).regressions(c)
	if err == nil || !strings.Contains(err.Error(), "regression: scaleUp.inService is measured in 20 of 24 trials of a and in 0 of 4 of b: no scale-up happened") {
		t.Error(err)
	}
}
