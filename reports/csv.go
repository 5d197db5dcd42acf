package reports

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hpabench/hpabench/analysis"
)

// SummaryCSV writes one row a figure: name, value, unit, precision (in the same
// unit, empty if exact), where there is no value, why, and what casts doubt on it. See
// analysis.Result.Figures for the names, which stay.
func SummaryCSV(w io.Writer, r *analysis.Result) error {
	rows := [][]string{{"name", "value", "unit", "precision", "missing", "doubt"}}
	for _, f := range r.Figures() {
		precision := ""
		if f.Value != nil && f.Precision > 0 {
			precision = cell(&f.Precision)
		}
		rows = append(rows, []string{f.Name, cell(f.Value), f.Unit, precision, f.Missing, f.Doubt})
	}
	return write(w, rows)
}

// timelineCSV writes one row a second, or one for each Result.TimelineEvery, see
// analysis.Second.
func timelineCSV(w io.Writer, r *analysis.Result) error {
	c := sheet{csv.NewWriter(w)}
	head := []string{"second", "phase", "offered", "answered", "failed", "p50_seconds", "p90_seconds", "p99_seconds", "cpu_cores", "memory_bytes",
		"cpu_percent", "hpa_percent", "desired", "spec_replicas", "pods", "ready", "in_service", "terminating", "unsent", "late", "late_max_seconds", "demand"}
	for _, s := range r.Signals {
		head = append(head, "metric_"+s.Name)
	}
	if r.Queue != nil {
		head = append(head, "queue_backlog", "queue_oldest_seconds")
	}
	c.row(head)
	for _, s := range r.Timeline {
		row := []string{cell(&s.Second), s.Phase, cell(&s.Offered), cell(&s.Answered), cell(&s.Failed), cell(s.P50), cell(s.P90), cell(s.P99),
			cell(s.CPUCores), cell(s.MemoryBytes), cell(s.CPUPercent), cell(s.HPAPercent), cell(s.Desired), cell(s.Spec),
			cell(s.Pods), cell(s.Ready), cell(s.InService), cell(s.Terminating), cell(&s.Unsent), cell(&s.Late), cell(&s.LateMax), cell(s.Demand)}
		for _, v := range s.Signals {
			row = append(row, cell(v))
		}
		if r.Queue != nil {
			row = append(row, cell(s.Backlog), cell(s.Oldest))
		}
		c.row(row)
	}
	c.Flush()
	return c.Error()
}

// podsCSV writes one row a pod, see analysis.Pod. Columns that start with
// object_ are the object's own timestamps, on another clock.
func podsCSV(w io.Writer, r *analysis.Result) error {
	rows := [][]string{{"pod", "uid", "node", "before", "restarts", "first_seen", "created", "scheduled", "initialized", "started", "ready", "in_service",
		"terminating", "out_of_service", "gone", "precision", "object_created", "object_scheduled", "object_initialized", "object_containers_ready", "object_ready", "object_deletion"}}
	for _, p := range r.Pods {
		o := p.Object
		rows = append(rows, []string{p.Name, p.UID, p.Node, strconv.FormatBool(p.Before), cell(&p.Restarts), cell(&p.FirstSeen), cell(p.Created), cell(p.Scheduled),
			cell(p.Initialized), cell(p.Started), cell(p.Ready), cell(p.InService), cell(p.Terminating), cell(p.OutOfService), cell(p.Gone), cell(&p.PrecisionSeconds),
			stamp(&o.Created), stamp(o.Scheduled), stamp(o.Initialized), stamp(o.ContainersReady), stamp(o.Ready), stamp(o.Deletion)})
	}
	return write(w, rows)
}

