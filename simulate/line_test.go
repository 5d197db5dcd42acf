package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
)

// limited is a run of one pod, whose requests take so much CPU.
func limited(t testing.TB, limit string, cost time.Duration, workers int, phases ...record.Phase) *Run {
	t.Helper()
	r := library(t, "spike")
	r.HPA.MaxReplicas = 1
	r.Pod.Containers[0].ReadinessProbe = nil
	r.Pod.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(limit)}
	r.Plant.Workload.CPU.Mean.Duration = cost
	r.Plant.Workload.Workers, r.Plant.Workload.Queue = &workers, new(10000)
	r.Plant.RoundTrip = Always(time.Millisecond)
	r.Phases, r.Timeout = phases, 5*time.Minute
	r.Header = &record.Header{MetricsEvery: 1}
	return r
}

// Workers that think for a second begin as a wave, whose answers of the first second waited for up to that, and then come evenly. One more or less of them makes
// no difference but its own. Where they are too many for the pod, an answer takes N/X - Z.
func TestWorkersInWaves(t *testing.T) {
	for cost, want := range map[time.Duration]struct{ first, later float64 }{5 * time.Millisecond: {64 * 0.005 / 2 / 2, 0.006}, 40 * time.Millisecond: {0.5, 64*0.04 - 1}} {
		var before float64
		for _, workers := range []int{63, 64, 65, 66} {
			r := limited(t, "1", cost, 1000, record.Phase{Seconds: 60, Shape: record.ShapeWorkers, Workers: workers, Think: 1, KeepAlive: true})
			r.Plant.Workload.ConnectionCPU.Duration = 0
			entries, score := simulate(t, r)
			_, median := latencies(t, entries)
			if median[0] < want.first*0.6 || median[0] > want.first*1.6 || math.Abs(median[40]-want.later) > want.later/10 || before > 0 && math.Abs(score.Requests-before) > 62 {
				t.Errorf("%d workers of %s send %.0f requests, one less %.0f; half take %.3f s at first, should be %.3f, and then %.4f, should be %.4f", workers, cost, score.Requests, before, median[0], want.first, median[40], want.later)
			}
			before = score.Requests
		}
	}
}

