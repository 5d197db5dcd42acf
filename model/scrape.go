package model

import (
	"cmp"
	"slices"
	"time"
)

// Reading is a pod's value of a metric at a scrape, on any clock.
type Reading struct {
	At    time.Duration
	Value float64 // of requests: how many were answered until then
}

// Read is the metric's value at a scrape of a pod with such counts.
func (m Metric) Read(c Counts) float64 {
	if m.Of == OfInFlight {
		return c.InFlight
	}
	return c.Answered
}

// Keep adds a reading to those of a pod, which are in order, and drops those that are too old to matter.
func (m Metric) Keep(readings []Reading, r Reading) []Reading {
	return append(slices.DeleteFunc(readings, func(old Reading) bool { return old.At <= r.At-m.Range() }), r)
}

// Tell is what Prometheus' adapter tells of a pod now; not known before the second scrape of a rate, or the first of another.
func (m Metric) Tell(readings []Reading, now time.Duration) (value float64, known bool) {
	switch {
	case m.Of == OfRequests:
		value, known = Rate(readings, now, m.Range())
	case len(readings) > 0:
		value, known = readings[len(readings)-1].Value, true
	}
	return value * cmp.Or(m.Scale, 1), known
}

// Rate is that of a counter, a second, as rate() of Prometheus has it: it goes on to the edges of the window where they are
// not far, else by half a scrape, and not below zero; a counter that falls has begun anew (extrapolatedRate in
// promql/functions.go).
func Rate(readings []Reading, now, window time.Duration) (perSecond float64, known bool) {
	for len(readings) > 0 && readings[0].At <= now-window {
		readings = readings[1:]
	}
	if len(readings) < 2 {
		return 0, false
	}
	first, last := readings[0], readings[len(readings)-1]
	sampled := (last.At - first.At).Seconds()
	between := sampled / float64(len(readings)-1)
	edge := func(d float64) float64 {
		if d >= between*1.1 {
			return between / 2
		}
		return d
	}
	before, after := edge((first.At - (now - window)).Seconds()), edge((now - last.At).Seconds())
	rise := last.Value - first.Value
	for i, r := range readings[1:] {
		if was := readings[i].Value; r.Value < was {
			rise += was
		}
	}
	if rise > 0 {
		before = min(before, sampled*first.Value/rise)
	}
	return rise * (sampled + before + after) / sampled / window.Seconds(), true
}
