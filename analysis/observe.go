package analysis

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/hpabench/hpabench/record"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
)

// WatchDelay is the precision of what a watch shows while it has no gap. An API
// server passes changes on in milliseconds; a tenth of a second leaves room for
// a busy one and for a busy machine on this side.
const WatchDelay = 100 * time.Millisecond

// afterGap is how long after the end of a gap a change still counts as seen
// because of it: a relist takes its time to be worked through.
const afterGap = time.Second

// at is something observed and when.
type at[T any] struct {
	t record.Instant
	v T
}

// last returns the latest of sorted that was observed at t or before.
func last[T any](sorted []at[T], t record.Instant) (v T, ok bool) {
	if i := after(sorted, t); i > 0 {
		return sorted[i-1].v, true
	}
	return v, false
}

// after is how many of sorted were observed at t or before: the place of the first after it.
func after[T any](sorted []at[T], t record.Instant) int {
	return sort.Search(len(sorted), func(i int) bool { return sorted[i].t > t })
}

// standsUntil is when the next one of sorted after the ith takes its place, end at the latest.
func standsUntil[T any](sorted []at[T], i int, end record.Instant) record.Instant {
	if i+1 < len(sorted) {
		return min(end, sorted[i+1].t)
	}
	return end
}

// between are those of sorted that were observed from a time to another, both included.
func between[T any](sorted []at[T], from, to record.Instant) []at[T] {
	return sorted[after(sorted, from-1):max(after(sorted, from-1), after(sorted, to))]
}

// sight is the instant at which something was seen, if it was, and by how much
// earlier it may have happened.
type sight struct {
	t    record.Instant
	blur time.Duration
	seen bool
}

func (s sight) moment(missing string) Moment {
	if !s.seen {
		return Moment{Missing: missing}
	}
	return Moment{AtSeconds: new(s.t.Seconds()), PrecisionSeconds: s.blur.Seconds()}
}

// span is a phase as it really was.
type span struct {
	index      int
	name       string
	plan       record.Phase
	start, end record.Instant
	ended      bool // there is an end mark; without one, end is that of the observations
}

// want is the recommendation of one of the HPA's statuses, if that tells it: as the metrics
// ask for, and between min and max.
type want struct {
	raw, n int32
	ok     bool
}

// counts is how many pods were in which state.
type counts struct{ pods, ready, inService, terminating int }

// usage is one reading of PodMetrics, or of another metric of the HPA, and what the HPA would make of all that was read by then.
type usage struct {
	reading    *readings
	ratio      *float64  // the largest of the HPA's metrics, relative to its target
	ratios     []float64 // of each of them, if there are several
	cpuPercent *float64  // of the requests
	counted    int       // pods that the HPA would count for its first metric

	from, to record.Instant // the mean window of the samples, by their timestamps

	// signal is the metric whose reading it is, which is not of metrics.k8s.io: of the pods it has what was read before. Empty of
	// a reading of the pods.
	signal string
}

// setRatios sets ratio and ratios.
func (u *usage) setRatios(ratios []float64) {
	u.ratio = new(slices.Max(ratios))
	if len(ratios) > 1 {
		u.ratios = ratios
	}
}

// ratioOf is the ratio of the HPA's ith metric.
func (u usage) ratioOf(i int) float64 {
	if i < len(u.ratios) {
		return u.ratios[i]
	}
	return *u.ratio
}

