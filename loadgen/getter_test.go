package loadgen

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A page is asked for as the load's requests are, by credentials and host, and taken as it comes: no redirect is followed, and no
// error has a secret.
func TestGetter(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/base/metrics":
			user, password, _ := req.BasicAuth()
			fmt.Fprint(w, req.Method, " ", req.URL.RawQuery, " ", req.Host, " ", user, " ", password, " ", req.Header["X-Key"], req.Header["Accept"], req.Header["Accept-Encoding"])
		case "/base/away":
			http.Redirect(w, req, "http://127.0.0.1:1/", http.StatusFound)
		case "/base/cut":
			conn, _, _ := w.(http.Hijacker).Hijack()
			fmt.Fprintf(conn, "HTTP/1.1 %s OK\r\n\r\n", req.Header.Get("X-Api-Key"))
			conn.Close()
		case "/base/slow":
			w.(http.Flusher).Flush()
			<-req.Context().Done()
		default:
			http.NotFound(w, req)
		}
	}))
	t.Cleanup(server.Close)
	way, err := URL(strings.Replace(server.URL, "://", "://user:pass@", 1) + "/base")
	if err != nil {
		t.Fatal(err)
	}
	request := Request{Timeout: 200 * time.Millisecond, Headers: http.Header{"X-Key": {"k"}, "X-Api-Key": {"s3cret"}, "Host": {"shop.example"}, "Accept": {"image/png"}, "Accept-Encoding": {"gzip"}}}
	for path, want := range map[string]string{
		"/metrics?a=b": "GET a=b shop.example user pass [k] [text/plain] []",
		"/away":        "error: the answer is 302 Found",
		"/none":        "error: the answer is 404 Not Found",
		"/slow":        "error: timeout: no answer in time",
		"/cut":         `error: malformed HTTP status code "xxxxx"`,
	} {
		g, err := NewGetter(way, request, path)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		body, err := g.Get(t.Context())
		if err == nil {
			var text []byte
			text, err = io.ReadAll(body)
			body.Close()
			got = string(text)
		}
		if err != nil {
			got = "error: " + err.Error()
		}
		if g.Close(); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
		if _, err := g.Get(t.Context()); err == nil {
			t.Errorf("%s: it asks when it is closed", path)
		}
	}
	if _, err := NewGetter(way, request, "/../x"); err == nil {
		t.Error("a path leads upwards")
	}
}

// What is asked beside the load leaves the turns of its pods as they are.
func TestGetterTakesNoTurn(t *testing.T) {
	way := &forward{ready: func() []string { return []string{"a", "b"} }}
	g, err := NewGetter(way, Request{Timeout: time.Second}, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	g.transport.dial = func(_ context.Context, _, address string) (net.Conn, error) {
		asked = append(asked, address)
		return nil, io.EOF
	}
	before := way.next()
	for range 3 {
		if _, err := g.Get(t.Context()); err == nil {
			t.Error("there is an answer")
		}
	}
	if after := way.next(); before == after || strings.Join(asked, " ") != "a:http a:http a:http" {
		t.Errorf("%s, %s: %q", before, after, asked)
	}
}
