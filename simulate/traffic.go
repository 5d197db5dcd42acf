package simulate

import (
	"math"
	"slices"
	"sort"
	"time"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
)

// The load is a fluid: requests come at a rate, are served at a rate, and wait in line
// where the first is above the second. Its steps are as long as the rates stay as they
// are, and a second at most while they change.

// traffic is the load as it is now.
type traffic struct {
	phase    int           // -1 before and after the load
	ended    bool          // one phase at least
	over     chan struct{} // closed when all phases have ended
	rested   chan struct{} // closed when the HPA is at its min after that, for which
	resting  bool          // it waits
	decided  chan struct{} // gets each decision of that time
	started  time.Duration
	sent     float64               // in the phase
	thinking []thinkers            // of a closed loop, in the order of their times
	waiting  float64               // workers of a closed loop in waves that have sent and have no answer
	hits     func(float64) float64 // of a curve, by seconds of the phase

	// connections are of kept ones the pods at their other end, nil for one that has to
	// be opened again. The last ones are used first, as the load generator does.
	connections []*pod
	used        []time.Duration // when each was used last, behind a gateway
	left        idleConnections // of a gateway in an overload, once the step is over
	turn        *pod            // whose turn it was, by takeTurn
}

// thinkers are n workers of a closed loop that send next at a time.
type thinkers struct {
	until time.Duration
	n     float64
}

// onTheWay says whether requests of a phase are in a pod and waited for.
func (w *world) onTheWay(phase int) bool {
	waits := func(r *request) bool { return r.phase == phase && !r.gone }
	calls := func(c *calling) bool { return c.phase == phase && !c.gone && !c.ended }
	return slices.ContainsFunc(w.front.held, waits) || slices.ContainsFunc(w.chain.onTheWay, calls) || slices.ContainsFunc(w.pods, func(p *pod) bool {
		return p.line != nil && (p.line.arriving.n > 0 && p.line.arriving.phase == phase || slices.ContainsFunc(p.line.requests, waits))
	})
}

const (
	// step is as long as the seconds of a record. With 0.5 or 2 s the curves of steps, ramp, sine and memory are the same, and
	// the errors of an overload differ by 1.7 points at most, p99 of its answers by 11 %.
	step = time.Second
	// shortest is of steps that end with what a pod or a worker does. It is chosen: with half or twice as much 100 workers that
	// think for 1 s send within 0.1 % of the same.
	shortest = step / 20
	// least is how long a request takes at least, in seconds, so that a worker whose requests cost nothing sends a finite
	// number. It is below what any took in recorded-demo-nginx.jsonl of reports/testdata: 0.19 ms (hpabench fit).
	least = 1e-4
	// rounding is what is left of sums by rounding alone: a float64 has 16 digits, seven of which sums of some million
	// requests and steps may cost.
	rounding = 1e-9
)

// begin lets the first phase start at a time that is still to come.
func (w *world) begin(at time.Duration) {
	w.onset = at
	for _, p := range w.pods {
		if p.runs && len(w.Samples) > 0 && w.Plant.Metrics.Housekeeping.Duration > 0 {
			w.sampleNext(p, false)
		}
	}
	w.after(at-w.now, func() {
		of := w.HPA.ScaleTargetRef
		w.tell(record.Entry{Subject: &record.Subject{Namespace: namespace, APIVersion: of.APIVersion, Kind: of.Kind, Name: of.Name, Autoscaler: w.Name, ScaledObject: w.scaledObject()}})
	})
	w.after(at-w.now, func() {
		for _, do := range w.atOnset {
			do()
		}
		w.startPhase(0)
	})
	if w.MaxConnectionAge > 0 {
		w.renew()
	}
}

func (w *world) startPhase(i int) {
	p, t := &w.Phases[i], &w.traffic
	t.phase, t.started, t.sent, t.thinking, t.waiting, t.hits = i, w.now, 0, nil, 0, nil
	if p.Shape == record.ShapeCurve {
		t.hits = p.CurveHits()
	}
	w.tell(record.Entry{Phase: &record.PhaseMark{Index: i, Name: p.Name, Edge: "start"}})
	w.after(seconds(p.Seconds), func() { w.endPhase(i) })
}

