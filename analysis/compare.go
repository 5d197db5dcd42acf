package analysis

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/perf/benchmath"

	"github.com/hpabench/hpabench/record"
)

// Trials are the results of one or more runs of the same thing.
type Trials struct {
	Name    string
	Results []*Result
	Sources []string // the scenario's YAML of each
}

// Comparison holds figures of several Trials side by side.
type Comparison struct {
	Names  []string `json:"names"`
	Trials []int    `json:"trials"`
	// Assumed is what figures of some of them rest on that nobody measured.
	Assumed []string `json:"assumed,omitempty"`
	// Doubts say of which of them the load was not as planned, see PhaseLoad.Doubt, or the trials not made alike.
	Doubts []string `json:"doubts,omitempty"`
	// Findings say of each set in how many of its trials which finding was.
	Findings []string `json:"findings,omitempty"`
	// Few says of which sets the trials are too few to decide anything, see TooFew.
	Few []string `json:"tooFew,omitempty"`
	// Differ says what differs in the setup, see differ.
	Differ  []string         `json:"differ,omitempty"`
	Figures []ComparedFigure `json:"figures"`
	// SpeedUp is the elastic speed-up of each but the first over the first, see
	// Elasticity.SpeedUp, of the medians; absent where it is not defined.
	SpeedUp []*float64 `json:"elasticSpeedUp,omitempty"`
}

// ComparedFigure is one figure. Against has one Difference for each of Of but the
// first, with which it is compared.
type ComparedFigure struct {
	Name    string         `json:"name"`
	Unit    string         `json:"unit"`
	Better  string         `json:"better,omitempty"` // as that of a Figure
	Of      []Distribution `json:"of"`
	Against []Difference   `json:"against"`
}

// Distribution is a figure over trials. Median, Low and High are absent without a
// value; Low and High are its confidence interval, that of the order statistics,
// which assumes no distribution, and absent where there are too few trials for it.
type Distribution struct {
	Values     []float64 `json:"values"`
	Missing    int       `json:"missing,omitempty"` // trials in which it was not measured
	Reason     string    `json:"reason,omitempty"`  // why not in the first of these
	Never      int       `json:"never,omitempty"`   // of them, those in which the replicas did not change: longer than any latency
	Median     *float64  `json:"median,omitempty"`
	Low        *float64  `json:"low,omitempty"`
	High       *float64  `json:"high,omitempty"`
	Confidence float64   `json:"confidence,omitempty"` // at least that which was asked for
	Precision  float64   `json:"precision,omitempty"`  // of a single value, at worst
}

// Difference is that of a figure's median from the first one's. P is the p-value of
// the Mann-Whitney U test, two-sided and exact for few values: how likely values at least so
// far apart are if nothing differs; a latency of replicas that never changed is the longest there. SmallestP is the smallest P with that number of
// trials. AdjustedP is P by Holm's correction for the tested differences of the Comparison,
// see adjust. Significant says that AdjustedP is below Alpha.
type Difference struct {
	Absolute    *float64 `json:"absolute,omitempty"`
	Relative    *float64 `json:"relative,omitempty"` // absent when the first is 0
	P           *float64 `json:"p,omitempty"`
	SmallestP   float64  `json:"smallestP,omitempty"`
	AdjustedP   *float64 `json:"adjustedP,omitempty"`
	Significant bool     `json:"significant"`
	Worse       bool     `json:"worse"` // significant, and the wrong way
	Warnings    []string `json:"warnings,omitempty"`

	rise int // of how many pairs of trials the later one is higher, less of how many it is lower
}

const (
	// MainFigures matches the names of the figures that are compared by default.
	MainFigures = `^(scaleUp|scaleDown)\.|^replicas\.(peak|firstAtMax|saturated)$|^elasticity\.|^load\.[^.]+\.(achievedRate|p50|p99|errorShare)$`
	// Confidence is that of intervals.
	Confidence = 0.95
	// Alpha is the p-value below which a difference is significant.
	Alpha = 0.05
)

