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
	"github.com/hpabench/hpabench/record"
)

// TestKEDAFidelity runs the scenarios of signals on the real cluster, twice, and on the embedded one, simulates them and the records of
// the real runs, and says how far they are from these. HPABENCH_E2E_KEDA_FIDELITY is a folder for the runs, of which those that are there
// are taken.
func TestKEDAFidelity(t *testing.T) {
	folder := os.Getenv("HPABENCH_E2E_KEDA_FIDELITY")
	if folder == "" || embedded {
		t.Skip("make e2e-keda-fidelity runs it")
	}
	needsKEDA(t)
	lines := []string{"| scenario | real | embedded | simulated | two real runs differ by | embedded | simulated | the record simulated | decisions within a poll and a sync |", "|---|---|---|---|---|---|---|---|---|"}
	for _, name := range []string{"scale-from-zero", "queue-worker", "keda-cron-and-cpu", "rps"} {
		if name == "rps" {
			startAdapter(t, "http_requests", 15*time.Second, time.Minute)
		}
		lab := resultOf(t, ranIn(t, filepath.Join(folder, "embedded", name), name))
		var simulated []*analysis.Result
		for seed := range 15 {
			simulated = append(simulated, simulatedOf(t, name, "--seed", fmt.Sprint(seed+1)))
		}
		const within = 15*time.Second + 5500*time.Millisecond // a sync, a poll, and what a record cannot tell
		var reals []*analysis.Result
		var real []string
		var byLab, bySimulation, byRecord fidelity
		for n := range 2 {
			dir := ranIn(t, filepath.Join(folder, fmt.Sprint("real-", n+1), name), name, "--kubeconfig", kubeconfig)
			is := resultOf(t, dir)
			reals, real = append(reals, is), append(real, fmt.Sprint(steps(is)))
			byLab.add(against(t, name+", embedded", is, []*analysis.Result{lab}, within))
			bySimulation.add(against(t, name+", simulated", is, simulated, within))
			byRecord.add(against(t, name+", its record simulated", is, []*analysis.Result{simulatedOf(t, filepath.Join(dir, record.File))}, within))
		}
		two := against(t, name+", two real runs", reals[0], reals[1:], within)
		share := func(f fidelity) string { return fmt.Sprintf("%.1f %%", f.curve/float64(len(reals))*100) }
		lines = append(lines, fmt.Sprintf("| %s | %s | %v | %v | %.1f %% | %s | %s | %s | %d, %d and %d of %d |", name, strings.Join(real, ", "), steps(lab), steps(simulated[0]),
			two.curve*100, share(byLab), share(bySimulation), share(byRecord), byLab.close, bySimulation.close, byRecord.close, byLab.all))
	}
	t.Log("\n" + strings.Join(lines, "\n"))
}

func (f *fidelity) add(other fidelity) {
	f.curve, f.close, f.all = f.curve+other.curve, f.close+other.close, f.all+other.all
}

// simulatedOf is the result of a simulation.
func simulatedOf(t *testing.T, args ...string) *analysis.Result {
	t.Helper()
	out := t.TempDir()
	simulation := hpabench(t, append([]string{"simulate", "--out", out, "-o", "json"}, args...)...)
	select {
	case <-simulation.exited:
	case <-time.After(time.Minute):
		t.Fatal("a simulation takes longer than a minute")
	}
	return resultOf(t, out)
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
