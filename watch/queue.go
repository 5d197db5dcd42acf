package watch

import (
	"context"
	"time"

	"github.com/hpabench/hpabench/record"
)

// ReadQueue reads a queue at once and every interval until ctx is done, and records what changed. A reading that fails opens a
// gap, which begins with the last one that did not.
func ReadQueue(ctx context.Context, rec *record.Recorder, every time.Duration, read func(context.Context) (*record.Queue, error)) {
	gap := gap{rec: rec, source: record.QueueSource}
	var told *record.Queue // what is in the record, since since; nil in a gap
	var since record.Instant
	var answered *record.Instant
	repeat(ctx, every, func(ctx context.Context) {
		asked := rec.Clock.Now()
		now, err := read(ctx)
		at := rec.Clock.Now()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			if answered != nil {
				asked = *answered // nothing is known of the time since
			}
			gap.fail(asked, err)
			told = nil
			return
		}
		gap.end(at)
		answered = &at
		if took := at.Sub(asked); took > every {
			now.Took = took.Seconds()
		}
		if told == nil || !told.Same(now) || at.Sub(since) >= record.SignalEvery {
			told, since = now, at
			rec.AddAt(at, record.Entry{Queue: now})
		}
	})
	gap.end(rec.Clock.Now())
}
