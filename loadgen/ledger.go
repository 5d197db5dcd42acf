package loadgen

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/hpabench/hpabench/record"
	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// ledger counts every request of a run into seconds and writes each second to
// the record when it is over. It keeps nothing per request.
//
// A request that is sent late, or an answer that is counted late, belongs to a
// second that may have been written already: then a second entry for the same
// phase and second follows, and the two add up.
type ledger struct {
	rec   *record.Recorder
	share Share
	podOf func(*vegeta.Result) string // nil if pods cannot be told apart

	mu struct {
		sync.Mutex
		phase    *phase // the one that runs or ran last; nil before the first
		seconds  map[key]*second
		free     []*second                        // for reuse
		aborting bool                             // what fails from now on was cut off by us
		causes   map[string]bool                  // causes of failure that were seen
		notes    []string                         // to be written with the next seconds
		pods     map[string]bool                  // that have answered
		firsts   []first                          // to be written with the next seconds
		recent   [4]struct{ second, answers int } // by second modulo 4
		good     record.Instant                   // the latest good answer; before the run without one

		sent, answered, failed uint64 // since the run began
	}
}

// phase is one phase while it is counted.
type phase struct {
	record.Phase
	index    int
	schedule *schedule // nil unless open loop
	onset    record.Instant
	over     chan struct{} // closed when the phase has ended
	allSent  chan struct{} // closed when the whole schedule was sent; nil unless open loop
	answered chan struct{} // closed when all requests of a closed loop are answered or failed; nil if they have no limit

	// Guarded by the ledger's mutex.
	end     record.Instant // as planned, then as it was
	ended   bool
	sent    uint64
	done    uint64 // answered or failed
	offered uint64 // hits of the schedule that have been counted as offered
}

type key struct{ phase, second int }

// first is the first answer of a pod.
type first struct {
	pod string
	at  record.Instant
}

// maxPods bounds how many pods are told apart: a header can name anything.
const maxPods = 1000

// maxCause bounds, in bytes, what is told of an error: net/http quotes what it could
// not read.
const maxCause = 500

// cut shortens a text to so many bytes, and says so.
func cut(text string, bytes int) string {
	if len(text) <= bytes {
		return text
	}
	return strings.ToValidUTF8(text[:bytes], "") + " …"
}

// second is one LoadSecond while it is counted.
type second struct {
	record.LoadSecond
	codes    map[uint16]uint64
	latency  *hdrhistogram.Histogram
	lateness *hdrhistogram.Histogram
	pods     map[string]*podSecond
}

// podSecond is one PodSecond while it is counted.
type podSecond struct {
	answered, errors uint64
	latency          *hdrhistogram.Histogram
}

func newLedger(rec *record.Recorder, podOf func(*vegeta.Result) string) *ledger {
	l := &ledger{rec: rec, podOf: podOf}
	l.mu.pods = map[string]bool{}
	l.mu.seconds = map[key]*second{}
	l.mu.causes = map[string]bool{}
	l.mu.good = -record.Instant(record.GoodEvery) - 1
	return l
}

// start opens the phase with the given index, whose onset is the given instant.
func (l *ledger) start(index int, p record.Phase, onset record.Instant) *phase {
	ph := &phase{
		Phase:    p,
		index:    index,
		schedule: newSchedule(p).share(l.share),
		onset:    onset,
		end:      onset.Add(seconds(p.Seconds)),
		over:     make(chan struct{}),
	}
	if of := l.share.Of; of > 0 {
		ph.Workers = (p.Workers + of - 1 - l.share.Index) / of
	}
	if ph.schedule != nil {
		ph.allSent = make(chan struct{})
		if ph.schedule.total == 0 {
			close(ph.allSent)
		}
	}
	if p.Requests > 0 {
		ph.answered = make(chan struct{})
		if ph.limit() == 0 {
			close(ph.answered)
		}
	}
	l.mu.Lock()
	l.mu.phase = ph
	l.mu.Unlock()
	l.rec.AddAt(onset, mark(ph, "start"))
	return ph
}

// send counts one request that is about to leave, and returns which of the whole
// load's it is. False means that the phase is over and it must not.
func (l *ledger) send(p *phase) (hit uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.rec.Clock.Now()
	if p.ended || p.schedule == nil && now >= p.end || p.answered != nil && p.sent == p.limit() {
		return 0, false
	}
	hit = uint64(l.share.Index) + p.sent*uint64(max(l.share.Of, 1))
	p.sent++
	l.mu.sent++
	if p.schedule == nil {
		s := l.second(p, now)
		s.Offered++
		s.Sent++
		return hit, true
	}
	// Hits leave in the order of the schedule: the nth that leaves is the nth
	// that was due.
	due := p.due(p.sent - 1)
	s := l.second(p, due)
	s.Sent++
	s.late(now.Sub(due))
	if p.sent == p.schedule.total {
		close(p.allSent)
	}
	return hit, true
}

