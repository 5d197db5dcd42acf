package analysis

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hpabench/hpabench/record"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
)

var update = flag.Bool("update", false, "write the records of ../reports/testdata")

func show(list []Stage) []string {
	var rows []string
	for _, s := range list {
		row := s.Name + ": " + figure(s.Latency)
		if s.Includes != nil {
			row += " with " + strings.Join(s.Includes, ", ")
		}
		rows = append(rows, row)
	}
	return rows
}

// equal compares lists of lines.
func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestDemo(t *testing.T) {
	m := demo().finished()
	if *update {
		m.write(t, "../reports/testdata/demo-nginx.jsonl")
	}
	r := m.analyze(t)
	if len(r.Transitions) != 2 {
		t.Fatalf("%d transitions, want 2", len(r.Transitions))
	}
	up, down := r.Transitions[0].ScaleUp, r.Transitions[1].ScaleDown
	var steps, limits []string
	for _, tr := range r.Transitions {
		for _, s := range tr.Steps {
			steps = append(steps, fmt.Sprintf("%d→%d %+.1f %s", s.From, s.To, s.AfterSeconds, s.Event))
			limits = append(limits, strings.TrimSpace(fmt.Sprintf("%s → %d %s", s.Metric, *s.Recommended, s.LimitedBy)))
			if s.Foreign || s.Disagrees != "" {
				t.Errorf("step %+v", s)
			}
		}
	}
	equal(t, "steps", steps, []string{
		"2→4 +14.5 New size: 4; reason: cpu resource utilization (percentage of request) above target",
		"4→5 +29.5 New size: 5; reason: cpu resource utilization (percentage of request) above target",
		"5→4 +209.7 New size: 4; reason: All metrics below target",
		"4→2 +299.7 New size: 2; reason: All metrics below target",
	})
	equal(t, "limits", limits, []string{"cpu 36 % of 20 % → 4", "cpu 52 % of 20 % → 8 max", "cpu 0 % of 20 % → 0 stabilization", "cpu 0 % of 20 % → 0 stabilization"})
	equal(t, "scale-up of the first pod", show(up.First.Stages), []string{
		"metrics lag: 12.200 ±1.0", "decision: 2.300 ±1.0", "create: 0.050 ±0.1", "schedule: 0.050 ±0.1",
		"pull + init: 0.900 ±0.1", "start: 0.300 ±0.1", "ready: 1.000 ±0.1", "in service: 0.200 ±0.1",
	})
	equal(t, "pods", []string{up.First.Pod, up.Median.Pod, up.Slowest.Pod},
		[]string{"demo-nginx-6d-ccccc", "demo-nginx-6d-ddddd", "demo-nginx-6d-eeeee"})
	if got := show(up.Slowest.Stages)[1]; got != "decision: 17.300 ±1.0" { // 29.5 − 12.2: the step that made it
		t.Errorf("the slowest pod's decision is %q", got)
	}
	equal(t, "latencies", []string{
		figure(up.Latency), figure(up.TimeToFull), figure(down.Latency), figure(down.HeldByWindow), figure(down.LessWindow), figure(down.Settle),
	}, []string{
		"17.000 ±0.1", "32.000 ±0.1",
		"209.700 ±0.1", // 359.7 − 150
		// Five were last recommended at 59.7, four since before the onset: the
		// window of 300 s explains all of 150 … 359.7.
		"209.700 ±0.1", "0.000 ±0.1",
		"301.400 ±0.1", // the last pod was gone at 451.4
	})
	if down.Higher.AtSeconds == nil || *down.Higher.AtSeconds != surge+59.7 {
		t.Errorf("five were last recommended at %v, want %v", down.Higher, surge+59.7)
	}
	equal(t, "scale-down", show(down.First.Stages), []string{
		"metrics lag: the metric asked for fewer replicas already when the load changed", "stabilization: 209.700 ±0.1 with metrics lag", "decision: 0.000 ±0.1",
		"terminating: 0.100 ±0.1", "out of service: 0.100 ±0.1", "exit: 0.300 ±0.1", "gone: 0.800 ±0.1",
	})
	equal(t, "scale-down of the slowest pod", append(show(down.Slowest.Stages)[1:3:3], down.Slowest.Pod, figure(down.Slowest.Latency), down.Slowest.Ended), []string{
		"stabilization: 299.700 ±0.1 with metrics lag", "decision: 0.000 ±0.1", "demo-nginx-6d-ddddd", "301.400 ±0.1", "exit code 0",
	})
	reach := r.Reach
	if *reach.Peak != 5 || *reach.Last != 2 || *reach.Fraction != 1 || *reach.DesiredPeak != 5 || *reach.FirstAtMax.AtSeconds != surge+31.8 {
		t.Errorf("reach %+v", reach)
	}
	// Five were ready from 31.8 to 359.8, of 640 s.
	if want := 328.0 / 640; math.Abs(*reach.Saturated-want) > 1e-9 {
		t.Errorf("saturated %v, want %v", *reach.Saturated, want)
	}
	load := r.Load.Phases[1]
	if load.Answered != 15000 || *load.AchievedRate != 100 || *load.ErrorShare != 0 || math.Abs(*load.Latency.P50-0.0149) > 0.0002 {
		t.Errorf("load %+v", load)
	}
	if len(r.Timeline) != 640 || r.Timeline[0].Second != 10 {
		t.Fatalf("timeline of %d s from %d", len(r.Timeline), r.Timeline[0].Second)
	}
	s := r.Timeline[60] // 70 … 71, which is 30 … 31 after the surge
	if s.Phase != "surge" || s.Answered != 100 || *s.Spec != 5 || *s.Desired != 5 || *s.Pods != 5 || *s.Ready != 4 || *s.InService != 4 ||
		math.Abs(*s.CPUCores-0.104) > 1e-9 || *s.HPAPercent != 52 {
		t.Errorf("second 70: %+v", s)
	}
	if r.Warnings != nil {
		t.Errorf("warnings of a clean run: %q", r.Warnings)
	}
	for _, name := range []string{"scaleUp.inService", "scaleUp.timeToFull", "scaleDown.latency", "scaleDown.settle", "replicas.peak", "replicas.last", "hpa.min", "hpa.max"} {
		if !slices.ContainsFunc(r.Figures(), func(f Figure) bool { return f.Name == name && f.Value != nil }) {
			t.Errorf("there is no figure %s", name)
		}
	}
}

