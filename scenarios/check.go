package scenarios

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/hpabench/hpabench/keda"
	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
)

// checker looks for what a schema cannot say. It works on what could be decoded,
// so that all faults are found at once, and keeps still about places where a
// fault was found already: what it would say there may only follow from that.
type checker struct {
	*File
	bad map[*document]map[string]bool // pointers of what the schema found wrong
	// Pointers of what the API server refuses, of which a lack of something would only follow.
	refused map[*document][]string
	broken  bool // some manifest could not be read
	rules   int  // expressions of the manifests
	over    bool // there are more phases or points than can be written out
	faults  Faults
	// What an API server sets was left out of exported objects: the fields, by file.
	dropped map[string][]string
	places  map[identity]int // of manifests in their list
}

// identity is what an object is told by in a namespace.
type identity struct {
	apischema.GroupKind
	name string
}

func (c *checker) fault(path, hint, format string, args ...any) {
	c.faultAt(c.doc, pointerTo(path), hint, format, args...)
}

func (c *checker) faultAt(d *document, pointer, hint, format string, args ...any) {
	if !c.doubtful(d, pointer) {
		c.faults = append(c.faults, d.fault(pointer, fmt.Sprintf(format, args...), hint))
	}
}

// missing is a fault unless the field is there under a misspelt name.
func (c *checker) missing(in, field, hint string) {
	for bad := range c.bad[c.doc] {
		if name, ok := strings.CutPrefix(bad, pointerTo(in)+"/"); ok && Nearest(name, []string{field}) != "" {
			return
		}
	}
	c.fault(in+"."+field, hint, "missing field %q in %s", field, in)
}

// doubtful says whether something in the value, or around it, was found wrong.
func (c *checker) doubtful(d *document, pointer string) bool {
	for bad := range c.bad[d] {
		if overlap(bad, pointer) {
			return true
		}
	}
	return false
}

// overlap says whether one of two pointers is of the value at the other, or of a part of it.
func overlap(a, b string) bool {
	return strings.HasPrefix(a+"/", b+"/") || strings.HasPrefix(b+"/", a+"/")
}

// refusedIn says whether the API server refuses something in the value, or around it.
func (c *checker) refusedIn(d *document, pointer string) bool {
	return slices.ContainsFunc(c.refused[d], func(refused string) bool { return overlap(refused, pointer) })
}

func (c *checker) check() {
	if c.Metadata.Name == "" { // a fault: what else there is to say is not about the name
		c.Metadata.Name = "scenario"
	}
	c.checkWorkload()
	c.checkAutoscaler()
	c.checkLoad()
}

func (c *checker) checkWorkload() {
	w := &c.Spec.Workload
	switch forms := howMany(w.Deployment != nil, c.ofManifests(), w.Existing != nil); {
	case forms != 1:
		hint := ""
		if len(c.files.behind) > 0 {
			hint = fmt.Sprintf("the objects from line %d on are manifests", c.files.behind[0].line(""))
		}
		c.fault("spec.workload", hint, "spec.workload needs exactly one of deployment, manifests and existing, has %d", forms)
	case w.Target != nil && !c.ofManifests():
		c.fault("spec.workload.target", "remove it", "spec.workload.target chooses among manifests, and there are none")
	}
	if w.Deployment != nil {
		c.checkDeployment(w.Deployment)
	}
	if e := w.Existing; e != nil {
		c.checkScalable("spec.workload.existing.kind", e.Kind)
	}
	if c.ofManifests() && !c.broken {
		c.findTarget()
		c.checkTemplate()
		c.checkSources()
	}
	if w.Model != nil {
		c.checkModel(w.Model)
	}
}

// ofManifests says whether the workload is Kubernetes objects as users write them.
func (f *File) ofManifests() bool {
	return f.Spec.Workload.Manifests != nil || len(f.files.behind) > 0 || f.files.cut
}

// howMany of some conditions hold.
func howMany(conditions ...bool) (n int) {
	for _, holds := range conditions {
		if holds {
			n++
		}
	}
	return n
}