// The answers of a first wave are even over the time that the pods need for it, and those that come later wait for little, as
// they do at two pods of the embedded cluster.
func TestFirstWave(t *testing.T) {
	for workers, want := range map[int][2]float64{100: {2, 3.5}, 150: {3, 5.25}} {
		r := limited(t, "500m", 50*time.Millisecond, 1000, record.Phase{Seconds: 60, Shape: record.ShapeWorkers, Workers: workers, Think: 10})
		r.Replicas, r.HPA.MinReplicas, r.HPA.MaxReplicas = 2, new(int32(2)), 2
		r.Plant.Workload.ConnectionCPU.Duration, r.Plant.Workload.Serving = 0, new(model.FIFO)
		entries, _ := simulate(t, r)
		h := record.NewHistogram()
		for _, e := range entries {
			if e.Load != nil {
				if err := e.Load.Latency.AddTo(h); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, q := range []float64{90, 95} {
			if is := float64(h.ValueAtQuantile(q)) / 1e6; math.Abs(is-want[i]) > want[i]/10 {
				t.Errorf("%d workers: p%g is %.2f s, should be %.2f", workers, q, is, want[i])
			}
		}
	}
}

// latencies are the answers of each second of the load, and what half of them took, in seconds.
func latencies(t *testing.T, entries []record.Entry) (answers, median []float64) {
	t.Helper()
	var onset int
	for _, e := range entries {
		if e.Phase != nil && onset == 0 {
			onset = int(e.At.Seconds())
		}
	}
	for _, e := range entries {
		if e.Load == nil {
			continue
		}
		i := e.Load.Second - onset
		for len(answers) <= i {
			answers, median = append(answers, 0), append(median, math.NaN())
		}
		h := record.NewHistogram()
		if err := e.Load.Latency.AddTo(h); err != nil {
			t.Fatal(err)
		}
		answers[i] = float64(e.Load.Answered)
		median[i] = float64(h.ValueAtQuantile(50)) / 1e6
	}
	return answers, median
}

// singles is how long each of n requests takes, in seconds, that come evenly at a rate.
func singles(p model.Pod, rate float64, n int) []float64 {
	server := model.NewServer(&model.Node{Cores: p.Cores}, 0, p.Model, p.Limit())
	took, ended := make([]float64, n), 0
	for i := range n {
		came := seconds(float64(i+1) / rate)
		for at := server.Next(); at < came; at = server.Next() {
			server.Advance(at)
		}
		server.Request(came, p.Model.CPU.Mean.Duration, p.Model.Wait.Mean.Duration, func(at time.Duration) { took[i], ended = (at - came).Seconds(), ended+1 })
	}
	for ended < n {
		server.Advance(server.Next())
	}
	return took
}

// A pod that gets more than its limit lets it serve is to answer as one that is simulated
// request by request.
func TestOverloadIsThatOfSingleRequests(t *testing.T) {
	for _, workers := range []int{1, 20, 1000} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			r := limited(t, "800m", 80*time.Millisecond, workers, record.Phase{Seconds: 60, Shape: record.ShapeRate, From: 12}, record.Phase{Seconds: 60, Shape: record.ShapeRate, From: 1})
			entries, _ := simulate(t, r)
			answers, median := latencies(t, entries)
			took := singles(r.Modelled(), 12, 12*60)
			// The nth ends when it came and what it took after.
			ended := make([]float64, 200)
			var at [200][]float64
			for n, d := range took {
				end := int(float64(n+1)/12 + d)
				if end < len(ended) {
					ended[end]++
					at[end] = append(at[end], d)
				}
			}
			used := 0.0
			for _, e := range entries {
				if e.PodMetrics != nil {
					used = max(used, e.PodMetrics.Samples[0].Containers[0].CPU)
				}
			}
			if used < 0.78 || used > 0.81 {
				t.Errorf("the pod used %.3f cores at most, should be its limit of 0.8", used)
			}
			is, want := 0.0, 0.0
			for i := range 60 {
				is, want = is+answers[i], want+ended[i]
				if i%10 == 9 {
					wanted := at[i][len(at[i])/2]
					t.Logf("after %d s: %.0f answers, should be %.0f; the median takes %.2f s, should be %.2f", i+1, is, want, median[i], wanted)
					if math.Abs(is-want) > 3+0.03*want {
						t.Errorf("after %d s there are %.0f answers, should be %.0f", i+1, is, want)
					}
					if math.Abs(median[i]-wanted) > 0.2+0.05*wanted {
						t.Errorf("after %d s the median takes %.2f s, should be %.2f", i+1, median[i], wanted)
					}
				}
			}
		})
	}
}

// Workers of a closed loop get as many answers as the limit lets them have, and wait for
// them as long as Little's law says.
func TestClosedLoopAtALimit(t *testing.T) {
	for _, workers := range []int{1, 6, 40, 200} {
		r := limited(t, "200m", 20*time.Millisecond, 1000, record.Phase{Seconds: 60, Shape: record.ShapeWorkers, Workers: workers, KeepAlive: true})
		entries, _ := simulate(t, r)
		answers, median := latencies(t, entries)
		for i, n := range answers[:60] {
			// 20 ms each, of 20 ms in 100 ms.
			if math.Abs(n-10) > 1 || math.Abs(median[i]-float64(workers)/10) > 0.005*float64(workers) {
				t.Fatalf("%d workers have %.0f answers, of which half take %.2f s; should be 10 of %.2f s", workers, n, median[i], float64(workers)/10)
			}
		}
	}
}

