// Package fit learns from the record of a real run how its workload, its cluster and its
// metrics behave: the plant that package simulate needs.
package fit

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"gonum.org/v1/gonum/mat"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/simulate"
)

// Version of the format of a Fit.
const Version = "hpabench.dev/plant/v1"

// Fit is a plant and what is known of it.
type Fit struct {
	Version  string         `json:"version"`
	From     string         `json:"from"` // the runs and their scenarios
	Plant    simulate.Plant `json:"plant"`
	Measured []Parameter    `json:"measured"`
	// Costs are what a request costs in each pod of a run, relative to the Plant's, in the order
	// in which the pods came; 0 where that is not known.
	Costs []float64 `json:"-"`
}

// Parameter is one figure of the plant: that which was measured, with the bounds between
// which nine of ten measurements like this one fall, or why it was not. For the stages it
// is the median pod, and the bounds hold nine of ten pods; for the round trip, the answers.
type Parameter struct {
	Name    string  `json:"name"`
	Unit    string  `json:"unit,omitempty"`
	Value   float64 `json:"value"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	Samples int     `json:"samples,omitempty"`
	Missing string  `json:"missing,omitempty"` // why the plant has what it would have without a measurement
}

// Learn fits a plant to a run.
func Learn(run record.Run) (*Fit, error) {
	var s Source
	for i := range run.Entries {
		s.add(&run.Entries[i], analysis.Prepare(&run.Entries[i]))
	}
	return s.Learn()
}

// learn is Learn of the Source.
func (l *learner) learn() (*Fit, error) {
	f := &Fit{Version: Version, From: fmt.Sprintf("run %s of scenario %s", l.result.Run, l.result.Scenario), Plant: l.like.Plant}
	l.Fit = f
	l.count()
	l.cluster()
	l.control()
	l.stages()
	l.pipeline()
	l.workload()
	l.workers()
	l.roundTrip()
	l.custom()
	f.Plant.Workload = l.learned
	if c := l.result.Cluster; c != nil {
		f.Plant.Assumed = slices.Clip(c.Assumed)
	}
	f.Plant.Assumed = append(f.Plant.Assumed, f.unmeasured()...)
	if err := f.Plant.Check(); err != nil {
		return nil, fmt.Errorf("what the record shows makes no plant: %w", err)
	}
	return f, nil
}

type learner struct {
	*Fit
	*Source
	result *analysis.Result
	like   *simulate.Run

	learned model.Model        // of the workload, what could be measured
	courses map[string]*course // by pod
	share   *shares            // of the answers
	end     int                // the second after the last of the load
	edges   []edge
	shifts  []shift
}

func (l *learner) add(p Parameter) { l.Measured = append(l.Measured, p) }

func (l *learner) missing(name, why string) { l.add(Parameter{Name: name, Missing: why}) }

// cluster takes the nodes as they were, and the flags where the record has them.
func (l *learner) cluster() {
	c := l.result.Cluster
	if c == nil {
		return
	}
	if c.Controllers == nil {
		l.missing("controlPlane", "the cluster does not show the HPA controller's flags")
	} else {
		l.Plant.Control.Controllers = *c.Controllers
	}
	var nodes []simulate.Node
	for _, n := range c.Nodes {
		if !n.Schedule {
			continue
		}
		free := n.Free
		if free == nil {
			free = corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(int64(n.CPU*1000), resource.DecimalSI), corev1.ResourceMemory: *resource.NewQuantity(n.Memory, resource.BinarySI)}
		}
		nodes = append(nodes, simulate.Node{Name: n.Name, CPU: n.CPU, Free: free})
	}
	if len(nodes) > 0 {
		l.Plant.Nodes, l.like.Plant.Nodes = nodes, nodes
	}
}

// control finds the sync period of which all times between two changes of the HPA's status
// are multiples, and by how much more each is: a sync begins a period after the end of the
// one before, which reads the scale and the metrics, and writes the status if it changes
// and the scale if it decides.
func (l *learner) control() {
	var changes []change
	var gaps []float64
	last, replicas := 0.0, int32(0)
	for _, e := range l.run.Entries {
		a := e.Autoscaler
		if a == nil || len(a.Status.CurrentMetrics) == 0 {
			continue
		}
		c := change{e.At.Seconds() - last, 1}
		if a.Status.DesiredReplicas != replicas {
			c.calls++
		}
		if last > 0 && c.after > 0.5 {
			changes, gaps = append(changes, c), append(gaps, c.after)
		}
		last, replicas = e.At.Seconds(), a.Status.DesiredReplicas
	}
	if len(changes) < 4 {
		l.missing("controlPlane.latency", "the HPA's status changed too seldom")
		return
	}
	if l.result.Cluster == nil || l.result.Cluster.Controllers == nil {
		if period, n := analysis.SyncPeriod(gaps); n > 0 {
			l.Plant.Control.Sync.Duration = seconds(period)
			l.add(Parameter{Name: "controlPlane.sync", Unit: "s", Value: period, Low: period, High: period, Samples: n})
		}
	}
	period := l.Plant.Control.Sync.Seconds()
	multiples, _ := analysis.Multiples(gaps, period)
	var fits []change
	for _, i := range multiples {
		fits = append(fits, changes[i])
	}
	if len(fits) < 4 {
		l.missing("controlPlane.latency", "the changes of the HPA's status are no whole periods apart")
		return
	}
	is, low, high := bootstrap(fits, func(c []change) []float64 {
		over, calls := 0.0, 0.0
		for _, c := range c {
			n := math.Round(c.after / period)
			over, calls = over+c.after-n*period, calls+c.calls+2*n
		}
		return []float64{max(0.001, over/calls)}
	})
	l.add(Parameter{Name: "controlPlane.latency", Unit: "s", Value: is[0], Low: low[0], High: high[0], Samples: len(fits)})
	l.Plant.Control.Latency = duration(is[0])
}

// change is one of the HPA's status: how long after the last, and the calls that wrote it.
type change struct{ after, calls float64 }

// stages takes each pod's as a case.
func (l *learner) stages() {
	var create, schedule, start, ready, beyond, inService, out, gone []float64
	between := func(list *[]float64, from, to *float64) {
		if from != nil && to != nil {
			*list = append(*list, max(0, *to-*from))
		}
	}
	written := l.written()
	last := 0 // of written, for which a pod was created
	ordered := l.like.StatefulSet != nil
	for _, p := range l.result.Pods {
		if p.Restarts > 0 {
			continue
		}
		if p.Created != nil {
			if i, _ := slices.BinarySearch(written, *p.Created); i > 0 && *p.Created-written[i-1] < 5 && !(ordered && i == last) {
				between(&create, &written[i-1], p.Created)
				last = i // of an ordered set the next waits for this pod
			}
		}
		between(&schedule, p.Created, p.Scheduled)
		between(&start, p.Scheduled, p.Started)
		if between(&ready, p.Started, p.Ready); p.Started != nil && p.Ready != nil {
			before := l.like.Modelled().Prepares()
			if p.Scheduled != nil {
				before = seconds(*p.Started - *p.Scheduled)
			}
			// Less the latest of the times at which it may have been probed: the simulation
			// draws one.
			beyond = append(beyond, *p.Ready-*p.Started-l.like.Modelled().ReadyAfter(before, model.Relist).Seconds())
		}
		between(&inService, p.Ready, p.InService)
		between(&out, p.Terminating, p.OutOfService)
		between(&gone, p.Terminating, p.Gone)
	}
	s := &l.Plant.Pods
	for _, stage := range []struct {
		name string
		of   *simulate.Cases
		is   []float64
	}{
		{"pods.create", &s.Create, create},
		{"pods.schedule", &s.Schedule, schedule},
		{"pods.start", &s.Start, start},
		{"pods.ready", &s.Ready, ready},
		{"pods.inService", &s.InService, inService},
		{"pods.outOfService", &s.OutOfService, out},
		{"pods.gone", &s.Gone, gone},
	} {
		if len(stage.is) == 0 {
			l.missing(stage.name, "no pod was seen to go through it")
			continue
		}
		slices.Sort(stage.is)
		l.add(Parameter{Name: stage.name, Unit: "s", Value: quantile(stage.is, 0.5), Low: quantile(stage.is, 0.05), High: quantile(stage.is, 0.95), Samples: len(stage.is)})
		if stage.of == &s.Ready {
			stage.is = beyond
		}
		*stage.of = nil
		for _, v := range thinned(stage.is) {
			*stage.of = append(*stage.of, metav1.Duration{Duration: max(0, seconds(v).Round(time.Millisecond))})
		}
	}
	// What the model says is in there, and the simulation adds it.
	for _, less := range []struct {
		of   simulate.Cases
		than time.Duration
	}{{s.Start, l.like.Modelled().Prepares()}, {s.Gone, l.like.Modelled().ServesOn()}} {
		for i := range less.of {
			less.of[i].Duration = max(0, less.of[i].Duration-less.than)
		}
	}
}

// thinned gives values evenly spread over a list, simulate.MaxCases at most.
func thinned(list []float64) []float64 {
	n := len(list)
	if n <= simulate.MaxCases {
		return list
	}
	few := make([]float64, simulate.MaxCases)
	for i := range few {
		few[i] = list[i*n/len(few)]
	}
	return few
}

// written are the instants at which spec.replicas rose.
func (l *learner) written() (at []float64) {
	last := int32(math.MaxInt32)
	for _, e := range l.run.Entries {
		if t := e.Target; t != nil {
			if t.Replicas > last {
				at = append(at, e.At.Seconds())
			}
			last = t.Replicas
		}
	}
	return at
}

// pipeline finds how often metrics-server asks, and whether what it gets is as old as
// its question: then the windows are as long as the time between two, else they are those
// between the kubelet's own looks.
func (l *learner) pipeline() {
	var spacing, windows, delays []float64
	header := l.run.Header()
	before := 0.0
	for _, e := range l.run.Entries {
		m := e.PodMetrics
		if m == nil {
			continue
		}
		if before > 0 && e.At.Seconds() > before {
			spacing = append(spacing, e.At.Seconds()-before)
		}
		before = e.At.Seconds()
		for _, s := range m.Samples {
			if s.New {
				windows = append(windows, s.Window)
				// A timestamp has whole seconds, and is read half a poll later on average.
				delays = append(delays, e.At.Seconds()-(s.Timestamp.Sub(header.Started).Seconds()+0.5)-header.MetricsEvery/2)
			}
		}
	}
	p := &l.Plant.Metrics
	if len(spacing) < 3 {
		l.missing("metrics.resolution", "too few samples")
		return
	}
	slices.Sort(spacing)
	every := quantile(spacing, 0.5)
	l.add(Parameter{Name: "metrics.resolution", Unit: "s", Value: every, Low: quantile(spacing, 0.05), High: quantile(spacing, 0.95), Samples: len(spacing)})
	p.Resolution.Duration = seconds(every).Round(time.Second)
	slices.Sort(windows)
	asked := 0 // windows that are as long as the time between two questions
	for _, w := range windows {
		if n := math.Round(w / every); n > 0 && math.Abs(w-n*every) < 0.15 {
			asked++
		}
	}
	if asked*10 > len(windows)*7 {
		p.Housekeeping.Duration = 0
		slices.Sort(delays)
		mean := 0.0
		for _, d := range delays {
			mean += d / float64(len(delays))
		}
		l.add(Parameter{Name: "metrics.housekeeping", Unit: "s", Samples: len(windows)})
		// What is cut off the timestamps and what the poll adds are the same all through a
		// run, whose samples are whole periods apart.
		half := 0.45 * (1 + header.MetricsEvery)
		if mean < -half || mean > every {
			l.missing("metrics.delay", "the clocks of the cluster and of hpabench differ")
			return
		}
		mean = max(0, mean)
		p.Delay.Duration = seconds(mean).Round(time.Millisecond)
		l.add(Parameter{Name: "metrics.delay", Unit: "s", Value: mean, Low: max(0, mean-half), High: mean + half, Samples: len(delays)})
		return
	}
	// Each window is one to two of them long, evenly, so that the least is hardly more; or
	// several together, where metrics-server asks more seldom, and then it is at most that.
	n := float64(len(windows))
	if n < 20 {
		l.missing("metrics.housekeeping", "too few samples of kubelets that sample on their own")
		return
	}
	is := windows[0]
	p.Housekeeping.Duration = seconds(is).Round(100 * time.Millisecond)
	low := is / (2 - math.Pow(0.05, 1/n))
	if is < 0.6*every {
		low = 0
	}
	l.add(Parameter{Name: "metrics.housekeeping", Unit: "s", Value: is, Low: low, High: is, Samples: len(windows)})
}

// window is what one sample of a pod says: cpu seconds, what they may be of, and the bytes
// at its end.
type window struct {
	pod                                        string
	cpu, requests, length, starts, memory, end float64
}

// workload regresses what the pods used on what they were asked: CPU time = cost ×
// requests + idle × length of the window + what a start takes, by least squares.
func (l *learner) workload() {
	rows := l.windows()
	asked := 0.0
	for _, r := range rows {
		asked += r.requests
	}
	m := &l.Plant.Workload
	if asked < 10 {
		l.missing("workload.cpu", "too few requests while the pods' metrics were read")
		return
	}
	samples := make([]sample, len(rows))
	for i, r := range rows {
		// Which pod a request goes to is chance, and so the error grows with their number.
		weight := 1 / math.Sqrt(1+r.requests)
		samples[i] = sample{[]float64{r.requests * weight, r.length * weight, r.starts * weight}, r.cpu * weight}
	}
	is, low, high := bootstrap(samples, leastSquares)
	n := len(rows)
	l.add(Parameter{Name: "workload.cpu", Unit: "s", Value: is[0], Low: low[0], High: high[0], Samples: n})
	l.add(Parameter{Name: "workload.idleCPU", Unit: "cores", Value: is[1], Low: low[1], High: high[1], Samples: n})
	l.add(Parameter{Name: "workload.startCPU", Unit: "s", Value: is[2], Low: low[2], High: high[2], Samples: n})
	l.costs(rows, is)
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
	k.CPU = &model.Cost{Mean: duration(is[0] * cost / (cost + connection)), Distribution: m.CPU.Distribution, Deviation: m.CPU.Deviation}
	if connection > 0 {
		k.ConnectionCPU = new(duration(is[0] * connection / (cost + connection)))
	}
	k.IdleCPU = resource.NewScaledQuantity(int64(is[1]*1e9), resource.Nano)
	k.StartCPU = new(duration(is[2]))

	l.memory(rows)
}

// holds are the times for which a request's memory may be held.
var holds = []float64{1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 60, 75, 90, 120, 180, 240, 300}

// memory is what there is at all times, and so much for each request that was answered
// within the last while, for which it is held: the one of holds that explains most of it.
// Where none explains half, requests take none.
func (l *learner) memory(rows []window) {
	rows = atRandom(rows, mostDrawn) // it is worked out for each of holds
	samples := func(held float64) []sample {
		is := make([]sample, len(rows))
		for i, r := range rows {
			is[i] = sample{[]float64{1, l.answered(r.pod, r.end) - l.answered(r.pod, r.end-held)}, r.memory}
		}
		return is
	}
	left := func(held float64) (sum float64) {
		of := samples(held)
		is := leastSquares(of)
		for _, s := range of {
			d := s.y - is[0] - is[1]*s.x[1]
			sum += d * d
		}
		return sum
	}
	all := left(0) // within no time there is none
	held, least := 0.0, all/2
	errors := make([]float64, len(holds))
	for i, h := range holds {
		if errors[i] = left(h); errors[i] < least {
			held, least = h, errors[i]
		}
	}
	is, low, high := bootstrap(samples(held), leastSquares)
	n, k := len(rows), &l.learned
	l.add(Parameter{Name: "workload.memory", Unit: "bytes", Value: is[0], Low: low[0], High: high[0], Samples: n})
	k.Memory, k.MemoryPerRequest = resource.NewQuantity(int64(is[0]), resource.BinarySI), resource.NewQuantity(int64(is[1]), resource.BinarySI)
	if held == 0 {
		l.missing("workload.memoryPerRequest", "the memory does not follow the requests")
		return
	}
	l.add(Parameter{Name: "workload.memoryPerRequest", Unit: "bytes", Value: is[1], Low: low[1], High: high[1], Samples: n})
	// The bounds are those that explain it nearly as well.
	bounds := Parameter{Name: "workload.memoryHeld", Unit: "s", Value: held, Low: held, High: held, Samples: n}
	for i, h := range holds {
		if errors[i] <= least+all/50 {
			bounds.Low, bounds.High = min(bounds.Low, h), max(bounds.High, h)
		}
	}
	l.add(bounds)
	k.MemoryHeld = &metav1.Duration{Duration: seconds(held)}
}

// costs is how the pods differ from is, what workload found for all.
func (l *learner) costs(rows []window, is []float64) {
	cpu, requests := map[string]float64{}, map[string]float64{}
	for _, r := range rows {
		cpu[r.pod] += r.cpu - is[1]*r.length - is[2]*r.starts
		requests[r.pod] += r.requests
	}
	var costs []float64
	for _, p := range l.result.Pods {
		cost := 0.0
		if n := requests[p.Name]; n >= 200 && cpu[p.Name] > 0 && is[0] > 0 {
			cost = cpu[p.Name] / n / is[0]
			costs = append(costs, cost)
		}
		l.Costs = append(l.Costs, cost)
	}
	if len(costs) == 0 {
		l.missing("costs", "no pod had 200 requests")
		return
	}
	sorted := slices.Sorted(slices.Values(costs))
	l.add(Parameter{Name: "costs", Value: quantile(sorted, 0.5), Low: quantile(sorted, 0.05), High: quantile(sorted, 0.95), Samples: len(costs)})
	for _, c := range thinned(costs) {
		l.Plant.Costs = append(l.Plant.Costs, math.Round(c*1000)/1000)
	}
}

func (l *learner) newConnections() bool {
	return slices.ContainsFunc(l.like.Phases, func(p record.Phase) bool { return p.Shape != record.ShapeIdle && !p.KeepAlive })
}

// windows are the samples of all pods, of the load's time.
func (l *learner) windows() (rows []window) {
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
			w := window{pod: s.Pod, end: end, length: s.Window, requests: l.answered(s.Pod, end) - l.answered(s.Pod, end-s.Window)}
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

// roundTrip is what answers took beside their time in the pod, in quiet seconds: by how much
// each part of them, from the fastest to the slowest, is above that of the time in the pod.
func (l *learner) roundTrip() {
	const cases = 200 // so that a slow hundredth is more than one of them
	l.like.Plant.Workload = l.learned.Over(l.like.Plant.Workload)
	var all record.Counts
	var inPod []weighted
	// Best are seconds in which requests hardly met each other.
	for _, load := range []float64{0.2, 0.5} {
		if all, inPod = l.quiet(load); all.Total() >= cases {
			break
		}
	}
	answers := all.Total()
	if answers < cases {
		l.missing("roundTrip", "too few answers in seconds without a queue")
		return
	}
	var took []weighted
	for _, c := range all {
		from, to := record.Fine.Range(c)
		took = append(took, weighted{float64(from+to) / 2e6, float64(c.N)})
	}
	slices.SortFunc(inPod, func(a, b weighted) int { return cmp.Compare(a.value, b.value) })
	trips, pod := parts(took, cases), parts(inPod, cases)
	for i := range trips {
		trips[i] = max(0, trips[i]-pod[i])
	}
	slices.Sort(trips)
	l.add(Parameter{Name: "roundTrip", Unit: "s", Value: quantile(trips, 0.5), Low: quantile(trips, 0.05), High: quantile(trips, 0.95), Samples: int(answers)})
	l.Plant.RoundTrip = nil
	for _, t := range trips {
		l.Plant.RoundTrip = append(l.Plant.RoundTrip, duration(t))
	}
}

// quiet are the answers of seconds in which the pods had no more than a load, as a share of
// what they can do, and some time after others; and their times in the pod.
func (l *learner) quiet(load float64) (all record.Counts, inPod []weighted) {
	const calm = 15 // seconds after which no line is left
	var tally record.Tally
	// The simulation has one list for all seconds that are alike: a long run has few others.
	alike := map[*model.Latencies]float64{} // answers for each time of a list
	var lists []*model.Latencies
	busy := -calm
	most := l.like.Modelled()
	costsIn := l.meanCosts()
	for i := range l.loads {
		s := &l.loads[i]
		second, phase := int(s.second), int(s.phase)
		if phase >= len(l.like.Phases) {
			continue
		}
		pods, costs := 0, 1.0
		if shift := l.in(second); shift >= 0 {
			pods, costs = l.shifts[shift].pods, costsIn[shift]
		}
		connects := !l.like.Phases[phase].KeepAlive
		rate := float64(max(s.answered, s.sent)) / float64(max(pods, 1))
		if pods == 0 || rate > load*most.MaxRate(connects, costs, most.MostCPU()) || rate*float64(pods)*most.Cost(connects)*costs > load*l.cores() {
			busy = second
		}
		text, kept := l.latencies[i]
		if !kept || s.answered < 1 || second < busy+calm {
			continue
		}
		latency, err := text.Counts(record.Fine)
		if err != nil {
			continue
		}
		tally.Add(latency)
		took := l.like.InPod(rate, pods, connects, costs)
		if _, had := alike[took]; !had {
			lists = append(lists, took)
		}
		alike[took] += float64(s.answered) / float64(len(took.Sorted))
	}
	for _, took := range lists {
		for _, t := range took.Sorted {
			inPod = append(inPod, weighted{t, alike[took]})
		}
	}
	return tally.Counts(), inPod
}

// meanCosts are the means of the costs of the pods in service, by shift.
func (l *learner) meanCosts() []float64 {
	on, means := serving{edges: l.edges}, make([]float64, len(l.shifts))
	for i, s := range l.shifts {
		serving := on.at(s.from)
		for _, p := range serving {
			if p < len(l.Costs) {
				means[i] += cmp.Or(l.Costs[p], 1) / float64(len(serving))
			}
		}
		means[i] = cmp.Or(means[i], 1)
	}
	return means
}

// cores are those of all nodes.
func (l *learner) cores() (all float64) {
	for _, n := range l.like.Plant.Nodes {
		all += n.CPU
	}
	return all
}

// weighted is a value that counts so much.
type weighted struct{ value, weight float64 }

// parts shares sorted values out among n parts of the same weight, and gives the mean of each.
func parts(sorted []weighted, n int) []float64 {
	all := 0.0
	for _, w := range sorted {
		all += w.weight
	}
	means, i, left := make([]float64, n), 0, all/float64(n)
	for _, w := range sorted {
		for w.weight > 0 && i < n {
			take := min(w.weight, left)
			means[i] += w.value * take / (all / float64(n))
			w.weight -= take
			if left -= take; left <= 1e-9*all/float64(n) {
				i, left = i+1, all/float64(n)
			}
		}
	}
	return means
}

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }

func duration(s float64) metav1.Duration {
	return metav1.Duration{Duration: seconds(s).Round(100 * time.Nanosecond)}
}

// quantile of sorted values, between neighbours by their distance.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (sorted[i+1]-sorted[i])*(at-float64(i))
}

// mostDrawn bounds the rows that bootstrap draws at a time: the samples of a day and ten pods.
const mostDrawn = 60_000

// atRandom draws rows without repetition, as many as most, and keeps their order: every nth row
// could be of the same pods.
func atRandom[T any](rows []T, most int) []T {
	if len(rows) <= most {
		return rows
	}
	at := rand.New(rand.NewPCG(1, 3)).Perm(len(rows))[:most]
	slices.Sort(at)
	some := make([]T, most)
	for i, n := range at {
		some[i] = rows[n]
	}
	return some
}

// bootstrap gives an estimate from all rows, and the bounds of nine of ten that are made
// from as many rows drawn at random with repetition (Efron 1979). Of very many it draws fewer,
// m of n, which are off by sqrt(n/m) times as much (Bickel, Götze and van Zwet 1997).
func bootstrap[T any](rows []T, estimate func([]T) []float64) (is, low, high []float64) {
	is = estimate(rows)
	random := rand.New(rand.NewPCG(1, 2))
	all := make([][]float64, len(is))
	drawn := make([]T, min(len(rows), mostDrawn))
	for range 200 {
		for i := range drawn {
			drawn[i] = rows[random.IntN(len(rows))]
		}
		for i, v := range estimate(drawn) {
			all[i] = append(all[i], v)
		}
	}
	scale := math.Sqrt(float64(len(drawn)) / float64(len(rows)))
	for i, a := range all {
		slices.Sort(a)
		bound := func(q float64) float64 { return (1-scale)*is[i] + scale*quantile(a, q) }
		low, high = append(low, bound(0.05)), append(high, bound(0.95))
	}
	return is, low, high
}

// sample is a measured y, and the x of which it is made.
type sample struct {
	x []float64
	y float64
}

// leastSquares gives the factors of the columns of x that come closest to y, none of them
// negative: one that would be is left out. A column without values has 0.
func leastSquares(of []sample) []float64 {
	columns := make([]int, len(of[0].x))
	for i := range columns {
		columns[i] = i
	}
	for {
		r := solve(of, columns)
		worst := slices.MinFunc(columns, func(a, b int) int { return cmp.Compare(r[a], r[b]) })
		if r[worst] >= 0 {
			return r
		}
		if columns = slices.DeleteFunc(columns, func(c int) bool { return c == worst }); len(columns) == 0 {
			return make([]float64, len(of[0].x))
		}
	}
}

// solve is leastSquares for some of the columns, negative factors and all.
func solve(of []sample, columns []int) []float64 {
	r := make([]float64, len(of[0].x))
	columns = slices.DeleteFunc(slices.Clone(columns), func(c int) bool {
		return !slices.ContainsFunc(of, func(s sample) bool { return s.x[c] != 0 })
	})
	if len(columns) == 0 || len(of) < len(columns) {
		return r
	}
	a, y := mat.NewDense(len(of), len(columns), nil), mat.NewVecDense(len(of), nil)
	for k, s := range of {
		for i, c := range columns {
			a.Set(k, i, s.x[c])
		}
		y.SetVec(k, s.y)
	}
	var qr mat.QR
	qr.Factorize(a)
	var factors mat.VecDense
	if err := qr.SolveVecTo(&factors, false, y); factors.IsEmpty() || errors.As(err, new(mat.Condition)) && math.IsInf(qr.Cond(), 1) {
		return r
	}
	for i, c := range columns {
		r[c] = factors.AtVec(i)
	}
	return r
}
