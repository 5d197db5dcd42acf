package analysis

import (
	"fmt"
	"slices"
)

// Figure is one number of a Result under a name that stays. Value is nil if it
// is Missing for that reason. Precision has the unit of Value; zero says that
// the value is exact, as counts are. Doubt says that the load which it comes from
// was not as planned.
type Figure struct {
	Name      string
	Value     *float64
	Unit      string // "s", "replicas", "requests", "1/s", "1", "bytes", "bool" (0 or 1)
	Precision float64
	Missing   string
	Doubt     string
	Assumed   bool // it rests on what the Result lists as Assumed
}

// FirstUp returns the transition that the names scaleUp.* stand for: the first up
// in which spec.replicas rose. When they never did it is the one that brought
// the most load; nil if none brought more.
func (r *Result) FirstUp() *Transition {
	var most *Transition
	for i := range r.Transitions {
		t := &r.Transitions[i]
		if t.ScaleUp == nil {
			continue
		}
		if slices.ContainsFunc(t.Steps, func(s Step) bool { return s.To > s.From }) {
			return t
		}
		if most == nil || t.ToRate-t.FromRate > most.ToRate-most.FromRate {
			most = t
		}
	}
	return most
}

// LastDown returns the transition that the names scaleDown.* stand for: the last
// down in which spec.replicas fell. When they never did it is the last down of
// all; nil if there is none.
func (r *Result) LastDown() *Transition {
	var last *Transition
	for i := range slices.Backward(r.Transitions) {
		t := &r.Transitions[i]
		if t.ScaleDown == nil {
			continue
		}
		if slices.ContainsFunc(t.Steps, func(s Step) bool { return s.To < s.From }) {
			return t
		}
		if last == nil {
			last = t
		}
	}
	return last
}

