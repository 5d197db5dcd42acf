package fit

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/simulate"
)

func TestMain(m *testing.M) {
	simulate.Prepare()
	os.Exit(m.Run())
}

// recorded is a real run, whose figures were worked out from it by other means: see
// model's nginx, and cluster/README for the cluster's metrics-server.
const recorded = "../reports/testdata/recorded-demo-nginx.jsonl"

func TestLearnsWhatTheRunWasLike(t *testing.T) {
	f, err := Open(recorded)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Parameter{}
	for _, p := range f.Measured {
		got[p.Name] = p
	}
	for _, want := range []struct {
		name      string
		low, high float64
	}{
		{"workload.cpu", 95e-6, 110e-6}, // 104 µs by the totals
		{"workload.startCPU", 0.015, 0.04},
		{"workload.memory", 1.9e6, 2.9e6},
		{"metrics.resolution", 14.9, 15.1},
		{"pods.start", 0.4, 1},
		{"roundTrip", 0.0001, 0.0005}, // half of the answers took 0.3 ms
	} {
		p := got[want.name]
		if p.Missing != "" || p.Value < want.low || p.Value > want.high {
			t.Errorf("%s is %g (%s), should be from %g to %g", want.name, p.Value, p.Missing, want.low, want.high)
		}
		if p.Low > p.Value || p.Value > p.High {
			t.Errorf("%s: %g is not between its bounds %g and %g", want.name, p.Value, p.Low, p.High)
		}
	}
	if len(f.Costs) != 5 || len(f.Plant.Costs) != 5 {
		t.Errorf("the costs are %v of pods, and %v to choose from; should be five", f.Costs, f.Plant.Costs)
	}
	// One worker had 596 answers a second, which is 1.68 ms for each: some waited for long.
	if mean := meanOf(f.Plant.RoundTrip); mean < 0.0015 || mean > 0.0017 {
		t.Errorf("the mean round trip is %g s, should be 0.00158", mean)
	}
	if p := f.Plant.Metrics.Housekeeping.Duration; p != 0 {
		t.Errorf("the kubelets are taken to sample every %s, but did when they were asked", p)
	}
	var file bytes.Buffer
	if err := f.Write(&file); err != nil {
		t.Fatal(err)
	}
	if long := regexp.MustCompile(`\d{7}\d*\.\d+|\.\d*[1-9]\d{6,}`).FindString(file.String()); long != "" {
		t.Errorf("the file has %s: more digits than were measured", long)
	}
	name := filepath.Join(t.TempDir(), "plant.yaml")
	if err := os.WriteFile(name, file.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	again, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	var second bytes.Buffer
	if err := again.Write(&second); err != nil || !bytes.Equal(file.Bytes(), second.Bytes()) {
		t.Errorf("the file changes when it is read and written (%v)", err)
	}
}

func TestBadPlants(t *testing.T) {
	for content, want := range map[string]string{
		"version: hpabench.dev/plant/v1\nplant: {cost: [1]}\n":                                `unknown field "cost"`,
		"version: hpabench.dev/plant/v0\n":                                                    "its version is",
		"version: hpabench.dev/plant/v1\nplant: {costs: [0]}\n":                               "plant.costs[0] is 0 and must be from 0.000001 to 1000000",
		"version: hpabench.dev/plant/v1\nplant: {roundTrip: 1ms soon}\n":                      `invalid duration "soon"`,
		"version: hpabench.dev/plant/v1\nplant: {pods: {start: [1s, -2s]}, roundTrip: 1ms}\n": "plant.pods.start[1] is -2s and must be from 0s to 24h0m0s",
		`{"at":0}`:     "the record is empty",
		"\x1f\x8b\x08": "neither a record nor a plant: it is compressed by gzip",
		"hunter2":      "as hpabench fit writes it: json: cannot unmarshal string",
	} {
		name := filepath.Join(t.TempDir(), "plant.yaml")
		if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(name); err == nil || !bytes.Contains([]byte(err.Error()), []byte(want)) {
			t.Errorf("of %q the error is %v, should have %q", content, err, want)
		}
	}
}

// foretell simulates a recorded run a number of times, each with another chance.
func foretell(t *testing.T, run record.Run, plant simulate.Plant, times int) (results []*analysis.Result) {
	t.Helper()
	for n := range times {
		r, err := simulate.FromRecord(run)
		if err != nil {
			t.Fatal(err)
		}
		r.Like(plant)
		h := *run.Header()
		r.Seed, r.Header = uint64(n), &h
		synctest.Test(t, func(t *testing.T) {
			var entries []record.Entry
			_, err := simulate.Simulate(r, func(e record.Entry) { entries = append(entries, e) })
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, analyze(t, record.Run{Entries: entries}))
		})
	}
	return results
}

