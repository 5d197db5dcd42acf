package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/reports"
)

// Work that takes longer than workShown shows what it does: on a terminal in one live line,
// elsewhere in a line now and each plainEvery.
const (
	workShown = 2 * time.Second
	liveEvery = 250 * time.Millisecond
)

// leftShown is the least time that work says is left.
const leftShown = 20 * time.Second

// roughly is a time in seconds, minutes or hours, of which it has two at least.
func roughly(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.0f h", d.Hours())
}

// workGC lets the garbage collector of work run more often than that of a run, whose load is
// not to be disturbed: the heap of a record of weeks is large.
const workGC = 60

// work is what a command does without a run, by which it may be busy for a while. A nil one
// shows nothing.
type work struct {
	out  io.Writer
	live *os.File // the terminal, if it is one
	over chan struct{}

	mu    sync.Mutex
	what  string
	since time.Time
	share float64 // that is done, from 0 to 1; 0 where that is not known
	drawn bool
	ended bool
}

func addQuiet(cmd *cobra.Command, quiet *bool) {
	cmd.Flags().BoolVarP(quiet, "quiet", "q", false, "show no progress")
}

// work begins work, which ends with done.
func (a *app) work(quiet bool) *work {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(workGC)
	}
	if quiet {
		return nil
	}
	w := &work{out: a.stderr, live: terminal(a.stderr), over: make(chan struct{})}
	go w.show()
	return w
}

func (w *work) show() {
	every := plainEvery
	if w.live != nil {
		every = liveEvery
	}
	for next := time.After(workShown); ; next = time.After(every) {
		select {
		case <-w.over:
			return
		case <-next:
			w.draw()
		}
	}
}

func (w *work) draw() {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := w.what
	if w.share > 0 {
		line += fmt.Sprintf(": %.0f %%", w.share*100)
		past := time.Since(w.since)
		if left := time.Duration(float64(past) * (1 - w.share) / w.share); past > workShown && left >= leftShown {
			line += fmt.Sprintf(", about %s left", roughly(left))
		}
	}
	switch {
	case w.ended || line == "":
	case w.live != nil:
		fmt.Fprintf(w.live, "\r\x1b[K%s", reports.Visible(line))
		w.drawn = true
	default:
		fmt.Fprintln(w.out, line)
	}
}

// does says what is done now.
func (w *work) does(what string) {
	if w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.what, w.share, w.since = what, 0, time.Now()
	}
}

// part says how much of it is done.
func (w *work) part(share float64) {
	if w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.share = min(share, 1)
	}
}

// above lets print write to the terminal, which may be that of the live line.
func (w *work) above(print func()) {
	if w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.drawn {
			fmt.Fprint(w.live, "\r\x1b[K")
			w.drawn = false
		}
	}
	print()
}

// say prints a line of what is done.
func (w *work) say(line string) {
	if w != nil {
		w.above(func() { fmt.Fprintln(w.out, line) })
	}
}

// done ends the work, and takes the live line away. It may be called again.
func (w *work) done() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.drawn {
		fmt.Fprint(w.live, "\r\x1b[K")
	}
	if !w.ended {
		close(w.over)
	}
	w.drawn, w.ended = false, true
}

// open opens a file, of which it shows how much was read.
func (w *work) open(file string) (io.ReadCloser, error) {
	f, err := record.OpenFile(file)
	if err != nil {
		return nil, err
	}
	r := &counted{File: f, work: w}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		r.size = info.Size()
	}
	w.does("reading " + file)
	return r, nil
}

type counted struct {
	*os.File
	work       *work
	read, size int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.File.Read(b)
	if c.read += int64(n); c.size > 0 {
		c.work.part(float64(c.read) / float64(c.size))
	}
	return n, err
}

// read reads a record for its figures.
func (w *work) read(file string) (*analysis.Builder, error) {
	f, err := w.open(file)
	if err != nil {
		return nil, fmt.Errorf("reading a record: %w", err)
	}
	defer f.Close()
	var b analysis.Builder
	if err := b.Read(f); err != nil {
		return nil, fmt.Errorf("reading record %s: %w", file, err)
	}
	return &b, nil
}
