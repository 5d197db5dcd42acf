// Package tune searches the settings of an HPA for those that serve a scenario's load
// within an SLO at the least cost, by simulation.
package tune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hpabench/hpabench/model"
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

// millionths are what a search counts the requests that miss the SLO in.
const millionths = 1e6

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
	if record.Plain(percent, 0) != record.Plain(rounded(percent/100)*100, 6) {
		return SLO{}, fmt.Errorf("p%.40s is too fine: requests that miss the SLO are counted in millionths of all, so a percentile has four decimals at most, as p99.9999", m[1])
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
	// of the first. Their Replicas may be AtMin.
	Runs     []*simulate.Run
	Loads    []string // what they are called
	Ranges   []Range
	SLO      SLO
	Settings int // how many are tried, at most
	Phases   int // of the sync period, that the load of each begins at
	// PerDay is how often the loads come in a day. Between them there is none, and the HPA goes to its min.
	PerDay int
	Cost   *scenarios.Price // nil if it is not known
	Seed   uint64
	// Do makes a run. It is called from many goroutines, and is to make as many at a time as there are Workers.
	Do      func(context.Context, *simulate.Run) (simulate.Score, error)
	Workers int
	// Progress is told how many runs of the settings are through or not needed, of how many, and how many settings
	// were given up.
	Progress func(done, of, hopeless int)

	known map[string][]trial // the runs of settings that were made in all phases
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
	Cost      float64 `json:"rankedBy"`
	MostCost  float64 `json:"rankedByMost"`
	LeastCost float64 `json:"rankedByLeast"`
	// Hopeless says that it was given up: another is better in each of its phases than it
	// was in any.
	Hopeless bool `json:"-"`

	Steps int       `json:"-"` // that the HPA took in all phases
	Loads []Outcome `json:"-"` // what it came to under each load, in the order of the Search's; nil where there is one
	most  int       // index of the load that missed most in the worst
}

// Verdict is what a search came to.
type Verdict string

const (
	Recommended  Verdict = "recommended"   // a setting meets the SLO
	NoneMeets    Verdict = "none-meets"    // no setting does
	NoDifference Verdict = "no-difference" // all settings come to the same
	KeepPresent  Verdict = "keep-present"  // the present setting, outside the ranges, meets the SLO for no more
	Unknown      Verdict = "unknown"       // a load has no requests
)

// Result of a Search.
type Result struct {
	Present  Outcome   `json:"present"`
	Front    []Outcome `json:"front"` // the Pareto front, the cheapest first
	Tried    int       `json:"tried"`
	Hopeless int       `json:"droppedEarly"`
	NoRoom   int       `json:"noRoom"`            // settings that were not tried, as the nodes have no room for their min
	Invalid  int       `json:"invalid,omitempty"` // settings that were not tried, as no HPA can have them
	Runs     int       `json:"runs"`
	// Best is the index in Front of what is recommended; where nothing is, of the least bad, which is
	// not to be applied. Reason says why.
	Best    int     `json:"-"`
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason"`
	// Notes are sentences on the next cheaper setting, on more load, on the edges of the
	// ranges, and on what would have to change where no setting meets the SLO.
	Notes []string `json:"notes,omitempty"`
}

const day = 24 * time.Hour

// looks are after how many phases a setting is compared with the others.
var looks = []int{3, 6, 10}

