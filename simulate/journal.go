package simulate

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
)

// journal makes the record of a run, as the runner and its watches would have, and gives its
// entries in the order of their instants while the run goes on. A nil one takes down nothing.
type journal struct {
	began  time.Time
	random *rand.Rand
	phases []totals
	give   func(record.Entry)
	keep   time.Duration // how long entries wait, as what comes later may change or precede them
	given  time.Duration // up to when they were given
	busy   func(phase int) bool

	mu      sync.Mutex
	entries []record.Entry     // that are not given yet
	loads   map[[2]int]*second // by phase and second, alike
	seen    map[string]time.Time
	signals map[string]record.Signal // the latest
}

// totals of a phase, of which the seconds have the whole numbers.
type totals struct {
	sent, done, errors                float64 // errors are of the answers that are done
	sentSoFar, doneSoFar, errorsSoFar uint64
	last                              [2]int
}

type second struct {
	record.LoadSecond
	latency record.Counts
	merged  int // how many counts there were once they were merged
}

// mostUnmerged is from how many on the counts of a second are merged: many pods have few of their own.
const mostUnmerged = 1024

// settleAfter is how long after an instant and a time-out a second of the load is taken to be as it will be. A
// request that waits for longer is taken down before its pod comes to it. It is chosen: of spike and of two overloads the
// figures are the same with 10 s.
const settleAfter = 2 * time.Minute

func newJournal(r *Run, give func(record.Entry)) *journal {
	j := &journal{began: time.Now(), random: stream(r.Seed, -1), phases: make([]totals, len(r.Phases)), loads: map[[2]int]*second{}, seen: map[string]time.Time{}, signals: map[string]record.Signal{},
		give: give, keep: r.Timeout + settleAfter}
	h := *r.Header
	h.Format, h.Started, h.Phases = record.Format, j.began, r.Phases
	j.add(0, record.Entry{Header: &h})
	c := &record.Cluster{Version: controllerVersion(), Lab: r.Plant.lab(), Controllers: &r.Plant.Control.Controllers, Assumed: r.Assumed()}
	for _, n := range r.Plant.Nodes {
		c.Nodes = append(c.Nodes, record.Node{Name: n.Name, CPU: n.CPU, Memory: n.Free.Memory().Value(), Schedule: true, Free: n.Free})
	}
	j.add(0, record.Entry{Cluster: c})
	return j
}

// controllerVersion is the version of Kubernetes whose controller this is.
func controllerVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "k8s.io/kubernetes" {
				return d.Version
			}
		}
	}
	return "unknown"
}

func (j *journal) add(at time.Duration, e record.Entry) {
	e.At = record.Instant(at.Round(time.Microsecond))
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, e)
}

// settle gives the entries that are old enough, at a time up to which all has happened: none
// before the load.
func (w *world) settle() {
	j := w.journal
	if j == nil || w.traffic.phase < 0 && !w.traffic.ended || w.now < j.given+j.keep+settleAfter {
		return
	}
	j.flush(w.now - j.keep)
}

// flush gives the entries before a time.
func (j *journal) flush(to time.Duration) {
	j.given = to
	var keys [][2]int
	for k := range j.loads {
		if loadAt(k) < record.Instant(to) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b [2]int) int { return cmp.Or(a[1]-b[1], a[0]-b[0]) })
	j.mu.Lock()
	defer j.mu.Unlock()
	slices.SortStableFunc(j.entries, func(a, b record.Entry) int { return cmp.Compare(a.At, b.At) })
	n := 0
	for ; n < len(j.entries) && j.entries[n].At < record.Instant(to); n++ {
		for ; len(keys) > 0 && loadAt(keys[0]) < j.entries[n].At; keys = keys[1:] {
			j.giveLoad(keys[0])
		}
		j.give(j.entries[n])
	}
	for _, k := range keys {
		j.giveLoad(k)
	}
	j.entries = slices.Delete(j.entries, 0, n)
}

// loadAt is when a second of the load was taken down.
func loadAt(k [2]int) record.Instant {
	return record.Instant(time.Duration(k[1]+1)*time.Second + 2*time.Millisecond)
}

func (j *journal) giveLoad(k [2]int) {
	l := j.loads[k]
	delete(j.loads, k)
	if t := &j.phases[k[0]]; t.last == k && !j.busy(k[0]) {
		t.even(&l.LoadSecond)
	}
	l.Latency = l.latency.Merge().Encode(record.Fine)
	j.give(record.Entry{At: loadAt(k), Load: &l.LoadSecond})
}

// even makes of a phase that has no request on the way as many requests sent as done, of
// which there are one more or less by rounding.
func (t *totals) even(l *record.LoadSecond) {
	switch more, less := t.doneSoFar-t.sentSoFar, t.sentSoFar-t.doneSoFar; {
	case t.doneSoFar >= t.sentSoFar:
		l.Sent += more
		l.Offered += more
	case l.Sent >= less:
		l.Sent -= less
		l.Offered -= less
	default: // of a second line of the second
		l.Aborted += less
	}
	t.sentSoFar = t.doneSoFar
}

