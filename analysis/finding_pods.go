package analysis

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hpabench/hpabench/record"
	corev1 "k8s.io/api/core/v1"
	resourcehelpers "k8s.io/component-helpers/resource"
)

// spell is a stretch in which something was wrong with a pod.
type spell struct {
	kind     string
	what     string // the container or image; empty for the pod as a whole
	message  string
	from, to record.Instant
}

// chart is what the findings need of one pod's life.
type chart struct {
	pod       *pod
	last      record.Pod // before it was terminating
	spells    []spell
	restarts  map[string]int32                            // by container, at first sight
	crashed   map[string]*corev1.ContainerStateTerminated // by container, its first end after that
	wasReady  bool
	ended     record.Instant // terminating, gone or the end of the judged stretch
	unhealthy []at[record.Event]
}

// charts follows each pod through the record up to the end of the judged stretch.
func (d *diagnosis) charts() []*chart {
	byUID := map[string]*chart{}
	var list []*chart
	for _, p := range d.own {
		c := &chart{pod: p, restarts: map[string]int32{}, crashed: map[string]*corev1.ContainerStateTerminated{}, ended: d.end}
		for _, s := range []sight{p.terminating, p.gone} {
			if s.seen {
				c.ended = min(c.ended, s.t)
			}
		}
		byUID[p.uid] = c
		list = append(list, c)
	}
	seen := map[string]bool{}
	for _, e := range d.entries {
		p := entryOf[record.Pod](e)
		if p == nil || e.At > d.end {
			continue
		}
		c := byUID[p.UID]
		if p.Deleting != nil || p.Gone || c == nil {
			continue
		}
		c.show(d, e.At, *p, !seen[p.UID])
		seen[p.UID] = true
	}
	for _, c := range list {
		for i := range c.spells {
			if c.spells[i].to == 0 {
				c.spells[i].to = c.ended
			}
		}
		c.spells = slices.DeleteFunc(c.spells, func(s spell) bool { return s.to < d.start })
		for _, e := range d.ofPods[[2]string{"Unhealthy", c.pod.name}] {
			if e.t <= c.ended && e.t >= c.pod.shown.t-record.Instant(time.Hour) {
				c.unhealthy = append(c.unhealthy, e)
			}
		}
	}
	return list
}

func (c *chart) show(d *diagnosis, t record.Instant, p record.Pod, first bool) {
	c.last = p
	now := map[[2]string]spell{}
	is := func(kind, what, message string, since time.Time) {
		s := spell{kind: kind, what: what, message: message, from: t}
		if first && !since.IsZero() { // it began before it was seen
			s.from = min(t, d.instant(since))
		}
		now[[2]string{kind, what}] = s
	}
	ready := false
	for _, x := range p.Status.Conditions {
		switch {
		case x.Type == corev1.PodScheduled && x.Status == corev1.ConditionFalse && x.Reason == corev1.PodReasonUnschedulable:
			is(FoundUnschedulable, "", x.Message, x.LastTransitionTime.Time)
		case x.Type == corev1.PodReady:
			if ready = x.Status == corev1.ConditionTrue; !ready && c.wasReady {
				is(FoundNotReady, "", x.Message, x.LastTransitionTime.Time)
			}
		}
	}
	if !ready && !c.wasReady {
		is(FoundNotReady, "", "", p.Created.Time)
	}
	c.wasReady = c.wasReady || ready
	for _, s := range p.Status.InitContainerStatuses {
		if s.State.Running != nil && !s.Ready && (s.Started == nil || !*s.Started || len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil) {
			is(FoundInit, s.Name, "", s.State.Running.StartedAt.Time)
		}
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if _, known := c.restarts[s.Name]; !known {
			c.restarts[s.Name] = s.RestartCount
			if !c.pod.before {
				c.restarts[s.Name] = 0
			}
		}
		if ended := cmp.Or(s.State.Terminated, s.LastTerminationState.Terminated); c.crashed[s.Name] == nil && (s.State.Terminated != nil || s.RestartCount > c.restarts[s.Name]) {
			c.crashed[s.Name] = ended
		}
		if w := s.State.Waiting; w != nil {
			switch w.Reason {
			case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable":
				is(FoundImage, s.Image, w.Message, p.Created.Time)
			}
		}
	}
	for i := range c.spells {
		s := &c.spells[i]
		if s.to != 0 {
			continue
		}
		key := [2]string{s.kind, s.what}
		if still, ok := now[key]; ok {
			if still.message != "" {
				s.message = still.message
			}
			delete(now, key)
			continue
		}
		s.to = max(t, 1)
	}
	for _, s := range now {
		c.spells = append(c.spells, s)
	}
}

