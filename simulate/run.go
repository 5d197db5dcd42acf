package simulate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	"github.com/hpabench/hpabench/keda"
	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
)

// Run is one simulated run: a plant, an HPA and a load.
type Run struct {
	Plant Plant
	Pod   corev1.PodSpec // of the target's template
	// AssumedModel is a sentence on what nobody measured or stated of the workload.
	AssumedModel string
	// OfAll says that the plant's CPU is that of all containers of a pod, as a fit has it.
	OfAll bool
	// Ignored is a sentence on what of the scenario makes no difference to the run.
	Ignored string
	HPA     autoscalingv2.HorizontalPodAutoscalerSpec
	Name    string // of the HPA
	// Replicas are those of the target at its creation, which is that of the HPA too.
	Replicas     int32
	ScaledObject string              // its name, where KEDA is not nil
	KEDA         *keda.ScaledObject  // that the HPA was made of; nil without one
	Front        *Front              // that takes the load; nil where the pods do
	Chain        *Chain              // of the requests that modelled pods make; nil where they make none
	Outside      map[string]string   // texts of signals.ParseCourse that say what sources outside the cluster show, from the first phase's begin on
	StatefulSet  *record.StatefulSet // nil if the target is of another kind
	Phases       []record.Phase

	// Rest is for how long the HPA is followed after the load, or until it is at its min, or has decided nothing for Calm:
	// for the score alone.
	Rest, Calm time.Duration

	// Lead is the rate up to the first phase, in requests a second, of which no account is
	// kept: for a load that was there before.
	Lead     float64
	observed []usage // that the Phases are made of

	Timeout          time.Duration // of a request
	MaxConnectionAge time.Duration // of a kept connection; 0 for none
	Costs            []float64     // as of the Plant, of the first pods that are created; 0 where it is not known
	// Samples are the times since the first phase's begin at which the kubelets sampled the first pods
	// that are created, where they sample on their own; beyond them it is chance.
	Samples [][]time.Duration
	// Used is what the first pods that are created used in the record: kept connections have their requests
	// spread over the pods in service by it. Without it each connection is to a pod at random.
	Used [][]Used
	Even bool          // kept connections have their requests spread over the pods all the same
	SLO  time.Duration // that an answer may take; 0 for none

	// Wait is how long the load waits, besides afterSync, once the HPA has its first metric. That is just after a
	// sync, so Wait is the load's place in the sync period. Whole periods of it do not count.
	Wait time.Duration
	Seed uint64 // of what is random

	// Sojourns are kept from one run to the next. Default: those of this run alone.
	Sojourns *model.SojournCache `json:"-"`

	// Served is how long after one of the HPA's syncs metrics-server has new samples, within
	// its resolution: any time between the two. nil leaves it to chance.
	Served *[2]time.Duration
	// Scraped is how long after the first phase's begin metrics-server asks the kubelets,
	// within its resolution; nil for whenever Served says.
	Scraped *time.Duration

	// Polled and SignalsScraped are how long after the first phase's begin KEDA polls, within its interval, and Prometheus scrapes
	// what stands before the pods or outside of the cluster, within its interval; nil leaves it to chance.
	Polled, SignalsScraped *time.Duration

	// Header is that of the record, and nil if none is wanted.
	Header *record.Header

	Logger klog.Logger // of the controller; the zero one discards
}

// Used is the CPU that a pod used up to a time since the first phase's begin, in cores.
type Used struct {
	Until time.Duration
	CPU   float64
}

// Nth is the nth of several runs: each has chance of its own, which is the same for all
// settings, and begins at another point of the HPA's sync period. Only the first has its pods sampled,
// and its kept connections go, as in the record that it is of.
func (r Run) Nth(seed uint64, n int) *Run {
	if n > 0 {
		r.Samples, r.Used, r.Polled, r.SignalsScraped = nil, nil, nil, nil
	}
	r.Wait, r.Seed = r.Wait+time.Duration(Part(n)*float64(r.Plant.Control.Sync.Duration)), seed+uint64(n)
	return &r
}

