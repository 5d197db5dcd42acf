package analysis

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hpabench/hpabench/record"
)

// loads sums up the load of a record by phase, by worker and by row of the timeline, from
// entries in any order.
type loads struct {
	header  *record.Header
	total   *sum
	phases  map[int]*sum
	workers map[int]*sum
	every   int // seconds of a row
	rows    map[int]*row
	open    []int // rows whose latencies are still summed up
	spare   record.Counts
	seconds map[int]*[pageSeconds]secondSum
	pods    map[string][]secondCount // the answers of each pod, where the load tells pods apart
	summed  []*sum                   // of phases, whose latencies are not packed
}

// longestTimeline is how many rows a timeline has at most: a day of seconds, and what is
// before and after its load. A longer run has rows of so many seconds that it fits. A
// spreadsheet takes a million rows, and a picture shows 600.
const longestTimeline = 100_000

// rowSeconds are the lengths that a row may have.
var rowSeconds = []int{1, 5, 15, 30, 60, 300, 900, 3600}

// everyFor is how long the rows of a run of so many seconds are.
func everyFor(seconds float64) int {
	for _, every := range rowSeconds {
		if seconds <= longestTimeline*float64(every) {
			return every
		}
	}
	return rowSeconds[len(rowSeconds)-1]
}

// openRows is of how many rows the latencies are summed up at a time. Entries come about in
// the order of their seconds; those of workers in the cluster can be late by minutes.
const openRows = 1024

// pageSeconds is how many seconds are kept side by side.
const pageSeconds = 256

// row is one of the timeline's in the making.
type row struct {
	Second
	latency record.Counts
	closed  bool // its percentiles are worked out
}

// openPhases is of how many phases the latencies are summed up at a time. Those of several workers
// are a phase apart at most, but for late ones.
const openPhases = 16

// secondSum are the requests that were sent in a second, its answers and failures, how many of both were errors, and the answers of
// pods, where the load tells them apart. Of the errors, refused found no server that listened, dropped lost their connection, and waited
// came of a wait that was too long.
type secondSum struct{ sent, errors, refused, dropped, waited, done, pods uint64 }

// decoded is a LoadSecond with its histograms as counts.
type decoded struct {
	*record.LoadSecond
	errors            uint64
	latency, lateness record.Counts
	pods              map[string]record.Counts
}

// decode takes the time that a record takes, and may be called by several goroutines.
func decode(l *record.LoadSecond) (d *decoded, err error) {
	d = &decoded{LoadSecond: l, errors: l.Failed}
	for code, n := range l.Codes {
		if c, err := strconv.Atoi(code); err != nil || c < 200 || c >= 400 {
			d.errors += n
		}
	}
	if d.latency, err = l.Latency.Counts(record.Fine); err == nil {
		d.lateness, err = l.Lateness.Counts(record.Coarse)
	}
	for name, p := range l.Pods {
		if err != nil {
			break
		}
		if d.pods == nil {
			d.pods = make(map[string]record.Counts, len(l.Pods))
		}
		d.pods[name], err = p.Latency.Counts(record.Coarse)
	}
	if err != nil {
		return nil, fmt.Errorf("load of second %d: %w", l.Second, err)
	}
	return d, nil
}

func newLoads(h *record.Header) *loads {
	l := &loads{header: h, total: newSum("total"), phases: map[int]*sum{}, workers: map[int]*sum{}, rows: map[int]*row{}, seconds: map[int]*[pageSeconds]secondSum{}}
	planned := 0.0
	for i, p := range h.Phases {
		planned += p.Seconds
		l.phases[i] = newSum(p.Name)
		l.phases[i].Plan = planOf(p)
		l.phases[i].closedLoop = p.Shape == record.ShapeWorkers
		l.total.closedLoop = l.total.closedLoop || l.phases[i].closedLoop
	}
	l.every = everyFor(planned)
	return l
}

