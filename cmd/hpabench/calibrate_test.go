package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/runner"
)

// TestCalibrateSays: whatever its sweeps find and however they end, calibrate prints a capacity or says why there is
// none, and stores it only if it was found.
func TestCalibrateSays(t *testing.T) {
	gone := errors.New("the API server is gone")
	for name, c := range map[string]struct {
		holds       float64   // the capacity in the run that measures what a request costs; 0 if that has no result
		capacities  []float64 // of the sweeps, in requests a second; the last one's of all that follow
		late        int       // the sweep, from 1 on, whose load generator was late where the SLO was missed
		answered    float64   // a second in that run, where it misses the SLO; 0 for all
		cut         bool      // that run, as the workload does not keep up
		doubtful    bool      // that run, as the load generator was late in it
		steady      error     // of that run; of the second if it holds some
		interrupted bool      // after that run
		stops       int       // the sweep, from 1 on, that is interrupted at the first rate above 38 requests/s
		is          error
		fault, out  string // "" for none
		never       string // neither printed nor in the error
		stored      bool
	}{
		"no target": {capacities: []float64{40}, out: "Target: no target follows: ", stored: true},
		"less in the long run": {capacities: []float64{40}, holds: 30, stored: true,
			out: "One replica serves 27.68 requests/s: 99 % of the answers within 250ms, 0.1 % errors at most. A longer run at 30.75 requests/s a replica missed the SLO (p99 2 s), so the capacity is below the two rates. Eff", never: "rough"},
		"much less in the long run":       {capacities: []float64{40}, holds: 20, fault: "a longer run at 27.68 requests/s a replica missed the SLO (p99 2 s): calibrate again", out: "How many requests/s a replica serves is not known: 99 % of the answers within 250ms, 0.1 % errors at most. A longer run at 27.68", never: "state capacityPerReplica"},
		"what it answers in the long run": {capacities: []float64{40}, holds: 20, answered: 20, stored: true, out: "One replica serves 18 requests/s: 99 % of the answers within 250ms, 0.1 % errors at most. A longer run at 37.97 requests/s a replica missed the SLO (p99 2 s), so the capacity"},
		"overloaded in the long run":      {capacities: []float64{40}, holds: 30, cut: true, stored: true, out: "A longer run at 30.75 requests/s a replica missed the SLO, so the capacity"},
		"late in the long run": {capacities: []float64{40}, holds: 30, doubtful: true, never: "One replica serves",
			fault: "a longer run at 37.97 requests/s a replica missed the SLO (p99 2 s), but the load generator may be why (requests were sent late): calibrate again on an idle machine",
			out:   "Known is: 37.97 or more and less than 40.08 requests/s with 1 replica."},
		"nothing is known of the pods":        {capacities: []float64{40}, out: "Assumed: a request takes 1ms. Capacity of web", stored: true},
		"lowered, and then the cluster fails": {capacities: []float64{40}, holds: 30, steady: gone, is: gone, fault: "a longer run at 37.97 requests/s a replica missed", out: "is not known: 99 %", never: "serves 34.17"},
		"the same in the long run":            {capacities: []float64{40}, holds: 50, stored: true, out: "Target: no target follows: ", never: "rough"},
		"interrupted in the last run": {capacities: []float64{40}, steady: runner.ErrInterrupted, is: runner.ErrInterrupted,
			fault: "interrupted", out: "Target: no target follows: interrupted.", stored: true},
		"the cluster fails in the last run": {capacities: []float64{40}, steady: gone, is: gone,
			fault: "the API server is gone", out: "Target: no target follows: the API server is gone.", stored: true},
		"interrupted in the simulations": {capacities: []float64{40}, interrupted: true, is: runner.ErrInterrupted,
			fault: "interrupted", out: "Target: no target follows: interrupted.", stored: true},
		"doubt, and then none met": {capacities: []float64{25, 25, 0}, late: 2,
			fault: "with 1 replica: the highest rate within the SLO varied between sweeps (about 22.5 requests/s)", out: "1 – 15 – – With 1 replica the rates are rough"},
		"another each time": {capacities: []float64{40, 10, 90}, fault: "with 1 replica: the highest rate within the SLO varied",
			out: "With 1 replica the rates are rough: the highest rate within the SLO varied", never: "One replica serves"},
		"none missed it": {capacities: []float64{40, 10, 10, 90}, fault: "with 1 replica: the highest rate within the SLO varied",
			out: "is not known: 99 % of the answers within 250ms, 0.1 % errors at most. Known is: 22.5 or more requests/s with 1 replica.", never: "between the two rates"},
		"interrupted in the first sweep": {capacities: []float64{40}, stops: 1, is: runner.ErrInterrupted, fault: "interrupted",
			out: "Known is: 33.75 or more requests/s with 1 replica.", never: "One replica serves"},
		"interrupted in the close sweep": {capacities: []float64{40}, stops: 2, is: runner.ErrInterrupted, fault: "interrupted",
			out: "With 1 replica the rates are rough: interrupted. How many requests/s a replica serves is not known: 99 % of the answers within 250ms, 0.1 % errors at most. Known is: 37.97 or more and less than 50.62 requests/s with 1 replica.", never: "One replica serves"},
		"more than the highest": {capacities: []float64{1e9}, fault: "with 1 replica: ", out: "still meet the SLO: say a higher --from", never: "a close look takes"},
		"less than the first":   {capacities: []float64{5}, fault: "with 1 replica: 10 requests/s already miss the SLO: say a lower --from, or a longer --latency", out: "Known is: less than 10 requests/s with 1 replica.", never: "a close look takes"},
		"late at the first": {capacities: []float64{5}, late: 1, never: "--latency", out: "Known is: less than 10 requests/s with 1 replica.",
			fault: "with 1 replica: 10 requests/s miss the SLO, but the load generator may be why (requests were sent late): calibrate again on an idle machine or with a longer --step, or say a lower --from"},
	} {
		t.Run(name, func(t *testing.T) {
			scenario := filepath.Join(t.TempDir(), "web.yaml")
			if err := os.WriteFile(scenario, []byte(`{apiVersion: hpabench.dev/v1alpha1, kind: Scenario, metadata: {name: web}, spec: {
				workload: {deployment: {image: registry.k8s.io/hpa-example, port: 80, resources: {requests: {cpu: 200m}}}},
				autoscaler: {cpuPercent: 50, min: 1, max: 5}, load: {phases: [{name: on, duration: 1m, rate: 10}]}}}`), 0o644); err != nil {
				t.Fatal(err)
			}
			file, err := readScenario(scenario)
			if err != nil {
				t.Fatal(err)
			}
			ctx, interrupt := context.WithCancelCause(t.Context())
			defer interrupt(nil)
			sweeps := 0
			measure := func(_ int, s runner.Sweep) (*analysis.Result, string, error) {
				if strings.HasPrefix(s.Name, "steady") {
					if c.interrupted {
						interrupt(runner.ErrInterrupted)
					}
					if c.holds == 0 || c.steady != nil && s.Name == "steady-2" {
						return nil, filepath.Join(filepath.Dir(scenario), "none"), c.steady
					}
					c.capacities, sweeps = []float64{c.holds}, 0
				}
				r := &analysis.Result{Cluster: &record.Cluster{Assumed: []string{"a request takes 1ms."}}}
				for _, rate := range s.Rates {
					p := analysis.PhaseLoad{Offered: uint64(rate * s.Step.Seconds()), Latency: analysis.Quantiles{P99: new(0.1)}, ErrorShare: new(0.0)}
					if rate > c.capacities[min(sweeps, len(c.capacities)-1)] {
						p.Latency.P99 = new(2.0)
						if c.answered > 0 {
							p.AchievedRate = &c.answered
						}
						if c.cut && strings.HasPrefix(s.Name, "steady") {
							p.Latency.P99, p.Cut = nil, true
						}
						if sweeps+1 == c.late || c.doubtful && strings.HasPrefix(s.Name, "steady") {
							p.Doubt, p.LateMax = "requests were sent late", 2
						}
					}
					r.Load.Phases = append(r.Load.Phases, p)
				}
				if sweeps++; sweeps == c.stops {
					last := slices.IndexFunc(s.Rates, func(rate float64) bool { return rate > 38 })
					r.Load.Phases = r.Load.Phases[:last+1]
					r.Load.Phases[last].Cut = true
					return r, "", runner.ErrInterrupted
				}
				return r, "", nil
			}
			var out, said bytes.Buffer
			a := &app{stdout: &out, stderr: &said}
			err = a.calibrateBy(ctx, file, &calibrateFlags{latency: 250 * time.Millisecond, percentile: 99, replicas: []int{1}, from: 10, step: 10 * time.Second, printed: "table"}, measure)
			if (err == nil) != (c.fault == "") || err != nil && !strings.HasPrefix(err.Error(), c.fault) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %v, should be %q", err, c.fault)
			}
			printed := strings.Join(strings.Fields(out.String()), " ")
			if (printed == "") != (c.out == "") || !strings.Contains(printed, c.out) {
				t.Errorf("%s\nshould have %q", out.String(), c.out)
			}
			if all := printed + said.String() + errors.Join(err, errors.New("")).Error(); c.never != "" && strings.Contains(all, c.never) {
				t.Errorf("%s\nhas %q", all, c.never)
			}
			if _, err := os.Stat(calibrationFile(file)); (err == nil) != c.stored {
				t.Errorf("stored: %v; should be %v: %s", err, c.stored, said.String())
			}
		})
	}
}

// That a sweep was ended by its load hides no other fault of it.
func TestWithout(t *testing.T) {
	removing := errors.New("removing namespace web: forbidden")
	if err := without(errors.Join(errors.Join(runner.ErrOverloaded, removing), nil), runner.ErrOverloaded); !errors.Is(err, removing) || errors.Is(err, runner.ErrOverloaded) {
		t.Error(err)
	}
	if err := without(errors.Join(runner.ErrOverloaded), runner.ErrOverloaded); err != nil {
		t.Error(err)
	}
}
