package analysis

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/hpabench/hpabench/record"
)

// What bounds, refuses or changes the pods of a namespace.
const (
	quotaKind     = "ResourceQuota"
	rangeKind     = "LimitRange"
	namespaceKind = "Namespace" // by labels of pod security
)

// admissionKinds are those of the whole cluster: webhooks and policies.
var admissionKinds = slices.Collect(maps.Values(record.AdmissionKinds))

// refusal is what an admission plugin's message says of who refused an object.
type refusal struct {
	message         string
	webhook         string
	policy, binding string
	validates       bool // it is a ValidatingAdmissionPolicy
}

var (
	// "admission webhook %q denied the request", k8s.io/apiserver/pkg/admission/plugin/webhook/errors,
	// and "failed calling webhook %q", k8s.io/apiserver/pkg/util/webhook.
	webhookRefuses = regexp.MustCompile(`(?:admission|calling) webhook "([^"]+)"`)
	// k8s.io/apiserver/pkg/admission/plugin/policy, validating/dispatcher.go and generic/policy_dispatcher.go.
	policyRefuses = regexp.MustCompile(`(?:Validating(AdmissionP)|\bp)olicy ['"]([^'"]+)['"](?: with binding '([^']+)')? denied request`)
)

func refusedBy(message string) refusal {
	r := refusal{message: message}
	if m := webhookRefuses.FindStringSubmatch(message); m != nil {
		r.webhook = m[1]
	}
	if m := policyRefuses.FindStringSubmatch(message); m != nil {
		r.validates, r.policy, r.binding = m[1] != "", m[2], m[3]
	}
	return r
}

func (r refusal) says(words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(r.message, w) })
}

// byLevel says that the level of pod security refused: k8s.io/pod-security-admission/admission, EvaluatePod.
func (r refusal) byLevel() bool { return r.builtIn("violates PodSecurity") }

// byRange says that a LimitRange refused, which is not named:
// k8s.io/kubernetes/plugin/pkg/admission/limitranger, minConstraint and those beside it.
func (r refusal) byRange() bool {
	return r.builtIn(" per Container is ", " per Pod is ", "must be less than or equal to")
}

// builtIn says that a plugin of Kubernetes itself says one of the words: webhooks and policies
// say what they like.
func (r refusal) builtIn(words ...string) bool {
	return r.webhook == "" && r.policy == "" && r.says(words...)
}

// by says whether a change is one of the object that refused.
func (r refusal) by(c record.Change) bool {
	switch c.Kind {
	case quotaKind: // exceeded, failed or status unknown for quota: k8s.io/apiserver/pkg/admission/plugin/resourcequota, CheckRequest
		return r.builtIn(" quota: "+c.Name+",", " quota: "+c.Name+":")
	case rangeKind:
		return r.byRange()
	case namespaceKind:
		return r.byLevel()
	case "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration":
		return r.webhook != "" && slices.ContainsFunc(c.Fields, func(f record.FieldChange) bool { return strings.HasPrefix(f.Path, "webhooks["+r.webhook+"]") })
	}
	if r.policy == "" || r.validates != strings.HasPrefix(c.Kind, "Validating") {
		return false
	}
	if strings.HasSuffix(c.Kind, "Binding") {
		return c.Name == r.binding
	}
	return c.Name == r.policy
}

