// Package outside holds hpabench against results that others published: each as a scenario, simulated and,
// where that can be, run on the embedded cluster. README.md is the table.
package outside

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpabench/hpabench/simulate"
)

var update = flag.Bool("update", false, "write README.md anew, and embedded.json of what ran on the embedded cluster")

// all asks for what takes long: every simulation, and the embedded cluster.
var all = os.Getenv("HPABENCH_OUTSIDE") != ""

func TestMain(m *testing.M) {
	simulate.Prepare()
	os.Exit(m.Run())
}

// result is one that somebody published.
type result struct {
	file, what, published string
	// runs that are simulated; slow ones only where all are asked for.
	runs int
	slow bool
	// vary says what the simulated cluster has otherwise than Kubernetes' and metrics-server's defaults, and what
	// is otherwise in each run, by a part that covers 0 to 1 evenly.
	vary func(r *simulate.Run, part float64)
	// trials on the embedded cluster, which is started with these flags; none of what it cannot do.
	trials int
	flags  []string
	// The trials begin at that many points of a scrape's period, in seconds, where that is not the HPA's sync period: the load waits
	// for the HPA's first metric, and so begins at a point of the scrape's.
	parts, scrape int
	why           string // there are no trials
	// judge says what came out, and why that is not what was published.
	judge func(runs []course) (outcome string, err error)
}

func (r result) name() string { return r.file + ": " + r.what }

const (
	vector      = "vector.yaml"
	issue763    = "metrics-server-763.yaml"
	issue110317 = "latency-110317.yaml"
	perfkit     = "perfkit.yaml"
)

func results() []result {
	everyMinute := func(r *simulate.Run, _ float64) { r.Plant.Metrics.Resolution.Duration = time.Minute }
	// The load waits for the HPA's first metric, which is soon after a scrape: so the change comes at any point of a
	// scrape's period from there.
	latencyAt := func(scrape, sync time.Duration) func(*simulate.Run, float64) {
		return func(r *simulate.Run, part float64) {
			r.Plant.Metrics.Resolution.Duration, r.Plant.Control.Sync.Duration = scrape, sync
			r.Phases[0].Seconds += part * scrape.Seconds()
		}
	}
	// A kubelet that samples every 10 s, from any point of that on. The load's begin is that of the first phase.
	steady := func(vary func(*simulate.Run, float64)) func(*simulate.Run, float64) {
		return func(r *simulate.Run, part float64) {
			vary(r, part)
			_, from := math.Modf(part * 997 * math.Sqrt(3)) // independent of the part
			var times []time.Duration
			for s := 10 * from; s < r.Phases[0].Seconds+r.Phases[1].Seconds; s += 10 {
				times = append(times, time.Duration(s*float64(time.Second)))
			}
			r.Samples = [][]time.Duration{times}
		}
	}
	list := []result{
		{file: vector, what: "replicas", published: "1 → 2 → 3 → 5 at 30, 61, 107 s, by a probe that reads the HPA's status every 15 s; 5 for good", runs: 30, trials: 3, judge: vectorPath},
		{file: issue763, what: "10 pods at their limit, target 50 %", published: "no time is published; at the limit a step doubles the pods at most", runs: 3, slow: true, trials: 1, judge: grows(2, 80, 30, 60)},
		{file: issue763, what: "the same, metrics every 60 s", published: "a cycle (more replicas, until they run and are measured) takes 1 to 2 minutes", runs: 3, slow: true, why: "its metrics are every 60 s", vary: everyMinute, judge: grows(2, 80, 60, 120)},
		{
			file: issue763, what: "target 75 %, metrics every 60 s", published: "5 times the pods take 6 cycles, each 33 % more and of 1 to 2 minutes", runs: 3, slow: true, why: "its metrics are every 60 s",
			vary: func(r *simulate.Run, part float64) {
				everyMinute(r, part)
				r.HPA.Metrics[0].Resource.Target.AverageUtilization, r.HPA.MaxReplicas = new(int32(75)), 60
			}, judge: grows(100./75, 50, 60, 120),
		},
		{
			file: issue110317, what: "metrics every 30 s, sync every 15 s, a kubelet that samples every 10 s", published: "mean 27.5 s, at most 55 s: U(0, 10) + U(0, 30) + U(0, 15)", runs: 400,
			why:  "the kubelet of the embedded cluster samples as cAdvisor does",
			vary: steady(latencyAt(30*time.Second, 15*time.Second)), judge: latency(30, 15, true),
		},
		{
			file: issue110317, what: "metrics every 30 s, sync every 15 s", published: "the same", runs: 400, slow: true, flags: []string{"--metric-resolution=30s"},
			vary: latencyAt(30*time.Second, 15*time.Second), trials: 24, parts: 6, scrape: 30, judge: latency(30, 15, false),
		},
		{
			file: issue110317, what: "metrics every 30 s, sync every 5 s", published: "by the same sum: mean 22.5 s, at most 45 s", runs: 400, slow: true,
			why:  "the periods of the row above show the same",
			vary: latencyAt(30*time.Second, 5*time.Second), judge: latency(30, 5, false),
		},
		{file: issue110317, what: "metrics every 15 s, sync every 15 s", published: "by the same sum: mean 20 s, at most 40 s", runs: 60, vary: latencyAt(15*time.Second, 15*time.Second), trials: 24, judge: latency(15, 15, false)},
		{
			file: perfkit, what: "the shape of the ramp", published: "1, 20, 40, 60, 90, 120, 150, 1 requests/s; 5 to 250 replicas at 70 %; no replicas are published", runs: 1, trials: 1, judge: follows,
		},
	}
	for _, b := range behaviours {
		list = append(list, result{file: "e2e-" + b.file + ".yaml", what: "Kubernetes' suite", published: b.published, runs: 3, trials: 1, judge: b.judge})
	}
	return list
}

