package scenarios

import (
	"bytes"
	"crypto/x509"
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hpabench/hpabench/record"
)

// ViaOrAuto is Via with its default.
func (l *Load) ViaOrAuto() string {
	if l.Via == "" {
		return ViaAuto
	}
	return l.Via
}

// RequestTimeout is Timeout with its default.
func (l *Load) RequestTimeout() time.Duration {
	if l.Timeout == nil {
		return 30 * time.Second
	}
	return l.Timeout.Duration
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
	keepAlive := p.HasLoad() && (p.KeepAlive == nil || *p.KeepAlive)
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
		if p.ThinkTime != nil {
			r.Think = p.ThinkTime.Seconds()
		}
	case p.Noise != nil:
		r.Shape, r.Curve = record.ShapeCurve, p.Noise.curve(r.Seconds)
		r.Made = fmt.Sprintf("%g ± %g/s at random", p.Noise.Base, p.Noise.Amplitude)
	case p.Replay != nil:
		r.Shape, r.Curve = record.ShapeCurve, p.Replay.curve(f.traces[p.Replay.File])
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

// curve is drawn by math/rand/v2's PCG, whose numbers for a seed do not change.
func (n *Noise) curve(seconds float64) (points []record.RatePoint) {
	every := 1.0
	if n.Every != nil {
		every = n.Every.Seconds()
	}
	random := rand.New(rand.NewPCG(n.Seed, 0))
	for at := 0.0; at < seconds; at += every {
		rate := n.Base + n.Amplitude*(2*random.Float64()-1)
		points = append(points, record.RatePoint{At: at, Rate: rate}, record.RatePoint{At: min(at+every, seconds), Rate: rate})
	}
	return points
}

// curve is the trace, scaled and stretched.
func (r *Replay) curve(trace []record.RatePoint) []record.RatePoint {
	scale, stretch := 1.0, 1.0
	if r.Scale != nil {
		scale = *r.Scale
	}
	if r.Stretch != nil {
		stretch = *r.Stretch
	}
	points := make([]record.RatePoint, len(trace))
	for i, p := range trace {
		points[i] = record.RatePoint{At: p.At * stretch, Rate: p.Rate * scale}
	}
	return points
}

// readTraces reads the files of all replays.
func (c *checker) readTraces(open Open, at string, phases []Phase) {
	for i := range phases {
		here := fmt.Sprintf("%s[%d]", at, i)
		c.readTraces(open, here+".phases", phases[i].Phases)
		r := phases[i].Replay
		if r == nil {
			continue
		}
		shown, source, err := open(r.File)
		if err == nil {
			c.traces[r.File], err = readTrace(shown, source)
		} else {
			err = fmt.Errorf("trace %s: %w", r.File, cause(err))
		}
		if err != nil {
			c.fault(here+".replay.file", "traces are looked for beside the scenario file", "%v", err)
		}
	}
}

// readTrace reads a trace, see Replay.File.
func readTrace(name string, source []byte) ([]record.RatePoint, error) {
	rows := csv.NewReader(bytes.NewReader(source))
	rows.FieldsPerRecord = -1
	list, err := rows.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("trace %s: %w", name, err)
	}
	if len(list) < 2 {
		return nil, fmt.Errorf("trace %s holds no rates", name)
	}
	if head := list[0]; len(head) == 2 && head[0] == "seconds" && head[1] == "rate" {
		return stepsOf(name, list[1:])
	}
	if len(list[0]) < 8 {
		return nil, fmt.Errorf("trace %s is neither CSV with the header seconds,rate nor results of vegeta as CSV", name)
	}
	return countsOf(name, list)
}

// stepsOf makes each rate hold until the next; the last one for as long as the
// one before it.
func stepsOf(name string, rows [][]string) (points []record.RatePoint, err error) {
	for i, row := range rows {
		at, err := strconv.ParseFloat(strings.TrimSpace(row[0]), 64)
		var rate float64
		if err == nil {
			rate, err = strconv.ParseFloat(strings.TrimSpace(row[1]), 64)
		}
		switch n := len(points); {
		case err != nil || at < 0 || rate < 0 || math.IsInf(at, 0) || math.IsNaN(at+rate) || rate > 1e6:
			return nil, fmt.Errorf("%s:%d: %q is no time in seconds and rate from 0 to 1000000", name, i+2, strings.Join(row, ","))
		case i == 0 && at != 0:
			return nil, fmt.Errorf("%s:%d: a trace begins at second 0", name, i+2)
		case n > 0 && at <= points[n-1].At:
			return nil, fmt.Errorf("%s:%d: second %g comes after second %g", name, i+2, at, points[n-1].At)
		case n > 0:
			points = append(points, record.RatePoint{At: at, Rate: points[n-1].Rate})
		}
		points = append(points, record.RatePoint{At: at, Rate: rate})
	}
	if len(rows) == 1 {
		return nil, fmt.Errorf("trace %s needs two rows at least: the last one says when the trace ends", name)
	}
	return points, nil
}

// countsOf counts vegeta's results by the second: their first field is the time
// of the sending, in nanoseconds since 1970.
func countsOf(name string, rows [][]string) (points []record.RatePoint, err error) {
	var times []int64
	for i, row := range rows {
		t, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %q is no time in nanoseconds", name, i+1, row[0])
		}
		times = append(times, t)
	}
	first := slices.Min(times)
	counts := make([]float64, (slices.Max(times)-first)/1e9+1)
	if len(counts) > 7*24*3600 {
		return nil, fmt.Errorf("trace %s spans more than a week", name)
	}
	for _, t := range times {
		counts[(t-first)/1e9]++
	}
	for s, n := range counts {
		points = append(points, record.RatePoint{At: float64(s), Rate: n}, record.RatePoint{At: float64(s + 1), Rate: n})
	}
	return points, nil
}
