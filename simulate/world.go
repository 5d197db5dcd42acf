package simulate

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
	"sigs.k8s.io/metrics-server/pkg/storage"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/signals"
)

// namespace of what is simulated.
const namespace = "simulated"

// world is a plant under load. It has no goroutine of its own: the controller's calls
// let it catch up with the clock, so that what happens in it happens in one order.
type world struct {
	*Run
	began  time.Time     // when the clock stood at zero
	now    time.Duration // up to which all has happened
	agenda agenda
	random *rand.Rand
	store  cache.Indexer
	// setKind and set are the kind and the name of the object that owns the pods.
	setKind, set string

	spec, status int32 // of the scale
	generation   int64
	pods         []*pod // from their creation until they are gone
	born         int
	used         []int           // pods by node
	memoryLimit  float64         // of the first container, in bytes; 0 without one
	pulled       []time.Duration // when a node has the image, by node; 0: nobody asked for it
	serving      []*pod          // that get requests
	waiting      []*pod          // for room
	spare        []*request      // whose memory the next ones use
	modelled     model.Pod
	receiving    int   // of serving, those that get requests now; -1 where that is to be counted anew
	slices       []int // how many of serving are in each EndpointSlice

	traffic traffic
	trips   []float64                    // in seconds, that requests take beside the time in a pod
	trip    float64                      // the mean of them
	overs   map[*model.Latencies]float64 // of sojourns, the share beyond the SLO
	metrics storage.Storage
	score   Score
	onset   time.Duration // of the first phase; 0 before it is known
	// uncounted is since when the HPA counts none of the pods; 0 if it counts some.
	uncounted time.Duration
	atOnset   []func() // what begins anew then
	synced    func()   // is called with each sync, which writes a status only where that changes
	journal   *journal // nil if nobody wants a record

	manager string // who wrote the scale last
	scaler  *scaler
	front   front
	chain   chain
	others  []adapted // of pods that are not the target's
	outside map[string]*signals.Course
}

type pod struct {
	name    string
	uid     string // no other pod has it; that of a StatefulSet's next has the same name
	ordinal int32  // of a StatefulSet
	node    int    // -1 for none yet
	created time.Time
	life    life
	deleted bool
	slice   int         // of its endpoint, in service
	refused bool        // by the scheduler: there is no room
	object  *corev1.Pod // which is not changed, but replaced

	preparing     int  // its init containers before this one have ended or, of sidecars, run; -1 before the first
	started       bool // its containers
	runs          bool // they do now
	listens       bool // the first of them does
	startedAt     time.Duration
	readyAt       time.Duration // -1 before, and while it is not any more
	watched       [2]bool       // by a readiness and by a liveness probe that may fail
	restarts      int32         // of its first container
	waits         bool          // for the end of its back-off
	backOff       model.BackOff
	ended         corev1.ContainerStateTerminated  // the last time
	exit          *corev1.ContainerStateTerminated // after its deletion
	cpu           float64                          // seconds, of its first container
	answered      float64                          // requests
	recent        []answers                        // of them those whose memory may be held yet
	sampled       storage.MetricsPoint
	born          int     // which of all pods it is, from 1 on
	appointments  int     // that the kubelet made to sample it
	costs         float64 // relative to other pods, what a request does
	shows         adapted // of custom metrics
	random        *rand.Rand
	line          *line          // nil while the pod can serve all that it gets
	backlog       float64        // requests in the line
	calling       float64        // requests that call others
	connections   [][]connection // that it keeps to those, by Call
	rate, highest float64        // requests a second: that it gets, and that it can serve
	cores         float64        // that it can use
	workers       float64        // of a closed loop, that send to it
	recordWindow  time.Duration  // of the record, in which it is, by its end
	owed          float64        // of the requests of that window, in seconds in which it has all requests
}

// life is how long its stages take.
type life struct{ schedule, start, ready, inService, out, gone time.Duration }

type appointment struct {
	at  time.Duration
	seq int
	do  func()
}

// appointments is a heap; of two at the same time, the first that was made comes first.
type appointments []appointment

func (a appointments) Len() int { return len(a) }
func (a appointments) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].seq < a[j].seq
}
func (a appointments) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *appointments) Push(x any)   { *a = append(*a, x.(appointment)) }
func (a *appointments) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// agenda is what is to come.
type agenda struct {
	list appointments
	made int
}

