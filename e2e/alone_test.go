//go:build unix

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"

	"github.com/hpabench/hpabench/record"
)

// labsOf is what there is in the folder of a newcomer's embedded clusters, but for
// its lock.
func labsOf(env []string) (left []string) {
	i := slices.IndexFunc(env, func(e string) bool { return strings.HasSuffix(e, "/cache") && strings.HasPrefix(e, "XDG_CACHE_HOME=") })
	_ = filepath.WalkDir(labsFolder(env[i]), func(path string, _ os.DirEntry, err error) error {
		if err == nil && path != labsFolder(env[i]) && path != filepath.Join(labsFolder(env[i]), "lock") {
			left = append(left, path)
		}
		return nil
	})
	return left
}

func labsFolder(cache string) string {
	return filepath.Join(strings.TrimPrefix(cache, "XDG_CACHE_HOME="), "hpabench", "labs")
}

// soon waits until a newcomer's folder of embedded clusters is empty.
func soon(t *testing.T, what string, env []string) {
	t.Helper()
	const patience = 10 * time.Second // of a busy machine: a lab ends within a second
	left := labsOf(env)
	for end := time.Now().Add(patience); len(left) > 0 && time.Now().Before(end); left = labsOf(env) {
		time.Sleep(50 * time.Millisecond)
	}
	if len(left) > 0 {
		t.Errorf("%s left %v", what, left)
	}
}

// promptly is how long a command may take to end after a signal. A machine on which several
// embedded clusters start at once may not let it run for as long, so that what takes longer
// is tried again.
const (
	promptly = 2 * time.Second
	tries    = 3
	// slowly is how long a run may take that is ended in its load, which is not tried again:
	// a second for the requests in flight, and its reports.
	slowly = 10 * time.Second
)

// TestSignalsLeaveNothing ends commands that start an embedded cluster, at instants
// from before it has a folder to after it is ready, and one in its load.
func TestSignalsLeaveNothing(t *testing.T) {
	if !embedded {
		t.Skip("needs no cluster")
	}
	t.Parallel()
	demo := scenario(t, upAndDown)
	var wg sync.WaitGroup
	defer wg.Wait()
	for name, args := range map[string][]string{
		"hpabench-lab":    {filepath.Join(filepath.Dir(binary), "hpabench-lab"), "--name", "x"},
		"hpabench lab up": {binary, "lab", "up"},
		"hpabench run":    {binary, "run", "-q", "--out", "out", demo},
	} {
		env := newcomer(t)
		dirs := []string{t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()}
		wg.Go(func() {
			for i, dir := range dirs {
				after := time.Duration(i) * 400 * time.Millisecond
				signal := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2]
				what := name + ", " + signal.String() + " after " + after.String()
				interrupt := func() time.Duration {
					cmd := exec.Command(args[0], args[1:]...)
					var said bytes.Buffer
					cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, dir, &said, &said
					if err := cmd.Start(); err != nil {
						t.Error(err)
						return 0
					}
					time.Sleep(after)
					signaled := time.Now()
					_ = cmd.Process.Signal(signal)
					_ = cmd.Wait()
					took := time.Since(signaled)
					state := cmd.ProcessState.Sys().(syscall.WaitStatus)
					switch {
					case name == "hpabench lab up" && state.ExitStatus() == 0: // it was faster
						down := exec.Command(binary, "lab", "down")
						down.Env = env
						if out, err := down.CombinedOutput(); err != nil {
							t.Errorf("%s, then down: %v\n%s", what, err, out)
						}
					case name == "hpabench-lab" && state.ExitStatus() == 0: // it was ready
					case state.Signaled() && state.Signal() == signal: // it had not begun
					case state.ExitStatus() != 3:
						t.Errorf("%s: exit code %d\n%s", what, state.ExitStatus(), &said)
					}
					if strings.Contains(said.String(), `{"level"`) {
						t.Errorf("%s: a library's log is shown:\n%s", what, &said)
					}
					soon(t, what, env)
					return took
				}
				took := interrupt()
				for try := 1; took > promptly && try < tries; try++ {
					took = interrupt()
				}
				if took > promptly {
					t.Errorf("%s: it ended %s later", what, took)
				}
				t.Logf("%s: it ended %s later", what, took.Round(time.Millisecond))
			}
		})
	}
	env, dir := newcomer(t), t.TempDir()
	wg.Go(func() { interruptLoad(t, env, dir, demo) })
}

