// Package embedded finds, starts and stops hpabench-lab, the embedded cluster,
// which is a process of its own so that hpabench stays small.
//
//  1. Start runs one for as long as this process lives.
//  2. Up starts one that stays, and enters it into a kubeconfig; Kept finds it
//     again; Down stops it.
//
// hpabench-lab keeps a folder for each lab, <user cache dir>/hpabench/labs/NAME,
// with its kubeconfig, pid and log, and holds a lock in it for as long as it
// lives: that tells a lab that lives from one that was killed, and its pid from
// that of a stranger.
package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/hpabench/hpabench/lab/folders"
)

const (
	// startTimeout is many times what a start takes: a second or two.
	startTimeout = 60 * time.Second
	// stopTimeout is how long a lab may take to end. It takes milliseconds, so that this
	// is for a machine that hardly lets it run.
	stopTimeout = 15 * time.Second
)

// ErrMissing says that there is no hpabench-lab.
var ErrMissing = errors.New("hpabench-lab, which runs the embedded cluster, is neither beside hpabench nor on the PATH: " +
	"go install github.com/hpabench/hpabench/cmd/hpabench-lab@latest, or unpack it beside hpabench; or name a cluster with --context")

// Options of a lab.
type Options struct {
	Timing string   // real or fast; empty stands for real
	Flags  []string // name=value, for hpabench-lab
}

func (o Options) args(name string) []string {
	args := []string{"--name=" + name}
	if o.Timing != "" {
		args = append(args, "--timing="+o.Timing)
	}
	for _, f := range o.Flags {
		args = append(args, "--"+f)
	}
	return args
}

// command finds hpabench-lab beside this executable, else on the PATH.
func command() (string, error) {
	name := "hpabench-lab"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	if self, err := os.Executable(); err == nil {
		if target, err := filepath.EvalSymlinks(self); err == nil {
			self = target
		}
		beside := filepath.Join(filepath.Dir(self), name)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", ErrMissing
}

// Lab is a lab that this process started and that ends with it.
type Lab struct {
	Kubeconfig string

	cmd   *exec.Cmd
	stdin io.Closer
	said  *tail
	ended chan struct{}
}

// Start starts a lab of the given name and waits until it is ready.
func Start(ctx context.Context, name string, o Options) (*Lab, error) {
	path, err := command()
	if err != nil {
		return nil, err
	}
	l := &Lab{cmd: exec.Command(path, append(o.args(name), "--stdin")...), said: &tail{}}
	l.cmd.SysProcAttr = apart()
	l.cmd.Stderr = l.said
	if l.stdin, err = l.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting the embedded cluster: %w", err)
	}
	var ready <-chan string
	if ready, l.ended, err = start(l.cmd); err != nil {
		return nil, fmt.Errorf("starting the embedded cluster: %w", err)
	}
	if l.Kubeconfig, err = await(ctx, l.cmd, ready, l.ended); err != nil {
		l.Stop()
		return nil, fmt.Errorf("starting the embedded cluster: %w%s", err, l.said)
	}
	return l, nil
}

// start starts the process. Ready yields the path of its kubeconfig, which is the
// first line on its standard output; ended is closed at its end.
func start(cmd *exec.Cmd) (ready chan string, ended chan struct{}, err error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	cmd.Stdout = in
	if err := cmd.Start(); err != nil {
		out.Close()
		return nil, nil, err
	}
	ready, ended = make(chan string, 1), make(chan struct{})
	go func() {
		defer out.Close()
		if line, err := bufio.NewReader(out).ReadString('\n'); err == nil {
			ready <- strings.TrimSpace(line)
		}
	}()
	go func() {
		_ = cmd.Wait() // its ProcessState says the same
		close(ended)
	}()
	return ready, ended, nil
}

// ErrFlags says that hpabench-lab refused Options.Flags.
var ErrFlags = errors.New("hpabench-lab does not take its flags")

func await(ctx context.Context, cmd *exec.Cmd, ready <-chan string, ended <-chan struct{}) (kubeconfig string, err error) {
	select {
	case kubeconfig := <-ready:
		if !filepath.IsAbs(kubeconfig) { // an empty path would stand for the user's own
			return "", fmt.Errorf("it said %q where the path of its kubeconfig was to be: is it hpabench-lab?", kubeconfig)
		}
		return kubeconfig, nil
	case <-ended:
		if cmd.ProcessState.ExitCode() == folders.ExitUsage {
			return "", ErrFlags
		}
		return "", errors.New("hpabench-lab ended")
	case <-time.After(startTimeout):
		return "", fmt.Errorf("it was not ready after %s", startTimeout)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// Ended is closed when the lab has ended.
func (l *Lab) Ended() <-chan struct{} { return l.ended }

// Err says why a lab ended that was not stopped.
func (l *Lab) Err() error {
	return fmt.Errorf("hpabench-lab, %v%s", l.cmd.ProcessState, l.said)
}

// Stop ends the lab, and waits until it has removed its folder.
func (l *Lab) Stop() {
	_ = l.stdin.Close()
	patiently(l.cmd, l.ended)
}

// patiently waits for the end of a lab that was asked to end.
func patiently(cmd *exec.Cmd, ended <-chan struct{}) {
	select {
	case <-ended:
	case <-time.After(stopTimeout):
		_ = cmd.Process.Kill()
		<-ended
		_ = Sweep(context.Background(), nil)
	}
}

// tail keeps the last lines of what a process says.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const (
	tailBytes = 4096
	tailLines = 10
)

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = append([]byte(nil), t.text[over:]...)
	}
	return len(b), nil
}

// String is the last lines, to be put behind an error; empty if there are none.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return lastLines(string(t.text))
}

func lastLines(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	lines := strings.Split(text, "\n")
	return ":\n" + strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
