package analysis

import (
	"fmt"
	"strings"

	"github.com/hpabench/hpabench/record"
)

// Shares beyond which the load was not as planned, see PhaseLoad.Doubt.
const (
	UnsentShare = 0.001
	LateShare   = 0.01
)

// warnings says what casts doubt on r, and what to do about it.
func (o *observed) warnings(r *Result) []string {
	var list []string
	warn := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	switch {
	case r.Truncated:
		warn("The record has no end: the run was killed or still goes on. The figures hold up to %.1f s; what came after is not in them.", r.EndSeconds)
	case r.Outcome == record.Interrupted:
		warn("The run was interrupted; the figures hold up to %.1f s. Run it again for those that are missing.", r.EndSeconds)
	case r.Outcome == record.Failed:
		warn("The run failed: %s. The figures hold up to %.1f s.", r.Error, r.EndSeconds)
	}
	if spoiled := r.Spoiled(); spoiled != nil && r.Outcome != record.Failed {
		warn("Somebody changed what was measured, which spoils it from %.1f s on: see finding %s of %s. The expectations were not judged.", since(spoiled[0]), spoiled[0].Kind, spoiled[0].Object)
	}
	if len(r.Left) > 0 && (o.finish == nil || !o.finish.Kept) {
		warn("The run left %s behind. `hpabench clean` removes what runs left.", strings.Join(r.Left, ", "))
	}
	if len(o.spans) == 0 {
		warn("No load phase began, so there is nothing to measure.")
	}
	for _, p := range r.Load.Phases {
		if p.Doubt != "" {
			warn("The load of phase %s was not as planned: %s, because the load generator could not keep up, or a worker of it ended. Its figures and those of the scaling that it brought about are doubtful. Plan a lower rate, run hpabench where there is more CPU to spare, or send from the cluster with via: job.", p.Name, p.Doubt)
		}
	}
	for _, w := range r.Load.Workers {
		if w.Doubt != "" {
			warn("Worker %d of %d fell behind or ended: %s.", w.Worker, len(r.Load.Workers), w.Doubt)
		}
	}
	if l := r.Load.Total; l.SlowConnects > 0 {
		slow := record.Counted(l.SlowConnects, "connection") + " took 0.9 s or longer to open"
		if s := r.Subject; s != nil && (s.Way == "portForward" || s.Way == "apiProxy") {
			warn("%s through the API server (via: %s): it or a kubelet was busy, and the time that workers and requests waited is not the workload's. Let a connection serve several requests (keepAlive), lower the rate, or send from the cluster with via: job.", slow, s.Way)
		} else {
			warn("%s: most often a first packet is lost, which TCP sends again after a second, where ports or connection tracking on the way run short or a pod does not take connections in time. The time that workers and requests waited may not be the workload's. Let a connection serve several requests (keepAlive), lower the rate, or use via: portForward.", slow)
		}
	}
	for _, t := range r.Transitions {
		list = append(list, o.doubts(t)...)
	}
	return list
}

// doubts are the warnings of one transition.
func (o *observed) doubts(t Transition) []string {
	var list []string
	name := fmt.Sprintf("scale-%s to phase %s", t.Direction, t.ToPhase)
	for _, g := range o.gaps {
		if source := sourceOf(g); source == "events" || source == "replicasets" || source == "services" || g.To.Sub(g.From) <= WatchDelay {
			continue
		}
		if g.From.Seconds() < t.EndSeconds && g.To.Seconds() > t.OnsetSeconds {
			remedy := "run again for better ones"
			if notAllowed(g.Cause) {
				remedy = "`hpabench rbac` prints the rights that it takes"
			}
			list = append(list, fmt.Sprintf("%s could not be watched from %.1f to %.1f s, during the %s (%s). Figures that fall into it are less precise or missing; %s.",
				g.Source, g.From.Seconds(), g.To.Seconds(), name, g.Cause, remedy))
		}
	}
	return list
}
