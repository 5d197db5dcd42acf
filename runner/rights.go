package runner

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/component-helpers/auth/rbac/validation"
	custommetrics "k8s.io/metrics/pkg/apis/custom_metrics"
	externalmetrics "k8s.io/metrics/pkg/apis/external_metrics"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// right is one thing that has to be allowed, in the words of RBAC.
type right struct {
	verb     string
	group    string
	resource string // with its subresource, as in pods/log; or a path, as in /metrics
	name     string // of the one object that is meant; empty: of any
	where    string // here, everywhere, or the name of another namespace
	purpose  string
	optional string // what is lost without it; empty: the command cannot do its work
}

const (
	here       = ""  // in the namespace of the workload
	everywhere = "*" // in the whole cluster
)

func (r right) String() string {
	s := r.verb + " " + r.resource
	if r.group != "" {
		s += "." + r.group
	}
	if r.name != "" {
		s += " " + r.name
	}
	return s
}

// task is what rights are needed for. In the zero value of file a run is one of the
// short form: a Deployment, its Service and its HPA of any name.
type task struct {
	command   string // one of Tasks
	namespace string // of the workload; empty: of all
	own       bool   // it is one that the run makes
	lab       bool   // the cluster is the embedded one
	one       bool   // an HPA or its target was named
	file      *scenarios.File

	// target is what is scaled, empty if nothing is named; name is empty where it is
	// not known.
	target schema.GroupResource
	name   string

	scaled        string                                     // the ScaledObject; empty without one
	metricsServer string                                     // its namespace
	spec          *autoscalingv2.HorizontalPodAutoscalerSpec // nil where it is not known

	// mapping finds the resource of a kind; nil without a cluster.
	mapping func(schema.GroupVersionKind) (*meta.RESTMapping, error)
}

// The commands that need rights.
const (
	TaskRun    = "run"
	TaskWatch  = "watch"
	TaskDoctor = "doctor"
	TaskClean  = "clean"
	TaskJob    = "job" // a run whose load is sent from the cluster
)

// Tasks are the commands that need rights.
var Tasks = []string{TaskRun, TaskWatch, TaskDoctor, TaskClean, TaskJob}

// rights is the table of all rights that hpabench needs: the preflight asks for
// them, and hpabench rbac prints them. Whoever sends another request to the API
// server adds it here.
func (t *task) rights() []right {
	run := t.runs()
	watch, doctor, clean := t.command == TaskWatch, t.command == TaskDoctor, t.command == TaskClean
	existing := t.file != nil && t.file.Spec.Workload.Existing != nil
	creates := run && !existing
	observes := run || watch || doctor && t.one
	custom := !t.target.Empty() && !scheme.Scheme.IsGroupRegistered(t.target.Group)
	target, scale := t.target.String(), schema.GroupResource{Group: t.target.Group, Resource: t.target.Resource + "/scale"}.String()

	const deployments, statefulSets = "deployments/scale.apps", "statefulsets/scale.apps"
	beside := creates && !t.own // others' objects
	const unseen = "others' workloads that have no pods at the moment are not seen, and the run's objects could select their pods later"

	via, loads, secret, balancer := t.load()
	job := run && loads && via == scenarios.ViaJob
	holds := creates || job
	nodePort := run && loads && via == scenarios.ViaNodePort && !t.lab
	sends := func(ways ...string) bool { return run && loads && slices.Contains(ways, via) }

	const unbounded = "it is not known who makes a ResourceQuota or a LimitRange in the namespace meanwhile"
	const admission, unadmitted = "what admits the pods", "it is not known who makes or changes a webhook or an admission policy meanwhile that refuses or changes pods"

	var rights []right
	for _, row := range []struct {
		when                  bool
		verbs                 string
		resource, name, where string
		purpose, optional     string
	}{
		// A run, and what it makes.
		{creates && t.own, "get create delete", "namespaces", "", everywhere, "the run's own namespace", ""},
		{(run || observes) && !t.own && t.namespace != "", "get", "namespaces", t.namespace, here, "whether the namespace exists", "a namespace that does not exist is noticed late"},
		{holds, "create patch", "leases.coordination.k8s.io", "", here, "the sign that the run is alive", ""},
		{holds && !t.own, "get delete", "leases.coordination.k8s.io", "", here, "the sign that the run is alive", ""},
		{beside, "list", "poddisruptionbudgets.policy", "", here, "whom the run could harm", ""},
		{beside, "list", "deployments.apps", "", here, "whom the run could harm", unseen},
		{beside, "list", "statefulsets.apps", "", here, "whom the run could harm", unseen},
		{beside, "list", "daemonsets.apps", "", here, "whom the run could harm", unseen},
		{beside, "list", "jobs.batch", "", here, "whom the run could harm", unseen},
		{beside, "list", "cronjobs.batch", "", here, "whom the run could harm", unseen},
		{beside, "list", "replicationcontrollers", "", here, "whom the run could harm", unseen},
		{beside && (t.file == nil || t.file.PodTemplate() != nil), "create", "pods", "", here, "whether the namespace admits the pods, by a dry run", "what the namespace adds to the pods or refuses is not known before"},
		{beside && t.claims(), "list", "persistentvolumeclaims", "", here, "whom the run could harm", ""},
		{beside && scale != deployments, "get", deployments, "", here, "whom the run could harm", "a run is refused where an HPA scales another Deployment"},
		{beside && scale != statefulSets, "get", statefulSets, "", here, "whom the run could harm", "a run is refused where an HPA scales another StatefulSet"},
		{beside && (scale == deployments || scale == statefulSets), "get", scale, "", here, "the pods of the target, and whom the run could harm", ""},

		// What is watched.
		{observes && target != "" && (!beside || scale != deployments && scale != statefulSets), "get", scale, t.name, here, "the pods of the target", ""},
		{observes && target != "", "list watch", target, t.name, here, "the target", ""},
		{observes && target != "" && !creates, "get", target, t.name, here, "the target", ""},
		{observes && custom, "get", "customresourcedefinitions.apiextensions.k8s.io", target, everywhere, "where the target keeps its replicas", "they are taken to be where a Deployment keeps them"},
		{observes, "list watch", "horizontalpodautoscalers.autoscaling", "", here, "the HPA, and others beside it", ""},
		{observes && t.scaled != "", "list watch", scaledResource, t.scaled, here, "the ScaledObject", "what KEDA says of it is not known"},
		{observes, "list watch", "pods", "", here, "the pods of the target", ""},
		{observes, "list watch", "replicasets.apps", "", here, "the ReplicaSets of the target", ""},
		{observes, "list watch", "endpointslices.discovery.k8s.io", "", here, "which pods are in service", ""},
		{observes, "list watch", "events", "", here, "what happened", ""},
		{observes, "list watch", "services", "", here, "the Services in front of the target", ""},
		{observes, "list watch", "resourcequotas", "", here, "what bounds the pods of the namespace", unbounded},
		{observes, "list watch", "limitranges", "", here, "what bounds the pods of the namespace", unbounded},
		{observes, "list watch", "validatingwebhookconfigurations.admissionregistration.k8s.io", "", everywhere, admission, unadmitted},
		{observes, "list watch", "mutatingwebhookconfigurations.admissionregistration.k8s.io", "", everywhere, admission, unadmitted},
		{observes, "list watch", "validatingadmissionpolicies.admissionregistration.k8s.io", "", everywhere, admission, unadmitted},
		{observes, "list watch", "validatingadmissionpolicybindings.admissionregistration.k8s.io", "", everywhere, admission, unadmitted},
		{observes, "list watch", "mutatingadmissionpolicies.admissionregistration.k8s.io", "", everywhere, admission, unadmitted},
		{observes, "list watch", "mutatingadmissionpolicybindings.admissionregistration.k8s.io", "", everywhere, admission, unadmitted},
		{observes, "list", "pods.metrics.k8s.io", "", here, "the usage of the pods", ""},

		// The load.
		{run && secret != "", "get", "secrets", secret, here, "the credentials of the load", ""},
		{sends(scenarios.ViaAuto, scenarios.ViaPortForward), "create", "pods/portforward", "", here, "the load, where no NodePort answers", ""},
		{sends(scenarios.ViaIngress), "list", "ingresses.networking.k8s.io", "", here, "where the load goes", ""},
		{sends(scenarios.ViaLoadBalancer), "get", "services", balancer, here, "where the load goes", ""},
		{job, "get create delete", "jobs.batch", "", here, "the workers that send the load", ""},
		{job, "get list", "pods", "", here, "the workers that send the load", ""},
		{job, "create", "pods/attach", "", here, "the orders of the workers", ""},
		{job, "get", "pods/log", "", here, "what the workers counted", ""},

		// The cluster.
		{nodePort, "list", "nodes", "", everywhere, "where the load goes", ""},
		{(observes || doctor) && !nodePort, "list", "nodes", "", everywhere, "the nodes and their room", "neither the nodes nor their room are known"},
		{observes || doctor, "list", "pods", "", everywhere, "the room on the nodes, and in kube-system the flags of the HPA controller", "the room on the nodes is not known, and without the pods of kube-system the flags are taken to be those of Kubernetes"},
		{observes || doctor, "list", "nodes.metrics.k8s.io", "", everywhere, "the age of the metrics", "the age of the metrics is not known"},
		{doctor, "get", "apiservices.apiregistration.k8s.io", "v1beta1.metrics.k8s.io", everywhere, "who serves the metrics", "who serves the metrics is not known"},
		{doctor, "get", "services", "", t.metricsServer, "who serves the metrics", "the state of metrics-server is not known"},
		{doctor, "list", "deployments.apps", "", t.metricsServer, "who serves the metrics", "the state of metrics-server is not known"},
		{doctor, "list", "pods", "", t.metricsServer, "who serves the metrics", "the state of metrics-server is not known"},
		{doctor && !observes, "list", "horizontalpodautoscalers.autoscaling", "", here, "the HPAs", "the HPAs are not known"},

		// What runs left.
		{clean, "get list delete", "namespaces", "", everywhere, "the namespaces of runs", ""},
		{clean, "update", "namespaces/finalize", "", everywhere, "--finalize", "--finalize cannot give a namespace up"},
		{clean, "list", "leases.coordination.k8s.io", "", everywhere, "which runs are alive, and what they made", ""},
		{clean && t.namespace != "", "get delete", "leases.coordination.k8s.io", "", here, "what runs left in the namespace", ""},
		{clean && t.namespace != "", "get delete", "jobs.batch", "", here, "what runs left in the namespace", ""},
	} {
		if !row.when {
			continue
		}
		resource, group, _ := strings.Cut(row.resource, ".")
		for verb := range strings.FieldsSeq(row.verbs) {
			rights = append(rights, right{verb, group, resource, row.name, row.where, row.purpose, row.optional})
		}
	}
	if observes && (t.spec != nil || t.scaled != "") {
		rights = append(rights, t.signalRights()...)
	}
	if creates || clean {
		for _, o := range t.objects() {
			rights = append(rights, t.objectRights(o)...)
			if resource, _, err := t.resource(o.GroupVersionKind()); err == nil && creates && (!t.own || !t.lab) && len(hostsOf(o)) > 0 {
				rights = append(rights, right{"list", resource.Group, resource.Resource, "", everywhere, "whose hosts the run could take", "a host that others have is not noticed, and the run could take their requests"})
			}
		}
	}
	if sends(scenarios.ViaAPIProxy) {
		for _, verb := range t.proxyVerbs() {
			rights = append(rights, right{verb: verb, resource: "services/proxy", name: t.proxyName(), purpose: "the load"})
		}
	}
	return rights
}

// signalRights are those that it takes to read the HPA's metrics that metrics.k8s.io does not have.
func (t *task) signalRights() (rights []right) {
	add := func(verb, group, resource, name string) {
		rights = append(rights, right{verb: verb, group: group, resource: resource, name: name, purpose: "the metrics that the HPA reads", optional: "the metric is known from the HPA's status only"})
	}
	if t.spec == nil { // of a ScaledObject that is to be found
		add("list", externalmetrics.GroupName, "*", "")
		return rights
	}
	for _, m := range t.spec.Metrics {
		switch name := record.CustomMetric(m); {
		case m.Pods != nil:
			add("get", custommetrics.GroupName, "pods/"+name, "*")
		case m.Object != nil:
			of := m.Object.DescribedObject
			if of.Kind == "Namespace" && schema.FromAPIVersionAndKind(of.APIVersion, of.Kind).Group == "" {
				add("get", custommetrics.GroupName, "metrics", name) // of the HPA's own namespace
			} else if resource, _, err := t.resource(schema.FromAPIVersionAndKind(of.APIVersion, of.Kind)); err == nil {
				add("get", custommetrics.GroupName, resource.GroupResource().String()+"/"+name, of.Name)
			}
		case m.External != nil:
			if t.file != nil && t.file.ScaledObject() != "" {
				name = "*" // KEDA names it when it has taken the ScaledObject
			}
			add("list", externalmetrics.GroupName, name, "")
		}
	}
	return rights
}

// runs says whether the task is a run.
func (t *task) runs() bool { return t.command == TaskRun || t.command == TaskJob }

// printedBy is the command that prints the rights.
func (t *task) printedBy() string {
	s := "hpabench rbac --for " + t.command
	if !t.own && t.namespace != "" {
		s += " -n " + t.namespace
	}
	switch {
	case t.file != nil && t.file.Embedded:
		s += " " + t.file.Metadata.Name
	case t.file != nil:
		s += " " + t.file.Path
	case t.name != "" && t.target.Resource != "":
		s += " " + t.target.String() + "/" + t.name
	}
	return s
}

// load says how a run reaches the workload, whether it sends anything, which Secret
// has its credentials and which Service is its load balancer.
func (t *task) load() (via string, loads bool, secret, balancer string) {
	via, loads = scenarios.ViaAuto, true
	if t.file != nil {
		load := &t.file.Spec.Load
		via, loads = load.ViaOrAuto(), t.file.HasLoad()
		if via == scenarios.ViaAuto && load.URL != "" {
			via = scenarios.ViaURL
		}
		if s := secretOf(load.Auth); s != nil {
			secret = s.Name
		}
		balancer, _ = t.file.Service()
	}
	if t.command == TaskJob {
		via = scenarios.ViaJob
	}
	return via, loads, secret, balancer
}

// objects are what a run makes.
func (t *task) objects() []*unstructured.Unstructured {
	if t.file != nil {
		return t.file.Objects()
	}
	var objects []*unstructured.Unstructured
	for _, gvk := range []schema.GroupVersionKind{appsv1.SchemeGroupVersion.WithKind("Deployment"), corev1.SchemeGroupVersion.WithKind("Service"), autoscalingv2.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler")} {
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(gvk)
		objects = append(objects, o)
	}
	return objects
}

// claims says whether a StatefulSet of the run has claims of its own.
func (t *task) claims() bool {
	return slices.ContainsFunc(t.objects(), func(o *unstructured.Unstructured) bool {
		templates, _, _ := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
		return o.GetKind() == "StatefulSet" && len(templates) > 0
	})
}

// objectRights are those that it takes to make and remove an object.
func (t *task) objectRights(o *unstructured.Unstructured) (rights []right) {
	resource, namespaced, err := t.resource(o.GroupVersionKind())
	if err != nil {
		return nil // the preflight says so of kinds
	}
	where := here
	if !namespaced {
		where = everywhere
	}
	add := func(verb, name, purpose string) {
		rights = append(rights, right{verb: verb, group: resource.Group, resource: resource.Resource, name: name, where: where, purpose: purpose})
	}
	if t.command == TaskClean {
		if !namespaced || t.namespace != "" {
			add("get", o.GetName(), "what the scenario created")
			add("delete", o.GetName(), "what the scenario created")
		}
		return rights
	}
	const purpose = "what the scenario creates"
	add("create", "", purpose)
	if !t.own || !namespaced { // the others go with the namespace
		add("get", o.GetName(), purpose)
		add("delete", o.GetName(), purpose)
	}
	if resource.Group == rbacv1.GroupName {
		rights = append(rights, t.granted(o, where)...)
	}
	return rights
}

// granted are the rights that a Role or binding of the manifests gives to others:
// the API server lets nobody give what they do not have.
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
func (t *task) granted(o *unstructured.Unstructured, where string) (rights []right) {
	purpose := fmt.Sprintf("what %s %s grants, which only those may grant who have it", o.GetKind(), o.GetName())
	var role rbacv1.ClusterRole // a Role has the same fields
	var binding rbacv1.ClusterRoleBinding
	convert := func(into any) bool { // if not, the API server says why
		return runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, into) == nil
	}
	switch kind := o.GetKind(); {
	case strings.HasSuffix(kind, "Role") && convert(&role):
		if role.AggregationRule != nil {
			rights = append(rights, right{verb: "escalate", group: rbacv1.GroupName, resource: "clusterroles", name: role.Name, where: where, purpose: purpose})
		}
		for _, rule := range role.Rules {
			for _, one := range validation.BreakdownRule(rule) {
				r := right{verb: one.Verbs[0], where: where, purpose: purpose}
				if len(one.NonResourceURLs) > 0 {
					r.resource, r.where = one.NonResourceURLs[0], everywhere
				} else {
					r.group, r.resource, r.name = one.APIGroups[0], one.Resources[0], strings.Join(one.ResourceNames, "")
				}
				rights = append(rights, r)
			}
		}
	case strings.HasSuffix(kind, "RoleBinding") && convert(&binding):
		made := slices.ContainsFunc(t.objects(), func(o *unstructured.Unstructured) bool {
			return o.GroupVersionKind().Group == rbacv1.GroupName && o.GetKind() == binding.RoleRef.Kind && o.GetName() == binding.RoleRef.Name
		})
		if !made {
			rights = append(rights, right{verb: "bind", group: rbacv1.GroupName, resource: strings.ToLower(binding.RoleRef.Kind) + "s", name: binding.RoleRef.Name, where: where, purpose: purpose})
		}
	}
	return rights
}

