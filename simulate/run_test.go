package simulate

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/stat"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

// library is a run of a scenario of the library.
func library(t testing.TB, name string) *Run {
	t.Helper()
	for _, f := range scenarios.Library() {
		if f.Metadata.Name == name {
			r, err := FromScenario(f)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
	}
	t.Fatal("there is no scenario " + name)
	return nil
}

func simulate(t *testing.T, r *Run) (entries []record.Entry, score Score) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var err error
		score, err = Simulate(r, func(e record.Entry) { entries = append(entries, e) })
		if err != nil {
			t.Fatal(err)
		}
	})
	return entries, score
}

// fromText is the Run of a scenario.
func fromText(t *testing.T, text string) (*Run, error) {
	t.Helper()
	f, err := scenarios.Parse("s.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return FromScenario(f)
}

// testdata is the text of a file there.
func testdata(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// codesOf counts the answers of a phase, or of all if it is negative.
func codesOf(entries []record.Entry, phase int) map[string]uint64 {
	codes := map[string]uint64{}
	for _, e := range entries {
		if e.Load != nil && (phase < 0 || e.Load.Phase == phase) {
			for code, n := range e.Load.Codes {
				codes[code] += n
			}
		}
	}
	return codes
}

var update = flag.Bool("update", false, "write the timelines anew")

// TestRest follows the HPA after the load until it is at its min, which is after its window and a metric's way; or for as
// long as Rest says.
func TestRest(t *testing.T) {
	for _, c := range []struct {
		window, rest, least, most, pods float64 // of a policy, so many each minute
	}{{120, 600, 120, 170, 0}, {0, 600, 15, 60, 0}, {300, 100, 100, 101, 0}, {300, 0, 0, 1, 0}, {30, 3600, 200, 300, 1}} {
		r := library(t, "spike")
		r.HPA.Behavior.ScaleDown.StabilizationWindowSeconds = new(int32(c.window))
		if r.Phases = r.Phases[:2]; c.pods > 0 {
			r.HPA.Behavior.ScaleDown.Policies = []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: int32(c.pods), PeriodSeconds: 60}}
		}
		_, before := simulate(t, r)
		r.Rest, r.Calm = seconds(c.rest), seconds(c.window+120)
		_, s := simulate(t, r)
		if s.RestSeconds < c.least || s.RestSeconds > c.most || c.rest > 0 && s.RestReplicaSeconds < s.RestSeconds*2 || s.ReplicaSeconds != before.ReplicaSeconds || s.Missed != before.Missed {
			t.Errorf("a window of %g s, for %g s at most: %+v; without the rest %+v", c.window, c.rest, s, before)
		}
	}
}

// TestScoreIsThatOfTheRecord has a run without a record come to what one with a record does, where an overload of kept
// connections goes away by itself.
func TestScoreIsThatOfTheRecord(t *testing.T) {
	r := library(t, "spike")
	r.Plant.Workload.CPU.Mean = metav1.Duration{Duration: 100 * time.Millisecond}
	limit := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m")}
	r.Pod.Containers[0].Resources.Limits = limit
	r.HPA.MinReplicas, r.HPA.MaxReplicas, r.Replicas, r.SLO = new(int32(3)), 4, 3, 500*time.Millisecond
	r.HPA.Metrics[0].Resource.Target.AverageUtilization = new(int32(300))
	r.Phases = []record.Phase{{Name: "p", Seconds: 120, Shape: record.ShapeRate, From: 6, To: 6, KeepAlive: true}, {Name: "q", Seconds: 120, Shape: record.ShapeRate, From: 2, To: 2, KeepAlive: true}}
	for n := range 5 {
		of := r.Nth(1, n)
		_, bare := simulate(t, of)
		of.Header = &record.Header{MetricsEvery: 1, Phases: of.Phases}
		_, recorded := simulate(t, of)
		if a, b := bare.Missed/bare.Requests, recorded.Missed/recorded.Requests; math.Abs(a-b) > 0.01 {
			t.Errorf("run %d: %.1f %% missed without a record, %.1f %% with it", n, a*100, b*100)
		}
	}
}