// refused is the cause and the advice of a refusal that nobody's change explains.
func (d *diagnosis) refused(r refusal) (cause, advice string) {
	switch {
	case r.webhook != "" && r.says("failed calling webhook"):
		return fmt.Sprintf("The API server gets no good answer from admission webhook %s, and refuses what the webhook should have judged (failurePolicy Fail).", r.webhook),
			"Look at the server of the webhook: `kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations -o yaml` has its address."
	case r.webhook != "":
		return fmt.Sprintf("Admission webhook %s refuses what is to be written.", r.webhook),
			"Ask whoever runs it: `kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations -o yaml` has its address."
	case r.policy != "":
		kind := "mutatingadmissionpolicy"
		if r.validates {
			kind = "validatingadmissionpolicy"
		}
		return fmt.Sprintf("Admission policy %s refuses what is to be written.", r.policy), fmt.Sprintf("`kubectl get %s %s -o yaml` shows its rule.", kind, r.policy)
	case r.byLevel():
		return "The namespace's level of pod security refuses the pods.",
			fmt.Sprintf("`kubectl get namespace %s --show-labels` shows the level: let the pod template meet it, or lower it.", d.subjectNamespace())
	case r.says("exceeded quota"):
		return "The namespace's ResourceQuota is used up.",
			fmt.Sprintf("Raise it or lower the HPA's maximum; `kubectl describe quota%s` shows what is used.", d.namespace())
	}
	return "Something refuses them when they are created: an admission policy, a LimitRange or a webhook.",
		fmt.Sprintf("Its name is in the message; `kubectl get limitrange,validatingwebhookconfigurations%s` lists the usual ones.", d.namespace())
}

// refusals calls do for the events by which controllers tell that the API server refused
// pods, or the HPA's write of the replicas.
func (d *diagnosis) refusals(do func(t record.Instant, e record.Event)) {
	for _, kind := range []string{"ReplicaSet", "StatefulSet", "Deployment"} {
		d.eventsOf(kind, "FailedCreate", do)
	}
	d.eventsOf("HorizontalPodAutoscaler", "FailedRescale", func(t record.Instant, e record.Event) {
		if r := refusedBy(e.Message); r.webhook != "" || r.policy != "" { // else it is a conflict of two writers
			do(t, e)
		}
	})
}

// refusers are the objects whose changes are told with what they refused.
func (d *diagnosis) refusers() map[string]bool {
	all := map[string]bool{}
	d.refusals(func(t record.Instant, e record.Event) {
		if t >= d.start {
			for _, w := range d.boundBy(t, refusedBy(e.Message)) {
				all[objectName(w.v.Kind, w.v.Name)] = true
			}
		}
	})
	return all
}

// creation finds why pods could not even be created, or the replicas not be set.
func (d *diagnosis) creation() {
	d.refusals(func(t record.Instant, e record.Event) {
		if t < d.start {
			return
		}
		r := refusedBy(e.Message)
		f := Finding{Kind: FoundQuota, Severity: Blocks, Object: objectName(e.Kind, e.Name), SinceSeconds: new(t.Seconds())}
		f.Seen = fmt.Sprintf("Pods could not be created%s.", detail(e.Message))
		if e.Reason == "FailedRescale" {
			f.Seen = fmt.Sprintf("The HPA could not set the replicas of its target%s.", detail(e.Message))
		}
		f.Cause, f.Advice = d.refused(r)
		if by := d.boundBy(t, r); len(by) > 0 {
			f.Seen += " " + d.boundChanges(by)
			within := slices.DeleteFunc(slices.Clone(by), func(w at[record.Change]) bool { return !d.within(w.t) }) // else it is what was measured
			f.Spoils = len(within) > 0 && !d.looksOnly()
			if slices.ContainsFunc(within, func(w at[record.Change]) bool { return w.t <= t.Add(apart) }) { // one that came later did not refuse
				f.Cause = "Somebody changed what is allowed meanwhile: the pods are not those that the HPA wanted, by that and not by the scaling."
				f.Advice = "Run again without that change, or make it before the run."
			}
		} else if hidden := d.hidden(r); hidden != "" {
			f.Seen += fmt.Sprintf(" Whether somebody made or changed it meanwhile is not known: there was no right to list and watch %s.", hidden)
		}
		d.add(f)
	})
}

// stuckAfter is how long the Deployment controller may take to set the replicas of a
// ReplicaSet: it does so within milliseconds, and tries again after at most a few seconds.
const stuckAfter = 10 * time.Second

