package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hpabench/hpabench/record"
)

// Figure is one number of a Result under a name that stays. Value is nil if it
// is Missing for that reason. Precision has the unit of Value; zero says that
// the value is exact, as counts are. Doubt says that the load which it comes from
// was not as planned.
type Figure struct {
	Name      string
	Value     *float64
	Unit      string // "s", "replicas", "requests", "messages", "1/s", "1", "bytes", "bool" (0 or 1)
	Precision float64
	Better    string // LowerIsBetter, HigherIsBetter, or empty where neither is
	Help      string // what it is, in words
	Missing   string
	Doubt     string
	Assumed   bool // it rests on what the Result lists as Assumed

	// Phase, Transition (from 1) and Stage are the parts of Name that say which of several
	// figures of a kind it is; Phase is "total" for the load as a whole.
	Phase      string
	Transition int
	Stage      string
}

// Which of two values of a Figure is better.
const (
	LowerIsBetter  = "lower"
	HigherIsBetter = "higher"
)

const lower, higher, neither = LowerIsBetter, HigherIsBetter, ""

const (
	notRun   = "the phase did not run"
	noSLO    = "the scenario has no slo, or nothing was sent, or which of the slow answers were errors too is not known"
	noAnswer = "nothing was answered"
	noHPA    = "the HPA was not observed"

	fromReplicas = "the target had a replica"
	fromNone     = "the target had no replica: signal and activation stand in its place"
	toNone       = "KEDA took the last replicas: signal and cooldown stand in its place"
	noCooldown   = "the HPA took the replicas"
)