// The errors of a phase are the share of its answers that the model says, to the nearest whole.
func TestErrorsOfAPhase(t *testing.T) {
	for rate, want := range map[float64]uint64{0.5: 24, 30: 1440, 300: 14400} {
		r := one(rate)
		r.Phases, r.Header, r.Plant.Workload.Fault = []record.Phase{{Seconds: 240, Shape: record.ShapeRate, From: rate, To: rate}}, &record.Header{MetricsEvery: 1}, &model.Fault{Errors: 0.2}
		r.Plant.Workload.CPU.Mean.Duration = time.Millisecond
		entries, _ := simulate(t, r)
		errors := uint64(0)
		for _, e := range entries {
			if e.Load != nil {
				errors += e.Load.Codes["500"]
			}
		}
		if errors != want {
			t.Errorf("%g requests a second: %d errors, want %d", rate, errors, want)
		}
	}
}

// TestTwice makes each run of the library twice, and holds it against its timeline.
func TestTwice(t *testing.T) {
	for _, f := range scenarios.Library() {
		t.Run(f.Metadata.Name, func(t *testing.T) {
			var made [2][]byte
			var last []record.Entry
			for i := range made {
				r := library(t, f.Metadata.Name)
				r.Seed, r.Header = 7, &record.Header{Scenario: f.Metadata.Name, MetricsEvery: 1}
				entries, score := simulate(t, r)
				last = entries
				for _, e := range entries {
					line, err := json.Marshal(e)
					if err != nil {
						t.Fatal(err)
					}
					made[i] = append(append(made[i], line...), '\n')
				}
				s := ""
				for _, d := range score.Decisions {
					s += fmt.Sprintf(" %v %d", d.At.Round(100*time.Millisecond), d.To)
				}
				t.Logf("%.0f requests, %.0f missed, %.0f replica-seconds, onset %v:%s", score.Requests, score.Missed, score.ReplicaSeconds, score.Onset, s)
			}
			if !bytes.Equal(made[0], made[1]) {
				t.Error("two runs with one seed differ")
			}
			got, golden := timeline(library(t, f.Metadata.Name), last), filepath.Join("testdata", f.Metadata.Name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
				t.Errorf("%s (-want +got); -update writes it anew:\n%s", golden, d)
			}
		})
	}
}

// timeline draws a run, a line for each of at most 50 stretches: the load, what the HPA's status
// says of its first metric, and at the end of the stretch a letter for each pod.
func timeline(r *Run, entries []record.Entry) string {
	length := entries[len(entries)-1].At.Seconds()
	step := 5 * math.Ceil(length/50/5)
	var b strings.Builder
	fmt.Fprintf(&b, "# ready, o not ready yet, x terminating; a line for each %g s\n%5s %9s %9s %7s  pods\n", step, "s", "sent/s", "metric", "desired")
	pods := map[string]string{}
	metric, desired, sent, end := "-", int32(0), uint64(0), step
	for i, e := range entries {
		switch {
		case e.Load != nil:
			sent += e.Load.Sent
		case e.Autoscaler != nil:
			desired = e.Autoscaler.Status.DesiredReplicas
			if all := e.Autoscaler.Status.CurrentMetrics; len(all) == 0 || all[0].Resource == nil {
				metric = "-"
			} else if now := all[0].Resource.Current; now.AverageUtilization != nil {
				metric = fmt.Sprint(*now.AverageUtilization, "%")
			} else {
				metric = fmt.Sprint(now.AverageValue.ScaledValue(resource.Mega), "M")
			}
		case e.Pod != nil && e.Pod.Gone:
			delete(pods, e.Pod.UID)
		case e.Pod != nil && e.Pod.Deleting != nil:
			pods[e.Pod.UID] = "x"
		case e.Pod != nil:
			pods[e.Pod.UID] = "o"
			if slices.ContainsFunc(e.Pod.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			}) {
				pods[e.Pod.UID] = "#"
			}
		}
		if i+1 == len(entries) || entries[i+1].At.Seconds() >= end {
			fmt.Fprintf(&b, "%5g %9.3g %9s %7d  %s\n", end, float64(sent)/step, metric, desired, strings.Join(slices.Sorted(maps.Values(pods)), ""))
			sent, end = 0, end+step
		}
	}
	return b.String()
}