const short = "spec.workload.deployment"

func (c *checker) checkDeployment(d *Deployment) {
	if name := c.Metadata.Name; name != "" && (name[0] < 'a' || name[0] > 'z') {
		c.fault("metadata.name", "", "metadata.name %q must start with a letter, since the Service is named after it", name)
	}
	if !c.doubtful(c.doc, pointerTo(short)) {
		_, errs := served(unstructuredOf(c.deployment()))
		c.refuse(c.doc, "", "Deployment", errs, shortPath)
		_, errs = served(unstructuredOf(c.shortService()))
		c.refuse(c.doc, "", "Service", errs, shortPath)
	}
}

// shortPath gives the place in the scenario of a path of the short form's Deployment or Service.
func shortPath(path string) string {
	for _, of := range [][2]string{
		{"spec.template.spec.containers[0]", short}, {"spec.template", short + ".template"}, {"spec.replicas", short + ".replicas"}, {"spec.ports[0]", short},
	} {
		rest, is := strings.CutPrefix(path, of[0])
		if !is {
			continue
		}
		// The container of the short form goes before those of its template.
		rest, other := strings.CutPrefix(rest, ".spec.containers[")
		if n, after, found := strings.Cut(rest, "]"); other && found {
			i, _ := strconv.Atoi(n)
			return fmt.Sprintf("%s.spec.containers[%d]%s", of[1], i-1, after)
		}
		return of[1] + rest
	}
	return path
}

// autoscalerPath gives the place in the scenario of a path of the HPA that it describes.
func (c *checker) autoscalerPath(path string) string {
	switch a := c.Spec.Autoscaler; {
	case a.Spec != nil:
		return "spec.autoscaler." + path
	case a.ScaledObject != nil:
		for field, is := range map[string]string{"minReplicas": ".minReplicaCount", "maxReplicas": ".maxReplicaCount", "metrics": ".triggers", "behavior": ".advanced.horizontalPodAutoscalerConfig.behavior"} {
			if strings.HasPrefix(path, "spec."+field) {
				return "spec.autoscaler.scaledObject" + is
			}
		}
		return "spec.autoscaler.scaledObject"
	}
	for _, of := range [][2]string{{"spec.minReplicas", ".min"}, {"spec.maxReplicas", ".max"}, {"spec.metrics", ".cpuPercent"}, {"spec.behavior", ".stabilization"}, {"metadata", ""}, {"spec", ""}} {
		if strings.HasPrefix(path, of[0]) {
			return "spec.autoscaler" + of[1]
		}
	}
	return "spec.autoscaler"
}

// checkTemplate looks at the pods of a target: at those of a custom kind, which the API server
// sees only once its controller makes them, and at what a LimitRange says of any.
func (c *checker) checkTemplate() {
	m := c.targetManifest
	if m == nil {
		return
	}
	if template := templateOf(m.Object); m.served == nil && template != nil {
		at := m.base + "/spec/template"
		against, err := forManifests(reflect.TypeFor[corev1.PodTemplateSpec]())
		if err != nil {
			c.faultAt(m.doc, at, "", "describing a pod template: %v", err)
			return
		}
		faults, bad := against.validate(m.doc, at, template)
		c.faults = append(c.faults, faults...)
		if c.bad[m.doc] == nil {
			c.bad[m.doc] = map[string]bool{}
		}
		maps.Copy(c.bad[m.doc], bad)
		if len(bad) == 0 {
			_, errs := servedTemplate(template)
			c.refuse(m.doc, m.base, "pod", errs, func(path string) string { return "spec." + path })
		}
	}
	template := c.asWritten()
	for i := range c.Manifests {
		by := as[corev1.LimitRange](&c.Manifests[i])
		if by == nil || template == nil || c.refusedIn(c.Manifests[i].doc, c.Manifests[i].base) {
			continue
		}
		var err error
		if template, err = limited(template, by); err != nil {
			c.faultAt(m.doc, m.base, "", "%s (%s:%d) refuses the pods of %s: %v", &c.Manifests[i], c.Manifests[i].File, c.Manifests[i].Line, m, err)
		}
	}
}

