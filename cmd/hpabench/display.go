package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
)

// plainEvery is how often the state of the load is printed where there is no
// terminal and nothing changes.
const plainEvery = 15 * time.Second

// display shows the progress of a run or a watch: on a terminal by one live line below
// what is there to stay, elsewhere by plain lines.
type display struct {
	w     io.Writer
	quiet bool
	live  *os.File // the terminal, if it is one
	// prefix tells the lines of one of several runs from those of others.
	prefix string

	mu      sync.Mutex
	onLine  bool // the live line is drawn
	last    runner.State
	phase   string
	printed time.Time
	closed  bool
}

func newDisplay(w io.Writer, quiet bool) *display {
	return &display{w: w, quiet: quiet, live: terminal(w)}
}

var outcomeMarks = map[string]string{record.OK: "ok     ", record.Warning: "warning", record.Fault: "fault  "}

const noMark = "       "

// marked prints text beside a mark: on a terminal broken into lines, elsewhere as
// one, so that it can be searched.
func (d *display) marked(mark, text string) {
	lines := []string{strings.Join(strings.Fields(text), " ")}
	if d.live != nil {
		lines = reports.Wrap(text, width(d.w)-len(noMark)-2)
	}
	for _, l := range lines {
		d.print(mark + "  " + l)
		mark = noMark
	}
}

func (d *display) progress(p runner.Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	switch {
	case p.Check != nil:
		// A fault is the answer to the command, and so not progress.
		if !d.quiet || p.Check.Outcome == record.Fault {
			d.marked(outcomeMarks[p.Check.Outcome], p.Check.Name+": "+p.Check.Message)
			if p.Check.Hint != "" {
				d.marked(noMark, p.Check.Hint)
			}
		}
	case d.quiet:
	case p.Load != nil:
		d.load(*p.Load)
	case p.Watch != nil:
		d.watch(*p.Watch)
	default:
		d.print(strings.Join(strings.Fields(p.Message), " "))
	}
}

// slow says what the command waits for, unless that is over soon.
func (d *display) slow(what string) (over func()) {
	timer := time.AfterFunc(workShown, func() { d.progress(runner.Progress{Message: what}) })
	return func() { timer.Stop() }
}

func (d *display) load(l runner.LoadProgress) {
	line := fmt.Sprintf("%-8s %6s left, run %-6s %6.0f", l.Phase, clock(l.PhaseLeft), clock(l.RunLeft), l.Rate)
	if l.Offered != nil {
		line += fmt.Sprintf(" of %.0f", *l.Offered)
	}
	line += "/s"
	if l.Failed > 0 {
		line += fmt.Sprintf("  %d failed", l.Failed)
	}
	d.state(l.Phase, line, l.State)
}

func (d *display) watch(p runner.WatchProgress) {
	line := fmt.Sprintf("watched for %6s", clock(p.Elapsed))
	if p.Left != nil {
		line += fmt.Sprintf(", %6s left", clock(*p.Left))
	}
	d.state("", line, p.State)
}

// state shows the line of a second with the state that it had.
func (d *display) state(phase, line string, s runner.State) {
	if s != (runner.State{}) { // there is a cluster
		line += fmt.Sprintf("  %s  ready %d/%d", s.Metrics, s.Ready, s.Replicas)
	}
	line = d.prefix + line
	if d.live != nil {
		line = reports.Visible(line)
		columns, _, err := term.GetSize(int(d.live.Fd()))
		if runes := []rune(line); err == nil && len(runes) >= columns && columns > 0 {
			line = string(runes[:columns-1])
		}
		fmt.Fprint(d.live, "\r\x1b[K", line)
		d.onLine = true
		return
	}
	changed := phase != d.phase || s.Ready != d.last.Ready || s.Replicas != d.last.Replicas
	if changed || time.Since(d.printed) >= plainEvery {
		d.phase, d.last, d.printed = phase, s, time.Now()
		fmt.Fprintln(d.w, line)
	}
}

// clock formats a duration as 4m05s, without fractions.
func clock(d time.Duration) string { return max(d, 0).Round(time.Second).String() }

func (d *display) print(line string) {
	if d.onLine {
		fmt.Fprintln(d.w) // the last state of the load stays
		d.onLine = false
	}
	fmt.Fprintln(d.w, d.prefix+line)
}

// close ends the live line, so that the report starts on one of its own.
func (d *display) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.onLine {
		fmt.Fprintln(d.w)
	}
	d.onLine, d.closed = false, true
}