// relearn simulates the recorded run with a change, whose truth is known, and learns from that.
func relearn(t *testing.T, change func(*simulate.Run)) *Fit {
	t.Helper()
	return learn(t, resimulate(t, change))
}

// resimulate simulates the recorded run with a change.
func resimulate(t *testing.T, change func(*simulate.Run)) (is record.Run) {
	t.Helper()
	run := realRun(t)
	r, err := simulate.FromRecord(run)
	if err != nil {
		t.Fatal(err)
	}
	h := *run.Header()
	r.Header = &h
	change(r)
	synctest.Test(t, func(t *testing.T) {
		if _, err := simulate.Simulate(r, func(e record.Entry) { is.Entries = append(is.Entries, e) }); err != nil {
			t.Fatal(err)
		}
	})
	return is
}

// What a request costs is of the samples' time: on kept connections too, the requests after the last sample are
// none of its. Where one sample or none is of a time with load, the record does not tell the cost.
func TestLoadOutlastsTheSamples(t *testing.T) {
	const truth = 0.005
	for _, pods := range []int32{1, 3} {
		run := resimulate(t, func(r *simulate.Run) {
			r.HPA.MinReplicas, r.HPA.MaxReplicas, r.Replicas = &pods, pods, pods
			r.Pod.Containers[0].Resources.Limits, r.Header.Source = nil, ""
			r.Plant.Workload.CPU.Mean.Duration = 5 * time.Millisecond
			r.Phases = []record.Phase{
				{Name: "idle", Seconds: 60, Shape: record.ShapeIdle},
				{Name: "surge", Seconds: 200, Shape: record.ShapeRate, From: 60 * float64(pods), KeepAlive: true},
			}
		})
		surge := slices.IndexFunc(run.Entries, func(e record.Entry) bool { return e.Load != nil && e.Load.Answered > 0 })
		from := run.Entries[surge].At
		for after, known := range map[float64]bool{0: false, 25: false, 90: true} {
			some := record.Run{Entries: slices.DeleteFunc(slices.Clone(run.Entries), func(e record.Entry) bool {
				return e.PodMetrics != nil && e.At.Seconds() > from.Seconds()+after
			})}
			f := learn(t, some)
			p := f.Measured[slices.IndexFunc(f.Measured, func(p Parameter) bool { return p.Name == "workload.cpu" })]
			if (p.Missing == "") != known || known && (p.Low > truth || p.High < truth || p.Low < 0.8*truth || p.High > 1.2*truth) {
				t.Errorf("%d pods, with samples for %g s of the load: a request costs %+v, should be %g s, known: %t", pods, after, p, truth, known)
			}
		}
	}
}

// How often kubelets sample on their own is found in a run in which that is known.
func TestLearnsHousekeeping(t *testing.T) {
	for _, truth := range []time.Duration{4 * time.Second, 10 * time.Second} {
		f := relearn(t, func(r *simulate.Run) {
			r.Plant.Metrics.Housekeeping.Duration = truth
		})
		i := slices.IndexFunc(f.Measured, func(p Parameter) bool { return p.Name == "metrics.housekeeping" })
		p, got := f.Measured[i], f.Plant.Metrics.Housekeeping.Duration
		if s := truth.Seconds(); s < 0.95*p.Low || s > p.High || truth == 10*time.Second && got > 11*time.Second {
			t.Errorf("the kubelets sample every %s, %+v, should be %s", got, p, truth)
		}
	}
}