// TestForetold simulates what was published.
func TestForetold(t *testing.T) {
	outcomes := map[string]string{}
	for _, r := range results() {
		if r.slow && !all && !*update {
			continue
		}
		t.Run(r.name(), func(t *testing.T) {
			outcome, err := r.judge(simulated(t, r.runs, func(part float64) *simulate.Run {
				run := scenario(t, r.file)
				if r.vary != nil {
					r.vary(run, part)
				}
				return run
			}))
			t.Log(outcome)
			if err != nil {
				t.Error(err)
			}
			outcomes[r.name()] = outcome
		})
	}
	readme, err := os.ReadFile("README.md")
	if err != nil && !*update {
		t.Fatal(err)
	}
	embedded := read(t)
	var table strings.Builder
	for _, r := range results() {
		on := embedded[r.name()]
		if r.trials == 0 {
			on = "not run: " + r.why
		}
		row := fmt.Sprintf("| %s, %s | %s | %s | %s |\n", r.file, r.what, r.published, outcomes[r.name()], on)
		if _, ran := outcomes[r.name()]; ran && !*update && !bytes.Contains(readme, []byte(row)) {
			t.Errorf("README.md does not have this row (make outside writes it):\n%s", row)
		}
		table.WriteString(row)
	}
	if *update {
		const head = "| --- | --- | --- | --- |\n"
		before, after, _ := strings.Cut(string(readme), head)
		_, after, _ = strings.Cut(after, "\n\n")
		write(t, "README.md", []byte(before+head+table.String()+"\n"+after))
	}
}

// read gives what came out of the runs on the embedded cluster.
func read(t *testing.T) map[string]string {
	t.Helper()
	known := map[string]string{}
	b, err := os.ReadFile("embedded.json")
	if err == nil {
		err = json.Unmarshal(b, &known)
	}
	if err != nil && (!*update || !os.IsNotExist(err)) {
		t.Fatal(err)
	}
	return known
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestVectorRests holds the guide's table of the replicas at which an HPA with a target of 70 % rests under a
// load of so many percent of a pod, by its last column of which is slowest.
func TestVectorRests(t *testing.T) {
	published := map[int][]int32{295: {4, 5}, 325: {5}, 361: {5, 6}, 382: {5, 6}}
	for _, percent := range slices.Sorted(maps.Keys(published)) {
		var rests []int32
		for n := int32(4); n <= 7; n++ {
			r := scenario(t, vector)
			r.Replicas, r.HPA.Behavior = n, nil
			r.Plant.Workload.CPU.Mean.Duration = time.Duration(percent) * 100 * time.Microsecond
			r.Phases[0].Seconds = 600
			if c := simulated(t, 1, func(float64) *simulate.Run { return r })[0]; len(c.steps()) == 1 {
				rests = append(rests, n)
			}
		}
		if !slices.Equal(rests, published[percent]) {
			t.Errorf("at %d %% the HPA rests at %v, published is %v", percent, rests, published[percent])
		}
	}
}
