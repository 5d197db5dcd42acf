package record

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// journal is a file whose disk is full after so many bytes.
type journal struct {
	bytes.Buffer
	room int
}

func (j *journal) Write(b []byte) (int, error) {
	if j.Len()+len(b) > j.room {
		n, _ := j.Buffer.Write(b[:j.room-j.Len()])
		return n, errors.New("no space left on device")
	}
	return j.Buffer.Write(b)
}

func (j *journal) Close() error { return nil }

func entries() []Entry {
	h := NewHistogram()
	_ = h.RecordValue(1234)
	latency, err := EncodeHistogram(h)
	if err != nil {
		panic(err)
	}
	return []Entry{
		{Header: &Header{Format: Format, Run: "abcde", Scenario: "demo", Phases: []Phase{{Name: "surge", Seconds: 60, Shape: ShapeRate, From: 10}}, MetricsEvery: 1}},
		{At: Instant(1234567 * time.Microsecond), Phase: &PhaseMark{Name: "surge", Edge: "start"}},
		{At: Instant(2 * time.Second), Load: &LoadSecond{Second: 1, Offered: 10, Sent: 10, Answered: 9, Failed: 1, Codes: map[string]uint64{"200": 9}, Latency: latency}},
		{At: Instant(3 * time.Second), End: &End{Outcome: Completed}},
	}
}

func write(j *journal) *Recorder {
	r := NewRecorder(StartClock(), j)
	for _, e := range entries() {
		r.AddAt(e.At, e)
	}
	return r
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	j := &journal{room: 1 << 20}
	r := write(j)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	read, err := Read(&j.Buffer)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Run{Entries: entries()}, read, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
	if diff := cmp.Diff(read.Entries, r.Run().Entries, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("in memory (-read +kept):\n%s", diff)
	}
}

// TestCutOffAnywhere cuts a journal at every byte, as a kill or a full disk may.
func TestCutOffAnywhere(t *testing.T) {
	j := &journal{room: 1 << 20}
	write(j)
	whole := j.String()
	for n := range len(whole) {
		run, err := Read(strings.NewReader(whole[:n]))
		lines := strings.Count(whole[:n], "\n")
		if lines == 0 {
			if err == nil {
				t.Fatalf("cut after %d bytes: a record without a header was read", n)
			}
			continue
		}
		if err != nil || len(run.Entries) != lines || !run.Truncated {
			t.Fatalf("cut after %d bytes: %d entries of %d lines, truncated %v, error %v", n, len(run.Entries), lines, run.Truncated, err)
		}
	}
}

// What became of requests that were under way when a run was killed is unknown, and of those that were due then: the counts add up.
func TestKilledRunAddsUp(t *testing.T) {
	killed := []Entry{
		entries()[0],
		{At: Instant(2 * time.Second), Load: &LoadSecond{Second: 1, Offered: 10, Sent: 10, Answered: 6, Failed: 1}},
		{At: Instant(3 * time.Second), Load: &LoadSecond{Second: 2, Offered: 10, Sent: 8, Unsent: 1, Answered: 2, Aborted: 1, Unknown: 1}},
		{At: Instant(3 * time.Second), Load: &LoadSecond{Worker: 1, Second: 2, Offered: 5, Sent: 5, Answered: 5}},
	}
	for want, all := range map[*LoadSecond][]Entry{{Second: 2, Sent: 1, Unknown: 8}: killed, nil: append(killed[:4:4], entries()[3])} {
		run, err := Read(bytes.NewReader(lines(t, all...)))
		if err != nil {
			t.Fatal(err)
		}
		if want != nil {
			all = append(all, Entry{At: Instant(3 * time.Second), Load: want})
		}
		if diff := cmp.Diff(all, run.Entries, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-want +read):\n%s", diff)
		}
	}
}

func TestFullDiskKeepsWhatWasMeasured(t *testing.T) {
	j := &journal{room: 400}
	r := write(j)
	select {
	case <-r.Failed():
	default:
		t.Error("the failed write was not told")
	}
	if n := len(r.Run().Entries); n != len(entries()) {
		t.Errorf("%d entries are left in memory", n)
	}
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Close returned %v", err)
	}
	run, err := Read(&j.Buffer)
	if err != nil || len(run.Entries) == 0 || !run.Truncated {
		t.Errorf("what was written reads as %d entries, truncated %v, error %v", len(run.Entries), run.Truncated, err)
	}
}

func TestReadRefusesWhatIsNoRecord(t *testing.T) {
	const header = `{"at":0.000000,"header":{"format":"` + Format + `"}}` + "\n"
	for content, want := range map[string]string{
		"": "the record is empty",
		`{"at":1.000000,"note":{"text":"x"}}` + "\n": "line 1 is no header with format",
		strings.Replace(header, "/v1", "/v0", 1):     "line 1 is no header with format",
		"hello\n":                                    "line 1 is no entry of a record",
		header + "hello\n":                           "line 2 is not an entry of a record",
		"\xef\xbb\xbf" + header:                      "",
		"\xff\xfe{\x00":                              "it is UTF-16, expected text in UTF-8: convert it with iconv -f UTF-16 -t UTF-8",
		"\xff\xfe\x00\x00{\x00":                      "it is UTF-32",
		"{\x00\"\x00a\x00":                           "iconv -f UTF-16LE",
		"\x00{\x00\"\x00a":                           "iconv -f UTF-16BE",
		"\x1f\x8b\x08\x00":                           "it is compressed by gzip, expected text in UTF-8: convert it with gunzip",
		"PK\x03\x04":                                 "unzip",
		"\x28\xb5\x2f\xfd":                           "unzstd",
		"BZh91AY&SY":                                 "bunzip2",
		"\xfd7zXZ\x00":                               "unxz",
	} {
		_, err := Read(strings.NewReader(content))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
}

func TestHistogramsMergeWithoutLoss(t *testing.T) {
	sum := NewHistogram()
	for i := range 3 {
		h := NewHistogram()
		for v := range 1000 {
			if err := h.RecordValue(int64(1 + v*(i+1)*100)); err != nil {
				t.Fatal(err)
			}
		}
		encoded, err := EncodeHistogram(h)
		if err != nil {
			t.Fatal(err)
		}
		if err := encoded.AddTo(sum); err != nil {
			t.Fatal(err)
		}
	}
	if sum.TotalCount() != 3000 {
		t.Errorf("%d counts of 3000", sum.TotalCount())
	}
	if err := Histogram("rubbish").AddTo(sum); err == nil {
		t.Error("rubbish was merged")
	}
	if err := Histogram("").AddTo(sum); err != nil {
		t.Errorf("an empty histogram: %v", err)
	}
}
