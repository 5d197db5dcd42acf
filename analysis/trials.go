package analysis

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/hpabench/hpabench/record"
)

// Verdicts on an expectation over several trials.
const (
	Pass         = "pass"
	Fail         = "fail"
	Inconclusive = "inconclusive"
)

// Verdict says whether an expectation holds in the median run, by the sign test: if as
// often as not a run met it, at least Met of Trials would do so with a probability of
// P (for Fail: would miss it). Below 5 % that is ruled out. For a limit on a figure this
// is whether the one-sided 95 % confidence interval of its median lies within it.
// https://en.wikipedia.org/wiki/Sign_test
// One that no trial met fails, however few they are: more of them are no weaker gate than one.
type Verdict struct {
	Expression string  `json:"expression"`
	Met        int     `json:"met"`
	Trials     int     `json:"trials"`
	Verdict    string  `json:"verdict"`
	P          float64 `json:"p"`
	// More is how many more trials would settle it if all went as most did; 0 if it is
	// settled.
	More int `json:"more,omitempty"`
	// Unmeasured says in how many trials a figure of it was not measured, by the reason.
	Unmeasured []string `json:"unmeasured,omitempty"`
	// Assumed says that a trial's rests on what is assumed, as in Expectation.
	Assumed bool   `json:"assumed,omitempty"`
	median  string // see medianOf; empty if all trials met it
}

// Words are the Verdict in words.
func (v Verdict) Words() string {
	if v.Assumed {
		return v.Verdict + OnAssumed
	}
	return v.Verdict
}

// String adds how many trials met it, the median where not all did, and where a figure of it was not measured and why.
func (v Verdict) String() string {
	met := fmt.Sprintf("%s, met by %d of %s", v.Words(), v.Met, record.Counted(v.Trials, "trial"))
	if v.median != "" {
		met += "; " + v.median
	}
	return strings.Join(append([]string{met}, v.Unmeasured...), "; ")
}

// JudgeTrials judges the expectations of trials that have the same ones. A trial that
// did not come to its end has none, and does not count.
func JudgeTrials(results []*Result) (verdicts []Verdict) {
	index := map[string]int{}
	type reason struct{ expression, detail string }
	trials := map[reason]int{}
	for _, r := range results {
		for _, e := range r.Expectations {
			i, known := index[e.Expression]
			if !known {
				i = len(verdicts)
				index[e.Expression] = i
				verdicts = append(verdicts, Verdict{Expression: e.Expression})
			}
			verdicts[i].Trials++
			verdicts[i].Assumed = verdicts[i].Assumed || e.Assumed
			if e.Outcome == Met {
				verdicts[i].Met++
			}
			if e.Unmeasured {
				why := reason{e.Expression, e.Detail}
				if trials[why]++; trials[why] == 1 {
					verdicts[i].Unmeasured = append(verdicts[i].Unmeasured, e.Detail)
				}
			}
		}
	}
	for i := range verdicts {
		v := &verdicts[i]
		for j, why := range v.Unmeasured {
			v.Unmeasured[j] = fmt.Sprintf("in %s: %s", record.Counted(trials[reason{v.Expression, why}], "trial"), why)
		}
		if v.Met < v.Trials {
			v.median = medianOf(v.Expression, results)
		}
		most, verdict := v.Met, Pass
		if missed := v.Trials - v.Met; missed > v.Met {
			most, verdict = missed, Fail
		}
		v.P, v.Verdict = signTest(most, v.Trials), verdict
		if v.P >= Alpha && v.Met > 0 {
			v.Verdict = Inconclusive
			for v.More = 1; signTest(most+v.More, v.Trials+v.More) >= Alpha; v.More++ {
			}
		}
	}
	return verdicts
}

// medianOf says the median of the figure with which an expectation begins, over the trials that were
// judged and in which it was measured; empty if there are none.
func medianOf(expression string, results []*Result) string {
	name := expectation.FindStringSubmatch(expression)
	judged := slices.DeleteFunc(slices.Clone(results), func(r *Result) bool { return len(r.Expectations) == 0 })
	if name == nil || name[1] == "" {
		return ""
	}
	for _, f := range Compare([]Trials{{Results: judged}}, regexp.MustCompile("^"+regexp.QuoteMeta(name[1])+"$")).Figures {
		unit := map[bool]string{true: " s"}[f.Unit == "s"]
		return fmt.Sprintf("%s = %s%s, the median of %s", f.Name, record.Plain(*f.Of[0].Median, 4), unit, record.Counted(len(f.Of[0].Values), "trial"))
	}
	return ""
}

// signTest is the probability of at least k of n where both outcomes are as likely.
func signTest(k, n int) float64 {
	sum, ways := 0.0, 1.0 // n over i
	for i := range n + 1 {
		if i >= k {
			sum += ways
		}
		ways *= float64(n-i) / float64(i+1)
	}
	return sum / math.Pow(2, float64(n))
}