// postStart is the stretch in which a postStart hook held up a container of c: from
// the kubelet's Started event to the status that says that it runs, which comes
// only when the hook is over.
func (d *diagnosis) postStart(c *chart) (spell, bool) {
	i := slices.IndexFunc(c.last.Containers, func(r record.ContainerResources) bool { return r.PostStart != "" })
	if i < 0 || c.pod.beforeStates[&c.pod.started] {
		return spell{}, false
	}
	s := spell{kind: FoundPostStart, what: c.last.Containers[i].Name, to: c.ended}
	if c.pod.started.seen {
		s.to = min(s.to, c.pod.started.t)
	}
	d.eventsOfPod(c.pod.name, "Started", func(t record.Instant, _ record.Event) {
		if t <= s.to {
			s.from = t
		}
	})
	return s, s.from != 0 && s.to >= d.start
}

// readinessGatesNotReady is the reason of the condition Ready of a pod all of whose containers are
// ready: ReadinessGatesNotReady in pkg/kubelet/status/generate.go of Kubernetes.
const readinessGatesNotReady = "ReadinessGatesNotReady"

// pods finds what keeps pods from being ready.
func (d *diagnosis) pods() {
	for _, c := range d.charts() {
		explained := d.crashes(c)
		for _, s := range c.spells {
			explained = d.spell(c, s) || explained
		}
		if s, held := d.postStart(c); held {
			explained = d.spell(c, s) || explained
		}
		explained = d.probes(c, explained) || explained
		if explained || d.restarted(c) {
			continue
		}
		for _, s := range c.spells {
			if s.kind == FoundNotReady && s.to.Sub(s.from) > patience {
				f := Finding{Kind: FoundNotReady, Severity: Blocks, Object: "pod/" + c.pod.name, SinceSeconds: new(s.from.Seconds()), UntilSeconds: d.until(s.to),
					Cause:  "Its containers take long to start, or their readiness probe has not passed; until then the HPA leaves its CPU out.",
					Advice: fmt.Sprintf("Look at `kubectl describe pod %s%s`, and at its logs.", c.pod.name, d.namespace())}
				if delay := initialDelay(c.pod.now); 2*delay > s.to.Sub(s.from) {
					f.Cause = fmt.Sprintf("Its readiness probe begins %.0f s after its container has started (initialDelaySeconds); until then the HPA leaves its CPU out.", delay.Seconds())
					f.Advice = "Set initialDelaySeconds lower, or take a startup probe in its place, so that it is ready as soon as it answers."
				}
				why := cmp.Or(s.message, waiting(c.last))
				for _, x := range c.last.Status.Conditions {
					if x.Type == corev1.PodReady && x.Reason == readinessGatesNotReady {
						why = x.Message
						f.Cause = "All its containers are ready, and a readiness gate is not: whoever sets that condition, such as the controller of a load balancer, has not done so; until then the HPA leaves its CPU out."
						f.Advice = fmt.Sprintf("Look at the conditions in `kubectl describe pod %s%s`, and at the logs of the controller that sets them.", c.pod.name, d.namespace())
					}
				}
				f.Seen = fmt.Sprintf("It was not ready for %.0f s%s.", s.to.Sub(s.from).Seconds(), detail(why))
				d.add(f)
			}
		}
	}
}