// What a record's scenario says of the pods is simulated again; where it cannot be read, the run
// says so, and has what the record itself shows.
func TestScenarioOfARecord(t *testing.T) {
	f, err := scenarios.Read("../scenarios/spike.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := library(t, "spike")
	r.Pod.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 7}}}
	r.Pod.TerminationGracePeriodSeconds = new(int64(44))
	probe := &corev1.Probe{InitialDelaySeconds: 9, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready"}}}
	secret := probe.DeepCopy()
	secret.HTTPGet.HTTPHeaders = []corev1.HTTPHeader{{Name: "Authorization", Value: "hunter2"}}
	r.Pod.Containers[0].ReadinessProbe = secret
	r.Header = f.Header()
	r.Header.MetricsEvery = 1
	entries, _ := simulate(t, r)
	first := entries[slices.IndexFunc(entries, func(e record.Entry) bool { return e.Pod != nil })].Pod
	first.Containers = append([]record.ContainerResources{{Name: "proxy"}}, first.Containers...) // as a watch lists sidecars
	first.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "proxy"}}
	const head = "apiVersion: hpabench.dev/v1alpha1\nkind: Scenario\nmetadata: {name: spike}\nspec:\n  load: {timeout: 3s, phases: [{name: all, duration: 10s, rate: 1}]}\n  workload: "
	for name, test := range map[string]struct {
		source, want string
		timeout      time.Duration
	}{
		"as it was read":    {r.Header.Source, "", r.Timeout},
		"none":              {"", "", 30 * time.Second},
		"no YAML":           {"{", "cannot be read again", 30 * time.Second},
		"of another format": {strings.Replace(r.Header.Source, "v1alpha1", "v9", 1), "cannot be read again", 30 * time.Second},
		"files beside it":   {head + "{manifests: [m.yaml]}\n", "is not in the record", 30 * time.Second},
		"what was there":    {head + "{existing: {kind: Deployment, name: web, namespace: web}}\n", "an existing workload is not known", 3 * time.Second},
	} {
		header := *r.Header
		header.Source = test.source
		again, err := FromRecord(record.Run{Entries: append([]record.Entry{{Header: &header}}, entries[1:]...)})
		if err != nil {
			t.Fatal(name, err)
		}
		if said := again.Ignored; (said == "") != (test.want == "") || !strings.Contains(said, test.want) || strings.Contains(said, "\n") {
			t.Errorf("%s: it says %q, should have %q on a line", name, said, test.want)
		}
		if again.Timeout != test.timeout {
			t.Errorf("%s: the timeout is %s, should be %s", name, again.Timeout, test.timeout)
		}
		p := again.Pod
		if test.source != r.Header.Source && (p.Containers[0].Lifecycle == nil || p.Containers[0].Lifecycle.PreStop.Sleep.Seconds != 7 || *p.TerminationGracePeriodSeconds != 44) {
			t.Errorf("%s: the pods lack the preStop hook that the record shows: %+v", name, p.Containers[0].Lifecycle)
		}
		if test.source != r.Header.Source && !cmp.Equal(p.Containers[0].ReadinessProbe, probe) {
			t.Errorf("%s: the readiness probe that the record shows is %+v", name, p.Containers[0].ReadinessProbe)
		}
	}
}

// What a load without phases comes to is no figure.
func TestRecordWithoutPhases(t *testing.T) {
	if _, err := FromRecord(record.Run{Entries: []record.Entry{{Header: &record.Header{Format: record.Format}}}}); err == nil || err.Error() != "the record has no load phases" {
		t.Errorf("a record without phases: %v", err)
	}
}