// stuck finds that a Deployment's ReplicaSets did not get its replicas after somebody made or
// changed a webhook or an admission policy. Of such a refusal there is no event.
func (d *diagnosis) stuck() {
	var by []at[record.Change]
	for _, w := range d.writes {
		if slices.Contains(admissionKinds, w.v.Kind) && !renewed(w.v) {
			by = append(by, w)
		}
		if d.isTarget(w.v) {
			return // a rollout has replicas of its own
		}
	}
	if len(by) == 0 || d.subject == nil || d.subject.Kind != "Deployment" || len(d.replicaSets) == 0 {
		return
	}
	var changes []at[struct{}]
	for _, all := range d.replicaSets {
		for _, x := range all {
			changes = append(changes, at[struct{}]{t: x.t})
		}
	}
	slices.SortFunc(changes, func(a, b at[struct{}]) int { return cmp.Compare(a.t, b.t) })
	wanted := func(t record.Instant) (sum int32) {
		for _, all := range d.replicaSets {
			replicas, _ := last(all, t)
			sum += replicas
		}
		return sum
	}
targets:
	for i, x := range d.targets {
		from, to := max(x.t, d.start), standsUntil(d.targets, i, d.end)
		had := wanted(from)
		for _, c := range changes[after(changes, from):after(changes, max(from, to))] {
			if now := wanted(c.t); now == x.v.Replicas {
				to = c.t
				break
			} else if now != had {
				continue targets // it is written to: a rollout has more for a while
			}
		}
		_, gap := d.covered("replicasets", to)
		earlier := slices.DeleteFunc(slices.Clone(by), func(w at[record.Change]) bool { return w.t > x.t.Add(apart) })
		if to.Sub(from) > stuckAfter && had != x.v.Replicas && !gap && len(earlier) > 0 {
			d.add(Finding{Kind: FoundQuota, Severity: Blocks, Object: d.target(), SinceSeconds: new(from.Seconds()), UntilSeconds: d.until(to),
				Spoils: !d.looksOnly() && slices.ContainsFunc(earlier, func(w at[record.Change]) bool { return d.within(w.t) }),
				Seen:   fmt.Sprintf("Its spec.replicas were %d for %.0f s, and those of its ReplicaSets %d. %s", x.v.Replicas, to.Sub(from).Seconds(), had, d.boundChanges(earlier)),
				Cause:  "One of these refuses most likely what the Deployment controller writes to a ReplicaSet: the log of kube-controller-manager alone says so.",
				Advice: "Run again without that change, or make it before the run."})
		}
	}
}

// hidden is the resource of what refused, if the preflight said that it cannot be watched.
func (d *diagnosis) hidden(r refusal) string {
	var resources []string
	switch {
	case r.webhook != "":
		resources = []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"}
	case r.policy != "" && r.validates:
		resources = []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"}
	case r.policy != "":
		resources = []string{"mutatingadmissionpolicies", "mutatingadmissionpolicybindings"}
	case r.byRange():
		resources = []string{"limitranges"}
	case r.says(" quota: "):
		resources = []string{"resourcequotas"}
	}
	var hidden []string
	for _, resource := range resources {
		if slices.ContainsFunc(d.checks, func(c record.Check) bool {
			return c.Name == "rights" && c.Outcome == record.Warning && strings.Contains(c.Message, " list "+resource)
		}) {
			hidden = append(hidden, resource)
		}
	}
	return strings.Join(hidden, " and ")
}

