package analysis

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/hpabench/hpabench/record"
	corev1 "k8s.io/api/core/v1"
)

// pod is one pod's life. Each sight is the first of its kind; the zero sight
// means that it was not seen, or that it was so before the pod was first seen.
type pod struct {
	name, uid string
	before    bool // listed when the watch opened
	foreign   bool // another object than the target made it: see observed.foreign
	shown     sight
	now       record.Pod // the latest state
	object    ObjectTimes

	created     sight // the object was first seen, unless it was there before
	scheduled   sight // PodScheduled=True
	initialized sight // Initialized=True
	ran         sight // the first container ran, or had run
	pulled      sight // see observed.markPulled
	started     sight // all containers run
	ready       sight // Ready=True
	inService   sight // ready in an EndpointSlice
	terminating sight // deletionTimestamp set
	left        sight // last went out of service
	exited      sight // all containers have ended since it was terminating
	gone        sight // the object was removed

	answered sight  // its first answer
	grace    *int64 // of its deletion

	// api is the latest state as the HPA controller has it, since changed; apiBefore is what
	// it was lookDelay before that.
	api, apiBefore *corev1.Pod
	changed        record.Instant

	// runs says since when all its containers run, by when that was seen; never while one of them does not.
	runs []at[record.Instant]

	use    use    // its latest sample
	counts counts // what it counts as
	buried bool   // it is not among those that are there any more

	// replaces and replaced say that it was created, or was terminating, while there were pods of
	// another template of the target: a rollout's work, not that of the HPA.
	replaces, replaced bool

	finished     bool // its containers had ended for good before it was terminating
	serving      bool
	returned     bool            // it went out of service and came back
	beforeStates map[*sight]bool // true already when first seen
}

// show takes one watch event about p at t.
func (p *pod) show(o *observed, t record.Instant, e record.Pod, first bool) {
	s := o.see(podSource, t)
	p.now = e
	p.foreign = (first || p.foreign) && o.foreign(e)
	if first {
		_, gap := o.covered(podSource, t)
		p.shown, p.before = s, e.First && !gap
		p.beforeStates = map[*sight]bool{}
		p.object.Created = e.Created.Time
	}
	mark := func(is *sight, now bool) {
		switch {
		case !now || is.seen || p.beforeStates[is]:
		case first && p.before:
			p.beforeStates[is] = true
		default:
			*is = s
		}
	}
	mark(&p.created, true)
	for kind, is := range map[corev1.PodConditionType]*sight{
		corev1.PodScheduled: &p.scheduled, corev1.PodInitialized: &p.initialized, corev1.PodReady: &p.ready,
	} {
		mark(is, condition(e.Status, kind) != nil)
	}
	ran, all := running(e.Status)
	mark(&p.ran, ran)
	mark(&p.started, all)
	p.runs = append(p.runs, at[record.Instant]{t, o.runsSince(e.Status)})
	mark(&p.terminating, e.Deleting != nil)
	mark(&p.gone, e.Gone)

	if e.Deleting == nil && !e.Gone {
		p.finished = e.Status.Phase == corev1.PodFailed || e.Status.Phase == corev1.PodSucceeded
	}
	if e.Deleting != nil {
		p.object.Deletion = &e.Deleting.Time
		if p.grace == nil { // it is 0 when the kubelet is through
			p.grace = e.Grace
		}
		mark(&p.exited, exited(e.Status))
	}
	for kind, is := range map[corev1.PodConditionType]**time.Time{
		corev1.PodScheduled: &p.object.Scheduled, corev1.PodInitialized: &p.object.Initialized,
		corev1.ContainersReady: &p.object.ContainersReady, corev1.PodReady: &p.object.Ready,
	} {
		if c := condition(e.Status, kind); c != nil && *is == nil && !c.LastTransitionTime.IsZero() {
			*is = &c.LastTransitionTime.Time
		}
	}
}

// serve takes whether p is ready in an EndpointSlice since s. What was in
// service when the watches opened is not news.
func (p *pod) serve(s sight, serving bool) {
	if serving == p.serving {
		return
	}
	p.serving = serving
	switch {
	case !serving:
		p.left = s
	case p.before && p.beforeStates[&p.ready]:
		p.returned = p.returned || p.left.seen
		p.left = sight{}
	default:
		p.returned = p.returned || p.left.seen
		p.left = sight{}
		if !p.inService.seen {
			p.inService = s
		}
	}
}

// foreign says whether another object than the target made p, though the target's selector
// selects it. A Deployment names its ReplicaSets NAME-HASH, and a hash has no dash
// (getNewReplicaSet in k8s.io/kubernetes/pkg/controller/deployment/sync.go). How kinds that are
// not of Kubernetes make their pods is not known: none are others'.
func (o *observed) foreign(p record.Pod) bool {
	s := o.subject
	if s == nil || !o.ownersKnown || s.APIVersion != "apps/v1" && s.APIVersion != "v1" {
		return false
	}
	kind, name, _ := strings.Cut(p.Owner, "/")
	if s.Kind == "Deployment" {
		hash, ours := strings.CutPrefix(name, s.Name+"-")
		return kind != "ReplicaSet" || !ours || strings.Contains(hash, "-")
	}
	return kind != s.Kind || name != s.Name
}

