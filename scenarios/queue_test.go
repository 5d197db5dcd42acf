package scenarios

import (
	"strings"
	"testing"
)

// A queue is read by the way of the load, which a Job's is not; a fault has its line.
func TestQueue(t *testing.T) {
	for load, want := range map[string]string{
		"    queue: {backlog: queue_messages_ready}\n":                                                              "",
		"    queue: {backlog: a:b_total, oldest: queue_oldest_message_seconds, path: '/stats?format=prometheus'}\n": "",
		"    queue: {backlog: q}\n    url: http://shop.example\n":                                                   "",
		"    queue: {oldest: q}\n":                                              `scenario.yaml:9: missing field "backlog" in spec.load.queue`,
		"    queue: {backlog: 'q{queue=\"a\"}'}\n":                              "scenario.yaml:9: spec.load.queue.backlog wants the name of a series of Prometheus, such as queue_messages_ready",
		"    queue: {backlog: q, path: metrics}\n":                              "scenario.yaml:9: spec.load.queue.path wants a path that starts with /",
		"    queue: {backlog: q, path: /a/../../b}\n":                           "scenario.yaml:9: spec.load.queue.path cannot be asked for: path \"/a/../../b\" leads upwards",
		"    queue: {backlog: q, depth: r}\n":                                   "scenario.yaml:9: ",
		"    via: job\n    queue: {backlog: q}\n":                               "scenario.yaml:10: spec.load.queue is read by hpabench itself where the load goes",
		"    via: job\n    url: http://shop.example\n    queue: {backlog: q}\n": "scenario.yaml:11: spec.load.queue is read by hpabench itself where the load goes",
	} {
		_, err := requestsOf(t, load, map[string]string{})
		if want == "" && err != "" || !strings.Contains(err, want) {
			t.Errorf("%s: %s, want %q", load, err, want)
		}
	}
	source := strings.Replace(loadHead, "    phases:\n", "    queue: {backlog: q}\n    phases:\n", 1) + "    - {name: a, duration: 10s, rate: 0}\n"
	if _, err := Parse("scenario.yaml", []byte(source), nowhere); err == nil || !strings.Contains(err.Error(), "scenario.yaml:9: spec.load.queue is read where the load goes, and no phase sends any") {
		t.Errorf("without load: %v", err)
	}
	f, err := Parse("scenario.yaml", []byte(strings.Replace(source, "rate: 0", "rate: 1", 1)), nowhere)
	if err != nil || f.Spec.Load.Queue.PathOrDefault() != "/metrics" {
		t.Errorf("%v: %+v", err, f)
	}
}
