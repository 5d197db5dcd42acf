package analysis

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// made is a record made by hand. Instants are seconds of the run's clock.
type made struct {
	started time.Time
	entries []record.Entry
	slice   []record.Endpoint
}

func newMade(phases ...record.Phase) *made {
	m := &made{started: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	m.add(0, record.Entry{Header: &record.Header{
		Format: record.Format, Run: "made", Scenario: "demo-nginx", Version: "test", Started: m.started,
		Phases: phases, MetricsEvery: 1,
	}})
	return m
}

func (m *made) add(t float64, e record.Entry) {
	e.At = record.Instant(t*1e6) * 1000
	m.entries = append(m.entries, e)
}

func (m *made) wall(t float64) time.Time {
	return m.started.Add(time.Duration(t * 1e9)).Truncate(time.Second)
}

func (m *made) phase(index int, name string, from, to float64) {
	m.add(from, record.Entry{Phase: &record.PhaseMark{Index: index, Name: name, Edge: "start"}})
	if to > 0 {
		m.add(to, record.Entry{Phase: &record.PhaseMark{Index: index, Name: name, Edge: "end"}})
	}
}

func (m *made) target(t float64, n int32) {
	m.add(t, record.Entry{Target: &record.Target{Replicas: n, Status: n}})
}

func spec(behavior *autoscalingv2.HorizontalPodAutoscalerBehavior) autoscalingv2.HorizontalPodAutoscalerSpec {
	return autoscalingv2.HorizontalPodAutoscalerSpec{
		MinReplicas: new(int32(2)), MaxReplicas: 5, Behavior: behavior,
		Metrics: []autoscalingv2.MetricSpec{{Type: "Resource", Resource: &autoscalingv2.ResourceMetricSource{
			Name: "cpu", Target: autoscalingv2.MetricTarget{Type: "Utilization", AverageUtilization: new(int32(20))},
		}}},
	}
}

// hpa is a status: the replicas that the HPA found, those that it wants, and the
// utilization that it saw; none if percent is negative.
func (m *made) hpa(t float64, current, desired, percent int32) {
	s := autoscalingv2.HorizontalPodAutoscalerStatus{CurrentReplicas: current, DesiredReplicas: desired}
	if percent >= 0 {
		s.CurrentMetrics = []autoscalingv2.MetricStatus{{Type: "Resource", Resource: &autoscalingv2.ResourceMetricStatus{
			Name: "cpu", Current: autoscalingv2.MetricValueStatus{AverageUtilization: &percent},
		}}}
	}
	m.add(t, record.Entry{Autoscaler: &record.Autoscaler{Name: "demo-nginx", Spec: spec(nil), Status: s}})
}

// life is when a pod got into each state; a state with 0 is not reached.
type life struct {
	name                                                  string
	before                                                bool // listed at created with all of it done
	created, scheduled, pulled, started, ready, inService float64
	terminating, left, exited, gone                       float64
}

func (m *made) pod(l life) {
	p := record.Pod{
		Name: l.name, UID: "uid-" + l.name, Created: metav1.NewTime(m.wall(l.created)), First: l.before,
		Containers: []record.ContainerResources{{Name: "nginx", Requests: corev1.ResourceList{"cpu": resource.MustParse("50m")}}},
	}
	set := func(kind corev1.PodConditionType, t float64, to corev1.ConditionStatus) {
		c := corev1.PodCondition{Type: kind, Status: to, LastTransitionTime: metav1.NewTime(m.wall(t))}
		p.Status.Conditions = slices.Clone(p.Status.Conditions)
		for i := range p.Status.Conditions {
			if p.Status.Conditions[i].Type == kind {
				p.Status.Conditions[i] = c
				return
			}
		}
		p.Status.Conditions = append(p.Status.Conditions, c)
	}
	show := func(t float64) {
		is := p
		m.add(t, record.Entry{Pod: &is})
	}
	p.Status.Phase = corev1.PodPending
	if !l.before && l.created > 0 {
		show(l.created)
	}
	if l.scheduled > 0 || l.before {
		p.Node = "node-1"
		set(corev1.PodScheduled, l.scheduled, "True")
		set(corev1.PodInitialized, l.scheduled, "True")
		set(corev1.PodReady, l.scheduled, "False")
		p.Status.StartTime = &metav1.Time{Time: m.wall(l.scheduled)}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "nginx", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}}
		if !l.before {
			show(l.scheduled)
		}
	}
	if l.pulled > 0 {
		m.event(l.pulled, "Pod", l.name, "Pulled", `Container image "nginx:1.15.2" already present on machine`)
	}
	if l.started > 0 || l.before {
		p.Status.Phase = corev1.PodRunning
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "nginx", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
		if !l.before {
			show(l.started)
		}
	}
	if l.ready > 0 || l.before {
		set(corev1.PodReady, l.ready, "True")
		if l.before {
			show(l.created)
		} else {
			show(l.ready)
		}
	}
	if l.terminating > 0 {
		p.Deleting = &metav1.Time{Time: m.wall(l.terminating + 30)}
		show(l.terminating)
	}
	if l.exited > 0 {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "nginx", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
		show(l.exited)
	}
	if l.gone > 0 {
		p.Gone = true
		show(l.gone)
	}
}

