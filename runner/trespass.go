package runner

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kubernetes/pkg/apis/scheduling"

	"github.com/hpabench/hpabench/scenarios"
)

// clusterKinds are the kinds without a namespace that a run may make in a cluster of
// others: such an object does nothing until somebody names it, unless the function says
// what it does to others. All other kinds without a namespace, known or not, act on all
// namespaces.
var clusterKinds = map[string]func(o *unstructured.Unstructured) string{
	"Namespace": nil,
	"ClusterRole.rbac.authorization.k8s.io": func(o *unstructured.Unstructured) string {
		for key := range o.GetLabels() {
			// https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles
			if _, name, found := strings.Cut(key, "/"); found && strings.HasPrefix(name, "aggregate-to-") {
				return "add its rules to the ClusterRole that the label " + key + " names, and so to all who have it"
			}
		}
		return ""
	},
	"ClusterRoleBinding.rbac.authorization.k8s.io":  nil, // its subjects are checked
	"CustomResourceDefinition.apiextensions.k8s.io": nil,
	"GatewayClass.gateway.networking.k8s.io":        nil,
	"IngressClass.networking.k8s.io":                defaultClass,
	"PersistentVolume":                              nil, // the claims that can take it are checked
	"RuntimeClass.node.k8s.io":                      nil,
	"StorageClass.storage.k8s.io":                   defaultClass,
	"VolumeAttributesClass.storage.k8s.io":          nil,
	"PriorityClass.scheduling.k8s.io": func(o *unstructured.Unstructured) string {
		var c schedulingv1.PriorityClass
		switch err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &c); {
		case err != nil: // the API server says why
		case c.GlobalDefault:
			return "be the priority of all pods of the cluster that name none"
		case c.Value > 0 && (c.PreemptionPolicy == nil || *c.PreemptionPolicy != corev1.PreemptNever):
			return fmt.Sprintf("let pods of priority %d take the place of others' pods, whose priority is 0 by default, as it lacks preemptionPolicy: Never", c.Value)
		}
		return ""
	},
}

// defaultClass finds the annotation by which a class is that of all who name none.
func defaultClass(o *unstructured.Unstructured) string {
	for key, value := range o.GetAnnotations() {
		if strings.HasSuffix(key, "/is-default-class") && value == "true" {
			return "be the " + o.GetKind() + " of all in the cluster that name none"
		}
	}
	return ""
}

// quietKinds are custom kinds whose objects do nothing in their namespace until somebody
// names them, though they neither select the run's pods nor name an object.
var quietKinds = []string{
	"TriggerAuthentication.keda.sh",
	"AnalysisTemplate.argoproj.io",
	"SecretProviderClass.secrets-store.csi.x-k8s.io",
	"Gateway.gateway.networking.k8s.io",
}

// wideKinds are custom kinds with a namespace whose objects act on all namespaces unless
// they select pods: those of Istio that configure the proxies of the mesh.
// https://istio.io/latest/docs/reference/config/networking/gateway/#Gateway-selector
// https://istio.io/latest/docs/reference/config/networking/service-entry/#ServiceEntry-export_to
var wideKinds = []string{"Gateway.networking.istio.io", "ServiceEntry.networking.istio.io"}

const (
	clusterHint = "leave it out, create it yourself before the run, or run on the embedded cluster"
	hostsHint   = "give it a host of its own"
	unsureHint  = ownHint + "; or create it yourself before the run"
)

// suspect is an object of the manifests of which it is asked what it does to others.
type suspect struct {
	*unstructured.Unstructured
	p          *preflight
	kind       string // with its group
	namespaced bool
	defined    bool // its kind is, by the manifests: nobody else has such objects
	beside     bool // there are others in its namespace
	among      bool // there are others in its cluster
	objects    []*unstructured.Unstructured
}

