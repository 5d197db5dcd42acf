package simulate

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// FromScenario is the run that a scenario describes, on a plant of which nothing has
// been measured. An error names file and line.
func FromScenario(f *scenarios.File) (*Run, error) {
	template, spec := f.PodTemplate(), f.Autoscaling()
	if spec == nil {
		return nil, f.Fault("spec.workload.existing", "an existing workload is not known without its cluster", "simulate a record of a run of it")
	}
	if template == nil {
		return nil, f.Fault("spec.workload", fmt.Sprintf("the pods of the kind %s are not known without its cluster", f.TargetRef().Kind), "simulate a record of a run of it")
	}
	pod := template.Spec.DeepCopy()
	var m model.Model
	if given := f.Spec.Workload.Model; given != nil {
		m = *given
	} else if given := template.Annotations[model.Annotation]; given != "" {
		var err error
		if m, err = model.Parse(given); err != nil {
			return nil, f.Fault("spec.workload", err.Error(), "")
		}
	}
	r := &Run{
		Plant: Guess(*pod, m), Pod: *pod, HPA: *spec, Name: f.AutoscalerName(), Replicas: 1, Phases: f.Phases(),
		Even: f.Spec.Load.Via == scenarios.ViaPortForward,
	}
	r.limits(f)
	r.assume(m)
	r.Outside = f.Courses()
	if r.KEDA, r.ScaledObject = f.ScaledObjectSpec(), f.ScaledObject(); r.KEDA != nil {
		if err := r.KEDA.Check(); err != nil {
			return nil, notSimulated{f.Fault("spec.autoscaler", "the ScaledObject: "+err.Error(), "hpabench run makes it on a cluster that has KEDA")}
		}
	}
	var front *model.Model
	if r.Front = frontOf(f, &r.Plant.Workload); r.Front != nil {
		if front = &r.Front.Pod; front.Fault != nil {
			return nil, notSimulated{f.Fault("spec.load", "faults (model.fault) of the pods in front of the target are not simulated", onEmbedded)}
		}
		if of, err := f.Behind(f.InFront(), ""); err == nil && of != nil && of.Replicas == 0 {
			return nil, f.Fault("spec.load", fmt.Sprintf("%s in front of the target has 0 replicas, so that no request comes through", of.Name), "replicas: 1")
		}
	}
	var ignored []string
	var err error
	if r.Chain, ignored, err = chainOf(f, &r.Plant.Workload, front); err != nil {
		return nil, notSimulated{f.Fault("spec.workload", err.Error(), onEmbedded)}
	}
	if (r.Front != nil || r.Chain != nil) && slices.ContainsFunc(r.Phases, func(p record.Phase) bool { return p.Shape == record.ShapeWorkers }) {
		return nil, notSimulated{f.Fault("spec.load", "workers that send through a gateway, to a queue or to pods that call others are not simulated", onEmbedded)}
	}
	for _, o := range f.Objects() {
		if o.GetKind() == spec.ScaleTargetRef.Kind && o.GetName() == spec.ScaleTargetRef.Name {
			if n, ok, err := unstructured.NestedInt64(o.Object, "spec", "replicas"); err == nil && ok {
				r.Replicas = int32(n)
			}
			if o.GetKind() == statefulSet {
				r.StatefulSet = record.StatefulSetOf(o)
			}
		}
	}
	if slo := f.Spec.SLO; slo != nil {
		r.SLO = slo.Latency.Duration
	}
	if err := r.refuse(f); err != nil {
		return nil, err
	}
	if r.Chain != nil && len(r.Chain.Calls) > 0 && r.Modelled().Probes() > 0 {
		ignored = append(ignored, "the calls that the pods' probes make")
	}
	r.Ignored = r.ignored(f, ignored)
	if err := r.countPods(); err != nil {
		return nil, f.Fault("spec.autoscaler", err.Error(), "a lower max")
	}
	for _, m := range r.HPA.Metrics {
		name := record.CustomMetric(m)
		if _, own := r.Plant.Workload.Metrics[name]; m.Pods == nil && !own && !r.besides(name) && slices.Contains(f.Shown(), name) {
			return nil, notSimulated{f.Fault("spec.autoscaler", fmt.Sprintf("the HPA goes by %s of pods that are not simulated: the load does not come through them, and the target does not call them", name), onEmbedded)}
		}
	}
	if err := r.checkResources(); err != nil {
		return nil, f.Fault("spec.autoscaler", err.Error(), "scale on one of these, or on a Pods, Object or External metric")
	}
	return r, nil
}

