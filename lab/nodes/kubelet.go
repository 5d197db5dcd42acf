package nodes

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/core/install" // the options of a log, in a URL
)

// serveKubelet serves what the API server asks of kubelets, for all nodes. It
// checks no credentials: the connections come through the lab's own process,
// whose API server has checked them, and no port is open to anybody else.
func (n *Nodes) serveKubelet(ctx context.Context, certificate tls.Certificate) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", n.serveLogs)
	mux.HandleFunc("/portForward/{namespace}/{pod}", n.servePortForward)
	mux.HandleFunc("/portForward/{namespace}/{pod}/{uid}", n.servePortForward)
	for _, verb := range []string{"exec", "attach", "run"} {
		mux.HandleFunc("/"+verb+"/", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, verb+": the containers of the embedded cluster are modelled, there is no shell in them; use a real cluster for that", http.StatusNotImplemented)
		})
	}
	server := &http.Server{
		Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}, ErrorLog: log.New(io.Discard, "", 0),
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // port-forward takes over HTTP/1.1 connections
		BaseContext:  func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() {
		_ = server.Close()
		_ = n.kubelet.Close()
	})
	defer stop()
	_ = server.ServeTLS(n.kubelet, "", "")
}

func (n *Nodes) serveLogs(w http.ResponseWriter, r *http.Request) {
	p := n.find(r.PathValue("namespace"), r.PathValue("pod"))
	if p == nil {
		http.Error(w, fmt.Sprintf("pod %q does not exist", r.PathValue("pod")), http.StatusNotFound)
		return
	}
	c := p.st.container(r.PathValue("container"))
	if c == nil {
		http.Error(w, fmt.Sprintf("container %q not found in pod %q", r.PathValue("container"), p.name), http.StatusNotFound)
		return
	}
	var options corev1.PodLogOptions
	if err := legacyscheme.ParameterCodec.DecodeParameters(r.URL.Query(), corev1.SchemeGroupVersion, &options); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	a := c.now
	if options.Previous {
		a = c.last
	}
	p.mu.Unlock()
	if a == nil {
		what := "is waiting to start"
		if options.Previous {
			what = "has no previous one that has ended"
		}
		http.Error(w, fmt.Sprintf("container %q in pod %q %s", c.spec.Name, p.name, what), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_ = a.logs.copy(r.Context(), flushing{w}, &options) // the client has gone
}

// flushing sends each line as soon as it is there.
type flushing struct{ http.ResponseWriter }

func (f flushing) Write(b []byte) (int, error) {
	i, err := f.ResponseWriter.Write(b)
	if err == nil {
		err = http.NewResponseController(f.ResponseWriter).Flush()
	}
	return i, err
}

func (n *Nodes) servePortForward(w http.ResponseWriter, r *http.Request) {
	p := n.find(r.PathValue("namespace"), r.PathValue("pod"))
	if p == nil {
		http.Error(w, "pod does not exist", http.StatusNotFound)
		return
	}
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// The API server turns WebSockets into SPDY for nodes that do not say that
	// they can do both (feature ExtendWebSocketsToKubelet). Times as in the
	// kubelet: streaming.DefaultConfig of the CRI.
	portforward.ServePortForward(w, r, forwarder{p}, p.name, string(p.uid), options, 4*time.Hour, 30*time.Second, []string{portforward.ProtocolV1Name})
}

// forwarder gives streams of a port-forward to a pod's containers.
type forwarder struct{ p *pod }

func (f forwarder) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	process := f.p.at(port)
	if process == nil || !process.Listening() {
		return fmt.Errorf("nothing listens on port %d of pod %s", port, f.p.name)
	}
	conn := &streamConn{ReadWriteCloser: stream, done: make(chan struct{})}
	if err := process.Serve(conn); err != nil {
		return err
	}
	select {
	case <-conn.done:
	case <-ctx.Done():
	}
	return nil
}

// handoffListener is a listener to which connections are handed.
type handoffListener struct {
	conns chan net.Conn
	ended chan struct{}
}

func (l *handoffListener) hand(c net.Conn) error {
	select {
	case l.conns <- c:
		return nil
	case <-l.ended:
		return errNotListening
	}
}

func (l *handoffListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *handoffListener) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv4Unspecified(), kubeletPort))
}

func (l *handoffListener) Close() error {
	select {
	case <-l.ended:
	default:
		close(l.ended)
	}
	return nil
}

// streamConn makes a connection of a stream, for a server that wants one.
// Deadlines for reading and writing are not kept: the streams have none.
type streamConn struct {
	io.ReadWriteCloser
	once sync.Once
	done chan struct{} // closed with the connection
}

func (c *streamConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = c.ReadWriteCloser.Close()
		close(c.done)
	})
	return err
}

func (c *streamConn) LocalAddr() net.Addr              { return loopback }
func (c *streamConn) RemoteAddr() net.Addr             { return loopback }
func (c *streamConn) SetDeadline(time.Time) error      { return nil }
func (c *streamConn) SetReadDeadline(time.Time) error  { return nil }
func (c *streamConn) SetWriteDeadline(time.Time) error { return nil }

var loopback net.Addr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
