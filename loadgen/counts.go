package loadgen

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/hpabench/hpabench/record"
)

// countsOf are the counts of a second that add up.
func countsOf(l *record.LoadSecond) []*uint64 {
	return []*uint64{&l.Offered, &l.Sent, &l.Unsent, &l.Answered, &l.Failed, &l.Aborted, &l.Unknown, &l.BytesIn, &l.BytesOut, &l.Late, &l.SlowConnects}
}

// addCounts adds the counts of a second to a total; histograms and pods have none.
func addCounts(total, l *record.LoadSecond) {
	from := countsOf(l)
	for i, n := range countsOf(total) {
		*n += *from[i]
	}
	addKeys(&total.Codes, l.Codes)
	addKeys(&total.Errors, l.Errors)
	total.LateMax = max(total.LateMax, l.LateMax)
}

func addKeys(total *map[string]uint64, from map[string]uint64) {
	for k, n := range from {
		if *total == nil {
			*total = map[string]uint64{}
		}
		(*total)[k] += n
	}
}

// subtract returns what total has more than done. False means that it has less of
// something, which no later total has.
func subtract(total, done *record.LoadSecond) (rest record.LoadSecond, any, ok bool) {
	rest = record.LoadSecond{Phase: total.Phase, LateMax: total.LateMax}
	whole, known := countsOf(total), countsOf(done)
	for i, n := range countsOf(&rest) {
		if *whole[i] < *known[i] {
			return rest, false, false
		}
		*n = *whole[i] - *known[i]
		any = any || *n > 0
	}
	for _, m := range []struct {
		rest         *map[string]uint64
		total, known map[string]uint64
	}{{&rest.Codes, total.Codes, done.Codes}, {&rest.Errors, total.Errors, done.Errors}} {
		for k, n := range m.known {
			if m.total[k] < n {
				return rest, false, false
			}
		}
		for k, n := range m.total {
			addKeys(m.rest, map[string]uint64{k: n - m.known[k]})
		}
	}
	return rest, any, true
}

// portion returns what of l falls on the part from a to b of of.
func portion(l *record.LoadSecond, a, b, of uint64) record.LoadSecond {
	part := func(n uint64) uint64 {
		share := func(x uint64) uint64 { return uint64(float64(n) * (float64(x) / float64(of))) }
		if b == of {
			return n - share(a)
		}
		return share(b) - share(a)
	}
	p := record.LoadSecond{Worker: l.Worker, Phase: l.Phase, Second: l.Second, LateMax: l.LateMax}
	from := countsOf(l)
	for i, n := range countsOf(&p) {
		*n = part(*from[i])
	}
	keys := func(total *map[string]uint64, from map[string]uint64) {
		for k, n := range from {
			if n = part(n); n > 0 {
				addKeys(total, map[string]uint64{k: n})
			}
		}
	}
	keys(&p.Codes, l.Codes)
	keys(&p.Errors, l.Errors)
	return p
}

const (
	// maxCount bounds a count of a worker: a second of 1,000,000 requests, for 30 years.
	maxCount = 1e15

	// maxErrors bounds the causes of failure of a second; there are not half as many.
	maxErrors = 50
)

// checkCounts says which counts of a worker cannot be.
func checkCounts(l *record.LoadSecond) error {
	for _, n := range countsOf(l) {
		if *n > maxCount {
			return fmt.Errorf("a count of %d", *n)
		}
	}
	if len(l.Codes) > 1000 || len(l.Errors) > maxErrors || len(l.Pods) > maxPods {
		return fmt.Errorf("%d codes, %d causes, %d pods", len(l.Codes), len(l.Errors), len(l.Pods))
	}
	answered, failed := uint64(0), uint64(0)
	for code, n := range l.Codes {
		if c, err := strconv.Atoi(code); err != nil || c < 100 || c > 999 || n > maxCount {
			return fmt.Errorf("%d × the status code %q", n, cut(code, 20))
		}
		answered += n
	}
	for cause, n := range l.Errors {
		if len(cause) > 100 || n > maxCount {
			return fmt.Errorf("%d × the cause %q", n, cut(cause, 100))
		}
		failed += n
	}
	switch {
	case answered != l.Answered || failed != l.Failed:
		return fmt.Errorf("%d answers with %d status codes, %d failures with %d causes", l.Answered, answered, l.Failed, failed)
	case l.LateMax < 0 || l.LateMax > maxCount:
		return fmt.Errorf("requests that are %g s late", l.LateMax)
	case l.Worker != 0:
		return errors.New("another worker's counts")
	}
	return nil
}

// checkSecond says what of a worker's second cannot be.
func checkSecond(l *record.LoadSecond) error {
	if err := checkCounts(l); err != nil {
		return err
	}
	if _, err := l.Latency.Counts(record.Fine); err != nil {
		return err
	}
	if _, err := l.Lateness.Counts(record.Coarse); err != nil {
		return err
	}
	for name, p := range l.Pods {
		if !isPodName(name) || p.Answered > maxCount || p.Errors > maxCount {
			return fmt.Errorf("pod %q with %d answers and %d errors", cut(name, 300), p.Answered, p.Errors)
		}
		if _, err := p.Latency.Counts(record.Coarse); err != nil {
			return err
		}
	}
	return nil
}
