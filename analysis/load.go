package analysis

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/hpabench/hpabench/record"
)

// sumLoad sums up the load by phase, and by second for the timeline.
func (o *observed) sumLoad() (Load, map[int]Second, error) {
	total := newSum("total")
	phases := map[int]*sum{}
	seconds := map[int]*sum{}
	for i, p := range o.header.Phases {
		phases[i] = newSum(p.Name)
		phases[i].Plan = planOf(p)
		phases[i].closedLoop = p.Shape == record.ShapeWorkers
		total.closedLoop = total.closedLoop || phases[i].closedLoop
	}
	for _, l := range o.loads {
		if phases[l.Phase] == nil {
			phases[l.Phase] = newSum(fmt.Sprintf("phase %d", l.Phase))
		}
		if seconds[l.Second] == nil {
			seconds[l.Second] = newSum("")
		}
		for _, s := range []*sum{total, phases[l.Phase], seconds[l.Second]} {
			if err := s.add(l); err != nil {
				return Load{}, nil, fmt.Errorf("load of second %d: %w", l.Second, err)
			}
		}
	}
	for _, s := range o.spans {
		if phases[s.index] == nil {
			phases[s.index] = newSum(s.name)
		}
		phases[s.index].Cut = !s.ended
		phases[s.index].StartSeconds = new(s.start.Seconds())
		phases[s.index].Seconds = new(s.end.Sub(s.start).Seconds())
		for _, l := range o.loads {
			if l.Phase == s.index && float64(l.Second) < s.end.Seconds() {
				phases[s.index].inTime += l.Answered
			}
		}
		total.inTime += phases[s.index].inTime
	}
	var load Load
	for _, i := range slices.Sorted(maps.Keys(phases)) {
		phases[i].Index = i
		load.Phases = append(load.Phases, phases[i].result())
	}
	if len(o.spans) > 0 {
		total.StartSeconds, total.Seconds = new(o.start.Seconds()), new(o.end.Sub(o.start).Seconds())
	}
	load.Total = total.result()
	bySecond := map[int]Second{}
	for n, s := range seconds {
		r := s.result()
		bySecond[n] = Second{Second: n, Offered: r.Offered, Answered: r.Answered, Failed: r.Failed, P50: r.Latency.P50, P90: r.Latency.P90, P99: r.Latency.P99}
	}
	return load, bySecond, nil
}

// phase returns the load of the header's phase i.
func (l Load) phase(i int) PhaseLoad {
	for _, p := range l.Phases {
		if p.Index == i {
			return p
		}
	}
	return PhaseLoad{}
}

// sum is a PhaseLoad in the making.
type sum struct {
	PhaseLoad
	latency    *hdrhistogram.Histogram
	closedLoop bool   // it has no schedule, and so no offered rate
	inTime     uint64 // answers that came before the end of the phase
}

func newSum(name string) *sum { return &sum{PhaseLoad: PhaseLoad{Name: name}} }

func (s *sum) add(l record.LoadSecond) error {
	s.Offered += l.Offered
	s.Sent += l.Sent
	s.Unsent += l.Unsent
	s.Answered += l.Answered
	s.Failed += l.Failed
	s.Aborted += l.Aborted
	s.BytesIn += l.BytesIn
	s.BytesOut += l.BytesOut
	s.LateMax = max(s.LateMax, l.LateMax)
	s.SlowConnects += l.SlowConnects
	s.Errors += l.Failed
	for code, n := range l.Codes {
		if s.Codes == nil {
			s.Codes = map[string]uint64{}
		}
		s.Codes[code] += n
		if c, err := strconv.Atoi(code); err != nil || c < 200 || c >= 400 {
			s.Errors += n
		}
	}
	for cause, n := range l.Errors {
		if s.Failures == nil {
			s.Failures = map[string]uint64{}
		}
		s.Failures[cause] += n
	}
	if l.Latency == "" {
		return nil
	}
	if s.latency == nil {
		s.latency = record.NewHistogram()
	}
	return l.Latency.AddTo(s.latency)
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
	if s.latency != nil && s.latency.TotalCount() > 0 {
		at := func(percent float64) *float64 {
			return new((time.Duration(s.latency.ValueAtPercentile(percent)) * time.Microsecond).Seconds())
		}
		s.Latency = Quantiles{P50: at(50), P90: at(90), P95: at(95), P99: at(99), Max: at(100)}
	}
	return s.PhaseLoad
}

// planOf says in a few words what a phase was to send.
func planOf(p record.Phase) string {
	switch p.Shape {
	case record.ShapeIdle:
		return "no load"
	case record.ShapeObserved:
		return record.ShapeObserved
	case record.ShapeRate:
		return fmt.Sprintf("%g/s", p.From)
	case record.ShapeRamp:
		return fmt.Sprintf("%g → %g/s", p.From, p.To)
	case record.ShapeSine:
		return fmt.Sprintf("%g ± %g/s over %g s", p.From, p.Amplitude, p.Period)
	case record.ShapeCurve:
		return p.Made
	case record.ShapeWorkers:
		plan := fmt.Sprintf("%d workers", p.Workers)
		if p.Workers == 1 {
			plan = "1 worker"
		}
		if p.Requests > 0 {
			plan += fmt.Sprintf(", %d requests each", p.Requests)
		}
		if p.Think > 0 {
			plan += fmt.Sprintf(", %g s between", p.Think)
		}
		if !p.KeepAlive {
			plan += ", no keep-alive"
		}
		return plan
	}
	return p.Shape
}
