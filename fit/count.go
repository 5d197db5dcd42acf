package fit

import (
	"math"
	"slices"
	"sort"
)

// course is how many requests a pod had worked on by the end of each second from one on. It
// has memory for the seconds from the first in which it worked to the last.
type course struct {
	from int
	sums []float64
	got  float64 // what was sent to it long enough ago to be given up
}

// add counts what it worked on in a second, which is none before those that it has.
func (c *course) add(second int, n float64) {
	if n == 0 {
		return
	}
	if len(c.sums) == 0 {
		c.from, c.sums = second, []float64{0}
	}
	for c.from+len(c.sums) <= second {
		c.sums = append(c.sums, c.sums[len(c.sums)-1])
	}
	c.sums[second-c.from] += n
}

// before is how many it had worked on before a second.
func (c *course) before(second int) float64 {
	if second <= c.from || len(c.sums) == 0 {
		return 0
	}
	return c.sums[min(second-c.from, len(c.sums))-1]
}

// shift are the pods that serve from a second on until the next shift, by their places in the
// result.
type shift struct {
	from int
	pods []int
}

// inService finds the shifts. A pod serves in the seconds in whose middle it is in service.
func (l *learner) inService() {
	type edge struct{ second, pod, by int }
	var edges []edge
	for i := range l.result.Pods {
		p := &l.result.Pods[i]
		from := p.InService
		if from == nil && p.Before {
			from = &p.FirstSeen
		}
		if from == nil {
			continue
		}
		first := int(math.Ceil(*from - 0.5))
		if p.OutOfService == nil {
			edges = append(edges, edge{first, i, 1})
		} else if end := int(math.Ceil(*p.OutOfService - 0.5)); end > first {
			edges = append(edges, edge{first, i, 1}, edge{end, i, -1})
		}
	}
	slices.SortStableFunc(edges, func(a, b edge) int { return a.second - b.second })
	var now []int
	for i, e := range edges {
		if at, has := slices.BinarySearch(now, e.pod); has {
			now = slices.Delete(now, at, at+1)
		} else {
			now = slices.Insert(now, at, e.pod)
		}
		if i+1 == len(edges) || edges[i+1].second > e.second {
			l.serving = append(l.serving, shift{e.second, slices.Clone(now)})
		}
	}
}

// in are the pods in service in the middle of a second.
func (l *learner) in(second int) []int {
	next := sort.Search(len(l.serving), func(i int) bool { return l.serving[i].from > second })
	if next == 0 {
		return nil
	}
	return l.serving[next-1].pods
}

// count counts what each pod worked on: what it answered as the record has it, else its
// share of all answers, of which each pod in service has as many; and as large a share of
// what was given up, which a server does not see, and works on: of that the pods have more
// that got more than they answered.
func (l *learner) count() {
	type part struct {
		pod string
		n   uint64
	}
	type sum struct {
		second              int
		answers, late, sent uint64
		by                  []part // where that is known
	}
	sums, known := map[int]*sum{}, false
	for _, e := range l.run.Entries {
		if e.Load == nil || e.Load.Second < 0 {
			continue
		}
		s := sums[e.Load.Second]
		if s == nil {
			s = &sum{second: e.Load.Second}
			sums[s.second] = s
		}
		l.end = max(l.end, s.second+1)
		s.answers += e.Load.Answered
		s.late += e.Load.Errors["timeout"]
		s.sent += e.Load.Sent
		for name, p := range e.Load.Pods {
			s.by, known = append(s.by, part{name, p.Answered}), true
		}
	}
	l.courses = map[string]*course{}
	courses := make([]*course, len(l.result.Pods)) // those of pods of the same name are one
	for i, p := range l.result.Pods {
		if l.courses[p.Name] == nil {
			l.courses[p.Name] = &course{}
		}
		courses[i] = l.courses[p.Name]
	}
	l.inService()
	inOrder := make([]*sum, 0, len(sums))
	for _, s := range sums {
		inOrder = append(inOrder, s)
	}
	slices.SortFunc(inOrder, func(a, b *sum) int { return a.second - b.second })
	due, owe := 0, make([]float64, len(courses))
	for _, s := range inOrder {
		for ; due < len(inOrder) && inOrder[due].second <= s.second-int(l.like.Timeout.Seconds()); due++ {
			had := l.in(inOrder[due].second)
			for _, i := range had {
				courses[i].got += float64(inOrder[due].sent) / float64(len(had))
			}
		}
		for _, p := range s.by {
			if c := l.courses[p.pod]; c != nil {
				c.add(s.second, float64(p.n))
			}
		}
		if !known {
			have := l.in(s.second)
			for _, i := range have {
				if c := courses[i]; c.from+len(c.sums) <= s.second { // or it was counted by another of its name
					c.add(s.second, float64(s.answers)/float64(len(have)))
				}
			}
		}
		if s.late == 0 {
			continue
		}
		all := 0.0
		for i, c := range courses {
			owe[i] = max(0, c.got-c.before(s.second+1))
			all += owe[i]
		}
		if all == 0 {
			continue
		}
		for i, c := range courses {
			c.add(s.second, float64(s.late)*owe[i]/all)
		}
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
	before, after := c.before(i), c.before(i+1)
	return before + (after-before)*(until-float64(i))
}