// What the HPA would count leaves out the CPU of pods that are not ready for a
// whole window, so the sample at 27.2 is that of the two old pods alone.
func TestUtilization(t *testing.T) {
	r := demo().finished().analyze(t)
	at := func(second float64) float64 { return *r.Timeline[int(second)-10].CPUPercent }
	for second, want := range map[float64]float64{surge + 13: 36, surge + 28: 52, surge + 73: 16, surge + 163: 6} {
		if got := at(second); math.Abs(got-want) > 1e-9 {
			t.Errorf("second %v: %v %%, want %v", second, got, want)
		}
	}
}

// The pods' watch was away from 55.5 to 57.5: what came at 56.8 (Ready) was seen
// at 57.5 and may have happened 2 s earlier.
func TestGapOverReady(t *testing.T) {
	m := demo()
	ready := 0
	for i := range m.entries {
		e := &m.entries[i]
		if e.Pod != nil && e.Pod.Name == "demo-nginx-6d-ccccc" && e.At > record.Instant((surge+15.5)*1e9) && e.At < record.Instant((surge+17.5)*1e9) {
			e.At = record.Instant((surge + 17.5) * 1e9)
			ready++
		}
	}
	if ready != 2 {
		t.Fatalf("moved %d entries, want those of started and ready", ready)
	}
	m.gap("pods", surge+15.5, surge+17.5)
	m.finished()
	r := m.analyze(t)
	up := r.Transitions[0].ScaleUp
	// The EndpointSlice was watched all the time: in service at 17.0 stays, and
	// bounds what the gap hides.
	equal(t, "stages", append(show(up.First.Stages)[4:], figure(up.Latency)), []string{
		"pull + init: 0.900 ±0.1", "start: 1.500 ±2.0", "ready: 0.000 ±2.0", "in service: 0.000 ±2.0", "17.000 ±0.1",
	})
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "pods could not be watched from 55.5 to 57.5 s") {
		t.Errorf("warnings %q", r.Warnings)
	}

	// A relist that never shows the pod Ready leaves the stage out, and says why.
	m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool {
		return e.Pod != nil && e.Pod.Name == "demo-nginx-6d-ccccc" && e.At == record.Instant((surge+17.5)*1e9)
	})
	m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool { // as if it were gone before
		return e.Pod != nil && e.Pod.Name == "demo-nginx-6d-ccccc" && e.At > record.Instant((surge+100)*1e9)
	})
	gap := "the watch on pods had a gap from 55.5 to 57.5 s"
	equal(t, "stages", show(m.analyze(t).Transitions[0].ScaleUp.First.Stages)[4:], []string{
		"pull + init: 0.900 ±0.1",
		"start: not observed: " + gap,
		"ready: not observed: " + gap,
		"in service: 1.500 ±0.1 with start, ready",
	})
}

// quiet is a run of 30 s idle and 60 s of rate in which the target stays at n.
func quiet(n int32) *made {
	m := newMade(record.Phase{Name: "idle", Shape: record.ShapeIdle}, record.Phase{Name: "load", Shape: record.ShapeRate, From: 20})
	m.target(1, n)
	m.hpa(2, n, n, 0)
	m.pod(life{name: "a", before: true, created: 3})
	m.phase(0, "idle", 10, 40)
	m.phase(1, "load", 40, 100)
	return m
}

func TestNoScaleUp(t *testing.T) {
	m := quiet(2)
	m.pod(life{name: "b", before: true, created: 3})
	m.metrics(50, 0.03, "a", "b") // 60 %
	m.hpa(55, 2, 2, 60)
	m.metrics(81, 0.03, "a", "b")
	m.end(101)
	r := m.analyze(t)
	up := r.Transitions[0].ScaleUp
	no := "no scale-up happened: spec.replicas did not rise from 2 before the load phases ended at 100.0 s"
	equal(t, "latencies", []string{figure(up.Latency), figure(up.TimeToFull)}, []string{no, no})
	if len(r.Findings) != 1 || r.Findings[0].Kind != FoundNotScaled || *r.Findings[0].SinceSeconds != 50 {
		t.Errorf("findings %+v", r.Findings)
	}
	for _, f := range r.Figures() {
		if (f.Value == nil) == (f.Missing == "") {
			t.Errorf("%s has value %v and reason %q; want exactly one of them", f.Name, f.Value, f.Missing)
		}
	}
	m = quiet(5)
	m.end(101)
	if got := figure(m.analyze(t).Transitions[0].ScaleUp.Latency); got != "no scale-up happened: spec.replicas was at the maximum of 5 already" {
		t.Errorf("at the maximum: %q", got)
	}
}

// A load of less than the metrics' lag is answered after its end: the replicas that it brings are not the minimum.
func TestScaleUpAfterTheLoad(t *testing.T) {
	m := newMade(record.Phase{Name: "burst", Shape: record.ShapeRate, From: 10}, record.Phase{Name: "calm", Shape: record.ShapeRate, From: 1})
	m.target(1, 2)
	m.hpa(2, 2, 2, 10)
	m.phase(0, "burst", 10, 20)
	m.phase(1, "calm", 20, 100)
	m.target(30, 4)
	m.hpa(30.01, 2, 4, 40)
	m.end(101)
	if got := figure(m.analyze(t).LastDown().ScaleDown.Latency); got != "no scale-down happened: spec.replicas did not fall from 4 before the load phases ended at 100.0 s; the HPA recommended 4, at cpu 40 % of 20 %" {
		t.Errorf("scale-down: %q", got)
	}
}

