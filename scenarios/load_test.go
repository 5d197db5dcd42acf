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
		"real 4s curve 0→0 workers 0 true replay of trace.csv [{0 20} {2 20} {2 60} {3 60} {3 0} {4 0}]",
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
		"":                                     "trace.csv is empty: it needs the header seconds,rate",
		"seconds,rate\n":                       "a header and no row",
		"hunter2,b\n1,2\n":                     "trace.csv:1: the first line has no column of a time or a rate, and must be the header seconds,rate",
		"machine a.example password hunter2\n": "trace.csv:1: the first line has no column of a time or a rate",
		"hunter2,4711\n":                       "trace.csv:1: there is no header: the first line has numbers. Write seconds,rate above it",
		"0,5\n1,6\n":                           "trace.csv:1: there is no header: the first line has numbers. Write seconds,rate above it",
		"2026-01-31T15:04:05Z;5,5\n":           "there is no header: the first line has numbers. Write seconds,rate above it",
		"when,rate\n1,2\n":                     `the first line has "rate" and no column of a time, and must be the header seconds,rate (a time may be named time or timestamp, and a rate rps, qps, requests/s, req/s)`,
		"time,hunter2\n1,2\n":                  `the first line has "time" and no column of a rate`,
		"time,rate\n" + strings.Repeat("a", 40) + "hunter2,2\n": `trace.csv:2: "` + strings.Repeat("a", 32) + `…" is no time`,
		"seconds,rate\n1,5\n2,5\n":                              "trace.csv:2: a trace begins at second 0, this one at 1",
		"seconds,rate\n0,5\n":                                   "trace.csv has one row: give the phase a duration",
		"seconds,rate\n0\n":                                     `trace.csv:2: the line is "0", and must have a time and a rate`,
		"seconds,rate\n0,5\n1":                                  `trace.csv:3: the line is "1"`,
		"seconds,rate\n0,5\n\n2,x\n":                            `trace.csv:4: "x" is no rate: expected a number from 0 to 1000000`,
		"seconds,rate\n0,5\n2,-1\n":                             "trace.csv:3",
		"seconds,rate\n0,5\n2,NaN\n":                            "trace.csv:3",
		"seconds,rate\n0,5\n2,1e400\n":                          "trace.csv:3",
		"seconds,rate\n0,5\n1e400,1\n":                          `trace.csv:3: "1e400" is no time: expected seconds such as 90`,
		"seconds,rate\n0,5\n-1,1\n":                             "trace.csv:3",
		"seconds,rate\n0,5\n10:30,1\n":                          `trace.csv:3: "10:30" is no time`,
		"seconds,rate\n0,5\n2,5\n1,5":                           `trace.csv:4: time "1" is not after that of line 3`,
		"time,rate\n23:59:30,5\n00:00:30,5":                     `trace.csv:3: time "00:00:30" is not after that of line 2: times must rise; across midnight they need dates`,
		"time;rps\n0;1,000\n30;2,500\n":                         `trace.csv:2: "1,000" can be a fraction or have thousands apart`,
		"seconds,rate\n0,1,000\n10,2,000\n":                     `trace.csv:2: the line has 3 cells and the header 2`,
		"time,rps,QPS\n0,5,5\n":                                 `trace.csv:1: columns "rps" and "QPS" are both named as a rate is`,
		"time;rps\n0;0.500\n30;1.000\n":                         `trace.csv:3: "1.000" can be a fraction or have thousands apart`,
		"seconds;rate\n0;5\n1,000;5\n":                          `trace.csv:3: "1,000" can be`,
		`{"a":1}`:                                               `trace.csv:1: the line is no CSV (bare " in non-quoted-field): expected the header seconds,rate`,
		"seconds,rate\n0,5\n31000000,5\n":                       "the load takes 62000000 s, and may take 2678400 (31 days)",
		"\xff\xfes\x00":                                         "it is UTF-16, expected text in UTF-8: convert it with iconv",
		"\x1f\x8b\x08\x00":                                      "it is compressed by gzip, expected text in UTF-8: convert it with gunzip",
		"seconds,rate\n0,5\n2026-01-31T10:00:00Z,5\n":           "trace.csv:3: time \"2026-01-31T10:00:00Z\" is written in another way than that of line 2",
		"-9223372036854775808,200,1,0,0,,,,0,GET\n9223372036854775807,200,1,0,0,,,,1,GET\n": "trace.csv:1",
		"1,200,1,0,0,,,,0,GET\n9223372036854775807,200,1,0,0,,,,1,GET\n":                    "spans 9223372037 s: the limit is 2678400",
		"1700000000000000000,200,1,0,0,,,,0,GET\n17e17,200,1,0,0,,,,1,GET\n":                `trace.csv:2: "17e17" is no time in nanoseconds`,
	} {
		_, err := phasesOf(t, "    - {name: a, replay: {file: trace.csv}}\n", map[string]string{"trace.csv": content})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "scenario.yaml:10") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
}

