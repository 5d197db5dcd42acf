package analysis

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ill is a run of two pods of three minutes of load, with metrics every 15 s that
// are on their target, to which each case adds what is wrong with it.
func ill() *made {
	m := newMade(record.Phase{Name: "idle", Shape: record.ShapeIdle}, record.Phase{Name: "load", Shape: record.ShapeRate, From: 20})
	m.add(0.5, record.Entry{Subject: &record.Subject{Namespace: "shop", APIVersion: "apps/v1", Kind: "Deployment", Name: "web", Autoscaler: "web"}})
	m.target(1, 2)
	m.hpa(2, 2, 2, 20)
	for _, name := range []string{"a", "b"} {
		m.pod(life{name: name, before: true, created: 1.5})
	}
	m.phase(0, "idle", 10, 40)
	m.phase(1, "load", 40, 220)
	m.target(60, 3)
	m.hpa(60.01, 2, 3, 30)
	m.hpa(75, 3, 3, 20)
	m.event(60.02, "HorizontalPodAutoscaler", "web", "SuccessfulRescale", "New size: 3; reason: cpu")
	m.pod(life{name: "c", created: 60.1, scheduled: 60.2, started: 61, ready: 62})
	return m
}

// old is ill with a pod that was ready long before it was seen.
func old() *made {
	m := ill()
	m.pod(life{name: "d", before: true, created: 1.6, scheduled: -201, ready: -200})
	return m
}

// sampled adds samples on the target for the pods until to.
func (m *made) sampled(to float64, pods ...string) *made {
	for t := 5.0; t < to; t += 15 {
		m.metrics(t, 0.01, pods...)
	}
	return m
}

// refused adds a status of the HPA that has had no metric since the start, with the words of its condition.
func (m *made) refused(message string) *made {
	m.hpa(76, 3, 3, -1)
	status := &m.entries[len(m.entries)-1].Autoscaler.Status
	status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse,
		Reason: "FailedGetResourceMetric", Message: message, LastTransitionTime: metav1.NewTime(m.wall(3))}}
	return m
}