// A pod that was gone before its containers were seen to end.
func TestGoneWithoutExit(t *testing.T) {
	m := demo(demoPhases()...).finished()
	m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool {
		return e.Pod != nil && !e.Pod.Gone && len(e.Pod.Status.ContainerStatuses) > 0 && e.Pod.Status.ContainerStatuses[0].State.Terminated != nil
	})
	for i, e := range m.entries {
		if e.Pod != nil && e.Pod.Gone {
			gone := *e.Pod
			gone.Status.ContainerStatuses = nil
			m.entries[i].Pod = &gone
		}
	}
	first := m.analyze(t).LastDown().ScaleDown.First
	equal(t, "the stages", show(first.Stages)[5:], []string{"exit: not seen before pod demo-nginx-6d-eeeee was gone at 401.0 s", "gone: 1.100 ±0.1 with exit"})
}

// One phase whose load rises and falls, as a sine's does, ends where it began:
// there is no plateau to reach.
func TestRiseAndFallInOnePhase(t *testing.T) {
	m := demo(demoPhases()[:2]...).finished()
	m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool {
		return e.Phase != nil && (e.Phase.Index == 2 || e.Phase.Index == 1 && e.Phase.Edge == "end")
	})
	m.add(surge+610, record.Entry{Phase: &record.PhaseMark{Index: 1, Name: "surge", Edge: "end"}})
	r := m.analyze(t)
	up := r.Transitions[0].ScaleUp
	equal(t, "latencies", []string{figure(up.Latency), figure(up.TimeToFull)}, []string{"17.000 ±0.1", "supply ended at 2, not above where it began"})
	if got := len(r.Transitions[0].Steps); got != 4 {
		t.Errorf("%d steps of 4", got)
	}
}

// A run that begins with some load has an onset there too; the scale-up that is
// reported is the one in which replicas rose.
func TestFirstUp(t *testing.T) {
	rise, fall := []Step{{From: 1, To: 4}}, []Step{{From: 4, To: 1}}
	r := &Result{Transitions: []Transition{
		{ToPhase: "idle", ToRate: 2, ScaleUp: &ScaleUp{}},
		{ToPhase: "more", FromRate: 2, ToRate: 9, ScaleUp: &ScaleUp{}},
		{ToPhase: "surge", ToRate: 5, ScaleUp: &ScaleUp{}, Steps: rise},
		{ToPhase: "calm", ScaleDown: &ScaleDown{}, Steps: fall},
		{ToPhase: "end", ScaleDown: &ScaleDown{}},
	}}
	equal(t, "with steps", []string{r.FirstUp().ToPhase, r.LastDown().ToPhase}, []string{"surge", "calm"})
	r.Transitions[2].Steps, r.Transitions[3].Steps = nil, nil
	equal(t, "without", []string{r.FirstUp().ToPhase, r.LastDown().ToPhase}, []string{"more", "end"})
	r.Transitions = nil
	if r.FirstUp() != nil || r.LastDown() != nil {
		t.Error("a result without transitions has one")
	}
}

// A run cut short at 55 s, after the decision: what is known stays, the rest
// tells how far the run went.
func TestInterrupted(t *testing.T) {
	m := interrupted()
	if *update {
		m.write(t, "../reports/testdata/interrupted.jsonl")
	}
	r := m.analyze(t)
	up := r.Transitions[0].ScaleUp
	equal(t, "figures", append(show(up.First.Stages)[1:4:4], figure(up.Latency), figure(up.TimeToFull)), []string{
		"decision: 2.300 ±1.0", "create: 0.050 ±0.1", "schedule: 0.050 ±0.1",
		"pod demo-nginx-6d-ccccc, in service: not seen before the load was cut short at 55.0 s",
		"only 2 of 4 replicas were in service when the load was cut short at 55.0 s",
	})
	if r.EndSeconds != surge+15 || r.Outcome != record.Interrupted || len(r.Transitions) != 1 || r.Load.Phases[2].Seconds != nil || r.Load.Phases[2].AchievedRate != nil {
		t.Errorf("end %v, outcome %s, %d transitions, calm %+v", r.EndSeconds, r.Outcome, len(r.Transitions), r.Load.Phases[2])
	}
	if len(r.Warnings) < 2 || !strings.Contains(r.Warnings[0], "was interrupted") || !strings.Contains(r.Warnings[1], "left Namespace hpabench-x") {
		t.Errorf("warnings %q", r.Warnings)
	}
}

func TestTruncated(t *testing.T) {
	m := demo()
	m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool { return e.At > record.Instant((surge+100)*1e9) })
	m.add(surge+100, record.Entry{Load: &record.LoadSecond{Phase: 1, Second: int(surge + 99), Sent: 1000, Unknown: 1000}}) // as reading adds those that were under way
	r := m.analyze(t)
	if r.Load.Phases[1].Doubt != "" {
		t.Errorf("the load is in doubt: %s", r.Load.Phases[1].Doubt)
	}
	if !r.Truncated || r.EndSeconds != surge+100 || !r.Load.Phases[1].Cut || math.Abs(*r.Load.Phases[1].AchievedRate-100) > 0.1 {
		t.Errorf("truncated %v, end %v, surge %+v", r.Truncated, r.EndSeconds, r.Load.Phases[1])
	}
	if got := figure(r.Transitions[0].ScaleUp.Latency); got != "17.000 ±0.1" {
		t.Errorf("scale-up %s", got)
	}
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "The record has no end") {
		t.Errorf("warnings %q", r.Warnings)
	}
}

