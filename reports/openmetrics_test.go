package reports

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/hpabench/hpabench/analysis"
)

// Prometheus' own parser reads it, with every figure that was measured.
func TestOpenMetrics(t *testing.T) {
	for name, r := range results(t) {
		var b bytes.Buffer
		if err := OpenMetrics(&b, r); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if !strings.HasSuffix(text, "# EOF\n") {
			t.Errorf("%s has no end", name)
		}
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, err := parser.TextToMetricFamilies(&b)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		read := 0
		for _, f := range families {
			read += len(f.Metric)
		}
		want := 1 + len(r.Expectations)
		for _, f := range r.Figures() {
			if f.Value != nil {
				want++
			}
		}
		if read != want {
			t.Errorf("%s: %d metrics were read, want %d", name, read, want)
		}
		if strings.HasSuffix(name, "/recorded-demo-nginx") {
			for _, line := range []string{
				`hpabench_scale_up_in_service_seconds{scenario="demo-nginx"} 15.926`,
				`hpabench_scale_up_stage_seconds{stage="metricsLag",scenario="demo-nginx"} 12.9`,
				`hpabench_load_errors{phase="surge",scenario="demo-nginx"} 0.0`,
				`hpabench_transition_latency_seconds{transition="2",scenario="demo-nginx"} 300.`,
				`hpabench_expectation_met{expression="scaleUp.inService <= duration(\"90s\")",scenario="demo-nginx"} `,
			} {
				if !strings.Contains(text, "\n"+line) {
					t.Errorf("there is no %s in\n%s", line, text)
				}
			}
		}
	}
	name, labels := metricName(analysis.Figure{Name: "load.on-1.bytesIn", Phase: "on-1", Unit: "bytes"})
	if name != "hpabench_load_in_bytes" || labels[1] != "on-1" {
		t.Error(name, labels)
	}
}
