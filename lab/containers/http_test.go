package containers

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/model"
)

// serve starts a container of an image and a listener that hands it every
// connection, and waits until the process listens.
func serve(t testing.TB, image string, text string, env ...corev1.EnvVar) (*Container, string) {
	t.Helper()
	m, err := model.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	c := Start(Config{Model: model.Resolve(&corev1.Container{Image: image, Env: env}, m), Node: NewCPU(4), Pod: "web-1"})
	t.Cleanup(c.Kill)
	for !c.Listening() {
		time.Sleep(time.Millisecond)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if c.Serve(conn) != nil {
				reset(conn)
			}
		}
	}()
	return c, l.Addr().String()
}

// exchange sends a raw request on a connection of its own and returns all that
// comes until the other side closes.
func exchange(t *testing.T, address, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, request)
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("after %q: %v", answer, err)
	}
	return string(answer)
}

func TestAnswersLikeTheImage(t *testing.T) {
	body := func(t *testing.T, address, path string) string {
		answer := exchange(t, address, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		head, body, _ := strings.Cut(answer, "\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") || !strings.Contains(head, "X-Pod: web-1") || !strings.Contains(head, "Connection: close") {
			t.Errorf("%s: %s", path, answer)
		}
		return body
	}
	t.Run("nginx", func(t *testing.T) {
		_, address := serve(t, "nginx:1.15.2", `{}`)
		for _, path := range []string{"/", "/any"} {
			if got := body(t, address, path); got != "ok\n" {
				t.Errorf("%s: %q", path, got)
			}
		}
		// The connection before may not be closed yet on the server's side.
		want := regexp.MustCompile(`^Active connections: [12] \nserver accepts handled requests\n 3 3 3 \nReading: 0 Writing: 1 Waiting: [01] \n$`)
		if got := body(t, address, "/nginx_status"); !want.MatchString(got) {
			t.Errorf("status %q, want %s", got, want)
		}
	})
	t.Run("hpa-example", func(t *testing.T) {
		_, address := serve(t, "hpa-example", `{}`, corev1.EnvVar{Name: "BURN", Value: "1ms"})
		for _, want := range []struct{ path, body string }{
			{"/healthz", "ok\n"}, {"/served", "0\n"}, {"/", "OK! true\n"}, {"/x", "OK! true\n"}, {"/served", "2\n"},
		} {
			if got := body(t, address, want.path); got != want.body {
				t.Errorf("%s: %q, want %q", want.path, got, want.body)
			}
		}
	})
	t.Run("generic", func(t *testing.T) {
		_, address := serve(t, "app", `{"body": "here"}`)
		if got := body(t, address, "/x/y"); got != "here" {
			t.Errorf("%q", got)
		}
	})
}

func TestHTTPAsServersDoIt(t *testing.T) {
	_, address := serve(t, "app", `{"cpu": {"mean": "0s"}}`)
	last := "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for name, c := range map[string]struct {
		request string
		answers int
		has     string
		hasNot  string
	}{
		"HTTP/1.0 is closed after the answer": {"GET / HTTP/1.0\r\n\r\n", 1, "Content-Length: 3", "keep-alive"},
		"HTTP/1.0 can ask for more":           {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + last, 2, "Connection: keep-alive", ""},
		"kept alive":                          {"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + last, 2, "ok\n", ""},
		"HEAD has no body":                    {"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 1, "Content-Length: 3", "ok\n"},
		"a body is read": {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" +
			strings.Repeat("x", 9_000_000) + last, 2, "ok\n", ""},
		"a chunked body is read": {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n" + last, 2, "ok\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := exchange(t, address, c.request)
			if n := strings.Count(got, " 200 OK\r\n"); n != c.answers {
				t.Errorf("%d answers, want %d: %s", n, c.answers, got)
			}
			if !strings.Contains(got, c.has) || c.hasNot != "" && strings.Contains(got, c.hasNot) {
				t.Errorf("want %q and not %q in %s", c.has, c.hasNot, got)
			}
		})
	}
}

// get asks once on conn and returns the answer's status and whether the server
// ends the connection with it.
func get(conn net.Conn) (status int, closed bool, err error) {
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return 0, false, err
	}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, false, err
	}
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	return r.StatusCode, r.Close, err
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestFullQueueResets(t *testing.T) {
	_, address := serve(t, "app", `{"cpu": {"mean": "1h"}, "workers": 1, "queue": 0}`)
	first := dial(t, address)
	io.WriteString(first, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	for deadline := time.Now().Add(10 * time.Second); ; {
		// Until the first has arrived, this one is the first.
		conn := dial(t, address)
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, err := conn.Read(make([]byte, 1))
		if errors.Is(err, syscall.ECONNRESET) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never reset; at last: %v", err)
		}
	}
}

