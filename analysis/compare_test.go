package analysis

import (
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hpabench/hpabench/record"
)

// trials are runs whose scale-up took so long, in seconds; a negative one was not
// measured.
func trials(name, source string, seconds ...float64) Trials {
	t := Trials{Name: name}
	for _, s := range seconds {
		up := ScaleUp{Latency: Latency{Seconds: &s, PrecisionSeconds: 0.1}}
		if s < 0 {
			up.Latency = Latency{Missing: "no pod"}
		}
		t.Results = append(t.Results, &Result{Scenario: "spike", Cluster: &record.Cluster{Version: "v1.37.2"},
			Transitions: []Transition{{Direction: Up, Steps: []Step{{From: 1, To: 2}}, ScaleUp: &up}}})
		t.Sources = append(t.Sources, source)
	}
	return t
}

var inService = regexp.MustCompile(`^scaleUp\.inService$`)

// By counting: of the 252 ways in which 5 of 10 values can be those of a, 2 are as far
// from the middle as where all of b are larger (U = 0), and 106 as where a is 15, 17,
// 18, 21, 24 and c is 16, 19, 20, 25, 26 (U = 8). The interval of 5 values is that of all
// of them, with a confidence of 1 − 2/2⁵ = 93.75 %, which is too little for 95 %; of 6
// values it is 1 − 2/2⁶.
func TestCompare(t *testing.T) {
	c := Compare([]Trials{trials("a", "x: 1\nsame: 2\n", 18, 15, 21, 17, 24), trials("b", "x: 2\nsame: 2\n", 28, 31, 30, 36, 35),
		trials("c", "x: 1\nsame: 2\n", 16, 26, 19, 25, 20, -1)}, inService)
	if len(c.Figures) != 1 {
		t.Fatalf("%+v", c)
	}
	f := c.Figures[0]
	if *f.Of[0].Median != 18 || *f.Of[1].Median != 31 || f.Of[2].Missing != 1 || f.Of[0].Low != nil || f.Of[0].Precision != 0.1 {
		t.Errorf("%+v", f.Of)
	}
	b, same := f.Against[0], f.Against[1]
	if *b.Absolute != 13 || math.Abs(*b.P-0.007937) > 1e-6 || math.Abs(b.SmallestP-0.007937) > 1e-6 || !b.Significant || !b.Worse || math.Abs(*b.AdjustedP-2**b.P) > 1e-9 {
		t.Errorf("%+v, p %v", b, *b.P)
	}
	if math.Abs(*same.P-0.4206) > 1e-4 || same.Significant || same.Worse || *same.AdjustedP != *same.P {
		t.Errorf("%+v, p %v", same, *same.P)
	}
	if d := cmp.Diff([]string{"b: x: 1 → 2"}, c.Differ); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	six := Compare([]Trials{trials("a", "", 1, 2, 3, 4, 5, 6), trials("b", "", 6, 5, 4, 3, 2, 1)}, inService).Figures[0]
	if d := six.Of[0]; d.Low == nil || *d.Low != 1 || *d.High != 6 || math.Abs(d.Confidence-(1-2./64)) > 1e-9 {
		t.Errorf("%+v", d)
	}
}