// The first request of each worker leaves at once, the next when it has thought; a limit of requests ends the phase, and
// the next one follows.
func TestClosedLoopFromItsStart(t *testing.T) {
	for _, c := range []struct {
		workers                       int
		think                         float64
		requests                      uint64
		seconds, answers, least, most float64
	}{
		{10, 60, 0, 30, 10, 30, 30},
		{10, 60, 0, 130, 30, 130, 130},
		{10, 60, 2, 300, 20, 60, 60.5},
		{2, 0, 50, 100, 100, 1, 1.2}, // of 10 ms, on one core
		{2, 2, 5, 6, 6, 6, 6},        // the end comes before the limit
	} {
		for _, header := range []*record.Header{{MetricsEvery: 1}, nil} {
			r := one(0)
			r.Header = header
			r.Phases = []record.Phase{{Seconds: c.seconds, Shape: record.ShapeWorkers, Workers: c.workers, Think: c.think, Requests: c.requests, KeepAlive: true}, {Seconds: 20, Shape: record.ShapeRate, From: 1}}
			entries, score := simulate(t, r)
			if want := score.Onset + min(c.most, c.seconds) + 20; score.Ended > want+1e-5 || score.Ended < want-c.most+c.least-1e-5 {
				t.Errorf("%+v: it ended at %g, should be %g", c, score.Ended, want)
			}
			if want := c.answers + 20; math.Abs(score.Requests-want) > 0.01 {
				t.Errorf("%+v: %g requests, want %g", c, score.Requests, want)
			}
			at := map[string]float64{}
			for _, e := range entries {
				if e.Phase != nil {
					at[fmt.Sprint(e.Phase.Index, e.Phase.Edge)] = e.At.Seconds()
				}
			}
			if took := at["0end"] - at["0start"]; header != nil && (took < c.least-1e-5 || took > c.most+1e-5 || at["1start"] != at["0end"] || math.Abs(at["1end"]-at["1start"]-20) > 1e-5) {
				t.Errorf("%+v: the phases are %v", c, at)
			}
		}
	}
}

// Requests that are given up are worked on all the same: nobody gets an answer any more when
// all of them take longer than the time-out.
func TestGivenUpRequestsCostAsMuch(t *testing.T) {
	r := limited(t, "200m", 20*time.Millisecond, 1000, record.Phase{Seconds: 90, Shape: record.ShapeRate, From: 20})
	r.Timeout = 5 * time.Second
	entries, score := simulate(t, r)
	answers, _ := latencies(t, entries)
	if n := answers[80]; n != 0 {
		t.Errorf("there are %.0f answers a second after 80 s, should be none", n)
	}
	failed := 0.0
	for _, e := range entries {
		if e.Load != nil {
			failed += float64(e.Load.Errors["timeout"])
		}
	}
	sum := 0.0
	for _, n := range answers {
		sum += n
	}
	if math.Abs(sum+failed-1800) > 1 || math.Abs(score.Missed-failed) > 2 {
		t.Errorf("%.0f answers and %.0f time-outs (%.0f missed), should be 1800 requests", sum, failed, score.Missed)
	}
}

// A line of requests that cost little ends, whatever rounding leaves of it.
func TestLinesEnd(t *testing.T) {
	for _, cost := range []time.Duration{0, 30 * time.Microsecond, 100 * time.Microsecond, 390 * time.Microsecond} {
		for _, then := range []float64{0, 100, 1000} {
			r := limited(t, "1", cost, 1, record.Phase{Seconds: 7, Shape: record.ShapeRate, From: 1.7 / max(cost, 30*time.Microsecond).Seconds()}, record.Phase{Seconds: 30, Shape: record.ShapeRate, From: then, KeepAlive: true})
			r.Plant.Workload.ConnectionCPU.Duration = time.Microsecond
			r.Timeout = 5 * time.Second
			entries, score := simulate(t, r)
			answers, _ := latencies(t, entries)
			n := append(answers, make([]float64, 30)...)[20]
			if math.Abs(n-then) > 2 || score.Requests < 1000 {
				t.Errorf("of %v requests that cost %s there are %.0f answers a second in the end, should be %.0f", score.Requests, cost, n, then)
			}
		}
	}
}

