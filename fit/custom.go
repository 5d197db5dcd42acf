package fit

import (
	"fmt"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
)

const customPrefix = "workload.metrics."

// pair is a value of a metric in the HPA's status, per pod or of all, and what a candidate for what it
// counts predicts: requests a second, or in flight.
type pair struct{ value, predicted float64 }

// ranges that a rate may be over.
var ranges = []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute}

const (
	// scrapesInRange is how many scrapes a range has at least by the rule of thumb for rate() (Grafana's
	// $__rate_interval); mostBetween is the time between two in the prometheus.yml that comes with Prometheus.
	scrapesInRange = 4
	mostBetween    = 15 * time.Second
	// mostUnexplained is the share of a metric's variance that requests may leave: an R² of 0.75 (chosen).
	mostUnexplained = 0.25
)

// custom finds out what the HPA's other metrics tell: the requests a second over one of
// the ranges or the requests in flight, whichever the values of the HPA's status follow
// best. How often they are scraped does not show.
func (l *learner) custom() {
	if l.base.KEDA != nil { // a simulation asks its triggers
		return
	}
	candidates := []model.Metric{{Of: model.OfInFlight}}
	for _, d := range ranges {
		candidates = append(candidates, model.Metric{Of: model.OfRequests, Every: &metav1.Duration{Duration: min(d/scrapesInRange, mostBetween)}, Window: &metav1.Duration{Duration: d}})
	}
	for _, m := range l.base.HPA.Metrics {
		name := record.CustomMetric(m)
		if name == "" {
			continue
		}
		best, least := model.Metric{}, math.Inf(1)
		var rows []pair
		for _, candidate := range candidates {
			r := l.pairs(m, candidate)
			if off := unexplained(r); off < least {
				best, least, rows = candidate, off, r
			}
		}
		if least > mostUnexplained {
			l.missing(customPrefix+name, "it follows neither the requests nor those in flight")
			continue
		}
		is, low, high := bootstrap(rows, func(r []pair) []float64 { return []float64{factor(r)} })
		best.Scale = is[0]
		unit := "of one in flight"
		if best.Of == model.OfRequests {
			unit = fmt.Sprintf("of one a second, over %s", best.Window.Duration)
		}
		l.add(Parameter{Name: customPrefix + name, Unit: unit, Value: is[0], Low: low[0], High: high[0], Samples: len(rows)})
		if l.learned.Metrics == nil {
			l.learned.Metrics = map[string]model.Metric{}
		}
		l.learned.Metrics[name] = best
	}
}

// pairs are the values of the HPA's status while the load ran, each with what a candidate predicts.
func (l *learner) pairs(m autoscalingv2.MetricSpec, candidate model.Metric) (rows []pair) {
	name, _ := record.MetricTarget(m)
	inFlight := l.inFlight()
	// Pods are in the order in which they were seen first, and entries in that of time.
	var alive []int // pods that there may be, or were a while ago
	seen, loaded := 0, false
	for _, e := range l.run.Entries {
		loaded = loaded || e.Phase != nil
		if e.Autoscaler == nil || !loaded {
			continue
		}
		now := record.MetricsCurrent(e.Autoscaler.Status)[name]
		for ; seen < len(l.result.Pods) && l.result.Pods[seen].FirstSeen <= e.At.Seconds(); seen++ {
			alive = append(alive, seen)
		}
		alive = slices.DeleteFunc(alive, func(i int) bool {
			gone := l.result.Pods[i].Gone
			return gone != nil && *gone < e.At.Seconds()-2*l.base.Timeout.Seconds()
		})
		sum, pods := l.predict(candidate, time.Duration(e.At), alive, inFlight)
		if m.Pods == nil {
			pods = float64(e.Autoscaler.Status.CurrentReplicas)
		}
		switch {
		case now.Value != nil && now.AverageValue == nil:
			rows = append(rows, pair{now.Value.AsApproximateFloat64(), sum})
		case now.AverageValue != nil && pods > 0:
			rows = append(rows, pair{now.AverageValue.AsApproximateFloat64(), sum / pods})
		}
	}
	return rows
}

// inFlight are the requests that were sent and not done by the end of each second.
func (l *learner) inFlight() []float64 {
	n := make([]float64, l.end)
	for i := range l.loads {
		if s := &l.loads[i]; s.second >= 0 {
			n[s.second] += float64(s.sent) - float64(s.done)
		}
	}
	for second := 1; second < len(n); second++ {
		n[second] += n[second-1]
	}
	return n
}

// predict gives the sum of a metric over those of some pods that have it, if they were scraped half
// a period ago, and their number.
func (l *learner) predict(m model.Metric, now time.Duration, among []int, inFlight []float64) (sum, pods float64) {
	at := now - m.Period()/2
	second := math.Floor(at.Seconds())
	rateOf := func(p *analysis.Pod) float64 { // of the load
		return (l.answered(p.Name, second+1) - l.answered(p.Name, second)) / l.base.Times()
	}
	all, open := 0.0, 0.0
	if m.Of == model.OfInFlight {
		for _, i := range among {
			all += rateOf(&l.result.Pods[i])
		}
		if second >= 0 && second < float64(len(inFlight)) {
			open = inFlight[int(second)]
		}
	}
	for _, i := range among {
		p := &l.result.Pods[i]
		if p.Started != nil && at.Seconds() < *p.Started || p.Gone != nil && now.Seconds() > *p.Gone {
			continue
		}
		v, known := 0.0, true
		if m.Of != model.OfInFlight {
			v, known = l.scrapedRate(p, m, now)
		} else if rate := rateOf(p); rate > 0 && all > 0 {
			// In line, or without one.
			took := l.base.InPod(rate, int(math.Round(all/rate)), l.newConnections(), 1).Mean() + l.base.Calls().Seconds()
			v = max(open*rate/all, rate*took)
		}
		if known {
			sum += v
			pods++
		}
	}
	return sum, pods
}

// scrapedRate is what Prometheus makes of the answers of a pod that it scraped half a period ago.
func (l *learner) scrapedRate(p *analysis.Pod, m model.Metric, now time.Duration) (rate float64, known bool) {
	var readings []model.Reading
	for at := now - m.Period()/2; at > now-m.Range() && (p.Started == nil || at.Seconds() > *p.Started); at -= m.Period() {
		readings = append(readings, model.Reading{At: at, Value: l.answered(p.Name, at.Seconds())})
	}
	slices.Reverse(readings)
	return model.Rate(readings, now, m.Range())
}

// factor is what the predicted values have to be multiplied by: least squares, with errors that grow as the
// values do.
func factor(rows []pair) float64 {
	var values, predicted float64
	for _, r := range rows {
		values, predicted = values+r.value, predicted+r.predicted
	}
	if predicted == 0 {
		return 0
	}
	return values / predicted
}

// fewPairs is how many values leave something to explain beside the factor and the mean.
const fewPairs = 4

// unexplained is the share of the values' variance that is left, 1 − R²; infinite where there is none.
func unexplained(rows []pair) float64 {
	k, values, predicted := factor(rows), make([]float64, len(rows)), make([]float64, len(rows))
	for i, r := range rows {
		values[i], predicted[i] = r.value, k*r.predicted
	}
	if len(rows) < fewPairs || floats.Max(values) == floats.Min(values) {
		return math.Inf(1)
	}
	return 1 - stat.RSquaredFrom(predicted, values, nil)
}
