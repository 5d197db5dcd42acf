package analysis

import (
	"math"
	"regexp"
	"slices"

	"golang.org/x/perf/benchmath"
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
	Median     *float64  `json:"median,omitempty"`
	Low        *float64  `json:"low,omitempty"`
	High       *float64  `json:"high,omitempty"`
	Confidence float64   `json:"confidence,omitempty"` // at least that which was asked for
	Precision  float64   `json:"precision,omitempty"`  // of a single value, at worst
}

// Difference is that of a figure's median from the first one's. P is the p-value of
// the Mann-Whitney U test, two-sided and exact for few values: how likely values so
// far apart are if nothing differs. SmallestP is what it can be at best with so few
// trials. Certain says that P is below Alpha.
type Difference struct {
	Absolute  *float64 `json:"absolute,omitempty"`
	Relative  *float64 `json:"relative,omitempty"` // absent when the first is 0
	P         *float64 `json:"p,omitempty"`
	SmallestP float64  `json:"smallestP,omitempty"`
	Certain   bool     `json:"certain"`
	Worse     bool     `json:"worse"` // certain, and the wrong way
	Warnings  []string `json:"warnings,omitempty"`
}

const (
	// Confidence is that of intervals.
	Confidence = 0.95
	// Alpha is the p-value below which a difference is certain.
	Alpha = 0.05
)

// Compare compares the figures whose names match with those of the first trials, of
// which there must be two at least.
func Compare(all []Trials, names *regexp.Regexp) Comparison {
	c := Comparison{Differ: differ(all)}
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
					d.Missing++
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
				compared.Against = append(compared.Against, difference(compared.Of[0], *d, compared.Better))
			}
		}
		if measured {
			c.Figures = append(c.Figures, compared)
		}
	}
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

func difference(first, d Distribution, better string) Difference {
	if first.Median == nil || d.Median == nil {
		return Difference{}
	}
	diff := Difference{Absolute: new(*d.Median - *first.Median), SmallestP: smallestP(len(first.Values), len(d.Values))}
	if *first.Median != 0 {
		diff.Relative = new(*diff.Absolute / *first.Median)
	}
	test := benchmath.AssumeNothing.Compare(benchmath.NewSample(slices.Clone(first.Values), &benchmath.DefaultThresholds),
		benchmath.NewSample(slices.Clone(d.Values), &benchmath.DefaultThresholds))
	for _, w := range test.Warnings {
		diff.Warnings = append(diff.Warnings, w.Error())
	}
	if first.Values[0] == d.Values[len(d.Values)-1] && d.Values[0] == first.Values[len(first.Values)-1] {
		return diff // all are the same, of which the test says nothing
	}
	diff.P = new(min(1, test.P)) // twice the smaller tail is more than 1 in the middle
	diff.Certain = test.P < Alpha
	diff.Worse = diff.Certain && (better == LowerIsBetter && *diff.Absolute > 0 || better == HigherIsBetter && *diff.Absolute < 0)
	return diff
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
