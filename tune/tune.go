// Package tune searches the settings of an HPA for those that serve a scenario's load
// within an SLO at the least cost, by simulation.
package tune

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
)

// SLO is how many of the requests must be answered, and how soon.
type SLO struct {
	Latency time.Duration `json:"latency"`
	Share   float64       `json:"share"` // of the requests, from 0 to 1
}

var slo = regexp.MustCompile(`^\s*p(\d+(?:\.\d+)?)\s*<=?\s*(\S+)\s*$`)

// ParseSLO reads p99 < 250ms.
func ParseSLO(text string) (SLO, error) {
	m := slo.FindStringSubmatch(text)
	if m == nil {
		return SLO{}, fmt.Errorf("%.60q is not like p99 < 250ms", text)
	}
	percent, err := strconv.ParseFloat(m[1], 64)
	if err != nil || percent <= 0 || percent >= 100 {
		return SLO{}, fmt.Errorf("p%s must be between 0 and 100", m[1])
	}
	latency, err := time.ParseDuration(m[2])
	if err != nil || latency <= 0 || latency > scenarios.MaxTimeout {
		return SLO{}, fmt.Errorf("%.40q is no latency: expected a duration such as 250ms, %s at most", m[2], scenarios.MaxTimeout)
	}
	return SLO{latency, percent / 100}, nil
}

func (s SLO) String() string { return fmt.Sprintf("p%s < %s", record.Plain(s.Share*100, 6), s.Latency) }

// Search is what is looked for.
type Search struct {
	// Runs are the loads to serve. The workload and the HPA, with its present setting, are those
	// of the first.
	Runs     []*simulate.Run
	Ranges   []Range
	SLO      SLO
	Settings int // how many are tried, at most
	Phases   int // of the sync period, that the load of each begins at
	// PerDay is how often the loads come in a day, between which the HPA is at its min.
	PerDay int
	Cost   *scenarios.Price // nil if it is not known
	Seed   uint64
	// Do makes a run; it is called from as many goroutines as there are Workers.
	Do      func(context.Context, *simulate.Run) (simulate.Score, error)
	Workers int
	// Progress is told how many settings are through and of how many, and how many of
	// them were given up.
	Progress func(done, of, hopeless int)
}

// Misses are the shares of the requests that missed the SLO's latency or failed, of the load that
// missed most: on average over the phases, in the worst and in the best.
type Misses struct {
	Missed      float64 `json:"missed"`
	WorstMissed float64 `json:"worstMissed"`
	LeastMissed float64 `json:"leastMissed"`
}

// Outcome is what a setting came to, over the phases that were made.
type Outcome struct {
	Setting Setting `json:"setting"`
	Phases  int     `json:"phases"`
	*Misses         // nil where the number of requests means nothing
	// Hours are replica-hours of a day, LoadHours those while the loads ran once, on average.
	Hours     float64 `json:"replicaHoursPerDay"`
	LoadHours float64 `json:"replicaHours"`
	// Flaps are scale-downs in a day that a scale-up undid within record.FlapWithin, AtMax is the share of
	// the load's time with as many replicas as the HPA may have.
	Flaps float64 `json:"flapsPerDay"`
	AtMax float64 `json:"atMax"`
	// Cost is what settings are ranked by, in replica-hours of a day: Hours, record.FlapWithin of each
	// replica of a flap, and one replica for the time at max. On average, in the dearest
	// and in the cheapest phase.
	Cost      float64 `json:"cost"`
	MostCost  float64 `json:"mostCost"`
	LeastCost float64 `json:"leastCost"`
	// Hopeless says that it was given up: another is better in each of its phases than it
	// was in any.
	Hopeless bool `json:"hopeless,omitempty"`
}

// Result of a Search.
type Result struct {
	Present  Outcome   `json:"present"`
	Front    []Outcome `json:"front"` // the Pareto front, the cheapest first
	Tried    int       `json:"tried"`
	Hopeless int       `json:"hopeless"`
	Runs     int       `json:"runs"`
	// Recommended is the index in Front, and Reason says why it is. Met says whether it meets
	// the SLO; else it is the least bad, and not to be applied.
	Recommended int    `json:"recommended"`
	Met         bool   `json:"met"`
	Reason      string `json:"reason"`
	// Notes are sentences on the next cheaper setting, on more load, on the edges of the
	// ranges, and on what would have to change where no setting meets the SLO.
	Notes []string `json:"notes,omitempty"`
}

const day = 24 * time.Hour

// looks are after how many phases a setting is compared with the others.
var looks = []int{3, 6, 10}

