package scenarios

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
	apiversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/component-base/version"
)

// The types of Kubernetes say themselves since which version an API is not served, and
// which one took its place.
type (
	removable   interface{ APILifecycleRemoved() (major, minor int) }
	replaceable interface {
		APILifecycleReplacement() apischema.GroupVersionKind
	}
)

// removal is the end of an API version: since which minor version of Kubernetes 1 it is not
// served, and what took its place.
type removal struct {
	minor       int
	replacement string
}

// removedTypes are the API versions of which Kubernetes has no type any more, from its
// Deprecated API Migration Guide (kubernetes.io/docs/reference/using-api/deprecation-guide).
var removedTypes = map[string]removal{
	"autoscaling/v2beta1 HorizontalPodAutoscaler":           {25, "autoscaling/v2"},
	"autoscaling/v2beta2 HorizontalPodAutoscaler":           {26, "autoscaling/v2"},
	"batch/v2alpha1 CronJob":                                {21, "batch/v1"},
	"policy/v1beta1 PodSecurityPolicy":                      {25, ""},
	"extensions/v1beta1 PodSecurityPolicy":                  {16, ""},
	"settings.k8s.io/v1alpha1 PodPreset":                    {20, ""},
	"apiextensions.k8s.io/v1beta1 CustomResourceDefinition": {22, "apiextensions.k8s.io/v1"},
	"apiregistration.k8s.io/v1beta1 APIService":             {22, "apiregistration.k8s.io/v1"},
	"scheduling.k8s.io/v1alpha1 PriorityClass":              {23, "scheduling.k8s.io/v1"},
}

// changes are those of the fields between a removed API version and the one that took its
// place, from the same guide.
var changes = map[string]string{
	"autoscaling/v2beta1 HorizontalPodAutoscaler": "its metrics have target: {type: Utilization, averageUtilization: N} in place of targetAverageUtilization: N, and AverageValue and Value alike",
	"autoscaling/v2beta2 HorizontalPodAutoscaler": "its fields are the same",
	"apps Deployment":                               "spec.selector must be given and cannot change later; spec.rollbackTo is gone; maxSurge and maxUnavailable are 25% by default",
	"extensions Deployment":                         "spec.selector must be given and cannot change later; spec.rollbackTo is gone; maxSurge and maxUnavailable are 25% by default",
	"apps StatefulSet":                              "spec.selector must be given and cannot change later; spec.updateStrategy.type is RollingUpdate by default",
	"apps ReplicaSet":                               "spec.selector must be given and cannot change later",
	"extensions ReplicaSet":                         "spec.selector must be given and cannot change later",
	"apps DaemonSet":                                "spec.selector must be given and cannot change later; spec.templateGeneration is gone; spec.updateStrategy.type is RollingUpdate by default",
	"extensions DaemonSet":                          "spec.selector must be given and cannot change later; spec.templateGeneration is gone; spec.updateStrategy.type is RollingUpdate by default",
	"extensions Ingress":                            ingressChanges,
	"networking.k8s.io Ingress":                     ingressChanges,
	"networking.k8s.io IngressClass":                "its fields are the same",
	"extensions NetworkPolicy":                      "its fields are the same",
	"policy PodDisruptionBudget":                    "an empty spec.selector selects all pods of the namespace, where it selected none",
	"policy PodSecurityPolicy":                      podSecurity,
	"extensions PodSecurityPolicy":                  podSecurity,
	"settings.k8s.io PodPreset":                     "write what it added into the pod template",
	"batch CronJob":                                 "its fields are the same",
	"discovery.k8s.io EndpointSlice":                "endpoints have nodeName and zone in place of topology",
	"node.k8s.io RuntimeClass":                      "its fields are the same",
	"apiextensions.k8s.io CustomResourceDefinition": "spec.versions, with schema, subresources and additionalPrinterColumns in each, stands in place of version, validation, subresources and additionalPrinterColumns; spec.scope must be given",
	"apiregistration.k8s.io APIService":             "its fields are the same",
	"admissionregistration.k8s.io ValidatingWebhookConfiguration": webhookChanges,
	"admissionregistration.k8s.io MutatingWebhookConfiguration":   webhookChanges,
}

const (
	ingressChanges = "spec.backend is spec.defaultBackend; a backend has service: {name: …, port: {number: …}} in place of serviceName and servicePort; each path needs pathType: Prefix, Exact or ImplementationSpecific"
	podSecurity    = "nothing took its place in manifests: labels of the namespace do (pod-security.kubernetes.io/enforce)"
	webhookChanges = "sideEffects and admissionReviewVersions must be given; failurePolicy is Fail, timeoutSeconds 10 and matchPolicy Equivalent by default"
)

// removedIn says of an API version that Kubernetes serves no more what took its place. The
// message is empty for others.
func removedIn(gvk apischema.GroupVersionKind) (message, hint string) {
	api, kind := gvk.GroupVersion().String(), gvk.Kind
	gone, known := removedTypes[api+" "+kind]
	if object, err := scheme.Scheme.New(gvk); err == nil {
		if gone.minor, known = removedSince(object); known {
			group := gvk.Group
			if r, is := object.(replaceable); is && r.APILifecycleReplacement().Kind == kind {
				group = r.APILifecycleReplacement().Group
			}
			gone.replacement = servedVersion(group, kind)
		}
	}
	if !known {
		return "", ""
	}
	message = fmt.Sprintf("%s is not served since Kubernetes 1.%d", api, gone.minor)
	if gone.replacement != "" {
		message += ": write " + gone.replacement
	}
	for _, key := range []string{api + " " + kind, gvk.Group + " " + kind} {
		if changes[key] != "" {
			return message, changes[key]
		}
	}
	return message, ""
}

// removedSince gives the minor version of Kubernetes 1 since which an API is not served, and
// whether the one whose API server is embedded here serves it no more.
func removedSince(object runtime.Object) (minor int, removed bool) {
	r, is := object.(removable)
	if !is {
		return 0, false
	}
	var major, served int
	if _, err := fmt.Sscanf(version.DefaultKubeBinaryVersion, "%d.%d", &major, &served); err != nil {
		panic(err) // it is a constant of Kubernetes
	}
	_, minor = r.APILifecycleRemoved()
	return minor, minor <= served
}

// servedVersion gives the most stable API version of a kind that is not removed, or "". What
// a removed version names as its replacement may be removed as well.
func servedVersion(group, kind string) string {
	versions := slices.DeleteFunc(scheme.Scheme.VersionsForGroupKind(apischema.GroupKind{Group: group, Kind: kind}), func(gv apischema.GroupVersion) bool {
		object, err := scheme.Scheme.New(gv.WithKind(kind))
		_, removed := removedSince(object)
		return err != nil || removed
	})
	if len(versions) == 0 {
		return ""
	}
	return slices.MaxFunc(versions, func(a, b apischema.GroupVersion) int {
		return apiversion.CompareKubeAwareVersionStrings(a.Version, b.Version)
	}).String()
}