func (a *agenda) add(at time.Duration, do func()) {
	a.made++
	heap.Push(&a.list, appointment{at, a.made, do})
}

// next is when something is to be done; model.Never if nothing is.
func (a *agenda) next() time.Duration {
	if len(a.list) == 0 {
		return model.Never
	}
	return a.list[0].at
}

// do does the next thing.
func (a *agenda) do() { heap.Pop(&a.list).(appointment).do() }

func newWorld(r *Run, j *journal) *world {
	w := &world{Run: r, began: time.Now(), store: NewStore(), journal: j, random: stream(r.Seed, 0), overs: map[*model.Latencies]float64{}, used: make([]int, len(r.Plant.Nodes)), pulled: make([]time.Duration, len(r.Plant.Nodes)), modelled: r.inAll(), receiving: -1}
	w.memoryLimit = model.Limit(w.modelled.Spec, w.modelled.First(), corev1.ResourceMemory).AsApproximateFloat64()
	if j != nil {
		j.busy = w.onTheWay
	}
	w.metrics = storage.NewStorage(r.Plant.Metrics.Resolution.Duration)
	w.setKind, w.set = w.owner()
	w.traffic.phase, w.traffic.over, w.traffic.rested = -1, make(chan struct{}), make(chan struct{})
	w.traffic.decided = make(chan struct{}, 1)
	w.trips = r.Plant.RoundTrip.seconds()
	w.trip = stat.Mean(w.trips, nil)
	w.spec, w.manager = r.Replicas, hpaController
	w.reconcile()
	every := r.Plant.Metrics.Resolution.Duration
	chance := w.random.Float64()
	first := time.Duration(chance * float64(every))
	switch s := r.Served; {
	case r.Scraped != nil:
		first = *r.Scraped + r.waits()
	case s != nil:
		first = s[0] + time.Duration(chance*float64(s[1]-s[0])) - r.Plant.Metrics.Delay.Duration
	}
	w.after(within(first, every), w.scrape)
	w.startChain()
	if w.KEDA != nil {
		w.startKEDA()
	}
	if w.Front != nil {
		w.scrapeFront()
		if w.Front.Shown && w.journal != nil {
			w.tellQueue(seconds(w.Header.MetricsEvery))
		}
	}
	w.adaptOthers()
	return w
}

// stream is a source of random numbers that depends on the seed and on what it is for,
// but not on what else happened: so that two settings are compared with the same chance.
func stream(seed uint64, what int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(what))) }

func (w *world) after(d time.Duration, do func()) {
	w.agenda.add(w.now+d, do)
}

// catchUp lets happen what is due by now.
func (w *world) catchUp() { w.advance(time.Since(w.began)) }

func (w *world) advance(to time.Duration) {
	for w.flow(to); w.agenda.next() <= w.now; w.flow(to) {
		w.agenda.do()
	}
}

// wall is the time of the cluster, in the whole seconds of its API.
func (w *world) wall() metav1.Time { return metav1.NewTime(w.began.Add(w.now).Truncate(time.Second)) }

// Replicas, SetReplicas, Pods and Usage are the world as a Workload.

func (w *world) Replicas() (spec, status int32) {
	w.catchUp()
	w.settle()
	w.synced()
	return w.spec, w.status
}

func (w *world) SetReplicas(n int32) {
	w.catchUp()
	w.scale(n, hpaController)
}

// scale is somebody's write of the scale.
func (w *world) scale(n int32, manager string) {
	w.manager = manager
	if n == w.spec {
		return
	}
	w.score.Decisions = append(w.score.Decisions, Decision{At: w.now, From: w.spec, To: n})
	from := w.spec
	w.spec = n
	w.generation++
	if w.traffic.resting {
		select {
		case w.traffic.decided <- struct{}{}:
		default:
		}
	}
	w.rests()
	w.tellTarget()
	w.after(w.Plant.Pods.Create.draw(w.random), func() {
		w.tellScaled(from, n)
		w.reconcile()
	})
}

func (w *world) Pods() cache.Indexer { return w.store }

