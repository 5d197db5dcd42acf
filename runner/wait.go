package runner

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/utils/ptr"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/watch"
)

// A pod that the scheduler has no node for, or whose container ended, may still
// come up by itself: a node is added, a dependency starts. Only one that stays
// so for this long ends the run.
const (
	hopelessAfter    = 15 * time.Second
	hopelessRestarts = 3
)

// await waits until done returns true, looking again at every change that the
// watcher saw. Done also returns what is being waited for, in words, and an
// error when waiting longer is in vain.
func await(ctx context.Context, w *watch.Watcher, timeout time.Duration, progress func(string), done func() (bool, string, error)) error {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := ""
	for {
		changed := w.Changed()
		ok, waiting, err := done()
		if ok || err != nil {
			return err
		}
		if waiting != said {
			said = waiting
			progress(waiting)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return fmt.Errorf("after %s still %s", timeout, waiting)
		case <-changed:
		case <-tick.C: // for what changes with time alone
		}
	}
}

// awaitReady waits until as many pods are ready as the target's scale says.
func (r *Runner) awaitReady(ctx context.Context, w *watch.Watcher) error {
	kind, name := r.pre.gvk.Kind, r.pre.name
	since := map[string]time.Time{} // when each trouble that lasts was first seen
	return await(ctx, w, r.options.Timeout, r.say, func() (bool, string, error) {
		target, found := w.Target()
		if !found {
			return false, fmt.Sprintf("waiting for %s %s", kind, name), nil
		}
		others := map[string]bool{}
		for _, pod := range w.Others() {
			others[pod.Name] = true
		}
		ready := 0
		for _, pod := range w.ReadyPods() {
			if !others[pod] {
				ready++
			}
		}
		if int32(ready) == target.Replicas && target.Status == target.Replicas {
			return true, "", nil
		}
		waiting := fmt.Sprintf("waiting for the pods of %s %s: %d of %d ready", kind, name, ready, target.Replicas)
		if len(others) > 0 {
			waiting += fmt.Sprintf(", beside %s of others that its selector selects too: %s", record.Counted(len(others), "pod"), some(slices.Sorted(maps.Keys(others))))
		}
		troubles := creationTrouble(w.Warnings(), name, int32(len(w.Pods())-len(others)) < target.Replicas)
		for _, pod := range w.Pods() {
			if t := podTrouble(pod); t.text != "" && !others[pod.Name] {
				troubles = append(troubles, t)
			}
		}
		lasting := map[string]time.Time{}
		for _, t := range troubles {
			first, known := since[t.about]
			if !known {
				first = time.Now()
			}
			lasting[t.about] = first
			if time.Since(first) >= t.patience && !r.nodesAreComing(ctx, t.pod) {
				return false, "", fmt.Errorf("waiting for the pods of %s %s: %s", kind, name, t.text)
			}
		}
		since = lasting
		if len(troubles) > 0 {
			waiting += "; " + troubles[0].text
		}
		return false, waiting, nil
	})
}

// nodesAreComing says whether a node autoscaler has said of a pod that cannot be
// scheduled that it makes room: then it is worth all of the time-out.
func (r *Runner) nodesAreComing(ctx context.Context, unschedulable string) bool {
	if unschedulable == "" {
		return false
	}
	events, err := r.pre.Kube.CoreV1().Events(r.pre.namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("involvedObject.name", unschedulable).String()})
	return err == nil && slices.ContainsFunc(events.Items, func(e corev1.Event) bool {
		return e.Reason == "TriggeredScaleUp" || e.Reason == "Nominated" // cluster-autoscaler, Karpenter
	})
}

// trouble is a reason why pods do not get ready, in words with a hint, and how
// long it may last before it is hopeless.
type trouble struct {
	about    string // what stays the same while the text changes
	text     string
	patience time.Duration
	pod      string // that could not be scheduled
}

// podTrouble says why a pod does not get ready; the zero value stands for no
// reason to worry.
func podTrouble(pod *corev1.Pod) trouble {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			hint := "lower the requests, or add or free nodes"
			if strings.Contains(strings.ToLower(c.Message), "persistentvolume") {
				hint = "kubectl describe pvc says why it has no volume: does its StorageClass exist, and does its provisioner run?"
			}
			return trouble{"scheduling", fmt.Sprintf("a pod cannot be scheduled: %s (%s)", c.Message, hint), hopelessAfter, pod.Name}
		}
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		waiting := s.State.Waiting
		if waiting == nil {
			continue
		}
		switch waiting.Reason {
		case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull":
			return trouble{about: "image " + s.Image, patience: hopelessAfter,
				text: fmt.Sprintf("a node cannot get image %s (is the name right, and can the nodes reach its registry?): %s", s.Image, firstLine(waiting.Message))}
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			return trouble{about: "container " + s.Name, text: fmt.Sprintf("container %s cannot start: %s", s.Name, firstLine(waiting.Message)), patience: hopelessAfter}
		case "CrashLoopBackOff":
			// What another pod has to be up for may succeed at the second try.
			if s.RestartCount < hopelessRestarts {
				return trouble{}
			}
			ended := ""
			if t := s.LastTerminationState.Terminated; t != nil {
				ended = fmt.Sprintf(" with exit code %d (%s)", t.ExitCode, t.Reason)
			}
			return trouble{about: "crash", text: fmt.Sprintf("container %s of pod %s ended %s%s (run with --keep and see its kubectl logs)", s.Name, pod.Name, record.Counted(s.RestartCount, "time"), ended)}
		}
	}
	return trouble{}
}

