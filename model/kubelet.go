package model

import (
	"cmp"
	"math/rand/v2"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Relist is how often a kubelet looks at all containers (genericPlegRelistPeriod in
// pkg/kubelet).
const Relist = time.Second

// SyncDelay is how long it takes the kubelet to see what it has itself just done: 33 ms
// from a container's start to its readiness probe, on a real node of version
// 1.37 with containerd.
const SyncDelay = 30 * time.Millisecond

// Housekeeping is how often cAdvisor samples a container's usage at most
// (HousekeepingInterval in pkg/kubelet/cadvisor).
const Housekeeping = 10 * time.Second

// unchangedFactor: cAdvisor waits up to 15 s in place of 10 s for a container whose usage has
// not changed (maxHousekeepingInterval in pkg/kubelet/cadvisor).
const unchangedFactor = 1.5

// NextSample is the time until cAdvisor samples a container again: one to two intervals, as its
// jitter factor is 1 (manager/container.go of cAdvisor), and longer if its usage has not changed
// since the sample before. The draw is from 0 to 1.
func NextSample(interval time.Duration, unchanged bool, draw float64) time.Duration {
	wait := float64(interval) * (1 + draw)
	if unchanged {
		wait *= unchangedFactor
	}
	return time.Duration(wait)
}

// Probe is a corev1.Probe with the defaults of the API (SetDefaults_Probe in
// pkg/apis/core/v1), which a pod template that no API server has seen leaves out.
type Probe struct {
	Period, Timeout, InitialDelay      time.Duration
	SuccessThreshold, FailureThreshold int32
}

// ProbeOf gives a probe with its defaults.
func ProbeOf(p *corev1.Probe) Probe {
	seconds := func(n int32) time.Duration { return time.Duration(n) * time.Second }
	return Probe{
		Period: seconds(cmp.Or(p.PeriodSeconds, 10)), Timeout: seconds(cmp.Or(p.TimeoutSeconds, 1)), InitialDelay: seconds(p.InitialDelaySeconds),
		SuccessThreshold: cmp.Or(p.SuccessThreshold, 1), FailureThreshold: cmp.Or(p.FailureThreshold, 3),
	}
}

// Costs says whether a probe costs what an HTTP request on a new connection costs: one by HTTP does, unless
// it asks for a status path. One that opens a connection or runs a command costs the server nothing.
func (m *Model) Costs(p *corev1.Probe) bool {
	if p == nil || p.HTTPGet == nil || p.HTTPGet.Scheme == corev1.URISchemeHTTPS {
		return false // the model speaks HTTP only
	}
	path, _, _ := strings.Cut(p.HTTPGet.Path, "?")
	return !m.Status(path)
}

// MetricsPath is where a program shows its Series.
const MetricsPath = "/metrics"

// Status says whether a path is one by which the program says how it is, which costs it nothing.
func (m *Model) Status(path string) bool {
	switch m.Preset {
	case Nginx:
		return path == "/nginx_status"
	case HPAExample:
		return path == "/healthz" || path == "/served" || path == MetricsPath
	}
	return path == "/healthz" || path == "/livez" || path == "/readyz" || path == MetricsPath
}

// Due says whether the kubelet runs the probe of a container that has run for so long: since the start that its status tells,
// which is in whole seconds (doProbe in pkg/kubelet/prober/worker.go).
func (p Probe) Due(age time.Duration) bool { return age >= p.InitialDelay }

// Thresholds count the results of a probe in a row.
type Thresholds struct {
	last bool
	run  int32
}

// Add counts a result, and says whether so many in a row are past their threshold.
func (t *Thresholds) Add(success bool, p Probe) bool {
	if t.run == 0 || t.last != success {
		t.last, t.run = success, 0
	}
	t.run++
	if success {
		return t.run >= p.SuccessThreshold
	}
	return t.run >= p.FailureThreshold
}

// Succeeds is when a probe has succeeded, after the start of its container, where the process
// listens at an instant, and which started so long into a second. It runs at each of runs, and with its period from the last of
// them on.
func (p Probe) Succeeds(listens, into time.Duration, runs ...time.Duration) time.Duration {
	at := runs[0]
	for i := 1; at < listens || !p.Due(at+into); i++ {
		if i < len(runs) {
			at = runs[i]
		} else {
			at += p.Period
		}
	}
	return at + time.Duration(p.SuccessThreshold-1)*p.Period
}

// BackOff is the kubelet's for a container that ends again and again (doBackOff in
// pkg/kubelet, MaxContainerBackOff): the first restart comes at once, each after it 10 s, 20 s
// and so on to 5 min after the end, and from the beginning when 10 min passed since the last.
type BackOff struct {
	wait, updated time.Duration
}

// Of the kubelet's back-off, of containers and of images (backOffPeriod and
// MaxContainerBackOff in pkg/kubelet).
const (
	InitialBackOff = 10 * time.Second
	MaxBackOff     = 5 * time.Minute
)

// Next is how long after its end, which is now, a container starts again.
func (b *BackOff) Next(now time.Duration) time.Duration {
	if b.wait == 0 || now-b.updated > 2*MaxBackOff {
		*b = BackOff{InitialBackOff, now}
		return 0
	}
	wait := b.wait
	*b = BackOff{min(2*wait, MaxBackOff), now + wait}
	return wait
}

// Restart is how long after its end a container starts again that has a back-off of so long, when
// the kubelet has seen the end after a while.
func Restart(backOff, seen time.Duration, random *rand.Rand) time.Duration {
	at := seen
	for at < backOff {
		at += Retry(backOff-at, random.Float64())
	}
	return at
}

// Retry is after how long the kubelet looks again at a pod of which a back-off has so much left: when that
// is over or after a minute, and by random, from 0 to 1, up to half as much later (completeWork in
// pkg/kubelet/pod_workers.go).
func Retry(left time.Duration, random float64) time.Duration {
	return time.Duration(float64(min(left, time.Minute)) * (1 + random/2))
}
