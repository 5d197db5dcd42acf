package scenarios

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/hpabench/hpabench/record"
)

// ViaOrAuto is Via with its default.
func (l *Load) ViaOrAuto() string { return cmp.Or(l.Via, ViaAuto) }

// PathOrDefault is Path with its default.
func (q *Queue) PathOrDefault() string { return cmp.Or(q.Path, "/metrics") }

// RequestTimeout is Timeout with its default.
func (l *Load) RequestTimeout() time.Duration {
	return ptr.Deref(l.Timeout, metav1.Duration{Duration: 30 * time.Second}).Duration
}

// readRoots reads the certificates of load.tls.
func (c *checker) readRoots(open Open) {
	t := c.Spec.Load.TLS
	if t == nil || t.CAFile == "" {
		return
	}
	_, pem, err := open(t.CAFile)
	if err != nil {
		c.fault("spec.load.tls.caFile", "certificates are looked for beside the scenario file", "certificates %s: %v", t.CAFile, cause(err))
		return
	}
	c.roots = pem
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		c.fault("spec.load.tls.caFile", "", "certificates %s: it holds none in PEM", t.CAFile)
	}
}

// Roots are the certificates that an https URL is checked against, in PEM; nil for
// the system's.
func (f *File) Roots() []byte { return f.roots }

// HasLoad says whether any request is sent in the phase.
func (p *Phase) HasLoad() bool {
	if p.Phases != nil {
		return slices.ContainsFunc(p.Phases, func(p Phase) bool { return p.HasLoad() })
	}
	return p.Rate == nil || *p.Rate > 0
}

// HasLoad says whether any phase has load.
func (f *File) HasLoad() bool {
	return slices.ContainsFunc(f.Spec.Load.Phases, func(p Phase) bool { return p.HasLoad() })
}

// Phases are the phases as a record has them: steps, spikes and repetitions are
// rows of phases there.
func (f *File) Phases() (list []record.Phase) {
	for _, p := range f.flatten(f.Spec.Load.Phases, "", "") {
		list = append(list, p.Phase)
	}
	return list
}

// planned is a phase as a record has it, and what it sends.
type planned struct {
	record.Phase
	requests []HTTPRequest
}

func (f *File) flatten(phases []Phase, before, after string) (list []planned) {
	for i := range phases {
		p := &phases[i]
		name := before + p.Name + after
		for turn := range p.Repeat {
			list = append(list, f.flatten(p.Phases, name+"_", fmt.Sprintf("_%d", turn+1))...)
		}
		if p.Repeat == 0 {
			for _, r := range f.plan(p, name) {
				list = append(list, planned{r, p.requests})
			}
		}
	}
	return list
}

// plan is one phase of the scenario, without a repetition.
func (f *File) plan(p *Phase, name string) []record.Phase {
	keepAlive := p.HasLoad() && *cmp.Or(p.KeepAlive, f.Spec.Load.KeepAlive, new(true))
	r := record.Phase{Name: name, Seconds: p.Duration.Seconds(), KeepAlive: keepAlive}
	rate := func(part string, seconds, from, to float64) record.Phase {
		r := record.Phase{Name: name + "_" + part, Seconds: seconds, Shape: record.ShapeRate, From: from, KeepAlive: keepAlive}
		switch {
		case from != to:
			r.Shape, r.To = record.ShapeRamp, to
		case from == 0:
			r.Shape, r.KeepAlive = record.ShapeIdle, false
		}
		return r
	}
	switch {
	case !p.HasLoad():
		r.Shape = record.ShapeIdle
	case p.Rate != nil:
		r.Shape, r.From = record.ShapeRate, *p.Rate
	case p.Ramp != nil:
		r.Shape, r.From, r.To = record.ShapeRamp, p.Ramp.From, p.Ramp.To
	case p.Sine != nil:
		r.Shape, r.From, r.Amplitude, r.Period = record.ShapeSine, p.Sine.Mean, p.Sine.Amplitude, p.Sine.Period.Seconds()
	case p.Workers != nil:
		r.Shape, r.Workers, r.Requests = record.ShapeWorkers, *p.Workers, p.Requests
		r.Think = ptr.Deref(p.ThinkTime, metav1.Duration{}).Seconds()
	case p.Noise != nil:
		r.Shape, r.Curve = record.ShapeCurve, p.Noise.curve(r.Seconds)
		r.Made = fmt.Sprintf("%s ± %s/s at random", record.Plain(p.Noise.Base, 0), record.Plain(p.Noise.Amplitude, 0))
	case p.Replay != nil:
		r.Shape, r.Curve = record.ShapeCurve, p.Replay.curve(f.files.traces[p.Replay.File])
		if r.Seconds == 0 && len(r.Curve) > 0 {
			r.Seconds = r.Curve[len(r.Curve)-1].At
		}
		r.Made = "replay of " + p.Replay.File
	case p.Steps != nil:
		var list []record.Phase
		for i, step := range p.Steps {
			list = append(list, rate(fmt.Sprint(i+1), r.Seconds/float64(len(p.Steps)), step, step))
		}
		return list
	case p.Spike != nil:
		var list []record.Phase
		for _, part := range p.Spike.parts(r.Seconds) {
			if part.seconds > 0 {
				list = append(list, rate(part.name, part.seconds, part.from, part.to))
			}
		}
		return list
	}
	return []record.Phase{r}
}

