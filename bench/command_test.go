package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sine is a scenario of a load by the pod model around 90 requests/s that scales between 2
// and 12 pods, for so long.
func sine(b *testing.B, dir, length string) string {
	file := filepath.Join(dir, length+".yaml")
	text := fmt.Sprintf(`apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: sine}
spec:
  workload: {deployment: {image: nginx, port: 80, resources: {requests: {cpu: 200m}}}, model: {cpu: {mean: 15ms}}}
  autoscaler: {cpuPercent: 60, min: 2, max: 12}
  slo: {latency: 250ms}
  load: {phases: [{name: load, duration: %s, sine: {mean: 90, amplitude: 60, period: 1h}}]}
`, length)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	return file
}

// measured runs a command to its end, and reports how long it took, the CPU time of it and
// of the processes that it started, and the largest memory of all of these together (PSS,
// looked at each 50 ms). Linux only.
func measured(b *testing.B, binary string, args ...string) {
	b.Helper()
	cmd := exec.Command(binary, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	peak := 0.0
	for looks := time.NewTicker(50 * time.Millisecond); ; {
		select {
		case err := <-ended:
			looks.Stop()
			if err != nil {
				b.Fatalf("%v: %s", err, said.String())
			}
			b.ReportMetric(peak, "MiB-peak")
			b.ReportMetric(time.Since(began).Seconds(), "s-wall")
			b.ReportMetric((cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), "s-CPU")
			return
		case <-looks.C:
			peak = max(peak, tree(cmd.Process.Pid))
		}
	}
}

var pss = regexp.MustCompile(`(?m)^Pss:\s+(\d+) kB`)

// tree is the memory of a process and those that it started, in MiB: pages that several
// share count once.
func tree(pid int) (mib float64) {
	rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if m := pss.FindSubmatch(rollup); m != nil {
		kib, _ := strconv.ParseFloat(string(m[1]), 64)
		mib = kib / 1024
	}
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range threads {
		children, _ := os.ReadFile(file)
		for _, child := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				mib += tree(n)
			}
		}
	}
	return mib
}

func command(b *testing.B) string {
	b.Helper()
	binary := filepath.Join(b.TempDir(), "hpabench")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/hpabench").CombinedOutput(); err != nil {
		b.Fatalf("building hpabench: %v\n%s", err, out)
	}
	return binary
}

// BenchmarkSimulate is hpabench simulate of loads of several lengths: a day takes 8 s and
// 300 MiB at most on two cores. Tune tries three settings, each twice.
func BenchmarkSimulate(b *testing.B) {
	binary := command(b)
	for _, length := range []string{"1h", "6h", "24h"} {
		b.Run(length, func(b *testing.B) {
			dir := b.TempDir()
			file := sine(b, dir, length)
			for b.Loop() {
				measured(b, binary, "simulate", "-q", file)
			}
		})
	}
	b.Run("tune/2h", func(b *testing.B) {
		file := sine(b, b.TempDir(), "2h")
		for b.Loop() {
			measured(b, binary, "tune", "-q", file, "--settings", "3", "--phases", "2")
		}
	})
}

var phases = regexp.MustCompile(`(?m)^    phases:\n(    - .*\n)+  expect:\n(  - .*\n)+`)

// around is a scenario of the library of a gateway or a queue, with a load that comes down to zero each 10 minutes, for so long.
func around(b *testing.B, binary, name, length string) string {
	source, err := exec.Command(binary, "scenarios", name).Output()
	if err != nil {
		b.Fatal(err)
	}
	load := fmt.Sprintf("    phases:\n    - {name: load, duration: %s, sine: {mean: 12, amplitude: 12, period: 10m}, keepAlive: false}\n", length)
	file := filepath.Join(b.TempDir(), name+".yaml")
	if err := os.WriteFile(file, phases.ReplaceAll(source, []byte(load)), 0o644); err != nil {
		b.Fatal(err)
	}
	return file
}

// BenchmarkZero is hpabench simulate and tune of KEDA's ScaledObjects with a gateway and with a queue in front of the target.
func BenchmarkZero(b *testing.B) {
	binary := command(b)
	for _, name := range []string{"scale-from-zero", "queue-worker"} {
		for _, length := range []string{"1h", "6h", "24h"} {
			b.Run("simulate/"+name+"/"+length, func(b *testing.B) {
				for b.Loop() {
					measured(b, binary, "simulate", "-q", around(b, binary, name, length))
				}
			})
		}
		b.Run("tune/"+name+"/2h", func(b *testing.B) {
			for b.Loop() {
				measured(b, binary, "tune", "-q", around(b, binary, name, "2h"), "--slo", "p90 < 30s", "--settings", "3", "--phases", "2")
			}
		})
	}
}

// BenchmarkReport is what reads a record: report with all that it writes, compare with
// itself, fit and simulate. The records are simulated ones, whose entries come as often as those
// of a run do: a second of load each second, samples and statuses of the HPA each 15 s. Of two
// weeks, report takes 15 s and 500 MiB at most.
func BenchmarkReport(b *testing.B) {
	binary := command(b)
	for _, length := range []string{"2h", "24h", "336h"} {
		dir := b.TempDir()
		folder := filepath.Join(dir, "run")
		if out, err := exec.Command(binary, "simulate", "-q", sine(b, dir, length), "--out", folder).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		run := func(name string, args ...string) {
			b.Run(name+"/"+length, func(b *testing.B) {
				for b.Loop() {
					measured(b, binary, args...)
				}
			})
		}
		run("report", "report", "-q", folder, "--out", filepath.Join(dir, "again"))
		switch length {
		case "2h":
			run("simulate", "simulate", "-q", folder)
		case "24h":
			run("compare", "compare", "-q", folder, folder)
			run("fit", "fit", "-q", folder)
		}
	}
}