// A closed loop after an overload waits for its own requests in the end.
func TestClosedLoopAfterAnOverload(t *testing.T) {
	r := limited(t, "200m", 20*time.Millisecond, 1000, record.Phase{Seconds: 30, Shape: record.ShapeRate, From: 15}, record.Phase{Seconds: 90, Shape: record.ShapeWorkers, Workers: 40, KeepAlive: true})
	entries, _ := simulate(t, r)
	answers, median := latencies(t, entries)
	if math.Abs(answers[100]-10) > 1 || math.Abs(median[100]-4) > 0.2 {
		t.Errorf("40 workers have %.0f answers a second, of which half take %.2f s; should be 10 of 4 s", answers[100], median[100])
	}
}

// A kept connection to a pod that is not ready any more goes on.
func TestKeptConnectionsOutliveReadiness(t *testing.T) {
	r := limited(t, "200m", 20*time.Millisecond, 1000, record.Phase{Seconds: 60, Shape: record.ShapeWorkers, Workers: 150, KeepAlive: true})
	r.Plant.Workload.CPU.Mean.Duration = 5 * time.Millisecond
	r.Pod.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{}}, PeriodSeconds: 1}
	entries, score := simulate(t, r)
	unready := false
	for _, e := range entries {
		unready = unready || e.Endpoints != nil && len(e.Endpoints.Endpoints) == 0 && e.At.Seconds() > score.Onset
	}
	if answers, _ := latencies(t, entries); !unready || math.Abs(answers[50]-40) > 1 || score.Missed > 0 {
		t.Errorf("the pod was taken out of service: %v; %.0f answers a second, %.0f requests missed, should be 40 and none", unready, answers[50], score.Missed)
	}
}

// Each request that is sent is answered or fails, whatever it costs and however it comes.
func TestEveryRequestEnds(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(of ...float64) float64 { return of[random.IntN(len(of))] }
	for range 60 {
		cost, workers := pick(0, 1e-4, 5e-3, 2e-2, 7e-2), int(pick(1, 4, 300, 1<<16))
		phases := []record.Phase{
			{Seconds: 40, Shape: record.ShapeRate, From: pick(5, 30, 300), KeepAlive: random.IntN(2) == 0},
			{Seconds: 40, Shape: record.ShapeWorkers, Workers: int(pick(1, 10, 200)), Think: pick(0, 0.2, 3), Requests: uint64(pick(0, 2)), KeepAlive: random.IntN(2) == 0},
			{Seconds: 40, Shape: record.ShapeRamp, From: pick(0, 200), To: pick(0, 20), KeepAlive: random.IntN(2) == 0},
		}
		r := limited(t, "300m", seconds(cost), workers, phases...)
		r.HPA.MaxReplicas, r.Timeout = int32(pick(1, 4)), seconds(pick(1, 10))
		m := &r.Plant.Workload
		m.Wait.Mean.Duration, m.Queue, m.Graceful = seconds(pick(0, 0.1)), new(int(pick(0, 20, 10000))), new(random.IntN(2) == 0)
		if random.IntN(2) == 0 {
			r.Pod.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{}}, PeriodSeconds: 1}
		}
		entries, score := simulate(t, r)
		ended := 0.0
		for _, e := range entries {
			if e.Load != nil {
				ended += float64(e.Load.Answered + e.Load.Failed)
			}
		}
		if math.Abs(score.Requests-ended) > 2 || score.Missed > score.Requests+2 {
			t.Errorf("cost %g s, %d workers, %+v, phases %+v: of %.1f requests %.1f have ended", cost, workers, m.Wait.Mean, phases, score.Requests, ended)
		}
	}
}

