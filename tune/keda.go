package tune

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/keda"
	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/simulate"
)

// The knobs of a ScaledObject alone. min, max and target are of both, and behavior is of its HPA.
func init() {
	for name, k := range map[string]knob{
		"pollingInterval": {unit: time.Second, least: 1, most: day.Seconds(),
			set: func(r *simulate.Run, v float64) error { r.KEDA.PollingInterval = new(int32(v)); return nil },
			get: func(r *simulate.Run) float64 { return r.KEDA.Polling().Seconds() }},
		"cooldownPeriod": {unit: time.Second, most: day.Seconds(),
			set: func(r *simulate.Run, v float64) error { r.KEDA.CooldownPeriod = new(int32(v)); return nil },
			get: func(r *simulate.Run) float64 { return r.KEDA.Rules(time.Time{}).Cooldown.Seconds() }},
		"scrape": {unit: time.Second, fine: true, least: 1, most: 3600,
			set: func(r *simulate.Run, v float64) error {
				r.Plant.Metrics.Scrape = &metav1.Duration{Duration: duration(v)}
				return nil
			},
			get: func(r *simulate.Run) float64 { return r.Plant.Metrics.Scrapes().Seconds() }},
		"threshold": {amount: true, least: leastAmount, most: model.MaxBytes,
			set: func(r *simulate.Run, v float64) error { return setTrigger(r.KEDA, "threshold", v) },
			get: func(r *simulate.Run) float64 { return ofTrigger(r.KEDA, "threshold") }},
		"activationThreshold": {amount: true, most: model.MaxBytes,
			set: func(r *simulate.Run, v float64) error { return setTrigger(r.KEDA, "activationThreshold", v) },
			get: func(r *simulate.Run) float64 { return ofTrigger(r.KEDA, "activationThreshold") }},
	} {
		set, get := k.set, k.get
		k.keda = true
		k.set = func(r *simulate.Run, v float64) error {
			if r.KEDA == nil {
				return errors.New("the autoscaler is no ScaledObject")
			}
			return set(r, v)
		}
		k.get = func(r *simulate.Run) float64 {
			if r.KEDA == nil {
				return math.NaN()
			}
			return get(r)
		}
		knobs[name] = k
	}
}

// triggerOf is the trigger that has a setting, and the field there; nil without one.
func triggerOf(s *keda.ScaledObject, setting string) (t *keda.Trigger, field string) {
	i, field := s.Setting(setting)
	if i < 0 || s.Triggers[i].Metadata == nil {
		return nil, field
	}
	return &s.Triggers[i], field
}

func setTrigger(s *keda.ScaledObject, setting string, v float64) error {
	t, field := triggerOf(s, setting)
	text := strconv.FormatFloat(v, 'f', -1, 64)
	switch {
	case t == nil:
		return errors.New("no trigger of the ScaledObject is of type prometheus")
	case t.InPercent() && (v < 1 || v > maxSetting):
		return fmt.Errorf("%s %% of the requests is not from 1 to %d", record.Plain(v, 0), maxSetting)
	case t.InPercent():
		text = strconv.Itoa(int(v))
	case field == "value" && v >= mebi:
		text = resource.NewQuantity(int64(v), resource.BinarySI).String()
	case field == "value":
		text = resource.NewMilliQuantity(int64(math.Round(v*1000)), resource.DecimalSI).String()
	}
	t.Metadata[field] = text
	return nil
}

// ofTrigger is the value of a setting; NaN without one.
func ofTrigger(s *keda.ScaledObject, setting string) float64 {
	t, field := triggerOf(s, setting)
	if t == nil {
		return math.NaN()
	}
	if field == "activationThreshold" {
		return t.Activation()
	}
	q, err := resource.ParseQuantity(strings.TrimSpace(t.Metadata[field])) // numbers too
	if err != nil {
		return math.NaN()
	}
	return q.AsApproximateFloat64()
}
