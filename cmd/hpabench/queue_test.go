package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A queue that fills and drains is in the report and the figures of a load that is sent, from the scenario on.
func TestQueueFromScenarioToReport(t *testing.T) {
	var backlog, taken atomic.Int64
	var began atomic.Pointer[time.Time] // when the first message came
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/metrics" {
			backlog.Add(1)
			began.CompareAndSwap(nil, new(time.Now()))
			return
		}
		// A worker begins 3 s later, and then takes 20 messages a second.
		if first := began.Load(); first == nil {
		} else if due := int64(20 * (time.Since(*first).Seconds() - 3)); due > taken.Load() {
			n := min(due-taken.Load(), backlog.Load())
			backlog.Add(-n)
			taken.Store(due)
		}
		fmt.Fprintf(w, "queue_messages_ready{queue=\"a\"} %d\nqueue_messages_ready{queue=\"b\"} 0\n", backlog.Load())
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	scenario, out := filepath.Join(dir, "queue.yaml"), filepath.Join(dir, "out")
	if err := os.WriteFile(scenario, []byte(`apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: queue}
spec:
  workload: {deployment: {image: "nginx:1.15.2", port: 80, resources: {requests: {cpu: 50m}}}}
  autoscaler: {cpuPercent: 20, min: 1, max: 5}
  load:
    method: POST
    queue: {backlog: queue_messages_ready}
    phases: [{name: busy, duration: 2s, rate: 10}, {name: calm, duration: 4s, rate: 0}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	var said, told bytes.Buffer
	a := &app{stdout: &said, stderr: &told}
	if code := a.run(context.Background(), []string{"attack", scenario, "--url", server.URL, "--out", out}); code != exitDone {
		t.Fatalf("exit code %d: %s", code, told.String())
	}
	if !regexp.MustCompile(`Most messages waiting: (1\d|20) at \d\.\d s; at the last reading: 0; drained [123]\.\d s \(±1\.0 s\) after the end of the load\.`).MatchString(strings.Join(strings.Fields(said.String()), " ")) {
		t.Errorf("it says:\n%s", said.String())
	}
	for file, want := range map[string]string{
		"summary.csv":  `(?m)^queue\.peak,(1\d|20),messages,,,.*\nqueue\.oldest,,s,,no reading told the age of a message \(load\.queue\.oldest\),.*\nqueue\.drain,[123]\.\d*,s,1,,`,
		"timeline.csv": `,queue_backlog,queue_oldest_seconds\n`,
		"result.json":  `"queue": \{\s+"peak": (1\d|20),`,
		"record.jsonl": `"queue":\{"backlog":0\}`,
	} {
		content, err := os.ReadFile(filepath.Join(out, file))
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(want).Match(content) {
			t.Errorf("%s has no %s", file, want)
		}
	}
}
