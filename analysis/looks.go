package analysis

import (
	"maps"
	"math"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"

	"github.com/hpabench/hpabench/record"
)

// lookDelay is how long after a look of the HPA its status may be seen: the HPA writes the
// scale and an event in between.
const lookDelay = 50 * time.Millisecond

// signals are the latest readings of metrics that are not of metrics.k8s.io, by name, the newest
// first. An HPA that has a metric twice reads it twice in one look.
type signals map[string][]at[*record.Signal]

// looks are what the HPA controller saw each time that it looked. What it made of that is worked
// out when the next reading of the pods' metrics is there too, as it may have seen that one.
type looks struct {
	waiting []look
	reading *readings // the latest
	signals signals
	polled  *record.Signal         // the latest that hpabench read, and not the HPA alone
	latest  at[*record.Autoscaler] // of which there is a decision

	given metrics.PodMetricsInfo // room for one view at a time
	sums  sums

	next      record.Instant // of the HPA's syncs, if it writes no status
	changed   bool           // something that the HPA sees, since the last look
	unsettled bool           // pods that are not ready or have no metric made a difference at the last look
}

// look is one of them.
type look struct {
	at[*record.Autoscaler]
	unwritten    bool          // a sync without a new status
	reading      *readings     // the latest at its time
	next         *readings     // the one after it, which it may have seen too
	followed     bool          // next is known; nil if there was none
	pods, before []*corev1.Pod // as they are at its time, and, if they changed just before, as they were before that
	signals      signals
	scaled       int32 // the replicas of the scale's status
}

// signal takes a reading of a metric that is not of metrics.k8s.io. Just after a sync was due it
// is what that sync saw: each is a little later than a period after the one before. Of a metric that hpabench reads
// by itself a look may have seen what was read next, too.
func (k *tracker) signal(t record.Instant, s *record.Signal) {
	k.syncs(t)
	if s.Polled() {
		k.looks.polled = s
		for i := len(k.looks.waiting) - 1; i >= 0 && k.looks.waiting[i].t.Add(k.o.every()) >= t; i-- {
			k.looks.waiting[i].signals = k.looks.waiting[i].signals.with(t, s, k.o.every())
		}
		k.looks.signals, k.looks.changed = k.looks.signals.with(t, s, k.o.every()), true
		k.settle(t)
		k.usage(t, s)
		return
	}
	k.looks.signals, k.looks.changed = k.looks.signals.with(t, s, 0), true
	sync := record.Instant(k.o.flags.Sync.Duration)
	if len(k.o.hpas) > 0 && t-(k.looks.next-sync) < sync/20 {
		k.forget(t - sync/2)
		k.look(t, true)
	}
}

// with are the signals and one more, without those that are older than it by more than the time for a look to be seen and
// the time between two readings.
func (all signals) with(t record.Instant, s *record.Signal, every time.Duration) signals {
	list := []at[*record.Signal]{{t, s}}
	for _, old := range all[s.Metric] {
		list = append(list, old)
		if old.t < t.Add(-lookDelay-every) {
			break
		}
	}
	if all = maps.Clone(all); all == nil {
		all = signals{}
	}
	all[s.Metric] = list
	return all
}

// looked takes a new status of the HPA.
func (k *tracker) looked(t record.Instant) {
	half := t.Add(-k.o.flags.Sync.Duration / 2)
	k.syncs(half)
	k.forget(half) // no two are closer
	k.look(t, false)
}

// forget drops the syncs without a status after t: another look stands for them.
func (k *tracker) forget(t record.Instant) {
	k.looks.waiting = slices.DeleteFunc(k.looks.waiting, func(l look) bool { return l.unwritten && l.t > t })
}

