package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hpabench/hpabench/record"
	corev1 "k8s.io/api/core/v1"
)

// overlap finds pods of others that the target's selector selects, and says what they do to the HPA.
func (d *diagnosis) overlap() {
	var others []*pod
	for _, p := range d.observed.pods {
		if p.foreign && p.shown.t <= d.end && (!p.gone.seen || p.gone.t > d.start) {
			others = append(others, p)
		}
	}
	if len(others) == 0 {
		return
	}
	count := map[string]int{} // of the pods, by owner and state
	var order, lacking []string
	states := map[corev1.PodPhase]bool{}
	for _, p := range others {
		state := p.now.Status.Phase
		states[state] = true
		name := record.PodOwner(p.now.Owner)
		if state == corev1.PodSucceeded || state == corev1.PodFailed {
			name += ", ended as " + string(state)
		}
		if count[name]++; count[name] == 1 {
			order = append(order, name)
		}
		if hpa := d.autoscaler(d.end); hpa != nil {
			for _, m := range hpa.Spec.Metrics {
				_, names := record.WithoutRequest(m, p.now.Containers, p.now.Resources)
				for _, name := range names {
					// The controller sums the requests of all pods, in any state (calculateRequests).
					if !slices.Contains(lacking, name) {
						lacking = append(lacking, name)
					}
				}
			}
		}
	}
	for i, name := range order {
		order[i] = fmt.Sprintf("%s of %s", record.Counted(count[name], "pod"), name)
	}
	f := Finding{Kind: FoundOverlap, Severity: Limits, Object: d.target(), SinceSeconds: new(max(0, others[0].shown.t.Seconds())),
		Seen:   fmt.Sprintf("Its selector selects pods of others too: %s.", strings.Join(order, "; ")),
		Advice: "Give each workload labels of its own in its selector and pod template (a Deployment's selector cannot be changed: make it anew)."}
	if slices.ContainsFunc(others, func(p *pod) bool { return strings.HasPrefix(p.now.Owner, "Job/") }) {
		f.Advice += " Pods of a Job that ended go with the Job: `ttlSecondsAfterFinished`, or `kubectl delete job`."
	}
	var causes []string
	if len(lacking) > 0 {
		f.Severity = Blocks
		causes = append(causes, fmt.Sprintf("The HPA takes them for the target's own, and has no metric at all while one of their containers has no request: %s.", strings.Join(lacking, ", ")))
	}
	if states[corev1.PodSucceeded] {
		causes = append(causes, "A pod that succeeded has no metric: the HPA counts it as idle when it adds replicas and as "+d.missingCountsAs()+" when it takes some away, so that it keeps more replicas than the load needs.")
	}
	if states[corev1.PodRunning] || states[corev1.PodPending] {
		causes = append(causes, "The HPA averages the metrics of those that run with the target's own, and adds or removes replicas of the target for load that is not the target's.")
	}
	if len(causes) == 0 {
		causes = append(causes, "The HPA leaves out pods that failed; the next one that runs counts as the target's own.")
	}
	f.Cause = strings.Join(causes, " ")
	d.found = append(d.found, f)
}

// missingCountsAs is what a pod without a sample counts as when the HPA takes replicas away: see GetResourceReplicas and
// calcPlainMetricReplicas in k8s.io/kubernetes/pkg/controller/podautoscaler.
func (d *diagnosis) missingCountsAs() string {
	share, value := false, false
	if hpa := d.autoscaler(d.end); hpa != nil {
		for _, m := range hpa.Spec.Metrics {
			_, target := record.MetricTarget(m)
			share, value = share || target.AverageUtilization != nil, value || target.AverageValue != nil
		}
	}
	switch {
	case share && value:
		return "at 100 % of its request, or at the target if that is higher (for a target of type AverageValue: at the target),"
	case value:
		return "at the target"
	}
	return "at 100 % of its request (or at the target, if that is higher)"
}

// rollouts finds that the pods of one template replaced those of another while the run was judged.
func (d *diagnosis) rollouts() {
	var from, to record.Instant
	var fresh, old []string
	made := 0
	for _, p := range d.own {
		name := p.template()
		if p.replaces && p.created.t >= d.start && p.created.t < d.end {
			if made++; made == 1 {
				from = p.created.t
			}
			to = max(to, p.created.t)
			if !slices.Contains(fresh, name) {
				fresh = append(fresh, name)
			}
		}
	}
	for _, p := range d.own {
		name := p.template()
		if made > 0 && p.replaced && p.terminating.seen && p.terminating.t >= d.start && p.terminating.t < d.end && !slices.Contains(old, name) {
			to = max(to, p.terminating.t)
			old = append(old, name)
		}
	}
	if made == 0 || len(old) == 0 {
		return
	}
	f := Finding{Kind: FoundRollout, Severity: Limits, Object: d.target(), SinceSeconds: new(from.Seconds()), UntilSeconds: d.until(to),
		Seen:   fmt.Sprintf("A rollout replaced pods of %s: %s of %s were created while others of the target were still there, the last change of it at %.1f s.", strings.Join(old, ", "), record.Counted(made, "pod"), strings.Join(fresh, ", "), to.Seconds()),
		Cause:  "The HPA counts old and new pods alike, and new ones take CPU to start; the stages of a scale-up or scale-down leave out the pods that the rollout created and ended.",
		Advice: fmt.Sprintf("Wait for `kubectl rollout status %s%s` before the load begins.", d.target(), d.namespace())}
	if slices.ContainsFunc(d.found, func(f Finding) bool { return f.Kind == FoundChanged && f.Object == d.target() }) {
		f.Severity = Notice // who began it is the finding
	}
	d.add(f)
}