// unscalable says why an HPA cannot scale objects of a kind.
var unscalable = map[string]string{
	"DaemonSet": "a DaemonSet has one pod per node and no scale subresource: an HPA cannot scale it",
	"Job":       "a Job runs to its end and has no scale subresource: an HPA cannot scale it",
	"CronJob":   "a CronJob starts Jobs and has no scale subresource: an HPA cannot scale it",
	"Pod":       "a bare Pod has no controller that could make more of it: an HPA cannot scale it",
}

const useDeployment = "make it a Deployment or a StatefulSet"

func (c *checker) checkScalable(path, kind string) {
	if why := unscalable[kind]; why != "" {
		c.fault(path, useDeployment, "%s", why)
	}
}

func (c *checker) checkAutoscaler() {
	a, w := c.Spec.Autoscaler, c.Spec.Workload
	switch {
	case a == nil && w.Existing == nil && c.hpaManifest == nil:
		if !c.ofManifests() {
			c.missing("spec", "autoscaler", "such as autoscaler: {cpuPercent: 50, min: 1, max: 5}")
		} else if c.target.Name != "" {
			c.fault("spec.autoscaler", "give spec.autoscaler, or a manifest of an HPA", "nothing scales %s %s: there is no spec.autoscaler, and no manifest is an HPA that points to it", c.target.Kind, c.target.Name)
		}
		return
	case a != nil && w.Existing != nil:
		c.fault("spec.autoscaler", "remove spec.autoscaler", "the HPA of an existing object is never changed")
		return
	case a != nil && c.hpaManifest != nil:
		c.fault("spec.autoscaler", "remove one of them", "%s:%d is an HPA of the same target already", c.hpaManifest.File, c.hpaManifest.Line)
	}
	switch {
	case a == nil:
		if c.hpaManifest != nil {
			c.checkHPA(c.Autoscaling(), c.hpaManifest.doc, c.hpaManifest.base+"/spec")
		}
	case a.ScaledObject != nil:
		const at = "spec.autoscaler.scaledObject"
		if a.CPUPercent != nil || a.Min != nil || a.Max != nil || a.Stabilization != nil || a.Spec != nil {
			c.fault(at, "leave the others out", "%s stands in place of the other fields of spec.autoscaler", at)
		}
		if ref, target := a.ScaledObject.ScaleTargetRef, c.TargetRef(); ref != nil && target.Name != "" && (ref.Name != target.Name || a.ScaledObject.Target().Kind != target.Kind) {
			c.fault(at+".scaleTargetRef", "leave it out", "scaleTargetRef names %s %s, but the target is %s %s", a.ScaledObject.Target().Kind, ref.Name, target.Kind, target.Name)
		}
		c.checkHPA(c.Autoscaling(), c.doc, "/spec/autoscaler/scaledObject")
	case a.Spec != nil:
		if a.CPUPercent != nil || a.Min != nil || a.Max != nil || a.Stabilization != nil {
			c.fault("spec.autoscaler.spec", "put them into the spec", "spec.autoscaler.spec stands in place of cpuPercent, min, max and stabilization")
		}
		ref, target := a.Spec.ScaleTargetRef, c.TargetRef()
		if target.Name != "" && (ref.Kind != "" && ref.Kind != target.Kind || ref.Name != "" && ref.Name != target.Name) {
			c.fault("spec.autoscaler.spec.scaleTargetRef", "leave it out", "scaleTargetRef names %s %s, but the target is %s %s", ref.Kind, ref.Name, target.Kind, target.Name)
		}
		c.checkHPA(c.Autoscaling(), c.doc, "/spec/autoscaler/spec")
	case a.Max == nil:
		c.missing("spec.autoscaler", "max", "")
	case a.Stabilization != nil && a.Stabilization.Duration%time.Second != 0:
		c.fault("spec.autoscaler.stabilization", "", "spec.autoscaler.stabilization must be whole seconds")
	default:
		c.checkHPA(c.Autoscaling(), c.doc, "/spec/autoscaler")
	}
}

