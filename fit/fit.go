// Package fit learns from the record of a real run how its workload, its cluster and its
// metrics behave: the plant that package simulate needs.
package fit

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
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
	// Reproduction is nil if the plant was written by hand, or not checked.
	Reproduction *Reproduction `json:"reproduction,omitempty"`
	// Costs are what a request costs in each pod of a run, relative to the Plant's, in the order
	// in which the pods came; 0 where that is not known.
	Costs []float64 `json:"-"`

	own    *simulate.Run // that of the record
	first  []startUp     // of the pods that the run began with
	supply []float64     // the pods in service in each second of its load
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
	Missing string  `json:"missing,omitempty"` // why the record does not tell it
	Assumed string  `json:"assumed,omitempty"` // what the plant has then
}

// less is p without a part that is something else's.
func (p Parameter) less(part float64) Parameter {
	for _, v := range []*float64{&p.Value, &p.Low, &p.High} {
		*v = max(0, *v-part)
	}
	return p
}

// Missing is why the record does not tell a parameter; empty if it does.
func (f *Fit) Missing(name string) string {
	for _, p := range f.Measured {
		if p.Name == name {
			return p.Missing
		}
	}
	return ""
}

// learn is Source.Learn.
func (l *learner) learn() (*Fit, error) {
	f := &Fit{Version: Version, From: fmt.Sprintf("run %s of scenario %s", l.result.Run, l.result.Scenario), Plant: l.base.Plant}
	l.Fit, f.supply = f, curve(l.result)
	l.requestsByPod()
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
	if doubt := l.result.Load.Doubts(); doubt != "" {
		f.Plant.Assumed = append(f.Plant.Assumed, "that the record shows the workload, though "+doubt+": what came late, in bursts or is not known is in the plant too. Run it again; where requests were late or never sent, with more CPU for the load generator.")
	}
	for i := range f.Measured {
		if p := &f.Measured[i]; p.Missing != "" {
			p.Assumed = l.assumed(p.Name)
		}
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
	base   *simulate.Run // that of the record, on a plant of which little has been measured

	learned   model.Model // of the workload, what could be measured
	windows   []usageSample
	stretch   int   // the seconds in each of the stretches
	stretches []int // by their first seconds
	sharing   sharing
	courses   map[string]*course // by pod
	sums      [kinds][]float64   // of requests before each second, for a weight of 1
	serving   []float64          // the pods in service in the middle of each second
	end       int                // the second after the last of the load
}

func (l *learner) add(p Parameter) { l.Measured = append(l.Measured, p) }

// addQuantiles adds a parameter that is the median of a list, which it sorts, with the bounds of nine of ten.
func (l *learner) addQuantiles(name, unit string, list []float64) (median float64) {
	p := quantiles(name, unit, list)
	l.add(p)
	return p.Value
}

// quantiles is the parameter of addQuantiles.
func quantiles(name, unit string, list []float64) Parameter {
	slices.Sort(list)
	return Parameter{Name: name, Unit: unit, Value: quantile(list, 0.5), Low: quantile(list, 0.05), High: quantile(list, 0.95), Samples: len(list)}
}

func (l *learner) missing(name, why string) { l.add(Parameter{Name: name, Missing: why}) }

// assumed is what the plant has of a parameter that the record does not tell; "" if nothing.
func (l *learner) assumed(name string) string {
	mean := func(c simulate.Cases) string { return (Parameter{Unit: "s"}).Show(meanOf(c)) }
	w, p := l.learned.Over(l.base.Plant.Workload), &l.Plant
	shown := map[string]func() string{
		"workload.cpu":              func() string { return w.CPU.Mean.Duration.String() },
		"workload.idleCPU":          func() string { return w.IdleCPU.String() },
		"workload.startCPU":         func() string { return w.StartCPU.Duration.String() },
		"workload.memoryPerRequest": func() string { return w.MemoryPerRequest.String() },
		"workload.workers":          func() string { return fmt.Sprintf("%d, and a wait of %s", *w.Workers, w.Wait.Mean.Duration) },
		"workload.queue":            func() string { return fmt.Sprint(*w.Queue) },
		"costs":                     func() string { return "all pods alike" },
		"controlPlane":              func() string { return "those of Kubernetes" },
		"controlPlane.latency":      func() string { return p.Control.Latency.Duration.String() },
		"metrics.resolution":        func() string { return p.Metrics.Resolution.Duration.String() },
		"metrics.housekeeping":      func() string { return p.Metrics.Housekeeping.Duration.String() },
		"metrics.delay":             func() string { return p.Metrics.Delay.Duration.String() },
		"roundTrip":                 func() string { return mean(p.RoundTrip) },
	}
	if show := shown[name]; show != nil {
		return show()
	}
	if stage := stageOf(&p.Pods, name); stage != nil {
		return mean(*stage)
	}
	return ""
}

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
		l.Plant.Nodes, l.base.Plant.Nodes = nodes, nodes
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
		if last > 0 && c.after > followUp {
			changes, gaps = append(changes, c), append(gaps, c.after)
		}
		last, replicas = e.At.Seconds(), a.Status.DesiredReplicas
	}
	if len(changes) < fewChanges {
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
	if len(fits) < fewChanges {
		l.missing("controlPlane.latency", "the changes of the HPA's status are no whole periods apart")
		return
	}
	is, low, high := bootstrap(fits, func(c []change) []float64 {
		over, calls := 0.0, 0.0
		for _, c := range c {
			n := math.Round(c.after / period)
			over, calls = over+c.after-n*period, calls+c.calls+2*n
		}
		return []float64{max(leastLatency, over/calls)}
	})
	l.add(Parameter{Name: "controlPlane.latency", Unit: "s", Value: is[0], Low: low[0], High: high[0], Samples: len(fits)})
	l.Plant.Control.Latency = duration(is[0])
}

