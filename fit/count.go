package fit

import (
	"cmp"
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/floats"

	"github.com/hpabench/hpabench/record"
)

// course is how many requests the pods of one name have worked on: counts are those that the record
// names, and stays say which part of the others they have.
type course struct {
	stays  []stay
	counts []count // by second
}

// stay is a time, from a second of the run to before another one, in which a pod has a part of all
// requests: its weight over that of all pods. before are its requests of the stays before it.
type stay struct {
	from, to int
	weight   float64
	before   [kinds]float64
}

// Kinds of requests that pods share.
const (
	ofAnswers = iota
	ofGivenUp // by the second in which they were sent
	kinds
)

// count is how many requests there were up to the end of a second.
type count struct {
	second int
	n      float64
}

// add counts n requests of a second, which is not before the last one.
func (c *course) add(second int, n float64) {
	if last := len(c.counts) - 1; last >= 0 {
		n += c.counts[last].n
	}
	c.counts = append(c.counts, count{second, n})
}

// counted is how many requests the record names before a second.
func (c *course) counted(second int) float64 {
	n := sort.Search(len(c.counts), func(i int) bool { return c.counts[i].second >= second })
	if n == 0 {
		return 0
	}
	return c.counts[n-1].n
}

// shared is how many requests of a kind the pods had before a second, if a weight of 1 had sums before
// each second.
func (c *course) shared(kind int, sums []float64, second int) float64 {
	i := sort.Search(len(c.stays), func(i int) bool { return c.stays[i].from >= second }) - 1
	if i < 0 {
		return 0
	}
	return c.stays[i].before[kind] + c.stays[i].until(sums, second)
}

// until is what a stay has before a second.
func (t stay) until(sums []float64, second int) float64 {
	at := func(second int) float64 { return sums[min(max(second, 0), len(sums)-1)] }
	return t.weight * (at(min(t.to, second)) - at(t.from))
}

// share has the pods share requests, which are by second, by the weights of their stays. Those of a second
// without a pod are of the pods of the last one before it.
func (l *learner) share(kind int, requests []float64) {
	weights := make([]float64, l.end+1)
	for _, c := range l.courses {
		for _, t := range c.stays {
			addDuring(weights, t.from, t.to, t.weight)
		}
	}
	floats.CumSum(weights, weights)
	sums, last := make([]float64, l.end+1), -1
	for second, n := range requests {
		if weights[second] > rounding {
			last = second
		} else if last >= 0 {
			requests[last], requests[second] = requests[last]+n, 0
		}
	}
	for second, n := range requests {
		if sums[second+1] = sums[second]; weights[second] > rounding {
			sums[second+1] += n / weights[second]
		}
	}
	for _, c := range l.courses {
		for i, t := range c.stays[:max(0, len(c.stays)-1)] {
			c.stays[i+1].before[kind] = t.before[kind] + t.until(sums, t.to)
		}
	}
	l.sums[kind] = sums
}

// addDuring adds a value from a second to before another one, to the differences between seconds.
func addDuring(differences []float64, from, to int, value float64) {
	last := len(differences) - 1
	differences[min(max(from, 0), last)] += value
	differences[min(max(to, 0), last)] -= value
}

// nearest is the first second whose middle is not before a time.
func nearest(at float64) int { return int(math.Ceil(at - 0.5)) }

// served is the time in which a pod of the result is in service: the seconds in whose middle it is.
func (l *learner) served(pod int) (from, to int, ok bool) {
	p := &l.result.Pods[pod]
	switch {
	case p.InService != nil:
		from = nearest(*p.InService)
	case p.Before:
		from = nearest(p.FirstSeen)
	default:
		return 0, 0, false
	}
	if to = math.MaxInt; p.OutOfService != nil {
		to = nearest(*p.OutOfService)
	}
	return from, to, from < to
}