// Figures lists the figures of r, always in the same order:
//
//	scaleUp.inService, .inService.p50 and .max, .timeToFull, .stage.<stage>  of FirstUp
//	scaleDown.latency, .heldByWindow, .lessWindow, .settle  of LastDown
//	scaleDown.stage.<stage>
//	transition.<n>.inService and .timeToFull, or .latency, .heldByWindow, .lessWindow and .settle
//	replicas.peak, .last, .desiredPeak, .reach, .firstAtMax, .saturated
//	hpa.min, .max
//	elasticity.underProvisioned.accuracy, .normalized and .timeshare, .overProvisioned.*
//	elasticity.jitter, .replicaSeconds, .wasted
//	load.total.<figure> and load.<phase>.<figure>
//
// Transitions count from 1. All but those of a transition or a phase are there
// in every Result, be they missing. Describe says what they are.
func (r *Result) Figures() []Figure {
	var list figures
	begun, doubt := 0, ""
	// doubted gives a doubt to the figures that were added since it was called last.
	doubted := func(doubt string) {
		for i := range list[begun:] {
			list[begun+i].Doubt = doubt
		}
		begun = len(list)
	}
	up, noUp := ScaleUp{}, "no phase brought more load"
	up.Latency.Missing, up.TimeToFull.Missing = noUp, noUp
	if t := r.FirstUp(); t != nil {
		up, doubt = *t.ScaleUp, t.Doubt
	}
	list.up("scaleUp", up)
	var observed []Stage
	if up.First != nil {
		observed = up.First.Stages
	}
	list.stages("scaleUp", upStages, observed, up.Latency.Missing)
	doubted(doubt)
	doubt = ""
	down, noDown := ScaleDown{}, "no phase brought less load"
	for _, l := range []*Latency{&down.Latency, &down.HeldByWindow, &down.LessWindow, &down.Settle} {
		l.Missing = noDown
	}
	if t := r.LastDown(); t != nil {
		down, doubt = *t.ScaleDown, t.Doubt
	}
	list.down("scaleDown", down)
	noPod := down.Latency.Missing
	observed = nil
	if down.First != nil {
		observed, noPod = down.First.Stages, "the pod has no preStop hook"
	}
	list.stages("scaleDown", append(slices.Clone(downStages), StagePreStop), observed, noPod)
	doubted(doubt)
	for i, t := range r.Transitions {
		name := fmt.Sprintf("transition.%d", i+1)
		list.add(name+".onset", "s", &t.OnsetSeconds, "")
		if t.ScaleUp != nil {
			list.up(name, *t.ScaleUp)
		} else {
			list.down(name, *t.ScaleDown)
		}
		doubted(t.Doubt)
	}

	no := r.Reach.Missing
	list.add("replicas.peak", "replicas", float(r.Reach.Peak), no)
	list.add("replicas.last", "replicas", float(r.Reach.Last), no)
	list.add("replicas.desiredPeak", "replicas", float(r.Reach.DesiredPeak), "the target was not observed")
	noReach := no
	if noReach == "" {
		noReach = "the HPA's minimum is its maximum"
	}
	list.add("replicas.reach", "1", r.Reach.Fraction, noReach)
	first := r.Reach.FirstAtMax
	list = append(list, Figure{Name: "replicas.firstAtMax", Value: first.AtSeconds, Unit: "s", Precision: first.PrecisionSeconds, Missing: first.Missing})
	list.add("replicas.saturated", "1", r.Reach.Saturated, no)
	doubted(r.Load.Total.Doubt)
	noHPA := "the HPA was not observed"
	list.add("hpa.min", "replicas", float(r.Reach.Min), noHPA)
	list.add("hpa.max", "replicas", float(r.Reach.Max), noHPA)
	doubted("")
	e, no := r.Elasticity, r.ElasticityMissing
	for _, f := range []struct {
		name, unit string
		of         func(*Elasticity) *float64
	}{
		{"underProvisioned.accuracy", "1", func(e *Elasticity) *float64 { return &e.AccuracyUnder }},
		{"underProvisioned.normalized", "1", func(e *Elasticity) *float64 { return &e.NormalizedUnder }},
		{"underProvisioned.timeshare", "1", func(e *Elasticity) *float64 { return &e.TimeshareUnder }},
		{"overProvisioned.accuracy", "1", func(e *Elasticity) *float64 { return &e.AccuracyOver }},
		{"overProvisioned.normalized", "1", func(e *Elasticity) *float64 { return &e.NormalizedOver }},
		{"overProvisioned.timeshare", "1", func(e *Elasticity) *float64 { return &e.TimeshareOver }},
		{"jitter", "1", func(e *Elasticity) *float64 { return &e.Jitter }},
		{"replicaSeconds", "1", func(e *Elasticity) *float64 { return &e.ReplicaSeconds }},
		{"wasted", "1", func(e *Elasticity) *float64 { return &e.Wasted }},
	} {
		var value *float64
		if e != nil {
			value = f.of(e)
		}
		list.add("elasticity."+f.name, f.unit, value, no)
	}
	doubted(r.Load.Total.Doubt)
	list.load("load.total", r.Load.Total)
	doubted(r.Load.Total.Doubt)
	for _, p := range r.Load.Phases {
		list.load("load."+p.Name, p)
		doubted(p.Doubt)
	}
	for i := range list {
		list[i].Assumed = r.restsOnAssumed(list[i].Name)
	}
	return list
}

type figures []Figure

func (l *figures) add(name, unit string, value *float64, missing string) {
	if value != nil {
		missing = ""
	}
	*l = append(*l, Figure{Name: name, Value: value, Unit: unit, Missing: missing})
}

func (l *figures) latency(name string, x Latency) {
	*l = append(*l, Figure{Name: name, Value: x.Seconds, Unit: "s", Precision: x.PrecisionSeconds, Missing: x.Missing})
}

func (l *figures) up(name string, u ScaleUp) {
	l.latency(name+".inService", u.Latency)
	for _, of := range []struct {
		name string
		pod  *PodStages
	}{{".inService.p50", u.Median}, {".inService.max", u.Slowest}} {
		latency := Latency{Missing: u.Latency.Missing}
		if of.pod != nil {
			latency = of.pod.Latency
		}
		l.latency(name+of.name, latency)
	}
	l.latency(name+".timeToFull", u.TimeToFull)
}