const (
	// fewChanges is from how many changes on the bootstrap bounds a latency: of three, one draw in nine has
	// one of them three times, of four one in 64, which is less than the twentieth beyond a bound.
	fewChanges = 4
	// followUp is within how many seconds of a change the next is of the same sync: the shortest period is 5 s.
	followUp = 0.5
	// leastLatency is of a call, in seconds: none takes no time, and syncs of no length would fall together
	// with the ends of windows.
	leastLatency = 0.001
)

// change is one of the HPA's status: how long after the last, and the calls that wrote it.
type change struct{ after, calls float64 }

// longestCreate is within how many seconds of a decision a pod is taken to be made by it: before the next
// sync, which is 5 s later at least.
const longestCreate = 5

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
	ordered := l.base.StatefulSet != nil
	for _, p := range l.result.Pods {
		if p.Restarts > 0 {
			continue
		}
		if p.Created != nil {
			if i, _ := slices.BinarySearch(written, *p.Created); i > 0 && *p.Created-written[i-1] < longestCreate && (!ordered || i != last) {
				between(&create, &written[i-1], p.Created)
				last = i // of an ordered set the next waits for this pod
			}
		}
		if s, is := startUpOf(p); is {
			l.first = append(l.first, s)
		}
		between(&schedule, p.Created, p.Scheduled)
		between(&start, p.Scheduled, p.Started)
		if between(&ready, p.Started, p.Ready); p.Started != nil && p.Ready != nil {
			before := l.base.Modelled().Prepares()
			if p.Scheduled != nil {
				before = seconds(*p.Started - *p.Scheduled)
			}
			// Less the latest of the times at which it may have been probed: the simulation
			// draws one.
			beyond = append(beyond, *p.Ready-*p.Started-l.base.Modelled().ReadyAfter(before, model.Relist, 0).Seconds())
		}
		between(&inService, p.Ready, p.InService)
		between(&out, p.Terminating, p.OutOfService)
		between(&gone, p.Terminating, p.Gone)
	}
	s := &l.Plant.Pods
	for i, cases := range [][]float64{create, schedule, start, ready, inService, out, gone} {
		name := stageNames[i]
		if len(cases) == 0 {
			l.missing(name, "no pod was seen to go through it")
			continue
		}
		l.addQuantiles(name, "s", cases)
		stage := stageOf(s, name)
		if stage == &s.Ready {
			cases = beyond
		}
		*stage = casesOf(cases)
	}
	// What the model says is in there, and the simulation adds it.
	for _, less := range []struct {
		of   simulate.Cases
		than time.Duration
	}{{s.Start, l.base.Modelled().Prepares()}, {s.Gone, l.base.Modelled().ServesOn()}} {
		for i := range less.of {
			less.of[i].Duration = max(0, less.of[i].Duration-less.than)
		}
	}
}