// endPhase ends a phase that has not ended yet, and starts the next.
func (w *world) endPhase(i int) {
	if w.traffic.phase != i {
		return
	}
	w.traffic.phase, w.traffic.ended = -1, true
	w.tell(record.Entry{Phase: &record.PhaseMark{Index: i, Name: w.Phases[i].Name, Edge: "end"}})
	if i+1 < len(w.Phases) {
		w.startPhase(i + 1)
	} else {
		w.score.Ended = w.now.Seconds()
		close(w.traffic.over)
		w.traffic.resting = true
		w.rests()
	}
}

// rests ends the time after the load when the HPA is at its min.
func (w *world) rests() {
	if w.traffic.resting && w.spec <= w.Least() {
		w.traffic.resting = false
		close(w.traffic.rested)
	}
}

// renew closes the kept connections when they have reached their age.
func (w *world) renew() {
	w.after(w.MaxConnectionAge, func() {
		if w.Front == nil { // whose connections are others
			clear(w.traffic.connections)
		}
		w.renew()
	})
}

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }

// disconnect closes a pod's connections.
func (t *traffic) disconnect(p *pod) {
	for i, c := range t.connections {
		if c == p {
			t.connections[i] = nil
		}
	}
}

// flow lets the load flow until a time or the next appointment, which a step can make.
func (w *world) flow(to time.Duration) {
	for {
		next := min(to, w.agenda.next())
		if w.now >= next {
			return
		}
		if w.changes() {
			next = min(next, w.now.Truncate(step)+step)
		}
		t := &w.traffic
		t.thinking = slices.DeleteFunc(t.thinking, func(others thinkers) bool { return others.until <= w.now })
		if len(t.thinking) > 0 {
			next = min(next, t.thinking[0].until)
		}
		o := w.offer(next)
		if !w.changes() && slices.ContainsFunc(w.pods, func(p *pod) bool { return p.rate > p.highest*(1+rounding) }) { // requests will wait
			next = min(next, w.now.Truncate(step)+step)
			o = w.offer(next)
		}
		for earlier := min(o.until, w.full()); earlier < next; earlier = min(o.until, w.full()) {
			next = earlier
			o = w.offer(next)
		}
		w.step(next, o)
		w.now = next
		for _, p := range w.pods {
			w.checkMemory(p)
		}
		w.sentAll()
	}
}

// full is when the first pod can use all of its memory limit at the rate that it is offered, or at the highest where it
// has a backlog: nothing is answered after that. Steps are no shorter than a 20th of a second, in which an overload
// answers a few requests too many.
func (w *world) full() time.Duration {
	first, each := time.Duration(math.MaxInt64), w.Plant.Workload.MemoryPerRequest.AsApproximateFloat64()
	if w.memoryLimit == 0 || each == 0 {
		return first
	}
	for _, p := range w.pods {
		rate := p.rate
		if p.backlog > 0 && w.Plant.Workload.MemoryHeld != nil {
			rate = p.highest
		}
		if p.runs && rate > 0 {
			first = min(first, w.now+max(shortest, seconds(min(1e6, (w.memoryLimit-w.memory(p))/each/rate/w.Times()))))
		}
	}
	return first
}

// sentAll ends the phase of a closed loop whose workers have sent all of their requests.
func (w *world) sentAll() {
	if i := w.traffic.phase; i >= 0 && w.Phases[i].Requests > 0 && w.traffic.sent >= requestsOf(&w.Phases[i])*(1-rounding) {
		w.endPhase(i)
	}
}

// requestsOf is how many requests the workers of a closed loop send at most.
func requestsOf(p *record.Phase) float64 { return float64(p.Workers) * float64(p.Requests) }

// idle says whether no load is planned now.
func (w *world) idle() bool {
	if w.traffic.phase < 0 {
		return w.traffic.ended || w.Lead == 0
	}
	return w.Phases[w.traffic.phase].Shape == record.ShapeIdle
}

