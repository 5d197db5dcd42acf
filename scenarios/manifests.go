package scenarios

import (
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/apis/autoscaling"

	"github.com/hpabench/hpabench/model"
)

// Manifest is one object of the scenario's manifests and where it is written.
type Manifest struct {
	File   string
	Line   int
	Object *unstructured.Unstructured

	doc       *document
	base      string                 // pointer to the object in doc; a List holds several
	served    runtime.Object         // with the API server's defaults; nil if its kind has no strategy
	namespace string                 // that it was written for
	exported  bool                   // from a cluster
	owner     *metav1.OwnerReference // its controller there
}

func (m *Manifest) String() string { return m.Object.GetKind() + " " + m.Object.GetName() }

// as gives the object with the API server's defaults, or nil when it is not of that type.
func as[T any](m *Manifest) *T {
	if m == nil {
		return nil
	}
	t, _ := any(m.served).(*T)
	return t
}

// autoscaler is the spec of an HPA of any version, or of that of a ScaledObject, with the API server's defaults,
// or nil when m is none.
func (m *Manifest) autoscaler() *autoscalingv2.HorizontalPodAutoscalerSpec {
	if s := m.scaledObject(); s != nil {
		return inV2(s.HPA(m.Object.GetName()))
	}
	if m == nil || m.served == nil || m.Object.GetKind() != "HorizontalPodAutoscaler" {
		return nil
	}
	return inV2(m.served)
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

// readManifests reads what workload.manifests names, and what follows the scenario in its file.
func (c *checker) readManifests(open Open) {
	files := map[string]bool{}
	for i, name := range c.Spec.Workload.Manifests {
		at := fmt.Sprintf("spec.workload.manifests[%d]", i)
		objects, before := len(c.Manifests), len(c.faults)
		for _, in := range c.inputs(at, name, open) {
			if files[in.shown] {
				c.fault(at, "", "manifest %s is listed twice", in.shown)
				continue
			}
			files[in.shown] = true
			docs, faults := readYAML(in.shown, in.source)
			if fault := unrendered(in, faults); fault != nil {
				docs, faults = nil, Faults{*fault}
			}
			c.faults = append(c.faults, faults...)
			c.broken = c.broken || len(faults) > 0
			for _, d := range docs {
				d.built = in.built
				c.readObject(d, "", d.value)
			}
		}
		if len(c.Manifests) == objects && len(c.faults) == before && !c.broken {
			c.fault(at, "", "manifest %s holds no object", name)
		}
	}
	c.broken = c.broken || c.files.cut
	for _, d := range c.files.behind {
		c.readObject(d, "", d.value)
	}
	c.checkKnown()
	c.leaveOut()
	c.takeNamespace()
	c.checkCustom()
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
	kind, _ := object["kind"].(string)
	if items, ok := object["items"].([]any); ok && strings.HasSuffix(kind, "List") {
		for i, item := range items {
			if item, ok := item.(map[string]any); ok && kind != "List" && item["kind"] == nil {
				// Of a list of one kind, the API server names it in the list alone.
				item["kind"], item["apiVersion"] = strings.TrimSuffix(kind, "List"), object["apiVersion"]
			}
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
	if !whole {
		c.broken = true
		return
	}
	m := Manifest{File: d.file, Line: d.line(base), Object: unstructuredOf(object), doc: d, base: base}
	if d.built {
		d.name = m.String()
	}
	if message, hint := removedIn(m.Object.GroupVersionKind()); message != "" {
		c.broken = true
		c.faultAt(d, base+"/apiVersion", hint, "%s: %s", m.Object.GetKind(), message)
		return
	}
	set := serverSet(m.Object, base)
	m.exported, m.owner = exported(m.Object), metav1.GetControllerOf(m.Object)
	if m.namespace, ok = metadata["namespace"].(string); !ok && metadata["namespace"] != nil {
		c.faultAt(d, base+"/metadata/namespace", "", "metadata.namespace wants a string, has %s", show(metadata["namespace"]))
	}
	for at := range set {
		if _, there := d.lines[at]; there && m.exported {
			c.dropped[d.file] = append(c.dropped[d.file], unescaper.Replace(at[strings.LastIndexByte(at, '/')+1:]))
		}
	}
	c.checkKind(&m, prune(object, base, set).(map[string]any))
	one := identity{m.Object.GroupVersionKind().GroupKind(), m.Object.GetName()}
	if at, there := c.places[one]; there {
		c.faultAt(d, base, "", "%s is here twice, first at %s:%d", &m, c.Manifests[at].File, c.Manifests[at].Line)
		return
	}
	c.places[one] = len(c.Manifests)
	c.Manifests = append(c.Manifests, m)
}

// checkKind compares an object with the type that Kubernetes has for its kind.
// For one that Kubernetes does not know, see checkKnown.
func (c *checker) checkKind(m *Manifest, object map[string]any) {
	gvk := m.Object.GroupVersionKind()
	typed, err := typesOf(gvk.GroupVersion()).New(gvk)
	if err != nil {
		return
	}
	against, err := forManifests(reflect.TypeOf(typed).Elem())
	if err != nil {
		c.faultAt(m.doc, m.base, "", "describing the kind %s: %v", gvk.Kind, err)
		return
	}
	faults, bad := against.validate(m.doc, m.base, object)
	c.faults = append(c.faults, faults...)
	if c.bad[m.doc] == nil {
		c.bad[m.doc] = map[string]bool{}
	}
	maps.Copy(c.bad[m.doc], bad)
	rest := prune(object, m.base, bad).(map[string]any)
	if gvk.Group == apiextensionsv1.GroupName || gvk.Group == admissionregistrationv1.GroupName {
		rules, values, quantities := extentOf(rest)
		if c.rules += rules; c.rules > maxRules {
			c.faultAt(m.doc, m.base, "", "the expressions up to the end of this object have %d characters, each counted as %d at least, and may have %d", c.rules, leastRule, maxRules)
			return
		}
		if values > maxSchema || quantities && gvk.Kind == "CustomResourceDefinition" {
			return // it and the objects of its kind are judged by the API server of the run alone
		}
	}
	m.Object = unstructuredOf(rest)
	if err := decode(rest, typed); err != nil {
		c.faultAt(m.doc, m.base, "", "%s: %v", m, err)
		return
	}
	if hpa, is := typed.(*autoscalingv1.HorizontalPodAutoscaler); is && !c.readAnnotations(m, hpa) {
		c.broken = true
		return
	}
	var errs field.ErrorList
	m.served, errs = served(m.Object)
	if len(bad) == 0 { // else what the API server says may only follow from that
		written := definitionPath
		if gvk.Kind != "CustomResourceDefinition" {
			written = nil
		}
		c.refuse(m.doc, m.base, gvk.Kind, errs, written)
	}
}

// readAnnotations reads what the API server decodes of an HPA of autoscaling/v1. It passes over
// what it cannot read, but for quantities that take all memory.
func (c *checker) readAnnotations(m *Manifest, hpa *autoscalingv1.HorizontalPodAutoscaler) bool {
	fine := true
	for name, into := range map[string]any{
		autoscaling.MetricSpecsAnnotation:    new([]autoscalingv1.MetricSpec),
		autoscaling.MetricStatusesAnnotation: new([]autoscalingv1.MetricStatus),
		autoscaling.BehaviorSpecsAnnotation:  new(autoscaling.HorizontalPodAutoscalerBehavior),
	} {
		if text, there := hpa.Annotations[name]; there {
			if err := json.Unmarshal([]byte(text), into, model.JSON); err != nil {
				c.faultAt(m.doc, m.base+"/metadata/annotations/"+escape(name), "an HPA of autoscaling/v2 has fields for it", "the annotation %s of %s is not what the API server reads: %v", name, m, err)
				fine = false
			}
		}
	}
	return fine
}

// refuse reports what the API server refuses of the object that stands at base. written
// turns a path of the object into that which the user wrote, and is nil when they are the same.
func (c *checker) refuse(d *document, base, kind string, errs field.ErrorList, written func(path string) string) {
	var wrong []string
	for _, err := range errs {
		path := err.Field
		if written != nil {
			path = written(path)
		}
		message := path + ": " + shortened(err.ErrorBody())
		if path == "" || path == "[]" || path == noField { // it is about the object
			path, message = "", "the "+kind+": "+shortened(err.ErrorBody())
		}
		c.faultAt(d, base+pointerOf(path), "the API server refuses this "+kind, "%s", message)
		wrong = append(wrong, base+pointerOf(path))
	}
	c.refused[d] = append(c.refused[d], wrong...)
}

// definitionPath gives the path in a CustomResourceDefinition of one that the API server has
// for what is the same in all its versions.
func definitionPath(path string) string {
	for _, of := range [][2]string{{"spec.validation.", "spec.versions[0].schema."}, {"spec.subresources", "spec.versions[0].subresources"}, {"spec.additionalPrinterColumns", "spec.versions[0].additionalPrinterColumns"}, {"spec.selectableFields", "spec.versions[0].selectableFields"}} {
		if rest, is := strings.CutPrefix(path, of[0]); is {
			return of[1] + rest
		}
	}
	return path
}

// shortened gives the text on one line, which is not much longer than a terminal's screen.
func shortened(text string) string {
	const most = 800
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
