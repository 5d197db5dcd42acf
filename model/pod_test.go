package model

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// The kubelet probes at once, when it looks at all containers next, and with the period from
// then; startup probes only with the period from when it took up the pod.
func TestReadyAfter(t *testing.T) {
	get := corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{}}
	for name, c := range map[string]struct {
		listens            time.Duration
		startup, readiness *corev1.Probe
		before, into, want time.Duration
	}{
		"without probes":             {listens: 30 * time.Millisecond, want: SyncDelay},
		"at once":                    {readiness: &corev1.Probe{ProbeHandler: get, PeriodSeconds: 5}, want: 0},
		"at the kubelet's next look": {listens: 100 * time.Millisecond, readiness: &corev1.Probe{ProbeHandler: get, PeriodSeconds: 5}, want: 400 * time.Millisecond},
		"a period after that":        {listens: 500 * time.Millisecond, readiness: &corev1.Probe{ProbeHandler: get, PeriodSeconds: 5}, want: 5400 * time.Millisecond},
		"three successes":            {readiness: &corev1.Probe{ProbeHandler: get, PeriodSeconds: 5, SuccessThreshold: 3}, want: 10 * time.Second},
		"initial delay":              {readiness: &corev1.Probe{ProbeHandler: get, PeriodSeconds: 5, InitialDelaySeconds: 6}, want: 10400 * time.Millisecond},
		"initial delay, of a start late in a second": {readiness: &corev1.Probe{ProbeHandler: get, PeriodSeconds: 5, InitialDelaySeconds: 6}, into: 600 * time.Millisecond, want: 5400 * time.Millisecond},
		"by the period of the pod":                   {listens: time.Second, startup: &corev1.Probe{ProbeHandler: get, PeriodSeconds: 2}, before: 2700 * time.Millisecond, want: 1300 * time.Millisecond},
		"startup, then the readiness":                {listens: time.Second, startup: &corev1.Probe{ProbeHandler: get, PeriodSeconds: 2}, readiness: &corev1.Probe{ProbeHandler: get}, before: 700 * time.Millisecond, want: 1300 * time.Millisecond},
	} {
		m := Resolve(&corev1.Container{Image: ""}, Model{Start: duration(c.listens)})
		p := Pod{Model: &m, Spec: &corev1.PodSpec{Containers: []corev1.Container{{StartupProbe: c.startup, ReadinessProbe: c.readiness}}}, Cores: 4}
		if got := p.ReadyAfter(c.before, 400*time.Millisecond, c.into); got != c.want {
			t.Errorf("%s: ready after %s, should be %s", name, got, c.want)
		}
	}
}