// A resource without metrics is refused of a record as of a scenario: its HPA would wait in vain.
func TestRecordOfAnotherResource(t *testing.T) {
	r := library(t, "spike")
	r.Header = &record.Header{MetricsEvery: 1, Phases: r.Phases}
	entries, _ := simulate(t, r)
	for _, e := range entries {
		if e.Autoscaler != nil {
			e.Autoscaler.Spec.Metrics[0].Resource.Name = corev1.ResourceEphemeralStorage
		}
	}
	if _, err := FromRecord(record.Run{Entries: entries}); err == nil || err.Error() != "the HPA goes by ephemeral-storage, and metrics.k8s.io has cpu and memory alone" {
		t.Errorf("the record is taken (%v)", err)
	}
}

// Pods that a record did not have get kept connections too: what it shows of others says nothing of them.
func TestMorePodsThanTheRecordHad(t *testing.T) {
	r := library(t, "spike")
	for i := range r.Phases {
		r.Phases[i].KeepAlive = true
	}
	r.Plant.Workload.Wait = &model.Cost{Mean: metav1.Duration{Duration: time.Second}} // many connections at a time
	r.Header, r.HPA.MinReplicas, r.Replicas = &record.Header{MetricsEvery: 1, Phases: r.Phases}, new(r.HPA.MaxReplicas), r.HPA.MaxReplicas
	entries, _ := simulate(t, r)
	again, err := FromRecord(record.Run{Entries: entries})
	if err != nil || len(again.Used) != int(r.HPA.MaxReplicas) {
		t.Fatalf("the record shows what %d pods used (%v)", len(again.Used), err)
	}
	pods := 2 * r.HPA.MaxReplicas
	again.HPA.MinReplicas, again.HPA.MaxReplicas, again.Replicas = &pods, pods, pods
	again.Header, again.Plant.Workload.Wait = r.Header, r.Plant.Workload.Wait
	entries, _ = simulate(t, again)
	busy := map[string]bool{}
	for _, e := range entries {
		if e.PodMetrics != nil {
			for _, s := range e.PodMetrics.Samples {
				if s.Containers[0].CPU > 0.003 { // more than idle
					busy[s.Pod] = true
				}
			}
		}
	}
	if len(busy) <= len(again.Used) {
		t.Errorf("%d of %d pods get requests, as many as the record had", len(busy), pods)
	}
}

// One connection that is enough for all requests is to one pod at a time, though in the record's windows two pods
// served as many.
func TestPodsTakeTurns(t *testing.T) {
	r := library(t, "spike")
	r.Phases = []record.Phase{{Name: "load", Shape: record.ShapeRate, From: 20, Seconds: 120, KeepAlive: true}}
	r.Header, r.HPA.MinReplicas, r.HPA.MaxReplicas, r.Replicas = &record.Header{MetricsEvery: 1, Phases: r.Phases}, new(int32(2)), 2, 2
	for range 2 {
		r.Used = append(r.Used, []Used{{Until: time.Minute, CPU: 0.05}, {Until: 2 * time.Minute, CPU: 0.05}})
	}
	entries, _ := simulate(t, r)
	used := map[string][]float64{}
	for _, e := range entries {
		if e.PodMetrics != nil {
			for _, s := range e.PodMetrics.Samples {
				if s.New {
					used[s.Pod] = append(used[s.Pod], s.Containers[0].CPU)
				}
			}
		}
	}
	if len(used) != 2 {
		t.Fatalf("there are metrics of %d pods", len(used))
	}
	for pod, used := range used {
		t.Log(pod, used)
		if mean := stat.Mean(used, nil); slices.Max(used) < 1.8*mean {
			t.Errorf("%s uses %.3g at most, and %.3g in the mean: as if both served all the time", pod, slices.Max(used), mean)
		}
	}
}

