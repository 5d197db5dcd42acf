package loadgen

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hpabench/hpabench/record"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawServer answers each request with what write writes.
func rawServer(t *testing.T, write func(io.Writer) error) Way {
	t.Helper()
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
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					write(conn)
				}
			}()
		}
	}()
	way, err := URL("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return way
}

func forever(w io.Writer, first, again string) error {
	_, err := io.WriteString(w, first)
	for err == nil {
		_, err = io.WriteString(w, again)
	}
	return err
}

// growth is by how much the heap grew at most while run ran.
func growth(run func()) uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-time.After(20 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			case <-stop:
				return
			}
		}
	}()
	run()
	close(stop)
	<-stopped
	return (most - before) >> 20
}

// Whatever a server sends, memory stays flat and the request ends as a failure that says
// why.
func TestAnswersAreBounded(t *testing.T) {
	megabyte := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		write func(io.Writer) error
		cause string
	}{
		"an endless body": {func(w io.Writer) error {
			return forever(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "100000\r\n"+megabyte+"\r\n")
		}, "timeout"},
		"an endless body by length": {func(w io.Writer) error {
			return forever(w, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", megabyte)
		}, "timeout"},
		"an endless body until close": {func(w io.Writer) error { return forever(w, "HTTP/1.1 200 OK\r\n\r\n", megabyte) }, "timeout"},
		"an endless chunk extension": {func(w io.Writer) error {
			return forever(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", megabyte)
		}, "other"},
		"an endless trailer": {func(w io.Writer) error {
			return forever(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X-A: "+megabyte+"\r\n")
		}, "other"},
		"endless headers":         {func(w io.Writer) error { return forever(w, "HTTP/1.1 200 OK\r\n", "X-A: "+megabyte+"\r\n") }, errHead.Error()},
		"many small headers":      {func(w io.Writer) error { return forever(w, "HTTP/1.1 200 OK\r\n", strings.Repeat("a:\r\n", 1<<18)) }, errHead.Error()},
		"one endless header":      {func(w io.Writer) error { return forever(w, "HTTP/1.1 200 OK\r\nX: ", megabyte) }, errHead.Error()},
		"an endless status line":  {func(w io.Writer) error { return forever(w, "HTTP/1.1 200 ", megabyte) }, errHead.Error()},
		"endless interim answers": {func(w io.Writer) error { return forever(w, "", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000)) }, errHead.Error()},
		"endless early hints": {func(w io.Writer) error {
			return forever(w, "", "HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("x", 4000)+"\r\n\r\n")
		}, errHead.Error()},
		"code 0":            {func(w io.Writer) error { return forever(w, "", "HTTP/1.1 000 x\r\nContent-Length: 0\r\n\r\n") }, "no HTTP"},
		"a negative length": {func(w io.Writer) error { return forever(w, "HTTP/1.1 999 \xff\xfe\r\nContent-Length: -5\r\n\r\n", "") }, "no HTTP"},
		"noise":             {func(w io.Writer) error { return forever(w, "", strings.Repeat("\x00\xff\x1b", 1000)) }, errHead.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			way := rawServer(t, c.write)
			var r result
			if grown := growth(func() {
				r = generate(t, []record.Phase{{Name: "load", Shape: record.ShapeRate, From: 40, Seconds: .1, KeepAlive: true}}, Request{Path: "/", Timeout: 400 * time.Millisecond}, way, nil)
			}); grown > 64 {
				t.Errorf("memory grew by %d MiB", grown)
			}
			// On a busy machine the timeout can come first.
			if p := r.phases[0]; p.Failed == 0 || p.Failed != p.Sent || failedOtherwise(p, c.cause) > 0 {
				t.Errorf("failed %d: %v, but for %s; %q", p.Failed, p.Errors, c.cause, r.notes)
			}
			for _, n := range r.notes {
				if len(n) > maxCause+200 {
					t.Errorf("a note of %d bytes", len(n))
				}
			}
		})
	}
}

// The same by HTTP/2.
func TestAnswersAreBoundedByHTTP2(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		cause   string
	}{
		"an endless body": {func(w http.ResponseWriter, _ *http.Request) { forever(w, "", strings.Repeat("x", 1<<20)) }, "timeout"},
		"long headers": {func(w http.ResponseWriter, _ *http.Request) {
			for i := range 70 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("y", 1000))
			}
		}, errHead.Error()},
		"endless early hints": {func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Link", strings.Repeat("x", 4000))
			for req.Context().Err() == nil {
				w.WriteHeader(http.StatusEarlyHints)
			}
		}, errHead.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(c.handler)
			server.EnableHTTP2 = true
			server.StartTLS()
			defer server.Close()
			way, err := URL(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			var r result
			if grown := growth(func() {
				r = generate(t, []record.Phase{{Name: "load", Shape: record.ShapeRate, From: 40, Seconds: .1, KeepAlive: true}},
					Request{Path: "/", Timeout: 400 * time.Millisecond, HTTP2: true, TLS: &TLS{InsecureSkipVerify: true}}, way, nil)
			}); grown > 64 {
				t.Errorf("memory grew by %d MiB", grown)
			}
			if p := r.phases[0]; p.Failed == 0 || p.Failed != p.Sent || failedOtherwise(p, c.cause) > 0 {
				t.Errorf("failed %d: %v, but for %s; %q", p.Failed, p.Errors, c.cause, r.notes)
			}
		})
	}
}

