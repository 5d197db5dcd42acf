package simulate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/scenarios"
)

// notSimulated is an error that says what of a scenario a simulation does not have, and that
// would make another run of it.
type notSimulated struct{ error }

func (n notSimulated) Unwrap() error { return n.error }

const onEmbedded = "hpabench run makes it on the embedded cluster"

// refuse says what of the pods would keep them from ever being ready, or would end them again
// and again.
func (r *Run) refuse(f *scenarios.File) error {
	pod := func(field, message string, args ...any) error {
		return notSimulated{f.PodFault(field, fmt.Sprintf(message, args...), onEmbedded)}
	}
	for i, c := range r.Pod.InitContainers {
		takes, code, known := model.Script(slices.Concat(c.Command, c.Args))
		switch field := fmt.Sprintf("initContainers/%d", i); {
		case model.Sidecar(c) || !known:
		case takes < 0:
			return pod(field, "the init container %s never ends, so that no pod is ever ready", c.Name)
		case code != 0:
			return pod(field, "the init container %s exits with %d, so that no pod is ever ready", c.Name, code)
		}
	}
	switch {
	case len(r.Pod.SchedulingGates) > 0:
		return pod("schedulingGates", "the pods wait for somebody to remove their scheduling gates, whom a simulation does not have")
	case len(r.Pod.ReadinessGates) > 0:
		return pod("readinessGates", "the pods are ready when somebody sets the conditions of their readiness gates, whom a simulation does not have")
	}
	m, modelled := &r.Plant.Workload, r.Modelled()
	if m.Fault != nil && m.Fault.Pull {
		return notSimulated{f.Fault("spec.workload.model.fault.pull", "the image cannot be pulled, so that no pod is ever ready", onEmbedded)}
	}
	if limit := model.Limit(modelled.Spec, modelled.First(), corev1.ResourceMemory); !limit.IsZero() && m.Memory.Cmp(*limit) > 0 {
		return pod("containers/0/resources/limits/memory", "the container is killed at each start: it uses %s of memory by its model, and its limit is %s", m.Memory, limit)
	}
	for _, probe := range []struct {
		field string
		spec  *corev1.Probe
	}{{"startupProbe", modelled.First().StartupProbe}, {"livenessProbe", modelled.First().LivenessProbe}} {
		if probe.spec == nil || probe.spec.Exec != nil || probe.field == "livenessProbe" && modelled.First().StartupProbe != nil {
			continue
		}
		p := model.ProbeOf(probe.spec)
		if last := max(p.InitialDelay, p.Period) + p.Period*time.Duration(p.FailureThreshold); modelled.Listens() > last {
			return pod("containers/0/"+probe.field, "the container is killed before it listens, which takes %s: its %s fails %d times by %s", modelled.Listens(), probe.field, p.FailureThreshold, last)
		}
	}
	return nil
}

// ignored is a sentence on what of a scenario makes no difference to a simulation, but may on
// a cluster; empty if there is nothing.
func (r *Run) ignored(f *scenarios.File, all []string) string {
	p := &r.Pod
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"nodeSelector", len(p.NodeSelector) > 0},
		{"affinity", p.Affinity != nil},
		{"topologySpreadConstraints", len(p.TopologySpreadConstraints) > 0},
		{"activeDeadlineSeconds", p.ActiveDeadlineSeconds != nil},
		{"hostNetwork", p.HostNetwork},
		{"host ports", slices.ContainsFunc(p.Containers, func(c corev1.Container) bool {
			return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.HostPort > 0 })
		})},
		{"probes of other containers than the first", slices.ContainsFunc(p.Containers[1:], func(c corev1.Container) bool {
			return c.ReadinessProbe != nil || c.StartupProbe != nil || c.LivenessProbe != nil
		})},
		{"persistent volume claims", slices.ContainsFunc(p.Volumes, func(v corev1.Volume) bool { return v.PersistentVolumeClaim != nil || v.Ephemeral != nil })},
	} {
		if field.set {
			all = append(all, "the pods' "+field.name)
		}
	}
	for _, o := range f.Objects() {
		if kind := o.GetKind(); kind == "ResourceQuota" || kind == "LimitRange" {
			all = append(all, kind+" "+o.GetName())
		}
	}
	if name := f.InFront(); name != "" && r.Front == nil {
		all = append(all, "Service "+name+" in front of the target, which may hold requests: they go to the target's pods")
	}
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("it makes no difference what the scenario says of %s. Where it may, run it on the embedded cluster (hpabench run).", strings.Join(all, ", "))
}
