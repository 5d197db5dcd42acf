package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the golden output anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hpabench": main})
}

// A command that comes to its end after it was interrupted, as one that judges expectations
// does, has not done what it was to do all the same.
func TestInterruptedAtTheEnd(t *testing.T) {
	var said bytes.Buffer
	a := &app{stdout: io.Discard, stderr: &said}
	if code := a.run(context.Background(), []string{"version"}); code != exitDone {
		t.Fatalf("exit code %d: %s", code, said.String())
	}
	if a.interrupted() {
		t.Fatal("there is nothing to end in order")
	}
	if code := a.run(context.Background(), []string{"version"}); code != exitFailed || said.String() != "hpabench: interrupted\n" {
		t.Errorf("exit code %d: %s", code, said.String())
	}
	over := a.orderly()
	if !a.interrupted() {
		t.Error("there is something to end in order")
	}
	over()
}

// The table in docs/expectations.md is what explain prints.
func TestVariablesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/expectations.md")
	if err != nil {
		t.Fatal(err)
	}
	var table, said bytes.Buffer
	a := &app{stdout: &table, stderr: &said}
	if code := a.run(context.Background(), []string{"explain", "-o", "markdown"}); code != exitDone {
		t.Fatalf("exit code %d: %s", code, said.String())
	}
	if !bytes.HasSuffix(doc, append([]byte("\n\n"), table.Bytes()...)) {
		t.Error("docs/expectations.md has another table: make docs writes it")
	}
}

// TestScripts runs the binary as a user does. Beside testscript's own commands
// there is `exits CODE COMMAND…`, which wants the exit code.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, ".cache"))
			// An hpabench-lab of this machine is not to be found.
			e.Setenv("PATH", filepath.SplitList(e.Getenv("PATH"))[0])
			e.Setenv("KUBECONFIG", filepath.Join(e.WorkDir, ".kube", "config"))
			return nil
		},
		UpdateScripts: *update,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": func(ts *testscript.TestScript, neg bool, args []string) {
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				code := 0
				var exit *exec.ExitError
				if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
					code = exit.ExitCode()
				} else if err != nil {
					ts.Fatalf("%v", err)
				}
				if code != want {
					ts.Fatalf("exit code %d, want %d", code, want)
				}
			},
		},
	})
}
