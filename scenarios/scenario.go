// Package scenarios holds the Scenario type, reads and checks scenario files,
// and carries the library of scenarios that is embedded in the binary.
//
// A scenario names a workload, its autoscaler and the load to send to it, and
// says what is expected. Kubernetes types are used as they are wherever one
// exists, so that what `kubectl explain` says of a field holds here too.
package scenarios

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/hpabench/hpabench/keda"
	"github.com/hpabench/hpabench/model"
)

// APIVersion and Kind open every scenario file.
const (
	APIVersion = "hpabench.dev/v1alpha1"
	Kind       = "Scenario"
)

// Scenario is one experiment.
type Scenario struct {
	APIVersion string   `json:"apiVersion" jsonschema:"enum=hpabench.dev/v1alpha1"`
	Kind       string   `json:"kind" jsonschema:"enum=Scenario"`
	Metadata   Metadata `json:"metadata"`
	Spec       Spec     `json:"spec"`
}

// Metadata names a scenario.
type Metadata struct {
	// Name is a DNS label of at most 40 characters: it becomes part of the
	// names of the objects that a run creates.
	Name string `json:"name" jsonschema:"pattern=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$,maxLength=40"`
	// Description is a sentence for the listing.
	Description string `json:"description,omitempty"`
}

// Spec is what a scenario consists of.
type Spec struct {
	Workload Workload `json:"workload"`
	// Autoscaler is to be left out when workload.existing names an object whose
	// HPA exists too, or when a manifest holds the HPA.
	Autoscaler *Autoscaler `json:"autoscaler,omitempty"`
	Load       Load        `json:"load"`
	// CapacityPerReplica is how many requests a second one replica serves as well as
	// it should. With it the demand for replicas is known, and so how well the HPA
	// followed it.
	CapacityPerReplica *float64 `json:"capacityPerReplica,omitempty" jsonschema:"minimum=0.000001,maximum=1000000000"`
	// SLO is what an answer must meet, so that the report has the share that did not.
	SLO *SLO `json:"slo,omitempty"`
	// Cost is what replicas cost, so that hpabench tune says what a setting costs a day.
	Cost *Price `json:"cost,omitempty"`
	// Repeat makes so many runs, one after the other, whose expectations are judged
	// over all of them; --repeat says another number. Default: 1.
	Repeat int `json:"repeat,omitempty" jsonschema:"minimum=1,maximum=1000"`
	// Matrix makes a run of each combination of values. Its names are those of --set and of
	// tune's --vary (target, min, max, stabilization of the scale-down; scaleUp.NAME and
	// scaleDown.NAME with stabilization, tolerance, percent and pods; hpabench tune --help
	// explains them), or the path of any field of the spec, such as
	// workload.deployment.resources.requests.cpu or load.phases[1].rate.
	Matrix map[string][]any `json:"matrix,omitempty"`
	// Expect lists conditions in CEL that the result must meet, for example
	// scaleUp.inService <= duration("90s"). One that does not hold makes the
	// exit code 1.
	Expect []string `json:"expect,omitempty" jsonschema:"maxItems=1000"`
}

// SLO is a service level objective for single answers.
type SLO struct {
	// Latency that an answer may take; in an open loop from when its request was due.
	Latency metav1.Duration `json:"latency"`
}

// Price is that of replicas.
type Price struct {
	// ReplicaHour is the price of one replica for one hour, of its requests of CPU and memory say.
	ReplicaHour float64 `json:"replicaHour" jsonschema:"minimum=0,maximum=1000000"`
	// Currency in which the price is, for the tables: EUR, say.
	Currency string `json:"currency,omitempty" jsonschema:"maxLength=8"`
}