// answer counts the outcome of one request that was sent.
func (l *ledger) answer(p *phase, r *vegeta.Result) {
	sent := l.rec.Clock.At(r.Timestamp)
	done := sent.Add(r.Latency)
	from := sent
	if p.schedule != nil {
		from = p.due(r.Seq)
	}

	pod := ""
	if l.podOf != nil {
		pod = l.podOf(r)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if p.done++; p.answered != nil && p.done == p.limit() {
		close(p.answered)
	}
	s := l.second(p, done)
	s.BytesIn += lengthOf(r)
	s.BytesOut += r.BytesOut
	switch {
	case r.Code != 0:
		s.Answered++
		s.codes[r.Code]++
		observe(&s.latency, record.NewHistogram, done.Sub(from))
		l.mu.answered++
		l.achieved(s.Second)
		if r.Code >= 200 && r.Code < 400 {
			if done.Sub(l.mu.good) > record.GoodEvery {
				l.mu.firsts = append(l.mu.firsts, first{"", done})
			}
			l.mu.good = max(l.mu.good, done)
		}
		if pod != "" && !l.mu.pods[pod] && len(l.mu.pods) < maxPods {
			l.mu.pods[pod] = true
			l.mu.firsts = append(l.mu.firsts, first{pod, done})
		}
	case l.mu.aborting:
		s.Aborted++
	default:
		cause := causeOf(r.Error)
		s.Failed++
		s.Errors[cause]++
		l.mu.failed++
		if !l.mu.causes[cause] {
			l.mu.causes[cause] = true
			shown, _ := shownError(r.Error)
			l.mu.notes = append(l.mu.notes, fmt.Sprintf("the first request that failed with %q said: %s", cause, cut(shown, maxCause)))
		}
	}
	if l.mu.pods[pod] && (r.Code != 0 || !l.mu.aborting) {
		s.of(pod).add(r, done.Sub(from))
	}
}

// late counts how far behind its schedule a request is sent.
func (s *second) late(by time.Duration) {
	if by > record.LateAfter {
		s.Late++
	}
	s.LateMax = max(s.LateMax, by.Seconds())
	observe(&s.lateness, record.NewPodHistogram, max(by, 0))
}

// observe adds a value to a histogram, which is made if there is none.
func observe(h **hdrhistogram.Histogram, anew func() *hdrhistogram.Histogram, value time.Duration) {
	if *h == nil {
		*h = anew()
	}
	_ = (*h).RecordValue(min(value, record.MaxLatency).Microseconds()) // its one error is a value out of range
}

// of returns the counts of a pod.
func (s *second) of(pod string) *podSecond {
	p := s.pods[pod]
	if p == nil {
		p = &podSecond{}
		if s.pods == nil {
			s.pods = map[string]*podSecond{}
		}
		s.pods[pod] = p
	}
	return p
}

func (p *podSecond) add(r *vegeta.Result, latency time.Duration) {
	if r.Code < 200 || r.Code >= 400 {
		p.errors++
	}
	if r.Code == 0 {
		return
	}
	p.answered++
	observe(&p.latency, record.NewPodHistogram, latency)
}

// slowConnect counts a connection that took long to open, in the second in which
// it was open.
func (l *ledger) slowConnect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.mu.phase; p != nil {
		l.second(p, l.rec.Clock.Now()).SlowConnects++
	}
}

// abort makes every failure from now on count as aborted.
func (l *ledger) abort() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.aborting = true
}

// finish ends p now, or at its planned end if that has passed. Nothing of p is
// sent afterwards; what its schedule asked for and was not sent is unsent.
func (l *ledger) finish(p *phase) {
	l.mu.Lock()
	p.ended = true
	p.end = min(p.end, l.rec.Clock.Now())
	if p.schedule != nil {
		total := max(p.sent, p.schedule.before(p.end.Sub(p.onset)))
		l.offer(p, total)
		p.perSecond(p.sent, total, func(at record.Instant, n uint64) { l.second(p, at).Unsent += n })
	}
	end := p.end
	l.mu.Unlock()
	close(p.over)
	l.rec.AddAt(end, mark(p, "end"))
}

