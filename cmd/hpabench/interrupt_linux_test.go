package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// day is a scenario that takes seconds to simulate.
const day = `apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: day}
spec:
  workload: {deployment: {image: nginx, port: 80, resources: {requests: {cpu: 200m}}}, model: {cpu: {mean: 15ms}}}
  autoscaler: {cpuPercent: 60, min: 2, max: 12}
  slo: {latency: 250ms}
  load: {phases: [{name: day, duration: 24h, sine: {mean: 90, amplitude: 60, period: 1h}}]}
`

// promptly is how long a command may take to end after a signal.
const promptly = 2 * time.Second

// TestInterrupt sends a signal to each command while it is busy, or waits for its input, for
// a cluster or for answers: it ends promptly, with code 3, and leaves neither a process nor a
// part of a file. A process that is killed leaves no other either. What takes longer beside
// others is tried once more by itself.
func TestInterrupt(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "hpabench")
	if err := os.Link(self, bin); err != nil {
		text, err := os.ReadFile(self)
		if err == nil {
			err = os.WriteFile(bin, text, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if text, err := exec.Command(bin, "version").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	start := 3 * time.Since(began) // several start at once
	head := `{"at":0.000000,"header":{"format":"hpabench.dev/record/v1","run":"x","scenario":"x","started":"2026-01-01T00:00:00Z","phases":[{"name":"p","seconds":60,"shape":"rate","from":1}],"metricsEverySeconds":1}}` + "\n"
	load := strings.Repeat(`{"at":1.000000,"load":{"phase":0,"second":0,"offered":1,"sent":1,"answered":1,"codes":{"200":1}}}`+"\n", 1000)
	type interruption struct {
		name   string
		args   string // FIFO is a file that never ends, MUTE a server that never answers, and kubeconfig has it
		first  string // in it
		more   string // over and over; "" for nothing
		child  bool   // it starts one
		signal syscall.Signal
	}
	interrupt := func(t *testing.T, c interruption) time.Duration {
		dir := t.TempDir()
		fifo, scenario := filepath.Join(dir, "endless.jsonl"), filepath.Join(dir, "day.yaml")
		if err := os.WriteFile(scenario, []byte(day), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/dev/stdin", fifo); err != nil { // a pipe that has no end
			t.Fatal(err)
		}
		from, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		server, asked := mute(t)
		if err := os.WriteFile(filepath.Join(dir, "kubeconfig"), kubeconfigOf(server), 0o600); err != nil {
			t.Fatal(err)
		}
		args := strings.Fields(strings.NewReplacer("MUTE", server, "FIFO", fifo, "OUT", filepath.Join(dir, "out")).Replace(c.args))
		cmd := exec.Command(bin, args...)
		var said bytes.Buffer
		cmd.Dir, cmd.Stdin, cmd.Stderr = dir, from, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		from.Close()
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		if c.first != "" {
			if _, err := in.WriteString(c.first); err != nil {
				t.Fatal(err)
			}
			if c.more != "" {
				go func() {
					for err := error(nil); err == nil; _, err = in.WriteString(c.more) {
					}
				}()
			}
		}
		if strings.Contains(c.args, "MUTE") || strings.Contains(c.args, "kubeconfig") {
			select {
			case <-asked:
			case <-ended:
				t.Fatalf("it has ended by itself: %s", said.String())
			case <-time.After(30 * time.Second):
				t.Fatal("it asks nothing")
			}
		}
		var children []string
		for end := time.Now().Add(30 * time.Second); c.child && len(children) == 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			children = childrenOf(cmd.Process.Pid)
		}
		if c.child && len(children) == 0 {
			t.Fatalf("it has no child: %s", said.String())
		}
		time.Sleep(start + time.Second) // it is at work
		at := time.Now()
		if err := cmd.Process.Signal(c.signal); err != nil {
			t.Fatalf("it has ended by itself: %v: %s", err, said.String())
		}
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			t.Fatalf("it goes on 20 s after %s: %s", c.signal, said.String())
		}
		took := time.Since(at).Round(time.Millisecond)
		t.Logf("ended %v after it: %s", took, strings.TrimSpace(said.String()))
		if code := cmd.ProcessState.ExitCode(); code != exitFailed && c.signal != syscall.SIGKILL {
			t.Errorf("exit code %d: %s", code, said.String())
		}
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			var left []string
			for _, pid := range children {
				if stat, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil && !bytes.Contains(stat, []byte(") Z ")) {
					left = append(left, pid)
				}
			}
			if len(left) == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("processes %v go on", left)
			}
		}
		_ = filepath.WalkDir(filepath.Join(dir, "out"), func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				t.Errorf("%s is left", path)
			}
			return nil
		})
		return took
	}
	var mu sync.Mutex
	var slow []interruption
	t.Run("beside", func(t *testing.T) {
		for _, c := range []interruption{
			{"report, reading without end", "report FIFO", head, load, false, syscall.SIGTERM},
			{"report, waiting for more", "report FIFO --out OUT", head, "", false, syscall.SIGINT},
			{"compare", "compare -q FIFO FIFO", head, load, false, syscall.SIGINT},
			{"fit", "fit FIFO", head, "", false, syscall.SIGINT},
			{"simulate a record", "simulate FIFO", head, "", false, syscall.SIGTERM},
			{"tune a record", "tune FIFO", head, "", false, syscall.SIGINT},
			{"validate", "validate FIFO", "apiVersion: x\n", "", false, syscall.SIGINT},
			{"elasticity", "elasticity --demand FIFO --supply FIFO", "seconds,replicas\n", "", false, syscall.SIGTERM},
			{"simulate", "simulate day.yaml --out OUT --repeat 100", "", "", true, syscall.SIGINT},
			{"simulate", "simulate day.yaml -q --repeat 100", "", "", true, syscall.SIGTERM},
			{"simulate", "simulate day.yaml --repeat 100", "", "", true, syscall.SIGKILL},
			{"tune", "tune day.yaml", "", "", true, syscall.SIGINT},
			{"tune", "tune day.yaml", "", "", true, syscall.SIGKILL},
			{"attack", "attack day.yaml --url MUTE --out sent", "", "", false, syscall.SIGINT},
			{"run", "run day.yaml --kubeconfig kubeconfig", "", "", false, syscall.SIGTERM},
			{"run, several", "run day.yaml --kubeconfig kubeconfig --repeat 3 --parallel 2", "", "", false, syscall.SIGINT},
			{"calibrate", "calibrate day.yaml --kubeconfig kubeconfig", "", "", false, syscall.SIGINT},
			{"watch", "watch hpa/web --kubeconfig kubeconfig", "", "", false, syscall.SIGTERM},
			{"doctor", "doctor --kubeconfig kubeconfig", "", "", false, syscall.SIGINT},
			{"doctor of an HPA", "doctor hpa/web -n shop --kubeconfig kubeconfig", "", "", false, syscall.SIGTERM},
			{"clean", "clean --kubeconfig kubeconfig", "", "", false, syscall.SIGINT},
		} {
			t.Run(fmt.Sprint(c.name, " ", c.signal), func(t *testing.T) {
				t.Parallel()
				if interrupt(t, c) > promptly {
					mu.Lock()
					defer mu.Unlock()
					slow = append(slow, c)
				}
			})
		}
	})
	for _, c := range slow {
		t.Run(fmt.Sprint(c.name, " ", c.signal, " by itself"), func(t *testing.T) {
			if took := interrupt(t, c); took > promptly {
				t.Errorf("it ended %v after %s", took, c.signal)
			}
		})
	}
}

// mute is the URL of a server that takes connections and never answers. Asked is closed when
// it has one.
func mute(t *testing.T) (url string, asked <-chan struct{}) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	first := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if n == 0 {
				close(first)
			}
			defer c.Close()
		}
	}()
	return "http://" + l.Addr().String(), first
}

func kubeconfigOf(server string) []byte {
	return fmt.Appendf(nil, "{apiVersion: v1, kind: Config, current-context: mute, clusters: [{name: mute, cluster: {server: %q}}], contexts: [{name: mute, context: {cluster: mute}}]}", server)
}

func childrenOf(pid int) (all []string) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range threads {
		b, _ := os.ReadFile(file)
		all = append(all, strings.Fields(string(b))...)
	}
	return all
}
