package fit

import (
	"cmp"
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/floats"

	"github.com/hpabench/hpabench/record"
)

// course is how many requests the pods of one name had worked on by the end of each second. Their
// share of all answers follows from stays, unless the record tells pods apart; counts are what was
// counted for these pods alone.
type course struct {
	stays  []stay
	counts []count // by second
	owes   bool    // it is among givenUp.debtors
}

// stay is a time in service, from a second of the run to before another one. before are the shares
// of the stays before it.
type stay struct {
	from, to int
	before   [kinds]float64
}

// count is how many requests there were up to the end of a second.
type count struct {
	second int
	n      float64
}

// add counts n requests of a second: in the last second that c has, if that is later.
func (c *course) add(second int, n float64) {
	last := len(c.counts) - 1
	switch {
	case n == 0:
	case last < 0:
		c.counts = append(c.counts, count{second, n})
	case c.counts[last].second >= second:
		c.counts[last].n += n
	default:
		c.counts = append(c.counts, count{second, c.counts[last].n + n})
	}
}

// before is how many there were before a second.
func (c *course) before(second int) float64 {
	n := sort.Search(len(c.counts), func(i int) bool { return c.counts[i].second >= second })
	if n == 0 {
		return 0
	}
	return c.counts[n-1].n
}

// shares are what each pod in service had got by the begin of each second, of one kind.
type shares struct {
	kind int
	sums []float64
}

const (
	ofAnswers = iota
	ofSent
	kinds
)

// before is what the pods of a course had got before a second.
func (s *shares) before(c *course, second int) float64 {
	i := sort.Search(len(c.stays), func(i int) bool { return c.stays[i].from >= second }) - 1
	if i < 0 || len(s.sums) == 0 {
		return 0
	}
	return c.stays[i].before[s.kind] + s.during(c.stays[i], second)
}

// during is what a pod got in a stay before a second.
func (s *shares) during(t stay, second int) float64 {
	at := func(second int) float64 { return s.sums[min(max(second, 0), len(s.sums)-1)] }
	return at(min(t.to, second)) - at(t.from)
}

// sharesOf works out shares from the sums of each second.
func (l *learner) sharesOf(kind int, sums []float64) *shares {
	s := &shares{kind, make([]float64, len(sums)+1)}
	for i, n := range sums {
		s.sums[i+1] = s.sums[i]
		if pods := l.pods(i); pods > 0 {
			s.sums[i+1] += n / float64(pods)
		}
	}
	for _, c := range l.courses {
		for i, t := range c.stays[:max(0, len(c.stays)-1)] {
			c.stays[i+1].before[kind] = t.before[kind] + s.during(t, math.MaxInt)
		}
	}
	return s
}

// shift is the number of pods in service from a second on until the next shift.
type shift struct{ from, pods int }

// edge is where a pod, by its place in the result, comes into service or goes out of it.
type edge struct{ second, pod int }

// serving are the pods in service, by their places in the result, as the seconds go by.
type serving struct {
	edges []edge
	pods  []int
}

// at gives the pods in service in the middle of a second, which must not be before that of the last
// call. The list is valid until the next call.
func (s *serving) at(second int) []int {
	for len(s.edges) > 0 && s.edges[0].second <= second {
		pod := s.edges[0].pod
		if i, has := slices.BinarySearch(s.pods, pod); has {
			s.pods = slices.Delete(s.pods, i, i+1)
		} else {
			s.pods = slices.Insert(s.pods, i, pod)
		}
		s.edges = s.edges[1:]
	}
	return s.pods
}

// inService finds the edges and the shifts, and the stays of each course. A pod serves in the
// seconds in whose middle it is in service.
func (l *learner) inService() {
	for i := range l.result.Pods {
		p := &l.result.Pods[i]
		from := p.InService
		if from == nil && p.Before {
			from = &p.FirstSeen
		}
		if from == nil {
			continue
		}
		t := stay{from: int(math.Ceil(*from - 0.5)), to: math.MaxInt}
		if p.OutOfService != nil {
			if t.to = int(math.Ceil(*p.OutOfService - 0.5)); t.to <= t.from {
				continue
			}
			l.edges = append(l.edges, edge{t.to, i})
		}
		l.edges = append(l.edges, edge{t.from, i})
		c := l.courses[p.Name]
		c.stays = append(c.stays, t)
	}
	slices.SortStableFunc(l.edges, func(a, b edge) int { return cmp.Compare(a.second, b.second) })
	on := serving{edges: l.edges}
	for i, e := range l.edges {
		if i+1 == len(l.edges) || l.edges[i+1].second > e.second {
			l.shifts = append(l.shifts, shift{e.second, len(on.at(e.second))})
		}
	}
	for _, c := range l.courses { // of pods that had the same name at a time, one counts
		slices.SortFunc(c.stays, func(a, b stay) int { return cmp.Compare(a.from, b.from) })
		var merged []stay
		for _, t := range c.stays {
			if n := len(merged); n > 0 && t.from <= merged[n-1].to {
				merged[n-1].to = max(merged[n-1].to, t.to)
			} else {
				merged = append(merged, t)
			}
		}
		c.stays = merged
	}
}

// in is the shift of a second, -1 for none.
func (l *learner) in(second int) int {
	return sort.Search(len(l.shifts), func(i int) bool { return l.shifts[i].from > second }) - 1
}

