package loadgen

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hpabench/hpabench/record"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// Summarizer is a Worker whose summary can be read when it has ended, whatever became of
// what it wrote; see WorkIn.
type Summarizer interface {
	Summary(ctx context.Context) (string, error)
}

const (
	// fruitless is how many times in a row what a worker wrote may be read from its
	// beginning without a new line; then its output is read as it comes, by Attach.
	fruitless = 5

	// maxSkew bounds how far the clock of a worker may be off: its answers to the pings
	// took so long at most.
	maxSkew = answerTimeout

	// maxNotes bounds what a worker may note: one of each cause of failure, at most.
	maxNotes = 100

	// maxClock bounds how long a worker can have run.
	maxClock = 10 * 365 * 24 * time.Hour

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
	plans   []*schedule // of the phases; nil unless open loop
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

	fail context.CancelCauseFunc // ends the load for a worker that makes no sense
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
	lines  int                 // the number of the last that was read; used by follow only
	notes  int                 // used by follow only
	lost   int                 // lines; used by follow only
	done   []record.LoadSecond // what it has counted, by phase; used by follow, then by account
	end    *record.End
	died   record.Instant // when it was first known to have ended; 0 if it is not
	faulty bool           // it made no sense: what it said last does not count
	before int            // its summary leaves out the phases before this one; used by follow, then by account
}

// NewFleet prepares to send the phases to url through workers, which must run and
// must not have any orders yet. Say is told of what happens to them; version is
// hpabench's.
func NewFleet(workers []Worker, phases []record.Phase, request Request, url string, rec *record.Recorder, version string, say func(string)) *Fleet {
	f := &Fleet{phases: phases, rec: rec, say: say, version: version, answers: map[int]uint64{}, pods: map[string]bool{}}
	f.progress.Phase = -1
	for _, p := range phases {
		f.plans = append(f.plans, newSchedule(p))
	}
	for i, w := range workers {
		f.members = append(f.members, &member{Worker: w, number: i + 1, done: make([]record.LoadSecond, len(phases)),
			order: Order{Phases: phases, Request: request, URL: url, Share: Share{Index: i, Of: len(workers)}}})
	}
	return f
}