// frontOf is the gateway or the queue that takes the load of a scenario in front of its target; nil where none is known.
func frontOf(f *scenarios.File, target *model.Model) *Front {
	template := f.Front()
	if template == nil || len(template.Spec.Containers) == 0 {
		return nil
	}
	m, err := model.Parse(cmp.Or(template.Annotations[model.Annotation], "{}"))
	if err != nil {
		return nil
	}
	named := func(to string) string {
		name, _ := local(to)
		return name
	}
	switch m = model.Resolve(&template.Spec.Containers[0], m); {
	case m.Holds != nil && *m.Holds && target.Takes != nil && named(*target.Takes) == f.InFront():
		return &Front{Pod: m, Queue: true, Shown: f.Spec.Load.Queue != nil}
	case slices.ContainsFunc(m.Calls, func(c model.Call) bool {
		name, here := local(c.To)
		return here && f.Selects(name)
	}):
	case m.Forwards == nil || !f.Selects(named(m.Forwards.To)):
		return nil
	case m.Forwards.Hold != nil:
		return &Front{Pod: m, Hold: m.Forwards.Hold.Duration}
	}
	return &Front{Pod: m}
}

// checkResources refuses a resource that no pod has metrics of, for which the HPA would wait in vain.
func (r *Run) checkResources() error {
	for _, m := range r.HPA.Metrics {
		if of, _ := record.ResourceOf(m); of != "" && of != corev1.ResourceCPU && of != corev1.ResourceMemory {
			return fmt.Errorf("the HPA goes by %s, and metrics.k8s.io has cpu and memory alone", of)
		}
	}
	return nil
}

// limits takes how long a request and a connection may take.
func (r *Run) limits(f *scenarios.File) {
	r.Timeout = f.Spec.Load.RequestTimeout()
	if age := f.Spec.Load.MaxConnectionAge; age != nil {
		r.MaxConnectionAge = age.Duration
	}
}

// countPods says when the HPA may ask for more pods than a simulation has.
func (r *Run) countPods() error {
	most := max(r.HPA.MaxReplicas, r.Replicas)
	if r.HPA.MinReplicas != nil {
		most = max(most, *r.HPA.MinReplicas)
	}
	if most > MaxPods {
		return fmt.Errorf("there can be %d replicas, and a simulation has %d pods at most", most, MaxPods)
	}
	return nil
}

