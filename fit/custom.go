package fit

import (
	"fmt"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/simulate"
)

const customPrefix = "workload.metrics."

// told is what the HPA says of a metric, per pod or of all, and what it may be of.
type told struct{ value, of float64 }

// ranges that a rate may be over.
var ranges = []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute}

// custom finds out what the HPA's other metrics tell: the requests a second over one of
// the ranges or the requests in flight, whichever the values of the HPA's status follow
// best. How often they are scraped does not show: a quarter of the range is taken.
func (l *learner) custom() {
	for _, m := range l.like.HPA.Metrics {
		name := record.CustomMetric(m)
		if name == "" {
			continue
		}
		best, least := model.Metric{}, math.Inf(1)
		var rows []told
		try := func(candidate model.Metric) {
			r := l.told(m, candidate)
			if off := unexplained(r); off < least {
				best, least, rows = candidate, off, r
			}
		}
		try(model.Metric{Of: model.OfInFlight})
		for _, d := range ranges {
			try(model.Metric{Of: model.OfRequests, Every: &metav1.Duration{Duration: min(d/4, 15*time.Second)}, Window: &metav1.Duration{Duration: d}})
		}
		if least > 0.25 {
			l.missing(customPrefix+name, "it follows neither the requests nor those in flight")
			continue
		}
		is, low, high := bootstrap(rows, func(r []told) []float64 { return []float64{factor(r)} })
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

// told pairs the values of the HPA's status while the load ran with what a candidate says.
func (l *learner) told(m autoscalingv2.MetricSpec, candidate model.Metric) (rows []told) {
	open := make([]float64, l.end) // what was sent and not done by the end of a second
	for i := range l.loads {
		if s := &l.loads[i]; s.second >= 0 {
			open[s.second] += float64(s.sent) - float64(s.done)
		}
	}
	for second := 1; second < len(open); second++ {
		open[second] += open[second-1]
	}
	openAt := func(second float64) float64 {
		if second < 0 || second >= float64(len(open)) {
			return 0
		}
		return open[int(second)]
	}
	// Pods are in the order in which they were seen first, and entries are about in that of time.
	var alive []int // pods that there may be, or were a while ago
	seen := 0
	const about = 60.0
	ofAll := 0.0 // what was answered in a second, the latest that was asked for
	latest := math.Inf(-1)
	sum := func(second float64) float64 {
		if second != latest {
			ofAll, latest = 0, second
			for _, i := range alive {
				p := &l.result.Pods[i]
				ofAll += l.answered(p.Name, second+1) - l.answered(p.Name, second)
			}
		}
		return ofAll
	}
	// of is what the candidate says of a pod, if it was scraped half a period ago.
	of := func(i int, now time.Duration) (float64, bool) {
		p, at := &l.result.Pods[i], now-candidate.Period()/2
		if p.Started != nil && at.Seconds() < *p.Started || p.Gone != nil && now.Seconds() > *p.Gone {
			return 0, false
		}
		if second := math.Floor(at.Seconds()); candidate.Of == model.OfInFlight {
			rate := l.answered(p.Name, second+1) - l.answered(p.Name, second)
			all := sum(second)
			if rate <= 0 || all <= 0 {
				return 0, true
			}
			pods := int(math.Round(all / rate))
			// In line, or without one.
			return max(openAt(second)*rate/all, rate*stat.Mean(l.like.InPod(rate, pods, l.newConnections(), 1), nil)), true
		}
		var readings []simulate.Reading
		for ; at > now-candidate.Range() && (p.Started == nil || at.Seconds() > *p.Started); at -= candidate.Period() {
			readings = append(readings, simulate.Reading{At: at, Value: l.answered(p.Name, at.Seconds())})
		}
		slices.Reverse(readings)
		return simulate.Rate(readings, now, candidate.Range())
	}
	name, _ := record.MetricTarget(m)
	loaded := false
	for _, e := range l.run.Entries {
		loaded = loaded || e.Phase != nil
		if e.Autoscaler == nil || !loaded {
			continue
		}
		now := record.MetricsCurrent(e.Autoscaler.Status)[name]
		for ; seen < len(l.result.Pods) && l.result.Pods[seen].FirstSeen <= e.At.Seconds()+about; seen++ {
			alive = append(alive, seen)
		}
		alive = slices.DeleteFunc(alive, func(i int) bool {
			gone := l.result.Pods[i].Gone
			return gone != nil && *gone < e.At.Seconds()-2*about-2*l.like.Timeout.Seconds()
		})
		sum, pods := 0.0, 0.0
		for _, i := range alive {
			if v, known := of(i, time.Duration(e.At)); known {
				sum += v
				pods++
			}
		}
		if m.Pods == nil {
			pods = float64(e.Autoscaler.Status.CurrentReplicas)
		}
		switch {
		case now.Value != nil && now.AverageValue == nil:
			rows = append(rows, told{now.Value.AsApproximateFloat64(), sum})
		case now.AverageValue != nil && pods > 0:
			rows = append(rows, told{now.AverageValue.AsApproximateFloat64(), sum / pods})
		}
	}
	return rows
}

// factor is what of has to be multiplied by: least squares, with errors that grow as the
// values do.
func factor(rows []told) float64 {
	var values, of float64
	for _, r := range rows {
		values, of = values+r.value, of+r.of
	}
	if of == 0 {
		return 0
	}
	return values / of
}

// unexplained is the share of the values' variance that is left.
func unexplained(rows []told) float64 {
	if len(rows) < 4 {
		return math.Inf(1)
	}
	k, mean := factor(rows), 0.0
	for _, r := range rows {
		mean += r.value / float64(len(rows))
	}
	var left, all float64
	for _, r := range rows {
		left, all = left+(r.value-k*r.of)*(r.value-k*r.of), all+(r.value-mean)*(r.value-mean)
	}
	if all == 0 {
		return math.Inf(1)
	}
	return left / all
}