// close gives all entries that there are yet, when no request is on the way any more.
func (j *journal) close(at time.Duration) {
	if j == nil {
		return
	}
	j.busy = func(int) bool { return false }
	for i, t := range j.phases {
		if t.sentSoFar != t.doneSoFar && (t.last != [2]int{} || j.loads[t.last] != nil) {
			j.load(i, time.Duration(t.last[1])*time.Second)
		}
	}
	var end [2]int
	for k := range j.loads {
		if k[1] > end[1] || k[1] == end[1] && k[0] > end[0] {
			end = k
		}
	}
	if l := j.loads[end]; l != nil && l.Sent+l.Answered+l.Failed == 0 {
		delete(j.loads, end) // the load ended within it
	} else if l != nil {
		at = max(at, time.Duration(loadAt(end)))
	}
	for _, e := range j.entries {
		at = max(at, time.Duration(e.At))
	}
	j.flush(math.MaxInt64)
	j.give(record.Entry{At: record.Instant(at), End: &record.End{Outcome: record.Completed}})
}

// load is the second of a phase in which at is.
func (j *journal) load(phase int, at time.Duration) *second {
	k := [2]int{phase, int(at / time.Second)}
	l := j.loads[k]
	if l == nil {
		l = &second{LoadSecond: record.LoadSecond{Phase: phase, Second: k[1]}}
		j.loads[k] = l
	}
	return l
}

func (j *journal) sent(phase int, at time.Duration, n float64) {
	if j == nil {
		return
	}
	t := &j.phases[phase]
	t.sent += n
	whole := uint64(math.Round(t.sent)) - t.sentSoFar
	t.sentSoFar += whole
	l := j.load(phase, at)
	l.Offered += whole
	l.Sent += whole
	t.last = [2]int{phase, l.Second}
}

// done is how many whole requests of a phase n more make.
func (j *journal) done(phase int, n float64) uint64 {
	t := &j.phases[phase]
	t.done += n
	whole := uint64(math.Round(t.done)) - t.doneSoFar
	t.doneSoFar += whole
	return whole
}

// errors is how many of so many whole answers of a phase are errors, where n are on average.
func (j *journal) errors(phase int, n float64, of uint64) uint64 {
	t := &j.phases[phase]
	t.errors += n
	whole := min(uint64(math.Round(t.errors))-t.errorsSoFar, of)
	t.errorsSoFar += whole
	return whole
}

func (j *journal) failed(phase int, at time.Duration, n float64, cause string) {
	if j == nil {
		return
	}
	if whole := j.done(phase, n); whole > 0 {
		l := j.load(phase, at)
		l.Failed += whole
		if l.Errors == nil {
			l.Errors = map[string]uint64{}
		}
		l.Errors[cause] += whole
	}
}

// points are how many latencies stand for those of one pod in one second, evenly spread over their distribution. With 16 or
// 64 of them the medians of phases of 36,000 to 84,000 requests are 2 % off at most, and p99 the same.
const points = 32

// answered takes down n answers with a status code, that took as long as the first share of the latencies
// says, and one of the trips on top.
func (j *journal) answered(phase int, at time.Duration, code string, n float64, took *model.Latencies, share float64, trips []float64) {
	j.answeredBut(0, phase, at, code, "", n, took, share, trips)
}

// answeredBut is answered, where a share of the answers are errors with a code of their own.
func (j *journal) answeredBut(errors float64, phase int, at time.Duration, code, failure string, n float64, took *model.Latencies, share float64, trips []float64) {
	if j == nil || n == 0 {
		return
	}
	whole := j.done(phase, n)
	bad := j.errors(phase, n*errors, whole)
	j.count(phase, at, code, whole-bad, took, share, trips)
	j.count(phase, at, failure, bad, took, share, trips)
}

// count takes down whole answers.
func (j *journal) count(phase int, at time.Duration, code string, whole uint64, took *model.Latencies, share float64, trips []float64) {
	if whole == 0 {
		return
	}
	l := j.load(phase, at)
	l.Answered += whole
	if l.Codes == nil {
		l.Codes = map[string]uint64{}
	}
	l.Codes[code] += whole
	parts := min(whole, points)
	for i := range parts {
		seconds := trips[j.random.IntN(len(trips))] + took.Quantile(share*(float64(i)+j.random.Float64())/float64(parts))
		micro := min(max(int64(math.Round(seconds*1e6)), 1), record.MaxLatency.Microseconds())
		l.latency = l.latency.Record(record.Fine, micro, (i+1)*whole/parts-i*whole/parts)
	}
	if len(l.latency) > max(mostUnmerged, 2*l.merged) {
		l.latency = l.latency.Merge()
		l.merged = len(l.latency)
	}
}

// event is one of the controller.
func (j *journal) event(e *corev1.Event) {
	if j == nil {
		return
	}
	// At a time of its own, so that it has its place among what happens at that of the
	// controller's calls.
	time.Sleep(latency + latency/3)
	j.add(time.Since(j.began), record.Entry{Event: &record.Event{
		Kind: e.InvolvedObject.Kind, Name: e.InvolvedObject.Name, Type: e.Type, Reason: e.Reason, Message: e.Message, Count: max(e.Count, 1), Time: time.Now().Truncate(time.Second),
	}})
}

