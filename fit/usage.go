package fit

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
)

// usageSample is what pods used in a window: CPU and length in seconds, of all pods together where
// the sample is of several; the bytes at its end; and the requests that they worked on.
type usageSample struct {
	pod                                        string // "" of several
	cpu, requests, length, starts, memory, end float64
}

// enoughRequests is the least for what a request costs: of fewer, one more or less in a window makes
// a difference of a tenth.
const enoughRequests = 10

// workload regresses what the pods used on what they were asked: CPU time = cost ×
// requests + idle × length + what a start takes, by least squares. Where the record does not tell
// which pod had a request, the samples are of all pods together.
func (l *learner) workload() {
	rows := l.windows
	if l.sharing == uneven {
		rows = l.totals()
	}
	asked := 0.0
	for _, r := range rows {
		asked += r.requests
	}
	m := &l.base.Plant.Workload
	if asked < enoughRequests {
		l.missing("workload.cpu", "too few requests while the pods' metrics were read")
		return
	}
	best := l.usage(rows)
	l.costs(best)
	// The record cannot part the connection from the request: they keep the model's
	// proportion.
	cost, connection := m.CPU.Mean.Seconds(), m.ConnectionCPU.Seconds()
	if !l.newConnections() {
		connection = 0
	}
	if cost+connection == 0 { // the model has no proportion
		cost = 1
	}
	k := &l.learned
	k.CPU = &model.Cost{Mean: duration(best[0] * cost / (cost + connection)), Distribution: m.CPU.Distribution, Deviation: m.CPU.Deviation}
	if connection > 0 {
		k.ConnectionCPU = new(duration(best[0] * connection / (cost + connection)))
	}
	k.IdleCPU = resource.NewScaledQuantity(int64(max(0, best[1]-best[0]*l.probes())*1e9), resource.Nano)
	k.StartCPU = new(duration(best[2]))

	l.memory()
}

// probes is how many of a pod's probes a second cost what a request does, and so are not idle CPU and memory.
func (l *learner) probes() float64 { return l.base.Modelled().Probes() }

// usage estimates what a request, a second of a pod and a start use, and adds them to what was measured.
// One that the samples do not tell from the others is the model's, and the others are what is left: it
// is told if the CPU time between its bounds is less than the HPA's tolerance of all that was used, so
// that no decision hangs on it.
func (l *learner) usage(rows []usageSample) []float64 {
	samples, sums, used := make([]sample, len(rows)), make([]float64, 3), 0.0
	for i, r := range rows {
		// Requests come and end by chance, and so the variance grows with their number.
		weight := 1 / math.Sqrt(1+r.requests)
		samples[i] = sample{[]float64{r.requests * weight, r.length * weight, r.starts * weight}, r.cpu * weight}
		for c, x := range []float64{r.requests, r.length, r.starts} {
			sums[c] += x
		}
		used += r.cpu
	}
	m := &l.base.Plant.Workload
	model := []float64{l.base.Modelled().Cost(l.newConnections()), l.base.Modelled().AtRest(), m.StartCPU.Seconds()}
	best, low, high := bootstrap(samples, leastSquares)
	why := make([]string, 3)
	for c := 2; c >= 1; c-- {
		switch tolerance := record.DefaultControllers().Tolerance; {
		case sums[c] == 0:
			why[c] = "no pod started while its metrics were read"
		case (high[c]-low[c])*sums[c] > tolerance*used:
			why[c] = "the samples do not tell it from what the requests used"
		default:
			continue
		}
		for i := range samples {
			samples[i].y -= model[c] * samples[i].x[c]
			samples[i].x[c] = 0
		}
		best, low, high = bootstrap(samples, leastSquares)
	}
	if low[0] == 0 {
		why[0] = "the samples do not tell it from 0: too few are of a time with load"
	}
	for c, p := range []Parameter{{Name: "workload.cpu", Unit: "s"}, {Name: "workload.idleCPU", Unit: "cores"}, {Name: "workload.startCPU", Unit: "s"}} {
		if p.Missing = why[c]; p.Missing != "" {
			best[c] = model[c]
		} else {
			p.Value, p.Low, p.High, p.Samples = best[c], low[c], high[c], len(rows)
		}
		if c == 1 {
			p = p.less(best[0] * l.probes())
		}
		l.add(p)
	}
	return best
}

