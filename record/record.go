// Package record holds what one run observed, and its file format.
//
// A run is recorded first and judged after: the runner, the load generator and
// the watchers append entries while the run goes on; package analysis turns the
// finished record into figures without a clock and without a cluster.
//
// The file is JSON Lines: one Entry a line, in the order in which they were
// observed, the first of them the Header. The journal of a running measurement
// and the finished record are the same file: a finished one ends with an End
// entry. A file that was cut off (a full disk, SIGKILL) reads up to its last
// whole line.
package record

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
)

// Format names the version of the file format, in every Header.
const Format = "hpabench.dev/record/v1"

// Instant is a point in time on the runner's monotonic clock, counted from the
// start of the run. In JSON it is a number of seconds with six decimals.
type Instant time.Duration

// Sub returns i - j.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i - j) }

// Add returns i + d.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Seconds returns i in seconds.
func (i Instant) Seconds() float64 { return time.Duration(i).Seconds() }

// String formats i like a time.Duration, rounded to the millisecond.
func (i Instant) String() string { return time.Duration(i).Round(time.Millisecond).String() }

// MarshalJSON writes i as seconds.
func (i Instant) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, i.Seconds(), 'f', 6, 64), nil
}

// UnmarshalJSON reads seconds.
func (i *Instant) UnmarshalJSON(b []byte) error {
	s, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return fmt.Errorf("an instant is a number of seconds: %w", err)
	}
	if !(s >= -MaxInstant.Seconds() && s <= MaxInstant.Seconds()) {
		return fmt.Errorf("the instant is at second %s, and must be at %.0f at the latest", b, MaxInstant.Seconds())
	}
	*i = Instant(time.Duration(s*1e6+0.5) * time.Microsecond)
	return nil
}

// Clock is the one clock of a run. Every instant in a record is read on it.
type Clock struct{ start time.Time }

// StartClock returns a clock that stands at zero now.
func StartClock() Clock { return Clock{start: time.Now()} }

// ClockFrom returns a clock that stood at zero at the given time, which must come
// from time.Now of this process.
func ClockFrom(start time.Time) Clock { return Clock{start: start} }

// Now returns the time since the clock was started, by the monotonic clock.
func (c Clock) Now() Instant { return Instant(time.Since(c.start)) }

// At returns the instant of t, which must come from time.Now of this process.
func (c Clock) At(t time.Time) Instant { return Instant(t.Sub(c.start)) }

// Start returns the wall-clock time at which the clock stood at zero.
func (c Clock) Start() time.Time { return c.start }

// Entry is one line of a record: the instant at which something was observed
// and exactly one of the pointers.
type Entry struct {
	At           Instant       `json:"at"`
	Header       *Header       `json:"header,omitempty"`
	Check        *Check        `json:"check,omitempty"`
	Cluster      *Cluster      `json:"cluster,omitempty"`
	Subject      *Subject      `json:"subject,omitempty"`
	Phase        *PhaseMark    `json:"phase,omitempty"`
	Load         *LoadSecond   `json:"load,omitempty"`
	Autoscaler   *Autoscaler   `json:"autoscaler,omitempty"`
	ScaledObject *ScaledObject `json:"scaledObject,omitempty"`
	Target       *Target       `json:"target,omitempty"`
	ReplicaSet   *ReplicaSet   `json:"replicaSet,omitempty"`
	Pod          *Pod          `json:"pod,omitempty"`
	Endpoints    *Endpoints    `json:"endpoints,omitempty"`
	PodMetrics   *PodMetrics   `json:"podMetrics,omitempty"`
	Signal       *Signal       `json:"signal,omitempty"`
	Queue        *Queue        `json:"queue,omitempty"`
	Event        *Event        `json:"event,omitempty"`
	Change       *Change       `json:"change,omitempty"`
	Answer       *Answer       `json:"answer,omitempty"`
	Gap          *Gap          `json:"gap,omitempty"`
	Note         *Note         `json:"note,omitempty"`
	End          *End          `json:"end,omitempty"`
}