// WithLoadOf is r with the load of another run, of which nothing else is taken. What the record of r
// shows of its own load is left out. Sources outside the cluster of which the other load says nothing stay as they are.
func (r Run) WithLoadOf(other *Run) *Run {
	r.Samples, r.Used, r.Polled, r.SignalsScraped = nil, nil, nil, nil
	r.Phases, r.Lead, r.Timeout, r.MaxConnectionAge, r.Even = other.Phases, other.Lead, other.Timeout, other.MaxConnectionAge, other.Even
	r.observed = other.observed
	outside := map[string]string{}
	maps.Copy(outside, r.Outside)
	maps.Copy(outside, other.Outside)
	r.Outside = outside
	r.demand()
	return &r
}

// SameWorkload reports whether another run has the same HPA, pods and model of them, but for the names
// and for what a scale-up or a scale-down is held by.
func (r *Run) SameWorkload(other *Run) bool {
	of := func(r *Run) any {
		pod, hpa := r.Pod.DeepCopy(), r.HPA.DeepCopy()
		for i := range pod.Containers {
			pod.Containers[i].Name = ""
		}
		for _, m := range hpa.Metrics {
			if m.ContainerResource != nil {
				m.ContainerResource.Container = ""
			}
		}
		return []any{pod, r.Plant.Workload, hpa.Metrics, r.Least(), hpa.MaxReplicas, r.StatefulSet, r.Front, r.Chain}
	}
	return equality.Semantic.DeepEqual(of(r), of(other))
}

// Least are the fewest replicas that the autoscaler leaves: KEDA, else the HPA.
func (r *Run) Least() int32 {
	if r.KEDA != nil {
		return r.KEDA.Least()
	}
	return ptr.Deref(r.HPA.MinReplicas, 1)
}

// Remake makes the HPA of the ScaledObject anew, with the behavior that the HPA has, which the ScaledObject gets if it is new.
func (r *Run) Remake(newBehavior bool) {
	if newBehavior {
		if r.KEDA.Advanced == nil {
			r.KEDA.Advanced = new(keda.Advanced)
		}
		if r.KEDA.Advanced.HorizontalPodAutoscalerConfig == nil {
			r.KEDA.Advanced.HorizontalPodAutoscalerConfig = new(keda.HPAConfig)
		}
		r.KEDA.Advanced.HorizontalPodAutoscalerConfig.Behavior = r.HPA.Behavior
	}
	made := r.KEDA.HPA(r.ScaledObject).Spec
	made.ScaleTargetRef, made.Behavior = r.HPA.ScaleTargetRef, r.HPA.Behavior
	r.HPA = made
}

// Observed reports whether the load is made of CPU that was observed: the number of its requests
// means nothing.
func (r *Run) Observed() bool { return len(r.observed) > 0 }

// Assumed are sentences on what nobody measured of the workload and the cluster.
func (r *Run) Assumed() []string {
	all := []string{r.AssumedModel, model.AssumedOthers(&r.Pod, r.OfAll || r.Observed()), r.Ignored, r.assumedScrapes(), r.goneAtZero()}
	if r.Chain != nil {
		for _, c := range r.Chain.Calls {
			if c.Assumed != "" {
				all = append(all, c.To+": "+c.Assumed)
			}
		}
	}
	return slices.DeleteFunc(append(all, r.Plant.Assumed...), func(text string) bool { return text == "" })
}

// assumedScrapes says how often Prometheus scrapes, where that matters and nobody said it.
func (r *Run) assumedScrapes() string {
	if r.KEDA == nil || r.Plant.Metrics.Scrape != nil || !slices.ContainsFunc(r.KEDA.Triggers, func(t keda.Trigger) bool { return t.Type == "prometheus" }) {
		return ""
	}
	return fmt.Sprintf("Prometheus scrapes every %s (--set scrape=30s has another interval).", r.Plant.Metrics.Scrapes())
}

// waits is Wait within the sync period.
func (r *Run) waits() time.Duration { return within(r.Wait, r.Plant.Control.Sync.Duration) }

// within is d less whole periods.
func within(d, period time.Duration) time.Duration { return (d%period + period) % period }

// Part is where in the HPA's sync period the load of the nth of several runs begins, from 0
// to 1: multiples of the golden ratio cover it evenly however many there are, and its parts too.
func Part(n int) float64 {
	_, part := math.Modf(float64(n) * math.Phi)
	return part
}

