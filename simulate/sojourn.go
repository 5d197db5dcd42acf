package simulate

import (
	"math"

	"github.com/hpabench/hpabench/model"
)

// sojourns are how long the requests of a pod without a line take in it.
func (w *world) sojourns(p *pod) *model.Latencies {
	connects, most := w.connects(), w.modelled.MostCPU()
	share := model.Level(p.cores / most)
	cores, highest := most*share, w.modelled.MaxRate(connects, p.costs, most*share)
	if share == 1 { // the limit is what it is held to, and not the processors
		cores = w.modelled.Cores
	}
	if phase := w.traffic.phase; p.workers > 0 && phase >= 0 && inWaves(&w.Phases[phase]) { // that come evenly in a short time
		return w.modelled.Sojourns(w.Sojourns, model.OpenArrivals(p.rate/highest, highest, 1), connects, p.costs, cores)
	} else if p.workers > 0 && phase >= 0 {
		pause := w.trip + w.Phases[phase].Think
		followed := min(max(1, int(math.Round(p.workers))), maxFollowedWorkers)
		if p.workers <= maxFollowedWorkers {
			return w.modelled.Sojourns(w.Sojourns, model.Arrivals{Workers: followed, Pause: seconds(pause)}, connects, p.costs, cores)
		}
		// Many are as good as any that send at the same rate, or all wait for each other.
		load := p.workers / max(w.service().Seconds()+pause, least) / highest
		if took := p.workers/highest - pause; load >= 1 {
			return model.Range(took, took)
		}
		return w.modelled.Sojourns(w.Sojourns, model.OpenArrivals(load, highest, 1), connects, p.costs, cores)
	}
	if w.receiving < 0 {
		w.receiving = 0
		for _, other := range w.serving {
			if other.rate > 0 {
				w.receiving++
			}
		}
	}
	pods := w.receiving
	if w.Even {
		pods = 1
	}
	return w.modelled.Sojourns(w.Sojourns, model.OpenArrivals(p.rate/p.highest, highest, pods), connects, p.costs, cores)
}

// maxFollowedWorkers is the number of workers of a closed loop that are followed one by one. It is chosen: 40 and 70 workers
// that think for 0.2 and 0.5 s send as much, and have the same p99, with 32 and with 128.
const maxFollowedWorkers = 64

// InPod is how long requests are in a pod, where they come at a rate, in requests a second, to
// each of some pods, and cost so much of the mean. Requests of a Chain are all those for one of the load.
func (r *Run) InPod(rate float64, pods int, connects bool, costs float64) *model.Latencies {
	if r.Sojourns == nil {
		r.Sojourns = new(model.SojournCache)
	}
	p, costs := r.inAll(), costs*r.Times()
	highest := p.MaxRate(connects, costs, p.MostCPU())
	return p.Sojourns(r.Sojourns, model.OpenArrivals(rate/highest, highest, pods), connects, costs, p.Cores)
}