// What gives the pointer of e that is set, the last one of several, and their number. It is nil
// if there is none.
func (e *Entry) What() (what any, n int) {
	v := reflect.ValueOf(e).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			what = f.Interface()
			n++
		}
	}
	return what, n
}

// Header opens a record: what was planned, before anything was created.
type Header struct {
	Format   string `json:"format"`
	Run      string `json:"run"`      // the run's id, also in the labels of all that it created
	Scenario string `json:"scenario"` // its name
	Source   string `json:"source"`   // the scenario's YAML as it was read
	// Manifests are, in YAML, those of its manifests of which a simulation of the record is made: what has pods, Services, autoscalers
	// and sources outside the cluster; without secrets.
	Manifests    string    `json:"manifests,omitempty"`
	Version      string    `json:"version"` // of hpabench
	Started      time.Time `json:"started"` // wall clock, for people
	Phases       []Phase   `json:"phases"`
	MetricsEvery float64   `json:"metricsEverySeconds"` // how often PodMetrics were polled
	Expect       []string  `json:"expect,omitempty"`    // the scenario's expectations, in CEL

	// CapacityPerReplica is how many requests a second one replica serves as well as
	// it should, as the scenario states it; 0 if it does not.
	CapacityPerReplica float64 `json:"capacityPerReplica,omitempty"`

	// SLOLatency is how long an answer may take by the scenario's SLO; 0 without one.
	SLOLatency float64 `json:"sloLatencySeconds,omitempty"`

	// FixedReplicas says that hpabench itself gave the HPA one number of replicas, as calibrate does.
	FixedReplicas bool `json:"fixedReplicas,omitempty"`
}

// Shapes of a Phase.
const (
	ShapeIdle    = "idle"    // no load
	ShapeRate    = "rate"    // open loop, From requests a second
	ShapeRamp    = "ramp"    // open loop, linear From → To
	ShapeSine    = "sine"    // open loop, From ± Amplitude over Period
	ShapeCurve   = "curve"   // open loop, by Curve
	ShapeWorkers = "workers" // closed loop

	ShapeObserved = "observed" // whatever others send: hpabench only watches
)

// Phase is a stretch of load with one shape, as planned. Rates are in requests
// a second.
type Phase struct {
	Name      string  `json:"name"`
	Seconds   float64 `json:"seconds"`
	Shape     string  `json:"shape"`
	From      float64 `json:"from,omitempty"` // rate, start of the ramp, or mean of the sine
	To        float64 `json:"to,omitempty"`   // end of the ramp
	Amplitude float64 `json:"amplitude,omitempty"`
	Period    float64 `json:"periodSeconds,omitempty"`
	Workers   int     `json:"workers,omitempty"`
	Think     float64 `json:"thinkSeconds,omitempty"` // of a worker, after each answer
	Requests  uint64  `json:"requests,omitempty"`     // of each worker, 0 for no limit; then the phase ends
	KeepAlive bool    `json:"keepAlive,omitempty"`

	// Curve is the rate over the phase: linear between two points, by leaps where
	// two are at the same time, and that of the last one after it. Made says in a
	// few words where it comes from.
	Curve []RatePoint `json:"curve,omitempty"`
	Made  string      `json:"made,omitempty"`
}

// RatePoint is a rate, in requests a second, at a time of the phase, in seconds.
type RatePoint struct {
	At   float64 `json:"at"`
	Rate float64 `json:"rate"`
}

// CurveHits returns how many hits the Curve asks for by a number of seconds after
// the onset: its integral.
func (p *Phase) CurveHits() func(seconds float64) float64 {
	before := make([]float64, len(p.Curve)) // up to each point
	for i := 1; i < len(p.Curve); i++ {
		a, b := p.Curve[i-1], p.Curve[i]
		before[i] = before[i-1] + (a.Rate+b.Rate)/2*(b.At-a.At)
	}
	return func(t float64) float64 {
		i := p.piece(t)
		if i < 0 {
			return 0
		}
		return before[i] + (p.Curve[i].Rate+p.RateAt(t))/2*(t-p.Curve[i].At)
	}
}

