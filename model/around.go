package model

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// How long until the next try of a gateway that holds a request, and of a worker that found no message; and how long a pod keeps a
// connection to another without a request, so that new pods get their share. All are those of one-node/parts.
const (
	Redial         = 100 * time.Millisecond
	LookIn         = 200 * time.Millisecond
	IdleConnection = 5 * time.Second
)

func (m *Model) checkAround(fault func(field string, value any, must string)) {
	service := func(field, to string) {
		host, port, _ := strings.Cut(to, ":")
		if len(validation.IsDNS1123Subdomain(host)) > 0 || strings.Trim(port, "0123456789") != "" {
			fault(field, to, "a Service, such as shop or shop:8080")
		}
	}
	var roles []string
	if m.Forwards != nil {
		roles = append(roles, "forwards")
		service("forwards.to", m.Forwards.To)
	}
	if len(m.Calls) > 0 {
		roles = append(roles, "calls")
	}
	if m.Holds != nil && *m.Holds {
		roles = append(roles, "holds")
	}
	if m.Takes != nil {
		roles = append(roles, "takes")
		service("takes", *m.Takes)
	}
	if len(roles) > 1 {
		fault(roles[0], "beside "+strings.Join(roles[1:], " and "), "alone: a pod is a gateway, a queue, a worker or one that calls others")
	}
	calls := 0
	for _, c := range m.Calls {
		service("calls.to", c.To)
		if c.Times < 0 {
			fault("calls.times", c.Times, "1 or more")
		}
		calls += max(c.Times, 1)
	}
	if calls > maxCalls {
		fault("calls", calls, "100 requests at most")
	}
}

// partOf reads which part a container of one-node/parts is, and its flags.
func partOf(of *corev1.Container) (which string, flags map[string]string) {
	command := slices.Concat(of.Command, of.Args)
	if len(command) > 0 && strings.HasSuffix(command[0], "parts") {
		command = command[1:]
	}
	if len(command) == 0 {
		return "", nil
	}
	flags = map[string]string{}
	for rest := command[1:]; len(rest) > 0; rest = rest[1:] {
		name, value, whole := strings.Cut(strings.TrimLeft(rest[0], "-"), "=")
		if !whole && len(rest) > 1 {
			value, rest = rest[1], rest[1:]
		}
		flags[name] = value
	}
	return command[0], flags
}

// serviceOf gives the Service, and its port, that a URL is of: by name, by cluster IP, or as the kubelet tells a container,
// $(SHOP_SERVICE_HOST).
func serviceOf(url string) string {
	_, host, schemed := strings.Cut(url, "://")
	if !schemed {
		host = url
	}
	host, _, _ = strings.Cut(host, "/")
	host, port, _ := strings.Cut(host, ":")
	if name, told := strings.CutSuffix(host, "_SERVICE_HOST)"); told {
		host = strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "$("), "_", "-"))
	}
	if port == "" || strings.HasPrefix(port, "$(") {
		return host
	}
	return host + ":" + port
}

// part is a gateway, a queue or a worker as one-node/parts has them, by its flags: -backend and -hold (30 s) of a gateway, -queue and
// -burn (50 ms) of a worker, -startup (0).
//
// Measured on one process by its own CPU time, with one connection at a time: a gateway took 196 µs a request on a kept connection,
// before nginx, and 232 on a new one; a queue 64 µs to add a message and 70 to give one, on new connections 68; a worker without
// messages 5 ms a second. They had 6.3 to 8.9 MB of memory that is not a file's once they were used. A goroutine of each request
// stands for a worker.
func part(which string, of *corev1.Container) Model {
	_, flags := partOf(of)
	read := func(name string, otherwise time.Duration) time.Duration {
		if d, err := time.ParseDuration(flags[name]); err == nil {
			otherwise = d
		}
		return min(max(otherwise, 0), longest)
	}
	m := generic()
	m.Start, m.IdleCPU, m.Memory = duration(read("startup", 0)), quantity("0"), quantity("6500Ki")
	m.Workers, m.Queue = new(1<<16), new(0)
	switch which {
	case Gateway:
		m.CPU, m.ConnectionCPU = constant(196*time.Microsecond), duration(36*time.Microsecond)
		if flags["backend"] != "" {
			m.Forwards = &Forwards{To: serviceOf(flags["backend"]), Hold: duration(read("hold", 30*time.Second))}
		}
	case Queue:
		m.CPU, m.Holds = constant(67*time.Microsecond), new(true)
	case Worker:
		m.CPU, m.Workers, m.IdleCPU = constant(read("burn", 50*time.Millisecond)), new(1), quantity("5m")
		if flags["queue"] != "" {
			m.Takes = new(serviceOf(flags["queue"]))
		}
	}
	return m
}

// Counts are what a program knows of itself: since its start, but for those that are of now.
type Counts struct {
	Came, Answered, Failed float64 // requests
	InFlight               float64 // requests, now
	Waiting                float64 // messages of a queue, now
	Oldest                 float64 // how long the oldest of them has waited, in seconds
	Added, Taken           float64 // messages of a queue
	Done                   float64 // messages of a worker
}

// Series is a value that a program shows to Prometheus.
type Series struct {
	Name, Help string
	Counter    bool
	Value      float64
}

// Series are what the program shows at /metrics: those of its preset by the names of the image, and those of Metrics of requests as counters
// NAME_total, of which an adapter makes the rate NAME.
func (m *Model) Series(c Counts) []Series {
	counter := func(name, help string, v float64) Series { return Series{name, help, true, v} }
	gauge := func(name, help string, v float64) Series { return Series{name, help, false, v} }
	var all []Series
	switch {
	case m.Forwards != nil:
		all = []Series{
			counter("gateway_requests_total", "Requests that came.", c.Came),
			counter("gateway_requests_failed_total", "Requests that found no backend in time.", c.Failed),
			gauge("gateway_requests_in_flight", "Requests without an answer, those that are held among them.", c.InFlight),
		}
	case m.Holds != nil && *m.Holds:
		all = []Series{
			gauge("queue_messages_ready", "Messages that wait.", c.Waiting),
			gauge("queue_oldest_message_seconds", "How long the oldest of them has waited.", c.Oldest),
			counter("queue_messages_added_total", "Messages that came.", c.Added),
			counter("queue_messages_taken_total", "Messages that were taken.", c.Taken),
		}
	case m.Takes != nil:
		all = []Series{counter("worker_messages_done_total", "Messages that were worked on.", c.Done)}
	default:
		all = []Series{
			counter("http_requests_total", "Requests that were answered.", c.Answered),
			gauge("http_requests_in_flight", "Requests without an answer.", c.InFlight),
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Metrics)) {
		of := m.Metrics[name]
		series := counter(name+"_total", "Requests that were answered.", c.Answered*cmp.Or(of.Scale, 1))
		if of.Of == OfInFlight {
			series = gauge(name, "Requests without an answer.", c.InFlight*cmp.Or(of.Scale, 1))
		}
		if !slices.ContainsFunc(all, func(s Series) bool { return s.Name == series.Name }) {
			all = append(all, series)
		}
	}
	return all
}
