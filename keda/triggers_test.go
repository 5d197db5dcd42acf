package keda

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

func scaledObject(t *testing.T, spec string) *ScaledObject {
	t.Helper()
	s := new(ScaledObject)
	if err := yaml.UnmarshalStrict([]byte(spec), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestHPA: the HPA has KEDA's names, selectors and order. The end-to-end test TestHPAOfScaledObject holds it to that which
// KEDA makes of the same ScaledObject.
func TestHPA(t *testing.T) {
	s := scaledObject(t, `
scaleTargetRef: {name: shop}
maxReplicaCount: 5
triggers:
- {type: prometheus, metadata: {serverAddress: x, query: up, threshold: "10.5", activationThreshold: "0.1"}}
- {type: cron, metadata: {timezone: Europe/Berlin, start: "0 6 * * 1-5", end: "0,30 20 * * *", desiredReplicas: "3"}}
- {type: cpu, metricType: Utilization, metadata: {value: "60"}}
`)
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	written, err := yaml.Marshal(s.HPA("web"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: keda-hpa-web
spec:
  maxReplicas: 5
  metrics:
  - external:
      metric:
        name: s0-prometheus
        selector:
          matchLabels:
            scaledobject.keda.sh/name: web
      target:
        averageValue: 10500m
        type: AverageValue
    type: External
  - external:
      metric:
        name: s1-cron-Europe-Berlin-06xx1-5-0Cm3020xxx
        selector:
          matchLabels:
            scaledobject.keda.sh/name: web
      target:
        averageValue: "1"
        type: AverageValue
    type: External
  - resource:
      name: cpu
      target:
        averageUtilization: 60
        type: Utilization
    type: Resource
  minReplicas: 1
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: shop
`
	got, _, _ := strings.Cut(string(written), "status:")
	if got != want {
		t.Errorf("the HPA is\n%s", got)
	}
}

// TestAsk: what triggers tell, as KEDA's scalers read it.
func TestAsk(t *testing.T) {
	answers := func(values ...float64) Query {
		return func(string, time.Time) ([]float64, error) { return values, nil }
	}
	fails := func(string, time.Time) ([]float64, error) { return nil, errors.New("connection refused") }
	prometheus := `{type: prometheus, metadata: {query: up, threshold: "10", activationThreshold: "2"}}`
	strict := `{type: prometheus, metadata: {query: up, threshold: "10", ignoreNullValues: "false"}}`
	hours := func(start, end string) string {
		return fmt.Sprintf(`{type: cron, metadata: {timezone: UTC, start: "%s", end: "%s", desiredReplicas: "4"}}`, start, end)
	}
	for name, c := range map[string]struct {
		triggers string
		query    Query
		want     string
	}{
		"above":                    {prometheus, answers(2.0004), "s0-prometheus 2 active; true false"},
		"at the threshold":         {prometheus, answers(2), "s0-prometheus 2; false false"},
		"negative":                 {prometheus, answers(-1), "s0-prometheus 0; false false"},
		"none":                     {prometheus, answers(), "s0-prometheus 0; false false"},
		"no number":                {prometheus, answers(math.NaN()), "s0-prometheus 0; false false"},
		"none, strict":             {strict, answers(), "s0-prometheus 0 failed; false true"},
		"no number, strict":        {strict, answers(math.Inf(1)), "s0-prometheus 0 failed; false true"},
		"two":                      {prometheus, answers(1, 2), "s0-prometheus 0 failed; false true"},
		"no answer":                {prometheus, fails, "s0-prometheus 0 failed; false true"},
		"one of two fails":         {prometheus + ", " + hours("0 8 * * *", "0 20 * * *"), fails, "s0-prometheus 0 failed; s1-cron-UTC-08xxx-020xxx 4 active; true true"},
		"within hours":             {hours("0 8 * * *", "0 20 * * *"), nil, "s0-cron-UTC-08xxx-020xxx 4 active; true false"},
		"outside hours":            {hours("0 13 * * *", "0 20 * * *"), nil, "s0-cron-UTC-013xxx-020xxx 0; false false"},
		"over midnight":            {hours("0 20 * * *", "0 13 * * *"), nil, "s0-cron-UTC-020xxx-013xxx 4 active; true false"},
		"a start that never comes": {hours("0 0 30 2 *", "0 20 * * *"), nil, "s0-cron-UTC-00302x-020xxx 4 active; true false"},
		"an end that never comes":  {hours("0 8 * * *", "0 0 30 2 *"), nil, "s0-cron-UTC-08xxx-00302x 0; false false"},
		"CPU alone":                {`{type: cpu, metricType: Utilization, metadata: {value: "60"}}`, nil, "true false"},
		"CPU and a zero rate":      {`{type: cpu, metricType: Utilization, metadata: {value: "60"}}, ` + prometheus, answers(0), "s1-prometheus 0; false false"},
	} {
		readings, active, failed := scaledObject(t, "triggers: ["+c.triggers+"]").Ask(noon, c.query)
		var told []string
		for _, r := range readings {
			text := r.Metric + " " + r.Value.String()
			if r.Active {
				text += " active"
			}
			if r.Err != nil {
				text += " failed"
			}
			told = append(told, text)
		}
		told = append(told, fmt.Sprint(active, " ", failed))
		if got := strings.Join(told, "; "); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestCheck names what this package has no rules for.
func TestCheck(t *testing.T) {
	for spec, want := range map[string]string{
		`triggers: [{type: rabbitmq, metadata: {}}]`:                                                                       "trigger 0 of type rabbitmq: is not known here",
		`triggers: [{type: prometheus, metadata: {serverAddress: http://p, query: up, threshold: a}}]`:                     `trigger 0 of type prometheus: threshold is "a" and must be a number`,
		`triggers: [{type: cron, metadata: {start: "0 8 * * *", end: "0 8 * * *", desiredReplicas: "1"}}]`:                 "same time",
		`{fallback: {failureThreshold: 1, replicas: 2}, triggers: [{type: cpu, metadata: {}}]}`:                            "a fallback is not known here",
		`{advanced: {scalingModifiers: {formula: a, target: "1"}}, triggers: [{type: prometheus, name: a, metadata: {}}]}`: "scalingModifiers are not known here",
	} {
		if err := scaledObject(t, spec).Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", spec, err, want)
		}
	}
}