func TestTransitions(t *testing.T) {
	phase := func(name, shape string, from, to float64) record.Phase {
		return record.Phase{Name: name, Shape: shape, From: from, To: to}
	}
	for name, c := range map[string]struct {
		phases []record.Phase
		want   []string
	}{
		"steps": {
			[]record.Phase{phase("a", "idle", 0, 0), phase("b", "rate", 10, 0), phase("c", "rate", 10, 0), phase("d", "rate", 30, 0), phase("e", "rate", 5, 0)},
			[]string{"up b 0→10 at 20 to 40", "up d 10→30 at 40 to 50", "down e 30→5 at 50 to 60"},
		},
		"ramp": {
			[]record.Phase{phase("a", "idle", 0, 0), phase("up", "ramp", 0, 50), phase("hold", "rate", 50, 0), phase("down", "ramp", 50, 1), phase("z", "idle", 0, 0)},
			[]string{"up up 0→50 at 20 to 40", "down down 50→1 at 40 to 50", "down z 1→0 at 50 to 60"},
		},
		"leap up, ramp down": {
			[]record.Phase{phase("a", "rate", 1, 0), phase("b", "ramp", 33, 15), phase("c", "rate", 15, 0), phase("d", "ramp", 30, 0), phase("z", "idle", 0, 0)},
			[]string{"up a 0→1 at 10 to 20", "up b 1→33 at 20 to 40", "down b 33→15 at 20 to 40", "up d 15→30 at 40 to 60", "down d 30→0 at 40 to 60"},
		},
		"leap down, ramp up":   {[]record.Phase{phase("a", "ramp", 0, 50), phase("b", "ramp", 0, 50)}, []string{"up a 0→50 at 10 to 20", "down b 50→0 at 20 to 30", "up b 0→50 at 20 to 30"}},
		"from a falling ramp":  {[]record.Phase{phase("a", "ramp", 5, 2)}, []string{"up a 0→5 at 10 to 20", "down a 5→2 at 10 to 20"}},
		"leap the ramp's way":  {[]record.Phase{phase("a", "rate", 1, 0), phase("b", "ramp", 10, 30)}, []string{"up a 0→1 at 10 to 20", "up b 1→30 at 20 to 30"}},
		"within the tolerance": {[]record.Phase{phase("a", "rate", 10, 0), phase("b", "ramp", 10.5, 1), phase("c", "ramp", 20, 19)}, []string{"up a 0→10 at 10 to 20", "down b 10.5→1 at 20 to 30", "up c 1→19 at 30 to 40"}},
		"load from the start":  {[]record.Phase{phase("s", "sine", 8, 0)}, []string{"up s 0→8 at 10 to 20"}},
		"the same workers":     {[]record.Phase{{Name: "a", Shape: "workers", Workers: 1}, {Name: "b", Shape: "workers", Workers: 1}, {Name: "c", Shape: "workers", Workers: 3}}, []string{"up a 0→2 at 10 to 30", "up c 3→4 at 30 to 40"}},
		"no load":              {[]record.Phase{phase("a", "idle", 0, 0)}, nil},
	} {
		m := newMade(c.phases...)
		for i, p := range c.phases {
			from := 10 * (i + 1)
			m.phase(i, p.Name, float64(from), float64(from+10))
			m.load(i, from, from+10, uint64(i+2), time.Millisecond)
		}
		var got []string
		for _, tr := range m.analyze(t).Transitions {
			got = append(got, fmt.Sprintf("%s %s %g→%g at %g to %g", tr.Direction, tr.ToPhase, tr.FromRate, tr.ToRate, tr.OnsetSeconds, tr.EndSeconds))
		}
		equal(t, name, got, c.want)
	}
}

// A leap has the steps that go its way, up to the first that follows the ramp.
func TestLeap(t *testing.T) {
	phases := demoPhases()
	phases[1] = record.Phase{Name: "surge", Seconds: 150, Shape: record.ShapeRamp, From: 30}
	r := demo(phases...).finished().analyze(t)
	var got []string
	for _, tr := range r.Transitions {
		row := fmt.Sprintf("%s %g→%g at %g to %g:", tr.Direction, tr.FromRate, tr.ToRate, tr.OnsetSeconds, tr.EndSeconds)
		for _, s := range tr.Steps {
			row += fmt.Sprintf(" %d→%d %+.1f", s.From, s.To, s.AfterSeconds)
		}
		got = append(got, row)
	}
	equal(t, "transitions", got, []string{"up 0→30 at 40 to 399.7: 2→4 +14.5 4→5 +29.5", "down 30→0 at 40 to 650: 5→4 +359.7 4→2 +449.7"})
	up, down := r.FirstUp().ScaleUp, r.LastDown().ScaleDown
	equal(t, "figures", []string{figure(up.Latency), figure(up.TimeToFull), figure(down.Latency), figure(down.Settle)}, []string{"17.000 ±0.1", "32.000 ±0.1", "359.700 ±0.1", "451.400 ±0.1"})
}

func TestNeverReady(t *testing.T) {
	m := quiet(2)
	m.target(50, 3)
	m.hpa(50.01, 2, 3, 30)
	m.pod(life{name: "b", created: 50.1, scheduled: 50.2})
	m.end(101)
	r := m.analyze(t)
	up := r.Transitions[0].ScaleUp
	equal(t, "figures", []string{figure(up.Latency), figure(up.TimeToFull), strings.Join(up.NeverServed, " ")}, []string{
		"pod b, ready: not seen before the load phases ended at 100.0 s",
		"only 1 of 3 replicas were ready when the load phases ended at 100.0 s", "b",
	})
	if len(r.Findings) != 1 || r.Findings[0].Kind != FoundNotReady || r.Findings[0].Object != "pod/b" ||
		r.Findings[0].Seen != "It was not ready for 50 s: container nginx waits: ContainerCreating." {
		t.Errorf("findings %+v", r.Findings)
	}
}

