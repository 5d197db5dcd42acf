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

// Worker is a process elsewhere that runs Work. Its methods return when ctx is done.
type Worker interface {
	// Name is for people.
	Name() string
	// Attach connects to its standard input and output, from now on. Closing it
	// leaves both open on the other side.
	Attach(ctx context.Context) (io.ReadWriteCloser, error)
	// Follow gives all that it wrote, from its beginning, and ends with it.
	Follow(ctx context.Context) (io.ReadCloser, error)
	// Ended says why it ended, or that it did not.
	Ended(ctx context.Context) (why string, ended bool)
}

const (
	// pings find out how far two clocks are apart: the quickest of them counts.
	pings = 10

	// headStart is how long before the onset the last worker is told of it.
	headStart = 2 * time.Second

	// answerTimeout bounds how long a worker may take to answer.
	answerTimeout = 30 * time.Second

	// quiet is how long a worker may say nothing before it is spoken of.
	quiet = 5 * time.Second

	// parting is how long the workers may take to send their last seconds, beyond the
	// timeout of a request.
	parting = 15 * time.Second
)

// Fleet sends the load of one run through several workers, each of which sends its
// share. It puts what they count into the record as they counted it, by the second
// and by the worker, so that nothing is lost by adding up.
//
// The clocks of the workers are compared with that of the run when it begins, by the
// time that a question and its answer take; the error is at most half of the
// shortest, and is recorded.
type Fleet struct {
	phases  []record.Phase
	members []*member
	rec     *record.Recorder
	say     func(string)
	version string
	onset   record.Instant
	ends    []record.Instant // of the phases; guarded by mu once they are sent

	mu       sync.Mutex
	begun    int // phases
	ended    int
	stopped  bool // before the last phase was over
	progress Progress
	answers  map[int]uint64 // by second
	pods     map[string]bool
}

// member is one worker as its fleet sees it.
type member struct {
	Worker
	number int // from 1
	order  Order
	ahead  time.Duration // of the run's clock over its own
	within time.Duration // the error of that, at most

	// Guarded by the fleet's mutex.
	heard  record.Instant
	silent bool
	gone   bool                // it has ended, in order or not
	lines  int                 // that were read; used by follow only
	done   []record.LoadSecond // what it has counted, by phase
	end    *record.End
}

// NewFleet prepares to send the phases to url through workers, which must run and
// must not have any orders yet. Say is told of what happens to them; version is
// hpabench's.
func NewFleet(workers []Worker, phases []record.Phase, request Request, url string, rec *record.Recorder, version string, say func(string)) *Fleet {
	f := &Fleet{phases: phases, rec: rec, say: say, version: version, answers: map[int]uint64{}, pods: map[string]bool{}}
	f.progress.Phase = -1
	for i, w := range workers {
		f.members = append(f.members, &member{Worker: w, number: i + 1, done: make([]record.LoadSecond, len(phases)),
			order: Order{Phases: phases, Request: request, URL: url, Share: Share{Index: i, Of: len(workers)}}})
	}
	return f
}

// Run gives the workers their orders, starts them at one instant and returns when all
// have ended. What a worker that died had not told is counted: what was due by then
// as aborted, because it may have been sent, and the rest as unsent. When ctx is
// done, the workers are told to stop, and have the request's timeout, at most 5 s,
// for what is in flight; then Run returns the cause of ctx.
func (f *Fleet) Run(ctx context.Context) error {
	if err := f.brief(ctx); err != nil {
		return err
	}
	within := time.Duration(0)
	for _, m := range f.members {
		within = max(within, m.within)
	}
	f.note(fmt.Sprintf("%d workers in the cluster send the load; their clocks agree with that of the run to %s", len(f.members), max(within.Round(10*time.Microsecond), 10*time.Microsecond)))

	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var all sync.WaitGroup
	for _, m := range f.members {
		all.Go(func() { f.follow(following, m) })
	}
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	watching, watched := context.WithCancel(following)
	go f.listen(watching)

	cut := f.pass(ctx, ended)
	if cut != nil {
		f.mu.Lock()
		f.stopped = true
		f.mu.Unlock()
		telling, told := context.WithTimeout(following, answerTimeout)
		if err := f.each(func(m *member) error { return tell(telling, m, command{Stop: true}) }); err != nil {
			f.note(fmt.Sprintf("telling the workers to stop: %v", err))
		}
		told()
	}
	select {
	case <-ended:
	case <-time.After(min(f.members[0].order.Request.Timeout, time.Minute) + parting):
		stop()
		<-ended
	}
	watched()
	f.account(cut != nil)
	return cut
}

