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
	// Sent are the requests of the whole seconds before that answer. Of them Failed got no good answer
	// in that time, and Held got none at all yet: something in front of the target held them.
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
	c.Held = max(c.Sent, done) - done
	if n, _ := last(o.targets, until); c.Latency.Seconds != nil && n.Replicas == 0 {
		c.Latency = absent("good answers came while there was no replica, from something in front of the target")
	}
	return c
}

// active is when one of the HPA's metrics was first read above what activates a target without replicas: 0, or what
// a trigger of the ScaledObject says.
func (o *observed) active(w window) (first sight, why string) {
	why = o.missing(w, "a metric above what activates the target")
	for _, c := range o.signals {
		for i := max(0, after(c.values, w.onset)-1); i < len(c.values) && c.values[i].t < w.end; i++ {
			v, above := c.values[i], o.activates(c, i)
			switch {
			case v.t <= w.onset:
				if above {
					return sight{}, "metric " + c.metric + " was above what activates the target already when the load changed"
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

// activation is the value of a metric above which a target without replicas gets one.
func (o *observed) activation(metric string, t record.Instant) float64 {
	if s, ok := last(o.scaled, t); ok {
		for _, trigger := range s.Triggers {
			if trigger.Metric != "" && strings.HasSuffix(metric, " "+trigger.Metric) {
				return trigger.Activation
			}
		}
	}
	return 0
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

// activates says whether the ith value of a metric activates the target. Triggers of the types external and external-push are
// asked for that themselves, whatever their value is; one of cron has had 1 outside its hours, and has 0 since KEDA 2.18.
func (o *observed) activates(c course, i int) bool {
	v := c.values[i]
	if v.v == nil {
		return false
	}
	kind, above := "", o.activation(c.metric, v.t)
	if s, ok := last(o.scaled, v.t); ok {
		for _, t := range s.Triggers {
			if t.Metric != "" && strings.HasSuffix(c.metric, " "+t.Metric) {
				kind = t.Type
			}
		}
	}
	switch kind {
	case "external", "external-push":
		return false
	case "cron":
		above = 1
	}
	return *v.v > above
}
