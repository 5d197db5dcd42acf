package fit

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// course is how many requests the pods of one name had worked on by the end of each second: their
// share of all answers while they were in service, unless the record tells pods apart, and what
// was counted for them alone.
type course struct {
	stays  []stay
	counts []counted // by second
	active bool      // see count
}

// stay is a time in service, by its first second and the one after its last, with the shares of
// the stays before it.
type stay struct {
	from, to int
	before   [kinds]float64
}

// counted is how many requests there were up to the end of a second.
type counted struct {
	second int
	n      float64
}

// add counts n requests of a second, which is none before those that c has.
func (c *course) add(second int, n float64) {
	last := len(c.counts) - 1
	switch {
	case n == 0:
	case last < 0:
		c.counts = append(c.counts, counted{second, n})
	case c.counts[last].second >= second:
		c.counts[last].n += n
	default:
		c.counts = append(c.counts, counted{second, c.counts[last].n + n})
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
	answers = iota
	sent
	kinds
)

// of is what the pods of a course had got by the begin of a second.
func (s *shares) of(c *course, second int) float64 {
	i := sort.Search(len(c.stays), func(i int) bool { return c.stays[i].from >= second }) - 1
	if i < 0 || len(s.sums) == 0 {
		return 0
	}
	return c.stays[i].before[s.kind] + s.during(c.stays[i], second)
}

// during is what a pod got in a stay before a second.
func (s *shares) during(is stay, second int) float64 {
	at := func(second int) float64 { return s.sums[min(max(second, 0), len(s.sums)-1)] }
	return at(min(is.to, second)) - at(is.from)
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
		for i, is := range c.stays[:max(0, len(c.stays)-1)] {
			c.stays[i+1].before[kind] = is.before[kind] + s.during(is, math.MaxInt)
		}
	}
	return s
}

// shift is the number of pods in service from a second on until the next shift.
type shift struct{ from, pods int }

// edge is where a pod, by its place in the result, comes into service or goes out of it.
type edge struct{ second, pod int }

// crew are the pods in service, by their places in the result, as the seconds go by.
type crew struct {
	edges []edge
	pods  []int
}

// at are those in the middle of a second, which is none before the last that was asked for. The
// list holds until the next one is.
func (c *crew) at(second int) []int {
	for len(c.edges) > 0 && c.edges[0].second <= second {
		pod := c.edges[0].pod
		if i, has := slices.BinarySearch(c.pods, pod); has {
			c.pods = slices.Delete(c.pods, i, i+1)
		} else {
			c.pods = slices.Insert(c.pods, i, pod)
		}
		c.edges = c.edges[1:]
	}
	return c.pods
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
		is := stay{from: int(math.Ceil(*from - 0.5)), to: math.MaxInt}
		if p.OutOfService != nil {
			if is.to = int(math.Ceil(*p.OutOfService - 0.5)); is.to <= is.from {
				continue
			}
			l.edges = append(l.edges, edge{is.to, i})
		}
		l.edges = append(l.edges, edge{is.from, i})
		c := l.courses[p.Name]
		c.stays = append(c.stays, is)
	}
	slices.SortStableFunc(l.edges, func(a, b edge) int { return cmp.Compare(a.second, b.second) })
	on := crew{edges: l.edges}
	for i, e := range l.edges {
		if i+1 == len(l.edges) || l.edges[i+1].second > e.second {
			l.shifts = append(l.shifts, shift{e.second, len(on.at(e.second))})
		}
	}
	for _, c := range l.courses { // of pods that had the same name at a time, one counts
		slices.SortFunc(c.stays, func(a, b stay) int { return cmp.Compare(a.from, b.from) })
		var apart []stay
		for _, s := range c.stays {
			if n := len(apart); n > 0 && s.from <= apart[n-1].to {
				apart[n-1].to = max(apart[n-1].to, s.to)
			} else {
				apart = append(apart, s)
			}
		}
		c.stays = apart
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

// mostCounts bounds what count keeps of requests that were given up, of which each pod in service
// may have some in each second: beyond it, those of several seconds are one.
const mostCounts = 20_000_000

// count counts what each pod worked on: what it answered as the record has it, else its
// share of all answers, of which each pod in service has as many; and as large a share of
// what was given up, which a server does not see, and works on: of that the pods have more
// that got more than they answered. Who is out of service for long owes no answer.
func (l *learner) count() {
	known, lates, most := false, 0, 0
	for i := range l.loads {
		s := &l.loads[i]
		l.end = max(l.end, int(s.second)+1)
		if s.rare != nil {
			known = known || len(s.rare.pods) > 0
			if s.rare.late > 0 {
				lates++
			}
		}
	}
	l.courses = map[string]*course{}
	for _, p := range l.result.Pods {
		l.courses[p.Name] = &course{}
	}
	l.inService()
	for _, s := range l.shifts {
		most = max(most, s.pods)
	}
	grain := 1 + lates*most/mostCounts
	var sums [kinds][]float64 // by second
	for kind := range sums {
		sums[kind] = make([]float64, l.end)
	}
	late := make([]float64, l.end)
	inOrder := make([]*load, 0, len(l.loads))
	for i := range l.loads {
		if s := &l.loads[i]; s.second >= 0 {
			inOrder = append(inOrder, s)
			sums[answers][s.second] += float64(s.answered)
			sums[sent][s.second] += float64(s.sent)
			if s.rare != nil {
				late[s.second] += float64(s.rare.late)
			}
		}
	}
	slices.SortStableFunc(inOrder, func(a, b *load) int { return cmp.Compare(a.second, b.second) })
	if l.share = l.sharesOf(answers, sums[answers]); known {
		l.share.sums = nil
	}
	got := l.sharesOf(sent, sums[sent])
	timeout := int(l.like.Timeout.Seconds())
	var active []*course // that were in service a while ago
	var owe []float64
	edges := l.edges
	for second := range l.end {
		for ; len(inOrder) > 0 && int(inOrder[0].second) == second; inOrder = inOrder[1:] {
			if r := inOrder[0].rare; r != nil {
				for _, p := range r.pods {
					if c := l.courses[p.pod]; c != nil {
						c.add(second, float64(p.n))
					}
				}
			}
		}
		for ; len(edges) > 0 && edges[0].second <= second; edges = edges[1:] {
			if c := l.courses[l.result.Pods[edges[0].pod].Name]; !c.active {
				c.active = true
				active = append(active, c)
			}
		}
		if late[second] == 0 {
			continue
		}
		all := 0.0
		owe = owe[:0]
		active = slices.DeleteFunc(active, func(c *course) bool {
			if c.active = c.stays[len(c.stays)-1].to > second-2*timeout-settled; c.active {
				o := max(0, got.of(c, second-timeout+1)-c.before(second+1)-l.share.of(c, second+1))
				owe = append(owe, o)
				all += o
			}
			return !c.active
		})
		for i, c := range active {
			if all > 0 {
				c.add(second/grain*grain, late[second]*owe[i]/all)
			}
		}
	}
}

// settled are the seconds after which a pod that is out of service for two time-outs owes nothing.
const settled = 10

// answered is how many requests a pod had worked on by a time, evenly within a second.
func (l *learner) answered(pod string, until float64) float64 {
	c := l.courses[pod]
	if c == nil {
		return 0
	}
	until = min(max(0, until), float64(l.end))
	i := int(until)
	before, after := c.before(i)+l.share.of(c, i), c.before(i+1)+l.share.of(c, i+1)
	return before + (after-before)*(until-float64(i))
}
