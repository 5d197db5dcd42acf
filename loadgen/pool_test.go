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

// newTestPool asks a server over connections of which it counts how many are made.
func newTestPool(t *testing.T, handler http.HandlerFunc) (p *pool, address string, server *httptest.Server, made *int) {
	server = httptest.NewServer(handler)
	t.Cleanup(server.Close)
	made = new(int)
	p = newPool(func(ctx context.Context, network, address string) (net.Conn, error) {
		*made++
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}, nil, 2*time.Second, true)
	return p, server.URL, server, made
}

// ask returns the body of the answer.
func ask(t *testing.T, p *pool, url, content string) io.ReadCloser {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp.Body
}

// A body that was read to its end has nothing to do any more with the connection,
// which another request has by now.
func TestReadBodyLeavesTheNextAlone(t *testing.T) {
	p, url, _, made := newTestPool(t, func(w http.ResponseWriter, req *http.Request) { io.Copy(w, req.Body) })
	first := ask(t, p, url, "first")
	if b, err := io.ReadAll(first); string(b) != "first" || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	second := ask(t, p, url, "second")
	if n, err := first.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("the first body gives %d bytes of the second, %v", n, err)
	}
	first.Close()
	if b, err := io.ReadAll(second); string(b) != "second" || err != nil || *made != 1 {
		t.Errorf("%q, %v, over %d connections", b, err, *made)
	}
}

// A connection that the server closed while it was idle is not used again.
func TestClosedWhileIdle(t *testing.T) {
	p, url, server, made := newTestPool(t, ok)
	for range 2 {
		io.ReadAll(ask(t, p, url, ""))
		server.CloseClientConnections()
		time.Sleep(50 * time.Millisecond)
	}
	if *made != 2 {
		t.Errorf("%d connections", *made)
	}
}

// Answers that a connection cannot go on after, and one that never ends.
func TestEndsOfAnswers(t *testing.T) {
	for _, c := range []struct {
		name, answer, want string
		made               int // for two requests
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok <nil>", 1},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok <nil>", 1},
		{"none", "HTTP/1.1 204 No Content\r\n\r\n", " <nil>", 1},
		{"continue first", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok <nil>", 1},
		{"close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "ok <nil>", 2},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok <nil>", 2},
		{"too much", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more", "ok <nil>", 2},
		{"short", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok", "ok timeout: no answer in time", 2},
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		made := 0
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				made++
				go func() {
					defer conn.Close()
					b := make([]byte, 1000)
					for {
						if _, err := conn.Read(b); err != nil {
							return
						}
						io.WriteString(conn, c.answer)
					}
				}()
			}
		}()
		p := newPool((&net.Dialer{}).DialContext, nil, 200*time.Millisecond, true)
		for range 2 {
			b, err := io.ReadAll(ask(t, p, "http://"+listener.Addr().String(), ""))
			if got := fmt.Sprintf("%s %v", b, err); got != c.want {
				t.Errorf("%s: %s", c.name, got)
			}
		}
		p.CloseIdleConnections()
		listener.Close()
		if made != c.made {
			t.Errorf("%s: %d connections, want %d", c.name, made, c.made)
		}
	}
}