// checkHPA looks at the HPA that will be there, which is written at base in d.
func (c *checker) checkHPA(hpa *autoscalingv2.HorizontalPodAutoscalerSpec, d *document, base string) {
	if c.doubtful(d, base) {
		return
	}
	scaled := c.hpaManifest.scaledObject()
	if a := c.Spec.Autoscaler; a != nil && scaled == nil {
		scaled = a.ScaledObject
	}
	var refused []keda.Refusal // then KEDA makes no HPA
	if scaled != nil {
		refused = scaled.Refused()
	}
	if c.Spec.Autoscaler != nil && len(refused) == 0 {
		made := c.shortAutoscaler()
		if c.TargetRef().Name == "" { // of a target that was not found, which is said elsewhere
			made.Name, made.Spec.ScaleTargetRef = c.Metadata.Name, autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: c.Metadata.Name}
		}
		_, errs := served(unstructuredOf(made))
		c.refuse(d, "", "HorizontalPodAutoscaler", errs, c.autoscalerPath)
	}
	least := *hpa.MinReplicas
	if scaled != nil {
		least = scaled.Least()
		for i, t := range scaled.Triggers {
			if near := Nearest(t.Type, keda.TriggerTypes); near != "" && !slices.Contains(keda.TriggerTypes, t.Type) {
				c.note("KEDA 2.21 has no trigger of type %s, as trigger %d has: did you mean %s?", t.Type, i, near)
			}
			if selects := ofNamespace.FindString(t.Metadata["query"]); selects != "" {
				c.note("the query of trigger %d selects %s: if that is to be the workload's own namespace, it is another in each run, unless -n names one that is there.", i, selects)
			}
		}
		for _, r := range refused {
			c.faultAt(d, base+"/"+r.Field, r.Hint, "KEDA does not take the ScaledObject: %s", r.Message)
		}
	}
	if w := c.Spec.Workload.Deployment; scaled == nil && w != nil && w.Replicas != nil && *w.Replicas == 0 {
		c.fault(short+".replicas", "give it 1 or more; KEDA scales from 0 (spec.autoscaler.scaledObject)", "%s.replicas is 0: an HPA does nothing from there, unless it came to 0 by itself", short)
	}
	if w := c.Spec.Workload.Deployment; w != nil && w.Replicas != nil && least <= hpa.MaxReplicas && (*w.Replicas < least || *w.Replicas > hpa.MaxReplicas) {
		c.fault(short+".replicas", "", "%s.replicas is %d, outside the autoscaler's %d to %d", short, *w.Replicas, least, hpa.MaxReplicas)
	}
	if m := c.targetManifest; m != nil && scaled == nil {
		if n, found, err := unstructured.NestedInt64(m.Object.Object, "spec", "replicas"); err == nil && found && n == 0 {
			c.faultAt(m.doc, m.base+"/spec/replicas", "give it 1 or more", "spec.replicas is 0: an HPA does nothing from there, unless it came to 0 by itself")
		}
	}
	for _, f := range record.SpecFaults(hpa) {
		if f.Kind == record.MinIsMax && least < hpa.MaxReplicas {
			continue // KEDA goes below the minimum of its HPA
		}
		c.note("%s: %s %s %s", f.Kind, f.Seen, f.Cause, f.Advice)
	}
	template := c.PodTemplate()
	if template != nil {
		tolerance := record.DefaultControllers().Tolerance
		if b := hpa.Behavior; b != nil && b.ScaleUp != nil && b.ScaleUp.Tolerance != nil {
			tolerance = b.ScaleUp.Tolerance.AsApproximateFloat64()
		}
		highest := record.HighestRatios(hpa.Metrics, record.ContainersOf(template.Spec), template.Spec.Resources)
		if held, hardly := record.HeldBelow(hpa.Metrics, highest, 1+tolerance); held && least < hpa.MaxReplicas {
			rarely := ""
			if hardly {
				rarely = ", where the HPA hardly ever adds a replica"
			}
			c.note("cannot-scale: the limits of the containers hold the metric at %.0f %% of the autoscaler's target at most, and a scale-up begins above %.0f %%%s: raise or remove the limits, or lower the target.", slices.Max(highest)*100, (1+tolerance)*100, rarely)
		}
	}
	if template != nil && !c.files.admitted {
		for _, f := range c.LackingRequests(template.Spec) {
			if f.Hint != "" {
				f.Hint += "; or run it with -n, in a namespace whose LimitRange adds one"
			}
			if at, pointer := c.pods(); !c.doubtful(at, pointer) && !c.refusedIn(at, pointer) {
				c.faults = append(c.faults, f)
			}
		}
	}
}

