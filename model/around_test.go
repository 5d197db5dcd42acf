package model

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// The image one-node/parts is a gateway, a queue or a worker by its command.
func TestPartsByTheirCommand(t *testing.T) {
	for command, want := range map[string]string{
		"/parts gateway -backend http://$(MY_SHOP_SERVICE_HOST) -hold 60s":        "gateway my-shop 1m0s",
		"/parts gateway -backend=http://shop:8080/ -startup 2s":                   "gateway shop:8080 30s",
		"gateway --backend http://$(SHOP_SERVICE_HOST):$(SHOP_SERVICE_PORT)/path": "gateway shop 30s",
		"/parts gateway -backend http://10.96.0.7":                                "gateway 10.96.0.7 30s",
		"/parts queue": "queue",
		"/parts worker -queue http://$(QUEUE_SERVICE_HOST) -burn 200ms": "worker queue 200ms",
		"/parts other": "generic",
		"":             "generic",
	} {
		m := Resolve(&corev1.Container{Image: "docker.io/one-node/parts:1", Command: strings.Fields(command)}, Model{})
		got := m.Preset
		switch {
		case m.Forwards != nil:
			got += fmt.Sprint(" ", m.Forwards.To, " ", m.Forwards.Hold.Duration)
		case m.Takes != nil:
			got += fmt.Sprint(" ", *m.Takes, " ", m.CPU.Mean.Duration)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", command, got, want)
		}
		if err := m.Check(); err != nil {
			t.Errorf("%s: %v", command, err)
		}
	}
}

func TestPartsOfTheModelAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		`{"forwards": {"to": "http://shop"}}`:             "forwards.to is http://shop and must be a Service, such as shop or shop:8080",
		`{"forwards": {"to": "shop", "hold": "25h"}}`:     "forwards.hold is 25h0m0s and must be from 0 to 24h0m0s",
		`{"forwards": {"to": "shop"}, "takes": "queue"}`:  "forwards is beside takes and must be alone: a pod is a gateway, a queue, a worker or one that calls others",
		`{"calls": [{"to": "a", "times": 101}]}`:          "calls is 101 and must be 100 requests at most",
		`{"calls": [{"to": "a", "times": -1}]}`:           "calls.times is -1 and must be 1 or more",
		`{"calls": [{"to": "a b"}]}`:                      "calls.to is a b and must be a Service, such as shop or shop:8080",
		`{"takes": "queue:http"}`:                         "takes is queue:http and must be a Service, such as shop or shop:8080",
		`{"preset": "parts"}`:                             "preset is parts and must be one of nginx, hpa-example, generic, gateway, queue, worker",
		`{"calls": [{"to": "a"}, {"to": "b.c:80"}]}`:      "",
		`{"holds": false, "forwards": {"to": "shop:80"}}`: "",
	} {
		_, err := Parse(text)
		if want == "" != (err == nil) || err != nil && !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// What an image shows has the names that the image gives it; what the model adds, those of the model.
func TestSeries(t *testing.T) {
	for text, want := range map[string]string{
		`{"preset": "hpa-example"}`: "http_requests_total=5 http_requests_in_flight=2",
		`{"metrics": {"http_requests": {"of": "requests"}, "busy": {"of": "inFlight", "scale": 0.5}}}`: "http_requests_total=5 http_requests_in_flight=2 busy=1",
		`{"forwards": {"to": "shop"}}`: "gateway_requests_total=9 gateway_requests_failed_total=1 gateway_requests_in_flight=2",
		`{"holds": true}`:              "queue_messages_ready=4 queue_oldest_message_seconds=1.5 queue_messages_added_total=10 queue_messages_taken_total=6",
		`{"takes": "queue"}`:           "worker_messages_done_total=3",
	} {
		m, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		m = Resolve(new(corev1.Container), m)
		var got []string
		for _, s := range m.Series(Counts{Came: 9, Answered: 5, Failed: 1, InFlight: 2, Waiting: 4, Oldest: 1.5, Added: 10, Taken: 6, Done: 3}) {
			got = append(got, fmt.Sprintf("%s=%v", s.Name, s.Value))
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s, want %s", text, want)
		}
	}
}
