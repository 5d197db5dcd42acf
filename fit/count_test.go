package fit

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/simulate"
)

// The shifts and the courses of a long run take memory for what changes in it, and say what
// a look at each pod in each second says.
func TestCountsAsSecondBySecond(t *testing.T) {
	const seconds = 400
	random := rand.New(rand.NewPCG(1, 1))
	at := func(s float64) *float64 { return &s }
	var pods []analysis.Pod
	for range 60 {
		p := analysis.Pod{Name: string(rune('a' + len(pods)))}
		from := float64(random.IntN(2*seconds)) / 2 // also in the very middle of a second
		switch random.IntN(5) {
		case 0:
			p.Before, p.FirstSeen = true, from
		case 1: // never served
		default:
			p.InService = at(from)
		}
		if random.IntN(3) > 0 {
			p.OutOfService = at(from + float64(random.IntN(200))/2)
		}
		pods = append(pods, p)
	}
	pods = append(pods, pods[3], analysis.Pod{Name: pods[4].Name, InService: at(seconds - 20)}) // names come again
	naive := func(second int) (in []int) {
		middle := float64(second) + 0.5
		for i, p := range pods {
			from := p.InService
			if from == nil && p.Before {
				from = &p.FirstSeen
			}
			if from != nil && *from <= middle && (p.OutOfService == nil || middle < *p.OutOfService) {
				in = append(in, i)
			}
		}
		return in
	}
	var source Source
	answered, late := map[int]uint64{}, uint64(0)
	for s := range seconds {
		if s >= 100 && s < 150 { // nothing was sent
			continue
		}
		n := uint64(random.IntN(1000))
		load := &record.LoadSecond{Second: s, Sent: n + 7, Answered: n}
		if answered[s] = n; s%3 == 0 {
			load.Errors = map[string]uint64{"timeout": 7}
			late += 7
		}
		source.addLoad(load, nil)
	}
	random.Shuffle(seconds/4, func(i, k int) { source.loads[i], source.loads[k] = source.loads[k], source.loads[i] })
	l := learner{Source: &source, result: &analysis.Result{Pods: pods}, base: &simulate.Run{}}
	l.requestsByPod()
	sums := map[string]float64{}
	for second := -5; second < seconds+5; second++ {
		in := naive(second)
		if got := l.pods(second); second >= 0 && second < seconds && int(got) != len(in) {
			t.Fatalf("in second %d %g pods serve, should be %d", second, got, len(in))
		}
		names := map[string]bool{} // of pods that have one name at a time, one counts
		for _, i := range in {
			names[pods[i].Name] = true
		}
		for name := range names {
			sums[name] += float64(answered[second]) / float64(len(names))
		}
	}
	all, had := 0.0, 0.0
	for name, c := range l.courses {
		n := l.answered(name, 1e9)
		if sums[name] > 0 && n < sums[name]-1e-6 || sums[name] == 0 && n > 0 {
			t.Errorf("pod %s worked on %g requests, and answered %g", name, n, sums[name])
		}
		if half := l.answered(name, 200.5); half < l.answered(name, 200)-1e-9 || half > l.answered(name, 201)+1e-9 || l.answered(name, -3) != 0 {
			t.Errorf("pod %s had worked on %g by the middle of a second, from %g to %g", name, half, l.answered(name, 200), l.answered(name, 201))
		}
		if len(c.counts) > seconds/3+1 {
			t.Errorf("pod %s has %d counts of %d seconds, of which a third have requests that were given up", name, len(c.counts), seconds)
		}
		all, had = all+n, had+sums[name]
	}
	if over := all - had; over < 1 || over > float64(late)*1.2 {
		t.Errorf("the pods worked on %g requests more than they answered, and %d were given up", over, late)
	}
}