// The findings that a cluster at hand cannot show at will; the others are
// provoked on a real one by the end-to-end tests.
func TestFindings(t *testing.T) {
	for name, c := range map[string]struct {
		made *made
		want []string // kind, object and a part of what was seen
	}{
		"nothing": {ill().sampled(220, "a", "b", "c"), nil},
		"no metric for the HPA": {old().sampled(220, "a", "b", "c", "d").refused("no metrics returned from resource metrics API"),
			[]string{"blocks metrics-absent hpa/web since 3 until -: It has no metric: no metrics returned from resource metrics API."}},
		"a pod of others without a request": {old().sampled(220, "a", "b", "c", "d").refused("missing request for cpu in container m of Pod migrate"), nil},
		"no sample of one pod": {ill().sampled(220, "a", "b"), []string{
			"limits metrics-missing pod/c since 62 until -: ready for 158 s without a sample"}},
		"a resource that metrics.k8s.io does not have": {ill().sampled(220, "a", "b", "c").another("example.com/gpu", autoscalingv2.AverageValueMetricType, "FailedGetResourceMetric", "did not receive metrics"), []string{
			"limits metrics-absent hpa/web since 3 until -: Its metric is example.com/gpu, and metrics.k8s.io has cpu and memory alone."}},
		"a request that one of two metrics lacks": {ill().sampled(220, "a", "b", "c").another("memory", autoscalingv2.UtilizationMetricType, "FailedGetResourceMetric", "missing request for memory in container nginx of Pod a"), []string{
			"limits no-request deployment/web since 2 until -: no memory request: nginx"}},
		"a request that the one metric lacks, of which the status has an old value": {ill().sampled(220, "a", "b", "c").unrequested(), []string{
			"blocks no-request deployment/web since 2 until -: no cpu request: nginx"}},
		"another HPA over the pods from the start": {tooHigh(autoscalingv2.HorizontalPodAutoscalerCondition{Type: "ScalingActive", Status: "False", Reason: "AmbiguousSelector", Message: "pods by selector app=web are controlled by more than one HPA"}), []string{
			"blocks rival-hpa hpa/web since 2 until -: Pods by selector app=web", "blocks not-scaled hpa/web"}},
		"an external metric at 0 replicas":           {atZero().external(), []string{"blocks stuck-at-zero hpa/web since 100 until -: It stayed at 0 replicas"}},
		"an external metric that went with the pods": {atZero().external().lost(75), []string{"blocks stuck-at-zero hpa/web"}},
		"an external metric that was lost long after the pods": {atZero().external().lost(182), []string{
			"blocks stuck-at-zero hpa/web", "blocks signal-absent hpa/web since 182 until -: Metric external queue had no value for 38 s"}},
		"a container that is down at the first look": {ill().sampled(220, "a", "b", "c").down("d"), []string{
			"blocks crash pod/d since -5 until -: ended with exit code 1 (Error)"}},
		"a status that is late":  {late(), nil},
		"a pod from long before": {old().sampled(220, "a", "b", "c", "d"), nil},
		"no sample of a pod from long before": {old().sampled(220, "a", "b", "c"), []string{
			"limits metrics-missing pod/d since -200 until -: ready for 420 s without a sample"}},
		"samples that get old": {ill().sampled(100, "a", "b", "c"), []string{
			"blocks metrics-stale pod/a since 220 until -: up to 126 s old; metrics-server takes one every 15 s"}},
		"a gap of metrics": {func() *made {
			m := ill().sampled(100, "a", "b", "c")
			m.gap(metricsSource, 101, 215)
			return m.resampled(216, "a", "b", "c")
		}(), []string{"blocks metrics-absent apiservice/v1beta1.metrics.k8s.io since 101 until 215: did not answer for 114 s: connection refused"}},
		"a status that stands still": {func() *made {
			m := ill().sampled(100, "a", "b", "c")
			for t := 110.0; t < 220; t += 15 {
				m.metrics(t, 0.001, "a", "b", "c")
			}
			return m
		}(), []string{"blocks hpa-stale hpa/web since 110 until -: was not updated for 110 s"}},
		"no replica though requests come": {atZero(), []string{"blocks stuck-at-zero hpa/web since 100 until -: It stayed at 0 replicas for 120 s while 1200 requests were sent, of which 1200 failed"}},
		"a condition that is no reason": {tooHigh(autoscalingv2.HorizontalPodAutoscalerCondition{Type: "ScaledToZero", Status: "False", Reason: "NotScaledToZero"}), []string{
			"blocks not-scaled hpa/web since 80 until -: It added no replica"}},
		"pods of a Job and of another Deployment": {owned("Job/migrate", "ReplicaSet/web-batch-7c9f7f6d5b"), []string{
			"limits selector-overlap deployment/web since 2 until -: 1 pod of Job migrate; 1 pod of Deployment web-batch"}},
		"a pod without a request that runs":      {owned("Job/migrate", "Job/migrate").lacking(corev1.PodRunning), []string{"blocks selector-overlap deployment/web since 2 until -: 2 pods of Job migrate"}},
		"a pod without a request that failed":    {owned("Job/migrate", "Job/migrate").lacking(corev1.PodFailed), []string{"blocks selector-overlap deployment/web since 2 until -: 2 pods of Job migrate, ended as Failed"}},
		"a pod without a request that succeeded": {owned("Job/migrate", "Job/migrate").lacking(corev1.PodSucceeded), []string{"blocks selector-overlap deployment/web since 2 until -: 2 pods of Job migrate, ended as Succeeded"}},
		"pods of its own":                        {owned("ReplicaSet/web-7c9f7f6d5b", "ReplicaSet/web-7c9f7f6d5b"), nil},
		"a bare pod":                             {owned("ReplicaSet/web-7c9f7f6d5b", ""), []string{"limits selector-overlap deployment/web since 2 until -: 1 pod of nobody"}},
		"scale-ups forbidden in mid-run": {respecified(func(spec *autoscalingv2.HorizontalPodAutoscalerSpec) {
			spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{SelectPolicy: new(autoscalingv2.DisabledPolicySelect)}}
		}), []string{"blocks direction-disabled hpa/web since 155 until -: For 65 s the metric asked for up to 4 replicas (2 more) and it stayed at 2 (target: cpu 20 % of requests); without Disabled the window and the policies would still apply."}},
		"min set to max in mid-run": {respecified(func(spec *autoscalingv2.HorizontalPodAutoscalerSpec) {
			spec.MinReplicas = &spec.MaxReplicas
		}), []string{"blocks min-is-max hpa/web since 151 until -: are both 5"}},
		"min set to max twice": {func() *made {
			m := respecified(func(spec *autoscalingv2.HorizontalPodAutoscalerSpec) { spec.MinReplicas = &spec.MaxReplicas })
			for _, e := range m.entries {
				if a := e.Autoscaler; a != nil && a.Spec.MinReplicas != &a.Spec.MaxReplicas {
					a.Spec.MinReplicas, a.Spec.MaxReplicas = new(int32(2)), 2
				}
			}
			return m
		}(), []string{"blocks min-is-max hpa/web since 151 until -: are both 5"}},
		"min and max of a sweep": {func() *made {
			m := respecified(func(spec *autoscalingv2.HorizontalPodAutoscalerSpec) { spec.MinReplicas = &spec.MaxReplicas })
			m.entries[0].Header.FixedReplicas = true
			return m
		}(), nil},
		"OOM": {ill().sampled(220, "a", "b", "c").restarted("c", 120, 137, "OOMKilled"), []string{
			"blocks out-of-memory pod/c since 120 until -: killed for memory (OOMKilled) and was restarted 1 time"}},
		"a liveness probe that killed, and a readiness probe that failed too": {ill().sampled(220, "a", "b", "c").probed("c").restarted("c", 122, 137, "Error"), []string{
			"blocks probe pod/c since 122 until 122: Container nginx was killed because its liveness probe failed: Liveness probe failed: context deadline exceeded."}},
		"one quick restart": {ill().sampled(220, "a", "b", "c").restarted("c", 120, 1, "Error"), []string{
			"blocks crash pod/c since 120 until -: ended with exit code 1 (Error) and was restarted 1 time"}},
	} {
		c.made.end(221)
		var got []string
		for _, f := range c.made.analyze(t).Findings {
			until := "-"
			if f.UntilSeconds != nil {
				until = fmt.Sprintf("%.0f", *f.UntilSeconds)
			}
			got = append(got, fmt.Sprintf("%s %s %s since %.0f until %s: %s", f.Severity, f.Kind, f.Object, *f.SinceSeconds, until, f.Seen))
			if f.Cause == "" || f.Advice == "" || strings.Contains(f.Seen+f.Cause+f.Advice, "%!") {
				t.Errorf("%s: %+v", name, f)
			}
		}
		for i := range min(len(got), len(c.want)) {
			head, part, _ := strings.Cut(c.want[i], ": ")
			if strings.HasPrefix(got[i], head) && strings.Contains(got[i], part) {
				got[i] = c.want[i]
			}
		}
		equal(t, name, got, c.want)
	}
}