func (l *loads) add(d *decoded) {
	if l.phases[d.Phase] == nil {
		l.phases[d.Phase] = newSum(fmt.Sprintf("phase %d", d.Phase))
	}
	l.total.add(d, true)
	p := l.phases[d.Phase]
	if !p.summed {
		p.summed, l.summed = true, append(l.summed, p)
		if len(l.summed) > openPhases {
			l.summed[0].pack()
			l.summed = slices.Delete(l.summed, 0, 1)
		}
	}
	p.add(d, true)
	p.count(d.Second, d.Answered)
	if d.Worker != 0 { // 0 is the runner itself
		if l.workers[d.Worker] == nil {
			l.workers[d.Worker] = newSum("")
		}
		l.workers[d.Worker].add(d, false)
	}
	l.addRow(d)
	at, in := floorDiv(d.Second, pageSeconds)
	if l.seconds[at] == nil {
		l.seconds[at] = new([pageSeconds]secondSum)
	}
	l.seconds[at][in].sent += d.Sent
	l.seconds[at][in].errors += d.errors
	l.seconds[at][in].refused += d.Errors[refusedConnection]
	l.seconds[at][in].dropped += sumOf(d.Errors, droppedConnections)
	l.seconds[at][in].waited += sumOf(d.Errors, waitedCauses) + sumOf(d.Codes, waitedCodes)
	l.seconds[at][in].done += d.Answered + d.Failed
	for name, of := range d.Pods {
		if l.pods == nil {
			l.pods = map[string][]secondCount{}
		}
		name = intern(name)
		l.pods[name] = append(l.pods[name], secondCount{d.Second, of.Answered})
		l.seconds[at][in].pods += of.Answered
	}
}

// marked takes the edge of a phase: what was counted before its end came in time.
func (l *loads) marked(m *record.PhaseMark) {
	if p := l.phases[m.Index]; p != nil && m.Edge == "end" {
		p.ended = true
	}
}

// pack frees most of the memory of a phase that is over.
func (s *sum) pack() {
	s.summed = false
	s.latency.Pack()
	s.lateness.Pack()
	for _, p := range s.pods {
		p.latency.Pack()
	}
}

// count counts the answers of a second of a phase. As long as that has not ended, those of
// seconds that are long over came before its end.
func (s *sum) count(second int, answers uint64) {
	if n := len(s.answered); n > 0 && s.answered[n-1].second == second {
		s.answered[n-1].n += answers
		return
	}
	if len(s.answered) >= 2*openRows && !s.ended {
		s.answered = slices.DeleteFunc(s.answered, func(c secondCount) bool {
			over := c.second < second-openRows
			if over {
				s.inTime += c.n
			}
			return over
		})
	}
	s.answered = append(s.answered, secondCount{second, answers})
}

// floorDiv is a/b rounded down, and the rest.
func floorDiv(a, b int) (quotient, rest int) {
	quotient, rest = a/b, a%b
	if rest < 0 {
		return quotient - 1, rest + b
	}
	return quotient, rest
}

// second is the sum of a second.
func (l *loads) second(n int) secondSum {
	at, in := floorDiv(n, pageSeconds)
	if p := l.seconds[at]; p != nil {
		return p[in]
	}
	return secondSum{}
}

func (l *loads) addRow(d *decoded) {
	n, _ := floorDiv(d.Second, l.every)
	r := l.rows[n]
	if r == nil {
		r = &row{Second: Second{Second: n * l.every}}
		l.rows[n] = r
		if l.open = append(l.open, n); len(l.open) >= 2*openRows {
			slices.Sort(l.open)
			for _, n := range l.open[:openRows] {
				l.rows[n].close()
			}
			l.open = append(l.open[:0], l.open[openRows:]...)
		}
	}
	r.Offered += d.Offered
	r.Answered += d.Answered
	r.Failed += d.Failed
	r.Unsent += d.Unsent
	r.Late += d.Late
	r.LateMax = max(r.LateMax, d.LateMax)
	switch {
	case len(d.latency) == 0:
	case r.closed: // what it had is not kept, so that nothing can be said of all
		r.P50, r.P90, r.P99 = nil, nil, nil
	case r.latency == nil:
		r.latency = d.latency
	default:
		l.spare, r.latency = r.latency, r.latency.Plus(d.latency, l.spare[:0])
	}
}

// close works out the percentiles of r, and lets go of what they are of.
func (r *row) close() {
	q := quantiles(r.latency, record.Fine)
	r.P50, r.P90, r.P99 = q.P50, q.P90, q.P99
	r.latency, r.closed = nil, true
}