// trespasses names the manifests that act on others by what they are or name: they
// need no look at the cluster. In a namespace of the run's own there are others only
// elsewhere in the cluster, and on an embedded one none.
func (p *preflight) trespasses(objects []*unstructured.Unstructured) (conflicts []conflict) {
	task := p.task()
	for _, o := range objects {
		_, namespaced, err := task.resource(o.GroupVersionKind())
		kind := o.GroupVersionKind().GroupKind()
		s := suspect{o, p, kind.String(), namespaced || err != nil, p.defines(kind), !p.own, p.cluster.Lab == nil, objects}
		for _, rule := range []func(suspect) []conflict{suspect.withoutNamespace, suspect.grants, suspect.names,
			suspect.holds, suspect.addresses, suspect.ofPods,
			suspect.keepsOff, suspect.takesVolumes, suspect.takesGateways, suspect.ofUnknownEffect} {
			for _, t := range rule(s) {
				conflicts = append(conflicts, conflict{fmt.Sprintf("%s%s %s would %s", p.where(o), o.GetKind(), o.GetName(), t.message), t.hint})
			}
		}
	}
	return conflicts
}

// makes says whether the run makes an object, in its namespace.
func (s suspect) makes(kind, name string) bool {
	return kind == s.p.gvk.Kind && name == s.p.name || slices.ContainsFunc(s.objects, func(o *unstructured.Unstructured) bool {
		return o.GetKind() == kind && o.GetName() == name
	})
}

// withoutNamespace goes by clusterKinds.
func (s suspect) withoutNamespace() []conflict {
	does, allowed := clusterKinds[s.kind]
	switch {
	case s.namespaced || s.defined || !s.among:
	case !allowed:
		return []conflict{{"act on all namespaces, which are not the run's own", clusterHint}}
	case does != nil && does(s.Unstructured) != "":
		return []conflict{{does(s.Unstructured), clusterHint}}
	}
	return nil
}

// grants finds those to whom a binding gives rights, and that are not the run's.
func (s suspect) grants() (found []conflict) {
	switch {
	case s.kind == "ClusterRoleBinding.rbac.authorization.k8s.io" && s.among:
	case s.kind == "RoleBinding.rbac.authorization.k8s.io" && s.beside:
	default:
		return nil
	}
	subjects, _, _ := unstructured.NestedSlice(s.Object, "subjects")
	for _, subject := range subjects {
		fields, _ := subject.(map[string]any)
		kind, _ := fields["kind"].(string)
		name, _ := fields["name"].(string)
		namespace, _ := fields["namespace"].(string)
		if here := kind == "ServiceAccount" && cmp.Or(namespace, s.p.namespace) == s.p.namespace; here && (s.p.own || s.makes(kind, name)) {
			continue
		}
		found = append(found, conflict{fmt.Sprintf("give rights to %s %s, which is not the run's", kind, name), "bind a ServiceAccount of the manifests"})
	}
	return found
}

// names finds the objects of others that an object acts on by their names.
func (s suspect) names() (found []conflict) {
	for _, ref := range references(s.Unstructured) {
		elsewhere := ref.namespace != "" && ref.namespace != s.p.namespace
		switch {
		case elsewhere && s.among:
			found = append(found, conflict{fmt.Sprintf("%s %s %s in namespace %s, which is not the run's", ref.does, ref.kind, ref.name, ref.namespace), "let it name an object of the manifests"})
		case !elsewhere && s.beside && !s.makes(ref.kind, ref.name):
			found = append(found, conflict{fmt.Sprintf("%s %s %s in namespace %s, which is not among the manifests", ref.does, ref.kind, ref.name, s.p.namespace), "leave out -n, or let it name an object of the manifests"})
		}
	}
	return found
}

// holds finds what holds for all pods of the namespace.
func (s suspect) holds() []conflict {
	if !s.beside || s.kind != "ResourceQuota" && s.kind != "LimitRange" {
		return nil
	}
	return []conflict{{fmt.Sprintf("hold for all pods of namespace %s, also for those that the run did not make", s.p.namespace), ownHint}}
}

