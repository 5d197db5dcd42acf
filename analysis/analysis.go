// Package analysis turns the record of a run into figures: how long a scale-up
// took and which stage of it was slow, how long a scale-down took and how much
// of that was the stabilization window, and what load was answered meanwhile.
//
// Analyze is a pure function; it reads no clock and no network, so the figures
// of an old run can be worked out again. It goes three ways through a record:
//
//  1. observe sorts the entries by their instants and follows the state of the
//     pods, the EndpointSlices, the target and the HPA through them.
//  2. Transitions are cut out of it: one for each change of demand, from its
//     onset to the onset of the next. Each gets its latencies and stages.
//  3. Reach, load by phase, the timeline and the pods are summed up.
//
// Every instant is one on the runner's clock, at which a change arrived by
// watch. A figure that could not be measured is absent and says why in words;
// it is never zero. What casts doubt on a run is a warning in the Result; an
// error means that there is no result.
package analysis

import (
	"fmt"

	"github.com/hpabench/hpabench/record"
)

// LoadOnly says that no cluster was looked at.
func (r *Result) LoadOnly() bool { return r.Subject != nil && r.Subject.Kind == "" }

// Analyze works out the figures of run. It fails if the record has no header,
// holds a histogram that cannot be read, or spans more than record.MaxInstant.
func Analyze(run record.Run) (*Result, error) {
	var b Builder
	for _, e := range run.Entries {
		b.AddEntry(e)
	}
	b.truncated = run.Truncated
	return b.Result()
}

func analyze(b *Builder) (*Result, error) {
	h, o := b.header, observe(b)
	if length := o.end.Sub(o.start); length > record.MaxInstant {
		return nil, fmt.Errorf("analysing run %s: its phases span %s, which cannot be", h.Run, length)
	}
	r := &Result{
		Version: Version, Run: h.Run, Scenario: h.Scenario, Source: h.Source, Hpabench: h.Version, Started: h.Started,
		Truncated: b.truncated, Cluster: o.cluster, Subject: o.subject,
		StartSeconds: o.start.Seconds(), EndSeconds: o.end.Seconds(),
		Checks: o.checks, Notes: o.notes, Gaps: o.gaps, Events: o.resultEvents(), Pods: o.resultPods(),
	}
	if o.finish != nil {
		r.Outcome, r.Error, r.Left = o.finish.Outcome, o.finish.Error, o.finish.Left
	}
	if hpa := o.autoscaler(o.end); hpa != nil {
		r.Autoscaler, r.Signals = policyOf(hpa.Spec, o.flags).result(), o.resultSignals()
	}
	if s, ok := lastOf(o.scaled, o.end); ok {
		r.ScaledObject = s
	}
	r.Assumed = o.assumed(r)
	load, rows := o.sumLoad()
	r.Load = load
	if !r.LoadOnly() {
		r.Transitions = o.transitions(load)
	}
	for i := range r.Transitions {
		t := &r.Transitions[i]
		t.Doubt = load.doubt(t.OnsetSeconds-0.001, t.EndSeconds)
	}
	r.Reach, r.AtZero, r.Queue = o.reach(), o.atZero(), o.queue()
	demand, unknown := o.demand()
	r.Elasticity, r.ElasticityMissing = o.elasticity(demand, unknown)
	r.Timeline, r.TimelineEvery = o.timeline(rows, demand)
	if len(h.Phases) > 0 && h.Phases[0].Shape == record.ShapeObserved {
		r.Now = o.now()
	}
	r.Findings = o.findings(r)
	r.Warnings = o.warnings(r)
	for i := range o.usages { // of which the timeline keeps the figures
		o.usages[i].v.reading = nil
	}
	return r, nil
}