// Tune makes the runs. The result does not depend on how many workers there are.
func Tune(ctx context.Context, s Search) (*Result, error) {
	runs := make([]*simulate.Run, len(s.Runs))
	for i, of := range s.Runs {
		runs[i] = s.Runs[0].WithLoadOf(of)
		runs[i].SLO, runs[i].Header = s.SLO.Latency, nil
	}
	var made atomic.Int64
	do := s.Do
	s.Runs, s.Do = runs, func(ctx context.Context, r *simulate.Run) (simulate.Score, error) {
		made.Add(1)
		return do(ctx, r)
	}
	all := []Setting{present(runs[0], s.Ranges)}
	for _, other := range sample(s.Ranges, s.Settings) {
		with, err := apply(runs[0], s.Ranges, other)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(other, all[0]) && !tooMany(with) {
			all = append(all, other)
		}
	}
	trials := make([][]trial, len(all))
	outcomes := make([]Outcome, len(all))
	for at := 0; at < s.Phases; {
		next := s.Phases
		for _, look := range slices.Backward(looks) {
			if look > at && look < next {
				next = look
			}
		}
		var alive []int
		for i := range all {
			if !outcomes[i].Hopeless {
				alive = append(alive, i)
			}
		}
		if err := s.phases(ctx, all, trials, alive, at, next); err != nil {
			return nil, err
		}
		at = next
		for _, i := range alive {
			outcomes[i] = s.outcomeOf(all[i], trials[i])
		}
		for _, i := range alive {
			o := &outcomes[i]
			o.Hopeless = i > 0 && at < s.Phases && o.Misses != nil && slices.ContainsFunc(alive, func(j int) bool {
				return outcomes[j].WorstMissed <= o.LeastMissed && outcomes[j].MostCost < o.LeastCost
			})
		}
	}
	r := &Result{Present: outcomes[0], Tried: len(all)}
	var through []Outcome
	for _, o := range outcomes {
		if o.Hopeless {
			r.Hopeless++
		} else {
			through = append(through, o)
		}
	}
	r.Front = front(through)
	r.recommend(s)
	if r.Met {
		if err := s.round(ctx, r); err != nil {
			return nil, err
		}
	}
	if r.Front[0].Misses != nil {
		if err := s.explain(ctx, r); err != nil {
			return nil, err
		}
	}
	r.Runs = int(made.Load())
	return r, nil
}

// phases makes the runs of the settings that are alive from one phase to another.
func (s *Search) phases(ctx context.Context, all []Setting, trials [][]trial, alive []int, from, to int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.Workers)
	var mu sync.Mutex
	done := 0
	for _, i := range alive {
		group.Go(func() error {
			more, err := s.try(ctx, all[i], 1, from, to)
			trials[i] = append(trials[i], more...)
			mu.Lock()
			defer mu.Unlock()
			done++
			if s.Progress != nil {
				s.Progress(done, len(alive), len(all)-len(alive))
			}
			return err
		})
	}
	return group.Wait()
}

// trial is what a setting came to at one point of the sync period: the share that missed the SLO,
// of the load that missed most, and of all loads together the rest.
type trial struct{ missed, hours, flaps, flapHours, atMax float64 }

// try makes the runs of a setting from one phase to another, with a multiple of the loads.
func (s *Search) try(ctx context.Context, setting Setting, times float64, from, to int) (trials []trial, err error) {
	for phase := from; phase < to && ctx.Err() == nil; phase++ {
		var t trial
		for _, load := range s.Runs {
			with, err := apply(load, s.Ranges, setting)
			if err != nil {
				return nil, err
			}
			with.Phases, with.Lead = multiplied(load.Phases, times), load.Lead*times
			score, err := s.Do(ctx, with.Nth(s.Seed, phase))
			if err != nil {
				return nil, err
			}
			t.add(with, score)
		}
		trials = append(trials, t)
	}
	return trials, context.Cause(ctx)
}

// add counts what a run came to.
func (t *trial) add(r *simulate.Run, score simulate.Score) {
	// Less than one in a million is none: it comes of the waits' exponential tail.
	t.missed = max(t.missed, math.Round(score.Missed/max(score.Requests, 1)*1e6)/1e6)
	t.hours += score.ReplicaSeconds / 3600
	onset := time.Duration(score.Onset * float64(time.Second))
	ends := onset + length(r)
	level, since := r.Replicas, onset
	full := func(until time.Duration) {
		if level >= r.HPA.MaxReplicas && ptr.Deref(r.HPA.MinReplicas, 1) < r.HPA.MaxReplicas {
			t.atMax += max(0, min(until, ends)-max(since, onset)).Hours()
		}
	}
	var fall simulate.Decision
	for _, d := range score.Decisions {
		full(d.At)
		level, since = d.To, d.At
		switch {
		case d.To < d.From:
			fall = d
		case fall.From > 0 && d.At-fall.At <= record.FlapWithin:
			t.flaps++
			t.flapHours += record.FlapWithin.Hours() * float64(min(fall.From-fall.To, d.To-d.From))
			fall = simulate.Decision{}
		}
	}
	full(ends)
}

