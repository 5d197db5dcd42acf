package scenarios

import (
	"fmt"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// scalable are the kinds that have a scale subresource in every cluster. Others
// (a Rollout, say) are scaled when they are named as the target.
var scalable = map[string]bool{"Deployment": true, "StatefulSet": true, "ReplicaSet": true, "ReplicationController": true}

// findTarget finds the object of the manifests that is scaled, and its HPA if
// that is among them.
func (c *checker) findTarget() {
	var hpas []*Manifest
	for i := range c.Manifests {
		if c.Manifests[i].autoscaler() != nil {
			hpas = append(hpas, &c.Manifests[i])
		}
	}
	w := c.Spec.Workload
	switch a := c.Spec.Autoscaler; {
	case c.doubtful(c.doc, "/spec/workload/target"):
		return
	case w.Target != nil:
		c.take("spec.workload.target", w.Target.Kind, w.Target.Name)
	case a != nil && a.Spec != nil && a.Spec.ScaleTargetRef.Name != "":
		c.take("spec.autoscaler.spec.scaleTargetRef", a.Spec.ScaleTargetRef.Kind, a.Spec.ScaleTargetRef.Name)
	case a != nil && a.ScaledObject != nil && a.ScaledObject.ScaleTargetRef != nil && a.ScaledObject.ScaleTargetRef.Name != "":
		ref := a.ScaledObject.Target()
		c.take("spec.autoscaler.scaledObject.scaleTargetRef", ref.Kind, ref.Name)
	case len(hpas) == 1 && a == nil:
		c.hpaManifest = hpas[0]
		ref := hpas[0].autoscaler().ScaleTargetRef
		at := hpas[0].base + "/spec/scaleTargetRef"
		if target := c.manifest(ref.Kind, ref.Name); target != nil {
			c.setTarget(target, func(hint, why string) { c.faultAt(hpas[0].doc, at, hint, "%s", why) })
		} else {
			c.faultAt(hpas[0].doc, at, c.known(), "no manifest has the target, %s %s", ref.Kind, ref.Name)
		}
		return
	default:
		c.onlyTarget()
	}
	if c.targetManifest == nil {
		return
	}
	for _, hpa := range hpas {
		ref := hpa.autoscaler().ScaleTargetRef
		if ref.Kind != c.target.Kind || ref.Name != c.target.Name {
			continue
		}
		if c.hpaManifest != nil {
			c.faultAt(hpa.doc, hpa.base, "remove one of them", "a second HPA points to %s %s, after %s:%d", ref.Kind, ref.Name, c.hpaManifest.File, c.hpaManifest.Line)
			continue
		}
		c.hpaManifest = hpa
	}
}

// take makes the object that the scenario names at path the target.
func (c *checker) take(path, kind, name string) {
	m := c.manifest(kind, name)
	if m == nil {
		c.fault(path, c.known(), "%s names %s %s, which no manifest has", path, kind, name)
		return
	}
	c.setTarget(m, func(hint, why string) { c.fault(path, hint, "%s", why) })
}

func (c *checker) setTarget(m *Manifest, refuse func(hint, why string)) {
	if why := unscalable[m.Object.GetKind()]; why != "" {
		refuse(useDeployment, why)
		return
	}
	c.targetManifest = m
	c.target = autoscalingv2.CrossVersionObjectReference{APIVersion: m.Object.GetAPIVersion(), Kind: m.Object.GetKind(), Name: m.Object.GetName()}
}

// onlyTarget takes the one object that can be scaled.
func (c *checker) onlyTarget() {
	var found []*Manifest
	why := ""
	for i := range c.Manifests {
		m := &c.Manifests[i]
		if scalable[m.Object.GetKind()] {
			found = append(found, m)
		}
		if refusal := unscalable[m.Object.GetKind()]; refusal != "" && why == "" {
			why = ": " + refusal
		}
	}
	switch len(found) {
	case 1:
		c.setTarget(found[0], nil)
	case 0:
		hint := "spec.workload.target names an object of a custom kind"
		if why != "" {
			hint = useDeployment
		}
		c.fault("spec.workload.manifests", hint, "the manifests have nothing that can be scaled%s", why)
	default:
		c.fault("spec.workload.manifests", "say which one in spec.workload.target", "the manifests have several objects that can be scaled: %s", list(found))
	}
}

func (c *checker) known() string {
	var all []*Manifest
	for i := range c.Manifests {
		if scalable[c.Manifests[i].Object.GetKind()] {
			all = append(all, &c.Manifests[i])
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "there is " + list(all)
}

func list(ms []*Manifest) string {
	names := make([]string, len(ms))
	for i, m := range ms {
		names[i] = m.String()
	}
	return strings.Join(names, ", ")
}

// checkService finds the Service that takes the load, as far as the file tells.
func (c *checker) checkService() {
	l, w := &c.Spec.Load, c.Spec.Workload
	if w.Deployment != nil {
		if l.Service != "" && l.Service != c.Metadata.Name {
			c.fault("spec.load.service", "leave it out", "spec.load.service is %q, but the Service of the short form is %q", l.Service, c.Metadata.Name)
		}
		c.checkPort([]corev1.ServicePort{{Name: portName, Port: w.Deployment.Port}})
		return
	}
	if !c.ofManifests() || c.broken || !c.HasLoad() {
		return
	}
	var found []*Manifest
	template := c.PodTemplate()
	for i := range c.Manifests {
		m := &c.Manifests[i]
		service := as[corev1.Service](m)
		if service == nil {
			continue
		}
		switch {
		case l.Service != "":
			if l.Service == service.Name {
				found = append(found, m)
			}
		case template == nil:
			found = append(found, m)
		case len(service.Spec.Selector) > 0 && labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(template.Labels)):
			found = append(found, m)
		}
	}
	switch {
	case len(found) == 1:
	case l.Service != "":
		c.fault("spec.load.service", "", "spec.load.service names %q, which no manifest has", l.Service)
		return
	case len(found) > 1:
		c.fault("spec.load", "say which one in spec.load.service", "several Services could take the load: %s", list(found))
		return
	case template == nil:
		return // nor is it known which pods a Service would have to select
	default:
		c.fault("spec.load", "add a Service, or give spec.load.url", "the load cannot reach the pods: no manifest is a Service that selects them")
		return
	}
	c.service = found[0]
	spec, via := as[corev1.Service](c.service).Spec, l.ViaOrAuto()
	switch at := c.service.base + "/spec/type"; {
	case spec.Type == corev1.ServiceTypeNodePort, spec.Type == corev1.ServiceTypeLoadBalancer:
	case via == ViaNodePort:
		c.faultAt(c.service.doc, at, "type: NodePort", "spec.load.via is nodePort, but %s has no NodePort", c.service)
	case (via == ViaAuto && l.URL == "" || via == ViaPortForward) && template != nil && !c.Selects(c.service.Object.GetName()):
		c.faultAt(c.service.doc, at, "type: NodePort, or spec.load.via: job, loadBalancer, ingress or url", "the load has no way to %s: it has no NodePort, and port-forward leads to the pods of the target, which it does not select", c.service)
	}
	c.checkPort(spec.Ports)
}

func (c *checker) checkPort(ports []corev1.ServicePort) {
	port := c.Spec.Load.Port
	known := make([]string, len(ports))
	for i, p := range ports {
		known[i] = fmt.Sprint(p.Port)
		if p.Name != "" {
			known[i] += " " + p.Name
		}
		if port != nil && (*port == intstr.FromInt32(p.Port) || *port == intstr.FromString(p.Name)) {
			return
		}
	}
	hint := ""
	if len(known) > 0 {
		hint = "it has " + strings.Join(known, ", ")
	}
	switch {
	case port != nil:
		c.fault("spec.load.port", hint, "the Service has no port %s", port)
	case len(ports) != 1:
		c.fault("spec.load", hint, "the Service has %d ports: say which one in spec.load.port", len(ports))
	}
}