// changes says whether the rates are to be looked at again each second.
func (w *world) changes() bool {
	if w.journal != nil || w.Front != nil || w.calls() || len(w.Used) > 0 || w.memoryLimit > 0 && !w.Plant.Workload.MemoryPerRequest.IsZero() || w.traffic.phase >= 0 && !slices.Contains([]string{record.ShapeIdle, record.ShapeRate}, w.Phases[w.traffic.phase].Shape) {
		return true
	}
	return slices.ContainsFunc(w.pods, func(p *pod) bool { return p.backlog > 0 })
}

// connects says whether requests open a connection each.
func (w *world) connects() bool {
	return w.traffic.phase < 0 && w.Front == nil || w.traffic.phase >= 0 && !w.Keeps(&w.Phases[w.traffic.phase])
}

func (w *world) cost() float64 { return w.modelled.Cost(w.connects()) }

func (w *world) service() time.Duration { return w.modelled.ServiceTime(w.connects()) }

// base is how long a request takes when it waits for none.
func (w *world) base() float64 {
	all := w.modelled.ServiceTime(w.connects()) + model.OnThread(seconds(w.cost()*(w.Times()-1)), w.modelled.Limit())
	return all.Seconds() + w.chain.base + w.trip
}

// step is from now to then, through which the rates are those of its middle.
func (w *world) step(then time.Duration, o offered) {
	dt := (then - w.now).Seconds()
	if left := w.traffic.left; left.to != nil {
		w.traffic.connections, w.traffic.used = left.to, left.used
	}
	w.score.ReplicaSeconds += float64(len(w.pods)) * w.loaded(then)
	if w.traffic.ended && w.traffic.phase < 0 {
		w.score.RestSeconds += dt
		w.score.RestReplicaSeconds += float64(len(w.pods)) * dt
	}
	if n := o.rate * dt; n > 0 {
		w.traffic.sent += n
		if inWaves(w.planned()) {
			w.traffic.waiting += n
		}
		w.sent(n)
		w.front.came += n
		switch {
		case w.Front == nil:
			w.failed(w.traffic.phase, w.now, o.refused*dt, "connection refused")
		case w.Front.Queue:
			w.add(n, then)
		case o.refused > 0:
			w.hold(o.refused*dt, then)
		}
	}
	if w.Front != nil && w.Front.Queue {
		w.take(dt)
		return
	}
	for _, p := range w.pods {
		if p.rate == 0 && p.backlog == 0 {
			continue
		}
		if o.rate > 0 {
			p.owed -= dt * p.rate / o.rate
		}
		if !p.listens && w.Front != nil {
			w.hold(p.rate*dt, then)
			continue
		}
		if !p.listens { // refused: by its node, as nothing listens there
			w.failed(w.traffic.phase, w.now, p.rate*dt, "connection refused")
			continue
		}
		before := p.answered
		w.serve(p, dt)
		w.holds(p, answers{w.now, then, p.answered - before})
	}
	if w.Front != nil {
		w.expire(then)
	}
	w.flowOn(then)
	w.followCalls(then)
}

// answers are those that were given evenly from one time to another.
type answers struct {
	from, to time.Duration
	n        float64
}

// holds lets a pod hold the memory of answers for a while.
func (w *world) holds(p *pod, a answers) {
	if h := w.Plant.Workload.MemoryHeld; h != nil {
		p.recent = append(slices.DeleteFunc(p.recent, func(a answers) bool { return a.to < w.now-h.Duration }), a)
	}
}

// since is how many of them were given after a time.
func (a answers) since(t time.Duration) float64 {
	if a.from == a.to {
		if a.to > t {
			return a.n
		}
		return 0
	}
	return a.n * min(1, max(0, (a.to-t).Seconds()/(a.to-a.from).Seconds()))
}

// loaded is how much of the time from now to then is of the load's, in seconds.
func (w *world) loaded(then time.Duration) float64 {
	if w.traffic.phase < 0 {
		return 0
	}
	return (then - w.now).Seconds()
}

