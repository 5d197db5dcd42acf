package analysis

import (
	"cmp"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpabench/hpabench/record"
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
		r, err := Analyze(unpacked(t, file))
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

// TestEditedFindings judges kept records of clusters, of which a part is taken away, as a fault does that a cluster at hand cannot have
// at will: these findings and no others of metrics and the HPA.
func TestEditedFindings(t *testing.T) {
	for name, c := range map[string]struct {
		record string
		keep   func(at float64, e *record.Entry) bool
		gap    *record.Gap
		want   string // how the finding beside the record's own begins
	}{
		"metrics-server that leaves a pod out": {record: "post-start", keep: func(_ float64, e *record.Entry) bool {
			if e.PodMetrics != nil {
				e.PodMetrics.Samples = slices.DeleteFunc(e.PodMetrics.Samples, func(s record.Sample) bool { return strings.HasSuffix(s.Pod, "-97mkk") })
			}
			return true
		}, want: "limits metrics-missing pod/post-start-77cdc84587-97mkk: It was ready for 95 s without a sample"},
		"metrics-server that scrapes no more": {record: "post-start", keep: func(at float64, e *record.Entry) bool { return e.PodMetrics == nil || at < 60 },
			want: "blocks metrics-stale pod/post-start-77cdc84587-97mkk: Its newest sample was up to 84 s old; metrics-server takes one every 5 s."},
		"metrics.k8s.io that gives no answer": {record: "post-start", keep: func(at float64, e *record.Entry) bool { return e.PodMetrics == nil || at < 60 || at > 120 },
			gap: &record.Gap{Source: metricsSource, From: record.Instant(60 * time.Second), To: record.Instant(120 * time.Second), Cause: "the server is currently unable to handle the request"}, want: "blocks metrics-absent apiservice/v1beta1.metrics.k8s.io: metrics.k8s.io did not answer for 60 s: the server is currently unable"},
		"an HPA controller that stands still": {record: "terminating-errors", keep: func(at float64, e *record.Entry) bool { return e.Autoscaler == nil || at < 40 },
			want: "blocks hpa-stale hpa/terminating-errors: Its status was not updated for"},
	} {
		run := unpacked(t, filepath.Join("testdata", "findings", c.record+".jsonl.gz"))
		run.Entries = slices.DeleteFunc(run.Entries, func(e record.Entry) bool { return !c.keep(e.At.Seconds(), &e) })
		if c.gap != nil {
			i, _ := slices.BinarySearchFunc(run.Entries, c.gap.To, func(e record.Entry, t record.Instant) int { return cmp.Compare(e.At, t) })
			run.Entries = slices.Insert(run.Entries, i, record.Entry{At: c.gap.To, Gap: c.gap})
		}
		r, err := Analyze(run)
		if err != nil {
			t.Fatal(err)
		}
		there := false
		for _, f := range r.Findings {
			said := fmt.Sprintf("%s %s %s: %s", f.Severity, f.Kind, f.Object, f.Seen)
			is := strings.HasPrefix(said, c.want)
			if there = there || is; !is && f.Kind != c.record {
				t.Errorf("%s: %s", name, said)
			}
		}
		if !there {
			t.Errorf("%s: no %q among %d findings", name, c.want, len(r.Findings))
		}
	}
}

// Of a load that hpabench does not send it is not known what its requests take.
func TestStarvedByAnotherLoad(t *testing.T) {
	run := unpacked(t, filepath.Join("testdata", "findings", "starved.jsonl.gz"))
	run.Entries = slices.DeleteFunc(run.Entries, func(e record.Entry) bool { return e.Load != nil })
	r, err := Analyze(run)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind == FoundStarved }) {
		t.Errorf("found %+v", r.Findings)
	}
}

// unpacked is a kept record.
func unpacked(t *testing.T, file string) record.Run {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	lines, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	run, err := record.Read(lines)
	if err != nil {
		t.Fatal(err)
	}
	return run
}
