package reports

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/hpabench/hpabench/analysis"
)

// OpenMetrics writes every figure that was measured as a gauge in OpenMetrics text, which
// a push gateway takes too: hpabench_scale_up_in_service_seconds, with the scenario as a
// label, and where there are several of a figure the phase, the transition or the stage.
// hpabench_expectation_met is 1 or 0 for each expectation, hpabench_run is always 1.
func OpenMetrics(w io.Writer, r *analysis.Result) error {
	var order []string
	families := map[string]*dto.MetricFamily{}
	gauge := func(name, help string, value float64, labels ...string) {
		f := families[name]
		if f == nil {
			f = &dto.MetricFamily{Name: &name, Help: &help, Type: dto.MetricType_GAUGE.Enum()}
			families[name], order = f, append(order, name)
		}
		m := &dto.Metric{Gauge: &dto.Gauge{Value: &value}}
		for i, labels := 0, append(labels, "scenario", r.Scenario); i < len(labels); i += 2 {
			m.Label = append(m.Label, &dto.LabelPair{Name: &labels[i], Value: new(oneLine(labels[i+1]))})
		}
		f.Metric = append(f.Metric, m)
	}
	kubernetes := ""
	if r.Cluster != nil {
		kubernetes = r.Cluster.Version
	}
	gauge("hpabench_run", "A run of a scenario.", 1, "run", r.Run, "outcome", r.Outcome, "kubernetes", kubernetes, "version", r.Hpabench)
	for _, e := range r.Expectations {
		met := 0.0
		if e.Outcome == analysis.Met {
			met = 1
		}
		labels := []string{"expression", e.Expression}
		if e.Assumed {
			labels = append(labels, "assumed", "true")
		}
		gauge("hpabench_expectation_met", "Whether an expectation was met.", met, labels...)
	}
	for _, f := range r.Figures() {
		if f.Value == nil {
			continue
		}
		name, labels := metricName(f)
		gauge(name, f.Help, *f.Value, labels...)
	}
	var b bytes.Buffer
	for _, name := range order {
		if _, err := expfmt.MetricFamilyToOpenMetrics(&b, families[name]); err != nil {
			return fmt.Errorf("writing OpenMetrics: %w", err)
		}
	}
	if _, err := expfmt.FinalizeOpenMetrics(&b); err != nil {
		return err
	}
	_, err := b.WriteTo(w)
	return err
}

var capital = regexp.MustCompile(`[A-Z]`)

// metricName is the name of a figure by the customs of Prometheus; the parts of it that say
// which of several it is are labels.
func metricName(f analysis.Figure) (name string, labels []string) {
	name = f.Name
	if f.Phase != "" {
		labels = append(labels, "phase", f.Phase)
		name = "load" + strings.TrimPrefix(name, "load."+f.Phase)
	}
	if n := fmt.Sprint(f.Transition); f.Transition > 0 {
		labels = append(labels, "transition", n)
		name = "transition" + strings.TrimPrefix(name, "transition."+n)
	}
	if f.Stage != "" {
		labels = append(labels, "stage", f.Stage)
		name = strings.TrimSuffix(name, "."+f.Stage)
	}
	name = capital.ReplaceAllStringFunc(name, func(c string) string { return "_" + strings.ToLower(c) })
	name = "hpabench_" + strings.ReplaceAll(name, ".", "_")
	switch f.Unit {
	case "s":
		name += "_seconds"
	case "1/s":
		name += "_per_second"
	case "bytes":
		name = strings.Replace(name, "_bytes", "", 1) + "_bytes"
	}
	return name, labels
}