// figureTable has all figures in their order. A name with * is that of one figure for each
// transition, or for the load as a whole and each of its phases; the names scaleUp.* and
// scaleDown.*, but for stages, also stand for transition.*.
var figureTable = []struct {
	name, unit, better, help string
	get                      func(part) Latency
}{
	{"scaleUp.inService", "s", lower, "Scale-up latency: from the onset (the start of the phase that brought more load) to the first new pod in service, its address ready in an EndpointSlice. Of the first scale-up in which replicas were added; what the HPA decided on samples from before the onset does not count.",
		func(p part) Latency { return p.ScaleUp.Latency }},
	{"scaleUp.inService.p50", "s", lower, "The same up to the median new pod in service (the lower one of two).",
		func(p part) Latency { return podLatency(p.ScaleUp.Median, p.ScaleUp.Latency) }},
	{"scaleUp.inService.max", "s", lower, "The same up to the last new pod in service.",
		func(p part) Latency { return podLatency(p.ScaleUp.Slowest, p.ScaleUp.Latency) }},
	{"scaleUp.timeToFull", "s", lower, "From the onset until the pods in service reach the number at which they stay.",
		func(p part) Latency { return p.ScaleUp.TimeToFull }},
	{"scaleUp.stage.loadRising", "s", neither, "First stage of the first new pod where a ramp, a sine or a curve brought the load: from the onset until the rate of requests is one that takes the metric above target × (1 + tolerance).",
		stage(StageRising, "no ramp, sine or curve brought the load")},
	{"scaleUp.stage.metricsLag", "s", lower, "From there, or from the onset, until a sample of the pods' metrics above target × (1 + tolerance) is read.",
		stage(StageMetrics, fromNone)},
	{"scaleUp.stage.decision", "s", lower, "From there until the target's spec.replicas rises.", stage(StageDecision, fromNone)},
	{"scaleUp.stage.signal", "s", lower, "First stage of the first new pod where the target had no replica: from the onset until a metric of the HPA is first read above what activates the target (0, or a trigger's activation threshold).",
		stage(StageSignal, fromReplicas)},
	{"scaleUp.stage.activation", "s", lower, "From there until spec.replicas rises from 0.", stage(StageActivation, fromReplicas)},
	{"scaleUp.coldStart", "s", lower, "Where the target had no replica: from the onset to the first good answer (2xx or 3xx).",
		func(p part) Latency { return p.coldStart(func(c *ColdStart) Latency { return c.Latency }) }},
	{"scaleUp.coldStart.held", "requests", neither, "Requests of the whole seconds before that answer that had no answer then: something in front of the target held them.",
		func(p part) Latency { return p.coldStart(func(c *ColdStart) Latency { return c.count(c.Held) }) }},
	{"scaleUp.coldStart.failed", "requests", lower, "Requests that failed up to the second of that answer.",
		func(p part) Latency { return p.coldStart(func(c *ColdStart) Latency { return c.count(c.Failed) }) }},
	{"scaleUp.stage.create", "s", lower, "From there until the new pod is seen.", stage(StageCreate, "")},
	{"scaleUp.stage.schedule", "s", lower, "From there until PodScheduled is true.", stage(StageSchedule, "")},
	{"scaleUp.stage.pullInit", "s", lower, "From there until init containers are done and images are pulled.", stage(StagePull, "")},
	{"scaleUp.stage.start", "s", lower, "From there until all containers run.", stage(StageStart, "")},
	{"scaleUp.stage.ready", "s", lower, "From there until Ready is true: the probes passed.", stage(StageReady, "")},
	{"scaleUp.stage.inService", "s", lower, "From there until its address is ready in an EndpointSlice.", stage(StageInService, "")},
	{"scaleDown.latency", "s", lower, "Scale-down latency: from the onset (the start of the phase that brought less load) to the first fall of spec.replicas. Of the last scale-down in which replicas were taken away.",
		func(p part) Latency { return p.ScaleDown.Latency }},
	{"scaleDown.heldByWindow", "s", neither, "The part of it that the HPA's stabilization window explains: from when the metrics ask for fewer replicas until the window lets go, which runs from the last time that the HPA recommended more.",
		func(p part) Latency { return p.ScaleDown.HeldByWindow }},
	{"scaleDown.lessWindow", "s", lower, "The rest of it.", func(p part) Latency { return p.ScaleDown.LessWindow }},
	{"scaleDown.settle", "s", lower, "From the onset until the replicas are where they stay and the last pod is gone.",
		func(p part) Latency { return p.ScaleDown.Settle }},
	{"scaleDown.stage.loadFalling", "s", neither, "First stage of the first pod to go where a ramp, a sine or a curve took the load: from the onset until the rate of requests is one for which the HPA takes a replica away.",
		stage(StageFalling, "no ramp, sine or curve took the load")},
	{"scaleDown.stage.metricsLag", "s", lower, "From there, or from the onset, until the metrics ask for fewer replicas: below target × (1 − tolerance), and not rounded up to those there are.",
		stage(StageMetrics, toNone)},
	{"scaleDown.stage.stabilization", "s", neither, "From there until the stabilization window lets go.", stage(StageWindow, toNone)},
	{"scaleDown.stage.signal", "s", lower, "First stage of the first pod to go where KEDA took the last replicas: from the onset until no metric is above what activates the target.",
		stage(StageSignal, noCooldown)},
	{"scaleDown.stage.cooldown", "s", neither, "From there until KEDA's cooldown period is over.", stage(StageCooldown, noCooldown)},
	{"scaleDown.stage.decision", "s", lower, "From there until spec.replicas falls.", stage(StageDecision, "")},
	{"scaleDown.stage.terminating", "s", lower, "From there until the pod's deletion is seen.", stage(StageTerminating, "")},
	{"scaleDown.stage.outOfService", "s", lower, "From there until its address is no longer ready.", stage(StageOutOfService, "")},
	{"scaleDown.stage.exit", "s", lower, "From there until its containers have ended.", stage(StageExit, "")},
	{"scaleDown.stage.gone", "s", lower, "From there until the object is removed.", stage(StageGone, "")},
	{"scaleDown.stage.preStop", "s", lower, "From out of service until a preStop hook that sleeps is over; the stage exit follows it.",
		stage(StagePreStop, "the pod has no preStop hook")},
	{"transition.*.onset", "s", neither, "When transition N (from 1, up or down) began, on the run's clock.",
		func(p part) Latency { return exact(p.OnsetSeconds) }},
	{"replicas.peak", "replicas", neither, "The largest number of ready pods that are not terminating.",
		func(p part) Latency { return number(p.Reach.Peak, p.Reach.Missing) }},
	{"replicas.last", "replicas", neither, "That number at the end.",
		func(p part) Latency { return number(p.Reach.Last, p.Reach.Missing) }},
	{"replicas.desiredPeak", "replicas", neither, "The largest spec.replicas of the target.",
		func(p part) Latency { return number(p.Reach.DesiredPeak, "the target was not observed") }},
	{"replicas.reach", "1", neither, "How far the replicas went from the HPA's minimum to its maximum: (peak − min)/(max − min).",
		func(p part) Latency {
			return number(p.Reach.Fraction, cmp.Or(p.Reach.Missing, "the HPA's minimum is its maximum"))
		}},
	{"replicas.atZero", "s", neither, "For how long spec.replicas was 0.", func(p part) Latency {
		return p.atZero(func(z AtZero) float64 { return z.Seconds })
	}},
	{"replicas.atZeroShare", "1", neither, "The share of the run, from 0 to 1, in which spec.replicas was 0.", func(p part) Latency {
		return p.atZero(func(z AtZero) float64 { return z.Share })
	}},
	{"replicas.firstAtMax", "s", lower, "When the ready pods first were at the HPA's maximum, on the run's clock.",
		func(p part) Latency {
			return Latency{p.Reach.FirstAtMax.AtSeconds, p.Reach.FirstAtMax.PrecisionSeconds, p.Reach.FirstAtMax.Missing}
		}},
	{"replicas.saturated", "1", neither, "The share of the run, from 0 to 1, with ready pods at the maximum.",
		func(p part) Latency { return number(p.Reach.Saturated, p.Reach.Missing) }},
	{"hpa.min", "replicas", neither, "The HPA's minReplicas; with a ScaledObject the fewest replicas that KEDA leaves.", func(p part) Latency { return number(p.Reach.Min, noHPA) }},
	{"hpa.max", "replicas", neither, "The HPA's maxReplicas.", func(p part) Latency { return number(p.Reach.Max, noHPA) }},
	{"elasticity.underProvisioned.accuracy", "1", lower, "How many replicas were missing, on average over the load: 1/T ∫ max(demand − supply, 0) dt.",
		func(p part) Latency { return exact(p.Elasticity.AccuracyUnder) }},
	{"elasticity.underProvisioned.normalized", "1", lower, "The same as a share of the demand.",
		func(p part) Latency { return exact(p.Elasticity.NormalizedUnder) }},
	{"elasticity.underProvisioned.timeshare", "1", lower, "The share of the time, from 0 to 1, in which replicas were missing.",
		func(p part) Latency { return exact(p.Elasticity.TimeshareUnder) }},
	{"elasticity.overProvisioned.accuracy", "1", lower, "How many replicas were too many, on average over the load: 1/T ∫ max(supply − demand, 0) dt.",
		func(p part) Latency { return exact(p.Elasticity.AccuracyOver) }},
	{"elasticity.overProvisioned.normalized", "1", lower, "The same as a share of the demand.",
		func(p part) Latency { return exact(p.Elasticity.NormalizedOver) }},
	{"elasticity.overProvisioned.timeshare", "1", lower, "The share of the time, from 0 to 1, in which there were too many.",
		func(p part) Latency { return exact(p.Elasticity.TimeshareOver) }},
	{"elasticity.jitter", "1", neither, "Changes of supply less those of demand, in replicas a minute.",
		func(p part) Latency { return exact(p.Elasticity.Jitter) }},
	{"elasticity.replicaSeconds", "1", lower, "The supply, added up over the load: replicas × seconds.",
		func(p part) Latency { return exact(p.Elasticity.ReplicaSeconds) }},
	{"elasticity.wasted", "1", lower, "The replica-seconds beyond the demand.", func(p part) Latency { return exact(p.Elasticity.Wasted) }},
	{"queue.peak", "messages", lower, "The most messages that waited in the queue, at a reading of the series that load.queue.backlog names.",
		func(p part) Latency { return number(p.Queue.Peak, p.Queue.Missing) }},
	{"queue.oldest", "s", lower, "The longest that a message had waited, at a reading of the series that load.queue.oldest names.",
		func(p part) Latency { return p.Queue.Oldest }},
	{"queue.drain", "s", lower, "From the end of the last phase that sends requests until the backlog is first read as 0; it takes a phase with rate: 0 after it.",
		func(p part) Latency { return p.Queue.Drain }},
	{"load.*.duration", "s", neither, "How long the phase took, from its start mark to its end mark.",
		func(p part) Latency { return number(p.phase.Seconds, notRun) }},
	{"load.*.offered", "requests", neither, "Requests that the plan says; in a closed loop, those sent.",
		func(p part) Latency { return exact(p.phase.Offered) }},
	{"load.*.sent", "requests", neither, "Requests sent.", func(p part) Latency { return exact(p.phase.Sent) }},
	{"load.*.unsent", "requests", lower, "Requests planned and never sent, because the load generator could not keep up.",
		func(p part) Latency { return exact(p.phase.Unsent) }},
	{"load.*.answered", "requests", higher, "Answers of any code.", func(p part) Latency { return exact(p.phase.Answered) }},
	{"load.*.failed", "requests", lower, "Requests without an answer.", func(p part) Latency { return exact(p.phase.Failed) }},
	{"load.*.aborted", "requests", lower, "Requests in flight when the run was cut short.",
		func(p part) Latency { return exact(p.phase.Aborted) }},
	{"load.*.unknown", "requests", lower, "Requests of which nobody tells what became: of a worker of via: job that was not heard from any more, or of a run that was killed.",
		func(p part) Latency { return exact(p.phase.Unknown) }},
	{"load.*.errors", "requests", lower, "Answers that are neither 2xx nor 3xx, and requests that failed.",
		func(p part) Latency { return exact(p.phase.Errors) }},
	{"load.*.late", "requests", lower, "Requests sent more than 10 ms behind their schedule.",
		func(p part) Latency { return exact(p.phase.Late) }},
	{"load.*.offeredRate", "1/s", neither, "Offered requests a second.",
		func(p part) Latency { return number(p.phase.OfferedRate, notRun) }},
	{"load.*.achievedRate", "1/s", higher, "Answers a second that came within the phase, those to requests of an earlier phase too. That of the total is the mean of the phases' by their lengths.",
		func(p part) Latency { return number(p.phase.AchievedRate, notRun) }},
	{"load.*.errorShare", "1", lower, "Errors as a share, from 0 to 1, of what was answered and what failed.",
		func(p part) Latency { return number(p.phase.ErrorShare, "nothing was answered and nothing failed") }},
	{"load.*.sloViolated", "1", lower, "The share, from 0 to 1, of what was answered and what failed that did not meet the scenario's slo: an error, or slower than its latency. It is missing where there are slow answers and answers that are errors, as which are both is not recorded.",
		func(p part) Latency { return number(p.phase.SLOViolated, noSLO) }},
	{"load.*.p50", "s", lower, "Half of the answers took no longer; in an open loop from when they were due.",
		func(p part) Latency { return number(p.phase.Latency.P50, noAnswer) }},
	{"load.*.p90", "s", lower, "90 % of the answers took no longer.",
		func(p part) Latency { return number(p.phase.Latency.P90, noAnswer) }},
	{"load.*.p95", "s", lower, "95 % of the answers took no longer.",
		func(p part) Latency { return number(p.phase.Latency.P95, noAnswer) }},
	{"load.*.p99", "s", lower, "99 % of the answers took no longer.",
		func(p part) Latency { return number(p.phase.Latency.P99, noAnswer) }},
	{"load.*.max", "s", lower, "The slowest answer.", func(p part) Latency { return number(p.phase.Latency.Max, noAnswer) }},
	{"load.*.bytesIn", "bytes", neither, "Bytes of the answers' bodies.", func(p part) Latency { return p.bytes(p.phase.BytesIn) }},
	{"load.*.bytesOut", "bytes", neither, "Bytes of the requests' bodies.", func(p part) Latency { return p.bytes(p.phase.BytesOut) }},
	{"load.*.lateMax", "s", lower, "How far behind its schedule a request was sent at most.",
		func(p part) Latency { return exact(p.phase.LateMax) }},
	{"load.*.lateP99", "s", lower, "99 % of the requests were sent no later than this behind their schedule.",
		func(p part) Latency { return number(p.phase.LateP99, "nothing was sent by a schedule") }},
	{"load.*.asPlanned", "bool", neither, "Whether the load was as the plan says: 0.1 % of it at most unsent, 0.1 % at most unknown, and 0.1 % at most late by more than 1 % of the HPA's sync period (of the phase where that is shorter).",
		func(p part) Latency { return number(p.phase.asPlanned(), notRun) }},
	{"load.*.spread.maxOverMean", "1", neither, "The busiest pod's rate over the mean rate of all in service; 1 when all got the same.",
		spread(func(s *Spread) float64 { return s.MaxOverMean })},
	{"load.*.spread.gini", "1", neither, "Gini coefficient of the pods' rates; 0 when all got the same.",
		spread(func(s *Spread) float64 { return s.Gini })},
}

