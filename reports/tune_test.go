package reports

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/hpabench/hpabench/tune"
)

// another is all with one more.
func another[T any](all []*T) []*T { return append(all, new(T)) }

// tunedLoads is the result of a search under three loads.
func tunedLoads() (tune.Search, *tune.Result) {
	outcome := func(target, worst float64) tune.Outcome {
		return tune.Outcome{Setting: tune.Setting{target, 300}, Misses: &tune.Misses{Missed: worst / 2, WorstMissed: worst}, Hours: 24.5, AtMax: 0.1, Cost: 25}
	}
	best := outcome(70, 0.006)
	for _, worst := range []float64{0.006, 0.004, 0.002} {
		best.Loads = append(best.Loads, outcome(70, worst))
	}
	s := tune.Search{
		Loads: []string{"spike", "ramp", "sine"}, PerDay: 1, SLO: tune.SLO{Latency: time.Second, Share: 0.99},
		Ranges: []tune.Range{{Name: "target", Low: 30, High: 90, Step: 1}, {Name: "scaleDown.stabilization", High: 600, Step: 1}},
	}
	for range s.Loads {
		s.Runs = another(s.Runs)
	}
	return s, &tune.Result{Present: best, Front: []tune.Outcome{best}, Verdict: tune.Recommended}
}

// The column worst, which decides, is the last to go where there is little room.
func TestTuneColumns(t *testing.T) {
	s, r := tunedLoads()
	for width, want := range map[int]string{
		60:  "target stabilization worst load worst ranked by",
		80:  "target stabilization worst load worst replica-hours/day ranked by",
		100: "target stabilization worst load missed worst replica-hours/day at max ranked by",
		200: "target stabilization worst load missed worst replica-hours/day flaps/day at max ranked by",
	} {
		var b bytes.Buffer
		if err := TuneTable(&b, s, r, width); err != nil {
			t.Fatal(err)
		}
		_, head, _ := strings.Cut(b.String(), "\n      target")
		head, _, _ = strings.Cut("target"+head, "\n")
		if got := strings.Join(strings.Fields(head), " "); got != want {
			t.Errorf("in %d columns the table has %q, should have %q:\n%s", width, got, want, &b)
		}
	}
}

// Of several loads the report says which one a figure is of.
func TestTuneByLoad(t *testing.T) {
	s, r := tunedLoads()
	var table, json bytes.Buffer
	if err := TuneTable(&table, s, r, 200); err != nil {
		t.Fatal(err)
	}
	if err := TuneJSON(&json, s, r); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ in, want string }{
		{table.String(), "Simulated under each of spike, ramp, sine: "},
		{table.String(), "outside p99 < 1s, of the load that misses it most, on average"},
		{table.String(), "A day has each of the loads once. "},
		{table.String(), "→ 70 300s spike 0.30 % 0.60 % 24.50 "},
		{table.String(), "→ ramp 0.20 % 0.40 % 24.50 "},
		{table.String(), "is sine 0.10 % 0.20 % 24.50 "},
		{json.String(), `"worstLoad": "spike", "byLoad": [ { "load": "spike", "phases": 0, "missed": 0.003, "worstMissed": 0.006, "leastMissed": 0, "replicaHoursPerDay": 24.5,`},
	} {
		if said := strings.Join(strings.Fields(c.in), " "); !strings.Contains(said, c.want) {
			t.Errorf("%q is not in\n%s", c.want, c.in)
		}
	}
}
