// Package signals stands between modelled pods and their autoscaler as Prometheus does: it keeps what was scraped, and answers
// queries by Prometheus' own engine. Its clock is that of the samples, so that the embedded cluster and the simulation share it.
package signals

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// ScrapeEvery is how often a target is scraped where nobody says: what Prometheus' own example has.
const ScrapeEvery = 15 * time.Second

// lookback is how old a sample may be that a query finds; Prometheus' default.
const lookback = 5 * time.Minute

// Store keeps the samples of series for a time. Its methods can be called from several goroutines.
type Store struct {
	// Every is how often what fills it is to scrape.
	Every  time.Duration
	keep   time.Duration
	engine *promql.Engine
	mu     sync.RWMutex
	series map[uint64]*series // by the hash of their labels
}

type series struct {
	labels  labels.Labels
	samples []chunks.Sample // in the order of their times
}

// New makes a Store that keeps samples for as long as a query may look back: 5 minutes at least.
func New(keep, every time.Duration) *Store {
	return &Store{
		Every: every, keep: max(keep, lookback), series: map[uint64]*series{},
		engine: promql.NewEngine(promql.EngineOpts{
			MaxSamples: 10_000_000, Timeout: 10 * time.Second, LookbackDelta: lookback, EnableAtModifier: true, EnableNegativeOffset: true,
			NoStepSubqueryIntervalFn: func(int64) int64 { return 15_000 }, Parser: parser.NewParser(parser.Options{}),
		}),
	}
}

// Labels name a series.
type Labels = labels.Labels

// Series are the labels of a metric's series, of which the others come in pairs of a name and a value.
func Series(metric string, pairs ...string) Labels {
	return labels.FromStrings(append([]string{"__name__", metric}, pairs...)...)
}

// Add adds what a scrape at an instant found: a value of a series, which has its name among its labels as __name__.
func (s *Store) Add(of labels.Labels, at time.Time, v float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hash := of.Hash()
	is := s.series[hash]
	oldest := at.Add(-s.keep).UnixMilli()
	if is == nil {
		for h, old := range s.series {
			if old.samples[len(old.samples)-1].T() < oldest {
				delete(s.series, h)
			}
		}
		is = &series{labels: of}
		s.series[hash] = is
	}
	n := 0
	for n < len(is.samples) && is.samples[n].T() < oldest {
		n++
	}
	is.samples = append(is.samples[n:], sample{at.UnixMilli(), v})
}

// End ends a series, as Prometheus does when its target is gone: an instant query finds it no more, and a rate goes on with what
// its range has.
func (s *Store) End(of labels.Labels, at time.Time) {
	s.Add(of, at, math.Float64frombits(value.StaleNaN))
}

// Query gives the values of the elements of a query's result at an instant; that of a scalar is one.
func (s *Store) Query(text string, at time.Time) ([]float64, error) {
	q, err := s.engine.NewInstantQuery(context.Background(), s, nil, text, at)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	switch r := q.Exec(context.Background()); v := r.Value.(type) {
	case promql.Scalar:
		return []float64{v.V}, r.Err
	case promql.Vector:
		values := make([]float64, len(v))
		for i, of := range v {
			values[i] = of.F
		}
		return values, r.Err
	default:
		return nil, errors.Join(r.Err, fmt.Errorf("the query gives a %T, and not numbers at an instant", r.Value))
	}
}

// Querier makes the Store one of Prometheus' storages.
func (s *Store) Querier(from, to int64) (storage.Querier, error) { return querier{s, from, to}, nil }

type querier struct {
	store    *Store
	from, to int64
}

func (q querier) Select(_ context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	from, to := q.from, q.to
	if hints != nil {
		from, to = hints.Start, hints.End
	}
	q.store.mu.RLock()
	defer q.store.mu.RUnlock()
	set := &found{at: -1} // in the order of their labels, so that a sum is always the same
	for _, is := range q.store.series {
		if !matches(is.labels, matchers) {
			continue
		}
		var within []chunks.Sample
		for _, v := range is.samples {
			if v.T() >= from && v.T() <= to {
				within = append(within, v)
			}
		}
		if within != nil {
			set.series = append(set.series, storage.NewListSeries(is.labels, within))
		}
	}
	slices.SortFunc(set.series, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return set
}

func matches(of labels.Labels, matchers []*labels.Matcher) bool {
	for _, m := range matchers {
		if !m.Matches(of.Get(m.Name)) {
			return false
		}
	}
	return true
}

func (querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.ErrUnsupported
}

func (querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.ErrUnsupported
}

func (querier) Close() error { return nil }

// found is a SeriesSet.
type found struct {
	series []storage.Series
	at     int
}

func (f *found) Next() bool                        { f.at++; return f.at < len(f.series) }
func (f *found) At() storage.Series                { return f.series[f.at] }
func (f *found) Err() error                        { return nil }
func (f *found) Warnings() annotations.Annotations { return nil }

// sample is a float at an instant, in milliseconds.
type sample struct {
	t int64
	v float64
}

func (s sample) T() int64                      { return s.t }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.v }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }
