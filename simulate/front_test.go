package simulate

import (
	"testing"

	"github.com/hpabench/hpabench/record"
)

// A gateway whose clients give up before it does closes their connections, so that a pod out of service gets no more requests, and the first
// one back gets what it holds: few have an answer, and none has an error. The embedded cluster gave 248 answers in the surge.
func TestGatewayWhoseClientsGiveUp(t *testing.T) {
	r, err := fromText(t, testdata(t, "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = &record.Header{MetricsEvery: 1}
	entries, _ := simulate(t, r)
	codes := codesOf(entries, 1)
	if codes["200"] < 50 || codes["200"] > 500 || codes["503"] > 0 {
		t.Errorf("the surge has answers %v", codes)
	}
}
