package fit

import (
	"maps"
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
	cost, known := value(costName)
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
				if q.Name == costName && q.Missing == "" && known {
					p.Costs = append(p.Costs, math.Round(c*q.Value/cost*1000)/1000)
				}
			}
		}
	}
	if p.RoundTrip == nil {
		p.RoundTrip = fits[0].Plant.RoundTrip
	}
	if i := slices.IndexFunc(fits, func(f *Fit) bool { return f.Missing(costName) == "" && f.Plant.Workload.CPU != nil }); known && cost > 0 && i >= 0 {
		w := &p.Workload
		w.CPU, w.ConnectionCPU = fits[i].Plant.Workload.CPU, fits[i].Plant.Workload.ConnectionCPU
		was := w.CPU.Mean.Seconds()
		if w.ConnectionCPU != nil {
			was += w.ConnectionCPU.Seconds()
			w.ConnectionCPU = new(duration(w.ConnectionCPU.Seconds() * cost / was))
		}
		w.CPU = &model.Cost{Mean: duration(w.CPU.Mean.Seconds() * cost / was), Distribution: w.CPU.Distribution, Deviation: w.CPU.Deviation}
	}
	for name, put := range figures {
		if v, ok := value(name); ok {
			put(p, v)
		}
	}
	p.Workload.Metrics = maps.Clone(p.Workload.Metrics)
	for name, metric := range p.Workload.Metrics {
		if v, ok := value(customPrefix + name); ok {
			metric.Scale = v
			p.Workload.Metrics[name] = metric
		}
	}
	p.Assumed = nil
	for _, f := range fits {
		for _, text := range f.given() { // of a modelled run
			if !slices.Contains(p.Assumed, text) {
				p.Assumed = append(p.Assumed, text)
			}
		}
	}
	p.Assumed = append(p.Assumed, m.unmeasured()...)
	return m
}

const costName = "workload.cpu"

// figures put the parameters that are one figure each into a plant.
var figures = map[string]func(p *simulate.Plant, v float64){
	"workload.idleCPU": func(p *simulate.Plant, v float64) {
		p.Workload.IdleCPU = resource.NewScaledQuantity(int64(v*1e9), resource.Nano)
	},
	"workload.startCPU": func(p *simulate.Plant, v float64) { p.Workload.StartCPU = new(duration(v)) },
	"workload.memory": func(p *simulate.Plant, v float64) {
		p.Workload.Memory = resource.NewQuantity(int64(v), resource.BinarySI)
	},
	"workload.memoryPerRequest": func(p *simulate.Plant, v float64) {
		p.Workload.MemoryPerRequest = resource.NewQuantity(int64(v), resource.BinarySI)
	},
	"workload.memoryHeld": func(p *simulate.Plant, v float64) {
		p.Workload.MemoryHeld = &metav1.Duration{Duration: seconds(v).Round(time.Second)}
	},
	"workload.workers":     func(p *simulate.Plant, v float64) { p.Workload.Workers = new(int(math.Round(v))) },
	"workload.wait":        func(p *simulate.Plant, v float64) { p.Workload.Wait = &model.Cost{Mean: duration(v)} },
	"workload.queue":       func(p *simulate.Plant, v float64) { p.Workload.Queue = new(int(math.Round(v))) },
	"controlPlane.latency": func(p *simulate.Plant, v float64) { p.Control.Latency = duration(v) },
	"metrics.delay":        func(p *simulate.Plant, v float64) { p.Metrics.Delay = duration(v) },
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
