package loadgen

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"github.com/hpabench/hpabench/record"
	corev1 "k8s.io/api/core/v1"
	constants "k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// kubelet is the server's side of the port-forward protocol, on Kubernetes' own
// implementation of SPDY, over a websocket or without. It plays a namespace of
// pods that each listen on a port of this machine.
type kubelet struct {
	websockets bool

	mu    sync.Mutex
	pods  map[string]string // address of each by name; "" refuses
	ready []string
	links map[string]int // upgraded connections by pod, ever made
	open  atomic.Int64   // upgraded connections now
	pairs atomic.Int64   // streams now
}

func (k *kubelet) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	pod := strings.TrimSuffix(strings.TrimPrefix(req.URL.Path, "/api/v1/namespaces/shop/pods/"), "/portforward")
	k.mu.Lock()
	k.links[pod]++
	_, known := k.pods[pod]
	k.mu.Unlock()
	if !known {
		http.Error(w, fmt.Sprintf("pods %q not found", pod), http.StatusNotFound)
		return
	}
	streams := make(chan httpstream.Stream)
	receive := func(s httpstream.Stream, replied <-chan struct{}) error {
		go func() { <-replied; streams <- s }()
		return nil
	}
	var conn httpstream.Connection
	switch {
	case websocket.IsWebSocketUpgrade(req) && k.websockets:
		upgrader := websocket.Upgrader{Subprotocols: []string{constants.WebsocketsSPDYTunnelingPrefix + portforward.PortForwardProtocolV1Name}}
		ws, err := upgrader.Upgrade(w, req, nil)
		if err != nil {
			return
		}
		if conn, err = spdy.NewServerConnection(portforward.NewTunnelingConnection("server", ws), receive); err != nil {
			return
		}
	case websocket.IsWebSocketUpgrade(req):
		http.Error(w, "no websockets here", http.StatusBadRequest)
		return
	default:
		if _, err := httpstream.Handshake(req, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
			return
		}
		if conn = spdy.NewResponseUpgrader().UpgradeResponse(w, req, receive); conn == nil {
			return
		}
	}
	k.open.Add(1)
	defer k.open.Add(-1)
	defer conn.Close()
	pairs := map[string]httpstream.Stream{} // that lack the other half
	for {
		select {
		case s := <-streams:
			id := s.Headers().Get(corev1.PortForwardRequestIDHeader)
			other := pairs[id]
			if other == nil {
				pairs[id] = s
				continue
			}
			delete(pairs, id)
			if s.Headers().Get(corev1.StreamType) == corev1.StreamTypeData {
				s, other = other, s
			}
			go k.forward(conn, pod, other, s)
		case <-conn.CloseChan():
			return
		}
	}
}

// forward does what the kubelet does with a pair of streams.
func (k *kubelet) forward(conn httpstream.Connection, pod string, data, failure httpstream.Stream) {
	k.pairs.Add(1)
	defer k.pairs.Add(-1)
	defer conn.RemoveStreams(data, failure)
	defer data.Close()
	defer failure.Close()
	k.mu.Lock()
	address := k.pods[pod]
	k.mu.Unlock()
	if address == "" {
		fmt.Fprintf(failure, "error forwarding port %s to pod %s: connection refused", data.Headers().Get(corev1.PortHeader), pod)
		data.Reset()
		failure.Reset()
		return
	}
	tcp, err := net.Dial("tcp", address)
	if err != nil {
		fmt.Fprint(failure, err)
		return
	}
	defer tcp.Close()
	done := make(chan struct{}, 2)
	go func() { io.Copy(data, tcp); done <- struct{}{} }()
	go func() { io.Copy(tcp, data); done <- struct{}{} }()
	<-done
}

func (k *kubelet) setReady(names ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ready = names
}

func (k *kubelet) isReady() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ready
}

// newKubelet starts a kubelet with the named pods, and counts what each served.
func newKubelet(t *testing.T, websockets bool, names ...string) (*kubelet, Way, map[string]*atomic.Int64) {
	k := &kubelet{websockets: websockets, pods: map[string]string{}, links: map[string]int{}}
	served := map[string]*atomic.Int64{}
	for _, name := range names {
		n := new(atomic.Int64)
		served[name] = n
		pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			n.Add(1)
			if req.URL.Path == "/flood" {
				for flood := make([]byte, 1<<16); ; {
					if _, err := w.Write(flood); err != nil {
						return
					}
				}
			}
			if req.Host != "localhost" {
				http.Error(w, "for "+req.Host, http.StatusTeapot)
				return
			}
			ok(w, req)
		}))
		t.Cleanup(pod.Close)
		k.pods[name] = pod.Listener.Addr().String()
	}
	server := httptest.NewServer(k)
	t.Cleanup(server.Close)
	way, err := PortForward(&rest.Config{Host: server.URL}, "shop", 8080, k.isReady)
	if err != nil {
		t.Fatal(err)
	}
	return k, way, served
}