// eventsCSV writes one row an event; time is the object's own.
func eventsCSV(w io.Writer, r *analysis.Result) error {
	rows := [][]string{{"at", "kind", "name", "type", "reason", "message", "count", "time"}}
	for _, e := range r.Events {
		rows = append(rows, []string{cell(&e.AtSeconds), e.Kind, e.Name, e.Type, e.Reason, e.Message, cell(&e.Count), stamp(&e.Time)})
	}
	return write(w, rows)
}

// stagesCSV writes one row a transition, pod and stage: transitions count from 1,
// and which says whether the pod is the first, the median or the slowest of it.
func stagesCSV(w io.Writer, r *analysis.Result) error {
	rows := [][]string{{"transition", "direction", "to_phase", "pod", "which", "stage", "seconds", "precision", "starts_at", "ends_at", "includes", "missing"}}
	for i, t := range r.Transitions {
		var pods []analysis.PodStages
		var first, median, slowest *analysis.PodStages
		if u := t.ScaleUp; u != nil {
			pods, first, median, slowest = u.Pods, u.First, u.Median, u.Slowest
		} else if d := t.ScaleDown; d != nil {
			pods, first, median, slowest = d.Pods, d.First, d.Median, d.Slowest
		}
		if len(pods) == 0 && first != nil {
			pods = []analysis.PodStages{*first}
		}
		for _, p := range pods {
			var which []string
			for name, is := range map[string]*analysis.PodStages{"first": first, "median": median, "slowest": slowest} {
				if is != nil && is.Pod == p.Pod {
					which = append(which, name)
				}
			}
			slices.Sort(which)
			for _, s := range p.Stages {
				row := []string{strconv.Itoa(i + 1), t.Direction, t.ToPhase, p.Pod, strings.Join(which, " "), s.Name, cell(s.Seconds), "", "", cell(s.EndsAtSeconds), strings.Join(s.Includes, " "), s.Missing}
				if s.Seconds != nil {
					row[7] = cell(&s.PrecisionSeconds)
				}
				if s.Seconds != nil && s.EndsAtSeconds != nil {
					row[8] = cell(new(*s.EndsAtSeconds - *s.Seconds))
				}
				rows = append(rows, row)
			}
		}
	}
	return write(w, rows)
}

// findingsCSV writes one row a finding, the worst first; further objects are
// joined by blanks.
func findingsCSV(w io.Writer, r *analysis.Result) error {
	rows := [][]string{{"kind", "severity", "object", "others", "since", "until", "seen", "cause", "advice", "doubt"}}
	for _, f := range r.Findings {
		rows = append(rows, []string{f.Kind, f.Severity, f.Object, strings.Join(f.Others, " "), cell(f.SinceSeconds), cell(f.UntilSeconds), f.Seen, f.Cause, f.Advice, f.Doubt})
	}
	return write(w, rows)
}

func write(w io.Writer, rows [][]string) error {
	c := sheet{csv.NewWriter(w)}
	for _, row := range rows {
		c.row(row)
	}
	c.Flush()
	return c.Error()
}

// sheet is a CSV file that a spreadsheet can open without harm.
type sheet struct{ *csv.Writer }

// row writes a row, whose cells it changes; Error tells what went wrong.
func (s sheet) row(cells []string) {
	for i, c := range cells {
		cells[i] = textCell(c)
	}
	_ = s.Write(cells)
}

// textCell puts a cell on one line, makes it Visible, and puts a quote before one that a
// spreadsheet would run as a formula: https://owasp.org/www-community/attacks/CSV_Injection
func textCell(cell string) string {
	if strings.IndexFunc(cell, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		cell = oneLine(cell)
	}
	if strings.IndexAny(cell, "=+-@＝＋－＠") == 0 {
		if _, err := strconv.ParseFloat(cell, 64); err != nil {
			return "'" + cell
		}
	}
	return cell
}

// cell writes a number as a machine reads it, and nothing for none.
func cell[N int | int32 | int64 | uint64 | float64](n *N) string {
	if n == nil {
		return ""
	}
	if f, ok := any(*n).(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(*n)
}

func stamp(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