// write writes the seconds that were over at the given instant.
func (l *ledger) write(until record.Instant) error {
	l.mu.Lock()
	if p := l.mu.phase; p != nil && p.schedule != nil && !p.ended {
		l.offer(p, p.schedule.before(startOf(secondOf(until)).Sub(p.onset)))
	}
	var over []*second
	for k, s := range l.mu.seconds {
		if k.second < secondOf(until) {
			over = append(over, s)
			delete(l.mu.seconds, k)
		}
	}
	notes, firsts := l.mu.notes, l.mu.firsts
	l.mu.notes, l.mu.firsts = nil, nil
	l.mu.Unlock()

	slices.SortFunc(over, func(a, b *second) int {
		return cmp.Or(cmp.Compare(a.Second, b.Second), cmp.Compare(a.Phase, b.Phase))
	})
	for _, s := range over {
		entry, err := s.entry()
		if err != nil {
			return err
		}
		l.rec.Add(record.Entry{Load: entry})
	}
	for _, f := range firsts {
		l.rec.AddAt(f.at, record.Entry{Answer: &record.Answer{Pod: f.pod}})
	}
	for _, text := range notes {
		l.rec.Add(record.Entry{Note: &record.Note{Text: text}})
	}

	for _, s := range over {
		s.reset()
	}
	l.mu.Lock()
	l.mu.free = append(l.mu.free, over...)
	l.mu.Unlock()
	return nil
}

// second returns the counts of p for the second that at lies in.
func (l *ledger) second(p *phase, at record.Instant) *second {
	k := key{p.index, secondOf(at)}
	s := l.mu.seconds[k]
	if s == nil {
		if n := len(l.mu.free); n > 0 {
			s, l.mu.free = l.mu.free[n-1], l.mu.free[:n-1]
		} else {
			s = &second{codes: map[uint16]uint64{}, LoadSecond: record.LoadSecond{Errors: map[string]uint64{}}}
		}
		s.Phase, s.Second = k.phase, k.second
		l.mu.seconds[k] = s
	}
	return s
}

// offer counts the hits of p's schedule below n as offered.
func (l *ledger) offer(p *phase, n uint64) {
	p.perSecond(p.offered, n, func(at record.Instant, n uint64) { l.second(p, at).Offered += n })
	p.offered = max(p.offered, n)
}

// achieved counts an answer for the rate of the last whole second.
func (l *ledger) achieved(second int) {
	r := &l.mu.recent[second%len(l.mu.recent)]
	if r.second < second {
		r.second, r.answers = second, 0
	}
	if r.second == second {
		r.answers++
	}
}

// limit is how many requests a closed loop sends at most.
func (p *phase) limit() uint64 { return uint64(p.Workers) * p.Requests }

// due returns the instant at which hit n of an open loop is due.
func (p *phase) due(n uint64) record.Instant { return p.onset.Add(p.schedule.at(n)) }

// perSecond calls add for each second of the run with the number of hits among
// from, …, to-1 that are due within it.
func (p *phase) perSecond(from, to uint64, add func(at record.Instant, n uint64)) {
	for n := from; n < to; {
		due := p.due(n)
		next := min(to, p.schedule.before(startOf(secondOf(due)+1).Sub(p.onset)))
		add(due, next-n)
		n = next
	}
}

// entry returns what was counted, for the record to keep.
func (s *second) entry() (*record.LoadSecond, error) {
	e := s.LoadSecond
	e.Errors = nil
	if len(s.Errors) > 0 {
		e.Errors = maps.Clone(s.Errors)
	}
	for code, n := range s.codes {
		addKeys(&e.Codes, map[string]uint64{strconv.Itoa(int(code)): n})
	}
	var failed error
	encode := func(h *hdrhistogram.Histogram, what string) (text record.Histogram) {
		if h != nil && failed == nil {
			if text, failed = record.EncodeHistogram(h); failed != nil {
				failed = fmt.Errorf("encoding %s in second %d: %w", what, s.Second, failed)
			}
		}
		return text
	}
	e.Latency, e.Lateness = encode(s.latency, "the latencies"), encode(s.lateness, "the lateness")
	for name, p := range s.pods {
		if p.answered+p.errors == 0 {
			continue // of an earlier second
		}
		if e.Pods == nil {
			e.Pods = map[string]record.PodSecond{}
		}
		e.Pods[name] = record.PodSecond{Answered: p.answered, Errors: p.errors, Latency: encode(p.latency, "the latencies of pod "+name)}
	}
	return &e, failed
}

// reset empties s for reuse: its histogram alone takes some 170 KB.
func (s *second) reset() {
	clear(s.codes)
	clear(s.Errors)
	for name, p := range s.pods {
		if p.answered+p.errors == 0 {
			delete(s.pods, name) // it is gone
			continue
		}
		p.answered, p.errors = 0, 0
		empty(p.latency)
	}
	s.LoadSecond = record.LoadSecond{Errors: s.Errors}
	empty(s.latency)
	empty(s.lateness)
}

func empty(h *hdrhistogram.Histogram) {
	if h != nil {
		h.Reset()
	}
}

func mark(p *phase, edge string) record.Entry {
	return record.Entry{Phase: &record.PhaseMark{Index: p.index, Name: p.Name, Edge: edge}}
}

func secondOf(at record.Instant) int { return int(time.Duration(at) / time.Second) }

func startOf(second int) record.Instant { return record.Instant(second) * record.Instant(time.Second) }
