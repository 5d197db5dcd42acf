package e2e

import (
	"os"
	"testing"
	"time"

	"github.com/hpabench/hpabench/scenarios"
)

// TestLibrary runs the scenarios of the library that no other test runs, two at
// a time. It takes half an hour and so asks to be asked for.
func TestLibrary(t *testing.T) {
	if os.Getenv("HPABENCH_E2E_LIBRARY") == "" {
		t.Skip("make e2e-library runs it")
	}
	others := map[string]bool{"demo-nginx": true, "slow-start": true, "slow-stop": true}
	for _, s := range scenarios.Library() {
		if name := s.Metadata.Name; !others[name] && !s.HasScaledObjects() { // TestScaleFromZero and TestKEDALibrary run those
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				if name == "rps" && !embedded {
					startAdapter(t, "http_requests", 15*time.Second, time.Minute)
				}
				run := startRun(t, name)
				run.wait(0, 15*time.Minute)
				t.Logf("replicas went %v\n%s", steps(run.result()), run.stdout.String())
			})
		}
	}
}