// observed is a record, sorted by subject.
type observed struct {
	header     *record.Header
	spans      []span
	start, end record.Instant
	endedBy    string // what came at end, for reasons: "the load phases ended"

	cluster *record.Cluster
	flags   flags
	subject *record.Subject
	checks  []record.Check
	notes   []string
	gaps    []record.Gap
	finish  *record.End

	loads   *loads
	hpas    []at[*record.Autoscaler]
	scaled  []at[*record.ScaledObject]
	targets []at[record.Target]
	events  []at[record.Event]
	usages  []at[usage]
	totals  []at[totals] // at each reading of the pods, and when one of them is gone
	signals []course
	queues  []at[*record.Queue]
	goods   []at[struct{}] // the first good answers after seconds without one
	counts  []at[counts]
	pods    []*pod // in the order in which they were first seen

	writes      []at[record.Change]    // by others
	replicaSets map[string][]at[int32] // wanted, by the name of the ReplicaSet

	serviceWatched bool
	ownersKnown    bool // of pods: the simulation does not record them

	entries []entry // by their instants

	// What is worked out of the above once, as it is asked for again and again.
	changes []replicaChange
	// managers are the field managers of the HPA controller: its program is the only one of some distributions (k3s) and
	// of the embedded cluster, under a name of its own.
	managers []string
	wants    []want           // of each of hpas
	recs     []recommendation // of each sync that may have recommended another number than the one before
	// decisions are those of the statuses that come with another number of replicas, and of the
	// last one before each edge of a phase and of all.
	decisions map[*record.Autoscaler]decision
	shortest  time.Duration
	byReason  map[[2]string][]at[record.Event] // events by kind of object and reason
	ofPods    map[[2]string][]at[record.Event] // those of pods, by reason and name
}

// observe follows the state of everything through the entries of b.
func observe(b *Builder) *observed {
	o := &observed{header: b.header, loads: b.loads, end: b.last, endedBy: "the record ended", flags: flags{Controllers: record.DefaultControllers()}, decisions: map[*record.Autoscaler]decision{}, replicaSets: map[string][]at[int32]{}}
	entries := b.entries
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.At, b.At) })
	for _, e := range entries { // a gap is written after what it casts doubt on
		if g := entryOf[record.Gap](e); g != nil {
			o.gaps = append(o.gaps, *g)
		} else if s := entryOf[record.Subject](e); s != nil {
			o.subject = s // which pods are the target's own depends on it
		} else if p := entryOf[record.Pod](e); p != nil {
			o.ownersKnown = o.ownersKnown || p.Owner != ""
		}
	}
	o.entries = entries
	o.markPhases(entries)
	tracker := tracker{o: o, byUID: map[string]*pod{}, named: map[string][]*pod{}, slices: map[string][]record.Endpoint{}, serving: map[string]int{}, samples: map[string]use{}, looks: looks{given: metrics.PodMetricsInfo{}}}
	for _, e := range entries {
		switch v := e.what.(type) {
		case *record.Check:
			o.checks = append(o.checks, *v)
		case *record.Cluster:
			if o.cluster = v; o.cluster.Controllers != nil {
				o.flags = flags{Controllers: *o.cluster.Controllers, known: true}
			}
		case *record.Autoscaler:
			if !v.Deleted {
				o.hpas = append(o.hpas, at[*record.Autoscaler]{e.At, v})
				tracker.looked(e.At)
			}
		case *record.ScaledObject:
			o.scaled = append(o.scaled, at[*record.ScaledObject]{e.At, v})
		case *record.Target:
			if !v.Deleted {
				o.targets = append(o.targets, at[record.Target]{e.At, *v})
				tracker.rescaled(e.At)
				if len(o.counts) == 0 && v.Replicas == 0 && v.Status == 0 { // of no pods no other entry tells
					tracker.counts(e.At)
				}
			}
		case *record.Change:
			if v.By != "hpabench-"+o.header.Run { // that of the run itself
				o.writes = append(o.writes, at[record.Change]{e.At, *v})
			}
		case *record.ReplicaSet:
			o.replicaSets[v.Name] = append(o.replicaSets[v.Name], at[int32]{e.At, v.Replicas})
		case *record.Pod:
			tracker.pod(e.At, *v)
		case *record.Endpoints:
			tracker.endpoints(e.At, *v)
		case *readings:
			tracker.metrics(e.At, v)
		case *record.Signal:
			o.course(e.At, v)
			tracker.signal(e.At, v)
		case *record.Queue:
			o.queues = append(o.queues, at[*record.Queue]{e.At, v})
		case *record.Event:
			o.events = append(o.events, at[record.Event]{e.At, *v})
		case *record.Answer:
			if v.Pod == "" {
				o.goods = append(o.goods, at[struct{}]{t: e.At})
			}
			tracker.answer(e.At, v.Pod)
		case *record.Note:
			o.notes = append(o.notes, v.Text)
		case *record.End:
			o.finish = v
		}
	}
	tracker.read(nil, o.end)
	if o.finish != nil && o.finish.Outcome != record.Completed && !o.allPhasesEnded() {
		o.endedBy = "the load was cut short"
	}
	o.changes = o.changesOf()
	o.managers = o.managersOf()
	o.estimateSync()
	o.chooseRecommendations()
	o.shortest = o.shortestSync()
	o.byReason, o.ofPods = map[[2]string][]at[record.Event]{}, map[[2]string][]at[record.Event]{}
	for _, e := range o.events {
		k := [2]string{e.v.Kind, e.v.Reason}
		o.byReason[k] = append(o.byReason[k], e)
		if e.v.Kind == "Pod" {
			k = [2]string{e.v.Reason, e.v.Name}
			o.ofPods[k] = append(o.ofPods[k], e)
		}
	}
	o.markPulled()
	o.markRollouts()
	o.markDeleted()
	return o
}

