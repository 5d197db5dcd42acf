package simulate

import (
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/keda"
	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/signals"
)

// scaler is KEDA's operator, and the Prometheus that its triggers ask.
type scaler struct {
	*world
	rules      keda.Rules
	state      keda.State
	prometheus *signals.Store
	last       []keda.Reading // of the last poll
	told       *record.ScaledObject
}

// startKEDA polls at once, and then as a loop does.
func (w *world) startKEDA() {
	s := &scaler{world: w, rules: w.KEDA.Rules(w.began), prometheus: signals.New(time.Hour, w.Plant.Metrics.Scrapes())}
	w.scaler = s
	w.tellTarget() // of no pods nothing else tells
	w.tellEndpoints(0)
	s.tellConditions(keda.IsReady, keda.Condition{Status: "Unknown"})
	w.after(0, s.poll)
	w.loop(w.KEDA.Polling(), w.Polled, s.poll)
	if w.journal != nil {
		s.watch(seconds(w.Header.MetricsEvery))
	}
}

// loop calls do every so often. Its first time is chance, as the load begins at any; from the load's begin on its times are those that
// after says, unless that is nil.
func (w *world) loop(every time.Duration, after *time.Duration, do func()) {
	known := false
	var again func(byChance bool)
	again = func(byChance bool) {
		if byChance && known {
			return
		}
		do()
		w.after(every, func() { again(byChance) })
	}
	w.after(time.Duration(w.random.Int64N(int64(every))), func() { again(true) })
	if after != nil {
		w.atOnset = append(w.atOnset, func() {
			known = true
			w.after(within(*after, every), func() { again(false) })
		})
	}
}

// scaledObject is the name of the ScaledObject; empty without one.
func (w *world) scaledObject() string {
	if w.KEDA == nil {
		return ""
	}
	return w.ScaledObject
}

// watch reads the metrics as hpabench does beside the HPA.
func (s *scaler) watch(every time.Duration) {
	readings, _, _ := s.KEDA.Ask(s.began.Add(s.now), s.prometheus.Query)
	at := s.wall().Time
	for _, r := range readings {
		is := record.Signal{Metric: metricName(external(r.Metric)), Value: &r.Value, Timestamp: &at}
		if r.Err != nil {
			is.Value, is.Timestamp, is.Error = nil, nil, r.Err.Error()
		}
		if was, told := s.journal.signals[is.Metric]; !told || !was.Same(&is) {
			s.journal.signals[is.Metric] = is
			s.world.tell(record.Entry{Signal: &is})
		}
	}
	s.after(every, func() { s.watch(every) })
}

func external(metric string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: metric}}}
}

func (s *scaler) poll() {
	now := s.began.Add(s.now)
	readings, active, failed := s.KEDA.Ask(now, s.prometheus.Query)
	s.last = readings
	was := s.spec
	o := s.rules.Poll(&s.state, keda.Found{At: now, Replicas: was, Active: active, Failed: failed})
	s.tellConditions(o.Ready, o.Active)
	if o.Replicas == was {
		return
	}
	if reason, message := keda.Scaled(s.HPA.ScaleTargetRef, namespace, was, o.Replicas, active, readings); reason != "" {
		s.tellEvent(keda.Kind, s.ScaledObject, corev1.EventTypeNormal, reason, message)
	}
	s.scale(o.Replicas, "keda-operator")
}

// External is what KEDA's metrics server tells the HPA now of a trigger; of is false of a metric that is none of KEDA's.
func (w *world) External(name string) (thousandths int64, of bool, err error) {
	if w.scaler == nil {
		return 0, false, nil
	}
	w.catchUp()
	readings, _, _ := w.KEDA.Ask(time.Now(), w.scaler.prometheus.Query)
	for i, r := range readings {
		if r.Metric != name {
			continue
		}
		if w.KEDA.Cached(name) && i < len(w.scaler.last) {
			r = w.scaler.last[i]
		}
		return r.Value.MilliValue(), true, r.Err
	}
	return 0, false, nil
}

// collect adds what a target of Prometheus shows now, and ends what one that is gone has shown.
func (s *scaler) collect(pod string, shows []model.Series, gone bool) {
	if s == nil {
		return
	}
	at := s.began.Add(s.now)
	for _, is := range shows {
		of := signals.Series(is.Name, "job", "pods", "namespace", namespace, "pod", pod)
		if gone {
			s.prometheus.End(of, at)
		} else {
			s.prometheus.Add(of, at, is.Value)
		}
	}
}

// tellConditions tells of the ScaledObject where it has changed.
func (s *scaler) tellConditions(ready, active keda.Condition) {
	is := &record.ScaledObject{Name: s.ScaledObject, PollingSeconds: int32(s.KEDA.Polling().Seconds()), CooldownSeconds: int32(s.rules.Cooldown.Seconds()),
		InitialSeconds: int32(s.rules.InitialCooldown.Seconds()), Min: s.rules.Min, Idle: s.rules.Idle, Max: s.HPA.MaxReplicas, HPA: s.Name}
	for i, t := range s.KEDA.Triggers {
		is.Triggers = append(is.Triggers, record.Trigger{Type: t.Type, Metric: s.KEDA.MetricName(i), Activation: t.Activation()})
	}
	for _, c := range []struct {
		kind string
		keda.Condition
	}{{"Ready", ready}, {"Active", active}} {
		is.Conditions = append(is.Conditions, record.Condition{Type: c.kind, Status: metav1.ConditionStatus(c.Status), Reason: c.Reason, Message: c.Message})
	}
	if s.told == nil || !equality.Semantic.DeepEqual(s.told, is) {
		s.told = is
		s.world.tell(record.Entry{ScaledObject: is})
	}
}
