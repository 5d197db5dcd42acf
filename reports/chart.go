package reports

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

var bars = []rune("▁▂▃▄▅▆▇█")

// chart draws the run as lines of bars of at most width characters: the load,
// the CPU, the HPA's other metrics, the queue and the replicas over time. A column stands for the largest value in
// its stretch of time, a blank for nothing measured. The lines of replicas have
// one scale.
func chart(r *analysis.Result, width int) []string {
	timeline := r.Timeline
	type row struct {
		name  string
		value func(analysis.Second) *float64
		unit  string
		scale float64
		exact bool // its highest value may be less than 1
	}
	spec := func(s analysis.Second) *float64 { return floating(s.Spec) }
	ready := func(s analysis.Second) *float64 { return floating(s.Ready) }
	replicas := max(peak(timeline, spec), peak(timeline, ready))
	const label, rest = 10, 14
	lines := []row{
		{name: "answers/s", value: func(s analysis.Second) *float64 { return new(float64(s.Answered) / float64(every(timeline))) }},
		{name: "CPU %", value: func(s analysis.Second) *float64 { return s.CPUPercent }, unit: " %"},
	}
	for i, s := range r.Signals {
		name := []rune(s.Name)
		lines = append(lines, row{name: string(name[:min(len(name), label-1)]), value: func(n analysis.Second) *float64 { return n.Signals[i] }, exact: true})
	}
	lines = append(lines, row{name: "backlog", value: func(s analysis.Second) *float64 { return s.Backlog }, exact: true},
		row{name: "oldest", value: func(s analysis.Second) *float64 { return s.Oldest }, unit: " s", exact: true},
		row{name: "wanted", value: spec, scale: replicas}, row{name: "ready", value: ready, scale: replicas})
	columns := min(max(width-label-rest, 10), len(timeline))
	var out []string
	for _, l := range lines {
		top := peak(timeline, l.value)
		scale := max(l.scale, top)
		var b strings.Builder
		seen := false
		for c := range columns {
			from, to := c*len(timeline)/columns, (c+1)*len(timeline)/columns
			r := ' '
			if v, ok := largest(timeline[from:to], l.value); ok {
				seen, r = true, bars[0]
				if scale > 0 {
					r = bars[int(v/scale*float64(len(bars)-1)+0.5)]
				}
			}
			b.WriteRune(r)
		}
		most := fmt.Sprintf("%.0f", top)
		if l.exact && top < 100 { // whole numbers of more digits are not rounded
			most = record.Plain(top, 3)
		}
		if seen {
			out = append(out, fmt.Sprintf("%-*s%s  max %s%s", label, l.name, b.String(), most, l.unit))
		}
	}
	first, last := timeline[0].Second, timeline[len(timeline)-1].Second+every(timeline)
	left, right := fmt.Sprintf("%d s", first), fmt.Sprintf("%d s", last)
	gap := max(1, columns-utf8.RuneCountInString(left)-utf8.RuneCountInString(right))
	return append(out, strings.Repeat(" ", label)+left+strings.Repeat(" ", gap)+right)
}

// mermaid draws the ready replicas as bars and those wanted as a line, as a block that
// GitHub and GitLab render: https://mermaid.js.org/syntax/xyChart.html. It is empty
// where they were not seen all the time, for which there is no notation.
func mermaid(timeline []analysis.Second) string {
	const bars = 60
	var ready, wanted []string
	stretch := (len(timeline) + bars - 1) / bars
	for part := range slices.Chunk(timeline, max(stretch, 1)) {
		r, seen := largest(part, func(s analysis.Second) *float64 { return floating(s.Ready) })
		w, known := largest(part, func(s analysis.Second) *float64 { return floating(s.Spec) })
		if !seen || !known {
			return ""
		}
		ready, wanted = append(ready, fmt.Sprint(r)), append(wanted, fmt.Sprint(w))
	}
	if len(ready) < 2 {
		return ""
	}
	return fmt.Sprintf("\n```mermaid\nxychart-beta\n  title \"Replicas: ready (bars) and wanted (line)\"\n  x-axis \"seconds\" %d --> %d\n  y-axis \"replicas\" 0 --> %.0f\n  bar [%s]\n  line [%s]\n```\n",
		timeline[0].Second, timeline[len(timeline)-1].Second+every(timeline), max(1, peak(timeline, func(s analysis.Second) *float64 { return floating(s.Spec) }), peak(timeline, func(s analysis.Second) *float64 { return floating(s.Ready) })),
		strings.Join(ready, ", "), strings.Join(wanted, ", "))
}

// every is how many seconds a row stands for.
func every(timeline []analysis.Second) int {
	if len(timeline) < 2 {
		return 1
	}
	return timeline[1].Second - timeline[0].Second
}

func largest(list []analysis.Second, value func(analysis.Second) *float64) (top float64, ok bool) {
	for _, s := range list {
		if v := value(s); v != nil {
			top, ok = max(top, *v), true
		}
	}
	return top, ok
}

func peak(list []analysis.Second, value func(analysis.Second) *float64) float64 {
	top, _ := largest(list, value)
	return top
}