// pods gives the place where the target's pods are written.
func (f *File) pods() (*document, string) {
	if m := f.targetManifest; m != nil {
		return m.doc, m.base
	}
	return f.doc, pointerTo(short)
}

// PodFault makes a fault that points to a field of the pods' spec, such as
// containers/0/livenessProbe, in the scenario or in a manifest.
func (f *File) PodFault(field, message, hint string) Fault {
	d, pointer := f.pods()
	if m := f.targetManifest; m != nil {
		pointer += "/spec/template/spec/" + field
	} else if first, ok := strings.CutPrefix(field, "containers/0/"); ok {
		pointer += "/" + first
	} else {
		pointer += "/" + field
	}
	return d.fault(pointer, message, hint)
}

// LackingRequests are faults of pods of which the HPA has no metric: a target is in percent of
// a request that they do not make, or of a container that is not there.
func (f *File) LackingRequests(pod corev1.PodSpec) (faults Faults) {
	d, pointer := f.pods()
	for _, m := range f.Autoscaling().Metrics {
		if r := m.ContainerResource; r != nil && !slices.ContainsFunc(record.ContainersOf(pod), func(c record.ContainerResources) bool { return c.Name == r.Container }) {
			faults = append(faults, d.fault(pointer, fmt.Sprintf("the autoscaler looks at container %q, which is not in the pod", r.Container), ""))
			continue
		}
		name, lacking := record.WithoutRequest(m, record.ContainersOf(pod), pod.Resources)
		hint := fmt.Sprintf("resources: {requests: {%s: …}}", name)
		who := fmt.Sprintf("containers %s have", strings.Join(lacking, ", "))
		if len(lacking) == 1 {
			who = fmt.Sprintf("container %s has", lacking[0])
		}
		if len(lacking) > 0 {
			faults = append(faults, d.fault(pointer, fmt.Sprintf("the autoscaler's target is a share of the %s request, and %s none", name, who), hint))
		}
	}
	return faults
}

