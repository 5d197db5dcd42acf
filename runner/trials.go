package runner

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// Trials calls run for 0 to n-1, up to parallel at a time, and no more once one has failed or ctx
// has ended. alone returns when no other is running; until its caller returns none begins.
// The error has those of all, else why ctx ended.
func Trials(ctx context.Context, n, parallel int, run func(i int, alone func() error) error) error {
	var (
		places = semaphore.NewWeighted(int64(parallel))
		failed atomic.Bool
		faults = make([]error, n)
		wait   sync.WaitGroup
	)
	for i := range n {
		if places.Acquire(ctx, 1) != nil {
			break
		}
		if failed.Load() {
			places.Release(1) // another may wait for all of them
			break
		}
		wait.Go(func() {
			held := int64(1)
			defer func() { places.Release(held) }()
			alone := func() error {
				places.Release(held) // first, or two that want to be alone would wait for each other
				held = 0
				if places.Acquire(ctx, int64(parallel)) != nil {
					return context.Cause(ctx)
				}
				held = int64(parallel)
				return nil
			}
			if faults[i] = run(i, alone); faults[i] != nil {
				failed.Store(true)
			}
		})
	}
	wait.Wait()
	if err := errors.Join(faults...); err != nil {
		return err
	}
	return context.Cause(ctx)
}
