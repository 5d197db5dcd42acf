// Package model says how a modelled pod behaves: what a request costs it, how
// long it takes to start and to stop, and what goes wrong with it. The embedded
// cluster (package lab) reads it from an annotation of the pod; a scenario states
// it as workload.model; presets stand in for images that are well known.
package model

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Annotation of a pod holds the Model of its first container, as JSON. A real
// cluster pays no heed to it.
const Annotation = "hpabench.dev/model"

// MaxAnnotation is how many bytes all annotations of an object may have
// (TotalAnnotationSizeLimitB in k8s.io/apimachinery/pkg/api/validation).
const MaxAnnotation = 256 << 10

// Model is how one container of a modelled pod behaves. A field that is left
// out has the preset's value.
type Model struct {
	// Preset is what the other fields start from: nginx, hpa-example, generic, gateway, queue or
	// worker. Default: the one of the container's image, else generic.
	Preset string `json:"preset,omitempty" jsonschema:"enum=nginx,enum=hpa-example,enum=generic,enum=gateway,enum=queue,enum=worker"`

	// Pull is how long a node takes to pull the image when it does not have it.
	Pull *metav1.Duration `json:"pull,omitempty"`
	// Start is how long the process takes from its start until it listens,
	// beside the CPU time of StartCPU.
	Start *metav1.Duration `json:"start,omitempty"`
	// StartCPU is the CPU time that the start takes on one thread, after Start: a
	// CPU limit makes it longer.
	StartCPU *metav1.Duration `json:"startCPU,omitempty"`
	// Drain is how long the process goes on serving after SIGTERM before it stops.
	Drain *metav1.Duration `json:"drain,omitempty"`
	// Graceful says that the process, when it stops, answers the requests that
	// it has. Otherwise they are cut off.
	Graceful *bool `json:"graceful,omitempty"`

	// CPU is the CPU time that a request takes.
	CPU *Cost `json:"cpu,omitempty"`
	// ConnectionCPU is the CPU time that the first request of a connection takes
	// on top of CPU.
	ConnectionCPU *metav1.Duration `json:"connectionCPU,omitempty"`
	// Wait is how long a request waits without using CPU, for a database say.
	Wait *Cost `json:"wait,omitempty"`
	// Workers is how many requests can be served at once. A request that waits
	// holds its worker.
	Workers *int `json:"workers,omitempty" jsonschema:"minimum=1"`
	// Queue is how many more requests can wait for a worker. What comes on top
	// of them is refused: the connection is reset.
	Queue *int `json:"queue,omitempty" jsonschema:"minimum=0"`
	// Serving is how requests share the processors: fifo, where one that runs does so to its
	// end (an event loop such as nginx's), or turns of 20 ms (Go programs; threads and processes
	// that the kernel shares out). A request of less than 20 ms takes one turn. Default: that of
	// the preset, fifo for nginx and turns for the others.
	Serving *string `json:"serving,omitempty" jsonschema:"enum=fifo,enum=turns"`
	// IdleCPU is used at all times, in cores.
	IdleCPU *resource.Quantity `json:"idleCPU,omitempty"`

	// Memory is used at all times.
	Memory *resource.Quantity `json:"memory,omitempty"`
	// MemoryPerRequest is taken by each request. Past the container's limit it is
	// killed.
	MemoryPerRequest *resource.Quantity `json:"memoryPerRequest,omitempty"`
	// MemoryHeld is how long a request's memory is kept. Default: while the
	// request is served.
	MemoryHeld *metav1.Duration `json:"memoryHeld,omitempty"`

	// Forwards makes a gateway of the pod: it answers with what a Service answers.
	Forwards *Forwards `json:"forwards,omitempty"`
	// Calls are requests to other Services that each of its own makes, one after another, when it
	// has had its CPU time.
	Calls []Call `json:"calls,omitempty"`
	// Holds makes a queue of the pod: POST / adds a message (?n= for more), GET /take gives one.
	Holds *bool `json:"holds,omitempty"`
	// Takes makes a worker of the pod: it takes messages from the queue behind this Service, as many
	// at a time as it has workers, and each takes its CPU and its Wait.
	Takes *string `json:"takes,omitempty"`

	// Metrics are the custom metrics that the pods show, by the names that the HPA gives
	// them.
	Metrics map[string]Metric `json:"metrics,omitempty"`

	// Body of the answer. Default: "ok\n".
	Body *string `json:"body,omitempty"`

	// Fault makes the container go wrong.
	Fault *Fault `json:"fault,omitempty"`
}

// Forwards is where a gateway sends its requests on to.
type Forwards struct {
	// To is a Service of the pod's namespace, as shop or shop:8080.
	To string `json:"to" jsonschema:"minLength=1"`
	// Hold is how long a request waits for a pod that takes it, after which it is answered with
	// status 503. Default: 0.
	Hold *metav1.Duration `json:"hold,omitempty"`
}