func (w *world) Usage(name corev1.ResourceName, container string) metrics.PodMetricsInfo {
	w.catchUp()
	r := metrics.PodMetricsInfo{}
	for _, m := range w.served() {
		var sum int64
		found := container == ""
		for _, c := range m.Containers {
			if container != "" && c.Name != container {
				continue
			}
			q, has := c.Usage[name]
			if found = has; !has {
				break
			}
			sum += q.MilliValue()
		}
		if found {
			// As the API has it, in whole seconds.
			r[m.Name] = metrics.PodMetric{Timestamp: m.Timestamp.Truncate(time.Second), Window: m.Window.Duration, Value: sum}
		}
	}
	return r
}

// create makes a pod, of a StatefulSet that with an ordinal.
func (w *world) create(ordinal int32) {
	w.born++
	p := &pod{born: w.born, node: -1, created: w.wall().Time, preparing: -1, readyAt: -1, random: stream(w.Seed, w.born), ordinal: ordinal}
	p.uid = fmt.Sprintf("%s-%s", w.set, letters(p.random, 5))
	if p.name = p.uid; w.StatefulSet != nil {
		p.name = fmt.Sprintf("%s-%d", w.set, ordinal)
	}
	s := w.Plant.Pods
	p.life = life{schedule: s.Schedule.draw(p.random), start: s.Start.draw(p.random), ready: s.Ready.draw(p.random), inService: s.InService.draw(p.random), out: s.OutOfService.draw(p.random), gone: s.Gone.draw(p.random)}
	p.costs = w.Times()
	if n := len(w.Plant.Costs); n > 0 {
		p.costs *= w.Plant.Costs[p.random.IntN(n)]
	}
	if w.born <= len(w.Costs) && w.Costs[w.born-1] > 0 {
		p.costs = w.Costs[w.born-1] * w.Times()
	}
	w.pods = append(w.pods, p)
	w.show(p)
	w.tellEvent(w.setKind, w.set, corev1.EventTypeNormal, "SuccessfulCreate", w.message("create", "Created", p))
	w.after(p.life.schedule, func() { w.schedule(p) })
}

// letters are n of those that Kubernetes makes names of.
func letters(r *rand.Rand, n int) string {
	const safe = "bcdfghjklmnpqrstvwxz2456789"
	name := make([]byte, n)
	for i := range name {
		name[i] = safe[r.IntN(len(safe))]
	}
	return string(name)
}

func (w *world) schedule(p *pod) {
	if p.deleted {
		return
	}
	p.node = room(w.Plant.Nodes, w.used, w.requests())
	if p.refused = p.node < 0; p.refused {
		w.waiting = append(w.waiting, p)
		w.show(p)
		w.tellEvent("Pod", p.name, corev1.EventTypeWarning, "FailedScheduling", fmt.Sprintf("0/%d nodes are available for what the pod requests.", len(w.Plant.Nodes)))
		return
	}
	w.used[p.node]++
	w.show(p)
	w.tellEvent("Pod", p.name, corev1.EventTypeNormal, "Scheduled", fmt.Sprintf("Successfully assigned %s/%s to %s", namespace, p.name, w.Plant.Nodes[p.node].Name))
	pulled := time.Duration(0)
	if pull := w.Plant.Workload.Pull.Duration; pull > 0 {
		if w.pulled[p.node] == 0 {
			w.pulled[p.node] = w.now + pull
		}
		pulled = max(0, w.pulled[p.node]-w.now)
	}
	at := pulled
	for i := range w.Pod.InitContainers {
		if takes := w.modelled.Prepare(i); takes > 0 {
			w.after(at, func() {
				if !p.deleted {
					p.preparing = i
					w.show(p)
				}
			})
			at += takes
		}
	}
	w.after(at+p.life.start, func() { w.start(p) })
}

