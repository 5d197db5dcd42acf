package containers

import "time"

// period is the length of a CFS bandwidth period: the kernel's default, which
// kubelets leave as it is.
const period = 100 * time.Millisecond

// A ledger says how much CPU time is taken in each period, from the present one
// as far as something is reserved. Instants are durations since the node's start.
type ledger struct {
	first   int64 // index of entries[0]
	entries []entry
}

type entry struct {
	used      time.Duration
	throttled time.Duration // summed over the threads that were held back
	since     time.Duration // the instant at which the first of them was
}

// at returns the entry of the period with index i, which cannot be before the
// first. It is valid until the next call.
func (l *ledger) at(i int64) *entry {
	for int64(len(l.entries)) <= i-l.first {
		l.entries = append(l.entries, entry{})
	}
	return &l.entries[i-l.first]
}

// pass drops what is before the period with index i, giving each entry to f.
func (l *ledger) pass(i int64, f func(entry)) {
	n := min(i-l.first, int64(len(l.entries)))
	for _, e := range l.entries[:max(n, 0)] {
		f(e)
	}
	if n > 0 {
		l.entries = append(l.entries[:0], l.entries[n:]...)
	}
	l.first = max(l.first, i)
}