func TestNoService(t *testing.T) {
	m := quiet(1)
	m.target(50, 2)
	m.pod(life{name: "b", created: 50.1, scheduled: 50.2, started: 52, ready: 53})
	m.end(101)
	up := m.analyze(t).Transitions[0].ScaleUp
	equal(t, "figures", append(show(up.First.Stages)[4:], figure(up.Latency), figure(up.TimeToFull)), []string{
		"pull + init: 1.800 ±0.1", "start: 0.000 ±0.1", "ready: 1.000 ±0.1", "in service: no Service in front of the target was watched",
		"13.000 ±0.1", "13.000 ±0.1",
	})
	// No PodMetrics: the lag is that of the HPA's status, which stays at 0 %.
	if got := up.First.Stages[0].Missing; got != "an HPA status with a metric beyond the tolerance was not seen before the load phases ended at 100.0 s" {
		t.Errorf("metrics lag: %q", got)
	}
}

// Requests are not in the record: the HPA's status stands in, as precise as its
// sync.
func TestMetricFromStatus(t *testing.T) {
	m := quiet(1)
	m.hpa(52, 1, 2, 90)
	m.target(51.99, 2)
	m.metrics(45, 0.1, "a")
	m.end(101)
	for i := range m.entries {
		if p := m.entries[i].Pod; p != nil {
			p.Containers = nil
		}
	}
	m.pod(life{name: "b", created: 52.1, scheduled: 52.2, started: 54, ready: 55})
	// The status comes after the scale, so the lag ends with the decision.
	equal(t, "stages", show(m.analyze(t).Transitions[0].ScaleUp.First.Stages)[:2], []string{"metrics lag: 11.990 ±15.0", "decision: 0.000 ±15.0"})
}

// The window of 300 s as the controller's flag has it, or as the spec names it.
func TestHeldByWindow(t *testing.T) {
	for name, c := range map[string]struct {
		statuses       [][4]float64 // when, current, desired, percent
		decision       float64
		held, less, no string
	}{
		"window from before the onset": {[][4]float64{{90, 4, 4, 20}, {105, 4, 4, 0}}, 390, "285.000 ±15.0", "5.000 ±15.0", ""},
		"HPA late after the window":    {[][4]float64{{90, 4, 4, 20}, {105, 4, 4, 0}}, 420, "285.000 ±15.0", "35.000 ±15.0", ""},
		"no metrics in the status":     {[][4]float64{{90, 4, 4, -1}}, 390, "", "", "no status of the HPA with its metrics was seen before the decision"},
		"seen too late":                {[][4]float64{{105, 4, 4, 0}}, 390, "", "", "the HPA's status was first seen less than its window of 300 s before the decision"},
		"status unchanged for long":    {[][4]float64{{60, 4, 4, 20}, {105, 4, 4, 0}}, 390, "285.000 ±30.0", "5.000 ±30.0", ""},
	} {
		m := newMade(record.Phase{Name: "load", Shape: record.ShapeRate, From: 20}, record.Phase{Name: "calm", Shape: record.ShapeIdle})
		m.target(1, 4)
		for _, s := range c.statuses {
			m.hpa(s[0], int32(s[1]), int32(s[2]), int32(s[3]))
		}
		m.pod(life{name: "a", before: true, created: 3})
		m.phase(0, "load", 40, 100)
		m.phase(1, "calm", 100, 500)
		m.target(c.decision, 2)
		m.end(501)
		down := m.analyze(t).Transitions[1].ScaleDown
		want := []string{c.held, c.less}
		if c.no != "" {
			want = []string{c.no, c.no}
		}
		equal(t, name, []string{figure(down.HeldByWindow), figure(down.LessWindow)}, want)
	}
}

// 17 % of 20 % is below the tolerance, and 4 × 17/20 = 3.4 pods are 4 still: the metrics lag lasts until fewer are asked for.
func TestFewerIsWhatRoundsDown(t *testing.T) {
	m := newMade(record.Phase{Name: "load", Shape: record.ShapeRate, From: 20}, record.Phase{Name: "calm", Shape: record.ShapeIdle})
	m.target(1, 4)
	for _, p := range []string{"a", "b", "c", "d"} {
		m.pod(life{name: p, before: true, created: 3})
	}
	for _, s := range []struct{ t, cpu float64 }{{50, 0.0085}, {77.2, 0.0085}, {107.2, 0.001}} {
		m.metrics(s.t, s.cpu, "a", "b", "c", "d")
	}
	m.phase(0, "load", 40, 100)
	m.phase(1, "calm", 100, 500)
	m.hpa(90, 4, 4, 17)
	m.hpa(120, 4, 4, 2)
	m.target(405.1, 2)
	m.end(501)
	down := m.analyze(t).Transitions[1].ScaleDown
	equal(t, "stages", append(show(down.First.Stages)[:3], figure(down.HeldByWindow)), []string{
		"metrics lag: 7.200 ±1.0", "stabilization: 297.800 ±15.0", "decision: 0.100 ±15.0", "297.800 ±15.0"})
}