func (w *world) start(p *pod) {
	if p.deleted {
		return
	}
	m := &w.Plant.Workload
	p.started, p.runs, p.startedAt, p.waits, p.preparing = true, true, w.now, false, len(w.Pod.InitContainers)
	p.sampled = storage.MetricsPoint{}
	if w.Plant.Metrics.Housekeeping.Duration > 0 {
		w.sample(p)
	}
	if p.restarts == 0 {
		w.scraped(p)
	}
	listens := w.modelled.Listens()
	ready := w.modelled.ReadyAfter(w.modelled.Prepares()+p.life.start, time.Duration(p.random.Int64N(int64(model.Relist))), w.now%time.Second) + p.life.ready
	w.show(p)
	w.whileRuns(p, listens, func() {
		p.listens = true
		if len(w.front.held) > 0 {
			w.release()
		}
		p.cpu += m.StartCPU.Seconds()
		w.checkMemory(p)
	})
	w.whileRuns(p, ready, func() {
		if !p.deleted {
			w.ready(p)
		}
	})
	if f := m.Fault; f != nil && f.Crash != nil {
		w.whileRuns(p, f.Crash.Duration, func() { w.ends(p, "Error", 1, 0) })
	}
}

// delete ends a pod: it serves on through its preStop hook and Drain.
func (w *world) delete(p *pod) {
	p.deleted = true
	w.show(p)
	w.tellEvent(w.setKind, w.set, corev1.EventTypeNormal, "SuccessfulDelete", w.message("delete", "Deleted", p))
	w.waiting = slices.DeleteFunc(w.waiting, func(other *pod) bool { return other == p })
	if p.readyAt >= 0 {
		w.after(p.life.out, func() { w.leave(p) })
	}
	serves := time.Duration(0)
	if p.runs {
		serves = w.modelled.ServesOn()
	}
	w.after(serves, func() {
		w.leave(p)
		if p.exit = w.exit(p, serves); p.exit != nil {
			p.readyAt = -1
			w.show(p)
		}
		w.stop(p, *w.Plant.Workload.Graceful)
		w.after(p.life.gone, func() { w.gone(p) })
	})
}

// exit is how the containers of a pod that was deleted end, after they served on for a while; nil if none has run.
func (w *world) exit(p *pod, served time.Duration) *corev1.ContainerStateTerminated {
	e := corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: metav1.NewTime(w.began.Add(p.startedAt).Truncate(time.Second)), FinishedAt: w.wall()}
	switch {
	case p.runs && served == w.modelled.Grace():
		e.Reason, e.ExitCode = "Error", 137
	case p.runs:
	case p.ended.Reason != "":
		e = p.ended
	default:
		return nil
	}
	return &e
}

func (w *world) leave(p *pod) {
	w.traffic.disconnect(p)
	w.withdraw(p)
}

// enter puts p into service, in the first EndpointSlice that has room for it.
func (w *world) enter(p *pod) {
	if slices.Contains(w.serving, p) {
		return
	}
	if p.slice = slices.IndexFunc(w.slices, func(n int) bool { return n < sliceSize }); p.slice < 0 {
		p.slice, w.slices = len(w.slices), append(w.slices, 0)
	}
	w.slices[p.slice]++
	if w.serving, w.receiving = append(w.serving, p), -1; len(w.front.held) > 0 {
		w.release()
	}
	w.supplies()
	w.tellEndpoints(p.slice)
}

// withdraw takes p out of service.
func (w *world) withdraw(p *pod) {
	if i := slices.Index(w.serving, p); i >= 0 {
		w.slices[p.slice]--
		w.serving, w.receiving = slices.Delete(w.serving, i, i+1), -1
		w.supplies()
		w.tellEndpoints(p.slice)
	}
}

// counts says whether the HPA counts a pod from now on.
func (w *world) counts(any bool) {
	if w.uncounted > 0 && w.onset > 0 {
		until := w.now
		if w.score.Ended > 0 {
			until = min(until, seconds(w.score.Ended))
		}
		w.score.Uncounted += max(0, until-max(w.onset, w.uncounted)).Seconds()
	}
	if w.uncounted = 0; !any {
		w.uncounted = w.now
	}
}

// supplies puts the pods in service into the score.
func (w *world) supplies() {
	w.score.Supply = append(w.score.Supply, Supply{w.now, len(w.serving)})
}

// sliceSize is how many endpoints a slice has at most (--max-endpoints-per-slice of
// kube-controller-manager).
const sliceSize = 100

// stop ends the process; unless it is graceful, what it has is cut off.
func (w *world) stop(p *pod, graceful bool) {
	p.runs, p.listens = false, false
	w.cut(p, graceful)
}

