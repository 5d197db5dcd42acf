package analysis

import (
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestKeptFindings judges kept records of clusters, each of which has a fault that the simulation does
// not have: findings.txt has the words of all that is found. The records' loads are without latencies.
// The findings of faults that can be simulated are held by TestFindings of the root.
func TestKeptFindings(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "findings", "*.jsonl.gz"))
	if err != nil || len(files) < 8 {
		t.Fatalf("%d records: %v", len(files), err)
	}
	var all strings.Builder
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".jsonl.gz")
		in, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			t.Fatal(err)
		}
		var b Builder
		if err := b.Read(unpacked); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r, err := b.Result()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind == name }) {
			t.Errorf("%s: no finding of that kind among %d", name, len(r.Findings))
		}
		fmt.Fprintf(&all, "# %s\n", name)
		for _, f := range r.Findings {
			until := "the end"
			if f.UntilSeconds != nil {
				until = fmt.Sprintf("%.1f s", *f.UntilSeconds)
			}
			fmt.Fprintf(&all, "%s %s %s %v, %.1f s to %s\n  %s\n  %s\n  %s\n", f.Severity, f.Kind, f.Object, f.Others, *f.SinceSeconds, until, f.Seen, f.Cause, f.Advice)
		}
	}
	golden := filepath.Join("testdata", "findings", "findings.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "findings", strings.Split(all.String(), "\n"), strings.Split(string(want), "\n"))
}
