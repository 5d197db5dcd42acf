package record

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// lines is the journal of entries.
func lines(t testing.TB, entries ...Entry) []byte {
	var b bytes.Buffer
	for _, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	return b.Bytes()
}

// A header that asks for more than any run is refused.
func TestHeaderIsBounded(t *testing.T) {
	for change, want := range map[string]string{
		`"seconds":1e300`:               "phases[0]: seconds is 1e+300, and must be from 0 to",
		`"seconds":-1`:                  "phases[0]: seconds is -1",
		`"from":1e300`:                  "phases[0]: from is 1e+300",
		`"workers":9223372036854775807`: "phases[0]: workers is",
		`"curve":[{"at":5},{"at":1}]`:   "the time of curve[1] is 1 s",
		`"curve":[{"rate":-1}]`:         "the rate of curve[0] is -1",
	} {
		text := `{"at":0,"header":{"format":"` + Format + `","phases":[{"name":"a",` + change + "}]}}\n"
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: %v, want %q", change, err, want)
		}
	}
	for first, most := range map[float64]bool{MaxLoad.Seconds() - 60: true, MaxLoad.Seconds() - 59: false} {
		err := (&Header{Phases: []Phase{{Seconds: first}, {Seconds: 60}}}).Check()
		if most != (err == nil) {
			t.Errorf("%.0f s and 60 s: %v", first, err)
		}
	}
	many := make([]Phase, maxPhases+1)
	if err := (&Header{Phases: many}).Check(); err == nil {
		t.Error("any number of phases is taken")
	}
	for _, at := range []string{"1e300", "-1e300", "9223372036854775807", "99999999"} {
		text := `{"at":0,"header":{"format":"` + Format + `"}}` + "\n" + `{"at":` + at + `,"note":{}}` + "\n"
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("at %s: %v", at, err)
		}
	}
}

// endless is the text of a record, of which the last line comes again and again.
type endless struct{ text, again string }

func (e *endless) Read(b []byte) (int, error) {
	if e.text == "" {
		e.text = e.again
	}
	n := copy(b, e.text)
	e.text = e.text[n:]
	return n, nil
}

// A file that never ends is refused.
func TestEndlessRecord(t *testing.T) {
	const header = `{"at":0,"header":{"format":"` + Format + `","phases":[{"name":"a","seconds":60}]}}` + "\n"
	for again, want := range map[string]string{
		`{"at":1,"note":{"text":"x"}}` + "\n":                    "line 500002: more than 500000 entries are of second 1, which no run has: does the file end?",
		`{"at":1,"load":{"phase":0,"second":1,"sent":1}}` + "\n": "more than 500000 entries are of second 1",
		strings.Repeat("y", 1<<20):                               "line 2 is longer than 64 MiB, which no entry of a record is",
	} {
		if _, err := Stream(&endless{header, again}, func([]byte, *Entry) (struct{}, error) { return struct{}{}, nil }, func(struct{}) error { return nil }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", again, err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(lines(f, Entry{Header: &Header{Format: Format, Run: "x", Phases: []Phase{{Name: "a", Seconds: 5, Shape: ShapeRate, From: 3}}}},
		Entry{At: 1e9, Phase: &PhaseMark{}}, Entry{At: 2e9, Load: &LoadSecond{}}, Entry{At: 3e9, End: &End{}}))
	f.Add([]byte(`{"at":0.5,"header":{"format":"` + Format + `","phases":[{"curve":[{"at":1,"rate":2}]}]}}` + "\n{"))
	f.Fuzz(func(t *testing.T, source []byte) {
		if len(source) > 8192 {
			return
		}
		run, err := Read(bytes.NewReader(source))
		if err != nil {
			if err.Error() == "" {
				t.Error("no message")
			}
			return
		}
		if h := run.Header(); h == nil || h.Format != Format {
			t.Errorf("a record without a header: %q", source)
		}
	})
}