// ErrNoSetting is of ranges without a setting that can be run.
var ErrNoSetting = errors.New("no setting within the ranges can be run")

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
	r := new(Result)
	invalid := errors.New("their min is more than max, or the nodes have no room for it")
	first := 0 // of those that may be recommended: the present setting may not if it is outside the ranges
	for i, of := range s.Ranges {
		if v := all[0][i]; !(v >= of.Low && v <= of.High) { // NaN is in none
			first = 1
		}
	}
	for _, other := range sample(s.Ranges, s.Settings) {
		with, err := apply(runs[0], s.Ranges, other)
		switch {
		case err != nil:
			if r.Invalid++; r.Invalid == 1 {
				invalid = err
			}
		case slices.Equal(other, all[0]) || tooMany(with) || len(all)-first == s.Settings:
		case with.CheckRoom() != nil:
			r.NoRoom++
		default:
			all = append(all, other)
		}
	}
	if first == len(all) {
		return nil, fmt.Errorf("%w: %w", ErrNoSetting, invalid)
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
				return j >= first && outcomes[j].WorstMissed <= o.LeastMissed && outcomes[j].MostCost < o.LeastCost
			})
		}
	}
	s.known = map[string][]trial{}
	for i, made := range trials {
		if len(made) == s.Phases {
			s.known[fmt.Sprint(all[i])] = made
		}
	}
	r.Present, r.Tried = outcomes[0], len(all)-first
	var through []Outcome
	for _, o := range outcomes[first:] {
		if o.Hopeless {
			r.Hopeless++
		} else {
			through = append(through, o)
		}
	}
	r.Front = front(through)
	r.recommend(s)
	if r.Verdict == Recommended {
		best, present := r.Front[r.Best], r.Present
		switch differ := func(o Outcome) bool { return !o.same(present) }; {
		case len(all) == 1:
			r.Verdict = NoDifference
			r.Reason = fmt.Sprintf("the present setting, which meets %s, is the only one that was tried. Take wider ranges", s.SLO)
		case !slices.ContainsFunc(outcomes, differ):
			r.Verdict = NoDifference
			r.Reason = fmt.Sprintf("all of %d settings meet %s and come to the same, so the load tells nothing about them. Take a load that makes the HPA scale, or wider ranges", r.Tried, s.SLO)
		case first == 1 && s.meets(present) && present.Cost <= best.Cost:
			r.Verdict = KeepPresent
			r.Reason = fmt.Sprintf("the present setting, outside the ranges, meets %s too, and is ranked by %.2f replica-hours a day, the cheapest within them by %.2f. Keep it, or take ranges that have it", s.SLO, present.Cost, best.Cost)
		}
	}
	switch err := error(nil); r.Verdict {
	case Recommended:
		if err = s.round(ctx, r); err == nil {
			err = s.explain(ctx, r)
		}
		if err != nil {
			return nil, err
		}
	case NoneMeets:
		why, err := s.blame(ctx, r.Front[r.Best].Setting)
		if err != nil {
			return nil, err
		}
		r.Notes = append(r.Notes, "What would have to change: "+why)
	}
	r.Runs = int(made.Load())
	return r, nil
}

// phases makes the runs of the settings that are alive from one phase to another.
func (s *Search) phases(ctx context.Context, all []Setting, trials [][]trial, alive []int, from, to int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.Workers)
	var mu sync.Mutex
	done, of := (len(all)-len(alive))*s.Phases+len(alive)*from, len(all)*s.Phases
	for _, i := range alive {
		group.Go(func() error {
			more, err := s.try(ctx, all[i], 1, from, to)
			trials[i] = append(trials[i], more...)
			mu.Lock()
			defer mu.Unlock()
			done += to - from
			if s.Progress != nil {
				s.Progress(done, of, len(all)-len(alive))
			}
			return err
		})
	}
	return group.Wait()
}

// trial is what a setting came to at one point of the sync period under one load, or under several: the share
// that missed the SLO is then that of the load that missed most, the rest is of all together.
type trial struct {
	missed, hours, flaps, flapHours, atMax float64
	lasted                                 float64 // hours of the loads
	restHours                              float64 // replica-hours from the end of each load to the next
	most                                   int     // index of the load that missed most
	steps                                  int     // of the HPA
	uncounted                              float64 // hours of the loads in which the HPA counted no pod
	loads                                  []trial // under each load
}