// markDeleted adds the deletions of records that have no changes: they were made
// before there were any.
func (o *observed) markDeleted() {
	for _, e := range o.entries {
		c := record.Change{What: record.ChangeDeleted}
		a, target := entryOf[record.Autoscaler](e), entryOf[record.Target](e)
		switch {
		case a != nil && a.Deleted:
			c.Kind, c.Name = "HorizontalPodAutoscaler", a.Name
		case target != nil && target.Deleted && o.subject != nil:
			c.Kind, c.Name = o.subject.Kind, o.subject.Name
		default:
			continue
		}
		if !slices.ContainsFunc(o.writes, func(w at[record.Change]) bool { return w.v.Kind == c.Kind && w.v.Name == c.Name && w.v.What == c.What }) {
			o.writes = append(o.writes, at[record.Change]{e.At, c})
		}
	}
}

// allPhasesEnded says whether every phase ran for as long as it was planned to.
func (o *observed) allPhasesEnded() bool {
	if len(o.spans) < len(o.header.Phases) {
		return false
	}
	for _, s := range o.spans {
		if !s.ended || s.end.Sub(s.start).Seconds() < s.plan.Seconds-WatchDelay.Seconds() {
			return false
		}
	}
	return true
}

// markPhases finds the phases' spans and what bounds the judged stretch. A run
// that was cut short inside a phase is judged up to its last observation, but
// not through the deletion of what it measured.
func (o *observed) markPhases(entries []entry) {
	for _, e := range entries {
		a, target := entryOf[record.Autoscaler](e), entryOf[record.Target](e)
		if a != nil && a.Deleted || target != nil && target.Deleted {
			o.end, o.endedBy = e.At, "the workload was deleted"
			break
		}
	}
	places := map[int]int{} // of the spans, by the index of their phase
	for _, e := range entries {
		m := entryOf[record.PhaseMark](e)
		if m == nil {
			continue
		}
		i, known := places[m.Index]
		switch {
		case m.Edge == "start" && !known:
			places[m.Index] = len(o.spans)
			s := span{index: m.Index, name: m.Name, start: e.At, end: max(o.end, e.At)}
			if m.Index >= 0 && m.Index < len(o.header.Phases) {
				s.plan = o.header.Phases[m.Index]
			}
			o.spans = append(o.spans, s)
		case m.Edge == "end" && known:
			o.spans[i].end, o.spans[i].ended = e.At, true
		}
	}
	if len(o.spans) == 0 {
		o.start = o.end // no phase began: there is no stretch to judge
		return
	}
	o.start = o.spans[0].start
	tail := o.spans[len(o.spans)-1]
	o.end = tail.end
	if tail.ended {
		o.endedBy = "the load phases ended"
	}
}