// totals are the samples of all pods together, in stretches of a window.
//
// What a pod used is known as the mean of a window w, while requests are known by the second. So that
// both are blurred alike, the requests that are attributed to a pod by its CPU time are spread evenly
// over the window too. They add up to all requests, and so make no difference to what one costs.
func (l *learner) totals() []usageSample {
	cpu, length := l.byStretch(func(w usageSample) float64 { return w.cpu }), l.byStretch(func(w usageSample) float64 { return w.length })
	starts, requests := l.byStretch(func(w usageSample) float64 { return w.starts }), l.byStretch(func(w usageSample) float64 { return w.requests })
	rows := make([]usageSample, len(cpu))
	for i := range rows {
		rows[i] = usageSample{cpu: cpu[i], length: length[i], starts: starts[i], requests: requests[i]}
	}
	return rows
}

// findStretches finds the stretches of a window's length, by their first seconds. Seconds in which a pod
// was there without a sample are left out.
func (l *learner) findStretches(unsampled []float64) {
	if len(l.windows) == 0 {
		return
	}
	var lengths []float64
	for _, w := range l.windows {
		lengths = append(lengths, w.length)
	}
	slices.Sort(lengths)
	l.stretch = max(1, int(quantile(lengths, 0.5)))
	from := 0
	for second := range l.end {
		if unsampled[second] > rounding {
			from = second + 1
		} else if second+1-from == l.stretch {
			l.stretches, from = append(l.stretches, from), second+1
		}
	}
}

// byStretch is the sum over windows of something that is spread evenly over each, by stretch.
func (l *learner) byStretch(of func(usageSample) float64) (sums []float64) {
	d := make([]float64, l.end+2)
	for _, w := range l.windows {
		spread(d, w.end-w.length, w.end, of(w)/w.length)
	}
	floats.CumSum(d, d)
	for _, from := range l.stretches {
		sums = append(sums, floats.Sum(d[from:from+l.stretch]))
	}
	return sums
}

// unsampled is by second how many pods were there without a sample of the time.
func (l *learner) unsampled() []float64 {
	byPod, d := map[string][]usageSample{}, make([]float64, l.end+2)
	for _, w := range l.windows {
		byPod[w.pod] = append(byPod[w.pod], w)
	}
	for i := range l.result.Pods {
		from, to, ok := l.there(i)
		if !ok {
			continue
		}
		for _, w := range byPod[l.result.Pods[i].Name] {
			if begin := min(w.end-w.length, to); begin > from+2*timestampGrain {
				spread(d, from, begin, 1)
			}
			from = max(from, w.end)
		}
		spread(d, from, to, 1)
	}
	return floats.CumSum(d, d)
}

// timestampGrain is that of a sample's timestamp, in seconds.
const timestampGrain = 1.0

// there is the time in which a pod could have requests: kept connections have some until it is gone.
func (l *learner) there(pod int) (from, to float64, ok bool) {
	p, to := &l.result.Pods[pod], float64(l.end)
	if p.Gone != nil {
		to = *p.Gone
	}
	switch {
	case p.InService != nil:
		return *p.InService, to, true
	case p.Before:
		return p.FirstSeen, to, true
	}
	return 0, 0, false
}

// spread adds a rate from one time to another to what each second has. d are the differences
// between seconds, of which the sums are what the seconds have.
func spread(d []float64, from, to, rate float64) {
	most := float64(len(d) - 2)
	from, to = min(max(0, from), most), min(max(0, to), most)
	if from >= to {
		return
	}
	edge := func(at, rate float64) {
		second, part := math.Modf(at)
		d[int(second)] += rate * (1 - part)
		d[int(second)+1] += rate * part
	}
	edge(from, rate)
	edge(to, -rate)
}

