package analysis

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Probabilities are those of the binomial distribution with p = 1/2: 1/32 for 5 of 5,
// 6/32 for 4 of 5, 1/16 for 4 of 4, 9/256 for 7 of 8,
// 56/1024 for 8 of 10 and 67/2048 for 9 of 11.
func TestJudgeTrials(t *testing.T) {
	var got []string
	for _, c := range []struct{ met, trials int }{{5, 5}, {0, 5}, {4, 4}, {4, 5}, {2, 4}, {7, 8}, {1, 1}, {0, 1}, {0, 4}, {1, 4}} {
		var results []*Result
		for i := range c.trials {
			e := Expectation{Expression: "x", Outcome: Missed}
			if i < c.met {
				e.Outcome = Met
			}
			results = append(results, &Result{Expectations: []Expectation{e}})
		}
		v := JudgeTrials(append(results, &Result{}))[0] // one was interrupted
		got = append(got, fmt.Sprintf("%d of %d: %s, p %.4f, %d more", v.Met, v.Trials, v.Verdict, v.P, v.More))
	}
	if d := cmp.Diff([]string{"5 of 5: pass, p 0.0312, 0 more", "0 of 5: fail, p 0.0312, 0 more", "4 of 4: inconclusive, p 0.0625, 1 more",
		"4 of 5: inconclusive, p 0.1875, 3 more", "2 of 4: inconclusive, p 0.6875, 7 more", "7 of 8: pass, p 0.0352, 0 more", "1 of 1: inconclusive, p 0.5000, 4 more",
		"0 of 1: fail, p 0.5000, 0 more", "0 of 4: fail, p 0.0625, 0 more", "1 of 4: inconclusive, p 0.3125, 4 more"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// What kept some trials from being measured is not said of those that were: each reason has its number of
// trials, and the others have their median.
func TestReasonsOfTrials(t *testing.T) {
	all := trials("a", "", 50, 40, 60, -1, -1, -1, 20)
	for i, r := range all.Results {
		e := Expectation{Expression: `scaleUp.inService <= duration("30s")`, Outcome: Missed}
		switch {
		case i == 6:
			e.Outcome = Met
		case i > 2:
			e.Unmeasured, e.Detail = true, "scaleUp.inService = not measured ("+[]string{"no pod", "no phase"}[i/5]+")"
		}
		r.Expectations = []Expectation{e}
	}
	v := JudgeTrials(append(all.Results, trials("cut", "", 900).Results...))[0]
	if want := "inconclusive, met by 1 of 7 trials; scaleUp.inService = 45 s, the median of 4 trials; in 2 trials: scaleUp.inService = not measured (no pod); in 1 trial: scaleUp.inService = not measured (no phase)"; v.String() != want {
		t.Errorf("%s\nnot\n%s", v, want)
	}
}

// An expectation that no trial met fails, however many they are, whatever kept each from meeting it
// and however many others did not come to their end.
func TestNoneOfAnyNumberFails(t *testing.T) {
	for n := range 64 {
		for _, outcome := range []string{Missed, ""} {
			var results []*Result
			for range n + 1 {
				results = append(results, &Result{Outcome: "interrupted"}, &Result{Expectations: []Expectation{{Expression: "x", Outcome: outcome}}})
			}
			if v := JudgeTrials(results); len(v) != 1 || v[0].Verdict != Fail || v[0].Trials != n+1 {
				t.Errorf("none of %d: %+v", n+1, v)
			}
		}
	}
}
