package analysis

import (
	"time"

	"github.com/hpabench/hpabench/record"
)

// Version names the version of the Result's JSON.
const Version = "hpabench.dev/result/v1"

// Result is what a run showed; it is also the JSON document. Durations are in
// seconds. Fields that end in AtSeconds, and StartSeconds and EndSeconds, are
// instants: seconds on the clock of the run, as in its record. A pointer that is
// nil, in JSON a field that is not there, was not measured.
type Result struct {
	Version   string    `json:"version"`
	Run       string    `json:"run"`
	Scenario  string    `json:"scenario"`
	Hpabench  string    `json:"hpabenchVersion"`
	Started   time.Time `json:"started"`           // wall clock, for people
	Outcome   string    `json:"outcome,omitempty"` // of record.End; empty if the record has none
	Error     string    `json:"error,omitempty"`
	Truncated bool      `json:"truncated,omitempty"` // the record has no end
	Left      []string  `json:"left,omitempty"`      // objects that the run created and did not remove

	// Assumed are sentences on what figures rest on that nobody measured: see Figure.Assumed.
	Assumed []string `json:"assumed,omitempty"`
	// Warnings are what casts doubt on the figures, each with what to do.
	Warnings []string       `json:"warnings,omitempty"`
	Notes    []string       `json:"notes,omitempty"`
	Checks   []record.Check `json:"checks,omitempty"` // of the preflight

	// Source is the text of the scenario.
	Source string `json:"scenarioSource,omitempty"`

	// Expectations of the scenario, as package expect judged them.
	Expectations []Expectation `json:"expectations,omitempty"`

	Cluster    *record.Cluster `json:"cluster,omitempty"`
	Subject    *record.Subject `json:"subject,omitempty"`
	Autoscaler *Autoscaler     `json:"autoscaler,omitempty"`
	// ScaledObject is its last state, where KEDA made the HPA of one; else nil.
	ScaledObject *record.ScaledObject `json:"scaledObject,omitempty"`

	// StartSeconds and EndSeconds bound what is judged: from the start of the
	// first phase to the end of the last, or of the observations if it has none.
	StartSeconds float64 `json:"startSeconds"`
	EndSeconds   float64 `json:"endSeconds"`

	// Findings are what stood in the way of scaling, the worst first.
	Findings []Finding `json:"findings,omitempty"`

	// Now is what the HPA would do next, where hpabench only watched.
	Now *Now `json:"now,omitempty"`

	Transitions []Transition `json:"transitions,omitempty"`
	Reach       Reach        `json:"reach"`
	AtZero      *AtZero      `json:"atZero,omitempty"` // nil if there was a replica all the time, or the target was not observed
	Queue       *Queue       `json:"queue,omitempty"`  // nil if the scenario names none

	// Elasticity is of the whole load; absent, with the reason, without a demand.
	Elasticity        *Elasticity `json:"elasticity,omitempty"`
	ElasticityMissing string      `json:"elasticityMissing,omitempty"`

	Load     Load     `json:"load"`
	Pods     []Pod    `json:"pods,omitempty"`
	Timeline []Second `json:"timeline,omitempty"`

	// Signals are the HPA's metrics that metrics.k8s.io does not have, in the order in which they were first read.
	Signals []Signal `json:"signals,omitempty"`

	// TimelineEvery is how many seconds each row of the Timeline stands for, where that is
	// not one: in a run of more than a day.
	TimelineEvery int `json:"timelineEverySeconds,omitempty"`

	Events []Event      `json:"events,omitempty"`
	Gaps   []record.Gap `json:"gaps,omitempty"`
}

// Latency is a duration, or the reason why there is none. PrecisionSeconds is
// by how much it may be off to either side.
type Latency struct {
	Seconds          *float64 `json:"seconds,omitempty"`
	PrecisionSeconds float64  `json:"precisionSeconds,omitempty"`
	Missing          string   `json:"missing,omitempty"`
}