// Compare compares the figures whose names match with those of the first trials, of
// which there must be two at least.
func Compare(all []Trials, names *regexp.Regexp) Comparison {
	c := Comparison{Differ: differ(all), Doubts: doubts(all), Findings: findings(all)}
	samples := make([]map[string]*Distribution, len(all))
	var order []Figure
	assumed := map[string]bool{}
	for i, t := range all {
		c.Names, c.Trials = append(c.Names, t.Name), append(c.Trials, len(t.Results))
		samples[i] = map[string]*Distribution{}
		for _, r := range t.Results {
			for _, text := range r.Assumed {
				if !assumed[text] {
					assumed[text], c.Assumed = true, append(c.Assumed, text)
				}
			}
			for _, f := range r.Figures() {
				if !names.MatchString(f.Name) {
					continue
				}
				d := samples[i][f.Name]
				if d == nil {
					d = &Distribution{}
					samples[i][f.Name] = d
				}
				if f.Value == nil {
					d.Missing, d.Reason = d.Missing+1, cmp.Or(d.Reason, f.Missing)
					if f.Better == LowerIsBetter && strings.HasPrefix(f.Missing, neverScaled) {
						d.Never++
					}
				} else {
					d.Values, d.Precision = append(d.Values, *f.Value), max(d.Precision, f.Precision)
				}
				if !slices.ContainsFunc(order, func(o Figure) bool { return o.Name == f.Name }) {
					order = append(order, f)
				}
			}
		}
	}
	for _, f := range order {
		compared := ComparedFigure{Name: f.Name, Unit: f.Unit, Better: f.Better}
		measured := false
		for i := range all {
			d := samples[i][f.Name]
			if d == nil {
				d = &Distribution{Missing: len(all[i].Results)}
			}
			d.summarize()
			measured = measured || d.Median != nil
			compared.Of = append(compared.Of, *d)
			if i > 0 {
				compared.Against = append(compared.Against, difference(compared.Of[0], *d))
			}
		}
		if measured {
			c.Figures = append(c.Figures, compared)
		}
	}
	c.adjust()
	c.Few, _ = c.TooFew()
	medians := make([]*Elasticity, len(all))
	for i := range all {
		medians[i] = medianElasticity(samples[i])
	}
	if medians[0] != nil {
		c.SpeedUp = make([]*float64, len(all)-1)
		for i, e := range medians[1:] {
			if e != nil {
				c.SpeedUp[i] = e.SpeedUp(*medians[0])
			}
		}
	}
	return c
}

// doubts says for each set whether its trials were made alike, and in how many the load was not as planned, with the
// reason of the worst phase: that which lost the largest share of its requests, or sent one latest.
func doubts(all []Trials) (list []string) {
	lost := func(p PhaseLoad) float64 { return float64(p.Unsent+p.Unknown) / float64(max(1, p.Offered)) }
	for _, t := range all {
		for i, r := range t.Results {
			if of := surroundings(t.Results[0], r); len(of) > 0 {
				list = append(list, fmt.Sprintf("%s: its trials are not of the same setup, which makes what they say together doubtful; the first and trial %d: %s.", t.Name, i+1, strings.Join(of, "; ")))
				break
			}
		}
		var worst PhaseLoad
		n := 0
		for _, r := range t.Results {
			if doubted := slices.DeleteFunc(slices.Clone(r.Load.Phases), func(p PhaseLoad) bool { return p.Doubt == "" }); len(doubted) > 0 {
				n++
				worst = slices.MaxFunc(append(doubted, worst), func(a, b PhaseLoad) int {
					return cmp.Or(cmp.Compare(lost(a), lost(b)), cmp.Compare(a.LateMax, b.LateMax))
				})
			}
		}
		if n > 0 {
			list = append(list, fmt.Sprintf("%s: the load was not as planned in %d of %s, which makes the figures doubtful; the worst was in phase %s: %s.", t.Name, n, record.Counted(len(t.Results), "trial"), worst.Name, worst.Doubt))
		}
	}
	return list
}

// findings say for each set which stood in the way of scaling, those that most of its trials have first.
func findings(all []Trials) (list []string) {
	for _, t := range all {
		count := map[string]int{}
		for _, r := range t.Results {
			kinds := map[string]bool{}
			for _, f := range r.Findings {
				if f.Severity != Notice && !kinds[f.Kind] {
					kinds[f.Kind] = true
					count[f.Kind]++
				}
			}
		}
		kinds := slices.SortedFunc(maps.Keys(count), func(a, b string) int { return cmp.Or(count[b]-count[a], cmp.Compare(a, b)) })
		for i, kind := range kinds {
			kinds[i] = fmt.Sprintf("%s in %d", kind, count[kind])
		}
		if len(kinds) > 0 {
			list = append(list, fmt.Sprintf("%s: findings in how many of %s: %s.", t.Name, record.Counted(len(t.Results), "trial"), strings.Join(kinds, ", ")))
		}
	}
	return list
}

// medianElasticity has what a speed-up needs; nil where not all of it was measured.
func medianElasticity(of map[string]*Distribution) *Elasticity {
	var e Elasticity
	for name, into := range map[string]*float64{"underProvisioned.normalized": &e.NormalizedUnder, "underProvisioned.timeshare": &e.TimeshareUnder,
		"overProvisioned.normalized": &e.NormalizedOver, "overProvisioned.timeshare": &e.TimeshareOver} {
		d := of["elasticity."+name]
		if d == nil || d.Median == nil {
			return nil
		}
		*into = *d.Median
	}
	return &e
}

func (d *Distribution) summarize() {
	slices.Sort(d.Values)
	if len(d.Values) == 0 {
		return
	}
	s := benchmath.AssumeNothing.Summary(benchmath.NewSample(slices.Clone(d.Values), &benchmath.DefaultThresholds), Confidence)
	d.Median = &s.Center
	if !math.IsInf(s.Lo, 0) && !math.IsInf(s.Hi, 0) && !math.IsNaN(s.Lo+s.Hi) {
		d.Low, d.High, d.Confidence = &s.Lo, &s.Hi, s.Confidence
	}
}

