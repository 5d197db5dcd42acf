package scenarios

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"
)

// Manifest is one object of the scenario's manifests and where it is written.
type Manifest struct {
	File   string
	Line   int
	Object *unstructured.Unstructured

	doc  *document
	base string // pointer to the object in doc; a List holds several
}

func (m *Manifest) String() string { return m.Object.GetKind() + " " + m.Object.GetName() }

// as decodes the object into one of the types of client-go's scheme, or returns
// nil when it is of another kind or does not decode.
func as[T any](m *Manifest) *T {
	if m == nil {
		return nil
	}
	typed, err := scheme.Scheme.New(m.Object.GroupVersionKind())
	if err != nil {
		return nil
	}
	t, ok := any(typed).(*T)
	if !ok || decode(m.Object.Object, t) != nil {
		return nil
	}
	return t
}

// autoscaler is the spec of an HPA, or nil when m is none.
func (m *Manifest) autoscaler() *autoscalingv2.HorizontalPodAutoscalerSpec {
	if hpa := as[autoscalingv2.HorizontalPodAutoscaler](m); hpa != nil {
		return &hpa.Spec
	}
	hpa := as[autoscalingv1.HorizontalPodAutoscaler](m)
	if hpa == nil {
		return nil
	}
	return &autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference(hpa.Spec.ScaleTargetRef),
		MinReplicas:    hpa.Spec.MinReplicas,
		MaxReplicas:    hpa.Spec.MaxReplicas,
		Metrics:        cpuUtilization(hpa.Spec.TargetCPUUtilizationPercentage),
	}
}

// cpuUtilization is the metric of kubectl autoscale. Nil leaves it to the API
// server, which takes 80 percent.
func cpuUtilization(percent *int32) []autoscalingv2.MetricSpec {
	if percent == nil {
		return nil
	}
	return []autoscalingv2.MetricSpec{{
		Type: autoscalingv2.ResourceMetricSourceType,
		Resource: &autoscalingv2.ResourceMetricSource{
			Name:   corev1.ResourceCPU,
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: percent},
		},
	}}
}

// readManifests reads what workload.manifests names.
func (c *checker) readManifests(open Open) {
	files := map[string]bool{}
	for i, name := range c.Spec.Workload.Manifests {
		at := fmt.Sprintf("spec.workload.manifests[%d]", i)
		shown, source, err := open(name)
		switch {
		case err != nil:
			c.broken = true
			c.fault(at, "manifests are looked for beside the scenario file", "manifest %s: %v", name, cause(err))
			continue
		case files[shown]:
			c.fault(at, "", "manifest %s is listed twice", name)
			continue
		}
		files[shown] = true
		docs, faults := readYAML(shown, source)
		c.faults = append(c.faults, faults...)
		c.broken = c.broken || len(faults) > 0
		before := len(c.Manifests)
		for _, d := range docs {
			c.readObject(d, "", d.value)
		}
		if len(c.Manifests) == before && !c.broken {
			c.fault(at, "", "manifest %s holds no object", name)
		}
	}
}

func (c *checker) readObject(d *document, base string, value any) {
	if value == nil {
		return
	}
	object, ok := value.(map[string]any)
	if !ok {
		c.broken = true
		c.faultAt(d, base, "every document is one object", "this is no Kubernetes object")
		return
	}
	if items, ok := object["items"].([]any); ok && object["kind"] == "List" {
		for i, item := range items {
			c.readObject(d, fmt.Sprintf("%s/items/%d", base, i), item)
		}
		return
	}
	metadata, _ := object["metadata"].(map[string]any)
	whole := true
	for _, part := range []struct {
		in    map[string]any
		field string
		at    string
	}{{object, "apiVersion", "/apiVersion"}, {object, "kind", "/kind"}, {metadata, "name", "/metadata/name"}} {
		if s, _ := part.in[part.field].(string); s == "" {
			whole = false
			c.faultAt(d, base+part.at, "", "an object needs %s, a string", pathOf(part.at))
		}
	}
	if metadata["namespace"] != nil {
		c.faultAt(d, base+"/metadata/namespace", "remove it", "metadata.namespace is set, but the run decides on the namespace")
	}
	if !whole {
		c.broken = true
		return
	}
	m := Manifest{File: d.file, Line: d.line(base), Object: unstructuredOf(object), doc: d, base: base}
	c.checkKind(&m, object)
	for _, other := range c.Manifests {
		if other.Object.GroupVersionKind().GroupKind() == m.Object.GroupVersionKind().GroupKind() && other.Object.GetName() == m.Object.GetName() {
			c.faultAt(d, base, "", "%s is here twice, first at %s:%d", &m, other.File, other.Line)
			return
		}
	}
	c.Manifests = append(c.Manifests, m)
}

// checkKind compares an object with the type that client-go has for its kind.
// A kind that client-go does not know is left to the API server, unless it looks
// like a slip.
func (c *checker) checkKind(m *Manifest, object map[string]any) {
	gvk := m.Object.GroupVersionKind()
	typed, err := scheme.Scheme.New(gvk)
	if err != nil {
		kinds := slices.Collect(maps.Keys(scheme.Scheme.KnownTypes(gvk.GroupVersion())))
		if near := nearest(gvk.Kind, kinds); near != "" {
			c.faultAt(m.doc, m.base+"/kind", fmt.Sprintf("did you mean %q?", near), "%s has no kind %q", gvk.GroupVersion(), gvk.Kind)
		}
		return
	}
	against, err := forManifests(reflect.TypeOf(typed).Elem())
	if err != nil {
		c.faultAt(m.doc, m.base, "", "describing a %s: %v", gvk.Kind, err)
		return
	}
	faults, bad := against.validate(m.doc, m.base, object)
	c.faults = append(c.faults, faults...)
	if c.bad[m.doc] == nil {
		c.bad[m.doc] = map[string]bool{}
	}
	maps.Copy(c.bad[m.doc], bad)
	rest := prune(object, m.base, bad).(map[string]any)
	m.Object = unstructuredOf(rest)
	if err := decode(rest, typed); err != nil {
		c.faultAt(m.doc, m.base, "", "%s: %v", m, err)
	}
}
