package reports

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/hpabench/hpabench/analysis"
)

var bars = []rune("▁▂▃▄▅▆▇█")

// chart draws the run as lines of bars of at most width characters: the load,
// the CPU and the replicas over time. A column stands for the largest value in
// its stretch of time, a blank for nothing measured. The lines of replicas have
// one scale.
func chart(timeline []analysis.Second, width int) []string {
	type line struct {
		name  string
		value func(analysis.Second) *float64
		unit  string
		scale float64
	}
	of := func(n *int) *float64 {
		if n == nil {
			return nil
		}
		return new(float64(*n))
	}
	spec := func(s analysis.Second) *float64 {
		if s.Spec == nil {
			return nil
		}
		return new(float64(*s.Spec))
	}
	ready := func(s analysis.Second) *float64 { return of(s.Ready) }
	replicas := max(peak(timeline, spec), peak(timeline, ready))
	lines := []line{
		{name: "answers/s", value: func(s analysis.Second) *float64 { return new(float64(s.Answered)) }},
		{name: "CPU %", value: func(s analysis.Second) *float64 { return s.CPUPercent }, unit: " %"},
		{name: "wanted", value: spec, scale: replicas},
		{name: "ready", value: ready, scale: replicas},
	}
	const label, rest = 10, 14
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
		if seen {
			out = append(out, fmt.Sprintf("%-*s%s  max %.0f%s", label, l.name, b.String(), top, l.unit))
		}
	}
	first, last := timeline[0].Second, timeline[len(timeline)-1].Second+1
	left, right := fmt.Sprintf("%d s", first), fmt.Sprintf("%d s", last)
	gap := max(1, columns-utf8.RuneCountInString(left)-utf8.RuneCountInString(right))
	return append(out, strings.Repeat(" ", label)+left+strings.Repeat(" ", gap)+right)
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
