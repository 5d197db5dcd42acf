package scenarios

import (
	"net/http"
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

// RequestMethod is Method with its default: GET, or POST when there is a body.
func (l *Load) RequestMethod() string {
	switch {
	case l.Method != "":
		return l.Method
	case l.Body != "":
		return http.MethodPost
	}
	return http.MethodGet
}

// RequestPath is Path with its default.
func (l *Load) RequestPath() string {
	if l.Path == "" {
		return "/"
	}
	return l.Path
}

// RequestTimeout is Timeout with its default.
func (l *Load) RequestTimeout() time.Duration {
	if l.Timeout == nil {
		return 30 * time.Second
	}
	return l.Timeout.Duration
}

// HasLoad says whether any request is sent in the phase.
func (p *Phase) HasLoad() bool { return p.Rate == nil || *p.Rate > 0 }

// HasLoad says whether any phase has load.
func (f *File) HasLoad() bool {
	for i := range f.Spec.Load.Phases {
		if f.Spec.Load.Phases[i].HasLoad() {
			return true
		}
	}
	return false
}

// Phases are the phases as a record has them.
func (f *File) Phases() []record.Phase {
	phases := make([]record.Phase, len(f.Spec.Load.Phases))
	for i := range f.Spec.Load.Phases {
		phases[i] = f.Spec.Load.Phases[i].record()
	}
	return phases
}

func (p *Phase) record() record.Phase {
	r := record.Phase{
		Name:      p.Name,
		Seconds:   p.Duration.Seconds(),
		KeepAlive: p.HasLoad() && (p.KeepAlive == nil || *p.KeepAlive),
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
		r.Shape, r.Workers = record.ShapeWorkers, *p.Workers
	}
	return r
}
