package analysis

import (
	"slices"
	"strings"
	"testing"

	"github.com/hpabench/hpabench/record"
)

// A metric that had no value does not say that there were no requests, nor does one whose trigger is not known.
func TestNotActivatedUnknown(t *testing.T) {
	lost := fromZero(record.ScaledObject{})
	lost.signal(45, "")
	unknown := fromZero(record.ScaledObject{})
	unknown.signal(44, "3")
	for i := range unknown.entries {
		if s := unknown.entries[i].ScaledObject; s != nil {
			s.Triggers[0].Metric = ""
		}
	}
	for name, c := range map[string]struct {
		m    *made
		want string
	}{
		"lost":    {lost, "had no value for 175 s"},
		"unknown": {unknown, "which value activates the target is not known"},
	} {
		r := c.m.held(40, 100, 0).analyze(t)
		i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Kind == FoundNeverActivated })
		if name == "lost" { // signal-absent tells it alone
			if len(r.Findings) != 1 || r.Findings[0].Kind != FoundSignalAbsent || !strings.Contains(r.Findings[0].Seen, c.want) {
				t.Errorf("%s: found %v, want signal-absent: %q", name, r.Findings, c.want)
			}
			continue
		}
		if i < 0 || !strings.Contains(r.Findings[i].Cause, c.want) {
			t.Errorf("%s: found %v, want %q", name, r.Findings, c.want)
		}
	}
}