// brief gives the orders, compares the clocks and tells the onset.
func (f *Fleet) brief(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	talks := make([]*talk, len(f.members))
	defer func() {
		for _, t := range talks {
			if t != nil {
				t.conn.Close()
			}
		}
	}()
	err := f.each(func(m *member) error {
		t, err := talkTo(ctx, m)
		if err != nil {
			return err
		}
		talks[m.number-1] = t
		r, err := t.ask(ctx, command{Order: &m.order}, func(r *reply) bool { return r.Version != "" || r.Error != "" })
		switch {
		case err != nil:
			return err
		case r.Error != "":
			return errors.New(r.Error)
		case r.Version != f.version:
			return fmt.Errorf("its image has hpabench %s, and this is %s: make the image anew (make image), or name another one with --image", r.Version, f.version)
		}
		for n := 1; n <= pings; n++ {
			sent := f.rec.Clock.Now()
			r, err := t.ask(ctx, command{Ping: n}, func(r *reply) bool { return r.Ping == n })
			if err != nil {
				return err
			}
			now := f.rec.Clock.Now()
			if half := now.Sub(sent) / 2; n == 1 || half < m.within {
				m.ahead, m.within = time.Duration(sent.Add(half))-r.Clock, half
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	f.onset = f.rec.Clock.Now().Add(headStart)
	at := f.onset
	for _, p := range f.phases {
		at = at.Add(seconds(p.Seconds))
		f.ends = append(f.ends, at)
	}
	return f.each(func(m *member) error {
		_, err := talks[m.number-1].ask(ctx, command{Start: &start{Onset: time.Duration(f.onset), Ahead: m.ahead}}, func(r *reply) bool { return r.Started })
		return err
	})
}

// each does something with every worker at once, and joins what went wrong.
func (f *Fleet) each(do func(*member) error) error {
	errs := make([]error, len(f.members))
	var all sync.WaitGroup
	for i, m := range f.members {
		all.Go(func() {
			if err := do(m); err != nil {
				errs[i] = fmt.Errorf("worker %d of %d, %s: %w", m.number, len(f.members), m.Name(), err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// talk is a connection to a worker's input and output.
type talk struct {
	conn    io.ReadWriteCloser
	replies chan *reply
	failed  chan error
}

func talkTo(ctx context.Context, w Worker) (*talk, error) {
	conn, err := w.Attach(ctx)
	if err != nil {
		return nil, err
	}
	t := &talk{conn: conn, replies: make(chan *reply, 100), failed: make(chan error, 1)}
	go func() {
		scan := bufio.NewScanner(conn)
		scan.Buffer(nil, maxLine)
		for scan.Scan() {
			var l line
			if json.Unmarshal(scan.Bytes(), &l) == nil && l.Reply != nil && l.Reply.Beat == 0 {
				t.replies <- l.Reply
			}
		}
		err := scan.Err()
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		t.failed <- err
	}()
	return t, nil
}

// ask sends a command and waits for a reply to it.
func (t *talk) ask(ctx context.Context, c command, fits func(*reply) bool) (*reply, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	if _, err := t.conn.Write(append(b, '\n')); err != nil {
		return nil, err
	}
	for fits != nil {
		select {
		case r := <-t.replies:
			if fits(r) {
				return r, nil
			}
		case err := <-t.failed:
			return nil, fmt.Errorf("it does not answer: %w", err)
		case <-ctx.Done():
			return nil, fmt.Errorf("it does not answer: %w", ctx.Err())
		}
	}
	return nil, nil
}

// tell sends a command over a connection of its own.
func tell(ctx context.Context, w Worker, c command) error {
	t, err := talkTo(ctx, w)
	if err != nil {
		return err
	}
	defer t.conn.Close()
	_, err = t.ask(ctx, c, nil)
	return err
}

// pass marks the phases as they pass, and returns when the last is over, all
// workers have ended, or ctx is done, whose cause it returns.
func (f *Fleet) pass(ctx context.Context, ended <-chan struct{}) error {
	onset := f.onset
	for i, p := range f.phases {
		select {
		case <-time.After(onset.Sub(f.rec.Clock.Now())):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		f.mu.Lock()
		f.begun, f.progress.Phase = i+1, i
		f.mu.Unlock()
		f.rec.AddAt(onset, record.Entry{Phase: &record.PhaseMark{Index: i, Name: p.Name, Edge: "start"}})
		var cut error
		end := f.ends[i]
		select {
		case <-time.After(end.Sub(f.rec.Clock.Now())):
		case <-ctx.Done():
			cut, end = context.Cause(ctx), f.rec.Clock.Now()
		case <-ended:
			if end = f.rec.Clock.Now(); end >= f.ends[i] {
				end = f.ends[i]
			} else {
				cut = errors.New("all workers ended before the load was over")
			}
		}
		f.mu.Lock()
		f.ends[i], f.ended = end, i+1
		f.mu.Unlock()
		f.rec.AddAt(end, record.Entry{Phase: &record.PhaseMark{Index: i, Name: p.Name, Edge: "end"}})
		if cut != nil {
			return cut
		}
		onset = end
	}
	return nil
}

// follow reads what a worker writes, up to its end; what is lost on the way is read
// again.
func (f *Fleet) follow(ctx context.Context, m *member) {
	for last := false; ; {
		if r, err := m.Follow(ctx); err == nil {
			f.read(m, r)
			r.Close()
		}
		if f.over(m) || last || ctx.Err() != nil {
			break
		}
		// Once more when it has ended: its last lines may have been under way.
		if _, last = m.Ended(ctx); !last {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
	f.mu.Lock()
	m.gone = true
	early := m.end == nil || m.end.Outcome != record.Completed && !f.stopped
	f.mu.Unlock()
	if early {
		why, _ := m.Ended(context.WithoutCancel(ctx))
		f.note(fmt.Sprintf("worker %d of %d (%s) ended before its load was over: %s", m.number, len(f.members), m.Name(), why))
	}
}

func (f *Fleet) over(m *member) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return m.end != nil
}

// read takes the lines of a worker that are new.
func (f *Fleet) read(m *member, from io.Reader) {
	scan := bufio.NewScanner(from)
	scan.Buffer(nil, maxLine)
	for scan.Scan() {
		var l line
		if json.Unmarshal(scan.Bytes(), &l) != nil || l.Number <= m.lines {
			continue // a crash writes what is no JSON
		}
		if lost := l.Number - m.lines - 1; lost > 0 {
			f.note(fmt.Sprintf("%d lines of worker %d of %d (%s) were lost, with the counts in them", lost, m.number, len(f.members), m.Name()))
		}
		m.lines = l.Number
		f.take(m, l)
	}
}

// take puts what a worker says into the record.
func (f *Fleet) take(m *member, l line) {
	f.mu.Lock()
	m.heard = f.rec.Clock.Now()
	f.mu.Unlock()
	switch {
	case l.Load != nil && l.Load.Phase < len(f.phases):
		l.Load.Worker = m.number
		f.rec.AddAt(l.At, record.Entry{Load: l.Load})
		f.mu.Lock()
		count(&m.done[l.Load.Phase], l.Load)
		f.progress.Sent += l.Load.Sent
		f.progress.Answered += l.Load.Answered
		f.progress.Failed += l.Load.Failed
		f.answers[l.Load.Second] += l.Load.Answered
		delete(f.answers, l.Load.Second-10)
		f.mu.Unlock()
	case l.Answer != nil:
		f.mu.Lock()
		known := f.pods[l.Answer.Pod]
		f.pods[l.Answer.Pod] = true
		f.mu.Unlock()
		if !known {
			f.rec.AddAt(l.At, record.Entry{Answer: l.Answer})
		}
	case l.Note != nil:
		f.note(fmt.Sprintf("worker %d: %s", m.number, l.Note.Text))
	case l.End != nil:
		f.mu.Lock()
		m.end = l.End
		f.mu.Unlock()
	}
}

// count adds the counts that a phase is accounted by.
func count(to, l *record.LoadSecond) {
	to.Offered += l.Offered
	to.Sent += l.Sent
	to.Unsent += l.Unsent
	to.Answered += l.Answered
	to.Failed += l.Failed
	to.Aborted += l.Aborted
}

// listen says when a worker has fallen silent, and when it speaks again.
func (f *Fleet) listen(ctx context.Context) {
	for {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
		now := f.rec.Clock.Now()
		for _, m := range f.members {
			f.mu.Lock()
			silent := !m.gone && now.Sub(max(m.heard, f.onset)) > quiet
			changed, over := silent != m.silent, m.gone
			m.silent = silent
			f.mu.Unlock()
			switch {
			case changed && silent:
				f.note(fmt.Sprintf("worker %d of %d (%s) has said nothing for %s", m.number, len(f.members), m.Name(), quiet))
			case changed && !over:
				f.note(fmt.Sprintf("worker %d of %d (%s) is heard again", m.number, len(f.members), m.Name()))
			}
		}
	}
}

func (f *Fleet) note(text string) {
	f.say("note: " + text)
	f.rec.Add(record.Entry{Note: &record.Note{Text: text}})
}

// account counts what workers that died had planned and not told of.
//
// One that was ended in order, by the deletion of its pod, say, has told all.
func (f *Fleet) account(cut bool) {
	now := f.rec.Clock.Now()
	for _, m := range f.members {
		died := min(now, m.heard.Add(beat))
		switch {
		case m.end == nil:
		case m.end.Outcome != record.Completed && !cut:
			died = f.onset
		default:
			continue
		}
		onset := f.onset
		for i := range f.begun {
			p := f.phases[i]
			end := f.ends[i]
			f.fill(m, i, &phase{Phase: p, index: i, onset: onset, end: end, schedule: newSchedule(p).share(m.order.Share)}, died)
			onset = end
		}
	}
}

// fill counts what a worker that died left open in one phase.
func (f *Fleet) fill(m *member, index int, p *phase, died record.Instant) {
	done := &m.done[index]
	seconds := map[int]*record.LoadSecond{}
	at := func(when record.Instant) *record.LoadSecond {
		s := seconds[secondOf(when)]
		if s == nil {
			s = &record.LoadSecond{Worker: m.number, Phase: index, Second: secondOf(when)}
			seconds[s.Second] = s
		}
		return s
	}
	at(min(died, p.end)).Aborted += done.Sent - done.Answered - done.Failed - done.Aborted
	if p.schedule != nil {
		// Of what was offered, hits leave in their order.
		told := done.Sent + done.Unsent
		p.perSecond(told, p.schedule.before(p.end.Sub(p.onset)), func(when record.Instant, n uint64) {
			if s := at(when); when < died {
				s.Sent, s.Aborted = s.Sent+n, s.Aborted+n
			} else {
				s.Unsent += n
			}
		})
		p.perSecond(done.Offered, p.schedule.before(p.end.Sub(p.onset)), func(when record.Instant, n uint64) { at(when).Offered += n })
	}
	for _, s := range seconds {
		if s.Offered+s.Aborted+s.Unsent > 0 {
			f.rec.Add(record.Entry{Load: s})
		}
	}
}

// Progress returns how far the run is, see Generator.Progress. What the workers have
// sent is known a second later.
func (f *Fleet) Progress() Progress {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.progress
	if r.Phase < 0 {
		return r
	}
	now, onset := f.rec.Clock.Now(), f.onset
	if r.Phase > 0 {
		onset = f.ends[r.Phase-1]
	}
	end := f.ends[r.Phase]
	r.Elapsed, r.Left = min(now, end).Sub(onset), max(0, end.Sub(now))
	switch p := f.phases[r.Phase]; {
	case f.ended > r.Phase || p.Shape == record.ShapeIdle:
		r.Offered = new(float64)
	case p.Shape != record.ShapeWorkers:
		rate := newSchedule(p).rate(r.Elapsed)
		r.Offered = &rate
	}
	r.Achieved = float64(f.answers[secondOf(now)-2])
	return r
}