// How much memory a request takes and how long it is held is found in a run in which that
// is known.
func TestLearnsMemory(t *testing.T) {
	const each = 10 << 10
	for _, held := range []time.Duration{5 * time.Second, 20 * time.Second, 2 * time.Minute} {
		f := relearn(t, func(r *simulate.Run) {
			r.Plant.Workload.MemoryPerRequest, r.Plant.Workload.MemoryHeld = resource.NewQuantity(each, resource.BinarySI), &metav1.Duration{Duration: held}
			r.Plant.Metrics.Housekeeping.Duration = 0
		})
		got := map[string]Parameter{}
		for _, p := range f.Measured {
			got[p.Name] = p
		}
		// Samples that are 15 s apart do not tell 5 s from 10 s.
		took, is := got["workload.memoryPerRequest"].Value, got["workload.memoryHeld"]
		if s := held.Seconds(); s < is.Low || s > is.High || took*is.Value < each*s*0.9 || took*is.Value > each*s*1.1 {
			t.Errorf("%.0f bytes are held for %+v, should be %d for %s", took, is, each, held)
		}
	}
}

// What a pod's probes cost and hold is not taken for what it uses at all times.
func TestProbesAreNotIdle(t *testing.T) {
	f := relearn(t, func(r *simulate.Run) {
		probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/"}}, PeriodSeconds: 1}
		r.Pod.Containers[0].ReadinessProbe = probe
		r.Header.Source = strings.Replace(r.Header.Source, "port: 80\n", "port: 80\n      readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}\n", 1)
		m := &r.Plant.Workload
		m.CPU.Mean.Duration, m.MemoryPerRequest, m.MemoryHeld = 2*time.Millisecond, resource.NewQuantity(1<<20, resource.BinarySI), &metav1.Duration{Duration: 20 * time.Second}
		r.Plant.Metrics.Housekeeping.Duration = 0
		r.Phases = []record.Phase{{Name: "surge", Seconds: 200, Shape: record.ShapeSine, From: 50, Amplitude: 40, Period: 100}, {Name: "calm", Seconds: 100, Shape: record.ShapeRate, From: 1}}
	})
	if f.own.Modelled().Probes() != 1 {
		t.Fatal("the record's pods have no probe")
	}
	if m := f.Plant.Workload; m.IdleCPU.AsApproximateFloat64() > 0.0005 || m.Memory.AsApproximateFloat64() > 6<<20 {
		t.Errorf("%s of CPU and %s of memory are idle, should be less than 500u and 6Mi: the probes use 2m and 20Mi", m.IdleCPU, m.Memory)
	}
}