// addresses finds addresses that others' requests go to or come by.
func (s suspect) addresses() []conflict {
	service := ""
	switch s.kind {
	case "Service": // https://kubernetes.io/docs/concepts/services-networking/service/#external-ips
		if ips, _, _ := unstructured.NestedStringSlice(s.Object, "spec", "externalIPs"); len(ips) > 0 && s.among {
			return []conflict{{"take all that the cluster sends to " + strings.Join(ips, ", "), "leave externalIPs out"}}
		}
	case "EndpointSlice.discovery.k8s.io":
		service = s.GetLabels()[discoveryv1.LabelServiceName]
	case "Endpoints":
		service = s.GetName()
	}
	if service == "" || !s.beside || s.makes("Service", service) {
		return nil
	}
	return []conflict{{fmt.Sprintf("send requests for Service %s in namespace %s, which is not among the manifests, to its own addresses", service, s.p.namespace), "leave out -n, or add that Service to the manifests"}}
}

// ofPods finds pods of the highest priorities, for which others' pods are ended, and the
// claims of others that pods could write to. To read what is there, such a claim, a
// ConfigMap or a Secret, is what the user wants who names it.
func (s suspect) ofPods() (found []conflict) {
	for _, pod := range scenarios.PodSpecs(s.Unstructured) {
		if name := pod.PriorityClassName; s.among && (name == scheduling.SystemClusterCritical || name == scheduling.SystemNodeCritical) {
			found = append(found, conflict{"let the run's pods take the place of others' pods, by priorityClassName " + name, "leave priorityClassName out"})
		}
		for _, v := range pod.Volumes {
			if c := v.PersistentVolumeClaim; c != nil && !c.ReadOnly && s.beside && !s.makes("PersistentVolumeClaim", c.ClaimName) {
				found = append(found, conflict{fmt.Sprintf("write to PersistentVolumeClaim %s in namespace %s, which is not among the manifests", c.ClaimName, s.p.namespace),
					"leave out -n, add a claim to the manifests, or let volume " + v.Name + " be readOnly"})
			}
		}
	}
	return found
}

// keepsOff finds required anti-affinity to pods elsewhere, which keeps those off the nodes
// of the run's pods as well. For its own namespace the pods are looked at.
func (s suspect) keepsOff() (found []conflict) {
	for _, term := range antiAffinity(s.Unstructured) {
		if elsewhere := term.NamespaceSelector != nil || slices.ContainsFunc(term.Namespaces, func(n string) bool { return n != s.p.namespace }); elsewhere && s.among && term.LabelSelector.MatchLabels[RunLabel] != s.p.options.ID {
			found = append(found, conflict{"keep pods of other namespaces off the nodes of its own, by its podAntiAffinity", "let the term select the run's pods alone, or leave its namespaces out"})
		}
	}
	return found
}

// antiAffinity are the required terms of an object's pods that select any pods.
func antiAffinity(o *unstructured.Unstructured) (terms []corev1.PodAffinityTerm) {
	for _, pod := range scenarios.PodSpecs(o) {
		if pod.Affinity == nil || pod.Affinity.PodAntiAffinity == nil {
			continue
		}
		for _, term := range pod.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
			if term.LabelSelector != nil {
				terms = append(terms, term)
			}
		}
	}
	return terms
}

// takesVolumes finds volumes that the next claim of somebody could take, and its data with
// it when the run ends.
func (s suspect) takesVolumes() []conflict {
	if s.kind != "PersistentVolume" || !s.among {
		return nil
	}
	class, _, _ := unstructured.NestedString(s.Object, "spec", "storageClassName")
	namespace, _, _ := unstructured.NestedString(s.Object, "spec", "claimRef", "namespace")
	if namespace == s.p.namespace || class != "" && s.makes("StorageClass", class) {
		return nil
	}
	return []conflict{{"be taken by any claim of the cluster", "add a StorageClass to the manifests and name it in storageClassName"}}
}

// takesGateways finds routes for all hosts of a Gateway that is not the run's.
func (s suspect) takesGateways() (found []conflict) {
	if !s.among || !slices.ContainsFunc(hostsOf(s.Unstructured), func(host string) bool { return host == "" || host == "*" }) {
		return nil
	}
	parents, _, _ := unstructured.NestedSlice(s.Object, "spec", "parentRefs")
	gateways, _, _ := unstructured.NestedSlice(s.Object, "spec", "gateways") // of Istio's VirtualService
	for _, parent := range append(parents, gateways...) {
		fields, _ := parent.(map[string]any)
		name, _ := fields["name"].(string)
		namespace, _ := fields["namespace"].(string)
		if text, is := parent.(string); is {
			name = text
			if before, after, found := strings.Cut(text, "/"); found {
				namespace, name = before, after
			}
		}
		if cmp.Or(namespace, s.p.namespace) != s.p.namespace || !s.makes("Gateway", name) && fields["kind"] != "Service" {
			found = append(found, conflict{"take the requests for all hosts of Gateway " + name + ", which is not among the manifests", hostsHint})
		}
	}
	return found
}

