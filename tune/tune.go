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
	"time"

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
	Run      *simulate.Run // with the present setting
	Ranges   []Range
	SLO      SLO
	Settings int // how many are tried, at most
	Phases   int // of the sync period, that the load of each begins at
	Seed     uint64
	// Do makes a run; it is called from as many goroutines as there are Workers.
	Do      func(context.Context, *simulate.Run) (simulate.Score, error)
	Workers int
	// Progress is told how many settings are through and of how many, and how many of
	// them were given up.
	Progress func(done, of, hopeless int)
}

// Outcome is what a setting came to, over the phases that were made.
type Outcome struct {
	Setting Setting `json:"setting"`
	Phases  int     `json:"phases"`
	// Missed is the share of the requests that missed the SLO's latency or failed: on
	// average over the phases, and in the worst.
	Missed      float64 `json:"missed"`
	WorstMissed float64 `json:"worstMissed"`
	LeastMissed float64 `json:"leastMissed"`
	// Hours are replica-hours while the load ran: on average, in the dearest and in the
	// cheapest phase.
	Hours      float64 `json:"replicaHours"`
	MostHours  float64 `json:"mostReplicaHours"`
	LeastHours float64 `json:"leastReplicaHours"`
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

// looks are after how many phases a setting is compared with the others.
var looks = []int{3, 6, 10}

// Tune makes the runs. The result does not depend on how many workers there are.
func Tune(ctx context.Context, s Search) (*Result, error) {
	run := *s.Run
	run.SLO, run.Header = s.SLO.Latency, nil
	all := []Setting{present(&run, s.Ranges)}
	for _, other := range sample(s.Ranges, s.Settings) {
		if !slices.Equal(other, all[0]) {
			all = append(all, other)
		}
	}
	runs := make([]*simulate.Run, len(all))
	scores := make([][]simulate.Score, len(all))
	for i, setting := range all {
		var err error
		if runs[i], err = apply(&run, s.Ranges, setting); err != nil {
			return nil, err
		}
		if tooMany(runs[i]) {
			runs[i] = nil
		}
	}
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
			if runs[i] != nil && !outcomes[i].Hopeless {
				alive = append(alive, i)
			}
		}
		if err := s.phases(ctx, runs, scores, alive, at, next); err != nil {
			return nil, err
		}
		at = next
		for _, i := range alive {
			outcomes[i] = outcomeOf(all[i], scores[i])
		}
		for _, i := range alive {
			o := &outcomes[i]
			o.Hopeless = i > 0 && at < s.Phases && slices.ContainsFunc(alive, func(j int) bool {
				return outcomes[j].WorstMissed <= o.LeastMissed && outcomes[j].MostHours < o.LeastHours
			})
		}
	}
	r := &Result{Present: outcomes[0]}
	var through []Outcome
	for i, o := range outcomes {
		switch {
		case runs[i] == nil:
			continue
		case o.Hopeless:
			r.Hopeless++
		default:
			through = append(through, o)
		}
		r.Tried++
		r.Runs += o.Phases
	}
	r.Front = front(through)
	r.recommend(s)
	return r, s.explain(ctx, r, &run)
}

// phases makes the runs of the settings that are alive from one phase to another.
func (s *Search) phases(ctx context.Context, runs []*simulate.Run, scores [][]simulate.Score, alive []int, from, to int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var mu sync.Mutex
	done := 0
	var workers sync.WaitGroup
	for range s.Workers {
		workers.Go(func() {
			for i := range next {
				for phase := from; phase < to && ctx.Err() == nil; phase++ {
					score, err := s.Do(ctx, runs[i].Nth(s.Seed, phase))
					if err != nil {
						cancel(err)
						break
					}
					score.Decisions = nil // of a long run there are many
					scores[i] = append(scores[i], score)
				}
				mu.Lock()
				done++
				if s.Progress != nil {
					s.Progress(done, len(alive), len(runs)-len(alive))
				}
				mu.Unlock()
			}
		})
	}
	for _, i := range alive {
		next <- i
	}
	close(next)
	workers.Wait()
	return context.Cause(ctx)
}

