package simulate

import (
	"math"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/metrics"
	"sigs.k8s.io/metrics-server/pkg/storage"

	"github.com/hpabench/hpabench/model"
)

// sample is the kubelet's look at a container, which is followed by the next.
func (w *world) sample(p *pod) {
	is := w.measure(p)
	unchanged := !p.sampled.Timestamp.IsZero() && is.CumulativeCPUUsed == p.sampled.CumulativeCPUUsed && is.MemoryUsage == p.sampled.MemoryUsage
	p.sampled = is
	w.sampleNext(p, unchanged)
}

// samplesOf is what the chance of a pod's samples is for, less its number; others count down from 0.
const samplesOf = -1 << 32

// sampleNext has the kubelet look at a container when it did in the record, else by chance; earlier
// appointments of the pod are off.
func (w *world) sampleNext(p *pod, unchanged bool) {
	every := w.Plant.Metrics.Housekeeping.Duration
	wait := model.NextSample(every, unchanged, p.random.Float64())
	if p.born <= len(w.Samples) && w.onset > 0 {
		// Where in a CFS period they were, by which a window has more or fewer of a limit's quotas, a record does not tell.
		apart := time.Duration(stream(w.Seed, samplesOf-p.born).Float64() * float64(model.CFSPeriod))
		times, now := w.Samples[p.born-1], w.now-w.onset-apart
		// A longest interval and a half, by when an unchanged container is sampled too.
		if i, found := slices.BinarySearch(times, now); !found && i < len(times) && times[i]-now <= 3*every {
			wait = times[i] - now
		} else if found && i+1 < len(times) && times[i+1]-now <= 3*every {
			wait = times[i+1] - now
		}
	}
	p.appointments++
	this := p.appointments
	w.whileRuns(p, wait, func() {
		if p.appointments == this {
			w.sample(p)
		}
	})
}

// samplesFit says whether the Samples can be those of the plant's kubelets, whose least distance is
// between one interval and, in a short record, a quarter more: the distances are even from one interval to two, and so
// the shortest of 11 is below that at 95 % (1 − 0.05^(1/11) = 0.24). (Of kubelets that sample when they are asked,
// or more often than metrics-server asks, a record does not show it.)
func (r *Run) samplesFit() bool {
	least, interval := time.Duration(math.MaxInt64), r.Plant.Metrics.Housekeeping.Duration
	for _, times := range r.Samples {
		for i := 1; i < len(times); i++ {
			least = min(least, times[i]-times[i-1])
		}
	}
	return least > interval-time.Second && least < interval*5/4+time.Second // timestamps are cut to seconds
}

// measure is what a pod's first container has used. Its first sample is taken after its start, if by little: metrics-server
// takes a sample that is not for one of the container before (internal/storage of metrics-server).
func (w *world) measure(p *pod) storage.MetricsPoint {
	idle := w.Plant.Workload.IdleCPU.AsApproximateFloat64() * (w.now - p.startedAt).Seconds()
	return storage.MetricsPoint{
		StartTime: w.began.Add(p.startedAt - time.Nanosecond), Timestamp: w.began.Add(w.now),
		CumulativeCPUUsed: uint64(math.Round((p.cpu + idle) * 1e9)),
		MemoryUsage:       uint64(w.memory(p)),
	}
}

// memory is that of a pod's first container, in bytes.
func (w *world) memory(p *pod) float64 {
	m, held := &w.Plant.Workload, 0.0
	each := m.MemoryPerRequest.AsApproximateFloat64()
	switch h := m.MemoryHeld; {
	case each == 0:
	case h == nil:
		held = w.inFlight(p) - p.calling
	default:
		for _, a := range p.recent {
			held += a.since(w.now - h.Duration)
		}
	}
	return m.Memory.AsApproximateFloat64() + held*each
}

// scrape is metrics-server asking the kubelets for the samples that they have.
func (w *world) scrape() {
	batch := &storage.MetricsBatch{Pods: make(map[types.NamespacedName]storage.PodMetricsPoint, len(w.pods))}
	for _, p := range w.pods {
		if !p.runs {
			continue
		}
		point := p.sampled
		if w.Plant.Metrics.Housekeeping.Duration == 0 {
			point = w.measure(p)
		}
		containers := map[string]storage.MetricsPoint{w.modelled.First().Name: point}
		others := storage.MetricsPoint{StartTime: point.StartTime, Timestamp: point.Timestamp}
		for _, c := range w.Pod.Containers[1:] {
			containers[c.Name] = others
		}
		for _, c := range w.Pod.InitContainers {
			if model.Sidecar(c) {
				containers[c.Name] = others
			}
		}
		batch.Pods[types.NamespacedName{Namespace: namespace, Name: p.name}] = storage.PodMetricsPoint{Containers: containers}
	}
	w.after(w.Plant.Metrics.Delay.Duration, func() {
		w.metrics.Store(batch)
		w.tellMetrics()
	})
	w.after(w.Plant.Metrics.Resolution.Duration, w.scrape)
}

// served is what metrics-server's API tells of the pods that run.
func (w *world) served() []metrics.PodMetrics {
	running := make([]*metav1.PartialObjectMetadata, 0, len(w.pods))
	for _, p := range w.pods {
		if p.started {
			running = append(running, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: p.name}})
		}
	}
	r, err := w.metrics.GetPodMetrics(running...)
	if err != nil {
		panic(err) // it has none
	}
	return r
}
