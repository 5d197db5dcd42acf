package analysis

import (
	"testing"

	"github.com/hpabench/hpabench/record"
)

// Without a replica any value asks for one, however far below the target of a replica.
func TestSignalAtZero(t *testing.T) {
	m := newMade(record.Phase{Name: "idle", Seconds: 30, Shape: record.ShapeIdle}, record.Phase{Name: "load", Seconds: 100, Shape: record.ShapeRate, From: 10, To: 10})
	m.add(0.5, record.Entry{Subject: &record.Subject{Namespace: "shop", APIVersion: "apps/v1", Kind: "Deployment", Name: "web", Autoscaler: "web"}})
	m.target(1, 0)
	m.hpa(2, 0, 0, -1)
	m.hpa(50.01, 0, 1, -1)
	m.queueOnly(perPod("10"))
	m.phase(0, "idle", 10, 40)
	m.phase(1, "load", 40, 140)
	m.queued(5, "0")
	m.queued(45, "3")
	m.target(50, 1)
	m.pod(life{name: "c", created: 50.1, scheduled: 50.2, started: 51, ready: 52})
	m.end(141)
	equal(t, "stages", show(m.analyze(t).FirstUp().ScaleUp.First.Stages)[:2], []string{"signal: 5.000 ±1.0", "activation: 5.000 ±1.0"})
}