// offered are requests a second of all pods together, and those of them that no pod gets. They stay so until a time.
type offered struct {
	rate, refused float64
	until         time.Duration
}

// offer sets the rates that the pods get from now to then, and those that they can serve.
func (w *world) offer(then time.Duration) offered {
	dt := (then - w.now).Seconds()
	w.receiving, w.traffic.left = -1, idleConnections{}
	for _, p := range w.pods {
		p.rate, p.workers = 0, 0
	}
	o := offered{until: math.MaxInt64}
	switch p := w.planned(); {
	case p.Shape == record.ShapeWorkers:
		o = w.closed(p, dt)
	case p.Shape != record.ShapeIdle:
		o.rate, o.refused = w.open(p, dt)
	}
	if o.rate > 0 || slices.ContainsFunc(w.pods, func(p *pod) bool { return p.backlog > 0 }) {
		w.capacities(dt)
	}
	return o
}

// planned is the phase, or what is in its place before the first and after the last.
func (w *world) planned() *record.Phase {
	switch {
	case w.traffic.phase >= 0:
		return &w.Phases[w.traffic.phase]
	case w.idle():
		return &record.Phase{Shape: record.ShapeIdle}
	}
	return &record.Phase{Shape: record.ShapeRate, From: w.Lead}
}

// open sets the rates of a load that does not wait for answers.
func (w *world) open(p *record.Phase, dt float64) (rate, refused float64) {
	at := (w.now - w.traffic.started).Seconds()
	if w.traffic.hits != nil {
		rate = (w.traffic.hits(at+dt) - w.traffic.hits(at)) / dt
	} else if r := p.PlannedRate(at + dt/2); r != nil {
		rate = *r
	}
	if rate <= 0 || w.Front != nil && w.Front.Queue {
		return max(0, rate), 0
	}
	if !w.Keeps(p) || w.Even {
		if len(w.serving) == 0 {
			return rate, rate
		}
		w.spread(rate, dt)
		return rate, 0
	}
	if parts := w.recordedParts(rate * w.base()); parts != nil {
		for i, s := range w.serving {
			s.rate = rate * parts[i]
		}
		return rate, 0
	}
	if w.givesUp() && slices.ContainsFunc(w.pods, func(p *pod) bool { return p.line != nil }) {
		return rate, w.forward(rate, dt)
	}
	// As many connections are busy at a time as there are requests on the way.
	busy := rate * (w.base() - w.chain.base)
	for _, p := range w.pods {
		busy += p.backlog + p.calling
	}
	used := w.connect(busy, math.Floor(w.traffic.sent+rate*dt) > math.Floor(w.traffic.sent))
	for _, c := range used {
		if each := rate / float64(len(used)); c == nil {
			refused += each
		} else {
			c.rate += each
		}
	}
	return rate, refused
}

// spread sets the rates of pods that new connections reach at random. Where a pod has a line, or can get one by workers that
// send together, its length is chance, by which pods go out of service one after the other: the connections are drawn then.
func (w *world) spread(rate, dt float64) {
	rest := rate * dt
	drawn := rest >= 1 && !w.Even && (inWaves(w.planned()) || slices.ContainsFunc(w.serving, func(p *pod) bool { return p.line != nil }))
	if drawn {
		rest = math.Round(rest)
	}
	each := rate / rest
	for i, s := range w.serving {
		n := rest / float64(len(w.serving)-i)
		if drawn {
			n = distuv.Binomial{N: rest, P: 1 / float64(len(w.serving)-i), Src: w.random}.Rand()
		}
		s.rate, rest = each*n, rest-n
	}
}