// part is what a figure is taken from: a Result, and one of its transitions or phases.
type part struct {
	*Result
	Transition
	phase PhaseLoad
}

func (p part) coldStart(of func(*ColdStart) Latency) Latency {
	switch {
	case p.Reach.DesiredPeak == nil:
		return absent("the target was not observed")
	case p.ScaleUp.ColdStart == nil:
		return absent(fromReplicas)
	}
	return of(p.ScaleUp.ColdStart)
}

func (p part) atZero(of func(AtZero) float64) Latency {
	switch {
	case p.Reach.DesiredPeak == nil:
		return absent("the target was not observed")
	case p.AtZero == nil:
		return exact(0.0)
	}
	return exact(of(*p.AtZero))
}

// bytes are those of bodies, which a simulation does not have.
func (p part) bytes(n uint64) Latency {
	if p.Cluster != nil && p.Cluster.Lab != nil && p.Cluster.Lab.Timing == record.SimulatedTiming {
		return absent("a simulation has no bodies")
	}
	return exact(n)
}

func number[N int | int32 | uint64 | float64](n *N, missing string) Latency {
	if n == nil {
		return absent(missing)
	}
	return Latency{Seconds: new(float64(*n))}
}

func exact[N uint64 | float64](n N) Latency { return number(&n, "") }