// resource finds the resource of a kind: in the cluster, in the definitions of the
// manifests, or without a cluster among those of Kubernetes; what is in none of them
// is taken to be named and placed as custom resources mostly are.
func (t *task) resource(gvk schema.GroupVersionKind) (resource schema.GroupVersionResource, namespaced bool, err error) {
	var unmapped error
	if t.mapping != nil {
		mapping, err := t.mapping(gvk)
		if err == nil {
			return mapping.Resource, mapping.Scope.Name() == meta.RESTScopeNameNamespace, nil
		}
		unmapped = err
	}
	if crd := definition(t.objects(), gvk.GroupKind()); crd != nil {
		plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
		scope, _, _ := unstructured.NestedString(crd.Object, "spec", "scope")
		return gvk.GroupVersion().WithResource(plural), scope != "Cluster", nil
	}
	if unmapped != nil {
		return resource, false, unmapped
	}
	if known, has := builtin()[gvk.GroupKind()]; has {
		return gvk.GroupVersion().WithResource(known.resource), known.namespaced, nil
	}
	resource, _ = meta.UnsafeGuessKindToResource(gvk)
	return resource, true, nil
}

// definition is the CustomResourceDefinition of a kind among the objects; nil if there
// is none.
func definition(objects []*unstructured.Unstructured, of schema.GroupKind) *unstructured.Unstructured {
	for _, o := range objects {
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
		if o.GetKind() == "CustomResourceDefinition" && group == of.Group && kind == of.Kind {
			return o
		}
	}
	return nil
}

type builtinResource struct {
	resource   string
	namespaced bool
}

// builtin are the kinds of Kubernetes itself, as client-go has them: of a kind with
// namespaces the client has a method such as Deployments(namespace), of another one
// such as Nodes().
var builtin = sync.OnceValue(func() map[schema.GroupKind]builtinResource {
	all := map[schema.GroupKind]builtinResource{
		{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}: {"customresourcedefinitions", false},
		{Group: "apiregistration.k8s.io", Kind: "APIService"}:             {"apiservices", false},
	}
	clients := reflect.TypeFor[kubernetes.Interface]()
	for i := range clients.NumMethod() {
		client := clients.Method(i).Type.Out(0) // AppsV1()
		for j := range client.NumMethod() {
			method := client.Method(j) // Deployments(namespace)
			get, has := method.Type.Out(0).MethodByName("Get")
			if !has || get.Type.NumOut() != 2 {
				continue
			}
			object, is := reflect.New(get.Type.Out(0).Elem()).Interface().(runtime.Object)
			if !is {
				continue
			}
			kinds, _, err := scheme.Scheme.ObjectKinds(object)
			if err == nil {
				all[kinds[0].GroupKind()] = builtinResource{strings.ToLower(method.Name), method.Type.NumIn() == 1}
			}
		}
	}
	return all
})

// proxyVerbs are the verbs of the service proxy's subresource that the requests of a
// scenario need: as for any other resource, by their method.
func (t *task) proxyVerbs() (verbs []string) {
	names := map[string]string{http.MethodGet: "get", http.MethodHead: "get", http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete"}
	for _, requests := range t.file.Requests() {
		for _, r := range requests {
			if verb := names[r.Method]; verb != "" && !slices.Contains(verbs, verb) {
				verbs = append(verbs, verb)
			}
		}
	}
	if t.file.Spec.Load.Queue != nil && !slices.Contains(verbs, "get") {
		verbs = append(verbs, "get")
	}
	return verbs
}

// proxyName is how the service proxy names the Service that takes the load, scheme
// and port included; empty where the Service is not in the scenario.
func (t *task) proxyName() string {
	named, wanted := t.file.Service()
	for _, o := range t.objects() {
		var service corev1.Service
		if o.GetKind() != "Service" || o.GetName() != named || runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &service) != nil {
			continue
		}
		if port, err := servicePort(&service, wanted); err == nil {
			return fmt.Sprintf("%s:%s:%d", schemeOf(port), named, port.Port)
		}
	}
	return ""
}

