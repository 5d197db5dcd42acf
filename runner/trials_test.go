package runner

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestTrials(t *testing.T) {
	for name, c := range map[string]struct {
		n, parallel, most int
		alone             func(i int) bool
		fails             int // this trial; -1 for none
		made              int32
	}{
		"one after the other":             {5, 1, 1, nil, -1, 5},
		"three at a time":                 {7, 3, 3, nil, -1, 7},
		"one alone":                       {7, 3, 3, func(i int) bool { return i == 1 }, -1, 7},
		"all alone":                       {7, 3, 1, func(int) bool { return true }, -1, 7},
		"none after a failure":            {5, 1, 1, nil, 2, 3},
		"those that had begun go on":      {9, 3, 3, nil, 0, 3},
		"none after one failed alone":     {9, 3, 3, func(i int) bool { return i == 0 }, 0, 4},
		"more places than there are runs": {2, 9, 2, nil, -1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var running, most, made atomic.Int32
				broken := errors.New("broken")
				err := Trials(t.Context(), c.n, c.parallel, func(i int, alone func() error) error {
					made.Add(1)
					time.Sleep(time.Second)
					apart := c.alone != nil && c.alone(i)
					if apart {
						if err := alone(); err != nil {
							return err
						}
					}
					if now := running.Add(1); apart && now != 1 {
						t.Errorf("%d run beside one that is alone", now-1)
					} else if now > most.Load() {
						most.Store(now)
					}
					defer running.Add(-1)
					if i == c.fails {
						time.Sleep(time.Second)
						return broken
					}
					time.Sleep(time.Minute)
					return nil
				})
				if int(most.Load()) != c.most || made.Load() != c.made || errors.Is(err, broken) != (c.fails >= 0) {
					t.Errorf("%d made, %d at a time, error %v; should be %d and %d", made.Load(), most.Load(), err, c.made, c.most)
				}
			})
		})
	}
}

// A trial that fails leaves its place to one that then waits to be alone.
func TestAloneAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken, alones := errors.New("broken"), 0
		err := Trials(t.Context(), 6, 3, func(i int, alone func() error) error {
			time.Sleep(time.Duration(i) * time.Second)
			if i == 0 {
				return broken
			}
			alones++
			return alone()
		})
		if !errors.Is(err, broken) || alones < 2 {
			t.Errorf("%d were alone, error %v", alones, err)
		}
	})
}

func TestTrialsEndWithTheirContext(t *testing.T) {
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	made := 0
	err := Trials(ctx, 5, 1, func(i int, alone func() error) error {
		made++
		if i == 1 {
			cancel(enough)
			return alone()
		}
		return nil
	})
	if made != 2 || !errors.Is(err, enough) {
		t.Errorf("%d made, error %v; should be 2 and %v", made, err, enough)
	}
}
