package scenarios

import (
	"encoding/json"
	"fmt"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
)

// kedaVersion and scaledObjectKind are those of https://keda.sh.
const (
	kedaVersion      = "keda.sh/v1alpha1"
	scaledObjectKind = "ScaledObject"
)

// ScaledObject is the name of the ScaledObject that scales the target; empty if an HPA does that is the scenario's own.
func (f *File) ScaledObject() string {
	switch {
	case f.Spec.Autoscaler != nil && f.Spec.Autoscaler.ScaledObject != nil:
		return f.TargetRef().Name
	case f.hpaManifest.scaledObject() != nil:
		return f.hpaManifest.Object.GetName()
	}
	return ""
}

// scaledObject is the spec of a ScaledObject; nil if m is none, or one that cannot be read.
func (m *Manifest) scaledObject() *ScaledObject {
	if m == nil || m.Object.GetKind() != scaledObjectKind || !strings.HasPrefix(m.Object.GetAPIVersion(), "keda.sh/") {
		return nil
	}
	spec := new(ScaledObject)
	text, err := json.Marshal(m.Object.Object["spec"])
	if err != nil || json.Unmarshal(text, spec) != nil || spec.ScaleTargetRef == nil {
		return nil
	}
	return spec
}

// scaledObjectOf is the object that spec.autoscaler.scaledObject describes.
func (f *File) scaledObjectOf() *unstructured.Unstructured {
	spec, ref := *f.Spec.Autoscaler.ScaledObject, f.TargetRef()
	to := ScaleTargetRef{Name: ref.Name, Kind: ref.Kind, APIVersion: ref.APIVersion}
	if given := spec.ScaleTargetRef; given != nil {
		to.EnvSourceContainerName = given.EnvSourceContainerName
	}
	spec.ScaleTargetRef = &to
	return unstructuredOf(map[string]any{"apiVersion": kedaVersion, "kind": scaledObjectKind, "metadata": map[string]any{"name": ref.Name}, "spec": spec})
}

// target is what a ScaledObject scales, by KEDA's defaults.
func (s *ScaledObject) target() (ref autoscalingv2.CrossVersionObjectReference) {
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

// hpaName is the name of the HPA that KEDA makes of the ScaledObject (getHPAName in
// keda/controllers/keda/hpa.go).
func (s *ScaledObject) hpaName(name string) string {
	if a := s.Advanced; a != nil && a.HorizontalPodAutoscalerConfig != nil && a.HorizontalPodAutoscalerConfig.Name != "" {
		return a.HorizontalPodAutoscalerConfig.Name
	}
	return "keda-hpa-" + name
}

// hpa is the HPA that KEDA makes, as far as the file tells it: the names and the targets of metrics that are not of
// pods' resources are its triggers' own affair.
func (s *ScaledObject) hpa(name string) *autoscalingv2.HorizontalPodAutoscaler {
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"},
		ObjectMeta: metav1.ObjectMeta{Name: s.hpaName(name)},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: s.target(), MinReplicas: new(max(1, ptr.Deref(s.MinReplicaCount, 0))), MaxReplicas: ptr.Deref(s.MaxReplicaCount, 100),
		},
	}
	if a := s.Advanced; a != nil && a.HorizontalPodAutoscalerConfig != nil {
		hpa.Spec.Behavior = a.HorizontalPodAutoscalerConfig.Behavior.DeepCopy()
	}
	for i, t := range s.Triggers {
		hpa.Spec.Metrics = append(hpa.Spec.Metrics, t.metric(i))
	}
	return hpa
}

func (t *ScaledTrigger) metric(i int) autoscalingv2.MetricSpec {
	kind := autoscalingv2.MetricTargetType(t.MetricType)
	if t.Type != "cpu" && t.Type != "memory" {
		return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
			Metric: autoscalingv2.MetricIdentifier{Name: fmt.Sprintf("s%d-%s", i, strings.ToLower(t.Type))},
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(1, resource.DecimalSI)},
		}}
	}
	if kind == "" {
		kind = autoscalingv2.MetricTargetType(t.Metadata["type"])
	}
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

// least are the fewest replicas that KEDA leaves.
func (s *ScaledObject) least() int32 {
	return ptr.Deref(s.IdleReplicaCount, ptr.Deref(s.MinReplicaCount, 0))
}
