package simulate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
)

// A bubble is made for tests: it wants a *testing.T. One that is zero does today, but
// nobody promises that; so bubbles are in processes of their own, which show first that
// it does. Where it does not, a process runs as a test.

// childEnv tells a process of this program that it is a child, and of which kind.
const childEnv = "HPABENCH_SIMULATE"

const (
	bare   = "bare"
	asTest = "test"
)

// A child writes frames: a kind, the length in decimal digits, a line end and the bytes.
// It begins with an answerFrame of whether it can simulate; to each Run it says the record, if
// one is wanted, in recordFrames that are the file in parts, and then an answer.
const (
	recordFrame = 'r'
	answerFrame = 'a'
	frameSize   = 64 << 10
)

// answer is a child's to a Run.
type answer struct {
	Score Score
	Error string
}

// Child makes this process do what a child does, until its input ends, if it is one. It
// is to be called before anything else.
func Child() {
	kind := os.Getenv(childEnv)
	if kind == "" {
		return
	}
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP) // its parent ends it
	Prepare()
	if kind == asTest {
		os.Args = os.Args[:1]
		out := os.Stdout
		os.Stdout = os.Stderr // where the test says that it passed
		testing.Main(func(string, string) (bool, error) { return true, nil },
			[]testing.InternalTest{{Name: "Simulate", F: func(t *testing.T) { serve(t, os.Stdin, out) }}}, nil, nil)
	}
	serve(&testing.T{}, os.Stdin, os.Stdout)
	os.Exit(0)
}

func serve(t *testing.T, in io.Reader, out io.Writer) {
	hour := time.Duration(0)
	synctest.Test(t, func(*testing.T) {
		start := time.Now()
		time.Sleep(time.Hour)
		hour = time.Since(start)
	})
	say := func(kind byte, b []byte) {
		if _, err := fmt.Fprintf(out, "%c%d\n%s", kind, len(b), b); err != nil {
			os.Exit(1) // nobody listens
		}
	}
	answers := func(v any) {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // it is made of numbers and texts
		}
		say(answerFrame, b)
	}
	answers(hour == time.Hour)
	runs := make(chan *Run)
	go func() {
		for asked := json.NewDecoder(in); ; {
			r := new(Run)
			if asked.Decode(r) != nil {
				os.Exit(0) // the parent has ended, whatever is being done for it
			}
			runs <- r
		}
	}()
	kept := new(model.SojournCache)
	for r := range runs {
		r.Sojourns = kept
		var a answer
		var lines []byte
		synctest.Test(t, func(*testing.T) {
			var err error
			a.Score, err = Simulate(r, func(e record.Entry) {
				line, err := json.Marshal(e)
				if err != nil {
					panic(err) // so is an entry
				}
				if lines = append(append(lines, line...), '\n'); len(lines) >= frameSize {
					say(recordFrame, lines)
					lines = lines[:0]
				}
			})
			if err != nil {
				a.Error = err.Error()
			}
		})
		if len(lines) > 0 {
			say(recordFrame, lines)
		}
		answers(a)
	}
}

// frames reads the recordFrames of a child as the file that they are, up to the answer.
type frames struct {
	in     *bufio.Reader
	left   int
	answer []byte
	err    error // of the child
}

func (f *frames) Read(b []byte) (int, error) {
	for f.left == 0 {
		if f.answer != nil {
			return 0, io.EOF
		}
		head, err := f.in.ReadString('\n')
		if err != nil {
			return 0, f.ends(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(head[1:]))
		if err != nil || n < 0 {
			return 0, f.ends(fmt.Errorf("it says %q", head))
		}
		if head[0] == recordFrame {
			f.left = n
			continue
		}
		f.answer = make([]byte, n)
		if _, err := io.ReadFull(f.in, f.answer); err != nil {
			return 0, f.ends(err)
		}
	}
	n, err := f.in.Read(b[:min(len(b), f.left)])
	f.left -= n
	if err != nil {
		err = f.ends(err)
	}
	return n, err
}

func (f *frames) ends(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	f.err = err
	return err
}

// rest reads to the answer and decodes it.
func (f *frames) rest(a any) error {
	if _, err := io.Copy(io.Discard, f); err != nil {
		return err
	}
	return json.Unmarshal(f.answer, a)
}

// Pool are children that simulate, each one run at a time.
type Pool struct{ free chan *child } // nil in the place of one that has ended

type child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	runs   *json.Encoder
	out    *bufio.Reader
	stderr *tail
}

