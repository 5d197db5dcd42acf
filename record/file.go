package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Recorder collects the entries of a running measurement in memory and appends
// each to a journal at once, so that whatever ends the process loses nothing.
// It is safe for use by several goroutines.
type Recorder struct {
	Clock Clock

	// Each, if set before the first Add, gets the entries one after the other in place of
	// memory: Run has none then. It may keep what it gets.
	Each func(Entry)

	mu      sync.Mutex
	journal io.WriteCloser
	entries []Entry
	err     error         // the first write that failed
	failed  chan struct{} // closed when err is set
}

// NewRecorder starts a record on clock. Journal may be nil: then nothing is
// written. The first Add must be the Header.
func NewRecorder(clock Clock, journal io.WriteCloser) *Recorder {
	return &Recorder{Clock: clock, journal: journal, failed: make(chan struct{})}
}

// Add appends e with the instant now.
func (r *Recorder) Add(e Entry) { r.AddAt(r.Clock.Now(), e) }

// AddAt appends e as observed at the instant at. When the journal cannot be
// written (a full disk), entries are still kept in memory; see Failed.
func (r *Recorder) AddAt(at Instant, e Entry) {
	e.At = Instant(time.Duration(at).Round(time.Microsecond)) // as the file has it, or a report made from it would differ
	line, err := json.Marshal(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Each != nil {
		r.Each(e)
	} else {
		r.entries = append(r.entries, e)
	}
	if r.journal == nil || r.err != nil {
		return
	}
	if err == nil {
		_, err = r.journal.Write(append(line, '\n'))
	}
	if err != nil {
		r.err = fmt.Errorf("writing the record: %w", err)
		close(r.failed)
	}
}

// Failed is closed when the journal could not be written; Close says why.
func (r *Recorder) Failed() <-chan struct{} { return r.failed }

// Run returns what has been recorded so far.
func (r *Recorder) Run() Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Run{Entries: r.entries[:len(r.entries):len(r.entries)]}
}

// Close closes the journal and returns the first error of any write.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.journal == nil {
		return r.err
	}
	err := r.journal.Close()
	r.journal = nil
	return errors.Join(r.err, err)
}

// Run is a record that was read, or one still being made. Entries stand in the
// order in which they were written, which can differ by milliseconds from the
// order of their instants: sources run side by side.
type Run struct {
	Entries []Entry
	// Truncated is true when the file had no End: the run was killed, or goes on.
	Truncated bool
}

// Header returns the record's first entry; nil if it has none.
func (r Run) Header() *Header {
	if len(r.Entries) == 0 {
		return nil
	}
	return r.Entries[0].Header
}

// Open reads the record in file.
func Open(file string) (Run, error) {
	f, err := OpenFile(file)
	if err != nil {
		return Run{}, fmt.Errorf("reading a record: %w", err)
	}
	defer f.Close()
	r, err := Read(f)
	if err != nil {
		return Run{}, fmt.Errorf("reading record %s: %w", file, err)
	}
	return r, nil
}

// Read reads a record. A last line without its end is dropped: it was being
// written when the run was cut off.
func Read(in io.Reader) (Run, error) {
	var run Run
	var err error
	run.Truncated, err = Stream(in, func(_ []byte, e *Entry) (*Entry, error) {
		if e.Load != nil {
			return e, e.Load.CheckHistograms()
		}
		return e, nil
	}, func(e *Entry) error {
		run.Entries = append(run.Entries, *e)
		return nil
	})
	if err != nil {
		return Run{}, err
	}
	return run, nil
}
