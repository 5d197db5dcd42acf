package runner

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/scenarios"
)

func TestCredentialsOfTheEnvironment(t *testing.T) {
	name := filepath.Join(t.TempDir(), "scenario.yaml")
	read := func(auth string) *scenarios.File {
		t.Helper()
		source := `apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: web}
spec:
  workload:
    deployment: {image: "nginx:1.15.2", port: 80, resources: {requests: {cpu: 50m}}}
  autoscaler: {cpuPercent: 20, min: 2, max: 5}
  load:
    auth: ` + auth + `
    phases: [{name: a, duration: 1m, rate: 5}]
`
		if err := os.WriteFile(name, []byte(source), 0o666); err != nil {
			t.Fatal(err)
		}
		file, err := scenarios.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	t.Setenv("HPABENCH_TEST_SECRET", "s3cret")
	for auth, want := range map[string]string{
		"{bearer: {env: HPABENCH_TEST_SECRET}}":                          "Bearer s3cret",
		"{basic: {username: me, password: {env: HPABENCH_TEST_SECRET}}}": "Basic bWU6czNjcmV0",
		"{bearer: {env: HPABENCH_TEST_NOT_SET}}":                         "",
	} {
		c := &Cluster{}
		file := read(auth)
		_, err := New(c, file, Options{}, func(Progress) {})
		var bad BadInput
		if (want == "") != (errors.As(err, &bad) && strings.Contains(err.Error(), "scenario.yaml:9") && strings.Contains(err.Error(), "HPABENCH_TEST_NOT_SET")) {
			t.Errorf("%s: %v", auth, err)
		}
		if got, _ := c.authorization(t.Context(), file, ""); want != "" && got != want {
			t.Errorf("%s makes %q, want %q", auth, got, want)
		}
	}
}