// PlannedRate is the offered rate t seconds after the onset, in requests a second; nil
// in a closed loop, and for what others send.
func (p *Phase) PlannedRate(t float64) *float64 {
	switch p.Shape {
	case ShapeIdle:
		return new(float64)
	case ShapeRate:
		return new(p.From)
	case ShapeRamp:
		return new(p.From + (p.To-p.From)*t/p.Seconds)
	case ShapeSine:
		return new(p.From + p.Amplitude*math.Sin(2*math.Pi*t/p.Period))
	case ShapeCurve:
		return new(p.RateAt(t))
	}
	return nil
}

// Changes says whether the offered rate is planned to change in the phase.
func (p *Phase) Changes() bool {
	switch p.Shape {
	case ShapeRamp:
		return p.From != p.To
	case ShapeSine:
		return p.Amplitude > 0
	case ShapeCurve:
		return slices.ContainsFunc(p.Curve, func(point RatePoint) bool { return point.Rate != p.Curve[0].Rate })
	}
	return false
}

// RateAt is the rate of the Curve t seconds after the onset.
func (p *Phase) RateAt(t float64) float64 {
	i := p.piece(t)
	if i < 0 {
		return 0
	}
	if i+1 == len(p.Curve) {
		return p.Curve[i].Rate
	}
	a, b := p.Curve[i], p.Curve[i+1]
	return a.Rate + (b.Rate-a.Rate)*(t-a.At)/(b.At-a.At)
}

// piece is the last point at t or before, -1 if there is none.
func (p *Phase) piece(t float64) int {
	return sort.Search(len(p.Curve), func(i int) bool { return p.Curve[i].At > t }) - 1
}

// Outcomes of a Check.
const (
	OK      = "ok"
	Warning = "warning"
	Fault   = "fault"
)

// Check is one line of the preflight.
type Check struct {
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do, unless OK
	// Forbidden says that the fault is a missing right to look.
	Forbidden bool `json:"forbidden,omitempty"`
}

// Cluster says what the run was measured on.
type Cluster struct {
	Version string `json:"version"` // of the API server
	Nodes   []Node `json:"nodes"`
	Lab     *Lab   `json:"lab,omitempty"` // nil for a real cluster

	Controllers *Controllers `json:"controllers,omitempty"` // nil if they are not known
	// ControllersFrom is where the Controllers were read.
	ControllersFrom string `json:"controllersFrom,omitempty"`
	// ControllersUnknown is why they could not be read, as what follows "which"; empty where the cluster does not show them.
	ControllersUnknown string `json:"controllersUnknown,omitempty"`

	// Assumed are sentences on what the pods and the cluster were taken to be without a
	// measurement, where they are modelled.
	Assumed []string `json:"assumed,omitempty"`
}

// Timings of a Lab.
const (
	RealTiming = "real" // the defaults of Kubernetes and metrics-server
	FastTiming = "fast"

	SimulatedTiming = "simulated" // no cluster at all: see package simulate
)

// Lab is the embedded cluster, whose pods are modelled, or the simulation.
type Lab struct {
	Timing            string  `json:"timing"`
	MetricsResolution float64 `json:"metricsResolutionSeconds"` // of metrics-server
}

// Node is one node of the cluster; CPU in cores, memory in bytes, both allocatable.
type Node struct {
	Name     string  `json:"name"`
	CPU      float64 `json:"cpu"`
	Memory   int64   `json:"memoryBytes"`
	OS       string  `json:"os"` // operating system and architecture
	Kubelet  string  `json:"kubelet"`
	Runtime  string  `json:"runtime"`
	Schedule bool    `json:"schedulable"`

	// Free is what the requests of the pods on it left of what is allocatable,
	// when the run began; nil if that is not known.
	Free   corev1.ResourceList `json:"free,omitempty"`
	Taints []corev1.Taint      `json:"taints,omitempty"`
}