// Moment is an instant on the clock of the run, or the reason why there is none.
// The change may have happened by PrecisionSeconds earlier.
type Moment struct {
	AtSeconds        *float64 `json:"atSeconds,omitempty"`
	PrecisionSeconds float64  `json:"precisionSeconds,omitempty"`
	Missing          string   `json:"missing,omitempty"`
}

// Autoscaler is what the HPA was set to. Tolerances are fractions of the target.
// Assumed lists what its spec leaves to flags of the controller manager where these could
// not be read; the defaults of the flags are taken then.
type Autoscaler struct {
	Min                    int32    `json:"min"`
	Max                    int32    `json:"max"`
	Metrics                []string `json:"metrics"`                 // "cpu 20 % of requests"
	TargetPercent          *int32   `json:"targetPercent,omitempty"` // that of Second.HPAPercent
	ScaleUpTolerance       float64  `json:"scaleUpTolerance"`
	ScaleDownTolerance     float64  `json:"scaleDownTolerance"`
	ScaleDownWindowSeconds float64  `json:"scaleDownWindowSeconds"` // stabilization
	Assumed                []string `json:"assumed,omitempty"`
}

// What the onset of a Transition is where hpabench sent no load itself.
const (
	OnsetMetric   = "metric"   // a sample that asks for it was read
	OnsetDecision = "decision" // the first step; no such sample was seen before it
)

// Directions of a Transition.
const (
	Up   = "up"
	Down = "down"
)

// Transition is one change of demand. Its onset is the start of the phase that
// brought it; it lasts until the onset of the next transition or until the
// Result's EndSeconds. Two have one onset where a ramp leaps from the rate before it and goes the
// other way then: the leap, which lasts until the replicas follow the ramp, and the ramp. Exactly one of ScaleUp and ScaleDown is there.
type Transition struct {
	Direction    string     `json:"direction"`
	FromPhase    string     `json:"fromPhase,omitempty"` // empty: the run began with load
	ToPhase      string     `json:"toPhase"`
	FromRate     float64    `json:"fromRate"` // requests a second
	ToRate       float64    `json:"toRate"`
	OnsetSeconds float64    `json:"onsetSeconds"`
	OnsetBy      string     `json:"onsetBy,omitempty"` // empty: a phase of the load began
	EndSeconds   float64    `json:"endSeconds"`
	Doubt        string     `json:"doubt,omitempty"` // of the load before it or in it, see PhaseLoad.Doubt
	Steps        []Step     `json:"steps,omitempty"`
	ScaleUp      *ScaleUp   `json:"scaleUp,omitempty"`
	ScaleDown    *ScaleDown `json:"scaleDown,omitempty"`
}

// Step is one change of the target's spec.replicas. Event is the message of the
// HPA's rescale event for it, if one was seen within 5 s.
type Step struct {
	AtSeconds    float64 `json:"atSeconds"`
	AfterSeconds float64 `json:"afterSeconds"` // since the transition's onset
	From         int32   `json:"from"`
	To           int32   `json:"to"`
	Event        string  `json:"event,omitempty"`

	// By is the field manager that wrote the replicas, if the object tells.
	// Foreign says that it was neither the HPA nor KEDA: no event nor status of theirs
	// speaks of the step, though they were watched.
	By      string `json:"by,omitempty"`
	Foreign bool   `json:"foreign,omitempty"`

	// Earlier says that the HPA decided the step on samples that are all from before the onset: the load before brought it
	// about, and it is no part of the transition's latency.
	Earlier bool `json:"earlier,omitempty"`

	// Metric is what the HPA's status says that it saw, current/target of each of
	// its metrics, in the status that came with the decision.
	Metric string `json:"metric,omitempty"`
	// Proposals are what each of the metrics asked for.
	Proposals []Proposal `json:"proposals,omitempty"`
	// Recommended is the HPA's raw recommendation, the largest of Proposals, before min
	// and max, stabilization and scaling policies. It is absent without a status, and where
	// the metrics had no say.
	Recommended *int32 `json:"recommended,omitempty"`
	// LimitedBy says what made To of Recommended, or Recommended of the metrics' values
	// (LimitPods): one of the Limits below, empty if nothing did. Limit says it in words
	// with its figures.
	LimitedBy string `json:"limitedBy,omitempty"`
	Limit     string `json:"limit,omitempty"`
	// Disagrees says where the HPA's conditions say something else.
	Disagrees string `json:"disagrees,omitempty"`
}

