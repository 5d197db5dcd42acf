package loadgen

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hpabench/hpabench/record"
)

// Order is what a worker is to send: its share of the phases, to a URL.
type Order struct {
	Phases  []record.Phase `json:"phases"`
	Request Request        `json:"request"`
	URL     string         `json:"url"`
	Share   Share          `json:"share"`
}

// command is a line that a Fleet writes to a worker, one of its fields.
type command struct {
	Order *Order `json:"order,omitempty"`
	Ping  int    `json:"ping,omitempty"`
	Start *start `json:"start,omitempty"`
	Stop  bool   `json:"stop,omitempty"`
}

// start tells when the first phase begins, on the clock of the run, and how far
// that clock is ahead of the worker's; both in nanoseconds.
type start struct {
	Onset time.Duration `json:"onset"`
	Ahead time.Duration `json:"ahead"`
}

// line is what a worker writes: an entry of its record, or a reply.
type line struct {
	Number int    `json:"n"` // counts them, from 1
	Reply  *reply `json:"worker,omitempty"`

	// Totals are the sums of all counts up to and with this line, by phase: of the
	// newest phases, in the last line of all. So a line that is lost costs resolution
	// in time and never a count.
	Totals []record.LoadSecond `json:"totals,omitempty"`
	record.Entry
}

// reply answers a command, and says each second that the worker is alive.
type reply struct {
	Version string `json:"version,omitempty"`
	// Protocol is that of the lines; see protocol.
	Protocol int           `json:"protocol,omitempty"`
	Ping     int           `json:"ping,omitempty"`
	Clock    time.Duration `json:"clock,omitempty"` // of the worker, since it began
	Started  bool          `json:"started,omitempty"`
	Beat     int           `json:"beat,omitempty"`
	Error    string        `json:"error,omitempty"`
}

// errStopped ends a worker's load before its time.
var errStopped = errors.New("the run was ended early")

// Work is a worker of a Fleet: it takes its orders from in and writes to out what it
// sent and what became of it, a line a second. Version is hpabench's. It returns when
// its load is over; when ctx is done before, it ends the load as Generator.Run does.
// The error says what was wrong with the order.
func Work(ctx context.Context, in io.Reader, out io.Writer, version string) error {
	return WorkIn(ctx, in, out, version, nil)
}

// WorkIn is Work with a summary: a file of maxSummary bytes that always holds what was
// counted so far, for a Fleet that could not read out. In a pod it is the container's
// termination message.
func WorkIn(ctx context.Context, in io.Reader, out io.Writer, version string, summary io.WriterAt) error {
	began := time.Now()
	lines := &lineWriter{out: out, summary: summary}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	commands := make(chan command)
	go func() {
		scan := bufio.NewScanner(in)
		scan.Buffer(nil, maxLine)
		for scan.Scan() {
			var c command
			if err := json.Unmarshal(scan.Bytes(), &c); err != nil {
				cancel(fmt.Errorf("reading an order: %w", err))
				return
			}
			select {
			case commands <- c:
			case <-ctx.Done():
				return
			}
		}
	}()

	var order *Order
	started := false
	ended := make(chan struct{})
	for {
		select {
		case <-ctx.Done():
			if !started {
				return context.Cause(ctx)
			}
			<-ended
			return nil
		case <-ended:
			return nil
		case c := <-commands:
			switch {
			case c.Stop:
				cancel(errStopped)
			case c.Ping > 0:
				lines.write(reply{Ping: c.Ping, Clock: time.Since(began)})
			case c.Order != nil && order == nil:
				if _, err := URL(c.Order.URL); err != nil {
					lines.write(reply{Error: err.Error()})
					return err
				}
				lines.write(reply{Version: version, Protocol: protocol})
				order = c.Order
			case c.Start != nil && order != nil && !started:
				started = true
				lines.write(reply{Started: true})
				go func() {
					defer close(ended)
					work(ctx, *order, *c.Start, record.ClockFrom(began.Add(-c.Start.Ahead)), lines)
				}()
			}
		}
	}
}

// work sends the share of one worker.
func work(ctx context.Context, o Order, s start, clock record.Clock, lines *lineWriter) {
	rec := record.NewRecorder(clock, lines)
	err := func() error {
		way, err := URL(o.URL)
		if err != nil {
			return err
		}
		g, err := newShare(o.Share, o.Phases, o.Request, way, rec)
		if err != nil {
			return err
		}
		alive, over := context.WithCancel(context.Background())
		defer over()
		go func() {
			for n := 1; ; n++ {
				select {
				case <-time.After(beat):
					lines.writeAt(clock.Now(), reply{Beat: n})
				case <-alive.Done():
					return
				}
			}
		}()
		return g.RunAt(ctx, record.Instant(s.Onset))
	}()
	end := &record.End{Outcome: record.Completed}
	if err != nil {
		end.Outcome, end.Error = record.Interrupted, err.Error()
	}
	rec.Add(record.Entry{End: end})
}

