package analysis

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// syncPeriods are those that an HPA controller may have, in seconds.
var syncPeriods = []float64{60, 30, 20, 15, 10, 5}

// Gaps that say a sync period. Any gap is taken for a multiple of a period with a probability of 1/4 at most (see
// Multiples), so that four are by chance once in 256. Those of 15 s, Kubernetes' default, are multiples of 30 s or 60 s
// with 1/2 or 1/4: eight are by chance once in 256.
// They are none of 20 s or 10 s, for which four are enough.
const fewGaps, enoughGaps = 4, 8

// SyncPeriod is the period of the HPA controller, in seconds, of which nine of ten times
// between two changes of an HPA's status are multiples, and how many of them could tell; 0 if
// they tell none. In 21 real runs all 352 gaps were multiples; one of ten may be another's doing, as a restart's.
func SyncPeriod(gaps []float64) (period float64, informative int) {
	for _, period := range syncPeriods {
		least := fewGaps
		if period > 15 && period != 20 { // a multiple of the default
			least = enoughGaps
		}
		if multiples, informative := Multiples(gaps, period); informative >= least && len(multiples)*10 >= informative*9 {
			return period, informative
		}
	}
	return 0, 0
}

// Multiples are the indices of the gaps that are multiples of the period, and how many gaps
// could tell: a sync begins a period after the end of the one before, and takes some
// milliseconds. Where these add up to a quarter of the period, it is anyone's guess.
func Multiples(gaps []float64, period float64) (indices []int, informative int) {
	// In seconds: what a sync takes (in those 21 runs, on a busy machine, the medians are from 0.012 to 0.063), and by how
	// much an instant may be off besides (0.15 at most there).
	const sync, watch = 0.05, 0.25
	for i, gap := range gaps {
		n := math.Round(gap / (period + sync/2))
		late := n*sync + watch
		if late+watch >= period/4 {
			continue
		}
		informative++
		if over := gap - n*period; n > 0 && over > -watch && over < late {
			indices = append(indices, i)
		}
	}
	return indices, informative
}

// estimateSync takes the sync period from the changes of the HPA's status, where the flags
// are not known.
func (o *observed) estimateSync() {
	if o.flags.known {
		return
	}
	var gaps []float64
	last := -1
	for i, a := range o.hpas {
		if i == 0 || len(a.v.Status.CurrentMetrics) == 0 { // the first was there before the watch, since nobody knows when
			continue
		}
		if last >= 0 {
			if gap := a.t.Sub(o.hpas[last].t).Seconds(); gap > 0.5 { // else a follow-up of the same sync
				gaps = append(gaps, gap)
			}
		}
		last = i
	}
	if period, n := SyncPeriod(gaps); n > 0 {
		o.flags.Sync.Duration = time.Duration(period * float64(time.Second))
		o.flags.changes = n
	}
}

// assumed are sentences on what the record rests on that nobody measured.
func (o *observed) assumed(r *Result) (list []string) {
	if r.Cluster != nil {
		list = r.Cluster.Assumed
	}
	f := o.flags
	if r.Autoscaler == nil || f.known {
		return list
	}
	flags := append(slices.Clone(r.Autoscaler.Assumed), fmt.Sprintf("CPU initialization %s", f.CPUInitialization.Duration), fmt.Sprintf("initial readiness delay %s", f.InitialReadiness.Duration))
	by := ""
	if f.changes > 0 {
		by = fmt.Sprintf("; its sync period is %s by the times between %d changes of the HPA's status", f.Sync.Duration, f.changes+1)
	} else {
		flags = append(flags, fmt.Sprintf("sync period %s", f.Sync.Duration))
	}
	unknown := "this cluster does not show"
	if r.Cluster != nil {
		unknown = cmp.Or(r.Cluster.ControllersUnknown, unknown)
	}
	return append(list, fmt.Sprintf("the HPA controller's flags, which %s, are those of Kubernetes: %s%s.", unknown, strings.Join(flags, ", "), by))
}

// restsOnAssumed says whether a figure would be another if what is Assumed were otherwise:
// each one where pods are modelled, and on a real cluster what is worked out from the flags.
func (r *Result) restsOnAssumed(figure string) bool {
	switch {
	case strings.HasPrefix(figure, "hpa."):
		return false
	case r.Cluster != nil && len(r.Cluster.Assumed) > 0:
		return true
	case len(r.Assumed) == 0:
		return false
	}
	return slices.Contains([]string{"metricsLag", "decision", "stabilization", "heldByWindow", "lessWindow"}, figure[strings.LastIndex(figure, ".")+1:])
}
