package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	httpprobe "k8s.io/kubernetes/pkg/probe/http"

	"github.com/hpabench/hpabench/model"
)

// minGrace is how many seconds a process always has after SIGTERM.
const minGrace = 2

// kill ends one attempt of a container and returns when it has ended: the
// preStop hook, SIGTERM, and SIGKILL when the grace period (in seconds) is over.
// A sidecar waits for its turn first. It is killContainer of the kubelet.
func (p *pod) kill(c *container, a *attempt, message string, grace int64, turn func(within time.Duration)) {
	if message == "" {
		message = "Stopping container " + c.spec.Name
	}
	p.event(c, corev1.EventTypeNormal, "Killing", message)
	begun := time.Now()
	left := func() time.Duration { // counted in whole seconds, as there
		return time.Duration(grace)*time.Second - time.Since(begun).Truncate(time.Second)
	}
	if l := c.spec.Lifecycle; l != nil && l.PreStop != nil && grace > 0 {
		ctx, cancel := context.WithTimeout(p.life, left())
		if err := p.hook(ctx, c, l.PreStop); err != nil && ctx.Err() == nil {
			p.event(c, corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed")
		}
		cancel()
	}
	if turn != nil && left() > 0 {
		turn(left())
	}
	a.process.Terminate()
	select {
	case <-a.process.Done():
	case <-time.After(max(left(), minGrace*time.Second)):
		a.process.Kill()
		<-a.process.Done()
	}
	p.ended(a)
}

// killAll ends all containers at once, but sidecars after the others and in
// reverse order. Without a grace period they are gone at once and nobody is told.
func (p *pod) killAll(grace int64) {
	type one struct {
		c *container
		a *attempt
	}
	var running []one
	p.mu.Lock()
	for _, c := range p.st.all() {
		if c.running() {
			running = append(running, one{c, c.now})
		}
	}
	p.mu.Unlock()
	if grace == 0 {
		for _, o := range running {
			o.a.process.Kill()
		}
		return
	}
	var wg sync.WaitGroup
	for i, o := range running {
		var turn func(time.Duration)
		if o.c.sidecar() {
			turn = func(within time.Duration) {
				over := time.After(within)
				for j, before := range running {
					if before.c.init && j <= i {
						continue
					}
					select {
					case <-before.a.process.Done():
					case <-over:
						return
					}
				}
			}
		}
		wg.Go(func() { p.kill(o.c, o.a, "", grace, turn) })
	}
	wg.Wait()
}

// hook runs a hook: sleep, httpGet, or a command that does nothing else than
// sleep. No other command can be run, and so it succeeds at once.
func (p *pod) hook(ctx context.Context, c *container, h *corev1.LifecycleHandler) error {
	switch {
	case h.Sleep != nil:
		sleep(ctx, time.Duration(h.Sleep.Seconds)*time.Second)
	case h.Exec != nil:
		takes, code, ok := model.Script(h.Exec.Command)
		if ok && takes < 0 {
			takes = idleResync
		}
		sleep(ctx, takes)
		if code != 0 {
			return fmt.Errorf("command '%s' exited with %d", h.Exec.Command, code)
		}
	case h.HTTPGet != nil:
		request, err := httpprobe.NewRequestForHTTPGetAction(h.HTTPGet, c.spec, p.st.ip, "lifecycle")
		if err != nil {
			return err
		}
		answer, err := (&http.Client{Transport: p.nodes.transport}).Do(request.WithContext(ctx))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		if err = errors.Join(err, answer.Body.Close()); err == nil && answer.StatusCode >= http.StatusBadRequest {
			err = fmt.Errorf("HTTP lifecycle hook answered with status %d", answer.StatusCode)
		}
		return err
	}
	return nil
}
