package simulate

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
)

// journal makes the record of a run, as the runner and its watches would have. A nil one
// takes down nothing.
type journal struct {
	began  time.Time
	random *rand.Rand
	phases []totals

	mu      sync.Mutex
	entries []record.Entry
	loads   map[[2]int]*second // by phase and second
	seen    map[string]time.Time
}

// totals of a phase, of which the seconds have the whole numbers.
type totals struct {
	sent, done           float64
	sentSoFar, doneSoFar uint64
	last                 [2]int
}

type second struct {
	record.LoadSecond
	latency *hdrhistogram.Histogram
}

func newJournal(r *Run) *journal {
	j := &journal{began: time.Now(), random: stream(r.Seed, -1), phases: make([]totals, len(r.Phases)), loads: map[[2]int]*second{}, seen: map[string]time.Time{}}
	h := *r.Header
	h.Format, h.Started, h.Phases = record.Format, j.began, r.Phases
	j.add(0, record.Entry{Header: &h})
	c := &record.Cluster{Version: controllerVersion(), Lab: r.Plant.lab()}
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

// close gives the entries, in the order of their instants.
func (j *journal) close(at time.Duration) []record.Entry {
	if j == nil {
		return nil
	}
	keys := make([][2]int, 0, len(j.loads))
	for k := range j.loads {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b [2]int) int { return cmp.Or(a[1]-b[1], a[0]-b[0]) })
	for _, t := range j.phases {
		if l := j.loads[t.last]; l != nil && t.sentSoFar != t.doneSoFar { // by rounding
			l.Sent += t.doneSoFar - t.sentSoFar
			l.Offered = l.Sent
		}
	}
	for i, k := range keys {
		l := j.loads[k]
		if i == len(keys)-1 && l.Sent+l.Answered+l.Failed == 0 {
			break // the load ended within it
		}
		var err error
		if l.Latency, err = record.EncodeHistogram(l.latency); err != nil {
			panic(err) // it is written to memory
		}
		j.add(time.Duration(k[1]+1)*time.Second+2*time.Millisecond, record.Entry{Load: &l.LoadSecond})
	}
	slices.SortStableFunc(j.entries, func(a, b record.Entry) int { return cmp.Compare(a.At, b.At) })
	last := max(record.Instant(at), j.entries[len(j.entries)-1].At)
	return append(j.entries, record.Entry{At: last, End: &record.End{Outcome: record.Completed}})
}

// load is the second of a phase in which at is.
func (j *journal) load(phase int, at time.Duration) *second {
	k := [2]int{phase, int(at / time.Second)}
	l := j.loads[k]
	if l == nil {
		l = &second{LoadSecond: record.LoadSecond{Phase: phase, Second: k[1]}, latency: record.NewHistogram()}
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

// points are how many latencies stand for those of one pod in one second.
const points = 32

// answered takes down n answers, that took as long as the first share of the sorted values
// says, and one of the trips on top.
func (j *journal) answered(phase int, at time.Duration, n float64, took []float64, share float64, trips []float64) {
	if j == nil {
		return
	}
	whole := j.done(phase, n)
	if whole == 0 {
		return
	}
	l := j.load(phase, at)
	l.Answered += whole
	if l.Codes == nil {
		l.Codes = map[string]uint64{}
	}
	l.Codes["200"] += whole
	parts := min(whole, points)
	for i := range parts {
		seconds := trips[j.random.IntN(len(trips))] + quantile(took, share*(float64(i)+j.random.Float64())/float64(parts))
		micro := min(max(int64(math.Round(seconds*1e6)), 1), record.MaxLatency.Microseconds())
		if err := l.latency.RecordValues(micro, int64((i+1)*whole/parts-i*whole/parts)); err != nil {
			panic(err) // it is within the histogram's bounds
		}
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

func (w *world) tellTarget() {
	ready := w.readyPods()
	w.tell(record.Entry{Target: &record.Target{Generation: w.generation + 1, Replicas: w.spec, Status: w.status, Ready: &ready, Manager: "kube-controller-manager"}})
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
	w.tell(record.Entry{ReplicaSet: &record.ReplicaSet{Name: w.set, Replicas: w.spec, Status: w.status, Ready: w.readyPods()}})
}

// tellScaled is the Deployment's event.
func (w *world) tellScaled(from, to int32) {
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
	e := &record.Pod{Name: p.name, UID: p.name, Gone: gone, Node: p.object.Spec.NodeName, Created: metav1.NewTime(p.created), Deleting: p.object.DeletionTimestamp, Status: p.object.Status}
	for _, c := range w.Pod.Containers {
		e.Containers = append(e.Containers, record.ContainerResources{Name: c.Name, Requests: c.Resources.Requests, Limits: c.Resources.Limits})
	}
	w.tell(record.Entry{Pod: e})
}

func (w *world) tellEndpoints() {
	if w.journal == nil {
		return
	}
	e := &record.Endpoints{Slice: w.HPA.ScaleTargetRef.Name, Service: w.HPA.ScaleTargetRef.Name}
	for _, p := range w.serving {
		e.Endpoints = append(e.Endpoints, record.Endpoint{Pod: p.name, Ready: true, Serving: true})
	}
	w.tell(record.Entry{Endpoints: e})
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
