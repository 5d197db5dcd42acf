package analysis

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hpabench/hpabench/record"
)

// reads is a reading of the queue; the age is left out if it is negative.
func (m *made) reads(t, backlog, age float64) *made {
	q := &record.Queue{Backlog: backlog}
	if age >= 0 {
		q.Oldest = &age
	}
	m.add(t, record.Entry{Queue: q})
	return m
}

// rush is a run whose load ends at 40 s, and which ends at 100 s.
func rush() *made {
	m := newMade(record.Phase{Name: "none", Seconds: 10, Shape: record.ShapeIdle}, record.Phase{Name: "busy", Seconds: 20, Shape: record.ShapeRate, From: 8}, record.Phase{Name: "calm", Seconds: 60, Shape: record.ShapeIdle})
	m.phase(0, "none", 10, 20)
	m.phase(1, "busy", 20, 40)
	m.phase(2, "calm", 40, 100)
	m.end(101)
	return m
}

// The figures of a queue are of what was read within the phases, and its drain runs from the end of the load; a gap makes it less
// precise, and what was not seen is missing with the reason.
func TestQueueFigures(t *testing.T) {
	slow := func(m *made, took float64) *made {
		m.entries[len(m.entries)-1].Queue.Took = took
		return m
	}
	gap := func(m *made, from, to float64) *made { m.gap(record.QueueSource, from, to); return m }
	cut := func(m *made, t float64) *made {
		m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool { return e.At.Seconds() > t })
		m.add(t, record.Entry{End: &record.End{Outcome: record.Interrupted}})
		return m
	}
	short := func() *made { // the load goes on to the end
		m := newMade(record.Phase{Name: "busy", Seconds: 20, Shape: record.ShapeRate, From: 8})
		m.phase(0, "busy", 20, 40)
		m.end(41)
		return m
	}
	idle := func() *made {
		m := newMade(record.Phase{Name: "none", Seconds: 20, Shape: record.ShapeIdle})
		m.phase(0, "none", 20, 40)
		m.end(41)
		return m
	}
	for name, c := range map[string]struct {
		run                 *made
		peak, oldest, drain string
	}{
		"fills and drains":         {rush().reads(9, 0, 0).reads(25, 12, 3).reads(39, 60, 17.5).reads(45, 20, 12).reads(71.4, 0, 0), "60 at 39", "17.500 ±1.0", "31.400 ±1.0"},
		"again":                    {rush().reads(9, 0, 0).reads(39, 60, 3).reads(50, 0, 0).reads(55, 2, 1).reads(60, 0, 0), "60 at 39", "3.000 ±1.0", "10.000 ±1.0"},
		"kept up":                  {rush().reads(9, 0, 0).reads(25, 1, 0.2).reads(26, 0, 0), "1 at 25", "0.200 ±1.0", "0.000 ±1.0"},
		"filled at the very end":   {rush().reads(9, 0, 0).reads(40.5, 3, 0.2).reads(41.5, 0, 0), "3 at 40.5", "0.200 ±1.0", "1.500 ±1.0"},
		"filled later":             {rush().reads(9, 0, 0).reads(50, 3, 0.2).reads(51.5, 0, 0), "3 at 50", "0.200 ±1.0", "0.000 ±1.0"},
		"full before":              {rush().reads(5, 90, 2).reads(9, 70, 9).reads(15, 3, 1).reads(60, 0, 0), "70 at 10", "9.000 ±1.0", "20.000 ±1.0"},
		"no age":                   {rush().reads(9, 0, -1).reads(39, 60, -1).reads(50, 0, -1), "60 at 39", "no reading told the age of a message (load.queue.oldest)", "10.000 ±1.0"},
		"slow":                     {slow(slow(rush().reads(9, 0, 0).reads(39, 60, 3), 2).reads(50, 0, 0), 4), "60 at 39", "3.000 ±3.0", "10.000 ±5.0"},
		"not drained":              {rush().reads(9, 0, 0).reads(39, 60, 3).reads(99, 5, 30).reads(100.5, 0, 0), "60 at 39", "30.000 ±1.0", "an empty queue was not seen before the load phases ended at 100.0 s; 5 messages were read last"},
		"drained in a gap":         {gap(rush().reads(9, 0, 0).reads(39, 60, 3).reads(75, 0, 0), 50, 75), "60 at 39", "3.000 ±1.0", "35.000 ±25.0"},
		"a gap before":             {gap(rush().reads(9, 0, 0).reads(39, 60, 3).reads(50, 40, 9).reads(75, 0, 0), 45, 50), "60 at 39", "9.000 ±1.0", "35.000 ±1.0"},
		"a gap at the end of load": {gap(rush().reads(9, 0, 0).reads(46, 0, 0), 38, 46), "0 at 10", "0.000 ±1.0", "6.000 ±8.0"},
		"a gap to the end":         {gap(rush().reads(9, 0, 0).reads(39, 60, 3), 45, 100.9), "60 at 39", "3.000 ±1.0", "an empty queue was not observed: the watch on load.queue had a gap from 45.0 to 100.9 s; 60 messages were read last"},
		"never read":               {gap(rush(), 10, 100.9), "the queue could not be read: connection refused", "the queue could not be read: connection refused", "the queue could not be read: connection refused"},
		"read too late":            {rush().reads(100.5, 0, 0), "the queue was not read during the phases", "the queue was not read during the phases", "the queue was not read during the phases"},
		"load to the end":          {short().reads(19, 0, 0).reads(30, 4, 1), "4 at 30", "1.000 ±1.0", "the run ended with its load: a phase with rate: 0 after it shows how the queue drains"},
		"no load":                  {idle().reads(19, 4, 1), "4 at 20", "1.000 ±1.0", "no phase sent requests"},
		"cut in the load":          {cut(rush().reads(9, 0, 0).reads(29, 4, 1), 30), "4 at 29", "1.000 ±1.0", "the load was cut short"},
		"no queue":                 {rush(), "no queue was read (load.queue names one)", "no queue was read (load.queue names one)", "no queue was read (load.queue names one)"},
	} {
		r := c.run.analyze(t)
		peak := ""
		for _, f := range r.Figures() {
			switch f.Name {
			case "queue.peak":
				if peak = f.Missing; f.Value != nil {
					peak = record.Plain(*f.Value, 0) + " at " + record.Plain(*r.Queue.PeakAt, 0)
				}
			case "queue.oldest":
				if got := figure(Latency{f.Value, f.Precision, f.Missing}); got != c.oldest {
					t.Errorf("%s: oldest %s, want %s", name, got, c.oldest)
				}
			case "queue.drain":
				if got := figure(Latency{f.Value, f.Precision, f.Missing}); got != c.drain {
					t.Errorf("%s: drain %s, want %s", name, got, c.drain)
				}
			}
		}
		if peak != c.peak {
			t.Errorf("%s: peak %s, want %s", name, peak, c.peak)
		}
	}
}

// The timeline has the reading that stands, and none in a gap.
func TestQueueTimeline(t *testing.T) {
	m := rush().reads(11.5, 2, 0.5).reads(14.5, 0, -1)
	m.gap(record.QueueSource, 12.5, 14.5)
	var got []string
	for _, s := range m.analyze(t).Timeline[:6] {
		text := "–"
		if s.Backlog != nil {
			text = record.Plain(*s.Backlog, 0)
		}
		if s.Oldest != nil {
			text += "/" + record.Plain(*s.Oldest, 0)
		}
		got = append(got, text)
	}
	if d := cmp.Diff("– 2/0.5 – – 0 0", strings.Join(got, " ")); d != "" {
		t.Errorf("from 10 s on (-want +got):\n%s", d)
	}
}