// bounded tells of the changes of one object that bounds, refuses or changes pods, and
// refused none: those that did are with what they refused. Objects of the whole cluster are
// changed all the time: of theirs it tells those that changed the pods alone.
func (d *diagnosis) bounded(object string, all []at[record.Change]) {
	kind := all[0].v.Kind
	if strings.HasPrefix(kind, "Mutating") {
		if all = slices.DeleteFunc(slices.Clone(all), func(w at[record.Change]) bool { return renewed(w.v) }); len(all) == 0 {
			return
		}
	}
	f := Finding{Kind: FoundChanged, Severity: Notice, Object: object, SinceSeconds: new(all[0].t.Seconds()), Seen: d.boundChanges(all),
		Cause:  "It refused no pods, and no figure depends on it.",
		Advice: "Nothing has to be done for the figures."}
	name, t := d.differs(all[0].t)
	switch {
	case name != "" && (kind == rangeKind || strings.HasPrefix(kind, "Mutating")):
		f.Severity, f.Spoils = Limits, d.within(t) && !d.looksOnly()
		f.Cause = fmt.Sprintf("Pods that were made after it have other requests or limits than those before, pod %s first: the figures are of both.", name)
		f.Advice = "Run again without that change, or make it before the run."
	case kind != quotaKind && kind != rangeKind:
		return
	}
	d.found = append(d.found, f)
}

// renewed says that a webhook has another certificate, and nothing else: a controller's daily work.
func renewed(c record.Change) bool {
	return c.What == record.ChangeUpdated && !slices.ContainsFunc(c.Fields, func(f record.FieldChange) bool { return !strings.HasSuffix(f.Path, ".caBundle") })
}

// differs is the first pod that came after t with other requests or limits than the last
// one before; its name is empty if there is none, and where the pod template was changed.
func (d *diagnosis) differs(t record.Instant) (name string, since record.Instant) {
	var before, after *pod
	for _, p := range d.own {
		if p.shown.t <= t && (before == nil || p.shown.t > before.shown.t) {
			before = p
		}
	}
	for _, p := range d.own {
		if before != nil && p.shown.t > t && p.shown.t <= d.end && !equality.Semantic.DeepEqual(p.now.Containers, before.now.Containers) && (after == nil || p.shown.t < after.shown.t) {
			after = p
		}
	}
	if after == nil || slices.ContainsFunc(d.writes, func(w at[record.Change]) bool { return d.isTarget(w.v) }) {
		return "", 0
	}
	return after.name, after.shown.t
}

// boundBy are the changes by others of what refused at t: not of what was made after t, nor
// of a webhook's certificate where the webhook was reached.
func (d *diagnosis) boundBy(t record.Instant, r refusal) (all []at[record.Change]) {
	for _, w := range d.writes {
		if w.v.Kind == namespaceKind && w.v.Time != nil { // it was looked at when pods were refused; the time is that of the second's start
			w.t = max(0, min(w.t, d.instant(w.v.Time.Add(time.Second))))
		}
		before := w.t <= t.Add(apart)
		harmless := w.v.What == record.ChangeCreated && !before || renewed(w.v) && (!before || !r.says("failed calling webhook"))
		if r.by(w.v) && w.t <= d.end && !harmless {
			all = append(all, w)
		}
	}
	return all
}

// boundChanges says what was done to what bounds, refuses or changes pods, and by whom.
func (d *diagnosis) boundChanges(all []at[record.Change]) string {
	var seen []string
	for n, w := range all {
		what := fmt.Sprintf("%s %s", w.v.Kind, w.v.Name)
		switch {
		case n == mostChanges:
			return strings.Join(append(seen, fmt.Sprintf("%d more changes came after.", len(all)-n)), " ")
		case w.v.What == record.ChangeCreated:
			separator := ", with "
			for _, f := range w.v.Fields {
				what += separator + strings.TrimSuffix(f.Path+": "+f.Now, ": ")
				separator = "; "
			}
			seen = append(seen, fmt.Sprintf("At %.1f s %s made %s.", w.t.Seconds(), who(w.v), what))
		case w.v.What == record.ChangeDeleted:
			seen = append(seen, fmt.Sprintf("Somebody deleted %s at %.1f s; Kubernetes keeps who deletes an object in the audit log alone.", what, w.t.Seconds()))
		default:
			seen = append(seen, fmt.Sprintf("At %.1f s %s changed %s: %s.", w.t.Seconds(), who(w.v), what, fieldList(w.v.Fields)))
		}
	}
	return strings.Join(seen, " ")
}
