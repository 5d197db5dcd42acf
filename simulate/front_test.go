package simulate

import (
	"os"
	"testing"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// A gateway whose clients give up before it does closes their connections, so that a pod out of service gets no more requests, and the first
// one back gets what it holds: few have an answer, and none has an error. The embedded cluster gave 248 answers in the surge.
func TestGatewayWhoseClientsGiveUp(t *testing.T) {
	source, err := os.ReadFile("testdata/gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := scenarios.Parse("gateway.yaml", source, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := FromScenario(f)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = &record.Header{MetricsEvery: 1}
	entries, _ := simulate(t, r)
	codes := map[string]uint64{}
	for _, e := range entries {
		if e.Load != nil && e.Load.Phase == 1 {
			for code, n := range e.Load.Codes {
				codes[code] += n
			}
		}
	}
	if codes["200"] < 50 || codes["200"] > 500 || codes["503"] > 0 {
		t.Errorf("the surge has answers %v", codes)
	}
}