// A record of an overload that goes on for hours has one line of each second, in order: those
// that are given up are in it before their pod comes to them, or ends.
func TestHoursOfOverload(t *testing.T) {
	for _, c := range []struct {
		rate, timeout float64
		workers       int
	}{{0.5, 10, 1}, {0.5, 0.7, 1000}, {0.1, 300, 1}} {
		r := limited(t, "10m", 200*time.Millisecond, c.workers,
			record.Phase{Name: "over", Seconds: 2 * 3600, Shape: record.ShapeRate, From: c.rate},
			record.Phase{Name: "calm", Seconds: 1200, Shape: record.ShapeRate, From: 0.02})
		r.Timeout = seconds(c.timeout)
		entries, score := simulate(t, r)
		done, sent, last := 0.0, 0.0, -1
		for _, e := range entries {
			if l := e.Load; l != nil {
				if l.Second < last {
					t.Fatalf("%+v: second %d is after %d", c, l.Second, last)
				}
				if l.Failed > 3 {
					t.Errorf("%+v: %d requests fail in second %d", c, l.Failed, l.Second)
				}
				last = l.Second
				done, sent = done+float64(l.Answered+l.Failed), sent+float64(l.Sent)
			}
		}
		if done != sent || math.Abs(score.Requests-done) > 2 || score.Missed > score.Requests+1 || score.Missed < score.Requests/2 {
			t.Errorf("%+v: of %.1f requests, %g in the record, %g end and %.1f are missed", c, score.Requests, sent, done, score.Missed)
		}
	}
}

// Requests that take very long are followed to their end all the same.
func TestSlowRequestsEnd(t *testing.T) {
	for _, c := range []struct {
		cpu   model.Cost
		wait  time.Duration
		limit string
		pods  int
	}{
		{cpu: model.Cost{Mean: metav1.Duration{Duration: time.Millisecond}}, wait: 30 * time.Second, limit: "1", pods: 1},
		{cpu: model.Cost{Mean: metav1.Duration{Duration: time.Second}, Distribution: "exponential"}, limit: "100m", pods: 3},
		{cpu: model.Cost{Mean: metav1.Duration{Duration: 200 * time.Millisecond}, Distribution: "lognormal"}, limit: "10m", pods: 1},
	} {
		r := limited(t, c.limit, 0, 1)
		r.Plant.Workload.CPU, r.Plant.Workload.Wait = &c.cpu, &model.Cost{Mean: metav1.Duration{Duration: c.wait}}
		took := r.InPod(r.Modelled().MaxRate(true, 1, r.Modelled().MostCPU())/2, c.pods, true, 1)
		if longest := took.Max(); longest < max(c.cpu.Mean.Seconds(), c.wait.Seconds()) || math.IsInf(longest, 0) {
			t.Errorf("%+v: the longest takes %g s", c, longest)
		}
	}
}

// BenchmarkOverload is a pod that gets half as much again as its limit lets it serve, for a
// minute, and what is left of that for another.
func BenchmarkOverload(b *testing.B) {
	r := limited(b, "500m", 22*time.Millisecond, 1<<16, record.Phase{Seconds: 60, Shape: record.ShapeRate, From: 35}, record.Phase{Seconds: 60, Shape: record.ShapeRate, From: 8})
	r.Header, r.SLO, r.Timeout = nil, 250*time.Millisecond, 10*time.Second
	for b.Loop() {
		synctest.Test(&testing.T{}, func(t *testing.T) {
			if _, err := Simulate(r, nil); err != nil {
				b.Error(err)
			}
		})
	}
}

// TestLongLine wants a line that grows in thousands of short steps to take no more memory than
// one that came at once.
func TestLongLine(t *testing.T) {
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	r := limited(t, "4", 2*time.Second, 3, record.Phase{Name: "over", Seconds: 900, Shape: record.ShapeRate, From: 10})
	r.Timeout = 10 * time.Second
	before, after := heap(), 0
	synctest.Test(t, func(t *testing.T) {
		if _, err := Simulate(r, func(e record.Entry) {
			if e.Load != nil && e.Load.Second >= 600 && after == 0 {
				after = heap()
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
	if grown := after - before; after == 0 || grown > 3<<20 {
		t.Errorf("a line of %d requests takes %d KiB", *r.Plant.Workload.Queue, grown>>10)
	}
}