// sumLoad is the load of the phases, with the rows for the timeline, by their first second
// over every.
func (o *observed) sumLoad() (Load, map[int]*row) {
	l := o.loads
	total, phases := l.total, l.phases
	for _, s := range o.spans {
		if phases[s.index] == nil {
			phases[s.index] = newSum(s.name)
		}
		phases[s.index].Cut = !s.ended
		phases[s.index].StartSeconds = new(s.start.Seconds())
		phases[s.index].Seconds = new(s.end.Sub(s.start).Seconds())
	}
	for i, s := range o.spans {
		for _, c := range phases[s.index].answered { // to a request of s
			in := slices.IndexFunc(o.spans[i:], func(s span) bool { return float64(c.second) < s.end.Seconds() })
			if in >= 0 { // it came before the load ended
				phases[o.spans[i+in].index].inTime += c.n
			}
		}
	}
	for _, s := range o.spans {
		total.inTime += phases[s.index].inTime
	}
	var load Load
	for _, i := range slices.Sorted(maps.Keys(phases)) {
		phases[i].Index = i
		phases[i].Doubt = phases[i].doubt(o.flags.Sync.Duration)
		load.Phases = append(load.Phases, phases[i].result())
	}
	for _, n := range slices.Sorted(maps.Keys(l.workers)) {
		w := l.workers[n].result()
		load.Workers = append(load.Workers, WorkerLoad{n, w.Offered, w.Sent, w.Unsent, w.Answered, w.Failed, w.Aborted, w.Unknown, w.Late, w.LateMax, w.LateP99, l.workers[n].doubt(o.flags.Sync.Duration)})
	}
	if len(o.spans) > 0 {
		total.StartSeconds, total.Seconds = new(o.start.Seconds()), new(o.end.Sub(o.start).Seconds())
	}
	load.Total = total.result()
	if slo := o.header.SLOLatency; slo > 0 {
		for i := range load.Phases {
			load.Phases[i].SLOViolated = phases[load.Phases[i].Index].violated(slo)
		}
		load.Total.SLOViolated = total.violated(slo)
	}
	for i := range load.Phases {
		o.spread(&load.Phases[i])
	}
	load.Total.Doubt = load.Doubts()
	o.spread(&load.Total)
	for _, n := range l.open {
		l.rows[n].close()
	}
	l.open = nil
	return load, l.rows
}

// phase returns the load of the header's phase i.
func (l Load) phase(i int) PhaseLoad {
	if n, has := slices.BinarySearchFunc(l.Phases, i, func(p PhaseLoad, i int) int { return p.Index - i }); has {
		return l.Phases[n]
	}
	return PhaseLoad{}
}

// sum is a PhaseLoad in the making.
type sum struct {
	PhaseLoad
	latency    *record.Tally // of record.Fine
	lateness   *record.Tally // of record.Coarse
	pods       map[string]*podSum
	closedLoop bool          // it has no schedule, and so no offered rate
	ended      bool          // its end was seen
	summed     bool          // see loads.summed
	answered   []secondCount // by second, of a phase
	inTime     uint64        // answers that came within the phase, those to requests of an earlier one too
	blind      uint64        // answers without a latency: a worker's lines were lost
}

type secondCount struct {
	second int
	n      uint64
}

func newSum(name string) *sum { return &sum{PhaseLoad: PhaseLoad{Name: name}} }

// add adds a second; the answers' latencies and pods only where they are asked for.
func (s *sum) add(l *decoded, answers bool) {
	s.Offered += l.Offered
	s.Sent += l.Sent
	s.Unsent += l.Unsent
	s.Answered += l.Answered
	s.Failed += l.Failed
	s.Aborted += l.Aborted
	s.Unknown += l.Unknown
	if l.Latency == "" {
		s.blind += l.Answered
	}
	s.BytesIn += l.BytesIn
	s.BytesOut += l.BytesOut
	s.Late += l.Late
	s.LateMax = max(s.LateMax, l.LateMax)
	if l.Lateness != "" {
		if s.lateness == nil {
			s.lateness = new(record.Tally)
		}
		s.lateness.Add(l.lateness)
	}
	s.SlowConnects += l.SlowConnects
	s.Errors += l.errors
	s.Codes, s.Failures = plus(s.Codes, l.Codes), plus(s.Failures, l.LoadSecond.Errors)
	if !answers {
		return
	}
	for name, p := range l.Pods {
		if s.pods == nil {
			s.pods = map[string]*podSum{}
		}
		if s.pods[name] == nil {
			s.pods[name] = &podSum{}
		}
		s.pods[name].answered += p.Answered
		s.pods[name].errors += p.Errors
		s.pods[name].latency.Add(l.pods[name])
	}
	if l.Latency != "" {
		if s.latency == nil {
			s.latency = new(record.Tally)
		}
		s.latency.Add(l.latency)
	}
}