func TestPortForward(t *testing.T) {
	for _, websockets := range []bool{true, false} {
		t.Run(fmt.Sprintf("websockets=%v", websockets), func(t *testing.T) {
			k, way, served := newKubelet(t, websockets, "web-a", "web-b", "web-c")
			k.setReady("web-a", "web-b")
			if err := Reachable(t.Context(), way); err != nil {
				t.Fatal(err)
			}
			fresh := rate(100, 0.5)
			fresh.KeepAlive = false
			// web-b gives way to web-c in the middle.
			r := generate(t, []record.Phase{rate(100, 0.5), fresh}, Request{Path: "/"}, way, func(_ context.CancelCauseFunc, g *Generator) {
				for g.Progress().Phase < 1 {
					time.Sleep(time.Millisecond)
				}
				k.setReady("web-a", "web-c")
			})
			for i, p := range r.phases {
				if p.Answered != p.Sent || p.Sent == 0 || p.Codes["200"] != p.Answered {
					t.Errorf("phase %d: sent %d, codes %v, errors %v", i, p.Sent, p.Codes, p.Errors)
				}
			}
			a, b, c := served["web-a"].Load(), served["web-b"].Load(), served["web-c"].Load()
			if sent := r.phases[0].Sent + r.phases[1].Sent; uint64(a+b+c) != sent {
				t.Errorf("the pods served %d + %d + %d of %d", a, b, c, sent)
			}
			if c == 0 || max(a-b-c, b+c-a) > 3 {
				t.Errorf("the pods served %d, %d and %d: not in turn", a, b, c)
			}
			for pod, n := range served {
				if got := r.pods[pod]; got.Answered != uint64(n.Load()) || got.Errors != 0 {
					t.Errorf("the record has %+v of %s, which served %d", got, pod, n.Load())
				}
			}
			slices.Sort(r.answered)
			if diff := cmp.Diff([]string{"web-a", "web-b", "web-c"}, r.answered); diff != "" {
				t.Errorf("first answers (-want +got):\n%s", diff)
			}
			want := map[string]int{"web-a": 1, "web-b": 1, "web-c": 1}
			if !websockets { // asked first, then SPDY
				want = map[string]int{"web-a": 2, "web-b": 2, "web-c": 2}
			}
			k.mu.Lock()
			if diff := cmp.Diff(want, k.links); diff != "" {
				t.Errorf("upgrades (-want +got):\n%s", diff)
			}
			k.mu.Unlock()

			// The generator has closed its connections, so no stream is left; the
			// link to web-b went with its last one, the others go with the way.
			eventually(t, "streams", 0, k.pairs.Load)
			eventually(t, "links", 2, k.open.Load)
			way.Close()
			eventually(t, "links", 0, k.open.Load)
		})
	}
}

func TestPortForwardFailures(t *testing.T) {
	k, way, _ := newKubelet(t, true, "web-a")
	k.pods["web-down"] = ""
	for name, want := range map[string]string{
		"":         "no ready pod",
		"web-down": "connection refused",
		"web-gone": "port-forward",
	} {
		k.setReady()
		if name != "" {
			k.setReady(name)
		}
		r := generate(t, []record.Phase{rate(20, 0.3)}, Request{Path: "/"}, way, nil)
		p := r.phases[0]
		if p.Sent == 0 || p.Errors[want] != p.Sent {
			t.Errorf("pod %q: sent %d, errors %v, want %q (%q)", name, p.Sent, p.Errors, want, r.notes)
		}
	}
	k.mu.Lock()
	// An attempt asks twice, for a websocket and for SPDY; six requests share one
	// attempt, or two on a machine that is very slow.
	if n := k.links["web-gone"]; n > 4 {
		t.Errorf("the API server was asked %d times for a pod that it does not have", n)
	}
	k.mu.Unlock()
}

// counted counts the streams that a connection keeps.
type counted struct {
	httpstream.Connection
	kept atomic.Int64
}

func (c *counted) CreateStream(headers http.Header) (httpstream.Stream, error) {
	c.kept.Add(1)
	return c.Connection.CreateStream(headers)
}

func (c *counted) RemoveStreams(streams ...httpstream.Stream) {
	c.kept.Add(-int64(len(streams)))
	c.Connection.RemoveStreams(streams...)
}

// What is closed leaves nothing behind, however often it happens.
func TestPortForwardDoesNotLeak(t *testing.T) {
	k, way, _ := newKubelet(t, true, "web-a")
	k.setReady("web-a")
	f := way.(*forward)
	conn, err := f.open("web-a")
	if err != nil {
		t.Fatal(err)
	}
	c := &counted{Connection: conn}
	l := &link{pod: "web-a", made: make(chan struct{})}
	l.set(c, nil)
	f.links["web-a"] = l
	var before int
	for i := range 200 {
		conn, err := way.dial(t.Context(), "tcp", "web-a:80")
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		if i == 10 {
			eventually(t, "streams", 0, k.pairs.Load)
			before = runtime.NumGoroutine()
		}
	}
	eventually(t, "streams", 0, k.pairs.Load)
	if n := c.kept.Load(); n != 0 {
		t.Errorf("the link keeps %d streams that are closed", n)
	}
	eventually(t, "goroutines more", 0, func() int64 { return int64(max(0, runtime.NumGoroutine()-before-10)) })
}

// A connection that is closed before its answer was read must not hold up the
// others, which share its link.
func TestPortForwardUnreadAnswer(t *testing.T) {
	k, way, _ := newKubelet(t, true, "web-a")
	k.setReady("web-a")
	for range 10 { // more than spdystream has workers for
		conn, err := way.dial(t.Context(), "tcp", "web-a:80")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	r := generate(t, []record.Phase{rate(20, 0.3)}, Request{Path: "/", Timeout: 5 * time.Second}, way, nil)
	if p := r.phases[0]; p.Sent == 0 || p.Answered != p.Sent {
		t.Errorf("answered %d of %d: %v", p.Answered, p.Sent, p.Errors)
	}
}

func TestPortForwardHonoursItsContext(t *testing.T) {
	// A server that never answers the upgrade.
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer server.Close()
	defer close(hang)
	way, err := PortForward(&rest.Config{Host: server.URL}, "shop", 80, func() []string { return []string{"web"} })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := way.dial(ctx, "tcp", "web:80"); err == nil || !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
		t.Errorf("dial returned %v", err)
	}
}

func eventually(t *testing.T, what string, want int64, got func() int64) {
	t.Helper()
	var n int64
	for range 1000 {
		if n = got(); n == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d %s, want %d", n, what, want)
}
