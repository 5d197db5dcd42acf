package fit

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/simulate"
)

func TestMain(m *testing.M) {
	simulate.Prepare()
	os.Exit(m.Run())
}

func TestFidelity(t *testing.T) {
	dir := os.Getenv("FIDELITY")
	like, err := Open(filepath.Join(dir, os.Getenv("LIKE")))
	if err != nil {
		t.Fatal(err)
	}
	like.Table(os.Stdout)
	all, _ := filepath.Glob(filepath.Join(dir, "*", "record.jsonl"))
	for _, name := range all {
		run, err := record.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		is, err := analysis.Analyze(run)
		if err != nil || is.Outcome != "completed" {
			continue
		}
		var foretold []*analysis.Result
		for n := range 15 {
			r, err := simulate.FromRecord(run)
			if err != nil {
				t.Fatal(err)
			}
			r.Like(like.Plant)
			r.Seed = uint64(n)
			_ = time.Second
			h := *run.Header()
			r.Header = &h
			synctest.Test(t, func(t *testing.T) {
				e, _, err := simulate.Simulate(r)
				if err != nil {
					t.Fatal(err)
				}
				s, err := analysis.Analyze(record.Run{Entries: e})
				if err != nil {
					t.Fatal(err)
				}
				foretold = append(foretold, s)
			})
		}
		f := Compare(is, foretold)
		t.Logf("%s: curve %.1f %% (%.1f to %.1f), inside %.0f %%", filepath.Base(filepath.Dir(name)), f.Curve*100, f.Best*100, f.Worst*100, f.Inside*100)
		for _, d := range f.Decisions {
			off := 999.0
			if d.Off != nil {
				off = *d.Off
			}
			t.Logf("    %5.1f %d → %d: %+.1f s", d.At, d.From, d.To, off)
		}
		for i := range 2 {
			s := ""
			for _, d := range decisions(foretold[i]) {
				s += " " + time.Duration((d.AtSeconds-foretold[i].StartSeconds)*1e9).Round(time.Second).String() + ":" + string(rune('0'+d.To))
			}
			t.Log("      ", s)
		}
	}
}
