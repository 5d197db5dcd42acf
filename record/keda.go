package record

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ScaledObject is KEDA's object that the HPA was made of, as one watch event showed it, with KEDA's defaults
// where it is silent. What its triggers' sources are is not in it, as that can hold passwords.
type ScaledObject struct {
	Name    string `json:"name"`
	Deleted bool   `json:"deleted,omitempty"`
	// PollingSeconds is how often KEDA looks whether to leave zero or the idle replicas, CooldownSeconds for how long
	// no trigger is active before it goes back there.
	PollingSeconds  int32     `json:"pollingSeconds"`
	CooldownSeconds int32     `json:"cooldownSeconds"`
	InitialSeconds  int32     `json:"initialCooldownSeconds,omitempty"`
	Min             int32     `json:"min"`
	Idle            *int32    `json:"idle,omitempty"` // replicas while no trigger is active; nil for Min
	Max             int32     `json:"max"`
	Triggers        []Trigger `json:"triggers,omitempty"`
	// Paused says by which annotation somebody holds it, or by which two, with a comma; empty if nobody does.
	Paused     string      `json:"paused,omitempty"`
	HPA        string      `json:"hpa,omitempty"`
	Conditions []Condition `json:"conditions,omitempty"`
}

// Condition is one of a ScaledObject's status.
type Condition struct {
	Type    string                 `json:"type"`
	Status  metav1.ConditionStatus `json:"status"`
	Reason  string                 `json:"reason,omitempty"`
	Message string                 `json:"message,omitempty"`
}

// Trigger is a source of a ScaledObject, or the formula that makes one metric of its sources.
type Trigger struct {
	Type   string `json:"type"`
	Metric string `json:"metric,omitempty"` // its name in external.metrics.k8s.io; empty if KEDA has not told it yet
	// Activation is the value above which the trigger is active.
	Activation float64 `json:"activation"`
}

// Least is how many replicas KEDA leaves while no trigger is active.
func (s *ScaledObject) Least() int32 {
	if s.Idle != nil {
		return *s.Idle
	}
	return s.Min
}

// Stopped says whether somebody paused it in both directions: KEDA deletes its HPA then.
func (s *ScaledObject) Stopped() bool {
	return s.Paused != "" && !strings.HasPrefix(s.Paused, pausedOneWay)
}

// Condition is one of its conditions; nil without it.
func (s *ScaledObject) Condition(kind string) *Condition {
	i := slices.IndexFunc(s.Conditions, func(c Condition) bool { return c.Type == kind })
	if i < 0 {
		return nil
	}
	return &s.Conditions[i]
}

// pausedReplicas holds a ScaledObject at a number of replicas, whatever its value.
const pausedReplicas = "autoscaling.keda.sh/paused-replicas"

// pausedOneWay begins the annotations that hold a ScaledObject in one direction.
const pausedOneWay = "autoscaling.keda.sh/paused-scale-"

// pausing are the annotations that hold a ScaledObject, those that hold it in both directions first:
// https://keda.sh/docs/latest/concepts/scaling-deployments/#pausing-autoscaling
var pausing = []string{pausedReplicas, "autoscaling.keda.sh/paused", pausedOneWay + "in", pausedOneWay + "out"}

// PausedOut says whether annotations, as those of ScaledObject.Paused, keep KEDA from adding replicas.
func PausedOut(annotations string) bool {
	return annotations != "" && annotations != pausedOneWay+"in"
}

// pausedBy is the annotation that holds a ScaledObject, as KEDA reads it, or both of one direction each: see getBoolAnnotation in
// keda/apis/keda/v1alpha1/scaledobject_types.go.
func pausedBy(annotations map[string]string) string {
	var oneWay []string
	for _, name := range pausing {
		value, is := annotations[name]
		holds, err := strconv.ParseBool(value)
		switch {
		case is && name == pausedReplicas:
			return name + "=" + value
		case is && (err != nil || holds) && strings.HasPrefix(name, pausedOneWay):
			oneWay = append(oneWay, name)
		case is && (err != nil || holds):
			return name
		}
	}
	return strings.Join(oneWay, ", ")
}

// ScaledObjectOf reads a keda.sh/v1alpha1 ScaledObject.
func ScaledObjectOf(o *unstructured.Unstructured) *ScaledObject {
	number := func(or int32, path ...string) int32 {
		if n, found, err := unstructured.NestedInt64(o.Object, path...); err == nil && found && n >= 0 && n <= math.MaxInt32 {
			return int32(n)
		}
		return or
	}
	s := &ScaledObject{Name: o.GetName(), PollingSeconds: number(30, "spec", "pollingInterval"), CooldownSeconds: number(300, "spec", "cooldownPeriod"),
		InitialSeconds: number(0, "spec", "initialCooldownPeriod"), Min: number(0, "spec", "minReplicaCount"), Max: number(100, "spec", "maxReplicaCount")}
	if idle := number(-1, "spec", "idleReplicaCount"); idle >= 0 {
		s.Idle = &idle
	}
	s.Paused = pausedBy(o.GetAnnotations())
	s.HPA, _, _ = unstructured.NestedString(o.Object, "status", "hpaName")
	names, _, _ := unstructured.NestedStringSlice(o.Object, "status", "externalMetricNames")
	triggers, _, _ := unstructured.NestedSlice(o.Object, "spec", "triggers")
	for i, t := range triggers {
		t, _ := t.(map[string]any)
		is := Trigger{}
		is.Type, _, _ = unstructured.NestedString(t, "type")
		for _, name := range names {
			if strings.HasPrefix(name, fmt.Sprintf("s%d-", i)) {
				is.Metric = name
			}
		}
		metadata, _, _ := unstructured.NestedStringMap(t, "metadata")
		for key, value := range metadata { // activationThreshold, activationValue, activationLagThreshold…, by its type
			if v, err := strconv.ParseFloat(value, 64); err == nil && strings.HasPrefix(key, "activation") && math.Abs(v) <= math.MaxFloat64 {
				is.Activation = v
			}
		}
		s.Triggers = append(s.Triggers, is)
	}
	if name, _, _ := unstructured.NestedString(o.Object, "status", "compositeScalerName"); name != "" { // the HPA's only external metric
		is := Trigger{Type: "scalingModifiers", Metric: name}
		text, _, _ := unstructured.NestedString(o.Object, "spec", "advanced", "scalingModifiers", "activationTarget")
		if v, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(v) <= math.MaxFloat64 {
			is.Activation = v
		}
		s.Triggers = append(s.Triggers, is)
	}
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		c, _ := c.(map[string]any)
		text := func(name string) string {
			s, _, _ := unstructured.NestedString(c, name)
			return s
		}
		s.Conditions = append(s.Conditions, Condition{Type: text("type"), Status: metav1.ConditionStatus(text("status")), Reason: text("reason"), Message: text("message")})
	}
	return s
}