const (
	// protocol is that of the lines of a worker. It grows when a Fleet could not make
	// sense of the lines of an older worker; 3 is the one whose summary says what it
	// leaves out.
	protocol = 3

	// beat is how often a worker says that it is alive.
	beat = time.Second

	// maxLine bounds a command to a worker: an order holds the bodies.
	maxLine = 64 << 20

	// maxWorkerLine bounds a line of a worker: a second of maxPods pods, each with the
	// longest name and a histogram of some 2 KB.
	maxWorkerLine = 4 << 20

	// newest is how many phases a line has totals of: those whose answers may still come.
	newest = 16

	// maxSummary is what Kubernetes keeps of a termination message, see
	// https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
	maxSummary = 4096
)

// lineWriter writes JSON objects, each on a line and with its number and totals in it,
// from several goroutines.
type lineWriter struct {
	mu      sync.Mutex
	out     io.Writer
	summary io.WriterAt // nil for none
	number  int
	totals  []record.LoadSecond // by phase, in their order
}

func (w *lineWriter) Write(object []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var e record.Entry
	if err := json.Unmarshal(object, &e); err != nil {
		return 0, err
	}
	if e.Load != nil {
		i, known := slices.BinarySearchFunc(w.totals, e.Load.Phase, func(t record.LoadSecond, phase int) int { return t.Phase - phase })
		if !known {
			w.totals = slices.Insert(w.totals, i, record.LoadSecond{Phase: e.Load.Phase})
		}
		addCounts(&w.totals[i], e.Load)
	}
	told := w.totals
	if e.End == nil {
		told = told[max(0, len(told)-newest):]
	}
	w.number++
	b := fmt.Appendf(nil, `{"n":%d,`, w.number)
	if len(told) > 0 {
		totals, err := json.Marshal(told)
		if err != nil {
			return 0, err
		}
		b = fmt.Appendf(b, `"totals":%s,`, totals)
	}
	_, err := w.out.Write(append(b, object[1:]...))
	if w.summary != nil && (e.Load != nil || e.End != nil) {
		// Whoever cannot read it lacks the totals, and says so.
		_, _ = w.summary.WriteAt(encodeSummary(summary{Totals: w.totals, End: e.End}), 0)
	}
	if err != nil {
		return 0, err
	}
	return len(object), nil
}

func (w *lineWriter) Close() error { return nil }

// write writes a reply before the load. What cannot be written is lost with whoever read it.
func (w *lineWriter) write(r reply) { w.writeAt(0, r) }

// writeAt writes a reply with its time on the clock of the run.
func (w *lineWriter) writeAt(now record.Instant, r reply) {
	if b, err := json.Marshal(struct {
		At    record.Instant `json:"at"`
		Reply reply          `json:"worker"`
	}{now, r}); err == nil {
		_, _ = w.Write(append(b, '\n'))
	}
}

// summary is what a worker leaves in place of its lines.
type summary struct {
	Totals []record.LoadSecond `json:"totals"`
	End    *record.End         `json:"end,omitempty"` // nil until then

	// Before is the phase before which all are left out, 0 if none is.
	Before int `json:"before,omitempty"`
}

// maxTotals is more than a summary has room for.
const maxTotals = 200

const summaryHead = "hpabench-totals:"

// IsSummary says whether a text is the summary of a worker, which people cannot read.
func IsSummary(text string) bool { return strings.HasPrefix(text, summaryHead) }

// encodeSummary makes a text of maxSummary bytes: so each replaces the last as a
// whole. Where all phases take more, the oldest are left out.
func encodeSummary(s summary) []byte {
	drop := func(n int) {
		if n > 0 {
			s.Before, s.Totals = s.Totals[n-1].Phase+1, s.Totals[n:]
		}
	}
	drop(len(s.Totals) - maxTotals)
	for {
		var b bytes.Buffer
		b.WriteString(summaryHead)
		base := base64.NewEncoder(base64.StdEncoding, &b)
		zip, _ := gzip.NewWriterLevel(base, gzip.BestCompression)
		// A buffer takes all that is written.
		_ = json.NewEncoder(zip).Encode(s)
		_ = zip.Close()
		_ = base.Close()
		if b.Len() <= maxSummary {
			return append(b.Bytes(), bytes.Repeat([]byte(" "), maxSummary-b.Len())...)
		}
		if len(s.Totals) == 0 {
			return bytes.Repeat([]byte(" "), maxSummary)
		}
		drop(len(s.Totals)/8 + 1)
	}
}

func decodeSummary(text string) (s summary, err error) {
	text, is := strings.CutPrefix(strings.TrimSpace(text), summaryHead)
	if !is || len(text) > maxSummary {
		return s, errors.New("there is no summary")
	}
	zip, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(text)))
	if err != nil {
		return s, err
	}
	return s, json.NewDecoder(io.LimitReader(zip, maxWorkerLine)).Decode(&s)
}
