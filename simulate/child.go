package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

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

// answer is a child's to a Run.
type answer struct {
	Entries []record.Entry
	Score   Score
	Error   string
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
	answers, runs := json.NewEncoder(out), json.NewDecoder(in)
	_ = answers.Encode(hour == time.Hour)
	for {
		var r Run
		if runs.Decode(&r) != nil {
			return
		}
		var a answer
		synctest.Test(t, func(*testing.T) {
			var err error
			if a.Entries, a.Score, err = Simulate(&r); err != nil {
				a.Error = err.Error()
			}
		})
		if answers.Encode(a) != nil {
			return
		}
	}
}

// Pool are children that simulate, each one run at a time.
type Pool struct{ free chan *child }

type child struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	runs    *json.Encoder
	answers *json.Decoder
	stderr  *bytes.Buffer
}

// Start starts n children: processes of this program, which must call Child. They end
// with Close.
func Start(n int) (*Pool, error) {
	p := &Pool{free: make(chan *child, n)}
	for range n {
		c, err := startChild(bare)
		if err != nil {
			c, err = startChild(asTest)
		}
		if err != nil {
			p.Close()
			return nil, err
		}
		p.free <- c
	}
	return p, nil
}

// patience is how long a child may take to its first word.
const patience = 20 * time.Second

func startChild(kind string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self), stderr: new(bytes.Buffer)}
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
	c.runs, c.answers = json.NewEncoder(c.in), json.NewDecoder(out)
	late := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	works := false
	if err := c.answers.Decode(&works); err != nil || !works {
		c.end()
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

// last is the last line that it said of itself.
func (c *child) last() string {
	lines := strings.Split(strings.TrimSpace(c.stderr.String()), "\n")
	return lines[len(lines)-1]
}

// Do makes a run in the next child that is free. It may be called from several goroutines.
func (p *Pool) Do(ctx context.Context, r *Run) ([]record.Entry, Score, error) {
	var c *child
	select {
	case c = <-p.free:
	case <-ctx.Done():
		return nil, Score{}, context.Cause(ctx)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.cmd.Process.Kill() })
	var a answer
	err := c.runs.Encode(r)
	if err == nil {
		err = c.answers.Decode(&a)
	}
	if !stop() {
		err = context.Cause(ctx)
	} else if err != nil {
		c.end()
		err = fmt.Errorf("the process that simulates has ended: %s", c.last())
	} else if a.Error != "" {
		err = errors.New(a.Error)
	}
	p.free <- c
	return a.Entries, a.Score, err
}

// Close ends the children. No run may be going on.
func (p *Pool) Close() {
	for {
		select {
		case c := <-p.free:
			c.end()
		default:
			return
		}
	}
}