// Subject names what the run scales and how its load gets there. It is written
// once, when the workload is ready and before the first phase.
type Subject struct {
	Namespace    string `json:"namespace"`
	APIVersion   string `json:"apiVersion"`
	Kind         string `json:"kind"`
	Name         string `json:"name"`
	Autoscaler   string `json:"autoscaler"`
	ScaledObject string `json:"scaledObject,omitempty"` // of KEDA, that the Autoscaler was made of
	Way          string `json:"way,omitempty"`          // url, nodePort, portForward or job; absent when no phase has load
	URL          string `json:"url,omitempty"`          // where the requests go
	Why          string `json:"why,omitempty"`          // why this way, when the scenario left it open
}

// PhaseMark is the start or the end of Header.Phases[Index]. At a start, the
// entry's instant is the onset: the first scheduled request.
type PhaseMark struct {
	Index int    `json:"index"`
	Name  string `json:"name"`
	Edge  string `json:"edge"` // "start" or "end"
}

// LoadSecond counts the load of one phase in one second of the run, from
// Second to Second+1. Offered, Sent, Unsent, Late and what else tells of lateness
// count by the scheduled (closed loop: the sending) instant, everything else by
// the instant of the answer.
// For a whole phase: offered = sent + unsent, and sent = answered + failed +
// aborted + unknown.
type LoadSecond struct {
	Worker   int               `json:"worker,omitempty"` // of via: job, from 1; 0 is the runner itself
	Phase    int               `json:"phase"`
	Second   int               `json:"second"`
	Offered  uint64            `json:"offered,omitempty"`
	Sent     uint64            `json:"sent,omitempty"`
	Unsent   uint64            `json:"unsent,omitempty"`
	Answered uint64            `json:"answered,omitempty"` // with a status code
	Failed   uint64            `json:"failed,omitempty"`   // no status code: refused, reset, timed out
	Aborted  uint64            `json:"aborted,omitempty"`  // still in flight when the run was cut short
	Unknown  uint64            `json:"unknown,omitempty"`  // perhaps sent, by a worker from which nothing was heard any more or a run that was killed
	Codes    map[string]uint64 `json:"codes,omitempty"`    // answers by status code
	Errors   map[string]uint64 `json:"errors,omitempty"`   // failures by cause
	BytesIn  uint64            `json:"bytesIn,omitempty"`  // bodies only
	BytesOut uint64            `json:"bytesOut,omitempty"`

	// Of an open loop, how far behind their schedule requests were sent: Late were so
	// by more than LateAfter, LateMax is the worst. Lateness is that of
	// NewPodHistogram.
	Late     uint64    `json:"late,omitempty"`
	LateMax  float64   `json:"lateMaxSeconds,omitempty"`
	Lateness Histogram `json:"lateness,omitempty"`

	// SlowConnects are connections that took 0.9 s or longer to open: TCP repeats
	// a first packet that was lost after a second.
	SlowConnects uint64    `json:"slowConnects,omitempty"`
	Latency      Histogram `json:"latency,omitempty"` // of the answers, see Histogram

	// Pods are the outcomes by the pod that they came from, where the way of the
	// load or a header of the answers tells it. Requests that found no pod, or
	// whose answer names none, are not in it.
	Pods map[string]PodSecond `json:"pods,omitempty"`
}

// LateAfter is 1 % of the second in which requests are counted.
const LateAfter = 10 * time.Millisecond

// PodSecond is what one pod did in a LoadSecond. Errors are its answers that are
// neither 2xx nor 3xx, and the requests that failed at it. Latency is that of
// NewPodHistogram.
type PodSecond struct {
	Answered uint64    `json:"answered,omitempty"`
	Errors   uint64    `json:"errors,omitempty"`
	Latency  Histogram `json:"latency,omitempty"`
}

// Autoscaler is the HPA as one watch event showed it.
type Autoscaler struct {
	Name    string                                      `json:"name"`
	Deleted bool                                        `json:"deleted,omitempty"`
	Spec    autoscalingv2.HorizontalPodAutoscalerSpec   `json:"spec"`
	Status  autoscalingv2.HorizontalPodAutoscalerStatus `json:"status"`
}

