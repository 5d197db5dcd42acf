package reports

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/tune"
)

// tuned is an outcome in JSON: its setting by name, and what it costs in money.
type tuned struct {
	Setting map[string]*float64 `json:"setting"` // null where the HPA has no single value
	tune.Outcome
	Money *float64 `json:"costPerDay,omitempty"`
	// Of several loads, the one that missed most in the worst, and what the setting came to under each.
	WorstLoad string      `json:"worstLoad,omitempty"`
	Loads     []underLoad `json:"byLoad,omitempty"`
}

// underLoad is what a setting came to under one of several loads.
type underLoad struct {
	Load    string    `json:"load"`
	Setting *struct{} `json:"setting,omitempty"` // it is that of the outcome
	tune.Outcome
}

// TuneJSON writes the result of a search as indented JSON.
func TuneJSON(w io.Writer, s tune.Search, r *tune.Result) error {
	named := func(o tune.Outcome) *tuned {
		t := &tuned{Setting: map[string]*float64{}, Outcome: o}
		for i, under := range o.Loads {
			t.WorstLoad = s.WorstLoad(o)
			t.Loads = append(t.Loads, underLoad{Load: s.Loads[i], Outcome: under})
		}
		for i, of := range s.Ranges {
			t.Setting[of.Name] = nil
			if v := o.Setting[i]; !math.IsNaN(v) {
				t.Setting[of.Name] = &v
			}
		}
		if s.Cost != nil {
			t.Money = new(o.Hours * s.Cost.ReplicaHour)
		}
		return t
	}
	type slo struct {
		Text    string  `json:"text"`
		Seconds float64 `json:"latencySeconds"`
		Share   float64 `json:"share"` // of the requests, from 0 to 1
	}
	out := struct {
		Version string                `json:"version"`
		Assumed []string              `json:"assumed,omitempty"`
		Loads   []string              `json:"loads"`
		PerDay  float64               `json:"timesPerDay"` // that the loads come
		SLO     *slo                  `json:"slo,omitempty"`
		Price   any                   `json:"cost,omitempty"`
		Ranges  map[string][2]float64 `json:"ranges"`
		*tune.Result
		Present     *tuned   `json:"present"`
		Front       []*tuned `json:"front"`
		Recommended *tuned   `json:"recommended,omitempty"`
		LeastBad    *tuned   `json:"leastBad,omitempty"`
		// HPA or ScaledObject is the recommended one.
		HPA          json.RawMessage `json:"hpa,omitempty"`
		ScaledObject json.RawMessage `json:"scaledObject,omitempty"`
	}{Version: "hpabench.dev/tune/v2", Assumed: s.Runs[0].Assumed(), Loads: s.Loads, PerDay: s.TimesADay(), Ranges: map[string][2]float64{}, Result: r, Present: named(r.Present)}
	if r.Verdict != tune.Unknown {
		out.SLO = &slo{s.SLO.String(), s.SLO.Latency.Seconds(), s.SLO.Share}
	}
	if s.Cost != nil {
		out.Price = s.Cost
	}
	for _, of := range s.Ranges {
		out.Ranges[of.Name] = [2]float64{of.Low, of.High}
	}
	for _, o := range r.Front {
		out.Front = append(out.Front, named(o))
	}
	switch r.Verdict {
	case tune.Recommended:
		manifest, err := s.Manifest(r.Front[r.Best].Setting)
		if err == nil {
			to := &out.HPA
			if s.Runs[0].KEDA != nil {
				to = &out.ScaledObject
			}
			*to, err = yaml.YAMLToJSON(manifest)
		}
		if err != nil {
			return err
		}
		out.Recommended = out.Front[r.Best]
	case tune.NoneMeets:
		out.LeastBad = out.Front[r.Best]
	}
	return indented(w, out)
}

