package nodes

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"
)

// state is what a node holds of a pod, apart from its spec.
type state struct {
	seen           time.Time // when the node first saw the pod
	hostIP         string
	ip             string // empty until the pod has its network
	sandbox        bool   // the network stands
	init, main     []*container
	terminal       bool   // nothing runs any more and nothing will
	reason, notice string // why the node gave the pod up, DeadlineExceeded say
}

func newState(pod *corev1.Pod, hostIP string, now time.Time) *state {
	s := &state{seen: now, hostIP: hostIP}
	for i := range pod.Spec.InitContainers {
		s.init = append(s.init, &container{spec: &pod.Spec.InitContainers[i], init: true})
	}
	for i := range pod.Spec.Containers {
		s.main = append(s.main, &container{spec: &pod.Spec.Containers[i]})
	}
	return s
}

func (s *state) all() []*container { return append(slices.Clone(s.init), s.main...) }

func (s *state) container(name string) *container {
	for _, c := range s.all() {
		if c.spec.Name == name {
			return c
		}
	}
	return nil
}

// container is one of a pod's containers, through all its restarts.
type container struct {
	spec     *corev1.Container
	init     bool
	now      *attempt                      // the one that runs or ran last; nil: none yet
	last     *attempt                      // the one before
	waiting  *corev1.ContainerStateWaiting // why the next one has not started
	restarts int32
}

func (c *container) sidecar() bool { return c.init && podutil.IsRestartableInitContainer(c.spec) }

func (c *container) running() bool { return c.now != nil && c.now.end == nil }

// started says that the startup probe has succeeded, if there is one.
func (c *container) started() bool {
	return c.running() && (c.spec.StartupProbe == nil || c.init && !c.sidecar() || c.now.results[startup] == success)
}

func (c *container) ready() bool {
	if c.init && !c.sidecar() {
		return c.now != nil && c.now.end != nil && c.now.end.ExitCode == 0
	}
	return c.started() && (c.spec.ReadinessProbe == nil || c.now.results[readiness] == success)
}

// restartable says that a container that has ended is to be started again.
func (c *container) restartable(pod *corev1.Pod) bool {
	return c.sidecar() || podutil.ContainerShouldRestart(*c.spec, pod.Spec, c.now.end.ExitCode)
}

// attempt is one start of a container.
type attempt struct {
	id, imageID string
	start       time.Time
	end         *corev1.ContainerStateTerminated
	results     [3]result // of the probes, by kind
	process     process
	logs        *logs
	usage       sampler
	fault       time.Duration // how long the readiness probe fails, by the model
	resources   corev1.ResourceRequirements
}

// toStart gives the containers to start now, in order, and whether the pod has
// come to its end: nothing of it runs that would have to, and nothing will. It
// follows computePodActions of the kubelet.
func (s *state) toStart(pod *corev1.Pod) (start []*container, finished bool) {
	initialized := slices.ContainsFunc(s.main, func(c *container) bool { return c.now != nil })
	for _, c := range s.init {
		switch {
		case c.sidecar():
			if !c.running() {
				start = append(start, c)
			}
			if !initialized && !c.started() {
				return start, false
			}
		case initialized:
		case c.now == nil:
			return append(start, c), false
		case c.running():
			return start, false
		case c.now.end.ExitCode != 0:
			if !c.restartable(pod) {
				return nil, true
			}
			return append(start, c), false
		}
	}
	running := false
	var mains []*container
	for _, c := range s.main {
		switch {
		case c.running():
			running = true
		case c.now == nil || c.restartable(pod):
			mains = append(mains, c)
		}
	}
	if !running && len(mains) == 0 {
		return nil, true
	}
	return append(start, mains...), false
}