// syncs takes the syncs up to t that left the status as it was, though the HPA may have seen other
// pods or metrics.
func (k *tracker) syncs(t record.Instant) {
	for len(k.o.hpas) > 0 && k.looks.changed && k.looks.next <= t {
		k.look(k.looks.next, true)
	}
	for sync := k.o.flags.Sync.Duration; len(k.o.hpas) > 0 && k.looks.next <= t; {
		k.looks.next += record.Instant(sync) * max(1, (t-k.looks.next)/record.Instant(sync))
	}
}

func (k *tracker) look(t record.Instant, unwritten bool) {
	l := look{at: k.o.hpas[len(k.o.hpas)-1], unwritten: unwritten, pods: k.pods(), signals: k.looks.signals, reading: k.looks.reading}
	l.t = t
	since := t.Add(-lookDelay)
	if !unwritten {
		since = min(since, k.scaledBy(l.at))
	}
	if k.changed > since {
		for _, p := range k.alive {
			switch recent := p.changed > since; {
			case !recent && !p.buried:
				l.before = append(l.before, p.api)
			case recent && p.apiBefore != nil && (!p.created.seen || p.created.t <= since):
				l.before = append(l.before, p.apiBefore)
			}
		}
	}
	if n := len(k.o.targets); n > 0 {
		l.scaled = k.o.targets[n-1].v.Status
	}
	k.looks.waiting = append(k.looks.waiting, l)
	k.looks.next, k.looks.changed = t+record.Instant(k.o.flags.Sync.Duration), false
}

// scaledBy is when the target got the replicas that a status asks for: the HPA looked before that, however late its
// status is seen. Where the target did not change in half a sync before the status, it is the status's own time.
func (k *tracker) scaledBy(a at[*record.Autoscaler]) record.Instant {
	from, to := a.v.Status.CurrentReplicas, a.v.Status.DesiredReplicas
	if from == to {
		return a.t
	}
	for i := len(k.o.targets) - 1; i > 0 && k.o.targets[i].t > a.t.Add(-k.o.flags.Sync.Duration/2); i-- {
		if k.o.targets[i].v.Replicas == to && k.o.targets[i-1].v.Replicas == from {
			return k.o.targets[i].t
		}
	}
	return a.t
}

// pods are those that the HPA controller has now; the same ones as long as none changes.
func (k *tracker) pods() []*corev1.Pod {
	if k.apis == nil {
		k.apis = make([]*corev1.Pod, 0, len(k.alive))
		for _, p := range k.alive {
			if !p.buried {
				k.apis = append(k.apis, p.api)
			}
		}
	}
	return k.apis
}

// view is what the HPA sees of the pods and of metrics.k8s.io at a time.
func (l *looks) view(pods []*corev1.Pod, usage *readings, at time.Time) *view {
	return &view{pods: pods, usage: usage, at: at, given: l.given, sums: &l.sums}
}

// read takes the next reading at t; nil if there is none.
func (k *tracker) read(next *readings, t record.Instant) {
	k.syncs(t)
	for i := range k.looks.waiting {
		if l := &k.looks.waiting[i]; !l.followed {
			l.next, l.followed = next, true
		}
	}
	k.looks.reading = next
	if next == nil {
		t = math.MaxInt64
	}
	k.settle(t)
}

