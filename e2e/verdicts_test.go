//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/hpabench/hpabench/scenarios"
)

// What hpabench validate says of an object is what the API server says of it.
func TestVerdicts(t *testing.T) {
	const scenario = "apiVersion: hpabench.dev/v1alpha1\nkind: Scenario\nmetadata: {name: s}\nspec:\n  workload: {manifests: [object.yaml]}\n  load: {phases: [{name: a, duration: 30s, rate: 0}]}\n"
	refused := 0
	objects := bytes.Split(must(os.ReadFile("testdata/verdicts.yaml")), []byte("\n---\n"))
	for _, object := range objects {
		cmd := exec.Command("kubectl", "--kubeconfig", kubeconfig, "create", "--dry-run=server", "--validate=strict", "-f", "-")
		cmd.Stdin = bytes.NewReader(append([]byte("# YAML, not JSON\n"), object...))
		said, theirs := cmd.CombinedOutput()
		_, err := scenarios.Parse("s.yaml", []byte(scenario), func(name string) (string, []byte, error) { return name, object, nil })
		var ours scenarios.Faults
		var faults scenarios.Faults
		if errors.As(err, &faults) {
			for _, f := range faults {
				if f.File == "object.yaml" && f.Message[:min(len(f.Message), 11)] != "no manifest" { // of an HPA's target
					ours = append(ours, f)
				}
			}
		}
		if theirs != nil {
			refused++
		}
		if (theirs != nil) != (len(ours) > 0) {
			t.Errorf("%s\nthe API server: %s\nhpabench: %v", object, said, ours)
		}
	}
	if refused < 15 || refused == len(objects) {
		t.Errorf("the API server refused %d of %d objects", refused, len(objects))
	}
}
