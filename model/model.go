// Package model says how a modelled pod behaves: what a request costs it, how
// long it takes to start and to stop, and what goes wrong with it. The embedded
// cluster (package lab) reads it from an annotation of the pod; a scenario states
// it as workload.model; presets stand in for images that are well known.
package model

import (
	"bytes"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Annotation of a pod holds the Model of its first container, as JSON. A real
// cluster pays no heed to it.
const Annotation = "hpabench.dev/model"

// Model is how one container of a modelled pod behaves. A field that is left
// out has the preset's value.
type Model struct {
	// Preset is what the other fields start from: nginx, hpa-example or
	// generic. Default: the one of the container's image, else generic.
	Preset string `json:"preset,omitempty" jsonschema:"enum=nginx,enum=hpa-example,enum=generic"`

	// Pull is how long a node takes to pull the image when it does not have it.
	Pull *metav1.Duration `json:"pull,omitempty"`
	// Start is how long the process takes from its start until it listens.
	Start *metav1.Duration `json:"start,omitempty"`
	// Drain is how long the process goes on serving after SIGTERM before it exits.
	Drain *metav1.Duration `json:"drain,omitempty"`

	// CPU is the CPU time that a request takes.
	CPU *Cost `json:"cpu,omitempty"`
	// Wait is how long a request waits without using CPU, for a database say.
	Wait *Cost `json:"wait,omitempty"`
	// Workers is how many requests can be served at once. A request that waits
	// holds its worker.
	Workers *int `json:"workers,omitempty" jsonschema:"minimum=1"`
	// Queue is how many more requests can wait for a worker. What comes on top
	// of them is refused: the connection is reset.
	Queue *int `json:"queue,omitempty" jsonschema:"minimum=0"`
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

	// Body of the answer. Default: "ok\n".
	Body *string `json:"body,omitempty"`

	// Fault makes the container go wrong.
	Fault *Fault `json:"fault,omitempty"`
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

// Parse reads the annotation of a pod. A field that does not exist is an error.
func Parse(annotation string) (Model, error) {
	var m Model
	d := json.NewDecoder(bytes.NewBufferString(annotation))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return Model{}, fmt.Errorf("reading the annotation %s: %w", Annotation, err)
	}
	return m, nil
}
