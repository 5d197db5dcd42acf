package scenarios

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
)

const portName = "http"

// Objects are what a run creates, in this order and without a namespace: the
// Deployment and the Service of the short form, or the objects of the manifests;
// then the HPA or the ScaledObject, unless it is one of the manifests. An existing workload has none.
func (f *File) Objects() []*unstructured.Unstructured {
	var objects []*unstructured.Unstructured
	if f.Spec.Workload.Deployment != nil {
		objects = append(objects, unstructuredOf(f.deployment()), unstructuredOf(f.shortService()))
	}
	for _, m := range f.Manifests {
		objects = append(objects, m.Object.DeepCopy())
	}
	switch a := f.Spec.Autoscaler; {
	case a == nil:
	case a.ScaledObject != nil:
		objects = append(objects, f.scaledObjectOf())
	default:
		objects = append(objects, unstructuredOf(f.shortAutoscaler()))
	}
	return objects
}

// TargetRef is the object that is scaled.
func (f *File) TargetRef() autoscalingv2.CrossVersionObjectReference {
	w := f.Spec.Workload
	switch {
	case w.Deployment != nil:
		return autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: f.Metadata.Name}
	case w.Existing != nil:
		ref := autoscalingv2.CrossVersionObjectReference{APIVersion: w.Existing.APIVersion, Kind: w.Existing.Kind, Name: w.Existing.Name}
		if ref.APIVersion == "" {
			ref.APIVersion = "apps/v1"
		}
		return ref
	}
	return f.target
}

// AutoscalerName is the HPA's name: that of its manifest, that which KEDA gives to the one of a
// ScaledObject, that which the
// scenario gives for an existing one, or else the target's, as with kubectl
// autoscale. It is empty when the HPA of an existing object is to be found.
func (f *File) AutoscalerName() string {
	switch {
	case f.Spec.Workload.Existing != nil:
		return f.Spec.Workload.Existing.Autoscaler
	case f.hpaManifest.scaledObject() != nil:
		return f.hpaManifest.scaledObject().HPAName(f.hpaManifest.Object.GetName())
	case f.hpaManifest != nil:
		return f.hpaManifest.Object.GetName()
	case f.Spec.Autoscaler != nil && f.Spec.Autoscaler.ScaledObject != nil:
		return f.Spec.Autoscaler.ScaledObject.HPAName(f.TargetRef().Name)
	}
	return f.TargetRef().Name
}

// Autoscaling is the spec of the HPA with the API server's defaults, or nil for an existing
// workload. That of a ScaledObject is what the file tells of it.
func (f *File) Autoscaling() *autoscalingv2.HorizontalPodAutoscalerSpec {
	switch {
	case f.Spec.Workload.Existing != nil:
		return nil
	case f.Spec.Autoscaler == nil:
		return f.hpaManifest.autoscaler()
	}
	return inV2(f.shortAutoscaler())
}

// shortAutoscaler is the HPA that spec.autoscaler describes, without what it leaves out.
func (f *File) shortAutoscaler() *autoscalingv2.HorizontalPodAutoscaler {
	a := f.Spec.Autoscaler
	if a.ScaledObject != nil {
		hpa := a.ScaledObject.HPA(f.TargetRef().Name)
		hpa.Spec.ScaleTargetRef = f.TargetRef()
		return hpa
	}
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"},
		ObjectMeta: metav1.ObjectMeta{Name: f.AutoscalerName()},
	}
	if a.Spec != nil {
		hpa.Spec = *a.Spec.DeepCopy()
		hpa.Spec.ScaleTargetRef = f.TargetRef()
		return hpa
	}
	// What kubectl autoscale makes (createHorizontalPodAutoscalerV2 in
	// k8s.io/kubectl/pkg/cmd/autoscale).
	hpa.Spec = autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: f.TargetRef(),
		MinReplicas:    a.Min,
		Metrics:        cpuUtilization(a.CPUPercent),
	}
	if a.Max != nil {
		hpa.Spec.MaxReplicas = *a.Max
	}
	if a.Stabilization != nil {
		hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(a.Stabilization.Seconds()))}}
	}
	return hpa
}

// PodTemplate is the template of the target's pods, with the API server's defaults, those of
// LimitRanges among the manifests, and those of the resources of a whole pod. It is nil when it is not in the scenario.
func (f *File) PodTemplate() *corev1.PodTemplateSpec {
	template := f.asWritten()
	for i := range f.Manifests {
		if by := as[corev1.LimitRange](&f.Manifests[i]); by != nil && template != nil {
			template, _ = limited(template, by) // an error is a fault of the scenario
		}
	}
	if template != nil {
		template.Spec = WholePod(template.Spec)
	}
	return template
}