// template names the pod template that p was made of: that of its ReplicaSet, or a revision of its owner's.
func (p *pod) template() string {
	name := strings.Replace(p.now.Owner, "/", " ", 1)
	if p.now.Revision != "" {
		name += " revision " + p.now.Revision
	}
	return name
}

// markRollouts finds the pods that a rollout created or ended: those that came or went while there were
// pods of another template, and those of a StatefulSet that took the place of one of the same name.
func (o *observed) markRollouts() {
	type change struct {
		t   record.Instant
		by  int // 1 for a pod more
		pod *pod
	}
	var changes []change
	for _, p := range o.pods {
		if p.foreign || p.now.Owner == "" {
			continue
		}
		changes = append(changes, change{p.shown.t, 1, p})
		if p.terminating.seen || p.gone.seen {
			end := p.terminating
			if !end.seen {
				end = p.gone
			}
			changes = append(changes, change{end.t, -1, p})
		}
	}
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Compare(a.t, b.t) })
	all, of, named := 0, map[string]int{}, map[string]*pod{}
	for _, c := range changes {
		template := c.pod.template()
		all, of[template] = all+c.by, of[template]+c.by
		others := all > of[template]
		if c.by < 0 {
			c.pod.replaced = others
			continue
		}
		if was := named[c.pod.name]; was != nil && was.template() != template {
			was.replaced, others = true, true
		}
		named[c.pod.name] = c.pod
		c.pod.replaces = others && c.pod.created.seen
	}
}

// markPulled finds for each pod when its images were there. The API does not
// say so, but the kubelet tells each pull, also one that found the image on the
// node, with a Pulled event. So pulled is when the last of them before all
// containers ran was seen and Initialized=True was too. Events can be dropped;
// without them it is when the first container was seen to run.
func (o *observed) markPulled() {
	for _, p := range o.pods {
		var event sight
		for _, e := range o.ofPods[[2]string{"Pulled", p.name}] {
			if e.t >= p.shown.t && (!p.started.seen || e.t <= p.started.t) {
				event = o.see("events", e.t)
			}
		}
		p.pulled = p.ran
		if event.seen && p.created.seen {
			p.pulled = event
		}
		if p.pulled.seen && p.initialized.seen && p.initialized.t > p.pulled.t {
			p.pulled = p.initialized
		}
	}
}

// condition returns the condition of that kind if it is true.
func condition(s corev1.PodStatus, kind corev1.PodConditionType) *corev1.PodCondition {
	for i, c := range s.Conditions {
		if c.Type == kind && c.Status == corev1.ConditionTrue {
			return &s.Conditions[i]
		}
	}
	return nil
}

// running says whether any container runs or has run, and whether all run.
func running(s corev1.PodStatus) (ran, all bool) {
	all = len(s.ContainerStatuses) > 0
	for _, c := range s.ContainerStatuses {
		if c.State.Running != nil || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil {
			ran = true
		}
		if c.State.Running == nil {
			all = false
		}
	}
	return ran, all
}

func exited(s corev1.PodStatus) bool {
	return len(s.ContainerStatuses) > 0 && !slices.ContainsFunc(s.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.State.Terminated == nil })
}

func (o *observed) resultPods() []Pod {
	var rows []Pod
	for _, p := range o.pods {
		row := Pod{
			Name: p.name, UID: p.uid, Node: p.now.Node, Before: p.before, Returned: p.returned && !p.left.seen,
			FirstSeen: p.shown.t.Seconds(), Object: p.object, PrecisionSeconds: p.shown.blur.Seconds(),
		}
		for _, c := range p.now.Status.ContainerStatuses {
			row.Restarts += c.RestartCount
		}
		for _, f := range []struct {
			s  sight
			to **float64
		}{
			{p.created, &row.Created}, {p.scheduled, &row.Scheduled}, {p.initialized, &row.Initialized},
			{p.started, &row.Started}, {p.ready, &row.Ready}, {p.inService, &row.InService},
			{p.terminating, &row.Terminating}, {p.left, &row.OutOfService}, {p.gone, &row.Gone},
		} {
			if f.s.seen {
				*f.to = new(f.s.t.Seconds())
				row.PrecisionSeconds = max(row.PrecisionSeconds, f.s.blur.Seconds())
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func (o *observed) resultEvents() []Event {
	var rows []Event
	for _, e := range o.events {
		rows = append(rows, Event{AtSeconds: e.t.Seconds(), Event: e.v})
	}
	slices.SortStableFunc(rows, func(a, b Event) int { return cmp.Compare(a.AtSeconds, b.AtSeconds) })
	return rows
}
