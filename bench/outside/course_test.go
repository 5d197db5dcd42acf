package outside

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
)

// change is a number that holds from an instant on, since the first phase's onset.
type change struct {
	at time.Duration
	n  int32
}

// course is what a record shows of a run, simulated or on a cluster. Before the load there is the first
// value of each.
type course struct {
	phases map[string]time.Duration // onsets
	scale  []change                 // spec.replicas
	ready  []change                 // status.readyReplicas
	status []change                 // of the HPA: currentReplicas, with each change of the status
}

func courseOf(entries []record.Entry) course {
	c := course{phases: map[string]time.Duration{}}
	var onset record.Instant
	for _, e := range entries {
		if e.Phase != nil && e.Phase.Edge == "start" {
			if e.Phase.Index == 0 {
				onset = e.At
			}
			c.phases[e.Phase.Name] = e.At.Sub(onset)
		}
	}
	add := func(to *[]change, at record.Instant, n int32) {
		if l := len(*to); l == 0 || (*to)[l-1].n != n {
			*to = append(*to, change{at.Sub(onset), n})
		}
	}
	for _, e := range entries {
		if e.Target != nil && !e.Target.Deleted {
			add(&c.scale, e.At, e.Target.Replicas)
			if e.Target.Ready != nil {
				add(&c.ready, e.At, *e.Target.Ready)
			}
		}
		if e.Autoscaler != nil && !e.Autoscaler.Deleted {
			add(&c.status, e.At, e.Autoscaler.Status.CurrentReplicas)
		}
	}
	return c
}

// at is the value at an instant.
func at(changes []change, t time.Duration) (n int32) {
	for _, c := range changes {
		if c.at <= t {
			n = c.n
		}
	}
	return n
}

// steps are the changes of the scale after the load's begin, and the value before.
func (c course) steps() []change {
	steps := []change{{0, at(c.scale, 0)}}
	for _, s := range c.scale {
		if s.at > 0 {
			steps = append(steps, s)
		}
	}
	return steps
}

// path is 1 → 2 → 3.
func path(steps []change) string {
	var words []string
	for _, s := range steps {
		words = append(words, fmt.Sprint(s.n))
	}
	return strings.Join(words, " → ")
}

// times are the seconds of all steps but the first.
func times(steps []change) string {
	var words []string
	for _, s := range steps[1:] {
		words = append(words, fmt.Sprintf("%.0f", s.at.Seconds()))
	}
	return strings.Join(words, ", ") + " s"
}

// scenario is the run of a file, on a plant with one large node.
func scenario(t *testing.T, file string) *simulate.Run {
	t.Helper()
	f, err := scenarios.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := simulate.FromScenario(f)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = &record.Header{Scenario: f.Metadata.Name, MetricsEvery: 1}
	node := &r.Plant.Nodes[0]
	node.CPU = nodeCPU
	for name, q := range node.Free {
		q.Set(q.Value() * 100)
		node.Free[name] = q
	}
	return r
}

// nodeCPU is beyond what any of the scenarios uses.
const nodeCPU = 400

// simulated are n runs, each from another point of the HPA's period and with other chance. The part for each run
// is independent of that point.
func simulated(t *testing.T, n int, run func(part float64) *simulate.Run) (all []course) {
	t.Helper()
	for i := range n {
		var entries []record.Entry
		_, part := math.Modf(float64(i) * math.Sqrt2)
		made := run(part)
		r := made.Nth(1, i)
		r.Samples = made.Samples
		synctest.Test(t, func(t *testing.T) {
			if _, err := simulate.Simulate(r, func(e record.Entry) { entries = append(entries, e) }); err != nil {
				t.Fatal(err)
			}
		})
		all = append(all, courseOf(entries))
	}
	return all
}