// A status code that has not three digits is no answer, by either version of HTTP.
func TestStatusCodesAreBounded(t *testing.T) {
	var code atomic.Pointer[string]
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.EnableHTTP2 = true
	server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) {
		io.CopyN(io.Discard, conn, int64(len(http2.ClientPreface)))
		framer := http2.NewFramer(conn, conn)
		framer.WriteSettings()
		for frame, err := framer.ReadFrame(); err == nil; frame, err = framer.ReadFrame() {
			if _, is := frame.(*http2.HeadersFrame); is {
				var block bytes.Buffer
				hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: *code.Load()})
				framer.WriteHeaders(http2.HeadersFrameParam{StreamID: frame.Header().StreamID, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
			}
		}
	}}
	server.StartTLS()
	defer server.Close()
	second, err := URL(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	first := rawServer(t, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "HTTP/1.1 %s x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", *code.Load())
		return err
	})
	for _, c := range []string{"000", "0", "99", "099", "-01", "1000", "20000", "65736", "-200", "999", "600"} {
		code.Store(&c)
		for version, way := range []Way{first, second} {
			r := generate(t, []record.Phase{rate(20, .1)}, Request{Path: "/", HTTP2: version == 1, TLS: &TLS{InsecureSkipVerify: true}}, way, nil)
			p := r.phases[0]
			valid := len(c) == 3 && c >= "600"
			if valid != (p.Answered == 2) || !valid && p.Errors["no HTTP"] != 2 || checkCounts(&record.LoadSecond{Answered: p.Answered, Failed: p.Failed, Codes: p.Codes, Errors: p.Errors}) != nil {
				t.Errorf("HTTP/%d, code %s: %d answers: %v, %v; %q", version+1, c, p.Answered, p.Codes, p.Errors, r.notes)
			}
		}
	}
}