// Workload is what is scaled: exactly one of its first three fields. Objects that follow the scenario
// in its file, each after a line of ---, are manifests too.
type Workload struct {
	// Deployment is the short form: a Deployment and a Service in front of it.
	Deployment *Deployment `json:"deployment,omitempty"`
	// Manifests are YAML or JSON files of any Kubernetes objects, several documents a
	// file, relative to the scenario file: files, folders of them, patterns such as
	// k8s/*.yaml, kustomizations, or - for the standard input. They are created in this
	// order, and after them the objects that follow the scenario in its own file.
	Manifests []string `json:"manifests,omitempty" jsonschema:"minItems=1"`
	// Existing names an object that is there already: KIND/NAME, such as deployment/web,
	// or a mapping. It and its HPA are never changed and never deleted.
	Existing *Existing `json:"existing,omitempty"`

	// Target says which object of the manifests is scaled. It can be left out
	// when the autoscaler's manifest says so or only one of them can be scaled.
	Target *Target `json:"target,omitempty"`

	// Model is how the target's pods behave on the embedded cluster, which runs no
	// images: it is their first container's. Default: the preset of its image.
	// On a real cluster it is ignored.
	Model *model.Model `json:"model,omitempty"`
}

// Deployment is the short form of a workload. Beside the fields named here it
// takes every field of a container (image, env, resources, probes, lifecycle…),
// which make the container that gets the load. Unless it has a name of its own,
// it is named after the scenario.
type Deployment struct {
	// Replicas to start with. Default: the autoscaler's minimum, or 1 where that is 0. KEDA scales
	// from 0, which is the default for a ScaledObject that goes there.
	Replicas *int32 `json:"replicas,omitempty" jsonschema:"minimum=0"`
	// Port is where the container answers HTTP. The Service has the same port.
	Port int32 `json:"port" jsonschema:"minimum=1,maximum=65535"`

	corev1.Container `json:",inline"`

	// Template is the rest of the pod: labels and annotations, and any field of
	// a pod's spec (initContainers, further containers, volumes, nodeSelector,
	// terminationGracePeriodSeconds…).
	Template *corev1.PodTemplateSpec `json:"template,omitempty"`
}

// Existing names an object with a scale subresource in the cluster.
type Existing struct {
	// APIVersion defaults to apps/v1.
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind" jsonschema:"minLength=1"`
	Name       string `json:"name" jsonschema:"minLength=1"`
	// Namespace defaults to that of --namespace, else "default".
	Namespace string `json:"namespace,omitempty"`
	// Autoscaler is the HPA's name. It can be left out when only one HPA of the
	// namespace points to the object.
	Autoscaler string `json:"autoscaler,omitempty"`
}

// Target points to an object of the manifests.
type Target struct {
	Kind string `json:"kind" jsonschema:"minLength=1"`
	Name string `json:"name" jsonschema:"minLength=1"`
}

// Autoscaler is the HPA: the short form with the meaning of kubectl autoscale,
// or a whole spec; or a ScaledObject, of which KEDA makes the HPA.
type Autoscaler struct {
	// CPUPercent is the target CPU utilization, in percent of what the pods
	// request. Left out, Kubernetes' own default holds (80).
	CPUPercent *int32 `json:"cpuPercent,omitempty" jsonschema:"minimum=1"`
	// Min is the lower limit for the number of replicas. Default: 1.
	Min *int32 `json:"min,omitempty" jsonschema:"minimum=0"`
	// Max is the upper limit for the number of replicas.
	Max *int32 `json:"max,omitempty" jsonschema:"minimum=1"`
	// Stabilization is the window of a scale-down. Left out, that of the cluster holds
	// (300s).
	Stabilization *metav1.Duration `json:"stabilization,omitempty"`
	// Spec is a whole autoscaling/v2 spec, in place of the fields above.
	// scaleTargetRef can be left out.
	Spec *autoscalingv2.HorizontalPodAutoscalerSpec `json:"spec,omitempty"`
	// ScaledObject is the spec of one of KEDA, in place of the fields above.
	ScaledObject *keda.ScaledObject `json:"scaledObject,omitempty"`
}

// Ways to reach the workload.
const (
	ViaAuto        = "auto"
	ViaURL         = "url"
	ViaNodePort    = "nodePort"
	ViaPortForward = "portForward"
	ViaJob         = "job"

	ViaAPIProxy     = "apiProxy"
	ViaLoadBalancer = "loadBalancer"
	ViaIngress      = "ingress"
)

