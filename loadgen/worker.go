package loadgen

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	record.Entry
}

// reply answers a command, and says each second that the worker is alive.
type reply struct {
	Version string        `json:"version,omitempty"`
	Ping    int           `json:"ping,omitempty"`
	Clock   time.Duration `json:"clock,omitempty"` // of the worker, since it began
	Started bool          `json:"started,omitempty"`
	Beat    int           `json:"beat,omitempty"`
	Error   string        `json:"error,omitempty"`
}

// errStopped ends a worker's load before its time.
var errStopped = errors.New("the run was ended early")

// Work is a worker of a Fleet: it takes its orders from in and writes to out what it
// sent and what became of it, a line a second. Version is hpabench's. It returns when
// its load is over; when ctx is done before, it ends the load as Generator.Run does.
// The error says what was wrong with the order.
func Work(ctx context.Context, in io.Reader, out io.Writer, version string) error {
	began := time.Now()
	lines := &lineWriter{out: out}
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
				lines.write(reply{Version: version})
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
		g, err := NewShare(o.Share, o.Phases, o.Request, way, rec)
		if err != nil {
			return err
		}
		alive, over := context.WithCancel(context.Background())
		defer over()
		go func() {
			for n := 1; ; n++ {
				select {
				case <-time.After(beat):
					lines.write(reply{Beat: n})
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
	// beat is how often a worker says that it is alive.
	beat = time.Second

	// maxLine bounds a line between a worker and its Fleet: an order holds the bodies.
	maxLine = 64 << 20
)

// lineWriter writes JSON objects, each on a line and with its number in it, from
// several goroutines.
type lineWriter struct {
	mu     sync.Mutex
	out    io.Writer
	number int
}

func (w *lineWriter) Write(object []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number++
	b := append(fmt.Appendf(nil, `{"n":%d,`, w.number), object[1:]...)
	if _, err := w.out.Write(b); err != nil {
		return 0, err
	}
	return len(object), nil
}

func (w *lineWriter) Close() error { return nil }

// write writes a reply. What cannot be written is lost with whoever read it.
func (w *lineWriter) write(r reply) {
	if b, err := json.Marshal(struct {
		Reply reply `json:"worker"`
	}{r}); err == nil {
		_, _ = w.Write(append(b, '\n'))
	}
}