// Target is the scaled object as one watch event showed it. Ready is nil where
// the kind has no status.readyReplicas.
type Target struct {
	Deleted    bool   `json:"deleted,omitempty"`
	Generation int64  `json:"generation"`
	Replicas   int32  `json:"replicas"` // spec: what the scale says
	Status     int32  `json:"status"`   // status.replicas: what exists
	Ready      *int32 `json:"ready,omitempty"`

	StatefulSet *StatefulSet `json:"statefulSet,omitempty"` // nil for other kinds

	// Manager is the field manager that wrote Replicas last, as managedFields tell
	// it: for the HPA the controller manager, for `kubectl scale` kubectl.
	Manager string `json:"manager,omitempty"`
}

// StatefulSet is in which order one creates and deletes its pods.
type StatefulSet struct {
	PodManagementPolicy string `json:"podManagementPolicy"`       // OrderedReady or Parallel
	MinReadySeconds     int32  `json:"minReadySeconds,omitempty"` // that a pod is ready for before the next is created
	FirstOrdinal        int32  `json:"firstOrdinal,omitempty"`    // spec.ordinals.start
}

// StatefulSetOf reads what a StatefulSet's spec says of it.
func StatefulSetOf(o *unstructured.Unstructured) *StatefulSet {
	policy, _, _ := unstructured.NestedString(o.Object, "spec", "podManagementPolicy")
	minReady, _, _ := unstructured.NestedInt64(o.Object, "spec", "minReadySeconds")
	first, _, _ := unstructured.NestedInt64(o.Object, "spec", "ordinals", "start")
	return &StatefulSet{cmp.Or(policy, string(appsv1.OrderedReadyPodManagement)), int32(minReady), int32(first)}
}

// ReplicaSet is one ReplicaSet of the target as one watch event showed it.
type ReplicaSet struct {
	Name     string `json:"name"`
	Deleted  bool   `json:"deleted,omitempty"`
	Replicas int32  `json:"replicas"` // spec
	Status   int32  `json:"status"`
	Ready    int32  `json:"ready"`
}

// Pod is one pod of the target as one watch event showed it. Created and
// Deleting are the object's own timestamps: another clock, one-second steps.
type Pod struct {
	Name     string           `json:"name"`
	UID      string           `json:"uid"`
	Gone     bool             `json:"gone,omitempty"`     // the object was removed
	First    bool             `json:"first,omitempty"`    // listed, not watched: it was there before it was first seen
	Owner    string           `json:"owner,omitempty"`    // its controller, as Kind/name
	Revision string           `json:"revision,omitempty"` // of the owner's pod template: the label controller-revision-hash, which StatefulSets set
	Node     string           `json:"node,omitempty"`
	Created  metav1.Time      `json:"created"`
	Deleting *metav1.Time     `json:"deleting,omitempty"`
	Grace    *int64           `json:"graceSeconds,omitempty"`
	Status   corev1.PodStatus `json:"status"`

	// Containers are those whose resources the HPA counts: the containers and
	// the restartable init containers.
	Containers []ContainerResources `json:"containers,omitempty"`
	// Resources are those that the pod's spec gives to all containers together.
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
}

// ContainerResources is what the pod's spec says of one container.
type ContainerResources struct {
	Name     string              `json:"name"`
	Requests corev1.ResourceList `json:"requests,omitempty"`
	Limits   corev1.ResourceList `json:"limits,omitempty"`

	// PreStop and PostStart are the kinds of its hooks: exec, httpGet, tcpSocket
	// or sleep; empty without one. PreStopSleep is how long the latter takes.
	PreStop      string `json:"preStop,omitempty"`
	PreStopSleep *int64 `json:"preStopSleepSeconds,omitempty"`
	PostStart    string `json:"postStart,omitempty"`

	// Its probes, without the command of an exec and the headers of an HTTP request, which may be secret.
	StartupProbe   *corev1.Probe `json:"startupProbe,omitempty"`
	ReadinessProbe *corev1.Probe `json:"readinessProbe,omitempty"`
	LivenessProbe  *corev1.Probe `json:"livenessProbe,omitempty"`
}