// hostsOf are the hosts whose requests an Ingress or a route takes, found by the names of
// their fields; an empty one stands for all. Those that name Services are among references.
func hostsOf(o *unstructured.Unstructured) (hosts []string) {
	spec, _, _ := unstructured.NestedMap(o.Object, "spec")
	add := func(value any) {
		text, is := value.(string)
		if _, _, service := serviceHost(text); is && (!service || o.GroupVersionKind().Group != istioNetworking) {
			hosts = append(hosts, strings.ToLower(text))
		}
	}
	if kind := o.GroupVersionKind().GroupKind().String(); kind == "Ingress.networking.k8s.io" {
		rules, _ := spec["rules"].([]any)
		for _, rule := range rules {
			fields, _ := rule.(map[string]any)
			add(cmp.Or[any](fields["host"], ""))
		}
		if len(rules) == 0 || spec["defaultBackend"] != nil {
			add("")
		}
		return hosts
	}
	if !scenarios.IsCustom(o) {
		return nil
	}
	names, _ := spec["hostnames"].([]any) // of the Gateway API's routes
	several, _ := spec["hosts"].([]any)   // of Istio's
	for _, host := range append(names, several...) {
		add(host)
	}
	add(spec["host"]) // of OpenShift's
	fqdn, _, _ := unstructured.NestedFieldNoCopy(spec, "virtualhost", "fqdn")
	add(fqdn) // of Contour's HTTPProxy
	if spec["parentRefs"] != nil && len(names) == 0 {
		add("")
	}
	return hosts
}

const istioNetworking = "networking.istio.io"

// takenHosts names the hosts of Ingresses and routes of the run that others' of the same
// kind have, in all namespaces. What may not be listed is left out: the rights tell of it.
func (p *preflight) takenHosts(ctx context.Context, objects []*unstructured.Unstructured) (conflicts []conflict, err error) {
	lists := map[schema.GroupVersionKind]*unstructured.UnstructuredList{}
	for _, o := range objects {
		gvk, hosts := o.GroupVersionKind(), hostsOf(o)
		if len(hosts) == 0 || p.own && p.cluster.Lab != nil || p.defines(gvk.GroupKind()) {
			continue
		}
		if lists[gvk] == nil {
			_, mapping, err := p.Cluster.resource(gvk, p.namespace)
			if err != nil {
				return conflicts, err
			}
			if lists[gvk], err = limited(ctx, p.Dynamic.Resource(mapping.Resource).List); apierrors.IsForbidden(err) {
				lists[gvk] = &unstructured.UnstructuredList{}
			} else if err != nil {
				return conflicts, fmt.Errorf("listing the %s of all namespaces: %w", mapping.Resource.Resource, err)
			}
		}
		for _, other := range lists[gvk].Items {
			for _, host := range hosts {
				if !slices.ContainsFunc(hostsOf(&other), func(taken string) bool { return takesHost(host, taken) }) {
					continue
				}
				what := "all hosts"
				if host != "" {
					what = "host " + host
				}
				conflicts = append(conflicts, conflict{fmt.Sprintf("%s%s %s would take the requests for %s, which %s %s in namespace %s has", p.where(o), o.GetKind(), o.GetName(),
					what, other.GetKind(), other.GetName(), other.GetNamespace()), hostsHint})
			}
		}
	}
	return conflicts, nil
}

// takesHost says whether requests for the host are those that another's host, which may
// have a wildcard, had until now.
func takesHost(host, taken string) bool {
	suffix, wild := strings.CutPrefix(taken, "*")
	return host == taken || wild && host != "" && strings.HasSuffix(host, suffix)
}

