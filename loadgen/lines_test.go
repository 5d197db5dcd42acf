package loadgen

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpabench/hpabench/record"
)

// linesOf are the lines that one of two workers writes for phases, and its summary.
func linesOf(t *testing.T, phases []record.Phase) (lines []string, summary string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var out, last bytes.Buffer
		w := &lineWriter{out: &out, summary: writerAt{&last}}
		rec := record.NewRecorder(record.StartClock(), w)
		way := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
		var n atomic.Int64
		server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(20 * time.Millisecond)
			if n.Add(1)%10 == 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})}
		go server.Serve(way)
		g, err := newShare(Share{Index: 0, Of: 2}, phases, Request{Path: "/"}, way, rec)
		if err != nil {
			t.Fatal(err)
		}
		g.nap = nil
		if err := g.RunAt(t.Context(), record.Instant(time.Second)); err != nil {
			t.Fatal(err)
		}
		rec.Add(record.Entry{End: &record.End{Outcome: record.Completed}})
		server.Close()
		lines = strings.SplitAfter(out.String(), "\n")
		lines, summary = lines[:len(lines)-1], last.String()
	})
	return lines, summary
}

type writerAt struct{ b *bytes.Buffer }

func (w writerAt) WriteAt(p []byte, _ int64) (int, error) { w.b.Reset(); return w.b.Write(p) }

// mute is a Worker whose lines are given to its fleet by the test.
type mute struct{ summary string }

func (*mute) Name() string                                       { return "pod w" }
func (*mute) Attach(context.Context) (io.ReadWriteCloser, error) { return nil, io.EOF }
func (*mute) Follow(context.Context) (io.ReadCloser, error)      { return nil, io.EOF }
func (*mute) Ended(context.Context) (string, bool)               { return "exit code 137", true }
func (m *mute) Summary(context.Context) (string, error)          { return m.summary, nil }

// hear gives lines to a fleet of one of two workers, after the load, and accounts for what
// they did not tell.
func hear(phases []record.Phase, lines, summary string, died bool) (*Fleet, error) {
	rec := record.NewRecorder(record.ClockFrom(time.Now().Add(-time.Minute)), nil)
	f := NewFleet([]Worker{&mute{summary}, &mute{}}, phases, Request{}, "http://x", rec, "v1", func(string) {})
	f.members = f.members[:1]
	f.onset = record.Instant(time.Second)
	at := f.onset
	for _, p := range phases {
		at = at.Add(seconds(p.Seconds))
		f.ends = append(f.ends, at)
	}
	f.begun, f.ended = len(phases), len(phases)
	m := f.members[0]
	err := f.read(m, strings.NewReader(lines), func() {})
	m.heard = min(m.heard, f.onset.Add(2*time.Second)) // it is read a minute later
	if m.faulty = err != nil; !m.faulty && m.end == nil {
		f.summary(context.Background(), m)
	}
	if died {
		m.died = rec.Clock.Now()
	}
	f.account(false)
	return f, err
}

// totalsOf are the counts of a fleet's record, by phase.
func totalsOf(f *Fleet) []record.LoadSecond {
	totals := make([]record.LoadSecond, len(f.phases))
	for _, e := range f.rec.Run().Entries {
		if e.Load != nil {
			addCounts(&totals[e.Load.Phase], e.Load)
		}
	}
	return totals
}

var fourPhases = []record.Phase{rate(41, 3), {Name: "ramp", Shape: record.ShapeRamp, From: 10, To: 30, Seconds: 4}, {Name: "idle", Shape: record.ShapeIdle, Seconds: 1}, workers(3, 2)}