func podLatency(p *PodStages, first Latency) Latency {
	if p == nil {
		return absent(first.Missing)
	}
	return p.Latency
}

// stage is one of the first pod in service, or of the first to go.
func stage(name, missing string) func(part) Latency {
	return func(p part) Latency {
		first, latency := p.first()
		if first == nil {
			return absent(latency.Missing)
		}
		if i := slices.IndexFunc(first.Stages, func(s Stage) bool { return s.Name == name }); i >= 0 {
			return first.Stages[i].Latency
		}
		return absent(missing)
	}
}

// first is the first pod in service, or the first to go, and the latency that it made.
func (t Transition) first() (*PodStages, Latency) {
	if t.ScaleUp != nil {
		return t.ScaleUp.First, t.ScaleUp.Latency
	}
	return t.ScaleDown.First, t.ScaleDown.Latency
}

func spread(of func(*Spread) float64) func(part) Latency {
	return func(p part) Latency {
		if p.phase.Spread == nil {
			return absent("no two pods in service could be told apart")
		}
		return exact(of(p.phase.Spread))
	}
}

// asPlanned is 1 or 0; nil for a phase that did not run.
func (p PhaseLoad) asPlanned() *float64 {
	switch {
	case p.Seconds == nil:
		return nil
	case p.Doubt == "":
		return new(1.0)
	}
	return new(0.0)
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
		if slices.ContainsFunc(t.Steps, func(s Step) bool { return s.To > s.From && !s.Earlier }) {
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
		if slices.ContainsFunc(t.Steps, func(s Step) bool { return s.To < s.From && !s.Earlier }) {
			return t
		}
		if last == nil {
			last = t
		}
	}
	return last
}