// plus adds counts to a sum of them, which is nil as long as there are none.
func plus(sum, counts map[string]uint64) map[string]uint64 {
	if sum == nil && len(counts) > 0 {
		sum = map[string]uint64{}
	}
	for name, n := range counts {
		sum[name] += n
	}
	return sum
}

func (s *sum) result() PhaseLoad {
	if s.Seconds != nil && *s.Seconds > 0 {
		if !s.closedLoop {
			s.OfferedRate = new(float64(s.Offered) / *s.Seconds)
		}
		s.AchievedRate = new(float64(s.inTime) / *s.Seconds)
	}
	if done := s.Answered + s.Failed; done > 0 {
		s.ErrorShare = new(float64(s.Errors) / float64(done))
	}
	s.Latency = quantiles(s.latency.Counts(), record.Fine)
	s.LateP99 = quantiles(s.lateness.Counts(), record.Coarse).P99
	var known uint64
	for _, p := range s.pods {
		known += p.answered
	}
	for name, p := range s.pods {
		s.Pods = append(s.Pods, PodLoad{Pod: name, Answered: p.answered, Errors: p.errors, Share: float64(p.answered) / float64(max(known, 1)), Latency: quantiles(p.latency.Counts(), record.Coarse)})
	}
	slices.SortFunc(s.Pods, func(a, b PodLoad) int { return cmp.Or(cmp.Compare(b.Answered, a.Answered), cmp.Compare(a.Pod, b.Pod)) })
	return s.PhaseLoad
}

// violated is the share of what was answered and what failed that was an error or took
// longer than so many seconds. It is nil where there are both slow answers and answers
// that are errors: which are both is not recorded.
func (s *sum) violated(seconds float64) *float64 {
	done := s.Answered + s.Failed
	slow := uint64(0)
	for _, c := range s.latency.Counts() {
		if record.Fine.From(c) > int64(seconds*1e6) {
			slow += c.N
		}
	}
	if done == 0 || s.latency != nil && s.blind > 0 || slow > 0 && s.Errors > s.Failed {
		return nil
	}
	return new(float64(slow+s.Errors) / float64(done))
}

// doubt says in which way the load was not as planned, see PhaseLoad.Doubt. A
// record from before there was Lateness has only the worst.
func (s *sum) doubt(sync time.Duration) string {
	matters, late := sync.Seconds(), s.LateMax
	if s.Seconds != nil {
		matters = min(matters, *s.Seconds)
	}
	if s.lateness != nil {
		late = (time.Duration(s.lateness.Counts().Percentile(record.Coarse, 100*(1-UnsentShare))) * time.Microsecond).Seconds()
	}
	var list []string
	if float64(s.Unsent) > UnsentShare*float64(s.Offered) {
		list = append(list, fmt.Sprintf("%d of %d requests (%s %%) were never sent", s.Unsent, s.Offered, record.Plain(float64(s.Unsent)/float64(s.Offered)*100, 2)))
	}
	if !s.Cut && float64(s.Unknown) > UnsentShare*float64(s.Offered) { // of a cut phase it is what was under way
		list = append(list, fmt.Sprintf("of %d of %d requests (%s %%) it is not known what became", s.Unknown, s.Offered, record.Plain(float64(s.Unknown)/float64(s.Offered)*100, 2)))
	}
	if s.latency != nil && float64(s.blind) > UnsentShare*float64(s.Answered) {
		list = append(list, fmt.Sprintf("the latencies of %d of %d answers are not known", s.blind, s.Answered))
	}
	if late > LateShare*matters {
		list = append(list, fmt.Sprintf("requests were sent up to %s s late", record.Plain(s.LateMax, 2)))
	}
	return strings.Join(list, ", ")
}

// Doubts names the phases whose load was not as planned; empty if there is none.
func (l *Load) Doubts() string { return l.doubt(math.Inf(-1), math.Inf(1)) }

// doubt names the phases between two times, in seconds, whose load was not as
// planned; empty if there is none.
func (l *Load) doubt(from, to float64) string {
	var names []string
	for i := range l.Phases {
		p := &l.Phases[i]
		if p.Doubt != "" && p.StartSeconds != nil && *p.StartSeconds < to && *p.StartSeconds+*p.Seconds > from {
			names = append(names, p.Name)
		}
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("the load of phase %s was not as planned", names[0])
	}
	return fmt.Sprintf("the load of phases %s was not as planned", strings.Join(names, ", "))
}

