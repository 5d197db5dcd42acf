package analysis

import (
	"strings"
	"testing"

	"github.com/hpabench/hpabench/record"
)

// held is fromZero with requests from 40 s on that something in front holds until there are answers, if there are.
func (m *made) held(from, to int, answers float64) *made {
	for n := from; n < to; n++ {
		s := &record.LoadSecond{Phase: 1, Second: n, Offered: 10, Sent: 10}
		if answers > 0 && n >= int(answers) {
			s.Answered, s.Codes = 10, map[string]uint64{"200": 10}
		}
		m.add(float64(n+1), record.Entry{Load: s})
	}
	if answers > 0 {
		m.add(answers, record.Entry{Answer: &record.Answer{}})
	}
	return m
}

// rises has KEDA scale the target up at t, to a pod that is in service three seconds later.
func (m *made) rises(t float64, name string) life {
	m.target(t, 1)
	m.event(t+0.1, "ScaledObject", "web", "KEDAScaleTargetActivated", "Scaled apps/v1.Deployment shop/web from 0 to 1, triggered by s0-prometheus")
	a := life{name: name, created: t + 0.1, scheduled: t + 0.2, started: t + 1, ready: t + 2.9, inService: t + 3}
	m.pod(a)
	return a
}

// goesDown is a run of a ScaledObject whose HPA takes one of two pods away; 45 s later its metric is at 0.
func goesDown(s record.ScaledObject) *made {
	m := fromZero(s)
	m.signal(42.2, "30")
	a := m.rises(45, "web-a")
	m.target(60.1, 2)
	b := life{name: "web-b", created: 60.2, scheduled: 60.3, started: 61, ready: 62.9, inService: 63, terminating: 150.1, left: 150.2, exited: 151, gone: 151.5}
	m.pod(b)
	m.signal(130, "5")
	m.target(150, 1)
	m.signal(195, "0")
	m.endpoints(a, b)
	return m.held(40, 100, 48.2)
}

// A scale-down by the HPA is not settled before KEDA's cooldown is over, if KEDA takes the rest away.
func TestCooldownNotOver(t *testing.T) {
	const cools = "KEDA takes it to 0 replicas when no trigger was active for 30 s (cooldownPeriod)"
	external := func(m *made) {
		for i := range m.entries {
			if s := m.entries[i].ScaledObject; s != nil {
				s.Triggers[0].Type = "external"
			}
		}
	}
	inactive := []record.Condition{{Type: "Active", Status: "False"}}
	for name, c := range map[string]struct {
		is    record.ScaledObject
		with  func(*made)
		cools bool
	}{
		"to zero":            {cools: true},
		"of an idle replica": {is: record.ScaledObject{Min: 1, Idle: new(int32(0))}, cools: true},
		"of a minimum":       {is: record.ScaledObject{Min: 0, Idle: new(int32(1))}},
		"held":               {is: record.ScaledObject{Paused: "autoscaling.keda.sh/paused-scale-in"}},
		"held upwards":       {is: record.ScaledObject{Paused: "autoscaling.keda.sh/paused-scale-out"}, cools: true},
		"of what is unknown": {with: external},
		"of what KEDA says":  {is: record.ScaledObject{Conditions: inactive}, with: external, cools: true},
	} {
		m := goesDown(c.is)
		if c.with != nil {
			c.with(m)
		}
		settle := m.analyze(t).Transitions[1].ScaleDown.Settle
		if (settle.Seconds == nil) != c.cools || c.cools && !strings.Contains(settle.Missing, cools) {
			t.Errorf("%s: settled after %+v", name, settle)
		}
	}
	if goesBelow(&record.ScaledObject{Min: 2}, 3) {
		t.Error("KEDA takes replicas above a minimum away")
	}
}