// recordedParts are the parts of the requests on kept connections that go to the pods in service now,
// by the requests that these pods served in the record; nil where there are more pods than it had, and where none of
// them listens. Which connection is used next, and to which pod it is, is chance that decides what the pods use
// where they are not alike. Where one connection is enough for the requests at a time, one pod has them all.
func (w *world) recordedParts(inFlight float64) []float64 {
	parts, windowEnds, all := make([]float64, len(w.serving)), make([]time.Duration, len(w.serving)), 0.0
	idle, now := w.modelled.AtRest(), w.now-w.onset
	for i, p := range w.serving {
		if p.born > len(w.Used) {
			return nil
		}
		used := w.Used[p.born-1]
		n := sort.Search(len(used), func(n int) bool { return used[n].Until > now })
		if n == len(used) || !p.listens { // a connection that is refused is opened to another pod
			continue
		}
		parts[i], windowEnds[i] = max(0, used[n].CPU-idle)/p.costs, used[n].Until
		all += parts[i]
	}
	if all == 0 {
		return nil
	}
	floats.Scale(1/all, parts)
	if inFlight <= 1 {
		w.takeTurn(parts, windowEnds)
	}
	return parts
}

// takeTurn gives the next requests to one pod: of those that served more in the record's window, which ends
// at windowEnds, than they had here, the one that had them last, or that is owed most. Once none is owed any, each has its part.
func (w *world) takeTurn(parts []float64, windowEnds []time.Duration) {
	next := -1
	for i, p := range w.serving {
		if parts[i] == 0 {
			continue
		}
		if p.recordWindow != windowEnds[i] {
			p.recordWindow, p.owed = windowEnds[i], parts[i]*(windowEnds[i]+w.onset-w.now).Seconds()
		}
		if p.owed > 0 && (next < 0 || p == w.traffic.turn || w.serving[next] != w.traffic.turn && p.owed > w.serving[next].owed) {
			next = i
		}
	}
	if next >= 0 {
		clear(parts)
		parts[next], w.traffic.turn = 1, w.serving[next]
	}
}

// mostConnections are followed one by one. Where there are more, each stands for several.
const mostConnections = 10_000

// connect gives the connections that so many requests at a time use, each to a pod at random, or
// nil if there is none in service. Those of a gateway stay open for a while after a whole request comes by them.
func (w *world) connect(requests float64, whole bool) []*pod {
	t := &w.traffic
	n := int(math.Ceil(min(requests, mostConnections)))
	if n > len(t.connections) {
		t.connections = append(t.connections, make([]*pod, n-len(t.connections))...)
	}
	idle := len(t.connections) - n
	used := t.connections[idle:]
	if w.Front != nil { // a gateway closes those that are idle
		t.used = append(t.used, make([]time.Duration, len(t.connections)-len(t.used))...)
		for i, at := range t.used {
			if i >= idle && whole {
				t.used[i] = w.now
			} else if w.now-at >= model.IdleConnection {
				t.connections[i] = nil
			}
		}
	}
	open := w.serving // those that refuse a connection are left with the first request
	if refuses := func(p *pod) bool { return !p.listens }; slices.ContainsFunc(open, refuses) {
		if some := slices.DeleteFunc(slices.Clone(open), refuses); len(some) > 0 {
			open = some
		}
	}
	for i, c := range used {
		if (c == nil || !c.listens) && len(open) > 0 {
			used[i] = open[w.random.IntN(len(open))]
			if w.Front != nil {
				t.used[idle+i] = w.now
			}
		}
	}
	return used
}

