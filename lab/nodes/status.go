package nodes

import (
	"slices"
	"sort"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"
	kubeletstatus "k8s.io/kubernetes/pkg/kubelet/status"
	kubetypes "k8s.io/kubernetes/pkg/kubelet/types"
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

func (s *state) all() []*container { return slices.Concat(s.init, s.main) }

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
	all := slices.Concat(r.InitContainerStatuses, r.ContainerStatuses)
	r.Phase = phase(pod, s, all)
	if finished := podutil.IsPodPhaseTerminal(r.Phase); finished && !s.terminal {
		r.Phase = old.Phase // a phase is the last one only when nothing runs any more
	} else if s.terminal && (!finished || s.reason != "") {
		r.Phase = corev1.PodFailed
	}
	if s.terminal {
		r.Reason, r.Message = s.reason, s.notice
	}

	for _, c := range pod.Status.Conditions {
		if !kubetypes.PodConditionByKubelet(c.Type) {
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
	for _, c := range []corev1.PodCondition{
		sandbox,
		kubeletstatus.GeneratePodInitializedCondition(pod, old, all, r.Phase),
		kubeletstatus.GeneratePodReadyCondition(pod, old, r.Conditions, all, r.Phase),
		kubeletstatus.GenerateContainersReadyCondition(pod, old, all, r.Phase),
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

func containerStatuses(pod *corev1.Pod, s *state, of []*container) []corev1.ContainerStatus {
	var r []corev1.ContainerStatus
	completed := !slices.ContainsFunc(s.init, func(c *container) bool { return !c.sidecar() && !c.ready() })
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
		case a == nil && s.terminal && (c.init || completed):
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
	if len(of) > 0 && !of[0].init { // those are in the order of the spec
		sort.Sort(kubetypes.SortedContainerStatuses(r))
	}
	return r
}

// phase is getPhase of the kubelet. Of a container that waits it counts how the one
// before ended.
func phase(pod *corev1.Pod, s *state, statuses []corev1.ContainerStatus) corev1.PodPhase {
	initialized := slices.ContainsFunc(s.main, func(c *container) bool { return c.now != nil })
	var running, stopped, restarting, succeeded int
	pending := false
	for _, c := range s.all() {
		cs := podutil.GetExistingContainerStatus(statuses, c.spec.Name)
		end := cs.State.Terminated
		if cs.State.Waiting != nil {
			end = cs.LastTerminationState.Terminated
		}
		restarts := end != nil && podutil.ContainerShouldRestart(*c.spec, pod.Spec, end.ExitCode)
		switch {
		case cs.State.Running != nil && (!c.init || c.sidecar()):
			running++
			pending = pending || c.sidecar() && !c.started() && !initialized
		case end == nil:
			pending = true
		case c.sidecar():
		case c.init:
			if end.ExitCode != 0 && !restarts {
				return corev1.PodFailed
			}
		default:
			stopped++
			if restarts {
				restarting++
			}
			if cs.State.Terminated != nil && end.ExitCode == 0 {
				succeeded++
			}
		}
	}
	switch {
	case pending, running == 0 && stopped == 0:
		return corev1.PodPending
	case running > 0, restarting > 0 && !s.terminal:
		return corev1.PodRunning
	case stopped == succeeded:
		return corev1.PodSucceeded
	}
	return corev1.PodFailed
}