func outcomeOf(setting Setting, scores []simulate.Score) Outcome {
	o := Outcome{Setting: setting, Phases: len(scores), LeastMissed: math.Inf(1), LeastHours: math.Inf(1)}
	for _, s := range scores {
		// Less than one in a million is none: it comes of the waits' exponential tail.
		missed, hours := math.Round(s.Missed/max(s.Requests, 1)*1e6)/1e6, s.ReplicaSeconds/3600
		o.Missed += missed / float64(len(scores))
		o.Hours += hours / float64(len(scores))
		o.WorstMissed, o.LeastMissed = max(o.WorstMissed, missed), min(o.LeastMissed, missed)
		o.MostHours, o.LeastHours = max(o.MostHours, hours), min(o.LeastHours, hours)
	}
	return o
}

// front are those of which no other is better in one respect and no worse in the other.
func front(all []Outcome) (f []Outcome) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Outcome) int {
		return cmp.Or(cmp.Compare(a.Hours, b.Hours), cmp.Compare(a.Missed, b.Missed))
	})
	for _, o := range all {
		if len(f) == 0 || o.Missed < f[len(f)-1].Missed {
			f = append(f, o)
		}
	}
	return f
}

// recommend takes the cheapest of the front that meets the SLO in each phase; if none
// does, the one that misses it least.
func (r *Result) recommend(s Search) {
	allowed := 1 - s.SLO.Share
	for i, o := range r.Front {
		if o.WorstMissed <= allowed {
			r.Recommended, r.Met = i, true
			r.Reason = fmt.Sprintf("the cheapest of %d settings that meets %s at each of %d points of the sync period: %s %% of the requests miss it in the worst", r.Tried, s.SLO, o.Phases, record.Plain(o.WorstMissed*100, 2))
			return
		}
	}
	r.Recommended = len(r.Front) - 1
	r.Reason = fmt.Sprintf("none of %d settings meets %s at each of %d points of the sync period: %s %% of the requests miss it on average in the least bad", r.Tried, s.SLO, s.Phases, record.Plain(r.Front[r.Recommended].Missed*100, 3))
}

// moreLoad are the multiples of the load at which the recommended setting is tried too.
var moreLoad = []float64{1.3, 2}

// lessLoad is the share of the load at which a request hardly waits for others.
const lessLoad = 0.1

// explain adds the Notes: more runs of the recommended setting, or of the least bad.
func (s *Search) explain(ctx context.Context, r *Result, run *simulate.Run) error {
	best := r.Front[r.Recommended]
	with, err := apply(run, s.Ranges, best.Setting)
	if err != nil {
		return err
	}
	worst := func(of *simulate.Run, times float64) (missed float64, err error) {
		tried := *of
		tried.Phases, tried.Lead = multiplied(of.Phases, times), of.Lead*times
		var scores []simulate.Score
		for phase := range s.Phases {
			score, err := s.Do(ctx, tried.Nth(s.Seed, phase))
			if err != nil {
				return 0, err
			}
			scores = append(scores, score)
		}
		return outcomeOf(best.Setting, scores).WorstMissed, nil
	}
	note := func(format string, args ...any) { r.Notes = append(r.Notes, fmt.Sprintf(format, args...)) }
	percent := func(share float64) string { return record.Plain(share*100, 3) + " %" }
	if !r.Met {
		full, pods := *with, with.HPA.MaxReplicas
		full.HPA.MinReplicas, full.Replicas = &pods, pods
		missed, err := worst(&full, 1)
		if err != nil {
			return err
		}
		if missed <= 1-s.SLO.Share {
			note("What would have to change: with %s ready from the start %s of the requests miss the SLO at most, so the pods come too late: a shorter start-up, a higher min, or a lower target.", record.Counted(pods, "pod"), percent(missed))
			return nil
		}
		few, err := worst(&full, lessLoad)
		switch {
		case err != nil:
			return err
		case few <= 1-s.SLO.Share:
			note("What would have to change: with %s ready from the start still %s of the requests miss the SLO, so the capacity is too low: a higher max, a higher CPU limit, larger nodes, or requests that cost less.", record.Counted(pods, "pod"), percent(missed))
		default:
			note("What would have to change: at a tenth of the load, with %s ready from the start, still %s of the requests miss the SLO, so no setting of the HPA can meet it: a higher CPU limit, requests that cost less, or a latency in the SLO that one request alone can meet.", record.Counted(pods, "pod"), percent(few))
		}
		return nil
	}
	if r.Recommended > 0 {
		next := r.Front[r.Recommended-1]
		note("The next cheaper, %s, would save %s of the replica-hours and miss %s in the worst.", Show(s.Ranges, next.Setting), percent(1-next.Hours/best.Hours), percent(next.WorstMissed))
	}
	for _, times := range moreLoad {
		missed, err := worst(with, times)
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