// Endpoints is one EndpointSlice of a Service in front of the target, as one
// watch event showed it: all its endpoints that are pods.
type Endpoints struct {
	Slice     string     `json:"slice"`
	Service   string     `json:"service"`
	Deleted   bool       `json:"deleted,omitempty"`
	Endpoints []Endpoint `json:"endpoints,omitempty"`
}

// Endpoint is one pod in an EndpointSlice, with the slice's conditions.
type Endpoint struct {
	Pod         string `json:"pod"`
	Ready       bool   `json:"ready"`
	Serving     bool   `json:"serving"`
	Terminating bool   `json:"terminating"`
}

// Signal is a value of one of the HPA's metrics that metrics.k8s.io does not have, as an
// adapter served it in custom.metrics.k8s.io or external.metrics.k8s.io: to hpabench, which asks as the HPA
// does, or in a simulation to the HPA itself. Of a value that stays the same not each reading is recorded, see SignalEvery.
type Signal struct {
	Metric    string             `json:"metric"`              // as MetricTarget names it
	Value     *resource.Quantity `json:"value,omitempty"`     // of an object, or of an external metric the sum
	Pods      []PodSignal        `json:"pods,omitempty"`      // of a metric of the pods
	Timestamp *time.Time         `json:"timestamp,omitempty"` // by the adapter, in seconds, the latest of several; nil of what the HPA itself read
	Error     string             `json:"error,omitempty"`     // that the adapter answered in place of a value
}

// SignalEvery is how often a Signal is recorded at the least, while it can be read.
const SignalEvery = time.Minute

// Polled says that hpabench read it, and not the HPA itself.
func (s *Signal) Polled() bool { return s.Timestamp != nil || s.Error != "" }

// Same says whether another reading of the metric has the same values, or the same error.
func (s *Signal) Same(other *Signal) bool {
	equal := func(a, b *resource.Quantity) bool { return a == b || a != nil && b != nil && a.Cmp(*b) == 0 }
	return s.Error == other.Error && equal(s.Value, other.Value) && slices.EqualFunc(s.Pods, other.Pods, func(a, b PodSignal) bool {
		return a.Pod == b.Pod && a.Value.Cmp(b.Value) == 0
	})
}

// SignalSource is the source of a Gap in which a metric could not be read.
func SignalSource(metric string) string { return signalSource + metric }

const signalSource = "metric "

// PodSignal is the value of one pod.
type PodSignal struct {
	Pod   string            `json:"pod"`
	Value resource.Quantity `json:"value"`
}

// Queue is a reading of the queue that the scenario names. Of one that stays the same not each is recorded, see SignalEvery;
// the first, and the first after a Gap, are.
type Queue struct {
	Backlog float64  `json:"backlog"`                 // messages that wait
	Oldest  *float64 `json:"oldestSeconds,omitempty"` // how long the oldest of them has; nil where that was not told
	Took    float64  `json:"tookSeconds,omitempty"`   // the answer, where that was longer than Header.MetricsEvery
}

// QueueSource is the source of a Gap in which the queue could not be read: the field of the scenario.
const QueueSource = "load.queue"

// Same says whether another reading has the same values.
func (q *Queue) Same(other *Queue) bool {
	return q.Backlog == other.Backlog && q.Took == other.Took && ptr.Equal(q.Oldest, other.Oldest)
}

// PodMetrics is one poll of metrics.k8s.io that showed something new: every
// sample of the target's pods that it returned.
type PodMetrics struct {
	Samples []Sample `json:"samples"`
}

// Sample is one pod's usage: CPU in cores, memory in bytes, averaged over
// Window ending at Timestamp (the node's clock). New says that this poll was
// the first to show it.
type Sample struct {
	Pod        string            `json:"pod"`
	New        bool              `json:"new,omitempty"`
	Timestamp  time.Time         `json:"timestamp"`
	Window     float64           `json:"windowSeconds"`
	Containers []ContainerSample `json:"containers"`
}

// ContainerSample is one container's part of a Sample.
type ContainerSample struct {
	Name   string  `json:"name"`
	CPU    float64 `json:"cpu"`
	Memory int64   `json:"memoryBytes"`
}