// stageNames are the parameters of the stages, in the order of a pod's life.
var stageNames = []string{"pods.create", "pods.schedule", "pods.start", "pods.ready", "pods.inService", "pods.outOfService", "pods.gone"}

// stageOf is a stage by its parameter; nil if there is none.
func stageOf(s *simulate.Stages, name string) *simulate.Cases {
	i := slices.Index(stageNames, name)
	if i < 0 {
		return nil
	}
	return []*simulate.Cases{&s.Create, &s.Schedule, &s.Start, &s.Ready, &s.InService, &s.OutOfService, &s.Gone}[i]
}

func casesOf(list []float64) (cases simulate.Cases) {
	for _, v := range thinned(list) {
		cases = append(cases, metav1.Duration{Duration: max(0, seconds(v).Round(time.Millisecond))})
	}
	return cases
}

// startUp is how many seconds a pod took from Scheduled to Started, and on to Ready.
type startUp struct{ start, ready float64 }

// soonSeen is within how many seconds of its creation a pod is seen that hpabench made before its watch opened.
const soonSeen = 3

// startUpOf is that of a pod that was made just before the watch opened: by its own timestamps, in whole seconds, to which
// its first sight adds how long it was not ready yet.
func startUpOf(p analysis.Pod) (s startUp, is bool) {
	o := p.Object
	if !p.Before || p.Ready == nil || o.Ready == nil || o.Scheduled == nil || o.Ready.Sub(o.Created).Seconds()-(*p.Ready-p.FirstSeen) > soonSeen {
		return s, false
	}
	s.ready = *p.Ready - *cmp.Or(p.Started, &p.FirstSeen)
	s.start = max(0, o.Ready.Sub(*o.Scheduled).Seconds()-s.ready)
	return s, true
}