// covered returns the gap of source in which a change that was seen at t may
// have happened.
func (o *observed) covered(source string, t record.Instant) (record.Gap, bool) {
	for _, g := range o.gaps {
		if sourceOf(g) == source && g.From < t && t <= g.To.Add(afterGap) {
			return g, true
		}
	}
	return record.Gap{}, false
}

// see returns the sight of a change in source at t.
func (o *observed) see(source string, t record.Instant) sight {
	s := sight{t: t, blur: WatchDelay, seen: true}
	if isPolled(source) {
		s.blur = o.every()
	}
	if g, ok := o.covered(source, t); ok {
		s.blur = max(s.blur, t.Sub(g.From))
	}
	return s
}

// every is how often metrics are read.
func (o *observed) every() time.Duration {
	return time.Duration(o.header.MetricsEvery * float64(time.Second))
}

// Sources of observations, as a Gap names them. The target's can be any
// resource, so it is what is left.
const (
	podSource       = "pods"
	endpointsSource = "endpointslices"
	hpaSource       = "horizontalpodautoscalers"
	metricsSource   = "podmetrics"
	targetSource    = "target"
)

func sourceOf(g record.Gap) string {
	switch g.Source {
	case podSource, endpointsSource, hpaSource, "replicasets", "events", "services":
		return g.Source
	}
	if isPolled(g.Source) {
		return g.Source
	}
	return targetSource
}

// isPolled says whether a source is asked again and again, and not watched.
func isPolled(source string) bool {
	return source == metricsSource || source == record.QueueSource || strings.HasPrefix(source, record.SignalSource(""))
}

func (o *observed) autoscaler(t record.Instant) *record.Autoscaler {
	a, _ := last(o.hpas, t)
	return a
}

// want is the recommendation of the HPA's last status up to t.
func (o *observed) want(t record.Instant) (w want) {
	if i := after(o.hpas, t); i > 0 {
		w = o.wants[i-1]
	}
	return w
}

// supplyOf is the supply that c stands for: pods in service, or ready ones when
// no Service was watched.
func (o *observed) supplyOf(c counts) int {
	if o.serviceWatched {
		return c.inService
	}
	return c.ready
}

// tracker holds the state of the pods while observe goes through the entries. What an entry
// costs does not grow with the number of pods, but for a look at the metrics.
type tracker struct {
	o       *observed
	byUID   map[string]*pod
	named   map[string][]*pod // that are not gone
	slices  map[string][]record.Endpoint
	serving map[string]int // ready endpoints by the name of their pod
	samples map[string]use // the latest of each pod, by name
	alive   []*pod         // that are not gone, and some that are
	gone    int            // of alive
	changed record.Instant // the latest of any
	apis    []*corev1.Pod  // see pods; nil once one changed
	sum     counts

	looks looks
}

// use is what a sample tells of a pod.
type use struct {
	cpu    float64 // cores
	memory int64
}

// totals are that of all pods, and the share of their CPU requests.
type totals struct {
	use
	percent *float64
}

func (k *tracker) pod(t record.Instant, p record.Pod) {
	k.syncs(t)
	k.looks.changed = true
	is := k.byUID[p.UID]
	if is == nil {
		is = &pod{name: p.Name, uid: p.UID, use: k.samples[p.Name]}
		k.byUID[p.UID] = is
		k.o.pods, k.alive = append(k.o.pods, is), append(k.alive, is)
		k.named[p.Name] = append(k.named[p.Name], is)
		is.show(k.o, t, p, true)
		is.serve(k.o.see(endpointsSource, t), k.serving[p.Name] > 0)
	} else {
		is.show(k.o, t, p, false)
	}
	if is.changed <= t.Add(-lookDelay) {
		is.apiBefore = is.api
	}
	is.api, is.changed, k.changed, k.apis = api(&is.now), t, t, nil
	if p.Gone {
		is.serve(k.o.see(podSource, t), false)
		k.sampled(p.Name, use{}) // a StatefulSet's next pod has the same name
		delete(k.samples, p.Name)
	}
	if is.gone.seen && !is.buried {
		is.buried = true
		if u, sampled := last(k.o.totals, t); sampled {
			k.total(t, u.percent)
		}
		k.named[is.name] = slices.DeleteFunc(k.named[is.name], func(p *pod) bool { return p == is })
		if k.gone++; k.gone > len(k.alive)/2 {
			k.alive, k.gone = slices.DeleteFunc(k.alive, func(p *pod) bool {
				if p.buried && p.changed < t.Add(-lookDelay) {
					p.api, p.apiBefore = nil, nil
				}
				return p.buried && p.changed < t.Add(-lookDelay)
			}), 0
		}
	}
	k.count(is)
	k.counts(t)
}