// An adapter that goes away is found though a pod has crashed, as long as others are there to have a value.
func TestAdapterAwayBesideACrash(t *testing.T) {
	for name, down := range map[string][]string{"one pod of three": nil, "all pods": {"a", "b"}} {
		m := ill().sampled(220, "a", "b", "c").restarted("c", 120, 1, "Error")
		if down != nil {
			m.entries[len(m.entries)-1].Pod.Status.Conditions = nil
		}
		m.hpa(100, 3, 3, -1)
		for _, e := range m.entries {
			if a := e.Autoscaler; a != nil {
				a.Spec.Metrics = []autoscalingv2.MetricSpec{{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "queue"}, Target: perPod("1")}}}
				a.Status.CurrentMetrics = []autoscalingv2.MetricStatus{{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricStatus{Metric: autoscalingv2.MetricIdentifier{Name: "queue"}}}}
				if e.At.Seconds() >= 100 {
					a.Status.CurrentMetrics = nil
					a.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse, Reason: "FailedGetExternalMetric", Message: "no metrics returned from external metrics API", LastTransitionTime: metav1.NewTime(m.wall(100))}}
				}
			}
		}
		for _, pod := range down {
			m.add(125, record.Entry{Pod: &record.Pod{Name: pod, UID: "uid-" + pod, Node: "node-1", Status: corev1.PodStatus{Phase: corev1.PodRunning}}})
		}
		m.end(221)
		found := kindsOf(m.analyze(t))
		if got, want := slices.Contains(found, FoundMetricsAbsent), down == nil; got != want || !slices.Contains(found, FoundCrash) {
			t.Errorf("%s: found %v", name, found)
		}
	}
}