// Proposal is what one of the HPA's metrics asked for in a Step. Current and Target are as
// kubectl get hpa shows them; Current is empty, and Replicas absent, for a metric without a
// value.
type Proposal struct {
	Metric   string `json:"metric"`
	Current  string `json:"current,omitempty"`
	Target   string `json:"target"`
	Replicas *int32 `json:"replicas,omitempty"`
	// Or are other numbers that it may have asked for: a record does not always tell which
	// reading of the pods' metrics the HPA saw.
	Or      []int32 `json:"or,omitempty"`
	Decided bool    `json:"decided,omitempty"` // the largest, the first of several
	// Rounding says where rounding decided, in words with its figures.
	Rounding string `json:"rounding,omitempty"`
	// Uncounted says, of the one that decided where something else limited the step, why the rule of thumb gives another number.
	Uncounted string `json:"uncounted,omitempty"`
}

// What limited a Step.
const (
	LimitMax           = "max"
	LimitMin           = "min"
	LimitUpPolicy      = "scale-up policy"
	LimitDownPolicy    = "scale-down policy"
	LimitStabilization = "stabilization"
	LimitPods          = "uncounted pods" // not ready, or without a metric, which the HPA counts as idle or as at their target
	LimitUnknown       = "unknown"
)

// ScaleUp is how long more demand took to get more supply.
type ScaleUp struct {
	// Latency is onset → first new pod in service: its address ready in an
	// EndpointSlice. When no Service was watched it is onset → first new pod
	// Ready, and the stage "in service" is missing.
	Latency Latency `json:"latency"`
	// First has the stages of the pod that got in service first. They sum up to
	// Latency.
	First *PodStages `json:"first,omitempty"`
	// Median (the lower one of two) and Slowest are taken by latency from the
	// transition's pods that got in service.
	Median  *PodStages `json:"median,omitempty"`
	Slowest *PodStages `json:"slowest,omitempty"`
	// Pods are all the transition's new pods: by latency, then those that did not
	// get in service.
	Pods []PodStages `json:"pods,omitempty"`
	// NeverServed names the new pods that did not get in service.
	NeverServed []string `json:"neverServed,omitempty"`
	// TimeToFull is onset → the instant since which supply has not been below
	// Plateau, the supply at the transition's end. It is missing when supply was
	// still less than spec.replicas then.
	TimeToFull Latency `json:"timeToFull"`
	Plateau    *int    `json:"plateau,omitempty"`
	// ColdStart is there where the target had no pod at the onset.
	ColdStart *ColdStart `json:"coldStart,omitempty"`
}