func (c *checker) checkLoad() {
	l := &c.Spec.Load
	names := map[string]bool{}
	for i, p := range l.Phases {
		at := fmt.Sprintf("spec.load.phases[%d]", i)
		before := len(c.faults)
		c.checkPhase(at, p)
		flat := []planned{{Phase: record.Phase{Name: p.Name}}}
		if len(c.faults) == before {
			flat = c.flatten(l.Phases[i:i+1], "", "")
		}
		for _, p := range flat {
			if p.Name == "total" {
				c.fault(at+".name", "", "no phase can be named total: the figures of all phases together are")
			}
			if names[p.Name] {
				c.fault(at+".name", "", "a second phase is named %q", p.Name)
			}
			names[p.Name] = true
		}
	}
	if slo := c.Spec.SLO; slo != nil {
		c.between("spec.slo.latency", &slo.Latency, time.Microsecond, MaxTimeout)
	}
	c.between("spec.load.timeout", l.Timeout, time.Millisecond, MaxTimeout)
	c.between("spec.load.maxConnectionAge", l.MaxConnectionAge, time.Millisecond, MaxDuration)
	if l.PodHeader != "" && !httpguts.ValidHeaderFieldName(l.PodHeader) {
		c.fault("spec.load.podHeader", "", "%q cannot be the name of a header", l.PodHeader)
	}
	c.checkAuth(l)
	c.checkQueue(l)
	if l.ViaOrAuto() == ViaJob {
		c.checkNoRequests("spec.load.phases", l.Phases)
	}
	if (l.TLS != nil || l.HTTP2) && !strings.HasPrefix(l.URL, "https://") && l.ViaOrAuto() != ViaIngress {
		c.fault("spec.load", "the other ways speak plain HTTP", "tls and http2 of spec.load are for an https url, and for via: ingress")
	}
	switch via := l.ViaOrAuto(); {
	case via == ViaAPIProxy && l.Auth != nil:
		c.fault("spec.load.auth", "take another way", "spec.load.auth cannot be had with via: apiProxy: the API server takes the header Authorization for itself")
	case via == ViaURL && l.URL == "":
		c.fault("spec.load.url", "", "spec.load.via is url, but there is no spec.load.url")
	case via != ViaJob && l.Job != nil:
		c.fault("spec.load.job", "via: job", "spec.load.job is given, but spec.load.via is %s", via)
	case l.URL != "" && via != ViaURL && via != ViaAuto && via != ViaJob:
		c.fault("spec.load.url", "remove it, or via", "spec.load.url is given, but spec.load.via is %s", via)
	}
	if l.URL != "" {
		if err := record.CheckURL(l.URL); err != nil {
			c.fault("spec.load.url", "", "spec.load.url %q: %v", record.ShownURL(l.URL), err)
		} else if u, err := url.Parse(l.URL); err == nil && u.User != nil && l.Auth != nil {
			c.fault("spec.load.auth", "remove one", "there are credentials in spec.load.url and in spec.load.auth")
		}
		if err := c.CheckTargets(l.URL); err != nil {
			c.fault("spec.load.url", "", "%v", err)
		}
		return
	}
	c.checkService()
}

// checkNoRequests refuses phases whose end is not known before: pods that send
// together begin the next phase at one instant.
func (c *checker) checkNoRequests(at string, phases []Phase) {
	for i, p := range phases {
		here := fmt.Sprintf("%s[%d]", at, i)
		if p.Requests > 0 {
			c.fault(here+".requests", "give the phase a duration only", "%s.requests cannot be had with via: job, whose pods begin each phase at one instant", here)
		}
		c.checkNoRequests(here+".phases", p.Phases)
	}
}

func (c *checker) checkAuth(l *Load) {
	a := l.Auth
	if a == nil {
		return
	}
	if (a.Basic == nil) == (a.Bearer == nil) {
		c.fault("spec.load.auth", "", "spec.load.auth needs one of basic and bearer")
		return
	}
	from, at := a.Bearer, "spec.load.auth.bearer"
	if a.Basic != nil {
		from, at = &a.Basic.Password, "spec.load.auth.basic.password"
	}
	if (from.Env == "") == (from.Secret == nil) {
		c.fault(at, "such as {env: TOKEN}", "%s needs one of env and secret", at)
	}
}

// checkQueue refuses a queue to which there is no way from here.
func (c *checker) checkQueue(l *Load) {
	switch q := l.Queue; {
	case q == nil:
	case l.ViaOrAuto() == ViaJob:
		c.fault("spec.load.queue", "take another via, or remove spec.load.queue", "spec.load.queue is read by hpabench itself where the load goes, and with via: job only pods of the cluster get there")
	case !c.HasLoad():
		c.fault("spec.load.queue", "remove it", "spec.load.queue is read where the load goes, and no phase sends any")
	default:
		if err := sendable(HTTPRequest{Method: http.MethodGet, Path: q.PathOrDefault()}); err != nil {
			c.fault("spec.load.queue.path", "", "spec.load.queue.path cannot be asked for: %v", err)
		}
	}
}

