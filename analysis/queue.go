package analysis

import (
	"fmt"
	"slices"
	"time"

	"github.com/hpabench/hpabench/record"
)

// queue sums up the readings of the queue; nil if there was none to read. See Queue.
func (o *observed) queue() *Queue {
	gap := slices.IndexFunc(o.gaps, func(g record.Gap) bool { return g.Source == record.QueueSource })
	if len(o.queues) == 0 && gap < 0 {
		return nil
	}
	q := &Queue{Oldest: absent("no reading told the age of a message (load.queue.oldest)"), Drain: o.drained()}
	for _, reading := range o.queues[max(0, after(o.queues, o.start)-1):max(after(o.queues, o.start), after(o.queues, o.end))] {
		is := reading.v
		if q.Last = &is.Backlog; q.Peak == nil || is.Backlog > *q.Peak {
			q.Peak, q.PeakAt = &is.Backlog, new(max(reading.t, o.start).Seconds())
		}
		if is.Oldest != nil && (q.Oldest.Seconds == nil || *is.Oldest > *q.Oldest.Seconds) {
			q.Oldest = Latency{Seconds: is.Oldest, PrecisionSeconds: (o.every() + took(is)).Seconds()}
		}
	}
	if q.Peak == nil {
		q.Missing = "the queue was not read during the phases"
		if gap >= 0 {
			q.Missing = "the queue could not be read: " + o.gaps[gap].Cause
		}
		q.Oldest, q.Drain = absent(q.Missing), absent(q.Missing)
	}
	return q
}

// drained is from the end of the last phase that sends requests until the backlog is first read as 0.
func (o *observed) drained() Latency {
	i := len(o.spans) - 1
	for i >= 0 && o.spans[i].plan.Shape == record.ShapeIdle {
		i--
	}
	switch {
	case i < 0:
		return absent("no phase sent requests")
	case !o.spans[i].ended:
		return absent("the load was cut short")
	}
	from := o.spans[i].end
	if o.end < from.Add(o.every()) {
		return absent("the run ended with its load: a phase with rate: 0 after it shows how the queue drains")
	}
	readings := between(o.queues, from+1, o.end)
	// A reading that is as the one before is not recorded: 0 stands unless there is another one in the first interval.
	was, known := last(o.queues, from)
	hidden := slices.ContainsFunc(o.gaps, func(g record.Gap) bool {
		return g.Source == record.QueueSource && g.From < from.Add(o.every()) && g.To > from
	})
	if known && was.Backlog == 0 && !hidden && (len(readings) == 0 || readings[0].v.Backlog == 0 || readings[0].t > from.Add(o.every()+WatchDelay)) {
		return Latency{Seconds: new(0.0), PrecisionSeconds: (o.every() + took(was)).Seconds()}
	}
	for _, r := range readings {
		if r.v.Backlog == 0 {
			s := o.see(record.QueueSource, r.t)
			s.blur += took(r.v)
			return latency(from, s)
		}
		was, known = r.v, true
	}
	missing := o.missing(window{onset: from, end: o.end, endedBy: o.endedBy}, "an empty queue", record.QueueSource)
	if known {
		missing += fmt.Sprintf("; %s messages were read last", record.Plain(was.Backlog, 0))
	}
	return absent(missing)
}

// took is how long the answer of a reading did, where that is more than the interval between readings.
func took(q *record.Queue) time.Duration { return time.Duration(q.Took * float64(time.Second)) }

// queueAt is the reading that stands at t; nil where the queue could not be read then.
func (o *observed) queueAt(t record.Instant) *record.Queue {
	q, _ := last(o.queues, t)
	if slices.ContainsFunc(o.gaps, func(g record.Gap) bool { return g.Source == record.QueueSource && g.From < t && g.To > t }) {
		return nil
	}
	return q
}