// podStatus is the status that a kubelet reports of a pod, from its spec, what
// the API has of its status, what was last reported and what runs of it. See
// generateAPIPodStatus in pkg/kubelet/kubelet_pods.go of Kubernetes 1.37.
func podStatus(pod *corev1.Pod, old *corev1.PodStatus, s *state, now time.Time) corev1.PodStatus {
	r := corev1.PodStatus{
		ObservedGeneration: pod.Generation,
		QOSClass:           pod.Status.QOSClass, // the API server sets it on creation
		StartTime:          &metav1.Time{Time: s.seen.Truncate(time.Second)},
		HostIP:             s.hostIP, HostIPs: []corev1.HostIP{{IP: s.hostIP}},
	}
	if s.ip != "" {
		r.PodIP, r.PodIPs = s.ip, []corev1.PodIP{{IP: s.ip}}
	}
	r.InitContainerStatuses = containerStatuses(pod, s, s.init)
	r.ContainerStatuses = containerStatuses(pod, s, s.main)
	r.Phase = phase(pod, s, &r)
	if finished := r.Phase == corev1.PodSucceeded || r.Phase == corev1.PodFailed; finished && !s.terminal {
		r.Phase = old.Phase // a phase is the last one only when nothing runs any more
	} else if s.terminal && (!finished || s.reason != "") {
		r.Phase = corev1.PodFailed
	}
	if s.terminal {
		r.Reason, r.Message = s.reason, s.notice
	}

	for _, c := range pod.Status.Conditions {
		if !ours(c.Type) {
			r.Conditions = append(r.Conditions, c)
		}
	}
	sandbox := corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue}
	if !s.sandbox {
		sandbox.Status, sandbox.Reason, sandbox.Message = corev1.ConditionFalse, "PodSandboxNotReady", "no pod sandbox exists"
		if s.terminal {
			sandbox.Message = "pod sandbox is not ready"
		}
	}
	containersReady := s.containersReady(r.Phase)
	for _, c := range []corev1.PodCondition{
		sandbox,
		s.initialized(&r),
		s.podReady(pod, containersReady, r.Conditions),
		containersReady,
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
	} {
		c.ObservedGeneration = pod.Generation
		c.LastTransitionTime = metav1.Time{Time: now.Truncate(time.Second)}
		if _, was := podutil.GetPodCondition(old, c.Type); was != nil && was.Status == c.Status {
			c.LastTransitionTime = was.LastTransitionTime
		}
		r.Conditions = append(r.Conditions, c)
	}
	return r
}

// ours says that it is the kubelet that owns a condition.
func ours(t corev1.PodConditionType) bool {
	switch t {
	case corev1.PodScheduled, corev1.PodReady, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReadyToStartContainers:
		return true
	}
	return false
}

func containerStatuses(pod *corev1.Pod, s *state, of []*container) []corev1.ContainerStatus {
	var r []corev1.ContainerStatus
	for _, c := range of {
		cs := corev1.ContainerStatus{Name: c.spec.Name, Image: c.spec.Image, RestartCount: c.restarts, Ready: c.ready()}
		started := c.started()
		cs.Started = &started
		for _, m := range c.spec.VolumeMounts {
			v := corev1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
			if m.ReadOnly {
				v.RecursiveReadOnly = new(corev1.RecursiveReadOnlyDisabled)
			}
			cs.VolumeMounts = append(cs.VolumeMounts, v)
		}
		waiting := &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
		if len(pod.Spec.InitContainers) > 0 {
			waiting.Reason = "PodInitializing"
		}
		switch a := c.now; {
		case a == nil && s.terminal && (c.init || allCompleted(s.init)):
			if !c.init {
				cs.State.Terminated = &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "ContainerStatusUnknown",
					Message: "The container could not be located when the pod was terminated"}
			} else {
				cs.State.Waiting = waiting
			}
		case a == nil:
			cs.State.Waiting = waiting
		default:
			cs.ContainerID, cs.ImageID = a.id, a.imageID
			cs.AllocatedResources, cs.Resources = a.resources.Requests, a.resources.DeepCopy()
			if cs.State.Terminated = a.end; a.end == nil {
				cs.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.Time{Time: a.start.Truncate(time.Second)}}
			}
			if c.last != nil {
				cs.LastTerminationState.Terminated = c.last.end
			}
		}
		if c.waiting != nil && !c.running() && pod.DeletionTimestamp == nil && !s.terminal {
			if cs.State.Terminated != nil {
				cs.LastTerminationState = cs.State
			}
			cs.State = corev1.ContainerState{Waiting: c.waiting}
		}
		r = append(r, cs)
	}
	slices.SortFunc(r, func(a, b corev1.ContainerStatus) int {
		if len(of) > 0 && of[0].init {
			return 0 // in the order of the spec
		}
		return strings.Compare(a.Name, b.Name)
	})
	return r
}

func allCompleted(init []*container) bool {
	return !slices.ContainsFunc(init, func(c *container) bool { return !c.sidecar() && !c.ready() })
}