// Run gives the workers their orders, starts them at one instant and returns when all
// have ended. What a worker that died had not told is counted: what was due by then
// as aborted, because it may have been sent, and the rest as unsent. When ctx is
// done, the workers are told to stop, and have the request's timeout, at most 1 s,
// for what is in flight; then Run returns the cause of ctx.
//
// A worker that writes what no worker writes ends the load: Run returns that as an
// error, and what was counted until then stays in the record.
func (f *Fleet) Run(ctx context.Context) error {
	ctx, f.fail = context.WithCancelCause(ctx)
	defer f.fail(nil)
	if err := f.brief(ctx); err != nil {
		return err
	}
	within := time.Duration(0)
	for _, m := range f.members {
		within = max(within, m.within)
	}
	f.note(fmt.Sprintf("the load is sent in the cluster by %s, whose clocks agree with that of the run to %s", record.Counted(len(f.members), "worker"), max(within.Round(10*time.Microsecond), 10*time.Microsecond)))

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
	if cut == nil && slices.ContainsFunc(f.members, func(m *member) bool { return m.faulty }) {
		return context.Cause(ctx) // after the end of the last phase
	}
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
			return errors.New(cut(r.Error, maxCause))
		case r.Version != f.version || r.Protocol != protocol:
			this := f.version
			if r.Version == f.version {
				this = fmt.Sprintf("another build of it, which counts in another way (%d, not %d)", protocol, r.Protocol)
			}
			return fmt.Errorf("its image has hpabench %s, and this is %s: make the image anew (make image), or name another one with --image", cut(r.Version, 100), this)
		}
		for n := 1; n <= pings; n++ {
			sent := f.rec.Clock.Now()
			r, err := t.ask(ctx, command{Ping: n}, func(r *reply) bool { return r.Ping == n })
			if err != nil {
				return err
			}
			if r.Clock < 0 || r.Clock > maxClock {
				return fmt.Errorf("it says that it runs for %s", r.Clock)
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
		scan.Buffer(nil, maxWorkerLine)
		for scan.Scan() {
			var l line
			if json.Unmarshal(scan.Bytes(), &l) == nil && l.Reply != nil && l.Reply.Beat == 0 {
				select {
				case t.replies <- l.Reply:
				case <-ctx.Done():
				}
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

// follow reads what a worker writes, up to its end. What is lost on the way is read
// again; where that does not help, because the log of a pod was deleted, say, the
// worker's output is read as it comes, and its totals make up for what was lost.
func (f *Fleet) follow(ctx context.Context, m *member) {
	for last, tries := false, 0; ; {
		source := m.Follow
		if tries >= fruitless {
			source = func(ctx context.Context) (io.ReadCloser, error) { return m.Attach(ctx) }
		}
		attached, before := tries >= fruitless, m.lines
		silent, away, err := f.readFrom(ctx, m, source)
		switch {
		case away: // nobody can tell what would be read
		case err != nil:
			f.mu.Lock()
			m.faulty = true
			f.mu.Unlock()
			what := ", wrote what no worker writes"
			if apart := apartError(0); errors.As(err, &apart) {
				what, err = "", apart
			}
			f.fail(fmt.Errorf("worker %d of %d, %s%s: %w", m.number, len(f.members), m.Name(), what, err))
		case m.lines > before && attached: // and so again
		case m.lines > before || attached:
			tries = 0
		case silent:
			tries = fruitless
		default:
			tries++
		}
		if m.faulty || f.over(m) || last || ctx.Err() != nil {
			break
		}
		// Once more when it has ended: its last lines may have been under way.
		if _, last = m.Ended(ctx); last {
			f.mu.Lock()
			m.died = f.rec.Clock.Now()
			f.mu.Unlock()
			tries = 0
		} else {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
	if !m.faulty && !f.over(m) {
		f.summary(ctx, m)
	}
	f.mu.Lock()
	m.gone = true
	early := m.end == nil || m.end.Outcome != record.Completed && !f.stopped
	f.mu.Unlock()
	if m.lost > 0 {
		f.note(fmt.Sprintf("%d lines of worker %d of %d (%s) were lost: its counts are those of its totals, and the latencies in these lines, and which pods answered, are not known", m.lost, m.number, len(f.members), m.Name()))
	}
	if early {
		why, _ := m.Ended(context.WithoutCancel(ctx))
		f.note(fmt.Sprintf("worker %d of %d (%s) ended before its load was over: %s", m.number, len(f.members), m.Name(), why))
	}
}

// readFrom reads lines until their source ends or is silent for some time, which a
// worker never is. Away says that nobody answered, as when the API server restarts.
func (f *Fleet) readFrom(ctx context.Context, m *member, source func(context.Context) (io.ReadCloser, error)) (silent, away bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := source(ctx)
	if err != nil {
		var answer apierrors.APIStatus
		return false, !errors.As(err, &answer), nil // it is tried again
	}
	defer r.Close()
	watchdog := time.AfterFunc(max(0, f.onset.Sub(f.rec.Clock.Now()))+quiet, func() {
		cancel()
		r.Close()
	})
	err = f.read(m, r, func() { watchdog.Reset(quiet) })
	return !watchdog.Stop(), false, err
}

// summary takes what a worker left that has ended, and whose last lines are lost.
func (f *Fleet) summary(ctx context.Context, m *member) {
	from, has := m.Worker.(Summarizer)
	if !has {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	text, err := from.Summary(ctx)
	if err != nil {
		return
	}
	s, err := decodeSummary(text)
	// It can be older than the last line that was read.
	s.Totals = slices.DeleteFunc(s.Totals, func(t record.LoadSecond) bool {
		if f.checkPhase(t.Phase) != nil {
			return true
		}
		_, _, newer := subtract(&t, &m.done[t.Phase])
		return !newer
	})
	if err != nil || f.reconcile(m, s.Totals, f.rec.Clock.Now()) != nil {
		return // what it does not say is unknown
	}
	f.note(fmt.Sprintf("the last lines of worker %d of %d (%s) were lost: its counts are those of its summary, and the latencies in these lines, and which pods answered, are not known", m.number, len(f.members), m.Name()))
	m.before = s.Before
	if s.End != nil && checkEnd(s.End) == nil {
		f.mu.Lock()
		m.end = s.End
		f.mu.Unlock()
	}
}

func (f *Fleet) over(m *member) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return m.end != nil
}

// read takes the lines of a worker that are new. The error says what no worker writes.
func (f *Fleet) read(m *member, from io.Reader, heard func()) error {
	scan := bufio.NewScanner(from)
	scan.Buffer(nil, maxWorkerLine)
	for scan.Scan() {
		heard()
		var l line
		if json.Unmarshal(scan.Bytes(), &l) != nil || l.Number <= m.lines {
			continue // a crash writes what is no JSON, and a line can be cut
		}
		if err := f.check(&l); err != nil {
			return fmt.Errorf("%w in %q", err, cut(scan.Text(), 200))
		}
		m.lost += l.Number - m.lines - 1
		m.lines = l.Number
		if err := f.take(m, l); err != nil {
			return fmt.Errorf("%w in %q", err, cut(scan.Text(), 200))
		}
	}
	if errors.Is(scan.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("a line longer than %d MiB", maxWorkerLine>>20)
	}
	return nil // any other is of the connection
}

// apartError is by how much the clock of a worker is ahead of that of the run, more than
// maxSkew.
type apartError time.Duration

func (by apartError) Error() string {
	return fmt.Sprintf("its clock is %s ahead of that of this machine, and they agreed when the load began: this machine was suspended, most likely, and its clock stood still meanwhile; keep it awake in a run (systemd-inhibit, caffeinate), or run hpabench on a machine that stays awake", time.Duration(by).Round(time.Second))
}

// check says what of a line no worker writes.
func (f *Fleet) check(l *line) error {
	now := f.rec.Clock.Now()
	switch { // some lines a second, and one for each pod and each cause
	case l.Number > 100*(secondOf(now)+1)+100_000:
		return fmt.Errorf("line number %d", l.Number)
	case l.At < 0:
		return fmt.Errorf("a time %s before the run began", -time.Duration(l.At))
	case l.At > now.Add(maxSkew):
		return apartError(l.At.Sub(now))
	case l.Answer != nil && l.Answer.Pod != "" && !isPodName(l.Answer.Pod):
		return fmt.Errorf("pod %q", cut(l.Answer.Pod, 300))
	case l.End != nil && checkEnd(l.End) != nil:
		return checkEnd(l.End)
	}
	for i := range l.Totals {
		if err := f.checkPhase(l.Totals[i].Phase); err != nil {
			return err
		}
		if err := checkCounts(&l.Totals[i]); err != nil {
			return err
		}
	}
	if l.Load == nil {
		return nil
	}
	if err := f.checkPhase(l.Load.Phase); err != nil {
		return err
	}
	if s := l.Load.Second; s < secondOf(f.onset.Add(-maxSkew)) || s > secondOf(now.Add(maxSkew)) {
		return fmt.Errorf("second %d of a run that is in its second %d", s, secondOf(now))
	}
	return checkSecond(l.Load)
}

func (f *Fleet) checkPhase(index int) error {
	if index < 0 || index >= len(f.phases) {
		return fmt.Errorf("phase %d, of %d", index, len(f.phases))
	}
	return nil
}

// checkPlan refuses more requests than a worker's share of a schedule has.
func (f *Fleet) checkPlan(m *member, index int, offered uint64) error {
	if s := f.plans[index].share(m.order.Share); s != nil && offered > s.total {
		return fmt.Errorf("%d requests of phase %d, of which its share is %d", offered, index, s.total)
	}
	return nil
}

func checkEnd(e *record.End) error {
	if e.Outcome != record.Completed && e.Outcome != record.Interrupted {
		return fmt.Errorf("the outcome %q", cut(e.Outcome, 50))
	}
	return nil
}

// take puts what a worker says into the record.
func (f *Fleet) take(m *member, l line) error {
	f.mu.Lock()
	m.heard = f.rec.Clock.Now()
	f.mu.Unlock()
	if l.Load != nil {
		if err := f.checkPlan(m, l.Load.Phase, m.done[l.Load.Phase].Offered+l.Load.Offered); err != nil {
			return err
		}
		f.count(m, l.Load, l.At)
	}
	if err := f.reconcile(m, l.Totals, l.At); err != nil {
		return err
	}
	switch {
	case l.Answer != nil && l.Answer.Pod == "":
		f.rec.AddAt(l.At, record.Entry{Answer: l.Answer})
	case l.Answer != nil:
		f.mu.Lock()
		known := f.pods[l.Answer.Pod] || len(f.pods) >= maxPods
		f.pods[l.Answer.Pod] = true
		f.mu.Unlock()
		if !known {
			f.rec.AddAt(l.At, record.Entry{Answer: l.Answer})
		}
	case l.Note != nil:
		if m.notes++; m.notes <= maxNotes {
			f.note(fmt.Sprintf("worker %d: %s", m.number, cut(l.Note.Text, 2*maxCause)))
		}
	case l.End != nil:
		f.mu.Lock()
		m.end = l.End
		f.mu.Unlock()
	}
	return nil
}

// count puts a second of a worker into the record.
func (f *Fleet) count(m *member, l *record.LoadSecond, at record.Instant) {
	l.Worker = m.number
	f.rec.AddAt(at, record.Entry{Load: l})
	f.mu.Lock()
	defer f.mu.Unlock()
	addCounts(&m.done[l.Phase], l)
	f.progress.Sent += l.Sent
	f.progress.Answered += l.Answered
	f.progress.Failed += l.Failed
	f.answers[l.Second] += l.Answered
	delete(f.answers, l.Second-10)
}

// reconcile counts what a worker has in its totals and not in its lines that were read.
// Of an open loop it belongs to the seconds in which it was due; of a closed loop only
// the last of its seconds is known.
func (f *Fleet) reconcile(m *member, totals []record.LoadSecond, at record.Instant) error {
	for i := range totals {
		total := &totals[i]
		if err := cmp.Or(f.checkPhase(total.Phase), checkCounts(total)); err != nil {
			return err
		}
		if err := f.checkPlan(m, total.Phase, total.Offered); err != nil {
			return err
		}
		rest, any, ok := subtract(total, &m.done[total.Phase])
		if !ok {
			return fmt.Errorf("totals of phase %d that are less than before", total.Phase)
		}
		if !any {
			continue
		}
		p := f.phaseOf(m, total.Phase)
		at := max(p.onset, at)
		rest.Second = min(secondOf(at), secondOf(p.end))
		if p.schedule == nil || rest.Offered == 0 {
			f.count(m, &rest, at)
			continue
		}
		from, done := m.done[total.Phase].Offered, uint64(0)
		p.perSecond(from, from+rest.Offered, func(when record.Instant, n uint64) {
			rest.Second = secondOf(when)
			part := portion(&rest, done, done+n, rest.Offered)
			done += n
			f.count(m, &part, at)
		})
	}
	return nil
}

// phaseOf is a worker's share of a phase.
func (f *Fleet) phaseOf(m *member, index int) *phase {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, onset := f.phases[index], f.onset
	if index > 0 {
		onset = f.ends[index-1]
	}
	return &phase{Phase: p, index: index, onset: onset, end: f.ends[index], schedule: f.plans[index].share(m.order.Share)}
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
		told, died, silent, known := min(now, m.heard.Add(beat)), m.died, false, false
		switch {
		case m.end == nil:
			if died == 0 || m.faulty {
				died = now
			}
			silent = m.faulty || died.Sub(told) > quiet
		case m.end.Outcome != record.Completed && !cut:
			told, died = f.onset, f.onset
		default:
			known = true // but for what its summary leaves out
		}
		unknown := uint64(0)
		for i := range f.begun {
			if i < m.before {
				unknown += f.fill(m, i, min(now, m.heard.Add(beat)), now, true)
			} else if !known {
				unknown += f.fill(m, i, told, died, silent)
			}
		}
		if silent || unknown > 0 {
			f.note(fmt.Sprintf("what worker %d of %d (%s) sent after it was last heard is not known: %s of its schedules counted as unknown", m.number, len(f.members), m.Name(), record.Counted(unknown, "request")))
		}
	}
}

// fill counts what a worker without an end left open in one phase. It can have told
// what was due until told, and sent what was due until it died; when it was silent in
// between, nobody knows what became of that.
func (f *Fleet) fill(m *member, index int, told, died record.Instant, silent bool) (unknown uint64) {
	done, p := &m.done[index], f.phaseOf(m, index)
	seconds := map[int]*record.LoadSecond{}
	at := func(when record.Instant) *record.LoadSecond {
		s := seconds[secondOf(when)]
		if s == nil {
			s = &record.LoadSecond{Worker: m.number, Phase: index, Second: secondOf(when)}
			seconds[s.Second] = s
		}
		return s
	}
	open := func(s *record.LoadSecond, n uint64) {
		if silent {
			s.Unknown += n
			unknown += n
		} else {
			s.Aborted += n
		}
	}
	if resolved := done.Answered + done.Failed + done.Aborted; resolved < done.Sent {
		open(at(min(told, p.end)), done.Sent-resolved)
	}
	if p.schedule != nil {
		// Of what was offered, hits leave in their order.
		planned := p.schedule.before(p.end.Sub(p.onset))
		p.perSecond(done.Sent+done.Unsent, planned, func(when record.Instant, n uint64) {
			if s := at(when); when < told || silent && when < died {
				s.Sent += n
				open(s, n)
			} else {
				s.Unsent += n
			}
		})
		p.perSecond(done.Offered, planned, func(when record.Instant, n uint64) { at(when).Offered += n })
	}
	for _, s := range seconds {
		if s.Offered+s.Aborted+s.Unsent+s.Unknown > 0 {
			f.rec.Add(record.Entry{Load: s})
		}
	}
	return unknown
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
	r.within(now, onset, f.ends[r.Phase], f.ended > r.Phase || f.phases[r.Phase].Shape == record.ShapeIdle, f.plans[r.Phase])
	r.Achieved = float64(f.answers[secondOf(now)-2])
	return r
}