// length is how long the load of a run lasts.
func length(r *simulate.Run) time.Duration {
	seconds := 0.0
	for _, p := range r.Phases {
		seconds += p.Seconds
	}
	return duration(seconds)
}

// loaded is how long the loads last, one after the other.
func (s *Search) loaded() (d time.Duration) {
	for _, r := range s.Runs {
		d += length(r)
	}
	return d
}

// TimesADay is how often the loads come in a day: PerDay, or as often as they fit into it.
func (s *Search) TimesADay() float64 {
	return min(float64(s.PerDay), day.Seconds()/max(s.loaded().Seconds(), 1))
}

func (s *Search) outcomeOf(setting Setting, trials []trial) Outcome {
	o := Outcome{Setting: setting, Phases: len(trials), LeastCost: math.Inf(1)}
	loaded := s.loaded()
	perDay := s.TimesADay()
	rest := 0.0
	if with, err := apply(s.Runs[0], s.Ranges, setting); err == nil {
		rest = (day.Hours() - perDay*loaded.Hours()) * float64(ptr.Deref(with.HPA.MinReplicas, 1))
	}
	m := Misses{LeastMissed: math.Inf(1)}
	n := float64(len(trials))
	for _, t := range trials {
		cost := rest + perDay*(t.hours+t.flapHours+t.atMax)
		o.Hours += (rest + perDay*t.hours) / n
		o.LoadHours += t.hours / n
		o.Flaps += perDay * t.flaps / n
		o.AtMax += t.atMax / loaded.Hours() / n
		o.Cost += cost / n
		o.MostCost, o.LeastCost = max(o.MostCost, cost), min(o.LeastCost, cost)
		m.Missed += t.missed / n
		m.WorstMissed, m.LeastMissed = max(m.WorstMissed, t.missed), min(m.LeastMissed, t.missed)
	}
	if !slices.ContainsFunc(s.Runs, (*simulate.Run).Observed) {
		o.Misses = &m
	}
	return o
}

// harm is the share of the requests that missed the SLO in the worst phase, by which it is met; where that is not known, the share of the
// time at max, in which more load would not have got more replicas.
func (o Outcome) harm() float64 {
	if o.Misses == nil {
		return o.AtMax
	}
	return o.WorstMissed
}

// front are those of which no other is better in one respect and no worse in the other.
func front(all []Outcome) (f []Outcome) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Outcome) int {
		return cmp.Or(cmp.Compare(a.Cost, b.Cost), cmp.Compare(a.harm(), b.harm()))
	})
	for _, o := range all {
		if len(f) == 0 || o.harm() < f[len(f)-1].harm() {
			f = append(f, o)
		}
	}
	return f
}

// recommend takes the cheapest of the front that meets the SLO in each phase; if none
// does, the one that misses it least.
func (r *Result) recommend(s Search) {
	r.Recommended = len(r.Front) - 1
	if r.Front[0].Misses == nil {
		r.Reason = "the record has no requests, so whether a setting meets an SLO is not known"
		return
	}
	for i, o := range r.Front {
		if o.WorstMissed <= 1-s.SLO.Share {
			r.Recommended, r.Met = i, true
			return
		}
	}
	r.Reason = fmt.Sprintf("none of %d settings meets %s at each of %d points of the sync period: %s %% of the requests miss it on average in the least bad", r.Tried, s.SLO, s.Phases, record.Plain(r.Front[r.Recommended].Missed*100, 3))
}

// round replaces the recommended setting by the roundest that meets the SLO too and costs, on
// average, no more than the recommended one does at the dearest point of the sync period: runs of
// the two cannot be told apart.
func (s *Search) round(ctx context.Context, r *Result) error {
	best, from := r.Front[r.Recommended], ""
	for i, of := range s.Ranges {
		for _, v := range knobs[of.Name].rounder(best.Setting[i]) {
			setting := slices.Clone(r.Front[r.Recommended].Setting)
			if setting[i] = v; v < of.Low || v > of.High {
				continue
			}
			trials, err := s.try(ctx, setting, 1, 0, s.Phases)
			if err != nil {
				return err
			}
			if o := s.outcomeOf(setting, trials); o.WorstMissed <= 1-s.SLO.Share && o.Cost <= best.MostCost {
				r.Front[r.Recommended] = o
				from = fmt.Sprintf(" (rounded from %s, as two runs of one setting differ by more)", Show(s.Ranges, best.Setting))
				break
			}
		}
	}
	o := r.Front[r.Recommended]
	r.Reason = fmt.Sprintf("the cheapest of %d settings that meets %s at each of %d points of the sync period%s: %s %% of the requests miss it in the worst", r.Tried, s.SLO, o.Phases, from, record.Plain(o.WorstMissed*100, 2))
	return nil
}

