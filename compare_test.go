package hpabench

import (
	"math/rand/v2"
	"regexp"
	"testing"
	"testing/synctest"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
)

// TestRegressionGate holds how often of 500 times compare --fail-on-regression fails: between sets of
// equal runs, and where each pod starts later. The sets are drawn from 100 simulated runs of the library's spike,
// each with other chance and from another point of the sync period.
func TestRegressionGate(t *testing.T) {
	simulate.Prepare()
	runs := func(start string) (list []*analysis.Result) {
		f, err := scenarios.Read("spike")
		if err != nil {
			t.Fatal(err)
		}
		variants, err := f.Variants([]scenarios.Setting{{Name: "workload.model.start", Values: []any{start}}})
		if err != nil {
			t.Fatal(err)
		}
		of, err := simulate.FromScenario(variants[0].File)
		if err != nil {
			t.Fatal(err)
		}
		of.Header = variants[0].Header()
		of.Header.MetricsEvery = 1
		for n := range 100 {
			var b analysis.Builder
			synctest.Test(t, func(t *testing.T) {
				if _, err := simulate.Simulate(of.Nth(1, n), b.AddEntry); err != nil {
					t.Fatal(err)
				}
			})
			r, err := b.Result()
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, r)
		}
		return list
	}
	all, one := regexp.MustCompile(analysis.MainFigures), regexp.MustCompile(`^scaleUp\.inService$`)
	equal := runs("1s")
	later := map[string][]*analysis.Result{"1s": equal, "6s": runs("6s")}
	for _, c := range []struct {
		start       string
		trials      int
		names       *regexp.Regexp
		least, most int // of 500
	}{
		{"1s", 5, all, 0, 0}, {"1s", 8, all, 0, 25}, {"1s", 5, one, 0, 25}, {"6s", 8, all, 490, 500}, {"6s", 20, one, 250, 350},
	} {
		chance := rand.New(rand.NewPCG(1, uint64(c.trials)))
		draw := func(of []*analysis.Result, which []int) (x analysis.Trials) {
			for _, i := range which {
				x.Results, x.Sources = append(x.Results, of[i]), append(x.Sources, "")
			}
			return x
		}
		failed, uncorrected, few, tested := 0, 0, 0, 0
		for range 500 {
			order := chance.Perm(len(equal))
			got := analysis.Compare([]analysis.Trials{draw(equal, order[:c.trials]), draw(later[c.start], order[c.trials:2*c.trials])}, c.names)
			if got.TooFew() != nil {
				few++
			}
			worse, before := 0, 0
			for _, f := range got.Figures {
				d := f.Against[0]
				if d.Worse {
					worse = 1
				}
				if d.P != nil && f.Better != "" {
					tested++
					if *d.P < analysis.Alpha && (*d.Absolute > 0) == (f.Better == analysis.LowerIsBetter) {
						before = 1
					}
				}
			}
			failed, uncorrected = failed+worse, uncorrected+before
		}
		t.Logf("start %s, %d trials, %s: %d of 500 failed; %d without the correction; %d with too few; %.1f tested", c.start, c.trials, c.names, failed, uncorrected, few, float64(tested)/500)
		if failed < c.least || failed > c.most {
			t.Errorf("start %s, %d trials: %d of 500 failed, want %d to %d", c.start, c.trials, failed, c.least, c.most)
		}
	}
}
