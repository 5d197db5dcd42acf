package analysis

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/record"
)

// readyIs is what KEDA writes of a ScaledObject whose triggers all fail, or work again.
func (m *made) readyIs(t float64, status, reason string) {
	m.add(t, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Max: 5, Triggers: []record.Trigger{{Type: "prometheus", Metric: "s0-prometheus", Activation: 0.1}},
		Conditions: []record.Condition{{Type: "Ready", Status: "False", Reason: reason, Message: "Triggers defined in ScaledObject are not working correctly"}}}})
	if status == "True" {
		m.entries[len(m.entries)-1].ScaledObject.Conditions[0] = record.Condition{Type: "Ready", Status: "True"}
	}
}

// hpaSays is a status with a value; without one the HPA could not get it.
func (m *made) hpaSays(t float64, value string) {
	i := slices.IndexFunc(m.entries, func(e record.Entry) bool { return e.Autoscaler != nil })
	a := *m.entries[i].Autoscaler
	a.Status = autoscalingv2.HorizontalPodAutoscalerStatus{CurrentReplicas: 1, DesiredReplicas: 1, Conditions: []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionTrue}},
		CurrentMetrics: []autoscalingv2.MetricStatus{{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricStatus{Metric: autoscalingv2.MetricIdentifier{Name: "s0-prometheus"}}}}}
	if value != "" {
		a.Status.CurrentMetrics[0].External.Current.AverageValue = new(resource.MustParse(value))
	} else {
		a.Status.CurrentMetrics = []autoscalingv2.MetricStatus{{}}
		a.Status.Conditions[0] = autoscalingv2.HorizontalPodAutoscalerCondition{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse, Reason: "FailedGetExternalMetric", Message: "unable to get external metric", LastTransitionTime: metav1.NewTime(m.wall(t))}
	}
	m.add(t, record.Entry{Autoscaler: &a})
}

func changeAt(m *made, t float64, kind, name, what, by string, fields ...record.FieldChange) {
	m.add(t, record.Entry{Change: &record.Change{Kind: kind, Name: name, What: what, By: by, Fields: fields}})
}

