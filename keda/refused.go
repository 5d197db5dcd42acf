package keda

import (
	"fmt"
	"slices"
	"strconv"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/utils/ptr"
)

// Refusal is why KEDA does not take a ScaledObject.
type Refusal struct {
	Field         string // the pointer within the spec, without the slash that it begins with
	Message, Hint string
}

// Refused is what KEDA's admission webhook says of the spec alone (apis/keda/v1alpha1/scaledobject_webhook.go), and its scalers of
// their triggers.
func (s *ScaledObject) Refused() (all []Refusal) {
	refuse := func(field, hint, format string, args ...any) {
		all = append(all, Refusal{field, fmt.Sprintf(format, args...), hint})
	}
	ofPods := !slices.ContainsFunc(s.Triggers, func(t Trigger) bool { return !t.ofPods() })
	least := int32(0)
	if s.MinReplicaCount != nil {
		least = max(1, *s.MinReplicaCount)
	}
	if most := ptr.Deref(s.MaxReplicaCount, 100); least > most {
		refuse("minReplicaCount", "", "minReplicaCount is %d, and must not be more than maxReplicaCount, which is %d", least, most)
	}
	if idle := s.IdleReplicaCount; idle != nil && *idle >= least {
		refuse("idleReplicaCount", "", "idleReplicaCount is %d, and must be less than minReplicaCount, which counts as %d", *idle, least)
	}
	if kind := s.Target().Kind; (kind == "Deployment" || kind == "StatefulSet") && len(s.Triggers) > 0 && ofPods && ptr.Deref(s.MinReplicaCount, 0) == 0 {
		refuse("minReplicaCount", "give it 1 or more", "minReplicaCount is 0, from which triggers of cpu and memory alone do not bring it back")
	}
	var modifiers ScalingModifiers
	if s.Advanced != nil && s.Advanced.ScalingModifiers != nil {
		modifiers = *s.Advanced.ScalingModifiers
	}
	if modifies := modifiers != (ScalingModifiers{}); modifies && modifiers.Formula == "" {
		refuse("advanced/scalingModifiers", "", "scalingModifiers need a formula")
	} else if target, err := strconv.ParseFloat(modifiers.Target, 64); modifies && (err != nil || target <= 0) {
		refuse("advanced/scalingModifiers", "", "the formula of scalingModifiers needs a target, a number above 0")
	}
	if s.Fallback != nil && ofPods && modifiers == (ScalingModifiers{}) {
		refuse("fallback", "", "fallback needs a trigger that is not cpu or memory")
	}
	if s.Fallback != nil && s.Fallback.Behavior == "scalingModifiers" && modifiers.Formula == "" {
		refuse("fallback/behavior", "", "fallback.behavior scalingModifiers needs a formula of scalingModifiers")
	}
	names := map[string]bool{}
	for i, t := range s.Triggers {
		at := fmt.Sprintf("triggers/%d", i)
		if t.UseCachedMetrics && (t.ofPods() || t.Type == "cron") {
			refuse(at, "", "useCachedMetrics is not for a trigger of type %s", t.Type)
		}
		if t.Name != "" && names[t.Name] {
			refuse(at, "", "two triggers have the name %s", t.Name)
		}
		names[t.Name] = true
		if err := t.check(); err != nil {
			refuse(at+"/metadata", "", "trigger %d of type %s: %v", i, t.Type, err)
		}
		if !t.ofPods() && t.MetricType == string(autoscalingv2.UtilizationMetricType) {
			refuse(at, "", "metricType Utilization is of cpu and memory, and not of a trigger of type %s", t.Type)
		}
	}
	return all
}