// Score is what a run was like, without a record.
type Score struct {
	Requests float64 `json:"requests"` // that were sent
	// Missed are those of them that failed or took longer than the SLO's latency; of a queue, whose messages were not taken within it.
	Missed             float64    `json:"missed"`
	ReplicaSeconds     float64    `json:"replicaSeconds"`     // of pods that there were, while the load ran
	RestSeconds        float64    `json:"restSeconds"`        // for which the HPA was followed after it
	RestReplicaSeconds float64    `json:"restReplicaSeconds"` // of the pods of that time
	Decisions          []Decision `json:"decisions"`
	Onset              float64    `json:"onset"` // of the first phase, in seconds
	Ended              float64    `json:"ended"` // the last phase, in seconds
	Supply             []Supply   `json:"supply"`
	Uncounted          float64    `json:"uncounted"` // seconds of the load in which the HPA counted none of the pods
}

// Supply is how many pods are in service from an instant of the run's clock on.
type Supply struct {
	At   time.Duration `json:"at"`
	Pods int           `json:"pods"`
}

// Decision is one of the HPA, by the clock of the run.
type Decision struct {
	At   time.Duration `json:"at"`
	From int32         `json:"from"`
	To   int32         `json:"to"`
}

// afterSync is how long after a status of the HPA the load begins at the earliest: later than the watch tells of that
// status. From 1 to 10 ms the curves of six library scenarios are the same.
const afterSync = 5 * time.Millisecond

// firstMetric is how long the HPA may take to its first metric: as in a real run (Timeout of runner.Options).
const firstMetric = 5 * time.Minute

// Simulate makes a run. It is to be called in a bubble, whose time it takes. If the run has
// a Header, give is called with the entries of its record, by one goroutine at a time, while
// it goes on. The error says why the load could not begin; then there are none.
func Simulate(r *Run, give func(record.Entry)) (score Score, err error) {
	if len(r.Pod.Containers) == 0 {
		return score, errors.New("the pod has no container")
	}
	run := *r
	run.HPA = withDefaults(r.HPA) // as a record of a real run has it
	if !run.samplesFit() {
		run.Samples = nil
	}
	if r = &run; r.Sojourns == nil {
		r.Sojourns = new(model.SojournCache)
	}
	var j *journal
	if r.Header != nil {
		j = newJournal(r, give)
	}
	w := newWorld(r, j)
	if err := w.follow(); err != nil {
		return score, err
	}
	hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: r.Name, UID: "hpa"}, Spec: r.HPA}
	begins := make(chan time.Duration, 1)
	ready, waiting := false, ""
	w.synced = func() {
		// Where KEDA has the target at zero the HPA writes no status again.
		if ready := ready || w.scaler != nil && w.scaler.last != nil && w.spec == 0; w.score.Onset == 0 && ready && len(w.serving) == int(w.spec) {
			onset := w.now + afterSync + r.waits()
			w.score.Onset = onset.Seconds()
			w.begin(onset)
			begins <- onset
		}
	}
	status := func(s autoscalingv2.HorizontalPodAutoscalerStatus) {
		w.catchUp()
		w.tellAutoscaler(s)
		w.counts(!record.NoneCounted(r.HPA.Metrics, s))
		ready, waiting = record.MetricsRead(r.HPA.Metrics, s)
		w.synced()
	}
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), r.Logger))
	var ended sync.WaitGroup
	ended.Go(func() { Autoscale(ctx, r.Plant.Control, hpa, w, status, j.event) })
	stop := func() {
		cancel()
		ended.Wait()
	}
	var onset time.Duration
	select {
	case onset = <-begins:
	case <-time.After(firstMetric):
		stop()
		switch {
		case len(w.waiting) > 0:
			return score, fmt.Errorf("after %s %d of %d pods wait for room on a node, and the load waits for all of them", firstMetric, len(w.waiting), w.spec)
		case len(w.serving) < int(w.spec):
			return score, fmt.Errorf("after %s %d of %d pods are in service, and the load waits for all of them", firstMetric, len(w.serving), w.spec)
		}
		return score, fmt.Errorf("after %s the HPA has no metric yet: %s", firstMetric, waiting)
	}
	var over <-chan struct{} // nil if the load cannot end before its time
	end := onset + latency/2
	for _, p := range r.Phases {
		end += seconds(p.Seconds)
		if p.Requests > 0 {
			over = w.traffic.over
		}
	}
	select {
	case <-over:
		time.Sleep(step) // in which the controller ends the sync that noticed it
	case <-time.After(end - time.Since(w.began)):
	}
	for resting, until := true, time.Now().Add(r.Rest); resting; {
		select {
		case <-w.traffic.decided:
		case <-w.traffic.rested:
			resting = false
		case <-time.After(min(r.Calm, time.Until(until))):
			resting = false
		}
	}
	stop()
	w.catchUp()
	w.counts(true)
	// What is still on its way comes to its end.
	for t := time.Duration(0); t < r.Timeout && (len(w.front.held) > 0 || len(w.chain.onTheWay) > 0 || w.chain.gathered > 0 || slices.ContainsFunc(w.pods, func(p *pod) bool { return p.backlog > 0 })); t += step {
		w.advance(w.now + step)
	}
	for _, m := range w.front.waiting { // after a rest nobody takes them any more
		if late := r.Rest > 0 || w.now-m.came > r.SLO; late && r.SLO > 0 && m.phase >= 0 {
			w.score.Missed += m.n
		}
	}
	w.lost()
	j.close(w.now)
	return w.score, nil
}