func (k *tracker) sampled(name string, of use) {
	for _, p := range k.named[name] {
		p.use = of
	}
}

func (k *tracker) endpoints(t record.Instant, e record.Endpoints) {
	k.o.serviceWatched = true
	before := k.slices[e.Slice]
	now := e.Endpoints
	if e.Deleted {
		now = nil
	}
	k.slices[e.Slice] = now
	ready := func(list []record.Endpoint, change int) {
		for _, of := range list {
			if of.Ready {
				k.serving[of.Pod] += change
			}
		}
	}
	ready(now, 1)
	ready(before, -1)
	s := k.o.see(endpointsSource, t)
	for _, list := range [][]record.Endpoint{before, now} {
		for _, of := range list {
			for _, p := range k.named[of.Pod] {
				p.serve(s, k.serving[of.Pod] > 0)
				k.count(p)
			}
		}
	}
	k.counts(t)
}

func (k *tracker) answer(t record.Instant, name string) {
	for _, p := range k.named[name] {
		if !p.answered.seen {
			p.answered = sight{t: t, seen: true}
		}
	}
}

// count takes what p counts as now.
func (k *tracker) count(p *pod) {
	var c counts
	if !p.buried && !p.foreign {
		c.pods++
		switch {
		case p.now.Deleting != nil:
			c.terminating++
		case condition(p.now.Status, corev1.PodReady) != nil:
			c.ready++
		}
		if p.serving { // others behind the same Service are not the target's supply
			c.inService++
		}
	}
	k.sum.pods += c.pods - p.counts.pods
	k.sum.ready += c.ready - p.counts.ready
	k.sum.inService += c.inService - p.counts.inService
	k.sum.terminating += c.terminating - p.counts.terminating
	p.counts = c
}

func (k *tracker) counts(t record.Instant) {
	k.o.counts = append(k.o.counts, at[counts]{t, k.sum})
}

func (k *tracker) metrics(t record.Instant, m *readings) {
	for i := range m.samples {
		s := &m.samples[i]
		var of use
		for _, c := range m.containersOf(s) {
			of.cpu += c.CPU
			of.memory += c.Memory
		}
		name := m.pod(s)
		k.samples[name] = of
		k.sampled(name, of)
	}
	u := usage{reading: m}
	for i := range m.samples {
		s := &m.samples[i]
		end := k.o.instant(s.timestamp())
		u.to += end / record.Instant(len(m.samples))
		u.from += (end - record.Instant(s.Window*1e9)) / record.Instant(len(m.samples))
	}
	k.read(m, t)
	v := k.measure(&u, t)
	cpu := v.counted(corev1.ResourceCPU, "", k.o.flags)
	if u.counted = max(u.counted, cpu.pods); cpu.requested {
		u.cpuPercent = new(cpu.percent())
	}
	k.o.usages = append(k.o.usages, at[usage]{t, u})
	k.total(t, u.cpuPercent)
}

// total sums up the latest samples of the pods that are there. The share of their requests is absent where there are none.
func (k *tracker) total(t record.Instant, percent *float64) {
	var all totals
	for _, p := range k.alive {
		if !p.buried && !p.foreign && p.use != (use{}) {
			all.cpu, all.memory, all.percent = all.cpu+p.use.cpu, all.memory+p.use.memory, percent
		}
	}
	k.o.totals = append(k.o.totals, at[totals]{t, all})
}