// Call is a request to another Service.
type Call struct {
	// To is a Service of the pod's namespace, as stock or stock:8080. Where it fails, the request
	// that it is for is answered with status 502.
	To string `json:"to" jsonschema:"minLength=1"`
	// Times that each request makes it. Default: 1.
	Times int `json:"times,omitempty" jsonschema:"minimum=1"`
}

// Metric is a custom metric as Prometheus collects it and its adapter serves it.
type Metric struct {
	// Of is what it tells of a pod: requests that were answered a second, over Window, or
	// those that are inFlight at a scrape.
	Of string `json:"of" jsonschema:"enum=requests,enum=inFlight"`
	// Scale is the value for one of them. Default: 1.
	Scale float64 `json:"scale,omitempty" jsonschema:"exclusiveMinimum=0"`
	// Every is how often a pod is scraped. Default: 15s.
	Every *metav1.Duration `json:"every,omitempty"`
	// Window is what the rate is over, as of rate(requests[1m]): two scrapes at least.
	// Default: 1m.
	Window *metav1.Duration `json:"window,omitempty"`
}

// How requests share the processors.
const (
	FIFO  = "fifo"
	Turns = "turns"
)

// What a Metric is of.
const (
	OfRequests = "requests"
	OfInFlight = "inFlight"
)

// Period is Every, or its default.
func (m Metric) Period() time.Duration {
	if m.Every == nil {
		return 15 * time.Second
	}
	return m.Every.Duration
}

// Range is Window, or its default.
func (m Metric) Range() time.Duration {
	if m.Window == nil {
		return time.Minute
	}
	return m.Window.Duration
}

// Check says what is out of its range, first by its field.
func (m Metric) Check() error {
	switch {
	case m.Of != OfRequests && m.Of != OfInFlight:
		return fmt.Errorf("of is %q and must be %s or %s", m.Of, OfRequests, OfInFlight)
	case !(m.Scale >= 0 && m.Scale <= MaxScale):
		return fmt.Errorf("scale is %g and must be more than 0, %g at most", m.Scale, MaxScale)
	case m.Period() < time.Second || m.Period() > longest:
		return fmt.Errorf("every is %s and must be from 1s to %s", m.Period(), longest)
	case m.Range() < 0 || m.Range() > longest:
		return fmt.Errorf("window is %s and must be %s at most", m.Range(), longest)
	case m.Of == OfRequests && m.Range() < 2*m.Period():
		return fmt.Errorf("window is %s, and a rate needs two scrapes, which are %s apart", m.Range(), m.Period())
	}
	return nil
}

// Cost is how much of something a request takes.
type Cost struct {
	// Mean of the distribution.
	Mean metav1.Duration `json:"mean"`
	// Distribution is constant, exponential or lognormal. Default: constant.
	Distribution string `json:"distribution,omitempty" jsonschema:"enum=constant,enum=exponential,enum=lognormal"`
	// Deviation is the standard deviation of a lognormal distribution, as a
	// share of the mean. Default: 1.
	Deviation float64 `json:"deviation,omitempty" jsonschema:"minimum=0"`
}

// Fault is what goes wrong with a container.
type Fault struct {
	// Pull says that the image cannot be pulled: ErrImagePull and then
	// ImagePullBackOff.
	Pull bool `json:"pull,omitempty"`
	// Crash ends the process with exit code 1 so long after its start:
	// CrashLoopBackOff.
	Crash *metav1.Duration `json:"crash,omitempty"`
	// Unready lets the readiness probe fail for so long after the start. A
	// container without a readiness probe is not touched by it.
	Unready *metav1.Duration `json:"unready,omitempty"`
	// Errors is the share of requests that are answered with status 500, from 0 to 1.
	Errors float64 `json:"errors,omitempty" jsonschema:"minimum=0,maximum=1"`
}

// Parse reads the annotation of a pod. A field that does not exist and a value
// out of its range are errors.
func Parse(annotation string) (Model, error) {
	var m Model
	if len(annotation) > MaxAnnotation {
		return Model{}, fmt.Errorf("reading the annotation %s: it has %d bytes, and an annotation %d at most", Annotation, len(annotation), MaxAnnotation)
	}
	err := json.Unmarshal([]byte(annotation), &m, JSON, json.RejectUnknownMembers(true))
	if err == nil {
		err = m.Check()
	}
	if err != nil {
		return Model{}, fmt.Errorf("reading the annotation %s: %w", Annotation, err)
	}
	return m, nil
}