// asWritten is the template of the target's pods with the API server's defaults: those of
// the template, and those of the pods, which get the requests that only have a limit.
func (f *File) asWritten() *corev1.PodTemplateSpec {
	template := f.templateIn(f.targetManifest)
	if f.Spec.Workload.Deployment != nil {
		d := f.deployment()
		legacyscheme.Scheme.Default(d)
		template = &d.Spec.Template
	}
	if template == nil {
		return nil
	}
	pod := &corev1.Pod{Spec: *template.Spec.DeepCopy()}
	legacyscheme.Scheme.Default(pod)
	return &corev1.PodTemplateSpec{ObjectMeta: template.ObjectMeta, Spec: pod.Spec}
}

// templateIn is the pod template of an object of the manifests, nil if there is none. A
// Rollout of Argo may have that of another object.
func (f *File) templateIn(m *Manifest) *corev1.PodTemplateSpec {
	if m == nil {
		return nil
	}
	switch o := m.served.(type) {
	case *appsv1.Deployment:
		return &o.Spec.Template
	case *appsv1.StatefulSet:
		return &o.Spec.Template
	case *appsv1.ReplicaSet:
		return &o.Spec.Template
	case *corev1.ReplicationController:
		return o.Spec.Template
	case nil:
		if template := templateOf(m.Object); template != nil {
			t, _ := servedTemplate(template)
			return t
		}
		kind, _, _ := unstructured.NestedString(m.Object.Object, "spec", "workloadRef", "kind")
		name, _, _ := unstructured.NestedString(m.Object.Object, "spec", "workloadRef", "name")
		if of := f.manifest(kind, name); of != nil && of.served != nil {
			return f.templateIn(of)
		}
	}
	return nil
}

func (f *File) manifest(kind, name string) *Manifest {
	for i := range f.Manifests {
		if m := &f.Manifests[i]; m.Object.GetKind() == kind && m.Object.GetName() == name {
			return m
		}
	}
	return nil
}

// InFront is the name of the Service that takes the load if it stands in front of other pods than the target's; empty where it does not, or
// the file does not tell.
func (f *File) InFront() string {
	service, template := as[corev1.Service](f.service), f.PodTemplate()
	if service == nil || template == nil || len(service.Spec.Selector) > 0 && labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(template.Labels)) {
		return ""
	}
	return service.Name
}

// Front is the template of the pods behind that Service, and nil where the file has none.
func (f *File) Front() *corev1.PodTemplateSpec {
	if f.InFront() == "" {
		return nil
	}
	if of := f.behind(f.InFront()); len(of) > 0 {
		return f.templateIn(of[0])
	}
	return nil
}

// Neighbour is pods of the file, other than the target's, that a Service selects.
type Neighbour struct {
	Name       string // with the kind, as Deployment stock
	Template   *corev1.PodTemplateSpec
	Replicas   int64  // that are made of it; of those that are scaled, as many as there are at least
	Autoscaler string // what scales them, with its kind; empty where nothing does
}

// Behind are the pods behind a port of a Service of the file, by its name; nil where the file has none. Without a port it is 80, or the
// only one. It is an error if it has no such port, if there are pods of several workloads, or if their number is another one's to say.
func (f *File) Behind(service, port string) (*Neighbour, error) {
	all := f.behind(service)
	is := as[corev1.Service](f.manifest("Service", service))
	switch {
	case is != nil && (port != "" || len(is.Spec.Ports) > 1) && !slices.ContainsFunc(is.Spec.Ports, func(p corev1.ServicePort) bool { return fmt.Sprint(p.Port) == cmp.Or(port, "80") }):
		return nil, fmt.Errorf("Service %s has no port %s", service, cmp.Or(port, "80"))
	case len(all) == 0:
		return nil, nil
	case len(all) > 1:
		return nil, fmt.Errorf("Service %s selects the pods of %s and of %s", service, all[0], all[1])
	case all[0].Object.GetKind() == "DaemonSet":
		return nil, fmt.Errorf("%s has as many pods as there are nodes", all[0])
	}
	object := all[0].Object
	w := &Neighbour{Name: object.GetKind() + " " + object.GetName(), Template: f.templateIn(all[0])}
	number := func(o *unstructured.Unstructured, field string, otherwise int64) int64 {
		if n, given, err := unstructured.NestedInt64(o.Object, "spec", field); given && err == nil {
			return n
		}
		return otherwise
	}
	w.Replicas = number(object, "replicas", 1)
	for i := range f.Manifests {
		o := f.Manifests[i].Object
		kind, _, _ := unstructured.NestedString(o.Object, "spec", "scaleTargetRef", "kind")
		name, _, _ := unstructured.NestedString(o.Object, "spec", "scaleTargetRef", "name")
		if name == object.GetName() && cmp.Or(kind, "Deployment") == object.GetKind() {
			w.Autoscaler = o.GetKind() + " " + o.GetName()
			w.Replicas = max(w.Replicas, number(o, "minReplicas", 0), number(o, "minReplicaCount", 0))
		}
	}
	return w, nil
}

