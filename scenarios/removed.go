package scenarios

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
	utilversion "k8s.io/apimachinery/pkg/util/version"
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
// served (0 if that is not known here), and what took its place.
type removal struct {
	minor       int
	replacement string
}

// removedTypes are the API versions of which Kubernetes has no type any more, or one that
// does not say that it is removed, from its Deprecated API Migration Guide
// (kubernetes.io/docs/reference/using-api/deprecation-guide) and its changelogs.
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
	"rbac.authorization.k8s.io/v1alpha1 Role":               {23, "rbac.authorization.k8s.io/v1"},
	"rbac.authorization.k8s.io/v1alpha1 RoleBinding":        {23, "rbac.authorization.k8s.io/v1"},
	"rbac.authorization.k8s.io/v1alpha1 ClusterRole":        {23, "rbac.authorization.k8s.io/v1"},
	"rbac.authorization.k8s.io/v1alpha1 ClusterRoleBinding": {23, "rbac.authorization.k8s.io/v1"},
	"node.k8s.io/v1alpha1 RuntimeClass":                     {0, "node.k8s.io/v1"},
	"auditregistration.k8s.io/v1alpha1 AuditSink":           {19, ""},
	"extensions/v1beta1 ThirdPartyResource":                 {8, ""},
}

// changes are those of the fields between the removed API versions of a kind, or one of
// them, and the one that took their place, from the same guide.
var changes = map[string]string{
	"autoscaling/v2beta1 HorizontalPodAutoscaler": "its metrics have target: {type: Utilization, averageUtilization: N} in place of targetAverageUtilization: N, and AverageValue and Value alike",
	"autoscaling/v2beta2 HorizontalPodAutoscaler": "its fields are the same",
	"Deployment":                        "spec.selector must be given and cannot change later; spec.rollbackTo is gone; maxSurge and maxUnavailable are 25% by default",
	"StatefulSet":                       "spec.selector must be given and cannot change later; spec.updateStrategy.type is RollingUpdate by default",
	"ReplicaSet":                        "spec.selector must be given and cannot change later",
	"DaemonSet":                         "spec.selector must be given and cannot change later; spec.templateGeneration is gone; spec.updateStrategy.type is RollingUpdate by default",
	"Ingress":                           "spec.backend is spec.defaultBackend; a backend has service: {name: …, port: {number: …}} in place of serviceName and servicePort; each path needs pathType: Prefix, Exact or ImplementationSpecific",
	"IngressClass":                      "its fields are the same",
	"NetworkPolicy":                     "its fields are the same",
	"PodDisruptionBudget":               "an empty spec.selector selects all pods of the namespace, where it selected none",
	"PodSecurityPolicy":                 "nothing took its place in manifests: labels of the namespace do (pod-security.kubernetes.io/enforce)",
	"PodPreset":                         "write what it added into the pod template",
	"CronJob":                           "its fields are the same",
	"EndpointSlice":                     "endpoints have nodeName and zone in place of topology",
	"RuntimeClass":                      "its fields are the same",
	"node.k8s.io/v1alpha1 RuntimeClass": "handler stands in place of spec.runtimeHandler, and overhead and scheduling beside it",
	"AuditSink":                         "nothing took its place in manifests: the API server has --audit-webhook-config-file",
	"ThirdPartyResource":                "a CustomResourceDefinition of apiextensions.k8s.io/v1 took its place",
	"CustomResourceDefinition":          "spec.versions, with schema, subresources and additionalPrinterColumns in each, stands in place of version, validation, subresources and additionalPrinterColumns; spec.scope must be given",
	"APIService":                        "its fields are the same",
	"ValidatingWebhookConfiguration":    webhookChanges,
	"MutatingWebhookConfiguration":      webhookChanges,
}

const webhookChanges = "sideEffects and admissionReviewVersions must be given; failurePolicy is Fail, timeoutSeconds 10 and matchPolicy Equivalent by default"