// ScaleDown is how long less demand took to get less supply.
type ScaleDown struct {
	// Latency is onset → first fall of spec.replicas, whole.
	Latency Latency `json:"latency"`
	// HeldByWindow is the part of Latency that the stabilization window of the
	// HPA explains: the stage of the window of the first fall, from the metrics lag (from Lower, where
	// that was not seen) until min(decision, Higher + window), and not below zero.
	HeldByWindow Latency `json:"heldByWindow"`
	// LessWindow is Latency − HeldByWindow.
	LessWindow Latency `json:"lessWindow"`
	// Lower is the first instant since the onset at which the HPA's raw
	// recommendation was below the current replicas: the onset itself, if it was
	// below already. The raw recommendation is worked out from the HPA's status,
	// see policy.recommendation, and stands until the next status.
	Lower Moment `json:"lower"`
	// Higher is the last instant before the decision at which the raw
	// recommendation was above the replicas decided. The window runs from there
	// and not from the onset.
	Higher Moment `json:"higher"`
	// First is the pod that was seen Terminating first, Slowest the one that took
	// longest and Median (the lower one of two) that in between. Their latency is
	// onset → gone, to which their stages sum up; those up to the decision sum up
	// to Latency for a pod of the first step. Without a pod First has the stages
	// that were seen.
	First   *PodStages `json:"first,omitempty"`
	Median  *PodStages `json:"median,omitempty"`
	Slowest *PodStages `json:"slowest,omitempty"`
	// Pods are all that the transition ended, by latency, then those that were
	// not seen to go.
	Pods []PodStages `json:"pods,omitempty"`
	// Settle is onset → supply at Plateau for good and the last pod gone.
	Settle  Latency `json:"settle"`
	Plateau *int    `json:"plateau,omitempty"`
}

// PodStages are the stages from a transition's onset to one pod in service, or
// gone. They sum up to Latency.
type PodStages struct {
	Pod     string  `json:"pod"`
	Latency Latency `json:"latency"`
	Stages  []Stage `json:"stages"`
	// FirstAnswer is in service → the first answer that came from the pod, nil
	// where the way of the load cannot tell pods apart. It is no part of Latency.
	FirstAnswer *Latency `json:"firstAnswer,omitempty"`
	// FairShare is in service → the first whole second in which the pod gave at
	// least half of the mean answers of the pods in service, known like FirstAnswer
	// and no part of Latency either.
	FairShare *Latency `json:"fairShare,omitempty"`
	// Ended is how a pod's containers ended, in words, where that was seen.
	Ended string `json:"ended,omitempty"`
}

// Names of stages, in their order.
const (
	StageRising     = "load rising" // where the offered rate changes in the phase, before the metrics lag; see observed.turning
	StageMetrics    = "metrics lag"
	StageDecision   = "decision"
	StageSignal     = "signal"     // from no replica, in place of the metrics lag; see observed.active
	StageActivation = "activation" // from no replica, in place of the decision
	StageCreate     = "create"
	StageSchedule   = "schedule"
	StagePull       = "pull + init"
	StageStart      = "start"
	StageReady      = "ready"
	StageInService  = "in service"

	StageFalling      = "load falling"  // that of a scale-down
	StageWindow       = "stabilization" // of a scale-down, after its metrics lag and before its decision
	StageCooldown     = "cooldown"      // of one that KEDA makes, in its place: after the last signal
	StageTerminating  = "terminating"
	StageOutOfService = "out of service"
	StagePreStop      = "preStop" // there only for pods with such a hook
	StageExit         = "exit"    // the containers have ended
	StageGone         = "gone"
)

// Stage is one part of a latency. It starts where the last stage that was
// observed ended; so it includes the missing ones right before it. An end that
// was seen after the end of a later stage (two watches, one quicker than the
// other) is taken to be at the later stage's end.
type Stage struct {
	Name string `json:"name"`
	Latency
	EndsAtSeconds *float64 `json:"endsAtSeconds,omitempty"`
	Includes      []string `json:"includes,omitempty"`
}

// Reach is how far the replicas went on the scale from the HPA's min to its max.
type Reach struct {
	Min *int32 `json:"min,omitempty"`
	Max *int32 `json:"max,omitempty"`
	// Peak is the largest number of ready pods that are not terminating, Last
	// that at the end.
	Peak *int `json:"peak,omitempty"`
	Last *int `json:"last,omitempty"`
	// DesiredPeak is the largest spec.replicas, LastDesired that at the end.
	DesiredPeak *int32 `json:"desiredPeak,omitempty"`
	LastDesired *int32 `json:"lastDesired,omitempty"`
	// Fraction is (Peak − Min)/(Max − Min), absent when they are equal.
	Fraction *float64 `json:"fraction,omitempty"`
	// FirstAtMax is when Peak first was at Max.
	FirstAtMax Moment `json:"firstAtMax"`
	// Saturated is the share of the run, from 0 to 1, with ready pods at Max.
	Saturated *float64 `json:"saturated,omitempty"`
	Missing   string   `json:"missing,omitempty"` // why there is no Peak or no Max
}

