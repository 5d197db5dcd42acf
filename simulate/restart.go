package simulate

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/model"
)

// A container ends when its model crashes, when it uses more memory than its limit and when
// its liveness probe fails under load. The kubelet starts it again, with its back-off.

// whileRuns calls do when d has passed, unless p's container has ended by then.
func (w *world) whileRuns(p *pod, d time.Duration, do func()) {
	attempt := p.restarts
	w.after(d, func() {
		if p.runs && p.restarts == attempt {
			do()
		}
	})
}

// checkMemory kills a container that uses more memory than its limit.
func (w *world) checkMemory(p *pod) {
	if w.memoryLimit > 0 && p.runs && w.memory(p) > w.memoryLimit {
		w.ends(p, "OOMKilled", 137, 0)
	}
}

// unhealthy ends a container whose liveness probe has failed, as the deletion of its pod would.
func (w *world) unhealthy(p *pod) {
	w.tellEvent("Pod", p.name, corev1.EventTypeNormal, "Killing", fmt.Sprintf("Container %s failed liveness probe, will be restarted", w.modelled.First().Name))
	serves := w.modelled.ServesOn()
	w.whileRuns(p, serves, func() {
		if p.deleted {
			return
		}
		drain := time.Duration(0) // of what it has, while nobody else is let in
		if *w.Plant.Workload.Graceful && p.highest > 0 {
			drain = min(seconds(p.backlog/p.highest), w.modelled.Grace()-serves)
		}
		w.ends(p, "Completed", 0, drain)
	})
}

// ends is the end of a container whose pod stays: what it has is cut off, unless it is told to
// end, and takes a while to. The kubelet sees it when it looks at all containers next, and
// starts it again.
func (w *world) ends(p *pod, reason string, code int32, drain time.Duration) {
	p.ended = corev1.ContainerStateTerminated{
		Reason: reason, ExitCode: code,
		StartedAt: metav1.NewTime(w.began.Add(p.startedAt).Truncate(time.Second)), FinishedAt: w.wall(),
	}
	w.traffic.disconnect(p)
	w.stop(p, code == 0 && *w.Plant.Workload.Graceful)
	p.cpu, p.recent, p.watched = 0, nil, [2]bool{}
	wait := p.backOff.Next(w.now + drain)
	seen := time.Duration(p.random.Int64N(int64(model.Relist)))
	w.after(drain+seen, func() {
		if p.deleted {
			return
		}
		p.waits = wait > 0
		p.started = false
		w.unready(p)
		if p.waits {
			w.tellEvent("Pod", p.name, corev1.EventTypeWarning, "BackOff", fmt.Sprintf("Back-off restarting failed container %s in pod %s", w.modelled.First().Name, p.name))
		}
		w.after(model.Restart(wait, seen, p.random)-seen, func() {
			p.restarts++
			w.start(p)
		})
	})
}
