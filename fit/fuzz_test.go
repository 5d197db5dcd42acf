package fit

import (
	"os"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/simulate"

	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/model"
)

// odd has characters that a record can have, and YAML cannot as they are.
const odd = "a\x1b[31m\u009b\u007f\u0085\u2028\ufeff\ufffe\uffff\U0001f600 b"

// plant is a plant without a measurement.
func plant(t testing.TB) string {
	var text strings.Builder
	f := &Fit{Version: Version, From: odd, Plant: simulate.Guess(corev1.PodSpec{Containers: []corev1.Container{{Image: "nginx"}}}, model.Model{})}
	if err := f.Write(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// What no cluster has is refused, by the name of its field.
func TestPlantIsBounded(t *testing.T) {
	good := plant(t)
	if f, err := parse("p.yaml", []byte(good)); err != nil || f.From != odd {
		t.Fatalf("%v in\n%s", err, good)
	}
	for replaced, want := range map[[2]string]string{
		{"  resolution: 15s", "  resolution: 2562047h"}:                       "plant.metrics.resolution is 2562047h0m0s and must be from 1s to 1h0m0s",
		{"  housekeeping: 10s", "  housekeeping: 1ns"}:                        "plant.metrics.housekeeping is 1ns",
		{"  delay: 50ms", "  delay: -1s"}:                                     "plant.metrics.delay",
		{"SyncPeriod: 15s", "SyncPeriod: 100000h"}:                            "horizontalPodAutoscalerSyncPeriod is 100000h0m0s",
		{"Tolerance: 0.1", "Tolerance: 1e300"}:                                "horizontalPodAutoscalerTolerance is 1e+300",
		{"    gone: 800ms", "    gone: 9000000h"}:                             "neither a record nor a plant",
		{"    gone: 800ms", "    gone: 25h"}:                                  "plant.pods.gone[0] is 25h0m0s and must be from 0s to 24h0m0s",
		{"    gone: 800ms", "    gone: " + strings.Repeat("1s ", 2e4)}:        "plant.pods.gone has 20000 values and may have 10000",
		{"  - cpu: 4", "  - cpu: 1e300"}:                                      "plant.nodes[0].cpu is 1e+300",
		{"  - cpu: 4", "  - cpu: -1"}:                                         "plant.nodes[0].cpu",
		{"cpu: \"4\"", "cpu: .8E888888888462"}:                                "an exponent of more than three digits",
		{"PerRequest: ", "PerRequest: ' 1e-888888888 ' # "}:                   "an exponent of more than three digits",
		{"PerRequest: ", "PerRequest: " + strings.Repeat("1", 4e6) + " # "}:   "more than 100 characters",
		{"  - cpu: 4", "  - cpu: .inf"}:                                       "neither a record nor a plant",
		{"    workers: 1\n", "    workers: 9223372036854775807\n"}:            "workers is 9223372036854775807 and must be from 1 to",
		{"plant:", "plant:\n  costs: [1e-300]"}:                               "plant.costs[0] is 1e-300",
		{"plant:", "plant:\n  costs: [" + strings.Repeat("-1, ", 500) + "1]"}: "faults more",
		{"plant:", "plant: &a\n  x: *a\n"}:                                    "neither a record nor a plant",
		{"version: ", "version: &a [*a]\nx: "}:                                "neither a record nor a plant",
	} {
		text := strings.Replace(good, replaced[0], replaced[1], 1)
		if text == good {
			t.Fatalf("no %q in\n%s", replaced[0], good)
		}
		if _, err := parse("p.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 3000 {
			t.Errorf("%.80q: %.3000v, want %q", replaced[1], err, want)
		}
	}
	if _, err := os.Stat("/dev/zero"); err == nil {
		if _, err := Open("/dev/zero"); err == nil || !strings.Contains(err.Error(), "it is a device, whose end may never come") {
			t.Errorf("/dev/zero: %v", err)
		}
	}
}

func FuzzPlant(f *testing.F) {
	f.Add([]byte(plant(f)))
	f.Add([]byte("version: hpabench.dev/plant/v1\nplant: {workload: {cpu: {mean: 1ms}}, costs: [1, 2], pods: {start: 600ms 1s}, nodes: [{name: a, cpu: 4, free: {cpu: 4, pods: 10}}], metrics: {resolution: 15s}, controlPlane: {latency: 3ms, horizontalPodAutoscalerSyncPeriod: 15s}}\n"))
	f.Fuzz(func(t *testing.T, source []byte) {
		if len(source) > 4096 {
			return
		}
		p, err := parse("p.yaml", source)
		if err != nil {
			if !strings.Contains(err.Error(), "p.yaml") {
				t.Errorf("%q does not name the file", err)
			}
			return
		}
		// What was accepted is written and read again.
		var text strings.Builder
		if err := p.Write(&text); err != nil {
			t.Fatal(err)
		}
		if _, err := parse("p.yaml", []byte(text.String())); err != nil {
			t.Errorf("%s became\n%s: %v", source, text.String(), err)
		}
	})
}