// Each difference is one line: where it is, what it was and what it is, whatever the order and
// the layout of the YAML.
func TestSetupDiffers(t *testing.T) {
	const source = `
spec:
  autoscaler: {cpuPercent: 50, max: 5} # as it is
  load: {phases: [{name: idle, rate: 0}, {name: surge, rate: 20}]}
  expect: [replicas.peak > 1]
`
	for name, test := range map[string]struct {
		other string
		want  []string
	}{
		"order, layout and comments": {"spec:\n  expect:\n  - replicas.peak > 1\n  load:\n    phases:\n    - {rate: 0, name: idle}\n    - {rate: 20, name: surge}\n  autoscaler:\n    max: 5\n    cpuPercent: 50\n", nil},
		"a number":                   {strings.Replace(source, "50", "60", 1), []string{"spec.autoscaler.cpuPercent: 50 → 60"}},
		"of a phase":                 {strings.Replace(source, "20", "40", 1), []string{"spec.load.phases[surge].rate: 20 → 40"}},
		"a phase before":             {strings.Replace(source, "{name: idle", "{name: warm, rate: 1}, {name: idle", 1), []string{"spec.load.phases[warm].name: none → warm", "spec.load.phases[warm].rate: none → 1"}},
		"a list that is gone":        {strings.Replace(source, "  expect: [replicas.peak > 1]\n", "", 1), []string{"spec.expect[replicas.peak]: replicas.peak > 1 → none"}},
		"a long text":                {source + "  cost: " + strings.Repeat("a", 300) + "c" + strings.Repeat("a", 300), []string{"spec.cost: none → " + strings.Repeat("a", 300) + "c" + strings.Repeat("a", 300)}},
		"an expectation":             {strings.Replace(source, "> 1", "<= 5", 1), []string{"spec.expect[replicas.peak]: replicas.peak > 1 → replicas.peak <= 5"}},
		"an expectation before":      {strings.Replace(source, "[replicas", "[load.total.p99 < 1, replicas", 1), []string{"spec.expect[load.total.p99]: none → load.total.p99 < 1"}},
		"two of a figure":            {strings.Replace(source, "> 1", "> 1, replicas.peak < 9", 1), []string{"spec.expect[replicas.peak, 2]: none → replicas.peak < 9"}},
		"of no figure before":        {strings.Replace(source, "[replicas", "['size(findings) == 0', replicas", 1), []string{"spec.expect[size(findings) == 0]: none → size(findings) == 0"}},
		"nothing":                    {"", []string{"{…"}},
		"no YAML":                    {"{", []string{"{…"}},
	} {
		c := Compare([]Trials{trials("a", source, 1), trials("b", test.other, 1)}, inService)
		if len(test.want) == 1 && test.want[0] == "{…" {
			if len(c.Differ) != 1 || !strings.HasPrefix(c.Differ[0], `scenario: {"spec":{`) || len([]rune(c.Differ[0])) > 150 {
				t.Errorf("%s: %q", name, c.Differ)
			}
		} else if d := cmp.Diff(test.want, c.Differ); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	long := "x: " + strings.Repeat("a", 300)
	if d := cmp.Diff([]string{"x: …" + strings.Repeat("a", 15) + "b" + strings.Repeat("a", 15) + "… → …" + strings.Repeat("a", 15) + "c" + strings.Repeat("a", 15) + "…"},
		Compare([]Trials{trials("a", long+"b"+long[3:], 1), trials("b", long+"c"+long[3:], 1)}, inService).Differ); d != "" {
		t.Errorf("long texts (-want +got):\n%s", d)
	}
	a, b := trials("a", "", 1), trials("b", "", 1)
	a.Results[0].Autoscaler, b.Results[0].Autoscaler = &Autoscaler{Min: 1, Max: 5, Metrics: []string{"cpu 50 %"}}, &Autoscaler{Min: 1, Max: 8, Metrics: []string{"cpu 60 %"}}
	if d := cmp.Diff([]string{"hpa.max: 5 → 8", "hpa.metrics[0]: cpu 50 % → cpu 60 %"}, Compare([]Trials{a, b}, inService).Differ); d != "" {
		t.Errorf("HPAs (-want +got):\n%s", d)
	}
	b.Results = append(b.Results, trials("b", "", 1).Results...)
	b.Results[1].Cluster = &record.Cluster{Version: "v1.37.0", Lab: &record.Lab{Timing: record.FastTiming, MetricsResolution: 5}}
	if d := cmp.Diff([]string{"b: its trials are not of the same setup, which makes what they say together doubtful; the first and trial 2: cluster: Kubernetes v1.37.2, 0 nodes → Kubernetes v1.37.0, 0 nodes, embedded, metrics every 5 s."}, Compare([]Trials{a, b}, inService).Doubts); d != "" {
		t.Errorf("trials of one set (-want +got):\n%s", d)
	}
}

func TestCompareTooFew(t *testing.T) {
	c := Compare([]Trials{trials("a", "", 15, 16), trials("b", "", 40, 41)}, inService)
	d := c.Figures[0].Against[0]
	if few, all := c.TooFew(); !all || strings.Join(few, "|") != "With 2 trials of a and 2 of b no figure can be better or worse: the smallest p-value is 0.33, and for 1 tested difference it must be below 0.05. Make 4 trials of each." {
		t.Error(few, all)
	}
	if d.Significant || math.Abs(d.SmallestP-1./3) > 1e-9 || len(d.Warnings) == 0 || !strings.Contains(strings.Join(d.Warnings, " "), "samples") {
		t.Errorf("%+v", d)
	}
	for values, sets := range map[float64][]Trials{15: {trials("a", "", 15), trials("b", "", 15)}, 40: {trials("a", "", 15), trials("b", "", 40), trials("c", "", 41)}} {
		c := Compare(sets, inService)
		if want := "One trial of each decides nothing: a difference may be chance, and where there is none the next trial may show one. Make "; len(c.Few) != 1 || !strings.HasPrefix(c.Few[0], want) {
			t.Errorf("of one trial each, of %g s, it says %q", values, c.Few)
		}
	}
	same := Compare([]Trials{trials("a", "", 15, 15, 15, 15), trials("b", "", 15, 15, 15, 15)}, inService).Figures[0].Against[0]
	if same.Significant || *same.Absolute != 0 || same.P != nil {
		t.Errorf("%+v", same)
	}
}

// What stood in the way in some trials is told of all.
func TestFindingsOfTrials(t *testing.T) {
	a := trials("a", "", 15, 16, 17)
	a.Results[0].Findings = []Finding{{Kind: FoundMaxReached, Severity: Limits}, {Kind: FoundOOM, Severity: Blocks}, {Kind: FoundOOM, Severity: Blocks}}
	a.Results[1].Findings = []Finding{{Kind: FoundMaxReached, Severity: Limits}, {Kind: FoundRounding, Severity: Notice}}
	if got := Compare([]Trials{a}, inService).Findings; len(got) != 1 || got[0] != "a: findings in how many of 3 trials: max-reached in 2, out-of-memory in 1." {
		t.Error(got)
	}
}

// A scale-up that never came is later than any, in whichever set.
func TestNever(t *testing.T) {
	of := func(name string, seconds ...float64) Trials {
		all := trials(name, "", seconds...)
		for _, r := range all.Results {
			if up := r.Transitions[0].ScaleUp; up.Latency.Seconds == nil || *up.Latency.Seconds < 0 {
				up.Latency = absent(neverScaled + "up happened")
			}
		}
		return all
	}
	sixth, none := of("a", 15, 16, 17, 18, 19, -1), of("b", -1, -1, -1, -1, -1, -1)
	for name, c := range map[string]struct {
		a, b        Trials
		significant bool
		worse       bool
	}{
		"comes no more":             {of("a", 15, 16, 17, 18, 19, 20), none, true, true},
		"came not always, and none": {sixth, none, true, true},
		"comes once":                {of("a", 15, 16, 17, 18, 19, 20), of("b", 14, -1, -1, -1, -1, -1), false, false},
		"comes now":                 {none, sixth, true, false},
		"once less":                 {of("a", 15, 16, 17, 18, 19, 20), sixth, false, false},
	} {
		d := Compare([]Trials{c.a, c.b}, inService).Figures[0].Against[0]
		if d.Significant != c.significant || d.Worse != c.worse {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// TestTooFewOfSeveral compares more than two sets, each of which is judged by its own trials.
func TestTooFewOfSeveral(t *testing.T) {
	a, b := trials("a", "", 15, 16, 17, 18, 19, 20, 21, 22), trials("b", "", 40, 41, 42, 43, 44, 45, 46, 47)
	const one = "With 8 trials of a and 1 of c no figure can be better or worse: the smallest p-value is 0.22, and for "
	for name, test := range map[string]struct {
		sets  []Trials
		few   []string
		all   bool
		worse bool // b is
	}{
		"nothing of c is measured": {[]Trials{a, b, trials("c", "", -1, -1)}, nil, false, true},
		"c is a, and never varies": {[]Trials{trials("a", "", 15, 15, 15, 15), b, trials("c", "", 15)}, nil, false, true},
		"nothing is tested":        {[]Trials{trials("a", "", 15, 15, 15, 15), trials("b", "", 15), trials("c", "", 15)}, nil, false, false},
		"b is worse":               {[]Trials{a, b, trials("c", "", 40)}, []string{one + "1 tested difference without significance it must be below 0.05. Make 5 trials of each."}, false, true},
		"b could be worse":         {[]Trials{a, trials("b", "", 15, 16, 17, 18, 19, 20, 21, 23), trials("c", "", 40)}, []string{one + "2 tested differences it must be below 0.025. Make 5 trials of each."}, false, false},
		"b has too few too": {[]Trials{a, trials("b", "", 40), trials("c", "", 40)}, []string{strings.Replace(one, "of c", "of b", 1) + "2 tested differences it must be below 0.025. Make 5 trials of each.",
			one + "2 tested differences it must be below 0.025. Make 5 trials of each."}, true, false},
		"c has too few, and b is a": {[]Trials{trials("a", "", 15, 15), trials("b", "", 15, 15), trials("c", "", 40, 41)}, []string{
			"With 2 trials of a and 2 of c no figure can be better or worse: the smallest p-value is 0.33, and for 1 tested difference it must be below 0.05. Make 4 trials of each."}, true, false},
	} {
		c := Compare(test.sets, inService)
		few, all := c.TooFew()
		if d := cmp.Diff(test.few, few); d != "" || all != test.all {
			t.Errorf("%s: all %t (-want +got):\n%s", name, all, d)
		}
		if got := c.Figures[0].Against[0].Worse; got != test.worse {
			t.Errorf("%s: b is worse: %t", name, got)
		}
	}

	// What can be compared is said as a number of figures, each of which is tested once for each set but the first.
	// 0.0079 is below 0.05/6, and not below 0.05/8.
	c := Comparison{Names: []string{"a", "b", "c"}, Trials: []int{5, 5, 5}}
	for range 4 {
		d := Difference{Absolute: new(1.0), P: new(1.0), SmallestP: smallestP(5, 5)}
		c.Figures = append(c.Figures, ComparedFigure{Better: LowerIsBetter, Against: []Difference{d, d}})
	}
	if few, all := c.TooFew(); !all || len(few) != 2 || few[1] != "With 5 trials of a and 5 of c no figure can be better or worse: the smallest p-value is 0.0079, and for 8 tested differences it must be below 0.0063. Make 6 trials of each, or compare 3 figures at most (--figure)." {
		t.Error(all, few)
	}

	// 0.0016, the smallest p-value of 8 and 5 trials, is 0.053 for the 34 differences of 17 figures, and 0.026 for the
	// 17 that are left where all of b are significant: those of c are, and no text says that they cannot be.
	c = Comparison{Names: []string{"a", "b", "c"}, Trials: []int{8, 8, 5}}
	for range 17 {
		d := func(trials int) Difference {
			return Difference{Absolute: new(1.0), rise: 1, P: new(smallestP(8, trials)), SmallestP: smallestP(8, trials)}
		}
		c.Figures = append(c.Figures, ComparedFigure{Better: LowerIsBetter, Against: []Difference{d(8), d(5)}})
	}
	c.adjust()
	if few, all := c.TooFew(); few != nil || all || !c.Figures[0].Against[1].Worse {
		t.Error(all, few, c.Figures[0].Against[1].Worse)
	}
}

// 0.2/0.1, 0.4/0.1, 0.5/0.5 and 0.8/0.4 have the geometric mean 2 (their product is 16).
func TestCompareSpeedUp(t *testing.T) {
	of := func(name string, e Elasticity) Trials {
		return Trials{Name: name, Results: []*Result{{Elasticity: &e}}, Sources: []string{""}}
	}
	a := of("a", Elasticity{NormalizedUnder: 0.2, NormalizedOver: 0.4, TimeshareUnder: 0.5, TimeshareOver: 0.8})
	b := of("b", Elasticity{NormalizedUnder: 0.1, NormalizedOver: 0.1, TimeshareUnder: 0.5, TimeshareOver: 0.4})
	c := Compare([]Trials{a, b, of("c", Elasticity{})}, regexp.MustCompile("^elasticity"))
	if c.SpeedUp[0] == nil || math.Abs(*c.SpeedUp[0]-2) > 1e-12 || c.SpeedUp[1] != nil {
		t.Errorf("%v", c.SpeedUp)
	}
}

// The example of scipy.stats.mannwhitneyu (SciPy 1.11): the ages at which males and
// females were diagnosed with type II diabetes have an exact two-sided p of 1/9. The
// ranks of intervals for the median are those of the tables in W. J. Conover, Practical
// Nonparametric Statistics: the second and the ninth of ten with 97.85 %, the first and
// the last of six with 96.88 %.
func TestPublishedValues(t *testing.T) {
	d := difference(*summarized(19, 22, 16, 29, 24), *summarized(20, 11, 17, 12))
	if d.P == nil || math.Abs(*d.P-1.0/9) > 1e-9 || d.Significant {
		t.Errorf("got p %v, want 1/9", *d.P)
	}
	ten := summarized(10, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	if *ten.Low != 2 || *ten.High != 9 || math.Abs(ten.Confidence-0.9785) > 0.0001 || *ten.Median != 5.5 {
		t.Errorf("%g [%g, %g] %g", *ten.Median, *ten.Low, *ten.High, ten.Confidence)
	}
	six := summarized(1, 2, 3, 4, 5, 6)
	if *six.Low != 1 || *six.High != 6 || six.Confidence != 0.96875 {
		t.Errorf("[%g, %g] %g", *six.Low, *six.High, six.Confidence)
	}
}

func summarized(values ...float64) *Distribution {
	d := &Distribution{Values: values}
	d.summarize()
	return d
}

// Holm's own way: 0.01 of four is 0.04, 0.02 of the three that are left 0.06, and 0.025 no less than that;
// a figure of which neither direction is better is no part of them. Four figures of two sets are as many
// differences as two of three sets.
func TestHolm(t *testing.T) {
	for _, against := range []int{1, 2} {
		c := Comparison{}
		for i, p := range []float64{0.02, 0.01, 0.5, 0.025, 0.04} {
			if i == 4 {
				c.Figures = append(c.Figures, ComparedFigure{})
			} else if i%against == 0 {
				c.Figures = append(c.Figures, ComparedFigure{Better: LowerIsBetter})
			}
			last := &c.Figures[len(c.Figures)-1]
			last.Against = append(last.Against, Difference{rise: 1, P: &p})
		}
		c.adjust()
		var all []Difference
		for _, f := range c.Figures {
			all = append(all, f.Against...)
		}
		for i, want := range []float64{0.06, 0.04, 0.5, 0.06, 0.04} {
			if d := all[i]; math.Abs(*d.AdjustedP-want) > 1e-9 || d.Significant != (want < Alpha) || d.Worse != (i == 1) {
				t.Errorf("%d sets, difference %d: %+v, adjusted %g, want %g", against+1, i, d, *d.AdjustedP, want)
			}
		}
	}
}