// Check says which values are out of their range.
func (m *Model) Check() error {
	var faults []error
	fault := func(field string, value any, must string) {
		faults = append(faults, fmt.Errorf("%s is %v and must be %s", field, value, must))
	}
	durations := map[string]*metav1.Duration{
		"pull": m.Pull, "start": m.Start, "startCPU": m.StartCPU, "drain": m.Drain,
		"connectionCPU": m.ConnectionCPU, "memoryHeld": m.MemoryHeld,
	}
	if m.Forwards != nil {
		durations["forwards.hold"] = m.Forwards.Hold
	}
	if f := m.Fault; f != nil {
		durations["fault.crash"], durations["fault.unready"] = f.Crash, f.Unready
		if !(f.Errors >= 0 && f.Errors <= 1) {
			fault("fault.errors", f.Errors, "from 0 to 1")
		}
	}
	for name, metric := range m.Metrics {
		if err := metric.Check(); err != nil {
			faults = append(faults, fmt.Errorf("metrics.%s.%w", name, err))
		}
	}
	for field, c := range map[string]*Cost{"cpu": m.CPU, "wait": m.Wait} {
		if c == nil {
			continue
		}
		durations[field+".mean"] = &c.Mean
		if !slices.Contains([]string{"", "constant", "exponential", "lognormal"}, c.Distribution) {
			fault(field+".distribution", c.Distribution, "constant, exponential or lognormal")
		}
		if !(c.Deviation >= 0 && c.Deviation <= maxDeviation) {
			fault(field+".deviation", c.Deviation, fmt.Sprintf("from 0 to %d", maxDeviation))
		}
	}
	for field, d := range durations {
		if d != nil && (d.Duration < 0 || d.Duration > longest) {
			fault(field, d.Duration, fmt.Sprintf("from 0 to %s", longest))
		}
	}
	for field, q := range map[string]*resource.Quantity{"idleCPU": m.IdleCPU, "memory": m.Memory, "memoryPerRequest": m.MemoryPerRequest} {
		most := int64(MaxBytes)
		if field == "idleCPU" {
			most = MaxCPU
		}
		if q != nil && (q.Sign() < 0 || q.CmpInt64(most) > 0) {
			fault(field, q, fmt.Sprintf("from 0 to %s", resource.NewQuantity(most, resource.BinarySI)))
		}
	}
	if m.Workers != nil && (*m.Workers < 1 || *m.Workers > MaxWorkers) {
		fault("workers", *m.Workers, fmt.Sprintf("from 1 to %d", MaxWorkers))
	}
	if m.Queue != nil && (*m.Queue < 0 || *m.Queue > MaxWorkers) {
		fault("queue", *m.Queue, fmt.Sprintf("from 0 to %d", MaxWorkers))
	}
	if m.Serving != nil && *m.Serving != FIFO && *m.Serving != Turns {
		fault("serving", *m.Serving, FIFO+" or "+Turns)
	}
	if len(m.Metrics) > maxMetrics {
		fault("metrics", fmt.Sprintf("a list of %d", len(m.Metrics)), fmt.Sprintf("%d at most", maxMetrics))
	}
	if m.Body != nil && len(*m.Body) > maxBody {
		fault("body", fmt.Sprintf("a text of %d bytes", len(*m.Body)), fmt.Sprintf("%d bytes at most", maxBody))
	}
	if m.Preset != "" && !slices.Contains(presets, m.Preset) {
		fault("preset", m.Preset, "one of "+strings.Join(presets, ", "))
	}
	m.checkAround(fault)
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

// Upper bounds of what a model says, far beyond what there is.
const (
	// longest bounds durations, and what is drawn of a distribution: sums of a few stay far
	// from overflow.
	longest = 24 * time.Hour
	// MaxWorkers bounds the requests that one pod has, at work or in line.
	MaxWorkers = 10_000_000
	// MaxCPU bounds cores, and MaxBytes memory: of no machine are there more.
	MaxCPU   = 100_000
	MaxBytes = 1 << 50
	// MaxScale bounds the value of a custom metric for one request.
	MaxScale = 1e9

	maxDeviation = 1000
	maxMetrics   = 100
	maxCalls     = 100
	maxBody      = MaxAnnotation // of which it is part
)

// Draw is what one request takes. A lognormal variable with mean m and standard deviation
// d × m is exp(μ + σZ) with σ² = ln(1 + d²) and μ = ln m − σ²/2 (Johnson, Kotz,
// Balakrishnan: Continuous Univariate Distributions, vol. 1, ch. 14).
func (c *Cost) Draw(r *rand.Rand) time.Duration {
	mean := float64(c.Mean.Duration)
	switch {
	case mean <= 0:
		return 0
	case c.Distribution == "exponential":
		mean *= r.ExpFloat64()
	case c.Distribution == "lognormal":
		variance := c.variance()
		mean *= math.Exp(math.Sqrt(variance)*r.NormFloat64() - variance/2)
	}
	return time.Duration(min(mean, float64(longest)))
}

// variance is σ² of a lognormal distribution.
func (c *Cost) variance() float64 {
	deviation := cmp.Or(c.Deviation, 1)
	return math.Log1p(deviation * deviation)
}