// moreLoad are the multiples of the load at which the recommended setting is tried too.
var moreLoad = []float64{1.3, 2}

// lessLoad is the share of the load at which a request hardly waits for others.
const lessLoad = 0.1

// explain adds the Notes: more runs of the recommended setting, or of the least bad.
func (s *Search) explain(ctx context.Context, r *Result) error {
	best := r.Front[r.Recommended]
	worst := func(of *Search, times float64) (missed float64, err error) {
		trials, err := of.try(ctx, best.Setting, times, 0, s.Phases)
		for _, t := range trials {
			missed = max(missed, t.missed)
		}
		return missed, err
	}
	note := func(format string, args ...any) { r.Notes = append(r.Notes, fmt.Sprintf(format, args...)) }
	percent := func(share float64) string { return record.Plain(share*100, 3) + " %" }
	if !r.Met {
		with, err := apply(s.Runs[0], s.Ranges, best.Setting)
		if err != nil {
			return err
		}
		full, pods := *s, with.HPA.MaxReplicas
		with.HPA.MinReplicas, with.Replicas = &pods, pods
		full.Ranges, full.Runs = nil, nil
		for _, load := range s.Runs {
			full.Runs = append(full.Runs, with.WithLoadOf(load))
		}
		missed, err := worst(&full, 1)
		if err != nil {
			return err
		}
		if missed <= 1-s.SLO.Share {
			note("What would have to change: with %s ready from the start %s of the requests miss the SLO at most, so the pods come too late: a shorter start-up, a higher min, or a lower target.", record.Counted(pods, "pod"), percent(missed))
			return nil
		}
		limit := ""
		if whole := with.Pod.Resources; whole != nil && !whole.Limits.Cpu().IsZero() ||
			slices.ContainsFunc(with.Pod.Containers, func(c corev1.Container) bool { return !c.Resources.Limits.Cpu().IsZero() }) {
			limit = "a higher CPU limit, "
		}
		few, err := worst(&full, lessLoad)
		switch {
		case err != nil:
			return err
		case few <= 1-s.SLO.Share:
			note("What would have to change: with %s ready from the start still %s of the requests miss the SLO, so the capacity is too low: a higher max, %slarger nodes, or requests that cost less.", record.Counted(pods, "pod"), percent(missed), limit)
		default:
			note("What would have to change: at a tenth of the load, with %s ready from the start, still %s of the requests miss the SLO, so no setting of the HPA can meet it: %srequests that cost less, or a latency in the SLO that one request alone can meet.", record.Counted(pods, "pod"), percent(few), limit)
		}
		return nil
	}
	if r.Recommended > 0 {
		next := r.Front[r.Recommended-1]
		note("The next cheaper, %s, would save %s of the cost and miss %s in the worst.", Show(s.Ranges, next.Setting), percent(1-next.Cost/best.Cost), percent(next.WorstMissed))
	}
	for _, times := range moreLoad {
		missed, err := worst(s, times)
		if err != nil {
			return err
		}
		verdict := "meets the SLO still"
		if missed > 1-s.SLO.Share {
			verdict = "misses the SLO"
		}
		note("With %s times the load it %s: %s of the requests miss it in the worst.", record.Plain(times, 2), verdict, percent(missed))
	}
	for i, of := range s.Ranges {
		v, k := best.Setting[i], knobs[of.Name]
		switch {
		case of.Low == of.High || v > of.Low && v < of.High || math.IsNaN(v):
		case v == of.Low && v > k.least, v == of.High && v < k.highest():
			note("%s=%s is the edge of the range %s..%s: a better value may be beyond it.", of.Name, k.show(v), k.show(of.Low), k.show(of.High))
		}
	}
	return nil
}

// multiplied are the phases with so many times the load; workers are whole.
func multiplied(phases []record.Phase, times float64) (all []record.Phase) {
	for _, p := range phases {
		p.From, p.To, p.Amplitude = p.From*times, p.To*times, p.Amplitude*times
		if p.Workers > 0 {
			p.Workers = int(math.Ceil(float64(p.Workers) * times))
		}
		p.Curve = slices.Clone(p.Curve)
		for i := range p.Curve {
			p.Curve[i].Rate *= times
		}
		all = append(all, p)
	}
	return all
}
