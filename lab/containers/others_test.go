package containers

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/model"
)

// services are containers by the name of the Service that they are behind.
type services map[string]*atomic.Pointer[Container]

func (s services) start(t *testing.T, name, text string) {
	t.Helper()
	m, err := model.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	c := Start(Config{Model: model.Resolve(new(corev1.Container), m), Node: NewCPU(4), Pod: name + "-1", Dial: s.dial})
	t.Cleanup(c.Kill)
	for !c.Listening() {
		time.Sleep(time.Millisecond)
	}
	if s[name] == nil {
		s[name] = new(atomic.Pointer[Container])
	}
	if was := s[name].Swap(c); was != nil {
		was.Kill()
	}
}

func (s services) dial(service string) (net.Conn, error) {
	name, _, _ := strings.Cut(service, ":")
	if s[name] == nil || s[name].Load() == nil {
		return nil, syscall.ECONNREFUSED
	}
	near, far := net.Pipe()
	return near, s[name].Load().Serve(far)
}

// ask is a request of a client of a Service.
func (s services) ask(t *testing.T, method, service, path string) (status int, pod, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(_ context.Context, _, address string) (net.Conn, error) { return s.dial(address) }, DisableKeepAlives: true}}
	request, err := http.NewRequest(method, "http://"+service+path, strings.NewReader("what a client sends"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header.Get("X-Pod"), string(text)
}

func (s services) metrics(t *testing.T, service string) string {
	t.Helper()
	_, _, body := s.ask(t, "GET", service, "/metrics")
	return body
}

// A gateway answers with what is behind it, holds a request until somebody is, and fails after that.
func TestGateway(t *testing.T) {
	s := services{"shop": new(atomic.Pointer[Container])}
	s.start(t, "gateway", `{"preset": "gateway", "forwards": {"to": "shop", "hold": "10s"}}`)
	s.start(t, "hasty", `{"preset": "gateway", "forwards": {"to": "shop:80"}}`)
	if status, _, body := s.ask(t, "GET", "hasty", "/"); status != 503 || !strings.Contains(body, "refused") {
		t.Errorf("with nobody behind it and without a hold: %d %s", status, body)
	}
	held := make(chan string)
	go func() {
		status, pod, body := s.ask(t, "GET", "gateway", "/x?y=z")
		held <- fmt.Sprint(status, pod, body)
	}()
	for began := time.Now(); !strings.Contains(s.metrics(t, "gateway"), "gateway_requests_in_flight 1\n"); {
		if time.Since(began) > 5*time.Second {
			t.Fatalf("it holds nothing: %s", s.metrics(t, "gateway"))
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.start(t, "shop", `{"body": "wares"}`)
	if got := <-held; got != "200shop-1wares" {
		t.Errorf("the held request is answered with %s", got)
	}
	if got := s.metrics(t, "gateway"); !strings.Contains(got, "# TYPE gateway_requests_total counter\ngateway_requests_total 1\n") || !strings.Contains(got, "gateway_requests_in_flight 0\n") {
		t.Errorf("it shows %s", got)
	}
	if got := s.metrics(t, "hasty"); !strings.Contains(got, "gateway_requests_failed_total 1\n") {
		t.Errorf("it shows %s", got)
	}
}

// A gateway gives up a request whose client has left: nobody gets its answer, and it is in flight no more.
func TestGatewayGivesUp(t *testing.T) {
	s := services{"shop": new(atomic.Pointer[Container])}
	s.start(t, "gateway", `{"preset": "gateway", "forwards": {"to": "shop", "hold": "1m"}}`)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := s["gateway"].Load().Serve(server); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(client, "GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")
	shows := func(text string) {
		t.Helper()
		for began := time.Now(); !strings.Contains(s.metrics(t, "gateway"), text); time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > 5*time.Second {
				t.Fatalf("it shows %s, should show %s", s.metrics(t, "gateway"), text)
			}
		}
	}
	shows("gateway_requests_in_flight 1\n")
	time.Sleep(3 * model.Redial)
	shows("gateway_requests_in_flight 1\n")
	client.Close()
	shows("gateway_requests_in_flight 0\n")
}

// Of a chain each request costs its calls, and one that fails fails it.
func TestCalls(t *testing.T) {
	s := services{}
	s.start(t, "front", `{"calls": [{"to": "stock", "times": 3}, {"to": "prices"}]}`)
	s.start(t, "stock", `{}`)
	if status, _, body := s.ask(t, "GET", "front", "/"); status != 502 || !strings.Contains(body, "refused") {
		t.Errorf("without one of those that it calls: %d %s", status, body)
	}
	s.start(t, "prices", `{"fault": {"errors": 1}}`)
	if status, _, body := s.ask(t, "GET", "front", "/"); status != 502 || !strings.Contains(body, "prices answers 500") {
		t.Errorf("with one that fails: %d %s", status, body)
	}
	s.start(t, "prices", `{}`)
	if status, pod, body := s.ask(t, "GET", "front", "/"); status != 200 || pod != "front-1" || body != "ok\n" {
		t.Errorf("%d %s %s", status, pod, body)
	}
	if got := s.metrics(t, "stock"); !strings.Contains(got, "http_requests_total 9\n") {
		t.Errorf("of three requests: %s", got)
	}
}

// A worker takes the messages of a queue, each for its CPU time, and leaves none.
func TestQueueAndWorker(t *testing.T) {
	s := services{"worker": new(atomic.Pointer[Container])}
	s.start(t, "queue", `{"preset": "queue"}`)
	if status, _, _ := s.ask(t, "GET", "queue", "/take"); status != 204 {
		t.Errorf("taken from an empty queue: %d", status)
	}
	if status, _, _ := s.ask(t, "GET", "queue", "/"); status != 404 {
		t.Errorf("GET /: %d", status)
	}
	for range 2 {
		if status, _, _ := s.ask(t, "POST", "queue", "/?n=10"); status != 202 {
			t.Errorf("POST: %d", status)
		}
	}
	time.Sleep(50 * time.Millisecond)
	if got := s.metrics(t, "queue"); !strings.Contains(got, "queue_messages_ready 20\n") || !strings.Contains(got, "queue_oldest_message_seconds 0.") {
		t.Errorf("it shows %s", got)
	}
	began := time.Now()
	s.start(t, "worker", `{"preset": "worker", "takes": "queue", "workers": 2, "cpu": {"mean": "50ms"}}`)
	for !strings.Contains(s.metrics(t, "worker"), "worker_messages_done_total 20\n") {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("after %s: %s", time.Since(began), s.metrics(t, "worker"))
		}
		time.Sleep(5 * time.Millisecond)
	}
	if took := time.Since(began); took < 450*time.Millisecond {
		t.Errorf("20 messages of 50ms by two threads took %s", took)
	}
	if got := s.metrics(t, "queue"); !strings.Contains(got, "queue_messages_ready 0\n") || !strings.Contains(got, "queue_messages_taken_total 20\n") {
		t.Errorf("it shows %s", got)
	}
}
