package analysis

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hpabench/hpabench/record"
	corev1 "k8s.io/api/core/v1"
)

// others finds what somebody did to the objects that the run depends on: neither
// hpabench itself nor a controller of Kubernetes in its daily work.
func (d *diagnosis) others() {
	for _, w := range d.writes {
		if w.v.Kind == namespaceKind && w.v.What == record.ChangeDeleted && w.t <= d.end {
			d.deleted(w)
			return // what was in it went with it
		}
	}
	of := map[string][]at[record.Change]{} // the changes of each object
	writes := slices.DeleteFunc(slices.Clone(d.writes), d.toldOfScaledObject)
	for _, w := range writes {
		object := objectName(w.v.Kind, w.v.Name)
		of[object] = append(of[object], w)
	}
	gone := slices.IndexFunc(d.writes, func(w at[record.Change]) bool { return d.isTarget(w.v) && w.v.What == record.ChangeDeleted })
	told, refusers := map[string]bool{}, d.refusers()
	for _, w := range writes {
		object := objectName(w.v.Kind, w.v.Name)
		switch {
		case w.t > d.end:
		case w.v.Kind == "HorizontalPodAutoscaler" && !d.isHPA(w.v):
			d.rival(w, of[object])
		case w.v.Kind == quotaKind, w.v.Kind == rangeKind, w.v.Kind == namespaceKind, slices.Contains(admissionKinds, w.v.Kind):
			if !told[object] && !refusers[object] {
				told[object] = true
				d.bounded(object, of[object])
			}
		case w.v.What == record.ChangeDeleted:
			d.deleted(w)
		case !told[object]:
			told[object] = true
			d.updated(w, object, of[object])
		}
	}
	if gone < 0 {
		d.podsDeleted()
	}
	d.ambiguous()
}

const scaledKind = "ScaledObject"

// pausePath begins the fields of a ScaledObject by which it is paused.
const pausePath = "metadata.annotations.autoscaling.keda.sh/paused"

// toldOfScaledObject says whether a change is told with the ScaledObject: what KEDA does to its HPA as that was changed, deleted
// or paused, and the pause itself.
func (d *diagnosis) toldOfScaledObject(w at[record.Change]) bool {
	switch {
	case w.v.Kind == scaledKind && w.v.What == record.ChangeUpdated:
		return !slices.ContainsFunc(w.v.Fields, func(f record.FieldChange) bool { return !strings.HasPrefix(f.Path, pausePath) })
	case !d.isHPA(w.v):
		return false
	case w.v.What == record.ChangeDeleted:
		if s, ok := lastOf(d.scaled, w.t); ok && s.Stopped() {
			return true
		}
	case !strings.HasPrefix(w.v.By, kedaManager):
		return false
	}
	return slices.ContainsFunc(d.writes, func(of at[record.Change]) bool {
		return of.v.Kind == scaledKind && of.t <= w.t.Add(apart) && (w.v.What == record.ChangeDeleted || w.t.Sub(of.t) <= patience) && (of.v.What == record.ChangeDeleted) == (w.v.What == record.ChangeDeleted)
	})
}

// isTarget and isHPA say whether the run is about that object.
func (d *diagnosis) isTarget(c record.Change) bool {
	return d.subject != nil && c.Kind == d.subject.Kind && c.Name == d.subject.Name
}

func (d *diagnosis) isHPA(c record.Change) bool {
	return c.Kind == "HorizontalPodAutoscaler" && "hpa/"+c.Name == d.hpa()
}

// objectName is how kubectl and findings call an object.
func objectName(kind, name string) string {
	if kind == "HorizontalPodAutoscaler" {
		kind = "hpa"
	}
	return strings.ToLower(kind) + "/" + name
}

// within says whether t is in the measured stretch: only there anything is spoiled.
func (d *diagnosis) within(t record.Instant) bool { return t >= d.start && t <= d.end }