// removedIn says of an API version that Kubernetes serves no more what took its place. The
// message is empty for others.
func removedIn(gvk apischema.GroupVersionKind) (message, hint string) {
	api, kind := gvk.GroupVersion().String(), gvk.Kind
	gone, known := removedTypes[api+" "+kind]
	if object, err := scheme.Scheme.New(gvk); err == nil {
		if minor, removed := removedSince(object); removed {
			known, gone.minor = true, minor
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
	if gone.minor == 0 {
		message = fmt.Sprintf("%s is not served by Kubernetes %s", api, version.DefaultKubeBinaryVersion)
	}
	if gone.replacement != "" {
		message += ": write " + gone.replacement
	}
	for _, key := range []string{api + " " + kind, kind} {
		if changes[key] != "" {
			return message, changes[key]
		}
	}
	return message, ""
}

// ownGroups are the groups that the API server itself serves. Groups of custom kinds may
// have such names as well, as gateway.networking.k8s.io has.
var ownGroups = func() map[string]bool {
	groups := map[string]bool{}
	for _, types := range []*runtime.Scheme{scheme.Scheme, extended} {
		for _, gv := range types.PrioritizedVersionsAllGroups() {
			groups[gv.Group] = true
		}
	}
	return groups
}()

// checkKnown refuses objects of Kubernetes' own groups whose kind or version it does not
// know, and HPAs that point to such objects. A CustomResourceDefinition among the manifests
// may make them known.
func (c *checker) checkKnown() {
	defined := map[apischema.GroupKind]bool{}
	for i := range c.Manifests {
		if o := c.Manifests[i].Object; o.GetKind() == "CustomResourceDefinition" {
			group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
			kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
			defined[apischema.GroupKind{Group: group, Kind: kind}] = true
		}
	}
	for i := range c.Manifests {
		m := &c.Manifests[i]
		gvk := m.Object.GroupVersionKind()
		if ownGroups[gvk.Group] && !typesOf(gvk.GroupVersion()).Recognizes(gvk) && !defined[gvk.GroupKind()] {
			c.broken = true
			kinds := slices.Collect(maps.Keys(typesOf(gvk.GroupVersion()).KnownTypes(gvk.GroupVersion())))
			if near := Nearest(gvk.Kind, kinds); near != "" && servedAs(gvk.Group, gvk.Kind) == "" {
				c.faultAt(m.doc, m.base+"/kind", fmt.Sprintf("did you mean %q?", near), "%s has no kind %q", gvk.GroupVersion(), gvk.Kind)
			} else {
				c.faultAt(m.doc, m.base+"/apiVersion", "", "%s", unserved(gvk))
			}
		}
		if hpa := m.autoscaler(); hpa != nil {
			ref := apischema.FromAPIVersionAndKind(hpa.ScaleTargetRef.APIVersion, hpa.ScaleTargetRef.Kind)
			// The HPA's controller looks for any version of the group that is served.
			at := m.base + "/spec/scaleTargetRef/apiVersion"
			if ownGroups[ref.Group] && servedVersion(ref.Group, ref.Kind) == "" && !defined[ref.GroupKind()] && !c.refusedIn(m.doc, at) {
				c.faultAt(m.doc, at, "the HPA would find nothing to scale", "spec.scaleTargetRef: %s", unserved(ref))
			}
		}
	}
}

// unserved says of a kind that its API version does not have it, and which one has.
func unserved(gvk apischema.GroupVersionKind) string {
	message := fmt.Sprintf("Kubernetes %s serves no %s of %s", version.DefaultKubeBinaryVersion, gvk.Kind, gvk.GroupVersion())
	if served := servedAs(gvk.Group, gvk.Kind); served != "" {
		message += ": write " + served
	}
	return message
}

// servedAs gives the API version of a kind that is to be written for one of a group: that of
// the same group, or else of another one, or "".
func servedAs(group, kind string) string {
	for _, group := range append([]string{group}, slices.Sorted(maps.Keys(ownGroups))...) {
		if served := servedVersion(group, kind); served != "" {
			return served
		}
	}
	return ""
}

var servedMinor = int(utilversion.MustParse(version.DefaultKubeBinaryVersion).Minor())

// removedSince gives the minor version of Kubernetes 1 since which an API is not served, and
// whether the one whose API server is embedded here serves it no more.
func removedSince(object runtime.Object) (minor int, removed bool) {
	r, is := object.(removable)
	if !is {
		return 0, false
	}
	_, minor = r.APILifecycleRemoved()
	return minor, minor <= servedMinor
}

// servedVersion gives the most stable API version of a kind that is not removed, or "". What
// a removed version names as its replacement may be removed as well.
func servedVersion(group, kind string) string {
	of := apischema.GroupKind{Group: group, Kind: kind}
	versions := slices.DeleteFunc(append(scheme.Scheme.VersionsForGroupKind(of), extended.VersionsForGroupKind(of)...), func(gv apischema.GroupVersion) bool {
		object, err := typesOf(gv).New(gv.WithKind(kind))
		_, removed := removedSince(object)
		return err != nil || removed || gv.Version == runtime.APIVersionInternal
	})
	if len(versions) == 0 {
		return ""
	}
	return slices.MaxFunc(versions, func(a, b apischema.GroupVersion) int {
		return apiversion.CompareKubeAwareVersionStrings(a.Version, b.Version)
	}).String()
}
