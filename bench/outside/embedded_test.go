package outside

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/hpabench/hpabench/record"
)

// TestEmbedded makes the runs on one embedded cluster, with its real timing, each in a namespace of its own.
func TestEmbedded(t *testing.T) {
	if !all {
		t.Skip("make outside runs it, half an hour")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir, "../../cmd/...").CombinedOutput(); err != nil {
		t.Fatalf("building hpabench: %v\n%s", err, out)
	}
	kubeconfig := cluster(t, filepath.Join(dir, "hpabench-lab"))
	var mu sync.Mutex
	outcomes := read(t)
	t.Run("runs", func(t *testing.T) {
		for _, r := range results() {
			if r.trials == 0 {
				continue
			}
			t.Run(r.name(), func(t *testing.T) {
				t.Parallel()
				out := filepath.Join(dir, strings.TrimSuffix(r.file, ".yaml"))
				args := []string{"run", "--quiet", "--kubeconfig", kubeconfig, "--out", out}
				if r.trials > 1 {
					args = append(args, "--repeat", strconv.Itoa(r.trials), "--parallel", strconv.Itoa(min(r.trials, 12)))
				}
				printed, err := exec.Command(filepath.Join(dir, "hpabench"), append(args, r.file)...).CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, printed[max(0, len(printed)-2000):])
				}
				files, err := record.Files(out)
				if err != nil {
					t.Fatal(err)
				}
				var runs []course
				for _, file := range files {
					run, err := record.Open(file)
					if err != nil {
						t.Fatal(err)
					}
					runs = append(runs, courseOf(run.Entries))
				}
				outcome, err := r.judge(runs)
				t.Log(outcome)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				outcomes[r.name()] = outcome
			})
		}
	})
	if *update {
		b, err := json.MarshalIndent(outcomes, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		write(t, "embedded.json", append(b, '\n'))
	}
}

// cluster starts an embedded one with room for all, which ends with the test.
func cluster(t *testing.T, binary string) (kubeconfig string) {
	t.Helper()
	lab := exec.Command(binary, "--stdin", "--node-cpu", "32", "--node-memory", "128Gi", "--name", fmt.Sprintf("outside-%d", os.Getpid()))
	lab.Stderr = os.Stderr
	stdin, err := lab.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := lab.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		lab.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the embedded cluster did not start: %v", err)
	}
	return strings.TrimSpace(line)
}
