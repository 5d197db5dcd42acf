package scenarios

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

const swept = `apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: swept}
spec:
  workload:
    deployment: {image: nginx, port: 80, resources: {requests: {cpu: 50m}}}
  autoscaler: {cpuPercent: 50, max: 5}
  load:
    phases:
    - {name: surge, duration: 10s, rate: 5}
  matrix:
    target: [40, 60]
    stabilization: [0s, 300s]
`

func parseSwept(t *testing.T, source string) *File {
	t.Helper()
	f, err := Parse("swept.yaml", []byte(source), func(name string) (string, []byte, error) { return name, nil, os.ErrNotExist })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestVariants(t *testing.T) {
	f := parseSwept(t, swept)
	rate, err := ParseSetting("load.phases[0].rate=5,7")
	if err != nil {
		t.Fatal(err)
	}
	settings := f.Settings([]Setting{rate, {Name: "target", Values: []any{80}}})
	variants, err := f.Variants(settings)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range variants {
		hpa := v.Autoscaling()
		if window, cpu := *hpa.Behavior.ScaleDown.StabilizationWindowSeconds, *hpa.Metrics[0].Resource.Target.AverageUtilization; cpu != 80 || (window == 0) != (v.Values[0] == "0s") {
			t.Errorf("%v has %d %% and a window of %d s", v.Values, cpu, window)
		}
		if *v.Spec.Load.Phases[0].Rate != 5 != (v.Values[1] == "7") {
			t.Errorf("%v has a rate of %g", v.Values, *v.Spec.Load.Phases[0].Rate)
		}
		if v.Spec.Matrix != nil || strings.Contains(string(v.Source), "matrix") || !strings.Contains(string(v.Source), "cpuPercent: 80") {
			t.Errorf("its source is\n%s", v.Source)
		}
		got = append(got, v.Name(settings))
	}
	if want := "stabilization=0s load.phases[0].rate=5 target=80|stabilization=0s load.phases[0].rate=7 target=80|stabilization=300s load.phases[0].rate=5 target=80|stabilization=300s load.phases[0].rate=7 target=80"; strings.Join(got, "|") != want {
		t.Errorf("got %s", strings.Join(got, "|"))
	}
	if f.Spec.Matrix == nil || *f.Spec.Autoscaler.CPUPercent != 50 {
		t.Error("the scenario itself was changed")
	}

	long := parseSwept(t, strings.Replace(swept, "{cpuPercent: 50, max: 5}", "{spec: {maxReplicas: 5, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}}", 1))
	if variants, err = long.Variants(long.Settings(nil)); err != nil || len(variants) != 4 {
		t.Fatal(variants, err)
	}
	if hpa := variants[3].Autoscaling(); *hpa.Behavior.ScaleDown.StabilizationWindowSeconds != 300 || *hpa.Metrics[0].Resource.Target.AverageUtilization != 60 {
		t.Errorf("%+v", hpa)
	}
}

// TestVariantsShowNoSecrets: names of variants are shown and those of folders, so they differ.
func TestVariantsShowNoSecrets(t *testing.T) {
	f := parseSwept(t, strings.Replace(swept, "image: nginx,", "image: nginx, env: [{name: DB_PASSWORD, value: a}],", 1))
	for name, want := range map[string]string{
		"load.path=/?token=s3cret,/?token=s3cret2,/x":     "load.path=/?token=xxxxx#1|load.path=/?token=xxxxx#2|load.path=/x",
		"load.headers={X-Api-Key: s3cret},{A: b}":         "load.headers=map[X-Api-Key:xxxxx]#1|load.headers=map[A:b]",
		"load.headers.X-Api-Key=s3cret":                   "load.headers.X-Api-Key=xxxxx#1",
		"workload.deployment.env[0].value=s3cret,s3cret2": "workload.deployment.env[0].value=xxxxx#1|workload.deployment.env[0].value=xxxxx#2",
	} {
		setting, err := ParseSetting(name)
		if err != nil {
			t.Fatal(err)
		}
		variants, err := f.Variants([]Setting{setting})
		if err != nil && strings.Contains(err.Error(), "s3c") {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, v := range variants {
			got = append(got, v.Name([]Setting{setting}))
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%s: %s, %v", name, strings.Join(got, "|"), err)
		}
	}
}

func TestBadVariants(t *testing.T) {
	for replaced, want := range map[string]string{
		"target: [40, 0]":                    "swept.yaml:11: with stabilization=0s target=0: spec.autoscaler.cpuPercent must be at least 1",
		"targt: [40]":                        `swept.yaml:11: with stabilization=0s targt=40: unknown field "targt" in spec (did you mean "target"?)`,
		"load.phases[3].rate: [40]":          "load.phases[3].rate cannot be set: there is no item 3 of 1",
		"metadata.name.x: [40]":              `unknown field "metadata" in spec`,
		"load.phases[0].duration.x: [40, 5]": "load.phases[0].duration.x cannot be set: what has the field x is no mapping",
	} {
		f := parseSwept(t, strings.Replace(swept, "target: [40, 60]", replaced, 1))
		_, err := f.Variants(f.Settings(nil))
		var faults Faults
		if !errors.As(err, &faults) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", replaced, err, want)
		}
	}
	for given, want := range map[string]string{ // of --set, space between
		"target=40,0":                       "--set target=0 with stabilization=0s: spec.autoscaler.cpuPercent must be at least 1",
		"min=9 target=0":                    "--set target=0 with stabilization=0s: spec.autoscaler.cpuPercent must be at least 1",
		"scaleUp.percent=50 scaleUp.pods=1": "--set scaleUp.pods: scaleUp.percent and scaleUp.pods are each the only policy of scaleUp: set one of them",
		"min=9 max=8":                       "--set min=9 --set max=8 with stabilization=0s target=40: spec.autoscaler.max: Invalid value: 8",
		"scaleDown.stabilisation=0s":        `(did you mean "scaleDown.stabilization"?)`,
		"foobar=1":                          `unknown field "foobar" in spec (a path within the spec, or one of activationThreshold, cooldownPeriod, max, min, pollingInterval, scaleDown.percent, scaleDown.pods, scaleDown.stabilization (or stabilization), scaleDown.tolerance, scaleUp.percent, scaleUp.pods, scaleUp.stabilization, scaleUp.tolerance, target, threshold; with hpabench simulate and tune also scrape, sync)`,
		"syn=5s":                            `unknown field "syn" in spec (did you mean "sync"?)`,
		"min=2,3,2":                         "--set min: min has the value 2 twice",
		"load.phases[9].rate=1":             "--set load.phases[9].rate=1 with stabilization=0s target=40: load.phases[9].rate cannot be set: there is no item 9 of 1",
		"load.phases[0].duration=32d":       `duration wants a duration in h, m, s or ms such as 48h or 1m30s, has "32d" (write 768h)`,
		"load.phases[0].rate=1,2,3,-4":      "--set load.phases[0].rate=-4 with",
		"target=40 stabilization=0s load.phases[0].rate=-1": "--set load.phases[0].rate=-1: spec.load",
	} {
		f, all := parseSwept(t, swept), []Setting{}
		for text := range strings.FieldsSeq(given) {
			s, err := ParseSetting(text)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		if _, err := f.Variants(f.Settings(all)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "swept.yaml") {
			t.Errorf("--set %s: got %v, want %s", given, err, want)
		}
	}
	for _, s := range []string{"target", "=4", "target=", "target=[4"} {
		if _, err := ParseSetting(s); err == nil {
			t.Errorf("%s is taken", s)
		}
	}
}

// A setting of tune's --vary is the same setting in a matrix and in --set, in the short form of
// an autoscaler and in a whole spec.
func TestSettingsAreThoseOfTune(t *testing.T) {
	scaled := strings.Replace(swept, "{cpuPercent: 50, max: 5}", "{scaledObject: {maxReplicaCount: 5, triggers: [{type: prometheus, metadata: {serverAddress: 'http://prometheus', query: up, threshold: '5'}}, {type: cpu, metricType: Utilization, metadata: {value: '50'}}]}}", 1)
	whole := strings.Replace(swept, "{cpuPercent: 50, max: 5}", "{spec: {minReplicas: 1, maxReplicas: 5, metrics: [{type: Pods, pods: {metric: {name: a}, target: {type: AverageValue, averageValue: 5}}}, {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}}", 1)
	bytes := strings.Replace(swept, "{cpuPercent: 50, max: 5}", "{spec: {maxReplicas: 5, metrics: [{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 24Mi}}}]}}", 1)
	none := strings.Replace(swept, "{cpuPercent: 50, max: 5}", "{spec: {maxReplicas: 5}}", 1)
	for _, c := range []struct{ source, set, want string }{
		{swept, "target=40", `"averageUtilization":40`},
		{whole, "target=40", `"averageUtilization":40`},
		{none, "target=40", `"averageUtilization":40`},
		{bytes, "target=32Mi", `"averageValue":"32Mi"`},
		{swept, "max=7", `"maxReplicas":7`},
		{whole, "autoscaler.min=2", `"minReplicas":2`},
		{swept, "scaleDown.stabilization=60s", `"scaleDown":{"stabilizationWindowSeconds":60,`},
		{whole, "stabilization=60s", `"scaleDown":{"stabilizationWindowSeconds":60,`},
		{swept, "scaleUp.stabilization=30s", `"scaleUp":{"stabilizationWindowSeconds":30,`},
		{swept, "scaleUp.stabilization=30s", `"averageUtilization":50`},
		{whole, "scaleUp.pods=4", `"policies":[{"type":"Pods","value":4,"periodSeconds":15}]},"scaleDown"`},
		{swept, "scaleDown.percent=50", `"scaleDown":{"selectPolicy":"Max","policies":[{"type":"Percent","value":50,"periodSeconds":15}]}`},
		{swept, "scaleUp.tolerance=0.05", `"tolerance":"50m"},"scaleDown"`},
		{scaled, "pollingInterval=5s", `"pollingInterval":5,`},
		{scaled, "cooldownPeriod=60", `"cooldownPeriod":60,`},
		{scaled, "min=2", `"minReplicaCount":2,`},
		{scaled, "max=7", `"maxReplicaCount":7,`},
		{scaled, "threshold=2.5", `"threshold":"2.5"`},
		{scaled, "activationThreshold=3", `"activationThreshold":"3"`},
		{scaled, "target=60", `"value":"60"`},
		{strings.Replace(scaled, ", {type: cpu, metricType: Utilization, metadata: {value: '50'}}", "", 1), "target=60", `"threshold":"60"`},
		{scaled, "scaleDown.stabilization=60s", `"behavior":{"scaleDown":{"stabilizationWindowSeconds":60}}`},
		{scaled, "scaleUp.pods=4", `"policies":[{"type":"Pods","value":4,"periodSeconds":15}]`},
	} {
		setting, err := ParseSetting(c.set)
		if err != nil {
			t.Fatal(err)
		}
		f := parseSwept(t, c.source)
		f.Spec.Matrix = nil
		variants, err := f.Variants([]Setting{setting})
		if err != nil {
			t.Errorf("%s: %v", c.set, err)
			continue
		}
		spec, _ := json.Marshal(variants[0].Autoscaling())
		if keda := variants[0].ScaledObjectSpec(); keda != nil {
			spec, _ = json.Marshal(keda)
		}
		if !strings.Contains(string(spec), c.want) {
			t.Errorf("%s gives %s, should have %s", c.set, spec, c.want)
		}
	}
	for source, set := range map[string]string{swept: "pollingInterval=5", strings.Replace(scaled, "type: prometheus", "type: rabbitmq", 1): "threshold=5"} {
		setting, err := ParseSetting(set)
		if err != nil {
			t.Fatal(err)
		}
		f := parseSwept(t, source)
		f.Spec.Matrix = nil
		if _, err := f.Variants([]Setting{setting}); err == nil || !strings.Contains(err.Error(), "ScaledObject") {
			t.Errorf("%s: %v", set, err)
		}
	}
	f := parseSwept(t, swept) // its matrix has a stabilization
	if settings := f.Settings([]Setting{{Name: "scaleDown.stabilization", Values: []any{"60s"}}}); len(settings) != 2 {
		t.Errorf("of two names of one setting both are left: %+v", settings)
	}
}
