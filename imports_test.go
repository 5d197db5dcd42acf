package hpabench

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/hpabench/hpabench"

// allowed says which of our packages each may import: the one direction in
// which imports point. What is not listed here may be imported by nobody.
var allowed = map[string][]string{
	"record":       {"model"},
	"model":        nil,
	"keda":         nil,
	"signals":      {"model"},
	"scenarios":    {"record", "model", "keda", "signals"},
	"loadgen":      {"record"},
	"watch":        {"record"},
	"analysis":     {"record"},
	"expect":       {"analysis", "record"},
	"reports":      {"record", "analysis", "fit", "tune"},
	"simulate":     {"record", "model", "scenarios", "keda", "signals"},
	"fit":          {"record", "model", "scenarios", "analysis", "simulate"},
	"tune":         {"record", "model", "keda", "simulate", "scenarios"},
	"runner":       {"scenarios", "loadgen", "watch", "record", "model", "signals"},
	"embedded":     {"lab/folders"},
	"cmd/hpabench": {"record", "scenarios", "loadgen", "watch", "analysis", "expect", "reports", "runner", "embedded", "simulate", "fit", "tune"},
	"e2e":          {"record", "analysis", "scenarios", "model", "simulate", "fit", "keda"},
	"bench":        nil,
	"bench/load":   nil,
	"image":        nil,

	"bench/outside": {"record", "scenarios", "simulate"},

	"lab/containers":   {"model"},
	"lab/nodes":        {"model", "lab/containers", "signals"},
	"lab/operator":     {"keda"},
	"lab/nodeports":    nil,
	"lab/folders":      nil,
	"lab":              {"model", "keda", "signals", "lab/containers", "lab/nodes", "lab/nodeports", "lab/operator", "lab/folders"},
	"cmd/hpabench-lab": {"lab", "lab/folders", "model"},
}

// confined libraries may be imported by one package only, so that they can be
// replaced there.
var confined = map[string]string{
	"github.com/tsenart/vegeta/v12/lib":    "loadgen",
	"github.com/olekukonko/tablewriter":    "reports",
	"github.com/olekukonko/tablewriter/tw": "reports",
	"gonum.org/v1/plot":                    "reports",

	// These make a binary of 200 MB.
	"go.etcd.io/etcd/server/v3/embed":                   "lab",
	"k8s.io/kubernetes/cmd/kube-apiserver/app":          "lab",
	"k8s.io/kubernetes/cmd/kube-controller-manager/app": "lab",
	"k8s.io/kubernetes/cmd/kube-scheduler/app":          "lab",
	"sigs.k8s.io/metrics-server/pkg/api":                "lab",
}

func TestImportsPointOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-tags", "e2e", "-f", `{{.ImportPath}} {{join .Imports ","}},{{join .TestImports ","}},{{join .XTestImports ","}}`, "./...").Output()
	if err != nil {
		t.Fatalf("listing the packages: %v", err)
	}
	seen := 0
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		path, imports, _ := strings.Cut(line, " ")
		name := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
		if name == "" {
			continue // this test alone
		}
		seen++
		may, known := allowed[name]
		if !known {
			t.Errorf("package %s has no place in the order of imports: give it one in this test", name)
		}
		for _, imported := range strings.Split(imports, ",") {
			if ours, is := strings.CutPrefix(imported, module+"/"); is && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s, which it may not", name, ours)
			}
			if owner, is := confined[imported]; is && owner != name {
				t.Errorf("%s imports %s, which is for %s alone", name, imported, owner)
			}
		}
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(readme)), " ")
	for name, may := range allowed {
		if row := name + " → " + strings.Join(may, ", ") + " "; may != nil && name != "e2e" && name != "bench/outside" && !strings.Contains(text, row) {
			t.Errorf("README.md does not say %s", row)
		}
	}
	if seen < 5 {
		t.Errorf("only %d packages seen", seen)
	}
}
