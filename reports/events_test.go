package reports

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

// Events that say the same are one line with a count, in each report; events.csv has them all.
func TestRepeatedEventsAreOneLine(t *testing.T) {
	r := &analysis.Result{Pods: []analysis.Pod{{Name: "web-7c9-a", UID: "0b1f-1"}, {Name: "web-7c9-b", UID: "0b1f-2"}}}
	at := 0.0
	seen := func(kind, name, level, reason, message string, counts ...int32) {
		for _, n := range counts {
			at++
			r.Events = append(r.Events, analysis.Event{AtSeconds: at, Event: record.Event{Kind: kind, Name: name, Type: level, Reason: reason, Message: message, Count: n}})
		}
	}
	const hpa = "HorizontalPodAutoscaler"
	seen(hpa, "web", "Warning", "FailedGetExternalMetric", "no metric", 1, 2, 5)
	seen("ReplicaSet", "web-7c9", "Normal", "SuccessfulCreate", "Created pod: web-7c9-a", 1)
	seen("ReplicaSet", "web-7c9", "Normal", "SuccessfulCreate", "Created pod: web-7c9-b", 1)
	seen("Pod", "web-7c9-a", "Warning", "Unhealthy", `Get "http://10.0.0.7:80/": refused`, 1)
	seen("Pod", "web-7c9-b", "Warning", "Unhealthy", `Get "http://10.0.0.8:80/": refused`, 1, 2)
	seen("Pod", "web-7c9-b", "Warning", "BackOff", "Back-off restarting container in pod web-7c9-b(0b1f-2)", 1, 1, 2, 2) // of two containers
	seen("Pod", "web-7c9-a", "Normal", "Scheduled", "Assigned web-7c9-a to node-1", 1)
	seen("Pod", "web-7c9-b", "Normal", "Scheduled", "Assigned web-7c9-b to node-2", 1)
	seen(hpa, "web", "Warning", "FailedGetExternalMetric", "no metric", 6, 1) // and a new Event
	for _, second := range []string{"23", "28.5"} {
		seen("ScaledObject", "web", "Warning", "KEDAScalerFailed", "/query?time=2026-11-29T21:37:"+second+"Z: refused", 1)
	}
	seen(hpa, "other", "Warning", "FailedGetExternalMetric", "no metric", 1)

	g := events(r).grid
	want := [][]string{
		{"1.0", "16.0", "7", hpa + "/web", "FailedGetExternalMetric", "no metric"},
		{"4.0", "5.0", "2", "ReplicaSet/web-7c9", "SuccessfulCreate", "Created pod: POD"},
		{"6.0", "8.0", "3", "Pod/web-7c9-a and 1 more", "Unhealthy", `Get "http://IP:80/": refused`},
		{"9.0", "12.0", "4", "Pod/web-7c9-b", "BackOff", "Back-off restarting container in pod web-7c9-b(0b1f-2)"},
		{"13.0", "", "", "Pod/web-7c9-a", "Scheduled", "Assigned web-7c9-a to node-1"},
		{"14.0", "", "", "Pod/web-7c9-b", "Scheduled", "Assigned web-7c9-b to node-2"},
		{"17.0", "18.0", "2", "ScaledObject/web", "KEDAScalerFailed", "/query?time=TIME: refused"},
		{"19.0", "", "", hpa + "/other", "FailedGetExternalMetric", "no metric"},
	}
	if d := cmp.Diff(want, g.rows); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for name, c := range map[string]struct {
		write func(io.Writer, *analysis.Result) error
		lines int
	}{
		"text":     {func(w io.Writer, r *analysis.Result) error { return Table(w, r, 160) }, 2},
		"Markdown": {Markdown, 2},
		"HTML":     {HTML, 2},
		"CSV":      {eventsCSV, 6},
	} {
		var b bytes.Buffer
		if err := c.write(&b, r); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "FailedGetExternalMetric"); n != c.lines {
			t.Errorf("%s has the reason %d times, want %d:\n%s", name, n, c.lines, b.String())
		}
	}

	// What happened once needs no columns for more.
	r.Events = slices.DeleteFunc(r.Events, func(e analysis.Event) bool { return e.Reason != "Scheduled" })
	if names := fmt.Sprint(events(r).grid.columns); strings.Contains(names, "times") {
		t.Errorf("the columns are %s", names)
	}
}
