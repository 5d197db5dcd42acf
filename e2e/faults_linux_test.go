package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFullDisk has no room for the whole record: the run ends early, in order,
// and what was measured is shown.
func TestFullDisk(t *testing.T) {
	inFull(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	run := hpabench(t, "run", "--kubeconfig", kubeconfig, "--out", filepath.Join(dir, "out"), shortScenario(t))
	run.wait(3, 3*time.Minute)
	wantNothingLeft(t)
	if !strings.Contains(run.stderr(), "no space left on device") || !strings.Contains(run.stdout.String(), "Load by phase") {
		t.Error("the run does not say that the disk is full, or shows no report")
	}
	again := hpabench(t, "report", filepath.Join(dir, "out"))
	again.wait(0, time.Minute)
}

// TestAPIServerRestart kills the API server during the surge.
func TestAPIServerRestart(t *testing.T) {
	inFull(t)
	pidFile := filepath.Join(filepath.Dir(kubeconfig), "log", "kube-apiserver.pid")
	if _, err := os.Stat(pidFile); err != nil {
		t.Skip("this cluster's API server is not a process of this machine")
	}
	run := startRun(t, shortScenario(t))
	run.waitFor(`^surge `, 2*time.Minute)
	restart(t, pidFile)
	run.wait(0, 3*time.Minute)
	wantNothingLeft(t)

	gaps := map[string]bool{}
	for _, e := range run.record().Entries {
		if e.Gap != nil {
			gaps[e.Gap.Source] = true
		}
	}
	for _, source := range []string{"pods", "horizontalpodautoscalers", "deployments", "podmetrics"} {
		if !gaps[source] {
			t.Errorf("no gap of %s in the record; there are %v", source, gaps)
		}
	}
	if l := run.result().Load.Total; l.Offered != 6000 || l.Offered != l.Answered+l.Failed+l.Unsent {
		t.Errorf("the load is not accounted for: %+v", l)
	}
}

// restart kills the process of the pid file and starts it again, as it was.
func restart(t *testing.T, pidFile string) {
	t.Helper()
	again := kill(t, pidFile)
	time.Sleep(3 * time.Second)
	again()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(500 * time.Millisecond) {
		if _, err := tryKubectl("get", "--raw", "/readyz"); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("the API server does not come back: %v", err)
		}
	}
}

// kill kills the process of the pid file. Again starts it as it was.
func kill(t *testing.T, pidFile string) (again func()) {
	t.Helper()
	pid := must(strconv.Atoi(strings.TrimSpace(string(must(os.ReadFile(pidFile))))))
	proc := "/proc/" + strconv.Itoa(pid)
	args := strings.Split(strings.TrimRight(string(must(os.ReadFile(proc+"/cmdline"))), "\x00"), "\x00")
	cmd := exec.Command(must(os.Readlink(proc+"/exe")), args[1:]...)
	cmd.Dir = must(os.Readlink(proc + "/cwd"))
	cmd.Env = strings.Split(string(bytes.TrimRight(must(os.ReadFile(proc+"/environ")), "\x00")), "\x00")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives the test
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for syscall.Kill(pid, 0) == nil {
		time.Sleep(50 * time.Millisecond)
	}
	return func() {
		log, err := os.OpenFile(strings.TrimSuffix(pidFile, ".pid")+".log", os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(pidFile, []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		go cmd.Wait()
	}
}