// What takes a ScaledObject's metric away, or the ScaledObject, is one finding with its cause, beside the cold start.
func TestKEDAFaultsAreOneFindingEach(t *testing.T) {
	const hpa, scaled = "HorizontalPodAutoscaler", "ScaledObject"
	for name, c := range map[string]struct {
		does func(m *made)
		want string // the findings but the cold start: severity, kind, object, whether it spoils, since and until; a part of what is said
	}{
		"the source is gone for a time": {func(m *made) {
			m.signal(60, "")
			m.event(61, "ScaledObject", "web", "KEDAScalerFailed", `Get "http://prometheus:9090/api/v1/query?query=up&time=2026-11-29T21:37:23Z": dial tcp 10.0.0.9:9090: connect: connection refused`)
			m.readyIs(62, "False", "TriggerError")
			m.hpaSays(65, "")
			m.signal(110, "2")
			m.readyIs(112, "True", "")
			m.hpaSays(115, "2")
			m.hpaSays(132, "0")
		}, "blocks signal-absent hpa/keda-hpa-web false 60 110: Metric external s0-prometheus had no value for 50 s: No metrics returned from the source. | KEDA's operator could not use the source of a trigger: Get \"http://prometheus:9090/api/v1/query?…\": dial tcp 10.0.0.9:9090: connect: connection refused."},
		"the source does not come back": {func(m *made) {
			m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool { return e.Signal != nil && e.At.Seconds() > 60 })
			m.signal(62, "")
			m.readyIs(62.5, "False", "TriggerError")
			m.hpaSays(65, "")
			m.event(80, hpa, "keda-hpa-web", "FailedGetExternalMetric", "unable to get external metric")
		}, "blocks signal-absent hpa/keda-hpa-web false 62 -: had no value for 158 s"},
		"it is gone twice": {func(m *made) {
			m.signal(50.5, "")
			m.signal(85.5, "2")
			m.signal(90.5, "")
			m.signal(128.5, "2")
		}, "blocks signal-absent hpa/keda-hpa-web false 50 128: had no value for 73 s in 2 stretches"},
		"it rose before it was gone, and its adapter gives no answer": {func(m *made) {
			m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool {
				return (e.Signal != nil || e.Autoscaler != nil) && e.At.Seconds() > 57 && e.At.Seconds() < 133
			})
			m.hpaSays(56.5, "2")
			m.signal(57, "9")
			m.gap("metric external s0-prometheus", 62, 133)
			m.signal(133, "2")
			m.hpaSays(133.5, "2")
		}, "blocks signal-absent hpa/keda-hpa-web false 62 133: as its adapter gave no answer"},
		"for two metrics": {func(m *made) {
			m.signal(60, "")
			m.signal(110, "2")
			m.add(61, record.Entry{Signal: &record.Signal{Metric: "external s1-kafka", Error: "no answer"}})
		}, "blocks signal-absent hpa/keda-hpa-web false 60 -: had no value for 50 s: No metrics returned from the source. Metric external s1-kafka had none for 159 s either."},
		"KEDA's operator is away": {func(m *made) {
			m.gap("metric external s0-prometheus", 60, 110)
		}, "blocks signal-absent hpa/keda-hpa-web false 60 110: as its adapter gave no answer | KEDA's operator"},
		"KEDA's operator is away for a minute": {func(m *made) {
			m.gap("metric external s0-prometheus", 60, 85)
			m.add(85.000001, record.Entry{Signal: &record.Signal{Metric: "external s0-prometheus", Error: "the server was unable to return a response in the time allotted, but may still be processing the request"}})
			m.gap("metric external s0-prometheus", 100, 115)
			m.signal(115, "2")
		}, "blocks signal-absent hpa/keda-hpa-web false 60 115: had no value for 55 s, as its adapter gave no answer"},
		"the adapter is away": {func(m *made) {
			m.add(60, record.Entry{Signal: &record.Signal{Metric: "external s0-prometheus", Error: "the server is currently unable to handle the request"}})
			m.signal(115, "2")
		}, "blocks signal-absent hpa/keda-hpa-web false 60 115: had no value for 55 s, as its adapter gave no answer"},
		"the API server is away": {func(m *made) {
			m.gap("metric external s0-prometheus", 60, 110)
			m.gap(hpaSource, 61, 110)
		}, ""},
		"no right to read it": {func(m *made) {
			m.add(220, record.Entry{Gap: &record.Gap{Source: "metric external s0-prometheus", From: 1e9, To: 220e9, Cause: `s0-prometheus.external.metrics.k8s.io is forbidden: User "me" cannot list resource`}})
		}, ""},
		"paused": {func(m *made) {
			m.add(70, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Max: 5, Paused: "autoscaling.keda.sh/paused"}})
			changeAt(m, 70, scaled, "web", record.ChangeUpdated, "kubectl-annotate", record.FieldChange{Path: "metadata.annotations.autoscaling.keda.sh/paused", Now: "true"})
			m.add(70.5, record.Entry{Autoscaler: &record.Autoscaler{Name: "keda-hpa-web", Deleted: true}})
			changeAt(m, 70.5, hpa, "keda-hpa-web", record.ChangeDeleted, "")
		}, "blocks paused scaledobject/web true 70 -: At 70.0 s field manager kubectl-annotate set autoscaling.keda.sh/paused. | KEDA deleted its HPA for that | autoscaling.keda.sh/paused-"},
		"paused in one direction": {func(m *made) {
			m.add(70, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Max: 5, Paused: "autoscaling.keda.sh/paused-scale-out"}})
			changeAt(m, 70, scaled, "web", record.ChangeUpdated, "kubectl-annotate", record.FieldChange{Path: "metadata.annotations.autoscaling.keda.sh/paused-scale-out", Now: "true"})
			changeAt(m, 70.4, hpa, "keda-hpa-web", record.ChangeUpdated, "keda-operator", record.FieldChange{Path: "spec.behavior.scaleUp.selectPolicy", Was: "Max", Now: "Disabled"})
			m.hpaSays(70.4, "2")
			m.entries[len(m.entries)-1].Autoscaler.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{SelectPolicy: new(autoscalingv2.DisabledPolicySelect)}}
			m.hpaSays(132, "0")
			m.entries[len(m.entries)-1].Autoscaler.Spec.Behavior = m.entries[len(m.entries)-2].Autoscaler.Spec.Behavior
		}, "limits paused scaledobject/web true 70 -: in that direction"},
		"the operator is away, and the metrics of the pods were never read": {func(m *made) {
			m.gap("metric external s0-prometheus", 60, 110)
			m.gap(metricsSource, 1, 220)
		}, "blocks signal-absent hpa/keda-hpa-web false 60 110: as its adapter gave no answer"},
		"all of two metrics are gone": {func(m *made) {
			m.signal(60, "")
			m.signal(110, "2")
			m.add(61, record.Entry{Signal: &record.Signal{Metric: "external s1-kafka", Error: "no answer"}})
			m.add(110, record.Entry{Signal: &record.Signal{Metric: "external s1-kafka", Value: new(resource.MustParse("1")), Timestamp: new(m.wall(110))}})
			for _, e := range m.entries {
				if e.Autoscaler != nil {
					kafka := *e.Autoscaler.Spec.Metrics[0].DeepCopy()
					kafka.External.Metric.Name = "s1-kafka"
					e.Autoscaler.Spec.Metrics = append(slices.Clone(e.Autoscaler.Spec.Metrics), kafka)
				}
			}
		}, "blocks signal-absent hpa/keda-hpa-web false 60 110: Metric external s1-kafka had none for 49 s either."},
		"let go in the run": {func(m *made) {
			m.add(5, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Max: 5, Paused: "autoscaling.keda.sh/paused-scale-in"}})
			m.add(70, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Max: 5}})
			changeAt(m, 70, scaled, "web", record.ChangeUpdated, "kubectl-annotate", record.FieldChange{Path: "metadata.annotations.autoscaling.keda.sh/paused-scale-in", Was: "true"})
		}, "limits paused scaledobject/web true 10 70: At 70.0 s field manager kubectl-annotate removed autoscaling.keda.sh/paused-scale-in."},
		"paused twice": {func(m *made) {
			for _, at := range []float64{50, 100} {
				m.add(at, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Max: 5, Paused: "autoscaling.keda.sh/paused-scale-in"}})
				m.add(at+10, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Max: 5}})
			}
		}, "limits paused scaledobject/web false 50 110: Again: It was paused"},
		// Before 53 s requests came while there was no replica.
		"paused in both directions": {func(m *made) {
			m.add(5, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Max: 5, Paused: "autoscaling.keda.sh/paused-scale-in, autoscaling.keda.sh/paused-scale-out"}})
			for _, e := range m.entries {
				if e.Autoscaler != nil {
					off := &autoscalingv2.HPAScalingRules{SelectPolicy: new(autoscalingv2.DisabledPolicySelect)}
					e.Autoscaler.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: off, ScaleDown: off}
				}
			}
		}, "blocks paused scaledobject/web false 10 -: autoscaling.keda.sh/paused-scale-in- autoscaling.keda.sh/paused-scale-out-"},
		"paused from before": {func(m *made) {
			m.add(5, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Max: 5, Paused: "autoscaling.keda.sh/paused-scale-in"}})
		}, "limits paused scaledobject/web false 10 -: It was paused, by its annotation autoscaling.keda.sh/paused-scale-in."},
		"deleted": {func(m *made) {
			changeAt(m, 70, scaled, "web", record.ChangeDeleted, "")
			m.add(70.3, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", Deleted: true}})
			m.add(70.5, record.Entry{Autoscaler: &record.Autoscaler{Name: "keda-hpa-web", Deleted: true}})
			changeAt(m, 70.5, hpa, "keda-hpa-web", record.ChangeDeleted, "")
		}, "blocks deleted scaledobject/web true 70 -: Somebody deleted it at 70.0 s | its HPA goes with it"},
		"changed": {func(m *made) {
			changeAt(m, 70, scaled, "web", record.ChangeUpdated, "kubectl-edit", record.FieldChange{Path: "spec.maxReplicaCount", Was: "5", Now: "9"})
			changeAt(m, 70.2, hpa, "keda-hpa-web", record.ChangeUpdated, "keda-operator", record.FieldChange{Path: "spec.maxReplicas", Was: "5", Now: "9"})
		}, "limits changed scaledobject/web true 70 -: kubectl-edit changed spec.maxReplicaCount: 5 → 9 | of two different ScaledObjects"},
		"the HPA changed by KEDA alone": {func(m *made) {
			changeAt(m, 70.2, hpa, "keda-hpa-web", record.ChangeUpdated, "keda-operator", record.FieldChange{Path: "spec.maxReplicas", Was: "5", Now: "9"})
		}, "limits changed hpa/keda-hpa-web true 70 -: keda-operator changed"},
	} {
		t.Run(name, func(t *testing.T) {
			m := fromZero(record.ScaledObject{}).activated()
			c.does(m)
			head, said, _ := strings.Cut(c.want, ": ")
			var got []string
			for _, f := range m.analyze(t).Findings {
				if f.Kind == FoundColdStart {
					continue
				}
				until := "-"
				if f.UntilSeconds != nil {
					until = fmt.Sprintf("%.0f", *f.UntilSeconds)
				}
				got = append(got, fmt.Sprintf("%s %s %s %v %.0f %s", f.Severity, f.Kind, f.Object, f.Spoils, *f.SinceSeconds, until))
				for _, part := range strings.Split(said, " | ") {
					if text := f.Seen + "\n" + f.Cause + "\n" + f.Advice; !strings.Contains(text, part) {
						t.Errorf("it does not say %q: %s", part, text)
					}
				}
			}
			if strings.Join(got, ", ") != head {
				t.Errorf("found %q, want %q", got, head)
			}
		})
	}
}

