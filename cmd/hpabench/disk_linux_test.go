package main

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/reports"
)

// diskEnv tells a process of this test how many bytes its disk takes of a file.
const diskEnv = "HPABENCH_TEST_DISK"

func init() {
	if size, err := strconv.ParseUint(os.Getenv(diskEnv), 10, 64); err == nil {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: size}); err != nil {
			panic(err)
		}
	}
}

// TestSimulateOnAFullDisk leaves no part of a record whose last write fails, which is of what
// is left in the buffer.
func TestSimulateOnAFullDisk(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "hpabench") // by whose name it is not the test
	self, err := os.Executable()
	if err == nil {
		err = os.Link(self, bin)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "out")
	cmd := exec.Command(bin, "simulate", "spike", "-q", "--out", dir)
	cmd.Env = append(os.Environ(), diskEnv+"=4096")
	said, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(string(said), record.File+": file too large") {
		t.Errorf("%v: %s", err, said)
	}
	if _, err := os.Stat(filepath.Join(dir, record.File)); !os.IsNotExist(err) {
		t.Errorf("a part of the record is left (%v)", err)
	}
}

// TestOutputIsLost prints to a full disk: whatever the command, that is no success. A reader that ends is none of its faults.
func TestOutputIsLost(t *testing.T) {
	steps := filepath.Join(t.TempDir(), "steps.csv")
	if err := os.WriteFile(steps, []byte("seconds,replicas\n0,1\n60,2\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	end, closed, err := os.Pipe() // of a reader that has read enough
	if err != nil {
		t.Fatal(err)
	}
	end.Close()
	defer closed.Close()
	for _, args := range [][]string{{"elasticity", "--demand", steps, "--supply", steps}, {"tune", "--help"}, {"schema"}, {"scenarios"}, {"version"}} {
		var said strings.Builder
		a := &app{stdout: &reports.Terminal{Writer: full}, stderr: &said}
		if code := a.run(t.Context(), args); code != exitFailed || !strings.Contains(said.String(), "no space left") {
			t.Errorf("%v: exit code %d: %s", args, code, said.String())
		}
		said.Reset()
		a = &app{stdout: &reports.Terminal{Writer: closed}, stderr: &said}
		if code := a.run(t.Context(), args); code != exitDone || said.Len() > 0 {
			t.Errorf("%v | head: exit code %d: %s", args, code, said.String())
		}
	}
}