// closed sets the rates of workers that send when they have their answer: each as often
// as an answer, or its time-out, and its thinking let it.
func (w *world) closed(p *record.Phase, dt float64) offered {
	o := offered{until: math.MaxInt64}
	workers := float64(p.Workers)
	if inWaves(p) { // those that think or wait send nothing
		workers -= w.traffic.waiting
		for _, t := range w.traffic.thinking {
			workers -= t.n
		}
		if p.Requests > 0 {
			workers = min(workers, requestsOf(p)-w.traffic.sent)
		}
	}
	if workers < rounding {
		return o
	}
	none := 0.0 // workers that find no pod, and try again at once
	parts := w.recordedParts(workers)
	switch {
	case p.KeepAlive && !w.Even && parts != nil:
		for i, s := range w.serving {
			s.workers = workers * parts[i]
		}
	case p.KeepAlive && !w.Even:
		used := w.connect(workers, true)
		for _, c := range used {
			if each := workers / float64(len(used)); c == nil {
				none += each
			} else {
				c.workers += each
			}
		}
	case len(w.serving) == 0:
		none = workers
	default:
		w.spread(workers/dt, dt)
		for _, s := range w.serving {
			s.workers = s.rate * dt
		}
	}
	if inWaves(p) { // the others send once, within a short time; where the pod cannot serve them in it, they wait in its line
		for _, s := range w.pods {
			s.rate = s.workers / dt
		}
		o.rate, o.refused, o.until = workers/dt, none/dt, w.now+shortest
		return o
	}
	o.refused = none / max(w.trip+p.Think, least)
	for _, s := range w.pods {
		s.rate = s.workers / max(w.base()+p.Think, least)
	}
	w.capacities(dt)
	o.rate = o.refused
	for _, s := range w.pods {
		if s.workers == 0 {
			continue
		}
		took := w.trip + s.backlog/s.highest + w.sojourns(s).Mean()
		s.rate = s.workers / max(min(took, w.Timeout.Seconds())+p.Think, least)
		if took < w.Timeout.Seconds() {
			s.rate = min(s.rate, s.highest)
		}
		o.rate += s.rate
	}
	if p.Requests > 0 {
		left := (requestsOf(p) - w.traffic.sent) / o.rate
		o.until = min(o.until, w.now+max(1, seconds(min(left, 1e6))))
	}
	return o
}

// inWaves says whether the workers of a closed loop think for so long that they still send together, as at the start.
func inWaves(p *record.Phase) bool {
	return p.Shape == record.ShapeWorkers && p.Think >= step.Seconds()
}

// thinks lets the workers of n requests of a phase think, which have their answers at a time.
func (w *world) thinks(phase int, at time.Duration, n float64) {
	p, t := w.planned(), &w.traffic
	if phase != t.phase || n <= 0 || !inWaves(p) {
		return
	}
	t.waiting -= n
	at += seconds(p.Think)
	i := sort.Search(len(t.thinking), func(i int) bool { return t.thinking[i].until > at })
	switch {
	case i > 0 && at-t.thinking[i-1].until < shortest:
		t.thinking[i-1].n += n
	case i < len(t.thinking) && t.thinking[i].until-at < shortest:
		t.thinking[i].n += n
	default:
		t.thinking = slices.Insert(t.thinking, i, thinkers{at, n})
	}
}

// capacities sets the cores and the highest rate of each pod: those of its CPU limit, of its
// threads, and of what the other pods leave of the node, of which each gets as much as any
// other that wants it.
func (w *world) capacities(dt float64) {
	cost, most := w.cost(), w.modelled.MostCPU()
	wants := make([][]float64, len(w.Plant.Nodes))
	for _, p := range w.pods {
		if p.node < 0 {
			continue
		}
		p.cores = min(w.Plant.Nodes[p.node].CPU, most)
		if want := min(p.cores, (p.rate+p.backlog/dt)*cost*p.costs); want > 0 {
			wants[p.node] = append(wants[p.node], want)
		}
	}
	shares := make([]float64, len(wants))
	for i, onNode := range wants {
		shares[i] = maxMinShare(onNode, w.Plant.Nodes[i].CPU)
	}
	for _, p := range w.pods {
		if p.node >= 0 {
			p.cores = min(p.cores, shares[p.node])
		}
		p.highest = w.modelled.MaxRate(w.connects(), p.costs, p.cores)
	}
}

// maxMinShare is the most that any of wants gets of a capacity by max-min fairness: infinite
// where all of them can be met. It sorts wants.
func maxMinShare(wants []float64, capacity float64) (share float64) {
	sum := 0.0
	for _, want := range wants {
		sum += want
	}
	if sum <= capacity {
		return math.Inf(1)
	}
	slices.Sort(wants)
	for i, want := range wants {
		if share = capacity / float64(len(wants)-i); want > share {
			break
		}
		capacity -= want
	}
	return share
}