// phase is getPhase of the kubelet.
func phase(pod *corev1.Pod, s *state, r *corev1.PodStatus) corev1.PodPhase {
	var pendingInit, pendingSidecars, running, waiting, stopped, restarting, succeeded int
	ended := func(cs *corev1.ContainerStatus) *corev1.ContainerStateTerminated {
		if cs.State.Terminated != nil || cs.State.Running != nil {
			return cs.State.Terminated
		}
		return cs.LastTerminationState.Terminated
	}
	for i, c := range s.init {
		cs := &r.InitContainerStatuses[i]
		end := ended(cs)
		switch {
		case c.sidecar() && cs.State.Running != nil:
			running++
			if !c.started() {
				pendingSidecars++
			}
		case c.sidecar() && end == nil:
			pendingSidecars++
			waiting++
		case c.sidecar():
		case end == nil:
			pendingInit++
		case end.ExitCode != 0:
			if !podutil.ContainerShouldRestart(*c.spec, pod.Spec, end.ExitCode) {
				return corev1.PodFailed
			}
		}
	}
	initialized := false
	for _, c := range s.main {
		initialized = initialized || c.now != nil
		i := slices.IndexFunc(r.ContainerStatuses, func(cs corev1.ContainerStatus) bool { return cs.Name == c.spec.Name })
		cs := &r.ContainerStatuses[i]
		end := ended(cs)
		switch {
		case cs.State.Running != nil:
			running++
		case end == nil:
			waiting++
		default:
			stopped++
			if podutil.ContainerShouldRestart(*c.spec, pod.Spec, end.ExitCode) {
				restarting++
			}
			if cs.State.Terminated != nil && end.ExitCode == 0 {
				succeeded++
			}
		}
	}
	switch {
	case pendingInit > 0, pendingSidecars > 0 && !initialized, waiting > 0:
		return corev1.PodPending
	case running > 0:
		return corev1.PodRunning
	case stopped == 0:
		return corev1.PodPending
	case restarting > 0 && !s.terminal:
		return corev1.PodRunning
	case stopped == succeeded:
		return corev1.PodSucceeded
	}
	return corev1.PodFailed
}

// containersReady is GenerateContainersReadyCondition of the kubelet.
func (s *state) containersReady(phase corev1.PodPhase) corev1.PodCondition {
	r := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionFalse}
	var unready []string
	for _, c := range s.all() {
		if (!c.init || c.sidecar()) && !c.ready() {
			unready = append(unready, c.spec.Name)
		}
	}
	switch {
	case phase == corev1.PodSucceeded:
		r.Reason = "PodCompleted"
	case phase == corev1.PodFailed:
		r.Reason = "PodFailed"
	case len(unready) > 0:
		r.Reason, r.Message = "ContainersNotReady", fmt.Sprintf("containers with unready status: %s", unready)
	default:
		r.Status = corev1.ConditionTrue
	}
	return r
}

// podReady is GeneratePodReadyCondition of the kubelet.
func (s *state) podReady(pod *corev1.Pod, containersReady corev1.PodCondition, conditions []corev1.PodCondition) corev1.PodCondition {
	r := containersReady
	r.Type = corev1.PodReady
	if r.Status != corev1.ConditionTrue {
		return r
	}
	var missing []string
	for _, g := range pod.Spec.ReadinessGates {
		switch _, c := podutil.GetPodConditionFromList(conditions, g.ConditionType); {
		case c == nil:
			missing = append(missing, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", g.ConditionType))
		case c.Status != corev1.ConditionTrue:
			missing = append(missing, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", g.ConditionType, c.Status))
		}
	}
	if len(missing) > 0 {
		r.Status, r.Reason, r.Message = corev1.ConditionFalse, "ReadinessGatesNotReady", strings.Join(missing, ", ")
	}
	return r
}

// initialized is GeneratePodInitializedCondition of the kubelet.
func (s *state) initialized(r *corev1.PodStatus) corev1.PodCondition {
	is := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	if r.Phase == corev1.PodSucceeded {
		is.Reason = "PodCompleted"
		return is
	}
	if slices.ContainsFunc(s.main, func(c *container) bool { return c.now != nil }) {
		return is
	}
	var incomplete []string
	for _, c := range s.init {
		if c.sidecar() && !c.started() || !c.sidecar() && !c.ready() {
			incomplete = append(incomplete, c.spec.Name)
		}
	}
	if len(incomplete) > 0 {
		is.Status, is.Reason = corev1.ConditionFalse, "ContainersNotInitialized"
		is.Message = fmt.Sprintf("containers with incomplete status: %s", incomplete)
	}
	return is
}
