package main

import (
	"bytes"
	"fmt"
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

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// TestQuietFlag wants each command to have -q, but for those that only print what they have.
func TestQuietFlag(t *testing.T) {
	prints := []string{"hpabench schema", "hpabench explain", "hpabench scenarios", "hpabench version"}
	var look func(*cobra.Command)
	look = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			look(sub)
		}
		if c.HasSubCommands() || slices.Contains(prints, c.CommandPath()) {
			return
		}
		if f := c.Flags().ShorthandLookup("q"); f == nil || f.Name != "quiet" || f.Value.Type() != "bool" {
			t.Errorf("%s has no -q, --quiet", c.CommandPath())
		}
	}
	look((&app{}).root())
}

// terminalPair is a terminal, and the end at which it is read.
func terminalPair(t *testing.T) (reads, terminal *os.File) {
	t.Helper()
	reads, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("needs pseudo-terminals: ", err)
	}
	t.Cleanup(func() { reads.Close() })
	if err := unix.IoctlSetPointerInt(int(reads.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(reads.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("needs pseudo-terminals: ", err)
	}
	t.Cleanup(func() { terminal.Close() })
	return reads, terminal
}

// TestProgress has each command wait for its input or for a cluster. It says on a terminal
// and elsewhere what it does, and with -q nothing.
func TestProgress(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "hpabench")
	if err := os.Symlink(self, bin); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"report FIFO":                                "reading ",
		"compare FIFO FIFO":                          "reading ",
		"fit FIFO":                                   "reading ",
		"simulate FIFO":                              "reading ",
		"simulate day.yaml --like FIFO":              "reading ",
		"tune FIFO":                                  "reading ",
		"validate FIFO":                              "reading ",
		"rbac FIFO":                                  "reading ",
		"elasticity --demand FIFO --supply FIFO":     "reading ",
		"clean --kubeconfig kubeconfig":              "looking for ",
		"doctor --kubeconfig kubeconfig":             "asking ",
		"watch hpa/web --kubeconfig kubeconfig":      "asking ",
		"run day.yaml --kubeconfig kubeconfig":       "asking ",
		"calibrate day.yaml --kubeconfig kubeconfig": "asking ",
	} {
		for _, way := range []string{"terminal", "pipe", "quiet"} {
			t.Run(args+" "+way, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				fifo := filepath.Join(dir, "endless.jsonl")
				server, _ := mute(t)
				if err := os.WriteFile(filepath.Join(dir, "day.yaml"), []byte(day), 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "kubeconfig"), kubeconfigOf(server), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink("/dev/stdin", fifo); err != nil { // a pipe that has no end
					t.Fatal(err)
				}
				stdin, input, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				defer input.Close()
				defer stdin.Close()
				cmd := exec.Command(bin, strings.Fields(strings.ReplaceAll(args, "FIFO", fifo))...)
				var reads, writesTo *os.File
				if way != "pipe" {
					reads, writesTo = terminalPair(t)
				} else if reads, writesTo, err = os.Pipe(); err != nil {
					t.Fatal(err)
				}
				defer reads.Close()
				if way == "quiet" {
					cmd.Args = append(cmd.Args, "-q")
				}
				cmd.Dir, cmd.Stdin, cmd.Stderr = dir, stdin, writesTo
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				writesTo.Close()
				var said locked
				go func() { _, _ = io.Copy(&said, reads) }()
				patience := 20 * time.Second // of a busy machine
				if way == "quiet" {
					patience = workShown + time.Second
				}
				for end := time.Now().Add(patience); !strings.Contains(said.String(), want) && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				}
				text := said.String()
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				if way == "quiet" && text != "" || way != "quiet" && !strings.Contains(text, want) {
					t.Errorf("it said %q", text)
				}
			})
		}
	}
}

// locked is a buffer for two goroutines.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
