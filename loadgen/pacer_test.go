package loadgen

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpabench/hpabench/record"
)

func TestPacerWaitsUntilDue(t *testing.T) {
	for name, phase := range shapes {
		synctest.Test(t, func(t *testing.T) {
			s := newSchedule(phase)
			clock := record.StartClock()
			p := newPacer(s, clock, 0, make(chan struct{}), nil)
			for n := range s.total {
				if wait, stop := p.Pace(0, n); wait != 0 || stop {
					t.Fatalf("%s: Pace(%d) = %v, %v", name, n, wait, stop)
				}
				if now := time.Duration(clock.Now()); now != s.at(n) {
					t.Fatalf("%s: hit %d left at %v, it was due at %v", name, n, now, s.at(n))
				}
			}
			if _, stop := p.Pace(0, s.total); !stop {
				t.Errorf("%s: no stop after the last hit", name)
			}
		})
	}
}

func TestPacerSendsAtOnceWhatIsOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule(record.Phase{Shape: record.ShapeRate, From: 10, Seconds: 10})
		clock := record.StartClock()
		p := newPacer(s, clock, 0, make(chan struct{}), nil)
		time.Sleep(5 * time.Second)
		for n := range uint64(51) {
			p.Pace(0, n)
		}
		if now := clock.Now().Seconds(); now != 5 {
			t.Errorf("the overdue hits left at %v s", now)
		}
	})
}

func TestPacerIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule(record.Phase{Shape: record.ShapeRate, From: 0.001, Seconds: 3600})
		clock := record.StartClock()
		over := make(chan struct{})
		p := newPacer(s, clock, 0, over, nil)
		p.Pace(0, 0)
		time.AfterFunc(3*time.Second, func() { close(over) })
		if _, stop := p.Pace(0, 1); !stop || clock.Now().Seconds() != 3 {
			t.Errorf("stop %v at %v, want true at 3s", stop, clock.Now())
		}
		if _, stop := p.Pace(0, 0); !stop {
			t.Error("a hit that is overdue when the phase is over was let through")
		}
	})
}