// Queue is what the queue that the scenario names showed, at the readings of the judged stretch.
type Queue struct {
	// Peak is the most messages that waited, since PeakAtSeconds; Last is how many did at the end.
	Peak    *float64 `json:"peak,omitempty"`
	PeakAt  *float64 `json:"peakAtSeconds,omitempty"`
	Last    *float64 `json:"last,omitempty"`
	Missing string   `json:"missing,omitempty"` // why there is no Peak
	// Oldest is the longest that a message had waited.
	Oldest Latency `json:"oldest"`
	// Drain is from the end of the last phase that sends requests until the backlog is first read as 0. It is 0 where the
	// backlog was 0 at that end.
	Drain Latency `json:"drain"`
}

// Load is what was sent and answered.
type Load struct {
	Phases []PhaseLoad `json:"phases"`
	Total  PhaseLoad   `json:"total"`

	Workers []WorkerLoad `json:"workers,omitempty"` // where several sent it together
}

// PhaseLoad is the load of one phase, or of all. Rates are in requests a second
// over the phase's true Seconds, from its start mark to its end mark, and absent
// when these are.
type PhaseLoad struct {
	Index        int      `json:"index"` // of the phase in the record's header
	Name         string   `json:"name"`
	Plan         string   `json:"plan,omitempty"` // "20/s", "1 worker, no keep-alive"
	StartSeconds *float64 `json:"startSeconds,omitempty"`
	Seconds      *float64 `json:"seconds,omitempty"`
	Cut          bool     `json:"cut,omitempty"` // the phase has no end mark

	Offered      uint64   `json:"offered"`
	Sent         uint64   `json:"sent"`
	Unsent       uint64   `json:"unsent"`
	Answered     uint64   `json:"answered"`
	Failed       uint64   `json:"failed"`
	Aborted      uint64   `json:"aborted"`
	Unknown      uint64   `json:"unknown"`
	OfferedRate  *float64 `json:"offeredRate,omitempty"`
	AchievedRate *float64 `json:"achievedRate,omitempty"` // answers of any code that came within the phase, those to requests of an earlier one too

	// Errors are the answers that are neither 2xx nor 3xx, and the failed.
	// ErrorShare is their share, from 0 to 1, of all answered and failed.
	Errors     uint64   `json:"errors"`
	ErrorShare *float64 `json:"errorShare,omitempty"`
	// SLOViolated is the share of them that was an error or slower than the scenario's
	// SLO; absent without one.
	SLOViolated *float64          `json:"sloViolated,omitempty"`
	Codes       map[string]uint64 `json:"codes,omitempty"`
	Failures    map[string]uint64 `json:"failures,omitempty"` // by cause

	Latency  Quantiles `json:"latency"`
	BytesIn  uint64    `json:"bytesIn"`
	BytesOut uint64    `json:"bytesOut"`

	// Of an open loop: how far behind their schedule requests were sent. Late were so
	// by more than 10 ms.
	Late    uint64   `json:"late"`
	LateMax float64  `json:"lateMaxSeconds"`
	LateP99 *float64 `json:"lateP99Seconds,omitempty"`

	// Doubt says what was not as planned: more than UnsentShare of the requests were
	// not sent or are unknown, or were late by more than LateShare of the interval that matters,
	// which is the HPA's sync period, or the phase where that is shorter.
	Doubt string `json:"doubt,omitempty"`

	// SlowConnects are the connections that took 0.9 s or longer to open.
	SlowConnects uint64 `json:"slowConnects,omitempty"`

	// Pods are the answers by pod, those with most first, where the way of the load
	// or a header tells; Spread is how evenly they came.
	Pods   []PodLoad `json:"pods,omitempty"`
	Spread *Spread   `json:"spread,omitempty"`
}