// holds are the times for which a request's memory may be held: the nearest is within a fifth of any time above 5 s, and
// within a third of one below. Beyond 5 minutes, the HPA's default window for scale-downs, it may as well be there always.
var holds = []float64{1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 60, 75, 90, 120, 180, 240, 300}

const (
	// explains is the share of the memory's variance (R²) that requests must explain. With 0.7 eight real runs are judged
	// alike; with 0.3 nginx seems to hold 90 bytes for each request, for 25 s.
	explains = 0.5
	// alike is by which share of it two of holds may differ and both be true: they are a fifth apart or
	// more, and a sample is of any moment of the half minute before it is read. With half or twice as much one of eight real
	// runs has a bound that is one or two of holds further.
	alike = 0.02
)

// memory is what there is at all times, and so much for each request that was answered
// within the last while, for which it is held: the one of holds that explains most of it.
func (l *learner) memory() {
	rows := atRandom(l.windows, mostDrawn) // it is worked out for each of holds
	samples := func(held float64) []sample {
		is := make([]sample, len(rows))
		for i, r := range rows {
			is[i] = sample{[]float64{1, l.answered(r.pod, r.end) - l.answered(r.pod, r.end-held)}, r.memory}
		}
		return is
	}
	left := func(held float64) (sum float64) {
		of := samples(held)
		best := leastSquares(of)
		for _, s := range of {
			d := s.y - best[0]*s.x[0] - best[1]*s.x[1]
			sum += d * d
		}
		return sum
	}
	all := left(0) // within no time there is none
	held, least := 0.0, all*(1-explains)
	errors := make([]float64, len(holds))
	for i, h := range holds {
		if errors[i] = left(h); errors[i] < least {
			held, least = h, errors[i]
		}
	}
	best, low, high := bootstrap(samples(held), leastSquares)
	n, k := len(rows), &l.learned
	always := Parameter{Name: "workload.memory", Unit: "bytes", Value: best[0], Low: low[0], High: high[0], Samples: n}.less(best[1] * held * l.probes())
	l.add(always)
	k.Memory, k.MemoryPerRequest = resource.NewQuantity(int64(always.Value), resource.BinarySI), resource.NewQuantity(int64(best[1]), resource.BinarySI)
	if held == 0 {
		l.missing("workload.memoryPerRequest", "the memory does not follow the requests")
		return
	}
	l.add(Parameter{Name: "workload.memoryPerRequest", Unit: "bytes", Value: best[1], Low: low[1], High: high[1], Samples: n})
	// The bounds are those that explain it nearly as well.
	bounds := Parameter{Name: "workload.memoryHeld", Unit: "s", Value: held, Low: held, High: held, Samples: n}
	for i, h := range holds {
		if errors[i] <= least+all*alike {
			bounds.Low, bounds.High = min(bounds.Low, h), max(bounds.High, h)
		}
	}
	l.add(bounds)
	k.MemoryHeld = &metav1.Duration{Duration: seconds(held)}
}

// fewForCost is how many requests a pod must have had for what they cost there. Which pod a request
// goes to is chance, so that their number is off by 1/√n. Pods of hpa-example cost from two thirds to nine eighths of the
// mean (docs/simulate.md): evenly spread that is a standard deviation of 13 %, and half of it is about 1/√200.
const fewForCost = 200

// costs is how the pods differ from best, what workload found for all. Without it they are all alike.
func (l *learner) costs(best []float64) {
	of := l.costsByRequests
	if l.sharing == uneven {
		of = l.costsByUsage
	}
	if l.Missing("workload.cpu") != "" {
		l.missing("costs", "what a request costs is not known")
		return
	}
	found := of(func(w usageSample) float64 { return w.cpu - best[1]*w.length - best[2]*w.starts })
	var costs []float64
	for _, p := range l.result.Pods {
		cost := 0.0
		if c := found[p.Name]; c > 0 && best[0] > 0 {
			cost = c / best[0]
			costs = append(costs, cost)
		}
		l.Costs = append(l.Costs, cost)
	}
	if len(costs) == 0 {
		l.missing("costs", fmt.Sprintf("of no pod it is known that it had %d requests", fewForCost))
		return
	}
	l.addQuantiles("costs", "", slices.Clone(costs))
	for _, c := range thinned(costs) {
		l.Plant.Costs = append(l.Plant.Costs, math.Round(c*1000)/1000)
	}
}