// Load is the request that is sent and the phases in which it is sent.
type Load struct {
	// Via is how requests reach the workload: nodePort, portForward (to every
	// ready pod), url, job (from pods in the cluster), loadBalancer and ingress (at the
	// address in their status), apiProxy (through the API server, which is in for little
	// load), or auto: url when there is one, else a NodePort where one answers, else
	// portForward. Default: auto.
	Via string `json:"via,omitempty" jsonschema:"enum=auto,enum=url,enum=nodePort,enum=portForward,enum=job,enum=loadBalancer,enum=ingress,enum=apiProxy"`
	// Job says how many pods send the load with via job, and where they run.
	Job *Job `json:"job,omitempty"`
	// URL is where the workload answers, when via is url or auto. Requests go
	// to the path below it. A user and a password in it are sent as those of auth, and
	// never shown or recorded.
	URL string `json:"url,omitempty"`
	// TLS says how an https url is checked. Default: by the system's certificates.
	TLS *TLS `json:"tls,omitempty"`
	// HTTP2 lets an https url be asked by HTTP/2 if it can. Default: HTTP/1.1.
	HTTP2 bool `json:"http2,omitempty"`
	// Service in front of the workload. It can be left out when only one
	// Service selects the target's pods.
	Service string `json:"service,omitempty"`
	// Port is the Service's port, by number or name. It can be left out when
	// the Service has only one.
	Port *intstr.IntOrString `json:"port,omitempty"`

	// Method defaults to GET, or POST when there is a body.
	Method string `json:"method,omitempty"`
	// Path of the request, with its query. Default: /
	Path string `json:"path,omitempty" jsonschema:"pattern=^/"`
	// Headers of the request.
	Headers map[string]string `json:"headers,omitempty"`
	// Auth makes the header Authorization from what is not written here, so that it
	// gets into no record.
	Auth *Auth `json:"auth,omitempty"`
	// Body of the request.
	Body string `json:"body,omitempty"`
	// BodyFile holds the body in place of the above. It is looked for beside the
	// scenario, and must be in its folder.
	BodyFile string `json:"bodyFile,omitempty"`
	// Targets are several requests, of which each is sent as often as its weight says,
	// in place of the one of method, path and body. The headers above are in all.
	Targets []HTTPTarget `json:"targets,omitempty" jsonschema:"minItems=1,maxItems=100000"`
	// Timeout of one request. Default: 30s.
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// KeepAlive is that of the phases that do not say it. Default: true.
	KeepAlive *bool `json:"keepAlive,omitempty"`
	// MaxConnectionAge is how long a kept connection takes new requests. All are
	// replaced at once when it is over, so that what balances connections chooses
	// anew. Default: no limit.
	MaxConnectionAge *metav1.Duration `json:"maxConnectionAge,omitempty"`
	// PodHeader is the header in which an answer names the pod that it comes from.
	// With portForward the pod is known without it.
	PodHeader string `json:"podHeader,omitempty"`

	// Queue is what the load's requests fill, where that shows how long it is: the report has
	// its course, and how long it took to drain.
	Queue *Queue `json:"queue,omitempty"`

	// Phases follow one another without a pause.
	Phases []Phase `json:"phases" jsonschema:"minItems=1"`
}

// Queue says where the state of a queue is shown: as series in the text format of Prometheus, in the
// answer to a GET that goes where the load goes.
type Queue struct {
	// Backlog is the name of the series of how many messages wait; several with different labels are
	// added up.
	Backlog string `json:"backlog" jsonschema:"pattern=^[a-zA-Z_:][a-zA-Z0-9_:]*$,maxLength=200"`
	// Oldest is the name of the series of how long the oldest of them has waited, in seconds; of
	// several it is the greatest.
	Oldest string `json:"oldest,omitempty" jsonschema:"pattern=^[a-zA-Z_:][a-zA-Z0-9_:]*$,maxLength=200"`
	// Path of the request, with its query. Default: /metrics
	Path string `json:"path,omitempty" jsonschema:"pattern=^/"`
}

