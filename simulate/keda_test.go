package simulate

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// A record of a ScaledObject is refused as its scenario is, also where the scenario cannot be read again.
func TestRecordOfScaledObject(t *testing.T) {
	_, err := FromRecord(record.Run{Entries: []record.Entry{
		{Header: &record.Header{Format: record.Format, Source: "spec: {workload: {manifests: [gateway.yaml]}}", Phases: []record.Phase{{Name: "load", Shape: record.ShapeRate, From: 1, Seconds: 60}}}},
		{Subject: &record.Subject{Name: "web", Autoscaler: "keda-hpa-web", ScaledObject: "web"}},
	}})
	if err == nil || !strings.Contains(err.Error(), "ScaledObject web") {
		t.Error(err)
	}
}

// From zero through a gateway: the requests are held and none fails, the first replica comes at a poll after a scrape has seen them, and
// the last goes when the cooldown is over.
func TestFromZeroThroughGateway(t *testing.T) {
	r := library(t, "scale-from-zero")
	r.Header, r.Seed = &record.Header{MetricsEvery: 1}, 3
	entries, score := simulate(t, r)
	if len(score.Decisions) < 3 || score.Missed > 0 {
		t.Fatalf("%.1f of %.0f requests missed, with decisions %v", score.Missed, score.Requests, score.Decisions)
	}
	onset := score.Onset + 15 // the phase none
	first, last := score.Decisions[0], score.Decisions[len(score.Decisions)-1]
	// A scrape is up to 15 s away, and the rate needs it; a poll 5 s more.
	if at := first.At.Seconds() - onset; first.From != 0 || first.To != 1 || at < 0 || at > 21 {
		t.Errorf("the first decision is %v, %.1f s after the onset", first, at)
	}
	// The last scrape that shows a rise is up to 15 s before the load's end or after it, and leaves the minute of the rate 60 s later; the
	// cooldown of 30 s counts from the poll before that.
	if after := last.At.Seconds() - onset - 90; last.To != 0 || after < 70 || after > 110 {
		t.Errorf("the last decision is %v, %.1f s after the load", last, after)
	}
	var active []string
	brought, answered := false, uint64(0)
	for _, e := range entries {
		if e.Load != nil {
			answered += e.Load.Codes["200"]
		}
		if e.ScaledObject != nil {
			active = append(active, string(e.ScaledObject.Condition("Active").Status))
		}
		if e.Target != nil && e.Target.Replicas == 1 && !brought {
			brought = true
			if e.Target.Manager != "keda-operator" {
				t.Errorf("it is brought from zero by %s", e.Target.Manager)
			}
		}
	}
	if answered != 24*90 {
		t.Errorf("%d of %d requests were answered", answered, 24*90)
	}
	if got := strings.Join(active, " "); got != "Unknown False True False" && got != "Unknown False True False False" {
		t.Errorf("the condition Active goes %s", got)
	}
}

// A gateway that holds for less than a start takes answers with 503.
func TestGatewayHoldsForSoLong(t *testing.T) {
	r := library(t, "scale-from-zero")
	r.Front.Hold, r.Header = 2*time.Second, &record.Header{MetricsEvery: 1}
	entries, score := simulate(t, r)
	codes := codesOf(entries, -1)
	if codes["200"]+codes["503"] != 24*90 || math.Abs(float64(codes["503"])-score.Missed) > 1 || codes["503"] < 50 || codes["200"] < 1000 {
		t.Errorf("answered with %v, and %.0f missed", codes, score.Missed)
	}
}

