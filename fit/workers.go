package fit

import (
	"math"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/simulate"
)

const (
	// Requests that wait for nothing are the quantile aloneShare of the seconds' medians: one of fewQuick. Its bounds are the
	// quantiles 0 and 2 × aloneShare, between which it is in nine of ten cases from 25 seconds on (0.1 ± 1.645 √(0.09/n)).
	fewQuick, aloneShare = 10, 0.1
	// fewBusy is how many seconds with a line are the least for a quartile of them.
	fewBusy = 5
	// Workers are busy all the time if there is one at least, less a fifth for what aloneShare falls short
	// (leastBusy: chosen), and if a quarter of the seconds has no less than steadyShare of the median: of n
	// answers a second with a deviation of √n it has n − 0.67√n, which is that much from 6 answers a second on.
	leastBusy, steadyShare = 0.8, 0.7
	// A line is lineTimes (m + 1) requests where Little's law gives m: without one their number is that of
	// M/G/∞ (Poisson), which is above it less than once in a thousand.
	lineTimes = 3
	// spareCPU is the share of the CPU up to which that is not what requests wait for: half of them, or
	// more, find it free (M/G/1).
	spareCPU = 0.5
)

// saturated is a second in which requests waited for a worker: what a pod answered, and how
// many requests it had at the end.
type saturated struct{ answered, had float64 }

// workers finds how many requests a pod works on at a time, where it had more and the CPU was
// not what they waited for: by Little's law, as many as it answered in a second times what one
// takes when there are few. That is also how long a request waits, but for its CPU time; and
// where some were refused, the queue was as long as those that there were.
func (l *learner) workers() {
	const names = "workload.workers"
	l.base.Plant.Workload = l.learned.Over(l.base.Plant.Workload)
	var quick []float64 // what half of the answers of a second took at most
	for i := range l.loads {
		if s := &l.loads[i]; s.answered > 0 {
			quick = append(quick, s.median)
		}
	}
	if len(quick) < fewQuick {
		l.missing(names, "too few answers")
		return
	}
	if l.base.Chain != nil {
		l.missing(names, "the pods' requests to others take part of the latencies")
		return
	}
	slices.Sort(quick)
	alone := quantile(quick, aloneShare)
	busy, queue := l.saturated(alone)
	var at []float64
	for _, s := range busy {
		at = append(at, s.answered*alone)
	}
	slices.Sort(at)
	// Workers that have something to do all the time have it in each second.
	if len(at) < fewBusy || quantile(at, 0.5) < leastBusy || quantile(at, 0.25) < steadyShare*quantile(at, 0.5) {
		l.missing(names, "requests did not wait for one, or for CPU too")
		return
	}
	is := max(1, int(math.Round(quantile(at, 0.5))))
	l.add(Parameter{Name: names, Value: float64(is), Low: quantile(at, 0.05), High: quantile(at, 0.95), Samples: len(at)})
	l.learned.Workers = &is
	waits := max(0, alone-l.base.Modelled().Cost(l.newConnections())-meanOf(simulate.Guess(l.base.Pod, model.Model{}).RoundTrip))
	l.learned.Wait = &model.Cost{Mean: metav1.Duration{Duration: seconds(waits)}}
	l.add(Parameter{Name: "workload.wait", Unit: "s", Value: waits, Low: max(0, waits-alone+quick[0]), High: waits + quantile(quick, 2*aloneShare) - alone, Samples: len(quick)})
	if len(queue) == 0 {
		l.missing("workload.queue", "no request was refused")
		return
	}
	slices.Sort(queue)
	n := max(0, int(math.Round(quantile(queue, 0.5)))-is)
	l.add(Parameter{Name: "workload.queue", Value: float64(n), Low: max(0, quantile(queue, 0.05)-float64(is)), High: quantile(queue, 0.95) - float64(is), Samples: len(queue)})
	l.learned.Queue = &n
}

// saturated are the seconds in which a pod had far more requests than it would have if each
// took as long as it does alone, and CPU to spare; and how many it had when it reset others.
// Of several pods they are those of which each had the same, or the one that answered most.
func (l *learner) saturated(alone float64) (busy []saturated, queue []float64) {
	// What the busiest pod used, and all together, by second: in the window that it is in, which
	// may have begun before there was a load, or the next.
	cpu, sums := make([]float64, l.end), make([]float64, l.end)
	for _, w := range l.windows {
		if w.length > longestWindow {
			continue
		}
		for second := max(0, int(w.end-2*w.length)); second <= min(int(w.end), l.end-1); second++ {
			cpu[second] = max(cpu[second], w.cpu/w.length)
			sums[second] += w.cpu / w.length / 2 // each is in two
		}
	}
	open := 0.0
	for i := range l.loads {
		s := &l.loads[i]
		second := int(s.second)
		open += float64(s.sent) - float64(s.done)
		pods := l.pods(second)
		if pods == 0 || pods > 1 && l.sharing == uneven { // or it is not known how many requests each has
			continue
		}
		is := saturated{float64(s.answered) / pods, open / pods}
		for _, p := range s.details.pods {
			is.answered = max(is.answered, float64(p.n))
		}
		if is.had < lineTimes*(is.answered*alone+1) || cpu[second] > spareCPU*l.base.Modelled().MostCPU() || sums[second] > spareCPU*l.cores() {
			continue
		}
		busy = append(busy, is)
		if pods == 1 && s.details.resets > 0 {
			queue = append(queue, open)
		}
	}
	return busy, queue
}

// longestWindow is the longest of a sample, in seconds: a plant's metrics may be an hour apart.
const longestWindow = 3600

func meanOf(cases simulate.Cases) (mean float64) {
	for _, c := range cases {
		mean += c.Seconds() / float64(len(cases))
	}
	return mean
}
