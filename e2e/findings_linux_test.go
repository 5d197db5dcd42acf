package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hpabench/hpabench/analysis"
)

// TestFindingsAlone are the cases that change the node or the metrics of all.
func TestFindingsAlone(t *testing.T) {
	inFindings(t)
	t.Run("taint", runCase{
		finding: finding{analysis.FoundUnschedulable, "pod/unschedulable-.*", []string{"untolerated taint", "`kubectl "}},
		during: inSurge(0, func(t *testing.T, r *invocation) {
			kubectl(t, "taint", "nodes", "--all", "hpabench-e2e=yes:NoSchedule")
			t.Cleanup(func() { kubectl(t, "taint", "nodes", "--all", "hpabench-e2e-") })
		}),
	}.run)
	t.Run("metrics-server", runCase{
		finding: finding{analysis.FoundMetricsAbsent, "apiservice/v1beta1.metrics.k8s.io", []string{"metrics-server", "`kubectl "}},
		during: inSurge(0, func(t *testing.T, r *invocation) {
			pidFile := filepath.Join(filepath.Dir(kubeconfig), "log", "metrics-server.pid")
			if _, err := os.Stat(pidFile); err != nil {
				t.Skip("this cluster's metrics-server is not a process of this machine")
			}
			again := kill(t, pidFile)
			// It must be back at the end: as long as an API is not served, Kubernetes
			// deletes no namespace.
			time.Sleep(time.Minute)
			again()
		}),
	}.run)
}
