package reports

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

// Diagnosis is what doctor found; it is also its JSON document. What is of one
// autoscaler is as in analysis.Result, and absent if none was named.
type Diagnosis struct {
	Able       bool                 `json:"able"` // nothing keeps it from scaling, and no right to look is missing
	Checks     []record.Check       `json:"checks"`
	Cluster    *record.Cluster      `json:"cluster,omitempty"`
	Subject    *record.Subject      `json:"subject,omitempty"`
	Autoscaler *analysis.Autoscaler `json:"autoscaler,omitempty"`
	Now        *analysis.Now        `json:"now,omitempty"`
	Events     []analysis.Event     `json:"events,omitempty"` // warnings, and the HPA's own, of each its last count
	Findings   []analysis.Finding   `json:"findings,omitempty"`

	started time.Time
}

// Diagnose makes a diagnosis of the checks of a cluster, and of the result for one autoscaler; nil if
// none was named.
func Diagnose(checks []record.Check, cluster *record.Cluster, r *analysis.Result) *Diagnosis {
	d := &Diagnosis{Checks: checks, Cluster: cluster}
	if r != nil {
		d.Subject, d.Autoscaler, d.Now, d.Findings, d.started = r.Subject, r.Autoscaler, r.Now, r.Findings, r.Started
		type key struct{ kind, name, reason, message string }
		last := map[key]analysis.Event{}
		for _, e := range r.Events {
			if isNotable(e) && e.Reason != "FailedComputeMetricsReplicas" { // which comes with another that has its cause
				last[key{e.Kind, e.Name, e.Reason, e.Message}] = e
			}
		}
		d.Events = slices.SortedFunc(maps.Values(last), func(a, b analysis.Event) int {
			return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Reason, b.Reason))
		})
	}
	d.Able = !d.Blind() && !d.Ill()
	return d
}

// Blind says that a check could not look, for want of a right.
func (d *Diagnosis) Blind() bool {
	return slices.ContainsFunc(d.Checks, func(c record.Check) bool { return c.Forbidden })
}

// Ill says that something was found that keeps it from scaling.
func (d *Diagnosis) Ill() bool {
	return slices.ContainsFunc(d.Checks, func(c record.Check) bool { return c.Outcome == record.Fault && !c.Forbidden }) ||
		slices.ContainsFunc(d.Findings, func(f analysis.Finding) bool { return f.Severity == analysis.Blocks })
}

// DiagnosisJSON writes d as indented JSON.
func DiagnosisJSON(w io.Writer, d *Diagnosis) error { return indented(w, d) }

// DiagnosisText writes what comes below the checks, for a terminal of that many columns.
func DiagnosisText(w io.Writer, d *Diagnosis, width int) error {
	var b bytes.Buffer
	line := func(mark, text string) { writeParagraph(&b, width, fmt.Sprintf("%-7s  ", mark), text) }
	if d.Now != nil && d.Autoscaler != nil {
		b.WriteString("\n")
		line("set to", d.setting())
		line("now", d.state())
		line("does", d.Now.Says)
		mark := "says"
		for _, c := range d.Now.Conditions {
			if matters(c) && !strings.Contains(d.Now.Says, c.Reason) {
				line(mark, condition(c))
				mark = ""
			}
		}
	}
	mark := "events"
	for _, e := range d.Events {
		times := ""
		if e.Count > 1 {
			times = fmt.Sprintf(" (%d times)", e.Count)
		}
		kind := strings.Replace(strings.ToLower(e.Kind), "horizontalpodautoscaler", "hpa", 1)
		line(mark, fmt.Sprintf("%s ago  %s/%s  %s%s: %s", clock(d.started.Sub(e.Time).Seconds()), kind, e.Name, e.Reason, times, e.Message))
		mark = ""
	}
	if d.Subject != nil {
		b.WriteString("\n")
	}
	for _, f := range d.Findings {
		line(f.Severity, objects(f)+": "+f.Seen)
		line("", f.Cause)
		line("", f.Advice)
	}
	if d.Subject != nil && len(d.Findings) == 0 && d.Able {
		line("ok", "nothing was found that stands in its way")
	}
	_, err := b.WriteTo(&Terminal{Writer: w})
	return err
}

func (d *Diagnosis) setting() string {
	a := d.Autoscaler
	s := fmt.Sprintf("%d to %d replicas, on %s; tolerance %g %%", a.Min, a.Max, strings.Join(a.Metrics, ", "), a.ScaleUpTolerance*100)
	if a.ScaleDownTolerance != a.ScaleUpTolerance {
		s += fmt.Sprintf(" up and %g %% down", a.ScaleDownTolerance*100)
	}
	s += fmt.Sprintf(", scale-down window %.0f s", a.ScaleDownWindowSeconds)
	if len(a.Assumed) > 0 {
		s += " (assumed, as these are flags of the controller manager: " + strings.Join(a.Assumed, ", ") + ")"
	}
	return s
}

func (d *Diagnosis) state() string {
	var parts []string
	if n := d.Now; n.Replicas != nil && n.Ready != nil {
		parts = append(parts, fmt.Sprintf("%d of %d replicas ready", *n.Ready, *n.Replicas))
	}
	for _, m := range d.Now.Metrics {
		s := fmt.Sprintf("%s: target %s, the HPA's status has %s", m.Name, m.Target, cmp.Or(m.Status, "none"))
		if m.Pods != "" {
			s += ", the pods' metrics " + m.Pods
		}
		if m.OldestSampleSeconds != nil {
			s += fmt.Sprintf(" (up to %.0f s old)", *m.OldestSampleSeconds)
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "; ")
}

// matters says whether a condition is not what it is when all is well.
func matters(c analysis.Condition) bool {
	if c.Type == "ScalingLimited" {
		return c.Status == "True"
	}
	return c.Status == "False" && c.Type != "ScaledToZero" || strings.HasSuffix(c.Reason, "Stabilized")
}

func condition(c analysis.Condition) string {
	s := fmt.Sprintf("%s is %s", c.Type, c.Status)
	// The time is that of the status, not of the reason.
	if c.SinceSeconds != nil && !strings.HasSuffix(c.Reason, "Stabilized") {
		s += " since " + clock(*c.SinceSeconds)
	}
	return fmt.Sprintf("%s (%s): %s", s, c.Reason, c.Message)
}

// clock writes seconds as 4m05s, without fractions.
func clock(seconds float64) string {
	return time.Duration(max(seconds, 0) * float64(time.Second)).Round(time.Second).String()
}
