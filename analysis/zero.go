package analysis

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
)

// ColdStart is how a load met a target that had no pod.
type ColdStart struct {
	// Latency is onset → the first good answer (2xx or 3xx).
	Latency Latency `json:"latency"`
	// Sent are the requests of the whole seconds before that answer, and those that failed in its second. Of them Failed got no good
	// answer in that time, and Held got none at all yet: something in front of the target held them.
	Sent   uint64 `json:"sent"`
	Failed uint64 `json:"failed"`
	Held   uint64 `json:"held"`
}

// AtZero is the time in which spec.replicas was 0.
type AtZero struct {
	Seconds float64 `json:"seconds"`
	Share   float64 `json:"share"` // of the run
}

// atZero is nil for a run without a replica of 0.
func (o *observed) atZero() *AtZero {
	var sum time.Duration
	for i, t := range o.targets {
		if from, to := max(t.t, o.start), standsUntil(o.targets, i, o.end); t.v.Replicas == 0 && to > from {
			sum += to.Sub(from)
		}
	}
	if sum == 0 || o.end <= o.start {
		return nil
	}
	return &AtZero{sum.Seconds(), sum.Seconds() / o.end.Sub(o.start).Seconds()}
}

// cooling says, in words, that KEDA is to take the n replicas that there are before t to fewer, when its cooldown is over; it is
// empty where it is not, or where that is not known.
func (o *observed) cooling(t record.Instant, n int32) string {
	s, ok := lastOf(o.scaled, t-1)
	if !ok || !goesBelow(s, n) {
		return ""
	}
	active := s.Condition("Active")
	inactive := active != nil && active.Status == metav1.ConditionFalse
	if !inactive && len(o.signals) == 0 {
		return ""
	}
	for _, c := range o.signals {
		i := after(c.values, t-1) - 1
		if i < 0 || c.values[i].v == nil || o.activates(c, i) {
			return ""
		}
		if _, known := o.activation(c.metric, c.values[i].t); !known && !inactive {
			return ""
		}
	}
	return fmt.Sprintf("KEDA takes it to %s when no trigger was active for %d s (cooldownPeriod)", record.Counted(s.Least(), "replica"), s.CooldownSeconds)
}

// goesBelow says whether KEDA takes n replicas to fewer when no trigger is active, and nobody holds it: to its idle replicas, or to
// zero. Where it has a minimum and no idle replicas, the HPA does all.
func goesBelow(s *record.ScaledObject, n int32) bool {
	held := s.Stopped() || strings.Contains(s.Paused, "/paused-scale-in")
	return !s.Deleted && !held && (s.Idle != nil || s.Min == 0) && n > s.Least()
}

// fromZero says whether the target had no replica when the load rose, and no pod in service.
func (o *observed) fromZero(w window) bool {
	t, ok := last(o.targets, w.onset)
	supply := o.supplyAt(w.onset + 1)
	return ok && t.Replicas == 0 && (supply == nil || *supply == 0)
}

// coldStart is that of a rise from zero; nil without one.
func (o *observed) coldStart(w window) *ColdStart {
	if !o.fromZero(w) || o.looksOnly() {
		return nil
	}
	c := &ColdStart{Latency: absent(fmt.Sprintf("no good answer came before %s at %.1f s", w.endedBy, w.end.Seconds()))}
	until := w.end
	if i := after(o.goods, w.onset-1); i < len(o.goods) && o.goods[i].t < w.end {
		until = o.goods[i].t
		c.Latency = latency(w.onset, sight{t: until, seen: true})
	} else if len(o.goods) == 0 { // a record that has the answers of whole seconds
		for second := int(w.onset.Seconds()); record.Instant(second)*record.Instant(time.Second) < w.end; second++ {
			if s := o.loads.second(second); s.done > s.errors {
				until = record.Instant(second)*record.Instant(time.Second) + record.Instant(time.Second/2)
				c.Latency = latency(w.onset, sight{t: until, blur: time.Second / 2, seen: true})
				break
			}
		}
	}
	var done uint64
	for second := int(w.onset.Seconds()); second < int(until.Seconds()); second++ {
		s := o.loads.second(second)
		c.Sent += s.sent
		c.Failed += s.errors
		done += s.done
	}
	if c.Latency.Seconds != nil {
		failed := o.loads.second(int(until.Seconds())).errors
		c.Sent, c.Failed, done = c.Sent+failed, c.Failed+failed, done+failed
	}
	c.Held = max(c.Sent, done) - done
	source := podSource
	if o.serviceWatched {
		source = endpointsSource
	}
	_, hidden := o.covered(source, until)
	n, _ := last(o.targets, until)
	within := time.Duration(c.Latency.PrecisionSeconds * float64(time.Second)) // of the answer's instant
	supply := o.supplyAt(until.Add(max(within, WatchDelay)) + 1)
	if c.Latency.Seconds != nil && (n.Replicas == 0 || !hidden && supply != nil && *supply == 0) || o.answeredAtZero(w) {
		c.Latency = absent(answeredInFront)
	}
	return c
}

// answeredInFront is why the first good answer does not tell when a target served.
const answeredInFront = "good answers came while no pod was in service, from something in front of the target"

// answeredAtZero says whether there were good answers in a whole second of w without a replica. They may go on from before the
// onset, so that none is the first.
func (o *observed) answeredAtZero(w window) bool {
	until := w.end
	for _, c := range o.changes {
		if c.t >= w.onset {
			until = min(until, c.t)
		}
	}
	// A second is left out, in which pods that ended answer.
	for second := int(w.onset.Seconds()) + 2; record.Instant(second+1)*record.Instant(time.Second) < until; second++ {
		if s := o.loads.second(second); s.done > s.errors {
			return true
		}
	}
	return false
}

