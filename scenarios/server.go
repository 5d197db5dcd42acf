package scenarios

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	definitions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	"k8s.io/apiextensions-apiserver/pkg/registry/customresourcedefinition"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/kubernetes/scheme"
	apiservices "k8s.io/kube-aggregator/pkg/apis/apiregistration/install"
	"k8s.io/kube-aggregator/pkg/registry/apiservice"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	pods "k8s.io/kubernetes/pkg/api/pod"
	services "k8s.io/kubernetes/pkg/api/service"
	"k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/capabilities"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/mutatingadmissionpolicy"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/mutatingadmissionpolicybinding"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/mutatingwebhookconfiguration"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/validatingadmissionpolicy"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/validatingadmissionpolicybinding"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/validatingwebhookconfiguration"
	"k8s.io/kubernetes/pkg/registry/apps/controllerrevision"
	"k8s.io/kubernetes/pkg/registry/apps/daemonset"
	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/apps/replicaset"
	"k8s.io/kubernetes/pkg/registry/apps/statefulset"
	"k8s.io/kubernetes/pkg/registry/autoscaling/horizontalpodautoscaler"
	"k8s.io/kubernetes/pkg/registry/batch/cronjob"
	"k8s.io/kubernetes/pkg/registry/batch/job"
	"k8s.io/kubernetes/pkg/registry/certificates/certificates"
	"k8s.io/kubernetes/pkg/registry/coordination/lease"
	"k8s.io/kubernetes/pkg/registry/core/configmap"
	"k8s.io/kubernetes/pkg/registry/core/endpoint"
	"k8s.io/kubernetes/pkg/registry/core/event"
	"k8s.io/kubernetes/pkg/registry/core/limitrange"
	"k8s.io/kubernetes/pkg/registry/core/namespace"
	"k8s.io/kubernetes/pkg/registry/core/node"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolume"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolumeclaim"
	"k8s.io/kubernetes/pkg/registry/core/pod"
	"k8s.io/kubernetes/pkg/registry/core/podtemplate"
	"k8s.io/kubernetes/pkg/registry/core/replicationcontroller"
	"k8s.io/kubernetes/pkg/registry/core/resourcequota"
	"k8s.io/kubernetes/pkg/registry/core/secret"
	"k8s.io/kubernetes/pkg/registry/core/service"
	"k8s.io/kubernetes/pkg/registry/core/serviceaccount"
	"k8s.io/kubernetes/pkg/registry/discovery/endpointslice"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/flowschema"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/prioritylevelconfiguration"
	"k8s.io/kubernetes/pkg/registry/networking/ingress"
	"k8s.io/kubernetes/pkg/registry/networking/ingressclass"
	"k8s.io/kubernetes/pkg/registry/networking/ipaddress"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
	"k8s.io/kubernetes/pkg/registry/networking/servicecidr"
	"k8s.io/kubernetes/pkg/registry/node/runtimeclass"
	"k8s.io/kubernetes/pkg/registry/policy/poddisruptionbudget"
	"k8s.io/kubernetes/pkg/registry/rbac/clusterrole"
	"k8s.io/kubernetes/pkg/registry/rbac/clusterrolebinding"
	"k8s.io/kubernetes/pkg/registry/rbac/role"
	"k8s.io/kubernetes/pkg/registry/rbac/rolebinding"
	"k8s.io/kubernetes/pkg/registry/resource/deviceclass"
	"k8s.io/kubernetes/pkg/registry/scheduling/priorityclass"
	"k8s.io/kubernetes/pkg/registry/storage/csidriver"
	"k8s.io/kubernetes/pkg/registry/storage/csistoragecapacity"
	"k8s.io/kubernetes/pkg/registry/storage/storageclass"
	"k8s.io/kubernetes/pkg/registry/storage/volumeattributesclass"
	"k8s.io/kubernetes/plugin/pkg/admission/limitranger"

	// Types, defaults and conversions of the kinds above.
	_ "k8s.io/kubernetes/pkg/apis/admissionregistration/install"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/certificates/install"
	_ "k8s.io/kubernetes/pkg/apis/coordination/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/discovery/install"
	_ "k8s.io/kubernetes/pkg/apis/flowcontrol/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/node/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	_ "k8s.io/kubernetes/pkg/apis/resource/install"
	_ "k8s.io/kubernetes/pkg/apis/scheduling/install"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
)

