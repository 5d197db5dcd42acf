package runner

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hpabench/hpabench/loadgen"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// What a page shows of a queue, and what it does not.
func TestQueueOf(t *testing.T) {
	const q, age = "queue_messages_ready", "queue_oldest_message_seconds"
	many := strings.Repeat("other_total{path=\"/a\"} 1\n", 10_000)
	for name, c := range map[string]struct {
		page    string
		want    *record.Queue
		ageless string
		err     string
	}{
		"one":           {"# HELP queue_messages_ready Messages.\n# TYPE queue_messages_ready gauge\nqueue_messages_ready 12\n" + age + " 3.5\n", &record.Queue{Backlog: 12, Oldest: new(3.5)}, "", ""},
		"several":       {many + q + `{queue="b"} 2` + "\r\n" + age + `{queue="a"} 1` + "\n" + q + `{queue="a"} 1.5e1 1700000000000` + "\n" + age + `{queue="b"} 7` + "\n" + many, &record.Queue{Backlog: 17, Oldest: new(7.0)}, "", ""},
		"no newline":    {age + " 0\n" + q + " 0", &record.Queue{Oldest: new(0.0)}, "", ""},
		"others":        {q + "_total 5\n" + q + "s 5\nx" + q + " 5\n" + q + " 1\n" + age + "\t2\n", &record.Queue{Backlog: 1, Oldest: new(2.0)}, "", ""},
		"no age":        {q + " 5\n", &record.Queue{Backlog: 5}, "the answer has no series " + age, ""},
		"age NaN":       {q + " 5\n" + age + " NaN\n", &record.Queue{Backlog: 5}, "series " + age + " is NaN", ""},
		"age of -1":     {q + " 5\n" + age + " -1\n", &record.Queue{Backlog: 5}, "series " + age + " is -1", ""},
		"age of an age": {q + " 5\n" + age + " 1e12\n", &record.Queue{Backlog: 5}, "oldestSeconds is 1000000000000, and must be from 0 to 10000000000", ""},

		"empty":     {"", nil, "", "the answer has no series " + q},
		"HTML":      {"<!DOCTYPE html><html><body>" + q + " 5</body></html>", nil, "", "the answer has no series " + q},
		"binary":    {"\x1f\x8b\x08\x00\xff\xfe" + strings.Repeat("\x00\xff", 1000), nil, "", "the answer has no series " + q},
		"one line":  {strings.Repeat("x", 100_000), nil, "", "a line of more than 64 KiB"},
		"no number": {q + " s3cret\n", nil, "", "series " + q + " has a line that is not in Prometheus' text format"},
		"no value":  {q + "\n" + q + " \n", nil, "", "has a line that is not"},
		"open":      {q + `{queue="a` + "\n", nil, "", "has a line that is not"},
		"NaN":       {q + " NaN\n", nil, "", "series " + q + " is NaN"},
		"infinite":  {q + " +Inf\n", nil, "", "series " + q + " is +Inf"},
		"negative":  {q + `{queue="a"} 5` + "\n" + q + `{queue="b"} -1` + "\n", nil, "", "series " + q + " is -1"},
		"too many":  {q + `{queue="a"} 9e11` + "\n" + q + `{queue="b"} 9e11` + "\n", nil, "", "series " + q + ": backlog is 1800000000000"},
		"twice":     {q + `{a="1",b="2"} 5` + "\n" + q + `{b="2",a="1"} 5` + "\n", nil, "", "series " + q + " is there twice with the same labels"},
		"types":     {"# TYPE " + q + " gauge\n# TYPE " + q + " gauge\n" + q + " 1\n", nil, "", "has a line that is not"},
		"counter":   {"# TYPE " + q + " counter\n" + q + " 5\n", nil, "", "series " + q + " is a counter, and no gauge"},
		"histogram": {"# TYPE " + q + " histogram\n" + q + `_bucket{le="+Inf"} 5` + "\n" + q + "_sum 5\n" + q + "_count 5\n", nil, "", "the answer has no series " + q},
		"summary":   {"# TYPE " + q + " summary\n" + q + `{quantile="0.5"} 5` + "\n", nil, "", "series " + q + " is a summary, and no gauge"},
		"huge":      {strings.Repeat("x\n", maxPage/2+1), nil, "", "the answer has more than 16 MiB"},
		"huge one":  {strings.Repeat(q+" 1\n", maxSeries/len(q)), nil, "", "takes more than 1 MiB"},
		"labels":    {q + "{" + strings.Repeat(`a="1",`, 10_000) + "} 1\n", nil, "", ""},
	} {
		is, ageless, err := queueOf(strings.NewReader(c.page), &scenarios.Queue{Backlog: q, Oldest: age})
		if name == "labels" {
			continue // whatever the parser says of so many, it returns
		}
		if d := cmp.Diff(c.want, is); d != "" || ageless != c.ageless || (err == nil) != (c.err == "") || err != nil && (!strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s: %q, %v, want %q (-want +got):\n%s", name, ageless, err, c.err, d)
		}
	}
	if is, ageless, err := queueOf(strings.NewReader(q+" 5\n"), &scenarios.Queue{Backlog: q}); err != nil || ageless != "" || is.Oldest != nil {
		t.Errorf("no age is asked for: %+v, %q, %v", is, ageless, err)
	}
}

