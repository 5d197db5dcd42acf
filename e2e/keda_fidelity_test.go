package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hpabench/hpabench/analysis"
)

// TestKEDAFidelity runs the scenarios of signals on the real cluster and on the embedded one, simulates them with the plant of the real
// run, and says how far they are from it. HPABENCH_E2E_KEDA_FIDELITY is a folder for the runs, of which those that are there are taken.
func TestKEDAFidelity(t *testing.T) {
	folder := os.Getenv("HPABENCH_E2E_KEDA_FIDELITY")
	if folder == "" || embedded {
		t.Skip("make e2e-keda-fidelity runs it")
	}
	needsKEDA(t)
	var lines []string
	for _, name := range []string{"scale-from-zero", "queue-worker", "keda-cron-and-cpu", "rps"} {
		if name == "rps" {
			startAdapter(t, "http_requests", 15*time.Second, time.Minute)
		}
		real, lab := ranIn(t, filepath.Join(folder, "real", name), name, "--kubeconfig", kubeconfig), ranIn(t, filepath.Join(folder, "embedded", name), name)
		is := resultOf(t, real)
		var simulated []*analysis.Result
		for seed := range 15 {
			out := filepath.Join(t.TempDir(), fmt.Sprint(seed))
			simulation := hpabench(t, "simulate", name, "--seed", fmt.Sprint(seed+1), "--out", out, "-o", "json")
			select {
			case <-simulation.exited:
			case <-time.After(time.Minute):
				t.Fatal("a simulation takes longer than a minute")
			}
			simulated = append(simulated, resultOf(t, out))
		}
		const poll = 5500 * time.Millisecond // and what a record cannot tell
		byLab := against(t, name+", embedded", is, []*analysis.Result{resultOf(t, lab)}, 15*time.Second+poll)
		bySimulation := against(t, name+", simulated", is, simulated, 15*time.Second+poll)
		lines = append(lines, fmt.Sprintf("| %s | %v | %v | %v | %.1f %% | %.1f %% | %d of %d, %d of %d |", name, steps(is), steps(resultOf(t, lab)), steps(simulated[0]),
			byLab.curve*100, bySimulation.curve*100, byLab.close, byLab.all, bySimulation.close, bySimulation.all))
	}
	t.Log("\n| scenario | real | embedded | simulated | curve, embedded | curve, simulated | decisions within a poll and a sync |\n|---|---|---|---|---|---|---|\n" + strings.Join(lines, "\n"))
}

// ranIn is the folder of a scenario's run, which is made unless it is there.
func ranIn(t *testing.T, dir, name string, cluster ...string) string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "result.json")); err == nil {
		return dir
	}
	cmd := exec.Command(binary, append([]string{"run", name, "--out", dir}, cluster...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}
