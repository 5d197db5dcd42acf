package reports

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/analysis"
)

// Where no difference was tested, nothing is told of how the tests were corrected.
func TestNothingTested(t *testing.T) {
	r := results(t)["testdata/workers"]
	trials := func(n int) (all []analysis.Trials) {
		for _, name := range []string{"a", "b"} {
			of := analysis.Trials{Name: name}
			for range n {
				of.Sources, of.Results = append(of.Sources, ""), append(of.Results, r)
			}
			all = append(all, of)
		}
		return all
	}
	for _, n := range []int{1, 6} {
		c := analysis.Compare(trials(n), regexp.MustCompile(""))
		tested := false
		for _, f := range c.Figures {
			for _, a := range f.Against {
				tested = tested || a.AdjustedP != nil
			}
		}
		var b bytes.Buffer
		if err := CompareTable(&b, c, 200); err != nil {
			t.Fatal(err)
		}
		if is := strings.Contains(b.String(), "Holm"); is != tested || strings.Contains(b.String(), "for the 0 ") {
			t.Errorf("%d trials: tested is %v:\n%s", n, tested, b.String())
		}
	}
}
