package analysis

import "strings"

// described says what each figure is, by its name: * stands for one part of it, the
// number of a transition or the name of a phase. Units and precision are the Figure's.
var described = []struct{ name, text string }{
	{"scaleUp.inService", "Scale-up latency: from the onset (the start of the phase that brought more load) to the first new pod in service, its address ready in an EndpointSlice. Of the first scale-up in which replicas were added."},
	{"scaleUp.inService.p50", "The same up to the median new pod in service (the lower one of two)."},
	{"scaleUp.inService.max", "The same up to the last new pod in service."},
	{"scaleUp.timeToFull", "From the onset until the pods in service reach the number at which they stay."},
	{"scaleUp.stage.metricsLag", "First stage of the first new pod: from the onset until a sample of the pods' metrics above target × (1 + tolerance) is read."},
	{"scaleUp.stage.decision", "From there until the target's spec.replicas rises."},
	{"scaleUp.stage.create", "From there until the new pod is seen."},
	{"scaleUp.stage.schedule", "From there until PodScheduled is true."},
	{"scaleUp.stage.pullInit", "From there until init containers are done and images are pulled."},
	{"scaleUp.stage.start", "From there until all containers run."},
	{"scaleUp.stage.ready", "From there until Ready is true: the probes passed."},
	{"scaleUp.stage.inService", "From there until its address is ready in an EndpointSlice."},
	{"scaleDown.latency", "Scale-down latency: from the onset (the start of the phase that brought less load) to the first fall of spec.replicas. Of the last scale-down in which replicas were taken away."},
	{"scaleDown.heldByWindow", "The part of it that the HPA's stabilization window explains; the window runs from the last time that the HPA recommended more."},
	{"scaleDown.lessWindow", "The rest of it."},
	{"scaleDown.settle", "From the onset until the replicas are where they stay and the last pod is gone."},
	{"scaleDown.stage.metricsLag", "First stage of the first pod to go: from the onset until the metrics are below target × (1 − tolerance)."},
	{"scaleDown.stage.stabilization", "From there until the stabilization window lets go."},
	{"scaleDown.stage.decision", "From there until spec.replicas falls."},
	{"scaleDown.stage.terminating", "From there until the pod's deletion is seen."},
	{"scaleDown.stage.outOfService", "From there until its address is no longer ready."},
	{"scaleDown.stage.preStop", "From there until a preStop hook that sleeps is over."},
	{"scaleDown.stage.exit", "From there until its containers have ended."},
	{"scaleDown.stage.gone", "From there until the object is removed."},
	{"transition.*.onset", "When transition N (from 1, up or down) began, on the run's clock."},
	{"transition.*.inService", "As scaleUp.inService, of transition N."},
	{"transition.*.inService.p50", "As scaleUp.inService.p50, of transition N."},
	{"transition.*.inService.max", "As scaleUp.inService.max, of transition N."},
	{"transition.*.timeToFull", "As scaleUp.timeToFull, of transition N."},
	{"transition.*.latency", "As scaleDown.latency, of transition N."},
	{"transition.*.heldByWindow", "As scaleDown.heldByWindow, of transition N."},
	{"transition.*.lessWindow", "As scaleDown.lessWindow, of transition N."},
	{"transition.*.settle", "As scaleDown.settle, of transition N."},
	{"replicas.peak", "The largest number of ready pods that are not terminating."},
	{"replicas.last", "That number at the end."},
	{"replicas.desiredPeak", "The largest spec.replicas of the target."},
	{"replicas.reach", "How far the replicas went from the HPA's minimum to its maximum: (peak − min)/(max − min)."},
	{"replicas.firstAtMax", "When the ready pods first were at the HPA's maximum, on the run's clock."},
	{"replicas.saturated", "The share of the run, from 0 to 1, with ready pods at the maximum."},
	{"hpa.min", "The HPA's minReplicas."},
	{"hpa.max", "The HPA's maxReplicas."},
	{"elasticity.underProvisioned.accuracy", "How many replicas were missing, on average over the load: 1/T ∫ max(demand − supply, 0) dt."},
	{"elasticity.underProvisioned.normalized", "The same as a share of the demand."},
	{"elasticity.underProvisioned.timeshare", "The share of the time, from 0 to 1, in which replicas were missing."},
	{"elasticity.overProvisioned.accuracy", "How many replicas were too many, on average over the load: 1/T ∫ max(supply − demand, 0) dt."},
	{"elasticity.overProvisioned.normalized", "The same as a share of the demand."},
	{"elasticity.overProvisioned.timeshare", "The share of the time, from 0 to 1, in which there were too many."},
	{"elasticity.jitter", "Changes of supply less those of demand, in replicas a minute."},
	{"elasticity.replicaSeconds", "The supply, added up over the load: replicas × seconds."},
	{"elasticity.wasted", "The replica-seconds beyond the demand."},
	{"load.*.duration", "How long the phase took, from its start mark to its end mark."},
	{"load.*.offered", "Requests that the plan says; in a closed loop, those sent."},
	{"load.*.sent", "Requests sent."},
	{"load.*.unsent", "Requests planned and never sent, because the load generator could not keep up."},
	{"load.*.answered", "Answers of any code."},
	{"load.*.failed", "Requests without an answer."},
	{"load.*.aborted", "Requests in flight when the run was cut short."},
	{"load.*.unknown", "Requests that a worker of via: job may have sent, when nothing was heard from it any more: what became of them is not known."},
	{"load.*.errors", "Answers that are neither 2xx nor 3xx, and requests that failed."},
	{"load.*.late", "Requests sent more than 10 ms behind their schedule."},
	{"load.*.offeredRate", "Offered requests a second."},
	{"load.*.achievedRate", "Answers a second that came within the phase."},
	{"load.*.errorShare", "Errors as a share, from 0 to 1, of what was answered and what failed."},
	{"load.*.sloViolated", "The share, from 0 to 1, of what was answered and what failed that did not meet the scenario's slo: an error, or slower than its latency. It is missing where there are slow answers and answers that are errors, as which are both is not recorded."},
	{"load.*.p50", "Half of the answers took no longer; in an open loop from when they were due."},
	{"load.*.p90", "90 % of the answers took no longer."},
	{"load.*.p95", "95 % of the answers took no longer."},
	{"load.*.p99", "99 % of the answers took no longer."},
	{"load.*.max", "The slowest answer."},
	{"load.*.bytesIn", "Bytes of the answers' bodies."},
	{"load.*.bytesOut", "Bytes of the requests' bodies."},
	{"load.*.lateMax", "How far behind its schedule a request was sent at most."},
	{"load.*.lateP99", "99 % of the requests were sent no later than this behind their schedule."},
	{"load.*.asPlanned", "Whether the load was as the plan says: 0.1 % of it at most unsent, 0.1 % at most unknown, and 0.1 % at most late by more than 1 % of the HPA's sync period (of the phase where that is shorter)."},
	{"load.*.spread.maxOverMean", "The busiest pod's rate over the mean rate of all in service; 1 when all got the same."},
	{"load.*.spread.gini", "Gini coefficient of the pods' rates; 0 when all got the same."},
}

// Describe says in words what the figure of that name is: a name of Figures, or one
// with * for the number of a transition or the name of a phase. It is empty for another
// name.
func Describe(name string) string {
	parts := strings.Split(name, ".")
	for _, d := range described {
		pattern := strings.Split(d.name, ".")
		fits := len(pattern) == len(parts)
		for i := 0; fits && i < len(parts); i++ {
			fits = pattern[i] == parts[i] || pattern[i] == "*"
		}
		if fits {
			return d.text
		}
	}
	return ""
}
