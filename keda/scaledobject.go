package keda

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// APIVersion and Kind are those of a ScaledObject: https://keda.sh.
const (
	APIVersion = "keda.sh/v1alpha1"
	Kind       = "ScaledObject"
	// OfScaledObject is the label that a metric of a ScaledObject is asked for with.
	OfScaledObject = "scaledobject.keda.sh/name"
)

// Source is this file: its doc comments describe the fields of a ScaledObject to an editor.
//
//go:embed scaledobject.go
var Source []byte

// ScaledObject has the fields of a keda.sh/v1alpha1 ScaledObject's spec. scaleTargetRef can be
// left out.
type ScaledObject struct {
	ScaleTargetRef *ScaleTargetRef `json:"scaleTargetRef,omitempty"`
	// PollingInterval is how often KEDA looks whether to leave zero, in seconds. Default: 30.
	PollingInterval *int32 `json:"pollingInterval,omitempty" jsonschema:"minimum=1"`
	// CooldownPeriod is how long no trigger is active before KEDA goes to zero, in seconds. Default: 300.
	CooldownPeriod *int32 `json:"cooldownPeriod,omitempty" jsonschema:"minimum=0"`
	// InitialCooldownPeriod is how long KEDA does not go to zero after it was made, in seconds. Default: 0.
	InitialCooldownPeriod *int32 `json:"initialCooldownPeriod,omitempty" jsonschema:"minimum=0"`
	// IdleReplicaCount are the replicas while no trigger is active. Default: minReplicaCount.
	IdleReplicaCount *int32 `json:"idleReplicaCount,omitempty" jsonschema:"minimum=0"`
	// MinReplicaCount defaults to 0.
	MinReplicaCount *int32 `json:"minReplicaCount,omitempty" jsonschema:"minimum=0"`
	// MaxReplicaCount defaults to 100.
	MaxReplicaCount *int32    `json:"maxReplicaCount,omitempty" jsonschema:"minimum=1"`
	Advanced        *Advanced `json:"advanced,omitempty"`
	Fallback        *Fallback `json:"fallback,omitempty"`
	Triggers        []Trigger `json:"triggers" jsonschema:"minItems=1"`
}

// ScaleTargetRef names what a ScaledObject scales. Default: a Deployment of apps/v1.
type ScaleTargetRef struct {
	Name       string `json:"name" jsonschema:"minLength=1"`
	Kind       string `json:"kind,omitempty"`
	APIVersion string `json:"apiVersion,omitempty"`
	// EnvSourceContainerName is the container whose environment the triggers may name.
	EnvSourceContainerName string `json:"envSourceContainerName,omitempty"`
}

// Advanced is what else a ScaledObject says of its HPA.
type Advanced struct {
	HorizontalPodAutoscalerConfig *HPAConfig `json:"horizontalPodAutoscalerConfig,omitempty"`
	// RestoreToOriginalReplicaCount when the ScaledObject is deleted.
	RestoreToOriginalReplicaCount bool `json:"restoreToOriginalReplicaCount,omitempty"`
	// ScalingModifiers make one metric of all.
	ScalingModifiers *ScalingModifiers `json:"scalingModifiers,omitempty"`
}

// HPAConfig is what a ScaledObject's HPA is to be like.
type HPAConfig struct {
	Name     string                                         `json:"name,omitempty"`
	Behavior *autoscalingv2.HorizontalPodAutoscalerBehavior `json:"behavior,omitempty"`
}

// ScalingModifiers make one metric of the triggers by a formula.
type ScalingModifiers struct {
	Formula          string `json:"formula,omitempty"`
	Target           string `json:"target,omitempty"`
	ActivationTarget string `json:"activationTarget,omitempty"`
	MetricType       string `json:"metricType,omitempty" jsonschema:"enum=AverageValue,enum=Value"`
}

// Fallback is how many replicas there are while a trigger's source fails.
type Fallback struct {
	FailureThreshold int32  `json:"failureThreshold" jsonschema:"minimum=0"`
	Replicas         int32  `json:"replicas" jsonschema:"minimum=0"`
	Behavior         string `json:"behavior,omitempty" jsonschema:"enum=static,enum=currentReplicas,enum=currentReplicasIfHigher,enum=currentReplicasIfLower,enum=scalingModifiers"`
}

// Trigger is a source of a ScaledObject.
type Trigger struct {
	// Type of the source, such as prometheus, rabbitmq or cpu.
	Type string `json:"type" jsonschema:"minLength=1"`
	Name string `json:"name,omitempty"`
	// UseCachedMetrics answers the HPA by what KEDA read at its last poll.
	UseCachedMetrics bool `json:"useCachedMetrics,omitempty"`
	// Metadata are the fields of the type, all of them strings.
	Metadata          map[string]string  `json:"metadata"`
	AuthenticationRef *AuthenticationRef `json:"authenticationRef,omitempty"`
	MetricType        string             `json:"metricType,omitempty" jsonschema:"enum=AverageValue,enum=Value,enum=Utilization"`
}