// creationTrouble gives the newest warning that pods cannot even be created, if
// some are missing: a quota, an admission policy.
func creationTrouble(events []record.Event, target string, missing bool) []trouble {
	for _, e := range slices.Backward(events) {
		if missing && e.Reason == "FailedCreate" && strings.HasPrefix(e.Name, target) {
			return []trouble{{about: "creation", text: "pods cannot be created: " + e.Message, patience: hopelessAfter}}
		}
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// lateSignal is how long an HPA that could act by its other metrics is given for one that an adapter serves: rates are over a
// minute or two. It is half of Options.Timeout at most.
const lateSignal = 2 * time.Minute

// firstResource is how long metrics-server and the HPA may take, at their default periods, to the first metric of a pod that is
// ready: the kubelet looks at a new container after 15 s at most, metrics-server scrapes it twice, 15 s apart, the HPA looks each 15 s;
// and half of that again on a machine that is busy.
const firstResource = 90 * time.Second

// patience is how long the HPA is given for its first metric: the pods may be asked to be ready sooner than metrics of resources
// can be there.
func patience(metrics []autoscalingv2.MetricSpec, timeout time.Duration) time.Duration {
	if slices.ContainsFunc(metrics, func(m autoscalingv2.MetricSpec) bool { name, _ := record.ResourceOf(m); return name != "" }) {
		return max(timeout, firstResource)
	}
	return timeout
}

const signalHint = "look at what the adapter (KEDA, prometheus-adapter) asks its source for, and whether the selector of the metric matches"

// awaitMetric waits until the HPA has read a value of each of its metrics: before
// that it does nothing, and a latency measured from there would be the start-up
// of the metrics pipeline. Without one that an adapter serves it goes on in the end, as the HPA does, and notes that.
func (r *Runner) awaitMetric(ctx context.Context, w *watch.Watcher, rec *record.Recorder) error {
	name, hint := r.pre.autoscaler, ""
	var refused time.Time // since when KEDA does not take the ScaledObject
	var partly time.Time  // since when the HPA has all but metrics of adapters
	timeout := r.options.Timeout
	if hpa := w.Autoscaler(); hpa != nil {
		timeout = patience(hpa.Spec.Metrics, timeout)
	}
	err := await(ctx, w, timeout, r.say, func() (bool, string, error) {
		hpa := w.Autoscaler()
		hint = ""
		if r.pre.scaled != "" {
			target, there := w.Target()
			failed, values := w.SignalErrors()
			done, note, err := kedaReady(w.ScaledObject(), hpa, w.Warnings(), failed, values, r.pre.namespace, there && target.Replicas == 0, &refused)
			if note != "" {
				r.say("note: " + note)
				rec.Add(record.Entry{Note: &record.Note{Text: note}})
			}
			if done || err != nil {
				return done, "", err
			}
		}
		if hpa == nil {
			return false, "waiting for HPA " + name, nil
		}
		read, why := record.MetricsRead(hpa.Spec.Metrics, hpa.Status)
		if why != "" {
			why = ": " + why
		}
		lacking, others := lackingSignals(hpa)
		if lacking != nil {
			hint = " (" + signalHint + ")"
		}
		switch {
		case read || lacking == nil || !others:
			partly = time.Time{}
		case partly.IsZero():
			partly = time.Now()
		case time.Since(partly) > min(lateSignal, r.options.Timeout/2):
			note := fmt.Sprintf("HPA %s has no value of %s%s. The run goes on without: the HPA adds replicas by its other metrics, and takes none away.", name, strings.Join(lacking, ", "), strings.TrimSuffix(why, "."))
			r.say("note: " + note)
			rec.Add(record.Entry{Note: &record.Note{Text: note}})
			return true, "", nil
		}
		return read, fmt.Sprintf("waiting for the first metric of HPA %s%s", name, why), nil
	})
	if err != nil && hint != "" && ctx.Err() == nil {
		err = fmt.Errorf("%w%s", err, hint)
	}
	return err
}

// lackingSignals are the metrics of adapters that the status of an HPA has no value of, and whether it can act by the others: it
// has values of all of them, and of at least one.
func lackingSignals(hpa *autoscalingv2.HorizontalPodAutoscaler) (names []string, others bool) {
	others = !slices.ContainsFunc(hpa.Status.Conditions, func(c autoscalingv2.HorizontalPodAutoscalerCondition) bool {
		return c.Type == autoscalingv2.AbleToScale && c.Status == corev1.ConditionFalse
	})
	for i, m := range hpa.Spec.Metrics {
		is := i < len(hpa.Status.CurrentMetrics) && hpa.Status.CurrentMetrics[i].Type != ""
		switch name, _ := record.MetricTarget(m); {
		case is:
		case record.CustomMetric(m) != "":
			names = append(names, "metric "+name)
		default:
			others = false
		}
	}
	return names, others && len(names) < len(hpa.Spec.Metrics)
}

// triggerPatience is how long the triggers of a ScaledObject may fail at the start: a source may have to be scraped twice before
// it has what a trigger asks for.
const triggerPatience = time.Minute

// kedaReady says whether KEDA has the target at no replicas on purpose, where its HPA does nothing. Without the right to watch
// the ScaledObject, which is nil then, the HPA's condition tells that. The error is what KEDA says of a ScaledObject that it
// has refused, or whose triggers have failed, for some time; warnings are the events of that, and failed what the adapter
// answers in place of values: in the first seconds the conditions go to and fro. Where other triggers have values, by which KEDA
// would bring the target from zero, a note says that in place of an error.
func kedaReady(is *record.ScaledObject, hpa *autoscalingv2.HorizontalPodAutoscaler, warnings []record.Event, failed []string, values int, namespace string, zero bool, refused *time.Time) (done bool, note string, err error) {
	if is == nil {
		return zero && hpa != nil && slices.ContainsFunc(hpa.Status.Conditions, func(c autoscalingv2.HorizontalPodAutoscalerCondition) bool { return c.Reason == "ScalingDisabled" }), "", nil
	}
	if is.Stopped() {
		return false, "", fmt.Errorf("ScaledObject %s is paused by its annotation %s, and KEDA has no HPA for it: take the annotation out", is.Name, is.Paused)
	}
	ready, failing, patience := is.Condition("Ready"), zero && failed != nil && values == 0, triggerPatience
	unready := ready != nil && ready.Status == metav1.ConditionFalse
	switch {
	case unready && ready.Reason != "TriggerError":
		failing, patience = false, hopelessAfter
	case unready && !zero && hpa != nil: // one of several triggers fails, and the HPA acts by the others
		_, acts := lackingSignals(hpa)
		unready = !acts
	}
	switch {
	case !unready && !failing:
		*refused = time.Time{}
	case refused.IsZero():
		*refused = time.Now()
	case time.Since(*refused) > patience:
		says := "its triggers fail"
		if unready {
			says = ready.Reason + ": " + ready.Message
		}
		i := slices.IndexFunc(warnings, func(e record.Event) bool { return e.Kind == "ScaledObject" && e.Reason == "KEDAScalerFailed" })
		if i >= 0 && patience == triggerPatience {
			says += ": " + warnings[i].Message
		} else if failing {
			says += ": " + failed[0]
		}
		if zero && values > 0 && is.Least() == 0 && patience == triggerPatience {
			return true, fmt.Sprintf("ScaledObject %s: %s. The run goes on: KEDA brings the target from zero by its other triggers.", is.Name, strings.TrimSuffix(says, ".")), nil
		}
		return false, "", fmt.Errorf("KEDA cannot work with ScaledObject %s: %s (kubectl describe scaledobject %s -n %s tells more)", is.Name, says, is.Name, namespace)
	}
	active := is.Condition("Active") // Unknown until its triggers have been asked for the first time, when Ready is True already
	asked := active == nil || active.Status != metav1.ConditionUnknown
	return zero && is.Least() == 0 && hpa != nil && ready != nil && ready.Status == metav1.ConditionTrue && asked && !failing, "", nil
}

// awaitEntrance waits until the Service that takes the load has a pod that is ready, where those are not the target's.
func (r *Runner) awaitEntrance(ctx context.Context, w *watch.Watcher, service *corev1.Service) error {
	if service == nil || slices.Contains(w.Services(), service.Name) || !r.pre.file.HasLoad() {
		return nil
	}
	return await(ctx, w, r.options.Timeout, r.say, func() (bool, string, error) {
		list, err := timed(ctx, func(ctx context.Context) (*discoveryv1.EndpointSliceList, error) {
			return r.pre.Kube.DiscoveryV1().EndpointSlices(r.pre.namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
		})
		ready := err == nil && slices.ContainsFunc(list.Items, func(s discoveryv1.EndpointSlice) bool {
			return slices.ContainsFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool { return ptr.Deref(e.Conditions.Ready, true) })
		})
		return ready, fmt.Sprintf("waiting for a pod behind Service %s, which takes the load", service.Name), nil
	})
}
