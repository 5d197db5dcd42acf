package scenarios

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// What the API server and the controllers set on an object, which `kubectl get -o yaml`
// shows beside what the user wrote.
var (
	setMetadata = []string{"uid", "resourceVersion", "generation", "creationTimestamp", "selfLink", "managedFields",
		"deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences", "namespace"}
	setAnnotations = []string{
		"kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation",
		"pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller", "volume.kubernetes.io/selected-node",
		"volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner",
		"autoscaling.alpha.kubernetes.io/conditions", "autoscaling.alpha.kubernetes.io/current-metrics",
	}
	setJobLabels = []string{"controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"}
)

// exported says whether an object was read from a cluster.
func exported(o *unstructured.Unstructured) bool {
	created := o.GetCreationTimestamp()
	return o.GetUID() != "" || o.GetResourceVersion() != "" || !created.IsZero() || len(o.GetManagedFields()) > 0
}

// serverSet gives the pointers of what a server set on an object that stands at base. An
// address that the user may have chosen is among them only if the object was exported.
func serverSet(o *unstructured.Unstructured, base string) map[string]bool {
	set := map[string]bool{base + "/status": true}
	add := func(path ...string) {
		at := base
		for _, step := range path {
			at += "/" + escape(step)
		}
		set[at] = true
	}
	for _, field := range setMetadata {
		add("metadata", field)
	}
	for _, name := range setAnnotations {
		add("metadata", "annotations", name)
	}
	from := exported(o)
	if from {
		add("metadata", "finalizers") // nobody may be there to take them off
		add("metadata", "generateName")
	}
	switch o.GetKind() {
	case "Service":
		ip, _, _ := unstructured.NestedString(o.Object, "spec", "clusterIP")
		ips, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "clusterIPs")
		foreign := func(ip string) bool { return net.ParseIP(ip) == nil } // for the API server to judge
		if from && ip != corev1.ClusterIPNone || !slices.ContainsFunc(append(ips, ip), foreign) {
			add("spec", "clusterIP")
			add("spec", "clusterIPs")
		}
		if from {
			add("spec", "healthCheckNodePort")
			add("spec", "ipFamilies")
			ports, _, _ := unstructured.NestedSlice(o.Object, "spec", "ports")
			for i := range ports {
				add("spec", "ports", fmt.Sprint(i), "nodePort") // another Service has it
			}
		}
	case "PersistentVolumeClaim":
		if from || o.GetAnnotations()["pv.kubernetes.io/bind-completed"] != "" {
			add("spec", "volumeName")
		}
	case "ServiceAccount":
		if from {
			add("secrets")
		}
	case "Pod":
		if from {
			add("spec", "nodeName")
		}
	case "Namespace":
		add("spec", "finalizers")
	case "Job":
		if manual, _, _ := unstructured.NestedBool(o.Object, "spec", "manualSelector"); from && !manual {
			add("spec", "selector")
			for _, label := range setJobLabels {
				add("metadata", "labels", label)
				add("spec", "template", "metadata", "labels", label)
			}
		}
	}
	return set
}

// leaveOut drops the objects that a cluster makes by itself from those that were exported
// from one: what they are made for is among the manifests, or every namespace has them.
func (c *checker) leaveOut() {
	there, selecting := map[string]bool{}, map[string]bool{}
	for i := range c.Manifests {
		m := &c.Manifests[i]
		there[m.String()] = true
		if selector, _, _ := unstructured.NestedMap(m.Object.Object, "spec", "selector"); m.Object.GetKind() == "Service" && len(selector) > 0 {
			selecting[m.Object.GetName()] = true
		}
	}
	var made []string
	c.Manifests = slices.DeleteFunc(c.Manifests, func(m Manifest) bool {
		owned := m.owner != nil && there[m.owner.Kind+" "+m.owner.Name]
		o := m.Object
		common := m.String() == "ConfigMap kube-root-ca.crt" || m.exported && (m.String() == "ServiceAccount default" ||
			o.GetKind() == "Secret" && o.GetAnnotations()[corev1.ServiceAccountUIDKey] != "" ||
			o.GetKind() == "Endpoints" && selecting[o.GetName()])
		if owned || common {
			made = append(made, m.String())
		}
		return owned || common
	})
	if len(made) > 0 {
		c.note("%s: left out, since the cluster makes such objects itself.", strings.Join(made, ", "))
	}
	for _, file := range slices.Sorted(maps.Keys(c.dropped)) {
		fields := c.dropped[file]
		slices.Sort(fields)
		c.note("%s holds objects exported from a cluster; left out is what the cluster set: %s.", file, strings.Join(slices.Compact(fields), ", "))
	}
}

func (c *checker) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

// takeNamespace finds the namespace that the manifests are written for.
func (c *checker) takeNamespace() {
	var names, places []string
	var second *Manifest
	for i := range c.Manifests {
		m := &c.Manifests[i]
		strategy := strategies[metav1.GroupKind(m.Object.GroupVersionKind().GroupKind())]
		if m.namespace == "" || slices.Contains(names, m.namespace) || strategy != nil && !strategy.NamespaceScoped() {
			continue
		}
		names = append(names, m.namespace)
		places = append(places, fmt.Sprintf("%s (%s, %s:%d)", m.namespace, m, m.File, m.doc.line(m.base+"/metadata/namespace")))
		if len(names) == 2 {
			second = m
		}
	}
	switch {
	case len(names) == 0:
		return
	case second != nil:
		c.broken = true
		c.faultAt(second.doc, second.base+"/metadata/namespace", "a run has one namespace: leave out what belongs to the others", "the manifests are for %d namespaces: %s", len(names), strings.Join(places, ", "))
		return
	}
	c.namespace = names[0]
	c.note("The manifests are for namespace %s; the run's namespace takes its place.", c.namespace)
	c.Manifests = slices.DeleteFunc(c.Manifests, func(m Manifest) bool {
		return m.Object.GetAPIVersion() == "v1" && m.String() == "Namespace "+c.namespace
	})
}

// Move puts an object of the scenario into the namespace of the run: what it refers to by
// the namespace that the manifests are for is then in that of the run.
func (f *File) Move(o *unstructured.Unstructured, namespace string) {
	if subjects, found, _ := unstructured.NestedSlice(o.Object, "subjects"); found {
		for _, s := range subjects {
			subject, _ := s.(map[string]any)
			name, _ := subject["name"].(string)
			if subject["kind"] == "ServiceAccount" && f.manifest("ServiceAccount", name) != nil {
				subject["namespace"] = namespace
			}
		}
		o.Object["subjects"] = subjects
	}
	if f.namespace == "" || f.namespace == namespace {
		return
	}
	var services []string
	for i := range f.Manifests {
		if m := &f.Manifests[i]; m.Object.GetKind() == "Service" {
			services = append(services, regexp.QuoteMeta(m.Object.GetName()))
		}
	}
	host := regexp.MustCompile(`\b(` + strings.Join(services, "|") + `)\.` + regexp.QuoteMeta(f.namespace) + `\.svc\b`)
	var move func(field string, value any) any
	move = func(field string, value any) any {
		switch v := value.(type) {
		case map[string]any:
			for key, inner := range v {
				v[key] = move(key, inner)
			}
		case []any:
			for i, inner := range v {
				v[i] = move("", inner)
			}
		case string:
			switch {
			case v == f.namespace && (field == "namespace" || field == corev1.LabelMetadataName):
				return namespace
			case len(services) > 0:
				return host.ReplaceAllString(v, "${1}."+namespace+".svc")
			}
		}
		return value
	}
	move("", o.Object)
}