// Figures lists the figures of r, always in the same order; hpabench explain says what they
// are. scaleUp.* are of FirstUp, scaleDown.* of LastDown. All but those of a transition or a
// phase are there in every Result, be they missing.
func (r *Result) Figures() []Figure {
	var list []Figure
	// add appends the rows of a group, under the name of the Figure of; all are missing where that is.
	add := func(group string, of Figure, p part) {
		p.Result = r
		for _, row := range figureTable {
			rest, is := strings.CutPrefix(row.name, group+".")
			_, stage, _ := strings.Cut(rest, "stage.")
			if !is || stage != "" && of.Transition > 0 {
				continue
			}
			f, value := of, absent(of.Missing)
			if f.Missing == "" {
				value = row.get(p)
			}
			f.Name, f.Unit, f.Better, f.Help, f.Stage = of.Name+"."+rest, row.unit, row.better, row.help, stage
			f.Value, f.Precision, f.Missing = value.Seconds, value.PrecisionSeconds, value.Missing
			f.Assumed = r.restsOnAssumed(f.Name)
			list = append(list, f)
		}
	}
	// change adds a group of a transition, which is missing where there is none.
	change := func(group string, of Figure, t *Transition) {
		if t != nil {
			of.Missing, of.Doubt = "", t.Doubt
			add(group, of, part{Transition: *t})
			return
		}
		add(group, of, part{})
	}
	change("scaleUp", Figure{Name: "scaleUp", Missing: "no phase brought more load"}, r.FirstUp())
	change("scaleDown", Figure{Name: "scaleDown", Missing: "no phase brought less load"}, r.LastDown())
	for i, t := range r.Transitions {
		of := Figure{Name: fmt.Sprintf("transition.%d", i+1), Transition: i + 1, Doubt: t.Doubt}
		add("transition.*", of, part{Transition: t})
		if t.ScaleUp != nil {
			add("scaleUp", of, part{Transition: t})
		} else {
			add("scaleDown", of, part{Transition: t})
		}
	}
	total := r.Load.Total.Doubt
	add("replicas", Figure{Name: "replicas", Doubt: total}, part{})
	add("hpa", Figure{Name: "hpa"}, part{})
	elasticity := Figure{Name: "elasticity", Doubt: total}
	if r.Elasticity == nil {
		elasticity.Missing = cmp.Or(r.ElasticityMissing, "the demand is not known")
	}
	add("elasticity", elasticity, part{})
	queue := Figure{Name: "queue", Doubt: total}
	if r.Queue == nil {
		queue.Missing = "no queue was read (load.queue names one)"
	}
	add("queue", queue, part{})
	add("load.*", Figure{Name: "load.total", Phase: "total", Doubt: total}, part{phase: r.Load.Total})
	for _, p := range r.Load.Phases {
		add("load.*", Figure{Name: "load." + p.Name, Phase: p.Name, Doubt: p.Doubt}, part{phase: p})
	}
	return list
}
