package analysis

import "github.com/hpabench/hpabench/record"

// Finding is something that stood in the way of scaling, or that a run showed of
// the workload: what was seen, on which object, since when, why, and what to do.
type Finding struct {
	// Kind names the sort of finding, one of the Found constants; it stays.
	Kind     string `json:"kind"`
	Severity string `json:"severity"`
	// Object is what it is about, as kubectl names it: "pod/web-1", "hpa/web",
	// "deployment/web", "apiservice/v1beta1.metrics.k8s.io". Others lists further
	// ones with the same finding.
	Object string   `json:"object"`
	Others []string `json:"others,omitempty"`
	// SinceSeconds and UntilSeconds are instants on the clock of the run; until is
	// absent if it was so to the end. A negative one is from before the run, by
	// the object's own timestamp.
	SinceSeconds *float64 `json:"sinceSeconds,omitempty"`
	UntilSeconds *float64 `json:"untilSeconds,omitempty"`

	// Spells are the times of it, where there may be several between these; with nothing between two.
	Spells [][2]float64 `json:"-"`

	// Spoils says that what somebody did made the measurement one of something else.
	Spoils bool `json:"spoils,omitempty"`

	// Doubt says that the load was not as planned then, of a finding that comes of the load: see PhaseLoad.Doubt.
	Doubt string `json:"doubt,omitempty"`

	Seen   string `json:"seen"`   // a sentence with its figures
	Cause  string `json:"cause"`  // the likely one, a sentence
	Advice string `json:"advice"` // what to do, a sentence; commands in backquotes
}

// ofLoad are the kinds of findings that come of the load.
var ofLoad = []string{FoundCPULimit, FoundMaxReached, FoundLoadTooSmall, FoundFlapping, FoundWindow, FoundStarved, FoundErrors, FoundUpLimited, FoundRounding, FoundSeenLate, FoundZeroFlapping, FoundColdStart}

// Severities of a Finding, the worst first.
const (
	Blocks = "blocks" // the HPA or new pods could not work
	Limits = "limits" // scaling worked, but less or later than it might
	Notice = "notice" // worth knowing; nothing was lost
)

// Kinds of findings.
const (
	FoundNoRequest        = "no-request"         // the HPA's metric is a share of a request that is not there
	FoundMetricsAbsent    = "metrics-absent"     // metrics.k8s.io not served, or without samples
	FoundMetricsStale     = "metrics-stale"      // samples older than two resolutions
	FoundMetricsMissing   = "metrics-missing"    // for some pods
	FoundNotReady         = "not-ready"          // pods that the HPA leaves out, without another cause
	FoundNoneCounted      = "none-counted"       // the HPA leaves out all pods
	FoundUnschedulable    = "unschedulable"      //
	FoundImage            = "image-pull"         //
	FoundCrash            = "crash"              // restarts, crash loops
	FoundOOM              = "out-of-memory"      //
	FoundProbe            = "probe"              // failing probes
	FoundCPULimit         = "cpu-limit"          // containers throttled at it
	FoundInit             = "init"               // an init container that blocks
	FoundPostStart        = "post-start"         //
	FoundQuota            = "quota"              // pods that cannot be created, or replicas that cannot be set
	FoundMaxReached       = "max-reached"        // and the metric stayed above its target
	FoundLoadTooSmall     = "load-too-small"     //
	FoundFlapping         = "flapping"           //
	FoundWindow           = "window"             // stabilization longer than the calm
	FoundForeignScale     = "foreign-scale"      // somebody else changed spec.replicas
	FoundStatusStale      = "hpa-stale"          // the HPA's status was not updated
	FoundNotScaled        = "not-scaled"         // the HPA did not follow its metric
	FoundStarved          = "starved"            // kept connections do not reach the new pods
	FoundTerminatingError = "terminating-errors" // answers failed while a pod ended
	FoundDeleted          = "deleted"            // somebody deleted the HPA, the target, a Service, the namespace
	FoundChanged          = "changed"            // somebody changed one of them, or labels of pods
	FoundPodDeleted       = "pod-deleted"        // somebody deleted or evicted pods
	FoundRival            = "rival-hpa"          // another HPA over the same pods

	FoundOverlap           = "selector-overlap"       // the target's selector selects pods of others
	FoundCannotScale       = "cannot-scale"           // limits hold the metric below what a scale-up takes
	FoundMinIsMax          = record.MinIsMax          // the HPA has one number of replicas to choose from
	FoundDirectionDisabled = record.DirectionDisabled // selectPolicy: Disabled
	FoundRunsAway          = "value-target-runs-away" // a Value that more pods do not bring down
	FoundRollout           = "rollout"                // pods of another ReplicaSet in the run
	FoundErrors            = "errors"                 // requests failed, and nothing else says why
	FoundUpLimited         = "scale-up-limited"       // policies held a scale-up below what was recommended
	FoundRounding          = "rounding"               // the replicas stay, as the HPA rounds up

	FoundSeenLate = "seen-too-late" // a surge was over before the HPA added a replica

	FoundStuckAtZero    = "stuck-at-zero"   // requests came, and the HPA left the target without a replica
	FoundNeverActivated = "never-activated" // the same of KEDA
	FoundSignalAbsent   = "signal-absent"   // an adapter had no value of a metric
	FoundSignalStale    = "signal-stale"    // its values were old
	FoundPaused         = "paused"          // somebody holds the ScaledObject
	FoundFallback       = "fallback"        // a trigger's source failed, and the ScaledObject says how many replicas then
	FoundZeroFlapping   = "zero-flapping"   // the last replica went and came back
	FoundColdStart      = "cold-start"      // requests came while there was no pod
)

// FindingKinds are all of them.
var FindingKinds = []string{FoundNoRequest, FoundMetricsAbsent, FoundMetricsStale, FoundMetricsMissing, FoundNotReady, FoundNoneCounted, FoundUnschedulable, FoundImage, FoundCrash, FoundOOM, FoundProbe, FoundCPULimit, FoundInit, FoundPostStart, FoundQuota, FoundMaxReached, FoundLoadTooSmall, FoundFlapping, FoundWindow, FoundForeignScale, FoundStatusStale, FoundNotScaled, FoundStarved, FoundTerminatingError, FoundDeleted, FoundChanged, FoundPodDeleted, FoundRival,
	FoundOverlap, FoundCannotScale, FoundMinIsMax, FoundDirectionDisabled, FoundRunsAway, FoundRollout, FoundErrors, FoundUpLimited, FoundRounding, FoundSeenLate,
	FoundStuckAtZero, FoundNeverActivated, FoundSignalAbsent, FoundSignalStale, FoundPaused, FoundFallback, FoundZeroFlapping, FoundColdStart}