// The embedded cluster tells the flags of its controller manager, which then hold
// in place of the defaults.
func TestFlagsOfTheEmbeddedCluster(t *testing.T) {
	m := newMade(record.Phase{Name: "load", Shape: record.ShapeRate, From: 20}, record.Phase{Name: "calm", Shape: record.ShapeIdle})
	set := record.DefaultControllers()
	set.Sync.Duration, set.DownscaleStabilization.Duration, set.Tolerance = 5*time.Second, time.Minute, 0.2
	m.add(0, record.Entry{Cluster: &record.Cluster{Lab: &record.Lab{Timing: record.FastTiming}, Controllers: &set}})
	m.target(1, 4)
	m.hpa(90, 4, 4, 20)
	m.hpa(105, 4, 4, 0)
	m.pod(life{name: "a", before: true, created: 3})
	m.phase(0, "load", 40, 100)
	m.phase(1, "calm", 100, 500)
	m.target(170, 2) // 80 s after the HPA last recommended more
	m.end(501)
	r := m.analyze(t)
	if a := r.Autoscaler; a.ScaleUpTolerance != 0.2 || a.ScaleDownTolerance != 0.2 || a.ScaleDownWindowSeconds != 60 || a.Assumed != nil {
		t.Errorf("the HPA's policy: %+v", a)
	}
	down := r.Transitions[1].ScaleDown
	equal(t, "scale-down", []string{figure(down.HeldByWindow), figure(down.LessWindow)}, []string{"55.000 ±5.0", "15.000 ±5.0"})
}

func TestRecommendation(t *testing.T) {
	s := spec(&autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{
		Tolerance: new(resource.MustParse("0.5")), StabilizationWindowSeconds: new(int32(60)),
	}})
	p := policyOf(s, flags{Controllers: record.DefaultControllers()})
	if p.window != time.Minute || p.down != 0.5 || p.up != 0.1 || len(p.assumed) != 1 {
		t.Errorf("policy %+v", p)
	}
	for _, c := range []struct{ current, percent, want int32 }{
		{2, 36, 4}, {4, 24, 5}, {3, 22, 3}, {3, 23, 4}, {5, 10, 5}, {5, 9, 3}, {5, 0, 2}, {4, 400, 5},
	} {
		a := record.Autoscaler{Spec: s}
		a.Status.CurrentReplicas = c.current
		a.Status.CurrentMetrics = []autoscalingv2.MetricStatus{{Resource: &autoscalingv2.ResourceMetricStatus{
			Name: "cpu", Current: autoscalingv2.MetricValueStatus{AverageUtilization: &c.percent}}}}
		d := decide(&a, 0, nil, p, flags{Controllers: record.DefaultControllers()})
		if len(d.replicas) != 1 || min(max(d.replicas[0], p.min), p.max) != c.want {
			t.Errorf("%d replicas at %d %%: %v, want %d", c.current, c.percent, d.replicas, c.want)
		}
	}
}

// Whatever is seen, and in whatever order, stages are not negative and sum up to
// the last end that was seen.
func TestStagesSum(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		onset := record.Instant(random.IntN(1000)) * record.Instant(time.Millisecond)
		var ends []boundary
		for _, name := range []string{StageMetrics, StageDecision, StageCreate, StageSchedule, StagePull, StageStart, StageReady, StageInService} {
			s := sight{t: onset + record.Instant(random.IntN(30_000_000))*1000, seen: random.IntN(4) > 0}
			ends = append(ends, boundary{stage: name, sight: s, missing: "not seen"})
		}
		var want, sum float64
		for _, e := range ends {
			if e.seen {
				want = e.t.Sub(onset).Seconds()
			}
		}
		for _, s := range stages(onset, ends) {
			if (s.Seconds == nil) == (s.Missing == "") {
				t.Fatalf("stage %+v has neither or both of a value and a reason", s)
			}
			if s.Seconds != nil {
				if *s.Seconds < 0 {
					t.Fatalf("stage %s is %v s", s.Name, *s.Seconds)
				}
				sum += *s.Seconds
			}
		}
		if math.Abs(sum-want) > 1e-7 {
			t.Fatalf("the stages sum up to %v, want %v", sum, want)
		}
	}
}

// FuzzAnalyze drops entries from the demo's record: whatever is left, there is a
// result, each figure has either a value or a reason, and it makes JSON.
func FuzzAnalyze(f *testing.F) {
	full := demo().finished().run(f)
	latency := record.NewHistogram() // one bucket, which is soon read
	_ = latency.RecordValues(10_000, 100)
	encoded, err := record.EncodeHistogram(latency)
	if err != nil {
		f.Fatal(err)
	}
	full.Entries = slices.DeleteFunc(full.Entries, func(e record.Entry) bool {
		if e.Load != nil {
			e.Load.Latency = encoded
		}
		return e.Load != nil && e.Load.Second%5 > 0 // 120 of 225 entries
	})
	debug.SetGCPercent(-1) // a result has 0.5 MB, which soon is garbage
	debug.SetMemoryLimit(256 << 20)
	for seed := range uint64(60) {
		f.Add(seed, uint8(seed*4))
	}
	f.Fuzz(func(t *testing.T, seed uint64, share uint8) {
		random := rand.New(rand.NewPCG(seed, 0))
		run := record.Run{Entries: full.Entries[:1:1]}
		for _, e := range full.Entries[1:] {
			if random.IntN(256) >= int(share) {
				run.Entries = append(run.Entries, e)
			}
		}
		r, err := Analyze(run)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Figures() {
			if (f.Value == nil) == (f.Missing == "") || f.Value != nil && (math.IsNaN(*f.Value) || math.IsInf(*f.Value, 0)) {
				t.Errorf("%s has value %v and reason %q", f.Name, f.Value, f.Missing)
			}
		}
		// All rows together would take half of the time.
		r.Timeline = r.Timeline[random.IntN(len(r.Timeline)+1):]
		r.Timeline = r.Timeline[:min(10, len(r.Timeline))]
		if _, err := json.Marshal(r); err != nil {
			t.Error(err)
		}
	})
}