// Requests that fail when their phase is over, as those that something in front held until their timeout, are told all the same.
func TestErrorsAfterThePhase(t *testing.T) {
	m := fromZero(record.ScaledObject{})
	for n := 40; n < 50; n++ {
		m.add(float64(n+1), record.Entry{Load: &record.LoadSecond{Phase: 1, Second: n, Offered: 10, Sent: 10}})
	}
	m.add(220.9, record.Entry{Load: &record.LoadSecond{Phase: 1, Second: 230, Failed: 100, Errors: map[string]uint64{"timeout": 100}}})
	f := m.analyze(t).Findings
	if len(f) != 1 || f[0].Kind != FoundErrors || !strings.Contains(f[0].Seen, "100 of 100 requests failed (100 %), all of them after its end: 100 × timeout") || !strings.Contains(f[0].Cause, "none was ready before their timeout") {
		t.Errorf("found %+v", f)
	}
}

// Each cause is said with its phases, two with the same advice too, and the advice once. The cold start counts the requests that failed
// in the second of the first good answer.
func TestErrorsOfSeveralCauses(t *testing.T) {
	m := fromZero(record.ScaledObject{}).activated()
	fail := func(phase, from, to int, cause string) {
		for n := from; n < to; n++ {
			m.add(float64(n+1), record.Entry{Load: &record.LoadSecond{Phase: phase, Second: n, Offered: 4, Sent: 4, Failed: 4, Errors: map[string]uint64{cause: 4}}})
		}
	}
	fail(0, 20, 24, "connection refused")
	fail(1, 50, 54, "connection refused")
	fail(2, 170, 174, "timeout")
	said := map[string]Finding{}
	for _, f := range m.analyze(t).Findings {
		said[f.Kind] = f
	}
	const none = "The requests came while there was no pod, and "
	f := said[FoundErrors]
	if want := "Phases idle, load: " + none + "nothing in front of the target held them. Phase calm: " + none + "none was ready before their timeout."; f.Cause != want || strings.Count(f.Advice, "Put something in front") != 1 {
		t.Errorf("found %+v", f)
	}
	if want := "From no pod it took 13.4 s to the first good answer; 130 requests were held and 16 failed meanwhile."; said[FoundColdStart].Seen != want {
		t.Errorf("found %+v", said[FoundColdStart])
	}
}

