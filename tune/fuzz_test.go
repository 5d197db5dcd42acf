package tune

import (
	"strings"
	"testing"
	"time"
)

func TestRangesAreBounded(t *testing.T) {
	run := search(t, "min=1..2").Runs[0]
	for text, want := range map[string]string{
		"target=40..1e400":                           "target",
		"target=NaN..NaN":                            "target",
		"max=1..9223372036854775807":                 "must be 10000 at most",
		"max=1..20000":                               "must be 10000 at most",
		"min=-1..5":                                  "must be 0 at least",
		"min=5..1":                                   "5 is more than 1",
		"scaleDown.stabilization=0s..2562047h":       "must be 3600s at most",
		"scaleUp.tolerance=0.1..1e300":               "must be 10 at most",
		"sync=1ns..1s":                               "must be 1s at least",
		"target=40..80,target=40..80":                "twice",
		"target=40..80,,":                            "is not like target=40..80",
		strings.Repeat("min=1..2,", 5000) + "x=1..2": "twice",
		"":                  "is not like",
		"target=..":         "target",
		"target=40\x00..80": "target",
	} {
		if _, err := ParseRanges(run, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{"p99 < 2562047h": "no latency", "p1e3 < 1s": "not like", "p99.99999999999999999999 < 1s": "between 0 and 100", "p99.9999999 < 1s": "too fine", "p0.00015 < 1s": "too fine", "p50 < 1e9s": "no latency", "p99 < -1s": "no latency", "p٩٩ < 1s": "not like"} {
		if _, err := ParseSLO(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzRanges(f *testing.F) {
	for _, text := range []string{"target=40..80,scaleDown.stabilization=0s..600s", "target=24Mi..1Gi,min=1..4", "scaleUp.tolerance=0.05..0.2,sync=5s..1m", "max=1e3..1E4,scaleUp.pods=4..8", "scaleUp.tolerance=0.055..0.056", "target=1..4"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ranges, err := ParseRanges(search(t, "min=1..2").Runs[0], text)
		if err != nil {
			return
		}
		for _, r := range ranges {
			if k, known := knobs[r.Name]; !known || !(k.least <= r.Low && r.Low <= r.High && r.High <= k.highest()) {
				t.Errorf("%+v", r)
			}
		}
		for _, s := range sample(ranges[:min(len(ranges), 6)], 20) {
			for i, v := range s {
				if !ranges[i].has(v) {
					t.Errorf("%g of %+v", v, ranges[i])
				}
			}
		}
	})
}

func FuzzSLO(f *testing.F) {
	for _, text := range []string{"p99 < 250ms", " p99.9<=1m30s ", "p0.1 < 1us"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSLO(text)
		if err != nil {
			return
		}
		if !(s.Share > 0 && s.Share < 1) || s.Latency <= 0 || s.Latency > time.Hour {
			t.Errorf("%+v", s)
		}
		if again, err := ParseSLO(s.String()); err != nil || again != s {
			t.Errorf("%s, of %q, reads as %v, %v", s, text, again, err)
		}
	})
}