// The containers of a pod that is deleted are shown to have ended before the pod is gone.
func TestEndsAreShown(t *testing.T) {
	for grace, code := range map[int64]int32{30: 0, 3: 137} {
		r := library(t, "spike")
		r.Header, r.Plant.Workload.Drain = &record.Header{MetricsEvery: 1}, &metav1.Duration{Duration: 5 * time.Second}
		r.Pod.TerminationGracePeriodSeconds = &grace
		entries, _ := simulate(t, r)
		ended, gone := map[string]float64{}, 0
		for _, e := range entries {
			switch p := e.Pod; {
			case p == nil:
			case p.Gone:
				gone++
				if at, is := ended[p.Name]; !is || e.At.Seconds()-at < 0.5 {
					t.Errorf("%s is gone at %s, and was shown to end at %v", p.Name, e.At, at)
				}
			case p.Deleting != nil && p.Status.ContainerStatuses[0].State.Terminated != nil:
				s := p.Status.ContainerStatuses[0]
				if ended[p.Name] = e.At.Seconds(); s.State.Terminated.ExitCode != code || s.Ready || s.LastTerminationState.Terminated != nil {
					t.Errorf("with a grace time of %d s %s ends as %+v", grace, p.Name, s)
				}
			}
		}
		if gone == 0 {
			t.Error("no pod is gone")
		}
	}
}

// TestPlainTime is the second oracle: the same run with the clock of the machine, where
// nothing leaps, comes to the same decisions. Its periods are short, and it takes two
// minutes.
func TestPlainTime(t *testing.T) {
	if os.Getenv("HPABENCH_E2E_FIDELITY") == "" {
		t.Skip("make e2e-fidelity runs it")
	}
	short := func() *Run {
		r := library(t, "spike")
		// So that nothing depends on which of two things is first within half a second.
		r.Seed, r.Served = 3, &[2]time.Duration{1500 * time.Millisecond, 1500 * time.Millisecond}
		r.Plant.Control.Sync.Duration = 3 * time.Second
		r.Plant.Control.CPUInitialization.Duration, r.Plant.Control.InitialReadiness.Duration = 10*time.Second, time.Second
		r.Plant.Metrics.Housekeeping.Duration, r.Plant.Metrics.Resolution.Duration = 0, 5*time.Second
		r.HPA.Behavior.ScaleDown.StabilizationWindowSeconds = new(int32(10))
		for i, seconds := range []float64{5, 45, 45} {
			r.Phases[i].Seconds = seconds
		}
		return r
	}
	_, virtual := simulate(t, short())
	plain, err := Simulate(short(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("in virtual time from %.3f s %v\nin plain time from %.3f s %v", virtual.Onset, virtual.Decisions, plain.Onset, plain.Decisions)
	if len(virtual.Decisions) < 3 || len(virtual.Decisions) != len(plain.Decisions) {
		t.Fatal("there are not as many decisions")
	}
	for i, want := range virtual.Decisions {
		got := plain.Decisions[i]
		if off := got.At - want.At; got.From != want.From || got.To != want.To || off < -300*time.Millisecond || off > 300*time.Millisecond {
			t.Errorf("decision %d is %v, was %v in virtual time", i, got, want)
		}
	}
}

func BenchmarkSpike(b *testing.B) {
	r := library(b, "spike")
	for b.Loop() {
		synctest.Test(&testing.T{}, func(t *testing.T) {
			if _, err := Simulate(r, nil); err != nil {
				b.Error(err)
			}
		})
	}
}

// BenchmarkDayOnThePlant is 24 hours of the spike every 16 minutes: 2 to 45 requests a second.
func BenchmarkDayOnThePlant(b *testing.B) {
	r := library(b, "spike")
	r.Phases = nil
	for range 24 * 60 / 16 {
		r.Phases = append(r.Phases,
			record.Phase{Name: "low", Seconds: 50, Shape: record.ShapeRate, From: 2},
			record.Phase{Name: "spike", Seconds: 180, Shape: record.ShapeRate, From: 45},
			record.Phase{Name: "calm", Seconds: 730, Shape: record.ShapeRate, From: 2})
	}
	for b.Loop() {
		synctest.Test(&testing.T{}, func(t *testing.T) {
			if _, err := Simulate(r, nil); err != nil {
				b.Error(err)
			}
		})
	}
}
