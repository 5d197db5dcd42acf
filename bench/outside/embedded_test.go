package outside

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/hpabench/hpabench/record"
)

// TestEmbedded makes the runs on an embedded cluster with its real timing, each in a namespace of its own: one cluster after another for
// each set of flags.
func TestEmbedded(t *testing.T) {
	if !all {
		t.Skip("make outside runs it, half an hour")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir, "../../cmd/...").CombinedOutput(); err != nil {
		t.Fatalf("building hpabench: %v\n%s", err, out)
	}
	var mu sync.Mutex
	outcomes := read(t)
	groups := map[string][]result{}
	for _, r := range results() {
		if r.trials > 0 {
			flags := strings.Join(r.flags, " ")
			groups[flags] = append(groups[flags], r)
		}
	}
	for _, flags := range slices.Sorted(maps.Keys(groups)) {
		t.Run("cluster "+flags, func(t *testing.T) {
			kubeconfig := cluster(t, filepath.Join(dir, "hpabench-lab"), groups[flags][0].flags...)
			for i, r := range groups[flags] {
				t.Run(r.name(), func(t *testing.T) {
					t.Parallel()
					out := filepath.Join(dir, fmt.Sprint(flags, i))
					var parts errgroup.Group
					var outs []string
					for part := range max(1, r.parts) {
						outs = append(outs, filepath.Join(out, strconv.Itoa(part)))
						file, args := r.file, []string{"run", "--quiet", "--kubeconfig", kubeconfig, "--out", outs[part]}
						if r.parts > 0 {
							source, err := os.ReadFile(r.file)
							if err != nil {
								t.Fatal(err)
							}
							file = filepath.Join(t.TempDir(), r.file)
							before := fmt.Sprintf("duration: %ds", 60+part*r.scrape/r.parts)
							write(t, file, bytes.Replace(source, []byte("duration: 1m"), []byte(before), 1))
						}
						if trials := r.trials / max(1, r.parts); trials > 1 {
							args = append(args, "--repeat", strconv.Itoa(trials), "--parallel", strconv.Itoa(min(trials, 12)))
						}
						parts.Go(func() error {
							printed, err := exec.Command(filepath.Join(dir, "hpabench"), append(args, file)...).CombinedOutput()
							if err != nil {
								return fmt.Errorf("%w\n%s", err, printed[max(0, len(printed)-2000):])
							}
							return nil
						})
					}
					if err := parts.Wait(); err != nil {
						t.Fatal(err)
					}
					var files []string
					for _, folder := range outs {
						more, err := record.Files(folder)
						if err != nil {
							t.Fatal(err)
						}
						files = append(files, more...)
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
	}
	if *update {
		b, err := json.MarshalIndent(outcomes, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		write(t, "embedded.json", append(b, '\n'))
	}
}

// cluster starts an embedded one with room for all, which ends with the test.
func cluster(t *testing.T, binary string, flags ...string) (kubeconfig string) {
	t.Helper()
	lab := exec.Command(binary, append([]string{"--stdin", "--node-cpu", "32", "--node-memory", "128Gi", "--name", fmt.Sprintf("outside-%d", os.Getpid())}, flags...)...)
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