func (m *made) event(t float64, kind, name, reason, message string) {
	m.add(t, record.Entry{Event: &record.Event{Kind: kind, Name: name, Type: "Normal", Reason: reason, Message: message, Count: 1, Time: m.wall(t)}})
}

// endpoints makes the EndpointSlice follow the pods' inService and left.
func (m *made) endpoints(lives ...life) {
	type change struct {
		t     float64
		pod   string
		ready bool
	}
	var changes []change
	for _, l := range lives {
		if l.inService > 0 {
			changes = append(changes, change{l.inService, l.name, true})
		}
		if l.left > 0 {
			changes = append(changes, change{l.left, l.name, false})
		}
	}
	slices.SortStableFunc(changes, func(a, b change) int { return int((a.t - b.t) * 1e6) })
	for _, c := range changes {
		m.slice = slices.DeleteFunc(slices.Clone(m.slice), func(e record.Endpoint) bool { return e.Pod == c.pod })
		if c.ready {
			m.slice = append(m.slice, record.Endpoint{Pod: c.pod, Ready: true, Serving: true})
		}
		m.add(c.t, record.Entry{Endpoints: &record.Endpoints{Slice: "demo-nginx-abcde", Service: "demo-nginx", Endpoints: m.slice}})
	}
}

// metrics is one reading of PodMetrics with the same CPU for each pod, in cores.
func (m *made) metrics(t, cpu float64, pods ...string) {
	var list record.PodMetrics
	for _, p := range pods {
		list.Samples = append(list.Samples, record.Sample{
			Pod: p, New: true, Timestamp: m.wall(t - 1), Window: 10,
			Containers: []record.ContainerSample{{Name: "nginx", CPU: cpu, Memory: 3 << 20}},
		})
	}
	m.add(t, record.Entry{PodMetrics: &list})
}

func (m *made) load(phase, from, to int, rate uint64, latency time.Duration) {
	for n := from; n < to; n++ {
		h := record.NewHistogram()
		for i := range int64(rate) {
			_ = h.RecordValue(latency.Microseconds() * (100 + i) / 100)
		}
		encoded, _ := record.EncodeHistogram(h)
		m.add(float64(n+1), record.Entry{Load: &record.LoadSecond{
			Phase: phase, Second: n, Offered: rate, Sent: rate, Answered: rate,
			Codes: map[string]uint64{"200": rate}, BytesIn: 612 * rate, Latency: encoded,
		}})
	}
}

func (m *made) end(t float64) {
	m.add(t, record.Entry{End: &record.End{Outcome: record.Completed}})
}

func (m *made) gap(source string, from, to float64) {
	m.add(to, record.Entry{Gap: &record.Gap{
		Source: source, From: record.Instant(from * 1e9), To: record.Instant(to * 1e9), Relisted: true, Cause: "connection refused",
	}})
}