// settle works out what the HPA made of its metrics at the looks of which it is known by t what was read after them.
func (k *tracker) settle(t record.Instant) {
	for len(k.looks.waiting) > 0 {
		l := k.looks.waiting[0]
		if !l.followed || k.looks.polled != nil && l.t.Add(k.o.every()) > t {
			return
		}
		k.looks.waiting = k.looks.waiting[1:]
		if len(l.pods) == 0 && l.v.Status.CurrentReplicas > 0 { // the record begins with the HPA, and lists the pods after it
			l.pods = k.pods()
		}
		now := k.o.header.Started.Add(time.Duration(l.t))
		views := []*view{k.looks.view(l.pods, l.reading, now)}
		if l.before != nil {
			views = append(views, k.looks.view(l.before, l.reading, now))
		}
		for _, v := range views {
			if v.signals = l.signals; l.next != nil {
				later := k.looks.view(v.pods, l.next, now)
				later.later, later.signals = true, l.signals
				views = append(views, later)
			}
		}
		p := policyOf(l.v.Spec, k.o.flags)
		d := decide(l.v, l.scaled, views, p, k.o.flags)
		w, alike, unsettled := want{ok: len(d.replicas) > 0}, int32(0), false
		if w.ok {
			w.set(d.replicas[0], p)
			alike = d.formula(l.v.Status.CurrentReplicas, w.raw, p)
			unsettled = len(d.replicas) > 1 || alike != w.raw
			k.looks.unsettled, k.looks.changed = unsettled, k.looks.changed || unsettled
		}
		r := recommendation{at: at[want]{l.t, w}, hpa: l.v, unwritten: l.unwritten}
		if unsettled {
			r.candidates, r.alike = &d.replicas, alike
		}
		k.o.recs = append(k.o.recs, r)
		if l.unwritten {
			continue
		}
		k.o.wants = append(k.o.wants, w)
		if was := k.looks.latest; was.v != nil && was.v.Status.DesiredReplicas == was.v.Status.CurrentReplicas && !k.o.phaseEdge(was.t, l.t) {
			delete(k.o.decisions, was.v)
		}
		k.looks.latest, k.o.decisions[l.v] = l.at, d
	}
}

// recommendation is what the HPA recommended at a sync.
type recommendation struct {
	at[want]
	hpa        *record.Autoscaler // as the sync left it
	unwritten  bool               // it wrote no new status
	candidates *[]int32           // of which v.raw is one, the likeliest first; nil if there is just that
	alike      int32              // it is this if none of them is: the HPA saw samples of all pods that nobody else read
}

func (w *want) set(raw int32, p policy) {
	w.raw, w.n = raw, min(max(raw, p.min), p.max)
}

// chooseRecommendations leaves, where it is not sure what a sync recommended, the candidates
// that agree with what the HPA's conditions say of it.
func (o *observed) chooseRecommendations() {
	status := -1 // of o.hpas
	for i := range o.recs {
		r := &o.recs[i]
		if !r.unwritten {
			status++
		}
		if r.candidates == nil {
			continue
		}
		disagrees := func(n int32) bool { return !o.agrees(r, n) }
		agreed := slices.DeleteFunc(slices.Clone(*r.candidates), disagrees)
		if len(agreed) == 0 {
			agreed = slices.DeleteFunc([]int32{r.alike}, disagrees)
		}
		if len(agreed) > 0 {
			r.candidates = &agreed
			r.v.set(agreed[0], policyOf(r.hpa.Spec, o.flags))
			if !r.unwritten {
				o.wants[status] = r.v
			}
		}
	}
}

// raw is what r recommended; with other the least likely of what that can have been.
func (r *recommendation) raw(other bool) int32 {
	if other && r.candidates != nil {
		return (*r.candidates)[len(*r.candidates)-1]
	}
	return r.v.raw
}

// agrees says whether a raw recommendation n leads to the status that r has.
func (o *observed) agrees(r *recommendation, n int32) bool {
	s := r.hpa.Status
	l := o.normalize(r.hpa.Spec, r.t, s.CurrentReplicas, n, 0, false)
	if l.to != s.DesiredReplicas {
		return false
	}
	for _, c := range s.Conditions {
		switch {
		case c.Type == autoscalingv2.ScalingLimited && c.Reason != l.reason:
			return false
		case c.Type == autoscalingv2.AbleToScale && c.Reason != "SucceededRescale" && l.stabilized != (c.Reason != "ReadyForNewScale"):
			return false
		}
	}
	return true
}

// phaseEdge says whether a phase begins or ends after from, up to an instant.
func (o *observed) phaseEdge(from, to record.Instant) bool {
	return slices.ContainsFunc(o.spans, func(s span) bool { return from < s.start && s.start <= to || from < s.end && s.end <= to })
}