// who words the writer of a change.
func who(c record.Change) string {
	if c.By == "" {
		return "somebody whom the object's managedFields do not name"
	}
	var how []string
	if c.Operation != "" {
		how = append(how, c.Operation)
	}
	if c.Time != nil {
		how = append(how, "at "+c.Time.UTC().Format(time.RFC3339)+" by the API server's clock")
	}
	if how == nil {
		return "field manager " + c.By
	}
	return fmt.Sprintf("field manager %s (%s)", c.By, strings.Join(how, " "))
}

// deleted is the end of something that nothing can be measured without.
func (d *diagnosis) deleted(w at[record.Change]) {
	since := w.t
	if w.v.Time != nil { // its content goes first
		since = min(since, max(d.instant(w.v.Time.Time), since.Add(-time.Minute)))
	}
	f := Finding{Kind: FoundDeleted, Severity: Blocks, Object: objectName(w.v.Kind, w.v.Name), SinceSeconds: new(since.Seconds()), Spoils: d.within(w.t),
		Seen:   fmt.Sprintf("Somebody deleted it at %.1f s; Kubernetes keeps who deletes an object in the audit log alone.", since.Seconds()),
		Advice: fmt.Sprintf("Look for a person, a pipeline or a controller (GitOps, a cleaner of old namespaces) that works on namespace %s, and run again without it.", d.subjectNamespace())}
	switch w.v.Kind {
	case namespaceKind:
		f.Cause = "Everything in it is deleted with it: what was measured after that is of its end."
	case "HorizontalPodAutoscaler":
		f.Cause = "Nothing scaled the target after that, whatever its load was."
	case scaledKind:
		f.Cause = "KEDA does nothing for the target after that, and its HPA goes with it: nothing scaled the target, whatever its load was."
	case "Service":
		f.Cause = "Its address and endpoints went with it: requests that go by it fail after that, and no pod is in service."
		f.Spoils = f.Spoils && !d.looksOnly()
	case "Lease":
		f.Severity, f.Spoils = Notice, false
		f.Cause = "It tells `hpabench clean` that the run goes on; without it, a clean removes the run. No figure depends on it."
	default:
		f.Cause = "Its pods end with it: what was measured after that is of their end."
	}
	d.found = append(d.found, f)
}

// updated are the changes of one object from w on, which is the first.
func (d *diagnosis) updated(w at[record.Change], object string, all []at[record.Change]) {
	f := Finding{Kind: FoundChanged, Severity: Notice, Object: object, SinceSeconds: new(w.t.Seconds()),
		Cause:  "No figure depends on it.",
		Advice: "Nothing has to be done for the figures."}
	var seen []string
	changes := 0
	for _, x := range all {
		if x.v.What != record.ChangeUpdated || x.t > d.end {
			continue
		}
		if changes++; len(seen) < mostChanges {
			seen = append(seen, fmt.Sprintf("At %.1f s %s changed %s.", x.t.Seconds(), who(x.v), fieldList(x.v.Fields)))
		}
		cause := d.touches(x.v)
		if cause == "" {
			continue
		}
		if f.Severity == Notice {
			f.Severity, f.Cause = Limits, cause
			f.Advice = "Run again without that change, or make it before the run."
		}
		f.Spoils = f.Spoils || d.within(x.t) && !d.looksOnly()
	}
	if changes > mostChanges {
		seen = append(seen, fmt.Sprintf("%d more changes came after.", changes-mostChanges))
	}
	f.Seen = strings.Join(seen, " ")
	if w.v.Kind == "Pod" {
		d.add(f)
		return
	}
	d.found = append(d.found, f)
}

// mostChanges is how many changes of one object a finding tells.
const mostChanges = 3

func fieldList(fields []record.FieldChange) string {
	var list []string
	for _, f := range fields {
		switch {
		case f.Was == "" && f.Now == "":
			list = append(list, f.Path)
		case f.Was == "":
			list = append(list, fmt.Sprintf("%s: %s, which was not there", f.Path, f.Now))
		case f.Now == "":
			list = append(list, fmt.Sprintf("%s: %s is gone", f.Path, f.Was))
		default:
			list = append(list, fmt.Sprintf("%s: %s → %s", f.Path, f.Was, f.Now))
		}
	}
	return strings.Join(list, "; ")
}