// An HPA's spec and its status are of different times, and so are its metrics: why it did not scale is said,
// whatever of the others is there.
func TestNotScaled(t *testing.T) {
	able := func(kind autoscalingv2.HorizontalPodAutoscalerConditionType, reason string) *made {
		return tooHigh(autoscalingv2.HorizontalPodAutoscalerCondition{Type: kind, Status: corev1.ConditionTrue, Reason: reason})
	}
	change := func(m *made, do func(a *record.Autoscaler)) *made {
		for _, e := range m.entries {
			if e.Autoscaler != nil {
				do(e.Autoscaler)
			}
		}
		return m
	}
	window := func(seconds int32) *made {
		return change(able(autoscalingv2.AbleToScale, "ScaleUpStabilized"), func(a *record.Autoscaler) {
			a.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &seconds}}
		})
	}
	without := window(600)
	newer := *without.entries[len(without.entries)-1].Autoscaler
	newer.Spec.Behavior = nil
	without.add(215, record.Entry{Autoscaler: &newer})
	late := atZero()
	late.entries = slices.DeleteFunc(late.entries, func(e record.Entry) bool { return e.Autoscaler != nil })
	late.target(150, 2)
	late.hpa(200, 2, 2, 20)
	for name, c := range map[string]struct {
		made  *made
		cause string
	}{
		"a window":                        {window(600), "Its behavior.scaleUp.stabilizationWindowSeconds is 600"},
		"a window that is not there now":  {without, "until somebody took the window out of its spec"},
		"a window that is 0 now":          {window(0), "until somebody took the window out of its spec"},
		"policies":                        {able(autoscalingv2.ScalingLimited, "ScaleUpLimit"), "were used up by earlier scale-ups"},
		"no replicas before the HPA came": {late, "Its metric does not show the requests"},
		"a share of an external metric": {change(able(autoscalingv2.AbleToScale, "ReadyForNewScale"), func(a *record.Autoscaler) {
			id, share := autoscalingv2.MetricIdentifier{Name: "queue"}, a.Status.CurrentMetrics[0].Resource.Current
			target := a.Spec.Metrics[0].Resource.Target
			target.Value = new(resource.MustParse("20")) // without one the API server does not take it
			a.Spec.Metrics = []autoscalingv2.MetricSpec{{Type: "External", External: &autoscalingv2.ExternalMetricSource{Metric: id, Target: target}}}
			a.Status.CurrentMetrics = []autoscalingv2.MetricStatus{{Type: "External", External: &autoscalingv2.ExternalMetricStatus{Metric: id, Current: share}}}
		}), "does not work on it"},
	} {
		t.Run(name, func(t *testing.T) {
			c.made.end(221)
			findings := c.made.analyze(t).Findings
			i := slices.IndexFunc(findings, func(f Finding) bool { return f.Kind == FoundNotScaled || f.Kind == FoundStuckAtZero })
			if i < 0 || !strings.Contains(findings[i].Cause, c.cause) {
				t.Errorf("none with the cause %q: %+v", c.cause, findings)
			}
		})
	}
}

// late is ill on a cluster that is overloaded: the HPA's status and event come 12 s after its scale.
func late() *made {
	m := ill().sampled(220, "a", "b", "c")
	for i := range m.entries {
		if e := &m.entries[i]; e.At > 60.005e9 && e.At < 60.05e9 && (e.Autoscaler != nil || e.Event != nil) {
			e.At += 12e9
		}
	}
	return m
}

// another gives the HPA one more metric of a resource, which it does not get.
func (m *made) another(name corev1.ResourceName, kind autoscalingv2.MetricTargetType, reason, message string) *made {
	target := autoscalingv2.MetricTarget{Type: kind, AverageValue: new(resource.MustParse("1"))}
	if kind == autoscalingv2.UtilizationMetricType {
		target = autoscalingv2.MetricTarget{Type: kind, AverageUtilization: new(int32(50))}
	}
	for i := range m.entries {
		if a := m.entries[i].Autoscaler; a != nil {
			a.Spec.Metrics = append(slices.Clone(a.Spec.Metrics), autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: name, Target: target}})
			a.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(m.wall(3))}}
		}
	}
	return m
}

