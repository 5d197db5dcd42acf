package scenarios

import (
	"encoding/json"
	"fmt"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

const portName = "http"

// Objects are what a run creates, in this order and without a namespace: the
// Deployment and the Service of the short form, or the objects of the manifests;
// then the HPA, unless it is one of the manifests. An existing workload has none.
func (f *File) Objects() []*unstructured.Unstructured {
	var objects []*unstructured.Unstructured
	if f.Spec.Workload.Deployment != nil {
		objects = append(objects, unstructuredOf(f.deployment()), unstructuredOf(f.shortService()))
	}
	for _, m := range f.Manifests {
		objects = append(objects, m.Object.DeepCopy())
	}
	if f.Spec.Autoscaler != nil {
		objects = append(objects, unstructuredOf(&autoscalingv2.HorizontalPodAutoscaler{
			TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"},
			ObjectMeta: metav1.ObjectMeta{Name: f.AutoscalerName()},
			Spec:       *f.Autoscaling(),
		}))
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

// AutoscalerName is the HPA's name: that of its manifest, that which the
// scenario gives for an existing one, or else the target's, as with kubectl
// autoscale. It is empty when the HPA of an existing object is to be found.
func (f *File) AutoscalerName() string {
	switch {
	case f.Spec.Workload.Existing != nil:
		return f.Spec.Workload.Existing.Autoscaler
	case f.hpaManifest != nil:
		return f.hpaManifest.Object.GetName()
	}
	return f.TargetRef().Name
}

// Autoscaling is the spec of the HPA before the API server fills in defaults, or
// nil for an existing workload.
func (f *File) Autoscaling() *autoscalingv2.HorizontalPodAutoscalerSpec {
	a := f.Spec.Autoscaler
	switch {
	case f.Spec.Workload.Existing != nil:
		return nil
	case a == nil:
		return f.hpaManifest.autoscaler()
	case a.Spec != nil:
		spec := a.Spec.DeepCopy()
		spec.ScaleTargetRef = f.TargetRef()
		return spec
	}
	// What kubectl autoscale makes (createHorizontalPodAutoscalerV2 in
	// k8s.io/kubectl/pkg/cmd/autoscale).
	spec := &autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: f.TargetRef(),
		MinReplicas:    a.Min,
		Metrics:        cpuUtilization(a.CPUPercent),
	}
	if a.Max != nil {
		spec.MaxReplicas = *a.Max
	}
	if a.Stabilization != nil {
		spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(a.Stabilization.Seconds()))}}
	}
	return spec
}

// PodTemplate is the template of the target's pods, or nil when it is not in the
// scenario or of a kind that client-go does not know.
func (f *File) PodTemplate() *corev1.PodTemplateSpec {
	if f.Spec.Workload.Deployment != nil {
		return f.template()
	}
	m := f.targetManifest
	if d := as[appsv1.Deployment](m); d != nil {
		return &d.Spec.Template
	}
	if s := as[appsv1.StatefulSet](m); s != nil {
		return &s.Spec.Template
	}
	if r := as[appsv1.ReplicaSet](m); r != nil {
		return &r.Spec.Template
	}
	if r := as[corev1.ReplicationController](m); r != nil {
		return r.Spec.Template
	}
	return nil
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
	if replicas == nil {
		replicas = f.Autoscaling().MinReplicas
	}
	if replicas == nil {
		one := int32(1)
		replicas = &one
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