type podSum struct {
	answered, errors uint64
	latency          record.Tally // of record.Coarse
}

func quantiles(c record.Counts, s record.Scale) Quantiles {
	if len(c) == 0 {
		return Quantiles{}
	}
	at := func(percent float64) *float64 {
		return new((time.Duration(c.Percentile(s, percent)) * time.Microsecond).Seconds())
	}
	return Quantiles{P50: at(50), P90: at(90), P95: at(95), P99: at(99), Max: at(100)}
}

// spread fills in the rates of the pods and how even they are, with those that
// were in service and got nothing.
func (o *observed) spread(l *PhaseLoad) {
	if l.StartSeconds == nil || l.Seconds == nil || len(l.Pods) == 0 {
		return
	}
	start, end := *l.StartSeconds, *l.StartSeconds+*l.Seconds
	named := make(map[string]int, len(l.Pods))
	for i, p := range l.Pods {
		named[p.Pod] = i
	}
	var rates []float64
	for _, p := range o.pods {
		from, to := start, end
		switch {
		case p.inService.seen:
			from = max(from, p.inService.t.Seconds())
		case !p.before:
			continue // it never served
		}
		if p.left.seen {
			to = min(to, p.left.t.Seconds())
		}
		if to-from < 1 {
			continue
		}
		rate := 0.0 // of a pod that got nothing
		if i, has := named[p.name]; has {
			rate = float64(l.Pods[i].Answered) / (to - from)
			l.Pods[i].Rate = &rate
		}
		rates = append(rates, rate)
	}
	sum, differences := 0.0, 0.0 // of each with each
	slices.Sort(rates)
	for i, x := range rates {
		sum += x
		differences += 2 * float64(2*i+1-len(rates)) * x
	}
	if n := float64(len(rates)); n > 1 && sum > 0 {
		l.Spread = &Spread{Pods: len(rates), MaxOverMean: slices.Max(rates) / (sum / n), Gini: differences / (2 * n * sum)}
	}
}

// fairShare is when p gave at least half of the mean answers of the pods in
// service, over a whole second of the run in which it was in service itself.
func (o *observed) fairShare(p *pod) *Latency {
	if o.loads.pods == nil || !p.inService.seen {
		return nil
	}
	answers := o.loads.pods[p.name]
	slices.SortStableFunc(answers, func(a, b secondCount) int { return cmp.Compare(a.second, b.second) })
	for i := 0; i < len(answers); {
		second, n := answers[i].second, uint64(0)
		for ; i < len(answers) && answers[i].second == second; i++ {
			n += answers[i].n
		}
		if float64(second) < p.inService.t.Seconds() {
			continue
		}
		if float64(second+1) > o.end.Seconds() || p.left.seen && p.left.t.Seconds() < float64(second+1) {
			break
		}
		total := o.loads.second(second).pods
		c, ok := last(o.counts, record.Instant(second)*record.Instant(time.Second))
		if ok && total > 0 && c.inService > 0 && float64(n) >= float64(total)/float64(c.inService)/2 {
			return &Latency{Seconds: new(float64(second+1) - p.inService.t.Seconds()), PrecisionSeconds: 1}
		}
	}
	return &Latency{Missing: fmt.Sprintf("pod %s did not get half of a fair share of the requests", p.name)}
}

// planOf says in a few words what a phase was to send.
func planOf(p record.Phase) string {
	switch p.Shape {
	case record.ShapeIdle:
		return "no load"
	case record.ShapeObserved:
		return record.ShapeObserved
	case record.ShapeRate:
		return record.Plain(p.From, 0) + "/s"
	case record.ShapeRamp:
		return fmt.Sprintf("%s → %s/s", record.Plain(p.From, 0), record.Plain(p.To, 0))
	case record.ShapeSine:
		return fmt.Sprintf("%s ± %s/s over %s s", record.Plain(p.From, 0), record.Plain(p.Amplitude, 0), record.Plain(p.Period, 0))
	case record.ShapeCurve:
		return p.Made
	case record.ShapeWorkers:
		plan := record.Counted(p.Workers, "worker")
		if p.Requests > 0 {
			plan += fmt.Sprintf(", %s each", record.Counted(p.Requests, "request"))
		}
		if p.Think > 0 {
			plan += fmt.Sprintf(", %s s between", record.Plain(p.Think, 0))
		}
		if !p.KeepAlive {
			plan += ", no keep-alive"
		}
		return plan
	}
	return p.Shape
}
