// Package keda is what KEDA's operator decides of a ScaledObject, by the rules of KEDA 2.21 and on any clock: whether the
// target leaves zero, goes back to it, and which HPA does the rest. The embedded cluster and the simulation ask it.
//
// An operator polls each ScaledObject every pollingInterval, at first when the ScaledObject is made: it asks all
// triggers, and gives what they say to [Rules.Poll].
package keda

import (
	"fmt"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// Rules are what KEDA goes by of one ScaledObject.
type Rules struct {
	Min             int32         // minReplicaCount
	Idle            *int32        // idleReplicaCount; nil without one
	Cooldown        time.Duration // since a poll found a trigger active
	InitialCooldown time.Duration // since the ScaledObject was made, while no poll has found a trigger active
	Fallback        *int32        // fallback.replicas; nil without a fallback
	Created         time.Time
}

// Found is what a poll found.
type Found struct {
	At       time.Time
	Replicas int32 // of the target's spec
	Active   bool  // a trigger is above its activation threshold
	Failed   bool  // the source of a trigger did not answer
}

// Condition is one of the conditions Ready and Active of a ScaledObject.
type Condition struct{ Status, Reason, Message string }

// IsReady is that of a ScaledObject whose triggers work.
var IsReady = Condition{"True", "ScaledObjectReady", "ScaledObject is defined correctly and is ready for scaling"}

// Outcome is what KEDA does after a poll.
type Outcome struct {
	Replicas      int32 // what the target's spec is to be; that which was found means that KEDA leaves it
	Ready, Active Condition
}

// State is what KEDA keeps of a ScaledObject from poll to poll.
type State struct {
	LastActive time.Time // the status field lastActiveTime, which has whole seconds; zero if it has none
}

// Poll decides as RequestScale does (pkg/scaling/executor/scale_scaledobjects.go in KEDA).
func (r Rules) Poll(s *State, f Found) Outcome {
	o := Outcome{Replicas: f.Replicas, Ready: IsReady}
	if f.Active {
		o.Active = Condition{"True", "ScalerActive", "Scaling is performed because triggers are active"}
		switch {
		case f.Replicas == 0, r.Idle != nil && f.Replicas < r.Min:
			o.Replicas = max(r.Min, 1)
		case f.Failed:
			o.Ready = Condition{"Unknown", "PartialTriggerError", "Some triggers defined in ScaledObject are not working correctly"}
			return o // and lastActiveTime stays
		}
		s.LastActive = f.At.Truncate(time.Second)
		return o
	}
	o.Active = Condition{"False", "ScalerNotActive", "Scaling is not performed because triggers are not active"}
	switch {
	case f.Failed && r.Fallback != nil && *r.Fallback != 0: // which the HPA goes to
	case f.Failed && r.Fallback == nil:
		o.Ready = Condition{"False", "TriggerError", "Triggers defined in ScaledObject are not working correctly"}
	case r.Idle != nil && f.Replicas > *r.Idle, f.Replicas > 0 && r.Min == 0:
		if r.cooled(s, f.At) {
			o.Replicas = r.Least()
		} else {
			o.Active = Condition{"False", "ScalerCooldown", "Scaler cooling down because triggers are not active"}
		}
	case r.Idle == nil && f.Replicas < r.Min:
		o.Replicas = r.Min
	}
	return o
}

// Scaled is the event in which KEDA tells that a poll took the target to other replicas; both empty where it tells of none.
func Scaled(target autoscalingv2.CrossVersionObjectReference, namespace string, from, to int32, active bool, readings []Reading) (reason, message string) {
	what := fmt.Sprintf("%s.%s %s/%s from %d to %d", target.APIVersion, target.Kind, namespace, target.Name, from, to)
	switch {
	case from == to:
	case active:
		var by []string
		for _, r := range readings {
			if r.Active {
				by = append(by, r.Metric)
			}
		}
		return "KEDAScaleTargetActivated", "Scaled " + what + ", triggered by " + strings.Join(by, ";")
	case to < from:
		return "KEDAScaleTargetDeactivated", "Deactivated " + what
	}
	return "", ""
}

// cooled says whether the cooldown is over.
func (r Rules) cooled(s *State, now time.Time) bool {
	if s.LastActive.IsZero() {
		return r.Created.Add(r.InitialCooldown).Before(now)
	}
	return s.LastActive.Add(r.Cooldown).Before(now)
}

// Least are the fewest replicas that KEDA leaves.
func (r Rules) Least() int32 {
	if r.Idle != nil {
		return *r.Idle
	}
	return r.Min
}
