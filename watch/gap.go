package watch

import (
	"errors"
	"net/url"

	"github.com/hpabench/hpabench/record"
)

// gap keeps book of the stretches in which one source cannot be observed. It is
// not safe for use by several goroutines.
type gap struct {
	rec    *record.Recorder
	source string
	open   *record.Gap // nil while the source can be observed
	failed bool        // the cause names an error already
}

// begin opens a gap at from, unless one is open.
func (g *gap) begin(from record.Instant, cause string) {
	if g.open == nil {
		g.open = &record.Gap{Source: g.source, From: from, Cause: cause}
		g.failed = false
	}
}

// fail opens a gap at from because of err, or adds the first error to the cause
// of the one that is open.
func (g *gap) fail(from record.Instant, err error) {
	// The request's address is long and says no more than the source does.
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	switch {
	case g.open == nil:
		g.begin(from, err.Error())
	case !g.failed:
		g.open.Cause += "; " + err.Error()
	}
	g.failed = true
}

// end writes the open gap, if any.
func (g *gap) end(to record.Instant) {
	if g.open == nil {
		return
	}
	g.open.To = to
	g.rec.AddAt(to, record.Entry{Gap: g.open})
	g.open = nil
}