// touches says what of the measurement an update changes; nothing if it is empty.
func (d *diagnosis) touches(c record.Change) string {
	has := func(prefixes ...string) bool {
		return slices.ContainsFunc(c.Fields, func(f record.FieldChange) bool {
			return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(f.Path, p) })
		})
	}
	switch {
	case d.isHPA(c) && has("spec."):
		return "The figures before and after it are of two different HPAs."
	case c.Kind == scaledKind && has("spec."):
		return "The figures before and after it are of two different ScaledObjects, and of the HPAs that KEDA makes of them."
	case c.Kind == "Service" && has("spec."):
		return "Requests go elsewhere or fail after it, and other pods are in service."
	case c.Kind == "Pod":
		return "The pod is selected by other labels after it: its ReplicaSet makes another in its place when it has lost it, and a Service sends it no requests."
	case d.isTarget(c) && has("spec.template", "spec.selector"):
		return "A rollout replaces the pods: the figures after it are of other pods, and of their start."
	}
	return ""
}

// rival is another HPA that scales the target; all are its changes.
func (d *diagnosis) rival(w at[record.Change], all []at[record.Change]) {
	if w.v.What != record.ChangeCreated {
		return
	}
	f := Finding{Kind: FoundRival, Severity: Blocks, Object: objectName(w.v.Kind, w.v.Name), SinceSeconds: new(w.t.Seconds()),
		Spoils: !d.looksOnly(),
		Seen:   fmt.Sprintf("It scales %s too, since %.1f s; %s made it so.", d.target(), w.t.Seconds(), who(w.v)),
		Cause:  "Of two HPAs over the same pods none does anything: the HPA controller switches both off (AmbiguousSelector).",
		Advice: fmt.Sprintf("Delete all but one: `kubectl delete %s%s`.", objectName(w.v.Kind, w.v.Name), d.namespace())}
	for _, x := range all {
		if x.v.What == record.ChangeDeleted && x.t > w.t {
			f.UntilSeconds = d.until(x.t)
			f.Spoils = f.Spoils && x.t > d.start
			break
		}
	}
	d.found = append(d.found, f)
}

// ambiguous finds that the HPA itself speaks of others over the same pods, also of one
// that scales another object whose selector is as wide.
func (d *diagnosis) ambiguous() {
	for i, a := range d.hpas {
		if standsUntil(d.hpas, i, d.end) <= d.start || a.t > d.end || d.has(FoundRival) {
			continue
		}
		for _, c := range a.v.Status.Conditions {
			if c.Reason == "AmbiguousSelector" && c.Status == corev1.ConditionFalse {
				d.found = append(d.found, Finding{Kind: FoundRival, Severity: Blocks, Object: d.hpa(), SinceSeconds: new(a.t.Seconds()), Spoils: !d.looksOnly() && d.within(a.t),
					Seen:   sentence(c.Message),
					Cause:  "Of two HPAs over the same pods none does anything: the HPA controller switches both off (AmbiguousSelector).",
					Advice: "Let the selectors of their targets select no pods of each other, or delete all but one of the HPAs."})
				return
			}
		}
	}
}

// apart is how far from each other two watches may show what happened at once.
const apart = 2 * time.Second