// Starts has f know how long a pod takes to start and to get ready by the pods that its run and others of the same workload
// began with, where f's record does not tell it of pods that came later. It is precise to a second.
func (f *Fit) Starts(others ...*Fit) {
	given := f.given()
	var start, ready, ran, beyond []float64
	for _, of := range slices.Concat(others, []*Fit{f}) {
		for _, s := range of.first {
			start, ready = append(start, s.start), append(ready, s.ready)
			pod := of.own.Modelled()
			ran = append(ran, s.start-pod.Prepares().Seconds())
			beyond = append(beyond, s.ready-pod.ReadyAfter(seconds(s.start), model.Relist, 0).Seconds())
		}
	}
	for name, of := range map[string]struct{ seen, cases []float64 }{"pods.start": {start, ran}, "pods.ready": {ready, beyond}} {
		i := slices.IndexFunc(f.Measured, func(p Parameter) bool { return p.Name == name && p.Missing != "" })
		if i < 0 || len(of.seen) == 0 {
			continue
		}
		f.Measured[i] = quantiles(name, "s", of.seen)
		*stageOf(&f.Plant.Pods, name) = casesOf(of.cases)
	}
	f.Plant.Assumed = append(given, f.unmeasured()...)
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

const (
	// fewSpacings is how many times between two questions make a median that one odd one does not move.
	fewSpacings = 3
	// asAsked is by how many seconds a window may differ from a multiple of the time between two questions,
	// if the kubelets sample when they are asked: a hundredth of 15 s, for what a question takes. Of a kubelet
	// that samples on its own, the windows are spread evenly over 10 s or more: 3 % are such by chance.
	asAsked = 0.15
	// central is which part of the width of an even distribution has nine of ten on each side of its middle;
	// of the sum of two it has more.
	central = 0.45
	// enoughWindows is after how many windows the shortest is at most 1 − 0.05^(1/20) = 14 % above the least
	// there is (at 95 %).
	enoughWindows = 20
	// oneInterval is from which part of the resolution on a window is taken for one interval of a kubelet:
	// two fit into less than a half, and those of cAdvisor have 10 of the 15 s.
	oneInterval = 0.6
)

// pipeline finds how often metrics-server asks, and whether what it gets is as old as
// its question: then the windows are as long as the time between two, else they are those
// between the kubelet's own looks.
func (l *learner) pipeline() {
	spacing, windows, delays := l.metricsTimes()
	if len(spacing) < fewSpacings {
		l.missing("metrics.resolution", "too few samples")
		return
	}
	every := l.addQuantiles("metrics.resolution", "s", spacing)
	l.Plant.Metrics.Resolution.Duration = seconds(every).Round(time.Second)
	asked := 0
	for _, w := range windows {
		if n := math.Round(w / every); n > 0 && math.Abs(w-n*every) < asAsked {
			asked++
		}
	}
	if asked*2 > len(windows) {
		l.Plant.Metrics.Housekeeping.Duration = 0
		l.add(Parameter{Name: "metrics.housekeeping", Unit: "s", Samples: len(windows)})
		l.metricsDelay(delays, every)
		return
	}
	l.housekeeping(windows, every)
}

// metricsTimes are the times between new samples, the windows of these, and how old they are when they
// are read.
func (l *learner) metricsTimes() (spacing, windows, ages []float64) {
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
				ages = append(ages, e.At.Seconds()-(s.Timestamp.Sub(header.Started).Seconds()+timestampGrain/2)-header.MetricsEvery/2)
			}
		}
	}
	return spacing, windows, ages
}

// metricsDelay is the mean age of samples that are taken when they are asked for. What is cut off the
// timestamps and what the poll adds are the same all through a run, whose samples are whole periods
// apart: each is even over the grain of the timestamps and over the time between two polls.
func (l *learner) metricsDelay(ages []float64, every float64) {
	mean, half := stat.Mean(ages, nil), central*(timestampGrain+l.run.Header().MetricsEvery)
	if mean < -half || mean > every {
		l.missing("metrics.delay", "the clocks of the cluster and of hpabench differ")
		return
	}
	low, high := max(0, mean-half), mean+half
	mean = max(0, mean)
	l.Plant.Metrics.Delay.Duration = seconds(mean).Round(time.Millisecond)
	l.add(Parameter{Name: "metrics.delay", Unit: "s", Value: mean, Low: low, High: high, Samples: len(ages)})
}

// housekeeping is the least interval h of kubelets that sample on their own. A window is even from h to 2h
// (cAdvisor), so that the shortest of n is above h(1+x) with probability (1−x)^n: h is the shortest m at
// most, and m/(2 − 0.05^(1/n)) at least (at 95 %). Where metrics-server asks more seldom a window is of
// several intervals, and there is no lower bound.
func (l *learner) housekeeping(windows []float64, every float64) {
	n := len(windows)
	if n < enoughWindows {
		l.missing("metrics.housekeeping", "too few samples of kubelets that sample on their own")
		return
	}
	shortest, low := slices.Min(windows), 0.0
	if shortest >= oneInterval*every {
		low = shortest / (2 - math.Pow(0.05, 1/float64(n)))
	}
	l.Plant.Metrics.Housekeeping.Duration = seconds(shortest).Round(100 * time.Millisecond)
	l.add(Parameter{Name: "metrics.housekeeping", Unit: "s", Value: shortest, Low: low, High: shortest, Samples: n})
}