// queueServer is a queue over HTTP, as one-node/parts has it: POST adds a message, and a worker takes ten a second.
func queueServer(t *testing.T, metrics func(w http.ResponseWriter, req *http.Request, backlog int64)) *httptest.Server {
	var backlog atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/metrics" && req.Header.Get("Authorization") != "Bearer s3cret":
			w.WriteHeader(http.StatusUnauthorized)
		case req.URL.Path == "/metrics":
			metrics(w, req, backlog.Load())
		default:
			backlog.Add(1)
		}
	}))
	t.Cleanup(server.Close)
	ended := make(chan struct{})
	var working sync.WaitGroup
	working.Go(func() {
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case <-tick.C:
				if backlog.Load() > 0 {
					backlog.Add(-1)
				}
			case <-ended:
				return
			}
		}
	})
	t.Cleanup(func() { close(ended); working.Wait() })
	return server
}

const queued = `apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: x}
spec:
  workload: {deployment: {image: "nginx:1.15.2", port: 80, resources: {requests: {cpu: 50m}}}}
  autoscaler: {cpuPercent: 20, min: 1, max: 5}
  load:
    method: POST
    auth: {bearer: {env: QUEUE_TOKEN}}
    queue: {backlog: ready, oldest: oldest}
    phases: [{name: busy, duration: 1s, rate: 20}, {name: calm, duration: 2s, rate: 0}]
`

// sendQueued sends its load to a server, and gives what was recorded.
func sendQueued(t *testing.T, server *httptest.Server) (run record.Run, written, said string) {
	t.Helper()
	t.Setenv("QUEUE_TOKEN", "s3cret")
	file, err := scenarios.Parse("s.yaml", []byte(queued), nil)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	rec := record.NewRecorder(record.StartClock(), nopCloser{&b})
	var mu sync.Mutex
	err = Attack(context.Background(), file, server.URL, Options{ID: "x", MetricsEvery: 100 * time.Millisecond}, rec, func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		said += p.Message
	})
	if err != nil {
		t.Fatal(err)
	}
	rec.Close()
	written = b.String()
	if run, err = record.Read(&b); err != nil {
		t.Fatal(err)
	}
	return run, written, said
}

// A queue fills and drains while the load goes on and after it; its readings are no requests of the load.
func TestQueueIsRead(t *testing.T) {
	server := queueServer(t, func(w http.ResponseWriter, _ *http.Request, backlog int64) {
		fmt.Fprintf(w, "# TYPE ready gauge\nready %d\noldest %g\n", backlog, float64(backlog)/10)
	})
	run, written, said := sendQueued(t, server)
	if strings.Contains(written+said, "s3cret") || said != "" {
		t.Errorf("%q, %s", said, written)
	}
	var sent uint64
	most, last, lastAt := 0.0, -1.0, record.Instant(0)
	for _, e := range run.Entries {
		switch {
		case e.Load != nil:
			sent += e.Load.Sent
		case e.Gap != nil, e.Note != nil:
			t.Errorf("%+v %+v", e.Gap, e.Note)
		case e.Queue != nil:
			most, last, lastAt = max(most, e.Queue.Backlog), e.Queue.Backlog, e.At
			if e.Queue.Oldest == nil || *e.Queue.Oldest != e.Queue.Backlog/10 {
				t.Errorf("%+v", e.Queue)
			}
		}
	}
	if sent != 20 || most < 5 || most > 20 || last != 0 || lastAt.Seconds() < 1 {
		t.Errorf("%d requests; at most %g messages, and %g from %s on", sent, most, last, lastAt)
	}
}