// interruptLoad ends a run in its load. It removes nothing from its cluster, which ends.
func interruptLoad(t *testing.T, env []string, dir, demo string) {
	cmd := exec.Command(binary, "run", "--timing", "fast", "--out", "out", demo)
	cmd.Env, cmd.Dir = env, dir
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Error(err)
		return
	}
	var said strings.Builder
	var signaled time.Time
	for lines := bufio.NewScanner(io.TeeReader(stderr, &said)); lines.Scan(); {
		if signaled.IsZero() && strings.Contains(lines.Text(), " left, run ") {
			time.Sleep(time.Second)
			signaled = time.Now()
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	_ = cmd.Wait()
	if took := time.Since(signaled); cmd.ProcessState.ExitCode() != 3 || took > slowly || strings.Contains(said.String(), "removing") {
		t.Errorf("a run that was ended in its load: exit code %d after %s\n%s", cmd.ProcessState.ExitCode(), took, &said)
	}
	run, err := record.Open(filepath.Join(dir, "out", record.File))
	if err != nil {
		t.Error(err)
		return
	}
	if end := run.Entries[len(run.Entries)-1].End; end == nil || end.Outcome != record.Interrupted || len(end.Left) > 0 {
		t.Errorf("the record ends with %+v", end)
	}
	if _, err := os.Stat(filepath.Join(dir, "out", "report.md")); err != nil {
		t.Error(err)
	}
	soon(t, "a run that was ended in its load", env)
}

// TestTwoStartAtOnce starts one embedded cluster from two processes, kills a third,
// and gives up waiting for a lock that somebody holds.
func TestTwoStartAtOnce(t *testing.T) {
	if !embedded {
		t.Skip("needs no cluster")
	}
	t.Parallel()
	env := newcomer(t)
	command := func(ctx context.Context, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, binary, args...)
		cmd.Env, cmd.Dir = env, t.TempDir()
		return cmd
	}
	killed := command(t.Context(), "lab", "up")
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); len(labsOf(env)) < 4 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond) // until the cluster has its folder
	}
	_ = killed.Process.Kill()
	_ = killed.Wait()

	var outs [2][]byte
	var errs [2]error
	var wg sync.WaitGroup
	for i := range outs {
		cmd := command(t.Context(), "lab", "up")
		wg.Go(func() { outs[i], errs[i] = cmd.CombinedOutput() })
	}
	wg.Wait()
	both := string(outs[0]) + string(outs[1])
	if err := errors.Join(errs[:]...); err != nil || strings.Count(both, "is up already") != 1 || strings.Count(both, "is up:") != 1 {
		t.Errorf("two at once: %v\n%s", err, both)
	}
	if out, err := command(t.Context(), "lab", "down").CombinedOutput(); err != nil {
		t.Errorf("down: %v\n%s", err, out)
	}
	soon(t, "lab down", env)

	held, err := fileutil.TryLockFile(filepath.Join(labsFolder(env[len(env)-2]), "lock"), os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for _, args := range [][]string{{"lab", "up"}, {"lab", "status"}, {"run", "-q", scenario(t, upAndDown)}} {
		cmd := command(t.Context(), args...)
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(stderr)
		line, err := lines.ReadString('\n')
		if err != nil || !strings.Contains(line, "waiting for process ") || !strings.Contains(line, " since ") {
			t.Errorf("%v while the lock is held: %q, %v, want who holds it", args, line, err)
		}
		interrupted := time.Now()
		_ = cmd.Process.Signal(os.Interrupt)
		_, _ = io.Copy(io.Discard, lines)
		_ = cmd.Wait()
		if took := time.Since(interrupted); cmd.ProcessState.ExitCode() != 3 || took > 5*time.Second {
			t.Errorf("%v, interrupted: exit code %d after %s, want 3 at once", args, cmd.ProcessState.ExitCode(), took)
		}
	}
}
