package record

import (
	"encoding/json"
	"slices"
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

// otherLines are of the other kinds that are scanned, those that are first as they are written.
var otherLines = []string{
	`{"at":43219.000000,"podMetrics":{"samples":[{"pod":"web-1","new":true,"timestamp":"2000-01-01T12:00:12Z","windowSeconds":10.239925603,"containers":[{"name":"web","cpu":0.65,"memoryBytes":2118656},{"name":"proxy","cpu":1.08e-7,"memoryBytes":0}]},{"pod":"web-2","timestamp":"2000-01-01T12:00:15.5+02:00","windowSeconds":14,"containers":[]}]}}`,
	`{"at":3,"podMetrics":{"samples":[]}}`,
	`{"at":43165.155000,"autoscaler":{"name":"web","spec":{"scaleTargetRef":{"kind":"Deployment","name":"web","apiVersion":"apps/v1"},"minReplicas":2,"maxReplicas":12,"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":60}}}]},"status":{"observedGeneration":0,"lastScaleTime":"2000-01-01T11:59:25Z","currentReplicas":9,"desiredReplicas":11,"currentMetrics":[{"type":"Resource","resource":{"name":"cpu","current":{"averageValue":"135m","averageUtilization":67}}}],"conditions":[{"type":"AbleToScale","status":"True","lastTransitionTime":"2000-01-01T00:00:00Z","reason":"R","message":"\"a\" {b\\"}]}}}`,
	`{"at":1,"autoscaler":{"name":"web","spec":{"scaleTargetRef":{"kind":"","name":""},"maxReplicas":0},"status":{"desiredReplicas":0,"currentMetrics":null}}}`,
	`{"at":1,"autoscaler":{"name":"web","deleted":true,"spec":{"scaleTargetRef":{"kind":"","name":""},"maxReplicas":0},"status":{"desiredReplicas":0,"currentMetrics":null}}}`,
	`{"at":1,"autoscaler":{"name":"web","spec":{"maxReplicas":3}},"status":{"desiredReplicas":0}}`,
	`{"at":1,"autoscaler":{"name":"web","spec":{"maxReplicas":3]},"status":{"desiredReplicas":0}}}`,
	`{"at":1,"autoscaler":{"name":"web","spec":{"maxReplicas":"x"},"status":{"desiredReplicas":0}}}`,
	`{"at":1,"autoscaler":{"name":"web","spec":{},"status":{"desiredReplicas":2147483648}}}`,
	`{"at":1,"autoscaler":{"name":"web","spec":{},"status":{"lastScaleTime":"yesterday"}}}`,
	`{"at":1,"autoscaler":{"name":"web","spec":{},"status":{"currentMetrics":[{"type":"a"}],"currentMetrics":[{}]}}}`,
	`{"at":1,"podMetrics":{"samples":[{"pod":"web-1","timestamp":"2000-01-01","windowSeconds":1,"containers":[]}]}}`,
	`{"at":1,"podMetrics":{"samples":[{"pod":"web-1","timestamp":"2000-01-01T00:00:00Z","windowSeconds":-01,"containers":[]}]}}`,
	`{"at":1,"podMetrics":{"samples":[{"pod":"web-1","timestamp":"2000-01-01T00:00:00Z","windowSeconds":1e999,"containers":[]}]}}`,
}

// same fails if a scanner takes a line that encoding/json does not, or otherwise.
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

func TestOtherLines(t *testing.T) {
	for i, line := range otherLines {
		if took := same(t, []byte(line)); took != (i < 3) {
			t.Errorf("%s: taken %v", line, took)
		}
	}
	// What is kept of a line is not taken for what another one says.
	var d decoder
	for range 2 {
		for _, text := range append(slices.Clone(loadLines), otherLines...) {
			e, err := d.entry([]byte(text))
			var want Entry
			if wrong := json.Unmarshal([]byte(text), &want); (wrong == nil) != (err == nil) {
				t.Errorf("%s: %v, and encoding/json says %v", text, err, wrong)
			} else if diff := cmp.Diff(want, e); err == nil && diff != "" {
				t.Errorf("%s (-want +got):\n%s", text, diff)
			}
		}
	}
}

func FuzzLoadLine(f *testing.F) {
	for _, line := range append(slices.Clone(loadLines), otherLines...) {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) { same(t, line) })
}
