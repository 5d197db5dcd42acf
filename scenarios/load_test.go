package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hpabench/hpabench/record"
)

const loadHead = `apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: web}
spec:
  workload:
    deployment: {image: "nginx:1.15.2", port: 80, resources: {requests: {cpu: 50m}}}
  autoscaler: {cpuPercent: 20, min: 2, max: 5}
  load:
    phases:
`

// phasesOf reads a scenario with the phases, beside the files.
func phasesOf(t *testing.T, phases string, files map[string]string) ([]record.Phase, error) {
	t.Helper()
	dir := t.TempDir()
	files["scenario.yaml"] = loadHead + phases
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Read(filepath.Join(dir, "scenario.yaml"))
	if err != nil {
		return nil, err
	}
	return f.Phases(), nil
}

func TestShapes(t *testing.T) {
	phases, err := phasesOf(t, `
    - {name: warm, duration: 30s, steps: [5, 0, 20], keepAlive: false}
    - {name: rush, duration: 1m, spike: {base: 5, peak: 50, after: 10s, rise: 5s, hold: 20s}}
    - {name: rough, duration: 3s, noise: {base: 50, amplitude: 20, every: 2s, seed: 7}}
    - {name: real, replay: {file: trace.csv, scale: 2, stretch: 0.5}}
    - {name: sent, duration: 1s, replay: {file: results.csv}}
    - {name: wave, repeat: 2, phases: [{name: on, duration: 10s, workers: 3, thinkTime: 500ms, requests: 9}, {name: off, duration: 5s, rate: 0}]}
`, map[string]string{
		"trace.csv":   "seconds,rate\n0,10\n4,30\n6,0\n",
		"results.csv": strings.Repeat("1700000000000000000,200,1000,0,0,,b2s=,,0,GET,http://x,\n", 3) + "1700000001500000000,200,1000,0,0,,b2s=,,3,GET,http://x,\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range phases {
		line := fmt.Sprintf("%s %gs %s %g→%g workers %d %v", p.Name, p.Seconds, p.Shape, p.From, p.To, p.Workers, p.KeepAlive)
		if p.Think > 0 {
			line += fmt.Sprintf(" think %gs, %d requests", p.Think, p.Requests)
		}
		if p.Curve != nil && p.Made[0] == 'r' {
			line += fmt.Sprintf(" %s %v", p.Made, p.Curve)
		}
		got = append(got, line)
	}
	want := []string{
		"warm_1 10s rate 5→0 workers 0 false", "warm_2 10s idle 0→0 workers 0 false", "warm_3 10s rate 20→0 workers 0 false",
		"rush_base 10s rate 5→0 workers 0 true", "rush_rise 5s ramp 5→50 workers 0 true", "rush_peak 20s rate 50→0 workers 0 true", "rush_after 25s rate 5→0 workers 0 true",
		"rough 3s curve 0→0 workers 0 true",
		"real 3s curve 0→0 workers 0 true replay of trace.csv [{0 20} {2 20} {2 60} {3 60} {3 0}]",
		"sent 1s curve 0→0 workers 0 true replay of results.csv [{0 3} {1 3} {1 1} {2 1}]",
		"wave_on_1 10s workers 0→0 workers 3 true think 0.5s, 9 requests", "wave_off_1 5s idle 0→0 workers 0 false",
		"wave_on_2 10s workers 0→0 workers 3 true think 0.5s, 9 requests", "wave_off_2 5s idle 0→0 workers 0 false",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	rough := phases[7]
	if c := rough.Curve; len(c) != 4 || c[0].Rate < 30 || c[0].Rate > 70 || c[0].Rate != c[1].Rate || c[2].Rate == c[0].Rate || c[3].At != 3 {
		t.Errorf("noise %v", c)
	}
}

func TestRequests(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"order.json":   `{"n": 1}`,
		"targets.txt":  "# two\nGET http://ignored:8080/x?y=z\nX-One: 1\nX-One: 2\n\nPUT /order\nContent-Type: application/json\n@order.json\n",
		"targets.json": `{"method": "DELETE", "url": "http://ignored/", "body": "aGVsbG8=", "header": {"X-A": ["b"]}}` + "\n",
		"scenario.yaml": strings.Replace(loadHead, "    phases:\n", "    targets: [{weight: 9}, {path: /order, bodyFile: order.json, headers: {x-id: a}}]\n    phases:\n", 1) +
			"    - {name: a, duration: 10s, steps: [1, 2]}\n    - {name: b, duration: 10s, rate: 1, targets: [{file: targets.txt, weight: 2}, {file: targets.json}]}\n" +
			"    - {name: c, repeat: 2, phases: [{name: d, duration: 1s, rate: 3}]}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Read(filepath.Join(dir, "scenario.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, requests := range f.Requests() {
		for _, r := range requests {
			got = append(got, fmt.Sprintf("%s: %d × %s %s %v %s", f.Phases()[i].Name, r.Weight, r.Method, r.Path, r.Headers, r.Body))
		}
	}
	var want []string
	for _, phase := range []string{"a_1", "a_2", "b", "c_d_1", "c_d_2"} {
		if phase == "b" {
			want = append(want, "b: 2 × GET /x?y=z map[X-One:[1 2]] ", `b: 2 × PUT /order map[Content-Type:[application/json]] {"n": 1}`, "b: 1 × DELETE / map[X-A:[b]] hello")
			continue
		}
		want = append(want, phase+": 9 × GET / map[] ", phase+`: 1 × POST /order map[X-Id:[a]] {"n": 1}`)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestTraceFaults(t *testing.T) {
	for content, want := range map[string]string{
		"":                            "holds no rates",
		"a,b\n1,2\n":                  "neither CSV with the header seconds,rate nor results of vegeta",
		"seconds,rate\n1,5\n2,5\n":    "trace.csv:2: a trace begins at second 0",
		"seconds,rate\n0,5\n":         "needs two rows at least",
		"seconds,rate\n0,5\n2,x\n":    "trace.csv:3",
		"seconds,rate\n0,5\n2,-1\n":   "trace.csv:3",
		"seconds,rate\n0,5\n2,5\n1,5": "second 1 comes after second 2",
	} {
		_, err := phasesOf(t, "    - {name: a, replay: {file: trace.csv}}\n", map[string]string{"trace.csv": content})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "scenario.yaml:10") {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
}