// Whatever becomes of the lines of a worker, all that was planned is accounted for, and
// with its last totals or its summary nothing is unknown.
func TestCountsSurviveTheWay(t *testing.T) {
	lines, left := linesOf(t, fourPhases)
	all := strings.Join(lines, "")
	whole, err := hear(fourPhases, all, "", false)
	if err != nil {
		t.Fatal(err)
	}
	want := totalsOf(whole)
	random := rand.New(rand.NewPCG(1, 2))
	without := func(drop func(i int) bool) string {
		var b strings.Builder
		for i, l := range lines {
			if !drop(i) {
				b.WriteString(l)
			}
		}
		return b.String()
	}
	shuffled := slices.Clone(lines[:len(lines)-1])
	random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	last := len(lines) - 1
	for name, c := range map[string]struct {
		lines, summary string
		exact          bool // counts are those of the whole
	}{
		"all":                        {all, "", true},
		"all, twice":                 {all + all, "", true},
		"each line twice":            {strings.Join(slices.Concat(lines, lines), ""), "", true},
		"every other one":            {without(func(i int) bool { return i%2 == 0 && i != last }), "", true},
		"the first half lost":        {without(func(i int) bool { return i < last/2 }), "", true},
		"the middle lost":            {without(func(i int) bool { return i > 2 && i < last-1 }), "", true},
		"only the last":              {lines[last], "", true},
		"shuffled":                   {strings.Join(shuffled, "") + lines[last], "", true},
		"each cut":                   {cutLines(lines[:last]) + lines[last], "", true},
		"nothing but a summary":      {"", left, true},
		"the end lost, a summary":    {without(func(i int) bool { return i > 3 }), left, true},
		"the end lost, no summary":   {without(func(i int) bool { return i > 3 }), "", false},
		"nothing":                    {"", "", false},
		"a summary cut off":          {without(func(i int) bool { return i > 3 }), left[:200], false},
		"a summary of somebody else": {lines[0], "exit", false},
	} {
		for _, died := range []bool{true, false} {
			f, err := hear(fourPhases, c.lines, c.summary, died)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			got := totalsOf(f)
			for i, p := range got {
				w := want[i]
				if p.Offered != p.Answered+p.Failed+p.Aborted+p.Unsent+p.Unknown || f.plans[i] != nil && p.Offered != f.phaseOf(f.members[0], i).schedule.total {
					t.Errorf("%s, phase %d: planned %d = answered %d + failed %d + aborted %d + unsent %d + unknown %d", name, i, p.Offered, p.Answered, p.Failed, p.Aborted, p.Unsent, p.Unknown)
				}
				if c.exact && (p.Answered != w.Answered || p.Sent != w.Sent || fmt.Sprint(p.Codes) != fmt.Sprint(w.Codes) || p.Unknown != 0) {
					t.Errorf("%s, phase %d: answered %d %v, sent %d, unknown %d; want %d %v, %d", name, i, p.Answered, p.Codes, p.Sent, p.Unknown, w.Answered, w.Codes, w.Sent)
				}
			}
			if !c.exact && got[1].Unknown == 0 {
				t.Errorf("%s: nothing is unknown", name)
			}
		}
	}
	// By chance.
	for range 200 {
		share := random.Float64()
		f, err := hear(fourPhases, without(func(int) bool { return random.Float64() < share }), "", true)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range totalsOf(f) {
			if p.Offered != p.Answered+p.Failed+p.Aborted+p.Unsent+p.Unknown || f.plans[i] != nil && p.Offered != f.phaseOf(f.members[0], i).schedule.total {
				t.Fatalf("phase %d: %+v", i, p)
			}
		}
	}
}

func cutLines(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l[:len(l)*2/3] + "\n")
	}
	return b.String()
}