// WorkerLoad is what one worker of via: job sent, of all phases. Counts are those of
// a PhaseLoad.
type WorkerLoad struct {
	Worker   int      `json:"worker"` // from 1
	Offered  uint64   `json:"offered"`
	Sent     uint64   `json:"sent"`
	Unsent   uint64   `json:"unsent"`
	Answered uint64   `json:"answered"`
	Failed   uint64   `json:"failed"`
	Aborted  uint64   `json:"aborted"`
	Unknown  uint64   `json:"unknown"`
	Late     uint64   `json:"late"`
	LateMax  float64  `json:"lateMaxSeconds"`
	LateP99  *float64 `json:"lateP99Seconds,omitempty"`
	Doubt    string   `json:"doubt,omitempty"` // as that of a PhaseLoad
}

// PodLoad is what one pod answered. Share is its share of all answers of which the
// pod is known, from 0 to 1. Rate is answers a second over the time in which the
// pod was in service; absent if that is not known or shorter than a second.
type PodLoad struct {
	Pod      string    `json:"pod"`
	Answered uint64    `json:"answered"`
	Errors   uint64    `json:"errors"`
	Share    float64   `json:"share"`
	Rate     *float64  `json:"rate,omitempty"`
	Latency  Quantiles `json:"latency"` // to two significant digits
}

// Spread is how evenly pods got the load, by their Rate, so that one that came
// late does not count as left out. MaxOverMean is 1 and Gini 0 when all got the
// same; when one of n got everything, they are n and 1 − 1/n. Gini is
// Σᵢ Σⱼ |xᵢ − xⱼ| / (2 n² mean), see
// https://en.wikipedia.org/wiki/Gini_coefficient.
type Spread struct {
	Pods        int     `json:"pods"`
	MaxOverMean float64 `json:"maxOverMean"`
	Gini        float64 `json:"gini"`
}

// Quantiles of the answers' latency, absent when there were no answers.
type Quantiles struct {
	P50 *float64 `json:"p50Seconds,omitempty"`
	P90 *float64 `json:"p90Seconds,omitempty"`
	P95 *float64 `json:"p95Seconds,omitempty"`
	P99 *float64 `json:"p99Seconds,omitempty"`
	Max *float64 `json:"maxSeconds,omitempty"`
}

// Signal is one of them.
type Signal struct {
	Metric string `json:"metric"` // as it is named among the HPA's metrics
	Name   string `json:"name"`   // in its API
	// Target is that of the HPA, in the unit of the metric; absent where the metric is of all and has TargetPerPod.
	Target       *float64 `json:"target,omitempty"`
	TargetPerPod *float64 `json:"targetPerPod,omitempty"`
	// Activation is the value above which KEDA takes the target from zero; absent without a ScaledObject.
	Activation *float64 `json:"activation,omitempty"`
	// Of says of what its values are: all, or pod for the mean of the pods.
	Of string `json:"of"`
}

// Values of Signal.Of.
const (
	OfAll  = "all"
	OfPods = "pod"
)