// The utilization is the HPA's own, to the percent: at these instants of a run
// recorded on a real cluster the HPA's status said so, a sync after the sample.
func TestUtilizationAgreesWithTheHPA(t *testing.T) {
	r := analyzed(t, "../reports/testdata/recorded-demo-nginx.jsonl")
	for second, want := range map[int]float64{74: 111, 224: 28, 239: 23} {
		if got := math.Floor(*r.Timeline[second-r.Timeline[0].Second].CPUPercent + 1e-9); got != want {
			t.Errorf("second %d: %v %%, the HPA said %v %%", second, got, want)
		}
	}
}

// A watch that goes on where it was shows late what it missed, and hides nothing;
// one that lists anew may.
func TestGapThatWasResumed(t *testing.T) {
	for relisted, want := range map[bool]string{
		false: "no scale-up happened: spec.replicas did not rise from 2 before the load phases ended at 100.0 s; the HPA recommended 2, at cpu 0 % of 20 %",
		true:  "a rise of spec.replicas was not observed: the watch on deployments had a gap from 60.0 to 60.0 s",
	} {
		m := quiet(2)
		m.add(60.001, record.Entry{Gap: &record.Gap{Source: "deployments", From: record.Instant(60e9), To: record.Instant(60.001e9), Relisted: relisted, Cause: "watch expired"}})
		m.end(101)
		if got := figure(m.analyze(t).Transitions[0].ScaleUp.Latency); got != want {
			t.Errorf("relisted %v: %q, want %q", relisted, got, want)
		}
	}
}

// More workers are more demand, even when a server at its limit answers less.
func TestMoreWorkers(t *testing.T) {
	m := newMade(record.Phase{Name: "one", Shape: "workers", Workers: 1, Seconds: 10}, record.Phase{Name: "eight", Shape: "workers", Workers: 8, Seconds: 10})
	m.phase(0, "one", 10, 20)
	m.phase(1, "eight", 20, 30)
	m.load(0, 10, 20, 100, time.Millisecond)
	m.load(1, 20, 30, 99, time.Millisecond)
	r := m.analyze(t)
	if last := r.Transitions[len(r.Transitions)-1]; last.Direction != Up {
		t.Errorf("from 100 to 99/s with more workers is %s", last.Direction)
	}
	if r.Load.Phases[1].OfferedRate != nil {
		t.Error("a closed loop has an offered rate")
	}
}

// Answers that come when the phase is over are answers, and not its rate.
func TestLateAnswers(t *testing.T) {
	m := newMade(record.Phase{Name: "rate", Shape: "rate", From: 10, Seconds: 10})
	m.phase(0, "rate", 10, 20)
	m.load(0, 10, 20, 10, time.Millisecond)
	m.load(0, 20, 30, 10, time.Millisecond)
	p := m.analyze(t).Load.Phases[0]
	if p.Answered != 200 || *p.AchievedRate != 10 {
		t.Errorf("%d answers, %v/s; want 200, 10/s", p.Answered, *p.AchievedRate)
	}
}

// Answers that come in a later phase are in that one's rate, and what comes after the load is in none: the rates of the phases make
// that of the total.
func TestAnswersInLaterPhases(t *testing.T) {
	m := newMade(record.Phase{Name: "much", Shape: "rate", From: 20, Seconds: 10}, record.Phase{Name: "calm", Shape: "idle", Seconds: 5}, record.Phase{Name: "some", Shape: "rate", From: 4, Seconds: 5})
	m.phase(0, "much", 10, 20)
	m.phase(1, "calm", 20, 25)
	m.phase(2, "some", 25, 30)
	m.load(0, 10, 27, 10, time.Millisecond)
	m.load(2, 25, 32, 4, time.Millisecond)
	l := m.analyze(t).Load
	var rates []string
	for _, p := range append(l.Phases, l.Total) {
		rates = append(rates, fmt.Sprintf("%s %g", p.Name, *p.AchievedRate))
	}
	equal(t, "answers/s", rates, []string{"much 10", "calm 10", "some 8", "total 9.5"})
}

// What was not sent as planned casts doubt on the phase, on the transitions that it
// is a part of, and on nothing else.
func TestLoadNotAsPlanned(t *testing.T) {
	late := func(share float64, by time.Duration) record.Histogram {
		h := record.NewPodHistogram()
		for i := range 10_000 {
			if float64(i) < share*10_000 {
				_ = h.RecordValue(by.Microseconds())
			} else {
				_ = h.RecordValue(50)
			}
		}
		encoded, err := record.EncodeHistogram(h)
		if err != nil {
			t.Fatal(err)
		}
		return encoded
	}
	for name, c := range map[string]struct {
		second  record.LoadSecond
		doubted bool
	}{
		"as planned":      {record.LoadSecond{}, false},
		"1 in 1000":       {record.LoadSecond{Unsent: 1, Offered: 1, Lateness: late(0.0009, time.Second), LateMax: 1}, false},
		"unsent":          {record.LoadSecond{Unsent: 20, Offered: 20}, true},
		"late by 0.14 s":  {record.LoadSecond{Lateness: late(0.1, 140*time.Millisecond), LateMax: 0.14}, false},
		"late by 0.16 s":  {record.LoadSecond{Lateness: late(0.1, 160*time.Millisecond), LateMax: 0.16}, true},
		"an older record": {record.LoadSecond{LateMax: 0.16}, true},
	} {
		m := newMade(record.Phase{Name: "low", Shape: "rate", From: 10, Seconds: 100}, record.Phase{Name: "high", Shape: "rate", From: 50, Seconds: 100},
			record.Phase{Name: "same", Shape: "rate", From: 50, Seconds: 100}, record.Phase{Name: "calm", Shape: "rate", From: 1, Seconds: 100})
		for i, rate := range []int{10, 50, 50, 1} {
			m.phase(i, []string{"low", "high", "same", "calm"}[i], float64(i)*100, float64(i+1)*100)
			m.load(i, i*100, (i+1)*100, uint64(rate), time.Millisecond)
		}
		c.second.Phase, c.second.Second = 1, 150
		m.add(151, record.Entry{Load: &c.second})
		m.end(401)
		r := m.analyze(t)
		got := map[string]bool{}
		for _, f := range r.Figures() {
			if f.Doubt != "" {
				got[f.Name] = true
			}
		}
		want := map[string]bool{"scaleUp.inService": c.doubted, "transition.1.inService": false, "transition.2.inService": c.doubted, "transition.3.latency": false,
			"load.high.p99": c.doubted, "load.low.p99": false, "load.total.p99": c.doubted, "hpa.max": false}
		for figure, doubted := range want {
			if got[figure] != doubted {
				t.Errorf("%s: doubt on %s: %v, want %v", name, figure, got[figure], doubted)
			}
		}
		if c.doubted != (len(r.Warnings) > 0) || c.doubted != (r.Load.Phases[1].Doubt != "") {
			t.Errorf("%s: warnings %q", name, r.Warnings)
		}
	}
}