// TuneTable writes the result of a search for a terminal of that many columns.
func TuneTable(w io.Writer, s tune.Search, r *tune.Result, width int) error {
	several := len(s.Runs) > 1
	figures := []column{{name: "missed", spare: 3, noted: true}, {name: "worst", spare: 1, noted: true}, {name: "replica-hours/day", spare: 2, noted: true}, {name: "flaps/day", spare: 5, noted: true}, {name: "at max", spare: 4, noted: true}, {name: "ranked by"}}
	if s.Cost != nil {
		figures = append(figures, column{name: strings.TrimSpace("cost/day " + s.Cost.Currency)})
	}
	values := func(o tune.Outcome) []string {
		missed, worst := none, none
		if o.Misses != nil {
			missed, worst = fmt.Sprintf("%.2f %%", o.Missed*100), fmt.Sprintf("%.2f %%", o.WorstMissed*100)
		}
		cells := []string{missed, worst, fmt.Sprintf("%.2f", o.Hours), record.Plain(o.Flaps, 2), percent(&o.AtMax), fmt.Sprintf("%.2f", o.Cost)}
		if s.Cost != nil {
			cells = append(cells, fmt.Sprintf("%.2f", o.Hours*s.Cost.ReplicaHour))
		}
		return cells
	}
	g, byLoad := &grid{columns: []column{{text: true}}}, &grid{columns: append([]column{{text: true}, {name: "load", text: true, give: true}}, figures...)}
	for _, name := range settingColumns(s.Ranges) {
		g.columns = append(g.columns, column{name: name})
	}
	if several {
		g.columns = append(g.columns, column{name: "worst load", text: true, give: true})
	}
	g.columns = append(g.columns, figures...)
	row := func(mark string, o tune.Outcome) {
		cells := append([]string{mark}, tune.Values(s.Ranges, o.Setting)...)
		if several {
			cells = append(cells, cmp.Or(s.WorstLoad(o), none))
		}
		g.add(append(cells, values(o)...)...)
		for i, under := range o.Loads {
			if mark != "" {
				byLoad.add(append([]string{mark, s.Loads[i]}, values(under)...)...)
			}
		}
	}
	verdict := "Nothing is recommended"
	for i, o := range r.Front {
		mark := ""
		switch {
		case i != r.Best:
		case r.Verdict == tune.Recommended:
			mark, verdict = "→", "→ is recommended"
		case r.Verdict == tune.NoneMeets:
			mark, verdict = "✗", "Nothing is recommended; ✗ is the least bad"
		}
		row(mark, o)
	}
	row("is", r.Present)
	simulated, of, load := "Simulated", "", "the load"
	if several {
		simulated += " under each of " + strings.Join(s.Loads, ", ")
		of, load = ", of the load that misses it most", "each of the loads"
	}
	text := reasons{fmt.Sprintf("%s: %s tried, %d dropped early, %d runs.", simulated, record.Counted(r.Tried, "setting"), r.Hopeless, r.Runs)}
	if r.Present.Misses != nil {
		text.add("missed is the share of requests outside %s%s, on average over the points of the sync period, worst that at the worst of them, which may be %s %%.", s.SLO, of, record.Plain((1-s.SLO.Share)*100, 3))
	}
	if r.NoRoom > 0 {
		text.add("Left out: %s, for whose min the nodes have no room.", record.Counted(r.NoRoom, "setting"))
	}
	if r.Invalid > 0 {
		text.add("Left out: %s, which no autoscaler can have.", record.Counted(r.Invalid, "setting"))
	}
	fit := ""
	if s.TimesADay() < float64(s.PerDay) {
		fit = ", all that fit into it"
	}
	text.add("A day has %s %s%s. Between loads it has the replicas that the HPA has then. The cheapest has the lowest value of \"ranked by\": replica-hours a day, with 5 min of each replica of a flap, and one replica for the time at max.", load, times(s.TimesADay()), fit)
	notes := append(reasons{fmt.Sprintf("%s: %s.", verdict, r.Reason)}, r.Notes...)
	all := []section{{title: strings.Join(text, " "), grid: g, notes: append(notes, "is: the present setting.")}}
	if several {
		all = append(all, section{title: "Of these by load, each with its part of the day", grid: byLoad})
	}
	return writeSections(w, s.Runs[0].Assumed(), all, width)
}

func times(n float64) string {
	if n == 1 {
		return "once"
	}
	return record.Plain(n, 4) + " times"
}

// settingColumns are the names of the settings, without the direction where only one has it.
func settingColumns(ranges []tune.Range) (names []string) {
	for _, r := range ranges {
		_, name, found := strings.Cut(r.Name, ".")
		if !found || slices.ContainsFunc(ranges, func(other tune.Range) bool { return other != r && strings.HasSuffix(other.Name, "."+name) }) {
			name = r.Name
			if rest, is := strings.CutPrefix(name, "scale"); is {
				name = strings.ToLower(rest)
			}
		}
		names = append(names, name)
	}
	return names
}
