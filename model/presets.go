package model

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The presets.
const (
	Nginx      = "nginx"
	HPAExample = "hpa-example"
	Generic    = "generic"
	Gateway    = "gateway"
	Queue      = "queue"
	Worker     = "worker"
)

var presets = []string{Nginx, HPAExample, Generic, Gateway, Queue, Worker}

// Resolve returns m with its left-out fields taken from the preset: the one that
// m names, else the one of the container's image. Of the result only MemoryHeld, Metrics,
// Fault and what makes a gateway, a queue or a worker of it can be nil. What the image itself
// reads from its command and env counts; m comes before it.
func Resolve(of *corev1.Container, m Model) Model {
	if m.Preset == "" {
		m.Preset = presetOf(of)
	}
	var p Model
	switch m.Preset {
	case Nginx:
		p = nginx()
	case HPAExample:
		p = hpaExample(of.Env)
	case Gateway, Queue, Worker:
		p = part(m.Preset, of)
	default:
		p = generic()
	}
	return m.Over(p)
}

// Over gives m with the fields that it leaves out taken from base. Fault is m's own, and so is
// MemoryHeld where m says what a request takes.
func (m Model) Over(base Model) Model {
	if m.MemoryPerRequest == nil && m.MemoryHeld == nil {
		m.MemoryHeld = base.MemoryHeld
	}
	fill(&m.Pull, base.Pull)
	fill(&m.Start, base.Start)
	fill(&m.StartCPU, base.StartCPU)
	fill(&m.Drain, base.Drain)
	fill(&m.Graceful, base.Graceful)
	fill(&m.CPU, base.CPU)
	fill(&m.ConnectionCPU, base.ConnectionCPU)
	fill(&m.Wait, base.Wait)
	fill(&m.Workers, base.Workers)
	fill(&m.Queue, base.Queue)
	fill(&m.Serving, base.Serving)
	fill(&m.IdleCPU, base.IdleCPU)
	fill(&m.Memory, base.Memory)
	fill(&m.MemoryPerRequest, base.MemoryPerRequest)
	fill(&m.Body, base.Body)
	fill(&m.Forwards, base.Forwards)
	fill(&m.Holds, base.Holds)
	fill(&m.Takes, base.Takes)
	if m.Calls == nil {
		m.Calls = base.Calls
	}
	if m.Metrics == nil {
		m.Metrics = base.Metrics
	}
	return m
}

func fill[T any](field **T, preset *T) {
	if *field == nil {
		*field = preset
	}
}

// presetOf goes by the last part of the image's name, whatever its registry,
// tag and digest; of the image parts by its command.
func presetOf(of *corev1.Container) string {
	name, _, _ := strings.Cut(of.Image, "@")
	name = name[strings.LastIndex(name, "/")+1:]
	name, _, _ = strings.Cut(name, ":")
	switch name {
	case Nginx, HPAExample:
		return name
	case "parts":
		if which, _ := partOf(of); slices.Contains([]string{Gateway, Queue, Worker}, which) {
			return which
		}
	}
	return Generic
}

// nginx with one worker process that answers a few bytes from its configuration.
//
// From the recorded run of the scenario demo-nginx (Kubernetes 1.37, containerd,
// reports/testdata/recorded-demo-nginx.jsonl): 107,333 requests, each on a
// connection of its own, took 11.2 s of the pods' CPU time, so 104 µs each; two
// pods without load took 25 and 26 ms in the window of their start and 0.19 ms in
// 1,755 s after it; memory was 1.9 to 2.9 MB, 2.1 on average; the image was on
// the node. That record cannot part the connection from the request: the same
// configuration of nginx, measured alone on loopback, took 40 µs of CPU time with
// a new connection for each request and 10.7 µs on a kept one, and the 104 µs are
// split in that proportion.
//
// SIGTERM is nginx's fast shutdown: the master and its workers exit at once
// (https://nginx.org/en/docs/control.html). 1,024 connections are a worker's by
// that configuration; 511 more is nginx's backlog on Linux
// (https://nginx.org/en/docs/http/ngx_http_core_module.html#listen). A worker is an event loop:
// it answers such a request before it turns to another connection, so requests are served first
// come, first served (https://nginx.org/en/docs/dev/development_guide.html#event_loop).
func nginx() Model {
	return Model{
		Pull:             duration(0),
		Start:            duration(0),
		StartCPU:         duration(25 * time.Millisecond),
		Drain:            duration(0),
		Graceful:         new(false),
		CPU:              constant(28 * time.Microsecond),
		ConnectionCPU:    duration(76 * time.Microsecond),
		Wait:             constant(0),
		Workers:          new(1),
		Queue:            new(1024 + 511),
		Serving:          new(FIFO),
		IdleCPU:          quantity("108n"),
		Memory:           quantity("2069Ki"),
		MemoryPerRequest: quantity("0"),
		Body:             new("ok\n"),
	}
}

// hpaExample is the web server of the Kubernetes HPA walk-through as a program in
// Go. It reads BURN, the CPU time of a request (default 5 ms); STARTUP, how long
// it sleeps before anything else; and SHUTDOWN, how long it goes on after SIGTERM
// before it shuts down gracefully (both default 0).
//
// Measured on one process by its own CPU time: the calibration at the start takes
// 37 ms on one thread; without load 14 µs a second; 6.5 MB of memory that is not
// a file's. What a request costs beside BURN (22 µs, with a new connection 177 µs)
// is less than what the calibration is off by and is left out. It starts a
// goroutine for every request, so it is never out of workers, and Go's runtime lets them run by
// turns.
func hpaExample(env []corev1.EnvVar) Model {
	// As the program does it: what does not parse is the default, and what is
	// negative neither burns nor sleeps.
	read := func(name string, fallback time.Duration) time.Duration {
		for _, e := range env {
			if e.Name != name {
				continue
			}
			if d, err := time.ParseDuration(e.Value); err == nil {
				fallback = d
			}
		}
		return min(max(fallback, 0), longest)
	}
	return Model{
		Pull:             duration(0),
		Start:            duration(read("STARTUP", 0)),
		StartCPU:         duration(37 * time.Millisecond),
		Drain:            duration(read("SHUTDOWN", 0)),
		Graceful:         new(true),
		CPU:              constant(read("BURN", 5*time.Millisecond)),
		ConnectionCPU:    duration(0),
		Wait:             constant(0),
		Workers:          new(1 << 16),
		Queue:            new(0),
		Serving:          new(Turns),
		IdleCPU:          quantity("14u"),
		Memory:           quantity("6552Ki"),
		MemoryPerRequest: quantity("0"),
		Body:             new("OK! true\n"),
	}
}

// generic stands for no image in particular: round figures, not measured ones. Its requests have
// turns, as those of all servers whose threads the kernel or a runtime shares out.
func generic() Model {
	return Model{
		Pull:             duration(0),
		Start:            duration(100 * time.Millisecond),
		StartCPU:         duration(0),
		Drain:            duration(0),
		Graceful:         new(true),
		CPU:              constant(time.Millisecond),
		ConnectionCPU:    duration(0),
		Wait:             constant(0),
		Workers:          new(256),
		Queue:            new(1024),
		Serving:          new(Turns),
		IdleCPU:          quantity("1m"),
		Memory:           quantity("16Mi"),
		MemoryPerRequest: quantity("0"),
		Body:             new("ok\n"),
	}
}

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

func constant(d time.Duration) *Cost { return &Cost{Mean: metav1.Duration{Duration: d}} }

func quantity(s string) *resource.Quantity { return new(resource.MustParse(s)) }