// costsByRequests are the CPU time of a request by pod, where it is known how many each had.
func (l *learner) costsByRequests(used func(usageSample) float64) map[string]float64 {
	cpu, requests := map[string]float64{}, map[string]float64{}
	for _, w := range l.windows {
		cpu[w.pod] += used(w)
		requests[w.pod] += w.requests
	}
	for pod, n := range requests {
		if cpu[pod] /= n; n < fewForCost {
			delete(cpu, pod)
		}
	}
	return cpu
}

// mostByUsage bounds the pods, and the stretches, of costsByUsage: its time grows with the square of the
// one and with the other.
const mostByUsage, mostStretches = 20, 5000

// costsByUsage are the CPU time of a request by pod, where all that is known is how many requests all pods
// had: of the costs c, Σ cpu/c over the pods is that number in each stretch, which least squares solve for
// 1/c. A cost of which the bounds are not within 15 %, about the deviation of fewForCost, is not known.
func (l *learner) costsByUsage(used func(usageSample) float64) map[string]float64 {
	const within = 0.15
	sums := map[string]float64{}
	for _, w := range l.windows {
		sums[w.pod] += used(w)
	}
	pods := slices.SortedFunc(maps.Keys(sums), func(a, b string) int { return cmp.Or(cmp.Compare(sums[b], sums[a]), cmp.Compare(a, b)) })
	requests := l.byStretch(func(w usageSample) float64 { return w.requests })
	costs := map[string]float64{}
	if len(requests) == 0 {
		return costs
	}
	rows := make([]sample, len(requests))
	column := func(of func(pod string) bool) {
		for i, cpu := range l.byStretch(func(w usageSample) float64 {
			if of(w.pod) {
				return used(w)
			}
			return 0
		}) {
			rows[i].x = append(rows[i].x, cpu/math.Sqrt(1+requests[i]))
		}
	}
	most := pods[:min(len(pods), mostByUsage)]
	for _, pod := range most {
		column(func(other string) bool { return other == pod })
	}
	column(func(pod string) bool { return !slices.Contains(most, pod) })
	for i, n := range requests {
		rows[i].y = n / math.Sqrt(1+n)
	}
	perSecond, low, high := bootstrap(atRandom(rows, mostStretches), leastSquares)
	for i, pod := range most {
		if n := perSecond[i]; n*sums[pod] >= fewForCost && low[i] >= n*(1-within) && high[i] <= n*(1+within) {
			costs[pod] = 1 / n
		}
	}
	return costs
}

func (l *learner) newConnections() bool {
	return l.base.Front == nil && slices.ContainsFunc(l.base.Phases, func(p record.Phase) bool { return p.Shape != record.ShapeIdle && !p.KeepAlive })
}

// usageSamples are those of all pods, without the requests.
func (l *learner) usageSamples() (rows []usageSample) {
	started := map[string]*float64{}
	for _, p := range l.result.Pods {
		started[p.Name] = p.Started
	}
	header := l.run.Header()
	sampled := map[string]bool{}
	for _, e := range l.run.Entries {
		if e.PodMetrics == nil {
			continue
		}
		for _, s := range e.PodMetrics.Samples {
			from, known := started[s.Pod]
			if !s.New || !known || s.Window <= 0 {
				continue
			}
			end := s.Timestamp.Sub(header.Started).Seconds() + 0.5
			w := usageSample{pod: s.Pod, end: end, length: s.Window}
			for _, c := range s.Containers {
				w.cpu += c.CPU * s.Window
				w.memory += float64(c.Memory)
			}
			if !sampled[s.Pod] && from != nil && end-s.Window < *from+1 {
				w.starts = 1
			}
			sampled[s.Pod] = true
			rows = append(rows, w)
		}
	}
	return rows
}