// FromRecord is the run that a record is of: its HPA, its pods and its load, on a plant
// of which nothing has been measured (see package fit for that).
func FromRecord(run record.Run) (*Run, error) {
	h := run.Header()
	if h == nil {
		return nil, errors.New("the record has no header")
	}
	if len(h.Phases) == 0 {
		return nil, errors.New("the record has no load phases")
	}
	r := &Run{Phases: h.Phases, Timeout: 30 * time.Second, SLO: seconds(h.SLOLatency)}
	var m model.Model
	f, unread := scenarios.Recorded(h)
	if unread == nil {
		made, err := FromScenario(f)
		if errors.As(err, new(notSimulated)) {
			return nil, err
		}
		if unread = err; err == nil {
			r = made
			r.Phases = h.Phases
		}
		r.limits(f)
		if f.Spec.Workload.Model != nil {
			m = *f.Spec.Workload.Model
		}
	}
	if unread != nil && h.Source != "" {
		why, _, _ := strings.Cut(unread.Error(), "\n")
		r.Ignored = fmt.Sprintf("the scenario in the record cannot be read again (%s): the pods are simulated by what the record shows of them, and a request is given up after %s.", why, r.Timeout)
	}
	var hpa *record.Autoscaler
	var pod *record.Pod
	var target *record.Target
	var grace *int64
	for _, e := range run.Entries {
		switch {
		case e.Autoscaler != nil && hpa == nil:
			hpa = e.Autoscaler
		case e.Pod != nil && pod == nil:
			pod = e.Pod
		case e.Pod != nil && e.Pod.Grace != nil:
			grace = e.Pod.Grace
		case e.Target != nil && target == nil:
			target = e.Target
		case e.Cluster != nil && e.Cluster.Lab == nil: // where nobody looked at the model
			r.Plant.Workload.Fault = nil
			if r.Chain != nil { // the namespace can have had it
				r.Chain.Calls = slices.DeleteFunc(r.Chain.Calls, func(c Call) bool { return strings.HasPrefix(c.To, noService) })
			}
		case e.Subject != nil && e.Subject.ScaledObject != "" && r.KEDA == nil:
			why := "the scenario has none"
			if unread != nil {
				why, _, _ = strings.Cut(unread.Error(), "\n")
			}
			return nil, notSimulated{fmt.Errorf("the record does not have the spec of ScaledObject %s, which is in the scenario that makes one: %s", e.Subject.ScaledObject, why)}
		case e.Subject != nil:
			r.Even = e.Subject.Way == scenarios.ViaPortForward
		}
	}
	if hpa == nil || pod == nil || target == nil {
		return nil, errors.New("the record shows no HPA, no target or no pod")
	}
	r.HPA, r.Name, r.Replicas = hpa.Spec, hpa.Name, target.Replicas
	if s := target.StatefulSet; s != nil {
		r.StatefulSet = s
	} else if hpa.Spec.ScaleTargetRef.Kind == statefulSet && r.StatefulSet == nil { // of a record that does not say
		r.StatefulSet = &record.StatefulSet{}
	}
	if err := cmp.Or(r.countPods(), r.checkResources()); err != nil {
		return nil, err
	}
	r.Wait, r.Served = synced(run)
	r.Samples, r.Used = samples(run)
	if r.KEDA != nil {
		r.Polled, r.SignalsScraped = r.polled(run)
	}
	if len(r.Pod.Containers) == 0 {
		r.Pod.Resources, r.Pod.TerminationGracePeriodSeconds = pod.Resources, grace
		for _, c := range pod.Containers {
			is := corev1.Container{Name: c.Name, Resources: corev1.ResourceRequirements{Requests: c.Requests, Limits: c.Limits},
				StartupProbe: c.StartupProbe, ReadinessProbe: c.ReadinessProbe, LivenessProbe: c.LivenessProbe}
			if c.PreStopSleep != nil {
				is.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: *c.PreStopSleep}}}
			}
			named := func(s corev1.ContainerStatus) bool { return s.Name == c.Name }
			if i := slices.IndexFunc(pod.Status.ContainerStatuses, named); i >= 0 {
				is.Image = pod.Status.ContainerStatuses[i].Image
			}
			if slices.ContainsFunc(pod.Status.InitContainerStatuses, named) {
				is.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
				r.Pod.InitContainers = append(r.Pod.InitContainers, is)
			} else {
				r.Pod.Containers = append(r.Pod.Containers, is)
			}
		}
		r.Plant = Guess(r.Pod, m)
		r.assume(m)
	}
	if len(h.Phases) > 0 && h.Phases[0].Shape == record.ShapeObserved {
		r.Chain = nil // it is made of the CPU that the target used
		if r.observe(run); len(r.observed) == 0 {
			return nil, errors.New("the record is of less than a second")
		}
		r.demand()
	}
	return r, nil
}

// sample is one of a record, whose instant is known to the second; of its window the length is known exactly. In
// seconds and cores.
type sample struct{ least, most, window, cpu float64 }

// instants are when the samples of a pod were taken, which it sorts. Each is a window after the one before, if that is the
// one before it: such a row fits but one place within the seconds of all of them.
func instants(list []sample) (times []time.Duration) {
	slices.SortFunc(list, func(a, b sample) int { return cmp.Compare(a.least, b.least) })
	for len(times) < len(list) {
		row := list[len(times):]
		after, least, most := []float64{0}, row[0].least, row[0].most
		for i := 1; i < len(row) && math.Abs(row[i].least-row[i-1].least-row[i].window) < 1; i++ {
			at := after[i-1] + row[i].window
			from, to := max(least, row[i].least-at), min(most, row[i].most-at)
			if from > to {
				break
			}
			after, least, most = append(after, at), from, to
		}
		for _, at := range after {
			times = append(times, seconds((least+most)/2+at))
		}
	}
	return times
}

// synced are Run.Wait and Run.Served as they were when the load of a record began; nil if it does not
// show them.
func synced(run record.Run) (wait time.Duration, served *[2]time.Duration) {
	var synced, seen record.Instant
	for _, e := range run.Entries {
		switch {
		case e.Phase != nil:
			if synced > 0 {
				wait = max(0, e.At.Sub(synced)-afterSync)
			}
			if after := seen.Sub(synced); synced > 0 && seen > 0 {
				// They were there between the poll before and the one that saw them.
				served = &[2]time.Duration{after - seconds(run.Header().MetricsEvery), after}
			}
			return wait, served
		case e.Autoscaler != nil && len(e.Autoscaler.Status.CurrentMetrics) > 0:
			synced = e.At
		case e.PodMetrics != nil:
			seen = e.At
		}
	}
	return 0, nil
}