// unrequested takes the pods' requests, and lets the HPA say so beside the value that it had before.
func (m *made) unrequested() *made {
	for i := range m.entries {
		switch e := &m.entries[i]; {
		case e.Pod != nil:
			e.Pod.Containers = []record.ContainerResources{{Name: "nginx"}}
		case e.Autoscaler != nil:
			e.Autoscaler.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse, Reason: "FailedGetResourceMetric", Message: "missing request for cpu in container nginx of Pod a", LastTransitionTime: metav1.NewTime(m.wall(3))}}
		}
	}
	return m
}

// external gives the HPA an external metric alone, at which it does not look.
func (m *made) external() *made {
	for i := range m.entries {
		if a := m.entries[i].Autoscaler; a != nil {
			a.Spec.Metrics = []autoscalingv2.MetricSpec{{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "queue"}, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("1"))}}}}
			a.Status.CurrentMetrics = nil
			a.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse, Reason: "ScalingDisabled", Message: "scaling is disabled since the replica count of the target is zero", LastTransitionTime: metav1.NewTime(m.wall(3))}}
		}
	}
	return m
}

// lost has the metric of external lost from t on.
func (m *made) lost(t float64) *made {
	m.queued(5, "1")
	for ; t < 220; t += 60 { // an error that stays the same is recorded once in a minute
		m.add(t, record.Entry{Signal: &record.Signal{Metric: "external queue", Error: "no metrics returned from external metrics API"}})
	}
	return m
}

// down adds a pod whose container has ended again and again before the record, and is down.
func (m *made) down(name string) *made {
	m.add(1.6, record.Entry{Pod: &record.Pod{
		Name: name, UID: "uid-" + name, First: true, Created: metav1.NewTime(m.wall(-100)), Node: "node-1",
		Containers: []record.ContainerResources{{Name: "nginx", Requests: corev1.ResourceList{"cpu": resource.MustParse("50m")}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &metav1.Time{Time: m.wall(-100)},
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: "False", LastTransitionTime: metav1.NewTime(m.wall(-100))}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "nginx", RestartCount: 5, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", FinishedAt: metav1.NewTime(m.wall(-5))}}}}},
	}})
	return m
}

// atZero is ill without a replica from 60 s on, and with requests that fail from 100 s on.
func atZero() *made {
	m := ill().sampled(60, "a", "b")
	m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool {
		return e.At >= 60e9 && (e.Target != nil || e.Event != nil || e.Pod != nil || e.Autoscaler != nil)
	})
	m.target(60, 0)
	m.hpa(60.01, 2, 0, -1)
	m.event(60.02, "HorizontalPodAutoscaler", "web", "SuccessfulRescale", "New size: 0; reason: All metrics below target")
	for _, name := range []string{"a", "b"} {
		m.pod(life{name: name, before: true, created: 1.5, terminating: 60.1, gone: 61})
	}
	for n := 100; n < 220; n++ {
		m.add(float64(n+1), record.Entry{Load: &record.LoadSecond{Phase: 1, Second: n, Offered: 10, Sent: 10, Failed: 10, Errors: map[string]uint64{"connection refused": 10}}})
	}
	return m
}

// Advice on metrics is of the cluster that was used: the embedded one has no metrics-server in kube-system.
func TestMetricsOfTheEmbeddedCluster(t *testing.T) {
	for _, lab := range []*record.Lab{nil, {Timing: "real", MetricsResolution: 15}} {
		absent := ill().sampled(100, "a", "b", "c")
		absent.gap(metricsSource, 101, 215)
		for kind, m := range map[string]*made{FoundMetricsAbsent: absent.resampled(216, "a", "b", "c"), FoundMetricsMissing: ill().sampled(220, "a", "b")} {
			m.add(0, record.Entry{Cluster: &record.Cluster{Lab: lab}})
			f := m.analyze(t).Findings
			if len(f) != 1 || f[0].Kind != kind || strings.Contains(f[0].Cause, "metrics-server") != (lab == nil) || strings.Contains(f[0].Advice, "hpabench-lab") != (lab != nil) {
				t.Errorf("%+v", f)
			}
		}
	}
}

