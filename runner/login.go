package runner

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	// pluginTimeout bounds a credential plugin that cannot ask the user anything. Those
	// of the clouds answer within two seconds.
	pluginTimeout = 10 * time.Second
	// loginTimeout bounds one that can: a login in the browser takes a minute.
	loginTimeout = 2 * time.Minute
	// pluginEnds is how long one that is told to end may take.
	pluginEnds = 500 * time.Millisecond
	// pluginMemory is how many bytes the memory may grow by while a plugin runs: client-go
	// reads all that it prints, which is a few KiB.
	pluginMemory = 128 << 20
	// pluginLook is how often the memory is looked at.
	pluginLook = 50 * time.Millisecond
	// pluginSlow is after how long the user is told what is waited for.
	pluginSlow = 3 * time.Second
)

// plugin sees to it that a credential plugin of the kubeconfig that hangs is named and
// given up: client-go waits for it without a limit, whatever the request's context.
type plugin struct {
	http.RoundTripper
	command string
	mark    string // of its processes; see markPlugin
	timeout time.Duration
	memory  uint64
	login   bool // it can ask the user
	say     func(string)
	told    sync.Once
}

// markPlugin has the credential plugin of a config, and what that starts, run with a variable
// in the environment that no other process has: client-go tells nobody which process it is.
func markPlugin(config *rest.Config) (mark string) {
	if config.ExecProvider == nil {
		return ""
	}
	e := *config.ExecProvider
	v := clientcmdapi.ExecEnvVar{Name: "HPABENCH_PLUGIN", Value: NewID() + NewID()}
	e.Env = append(slices.Clone(e.Env), v)
	config.ExecProvider = &e
	return v.Name + "=" + v.Value
}

// end ends the plugin, on Linux; elsewhere it goes on until it ends by itself. What it started
// ends too, unless that may be the browser in which the user logs in.
func (p *plugin) end() {
	going := func() []int { return marked(p.mark, p.login) }
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for _, pid := range going() {
			if process, err := os.FindProcess(pid); err == nil {
				_ = process.Signal(signal)
			}
		}
		for end := time.Now().Add(pluginEnds); len(going()) > 0 && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// withPlugin bounds the credential plugin of a config, if it has one.
func withPlugin(config *rest.Config, mark string, next http.RoundTripper, say func(string)) (http.RoundTripper, time.Duration) {
	e := config.ExecProvider
	if e == nil {
		return next, 0
	}
	p := &plugin{RoundTripper: next, command: e.Command, mark: mark, timeout: pluginTimeout, memory: pluginMemory, say: say}
	if e.InteractiveMode != clientcmdapi.NeverExecInteractiveMode && term.IsTerminal(int(os.Stdin.Fd())) {
		p.timeout, p.login = loginTimeout, true
	}
	return p, p.timeout
}

// RoundTrip sends a request. The plugin runs before a connection is asked for.
func (p *plugin) RoundTrip(r *http.Request) (*http.Response, error) {
	type answer struct {
		response *http.Response
		err      error
	}
	through, answers, abandoned := make(chan struct{}), make(chan answer), make(chan struct{})
	var once sync.Once
	traced := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GetConn: func(string) { once.Do(func() { close(through) }) }})
	go func() {
		response, err := p.RoundTripper.RoundTrip(r.WithContext(traced))
		select {
		case answers <- answer{response, err}:
		case <-abandoned:
			if err == nil {
				response.Body.Close()
			}
		}
	}()
	slow, late, look := time.NewTimer(pluginSlow), time.NewTimer(p.timeout), time.NewTicker(pluginLook)
	defer slow.Stop()
	defer late.Stop()
	defer look.Stop()
	most := heap() + p.memory
	for {
		select {
		case <-through:
			a := <-answers
			return a.response, a.err
		case a := <-answers:
			return a.response, a.err
		case <-slow.C:
			p.told.Do(func() { p.say("waiting for the credential plugin of the kubeconfig, " + p.command) })
		case <-look.C:
			if heap() <= most {
				continue
			}
			if runtime.GC(); heap() > most {
				close(abandoned)
				p.end()
				return nil, fmt.Errorf("%w: it printed until hpabench had %d MiB more than before: run %s by hand to see what it prints", p.hangs(), p.memory>>20, p.command)
			}
		case <-late.C:
			close(abandoned)
			p.end()
			return nil, fmt.Errorf("%w for %s: run %s by hand to see what it waits for, or log in with it first", p.hangs(), p.timeout, p.command)
		case <-r.Context().Done():
			close(abandoned)
			if errors.Is(context.Cause(r.Context()), ErrInterrupted) { // no other request waits for it either
				p.end()
			}
			return nil, fmt.Errorf("%w: %w", p.hangs(), context.Cause(r.Context()))
		}
	}
}

// heap is what the memory has, in bytes, of objects that are used or were until lately.
func heap() uint64 {
	objects := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(objects)
	return objects[0].Value.Uint64()
}

var errPlugin = errors.New("the credential plugin of the kubeconfig did not end")

func (p *plugin) hangs() error { return fmt.Errorf("%w (%s)", errPlugin, p.command) }
