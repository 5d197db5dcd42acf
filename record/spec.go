package record

import (
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/utils/ptr"
)

// SpecFault is something that an HPA's spec does not allow, whatever the load and the pods: a finding of
// package analysis, which scenarios and doctor tell too.
type SpecFault struct {
	Kind                string // that of the finding
	Seen, Cause, Advice string
}

// Kinds of a SpecFault.
const (
	MinIsMax          = "min-is-max"
	DirectionDisabled = "direction-disabled"
)

// BoundsFault finds bounds that leave an HPA one number of replicas; nil if they leave more.
func BoundsFault(spec *autoscalingv2.HorizontalPodAutoscalerSpec) *SpecFault {
	if ptr.Deref(spec.MinReplicas, 1) != spec.MaxReplicas {
		return nil
	}
	return &SpecFault{Kind: MinIsMax,
		Seen:   fmt.Sprintf("Its minReplicas and its maxReplicas are both %d.", spec.MaxReplicas),
		Cause:  fmt.Sprintf("It keeps %s, whatever its metrics say.", Counted(spec.MaxReplicas, "replica")),
		Advice: "Raise maxReplicas or lower minReplicas; to hold the replicas on purpose, delete the HPA and set spec.replicas."}
}

// DisabledFault finds a direction, up or down, in which an HPA must not scale (selectPolicy: Disabled); nil
// where it may, or has no other number of replicas to go to.
func DisabledFault(spec *autoscalingv2.HorizontalPodAutoscalerSpec, up bool) *SpecFault {
	if spec.Behavior == nil || BoundsFault(spec) != nil {
		return nil
	}
	rules, field, verb := spec.Behavior.ScaleDown, "scaleDown", "takes away"
	if up {
		rules, field, verb = spec.Behavior.ScaleUp, "scaleUp", "adds"
	}
	if rules == nil || ptr.Deref(rules.SelectPolicy, "") != autoscalingv2.DisabledPolicySelect {
		return nil
	}
	return &SpecFault{Kind: DirectionDisabled,
		Seen:   fmt.Sprintf("Its behavior.%s.selectPolicy is Disabled.", field),
		Cause:  fmt.Sprintf("With that it never %s replicas, whatever its metrics say.", verb),
		Advice: fmt.Sprintf("Set behavior.%s.selectPolicy to Max or Min, or leave it out, if it is to scale in that direction.", field)}
}

// SpecFaults are all of them.
func SpecFaults(spec *autoscalingv2.HorizontalPodAutoscalerSpec) (list []SpecFault) {
	for _, f := range []*SpecFault{BoundsFault(spec), DisabledFault(spec, true), DisabledFault(spec, false)} {
		if f != nil {
			list = append(list, *f)
		}
	}
	return list
}