// ranked are the values in order, with those that never came at the end.
func (d *Distribution) ranked() []float64 {
	return append(slices.Clone(d.Values), slices.Repeat([]float64{math.MaxFloat64}, d.Never)...)
}

func difference(first, d Distribution) (diff Difference) {
	if first.Median != nil && d.Median != nil {
		if diff.Absolute = new(*d.Median - *first.Median); *first.Median != 0 {
			diff.Relative = new(*diff.Absolute / *first.Median)
		}
	}
	was, is := first.ranked(), d.ranked()
	if len(was) == 0 || len(is) == 0 {
		return diff
	}
	diff.SmallestP = smallestP(len(was), len(is))
	for _, a := range was {
		for _, b := range is {
			diff.rise += cmp.Compare(b, a)
		}
	}
	test := benchmath.AssumeNothing.Compare(benchmath.NewSample(slices.Clone(was), &benchmath.DefaultThresholds),
		benchmath.NewSample(slices.Clone(is), &benchmath.DefaultThresholds))
	for _, w := range test.Warnings {
		diff.Warnings = append(diff.Warnings, w.Error())
	}
	if was[0] == is[len(is)-1] && is[0] == was[len(was)-1] {
		return diff // all are the same, of which the test says nothing
	}
	diff.P = new(min(1, test.P)) // twice the smaller tail is more than 1 in the middle
	return diff
}

// adjust fills in AdjustedP, Significant and Worse by Holm's step-down correction (S. Holm, A Simple
// Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979): of
// equal runs one difference or more, of the figures that have a better direction, is significant with a
// probability of Alpha at most, however the figures depend on each other, as stages that add up do.
// Figures of which neither direction is better are corrected among themselves: no gate judges them.
func (c *Comparison) adjust() {
	for _, judged := range []bool{true, false} {
		tests := c.tests(judged)
		slices.SortFunc(tests, func(a, b *Difference) int { return cmp.Compare(*a.P, *b.P) })
		least := 0.0
		for i, d := range tests {
			least = max(least, min(1, float64(len(tests)-i)**d.P))
			d.AdjustedP, d.Significant = new(least), least < Alpha
		}
	}
	for _, f := range c.Figures {
		for i, d := range f.Against {
			f.Against[i].Worse = d.Significant && (f.Better == LowerIsBetter && d.rise > 0 || f.Better == HigherIsBetter && d.rise < 0)
		}
	}
}

// tests are the differences that have a p-value, of the figures that have a better direction or of the others; with one of
// the later sets, or with all.
func (c *Comparison) tests(judged bool, sets ...int) (tests []*Difference) {
	for _, f := range c.Figures {
		for i := range f.Against {
			if d := &f.Against[i]; d.P != nil && judged == (f.Better != "") && (sets == nil || slices.Contains(sets, i)) {
				tests = append(tests, d)
			}
		}
	}
	return tests
}

// TooFew says of which sets no figure can be significantly worse, whatever was measured, and what would change that;
// all says that it is so of each set that is tested, or that there is one trial of each. Holm's correction multiplies the
// smallest p-value by the number of differences that are not significant yet.
func (c *Comparison) TooFew() (list []string, all bool) {
	tests := c.tests(true)
	left := len(slices.DeleteFunc(slices.Clone(tests), func(d *Difference) bool { return d.Significant }))
	all = len(tests) > 0
	enough := func(least int) int { // trials of each, for all differences to be significant
		for smallestP(least, least)*float64(max(1, len(tests))) >= Alpha {
			least++
		}
		return least
	}
	if slices.Max(c.Trials) == 1 {
		return []string{fmt.Sprintf("One trial of each decides nothing: a difference may be chance, and where there is none the next trial may show one. Make %d trials of each.", enough(1))}, true
	}
	for i, n := range c.Trials[1:] {
		own := c.tests(true, i)
		if len(own) == 0 {
			continue
		}
		least := slices.MinFunc(own, func(a, b *Difference) int { return cmp.Compare(a.SmallestP, b.SmallestP) }).SmallestP
		if least*float64(left) < Alpha {
			all = false
			continue
		}
		of := record.Counted(left, "tested difference")
		if left < len(tests) {
			of += " without significance"
		}
		text := fmt.Sprintf("With %s of %s and %d of %s no figure can be better or worse: the smallest p-value is %s, and for %s it must be below %s. Make %d trials of each",
			record.Counted(c.Trials[0], "trial"), c.Names[0], n, c.Names[i+1], record.Plain(least, 2), of, record.Plain(Alpha/float64(left), 2), enough(min(c.Trials[0], n)+1))
		if fewer := (int(math.Ceil(Alpha/least)) - 1) / (len(c.Trials) - 1); fewer > 0 {
			text += fmt.Sprintf(", or compare %s at most (--figure)", record.Counted(fewer, "figure"))
		}
		list = append(list, text+".")
	}
	return list, all
}

// smallestP is the smallest two-sided p-value that the Mann-Whitney U test of n and m
// values without ties can have: 2 of the ways to choose n of n+m.
func smallestP(n, m int) float64 {
	ways := 1.0
	for i := range n {
		ways *= float64(m+i+1) / float64(i+1)
	}
	return min(1, 2/ways)
}