// polled are Run.Polled and Run.SignalsScraped as a record shows them. KEDA sets the replicas in a poll. What Prometheus is asked rises,
// under the load, with the scrape that is between the reading that sees it and the one before; where it scrapes the target's pods alone,
// each has a time of its own. nil is what the record does not show.
func (r *Run) polled(run record.Run) (polled, scraped *time.Duration) {
	var onset record.Instant
	began, replicas := false, int32(-1)
	values := map[string]float64{}
	for _, e := range run.Entries {
		switch {
		case e.Phase != nil && !began:
			onset, began = e.At, true
		case e.Target != nil:
			if began && polled == nil && replicas >= 0 && e.Target.Replicas != replicas && strings.HasPrefix(e.Target.Manager, "keda") {
				polled = new(within(e.At.Sub(onset), r.KEDA.Polling()))
			}
			replicas = e.Target.Replicas
		case e.Signal != nil && e.Signal.Value != nil && e.Signal.Polled() && (r.Front != nil || len(r.Outside) > 0) && r.scraped(e.Signal.Metric):
			value := e.Signal.Value.AsApproximateFloat64()
			if before, known := values[e.Signal.Metric]; began && scraped == nil && known && value > before {
				scraped = new(within(e.At.Sub(onset)-seconds(run.Header().MetricsEvery/2), r.Plant.Metrics.Scrapes()))
			}
			values[e.Signal.Metric] = value
		}
	}
	return polled, scraped
}

// scraped says whether a metric is what Prometheus answers at the instant.
func (r *Run) scraped(metric string) bool {
	for i, t := range r.KEDA.Triggers {
		if t.Type == "prometheus" && !t.UseCachedMetrics && metric == metricName(external(r.KEDA.MetricName(i))) {
			return true
		}
	}
	return false
}

// samples are Run.Samples and Run.Used as a record shows them, of pods in the order in which their metrics
// came.
func samples(run record.Run) (times [][]time.Duration, cpu [][]Used) {
	onset := slices.IndexFunc(run.Entries, func(e record.Entry) bool { return e.Phase != nil })
	if onset < 0 {
		return nil, nil
	}
	header, began := run.Header(), run.Entries[onset].At.Seconds()
	places := map[string]int{}
	var sampled [][]sample
	for _, e := range run.Entries {
		if e.PodMetrics == nil {
			continue
		}
		for _, s := range e.PodMetrics.Samples {
			i, seen := places[s.Pod]
			if !seen {
				i = len(sampled)
				places[s.Pod], sampled = i, append(sampled, nil)
			}
			if s.New {
				least := s.Timestamp.Sub(header.Started).Seconds()
				most := min(least+1, e.At.Seconds()-header.MetricsEvery) // the poll before has not seen it
				is := sample{least: min(least, most) - began, most: most - began, window: s.Window}
				for _, c := range s.Containers {
					is.cpu += c.CPU
				}
				sampled[i] = append(sampled[i], is)
			}
		}
	}
	for _, list := range sampled {
		at := instants(list)
		var used []Used
		for i, t := range at {
			used = append(used, Used{t, list[i].cpu})
		}
		times, cpu = append(times, at), append(cpu, used)
	}
	return times, cpu
}

// Like takes the plant of another run, and what that has not of the workload from this
// one's own.
func (r *Run) Like(p Plant) {
	if p.Workload.CPU != nil {
		r.AssumedModel, r.OfAll = "", true
	}
	if len(p.Pods.Start) > 0 && p.Workload.Pull == nil { // with pulls
		p.Workload.Pull = new(metav1.Duration)
	}
	fault := cmp.Or(p.Workload.Fault, r.Plant.Workload.Fault)
	p.Workload.Metrics = maps.Clone(p.Workload.Metrics)
	maps.DeleteFunc(p.Workload.Metrics, func(name string, _ model.Metric) bool { // those of others, which a fit takes for the target's
		_, own := r.Plant.Workload.Metrics[name]
		return !own && r.besides(name)
	})
	p.Workload = p.Workload.Over(r.Plant.Workload)
	p.Workload.Fault = fault
	r.Plant = p
	r.demand()
}

// assume says what of the workload is assumed, of which the scenario states a model.
func (r *Run) assume(stated model.Model) {
	if len(r.Pod.Containers) > 0 {
		c := r.Pod.Containers[0]
		r.AssumedModel = model.Assumed(&c, stated)
	}
}

// Modelled is the target's pod on the largest node.
func (r *Run) Modelled() model.Pod {
	most := 0.0
	for _, n := range r.Plant.Nodes {
		most = max(most, n.CPU)
	}
	return model.Pod{Model: &r.Plant.Workload, Spec: &r.Pod, Cores: most}
}