// extended has the kinds of the API servers that kube-apiserver consists of beside its own.
var extended = func() *runtime.Scheme {
	capabilities.Setup(true, 0) // as clusters that kubeadm makes have it, and the embedded one: --allow-privileged
	s := runtime.NewScheme()
	definitions.Install(s)
	apiservices.Install(s)
	return s
}()

// typesOf has the types that a manifest is decoded into.
func typesOf(gv apischema.GroupVersion) *runtime.Scheme {
	if gv.Group != "" && extended.IsVersionRegistered(gv) {
		return extended
	}
	return scheme.Scheme
}

// serving has the types, defaults and conversions of a kind.
func serving(gvk apischema.GroupVersionKind) *runtime.Scheme {
	if extended.Recognizes(gvk) {
		return extended
	}
	return legacyscheme.Scheme
}

// strategies are what kube-apiserver itself creates objects by. An object of a kind that
// is not listed is judged by the API server of the run alone.
var strategies = map[metav1.GroupKind]rest.RESTCreateStrategy{
	{Kind: "ConfigMap"}:             configmap.Strategy,
	{Kind: "Endpoints"}:             endpoint.Strategy,
	{Kind: "Event"}:                 event.Strategy,
	{Kind: "LimitRange"}:            limitrange.Strategy,
	{Kind: "Namespace"}:             namespace.Strategy,
	{Kind: "Node"}:                  node.Strategy,
	{Kind: "PersistentVolume"}:      persistentvolume.Strategy,
	{Kind: "PersistentVolumeClaim"}: persistentvolumeclaim.Strategy,
	{Kind: "Pod"}:                   pod.Strategy,
	{Kind: "PodTemplate"}:           podtemplate.Strategy,
	{Kind: "ReplicationController"}: replicationcontroller.Strategy,
	{Kind: "ResourceQuota"}:         resourcequota.Strategy,
	{Kind: "Secret"}:                secret.Strategy,
	{Kind: "Service"}:               service.Strategy,
	{Kind: "ServiceAccount"}:        serviceaccount.Strategy,

	{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicy"}:          mutatingadmissionpolicy.NewStrategy(nil, nil),
	{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicyBinding"}:   mutatingadmissionpolicybinding.NewStrategy(nil, nil, nil),
	{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}:     mutatingwebhookconfiguration.Strategy,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicy"}:        validatingadmissionpolicy.NewStrategy(nil, nil),
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicyBinding"}: validatingadmissionpolicybinding.NewStrategy(nil, nil, nil),
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"}:   validatingwebhookconfiguration.Strategy,
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:                 customresourcedefinition.NewStrategy(extended),
	{Group: "apiregistration.k8s.io", Kind: "APIService"}:                             apiservice.NewStrategy(extended),
	{Group: "apps", Kind: "ControllerRevision"}:                                       controllerrevision.Strategy,
	{Group: "apps", Kind: "DaemonSet"}:                                                daemonset.Strategy,
	{Group: "apps", Kind: "Deployment"}:                                               deployment.Strategy,
	{Group: "apps", Kind: "ReplicaSet"}:                                               replicaset.Strategy,
	{Group: "apps", Kind: "StatefulSet"}:                                              statefulset.Strategy,
	{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}:                           horizontalpodautoscaler.Strategy,
	{Group: "batch", Kind: "CronJob"}:                                                 cronjob.Strategy,
	{Group: "batch", Kind: "Job"}:                                                     job.Strategy,
	{Group: "certificates.k8s.io", Kind: "CertificateSigningRequest"}:                 certificates.Strategy,
	{Group: "coordination.k8s.io", Kind: "Lease"}:                                     lease.Strategy,
	{Group: "discovery.k8s.io", Kind: "EndpointSlice"}:                                endpointslice.Strategy,
	{Group: "flowcontrol.apiserver.k8s.io", Kind: "FlowSchema"}:                       flowschema.Strategy,
	{Group: "flowcontrol.apiserver.k8s.io", Kind: "PriorityLevelConfiguration"}:       prioritylevelconfiguration.Strategy,
	{Group: "networking.k8s.io", Kind: "IPAddress"}:                                   ipaddress.Strategy,
	{Group: "networking.k8s.io", Kind: "ServiceCIDR"}:                                 servicecidr.Strategy,
	{Group: "networking.k8s.io", Kind: "Ingress"}:                                     ingress.Strategy,
	{Group: "networking.k8s.io", Kind: "IngressClass"}:                                ingressclass.Strategy,
	{Group: "networking.k8s.io", Kind: "NetworkPolicy"}:                               networkpolicy.Strategy,
	{Group: "node.k8s.io", Kind: "RuntimeClass"}:                                      runtimeclass.Strategy,
	{Group: "policy", Kind: "PodDisruptionBudget"}:                                    poddisruptionbudget.Strategy,
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}:                         clusterrole.Strategy,
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"}:                  clusterrolebinding.Strategy,
	{Group: "rbac.authorization.k8s.io", Kind: "Role"}:                                role.Strategy,
	{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"}:                         rolebinding.Strategy,
	{Group: "resource.k8s.io", Kind: "DeviceClass"}:                                   deviceclass.Strategy,
	{Group: "scheduling.k8s.io", Kind: "PriorityClass"}:                               priorityclass.Strategy,
	{Group: "storage.k8s.io", Kind: "CSIDriver"}:                                      csidriver.Strategy,
	{Group: "storage.k8s.io", Kind: "CSIStorageCapacity"}:                             csistoragecapacity.Strategy,
	{Group: "storage.k8s.io", Kind: "VolumeAttributesClass"}:                          volumeattributesclass.Strategy,
	{Group: "storage.k8s.io", Kind: "StorageClass"}:                                   storageclass.Strategy,
}

// served gives an object as the API server would keep it, with its defaults, and what the
// API server would refuse of it. It is nil for a kind without a strategy, or when the
// object does not decode.
func served(o *unstructured.Unstructured) (runtime.Object, field.ErrorList) {
	gvk := o.GroupVersionKind()
	strategy, types := strategies[metav1.GroupKind(gvk.GroupKind())], serving(gvk)
	object, err := types.New(gvk)
	if strategy == nil || err != nil || decode(o.Object, object) != nil {
		return nil, nil
	}
	types.Default(object)
	defaulted := object.DeepCopyObject()
	internal, err := types.UnsafeConvertToVersion(object, runtime.InternalGroupVersioner)
	if err != nil {
		return defaulted, field.ErrorList{field.InternalError(nil, err)}
	}
	ctx := genericapirequest.WithNamespace(context.Background(), metav1.NamespaceNone)
	ctx = genericapirequest.WithRequestInfo(ctx, &genericapirequest.RequestInfo{IsResourceRequest: true, Verb: "create", APIGroup: gvk.Group, APIVersion: gvk.Version})
	meta := internal.(metav1.Object)
	if strategy.NamespaceScoped() {
		ctx = genericapirequest.WithNamespace(ctx, metav1.NamespaceDefault)
		meta.SetNamespace(metav1.NamespaceDefault)
	}
	if s, ok := internal.(*core.Service); ok { // as the Service's REST storage does
		if len(s.Spec.ClusterIPs) == 0 && s.Spec.ClusterIP != "" {
			s.Spec.ClusterIPs = []string{s.Spec.ClusterIP} // normalizeClusterIPs
		}
		if s.Spec.HealthCheckNodePort == 0 && services.NeedsHealthCheck(s) {
			s.Spec.HealthCheckNodePort = 30000 // allocHealthCheckNodePort: some port of the nodes
		}
	}
	rest.FillObjectMetaSystemFields(meta)
	strategy.PrepareForCreate(ctx, internal)
	return defaulted, aboutWritten(rest.ValidateCreate(ctx, internal, strategy), o, defaulted)
}

// aboutWritten leaves out the errors about fields that only the API server sets, as
// these follow from what is wrong with others.
func aboutWritten(errs field.ErrorList, o *unstructured.Unstructured, defaulted runtime.Object) field.ErrorList {
	if len(errs) < 2 {
		return errs
	}
	all := unstructuredOf(defaulted).Object
	var written field.ErrorList
	for _, err := range errs {
		if has(o.Object, err.Field) || !has(all, err.Field) && !strings.HasPrefix(err.Field, "status.") {
			written = append(written, err)
		}
	}
	if len(written) == 0 {
		return errs
	}
	return written
}

// has says whether there is a value at a path as the API server writes it.
func has(value any, path string) bool {
	for _, step := range stepsOf(path) {
		switch v := value.(type) {
		case map[string]any:
			if value = v[step]; value == nil {
				return false
			}
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return false
			}
			value = v[i]
		default:
			return false
		}
	}
	return true
}

// inV2 gives the spec of an HPA of any version as autoscaling/v2 has it, with its defaults.
func inV2(hpa runtime.Object) *autoscalingv2.HorizontalPodAutoscalerSpec {
	internal, err := legacyscheme.Scheme.ConvertToVersion(hpa, runtime.InternalGroupVersioner)
	if err != nil {
		return nil
	}
	converted, err := legacyscheme.Scheme.ConvertToVersion(internal, autoscalingv2.SchemeGroupVersion)
	if err != nil {
		return nil
	}
	legacyscheme.Scheme.Default(converted)
	return &converted.(*autoscalingv2.HorizontalPodAutoscaler).Spec
}

// templateOf gives the pod template of an object of a kind that has no strategy, if there is
// one in spec.template, where custom kinds that make pods have it (Argo's Rollout,
// OpenShift's DeploymentConfig, OpenKruise's CloneSet).
func templateOf(o *unstructured.Unstructured) map[string]any {
	template, _, _ := unstructured.NestedMap(o.Object, "spec", "template")
	if containers, _, _ := unstructured.NestedSlice(template, "spec", "containers"); len(containers) == 0 {
		return nil
	}
	return template
}

// limited gives a pod template as the admission plugin LimitRanger leaves its pods, or the
// reason why it refuses them.
func limited(template *corev1.PodTemplateSpec, by *corev1.LimitRange) (*corev1.PodTemplateSpec, error) {
	spec, err := changed(template.Spec, func(p *core.Pod) error {
		if err := limitranger.PodMutateLimitFunc(by, p); err != nil {
			return err
		}
		return limitranger.PodValidateLimitFunc(by, p)
	})
	return &corev1.PodTemplateSpec{ObjectMeta: template.ObjectMeta, Spec: spec}, err
}

// WholePod gives pods the requests and limits of all containers together that the API server adds, after
// admission, to pods that have some of them.
func WholePod(spec corev1.PodSpec) corev1.PodSpec {
	spec, _ = changed(spec, func(p *core.Pod) error {
		pods.DefaultPodLevelResources(p)
		return nil
	})
	return spec
}

// changed is a pod's spec after do has changed it in Kubernetes' internal version.
func changed(spec corev1.PodSpec, do func(*core.Pod) error) (corev1.PodSpec, error) {
	var internal core.Pod
	if err := legacyscheme.Scheme.Convert(&corev1.Pod{Spec: *spec.DeepCopy()}, &internal, nil); err != nil {
		return spec, err
	}
	err := do(&internal)
	var pod corev1.Pod
	if err := legacyscheme.Scheme.Convert(&internal, &pod, nil); err != nil {
		return spec, err
	}
	return pod.Spec, err
}

// servedTemplate is served for a pod template alone.
func servedTemplate(template map[string]any) (*corev1.PodTemplateSpec, field.ErrorList) {
	object, errs := served(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "PodTemplate", "metadata": map[string]any{"name": "template"}, "template": template,
	}})
	if object == nil {
		return nil, nil
	}
	return &object.(*corev1.PodTemplate).Template, errs
}

var pathStep = regexp.MustCompile(`\[([^\]]*)\]|[^.\[\]]+`)

// stepsOf takes a path apart as the API server writes it, such as spec.ports[0].port or
// metadata.labels[example.com/name].
func stepsOf(path string) (steps []string) {
	for _, step := range pathStep.FindAllStringSubmatch(path, -1) {
		name := step[0]
		if step[0][0] == '[' {
			name = step[1]
		}
		steps = append(steps, name)
	}
	return steps
}

// pointerOf makes a JSON pointer of such a path.
func pointerOf(path string) string {
	var pointer strings.Builder
	for _, step := range stepsOf(path) {
		pointer.WriteString("/" + escape(step))
	}
	return pointer.String()
}