// Event is one Kubernetes Event about the HPA, the target, its ReplicaSets or
// its pods. EventTime is the object's own time.
type Event struct {
	Kind    string    `json:"kind"` // of the object it is about
	Name    string    `json:"name"`
	Type    string    `json:"type"` // Normal or Warning
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Count   int32     `json:"count"`
	Time    time.Time `json:"time"`
}

// What a Change was.
const (
	ChangeUpdated = "updated" // Fields differ
	ChangeDeleted = "deleted" // the object is gone, or its deletion has begun
	ChangeCreated = "created" // it was made, or first scales the target
)

// AdmissionKinds are, by resource, the kinds of the whole cluster by which the API server lets others
// refuse or change what is written.
var AdmissionKinds = map[string]string{
	"validatingwebhookconfigurations":   "ValidatingWebhookConfiguration",
	"mutatingwebhookconfigurations":     "MutatingWebhookConfiguration",
	"validatingadmissionpolicies":       "ValidatingAdmissionPolicy",
	"validatingadmissionpolicybindings": "ValidatingAdmissionPolicyBinding",
	"mutatingadmissionpolicies":         "MutatingAdmissionPolicy",
	"mutatingadmissionpolicybindings":   "MutatingAdmissionPolicyBinding",
}

// Change is a write to an object that the run depends on which is not the daily work
// of a controller: its spec, its labels, its deletion; another HPA that scales the
// target; and what is done to ResourceQuotas and LimitRanges of the namespace, to its level
// of pod security, and to the webhooks and admission policies of the cluster. Replicas that
// the scale sets are in Target. Of a configuration of webhooks there is a Change for each of
// its webhooks, which the path of a field names: webhooks[NAME].failurePolicy.
//
// By, Operation and Time are the last writer of what changed by the object's
// managedFields: field manager, Update or Apply, and the API server's time. They are
// empty where managedFields do not tell, which they never do of a deletion.
type Change struct {
	Kind      string        `json:"kind"`
	Name      string        `json:"name"`
	What      string        `json:"what"`
	Fields    []FieldChange `json:"fields,omitempty"`
	By        string        `json:"by,omitempty"`
	Operation string        `json:"operation,omitempty"`
	Time      *metav1.Time  `json:"time,omitempty"`
}

// FieldChange is one field of a Change. Was and Now are its values, empty where the
// field was not there, and for fields that can hold secrets.
type FieldChange struct {
	Path string `json:"path"` // such as spec.maxReplicas
	Was  string `json:"was,omitempty"`
	Now  string `json:"now,omitempty"`
}

// Answer is the first answer that came from a pod, where the way of the load can
// tell them apart. Without a pod it is a good one (2xx or 3xx) after none for GoodEvery, or the first of all; of each worker of
// a fleet by itself.
type Answer struct {
	Pod string `json:"pod,omitempty"`
}

// GoodEvery is how long there must be no good answer for the next one to be an Answer of its own.
const GoodEvery = time.Second

// Gap is a stretch in which one source could not be observed, written when it
// is over. A change seen just after a gap may have happened anywhere within it;
// if Relisted, changes in between may not have been seen at all.
type Gap struct {
	Source   string  `json:"source"` // the watched resource, podmetrics, SignalSource of a metric, or QueueSource
	From     Instant `json:"from"`
	To       Instant `json:"to"`
	Relisted bool    `json:"relisted,omitempty"`
	Cause    string  `json:"cause"`
}

// Note is something that the runner wants a reader to know.
type Note struct {
	Text string `json:"text"`
}

// Outcomes of a run.
const (
	Completed   = "completed"
	Interrupted = "interrupted" // by the user
	Failed      = "failed"
)

// End closes a record.
type End struct {
	Outcome string   `json:"outcome"`
	Error   string   `json:"error,omitempty"`
	Left    []string `json:"left,omitempty"` // objects that the run created and that are still there
	Kept    bool     `json:"kept,omitempty"` // they are there because the run was asked to keep them
}
