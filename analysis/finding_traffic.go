package analysis

import (
	"fmt"
	"time"

	"github.com/hpabench/hpabench/record"
	corev1 "k8s.io/api/core/v1"
)

// traffic finds what the load met.
func (d *diagnosis) traffic() {
	d.cpuLimit()
	d.starved()
	d.terminatingErrors()
}

// cpuLimit finds containers whose CPU stood at their limit for two samples.
func (d *diagnosis) cpuLimit() {
	type key struct{ pod, container string }
	limits := map[key]float64{}
	for _, p := range d.observed.pods {
		for _, c := range p.now.Containers {
			if q, ok := c.Limits[corev1.ResourceCPU]; ok {
				limits[key{p.name, c.Name}] = q.AsApproximateFloat64()
			}
		}
	}
	since := map[key]record.Instant{}
	for _, e := range d.entries {
		m := entryOf[readings](e)
		if m == nil || e.At < d.start || e.At > d.end {
			continue
		}
		for i := range m.samples {
			s := &m.samples[i]
			if !s.New {
				continue
			}
			for _, c := range m.containersOf(s) {
				k := key{m.pod(s), m.name(&c)}
				limit, has := limits[k]
				if !has || c.CPU < 0.95*limit {
					delete(since, k)
					continue
				}
				from, again := since[k]
				if !again {
					since[k] = e.At
					continue
				}
				d.add(Finding{Kind: FoundCPULimit, Severity: Limits, Object: "pod/" + k.pod, SinceSeconds: new(from.Seconds()), UntilSeconds: d.until(e.At),
					Seen:   fmt.Sprintf("Container %s used %.0fm of CPU, and its limit is %.0fm.", k.container, c.CPU*1000, limit*1000),
					Cause:  "The kernel throttles it there (metrics.k8s.io does not tell for how long), so that requests wait; and the HPA sees no more load than that.",
					Advice: "Raise or remove the CPU limit; the request is what the HPA's target and the scheduler go by."})
			}
		}
	}
}

// starved finds new pods that get next to nothing of a load on kept connections.
func (d *diagnosis) starved() {
	resolution := d.resolution()
	twice, there := 0, living{pods: d.observed.pods}
	for _, e := range d.entries {
		m := entryOf[readings](e)
		if m == nil || e.At < d.start || e.At > d.end || !d.kept(e.At) {
			continue
		}
		fresh := false
		use := map[string]float64{}
		for i := range m.samples {
			s := &m.samples[i]
			fresh = fresh || s.New
			for _, c := range m.containersOf(s) {
				use[m.pod(s)] += c.CPU
			}
		}
		if !fresh {
			continue
		}
		// The old pods are those that were there when the load began.
		var old, young []*pod
		for _, p := range there.at(e.At) {
			_, sampled := use[p.name]
			switch {
			case !sampled || !p.isReadyAt(e.At):
			case p.before || p.inService.seen && p.inService.t < d.onset(e.At):
				old = append(old, p)
			case p.inService.seen && e.At.Sub(p.inService.t) > 2*resolution+housekeeping:
				young = append(young, p)
			}
		}
		mean := func(pods []*pod) (sum float64) {
			for _, p := range pods {
				sum += use[p.name]
			}
			return sum / float64(len(pods))
		}
		if len(old) == 0 || len(young) == 0 || !d.aboveTarget(old, mean(old)) || mean(young) >= 0.2*mean(old) {
			twice = 0
			continue
		}
		if twice++; twice < 2 {
			continue
		}
		f := Finding{Kind: FoundStarved, Severity: Limits, Object: d.target(), SinceSeconds: new(young[0].inService.t.Seconds()),
			Seen:   fmt.Sprintf("%s used %.0fm of CPU each, while %s from before used %.0fm each.", record.Counted(len(young), "new pod"), mean(young)*1000, record.Counted(len(old), "pod"), mean(old)*1000),
			Cause:  "A kept connection stays with the pod that it was opened to (keep-alive), so that new pods get requests only by new connections.",
			Advice: "Close connections after a while (the server's limit of requests or age per connection, or a proxy that balances requests); `keepAlive: false` in the scenario shows the difference."}
		d.add(f)
		return
	}
}