// count is a number of requests before the first good answer, which is not known where that is not the target's.
func (c *ColdStart) count(n uint64) Latency {
	if c.Latency.Missing == answeredInFront {
		return absent(answeredInFront)
	}
	return exact(n)
}

// active is when one of the HPA's metrics was first read above what activates a target without replicas: 0, or what
// a trigger of the ScaledObject says. It is sought from the onset on, or from when the target lost its last replica, to its rise.
func (o *observed) active(w window, rise replicaChange) (first sight, why string) {
	when := "when the load changed"
	for _, c := range o.changes {
		if c.to == 0 && c.t > w.onset && c.t < rise.t {
			w.onset, when = c.t, "when the target lost its last replica"
		}
	}
	w.end = min(w.end, rise.t.Add(o.every()+WatchDelay)) // KEDA may read it sooner than hpabench
	why = fmt.Sprintf("a metric above what activates the target was not seen before spec.replicas rose at %.1f s", rise.t.Seconds())
	for _, g := range o.gaps { // of a metric that was never read there is no course
		if strings.HasPrefix(g.Source, record.SignalSource("")) && hides(g, w) {
			why = o.missing(w, "a metric above what activates the target", g.Source)
		}
	}
	for _, c := range o.signals {
		for i := max(0, after(c.values, w.onset)-1); i < len(c.values) && c.values[i].t < w.end; i++ {
			v, above := c.values[i], o.activates(c, i)
			switch {
			case v.t <= w.onset:
				if above {
					return sight{}, "metric " + c.metric + " was above what activates the target already " + when
				}
			case above && (!first.seen || v.t < first.t):
				first, why = o.see(record.SignalSource(c.metric), v.t), ""
			}
			if above {
				break
			}
		}
	}
	return first, why
}

// activation is the value of a metric above which a target without replicas gets one; not known where no trigger of the ScaledObject
// has told that the metric is its own, and of triggers that KEDA asks for that themselves.
func (o *observed) activation(metric string, t record.Instant) (value float64, known bool) {
	s, ok := last(o.scaled, t)
	if !ok {
		return 0, true // it is the HPA's
	}
	for _, trigger := range s.Triggers {
		if trigger.Metric == "" || !strings.HasSuffix(metric, " "+trigger.Metric) {
			continue
		}
		if trigger.Type == "external" || trigger.Type == "external-push" {
			return 0, false
		}
		return trigger.Activation, true
	}
	return 0, false
}

// kedaScales are the reasons of the events in which KEDA tells that it set the replicas itself.
var kedaScales = []string{"KEDAScaleTargetActivated", "KEDAScaleTargetDeactivated"}

// kedaManager is how the field manager of KEDA's writes begins: its operator's program is called keda or keda-operator.
const kedaManager = "keda"

// byKEDA says whether KEDA set the replicas itself, and gives its event if one was seen. KEDA writes an event for the first two
// of a kind and counts those that follow within six minutes (a series of events.k8s.io): there it is the field manager that tells,
// and of a zero, which a write through the scale subresource leaves without one, the ScaledObject's condition Active.
func (o *observed) byKEDA(c replicaChange) (event string, is bool) {
	from, to := c.t.Add(-rescaleWithin), c.t.Add(rescaleWithin)
	for _, e := range between(o.events, from, to) {
		if e.v.Kind == "ScaledObject" && slices.Contains(kedaScales, e.v.Reason) && strings.Contains(e.v.Message, fmt.Sprintf("from %d to %d", c.from, c.to)) {
			return e.v.Message, true
		}
	}
	s, ok := lastOf(o.scaled, c.t)
	switch {
	case !ok || s.Deleted:
		return "", false
	case c.by != "" || c.to != 0:
		return "", strings.HasPrefix(c.by, kedaManager)
	}
	return "", s.Least() == 0 && slices.ContainsFunc(o.scaled[max(0, after(o.scaled, from)-1):after(o.scaled, to)], func(s at[*record.ScaledObject]) bool {
		active := s.v.Condition("Active")
		return active != nil && active.Status == metav1.ConditionFalse
	})
}

// cooled are the ends of the signal and of the cooldown of a fall that KEDA makes; nil of one of the HPA. The cooldown
// runs from the last of KEDA's polls that found a trigger active.
func (o *observed) cooled(w window, fall replicaChange) []boundary {
	if _, is := o.byKEDA(fall); !is {
		return nil
	}
	var fell sight // when the last metric that activated the target did so no more
	for _, c := range o.signals {
		for i := after(c.values, fall.t) - 1; i > 0; i-- {
			if !o.activates(c, i) && o.activates(c, i-1) {
				if t := c.values[i].t; !fell.seen || t > fell.t {
					fell = o.see(record.SignalSource(c.metric), t)
				}
				break
			}
		}
	}
	signal := boundary{stage: StageSignal, sight: fell}
	if !fell.seen {
		signal.missing = o.missing(w, "a signal that activates the target no more")
	}
	cooldown := boundary{stage: StageCooldown, missing: "when KEDA last found a trigger active is not known"}
	if s, ok := last(o.scaled, fall.t); ok && fell.seen {
		cooldown.sight, cooldown.missing = fell, ""
		cooldown.t = min(fall.t, fell.t.Add(time.Duration(s.CooldownSeconds)*time.Second))
		cooldown.blur += time.Duration(s.PollingSeconds) * time.Second
	}
	if fell.seen && fell.t <= w.onset { // the cooldown began before the load changed
		return []boundary{cooldown}
	}
	return []boundary{signal, cooldown}
}

// activates says whether the ith value of a metric activates the target.
func (o *observed) activates(c course, i int) bool {
	v := c.values[i]
	value, known := o.activation(c.metric, v.t)
	return known && v.v != nil && *v.v > value
}