// AuthenticationRef names a TriggerAuthentication, or a ClusterTriggerAuthentication.
type AuthenticationRef struct {
	Name string `json:"name" jsonschema:"minLength=1"`
	Kind string `json:"kind,omitempty"`
}

// DeepCopy is a copy that shares nothing; nil of nil.
func (s *ScaledObject) DeepCopy() *ScaledObject {
	if s == nil {
		return nil
	}
	text, err := json.Marshal(s)
	copied := new(ScaledObject)
	if err = cmp.Or(err, json.Unmarshal(text, copied)); err != nil {
		panic(err) // it is made of numbers and texts
	}
	return copied
}

// Target is what a ScaledObject scales, by KEDA's defaults.
func (s *ScaledObject) Target() (ref autoscalingv2.CrossVersionObjectReference) {
	ref = autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment"}
	if of := s.ScaleTargetRef; of != nil {
		ref.Name = of.Name
		if of.Kind != "" {
			ref.Kind = of.Kind
		}
		if of.APIVersion != "" {
			ref.APIVersion = of.APIVersion
		}
	}
	return ref
}

// HPAName is the name of the HPA that KEDA makes of the ScaledObject (getHPAName in
// keda/controllers/keda/hpa.go).
func (s *ScaledObject) HPAName(name string) string {
	if a := s.Advanced; a != nil && a.HorizontalPodAutoscalerConfig != nil && a.HorizontalPodAutoscalerConfig.Name != "" {
		return a.HorizontalPodAutoscalerConfig.Name
	}
	return "keda-hpa-" + name
}

// HPA is the HPA that KEDA makes, as far as the file tells it: the names and the targets of metrics that are not of
// pods' resources are its triggers' own affair.
func (s *ScaledObject) HPA(name string) *autoscalingv2.HorizontalPodAutoscaler {
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"},
		ObjectMeta: metav1.ObjectMeta{Name: s.HPAName(name)},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: s.Target(), MinReplicas: new(max(1, ptr.Deref(s.MinReplicaCount, 0))), MaxReplicas: ptr.Deref(s.MaxReplicaCount, 100),
		},
	}
	if a := s.Advanced; a != nil && a.HorizontalPodAutoscalerConfig != nil {
		hpa.Spec.Behavior = a.HorizontalPodAutoscalerConfig.Behavior.DeepCopy()
	}
	for i, t := range s.Triggers {
		m := t.metric(i)
		if m.External != nil { // by which KEDA's metrics server finds the ScaledObject
			m.External.Metric.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{OfScaledObject: name}}
		}
		hpa.Spec.Metrics = append(hpa.Spec.Metrics, m)
	}
	slices.SortStableFunc(hpa.Spec.Metrics, func(a, b autoscalingv2.MetricSpec) int { return cmp.Compare(a.Type, b.Type) })
	return hpa
}

func (t *Trigger) metric(i int) autoscalingv2.MetricSpec {
	if !t.ofPods() {
		return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
			Metric: autoscalingv2.MetricIdentifier{Name: t.metricName(i)}, Target: t.target(),
		}}
	}
	kind := autoscalingv2.MetricTargetType(cmp.Or(t.MetricType, t.Metadata["type"]))
	target := autoscalingv2.MetricTarget{Type: kind}
	switch q, err := resource.ParseQuantity(t.Metadata["value"]); {
	case err != nil:
	case kind == autoscalingv2.UtilizationMetricType:
		target.AverageUtilization = new(int32(q.Value()))
	default:
		target.AverageValue = &q
	}
	name := corev1.ResourceName(t.Type)
	if c := t.Metadata["containerName"]; c != "" {
		return autoscalingv2.MetricSpec{Type: autoscalingv2.ContainerResourceMetricSourceType, ContainerResource: &autoscalingv2.ContainerResourceMetricSource{Name: name, Container: c, Target: target}}
	}
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: name, Target: target}}
}

// Rules are what KEDA goes by of the ScaledObject, made at an instant.
func (s *ScaledObject) Rules(created time.Time) Rules {
	seconds := func(of *int32, otherwise int32) time.Duration {
		return time.Duration(ptr.Deref(of, otherwise)) * time.Second
	}
	r := Rules{Min: ptr.Deref(s.MinReplicaCount, 0), Idle: s.IdleReplicaCount, Created: created,
		Cooldown: seconds(s.CooldownPeriod, 300), InitialCooldown: seconds(s.InitialCooldownPeriod, 0)}
	if s.Fallback != nil {
		r.Fallback = &s.Fallback.Replicas
	}
	return r
}

// Polling is how often KEDA asks the triggers.
func (s *ScaledObject) Polling() time.Duration {
	return time.Duration(ptr.Deref(s.PollingInterval, 30)) * time.Second
}

// Least are the fewest replicas that KEDA leaves.
func (s *ScaledObject) Least() int32 { return s.Rules(time.Time{}).Least() }