// Second is one second of the run: counts and latencies within it, from Second
// to Second + 1 on the clock of the run, and the state at its end.
type Second struct {
	Second   int      `json:"second"`
	Phase    string   `json:"phase,omitempty"`
	Offered  uint64   `json:"offered"`
	Answered uint64   `json:"answered"`
	Failed   uint64   `json:"failed"`
	Unsent   uint64   `json:"unsent,omitempty"`
	Late     uint64   `json:"late,omitempty"`
	LateMax  float64  `json:"lateMaxSeconds,omitempty"`
	P50      *float64 `json:"p50Seconds,omitempty"`
	P90      *float64 `json:"p90Seconds,omitempty"`
	P99      *float64 `json:"p99Seconds,omitempty"`

	// CPUCores and MemoryBytes sum the latest sample of each pod that exists.
	CPUCores    *float64 `json:"cpuCores,omitempty"`
	MemoryBytes *int64   `json:"memoryBytes,omitempty"`
	// CPUPercent is the CPU utilization that the HPA would work out from the
	// latest samples, in percent of the requests.
	CPUPercent *float64 `json:"cpuPercent,omitempty"`
	// HPAPercent is the utilization that the HPA's status reports: of CPU if it
	// scales on it, else of its first metric that has one.
	HPAPercent *int32 `json:"hpaPercent,omitempty"`
	Desired    *int32 `json:"desired,omitempty"`      // HPA status
	Spec       *int32 `json:"specReplicas,omitempty"` // of the target

	// Demand is the replicas that the plan of the load needs, by capacityPerReplica.
	Demand *float64 `json:"demand,omitempty"`

	// Signals are the values of Result.Signals; nil of one that could not be read.
	Signals []*float64 `json:"signals,omitempty"`

	// Backlog is how many messages waited in the queue, and Oldest how long the oldest of them had.
	Backlog *float64 `json:"backlog,omitempty"`
	Oldest  *float64 `json:"oldestSeconds,omitempty"`

	Pods        *int `json:"pods,omitempty"`        // that exist
	Ready       *int `json:"ready,omitempty"`       // Ready and not terminating
	InService   *int `json:"inService,omitempty"`   // ready in an EndpointSlice
	Terminating *int `json:"terminating,omitempty"` // deletionTimestamp set, not gone
}

// Pod is one pod's life. Its instants are those at which the watch first showed
// each state, absent if it never did or if the pod was in that state before it
// was first seen. PrecisionSeconds is the largest of them all.
type Pod struct {
	Name     string `json:"name"`
	UID      string `json:"uid"`
	Node     string `json:"node,omitempty"`
	Before   bool   `json:"before,omitempty"` // it was there before the watch opened
	Restarts int32  `json:"restarts"`
	Returned bool   `json:"returned,omitempty"` // it last went out of service for a time only

	FirstSeen        float64  `json:"firstSeenAtSeconds"`
	Created          *float64 `json:"createdAtSeconds,omitempty"`
	Scheduled        *float64 `json:"scheduledAtSeconds,omitempty"`
	Initialized      *float64 `json:"initializedAtSeconds,omitempty"`
	Started          *float64 `json:"startedAtSeconds,omitempty"` // all containers run
	Ready            *float64 `json:"readyAtSeconds,omitempty"`
	InService        *float64 `json:"inServiceAtSeconds,omitempty"`
	Terminating      *float64 `json:"terminatingAtSeconds,omitempty"`
	OutOfService     *float64 `json:"outOfServiceAtSeconds,omitempty"` // the last time
	Gone             *float64 `json:"goneAtSeconds,omitempty"`
	PrecisionSeconds float64  `json:"precisionSeconds"`

	// Object holds the object's own timestamps, which are on another clock and
	// in steps of a second.
	Object ObjectTimes `json:"object"`
}

// ObjectTimes are a pod's creationTimestamp, deletionTimestamp (which lies at
// the end of the grace period) and the first lastTransitionTime seen of its
// conditions being true.
type ObjectTimes struct {
	Created         time.Time  `json:"created"`
	Deletion        *time.Time `json:"deletion,omitempty"`
	Scheduled       *time.Time `json:"scheduled,omitempty"`
	Initialized     *time.Time `json:"initialized,omitempty"`
	ContainersReady *time.Time `json:"containersReady,omitempty"`
	Ready           *time.Time `json:"ready,omitempty"`
}

// Event is a Kubernetes Event at the instant at which the watch showed it.
type Event struct {
	AtSeconds float64 `json:"atSeconds"`
	record.Event
}