// A line that no worker writes is an error, and neither a panic nor a poisoned record.
func TestNonsense(t *testing.T) {
	lines, _ := linesOf(t, fourPhases)
	for line, want := range map[string]string{
		`{"n":1,"load":{"phase":-3,"second":2}}`:                                                            "phase -3, of 4",
		`{"n":1,"load":{"phase":4,"second":2}}`:                                                             "phase 4, of 4",
		`{"n":1,"load":{"phase":0,"second":-9000000000}}`:                                                   "second -9000000000",
		`{"n":1,"load":{"phase":0,"second":900000}}`:                                                        "second 900000",
		`{"n":1,"load":{"phase":0,"second":2,"offered":18446744073709551615}}`:                              "a count of",
		`{"n":1,"load":{"phase":0,"second":2,"offered":63}}`:                                                "63 requests of phase 0, of which its share is 62",
		`{"n":1,"load":{"phase":3,"second":2,"answered":5}}`:                                                "5 answers with 0 status codes",
		`{"n":1,"load":{"phase":3,"second":2,"codes":{"abc":1},"answered":1}}`:                              `the status code "abc"`,
		`{"n":1,"load":{"phase":3,"second":2,"latency":"HISTFAAA"}}`:                                        "latency histogram",
		`{"n":1,"load":{"phase":3,"second":2,"lateMaxSeconds":-1}}`:                                         "-1 s late",
		`{"n":1,"load":{"phase":3,"second":2,"worker":7}}`:                                                  "another worker",
		`{"n":1,"load":{"phase":3,"second":2,"pods":{"\u001b[31m":{}}}}`:                                    "pod",
		`{"n":1,"at":1000,"worker":{"beat":1}}`:                                                             "its clock is 15m40s ahead of that of this machine",
		`{"n":1,"at":-5,"note":{"text":"x"}}`:                                                               "before the run began",
		`{"n":1,"answer":{"pod":"` + strings.Repeat("a", 300) + `"}}`:                                       "pod",
		`{"n":1,"end":{"outcome":"x"}}`:                                                                     "outcome",
		`{"n":999999999999,"note":{"text":"x"}}`:                                                            "line number",
		`{"n":1,"totals":[{"phase":-1}]}`:                                                                   "phase -1",
		`{"n":1,"totals":[{"phase":0,"offered":5000}]}`:                                                     "5000 requests of phase 0",
		`{"n":1,"load":{"phase":3,"second":2,"sent":9}}` + "\n" + `{"n":2,"totals":[{"phase":3,"sent":8}]}`: "less than before",
		strings.Repeat("x", maxWorkerLine+1):                                                                "line longer than 4 MiB",
	} {
		f, err := hear(fourPhases, line+"\n"+strings.Join(lines, ""), "", true)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s: %v, want %q", line, err, want)
		}
		if totalsOf(f)[0].Unknown == 0 {
			t.Errorf("%.100s: nothing is unknown", line)
		}
	}
	for _, line := range []string{"panic: runtime error", "{", `{"n":`, `[]`, `"x"`, `{"n":1e9999}`, `{"n":-1}`} {
		if _, err := hear(fourPhases, line+"\n"+strings.Join(lines, ""), "", true); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// A worker that makes no sense ends the load with an error; what the others counted stays.
func TestFleetEndsForNonsense(t *testing.T) {
	r, _ := fleet(t, 2, []record.Phase{rate(100, 60)}, ok, func(p []*process, _ context.CancelCauseFunc) {
		time.Sleep(headStart + 1500*time.Millisecond)
		p[1].Write([]byte(`{"n":1000,"load":{"phase":-1,"second":1}}` + "\n"))
	})
	if r.err == nil || !strings.Contains(r.err.Error(), "worker 2 of 2, worker-1, wrote what no worker writes: phase -1, of 1") {
		t.Error(r.err)
	}
	if p := r.phases[0]; p.Answered == 0 || p.Unknown == 0 || p.Offered > 1000 {
		t.Errorf("answered %d, unknown %d, offered %d", p.Answered, p.Unknown, p.Offered)
	}
}

// What is wrong after the end of the last phase is an error too, and a clock that is apart
// is not called nonsense.
func TestFleetEndsForNonsenseAtLast(t *testing.T) {
	t.Parallel()
	r, _ := fleet(t, 1, []record.Phase{rate(20, 1)}, func(w http.ResponseWriter, req *http.Request) { time.Sleep(1500 * time.Millisecond) }, func(p []*process, _ context.CancelCauseFunc) {
		time.Sleep(headStart + 1500*time.Millisecond)
		p[0].Write([]byte(`{"n":1000,"at":5000,"note":{"text":"x"}}` + "\n"))
	})
	if r.err == nil || !strings.Contains(r.err.Error(), "worker 1 of 1, worker-0: its clock is 1h23m") {
		t.Error(r.err)
	}
}

// unreachable is a Worker whose log cannot be asked for at first.
type unreachable struct {
	mute
	failures, attached int
	lines              string
}

func (u *unreachable) Attach(context.Context) (io.ReadWriteCloser, error) {
	u.attached++
	return nil, io.EOF
}

func (u *unreachable) Follow(context.Context) (io.ReadCloser, error) {
	if u.failures--; u.failures >= 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return io.NopCloser(strings.NewReader(u.lines)), nil
}

func (u *unreachable) Ended(context.Context) (string, bool) { return "", false }

// An API server that is away for some time costs no line: its log is read afterwards.
func TestLogOfAnApiServerThatWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &unreachable{failures: 3 * fruitless, lines: `{"n":1,"note":{"text":"x"}}` + "\n" + `{"n":2,"end":{"outcome":"completed"}}` + "\n"}
		f := NewFleet([]Worker{w}, []record.Phase{workers(1, 1)}, Request{}, "http://x", record.NewRecorder(record.StartClock(), nil), "v1", func(string) {})
		f.ends = []record.Instant{record.Instant(time.Second)}
		f.follow(t.Context(), f.members[0])
		if m := f.members[0]; w.attached > 0 || m.lines != 2 || m.end == nil {
			t.Errorf("attached %d times, read %d lines, end %v", w.attached, m.lines, m.end)
		}
	})
}