// atOnce is how many rights are asked for at the same time.
const atOnce = 10

// checkRights asks for each of the rights of a task. One that the task cannot do
// without is a fault, and then it returns false.
func (i *inspection) checkRights(ctx context.Context, t task) bool {
	const name = "rights"
	ctx, cancel := context.WithTimeout(ctx, 4*requestTimeout)
	defer cancel()
	rights := t.rights()
	slices.SortStableFunc(rights, func(a, b right) int { return strings.Compare(a.String(), b.String()) })
	rights = slices.CompactFunc(rights, func(a, b right) bool {
		return a.String() == b.String() && a.where == b.where && (a.optional == "") == (b.optional == "")
	})
	allowed := make([]bool, len(rights))
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(atOnce)
	for n, r := range rights {
		asking.Go(func() (err error) {
			allowed[n], err = i.allowed(ctx, r)
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		return i.failed(name, err)
	}
	missing, lost := map[string][]string{}, map[string][]string{}
	ask := ""
	for n, r := range rights {
		switch {
		case allowed[n]:
		case r.optional != "":
			lost[r.optional] = append(lost[r.optional], r.String())
		default:
			ask = cmp.Or(ask, i.canI(r))
			place := i.place(r.where)
			missing[place] = append(missing[place], r.String())
		}
	}
	for _, what := range slices.Sorted(maps.Keys(lost)) {
		i.add(name, record.Warning, "no right to "+strings.Join(lost[what], ", "), "without it "+what)
	}
	var faults []string
	for _, place := range slices.Sorted(maps.Keys(missing)) {
		faults = append(faults, strings.Join(missing[place], ", ")+" "+place)
	}
	switch {
	case len(faults) > 0:
		hint := fmt.Sprintf("%s prints a Role with all that are needed; %s tells whether you have the first", t.printedBy(), ask)
		if t.own {
			hint += "; or use -n with a namespace in which you have them"
		}
		i.put(record.Check{Name: name, Outcome: record.Fault, Message: "no right to " + strings.Join(faults, "; nor to "), Hint: hint, Forbidden: true})
	case len(lost) > 0:
		i.ok(name, "all that are needed but the above")
	default:
		i.ok(name, "all %d that are needed", len(rights))
	}
	return len(faults) == 0
}

// canI is the command of kubectl that asks for a right.
func (i *inspection) canI(r right) string {
	s := "kubectl auth can-i " + r.verb + " "
	if strings.HasPrefix(r.resource, "/") {
		return s + r.resource
	}
	resource, subresource, _ := strings.Cut(r.resource, "/")
	if s += resource; r.group != "" {
		s += "." + r.group
	}
	if r.name != "" {
		s += "/" + r.name
	}
	if subresource != "" {
		s += " --subresource=" + subresource
	}
	switch {
	case r.where == everywhere || r.where == here && (i.own || i.namespace == metav1.NamespaceAll):
		return s + " -A"
	case r.where == here:
		return s + " -n " + i.namespace
	}
	return s + " -n " + r.where
}

// allowed asks the API server for one right.
func (i *inspection) allowed(ctx context.Context, r right) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{}
	if strings.HasPrefix(r.resource, "/") {
		review.Spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Verb: r.verb, Path: r.resource}
	} else {
		resource, subresource, _ := strings.Cut(r.resource, "/")
		a := &authorizationv1.ResourceAttributes{Verb: r.verb, Group: r.group, Resource: resource, Subresource: subresource, Name: r.name, Namespace: r.where}
		switch r.where {
		case here:
			a.Namespace = i.namespace
		case everywhere:
			a.Namespace = metav1.NamespaceAll
		}
		review.Spec.ResourceAttributes = a
	}
	review, err := i.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("asking for the right to %s: %w", r, err)
	}
	return review.Status.Allowed, nil
}

// place says in words where a right is needed.
func (i *inspection) place(where string) string {
	switch {
	case where == everywhere || where == here && (i.own || i.namespace == metav1.NamespaceAll):
		return "in all namespaces"
	case where == here:
		where = i.namespace
	}
	return "in namespace " + where
}
