package hpabench

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/hpabench/hpabench/lab/containers"
	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/simulate"
)

// behaviour of a pod under a load.
type behaviour struct {
	answers, errors float64 // a second
	p50, p99        float64 // seconds
	cpu             float64 // cores
}

func (b behaviour) String() string {
	return fmt.Sprintf("%7.1f answers/s, %6.1f errors/s, p50 %7.1f ms, p99 %7.1f ms, %.3f cores", b.answers, b.errors, b.p50*1e3, b.p99*1e3, b.cpu)
}

// add adds one of n runs to their mean.
func (b *behaviour) add(run behaviour, n int) {
	for sum, x := range map[*float64]float64{&b.answers: run.answers, &b.errors: run.errors, &b.p50: run.p50, &b.p99: run.p99, &b.cpu: run.cpu} {
		*sum += x / float64(n)
	}
}

// clientTimeout is how long the clients of the test wait for an answer.
const clientTimeout = 2 * time.Second

// onLab is what a container of the embedded cluster does, with its HTTP, in virtual time.
func onLab(t *testing.T, p model.Pod, seed int, rate float64, length time.Duration) (b behaviour) {
	synctest.Test(t, func(t *testing.T) {
		node := containers.NewCPU(p.Cores)
		c := containers.Start(containers.Config{Model: *p.Model, Node: node, CPULimit: p.Limit(), Pod: fmt.Sprintf("web-%d", seed)})
		time.Sleep(p.Listens() + time.Second)
		synctest.Wait()
		var mu sync.Mutex
		var took []float64
		var clients sync.WaitGroup
		before, _ := c.Usage(time.Now())
		start := time.Now()
		for i := range int(rate * length.Seconds()) {
			time.Sleep(time.Until(start.Add(time.Duration(float64(i+1) / rate * 1e9))))
			clients.Go(func() {
				came := time.Now()
				near, far := net.Pipe()
				defer near.Close()
				near.SetDeadline(came.Add(clientTimeout))
				if c.Serve(far) != nil {
					return
				}
				if _, err := io.WriteString(near, "GET / HTTP/1.1\r\nHost: web\r\n\r\n"); err != nil {
					return
				}
				answer, err := http.ReadResponse(bufio.NewReaderSize(near, 512), nil)
				if err != nil {
					return
				}
				defer answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					mu.Lock()
					took = append(took, time.Since(came).Seconds())
					mu.Unlock()
				}
			})
		}
		after, _ := c.Usage(time.Now())
		clients.Wait()
		c.Kill()
		seconds := length.Seconds()
		slices.Sort(took)
		b = behaviour{answers: float64(len(took)) / seconds, errors: rate - float64(len(took))/seconds, cpu: (after - before).Seconds() / seconds}
		if n := len(took); n > 0 {
			b.p50, b.p99 = took[n/2], took[n*99/100]
		}
	})
	return b
}