// initialDelay is the longest of the readiness probes of p.
func initialDelay(p record.Pod) (longest time.Duration) {
	for _, c := range p.Containers {
		if c.ReadinessProbe != nil {
			longest = max(longest, time.Duration(c.ReadinessProbe.InitialDelaySeconds)*time.Second)
		}
	}
	return longest
}

// waiting says what the first container of p that waits is waiting for.
func waiting(p record.Pod) string {
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil && w.Reason != "" {
			return fmt.Sprintf("container %s waits: %s %s", c.Name, w.Reason, w.Message)
		}
	}
	return ""
}

func detail(message string) string {
	if message = strings.TrimRight(oneLine(message), ".: "); message == "" {
		return ""
	}
	return ": " + message
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// spell makes a finding of a stretch that has a cause of its own.
func (d *diagnosis) spell(c *chart, s spell) bool {
	lasted := s.to.Sub(s.from)
	f := Finding{Kind: s.kind, Severity: Blocks, Object: "pod/" + c.pod.name, SinceSeconds: new(s.from.Seconds()), UntilSeconds: d.until(s.to)}
	switch s.kind {
	case FoundUnschedulable:
		// A pod that goes makes room within its grace time, and nobody notices.
		if lasted < 10*time.Second && (!d.looksOnly() || s.to < d.end) {
			return false
		}
		f.Seen = fmt.Sprintf("The scheduler found no node for it for %.0f s%s. %s", lasted.Seconds(), detail(s.message), d.room(c.last))
		f.Cause = "The nodes have not as much left as it requests."
		f.Advice = "Lower its requests or the HPA's maximum, or add nodes; `kubectl describe nodes` shows what they have left."
		if strings.Contains(s.message, "taint") {
			f.Cause = "A taint keeps it off nodes that it would fit on: it does not tolerate it."
			f.Advice = "Take the taint off (`kubectl taint nodes NODE KEY-`), or give the pods a toleration."
		} else if strings.Contains(s.message, "affinity") || strings.Contains(s.message, "selector") {
			f.Cause = "Its node selector or affinity leaves it no node."
			f.Advice = "Compare `spec.nodeSelector` and `spec.affinity` with `kubectl get nodes --show-labels`."
		}
	case FoundImage:
		f.Seen = fmt.Sprintf("The node could not pull image %s%s.", s.what, detail(s.message))
		f.Cause = "The name or the tag does not exist, or the node cannot reach its registry or may not read it."
		f.Advice = fmt.Sprintf("Check the image's name and the pull secret; `kubectl describe pod %s%s` has the registry's answer.", c.pod.name, d.namespace())
	case FoundInit:
		if lasted <= patience {
			return false
		}
		f.Severity = Limits
		f.Seen = fmt.Sprintf("Init container %s ran for %.0f s.", s.what, lasted.Seconds())
		f.Cause = "The other containers start only after it, so that every new pod is later by as much."
		f.Advice = fmt.Sprintf("Do that work when the image is built, or while the server starts; `kubectl logs %s -c %s%s` shows what it does.", c.pod.name, s.what, d.namespace())
	case FoundPostStart:
		if lasted <= patience {
			return false
		}
		f.Severity = Limits
		f.Seen = fmt.Sprintf("Container %s was started, and its postStart hook held it up for %.0f s.", s.what, lasted.Seconds())
		f.Cause = "A container does not count as running before its postStart hook is through, and is not probed before that."
		f.Advice = "Move what the hook does into the server's start, behind a startup probe."
	default:
		return false
	}
	d.add(f)
	return true
}

// room compares what a pod requests with what the nodes had left.
func (d *diagnosis) room(p record.Pod) string {
	total := resourcehelpers.PodRequests(api(&p), resourcehelpers.PodResourcesOptions{})
	var wanted, nodes []string
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if q, ok := total[name]; ok {
			wanted = append(wanted, fmt.Sprintf("%s %s", name, q.String()))
		}
	}
	if len(wanted) == 0 {
		return ""
	}
	text := fmt.Sprintf("It requests %s", strings.Join(wanted, ", "))
	if d.cluster != nil {
		for _, n := range d.cluster.Nodes {
			if n.Free != nil && len(nodes) < 3 {
				cpu, memory := n.Free[corev1.ResourceCPU], n.Free[corev1.ResourceMemory]
				left := fmt.Sprintf("%s had cpu %s, memory %dMi left", n.Name, cpu.String(), memory.Value()>>20)
				if len(n.Taints) > 0 {
					left += " and " + record.Counted(len(n.Taints), "taint")
				}
				nodes = append(nodes, left)
			}
		}
	}
	if len(nodes) > 0 {
		text += "; when the run began " + strings.Join(nodes, "; ")
	}
	return text + "."
}