// What a request carries that is secret is in no note, though a server sends it back.
func TestErrorsHideSecrets(t *testing.T) {
	request := Request{Path: "/a?token=SECRET%2Fquery&x=1", Headers: http.Header{
		"Authorization": {"Bearer SECRETbearer"}, "X-Api-Key": {`SECRET"key`}, "Cookie": {"a=SECRETcookie; b=2"}}}
	basic := Request{Path: "/", Headers: http.Header{"Authorization": {"Basic U0VDUkVUdXNlcjpTRUNSRVRwYXNz"}}} // SECRETuser:SECRETpass
	for _, c := range []struct {
		answer  string
		user    string
		request Request
	}{
		{"HTTP/1.1 999999999999999999999 x", "", request},
		{"HTTP/1.1 999999999999999999999 x", "SECRETuser@", basic},
		{"HTTP/1.1 999999999999999999999 x", "SECRETuser:SECRETpass@", Request{Path: "/"}},
		{"SECRETuser SECRETpass U0VDUkVUdXNlcjpTRUNSRVRwYXNz", "SECRETuser:SECRETpass@", Request{Path: "/"}},
		{"SECRETuser SECRETpass U0VDUkVUdXNlcjpTRUNSRVRwYXNz", "", basic},
		{"SECRETbearer", "", request},
		{`SECRET"key`, "", request},
		{"/a?token=SECRET%2Fquery", "", request},
		{"SECRET/query", "", request},
		{"HTTP/1.1 200 OK\r\nContent-Length: SECRETcookie", "", request},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: SECRETbearer", "", request},
	} {
		way, err := URL(strings.Replace(rawServer(t, func(w io.Writer) error {
			_, err := io.WriteString(w, c.answer+"\r\n\r\n")
			return err
		}).URL(), "//", "//"+c.user, 1))
		if err != nil {
			t.Fatal(err)
		}
		r := generate(t, []record.Phase{rate(20, .05)}, c.request, way, nil)
		if notes := fmt.Sprint(r.notes); len(r.notes) != 1 || r.phases[0].Errors["no HTTP"] != 1 || strings.Contains(notes, "SECRET") || strings.Contains(notes, "U0VD") || !strings.Contains(notes, record.Hidden) {
			t.Errorf("%q: %q, %v", c.answer, r.notes, r.phases[0].Errors)
		}
	}
}

// Bodies are counted, though nobody keeps them.
func TestBytesIn(t *testing.T) {
	var turn atomic.Int64
	for _, http2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if turn.Add(1)%2 == 0 {
				w.Header().Set("Content-Length", "100000")
			}
			io.WriteString(w, strings.Repeat("x", 100_000))
		}))
		server.EnableHTTP2 = http2
		server.StartTLS()
		way, err := URL(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		r := generate(t, []record.Phase{rate(20, .5)}, Request{Path: "/", HTTP2: http2, TLS: &TLS{InsecureSkipVerify: true}}, way, nil)
		server.Close()
		if p := r.phases[0]; p.Answered == 0 || p.BytesIn != 100_000*p.Answered {
			t.Errorf("HTTP/2 %v: %d bytes of %d answers", http2, p.BytesIn, p.Answered)
		}
	}
}

// A header can name anything as the pod.
func TestPodHeaderIsBounded(t *testing.T) {
	var turn atomic.Int64
	r := virtual(t, []record.Phase{rate(1500, 2)}, Request{Path: "/", PodHeader: "x-pod"}, func(w http.ResponseWriter, _ *http.Request) {
		switch n := turn.Add(1); n % 4 {
		case 0:
			w.Header().Set("X-Pod", strings.Repeat("z", 254))
		case 1:
			w.Header().Set("X-Pod", "<script>alert(1)</script>")
		case 2:
			w.Header().Set("X-Pod", "web a|b")
		default:
			w.Header().Set("X-Pod", fmt.Sprint("10.0.0.1:", n))
		}
	}, nil)
	if r.phases[0].Answered == 0 || len(r.pods) == 0 || len(r.pods) > 750 {
		t.Errorf("%d answers, %d pods", r.phases[0].Answered, len(r.pods))
	}
	if len(r.answered) > maxPods || slices.ContainsFunc(r.answered, func(pod string) bool { return !strings.HasPrefix(pod, "10.0.0.1:") }) {
		t.Errorf("%q", r.answered)
	}
}