// A probe that fails after the cold start is no cause of requests that failed while there was no pod.
func TestErrorsAtZeroBeforeAProbe(t *testing.T) {
	m := fromZero(record.ScaledObject{}).activated()
	for n := 42; n < 53; n++ {
		m.add(float64(n+1), record.Entry{Load: &record.LoadSecond{Phase: 1, Second: n, Failed: 4, Errors: map[string]uint64{"connection refused": 4}}})
	}
	for _, e := range m.entries {
		if e.Pod != nil && e.At < record.Instant(56e9) && len(e.Pod.Status.Conditions) == 3 && e.Pod.Status.Conditions[2].Status == "True" {
			down := *e.Pod
			down.Status.Conditions = slices.Clone(down.Status.Conditions)
			down.Status.Conditions[2].Status, down.Status.Conditions[2].LastTransitionTime = "False", metav1.NewTime(m.wall(56))
			m.add(56, record.Entry{Pod: &down})
			m.event(55.5, "Pod", "web-a", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 500")
			break
		}
	}
	said := map[string]Finding{}
	for _, f := range m.analyze(t).Findings {
		said[f.Kind] = f
	}
	if f := said[FoundErrors]; said[FoundProbe].Kind == "" || !strings.Contains(f.Seen, "In phase load 44 of 644 requests failed (6.8 %), between 42 and 53 s: 44 × connection refused.") || !strings.Contains(f.Cause, "while there was no pod") {
		t.Errorf("found %+v", said)
	}
}

// While something holds requests for a target at zero, one finding says why it stays there.
func TestFaultAtZeroUnderLoad(t *testing.T) {
	for name, c := range map[string]struct {
		does func(m *made)
		want string
	}{
		"the operator is away": {func(m *made) {
			m.signal(3, "0")
			m.gap("metric external s0-prometheus", 34, 220)
		}, "blocks signal-absent"},
		"paused-scale-out": {func(m *made) {
			m.signal(3, "0")
			m.signal(45, "20")
			m.add(5, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Max: 5, Paused: "autoscaling.keda.sh/paused-scale-out"}})
		}, "blocks paused"},
		"paused-scale-in": {func(m *made) {
			m.signal(3, "0")
			m.add(5, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Max: 5, Paused: "autoscaling.keda.sh/paused-scale-in"}})
		}, "blocks never-activated, limits paused"},
	} {
		m := fromZero(record.ScaledObject{})
		c.does(m)
		for n := 40; n < 100; n++ {
			m.add(float64(n+1), record.Entry{Load: &record.LoadSecond{Phase: 1, Second: n, Offered: 10, Sent: 10}})
		}
		var got []string
		for _, f := range m.analyze(t).Findings {
			got = append(got, f.Severity+" "+f.Kind)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: found %q, want %q", name, got, c.want)
		}
	}
}

// Failed requests are told beside a finding that does not explain them.
func TestErrorsBesideAPause(t *testing.T) {
	m := fromZero(record.ScaledObject{}).activated()
	m.add(5, record.Entry{ScaledObject: &record.ScaledObject{Name: "web", PollingSeconds: 5, CooldownSeconds: 30, Max: 5, Paused: "autoscaling.keda.sh/paused-scale-in"}})
	for n := 60; n < 90; n++ {
		m.add(float64(n+1), record.Entry{Load: &record.LoadSecond{Phase: 1, Second: n, Offered: 10, Sent: 10, Answered: 10, Codes: map[string]uint64{"200": 8, "500": 2}}})
	}
	if f := m.analyze(t).Findings; !slices.ContainsFunc(f, func(f Finding) bool { return f.Kind == FoundErrors }) {
		t.Errorf("found %+v", f)
	}
}