// A gateway gives up the requests that it holds when their clients have: the first pod, which comes later, works on none.
func TestGatewayGivesUp(t *testing.T) {
	r := library(t, "scale-from-zero")
	r.Timeout, r.Phases[1].Seconds, r.Header = time.Second, 4, &record.Header{MetricsEvery: 1}
	r.Pod.Containers[0].ReadinessProbe, r.Plant.Workload.CPU.Mean.Duration = nil, 100*time.Millisecond
	entries, score := simulate(t, r)
	cpu := 0.0
	for _, e := range entries {
		if e.PodMetrics != nil {
			for _, s := range e.PodMetrics.Samples {
				cpu += s.Containers[0].CPU
			}
		}
	}
	if len(score.Decisions) == 0 || math.Abs(score.Missed-24*4) > 1 || cpu > 0.1 {
		t.Errorf("%.1f of %.0f requests missed, the pods used %.2f cores, and the decisions are %v", score.Missed, score.Requests, cpu, score.Decisions)
	}
}

// The messages of a queue are all worked on, by as many workers as its length asks for.
func TestWorkersOfQueue(t *testing.T) {
	r := library(t, "queue-worker")
	r.Header = &record.Header{MetricsEvery: 1}
	entries, score := simulate(t, r)
	most, cpu := int32(0), 0.0
	for _, d := range score.Decisions {
		most = max(most, d.To)
	}
	if n := len(score.Decisions); most < 2 || n == 0 || score.Decisions[n-1].To != 0 || math.Abs(score.Requests-480) > 1e-6 || score.Missed > 0 {
		t.Errorf("%.0f messages, %.0f missed, decisions %v", score.Requests, score.Missed, score.Decisions)
	}
	for _, e := range entries {
		if e.PodMetrics != nil {
			for _, s := range e.PodMetrics.Samples {
				if s.New {
					for _, c := range s.Containers {
						cpu += c.CPU * s.Window
					}
				}
			}
		}
	}
	if cpu < 0.5*480*0.2 || cpu > 1.1*480*0.2 { // the last samples of pods are lost
		t.Errorf("the pods used %.1f s of CPU for 480 messages of 0.2 s", cpu)
	}
}

// What is not known here of KEDA is told.
func TestScaledObjectThatIsNotSimulated(t *testing.T) {
	i := slices.IndexFunc(scenarios.Library(), func(f *scenarios.File) bool { return f.Metadata.Name == "keda-cron-and-cpu" })
	source := string(scenarios.Library()[i].Source)
	if _, err := fromText(t, strings.Replace(source, "      minReplicaCount: 1", "      fallback: {failureThreshold: 3, replicas: 2}\n      minReplicaCount: 1", 1)); err == nil || !strings.Contains(err.Error(), "a fallback is not known here") {
		t.Error(err)
	}
}

// A record says when KEDA polled and when Prometheus scraped the gateway, and a simulation of it with other chance does so then.
func TestRecordTellsWhenKEDAPolls(t *testing.T) {
	all := scenarios.Library()
	f := all[slices.IndexFunc(all, func(f *scenarios.File) bool { return f.Metadata.Name == "scale-from-zero" })]
	var spread []float64
	for seed := range uint64(5) {
		r := library(t, "scale-from-zero")
		r.Header, r.Seed = f.Header(), seed
		r.Header.MetricsEvery = 1
		entries, score := simulate(t, r)
		again, err := FromRecord(record.Run{Entries: entries})
		if err != nil {
			t.Fatal(err)
		}
		if again.Polled == nil || again.SignalsScraped == nil {
			t.Fatalf("polled %v, scraped %v", again.Polled, again.SignalsScraped)
		}
		again.Header, again.Seed = nil, seed+100
		_, replayed := simulate(t, again)
		for i, d := range []Score{score, replayed} {
			if len(d.Decisions) < 3 {
				t.Fatalf("decisions %v", d.Decisions)
			}
			if i == 0 {
				spread = append(spread, d.Decisions[0].At.Seconds()-d.Onset)
			}
		}
		if was, is := score.Decisions[0].At.Seconds()-score.Onset, replayed.Decisions[0].At.Seconds()-replayed.Onset; math.Abs(was-is) > 0.2 {
			t.Errorf("seed %d: KEDA brought the target from zero after %.2f s, in a simulation of the record after %.2f s", seed, was, is)
		}
	}
	if slices.Max(spread)-slices.Min(spread) < 1 {
		t.Errorf("the records have no chance in them: %v", spread)
	}
}
