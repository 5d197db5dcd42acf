package record

import (
	"slices"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func TestMetricsRead(t *testing.T) {
	for status, want := range map[string]struct {
		read bool
		why  string
	}{
		`{}`: {},
		`{conditions: [{type: ScalingActive, status: "False", message: no metrics}], currentMetrics: [{type: Resource}]}`: {why: "no metrics"},
		`{conditions: [{type: AbleToScale, status: "False", message: no scale}]}`:                                         {why: "no scale"},
		`{conditions: [{type: ScalingActive, status: "True"}], currentMetrics: [{type: ""}]}`:                             {},
		`{conditions: [{type: ScalingActive, status: "True"}]}`:                                                           {},
		// Neither of these keeps it from its work.
		`{conditions: [{type: ScaledToZero, status: "False", message: not at zero}, {type: ScalingLimited, status: "False", message: within}]}`:                                                          {},
		`{conditions: [{type: ScalingActive, status: "True"}, {type: ScaledToZero, status: "False", message: not at zero}], currentMetrics: [{type: Resource}]}`:                                         {read: true},
		`{conditions: [{type: ScalingActive, status: "False", message: no metrics}, {type: ScaledToZero, status: "False", message: not at zero}, {type: ScalingLimited, status: "False", message: in}]}`: {why: "no metrics"},
	} {
		var s autoscalingv2.HorizontalPodAutoscalerStatus
		if err := yaml.Unmarshal([]byte(status), &s); err != nil {
			t.Fatal(err)
		}
		for _, metrics := range [][]autoscalingv2.MetricSpec{nil, make([]autoscalingv2.MetricSpec, 1)} {
			if read, why := MetricsRead(metrics, s); read != want.read || why != want.why {
				t.Errorf("%s: got %v, %q", status, read, why)
			}
		}
		if read, _ := MetricsRead(make([]autoscalingv2.MetricSpec, 2), s); read {
			t.Errorf("%s: one metric stands for two", status)
		}
	}
}

// What a pod requests and may use, as its spec is written: of its containers, of all of them together, or both.
func TestRequestAndLimit(t *testing.T) {
	const a, b = `{name: a, resources: {requests: {cpu: 200m}}}`, `{name: b}`
	for _, c := range []struct{ spec, container, request, limit, lacking string }{
		{`{containers: [` + a + `]}`, "", "200m", "0", ""},
		{`{containers: [` + a + `, ` + b + `]}`, "", "200m", "0", "b"},
		{`{containers: [{name: a, resources: {limits: {cpu: 300m}}}]}`, "", "300m", "300m", ""},
		{`{containers: [{name: a, resources: {requests: {cpu: 0}, limits: {cpu: 300m}}}]}`, "", "0", "300m", "a"},
		{`{resources: {limits: {cpu: 1}}, containers: [` + a + `, ` + b + `]}`, "", "200m", "1", ""},
		{`{resources: {limits: {cpu: 1}}, containers: [` + a + `, ` + b + `]}`, "b", "0", "1", "b"},
		{`{resources: {limits: {cpu: 1}}, containers: [` + a + `, ` + b + `]}`, "a", "200m", "1", ""},
		{`{resources: {limits: {cpu: 1}}, containers: [` + b + `]}`, "", "1", "1", ""},
		{`{resources: {requests: {cpu: 500m}}, containers: [` + a + `]}`, "", "500m", "0", ""},
		{`{resources: {requests: {memory: 1Gi}}, containers: [` + a + `, ` + b + `]}`, "", "200m", "0", ""},
		{`{resources: {requests: {memory: 1Gi}}, containers: [` + b + `]}`, "", "0", "0", "b"},
		{`{resources: {requests: {cpu: 500m}, limits: {cpu: 500m}}, containers: [{name: a, resources: {limits: {cpu: 300m}}}, {name: b, resources: {limits: {cpu: 300m}}}]}`, "", "500m", "500m", ""},
		{`{initContainers: [{name: i, resources: {requests: {cpu: 9}}}, {name: s, restartPolicy: Always, resources: {requests: {cpu: 50m}}}], containers: [` + a + `]}`, "", "250m", "0", ""},
	} {
		var pod corev1.PodSpec
		if err := yaml.Unmarshal([]byte(c.spec), &pod); err != nil {
			t.Fatal(err)
		}
		containers := ContainersOf(pod)
		request, lacking := Request(corev1.ResourceCPU, c.container, containers, pod.Resources)
		limit := Limit(corev1.ResourceCPU, pod.Resources, slices.DeleteFunc(containers, func(x ContainerResources) bool { return c.container != "" && x.Name != c.container })...)
		if request.String() != c.request || limit.String() != c.limit || strings.Join(lacking, " ") != c.lacking {
			t.Errorf("%s of %q: request %s, limit %s, lacking %q; want %+v", c.spec, c.container, &request, &limit, lacking, c)
		}
	}
}

// A record has no secret of a probe: neither its command, its headers nor the query of its path.
func TestProbesKeepNoSecrets(t *testing.T) {
	var pod corev1.PodSpec
	if err := yaml.Unmarshal([]byte(`{containers: [{name: a,
  startupProbe: {exec: {command: [check, s3cret]}},
  readinessProbe: {httpGet: {path: "/ready?token=s3cret", port: 80, httpHeaders: [{name: Authorization, value: s3cret}]}, periodSeconds: 5},
  livenessProbe: {httpGet: {path: /healthz, port: 80}}}]}`), &pod); err != nil {
		t.Fatal(err)
	}
	kept, err := yaml.Marshal(ContainersOf(pod))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"path: /ready\n", "path: /healthz\n", "periodSeconds: 5"} {
		if !strings.Contains(string(kept), part) {
			t.Errorf("lacks %q:\n%s", part, kept)
		}
	}
	if strings.Contains(string(kept), "s3cret") {
		t.Errorf("%s", kept)
	}
}