// tail keeps the end of what is written to it, of mostTail bytes.
type tail struct{ bytes.Buffer }

const mostTail = 64 << 10 // the stacks of a child that panics, and more

func (t *tail) Write(b []byte) (int, error) {
	_, _ = t.Buffer.Write(b[max(0, len(b)-mostTail):]) // never fails
	t.Next(max(0, t.Len()-mostTail))
	return len(b), nil
}

// Start starts n children: processes of this program, which must call Child. They end
// with Close.
func Start(n int) (*Pool, error) {
	p := &Pool{free: make(chan *child, n)}
	for range n {
		c, err := newChild()
		if err != nil {
			p.Close()
			return nil, err
		}
		p.free <- c
	}
	return p, nil
}

// patience is how long a child may take to its first word.
var patience = 20 * time.Second

func newChild() (*child, error) {
	c, err := startChild(bare)
	if err != nil {
		c, err = startChild(asTest)
	}
	return c, err
}

func startChild(kind string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self), stderr: new(tail)}
	// Its goroutines take turns: a second thread would only cost. What a run leaves is little,
	// so that collecting it less often takes no memory to speak of.
	c.cmd.Env = append(os.Environ(), childEnv+"="+kind, "GOMAXPROCS=1", "GOGC=400")
	c.cmd.Stderr = c.stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the process that simulates: %w", err)
	}
	c.runs, c.out = json.NewEncoder(c.in), bufio.NewReaderSize(out, frameSize)
	late := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	works := false
	if err := (&frames{in: c.out}).rest(&works); err != nil || !works {
		c.end()
		if !late.Stop() {
			return nil, fmt.Errorf("the process that simulates did not answer within %s: the machine is too busy; try again when less runs on it", patience)
		}
		return nil, errors.New("time cannot be simulated by this build: " + c.last())
	}
	return c, nil
}

// end ends the child, which has nothing to lose.
func (c *child) end() {
	_ = c.in.Close()
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// last is why it panicked, or else the last line that it said of itself.
func (c *child) last() (line string) {
	for line = range strings.SplitSeq(strings.TrimSpace(c.stderr.String()), "\n") {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			break
		}
	}
	return line
}

// Do makes a run in the next child that is free. If the run has a Header, read is called
// with the record that comes of it, as the file that it would be, while it is made. A child
// that ends is replaced for the next run. Do may be called from several goroutines.
func (p *Pool) Do(ctx context.Context, r *Run, read func(io.Reader) error) (Score, error) {
	var c *child
	select {
	case c = <-p.free:
	case <-ctx.Done():
		return Score{}, context.Cause(ctx)
	}
	if c == nil {
		var err error
		if c, err = newChild(); err != nil {
			p.free <- nil
			return Score{}, err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = c.cmd.Process.Kill() })
	var a answer
	var unread error
	f := frames{in: c.out}
	err := c.runs.Encode(r)
	if err == nil && r.Header != nil {
		unread = read(&f)
	}
	if err == nil {
		err = f.rest(&a)
	}
	switch ended := err; {
	case !stop():
		c.end()
		c, err = nil, context.Cause(ctx)
	case ended != nil:
		c.end()
		c, err = nil, fmt.Errorf("the process that simulates has ended: %s", c.last())
	case a.Error != "":
		err = errors.New(a.Error)
	default:
		err = unread
	}
	p.free <- c
	return a.Score, err
}

// Score is Do of a run without a Header.
func (p *Pool) Score(ctx context.Context, r *Run) (Score, error) { return p.Do(ctx, r, nil) }

// Close ends the children. No run may be going on.
func (p *Pool) Close() {
	for {
		select {
		case c := <-p.free:
			if c != nil {
				c.end()
			}
		default:
			return
		}
	}
}