// crashes finds containers that ended and were started again.
func (d *diagnosis) crashes(c *chart) (found bool) {
	for _, s := range slices.Concat(c.last.Status.InitContainerStatuses, c.last.Status.ContainerStatuses) {
		again := s.RestartCount - c.restarts[s.Name]
		ended := s.State.Terminated
		if ended == nil {
			ended = s.LastTerminationState.Terminated
		}
		if again == 0 && d.looksOnly() && ended != nil && d.instant(ended.FinishedAt.Time) > -record.Instant(time.Hour) {
			again = s.RestartCount
		}
		waits := s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff"
		// A container of a pod that goes, or that is to run once, may end.
		if ended == nil || again <= 0 && !waits && (s.State.Terminated == nil || ended.ExitCode == 0) {
			continue
		}
		if d.livenessKilled(c, s.Name) {
			continue // that is a probe's finding
		}
		at := d.instant(cmp.Or(c.crashed[s.Name], ended).FinishedAt.Time)
		back := ""
		if waits {
			back = "; Kubernetes waits ever longer before it starts it again (CrashLoopBackOff)"
		}
		f := Finding{Kind: FoundCrash, Severity: Blocks, Object: "pod/" + c.pod.name, SinceSeconds: new(at.Seconds()),
			Seen:   fmt.Sprintf("Container %s ended with exit code %d (%s) and was restarted %s%s.", s.Name, ended.ExitCode, ended.Reason, record.Counted(again, "time"), back),
			Cause:  "Its process ends by itself or crashes; a pod is not ready while a container of it is down.",
			Advice: fmt.Sprintf("Read `kubectl logs %s -c %s%s --previous`.", c.pod.name, s.Name, d.namespace())}
		if ended.Reason == "OOMKilled" || ended.ExitCode == 137 && strings.Contains(ended.Message, "OOM") {
			limit := "its memory limit"
			for _, x := range c.last.Containers {
				if q, ok := x.Limits[corev1.ResourceMemory]; ok && x.Name == s.Name {
					limit += " of " + q.String()
				}
			}
			f.Kind = FoundOOM
			f.Seen = fmt.Sprintf("Container %s was killed for memory (OOMKilled) and was restarted %s%s.", s.Name, record.Counted(again, "time"), back)
			f.Cause = fmt.Sprintf("It used more than %s.", limit)
			f.Advice = "Raise the limit, or find what takes the memory: under load it may be the requests in flight."
		}
		f.Spells = [][2]float64{{at.Seconds(), at.Seconds()}}
		for _, s := range c.spells {
			if s.kind == FoundNotReady && s.to > at {
				f.Spells = append(f.Spells, [2]float64{s.from.Seconds(), s.to.Seconds()})
			}
		}
		d.add(f)
		found = true
	}
	return found
}

func (d *diagnosis) restarted(c *chart) bool {
	return slices.ContainsFunc(slices.Concat(c.last.Status.InitContainerStatuses, c.last.Status.ContainerStatuses), func(s corev1.ContainerStatus) bool {
		return s.RestartCount > c.restarts[s.Name] || s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff"
	})
}

var killedByProbe = regexp.MustCompile(`^Container (\S+) failed (liveness|startup) probe`)

func (d *diagnosis) livenessKilled(c *chart, container string) (killed bool) {
	d.eventsOfPod(c.pod.name, "Killing", func(_ record.Instant, e record.Event) {
		if m := killedByProbe.FindStringSubmatch(e.Message); m != nil && m[1] == container {
			killed = true
		}
	})
	return killed
}