// try makes the runs of a setting from one phase to another, with a multiple of the loads.
func (s *Search) try(ctx context.Context, setting Setting, times float64, from, to int) ([]trial, error) {
	trials := make([]trial, to-from)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, s.Workers))
	for n := range trials {
		group.Go(func() error {
			for _, load := range s.Runs {
				with, err := apply(load, s.Ranges, setting)
				if err != nil {
					return err
				}
				with.Phases, with.Lead = multiplied(load.Phases, times), load.Lead*times
				if times == 1 {
					with.Rest, with.Calm = s.gap(), calm(with)
				}
				score, err := s.Do(ctx, with.Nth(s.Seed, from+n))
				if err != nil {
					return err
				}
				trials[n].add(trialOf(with, score, s.gap()))
			}
			return nil
		})
	}
	return trials, group.Wait()
}

// lowering is how long an HPA may take to a decision after its stabilization window and the period of a scaling policy; one that
// takes longer is taken to stay where it is then.
const lowering = 5 * time.Minute

// calm is how long the HPA of a run may decide nothing on its way down.
func calm(r *simulate.Run) time.Duration {
	var period time.Duration
	for _, p := range down(r).Policies {
		period = max(period, time.Duration(p.PeriodSeconds)*time.Second)
	}
	d := duration(knobs["scaleDown.stabilization"].get(r)) + period + lowering
	if r.KEDA != nil && r.Least() == 0 { // a query may look back for as long as the modelled Prometheus keeps samples
		d += r.KEDA.Rules(time.Time{}).Cooldown + r.KEDA.Polling() + time.Hour
	}
	return d
}

// add counts what the run of the next load came to.
func (t *trial) add(load trial) {
	if load.missed > t.missed {
		t.missed, t.most = load.missed, len(t.loads)
	}
	t.hours += load.hours
	t.flaps += load.flaps
	t.flapHours += load.flapHours
	t.atMax += load.atMax
	t.lasted += load.lasted
	t.restHours += load.restHours
	t.steps += load.steps
	t.uncounted += load.uncounted
	t.loads = append(t.loads, load)
}

