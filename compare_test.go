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
		sets        int // the last of which starts so
		few         int // of 500, with which none can fail
	}{
		{"1s", 5, all, 0, 0, 2, 500}, {"1s", 8, all, 0, 25, 2, 0}, {"1s", 5, one, 0, 25, 2, 0}, {"6s", 8, all, 490, 500, 2, 0}, {"6s", 20, one, 250, 350, 2, 0},
		{"1s", 5, one, 0, 25, 3, 0}, {"1s", 8, all, 0, 25, 3, 0}, {"6s", 8, all, 490, 500, 3, 0},
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
			var sets []analysis.Trials
			for i := range c.sets {
				of := equal
				if i == c.sets-1 {
					of = later[c.start]
				}
				sets = append(sets, draw(of, order[i*c.trials:(i+1)*c.trials]))
			}
			got := analysis.Compare(sets, c.names)
			if texts, all := got.TooFew(); len(texts) == c.sets-1 && all {
				few++
			} else if texts != nil || all {
				t.Errorf("some sets of as many trials have too few: %q", texts)
			}
			worse, before := 0, 0
			for _, f := range got.Figures {
				for _, d := range f.Against {
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
			}
			failed, uncorrected = failed+worse, uncorrected+before
		}
		t.Logf("%d sets, start %s, %d trials, %s: %d of 500 failed; %d without the correction; %d with too few; %.1f tested", c.sets, c.start, c.trials, c.names, failed, uncorrected, few, float64(tested)/500)
		if failed < c.least || failed > c.most || few != c.few {
			t.Errorf("%d sets, start %s, %d trials: %d of 500 failed, want %d to %d; %d with too few, want %d", c.sets, c.start, c.trials, failed, c.least, c.most, few, c.few)
		}
	}
}