type part struct {
	name              string
	seconds, from, to float64
}

func (s *Spike) parts(seconds float64) []part {
	after, rise, hold, fall := s.After.Seconds(), s.Rise.Seconds(), s.Hold.Seconds(), s.Fall.Seconds()
	return []part{{"base", after, s.Base, s.Base}, {"rise", rise, s.Base, s.Peak}, {"peak", hold, s.Peak, s.Peak},
		{"fall", fall, s.Peak, s.Base}, {"after", seconds - after - rise - hold - fall, s.Base, s.Base}}
}

// every is Every with its default, in seconds.
func (n *Noise) every() float64 {
	return ptr.Deref(n.Every, metav1.Duration{Duration: time.Second}).Seconds()
}

// points is how many points the curve has, 0 if every is a fault.
func (n *Noise) points(seconds float64) float64 {
	if n.every() < minEvery.Seconds() {
		return 0
	}
	return max(0, 2*seconds/n.every())
}

// curve is drawn by math/rand/v2's PCG, whose numbers for a seed do not change. It has no
// points if they are more than maxPoints, which is a fault.
func (n *Noise) curve(seconds float64) (points []record.RatePoint) {
	every := n.every()
	if n := n.points(seconds); n == 0 || n > maxPoints {
		return nil
	}
	random := rand.New(rand.NewPCG(n.Seed, 0))
	for at := 0.0; at < seconds; at += every {
		rate := n.Base + n.Amplitude*(2*random.Float64()-1)
		points = append(points, record.RatePoint{At: at, Rate: rate}, record.RatePoint{At: min(at+every, seconds), Rate: rate})
	}
	return points
}

// factors are Scale and Stretch with their defaults.
func (r *Replay) factors() (scale, stretch float64) {
	return ptr.Deref(r.Scale, 1), ptr.Deref(r.Stretch, 1)
}

// curve is the trace, scaled and stretched.
func (r *Replay) curve(trace []record.RatePoint) []record.RatePoint {
	scale, stretch := r.factors()
	points := make([]record.RatePoint, len(trace))
	for i, p := range trace {
		points[i] = record.RatePoint{At: p.At * stretch, Rate: p.Rate * scale}
	}
	return points
}

// extent is how much load phases are once they are written out.
type extent struct{ phases, points, seconds, requests float64 }

// extentOf reckons the extent without writing phases out.
func (f *File) extentOf(phases []Phase) (sum extent) {
	for i := range phases {
		p, turns := &phases[i], float64(max(1, phases[i].Repeat))
		var e extent
		if p.Phases != nil {
			e = f.extentOf(p.Phases)
		} else {
			e = f.extentOfPhase(p)
		}
		sum.phases += turns * e.phases
		sum.points += turns * e.points
		sum.seconds += turns * e.seconds
		sum.requests += turns * e.requests
	}
	return sum
}

func (f *File) extentOfPhase(p *Phase) (e extent) {
	for _, r := range f.plan(p, "") {
		seconds := max(0, r.Seconds)
		e = extent{e.phases + 1, e.points + float64(len(r.Curve)), e.seconds + seconds, e.requests}
		switch r.Shape {
		case record.ShapeRamp:
			e.requests += (r.From + r.To) / 2 * seconds
		case record.ShapeCurve:
			e.requests += r.CurveHits()(seconds)
		default:
			e.requests += r.From * seconds
		}
	}
	if p.Noise != nil { // whose curve may be too long to be drawn
		e.points, e.requests = p.Noise.points(e.seconds), p.Noise.Base*e.seconds
	}
	return e
}

// checkExtent refuses more load than one run can have. Where there is more than can be
// written out, the scenario cannot be looked at any further.
func (c *checker) checkExtent() {
	var sum extent
	for i := range c.Spec.Load.Phases {
		at := fmt.Sprintf("spec.load.phases[%d]", i)
		e := c.extentOf(c.Spec.Load.Phases[i : i+1])
		sum = extent{sum.phases + e.phases, sum.points + e.points, sum.seconds + e.seconds, sum.requests + e.requests}
		wrong := ""
		switch {
		case sum.phases > maxPhases:
			wrong, c.over = fmt.Sprintf("%.0f phases once repetitions and steps are written out, and may have %d", sum.phases, maxPhases), true
		case !(sum.points <= maxPoints):
			wrong, c.over = fmt.Sprintf("%.0f points of replays and noise, two for each row or rate, and may have %d", sum.points, maxPoints), true
		case sum.seconds > MaxDuration.Seconds():
			wrong = fmt.Sprintf("%.0f s, and may take %.0f (%.0f days)", sum.seconds, MaxDuration.Seconds(), MaxDuration.Hours()/24)
		case sum.requests > MaxRequests:
			wrong = fmt.Sprintf("%s requests, and may have %d", record.Plain(sum.requests, 3), int64(MaxRequests))
		default:
			continue
		}
		verb := "has"
		if sum.seconds > MaxDuration.Seconds() && !c.over {
			verb = "takes"
		}
		c.fault(at, "docs/load.md lists the limits", "with this phase the load %s %s", verb, wrong)
		return
	}
}