// Job is an Indexed Job whose pods send the load together, each an even share.
type Job struct {
	// Pods that send. Default: 1.
	Pods *int32 `json:"pods,omitempty" jsonschema:"minimum=1,maximum=1000"`
	// Resources of each of them.
	Resources    corev1.ResourceRequirements `json:"resources,omitempty"`
	NodeSelector map[string]string           `json:"nodeSelector,omitempty"`
	Tolerations  []corev1.Toleration         `json:"tolerations,omitempty"`
}

// HTTPTarget is one of several requests; or a file of them.
type HTTPTarget struct {
	// Weight is how often it is sent among the others. Default: 1.
	Weight *int `json:"weight,omitempty" jsonschema:"minimum=1,maximum=1000"`
	// Method defaults to GET, or POST when there is a body.
	Method string `json:"method,omitempty"`
	// Path of the request, with its query. Default: /
	Path string `json:"path,omitempty" jsonschema:"pattern=^/"`
	// Headers replace those of the load with the same name.
	Headers  map[string]string `json:"headers,omitempty"`
	Body     string            `json:"body,omitempty"`
	BodyFile string            `json:"bodyFile,omitempty"`
	// File holds targets in one of vegeta's formats, all of this weight. It is looked
	// for beside the scenario. Their URLs are paths, or name the host to which the
	// load goes; where that is not a url, only path and query are used.
	File string `json:"file,omitempty"`
}

// Auth is one of basic and bearer.
type Auth struct {
	Basic  *BasicAuth   `json:"basic,omitempty"`
	Bearer *Credentials `json:"bearer,omitempty"`
}

// BasicAuth is a user name and a password.
type BasicAuth struct {
	Username string      `json:"username" jsonschema:"minLength=1"`
	Password Credentials `json:"password"`
}

// Credentials say where a password or a token is: one of env and secret.
type Credentials struct {
	// Env is the environment variable of hpabench that holds it.
	Env string `json:"env,omitempty"`
	// Secret in the namespace of the workload, and the key in it.
	Secret *SecretKey `json:"secret,omitempty"`
}

// SecretKey is one value of a Secret.
type SecretKey struct {
	Name string `json:"name" jsonschema:"minLength=1"`
	Key  string `json:"key" jsonschema:"minLength=1"`
}

// TLS says how the certificate of an https URL is checked.
type TLS struct {
	// CAFile holds the certificates to trust, in PEM, in place of the system's. It is
	// looked for beside the scenario.
	CAFile string `json:"caFile,omitempty"`
	// ServerName is the name to ask for and to check. Default: that of the URL.
	ServerName string `json:"serverName,omitempty"`
	// InsecureSkipVerify takes any certificate.
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
}

// Phase is a stretch of load with one shape: exactly one of rate, ramp, sine,
// steps, spike, noise, replay and workers; or phases that are repeated.
type Phase struct {
	Name string `json:"name" jsonschema:"pattern=^[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?$,maxLength=100"`
	// Duration of the phase. A replay lasts as long as its trace if it is left out;
	// a repetition as long as its phases.
	Duration metav1.Duration `json:"duration,omitempty"`

	// Rate is an open loop: so many requests a second leave by schedule,
	// whatever the answers do. 0 is no load.
	Rate *float64 `json:"rate,omitempty" jsonschema:"minimum=0,maximum=1000000"`
	// Ramp is an open loop whose rate changes linearly.
	Ramp *Ramp `json:"ramp,omitempty"`
	// Sine is an open loop whose rate swings around a mean.
	Sine *Sine `json:"sine,omitempty"`
	// Steps is a row of open loops that share the duration evenly, each at one of
	// the rates. They become phases of their own, NAME_1, NAME_2 and so on.
	Steps []float64 `json:"steps,omitempty" jsonschema:"minItems=2,minimum=0,maximum=1000000"`
	// Spike is an open loop that rises from a base to a peak and falls again. Its
	// parts become phases of their own: NAME_base, _rise, _peak, _fall and _after.
	Spike *Spike `json:"spike,omitempty"`
	// Noise is an open loop whose rate leaps around a base, the same way each time.
	Noise *Noise `json:"noise,omitempty"`
	// Replay is an open loop that follows a trace.
	Replay *Replay `json:"replay,omitempty"`
	// Repeat makes the phases below follow one another so many times. They get the
	// number of their turn: NAME_PHASE_1, NAME_PHASE_2 and so on.
	Repeat int     `json:"repeat,omitempty" jsonschema:"minimum=1,maximum=1000"`
	Phases []Phase `json:"phases,omitempty" jsonschema:"minItems=1"`
	// Workers is a closed loop: so many workers, each of which sends its next
	// request when it has the answer to the last.
	Workers *int `json:"workers,omitempty" jsonschema:"minimum=1,maximum=10000"`
	// ThinkTime is how long a worker waits after each answer. Default: 0s.
	ThinkTime *metav1.Duration `json:"thinkTime,omitempty"`
	// Requests of each worker, on average. When they are answered the phase ends, if
	// its duration does not end it before. Default: no limit.
	Requests uint64 `json:"requests,omitempty" jsonschema:"maximum=1000000000"`
	// KeepAlive says whether a connection serves several requests. Default: that of the
	// load, else true.
	KeepAlive *bool `json:"keepAlive,omitempty"`
	// Targets are what the phase sends in place of what the load says.
	Targets []HTTPTarget `json:"targets,omitempty" jsonschema:"minItems=1,maxItems=100000"`

	requests []HTTPRequest // that it sends, as they were read
}