// probes finds probes that failed when they should not: a pod that was ready and
// is not any more, that does not get ready for long, or that was killed for it.
// Failures while a pod starts are what probes are for, also when its start is late
// for a reason of its own.
func (d *diagnosis) probes(c *chart, explained bool) (found bool) {
	if len(c.unhealthy) == 0 {
		return false
	}
	// latest is what the latest event up to t says of a probe of the kinds; else what the latest one says.
	latest := func(t record.Instant, kinds ...string) (message string) {
		for _, e := range c.unhealthy {
			kind, _, _ := strings.Cut(strings.ToLower(e.v.Message), " ")
			if slices.Contains(kinds, kind) && (e.t <= t || message == "") {
				message = e.v.Message
			}
		}
		return message
	}
	add := func(seen, latest string, spells ...spell) {
		s := spell{from: spells[0].from, to: spells[len(spells)-1].to}
		f := Finding{Kind: FoundProbe, Severity: Blocks, Object: "pod/" + c.pod.name, SinceSeconds: new(s.from.Seconds()), UntilSeconds: d.until(s.to),
			Seen:   seen + detail(latest) + ".",
			Cause:  "The server does not answer the probe in time, which is what overload looks like too, or the probe asks for the wrong thing.",
			Advice: fmt.Sprintf("Look at `kubectl describe pod %s%s`; give the probe a longer `timeoutSeconds` or a higher `failureThreshold` if the server is only busy.", c.pod.name, d.namespace())}
		switch {
		case strings.Contains(latest, "statuscode:"):
			f.Cause = "The server answers the probe with an error: it says itself that it cannot serve, or the probe asks for a path that it does not have."
			f.Advice = fmt.Sprintf("Look at `kubectl logs %s%s`, and compare the probe's path and port with what the server has.", c.pod.name, d.namespace())
		case strings.Contains(latest, "connection refused"):
			f.Cause = "Nothing listens at the probe's port: the server has not started yet, has ended, or listens on another port."
			f.Advice = fmt.Sprintf("Look at `kubectl logs %s%s`, and compare the probe's port with the server's; a server that starts slowly needs a startup probe.", c.pod.name, d.namespace())
		}
		for _, s := range spells {
			f.Spells = append(f.Spells, [2]float64{s.from.Seconds(), s.to.Seconds()})
		}
		d.add(f)
		found = true
	}
	d.eventsOfPod(c.pod.name, "Killing", func(t record.Instant, e record.Event) {
		if m := killedByProbe.FindStringSubmatch(e.Message); m != nil && t >= d.start {
			killed := spell{from: t, to: t}
			for _, s := range c.spells { // it is down until the pod is ready again
				if s.kind == FoundNotReady && s.to > t && killed.to == t {
					killed.to = s.to
				}
			}
			add(fmt.Sprintf("Container %s was killed because its %s probe failed", m[1], m[2]), latest(t, m[2]), killed)
		}
	})
	var unready []spell
	for _, s := range c.spells {
		if s.kind != FoundNotReady || d.restarted(c) || found {
			continue
		}
		again := s.message != "" || s.from > c.pod.ready.t && c.pod.ready.seen
		near := slices.ContainsFunc(c.unhealthy, func(e at[record.Event]) bool {
			return e.t >= s.from.Add(-patience) && e.t <= s.to || s.from < 0 // the event of doctor's look may be old
		})
		if lasted := s.to.Sub(s.from); near && (again || lasted > patience && !explained) && lasted > time.Second {
			unready = append(unready, s)
		}
	}
	if n := len(unready); n > 0 {
		times, lasted := "", time.Duration(0)
		for _, s := range unready {
			lasted += s.to.Sub(s.from)
		}
		if n > 1 {
			times = fmt.Sprintf(", %d times,", n)
		}
		add(fmt.Sprintf("It was not ready%s for %.0f s, as its probe failed", times, lasted.Seconds()), latest(unready[n-1].to, "readiness", "startup"), unready...)
	}
	return found
}