// A queue that cannot be read is no queue of no messages: it is a gap, and what to do is said once, and ends no load.
func TestQueueIsNotRead(t *testing.T) {
	for name, c := range map[string]struct {
		metrics func(w http.ResponseWriter, req *http.Request, backlog int64)
		cause   string
	}{
		"no series": {func(w http.ResponseWriter, _ *http.Request, _ int64) { fmt.Fprint(w, "up 1\n") }, "the answer has no series ready"},
		"code":      {func(w http.ResponseWriter, _ *http.Request, _ int64) { w.WriteHeader(http.StatusBadGateway) }, "the answer is 502 Bad Gateway"},
		"echo": {func(w http.ResponseWriter, req *http.Request, _ int64) {
			fmt.Fprint(w, "ready ", req.Header["Authorization"], "\n")
		}, "has a line that is not"},
	} {
		run, written, said := sendQueued(t, queueServer(t, c.metrics))
		notes, gaps, from, to := 0, 0, record.Instant(0), record.Instant(0)
		var began, ended record.Instant
		for _, e := range run.Entries {
			switch {
			case e.Phase != nil && e.Phase.Edge == "start" && e.Phase.Index == 0:
				began = e.At
			case e.Phase != nil && e.Phase.Edge == "end":
				ended = e.At
			case e.Note != nil:
				notes++
				if !strings.Contains(e.Note.Text, c.cause) || !strings.Contains(e.Note.Text, "look at what that path") {
					t.Errorf("%s: %s", name, e.Note.Text)
				}
			case e.Gap != nil:
				gaps++
				from, to = e.Gap.From, e.Gap.To
				if e.Gap.Source != record.QueueSource || !strings.Contains(e.Gap.Cause, c.cause) {
					t.Errorf("%s: %+v", name, e.Gap)
				}
			case e.Queue != nil:
				t.Errorf("%s: %+v", name, e.Queue)
			}
		}
		if notes != 1 || strings.Count(said, "warning: GET /metrics of load.queue: ") != 1 || gaps != 1 || from > began.Add(time.Second) || to < ended || strings.Contains(written+said, "s3cret") {
			t.Errorf("%s: %d notes, %d gaps, from %s to %s of a load from %s to %s; said %q", name, notes, gaps, from, to, began, ended, said)
		}
	}
}

// An answer without end holds nothing up when the load is over.
func TestQueueIsGivenUp(t *testing.T) {
	asked := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked <- struct{}{}
		for req.Context().Err() == nil {
			fmt.Fprint(w, "x 1\n")
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}))
	t.Cleanup(server.Close)
	file, err := scenarios.Parse("s.yaml", []byte(queued), nil)
	if err != nil {
		t.Fatal(err)
	}
	way, err := loadgen.URL(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	rec := record.NewRecorder(record.StartClock(), nil)
	stop, err := readQueue(t.Context(), file, way, request(file, ""), time.Second, rec, func(said string) { t.Errorf("it says %q", said) })
	if err != nil {
		t.Fatal(err)
	}
	<-asked
	began := time.Now()
	if stop(); time.Since(began) > queueTimeout/2 {
		t.Errorf("it takes %s", time.Since(began))
	}
	if entries := rec.Run().Entries; len(entries) > 0 {
		t.Errorf("%+v", entries)
	}
}

// The age of the oldest message alone can be missing, which is said once there are messages.
func TestQueueWithoutAge(t *testing.T) {
	server := queueServer(t, func(w http.ResponseWriter, _ *http.Request, backlog int64) {
		fmt.Fprintln(w, "ready", strconv.FormatInt(backlog, 10))
	})
	run, _, said := sendQueued(t, server)
	readings := 0
	for _, e := range run.Entries {
		if e.Queue != nil {
			readings++
		}
		if e.Gap != nil {
			t.Errorf("%+v", e.Gap)
		}
	}
	if readings < 5 || strings.Count(said, "the answer has no series oldest. How long the oldest message waits is not known") != 1 {
		t.Errorf("%d readings, said %q", readings, said)
	}
}

// Through the API server's proxy a queue is read by the right to get, which a load of POST does not take.
func TestRolesOfQueue(t *testing.T) {
	files := scenario(t, `workload: {deployment: {image: nginx, port: 80, resources: {requests: {cpu: 50m}}}}
  autoscaler: {cpuPercent: 20, min: 1, max: 5}
  load: {via: apiProxy, method: POST, queue: {backlog: q}, phases: [{name: surge, duration: 1m, rate: 5}]}`, "")
	got := roles(t, Permission{Task: TaskRun, Files: files, Namespace: "n"})["Role n"]
	if !slices.ContainsFunc(got, func(line string) bool {
		return strings.HasPrefix(line, "services/proxy ") && strings.Contains(line, "get") && strings.Contains(line, "create")
	}) {
		t.Errorf("%q", got)
	}
}
