package fit

import (
	"math/rand/v2"
	"slices"
	"testing"

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
	var run record.Run
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
		run.Entries = append(run.Entries, record.Entry{Load: load})
	}
	random.Shuffle(seconds/4, func(i, k int) { run.Entries[i], run.Entries[k] = run.Entries[k], run.Entries[i] })
	l := learner{run: run, result: &analysis.Result{Pods: pods}, like: &simulate.Run{}}
	l.count()
	sums := map[string]float64{}
	for second := -5; second < seconds+5; second++ {
		in := naive(second)
		if got := l.in(second); !slices.Equal(got, in) {
			t.Fatalf("in second %d %v serve, should be %v", second, got, in)
		}
		counted := map[string]bool{}
		for _, i := range in {
			if name := pods[i].Name; !counted[name] {
				counted[name] = true
				sums[name] += float64(answered[second]) / float64(len(in))
			}
		}
	}
	all, had := 0.0, 0.0
	for name, c := range l.courses {
		n := l.answered(name, 1e9)
		if sums[name] > 0 && n < sums[name]-1e-6 || sums[name] == 0 && n > 0 {
			t.Errorf("pod %s worked on %g requests, and answered %g", name, n, sums[name])
		}
		if half := l.answered(name, 200.5); half < c.before(200)-1e-9 || half > c.before(201)+1e-9 || l.answered(name, -3) != 0 {
			t.Errorf("pod %s had worked on %g by the middle of a second, from %g to %g", name, half, c.before(200), c.before(201))
		}
		if len(c.sums) > seconds {
			t.Errorf("pod %s has %d sums of %d seconds", name, len(c.sums), seconds)
		}
		all, had = all+n, had+sums[name]
	}
	if over := all - had; over < 1 || over > float64(late)*1.2 {
		t.Errorf("the pods worked on %g requests more than they answered, and %d were given up", over, late)
	}
}