const (
	// tripCases are the round trips of a plant: so that a slow hundredth is more than one of them.
	tripCases = 200
	// calm is after how many seconds below a load no line is left of one that was above it: at a half, a
	// line of 7 s of work is worked off in that time.
	calm = 15
)

// quietLoads are the shares of what pods can do up to which a second is quiet: requests hardly meet each
// other at a fifth (in M/D/1 they wait for 1/8 of their service time), and for half of it at a half.
var quietLoads = []float64{0.2, 0.5}

// roundTrip is what answers took beside their time in the pod, in quiet seconds: by how much
// each part of them, from the fastest to the slowest, is above that of the time in the pod.
func (l *learner) roundTrip() {
	if l.base.Calls() > 0 {
		l.missing("roundTrip", "the pods' requests to others take part of the latencies")
		return
	}
	l.base.Plant.Workload = l.learned.Over(l.base.Plant.Workload)
	var all record.Counts
	var inPod []weighted
	for _, load := range quietLoads {
		if all, inPod = l.quiet(load); all.Total() >= tripCases {
			break
		}
	}
	answers := all.Total()
	if answers < tripCases {
		l.missing("roundTrip", "too few answers in seconds without a queue")
		return
	}
	var took []weighted
	for _, c := range all {
		from, to := record.Fine.Range(c)
		took = append(took, weighted{float64(from+to) / 2e6, float64(c.N)})
	}
	slices.SortFunc(inPod, func(a, b weighted) int { return cmp.Compare(a.value, b.value) })
	trips, pod := parts(took, tripCases), parts(inPod, tripCases)
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
	var tally record.Tally
	// The simulation has one list for all seconds that are alike: a long run has few others.
	alike := map[*model.Latencies]float64{} // answers for each time of a list
	var lists []*model.Latencies
	busy := -calm
	most := l.base.Modelled()
	meanCosts := l.meanCosts()
	for i := range l.loads {
		s := &l.loads[i]
		second, phase := int(s.second), int(s.phase)
		if phase >= len(l.base.Phases) {
			continue
		}
		pods, costs := l.pods(second), 1.0
		if pods > 0 {
			costs = meanCosts[second]
		}
		if l.sharing == uneven { // one may have them all
			pods = min(pods, 1)
		}
		connects := !l.base.Phases[phase].KeepAlive && l.base.Front == nil
		rate := float64(max(s.answered, s.sent)) / max(pods, 1)
		inAll := costs * l.base.Times()
		if pods == 0 || rate > load*most.MaxRate(connects, inAll, most.MostCPU()) || rate*pods*most.Cost(connects)*inAll > load*l.cores() {
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
		took := l.base.InPod(rate, int(pods), connects, costs)
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

// meanCosts are the means of the costs of the pods in service, by second.
func (l *learner) meanCosts() []float64 {
	means := make([]float64, len(l.serving))
	for i := range l.result.Pods {
		if from, to, ok := l.served(i); ok && i < len(l.Costs) {
			addDuring(means, from, to, cmp.Or(l.Costs[i], 1))
		}
	}
	floats.CumSum(means, means)
	for second, sum := range means {
		means[second] = 1
		if len(l.Costs) > 0 && l.serving[second] > 0 {
			means[second] = sum / l.serving[second]
		}
	}
	return means
}

// cores are those of all nodes.
func (l *learner) cores() (all float64) {
	for _, n := range l.base.Plant.Nodes {
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
			if left -= take; left <= rounding*all/float64(n) {
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