// behind are the manifests whose pods a Service of the file selects.
func (f *File) behind(service string) (all []*Manifest) {
	is := as[corev1.Service](f.manifest("Service", service))
	if is == nil || len(is.Spec.Selector) == 0 {
		return nil
	}
	for i := range f.Manifests {
		t := f.templateIn(&f.Manifests[i])
		if t != nil && len(t.Spec.Containers) > 0 && labels.SelectorFromSet(is.Spec.Selector).Matches(labels.Set(t.Labels)) {
			all = append(all, &f.Manifests[i])
		}
	}
	return all
}

// Selects says whether a Service of the file, by its name, selects the target's pods.
func (f *File) Selects(service string) bool {
	template, m := f.PodTemplate(), f.manifest("Service", service)
	if f.Spec.Workload.Deployment != nil && service == f.Metadata.Name {
		return true
	}
	is := as[corev1.Service](m)
	return template != nil && is != nil && len(is.Spec.Selector) > 0 && labels.SelectorFromSet(is.Spec.Selector).Matches(labels.Set(template.Labels))
}

// Service is the name of the Service that takes the load and its port, by number
// or name. The name is empty when it must be found in the cluster; so is the
// port (nil).
func (f *File) Service() (name string, port *intstr.IntOrString) {
	name, port = f.Spec.Load.Service, f.Spec.Load.Port
	if d := f.Spec.Workload.Deployment; d != nil {
		number := intstr.FromInt32(d.Port)
		return f.Metadata.Name, &number
	}
	if service := as[corev1.Service](f.service); service != nil {
		name = service.Name
		if port == nil {
			number := intstr.FromInt32(service.Spec.Ports[0].Port)
			port = &number
		}
	}
	return name, port
}

func (f *File) deployment() *appsv1.Deployment {
	replicas := f.Spec.Workload.Deployment.Replicas
	switch a := f.Spec.Autoscaler; {
	case replicas != nil:
	case a != nil && a.ScaledObject != nil:
		replicas = new(a.ScaledObject.Least())
	default:
		if a := f.Autoscaling(); a != nil && a.MinReplicas != nil {
			replicas = new(max(1, *a.MinReplicas)) // an HPA does nothing from the 0 of somebody else
		}
	}
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: f.Metadata.Name, Labels: f.labels()},
		Spec: appsv1.DeploymentSpec{
			Replicas: replicas,
			Selector: &metav1.LabelSelector{MatchLabels: f.labels()},
			Template: *f.template(),
		},
	}
}

func (f *File) labels() map[string]string { return map[string]string{"app": f.Metadata.Name} }

// template puts the container of the short form first, where kubectl logs and
// exec look.
func (f *File) template() *corev1.PodTemplateSpec {
	d := f.Spec.Workload.Deployment
	template := &corev1.PodTemplateSpec{}
	if d.Template != nil {
		template = d.Template.DeepCopy()
	}
	labels := f.labels()
	maps.Copy(labels, template.Labels)
	template.Labels = labels
	main := d.Container.DeepCopy()
	if main.Name == "" {
		main.Name = f.Metadata.Name
	}
	listed := false
	for _, p := range main.Ports {
		listed = listed || p.ContainerPort == d.Port
	}
	if !listed {
		main.Ports = append(main.Ports, corev1.ContainerPort{ContainerPort: d.Port})
	}
	template.Spec.Containers = append([]corev1.Container{*main}, template.Spec.Containers...)
	return template
}

func (f *File) shortService() *corev1.Service {
	port := f.Spec.Workload.Deployment.Port
	kind := corev1.ServiceTypeClusterIP
	if via := f.Spec.Load.ViaOrAuto(); via == ViaNodePort || via == ViaAuto && f.Spec.Load.URL == "" {
		kind = corev1.ServiceTypeNodePort
	}
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: f.Metadata.Name, Labels: f.labels()},
		Spec: corev1.ServiceSpec{
			Type:     kind,
			Selector: f.labels(),
			Ports:    []corev1.ServicePort{{Name: portName, Port: port, TargetPort: intstr.FromInt32(port)}},
		},
	}
}

// unstructuredOf gives an object in the form that the dynamic client takes. Go's
// types write a status even where there is none, which is not ours to apply.
func unstructuredOf(object any) *unstructured.Unstructured {
	b, err := json.Marshal(object)
	if err != nil {
		panic(fmt.Sprintf("encoding a %T: %v", object, err)) // its types have no value that does not encode
	}
	var fields map[string]any
	if err := utiljson.Unmarshal(b, &fields); err != nil {
		panic(fmt.Sprintf("decoding a %T: %v", object, err))
	}
	if _, raw := object.(map[string]any); !raw {
		delete(fields, "status")
	}
	return &unstructured.Unstructured{Object: fields}
}