// ofUnknownEffect finds objects of custom kinds of which nothing says that they act on the
// run's own alone: they neither select its pods, nor make some, nor name an object. Policies
// that hold for a namespace are such ones.
func (s suspect) ofUnknownEffect() []conflict {
	switch {
	case !s.namespaced || s.defined || !scenarios.IsCustom(s.Unstructured) || slices.Contains(quietKinds, s.kind):
	case scenarios.IsConfined(s.Unstructured, RunLabel, s.p.options.ID):
	case slices.Contains(wideKinds, s.kind) && s.among:
		return []conflict{{"act on all namespaces, as it does not select the run's pods alone", clusterHint}}
	case s.beside && len(references(s.Unstructured)) == 0 && len(scenarios.PodLabels(s.Unstructured)) == 0:
		return []conflict{{fmt.Sprintf("act on others in namespace %s, as far as is known of its kind: it neither selects the run's pods alone nor names an object of the manifests", s.p.namespace), unsureHint}}
	}
	return nil
}

// acted is an object that another one acts on by its name, and how it does.
type acted struct {
	does, kind, name, namespace string // the namespace is empty where it is the same
}

// references are the objects that an object acts on by their names: what an HPA, a KEDA
// ScaledObject or a VerticalPodAutoscaler scales, what an Argo Rollout takes its pods
// from, what a policy of the Gateway API is for, and where an Ingress or a route sends
// requests. They are found by the names of their fields.
func references(o *unstructured.Unstructured) (found []acted) {
	spec, _, _ := unstructured.NestedMap(o.Object, "spec")
	istio := o.GroupVersionKind().Group == istioNetworking
	add := func(does, kind string, value any) {
		fields, _ := value.(map[string]any)
		text := func(field string) string { s, _ := fields[field].(string); return s }
		if text("name") != "" {
			found = append(found, acted{does, cmp.Or(text("kind"), kind), text("name"), text("namespace")})
		}
	}
	host := func(value any) {
		text, _ := value.(string)
		if name, namespace, is := serviceHost(text); istio && is {
			found = append(found, acted{"act on the requests for", "Service", name, namespace})
		}
	}
	var walk func(field string, value any)
	walk = func(field string, value any) {
		fields, _ := value.(map[string]any)
		list, isList := value.([]any)
		switch {
		case isList:
			for _, item := range list {
				walk(field, item)
			}
		case field == "scaleTargetRef" || field == "targetRef" || field == "targetRefs" || field == "workloadRef":
			// https://keda.sh/docs/latest/reference/scaledobject-spec/#scaletargetref
			add("act on", "Deployment", value)
		case field == "backendRefs" || field == "backendRef":
			add("send requests to", "Service", value)
		case field == "parentRefs" && fields["kind"] == "Service":
			add("act on the requests for", "Service", value)
		case (field == "backend" || field == "defaultBackend") && fields["service"] != nil:
			add("send requests to", "Service", fields["service"])
		case (field == "to" || field == "alternateBackends") && fields["kind"] == "Service": // of OpenShift's Route
			add("send requests to", "Service", value)
		case field == "services" && scenarios.IsCustom(o): // of Traefik's IngressRoute, Contour's HTTPProxy
			add("send requests to", "Service", value)
		case field == "host" || field == "hosts":
			host(value)
		}
		for inner, v := range fields {
			if inner != "template" && inner != "jobTemplate" { // of pods
				walk(inner, v)
			}
		}
	}
	walk("", spec)
	slices.SortFunc(found, func(a, b acted) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.does, b.does))
	})
	return slices.Compact(found)
}

// serviceHost reads the name of a Service of the cluster as Istio does.
// https://istio.io/latest/docs/reference/config/networking/virtual-service/#VirtualService-hosts
func serviceHost(host string) (name, namespace string, is bool) {
	if host != "" && host != "*" && !strings.Contains(host, ".") {
		return host, "", true
	}
	parts := strings.Split(host, ".")
	if len(parts) < 3 || parts[2] != "svc" {
		return "", "", false
	}
	return parts[0], parts[1], true
}