// Neither an answer nor the environment leads the load to another server.
func TestLoadStaysWithItsHost(t *testing.T) {
	var stolen atomic.Int64
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Add(1) }))
	defer trap.Close()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, trap.URL)
	}
	var turn atomic.Int64
	codes := []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect}
	for _, http2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			n := int(turn.Add(1))
			for _, header := range []string{"Location", "Content-Location", "Refresh", "Link"} {
				w.Header().Set(header, []string{trap.URL + "/stolen", "//" + trap.Listener.Addr().String(), "%zz"}[n%3])
			}
			w.Header().Set("Alt-Svc", `h2="`+trap.Listener.Addr().String()+`"`)
			w.WriteHeader(codes[n%len(codes)])
		}))
		server.EnableHTTP2 = http2
		server.StartTLS()
		way, err := URL(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r := generate(t, []record.Phase{rate(60, .5)}, Request{Method: method, Path: "/", Body: []byte("x"), HTTP2: http2, TLS: &TLS{InsecureSkipVerify: true}, Headers: http.Header{"Authorization": {"Bearer secret"}}}, way, nil)
			if p := r.phases[0]; p.Answered == 0 || p.Answered != p.Sent || len(p.Codes) != len(codes) {
				t.Errorf("HTTP/2 %v: %d answers: %v, %v", http2, p.Answered, p.Codes, p.Errors)
			}
		}
		server.Close()
	}
	if n := stolen.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
	for _, path := range []string{"x:@127.0.0.1:1/evil", "@127.0.0.1:1", ":1/", "/../x", "//127.0.0.1/../x"} {
		way, _ := URL("http://127.0.0.1:9")
		if _, err := New([]record.Phase{rate(1, 1)}, Request{Path: path}, way, record.NewRecorder(record.StartClock(), nil)); err == nil {
			t.Errorf("%s is sent", path)
		}
	}
}

// A name does not leave the part of the network in which it was: DNS rebinding.
func TestNameStaysInItsZone(t *testing.T) {
	for _, c := range []struct {
		first, then []string
		want        string // that is dialled then; empty for none
	}{
		{[]string{"93.184.216.34"}, []string{"8.8.8.8"}, "8.8.8.8:80"},
		{[]string{"10.0.0.1"}, []string{"172.16.0.1"}, "172.16.0.1:80"},
		{[]string{"100.64.0.1"}, []string{"10.0.0.1"}, "10.0.0.1:80"},
		{[]string{"93.184.216.34"}, []string{"127.0.0.1", "8.8.8.8"}, "8.8.8.8:80"},
		{[]string{"93.184.216.34"}, []string{"127.0.0.1"}, ""},
		{[]string{"93.184.216.34"}, []string{"::ffff:127.0.0.1"}, ""},
		{[]string{"93.184.216.34"}, []string{"169.254.169.254"}, ""},
		{[]string{"93.184.216.34"}, []string{"10.96.0.1"}, ""},
		{[]string{"2606:2800::1"}, []string{"fd00::1"}, ""},
		{[]string{"10.0.0.1"}, []string{"0.0.0.0"}, ""},
		{[]string{"127.0.0.1"}, []string{"fe80::1%eth0"}, ""},
	} {
		a := newAddresses()
		list, dialled := c.first, ""
		a.lookup = func(context.Context, string) ([]string, error) { return list, nil }
		a.dial = func(_ context.Context, _, address string) (net.Conn, error) { dialled = address; return nil, nil }
		if _, err := a.connect(t.Context(), "tcp", "shop.example:80"); err != nil {
			t.Fatal(err)
		}
		list, dialled = c.then, ""
		a.names["shop.example"].since = time.Time{}
		_, err := a.connect(t.Context(), "tcp", "shop.example:80")
		if dialled != c.want || (err == nil) != (c.want != "") || err != nil && causeOf(err.Error()) != errElsewhere {
			t.Errorf("%v, then %v: %q, %v", c.first, c.then, dialled, err)
		}
	}
}

// failedOtherwise counts the failures of another cause. On a busy machine a timeout can
// come first.
func failedOtherwise(p record.LoadSecond, cause string) uint64 {
	delete(p.Errors, cause)
	delete(p.Errors, "timeout")
	return sum(p.Errors)
}
