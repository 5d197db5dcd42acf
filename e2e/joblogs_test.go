package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-client/pkg"
)

// testJobLogs loses the logs of three of four workers in the load: one file is deleted,
// one is cut off, one is rotated as the kubelet does it, and in each case again and again.
// No count is lost: the lines that still come, or the container's termination message, have
// the totals.
func testJobLogs(t *testing.T) {
	loadImage(t)
	run := startRun(t, scenario(t, strings.Replace(job, "name: job}", "name: job-logs}", 1)), "--keep")
	run.waitFor(`^hot `, 3*time.Minute)
	namespace := regexp.MustCompile(`creating namespace (\S+)`).FindStringSubmatch(run.stderr())[1]
	t.Cleanup(func() { kubectl(t, "delete", "namespace", namespace) })
	log := func(index string) (file, container, runtime string) {
		t.Helper()
		pod := strings.Fields(kubectl(t, "get", "pods", "-n", namespace, "-l", "batch.kubernetes.io/job-completion-index="+index, "-o",
			"jsonpath={.items[0].metadata.name} {.items[0].metadata.uid} {.items[0].spec.nodeName} {.items[0].status.containerStatuses[0].containerID}"))
		var kubelet struct {
			Kubeletconfig struct{ PodLogsDir, ContainerRuntimeEndpoint string }
		}
		if err := json.Unmarshal([]byte(kubectl(t, "get", "--raw", "/api/v1/nodes/"+pod[2]+"/proxy/configz")), &kubelet); err != nil {
			t.Fatal(err)
		}
		t.Logf("worker %s is on %s", index, pod[2])
		_, container, _ = strings.Cut(pod[3], "://")
		return filepath.Join(kubelet.Kubeletconfig.PodLogsDir, namespace+"_"+pod[0]+"_"+pod[1], "worker", "0.log"), container, kubelet.Kubeletconfig.ContainerRuntimeEndpoint
	}
	deleted, _, _ := log("0")
	cut, _, _ := log("1")
	rotated, container, endpoint := log("2")
	runtime, err := cri.NewRemoteRuntimeServiceBuilder().WithEndpoint(endpoint).WithConnectionTimeout(10 * time.Second).Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		time.Sleep(3 * time.Second)
		if err := os.Remove(deleted); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := os.Truncate(cut, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(rotated, fmt.Sprintf("%s.%d", rotated, i)); err != nil {
			t.Fatal(err)
		}
		if err := runtime.ReopenContainerLog(t.Context(), container); err != nil {
			t.Fatal(err)
		}
	}
	run.wait(0, 3*time.Minute)
	counted := served(t, run)

	r := run.result()
	l := r.Load.Total
	const planned = 803*40 + 2008 // ⌈803 · 5 / 2⌉
	t.Logf("planned %d = answered %d + failed %d + aborted %d + unsent %d + unknown %d; nginx counted %d", planned, l.Answered, l.Failed, l.Aborted, l.Unsent, l.Unknown, counted)
	if l.Offered != planned || l.Answered+l.Failed+l.Aborted+l.Unsent != planned || l.Unknown != 0 {
		t.Errorf("planned %d, offered %d: answered %d, failed %d, aborted %d, unsent %d, unknown %d", planned, l.Offered, l.Answered, l.Failed, l.Aborted, l.Unsent, l.Unknown)
	}
	if counted != l.Answered {
		t.Errorf("nginx counted %d requests, %d were answered", counted, l.Answered)
	}
	if !strings.Contains(run.stderr(), "were lost: its counts are those of its totals") {
		t.Error("the loss of lines is not said")
	}
}