// course is how the value of a metric went that is not of metrics.k8s.io: nil is of a reading without one.
type course struct {
	metric string
	values []at[*float64]
	said   []said // of each of values
}

// said is what an adapter said of a value: why there is none, and how old it was by its own time.
type said struct {
	error string
	age   time.Duration
}

// course adds a reading of such a metric: of its pods the mean.
func (o *observed) course(t record.Instant, s *record.Signal) {
	i := slices.IndexFunc(o.signals, func(c course) bool { return c.metric == s.Metric })
	if i < 0 {
		i = len(o.signals)
		o.signals = append(o.signals, course{metric: s.Metric})
	}
	var value *float64
	switch {
	case s.Value != nil:
		value = new(s.Value.AsApproximateFloat64())
	case len(s.Pods) > 0:
		value = new(0.0)
		for _, p := range s.Pods {
			*value += p.Value.AsApproximateFloat64() / float64(len(s.Pods))
		}
	}
	of := said{error: s.Error}
	if s.Timestamp != nil {
		of.age = o.header.Started.Add(time.Duration(t)).Sub(*s.Timestamp)
	}
	o.signals[i].values, o.signals[i].said = append(o.signals[i].values, at[*float64]{t, value}), append(o.signals[i].said, of)
}

// resultSignals are the metrics of the courses, with what the HPA is to hold them at.
func (o *observed) resultSignals() (list []Signal) {
	hpa := o.autoscaler(o.end)
	for _, c := range o.signals {
		s := Signal{Metric: c.metric, Name: c.metric, Of: OfAll} // of an HPA that has it no more
		for _, m := range hpa.Spec.Metrics {
			name, target := record.MetricTarget(m)
			if name != c.metric || record.CustomMetric(m) == "" {
				continue
			}
			s.Name = record.CustomMetric(m)
			goal, to := target.Value, &s.Target
			switch {
			case m.Pods != nil:
				s.Of, goal = OfPods, target.AverageValue
			case goal == nil:
				goal, to = target.AverageValue, &s.TargetPerPod
			}
			if goal != nil {
				*to = new(goal.AsApproximateFloat64())
			}
			if v, known := o.activation(c.metric, o.end); known && len(o.scaled) > 0 {
				s.Activation = &v
			}
		}
		list = append(list, s)
	}
	return list
}

// measure fills in the ratio of u by what was read last.
func (k *tracker) measure(u *usage, t record.Instant) *view {
	v := k.looks.view(k.pods(), k.looks.reading, k.o.header.Started.Add(time.Duration(t)))
	v.signals = k.looks.signals
	if n := len(k.o.targets); n > 0 {
		v.scaled = k.o.targets[n-1].v.Status
	}
	if hpa := k.o.autoscaler(t); hpa != nil {
		ratios, first, ok := v.ratios(hpa.Spec.Metrics, k.o.flags)
		if u.ratio, u.ratios = nil, nil; ok {
			u.setRatios(ratios)
		}
		u.counted = first.pods
	}
	return v
}

// usage takes a reading of a metric that is not of metrics.k8s.io.
func (k *tracker) usage(t record.Instant, s *record.Signal) {
	u, _ := last(k.o.usages, t)
	if u.reading, u.signal = new(readings), s.Metric; s.Timestamp != nil {
		u.to = k.o.instant(*s.Timestamp)
		u.from = u.to
	}
	k.measure(&u, t)
	k.o.usages = append(k.o.usages, at[usage]{t, u})
}

// rescaled takes other replicas of the scale's status: a value that is divided by them is another share of its target then,
// and hpabench records one that stays the same once in record.SignalEvery.
func (k *tracker) rescaled(t record.Instant) {
	if n := len(k.o.targets); k.looks.polled != nil && n > 1 && k.o.targets[n-1].v.Status != k.o.targets[n-2].v.Status {
		k.usage(t, k.looks.polled)
	}
}
