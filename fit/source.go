package fit

import (
	"cmp"
	"io"
	"math/rand/v2"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/simulate"
)

// mostLatencies bounds the lines of the load whose latencies are kept: those of a day and a
// half. Of a longer run they are those of half of the lines, a quarter and so on, drawn at random:
// every second line could be of the same workers.
const mostLatencies = 1 << 17

// Source keeps of a record what a Fit is made of. Its zero value is ready.
type Source struct {
	figures   *analysis.Builder
	run       record.Run // without the load and the events, and with one pod unless the load was only watched
	loads     []load
	latencies map[int]record.Histogram // of some of loads
	keepOneOf uint64                   // of how many loads one has its latencies kept: a power of two
	pods      bool                     // run has one
}

// load is what a fit needs of a record.LoadSecond.
type load struct {
	second, phase        int32
	sent, answered, done uint64
	median               float64 // of the latencies, in seconds
	details              *details
}

// details are what few lines of a load have.
type details struct {
	timeouts, resets uint64 // requests that failed by a time-out, and by a reset of the connection
	pods             []podAnswers
}

var noDetails = new(details)

type podAnswers struct {
	pod string
	n   uint64
}

// Read reads a record.
func Read(in io.Reader) (*Source, error) {
	type part struct {
		*record.Entry
		analysis.Prepared
	}
	var s Source
	_, err := record.Stream(in, func(_ []byte, e *record.Entry) (part, error) {
		p := analysis.Prepare(e)
		return part{e, p}, p.Err()
	}, func(p part) error {
		s.add(p.Entry, p.Prepared)
		return nil
	})
	return &s, err
}

func (s *Source) add(e *record.Entry, p analysis.Prepared) {
	if s.figures == nil {
		s.figures = new(analysis.Builder)
	}
	s.figures.Add(p)
	switch h := s.run.Header(); {
	case e.Load != nil:
		s.addLoad(e.Load, p.Latencies())
		return
	case e.Event != nil, e.Endpoints != nil, e.Change != nil, e.Answer != nil, e.ReplicaSet != nil:
		return
	case e.Pod != nil && h != nil && (len(h.Phases) == 0 || h.Phases[0].Shape != record.ShapeObserved):
		if s.pods {
			return
		}
		s.pods = true
	}
	s.run.Entries = append(s.run.Entries, *e)
}

func (s *Source) addLoad(l *record.LoadSecond, latencies record.Counts) {
	line := load{second: int32(l.Second), phase: int32(l.Phase), sent: l.Sent, answered: l.Answered, done: l.Answered + l.Failed + l.Aborted,
		median: float64(latencies.Percentile(record.Fine, 50)) / 1e6, details: noDetails}
	if d := (details{timeouts: l.Errors["timeout"], resets: l.Errors["connection reset"]}); d.timeouts > 0 || d.resets > 0 || len(l.Pods) > 0 {
		for name, p := range l.Pods {
			d.pods = append(d.pods, podAnswers{name, p.Answered})
		}
		line.details = &d
	}
	n := len(s.loads)
	s.loads = append(s.loads, line)
	if s.latencies == nil {
		s.latencies, s.keepOneOf = map[int]record.Histogram{}, 1
	}
	if !s.keeps(n) {
		return
	}
	if s.latencies[n] = l.Latency; len(s.latencies) > mostLatencies {
		s.keepOneOf *= 2
		for i := range s.latencies {
			if !s.keeps(i) {
				delete(s.latencies, i)
			}
		}
	}
}

// keeps says whether the latencies of the nth line are kept.
func (s *Source) keeps(n int) bool { return rand.NewPCG(1, uint64(n)).Uint64()%s.keepOneOf == 0 }

// Header is that of the record.
func (s *Source) Header() *record.Header { return s.run.Header() }

// Run is the run that the record is of, as simulate.FromRecord has it.
func (s *Source) Run() (*simulate.Run, error) { return simulate.FromRecord(s.run) }

// Learn fits a plant to the run. It may be called once.
func (s *Source) Learn() (*Fit, error) {
	figures := cmp.Or(s.figures, new(analysis.Builder))
	s.figures = nil // its memory can be freed
	result, err := figures.Result()
	if err != nil {
		return nil, err
	}
	base, err := s.Run()
	if err != nil {
		return nil, err
	}
	own := *base
	l := learner{Source: s, result: result, base: base}
	f, err := l.learn()
	if err != nil {
		return nil, err
	}
	f.own = &own
	return f, nil
}