// A trace elsewhere than in the scenario's folder is not read, nor shown.
func TestTracesElsewhere(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(secret, []byte("machine example.com password hunter2\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.Symlink(secret, "linked.csv"); err != nil {
		t.Skip(err)
	}
	for _, name := range []string{secret, "../netrc", "/proc/self/environ", "linked.csv"} {
		if err := os.WriteFile("s.yaml", []byte(loadHead+"    - {name: a, replay: {file: "+name+"}}\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Read("s.yaml")
		if want := "trace " + name + ": it is not in the folder of the scenario"; err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Whatever wrote a trace, it is read.
func TestTraceFormats(t *testing.T) {
	const want = "[{0 5} {60 5} {60 20.5} {120 20.5}]"
	for _, content := range []string{
		"seconds,rate\n0,5\n60,20.5\n",
		"\ufeffseconds,rate\r\n0,5\r\n60,20.5\r\n",
		"Seconds;Rate\n0;5\n60;20,5\n",
		"seconds\trate\n0\t5\n60\t20.5",
		" Seconds , Rate \n 0 , 5 \n\n 60 , 20.5 \n",
		"# of the gateway\nrate,host,TIME\n5,a,0s\n20.5,b,1m\n",
		"# of the gateway; means\n# by\tPrometheus\n\nseconds,rate\n0,5\n60,20.5\n",
		"# 1,2,3,4,5,6,7,8\nseconds;rate\n0;5\n60;20,5\n",
		"seconds,rate\r0,5\r60,20.5\r",
		"time,rps\n23:59:00,5\n24:00:00,20.5\n",
		"timestamp,rate\n2026-01-31T23:59:30Z,5\n2026-02-01T00:00:30Z,20.5\n",
		"time,rate\n2026-01-31 10:00:00,5\n2026-01-31 10:01:00,20.5\n",
		"\"Time\",\"requests/s\"\n\"1700000000\",\"5\"\n\"1700000060\",\"20.5\"\n",
		"time,qps\n1700000000000,5\n1700000060000,20.5\n",
	} {
		phases, err := phasesOf(t, "    - {name: a, replay: {file: trace.csv}}\n", map[string]string{"trace.csv": content})
		if err != nil {
			t.Errorf("%q: %v", content, err)
			continue
		}
		if got := fmt.Sprint(phases[0].Curve); got != want || phases[0].Seconds != 120 {
			t.Errorf("%q: %g s of %s, want 120 of %s", content, phases[0].Seconds, got, want)
		}
	}
}

// The last row's rate holds to the end of a phase that has a duration.
func TestLastRateHolds(t *testing.T) {
	for trace, want := range map[string]float64{"0,5\n60,20\n": 20, "0,7\n": 7} {
		phases, err := phasesOf(t, "    - {name: a, duration: 10m, replay: {file: trace.csv}}\n", map[string]string{"trace.csv": "seconds,rate\n" + trace})
		if err != nil {
			t.Fatal(err)
		}
		if got := phases[0].RateAt(599); got != want || phases[0].Seconds != 600 {
			t.Errorf("%q: %g requests/s at second 599 of %g, want %g of 600", trace, got, phases[0].Seconds, want)
		}
	}
}

// keepAlive of the load is that of its phases, unless they have their own.
func TestKeepAliveOfTheLoad(t *testing.T) {
	for _, c := range []struct{ load, phase, want string }{
		{"", "", "true"}, {"keepAlive: false, ", "", "false"}, {"keepAlive: false, ", ", keepAlive: true", "true"}, {"keepAlive: true, ", ", keepAlive: false", "false"},
	} {
		f, err := Parse("a.yaml", []byte(`apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: a}
spec:
  workload: {existing: deployment/web}
  load: {`+c.load+`phases: [{name: idle, duration: 1s, rate: 0}, {name: a, duration: 20s, rate: 2`+c.phase+`}, {name: b, repeat: 2, phases: [{name: s, duration: 20s, spike: {base: 1, peak: 5, hold: 5s}`+c.phase+`}]}]}
`), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range f.Phases() {
			if got := fmt.Sprint(p.KeepAlive); got != c.want && (p.Shape != "idle" || i > 0) || i == 0 && p.KeepAlive {
				t.Errorf("%s with %q: keepAlive of %s is %s", c.load, c.phase, p.Name, got)
			}
		}
	}
}

// The short form of an existing object is as kubectl writes it.
func TestExistingShortForm(t *testing.T) {
	for short, want := range map[string]string{
		"deployment/web": "Deployment web", "deploy/web": "Deployment web", "Deployment/web": "Deployment web", "deployment.apps/web": "Deployment web", "deployments.apps/web": "Deployment web",
		"sts/db-0": "StatefulSet db-0", "statefulset/db": "StatefulSet db", "rs/web": "ReplicaSet web", "replicasets/web": "ReplicaSet web",
		"daemonset/web": "a.yaml:5: ", "rollout/web": "a.yaml:5: spec.workload.existing wants", "web": "such as deployment/web", "deployment/": "such as deployment/web", "/web": "such as deployment/web",
	} {
		f, err := Parse("a.yaml", []byte(`apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: a}
spec:
  workload: {existing: `+short+`}
  load: {phases: [{name: a, duration: 20s, rate: 2}]}
`), nil)
		got := fmt.Sprint(err)
		if err == nil {
			got = f.Spec.Workload.Existing.Kind + " " + f.Spec.Workload.Existing.Name
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%s is %s, should be %s", short, got, want)
		}
	}
}