// What the world tells. Each is called when it has changed.

func (w *world) tell(e record.Entry) {
	if w.journal != nil {
		w.journal.add(w.now, e)
	}
}

func (w *world) tellEvent(kind, name, severity, reason, message string) {
	w.tell(record.Entry{Event: &record.Event{Kind: kind, Name: name, Type: severity, Reason: reason, Message: message, Count: 1, Time: w.wall().Time}})
}

func (w *world) tellAutoscaler(s autoscalingv2.HorizontalPodAutoscalerStatus) {
	w.tell(record.Entry{Autoscaler: &record.Autoscaler{Name: w.Name, Spec: w.HPA, Status: s}})
}

// hpaController is the field manager of the HPA controller.
const hpaController = "kube-controller-manager"

func (w *world) tellTarget() {
	ready := w.readyPods()
	w.tell(record.Entry{Target: &record.Target{Generation: w.generation + 1, Replicas: w.spec, Status: w.status, Ready: &ready, Manager: w.manager, StatefulSet: w.StatefulSet}})
}

func (w *world) readyPods() (n int32) {
	for _, p := range w.pods {
		if p.readyAt >= 0 && !p.deleted {
			n++
		}
	}
	return n
}

func (w *world) tellSet() {
	if w.setKind == w.HPA.ScaleTargetRef.Kind { // the target itself
		return
	}
	w.tell(record.Entry{ReplicaSet: &record.ReplicaSet{Name: w.set, Replicas: w.spec, Status: w.status, Ready: w.readyPods()}})
}

// tellScaled is the Deployment's event.
func (w *world) tellScaled(from, to int32) {
	if w.setKind == w.HPA.ScaleTargetRef.Kind {
		return
	}
	way := "up"
	if to < from {
		way = "down"
	}
	w.tellEvent(w.HPA.ScaleTargetRef.Kind, w.HPA.ScaleTargetRef.Name, corev1.EventTypeNormal, "ScalingReplicaSet", fmt.Sprintf("Scaled %s replica set %s from %d to %d", way, w.set, from, to))
}

func (w *world) tellObject(p *pod, gone bool) {
	if w.journal == nil {
		return
	}
	e := &record.Pod{Name: p.name, UID: p.uid, Gone: gone, Node: p.object.Spec.NodeName, Created: metav1.NewTime(p.created), Deleting: p.object.DeletionTimestamp, Status: p.object.Status,
		Containers: record.ContainersOf(w.Pod), Resources: w.Pod.Resources}
	if e.Deleting != nil {
		e.Grace = w.Pod.TerminationGracePeriodSeconds
	}
	w.tell(record.Entry{Pod: e})
}

func (w *world) tellEndpoints(slice int) {
	if w.journal == nil || w.Front != nil && w.Front.Queue { // no Service is in front of the target
		return
	}
	e := &record.Endpoints{Slice: w.HPA.ScaleTargetRef.Name, Service: w.HPA.ScaleTargetRef.Name}
	if slice > 0 {
		e.Slice += fmt.Sprintf("-%d", slice+1)
	}
	for _, p := range w.serving {
		if p.slice == slice {
			e.Endpoints = append(e.Endpoints, record.Endpoint{Pod: p.name, Ready: true, Serving: true})
		}
	}
	w.tell(record.Entry{Endpoints: e})
}

// Read is of the world as a Workload.
func (w *world) Read(s record.Signal) {
	w.catchUp()
	if w.journal == nil || len(s.Pods) == 0 && s.Value == nil || reflect.DeepEqual(w.journal.signals[s.Metric], s) {
		return
	}
	w.journal.signals[s.Metric] = s
	w.tell(record.Entry{Signal: &s})
}

// tellMetrics shows what metrics-server tells now, as the poll that comes next sees it.
func (w *world) tellMetrics() {
	if w.journal == nil {
		return
	}
	m := &record.PodMetrics{}
	fresh := false
	for _, pod := range w.served() {
		s := record.Sample{Pod: pod.Name, Timestamp: pod.Timestamp.Truncate(time.Second), Window: pod.Window.Seconds()}
		s.New = !w.journal.seen[pod.Name].Equal(s.Timestamp)
		w.journal.seen[pod.Name] = s.Timestamp
		fresh = fresh || s.New
		for _, c := range pod.Containers {
			s.Containers = append(s.Containers, record.ContainerSample{Name: c.Name, CPU: c.Usage.Cpu().AsApproximateFloat64(), Memory: c.Usage.Memory().Value()})
		}
		slices.SortFunc(s.Containers, func(a, b record.ContainerSample) int { return cmp.Compare(a.Name, b.Name) })
		m.Samples = append(m.Samples, s)
	}
	if fresh {
		every := seconds(w.Header.MetricsEvery)
		w.after(every-w.now%every, func() { w.tell(record.Entry{PodMetrics: m}) })
	}
}
