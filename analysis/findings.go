package analysis

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/ptr"

	"github.com/hpabench/hpabench/record"
)

// patience is how long a pod may take to get ready, or to be not ready again,
// before that is a finding. It is two of the HPA's default sync periods: what is
// over sooner costs the HPA one look at most.
const patience = 30 * time.Second

// findings says what stood in the way of scaling, the worst first. What came
// before the judged stretch is left out, unless it still was so then.
func (o *observed) findings(r *Result) []Finding {
	d := &diagnosis{observed: o, r: r}
	for _, p := range o.pods {
		if !p.foreign {
			d.own = append(d.own, p)
		}
	}
	d.every, d.levels = d.resolution(), d.metricLevels()
	d.others()
	d.overlap()
	d.rollouts()
	d.pods()
	d.creation()
	d.stuck()
	d.metrics()
	d.zero()
	d.starved()
	d.scaling()
	d.traffic()
	for i := range d.found {
		if f := &d.found[i]; slices.Contains(ofLoad, f.Kind) {
			if f.Doubt = r.Load.doubt(since(*f), ptr.Deref(f.UntilSeconds, math.Inf(1))); f.Doubt != "" {
				f.Seen += " This is doubtful, as " + f.Doubt + "."
			}
		}
	}
	if o.header.FixedReplicas {
		d.found = slices.DeleteFunc(d.found, func(f Finding) bool { return f.Kind == FoundMinIsMax })
	}
	order := []string{Blocks, Limits, Notice}
	slices.SortStableFunc(d.found, func(a, b Finding) int {
		return cmp.Or(slices.Index(order, a.Severity)-slices.Index(order, b.Severity), cmp.Compare(since(a), since(b)))
	})
	return d.found
}

func since(f Finding) float64 {
	return ptr.Deref(f.SinceSeconds, 0)
}

// Spoiled returns the findings of what somebody did that spoils the measurement, by
// their instants.
func (r *Result) Spoiled() (all []Finding) {
	for _, f := range r.Findings {
		if f.Spoils {
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(since(a), since(b)) })
	return all
}

// diagnosis collects findings.
type diagnosis struct {
	*observed
	r      *Result
	own    []*pod // that the target made
	found  []Finding
	every  time.Duration // see resolution
	levels []at[usage]   // see metricLevels
}

// ofScaledObject replaces the fields of an HPA by those of the ScaledObject that KEDA makes the HPA of.
var ofScaledObject = strings.NewReplacer("behavior.", "advanced.horizontalPodAutoscalerConfig.behavior.",
	"minReplicas", "minReplicaCount of the ScaledObject", "maxReplicas", "maxReplicaCount of the ScaledObject",
	"the HPA's target", "a trigger's threshold or value")

// add adds f, or its object to the finding of the same kind and severity that is
// there: one fault of a template shows on each of its pods.
func (d *diagnosis) add(f Finding) {
	if s, ok := lastOf(d.scaled, d.end); ok && !s.Deleted { // KEDA would undo a change of the HPA
		f.Cause, f.Advice = ofScaledObject.Replace(f.Cause), ofScaledObject.Replace(f.Advice)
	}
	for i := range d.found {
		is := &d.found[i]
		if is.Kind != f.Kind || is.Severity != f.Severity {
			continue
		}
		if is.Object != f.Object && !slices.Contains(is.Others, f.Object) {
			is.Others = append(is.Others, f.Object)
		}
		if f.Spoils && !is.Spoils { // what somebody did is told first
			is.Spoils, is.Seen, is.Cause, is.Advice = true, f.Seen, f.Cause, f.Advice
		}
		is.Spells = append(is.Spells, f.Spells...)
		if since(f) < since(*is) {
			is.SinceSeconds = f.SinceSeconds
		}
		switch {
		case is.UntilSeconds == nil || f.UntilSeconds == nil:
			is.UntilSeconds = nil
		case *f.UntilSeconds > *is.UntilSeconds:
			is.UntilSeconds = f.UntilSeconds
		}
		return
	}
	d.found = append(d.found, f)
}

// seconds of t, nil if it is at or after the end of the judged stretch.
func (d *diagnosis) until(t record.Instant) *float64 {
	if t >= d.end {
		return nil
	}
	return new(t.Seconds())
}

// instant is that of an object's own timestamp, which is of another clock.
func (o *observed) instant(t time.Time) record.Instant {
	return record.Instant(t.Sub(o.header.Started))
}

// looksOnly says whether hpabench sent no load itself.
func (o *observed) looksOnly() bool {
	return len(o.spans) > 0 && o.spans[0].plan.Shape == record.ShapeObserved
}

func (d *diagnosis) target() string {
	switch {
	case d.subject == nil:
		return "the target"
	case d.subject.Kind == "": // a load without a cluster
		return d.subject.URL
	}
	return strings.ToLower(d.subject.Kind) + "/" + d.subject.Name
}

func (d *diagnosis) hpa() string {
	if d.subject != nil && d.subject.Autoscaler != "" {
		return "hpa/" + d.subject.Autoscaler
	}
	if hpa := d.autoscaler(d.end); hpa != nil {
		return "hpa/" + hpa.Name
	}
	return "the HPA"
}

// namespace is the flag of kubectl for the subject's namespace.
func (d *diagnosis) namespace() string {
	if d.subject == nil {
		return ""
	}
	return " -n " + d.subject.Namespace
}

// events calls do for the events of a kind of object and a reason that were seen
// up to the end of the judged stretch.
func (d *diagnosis) eventsOf(kind, reason string, do func(t record.Instant, e record.Event)) {
	for _, e := range d.byReason[[2]string{kind, reason}] {
		if e.t <= d.end {
			do(e.t, e.v)
		}
	}
}

// eventsOfPod is eventsOf for one pod.
func (d *diagnosis) eventsOfPod(name, reason string, do func(t record.Instant, e record.Event)) {
	for _, e := range d.ofPods[[2]string{reason, name}] {
		if e.t <= d.end {
			do(e.t, e.v)
		}
	}
}