// pods are how many are in service in the middle of a second.
func (l *learner) pods(second int) int {
	if i := l.in(second); i >= 0 {
		return l.shifts[i].pods
	}
	return 0
}

// sharing is what a record tells of which pod had how many requests.
type sharing int

const (
	counted sharing = iota // it names the pods that answered
	even                   // each request went to a pod at random, or to each in turn
	uneven                 // kept connections share as they were opened
)

// unnamed is the share of the answers that may be without the name of a pod: to leave out that many
// makes a cost as wrong as that.
const unnamed = 0.01

func (l *learner) sharingOf(byPod []*load, answered []float64) sharing {
	named := 0.0
	for _, s := range byPod {
		for _, p := range s.details.pods {
			named += float64(p.n)
		}
	}
	all := floats.Sum(answered)
	loaded := func(p record.Phase) bool { return p.KeepAlive && p.Shape != record.ShapeIdle }
	switch {
	case named > 0 && named >= (1-unnamed)*all:
		return counted
	case !l.like.Even && slices.ContainsFunc(l.like.Phases, loaded):
		return uneven
	}
	return even
}

// requestsByPod counts what each pod worked on: what it answered as the record has it, else an
// even share of all answers; and as large a share of
// what was given up, which a server does not see, and works on.
func (l *learner) requestsByPod() {
	l.courses = map[string]*course{}
	for _, p := range l.result.Pods {
		l.courses[p.Name] = &course{}
	}
	l.inService()
	for i := range l.loads {
		l.end = max(l.end, int(l.loads[i].second)+1)
	}
	var byPod []*load // that tell pods apart
	answered, sent, late := make([]float64, l.end), make([]float64, l.end), make([]float64, l.end)
	lates, most := 0, 0
	for i := range l.loads {
		s := &l.loads[i]
		if s.second < 0 {
			continue
		}
		answered[s.second] += float64(s.answered)
		sent[s.second] += float64(s.sent)
		if late[s.second] += float64(s.details.timeouts); s.details.timeouts > 0 {
			lates++
		}
		if len(s.details.pods) > 0 {
			byPod = append(byPod, s)
		}
	}
	l.worked = make([]float64, l.end+1)
	for second := range l.end {
		l.worked[second+1] = l.worked[second] + answered[second] + late[second]
	}
	l.share = l.sharesOf(ofAnswers, answered)
	switch l.sharing = l.sharingOf(byPod, answered); l.sharing {
	case counted:
		l.share.sums = nil
	default:
		byPod = nil
	}
	for _, s := range l.shifts {
		most = max(most, s.pods)
	}
	g := givenUp{learner: l, late: late, got: l.sharesOf(ofSent, sent), grain: 1 + lates*most/mostCounts, ahead: l.edges}
	slices.SortStableFunc(byPod, func(a, b *load) int { return cmp.Compare(a.second, b.second) })
	for second := range l.end {
		for ; len(byPod) > 0 && int(byPod[0].second) == second; byPod = byPod[1:] {
			for _, p := range byPod[0].details.pods {
				if c := l.courses[p.pod]; c != nil {
					c.add(second, float64(p.n))
				}
			}
		}
		g.count(second)
	}
}

// givenUp counts the requests that were given up, second by second: the pods have more of them
// that got more than they answered.
type givenUp struct {
	*learner
	late    []float64 // by second
	got     *shares   // of the requests that were sent
	grain   int       // how many seconds are counted as one
	ahead   []edge    // edges that are yet to come
	debtors []*course // in service, or not out of it for long
	owed    []float64 // by each of debtors
}

// mostCounts bounds the counts that givenUp keeps, of each pod in service and each second: where
// there are more, several seconds have one together.
const mostCounts = 20_000_000

// owesFor is for how many seconds a pod that is out of service may give up requests, beside two
// time-outs.
const owesFor = 10

func (g *givenUp) count(second int) {
	for ; len(g.ahead) > 0 && g.ahead[0].second <= second; g.ahead = g.ahead[1:] {
		if c := g.courses[g.result.Pods[g.ahead[0].pod].Name]; !c.owes {
			c.owes = true
			g.debtors = append(g.debtors, c)
		}
	}
	if g.late[second] == 0 {
		return
	}
	timeout, all := int(g.like.Timeout.Seconds()), 0.0
	g.owed = g.owed[:0]
	g.debtors = slices.DeleteFunc(g.debtors, func(c *course) bool {
		if c.owes = c.stays[len(c.stays)-1].to > second-2*timeout-owesFor; c.owes {
			owed := max(0, g.got.before(c, second-timeout+1)-c.before(second+1)-g.share.before(c, second+1))
			g.owed = append(g.owed, owed)
			all += owed
		}
		return !c.owes
	})
	if all == 0 {
		return
	}
	for i, c := range g.debtors {
		c.add(second/g.grain*g.grain, g.late[second]*g.owed[i]/all)
	}
}

// answered is how many requests a pod had worked on by a time, evenly within a second.
func (l *learner) answered(pod string, until float64) float64 {
	c := l.courses[pod]
	if c == nil {
		return 0
	}
	until = min(max(0, until), float64(l.end))
	i := int(until)
	before, after := c.before(i)+l.share.before(c, i), c.before(i+1)+l.share.before(c, i+1)
	return before + (after-before)*(until-float64(i))
}
