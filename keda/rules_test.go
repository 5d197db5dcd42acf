package keda

import (
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 600_000_000, time.UTC)

// TestPoll follows KEDA's RequestScale case by case.
func TestPoll(t *testing.T) {
	const cooldown = 30 * time.Second
	zero, one := int32(0), int32(1)
	active, longAgo := noon.Add(-10*time.Second), noon.Add(-31*time.Second)
	for name, c := range map[string]struct {
		rules      Rules
		last       time.Time
		found      Found
		replicas   int32
		ready      string
		activeness string
		lastActive time.Time
	}{
		"from zero":                         {Rules{}, time.Time{}, Found{Replicas: 0, Active: true}, 1, "True", "ScalerActive", noon.Truncate(time.Second)},
		"from zero to a minimum":            {Rules{Min: 3}, time.Time{}, Found{Replicas: 0, Active: true}, 3, "True", "ScalerActive", noon.Truncate(time.Second)},
		"from idle to the minimum":          {Rules{Min: 3, Idle: &one}, time.Time{}, Found{Replicas: 1, Active: true}, 3, "True", "ScalerActive", noon.Truncate(time.Second)},
		"active, with replicas":             {Rules{}, longAgo, Found{Replicas: 4, Active: true}, 4, "True", "ScalerActive", noon.Truncate(time.Second)},
		"active, and another trigger fails": {Rules{}, longAgo, Found{Replicas: 4, Active: true, Failed: true}, 4, "Unknown", "ScalerActive", longAgo},
		"cooling":                           {Rules{}, active, Found{Replicas: 2}, 2, "True", "ScalerCooldown", active},
		"cooled":                            {Rules{}, longAgo, Found{Replicas: 2}, 0, "True", "ScalerNotActive", longAgo},
		"cooled to idle":                    {Rules{Min: 3, Idle: &one}, longAgo, Found{Replicas: 3}, 1, "True", "ScalerNotActive", longAgo},
		"a minimum is the HPA's":            {Rules{Min: 2}, longAgo, Found{Replicas: 4}, 4, "True", "ScalerNotActive", longAgo},
		"below the minimum":                 {Rules{Min: 2}, longAgo, Found{Replicas: 1}, 2, "True", "ScalerNotActive", longAgo},
		"never active":                      {Rules{Created: active}, time.Time{}, Found{Replicas: 2}, 0, "True", "ScalerNotActive", time.Time{}},
		"never active, and new":             {Rules{Created: active, InitialCooldown: time.Minute}, time.Time{}, Found{Replicas: 2}, 2, "True", "ScalerCooldown", time.Time{}},
		"a trigger fails":                   {Rules{}, longAgo, Found{Replicas: 2, Failed: true}, 2, "False", "ScalerNotActive", longAgo},
		"a trigger fails, with a fallback":  {Rules{Fallback: &one}, longAgo, Found{Replicas: 2, Failed: true}, 2, "True", "ScalerNotActive", longAgo},
		"a trigger fails, and falls to 0":   {Rules{Fallback: &zero}, longAgo, Found{Replicas: 2, Failed: true}, 0, "True", "ScalerNotActive", longAgo},
		"at rest":                           {Rules{}, longAgo, Found{Replicas: 0}, 0, "True", "ScalerNotActive", longAgo},
	} {
		c.rules.Cooldown, c.found.At = cooldown, noon
		s := State{c.last}
		o := c.rules.Poll(&s, c.found)
		if o.Replicas != c.replicas || o.Ready.Status != c.ready || o.Active.Reason != c.activeness || !s.LastActive.Equal(c.lastActive) {
			t.Errorf("%s: %+v, last active %s", name, o, s.LastActive)
		}
	}
}