func (w *world) gone(p *pod) {
	w.pods = slices.DeleteFunc(w.pods, func(other *pod) bool { return other == p })
	if err := w.store.Delete(p.object); err != nil {
		panic(err) // its key can always be made
	}
	w.tellObject(p, true)
	if p.node >= 0 {
		w.used[p.node]--
		retry := w.waiting
		w.waiting = nil
		for _, next := range retry {
			w.schedule(next)
		}
	}
	w.reconcileSoon()
}

// show makes p's object anew from its state, as the controller's informer has it.
func (w *world) show(p *pod) {
	o := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: p.name, UID: types.UID(p.uid), Labels: map[string]string{Label: "workload"}, CreationTimestamp: metav1.NewTime(p.created)},
		Spec:       w.Pod,
		Status:     corev1.PodStatus{Phase: corev1.PodPending},
	}
	before := corev1.PodStatus{}
	if p.object != nil {
		before, o.DeletionTimestamp = p.object.Status, p.object.DeletionTimestamp
	}
	if p.deleted && o.DeletionTimestamp == nil {
		o.DeletionTimestamp = new(w.wall())
	}
	condition := func(kind corev1.PodConditionType, is bool) {
		c := corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, LastTransitionTime: w.wall()}
		if is {
			c.Status = corev1.ConditionTrue
		}
		for _, old := range before.Conditions {
			if old.Type == kind && old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
			}
		}
		o.Status.Conditions = append(o.Status.Conditions, c)
	}
	state := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}
	if p.restarts > 0 || p.ended.Reason != "" {
		o.Status.Phase = corev1.PodRunning
	}
	switch {
	case p.waits:
		state.Waiting.Reason = "CrashLoopBackOff"
	case !p.started && p.ended.Reason != "":
		state = corev1.ContainerState{Terminated: new(p.ended)}
	}
	if p.started {
		state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(w.began.Add(p.startedAt).Truncate(time.Second))}}
		o.Status.Phase = corev1.PodRunning
	}
	if p.exit != nil {
		state = corev1.ContainerState{Terminated: p.exit}
	}
	switch {
	case p.node >= 0:
		o.Spec.NodeName = w.Plant.Nodes[p.node].Name
		if o.Status.StartTime = before.StartTime; o.Status.StartTime == nil {
			o.Status.StartTime = new(w.wall())
		}
		condition(corev1.PodScheduled, true)
		condition(corev1.PodInitialized, true)
		condition(corev1.ContainersReady, p.readyAt >= 0)
		condition(corev1.PodReady, p.readyAt >= 0)
		for i, c := range w.Pod.InitContainers {
			o.Status.InitContainerStatuses = append(o.Status.InitContainerStatuses, initStatus(before, i, c, p.preparing, w.wall()))
		}
		for i, c := range w.Pod.Containers {
			s := corev1.ContainerStatus{Name: c.Name, Image: c.Image, State: state, Ready: p.readyAt >= 0, Started: new(state.Running != nil)}
			if i == 0 && p.ended.Reason != "" {
				s.RestartCount, s.LastTerminationState.Terminated = p.restarts, new(p.ended)
			}
			o.Status.ContainerStatuses = append(o.Status.ContainerStatuses, s)
		}
	case p.refused:
		condition(corev1.PodScheduled, false)
		o.Status.Conditions[0].Reason = corev1.PodReasonUnschedulable
	}
	p.object = o
	if err := w.store.Add(o); err != nil {
		panic(err) // its key can always be made
	}
	w.tellObject(p, false)
}

// initStatus is what the pod's status says of its ith init container, after one that said before, when the
// preparing one runs.
func initStatus(before corev1.PodStatus, i int, c corev1.Container, preparing int, now metav1.Time) corev1.ContainerStatus {
	s := corev1.ContainerStatus{Name: c.Name, Image: c.Image, Ready: i < preparing}
	running := &corev1.ContainerStateRunning{StartedAt: now}
	if i < len(before.InitContainerStatuses) {
		running = cmp.Or(before.InitContainerStatuses[i].State.Running, running)
	}
	switch {
	case s.Ready && model.Sidecar(c):
		s.State.Running, s.Started = running, new(true)
	case s.Ready:
		s.State.Terminated = &corev1.ContainerStateTerminated{Reason: "Completed"}
	case i == preparing:
		s.State.Running = running
	default:
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "PodInitializing"}
	}
	return s
}