// kept says whether the load at t goes over kept connections.
func (d *diagnosis) kept(t record.Instant) bool {
	for _, s := range d.spans {
		if s.start <= t && t < s.end {
			return s.plan.KeepAlive && s.plan.Shape != record.ShapeIdle || s.plan.Shape == record.ShapeObserved
		}
	}
	return false
}

// onset is the start of the phase at t.
func (d *diagnosis) onset(t record.Instant) record.Instant {
	for _, s := range d.spans {
		if s.start <= t && t < s.end {
			return s.start
		}
	}
	return d.start
}

// aboveTarget says whether pods with that CPU on average, in cores, are above the
// HPA's target of CPU.
func (d *diagnosis) aboveTarget(pods []*pod, cpu float64) bool {
	hpa := d.autoscaler(d.end)
	if hpa == nil {
		return false
	}
	for _, m := range hpa.Spec.Metrics {
		if m.Resource == nil || m.Resource.Name != corev1.ResourceCPU {
			continue
		}
		target := m.Resource.Target
		if target.AverageValue != nil {
			return cpu > target.AverageValue.AsApproximateFloat64()
		}
		requested := 0.0
		for _, c := range pods[0].now.Containers {
			q := c.Requests[corev1.ResourceCPU]
			requested += q.AsApproximateFloat64()
		}
		return target.AverageUtilization != nil && requested > 0 && cpu/requested*100 > float64(*target.AverageUtilization)
	}
	return false
}

// terminatingErrors finds requests that failed while a pod ended, and not before.
func (d *diagnosis) terminatingErrors() {
	total := func(from, to record.Instant) (c secondSum) {
		for n := int(from.Seconds()); n <= int(to.Seconds()); n++ {
			s := d.loads.second(n)
			c.errors += s.errors
			c.done += s.done
		}
		return c
	}
	for _, p := range d.observed.pods {
		if !p.terminating.seen || p.terminating.t < d.start || p.terminating.t >= d.end || d.endedWithAll(p.terminating.t) {
			continue
		}
		end := d.end
		if p.gone.seen {
			end = min(end, p.gone.t.Add(time.Second))
		}
		during := total(p.terminating.t, end)
		from := max(d.start, p.terminating.t.Add(-10*time.Second))
		before := total(from, p.terminating.t.Add(-time.Second))
		share := func(c secondSum) float64 { return float64(c.errors) / float64(max(c.done, 1)) }
		if during.errors == 0 || before.errors > 0 && share(during) < 5*share(before) {
			continue
		}
		listed := "its endpoint was taken out of service"
		if p.left.seen {
			listed = fmt.Sprintf("its address was no longer ready in the EndpointSlice %.1f s after it began to end", max(0, p.left.t.Sub(p.terminating.t).Seconds()))
		} else if p.serving {
			listed = "its address stayed ready in the EndpointSlice"
		}
		d.add(Finding{Kind: FoundTerminatingError, Severity: Limits, Object: "pod/" + p.name, SinceSeconds: new(p.terminating.t.Seconds()), UntilSeconds: d.until(end),
			Seen:   fmt.Sprintf("While it ended, %d of %d requests failed; in the 10 s before, %d of %d did. %s.", during.errors, during.done, before.errors, before.done, sentence(listed)[:len(sentence(listed))-1]),
			Cause:  "The server stops when it is told to, while requests still come to it: nodes and proxies learn later than it that it goes.",
			Advice: "Give the container a preStop hook that sleeps for a few seconds (`preStop: {sleep: {seconds: 5}}`), and let the server finish what it has begun."})
	}
}
