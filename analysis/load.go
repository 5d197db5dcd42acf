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

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/hpabench/hpabench/record"
)

// sumLoad sums up the load by phase, and by second for the timeline.
func (o *observed) sumLoad() (Load, map[int]Second, error) {
	total := newSum("total")
	phases := map[int]*sum{}
	workers := map[int]*sum{}
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
		if workers[l.Worker] == nil {
			workers[l.Worker] = newSum("")
		}
		for _, s := range []*sum{total, phases[l.Phase], seconds[l.Second], workers[l.Worker]} {
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
		phases[i].Doubt = phases[i].doubt(o.flags.sync)
		load.Phases = append(load.Phases, phases[i].result())
	}
	delete(workers, 0) // the runner itself
	for _, n := range slices.Sorted(maps.Keys(workers)) {
		w := workers[n].result()
		load.Workers = append(load.Workers, WorkerLoad{n, w.Offered, w.Sent, w.Unsent, w.Answered, w.Failed, w.Aborted, w.Late, w.LateMax, w.LateP99, workers[n].doubt(o.flags.sync)})
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
	load.Total.Doubt = load.doubt(math.Inf(-1), math.Inf(1))
	o.spread(&load.Total)
	bySecond := map[int]Second{}
	for n, s := range seconds {
		r := s.result()
		bySecond[n] = Second{Second: n, Offered: r.Offered, Answered: r.Answered, Failed: r.Failed, Unsent: r.Unsent, Late: r.Late, LateMax: r.LateMax, P50: r.Latency.P50, P90: r.Latency.P90, P99: r.Latency.P99}
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
	lateness   *hdrhistogram.Histogram
	pods       map[string]*podSum
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
	s.Late += l.Late
	s.LateMax = max(s.LateMax, l.LateMax)
	if l.Lateness != "" {
		if s.lateness == nil {
			s.lateness = record.NewPodHistogram()
		}
		if err := l.Lateness.AddTo(s.lateness); err != nil {
			return err
		}
	}
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
	for name, p := range l.Pods {
		if s.pods == nil {
			s.pods = map[string]*podSum{}
		}
		if s.pods[name] == nil {
			s.pods[name] = &podSum{latency: record.NewPodHistogram()}
		}
		s.pods[name].answered += p.Answered
		s.pods[name].errors += p.Errors
		if err := p.Latency.AddTo(s.pods[name].latency); err != nil {
			return err
		}
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
	s.Latency = quantiles(s.latency)
	s.LateP99 = quantiles(s.lateness).P99
	var known uint64
	for _, p := range s.pods {
		known += p.answered
	}
	for name, p := range s.pods {
		s.Pods = append(s.Pods, PodLoad{Pod: name, Answered: p.answered, Errors: p.errors, Share: float64(p.answered) / float64(max(known, 1)), Latency: quantiles(p.latency)})
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
	if s.latency != nil {
		for _, bar := range s.latency.Distribution() {
			if bar.From > int64(seconds*1e6) {
				slow += uint64(bar.Count)
			}
		}
	}
	if done == 0 || slow > 0 && s.Errors > s.Failed {
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
		late = (time.Duration(s.lateness.ValueAtPercentile(100*(1-UnsentShare))) * time.Microsecond).Seconds()
	}
	var list []string
	if float64(s.Unsent) > UnsentShare*float64(s.Offered) {
		list = append(list, fmt.Sprintf("%d of %d requests (%.2g %%) were never sent", s.Unsent, s.Offered, float64(s.Unsent)/float64(s.Offered)*100))
	}
	if late > LateShare*matters {
		list = append(list, fmt.Sprintf("requests were sent up to %.2g s late", s.LateMax))
	}
	return strings.Join(list, ", ")
}

// doubt names the phases between two times, in seconds, whose load was not as
// planned; empty if there is none.
func (l *Load) doubt(from, to float64) string {
	var names []string
	for _, p := range l.Phases {
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
	latency          *hdrhistogram.Histogram
}

func quantiles(h *hdrhistogram.Histogram) Quantiles {
	if h == nil || h.TotalCount() == 0 {
		return Quantiles{}
	}
	at := func(percent float64) *float64 {
		return new((time.Duration(h.ValueAtPercentile(percent)) * time.Microsecond).Seconds())
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
		if i := slices.IndexFunc(l.Pods, func(of PodLoad) bool { return of.Pod == p.name }); i >= 0 {
			rate = float64(l.Pods[i].Answered) / (to - from)
			l.Pods[i].Rate = &rate
		}
		rates = append(rates, rate)
	}
	sum, differences := 0.0, 0.0
	for _, x := range rates {
		sum += x
		for _, y := range rates {
			differences += math.Abs(x - y)
		}
	}
	if n := float64(len(rates)); n > 1 && sum > 0 {
		l.Spread = &Spread{Pods: len(rates), MaxOverMean: slices.Max(rates) / (sum / n), Gini: differences / (2 * n * sum)}
	}
}

func (o *observed) addPods(l *record.LoadSecond) {
	for name, of := range l.Pods {
		if o.podAnswers == nil {
			o.podAnswers = map[int]map[string]uint64{}
		}
		if o.podAnswers[l.Second] == nil {
			o.podAnswers[l.Second] = map[string]uint64{}
		}
		o.podAnswers[l.Second][name] += of.Answered
	}
}

// fairShare is when p gave at least half of the mean answers of the pods in
// service, over a whole second of the run in which it was in service itself.
func (o *observed) fairShare(p *pod) *Latency {
	if o.podAnswers == nil || !p.inService.seen {
		return nil
	}
	for second := int(math.Ceil(p.inService.t.Seconds())); float64(second+1) <= o.end.Seconds(); second++ {
		if p.left.seen && p.left.t.Seconds() < float64(second+1) {
			break
		}
		var total uint64
		for _, n := range o.podAnswers[second] {
			total += n
		}
		c, ok := last(o.counts, record.Instant(second)*record.Instant(time.Second))
		if n := o.podAnswers[second][p.name]; ok && total > 0 && c.inService > 0 && float64(n) >= float64(total)/float64(c.inService)/2 {
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