func TestSlowConnects(t *testing.T) {
	m := quiet(2)
	m.add(51, record.Entry{Load: &record.LoadSecond{Phase: 1, Second: 50, SlowConnects: 3}})
	m.end(101)
	r := m.analyze(t)
	if r.Load.Total.SlowConnects != 3 || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "3 connections took 0.9 s or longer to open") {
		t.Errorf("%d slow connects, warnings %q", r.Load.Total.SlowConnects, r.Warnings)
	}
	m = quiet(2)
	m.add(51, record.Entry{Subject: &record.Subject{Way: "portForward"}})
	m.add(51, record.Entry{Load: &record.LoadSecond{Phase: 1, Second: 50, SlowConnects: 1}})
	m.add(101, record.Entry{End: &record.End{Outcome: record.Completed, Left: []string{"Namespace hpabench-x"}, Kept: true}}) // which is no warning
	if r = m.analyze(t); len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "1 connection took 0.9 s or longer to open through the API server") || strings.Contains(r.Warnings[0], "use via: portForward") {
		t.Errorf("warnings %q", r.Warnings)
	}
}

// A worker that fell behind is named.
func TestWorkers(t *testing.T) {
	m := quiet(2)
	for worker := range 3 {
		m.add(51, record.Entry{Load: &record.LoadSecond{Worker: worker + 1, Phase: 1, Second: 50, Offered: 100, Unsent: uint64(worker), Sent: uint64(100 - worker), Answered: uint64(100 - worker)}})
	}
	m.end(101)
	r := m.analyze(t)
	if w := r.Load.Workers; len(w) != 3 || w[0].Doubt != "" || w[2].Doubt != "2 of 100 requests (2 %) were never sent" || w[2].Answered != 98 {
		t.Errorf("%+v", w)
	}
	if w := strings.Join(r.Warnings, "\n"); !strings.Contains(w, "Worker 3 of 3 fell behind or ended: 2 of 100") || strings.Contains(w, "Worker 1 ") {
		t.Error(w)
	}
}

// An end that was seen long after those that follow it is not believed.
func TestStageSeenTooLate(t *testing.T) {
	see := func(second float64) sight {
		return sight{t: record.Instant(second * 1e9), blur: WatchDelay, seen: true}
	}
	equal(t, "stages", show(stages(0, []boundary{
		{stage: StageMetrics, sight: see(20)}, {stage: StageDecision, sight: see(10)}, {stage: StageCreate, sight: see(10.2)}, {stage: StageSchedule, sight: see(10.1)},
	})), []string{
		"metrics lag: seen only after the stages that follow it", "decision: 10.000 ±0.1 with metrics lag", "create: 0.100 ±0.1", "schedule: 0.000 ±0.1",
	})
}

// The CPU of a pod ends with it, though no later sample says so, and the share of requests with the last pod.
func TestCPUEndsWithThePod(t *testing.T) {
	m := demo()
	m.entries = slices.DeleteFunc(m.entries, func(e record.Entry) bool { return e.PodMetrics != nil && e.At.Seconds() > surge+170 })
	for _, name := range []string{"demo-nginx-6d-aaaaa", "demo-nginx-6d-bbbbb"} {
		m.pod(life{name: name, before: true, created: surge + 500, terminating: surge + 500, gone: surge + 501})
	}
	rows := m.finished().analyze(t).Timeline
	for second, want := range map[int]float64{355: 0.015, 365: 0.012, 455: 0.006, 505: 0} {
		s := rows[second+int(surge)-10]
		if math.Abs(*s.CPUCores-want) > 1e-9 || (s.CPUPercent != nil) != (want > 0) {
			t.Errorf("%d s after the surge: %g cores, want %g; %v of the requests", second, *s.CPUCores, want, s.CPUPercent)
		}
	}
}

// Replicas that fall below the plateau and rise again have settled when they are back at it.
func TestSettledAfterARise(t *testing.T) {
	m := demo()
	m.target(surge+500, 3)
	m.hpa(surge+500.01, 2, 3, 30)
	m.metrics(surge+500, 0.012, "demo-nginx-6d-aaaaa", "demo-nginx-6d-bbbbb")
	f := life{name: "demo-nginx-6d-fffff", created: surge + 501, scheduled: surge + 501, started: surge + 502, ready: surge + 504, inService: surge + 505}
	m.pod(f)
	m.endpoints(f)
	down := m.finished().analyze(t).LastDown().ScaleDown
	equal(t, "settled", []string{fmt.Sprint(*down.Plateau), figure(down.Settle)}, []string{"3", "355.000 ±0.1"})
}