// lines is the record's file, in the order of time.
func (m *made) lines(t testing.TB) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	for _, e := range slices.SortedStableFunc(slices.Values(m.entries), func(a, b record.Entry) int { return cmp.Compare(a.At, b.At) }) {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	return &b
}

func (m *made) write(t testing.TB, file string) {
	t.Helper()
	if err := os.WriteFile(file, m.lines(t).Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run reads the record's file, so that what is analysed went through its format.
func (m *made) run(t testing.TB) record.Run {
	t.Helper()
	run, err := record.Read(m.lines(t))
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// analyzed is the result of a record that is kept.
func analyzed(t *testing.T, file string) *Result {
	t.Helper()
	run, err := record.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Analyze(run)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (m *made) analyze(t testing.TB) *Result {
	t.Helper()
	r, err := Analyze(m.run(t))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// demoPhases are those of demo-nginx.
func demoPhases() []record.Phase {
	return []record.Phase{
		{Name: "idle", Seconds: 30, Shape: record.ShapeIdle},
		{Name: "surge", Seconds: 150, Shape: record.ShapeWorkers, Workers: 1},
		{Name: "calm", Seconds: 460, Shape: record.ShapeIdle},
	}
}

// surge is the second at which the demo's load goes on; it goes off at surge+150.
const surge = 40.0

// demo is the run of DESIGN.md's example: the load goes on at 0 and off at 150,
// seconds counted from surge; 2→4 at 14.5, 4→5 at 29.5, 5→4 at 359.7 (five were
// last recommended at 59.7) and 4→2 at 449.7 (four last at 149.7).
func demo(phases ...record.Phase) *made {
	if phases == nil {
		phases = demoPhases()
	}
	m := newMade(phases...)
	m.add(1, record.Entry{Check: &record.Check{Name: "API server", Outcome: record.OK, Message: "reached, v1.37.2"}})
	m.add(1.1, record.Entry{Check: &record.Check{Name: "room", Outcome: record.Warning, Message: "the nodes have room for 4 of 5 pods", Hint: "add a node"}})
	m.add(1.2, record.Entry{Cluster: &record.Cluster{Version: "v1.37.2", Nodes: []record.Node{
		{Name: "node-1", CPU: 2, Memory: 4 << 30, OS: "linux/amd64", Kubelet: "v1.37.2", Runtime: "containerd://2.1.0", Schedule: true}}}})
	m.target(2, 2)
	old := []life{{name: "demo-nginx-6d-aaaaa", before: true, created: 2, inService: 2.1}, {name: "demo-nginx-6d-bbbbb", before: true, created: 2, inService: 2.1}}
	lives := append(old,
		life{name: "demo-nginx-6d-ccccc", created: surge + 14.55, scheduled: surge + 14.6, pulled: surge + 15.5, started: surge + 15.8, ready: surge + 16.8, inService: surge + 17,
			terminating: surge + 449.8, left: surge + 449.9, exited: surge + 450.3, gone: surge + 451},
		life{name: "demo-nginx-6d-ddddd", created: surge + 14.55, scheduled: surge + 14.6, pulled: surge + 15.6, started: surge + 16, ready: surge + 17.2, inService: surge + 17.4,
			terminating: surge + 449.8, left: surge + 449.9, exited: surge + 450.3, gone: surge + 451.4},
		life{name: "demo-nginx-6d-eeeee", created: surge + 29.55, scheduled: surge + 29.6, pulled: surge + 30.5, started: surge + 30.8, ready: surge + 31.8, inService: surge + 32,
			terminating: surge + 359.8, left: surge + 359.9, exited: surge + 360.2, gone: surge + 361})
	for _, l := range lives {
		m.pod(l)
	}
	m.endpoints(lives...)
	m.add(9, record.Entry{Subject: &record.Subject{Namespace: "hpabench-demo-nginx-made", APIVersion: "apps/v1", Kind: "Deployment", Name: "demo-nginx",
		Autoscaler: "demo-nginx", Way: "nodePort", URL: "http://127.0.0.1:30080", Why: "a NodePort answered"}})
	m.phase(0, "idle", surge-30, surge)
	m.phase(1, "surge", surge, surge+150)
	m.phase(2, "calm", surge+150, surge+610)

	old2 := []string{"demo-nginx-6d-aaaaa", "demo-nginx-6d-bbbbb"}
	all := append(slices.Clone(old2), "demo-nginx-6d-ccccc", "demo-nginx-6d-ddddd", "demo-nginx-6d-eeeee")
	m.metrics(5, 0, old2...)
	m.metrics(surge+2.2, 0.002, old2...)  //  4 %
	m.metrics(surge+12.2, 0.018, old2...) // 36 %: above 20 × 1.1
	m.metrics(surge+27.2, 0.026, all[:4]...)
	m.metrics(surge+42.2, 0.009, all...)
	m.metrics(surge+72.2, 0.008, all...)
	m.metrics(surge+162.2, 0.003, all...) // 6 %: below 20 × 0.9
	m.metrics(surge+177.2, 0, all...)

	m.hpa(5, 2, 2, 0)
	m.target(surge+14.5, 4)
	m.hpa(surge+14.507, 2, 4, 36)
	m.event(surge+14.51, "HorizontalPodAutoscaler", "demo-nginx", "SuccessfulRescale", "New size: 4; reason: cpu resource utilization (percentage of request) above target")
	m.target(surge+29.5, 5)
	m.hpa(surge+29.507, 4, 5, 52)
	m.event(surge+29.51, "HorizontalPodAutoscaler", "demo-nginx", "SuccessfulRescale", "New size: 5; reason: cpu resource utilization (percentage of request) above target")
	m.hpa(surge+44.7, 5, 5, 18)  // within the tolerance: 5
	m.hpa(surge+59.7, 5, 5, 19)  // five for the last time
	m.hpa(surge+74.7, 5, 5, 16)  // 5 × 0.8 = 4
	m.hpa(surge+149.7, 5, 5, 15) // 5 × 0.75 → 4, for the last time
	m.hpa(surge+164.7, 5, 5, 6)  // 5 × 0.3 → 2
	m.hpa(surge+179.7, 5, 5, 0)  // 0, so the minimum of 2
	m.target(surge+359.7, 4)
	m.hpa(surge+359.707, 5, 4, 0)
	m.event(surge+359.71, "HorizontalPodAutoscaler", "demo-nginx", "SuccessfulRescale", "New size: 4; reason: All metrics below target")
	m.target(surge+449.7, 2)
	m.hpa(surge+449.707, 4, 2, 0)
	m.event(surge+449.71, "HorizontalPodAutoscaler", "demo-nginx", "SuccessfulRescale", "New size: 2; reason: All metrics below target")
	m.event(surge+20, "Pod", "demo-nginx-6d-ccccc", "Unhealthy", "Readiness probe failed: a | b <c>\nsecond line")
	m.load(1, int(surge), int(surge)+150, 100, 10*time.Millisecond)
	slices.SortStableFunc(m.entries, func(a, b record.Entry) int { return int((a.At - b.At) / 1000) })
	return m
}

// interrupted is the demo, cut short 15 s into the surge and torn down.
func interrupted() *made {
	m := demo()
	m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool { return e.At > record.Instant((surge+15)*1e9) })
	m.add(surge+15, record.Entry{Phase: &record.PhaseMark{Index: 1, Name: "surge", Edge: "end"}})
	m.pod(life{name: "demo-nginx-6d-aaaaa", before: true, created: surge + 16, terminating: surge + 16, gone: surge + 18})
	m.add(surge+20, record.Entry{End: &record.End{Outcome: record.Interrupted, Left: []string{"Namespace hpabench-x"}}})
	return m
}

func (m *made) finished() *made {
	m.end(surge + 615)
	return m
}

// figure writes a latency as the tables below do.
func figure(l Latency) string {
	if l.Seconds == nil {
		return l.Missing
	}
	return fmt.Sprintf("%.3f ±%.1f", *l.Seconds, l.PrecisionSeconds)
}