// Ramp goes from one rate to another in the time of the phase, in requests a second.
type Ramp struct {
	From float64 `json:"from" jsonschema:"minimum=0,maximum=1000000"`
	To   float64 `json:"to" jsonschema:"minimum=0,maximum=1000000"`
}

// Sine starts at its mean and goes up first, in requests a second.
type Sine struct {
	Mean float64 `json:"mean" jsonschema:"exclusiveMinimum=0,maximum=1000000"`
	// Amplitude is at most the mean.
	Amplitude float64         `json:"amplitude" jsonschema:"minimum=0"`
	Period    metav1.Duration `json:"period"`
}

// Spike rises from a base to a peak, linearly, holds it, and falls again, in
// requests a second. What is left of the phase's duration is at the base.
type Spike struct {
	Base float64 `json:"base" jsonschema:"minimum=0,maximum=1000000"`
	Peak float64 `json:"peak" jsonschema:"exclusiveMinimum=0,maximum=1000000"`
	// After is how long the base lasts before. Default: 0s.
	After metav1.Duration `json:"after,omitempty"`
	// Rise and fall take no time if they are left out.
	Rise metav1.Duration `json:"rise,omitempty"`
	Hold metav1.Duration `json:"hold"`
	Fall metav1.Duration `json:"fall,omitempty"`
}

// Noise draws a rate anew every so often, from base − amplitude to base +
// amplitude, all of them as likely, in requests a second.
type Noise struct {
	Base float64 `json:"base" jsonschema:"exclusiveMinimum=0,maximum=1000000"`
	// Amplitude is at most the base.
	Amplitude float64 `json:"amplitude" jsonschema:"exclusiveMinimum=0"`
	// Every is how long a rate lasts. Default: 1s.
	Every *metav1.Duration `json:"every,omitempty"`
	// Seed of the draws: another one gives other rates. Default: 0.
	Seed uint64 `json:"seed,omitempty"`
}

// Replay follows a trace.
type Replay struct {
	// File is CSV in the scenario's folder: with the header seconds,rate, a
	// rate that holds from that second on, and the last one as long as the one before
	// it, or to the end of the phase if that has a duration (a time can also be 1m30s,
	// 00:01:30, 2026-01-31T15:04:05Z, or seconds or milliseconds since 1970); or what `vegeta encode -to csv` makes of
	// its results, of which the requests of each second are counted.
	File string `json:"file" jsonschema:"minLength=1"`
	// Scale multiplies the rates. Default: 1.
	Scale *float64 `json:"scale,omitempty" jsonschema:"minimum=0.000001,maximum=1000000"`
	// Stretch multiplies the time: 0.5 is twice as fast. Default: 1.
	Stretch *float64 `json:"stretch,omitempty" jsonschema:"minimum=0.000001,maximum=1000000"`
}
