package scenarios

import (
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/hpabench/hpabench/model"
)

// ModelledObjects are the Objects for the embedded cluster: the pod template of
// the target carries workload.model as an annotation.
func (f *File) ModelledObjects() []*unstructured.Unstructured {
	objects := f.Objects()
	if f.Spec.Workload.Model == nil {
		return objects
	}
	text, err := json.Marshal(f.Spec.Workload.Model)
	if err != nil {
		panic(fmt.Sprintf("encoding a model: %v", err)) // its types have no value that does not encode
	}
	target := f.TargetRef()
	for _, o := range objects {
		if o.GetAPIVersion() != target.APIVersion || o.GetKind() != target.Kind || o.GetName() != target.Name {
			continue
		}
		mapIn(o.Object, "spec", "template", "metadata", "annotations")[model.Annotation] = string(text)
	}
	return objects
}

const modelPath = "spec.workload.model"

func (c *checker) checkModel(m *model.Model) {
	w := &c.Spec.Workload
	switch {
	case w.Existing != nil:
		c.fault(modelPath, "remove it", "%s says how the pods of an existing object behave, which are there already", modelPath)
		return
	case c.targetManifest != nil:
		if _, found, _ := unstructured.NestedMap(c.targetManifest.Object.Object, "spec", "template"); !found {
			c.fault(modelPath, "remove it", "%s has no pod template that could carry %s", c.targetManifest, modelPath)
		}
	}
	if template := c.PodTemplate(); template != nil && template.Annotations[model.Annotation] != "" {
		c.fault(modelPath, "leave one of them out", "the pod template has the annotation %s already", model.Annotation)
	}
	if cost, limit := m.CPU, c.Spec.Load.RequestTimeout(); cost != nil && cost.Mean.Duration >= limit {
		c.note("%s.cpu.mean is %s of CPU time a request, and a request has %s (load.timeout): none is answered in time.", modelPath, cost.Mean.Duration, limit)
	}
	if err := m.Check(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			field, _, _ := strings.Cut(line, " ")
			if strings.HasPrefix(field, "metrics.") {
				field = "metrics" // a metric's name may have dots
			}
			c.fault(modelPath+"."+field, "", "%s.%s", modelPath, line)
		}
	}
	for field, cost := range map[string]*model.Cost{"cpu": m.CPU, "wait": m.Wait} {
		if cost == nil {
			continue
		}
		at := modelPath + "." + field
		if cost.Deviation != 0 && cost.Distribution != "lognormal" {
			c.fault(at+".deviation", "distribution: lognormal", "%s.deviation is of a lognormal distribution only", at)
		}
	}
}