// pods is how many pods are in service in the middle of a second.
func (l *learner) pods(second int) float64 {
	if second < 0 || second >= len(l.serving) {
		return 0
	}
	return l.serving[second]
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

// leastWeight is that of a pod whose sample shows no CPU, in cores: where it is alone it has all requests.
const leastWeight = 1e-6

func (l *learner) sharingOf(byPod []*load, answered []float64) sharing {
	named := 0.0
	for _, s := range byPod {
		for _, p := range s.details.pods {
			named += float64(p.n)
		}
	}
	all := floats.Sum(answered)
	loaded := func(p record.Phase) bool { return (p.KeepAlive || l.base.Front != nil) && p.Shape != record.ShapeIdle }
	switch {
	case named > 0 && named >= (1-unnamed)*all:
		return counted
	case !l.base.Even && len(l.result.Pods) > 1 && slices.ContainsFunc(l.base.Phases, loaded):
		return uneven
	}
	return even
}

// requestsByPod attributes the requests to pods: the answers as the record has them, else evenly over the
// pods in service, or, on kept connections, in proportion to the CPU time that each pod used, less
// those that no sample shows. Requests that were given up, on which a server works all the same, are shared
// alike by the pods of the second in which they were sent.
func (l *learner) requestsByPod() {
	for i := range l.loads {
		l.end = max(l.end, int(l.loads[i].second)+1)
	}
	answered, givenUp := make([]float64, l.end), make([]float64, l.end)
	var byPod []*load // that tell pods apart
	for i := range l.loads {
		s := &l.loads[i]
		if s.second < 0 {
			continue
		}
		answered[s.second] += float64(s.answered)
		givenUp[max(0, int(s.second)-l.timeout())] += float64(s.details.timeouts)
		if len(s.details.pods) > 0 {
			byPod = append(byPod, s)
		}
	}
	l.sharing = l.sharingOf(byPod, answered)
	l.courses, l.serving = map[string]*course{}, make([]float64, l.end+1)
	for i, p := range l.result.Pods {
		c := l.courses[p.Name]
		if c == nil {
			c = &course{}
			l.courses[p.Name] = c
		}
		if from, to, ok := l.served(i); ok {
			addDuring(l.serving, from, to, 1)
			if l.sharing != uneven {
				c.stays = append(c.stays, stay{from: from, to: to, weight: 1})
			}
		}
	}
	floats.CumSum(l.serving, l.serving)
	l.windows = l.usageSamples()
	unsampled := l.unsampled()
	if l.sharing == uneven {
		// after are the pods after their last samples: of a second's requests each has an even part, which no sample
		// shows. A new pod without a sample has few of the kept connections.
		sampled, after, ends := make([]float64, l.end+2), make([]float64, l.end+2), map[string]float64{}
		for _, w := range l.windows {
			c := l.courses[w.pod]
			c.stays = append(c.stays, stay{from: nearest(w.end - w.length), to: nearest(w.end), weight: max(leastWeight, w.cpu/w.length)})
			spread(sampled, w.end-w.length, w.end, 1)
			ends[w.pod] = max(ends[w.pod], w.end)
		}
		for i := range l.result.Pods {
			if _, to, ok := l.there(i); ok && ends[l.result.Pods[i].Name] > 0 {
				spread(after, ends[l.result.Pods[i].Name], to, 1)
			}
		}
		floats.CumSum(sampled, sampled)
		floats.CumSum(after, after)
		for second := range l.end {
			part := 1.0
			switch {
			case sampled[second] < rounding && unsampled[second] > rounding:
				part = 0
			case after[second] > rounding:
				part = sampled[second] / (sampled[second] + after[second])
			}
			answered[second], givenUp[second] = answered[second]*part, givenUp[second]*part
		}
	}
	for _, c := range l.courses {
		slices.SortFunc(c.stays, func(a, b stay) int { return cmp.Compare(a.from, b.from) })
		for i := range c.stays[:max(0, len(c.stays)-1)] { // of pods that had one name at a time, one counts
			c.stays[i].to = min(c.stays[i].to, c.stays[i+1].from)
		}
	}
	if l.sharing == counted {
		clear(answered)
		slices.SortStableFunc(byPod, func(a, b *load) int { return cmp.Compare(a.second, b.second) })
		for _, s := range byPod {
			for _, p := range s.details.pods {
				if c := l.courses[p.pod]; c != nil {
					c.add(int(s.second), float64(p.n))
				}
			}
		}
	}
	l.share(ofAnswers, answered)
	l.share(ofGivenUp, givenUp)
	for i := range l.windows {
		w := &l.windows[i]
		w.requests = l.answered(w.pod, w.end) - l.answered(w.pod, w.end-w.length)
	}
	l.findStretches(unsampled)
}

// timeout is the load's, in seconds.
func (l *learner) timeout() int { return int(l.base.Timeout.Seconds()) }

// answered is how many requests the pods of a name had worked on by a time, evenly within a second.
func (l *learner) answered(pod string, until float64) float64 {
	c := l.courses[pod]
	if c == nil {
		return 0
	}
	before := func(second int) float64 {
		return c.counted(second) + c.shared(ofAnswers, l.sums[ofAnswers], second) + c.shared(ofGivenUp, l.sums[ofGivenUp], second-l.timeout())
	}
	second, part := math.Modf(min(max(0, until), float64(l.end)))
	n := before(int(second))
	return (n + (before(int(second)+1)-n)*part) * l.base.Times()
}
