package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// job sends from four pods to three of nginx that no HPA changes.
const job = `
apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: job}
spec:
  workload:
    deployment:
      image: "nginx:1.15.2"
      imagePullPolicy: IfNotPresent
      command: [sh, -c, "sed 's/access_log off/access_log \\/dev\\/stdout/' /etc/nginx/nginx.conf > /tmp/nginx.conf && exec nginx -c /tmp/nginx.conf"]
      replicas: 3
      port: 80
      resources: {requests: {cpu: 500m}}
  autoscaler: {cpuPercent: 90, min: 3, max: 4}
  load:
    via: job
    job: {pods: 4}
    timeout: 3s
    phases:
    - {name: hot, duration: 40s, rate: 803}
    - {name: after, duration: 5s, ramp: {from: 803, to: 0}}
`

// loadImage builds the image of the workers and puts it on the nodes.
func loadImage(t *testing.T) {
	t.Helper()
	load := os.Getenv("HPABENCH_E2E_LOAD_IMAGE")
	if load == "" {
		t.Skip("set HPABENCH_E2E_LOAD_IMAGE to a command that puts an image archive on the nodes")
	}
	if !filepath.IsAbs(load) {
		load = filepath.Join("..", load)
	}
	archive := filepath.Join(t.TempDir(), "image.tar")
	build := exec.Command("go", "run", "./image", "-platforms", "linux/amd64", "-o", archive)
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the image: %v\n%s", err, out)
	}
	if out, err := exec.Command(load, archive).CombinedOutput(); err != nil {
		t.Fatalf("loading the image: %v\n%s", err, out)
	}
}

// testJob sends from the cluster while a pod of the workload is deleted, another
// loses its connections, and a worker is killed: all that was planned is accounted
// for, and nginx saw as much.
func testJob(t *testing.T) {
	loadImage(t)
	run := startRun(t, scenario(t, job), "--keep")
	run.waitFor(`^hot `, 3*time.Minute)
	namespace := regexp.MustCompile(`creating namespace (\S+)`).FindStringSubmatch(run.stderr())[1]
	t.Cleanup(func() { kubectl(t, "delete", "namespace", namespace) })
	pods := strings.Fields(kubectl(t, "get", "pods", "-n", namespace, "-l", "!batch.kubernetes.io/job-name", "-o", "jsonpath={.items[*].metadata.name}"))
	if len(pods) != 3 {
		t.Fatalf("pods of the workload: %v", pods)
	}

	// nginx's counter goes with the pod; its log tells as much.
	var log bytes.Buffer
	deleted := exec.Command("kubectl", "--kubeconfig", kubeconfig, "logs", "-f", "-n", namespace, pods[0])
	deleted.Stdout = &log
	if err := deleted.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(8 * time.Second)
	kubectl(t, "delete", "pod", "-n", namespace, pods[0], "--wait=false")
	time.Sleep(6 * time.Second)
	killProcess(t, namespace, pods[1], "nginx: worker")
	time.Sleep(6 * time.Second)
	worker := kubectl(t, "get", "pods", "-n", namespace, "-l", "batch.kubernetes.io/job-completion-index=2", "-o", "jsonpath={.items[0].metadata.name}")
	killProcess(t, namespace, worker, "/hpabench attack --worker")
	run.waitFor(`^note: worker 3 of 4 .* ended before its load was over: exit code 137`, 20*time.Second)
	run.wait(3, 2*time.Minute) // somebody deleted a pod
	if err := deleted.Wait(); err != nil {
		t.Error(err)
	}
	counted := served(t, run) + uint64(bytes.Count(log.Bytes(), []byte("GET / ")))
	kubectl(t, "wait", "--for=delete", "jobs", "--all", "-n", namespace, "--timeout=30s")

	r := run.result()
	l := r.Load.Total
	const planned = 803*40 + 2008 // ⌈803 · 5 / 2⌉
	t.Logf("planned %d = answered %d + failed %d (%v) + aborted %d + unsent %d, late %d; nginx counted %d", planned, l.Answered, l.Failed, l.Failures, l.Aborted, l.Unsent, l.Late, counted)
	if l.Offered != planned || l.Answered+l.Failed+l.Aborted+l.Unsent != planned {
		t.Errorf("planned %d, offered %d: answered %d, failed %d, aborted %d, unsent %d", planned, l.Offered, l.Answered, l.Failed, l.Aborted, l.Unsent)
	}
	if l.Aborted == 0 || l.Aborted > 803 || l.Unsent < 803*10/4 || len(r.Load.Workers) != 4 {
		t.Errorf("aborted %d, unsent %d, by %d workers", l.Aborted, l.Unsent, len(r.Load.Workers))
	}
	if counted < l.Answered || counted > l.Answered+l.Failed+l.Aborted {
		t.Errorf("nginx counted %d requests: %d were answered, %d failed, %d aborted", counted, l.Answered, l.Failed, l.Aborted)
	}
	if r.Load.Phases[0].Doubt == "" {
		t.Error("the load counts as planned, though a worker was lost")
	}
}

// killProcess kills a process of a pod, by the beginning of its command line. The
// node is this machine.
func killProcess(t *testing.T, namespace, pod, command string) {
	t.Helper()
	uid := kubectl(t, "get", "pod", "-n", namespace, pod, "-o", "jsonpath={.metadata.uid}")
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		line, err := os.ReadFile(filepath.Join(p, "cmdline"))
		cgroup, err2 := os.ReadFile(filepath.Join(p, "cgroup"))
		if err != nil || err2 != nil || !bytes.HasPrefix(bytes.ReplaceAll(line, []byte{0}, []byte(" ")), []byte(command)) ||
			!bytes.Contains(bytes.ReplaceAll(cgroup, []byte("_"), []byte("-")), []byte(uid)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(p))
		if err != nil {
			t.Fatal(err)
		}
		// Stopped for a while, so that it has something to lose.
		for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
			if err := syscall.Kill(pid, signal); err != nil {
				t.Fatal(err)
			}
			time.Sleep(300 * time.Millisecond)
		}
		return
	}
	t.Fatalf("pod %s has no process %s", pod, command)
}