// simulated is what a pod does in a simulation.
func simulated(t *testing.T, r *simulate.Run, seed int, rate float64, length time.Duration) (b behaviour) {
	run := *r
	run.HPA.MinReplicas, run.HPA.MaxReplicas, run.Replicas = new(int32(1)), 1, 1
	run.Plant.RoundTrip = simulate.Always(0)
	run.Plant.Metrics.Housekeeping.Duration = 0 // a sample at each scrape, to know the CPU time exactly
	run.Plant.Metrics.Resolution.Duration = time.Second
	run.Phases = []record.Phase{{Name: "load", Seconds: length.Seconds(), Shape: record.ShapeRate, From: rate}, {Name: "after", Seconds: 30, Shape: record.ShapeIdle}}
	run.Timeout, run.Header, run.Seed = clientTimeout, &record.Header{MetricsEvery: 1}, uint64(seed)
	run.Pod = *r.Pod.DeepCopy()
	run.Pod.Containers[0].ReadinessProbe = nil
	delete(run.Pod.Containers[0].Resources.Limits, corev1.ResourceMemory) // what ends a pod is another test's
	h := record.NewHistogram()
	n, samples := 0.0, 0.0
	synctest.Test(t, func(t *testing.T) {
		var onset record.Instant
		_, err := simulate.Simulate(&run, func(e record.Entry) {
			switch {
			case e.Phase != nil && e.Phase.Index == 0 && e.Phase.Edge == "start":
				onset = e.At
			case e.Load != nil:
				n += float64(e.Load.Answered)
				b.errors += float64(e.Load.Failed) / length.Seconds()
				if e.Load.Latency != "" {
					if err := e.Load.Latency.AddTo(h); err != nil {
						t.Error(err)
					}
				}
			case e.PodMetrics != nil && onset > 0 && e.At.Sub(onset) > 1200*time.Millisecond && e.At.Sub(onset) < length:
				if s := e.PodMetrics.Samples; len(s) > 0 && s[0].New {
					b.cpu, samples = b.cpu+s[0].Containers[0].CPU, samples+1
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	b.answers, b.cpu = n/length.Seconds(), b.cpu/max(samples, 1)
	b.p50, b.p99 = float64(h.ValueAtQuantile(50))/1e6, float64(h.ValueAtQuantile(99))/1e6
	return b
}

// One pod, on the embedded cluster and simulated, does the same below its capacity, near it and
// above it: each server of the library and each preset, with limits and without, by turns and first
// come, first served.
func TestPodIsTheSameOnTheEmbeddedClusterAndSimulated(t *testing.T) {
	simulate.Prepare()
	type server struct {
		name string
		run  *simulate.Run
	}
	var servers []server
	for _, f := range scenarios.Library() {
		if f.HasScaledObjects() { // whose pods others stand in front of
			continue
		}
		r, err := simulate.FromScenario(f)
		if err != nil {
			t.Fatal(err)
		}
		same := func(s server) bool {
			return cmp.Equal(s.run.Plant.Workload.CPU, r.Plant.Workload.CPU) && cmp.Equal(s.run.Plant.Workload.Workers, r.Plant.Workload.Workers)
		}
		if !slices.ContainsFunc(servers, same) { // the starts and the ends of pods are not what this is about
			servers = append(servers, server{f.Metadata.Name, r})
		}
	}
	made := func(name, image, limit, text string) {
		m, err := model.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		r := *servers[0].run
		r.Pod = corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: image, Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}}}}}
		if limit != "" {
			r.Pod.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(limit)}
		}
		r.Plant = simulate.Guess(r.Pod, m)
		servers = append(servers, server{name, &r})
	}
	made("nginx, 100m", "nginx", "100m", `{}`)
	made("hpa-example, 500m", "hpa-example", "500m", `{}`)
	made("hpa-example, 200m", "hpa-example", "200m", `{}`)
	made("generic, 300m", "shop", "300m", `{}`)
	made("generic, 1500m, lognormal", "shop", "1500m", `{"cpu": {"mean": "8ms", "distribution": "lognormal"}}`)
	made("turns, 500m, 51 ms", "shop", "500m", `{"cpu": {"mean": "51ms"}, "workers": 1000}`)
	made("fifo, 500m, 51 ms", "shop", "500m", `{"cpu": {"mean": "51ms"}, "workers": 1000, "serving": "fifo"}`)
	made("turns, 2 cores, 80 ms", "shop", "2", `{"cpu": {"mean": "80ms"}, "workers": 1000}`)
	made("turns, no limit, 80 ms exponential", "shop", "", `{"cpu": {"mean": "80ms", "distribution": "exponential"}, "workers": 1000}`)
	made("workers wait", "shop", "", `{"cpu": {"mean": "3ms"}, "wait": {"mean": "100ms"}, "workers": 4, "queue": 60}`)
	made("turns, few workers", "shop", "1", `{"cpu": {"mean": "60ms"}, "workers": 4, "queue": 20}`)
	for _, s := range servers {
		p := s.run.Modelled()
		capacity := p.MaxRate(true, 1, p.MostCPU())
		length := time.Duration(min(20, max(5, math.Ceil(6000/capacity)))) * time.Second
		runs, counts, tail := 1, 0.03, 0.15
		if d := p.Model.CPU.Distribution; d == "exponential" || d == "lognormal" { // 20 s of a long tail differ
			runs, counts, tail = 4, 0.15, 0.4
		}
		for _, load := range []float64{0.5, 0.9, 1.2} {
			t.Run(fmt.Sprintf("%s at %g", s.name, load), func(t *testing.T) {
				rate := load * capacity
				var lab, sim behaviour
				for seed := range runs {
					lab.add(onLab(t, p, seed, rate, length), runs)
					sim.add(simulated(t, s.run, seed, rate, length), runs)
				}
				t.Logf("%.1f/s for %s\n embedded  %v\n simulated %v", rate, length, lab, sim)
				near := func(what string, a, b, relative, absolute float64) {
					if math.Abs(a-b) > relative*max(a, b)+absolute {
						t.Errorf("%s: %.4g on the embedded cluster, %.4g simulated", what, a, b)
					}
				}
				near("answers/s", lab.answers, sim.answers, counts, 2/length.Seconds())
				near("errors/s", lab.errors, sim.errors, 0.02, counts*rate)
				near("p50", lab.p50, sim.p50, tail, 0.002)
				near("p99", lab.p99, sim.p99, tail, 0.005)
				near("CPU", lab.cpu, sim.cpu, 0.03, 0.003)
			})
		}
	}
}