// podsDeleted finds pods that ended though their controller wanted them: a ReplicaSet
// or a StatefulSet that takes pods away has as many as it wants after that.
func (d *diagnosis) podsDeleted() {
	ends := map[*pod]record.Instant{}
	for _, p := range d.own {
		for _, s := range []sight{p.gone, p.terminating} {
			if s.seen {
				ends[p] = s.t
			}
		}
	}
	for _, p := range d.own {
		t, ended := ends[p]
		wanted, known := d.wantedBy(p.now.Owner, t)
		if !ended || !known || !d.within(t) || p.disrupted() || d.unselected(p) {
			continue
		}
		left := int32(0)
		for _, q := range d.own {
			if end, over := ends[q]; q != p && q.now.Owner == p.now.Owner && q.shown.t <= t && (!over || end > t) {
				left++
			}
		}
		if left >= wanted {
			continue
		}
		f := Finding{Kind: FoundPodDeleted, Severity: Limits, Object: "pod/" + p.name, SinceSeconds: new(t.Seconds()), UntilSeconds: new(t.Seconds()), Spoils: !d.looksOnly(),
			Seen:   fmt.Sprintf("Somebody deleted it at %.1f s: its %s wanted %s and had %d left. Kubernetes keeps who deletes an object in the audit log alone.", t.Seconds(), strings.Replace(p.now.Owner, "/", " ", 1), record.Counted(wanted, "pod"), left),
			Cause:  "There was less supply than the HPA had set until another pod was ready in its place.",
			Advice: "Run again without what deletes pods: a person, a chaos test, a descheduler."}
		if disruption(p.now.Status) != nil {
			f.Seen = fmt.Sprintf("It was evicted at %.1f s by a call of the eviction API, which kubectl drain, deschedulers, the VPA and node autoscalers use.", t.Seconds())
		}
		d.add(f)
	}
}

// wantedBy is the least of the replicas that a controller was to have around t.
func (d *diagnosis) wantedBy(owner string, t record.Instant) (least int32, known bool) {
	kind, name, _ := strings.Cut(owner, "/")
	var all []at[int32]
	switch {
	case kind == "ReplicaSet":
		all = d.replicaSets[name]
	case kind == "StatefulSet" && d.subject != nil && d.subject.Kind == kind && d.subject.Name == name:
		if slices.ContainsFunc(d.writes, func(w at[record.Change]) bool { return d.isTarget(w.v) }) {
			return 0, false // a rollout takes pods away one by one
		}
		for _, x := range d.targets {
			all = append(all, at[int32]{x.t, x.v.Replicas})
		}
	}
	for _, source := range []string{podSource, "replicasets", targetSource} {
		if _, gap := d.covered(source, t); gap {
			return 0, false
		}
	}
	for i, x := range all {
		if x.t <= t.Add(apart) && (i+1 == len(all) || all[i+1].t >= t.Add(-apart)) {
			if !known || x.v < least {
				least, known = x.v, true
			}
		}
	}
	return least, known
}

// disrupted says whether a controller of Kubernetes ended the pod for a reason of its
// own: preemption, a taint, a node that is gone or short of memory.
func (p *pod) disrupted() bool {
	c := disruption(p.now.Status)
	return c != nil && c.Reason != "EvictionByEvictionAPI" || p.finished || p.beforeStates[&p.terminating]
}

// disruption is the condition by which the API tells why a pod is ended, see
// https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions.
func disruption(s corev1.PodStatus) *corev1.PodCondition {
	return condition(s, corev1.DisruptionTarget)
}

// unselected says whether the pod is only not selected any more.
func (d *diagnosis) unselected(p *pod) bool {
	return slices.ContainsFunc(d.writes, func(w at[record.Change]) bool { return w.v.Kind == "Pod" && w.v.Name == p.name })
}

// subjectNamespace is that of the subject, in words if it is not known.
func (d *diagnosis) subjectNamespace() string {
	if d.subject == nil {
		return "of the target"
	}
	return d.subject.Namespace
}

// endedWithAll says whether what ended at t went with the target or the namespace.
func (d *diagnosis) endedWithAll(t record.Instant) bool {
	return slices.ContainsFunc(d.found, func(f Finding) bool {
		return f.Kind == FoundDeleted && (f.Object == d.target() || strings.HasPrefix(f.Object, "namespace/")) && t.Seconds() > since(f)-apart.Seconds()
	})
}