// respecified is tooHigh with another spec of the HPA from 151 s on.
func respecified(change func(*autoscalingv2.HorizontalPodAutoscalerSpec)) *made {
	m := tooHigh(autoscalingv2.HorizontalPodAutoscalerCondition{Type: "AbleToScale", Status: "True", Reason: "ReadyForNewScale"})
	m.hpa(151, 2, 2, 40)
	change(&m.entries[len(m.entries)-1].Autoscaler.Spec)
	return m
}

// tooHigh is ill with a metric above its target that the HPA does not follow, and a condition.
func tooHigh(c autoscalingv2.HorizontalPodAutoscalerCondition) *made {
	m := ill()
	m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool {
		return e.At >= 60e9 && (e.Target != nil || e.Event != nil || e.Pod != nil || e.Autoscaler != nil)
	})
	for t := 5.0; t < 220; t += 15 {
		cpu := 0.01
		if t > 70 {
			cpu = 0.02
		}
		m.metrics(t, cpu, "a", "b")
	}
	m.hpa(81, 2, 2, 40)
	for i := range m.entries {
		if a := m.entries[i].Autoscaler; a != nil {
			a.Status.Conditions = append(a.Status.Conditions, c)
		}
	}
	return m
}

// owned is ill whose pods have a ReplicaSet of the Deployment as owner, with two pods of others.
func owned(owners ...string) *made {
	m := ill().sampled(220, "a", "b", "c", "x0", "x1")
	for i := range owners {
		m.pod(life{name: fmt.Sprintf("x%d", i), before: true, created: 1.6})
	}
	for i := range m.entries {
		if p := m.entries[i].Pod; p != nil {
			if p.Owner = "ReplicaSet/web-7c9f7f6d5b"; p.Name[0] == 'x' {
				p.Owner = owners[p.Name[1]-'0']
			}
		}
	}
	return m
}

// lacking takes the requests of the pods that are not the target's, and gives them a phase.
func (m *made) lacking(phase corev1.PodPhase) *made {
	for i := range m.entries {
		if p := m.entries[i].Pod; p != nil && p.Name[0] == 'x' {
			p.Status.Phase, p.Containers = phase, []record.ContainerResources{{Name: "app"}}
		}
	}
	return m
}

func (m *made) resampled(t float64, pods ...string) *made {
	m.metrics(t, 0.01, pods...)
	return m
}

// probed lets a liveness probe of a pod fail and end its container at 121.6 s, and readiness probes fail before and after.
func (m *made) probed(name string) *made {
	m.event(121, "Pod", name, "Unhealthy", "Liveness probe failed: context deadline exceeded")
	m.event(121.5, "Pod", name, "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
	m.event(121.6, "Pod", name, "Killing", "Container nginx failed liveness probe, will be restarted")
	m.event(121.7, "Pod", name, "Unhealthy", "Readiness probe failed: connection refused")
	return m
}

// restarted lets the container of a pod end once and run again at once.
func (m *made) restarted(name string, t float64, code int32, reason string) *made {
	m.add(t+1, record.Entry{Pod: &record.Pod{
		Name: name, UID: "uid-" + name, Created: metav1.NewTime(m.wall(60)), Node: "node-1",
		Containers: []record.ContainerResources{{Name: "nginx", Requests: corev1.ResourceList{"cpu": resource.MustParse("50m")}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &metav1.Time{Time: m.wall(60)},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: "True", LastTransitionTime: metav1.NewTime(m.wall(62))}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "nginx", RestartCount: 1, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, FinishedAt: metav1.NewTime(m.started.Add(time.Duration(t) * time.Second))}}}}},
	}})
	return m
}

// TestReturned wants a pod that went out of service for a time only told from one that never did.
func TestReturned(t *testing.T) {
	m := ill().sampled(220, "a", "b", "c")
	m.endpoints(life{name: "c", inService: 63, left: 100}, life{name: "c", inService: 110})
	m.end(221)
	for _, p := range m.analyze(t).Pods {
		if want := p.Name == "c"; p.Returned != want || p.OutOfService != nil {
			t.Errorf("pod %s: returned %v, out of service %v", p.Name, p.Returned, p.OutOfService)
		}
	}
}
