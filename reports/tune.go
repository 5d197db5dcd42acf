package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/tune"
)

// TuneJSON writes the result of a search as indented JSON, with the names of its settings.
func TuneJSON(w io.Writer, s tune.Search, r *tune.Result) error {
	names := make([]string, len(s.Ranges))
	for i, of := range s.Ranges {
		names[i] = of.Name
	}
	return indented(w, struct {
		Version string   `json:"version"`
		Assumed []string `json:"assumed,omitempty"`
		Ranges  []string `json:"settings"` // the names of the values
		*tune.Result
	}{"hpabench.dev/tune/v1", s.Runs[0].Assumed(), names, r})
}

// TuneTable writes the result of a search for a terminal of that many columns.
func TuneTable(w io.Writer, s tune.Search, r *tune.Result, width int) error {
	g := &grid{columns: []column{{text: true}}}
	for _, name := range settingColumns(s.Ranges) {
		g.columns = append(g.columns, column{name: name})
	}
	g.columns = append(g.columns, column{name: "missed"}, column{name: "worst", spare: 1}, column{name: "replica-hours/day"}, column{name: "flaps/day", spare: 3}, column{name: "at max", spare: 2})
	if s.Cost != nil {
		g.columns = append(g.columns, column{name: strings.TrimSpace("cost/day " + s.Cost.Currency)})
	}
	row := func(mark string, o tune.Outcome) {
		missed, worst := none, none
		if o.Misses != nil {
			missed, worst = fmt.Sprintf("%.2f %%", o.Missed*100), fmt.Sprintf("%.2f %%", o.WorstMissed*100)
		}
		cells := append(append([]string{mark}, tune.Values(s.Ranges, o.Setting)...), missed, worst, fmt.Sprintf("%.2f", o.Hours), record.Plain(o.Flaps, 2), percent(&o.AtMax))
		if s.Cost != nil {
			cells = append(cells, fmt.Sprintf("%.2f", o.Hours*s.Cost.ReplicaHour))
		}
		g.add(cells...)
	}
	verdict := "Nothing is recommended"
	for i, o := range r.Front {
		mark := ""
		switch {
		case i != r.Recommended || o.Misses == nil:
		case r.Met:
			mark, verdict = "→", "→ is recommended"
		default:
			mark, verdict = "✗", "Nothing is recommended; ✗ is the least bad"
		}
		row(mark, o)
	}
	row("is", r.Present)
	text := reasons{fmt.Sprintf("Simulated: %d settings tried, %d dropped early, %d runs.", r.Tried, r.Hopeless, r.Runs)}
	if r.Present.Misses != nil {
		text.add("missed is the share of requests outside %s on average over the points of the sync period, worst that at the worst of them, which may be %s %%.", s.SLO, record.Plain((1-s.SLO.Share)*100, 3))
	}
	text.add("A day has the load %s, and min replicas for the rest of it. Settings are ranked by replica-hours, 5 min of each replica of a flap, and one replica for the time at max.", times(s.TimesADay()))
	notes := append(reasons{fmt.Sprintf("%s: %s.", verdict, r.Reason)}, r.Notes...)
	return writeSections(w, s.Runs[0].Assumed(), []section{{title: strings.Join(text, " "), grid: g, notes: append(notes, "is: the present setting.")}}, width)
}

func times(n float64) string {
	if n == 1 {
		return "once"
	}
	return record.Plain(n, 1) + " times"
}

// settingColumns are the names of the settings, without the direction where only one has it.
func settingColumns(ranges []tune.Range) (names []string) {
	for _, r := range ranges {
		_, name, found := strings.Cut(r.Name, ".")
		if !found || slices.ContainsFunc(ranges, func(other tune.Range) bool { return other != r && strings.HasSuffix(other.Name, "."+name) }) {
			name = strings.ToLower(strings.TrimPrefix(r.Name, "scale"))
		}
		names = append(names, name)
	}
	return names
}