// How many requests are worked on at a time, how long they wait then and how many wait for
// that, is found in a run in which it is known, and not where the CPU is what they wait for.
func TestLearnsWorkers(t *testing.T) {
	for _, limit := range []string{"2", "100m", ""} {
		f := relearn(t, func(r *simulate.Run) {
			r.HPA.MaxReplicas, r.HPA.MinReplicas, r.Replicas = 1, new(int32(1)), 1
			r.Pod.Containers[0].Resources.Limits = nil
			if limit != "" {
				r.Pod.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(limit)}
			}
			w := &r.Plant.Workload
			w.CPU.Mean.Duration, w.Wait.Mean.Duration = 4*time.Millisecond, 80*time.Millisecond
			w.Workers, w.Queue = new(3), new(50)
			r.Phases = []record.Phase{
				{Name: "low", Seconds: 60, Shape: record.ShapeRate, From: 5},
				{Name: "surge", Seconds: 60, Shape: record.ShapeRate, From: 50},
				{Name: "calm", Seconds: 60, Shape: record.ShapeRate, From: 5},
			}
			if limit == "" { // but the node is what they wait for
				w.CPU.Mean.Duration, w.Wait.Mean.Duration, w.Workers = 20*time.Millisecond, 0, new(1000)
				r.Phases[1].From = 65 * r.Plant.Nodes[0].CPU
			}
			r.Header.Source = "" // whose pods have no limit
		})
		got := f.Plant.Workload
		if limit != "2" {
			if got.Workers != nil || got.Wait != nil || got.Queue != nil {
				t.Errorf("with a limit of %q it is taken to have %v workers, a queue of %v and a wait of %v", limit, got.Workers, got.Queue, got.Wait)
			}
			continue
		}
		if got.Workers == nil || *got.Workers != 3 || got.Queue == nil || *got.Queue < 48 || *got.Queue > 52 {
			t.Fatalf("there are %v workers and a queue of %v, should be 3 and 50", got.Workers, got.Queue)
		}
		if wait := got.Wait.Mean.Duration; wait < 78*time.Millisecond || wait > 82*time.Millisecond {
			t.Errorf("requests wait for %s, should for 80ms", wait)
		}
	}
}

// What a custom metric tells is found in a run in which that is known.
func TestLearnsCustomMetrics(t *testing.T) {
	const name = "served"
	for _, truth := range []model.Metric{
		{Of: model.OfRequests, Scale: 0.01, Every: &metav1.Duration{Duration: 5 * time.Second}, Window: &metav1.Duration{Duration: 30 * time.Second}},
		{Of: model.OfRequests, Scale: 1, Window: &metav1.Duration{Duration: 2 * time.Minute}},
		{Of: model.OfInFlight, Scale: 20, Every: &metav1.Duration{Duration: 5 * time.Second}},
	} {
		f := relearn(t, func(r *simulate.Run) {
			r.Plant.Workload.CPU.Mean.Duration = 2 * time.Millisecond
			r.Plant.Workload.Metrics = map[string]model.Metric{name: truth}
			target := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(30, resource.DecimalSI)}
			r.HPA.Metrics = []autoscalingv2.MetricSpec{{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: name}, Target: target}}}
			r.Phases = []record.Phase{
				{Name: "surge", Seconds: 200, Shape: record.ShapeSine, From: 500, Amplitude: 400, Period: 100},
				{Name: "calm", Seconds: 100, Shape: record.ShapeRate, From: 10},
			}
		})
		got := f.Plant.Workload.Metrics[name]
		if got.Of != truth.Of || truth.Window != nil && got.Range() != truth.Range() {
			t.Errorf("%+v is taken for %+v", truth, got)
		}
		// A gauge swings between two scrapes, whose instants are not known.
		if got.Scale < truth.Scale*0.75 || got.Scale > truth.Scale*1.25 {
			t.Errorf("the scale is %g, should be %g", got.Scale, truth.Scale)
		}
	}
}

// A run is to be foretold by what was learnt from it: when metrics-server asks is chance,
// which moves its decisions by a sync period.
func TestFitsItself(t *testing.T) {
	run := realRun(t)
	f := learn(t, run)
	is := analyze(t, run)
	foretold := foretell(t, run, f.Plant, 7)
	if off := CurveError(is, foretold); off > 0.1 {
		t.Errorf("the curves are %.1f %% apart", off*100)
	}
	for _, r := range foretold {
		if got := decided(r); !slices.Equal(got, decided(is)) {
			t.Errorf("the replicas go %v, should go %v", got, decided(is))
		}
	}
}

// decided are the replicas that the HPA decided on.
func decided(r *analysis.Result) (replicas []int32) {
	for _, transition := range r.Transitions {
		for _, s := range transition.Steps {
			replicas = append(replicas, s.To)
		}
	}
	return replicas
}