// What a summary leaves out, and no line that was read says, is unknown.
func TestSummaryLeavesOut(t *testing.T) {
	var phases []record.Phase
	s := summary{End: &record.End{Outcome: record.Completed}}
	for i := range 260 {
		phases = append(phases, rate(200, .1))
		s.Totals = append(s.Totals, record.LoadSecond{Phase: i, Offered: 10, Sent: 10, Answered: 10, Codes: map[string]uint64{"200": 10}})
	}
	for _, outcome := range []string{record.Completed, record.Interrupted} {
		s.End.Outcome = outcome
		first := `{"n":1,"at":2,"load":{"phase":0,"second":1,"offered":10,"sent":10,"answered":10,"codes":{"200":10}}}` + "\n"
		f, err := hear(phases, first, string(encodeSummary(s)), false)
		if err != nil || f.members[0].end == nil {
			t.Fatal(err, f.members[0].end)
		}
		from := f.members[0].before
		for i, p := range totalsOf(f) {
			if answered := i == 0 || i >= from; from < 60 || p.Offered != 10 || answered && p.Answered != 10 || !answered && p.Unknown != 10 {
				t.Errorf("%s, phase %d, and the summary begins with %d: %+v", outcome, i, from, p)
			}
		}
	}
}

// Counts of a closed loop whose lines are lost belong to the time of its totals, and at
// worst to its phase.
func TestLostCountsKeepTheirTime(t *testing.T) {
	phases := []record.Phase{{Name: "idle", Shape: record.ShapeIdle, Seconds: 5}, workers(1, 10)}
	for line, want := range map[string]int{
		`{"n":2,"at":9.5,"totals":[{"phase":1,"offered":3,"sent":3}],"worker":{"beat":1}}`:  9,
		`{"n":2,"totals":[{"phase":1,"offered":3,"sent":3}],"worker":{"beat":1}}`:           6,
		`{"n":2,"at":29.5,"totals":[{"phase":1,"offered":3,"sent":3}],"worker":{"beat":1}}`: 16,
	} {
		f, err := hear(phases, line+"\n", "", false)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range f.rec.Run().Entries {
			if e.Load != nil && e.Load.Sent > 0 && e.Load.Second != want {
				t.Errorf("%s: second %d, not %d", line, e.Load.Second, want)
			}
		}
	}
	var out bytes.Buffer
	w := &lineWriter{out: &out}
	w.writeAt(record.Instant(3*time.Second), reply{Beat: 1})
	var l line
	if err := json.Unmarshal(out.Bytes(), &l); err != nil || l.At != record.Instant(3*time.Second) {
		t.Errorf("a beat at %v, %v", l.At, err)
	}
}

// A summary is at most what Kubernetes keeps, and holds the newest phases.
func TestSummary(t *testing.T) {
	var s summary
	for i := range 300 {
		n := uint64(i)*7919 + 1e6
		s.Totals = append(s.Totals, record.LoadSecond{Phase: i, Offered: n, Sent: n, Answered: n - 7, Failed: 7, Codes: map[string]uint64{"200": n - 7}, Errors: map[string]uint64{"timeout": 7}})
		if b := encodeSummary(s); i%100 == 0 || i == 299 {
			got, err := decodeSummary(string(b))
			if err != nil || len(b) != maxSummary || len(got.Totals) == 0 {
				t.Fatalf("%d phases: %d bytes, %d totals, %v", i+1, len(b), len(got.Totals), err)
			}
			if last := got.Totals[len(got.Totals)-1]; last.Phase != i || last.Answered != n-7 {
				t.Errorf("%d phases: the last is %+v", i+1, last)
			}
			t.Logf("of %d phases %d have room", i+1, len(got.Totals))
		}
	}
}

func FuzzWorkerLine(f *testing.F) {
	for _, line := range []string{
		`{"n":1,"worker":{"version":"v1","protocol":2}}`, `{"n":2,"t":1000,"load":{"phase":0,"second":2,"offered":3,"sent":3,"answered":3,"codes":{"200":3}}}`,
		`{"n":3,"totals":[{"phase":0,"offered":5,"sent":5}],"worker":{"beat":1}}`, `{"n":4,"answer":{"pod":"a"}}`, `{"n":5,"note":{"text":"x"}}`, `{"n":6,"end":{"outcome":"completed"}}`,
		`{"n":1,"load":{"phase":3,"second":2,"latency":"HISTFAAA"}}`,
	} {
		f.Add(line, "")
	}
	f.Add("", string(encodeSummary(summary{Totals: []record.LoadSecond{{Offered: 2, Sent: 2}}})))
	f.Fuzz(func(t *testing.T, lines, left string) {
		if len(lines) > 10_000 || len(left) > maxSummary {
			return
		}
		fleet, _ := hear(fourPhases, lines, left, true)
		run := fleet.rec.Run()
		for _, e := range run.Entries {
			if l := e.Load; l != nil {
				if l.Phase < 0 || l.Phase >= len(fourPhases) {
					t.Errorf("phase %d", l.Phase)
				}
			}
		}
		if _, err := json.Marshal(run.Entries); err != nil {
			t.Error(err)
		}
	})
}
