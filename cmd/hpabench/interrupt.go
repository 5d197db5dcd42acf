package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hpabench/hpabench/reports"
	"github.com/hpabench/hpabench/runner"
)

// grace is how long a command that has nothing to end in order may take to end by itself
// when it is interrupted. What it does then may be a loop that looks at nothing else.
const grace = time.Second

// obey ends the command by Ctrl-C, SIGTERM or SIGHUP. The first one cancels its context. A
// command that has something to end in order does so, and a second one ends it at once; any
// other is ended here if it goes on, with code 3: processes that it started end with its
// input to them, and reports are there whole or not at all.
func (a *app) obey(cancel context.CancelCauseFunc) {
	// A pager or tee that the same Ctrl-C ends must not take the tear-down with it.
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		ordered := a.interrupted()
		cancel(runner.ErrInterrupted)
		if !ordered {
			time.Sleep(grace)
			if !a.isOrderly() { // it was not just about to begin
				a.end("interrupted")
			}
		}
		<-signals
		a.abandon()
	}()
}

// orderly says that from now on, until over is called, there is something that the command
// has to end in order when it is interrupted.
func (a *app) orderly() (over func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ordered++
	ended := false
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !ended {
			ended = true
			a.ordered--
		}
	}
}

func (a *app) isOrderly() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ordered > 0
}

func (a *app) isCutOff() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cutOff
}

// inCluster is what Ctrl-C means to a run in a cluster that outlives it.
const inCluster = "interrupted: ending in order: the load stops, and then what was created is removed, which takes the cluster some seconds; once more ends at once"

// sayOnInterrupt sets what is said at the first signal that ends the command in order.
func (a *app) sayOnInterrupt(says string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.onInterrupt = says
}

// interrupted says what comes of the first signal, and whether it ends the command in order.
func (a *app) interrupted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ordered == 0 {
		a.cutOff = true
		return false
	}
	says := "interrupted: ending in order; once more ends at once"
	if a.onInterrupt != "" {
		says = a.onInterrupt
	}
	fmt.Fprintln(a.stderr, "\nhpabench:", says)
	return true
}

// unmake is called when the command is ended before it is done, until its result is called.
func (a *app) unmake(file string) (made func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unmade == nil {
		a.unmade = map[string]bool{}
	}
	a.unmade[file] = true
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.unmade, file)
	}
}

// end ends the process, and leaves no part of a file.
func (a *app) end(says string) {
	a.mu.Lock()
	fmt.Fprintln(a.stderr, "hpabench:", says)
	for file := range a.unmade {
		_ = os.Remove(file)
	}
	reports.Hold(grace)
	os.Exit(exitFailed)
}