// Many pods, of which each comes and goes at a time of its own, take memory for their number, and
// not for its square.
func TestManyPodsAtOnce(t *testing.T) {
	at := func(s int) *float64 { return new(float64(s)) }
	allocated := func(n int) uint64 {
		var pods []analysis.Pod
		for i := range n {
			pods = append(pods, analysis.Pod{Name: fmt.Sprint(i), InService: at(i), OutOfService: at(2*n + i)})
		}
		l := learner{Fit: &Fit{}, Source: new(Source), result: &analysis.Result{Pods: pods}, base: &simulate.Run{}}
		for second := range 3 * n {
			l.addLoad(&record.LoadSecond{Second: second, Sent: 9, Answered: 9}, nil)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		l.requestsByPod()
		l.meanCosts()
		runtime.ReadMemStats(&after)
		if got := l.answered("0", 1e9); got < 9 || got > 9*(3+math.Log(float64(n))) {
			t.Errorf("the first of %d pods answered %g requests", n, got)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	if few, many := allocated(500), allocated(4000); many > 16*few {
		t.Errorf("500 pods take %d bytes, and 4000 pods take %d", few, many)
	}
}

// What is left out of much is as much of each pod, and of each of the load's workers, however many there are in
// each second.
func TestLeftOutEvenly(t *testing.T) {
	const lines = 300_000
	var source Source
	rows := make([]int, lines)
	for i := range lines {
		source.addLoad(&record.LoadSecond{Second: i / 4, Sent: 1, Answered: 1}, nil)
		rows[i] = i
	}
	kept := slices.Collect(maps.Keys(source.latencies))
	for name, kept := range map[string][]int{"latencies": kept, "rows": atRandom(rows, mostDrawn)} {
		if n := len(kept); n > mostLatencies || n < mostDrawn {
			t.Errorf("%s: %d are left", name, n)
		}
		for _, period := range []int{2, 3, 4, 5, 10, 16, 60} {
			of := make([]float64, period)
			for _, i := range kept {
				of[i%period] += float64(period) / float64(len(kept))
			}
			if slices.Min(of) < 0.85 || slices.Max(of) > 1.15 {
				t.Errorf("%s: of %d in turns there are left %.2f", name, period, of)
			}
		}
	}
	if all := atRandom(rows[:100], 100); len(all) != 100 {
		t.Errorf("%d of few rows are left", len(all))
	}
}

// The bounds of an estimate from more rows than are drawn are as close as those from all: the mean of
// n values with a deviation of 1 is known to 1.645/sqrt(n) at 90 %.
func TestBootstrapOfMany(t *testing.T) {
	for _, n := range []int{1000, mostDrawn, 4 * mostDrawn} {
		random, rows := rand.New(rand.NewPCG(1, 2)), make([]float64, n)
		for i := range rows {
			rows[i] = random.NormFloat64()
		}
		is, low, high := bootstrap(rows, func(rows []float64) []float64 { return []float64{stat.Mean(rows, nil)} })
		if got, want := high[0]-low[0], 2*1.645/math.Sqrt(float64(n)); math.Abs(got/want-1) > 0.2 || is[0] < low[0] || is[0] > high[0] {
			t.Errorf("the mean of %d values is %g, from %g to %g: %.2g times as far as it should be", n, is[0], low[0], high[0], got/want)
		}
	}
}

// What is thinned is as long as a plant may have it, and has the quantiles that it had.
func TestThinned(t *testing.T) {
	for _, n := range []int{0, 1, simulate.MaxCases, simulate.MaxCases + 1, 7*simulate.MaxCases + 3} {
		list := make([]float64, n)
		for i := range list {
			list[i] = float64(i) / float64(n)
		}
		few := thinned(list)
		if len(few) != min(n, simulate.MaxCases) || !slices.IsSorted(few) {
			t.Errorf("of %d values %d are left, sorted: %t", n, len(few), slices.IsSorted(few))
		}
		for _, q := range []float64{0.1, 0.5, 0.9} {
			if n > 1 && math.Abs(quantile(few, q)-q) > 1e-3 {
				t.Errorf("of %d values the quantile %g is %g", n, q, quantile(few, q))
			}
		}
	}
}