func (c *checker) checkPhase(at string, p Phase) {
	if p.Repeat > 0 || p.Phases != nil {
		c.checkRepeat(at, p)
		return
	}
	switch {
	case p.Duration.Duration < 0, p.Duration.Duration == 0 && p.Replay == nil:
		c.fault(at+".duration", "", "%s.duration must be more than 0, is %s", at, p.Duration.Duration)
	case p.Duration.Duration > 0:
		c.between(at+".duration", &p.Duration, minDuration, MaxDuration)
	}
	if shapes := p.shapes(); shapes != 1 {
		c.fault(at, "rate: 0 is no load", "%s needs exactly one of rate, ramp, sine, steps, spike, noise, replay and workers, has %d", at, shapes)
		return
	}
	switch {
	case p.Workers == nil && (p.ThinkTime != nil || p.Requests > 0):
		c.fault(at, "", "%s: thinkTime and requests are for workers; a rate says itself when requests leave", at)
	case p.ThinkTime != nil:
		c.between(at+".thinkTime", p.ThinkTime, 0, MaxDuration)
	case p.Ramp != nil && p.Ramp.From == 0 && p.Ramp.To == 0:
		c.fault(at+".ramp", "rate: 0 is no load", "%s.ramp goes from 0 to 0", at)
	case p.Sine != nil && p.Sine.Amplitude > p.Sine.Mean:
		c.fault(at+".sine", "", "%s.sine.amplitude is more than the mean, so that the rate would be negative", at)
	case p.Sine != nil:
		c.between(at+".sine.period", &p.Sine.Period, minPeriod, MaxDuration)
	case p.Noise != nil && p.Noise.Amplitude > p.Noise.Base:
		c.fault(at+".noise", "", "%s.noise.amplitude is more than the base, so that the rate would be negative", at)
	case p.Noise != nil:
		c.between(at+".noise.every", p.Noise.Every, minEvery, MaxDuration)
	case p.Spike != nil:
		c.checkSpike(at, p)
	case p.KeepAlive != nil && !p.HasLoad():
		c.fault(at+".keepAlive", "remove it", "%s.keepAlive is given, but the phase has no load", at)
	}
}

// shapes is how many shapes a phase has: one, but for a repetition.
func (p *Phase) shapes() int {
	return howMany(p.Rate != nil, p.Ramp != nil, p.Sine != nil, p.Steps != nil, p.Spike != nil, p.Noise != nil, p.Replay != nil, p.Workers != nil)
}

// between refuses a duration outside of two bounds; nil is none.
func (c *checker) between(path string, d *metav1.Duration, least, most time.Duration) {
	if d != nil && (d.Duration < least || d.Duration > most) {
		c.fault(path, "", "%s is %s, and must be from %s to %s", path, d.Duration, least, most)
	}
}

func (c *checker) checkRepeat(at string, p Phase) {
	switch {
	case p.Repeat == 0 || p.Phases == nil:
		c.fault(at, "such as repeat: 3 with phases: [...]", "%s has one of repeat and phases without the other", at)
		return
	case p.shapes() > 0 || p.ThinkTime != nil || p.Requests > 0 || p.KeepAlive != nil || p.Duration.Duration != 0:
		c.fault(at, "its phases have these", "%s repeats phases, and has a shape, a duration or keepAlive of its own", at)
		return
	}
	for i, inner := range p.Phases {
		c.checkPhase(fmt.Sprintf("%s.phases[%d]", at, i), inner)
	}
}

func (c *checker) checkSpike(at string, p Phase) {
	s := p.Spike
	switch parts := s.parts(p.Duration.Seconds()); {
	case s.After.Duration < 0 || s.Rise.Duration < 0 || s.Hold.Duration <= 0 || s.Fall.Duration < 0:
		c.fault(at+".spike", "", "%s.spike: hold must be more than 0, and after, rise and fall not less", at)
	case s.Base >= s.Peak:
		c.fault(at+".spike", "", "%s.spike.peak must be more than its base", at)
	case parts[len(parts)-1].seconds < 0:
		c.fault(at+".spike", "", "%s.spike takes longer than the phase lasts", at)
	}
}
