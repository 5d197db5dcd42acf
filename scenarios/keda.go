package scenarios

import (
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/hpabench/hpabench/keda"
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

// ScaledObjectSpec is the spec of that ScaledObject; nil without one.
func (f *File) ScaledObjectSpec() *keda.ScaledObject {
	if a := f.Spec.Autoscaler; a != nil && a.ScaledObject != nil {
		return a.ScaledObject
	}
	return f.hpaManifest.scaledObject()
}

// HasScaledObjects says whether the run creates a ScaledObject, of its target or another.
func (f *File) HasScaledObjects() bool {
	return slices.ContainsFunc(f.Objects(), func(o *unstructured.Unstructured) bool { return o.GetKind() == keda.Kind })
}

// scaledObject is the spec of a ScaledObject; nil if m is none, or one that cannot be read.
func (m *Manifest) scaledObject() *keda.ScaledObject {
	if m == nil || m.Object.GetKind() != keda.Kind || !strings.HasPrefix(m.Object.GetAPIVersion(), "keda.sh/") {
		return nil
	}
	spec := new(keda.ScaledObject)
	text, err := json.Marshal(m.Object.Object["spec"])
	if err != nil || json.Unmarshal(text, spec) != nil || spec.ScaleTargetRef == nil {
		return nil
	}
	return spec
}

// scaledObjectOf is the object that spec.autoscaler.scaledObject describes.
func (f *File) scaledObjectOf() *unstructured.Unstructured {
	spec, ref := *f.Spec.Autoscaler.ScaledObject, f.TargetRef()
	to := keda.ScaleTargetRef{Name: ref.Name, Kind: ref.Kind, APIVersion: ref.APIVersion}
	if given := spec.ScaleTargetRef; given != nil {
		to.EnvSourceContainerName = given.EnvSourceContainerName
	}
	spec.ScaleTargetRef = &to
	return unstructuredOf(map[string]any{"apiVersion": keda.APIVersion, "kind": keda.Kind, "metadata": map[string]any{"name": ref.Name}, "spec": spec})
}
