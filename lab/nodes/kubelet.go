package nodes

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
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
	options, err := logOptions(r.URL.Query())
	if err != nil {
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
	_ = a.logs.copy(r.Context(), flushing{w}, options) // the client has gone
}

// logOptions reads the options of a log as the API server passes them on.
func logOptions(q url.Values) (*corev1.PodLogOptions, error) {
	o := &corev1.PodLogOptions{Follow: isTrue(q.Get("follow")), Previous: isTrue(q.Get("previous")), Timestamps: isTrue(q.Get("timestamps"))}
	for name, to := range map[string]**int64{"tailLines": &o.TailLines, "sinceSeconds": &o.SinceSeconds, "limitBytes": &o.LimitBytes} {
		if text := q.Get(name); text != "" {
			i, err := strconv.ParseInt(text, 10, 64)
			if err != nil || i < 0 {
				return nil, fmt.Errorf("%s=%s is not a number", name, text)
			}
			*to = &i
		}
	}
	if text := q.Get("sinceTime"); text != "" {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, fmt.Errorf("sinceTime=%s: %w", text, err)
		}
		o.SinceTime = &metav1.Time{Time: at}
	}
	return o, nil
}

func isTrue(s string) bool { return s != "" && s != "false" && s != "0" }

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

// handed is a listener to which connections are handed.
type handed struct {
	conns chan net.Conn
	ended chan struct{}
}

func newHanded() *handed { return &handed{make(chan net.Conn), make(chan struct{})} }

func (h *handed) hand(c net.Conn) error {
	select {
	case h.conns <- c:
		return nil
	case <-h.ended:
		return errNotListening
	}
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.ended:
		return nil, net.ErrClosed
	}
}

func (h *handed) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv4Unspecified(), kubeletPort))
}

func (h *handed) Close() error {
	select {
	case <-h.ended:
	default:
		close(h.ended)
	}
	return nil
}

// selfSigned is the certificate of the kubelet API, as a kubelet makes it for
// itself: the API server does not check it unless told to.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "modelled kubelets of hpabench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, errors.Join(err)
}
