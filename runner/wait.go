package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/watch"
)

// A pod that the scheduler has no node for, or whose container ended, may still
// come up by itself: a node is added, a dependency starts. Only one that stays
// so for this long ends the run.
const hopelessAfter = 15 * time.Second

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
func awaitReady(ctx context.Context, w *watch.Watcher, name string, timeout time.Duration, progress func(string)) error {
	since := map[string]time.Time{} // when a trouble was first seen
	return await(ctx, w, timeout, progress, func() (bool, string, error) {
		target, found := w.Target()
		if !found {
			return false, "waiting for " + name, nil
		}
		ready := len(w.ReadyPods())
		if int32(ready) == target.Replicas && target.Status == target.Replicas {
			return true, "", nil
		}
		waiting := fmt.Sprintf("waiting for the pods of %s: %d of %d ready", name, ready, target.Replicas)
		for _, pod := range w.Pods() {
			trouble, patience := podTrouble(pod)
			if trouble == "" {
				continue
			}
			if since[trouble].IsZero() {
				since[trouble] = time.Now()
			}
			if time.Since(since[trouble]) >= patience {
				return false, "", fmt.Errorf("pod %s %s", pod.Name, trouble)
			}
			waiting += "; " + trouble
			break
		}
		if trouble := creationTrouble(w.Warnings(), name); trouble != "" && len(w.Pods()) == 0 {
			return false, "", fmt.Errorf("no pod of %s could be created: %s", name, trouble)
		}
		return false, waiting, nil
	})
}

// podTrouble says why a pod does not get ready, in words with a hint, and how
// long that may last before it is hopeless; empty when there is no reason to
// worry.
func podTrouble(pod *corev1.Pod) (string, time.Duration) {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return fmt.Sprintf("cannot be scheduled: %s (lower the requests, or add or free nodes)", c.Message), hopelessAfter
		}
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if waiting := s.State.Waiting; waiting != nil {
			switch waiting.Reason {
			case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull":
				// The second try comes some ten seconds after the first, and is the proof.
				patience := hopelessAfter
				if waiting.Reason != "ErrImagePull" {
					patience = 0
				}
				return fmt.Sprintf("cannot get image %s: %s (is the name right, and can the nodes reach its registry?)", s.Image, firstLine(waiting.Message)), patience
			case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
				return fmt.Sprintf("cannot start container %s: %s", s.Name, firstLine(waiting.Message)), hopelessAfter
			case "CrashLoopBackOff":
				ended := ""
				if t := s.LastTerminationState.Terminated; t != nil {
					ended = fmt.Sprintf(" with exit code %d (%s)", t.ExitCode, t.Reason)
				}
				return fmt.Sprintf("container %s ended %d times%s: see its logs with --keep and kubectl logs", s.Name, s.RestartCount, ended), 0
			}
		}
	}
	return "", 0
}

// creationTrouble returns the message of the newest warning that says that pods
// cannot even be created: a quota, an admission policy, a missing account.
func creationTrouble(events []record.Event, target string) string {
	for _, e := range slices.Backward(events) {
		if e.Reason == "FailedCreate" && strings.HasPrefix(e.Name, target) {
			return e.Message
		}
	}
	return ""
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// awaitMetric waits until the HPA has read a value of each of its metrics: before
// that it does nothing, and a latency measured from there would be the start-up
// of the metrics pipeline.
func awaitMetric(ctx context.Context, w *watch.Watcher, name string, timeout time.Duration, progress func(string)) error {
	return await(ctx, w, timeout, progress, func() (bool, string, error) {
		hpa := w.Autoscaler()
		if hpa == nil {
			return false, "waiting for HPA " + name, nil
		}
		if hasMetrics(hpa) {
			return true, "", nil
		}
		waiting := fmt.Sprintf("waiting for the first metric of HPA %s", name)
		for _, c := range hpa.Status.Conditions {
			if c.Type == autoscalingv2.ScalingActive && c.Status == corev1.ConditionFalse {
				waiting += ": " + c.Message
			}
		}
		return false, waiting, nil
	})
}

// hasMetrics says whether the HPA is active and shows a value of every metric.
func hasMetrics(hpa *autoscalingv2.HorizontalPodAutoscaler) bool {
	active := slices.ContainsFunc(hpa.Status.Conditions, func(c autoscalingv2.HorizontalPodAutoscalerCondition) bool {
		return c.Type == autoscalingv2.ScalingActive && c.Status == corev1.ConditionTrue
	})
	return active && len(hpa.Status.CurrentMetrics) >= len(hpa.Spec.Metrics) &&
		!slices.ContainsFunc(hpa.Status.CurrentMetrics, func(m autoscalingv2.MetricStatus) bool { return m.Type == "" })
}
