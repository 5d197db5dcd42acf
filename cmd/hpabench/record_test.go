package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestHostileRecords reads records that no run can have written: each command that takes one
// refuses it with its line, before anything else.
func TestHostileRecords(t *testing.T) {
	b, err := os.ReadFile("../../reports/testdata/recorded-demo-nginx.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSpace(string(b))+"\n", "\n")
	lines = lines[:len(lines)-1]
	of := func(kind string) int {
		return slices.IndexFunc(lines, func(line string) bool { return strings.Split(line, `"`)[3] == kind })
	}
	changed := func(kind, old, new string) []string {
		i, is := of(kind), slices.Clone(lines)
		if is[i] = strings.Replace(is[i], old, new, 1); is[i] == lines[i] {
			t.Fatalf("%s has no %s", kind, old)
		}
		return is
	}
	reversed := slices.Clone(lines)
	slices.Reverse(reversed[1:])
	pods := slices.Clone(lines[:of("pod")])
	for n := range 20_001 {
		pods = append(pods, fmt.Sprintf(`{"at":1,"pod":{"name":"p%d","uid":"u%d"}}`+"\n", n, n))
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		lines []string
		line  int
	}{
		"a second of 2^62":    {changed("load", `"second":`, `"second":46116860184273`), of("load") + 1},
		"a phase of -1":       {changed("load", `"phase":`, `"phase":-`+"1"), of("load") + 1},
		"rubbish for latency": {changed("load", `"latency":"`, `"latency":"x`), of("load") + 1},
		"minReplicas of -2":   {changed("autoscaler", `"minReplicas":`, `"minReplicas":-`), of("autoscaler") + 1},
		"a metric of nothing": {changed("autoscaler", `"resource":{`, `"pods":{`), of("autoscaler") + 1},
		"replicas of -2":      {changed("target", `"replicas":`, `"replicas":-`), of("target") + 1},
		"a window of -1":      {changed("podMetrics", `"windowSeconds":`, `"windowSeconds":-`), of("podMetrics") + 1},
		"two headers":         {slices.Insert(slices.Clone(lines), 1, lines[0]), 2},
		"reversed":            {reversed, 0},
		"a note of day 29":    {append(slices.Clone(lines), `{"at":2500000,"note":{"text":"a"}}`+"\n"), len(lines) + 1},
		"many pods":           {pods, len(pods)},
	} {
		file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".jsonl")
		if err := os.WriteFile(file, []byte(strings.Join(c.lines, "")), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"report", "fit", "simulate", "tune"} {
			var out, said bytes.Buffer
			a := &app{stdout: &out, stderr: &said}
			code := a.run(t.Context(), []string{command, "-q", file})
			want := fmt.Sprintf("line %d", c.line)
			if c.line == 0 {
				want = "in the order of time"
			}
			if code != exitBadInput || out.Len() > 0 || !strings.Contains(said.String(), file) || !strings.Contains(said.String(), want) || strings.Count(said.String(), "\n") != 1 {
				t.Errorf("%s of %s: exit code %d, want %d and %q: %s%s", command, name, code, exitBadInput, want, said.String(), out.String())
			}
		}
	}
}

func TestCombinationsAreOrderedByValue(t *testing.T) {
	for _, want := range [][]string{
		{"sweep/target=40", "sweep/target=60", "sweep/target=100"},
		{"scaleDown.stabilization=0,min=2", "scaleDown.stabilization=45s,min=10", "scaleDown.stabilization=1m30s,min=1", "scaleDown.stabilization=1h,min=1"},
		{"target=64Mi", "target=100Mi"},
		{"target=40,min=2", "target=40,min=10", "target=100,min=1"},
		{"trial-01", "trial-02", "trial-10"},
	} {
		got := slices.Sorted(slices.Values(want))
		if slices.Reverse(got); !slices.Equal(slices.SortedFunc(slices.Values(got), byValue), want) {
			t.Errorf("%q, not %q", slices.SortedFunc(slices.Values(got), byValue), want)
		}
	}
}
