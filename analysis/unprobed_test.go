package analysis

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/hpabench/hpabench/record"
)

// Of a load without a cluster nothing is said of replicas or an HPA, which nobody looked at.
func TestErrorsWithoutACluster(t *testing.T) {
	for failure, advice := range map[string]string{"timeout": "Send less, or give the server more capacity, or raise load.timeout.", "connection refused": "Send less, or give the server more capacity."} {
		m := newMade(record.Phase{Name: "load", Shape: record.ShapeRate, From: 20, Seconds: 60})
		m.add(0.1, record.Entry{Subject: &record.Subject{Way: "url", URL: "http://127.0.0.1:8080", Why: "no cluster was looked at"}})
		m.phase(0, "load", 1, 61)
		for n := range 60 {
			m.add(float64(n+1), record.Entry{Load: &record.LoadSecond{Second: n, Offered: 20, Sent: 20, Failed: 20, Errors: map[string]uint64{failure: 20}}})
		}
		m.end(62)
		f := m.analyze(t).Findings
		if len(f) != 1 || f[0].Object != "http://127.0.0.1:8080" || f[0].Advice != advice || strings.Contains(f[0].Cause, "pod") {
			t.Errorf("%s: %+v", failure, f)
		}
	}
}

// Connections that are refused when a pod without a readiness probe comes into service are refused by it; the finding is doubtful
// if half of the requests were never sent.
func TestErrorsOfUnprobedPods(t *testing.T) {
	for name, c := range map[string]struct {
		probe    *corev1.Probe
		answered float64
		unsent   uint64
		cause    string
		doubt    string
		startup  *corev1.Probe
		began    int    // the first second with failed requests
		failure  string // "" for a refused connection
		slow     bool   // a finding says why pods are slow
	}{
		"without a probe":                      {nil, 70, 0, "pod c at 62.5 s, and first answered 7.5 s later", "", nil, 62, "", false},
		"of a way that tells not":              {nil, 0, 0, "pod c at 62.5 s. A pod without", "", nil, 62, "", false},
		"that answers at once":                 {nil, 62.9, 0, "No server took the connections", "", nil, 62, "", false},
		"with a probe":                         {new(corev1.Probe), 70, 0, "No server took the connections", "", nil, 62, "", false},
		"with a startup probe":                 {nil, 70, 0, "No server took the connections", "", new(corev1.Probe), 62, "", false},
		"in an overload":                       {nil, 0, 0, "No server took the connections", "", nil, 50, "", false},
		"through a port-forward":               {nil, 70, 0, "pod c at 62.5 s, and first answered 7.5 s later", "", nil, 62, "EOF", false},
		"of the generator":                     {nil, 0, 0, "no file descriptor or port left", "", nil, 62, "generator out of files or ports", false},
		"of the network":                       {nil, 0, 0, "did not come to the workload", "", nil, 62, "no such host", false},
		"of the generator, of slow pods":       {nil, 0, 0, "no file descriptor or port left", "", nil, 62, "generator out of files or ports", true},
		"of the network, of slow pods":         {nil, 0, 0, "did not come to the workload", "", nil, 62, "no such host", true},
		"through a port-forward, of slow pods": {nil, 70, 0, "pod c at 62.5 s, and first answered 7.5 s later", "", nil, 62, "EOF", true},
		"of a load that was late":              {nil, 70, 10, "pod c at 62.5 s", "the load of phase load was not as planned", nil, 62, "", false},
	} {
		m := ill()
		c0 := life{name: "c", created: 60.1, scheduled: 60.2, started: 61, ready: 62, inService: 62.5}
		m.endpoints(c0)
		for i := range m.entries {
			if p := m.entries[i].Pod; p != nil && p.Name == "c" {
				p.Containers = slices.Clone(p.Containers)
				p.Containers[0].ReadinessProbe, p.Containers[0].StartupProbe = c.probe, c.startup
			}
			if p := m.entries[i].Pod; p != nil && c.slow {
				p.Containers = slices.Clone(p.Containers)
				p.Containers[0].Limits = corev1.ResourceList{"cpu": resource.MustParse("60m")}
			}
		}
		if c.slow {
			m.metrics(65, 0.06, "a", "b")
			m.metrics(80, 0.06, "a", "b")
		}
		if c.answered > 0 {
			m.add(c.answered, record.Entry{Answer: &record.Answer{Pod: "c"}})
		}
		for n := 40; n < 220; n++ {
			s := &record.LoadSecond{Phase: 1, Second: n, Offered: 20, Sent: 20 - c.unsent, Unsent: c.unsent, Answered: 20 - c.unsent, Codes: map[string]uint64{"200": 20 - c.unsent}}
			if n >= c.began && n < 72 {
				s.Answered, s.Failed, s.Codes, s.Errors = 0, 20-c.unsent, nil, map[string]uint64{cmp.Or(c.failure, "connection refused"): 20 - c.unsent}
			}
			m.add(float64(n+1), record.Entry{Load: s})
		}
		m.end(221)
		r := m.analyze(t)
		i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Kind == FoundErrors })
		if i < 0 {
			t.Errorf("%s: found %v", name, r.Findings)
			continue
		}
		if slow := slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind == FoundCPULimit }); slow != c.slow {
			t.Errorf("%s: slow pods are found: %v", name, slow)
		}
		f := r.Findings[i]
		if !strings.Contains(f.Cause, c.cause) || f.Doubt != c.doubt || strings.Contains(f.Seen, "doubtful") != (c.doubt != "") {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// What waiting explains is left to the findings that say why pods are slow, and no other failure is.
func TestErrorsBesideSlowPods(t *testing.T) {
	for name, c := range map[string]struct {
		codes, errors map[string]uint64 // of 100 requests a second
		want          string            // "" for no finding
	}{
		"codes and refusals":     {map[string]uint64{"200": 70, "500": 20, "503": 6}, map[string]uint64{"timeout": 3, "connection refused": 1}, "phase load 5400 of 18000 requests failed (30 %), 3780 of them (21 %) for another reason than slow or too few pods, between 40 and 220 s: 3600 × code 500, 180 × connection refused."},
		"codes":                  {map[string]uint64{"200": 80, "500": 20}, nil, "phase load 3600 of 18000 requests failed (20 %), between 40 and 220 s: 3600 × code 500."},
		"of the generator":       {map[string]uint64{"200": 8}, map[string]uint64{"timeout": 2, "no such host": 90}, "phase load 16560 of 18000 requests failed (92 %), 16200 of them (90 %) for another reason than slow or too few pods, between 40 and 220 s: 16200 × no such host."},
		"of waiting":             {map[string]uint64{"200": 80, "503": 5, "504": 5}, map[string]uint64{"timeout": 10}, ""},
		"resets of a full queue": {map[string]uint64{"200": 80}, map[string]uint64{"connection reset": 20}, ""},
		"resets beside refusals": {map[string]uint64{"200": 80}, map[string]uint64{"connection reset": 19, "connection refused": 1}, "(20 %), 180 of them (1 %) for another reason than slow or too few pods, between 40 and 220 s: 180 × connection refused."},
		"what is no HTTP":        {map[string]uint64{"200": 80}, map[string]uint64{"no HTTP": 20}, "3600 × no HTTP."},
	} {
		m := ill()
		for i := range m.entries {
			if p := m.entries[i].Pod; p != nil {
				p.Containers = slices.Clone(p.Containers)
				p.Containers[0].Limits = corev1.ResourceList{"cpu": resource.MustParse("60m")}
			}
		}
		m.metrics(65, 0.06, "a", "b")
		m.metrics(80, 0.06, "a", "b")
		for n := 40; n < 220; n++ {
			s := &record.LoadSecond{Phase: 1, Second: n, Offered: 100, Sent: 100, Codes: c.codes, Errors: c.errors}
			for _, count := range c.codes {
				s.Answered += count
			}
			s.Failed = 100 - s.Answered
			m.add(float64(n+1), record.Entry{Load: s})
		}
		m.end(221)
		var seen string
		for _, f := range m.analyze(t).Findings {
			if f.Kind == FoundErrors {
				seen = f.Seen
			}
		}
		if (seen == "") != (c.want == "") || !strings.Contains(seen, c.want) {
			t.Errorf("%s: saw %q, want %q", name, seen, c.want)
		}
	}
}
