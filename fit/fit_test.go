package fit

import (
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/hpabench/hpabench/record"
)

func TestShow(t *testing.T) {
	run, err := record.Open("../reports/testdata/recorded-demo-nginx.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Learn(run)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := yaml.Marshal(f)
	t.Log(string(b))
}
