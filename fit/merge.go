package fit

import (
	"math"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/simulate"
)

// merge makes one fit of several: figures are averages, weighted by how many samples they
// are of, bounds the widest, and cases those of all. The nodes, the flags, whether
// kubelets sample on their own and what custom metrics are of are the first one's.
func merge(fits []*Fit) *Fit {
	if len(fits) == 1 {
		return fits[0]
	}
	m := &Fit{Version: Version, Plant: fits[0].Plant}
	var from []string
	for _, f := range fits {
		from = append(from, f.From)
	}
	m.From = strings.Join(from, ", ")
	for _, f := range fits { // the worst: of all together there is no record
		if r := f.Reproduction; r != nil && (m.Reproduction == nil || r.Problem != "" || m.Reproduction.Problem == "" && r.Error > m.Reproduction.Error) {
			m.Reproduction = r
		}
	}
	for _, f := range fits {
		for _, p := range f.Measured {
			i := slices.IndexFunc(m.Measured, func(q Parameter) bool { return q.Name == p.Name })
			if is := average(fits, p); i < 0 {
				m.Measured = append(m.Measured, is)
			} else if m.Measured[i].Missing != "" {
				m.Measured[i] = is
			}
		}
	}
	value := func(name string) (float64, bool) {
		i := slices.IndexFunc(m.Measured, func(p Parameter) bool { return p.Name == name })
		return m.Measured[max(i, 0)].Value, i >= 0 && m.Measured[i].Missing == ""
	}
	p := &m.Plant
	p.Costs, p.Pods, p.RoundTrip = nil, simulate.Stages{}, nil
	cost, known := value("workload.cpu")
	for _, f := range fits {
		s := f.Plant.Pods
		if !slices.ContainsFunc(f.Measured, func(q Parameter) bool { return q.Name == "roundTrip" && q.Missing != "" }) {
			p.RoundTrip = append(p.RoundTrip, f.Plant.RoundTrip...)
		}
		for _, name := range stageNames {
			all := stageOf(&p.Pods, name)
			*all = append(*all, *stageOf(&s, name)...)
		}
		// What a request costs is relative to the average of all now.
		for _, q := range f.Measured {
			for _, c := range f.Plant.Costs {
				if q.Name == "workload.cpu" && q.Missing == "" && known {
					p.Costs = append(p.Costs, math.Round(c*q.Value/cost*1000)/1000)
				}
			}
		}
	}
	if w := &p.Workload; known && cost > 0 && w.CPU != nil {
		was := w.CPU.Mean.Seconds()
		if w.ConnectionCPU != nil {
			was += w.ConnectionCPU.Seconds()
			w.ConnectionCPU = new(duration(w.ConnectionCPU.Seconds() * cost / was))
		}
		w.CPU = &model.Cost{Mean: duration(w.CPU.Mean.Seconds() * cost / was), Distribution: w.CPU.Distribution, Deviation: w.CPU.Deviation}
		idle, _ := value("workload.idleCPU")
		start, _ := value("workload.startCPU")
		memory, _ := value("workload.memory")
		each, _ := value("workload.memoryPerRequest")
		w.IdleCPU = resource.NewScaledQuantity(int64(idle*1e9), resource.Nano)
		w.StartCPU = new(duration(start))
		if held, ok := value("workload.memoryHeld"); ok {
			w.MemoryHeld = &metav1.Duration{Duration: seconds(held).Round(time.Second)}
		}
		w.Memory, w.MemoryPerRequest = resource.NewQuantity(int64(memory), resource.BinarySI), resource.NewQuantity(int64(each), resource.BinarySI)
	}
	if p.RoundTrip == nil {
		p.RoundTrip = fits[0].Plant.RoundTrip
	}
	if n, ok := value("workload.workers"); ok {
		p.Workload.Workers = new(int(math.Round(n)))
		wait, _ := value("workload.wait")
		p.Workload.Wait = &model.Cost{Mean: duration(wait)}
	}
	if n, ok := value("workload.queue"); ok {
		p.Workload.Queue = new(int(math.Round(n)))
	}
	metrics := map[string]model.Metric{}
	for name, metric := range p.Workload.Metrics {
		if v, ok := value(customPrefix + name); ok {
			metric.Scale = v
		}
		metrics[name] = metric
	}
	if len(metrics) > 0 {
		p.Workload.Metrics = metrics
	}
	if v, ok := value("controlPlane.latency"); ok {
		p.Control.Latency = duration(v)
	}
	if v, ok := value("metrics.delay"); ok {
		p.Metrics.Delay = duration(v)
	}
	p.Assumed = nil
	for _, f := range fits {
		for _, text := range f.Plant.Assumed { // of a modelled run
			if !slices.Contains(p.Assumed, text) && !slices.Contains(f.unmeasured(), text) {
				p.Assumed = append(p.Assumed, text)
			}
		}
	}
	p.Assumed = append(p.Assumed, m.unmeasured()...)
	return m
}

// average is a parameter over the fits that have measured it.
func average(fits []*Fit, p Parameter) Parameter {
	sum, n := 0.0, 0
	is := Parameter{Name: p.Name, Unit: p.Unit, Low: math.Inf(1), High: math.Inf(-1)}
	for _, f := range fits {
		for _, q := range f.Measured {
			if q.Name == p.Name && q.Unit == p.Unit && q.Missing == "" { // a unit tells over how long a rate is
				sum += q.Value * float64(q.Samples)
				n += q.Samples
				is.Low, is.High = min(is.Low, q.Low), max(is.High, q.High)
			}
		}
	}
	if n == 0 {
		return p
	}
	is.Value, is.Samples = sum/float64(n), n
	return is
}