// Of the traffic: what is sent, answered and failed goes into the score and the record.

func (w *world) sent(n float64) {
	if w.traffic.phase < 0 {
		return
	}
	w.score.Requests += n
	w.journal.sent(w.traffic.phase, w.now, n)
}

// answered are n requests of which the first was answered at from, in seconds, and which
// were in a pod for as long as took says. Whoever had to wait for longer than
// the time-out has none.
func (w *world) answered(phase int, from, n float64, took *model.Latencies) {
	w.answeredBut(w.errors(), phase, from, n, took)
}

// errors is the share of the load's requests to which the target answers with an error, or to one of the several that
// pods in front make for each of them.
func (w *world) errors() float64 {
	if f := w.Plant.Workload.Fault; f != nil {
		return 1 - math.Pow(1-f.Errors, w.Times())
	}
	return 0
}

// answeredBut is answered, where a share of the answers are errors.
func (w *world) answeredBut(errors float64, phase int, from, n float64, took *model.Latencies) {
	if phase < 0 {
		return
	}
	late := took.Above(w.Timeout.Seconds() - w.trip)
	w.failed(phase, seconds(max(0, from-took.Max())+w.Timeout.Seconds()), n*late, "timeout")
	ends := from + w.trip
	if !took.Line { // they were sent then
		ends += took.Mean()
	}
	w.thinks(phase, seconds(ends), n*(1-late))
	w.score.Missed += n * (1 - late) * errors
	if w.SLO > 0 {
		over := w.over(took)
		w.score.Missed += n * max(0, over-late) * (1 - errors)
	}
	w.journal.answeredBut(errors, phase, seconds(from), "200", w.failure("500"), n*(1-late), took, 1-late, w.trips)
}

// maxOvers bounds the shares that are kept.
const maxOvers = 30_000

// over is the share of requests with such times in a pod that take longer than the SLO has it.
func (w *world) over(took *model.Latencies) float64 {
	if took.Line { // beside which the spread of round trips makes no difference
		return took.Above(w.SLO.Seconds() - w.trip)
	}
	if over, known := w.overs[took]; known {
		return over
	}
	over := 0.0
	for _, trip := range w.trips {
		over += took.Above(w.SLO.Seconds()-trip) / float64(len(w.trips))
	}
	if len(w.overs) >= maxOvers {
		clear(w.overs)
	}
	w.overs[took] = over
	return over
}

func (w *world) failed(phase int, at time.Duration, n float64, cause string) {
	if phase < 0 || n <= 0 {
		return
	}
	w.score.Missed += n
	w.thinks(phase, at, n)
	w.journal.failed(phase, at, n, cause)
}