// unanswered has sent a request that the container is at work on.
func unanswered(t *testing.T, c *Container, address string) net.Conn {
	t.Helper()
	conn := dial(t, address)
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	for c.work.inFlight() == 0 {
		time.Sleep(time.Millisecond)
	}
	return conn
}

func TestKillResets(t *testing.T) {
	c, address := serve(t, "app", `{"cpu": {"mean": "1h"}}`)
	conn := unanswered(t, c, address)
	c.Kill()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read after the kill: %v, want a reset", err)
	}
	if got := c.Exit(); got != (Exit{137, "Error"}) {
		t.Errorf("%+v", got)
	}
	if err := c.Serve(conn); err == nil {
		t.Error("a dead process took a connection")
	}
}

func TestSIGTERMDrainsAndAnswersWhatItHas(t *testing.T) {
	c, address := serve(t, "app", `{"cpu": {"mean": "0s"}, "wait": {"mean": "300ms"}, "drain": "100ms"}`)
	idle := dial(t, address)
	if status, closed, err := get(idle); status != 200 || closed || err != nil {
		t.Fatal(status, closed, err)
	}
	c.Terminate()
	// During the drain it serves as before, and this request outlasts the drain.
	during := dial(t, address)
	if status, closed, err := get(during); status != 200 || !closed || err != nil {
		t.Errorf("request in flight: status %d, closed %v, %v", status, closed, err)
	}
	if n, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("idle connection: %d bytes, %v", n, err)
	}
	if got := c.Exit(); got != (Exit{0, "Completed"}) {
		t.Errorf("%+v", got)
	}
}

func TestNginxCutsRequestsOffAtSIGTERM(t *testing.T) {
	c, address := serve(t, "nginx", `{"wait": {"mean": "1h"}}`)
	conn := unanswered(t, c, address)
	c.Terminate()
	if got := c.Exit(); got != (Exit{0, "Completed"}) {
		t.Errorf("%+v", got)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestErrorsFault(t *testing.T) {
	_, address := serve(t, "app", `{"cpu": {"mean": "0s"}, "fault": {"errors": 0.5}}`)
	conn := dial(t, address)
	codes := map[int]int{}
	for range 400 {
		status, _, err := get(conn)
		if err != nil {
			t.Fatal(err)
		}
		codes[status]++
	}
	// The seed is the pod's name, so this is always the same.
	if codes[200]+codes[500] != 400 || codes[500] < 160 || codes[500] > 240 {
		t.Errorf("%v", codes)
	}
}

// Throughput is exact however short a request is: with one worker and 200 µs a
// request, 1,000 of them in a row take at least 200 ms less what is not waited for.
func TestShortRequestsKeepTheirDebt(t *testing.T) {
	c, address := serve(t, "app", `{"cpu": {"mean": "200us"}, "workers": 1, "idleCPU": "0"}`)
	conn := dial(t, address)
	start := time.Now()
	for range 1000 {
		if _, _, err := get(conn); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(start); d < 200*time.Millisecond-granularity {
		t.Errorf("1,000 requests in %v", d)
	}
	if cpu, _ := c.Usage(time.Now().Add(time.Second)); cpu != 200*time.Millisecond {
		t.Errorf("CPU %v, want 200ms", cpu)
	}
}