// A load that was only watched is what the pods used: the replicas go as they did.
func TestForetellsAnObservedLoad(t *testing.T) {
	run := realRun(t)
	is := analyze(t, run)
	plant := learn(t, run)
	watched := record.Run{}
	phases := len(run.Header().Phases)
	for _, e := range run.Entries {
		switch {
		case e.Header != nil:
			h := *e.Header
			h.Source, h.Phases = "", []record.Phase{{Name: "observed", Shape: record.ShapeObserved}}
			e.Header = &h
		case e.Load != nil, e.Phase != nil && e.Phase.Edge == "start" && e.Phase.Index > 0, e.Phase != nil && e.Phase.Edge == "end" && e.Phase.Index < phases-1:
			continue
		}
		watched.Entries = append(watched.Entries, e)
	}
	for name, of := range map[string]simulate.Plant{"of its own": learn(t, watched).Plant, "of the whole record": plant.Plant} {
		if off := CurveError(is, foretell(t, watched, of, 7)); off > 0.15 {
			t.Errorf("with a plant %s the curves are %.1f %% apart", name, off*100)
		}
	}
}

// realRun is the recorded run.
func realRun(t *testing.T) record.Run {
	t.Helper()
	run, err := record.Open(recorded)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func analyze(t *testing.T, run record.Run) *analysis.Result {
	t.Helper()
	r, err := analysis.Analyze(run)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func learn(t *testing.T, run record.Run) *Fit {
	t.Helper()
	var s Source
	for i := range run.Entries {
		s.add(&run.Entries[i], analysis.Prepare(&run.Entries[i]))
	}
	f, err := s.Learn()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Of two fits the figures are averages by their samples, and the cases those of both.
func TestMerge(t *testing.T) {
	f, err := Open(recorded)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Open(recorded)
	if err != nil {
		t.Fatal(err)
	}
	for i := range other.Measured {
		switch p := &other.Measured[i]; p.Name {
		case "workload.cpu":
			p.Value, p.High, p.Samples = p.Value*4, p.High*4, p.Samples/2
		case "workload.workers": // which the first has not
			*p = Parameter{Name: p.Name, Value: 7, Samples: 20}
		}
	}
	other.Measured = append(other.Measured, Parameter{Name: "workload.wait", Unit: "s", Value: 0.03, Samples: 20})
	// What the plant had not measured with which a run was simulated is given to the run.
	given := (&Fit{Measured: []Parameter{{Name: "pods.gone", Missing: "no pod went", Assumed: "800ms"}}}).unmeasured()[0]
	other.Plant.Assumed = append(other.Plant.Assumed, given)
	got := merge([]*Fit{f, other})
	if want := append(append(f.given(), given), got.unmeasured()...); !slices.Equal(got.Plant.Assumed, want) {
		t.Errorf("assumed is %q, should be %q", got.Plant.Assumed, want)
	}
	if w := got.Plant.Workload; w.Workers == nil || *w.Workers != 7 || w.Wait == nil || w.Wait.Mean.Duration != 30*time.Millisecond || w.Queue != nil {
		t.Errorf("workers, wait and queue are %v, %v and %v, should be what the one fit has that measured them", w.Workers, w.Wait, w.Queue)
	}
	if n := len(f.Plant.RoundTrip); len(got.Plant.RoundTrip) != 2*n || n < 100 {
		t.Errorf("there are %d round trips, should be twice the %d of one", len(got.Plant.RoundTrip), n)
	}
	// (2 × 1 + 1 × 4) ÷ 3 = 2, so pods of the first cost half of the average, those of the
	// second twice as much.
	if is, was := got.Plant.Workload.CPU.Mean.Seconds(), f.Plant.Workload.CPU.Mean.Seconds(); is < 1.99*was || is > 2.01*was {
		t.Errorf("a request costs %g s, should be twice %g", is, was)
	}
	n := len(f.Plant.Costs)
	if len(got.Plant.Costs) != 2*n || len(got.Plant.Pods.Start) != 2*len(f.Plant.Pods.Start) {
		t.Fatalf("cases are %d and %d, should be twice as many as of one", len(got.Plant.Costs), len(got.Plant.Pods.Start))
	}
	for i, c := range f.Plant.Costs {
		if low, high := got.Plant.Costs[i], got.Plant.Costs[n+i]; low < c*0.49 || low > c*0.51 || high < c*1.98 || high > c*2.02 {
			t.Errorf("costs of %g are %g and %g, should be half and twice", c, low, high)
		}
	}
	if err := got.Plant.Check(); err != nil {
		t.Error(err)
	}
	without := *f
	without.Plant.Workload.CPU, without.Measured = nil, []Parameter{{Name: "workload.cpu", Missing: "too few requests"}}
	if w := merge([]*Fit{&without, f}).Plant.Workload; w.CPU == nil || w.CPU.Mean != f.Plant.Workload.CPU.Mean {
		t.Errorf("a request costs %+v by one fit of two that has measured it, should cost %+v", w.CPU, f.Plant.Workload.CPU)
	}
}

// Where no pod was seen to start while the run went on, those that it began with tell how long that takes.
func TestStarts(t *testing.T) {
	at := func(second int) *time.Time { return new(time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC)) }
	pod := func(started, ready *float64, scheduled, isReady int) analysis.Pod {
		return analysis.Pod{Before: true, FirstSeen: 0.5, Started: started, Ready: ready,
			Object: analysis.ObjectTimes{Created: *at(0), Scheduled: at(scheduled), Ready: at(isReady)}}
	}
	for name, c := range map[string]struct {
		pod  analysis.Pod
		want startUp
		is   bool
	}{
		"seen to start":    {pod(new(20.0), new(30.0), 1, 31), startUp{20, 10}, true},
		"started before":   {pod(nil, new(30.0), 1, 31), startUp{0.5, 29.5}, true},
		"much older":       {pod(nil, new(2.0), 1, 31), startUp{}, false},
		"ready before":     {pod(nil, nil, 1, 2), startUp{}, false},
		"by the scale-up":  {analysis.Pod{Started: new(20.0), Ready: new(30.0)}, startUp{}, false},
		"never scheduled":  {analysis.Pod{Before: true, Ready: new(30.0), Object: analysis.ObjectTimes{Ready: at(30)}}, startUp{}, false},
		"ready, not since": {analysis.Pod{Before: true, Ready: new(30.0), Object: analysis.ObjectTimes{Scheduled: at(1)}}, startUp{}, false},
	} {
		if got, is := startUpOf(c.pod); got != c.want || is != c.is {
			t.Errorf("%s: %v, %v; should be %v, %v", name, got, is, c.want, c.is)
		}
	}
	open := func(start startUp) *Fit {
		f, err := Open(recorded)
		if err != nil {
			t.Fatal(err)
		}
		f.first = []startUp{start}
		return f
	}
	other := open(startUp{62, 1})
	f := open(startUp{60, 1})
	known := slices.Clone(f.Plant.Pods.Start)
	if f.Starts(other); !slices.Equal(f.Plant.Pods.Start, known) {
		t.Errorf("a start is %v, and was seen to be %v", f.Plant.Pods.Start, known)
	}
	i := slices.IndexFunc(f.Measured, func(p Parameter) bool { return p.Name == "pods.start" })
	f.Measured[i] = Parameter{Name: "pods.start", Missing: "no pod was seen to go through it", Assumed: "600ms"}
	f.Plant.Assumed = append(f.Plant.Assumed, f.unmeasured()...)
	if !strings.Contains(strings.Join(f.Plant.Assumed, ""), "pods.start (600ms)") {
		t.Error(f.Plant.Assumed)
	}
	f.Starts(other)
	if cases := f.Plant.Pods.Start; len(cases) != 2 || meanOf(cases) < 59 || meanOf(cases) > 61 || f.Missing("pods.start") != "" || strings.Contains(strings.Join(f.Plant.Assumed, ""), "pods.start") {
		t.Errorf("a start is %v, should be of a minute: %v, assumed: %s", cases, f.Measured[i], f.Plant.Assumed)
	}
}