// trialOf is what the run of a load came to, after which the next comes in so long.
func trialOf(r *simulate.Run, score simulate.Score, gap time.Duration) (t trial) {
	// Less than one in a million is none: it comes of the waits' exponential tail.
	t.missed = rounded(score.Missed / max(score.Requests, 1))
	t.steps = len(score.Decisions)
	t.uncounted = score.Uncounted / 3600
	t.hours = score.ReplicaSeconds / 3600
	onset := time.Duration(score.Onset * float64(time.Second))
	ends := onset + length(r)
	if ended := time.Duration(score.Ended * float64(time.Second)); ended > 0 { // workers may have sent all of their requests before
		gap += max(0, ends-ended)
		ends = ended
	}
	t.lasted = (ends - onset).Hours()
	level, since := r.Replicas, onset
	full := func(until time.Duration) {
		if level >= r.HPA.MaxReplicas && r.Least() < r.HPA.MaxReplicas {
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
	t.restHours = score.RestReplicaSeconds/3600 + max(0, gap.Hours()-score.RestSeconds/3600)*float64(max(level, r.Least()))
	return t
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

// gap is the time from the end of a load to the next one's begin, which is the same all day.
func (s *Search) gap() time.Duration {
	return max(0, duration((day.Seconds()/s.TimesADay()-s.loaded().Seconds())/float64(len(s.Runs))))
}

func (s *Search) outcomeOf(setting Setting, trials []trial) Outcome {
	o := Outcome{Setting: setting, Phases: len(trials), LeastCost: math.Inf(1)}
	perDay := s.TimesADay()
	m := Misses{LeastMissed: math.Inf(1)}
	n := float64(len(trials))
	for _, t := range trials {
		cost := perDay * (t.restHours + t.hours + t.flapHours + t.atMax)
		o.Steps += t.steps
		o.Hours += perDay * (t.restHours + t.hours) / n
		o.LoadHours += t.hours / n
		o.Flaps += perDay * t.flaps / n
		o.AtMax += t.atMax / t.lasted / n
		o.Cost += cost / n
		o.MostCost, o.LeastCost = max(o.MostCost, cost), min(o.LeastCost, cost)
		m.Missed += t.missed / n
		if t.missed > m.WorstMissed {
			m.WorstMissed, o.most = t.missed, t.most
		}
		m.LeastMissed = min(m.LeastMissed, t.missed)
	}
	if !slices.ContainsFunc(s.Runs, (*simulate.Run).Observed) {
		o.Misses = &m
	}
	for i := range s.Runs {
		if len(s.Runs) == 1 || len(trials[0].loads) == 0 { // it is one load
			break
		}
		var under []trial
		for _, t := range trials {
			under = append(under, t.loads[i])
		}
		o.Loads = append(o.Loads, s.outcomeOf(setting, under))
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

// same says whether runs of two settings came to the same.
func (o Outcome) same(other Outcome) bool {
	return o.Phases == other.Phases && o.Cost == other.Cost && o.Hours == other.Hours && o.harm() == other.harm()
}

// recommend takes the cheapest of the front that meets the SLO in each phase; if none
// does, the one that misses it least.
func (r *Result) recommend(s Search) {
	r.Best, r.Verdict = len(r.Front)-1, Unknown
	if r.Front[0].Misses == nil {
		of := ""
		if i := slices.IndexFunc(s.Runs, (*simulate.Run).Observed); len(s.Loads) > 1 {
			of = " " + s.Loads[i]
		}
		r.Reason = fmt.Sprintf("the record%s has no requests, so whether a setting meets an SLO is not known", of)
		return
	}
	if i := slices.IndexFunc(r.Front, s.meets); i >= 0 {
		r.Best, r.Verdict = i, Recommended
		return
	}
	r.Verdict = NoneMeets
	r.Reason = fmt.Sprintf("none of %d settings meets %s at each of %d points of the sync period: with the least bad %s miss it in the worst", r.Tried, s.SLO, s.Phases, s.worstOf(r.Front[r.Best]))
	if s.meets(r.Present) {
		r.Reason += "; the present setting, outside the ranges, meets it"
	}
}

// WorstLoad is the load whose requests missed the SLO most in the worst phase; empty where none missed it.
func (s *Search) WorstLoad(o Outcome) string {
	if o.Misses == nil || o.WorstMissed == 0 || o.most >= len(s.Loads) {
		return ""
	}
	return s.Loads[o.most]
}

// worstOf is the share of the requests that missed the SLO in the worst phase, and of which of several loads.
func (s *Search) worstOf(o Outcome) string {
	text := percent(o.WorstMissed) + " of the requests"
	if load := s.WorstLoad(o); load != "" && len(s.Runs) > 1 {
		text += " of " + load
	}
	return text
}

// meets says whether a setting meets the SLO in each phase.
func (s *Search) meets(o Outcome) bool { return s.met(o.WorstMissed) }

// met says whether the SLO is met if that share of the requests misses it.
func (s *Search) met(missed float64) bool { return missed <= rounded(1-s.SLO.Share) }

func rounded(share float64) float64 { return math.Round(share*millionths) / millionths }

func percent(share float64) string { return record.Plain(share*100, 3) + " %" }

// round replaces the recommended setting by one with present and round values that meets the SLO too and costs, on
// average, no more than the recommended one does at the dearest point of the sync period: runs of
// the two cannot be told apart. Others that meet the SLO for less than the new one are within chance too, and leave the front.
func (s *Search) round(ctx context.Context, r *Result) error {
	first := r.Front[r.Best]
	best, from := first, ""
	for i, of := range s.Ranges {
		for _, v := range append([]float64{r.Present.Setting[i]}, knobs[of.Name].rounder(best.Setting[i])...) {
			if v == best.Setting[i] {
				break
			}
			if !of.has(v) {
				continue
			}
			o, err := s.with(ctx, best.Setting, i, v)
			if err != nil {
				return err
			}
			if o.Misses != nil && s.meets(o) && o.Cost <= first.MostCost {
				best, from = o, fmt.Sprintf(" (with present and round values in place of %s, from which the cost differs by chance alone)", Show(s.Ranges, first.Setting))
				break
			}
		}
	}
	which := fmt.Sprintf("the cheapest of %d settings that meets", r.Tried)
	if r.Tried == 1 {
		which = "the only setting that was tried meets"
	}
	r.Reason = fmt.Sprintf("%s %s at each of %d points of the sync period%s: %s miss it in the worst", which, s.SLO, best.Phases, from, s.worstOf(best))
	cheaper := slices.DeleteFunc(slices.Clone(r.Front[:r.Best]), func(o Outcome) bool { return o.Cost >= best.Cost })
	dearer := slices.DeleteFunc(slices.Clone(r.Front[r.Best+1:]), func(o Outcome) bool { return o.Cost <= best.Cost || o.harm() >= best.harm() })
	r.Best, r.Front = len(cheaper), slices.Concat(cheaper, []Outcome{best}, dearer)
	return nil
}

// with is the outcome of a setting with its ith value changed; the zero Outcome if that cannot be run.
func (s *Search) with(ctx context.Context, setting Setting, i int, v float64) (Outcome, error) {
	setting = slices.Clone(setting)
	setting[i] = v
	if run, err := apply(s.Runs[0], s.Ranges, setting); err != nil || tooMany(run) || run.CheckRoom() != nil {
		return Outcome{}, nil
	}
	key := fmt.Sprint(setting)
	if s.known[key] == nil {
		trials, err := s.try(ctx, setting, 1, 0, s.Phases)
		if err != nil {
			return Outcome{}, err
		}
		if s.known == nil {
			s.known = map[string][]trial{}
		}
		s.known[key] = trials
	}
	return s.outcomeOf(setting, s.known[key]), nil
}

// moreLoad are the multiples of the load at which the recommended setting is tried too.
var moreLoad = []float64{1.3, 2}

// lessLoad is the share of the load at which a request hardly waits for others.
const lessLoad = 0.1

// under is the outcome of a setting with a multiple of the loads, of which only the Misses count.
func (s *Search) under(ctx context.Context, setting Setting, times float64) (Outcome, error) {
	trials, err := s.try(ctx, setting, times, 0, s.Phases)
	if err != nil {
		return Outcome{}, err
	}
	return s.outcomeOf(setting, trials), nil
}

// changed is the search with each of its runs changed.
func (s *Search) changed(change func(*simulate.Run)) *Search {
	other := *s
	other.Runs, other.known = nil, nil
	for _, r := range s.Runs {
		copied := *r
		change(&copied)
		other.Runs = append(other.Runs, &copied)
	}
	return &other
}

// even is the search with kept connections that have their requests spread over all pods.
func (s *Search) even() *Search { return s.changed(func(r *simulate.Run) { r.Even = true }) }

// explain adds the Notes on the recommended setting, by more runs of it.
func (s *Search) explain(ctx context.Context, r *Result) error {
	best := r.Front[r.Best]
	note := func(format string, args ...any) { r.Notes = append(r.Notes, fmt.Sprintf(format, args...)) }
	for i, of := range s.Ranges {
		v, k := best.Setting[i], knobs[of.Name]
		differs := of.Low == of.High
		for _, end := range []float64{of.Low, of.High} {
			if differs || end == v {
				continue
			}
			edge, err := s.with(ctx, best.Setting, i, end)
			if err != nil {
				return err
			}
			differs = !edge.same(best)
		}
		switch {
		case !differs:
			note("%s makes no difference: with %s and %s the load comes to the same as with %s.", of.Name, k.show(of.Low), k.show(of.High), k.show(v))
		case of.Low == of.High, best.Steps == 0 && of.Name != "min": // an HPA that never scales does nothing better beyond it
		case v == of.Low && v > k.least, v == of.High && v < k.highest():
			note("%s=%s is the edge of the range %s..%s: a better value may be beyond it.", of.Name, k.show(v), k.show(of.Low), k.show(of.High))
		}
	}
	with, err := apply(s.Runs[0], s.Ranges, best.Setting)
	if err != nil {
		return err
	}
	for _, f := range record.SpecFaults(&with.HPA) {
		note("The recommended setting has the finding %s: %s %s %s", f.Kind, f.Seen, f.Cause, f.Advice)
	}
	if r.Best > 0 {
		next := r.Front[r.Best-1]
		note("The next cheaper, %s, would save %s of the cost: %s miss the SLO with it in the worst.", Show(s.Ranges, next.Setting), percent(1-next.Cost/best.Cost), s.worstOf(next))
	}
	robust, err := s.robustness(ctx, best.Setting)
	r.Notes = append(r.Notes, robust...)
	return err
}

// robustness are sentences on a setting with more load, and with an HPA and metrics as slow as Kubernetes' defaults.
func (s *Search) robustness(ctx context.Context, setting Setting) (notes []string, err error) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	verdict := func(o Outcome) string {
		if s.meets(o) {
			return "meets the SLO still"
		}
		return "misses the SLO"
	}
	each := ""
	if len(s.Runs) > 1 {
		each = "each "
	}
	for _, times := range moreLoad {
		o, err := s.under(ctx, setting, times)
		if err != nil {
			return nil, err
		}
		note("With %s times %s it %s: %s miss it in the worst.", record.Plain(times, 2), cmp.Or(each, "the ")+"load", verdict(o), s.worstOf(o))
	}
	plant, usual := s.Runs[0].Plant, simulate.Guess(s.Runs[0].Pod, model.Model{})
	sync, resolution := plant.Control.Sync.Duration, plant.Metrics.Resolution.Duration
	varied := slices.ContainsFunc(s.Ranges, func(r Range) bool { return r.Name == "sync" })
	if slowSync, slowResolution := max(sync, usual.Control.Sync.Duration), max(resolution, usual.Metrics.Resolution.Duration); !varied && (sync < slowSync || resolution < slowResolution) {
		slower := s.changed(func(r *simulate.Run) {
			r.Plant.Control.Sync.Duration, r.Plant.Metrics.Resolution.Duration, r.Served, r.Scraped = slowSync, slowResolution, nil, nil
		})
		o, err := slower.under(ctx, setting, 1)
		if err != nil {
			return nil, err
		}
		note("The HPA looks every %s, and its metrics are new every %s. With %s and %s, no faster than Kubernetes' defaults, it %s: %s miss it in the worst.", sync, resolution, slowSync, slowResolution, verdict(o), s.worstOf(o))
	}
	return notes, nil
}

// uncountedShare is in which share of the loads an HPA that counts no pod is told as the cause of a missed SLO.
const uncountedShare = 0.1

// blame says what would have to change, where no setting meets the SLO: it is the first of a few changes with
// which the SLO is met. least is the least bad setting.
func (s *Search) blame(ctx context.Context, least Setting) (string, error) {
	with, err := apply(s.Runs[0], s.Ranges, least)
	if err != nil {
		return "", err
	}
	most := with.HPA.MaxReplicas
	for _, of := range s.Ranges {
		if of.Name == "max" {
			most = max(most, int32(of.High))
		}
	}
	fits := with.Fitting(most)
	start, capacity := fmt.Sprintf("with %s ready from the start", record.Counted(fits, "pod")), "a higher max, larger nodes"
	if fits < most {
		start += ", the most that the nodes have room for,"
		capacity = "more or larger nodes, lower requests of CPU and memory"
	}
	limit := ""
	if with.Modelled().Limit() > 0 {
		limit = "a higher CPU limit, "
	}
	fixed := func(of *Search, pods int32) *Search {
		of = of.changed(func(r *simulate.Run) {
			r.HPA, r.KEDA = *with.HPA.DeepCopy(), with.KEDA.DeepCopy()
			r.HPA.MinReplicas, r.HPA.MaxReplicas, r.Replicas = &pods, pods, pods
			if r.KEDA != nil {
				r.KEDA.MinReplicaCount, r.KEDA.MaxReplicaCount, r.KEDA.IdleReplicaCount = &pods, &pods, nil
			}
		})
		of.Ranges = nil
		return of
	}
	lower := ", a higher min, or a lower target."
	i := slices.IndexFunc(s.Ranges, func(r Range) bool { return r.Name == "target" })
	if t := target(with); i >= 0 && least[i] > s.Ranges[i].Low || t != nil && t.AverageUtilization != nil && *t.AverageUtilization <= 1 {
		lower = ", or a higher min." // lower targets were tried, or there are none
	}
	type change struct {
		of      *Search
		setting Setting
		times   float64
		says    string // of the share that misses the SLO then
	}
	late := "so the pods come too late: a shorter start-up"
	trials, err := s.try(ctx, least, 1, 0, s.Phases)
	if err != nil {
		return "", err
	}
	if t := slices.MaxFunc(trials, func(a, b trial) int { return cmp.Compare(a.uncounted, b.uncounted) }); t.uncounted > uncountedShare*t.lasted {
		late = fmt.Sprintf("but for %.0f s of the load the HPA counted no pod, since none was ready for long enough (finding none-counted): a readiness probe that holds in an overload (timeoutSeconds, failureThreshold)", t.uncounted*3600)
	}
	tries := []change{{fixed(s, fits), nil, 1, start + " %s miss the SLO at most, " + late + lower}}
	for pods := fits / 2; pods > 0; pods /= 2 {
		tries = append(tries, change{fixed(s, pods), nil, 1, fmt.Sprintf("with %s ready from the start %%s miss the SLO at most, and more miss it with %d: take %d as min and max.", record.Counted(pods, "pod"), fits, pods)})
	}
	if i := slices.IndexFunc(s.Runs, func(r *simulate.Run) bool {
		return slices.ContainsFunc(r.Phases, func(p record.Phase) bool { return r.Keeps(&p) && p.Shape != record.ShapeIdle })
	}); i >= 0 {
		kept := " %s miss the SLO at most, but kept connections stay with the pods that they were opened to, and the others get few of the requests (finding starved). "
		advice := "Close connections after a while (maxConnectionAge in the scenario's load shows what that does), or balance requests by a proxy"
		if age := s.Runs[i].MaxConnectionAge; age > 0 {
			advice = fmt.Sprintf("Close connections after less than the load's maxConnectionAge of %s, or balance requests by a proxy", age)
		}
		if s.Runs[i].Front != nil {
			advice = "Have the pods in front close their connections to the target after a while, or balance requests by a proxy"
		}
		tries = slices.Insert(tries, 0, change{s.even(), least, 1, "with the requests spread evenly over the pods" + kept + advice + "."})
		tries = append(tries, change{fixed(s.even(), fits), nil, 1, start + " and the requests spread evenly over them" + kept + advice + "; and the pods come too late, so take a shorter start-up or a higher min too."})
	}
	tries = append(tries, change{fixed(s, fits), nil, lessLoad, start + " and a tenth of the load %s miss the SLO at most, so the capacity is too low: " + limit + capacity + ", or requests that cost less."})
	for _, t := range tries {
		o, err := t.of.under(ctx, t.setting, t.times)
		if err != nil {
			return "", err
		}
		if s.meets(o) {
			return fmt.Sprintf(t.says, s.worstOf(o)), nil
		}
	}
	return fmt.Sprintf("%s and a tenth of the load the SLO is missed still, so no setting of the HPA can meet it: %srequests that cost less, or a latency in the SLO that one request alone can meet.", start, limit), nil
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
