package record

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A reading of a queue is read as it was written, and what no queue can have is refused.
func TestQueueEntries(t *testing.T) {
	for line, want := range map[string]string{
		`{"backlog":-1}`:                      "queue: backlog is -1",
		`{"backlog":1e300}`:                   "queue: backlog is 1e+300",
		`{"backlog":1,"oldestSeconds":-0.5}`:  "queue: oldestSeconds is -0.5",
		`{"backlog":1,"oldestSeconds":1e300}`: "queue: oldestSeconds is 1e+300",
		`{"backlog":1,"tookSeconds":-1}`:      "queue: tookSeconds is -1",
	} {
		_, err := Read(strings.NewReader(headerLine + `{"at":1,"queue":` + line + "}\n"))
		if err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	run, err := Read(strings.NewReader(headerLine + `{"at":1,"queue":{"backlog":0}}` + "\n" + `{"at":2,"queue":{"backlog":7.5,"oldestSeconds":0,"tookSeconds":1.25}}` + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]*Queue{{}, {Backlog: 7.5, Oldest: new(0.0), Took: 1.25}}, []*Queue{run.Entries[1].Queue, run.Entries[2].Queue}); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
}