func (l *figures) down(name string, d ScaleDown) {
	l.latency(name+".latency", d.Latency)
	l.latency(name+".heldByWindow", d.HeldByWindow)
	l.latency(name+".lessWindow", d.LessWindow)
	l.latency(name+".settle", d.Settle)
}

// stages adds all of names, whether observed or not.
func (l *figures) stages(name string, names []string, observed []Stage, missing string) {
	for _, n := range names {
		latency := Latency{Missing: missing}
		if i := slices.IndexFunc(observed, func(s Stage) bool { return s.Name == n }); i >= 0 {
			latency = observed[i].Latency
		}
		l.latency(name+".stage."+stageKeys[n], latency)
	}
}

var (
	upStages   = []string{StageMetrics, StageDecision, StageCreate, StageSchedule, StagePull, StageStart, StageReady, StageInService}
	downStages = []string{StageMetrics, StageWindow, StageDecision, StageTerminating, StageOutOfService, StageExit, StageGone}
)

// stageKeys are the stages' names as they stand in figures.
var stageKeys = map[string]string{
	StageMetrics: "metricsLag", StageDecision: "decision", StageCreate: "create", StageSchedule: "schedule",
	StagePull: "pullInit", StageStart: "start", StageReady: "ready", StageInService: "inService",
	StageWindow: "stabilization", StageTerminating: "terminating", StageOutOfService: "outOfService",
	StagePreStop: "preStop", StageExit: "exit", StageGone: "gone",
}

func (l *figures) load(name string, p PhaseLoad) {
	const notRun = "the phase did not run"
	l.add(name+".duration", "s", p.Seconds, notRun)
	for _, c := range []struct {
		name string
		n    uint64
	}{
		{"offered", p.Offered}, {"sent", p.Sent}, {"unsent", p.Unsent}, {"answered", p.Answered},
		{"failed", p.Failed}, {"aborted", p.Aborted}, {"unknown", p.Unknown}, {"errors", p.Errors}, {"late", p.Late},
	} {
		l.add(name+"."+c.name, "requests", new(float64(c.n)), "")
	}
	l.add(name+".offeredRate", "1/s", p.OfferedRate, notRun)
	l.add(name+".achievedRate", "1/s", p.AchievedRate, notRun)
	const none = "nothing was answered"
	l.add(name+".errorShare", "1", p.ErrorShare, "nothing was answered and nothing failed")
	l.add(name+".sloViolated", "1", p.SLOViolated, "the scenario has no slo, or nothing was sent, or which of the slow answers were errors too is not known")
	l.add(name+".p50", "s", p.Latency.P50, none)
	l.add(name+".p90", "s", p.Latency.P90, none)
	l.add(name+".p95", "s", p.Latency.P95, none)
	l.add(name+".p99", "s", p.Latency.P99, none)
	l.add(name+".max", "s", p.Latency.Max, none)
	l.add(name+".bytesIn", "bytes", new(float64(p.BytesIn)), "")
	l.add(name+".bytesOut", "bytes", new(float64(p.BytesOut)), "")
	l.add(name+".lateMax", "s", &p.LateMax, "")
	l.add(name+".lateP99", "s", p.LateP99, "nothing was sent by a schedule")
	var asPlanned *float64
	switch {
	case p.Seconds == nil:
	case p.Doubt == "":
		asPlanned = new(1.0)
	default:
		asPlanned = new(0.0)
	}
	l.add(name+".asPlanned", "bool", asPlanned, notRun)
	var most, gini *float64
	if s := p.Spread; s != nil {
		most, gini = &s.MaxOverMean, &s.Gini
	}
	const notApart = "no two pods in service could be told apart"
	l.add(name+".spread.maxOverMean", "1", most, notApart)
	l.add(name+".spread.gini", "1", gini, notApart)
}

func float[N int | int32](n *N) *float64 {
	if n == nil {
		return nil
	}
	return new(float64(*n))
}
