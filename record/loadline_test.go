package record

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var loadLines = []string{
	`{"at":430.002000,"load":{"phase":0,"second":429,"offered":128,"sent":128,"answered":124,"codes":{"200":124},"latency":"SElTVEZBQUFBQ"}}`,
	`{"at":1.000000,"load":{"worker":3,"phase":1,"second":0,"unsent":7,"failed":2,"aborted":1,"codes":{"200":1,"503":12},"errors":{"connection refused":2},"bytesIn":10,"bytesOut":20,"late":3,"lateMaxSeconds":1.5e-7,"lateness":"AA==","slowConnects":1,"latency":""}}`,
	`{"at":0.000001,"load":{"phase":0,"second":0,"codes":{}}}`,
	`{"at":0.000001,"load":{"phase":0,"second":0,"errors":{"a \"b\" \u003c":1}}}`,
	`{"at":5,"load":{"phase":0,"second":4,"pods":{"web-1":{"answered":3}}}}`,
	`{"at":5,"load":{"phase":-1,"second":4}}`,
	`{"at":5,"load":{"phase":0,"second":4},"note":{"text":"x"}}`,
	`{"at":5,"load":{"phase":0,,"second":4}}`,
	`{"at":5,"load":{,"phase":0}}`,
	`{"at":5,"load":{"offered":99999999999999999999}}`,
	`{"at":5,"load":{"offered":007}}`,
	`{"at":.5,"load":{"lateMaxSeconds":.5}}`,
	`{"at":5,"load":{"codes":{"200":1,}}}`,
	`{"at":5,"load":{}}`,
	`{"at":5,"load":null}`,
	`{"at":5,"load":{"phase":1,"phase":2}}`,
	`{"at":5,"load":{"codes":{"200":1},"codes":{"500":1}}}`,
}

// same fails if loadLine takes a line that encoding/json does not, or otherwise.
func same(t *testing.T, line []byte) (took bool) {
	t.Helper()
	var mine, want Entry
	if d := new(decoder); !d.loadLine(line, &mine) && !d.metricsLine(line, &mine) && !d.autoscalerLine(line, &mine) {
		return false
	}
	if err := json.Unmarshal(line, &want); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if diff := cmp.Diff(want, mine); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", line, diff)
	}
	return true
}

func TestLoadLine(t *testing.T) {
	for i, line := range loadLines {
		if took := same(t, []byte(line)); took != (i < 3) && i != 13 && i != 15 {
			t.Errorf("%s: taken %v", line, took)
		}
	}
	full := Entry{At: 5e9, Load: &LoadSecond{Worker: 1, Phase: 2, Second: 3, Offered: 4, Sent: 5, Unsent: 6, Answered: 7, Failed: 8, Aborted: 9, Codes: map[string]uint64{"200": 7},
		Errors: map[string]uint64{"timeout": 8}, BytesIn: 1, BytesOut: 2, Late: 3, LateMax: 0.25, Lateness: "x", SlowConnects: 1, Latency: "y"}}
	line, err := json.Marshal(full)
	if err != nil || !same(t, line) {
		t.Errorf("what is written is not taken: %s, %v", line, err)
	}
}

func FuzzLoadLine(f *testing.F) {
	for _, line := range loadLines {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) { same(t, line) })
}
