package loadgen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

var errNoReadyPod = errors.New("no ready pod")

const (
	// nobody stands for the pod where none is ready; no pod can have the name.
	nobody = "_"

	// noPodPause is how long a request takes to fail when no pod is ready or its
	// pod cannot be linked to, so that a closed loop does not spin.
	noPodPause = 100 * time.Millisecond

	// retryLink is how long a pod whose link could not be made is left alone:
	// otherwise each request would ask the API server again.
	retryLink = time.Second
)

// forward reaches pods through the API server, as kubectl port-forward does: one
// link to each pod, and over it a pair of streams for each TCP connection.
type forward struct {
	config    *rest.Config
	client    rest.Interface
	namespace string
	port      int32
	ready     func() []string

	mu    sync.Mutex
	names []string         // ready pods when the last request was sent
	turn  int              // of the round robin over names
	links map[string]*link // by pod
}

// PortForward goes to the given port of every ready pod in turn. Ready returns
// the names of the pods that are ready now; it is called for every request, so
// it must be quick, keep its order, and never change what it returned before. A
// pod that is no longer ready gets no more requests; its link is closed when
// those that it has are done.
func PortForward(config *rest.Config, namespace string, port int32, ready func() []string) (Way, error) {
	client, err := corev1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("preparing to port-forward: %w", err)
	}
	return &forward{
		config: config, client: client.RESTClient(), namespace: namespace, port: port, ready: ready,
		links: map[string]*link{},
	}, nil
}

func (f *forward) Kind() string { return "portForward" }

func (f *forward) URL() string {
	return fmt.Sprintf("port %d of every ready pod in namespace %s", f.port, f.namespace)
}

func (f *forward) host() string { return "localhost" }

// next names the pod as the URL's host, so that net/http keeps connections apart
// by pod.
func (f *forward) next() string {
	ready := f.ready()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(ready, f.names) {
		f.names = ready
		for pod, l := range f.links {
			if !slices.Contains(ready, pod) {
				delete(f.links, pod)
				l.retire()
			}
		}
	}
	if len(ready) == 0 {
		return "http://" + nobody
	}
	f.turn = (f.turn + 1) % len(ready)
	return "http://" + ready[f.turn]
}

// first is where the first of the ready pods is, which takes no turn.
func (f *forward) first() string {
	if ready := f.ready(); len(ready) > 0 {
		return "http://" + ready[0]
	}
	return "http://" + nobody
}

func (f *forward) dial(ctx context.Context, _, address string) (net.Conn, error) {
	pod, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if pod == nobody {
		pause(ctx)
		return nil, errNoReadyPod
	}
	l := f.link(pod)
	select {
	case <-l.made:
	case <-ctx.Done():
		return nil, fmt.Errorf("port-forward to pod %s: %w", pod, ctx.Err())
	}
	if l.err != nil {
		pause(ctx)
		return nil, fmt.Errorf("port-forward to pod %s: %w", pod, l.err)
	}
	conn, err := l.connect(ctx, f.port)
	if err != nil {
		return nil, fmt.Errorf("port-forward to pod %s: %w", pod, err)
	}
	return conn, nil
}

func pause(ctx context.Context) {
	select {
	case <-time.After(noPodPause):
	case <-ctx.Done():
	}
}

func (f *forward) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for pod, l := range f.links {
		delete(f.links, pod)
		l.retire()
	}
	return nil
}

// link returns the link to a pod, which may be still in the making.
func (f *forward) link(pod string) *link {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.links[pod]; l != nil {
		return l
	}
	l := &link{pod: pod, made: make(chan struct{})}
	f.links[pod] = l
	go func() {
		l.set(f.open(pod))
		if l.err != nil {
			time.Sleep(retryLink)
		} else {
			<-l.conn.CloseChan()
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.links[pod] == l {
			delete(f.links, pod)
		}
	}()
	return l
}

// open upgrades a connection to the API server to one that carries streams to a
// pod, over a websocket where the server can, else by SPDY, as kubectl does.
func (f *forward) open(pod string) (httpstream.Connection, error) {
	u := f.client.Post().Namespace(f.namespace).Resource("pods").Name(pod).SubResource("portforward").URL()
	overWebsocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(u, f.config)
	if err != nil {
		return nil, err
	}
	roundTripper, upgrader, err := spdy.RoundTripperFor(f.config)
	if err != nil {
		return nil, err
	}
	direct := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: roundTripper}, http.MethodPost, u)
	conn, protocol, err := portforward.NewFallbackDialerForStreaming(overWebsocket, direct, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}).Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	if protocol != portforward.PortForwardProtocolV1Name {
		conn.Close()
		return nil, fmt.Errorf("the API server speaks %q, not %q", protocol, portforward.PortForwardProtocolV1Name)
	}
	return conn, nil
}

// link is the one connection over which all streams to a pod go.
type link struct {
	pod  string
	made chan struct{} // closed when conn or err is set
	conn httpstream.Connection
	err  error

	mu      sync.Mutex
	streams int // pairs that are open or being opened
	retired bool
	request int
}

func (l *link) set(conn httpstream.Connection, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.err = conn, err
	close(l.made)
	l.closeIfDone()
}

// retire closes l once its last stream is closed.
func (l *link) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retired = true
	l.closeIfDone()
}

func (l *link) closeIfDone() {
	if l.retired && l.streams == 0 && l.conn != nil {
		// Close waits for a frame to be written, which nobody needs to wait for.
		go l.conn.Close()
	}
}

// connect opens a connection to a port of the pod. The handshake of streams
// cannot be interrupted: when ctx is done first, it is undone behind.
func (l *link) connect(ctx context.Context, port int32) (net.Conn, error) {
	l.mu.Lock()
	if l.retired && l.streams == 0 {
		l.mu.Unlock()
		return nil, errors.New("the pod is no longer ready")
	}
	l.streams++
	l.request++
	request := l.request
	l.mu.Unlock()

	type result struct {
		conn *podConn
		err  error
	}
	opened := make(chan result, 1)
	go func() {
		c, err := l.openStreams(port, request)
		if err != nil {
			l.release()
		}
		opened <- result{c, err}
	}()
	select {
	case r := <-opened:
		if r.err != nil {
			return nil, r.err
		}
		return r.conn, nil
	case <-ctx.Done():
		go func() {
			if r := <-opened; r.err == nil {
				r.conn.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

func (l *link) openStreams(port int32, request int) (*podConn, error) {
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(int(port)))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(request))
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	failure, err := l.conn.CreateStream(headers)
	if err != nil {
		return nil, fmt.Errorf("opening its error stream: %w", err)
	}
	// Nothing is written to it.
	if err := failure.Close(); err != nil {
		l.conn.RemoveStreams(failure)
		return nil, fmt.Errorf("opening its error stream: %w", err)
	}
	headers = headers.Clone()
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := l.conn.CreateStream(headers)
	if err != nil {
		_ = failure.Reset()
		l.conn.RemoveStreams(failure)
		return nil, fmt.Errorf("opening its data stream: %w", err)
	}
	c := &podConn{link: l, data: data, failure: failure, failed: make(chan struct{})}
	go c.watchFailure()
	return c, nil
}

func (l *link) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams--
	l.closeIfDone()
}

// podConn is one TCP connection to a pod, carried by a pair of streams.
type podConn struct {
	link    *link
	data    httpstream.Stream
	failure httpstream.Stream
	once    sync.Once

	anyRead bool          // of data; used by Read only
	failed  chan struct{} // closed when the error stream has ended and err is set
	err     error         // what it said; nil for nothing
}

// watchFailure reads the error stream, on which the kubelet says why the
// connection to the pod failed.
func (c *podConn) watchFailure() {
	message, err := io.ReadAll(io.LimitReader(c.failure, maxCause))
	if err == nil {
		_, err = io.Copy(io.Discard, c.failure) // what nobody reads would block the link
	}
	if len(message) > 0 {
		c.err = fmt.Errorf("port-forward to pod %s: %s", c.link.pod, message)
	} else if err != nil {
		c.err = fmt.Errorf("port-forward to pod %s: reading its error stream: %w", c.link.pod, err)
	}
	close(c.failed)
}

// Read reads what the pod sent. The end of it is an error when the error stream
// said so.
func (c *podConn) Read(p []byte) (int, error) {
	n, err := c.data.Read(p)
	c.anyRead = c.anyRead || n > 0
	if err == nil {
		return n, nil
	}
	if !c.anyRead {
		// No answer at all: the error stream, which is read beside this one,
		// may say why in a moment.
		select {
		case <-c.failed:
		case <-time.After(time.Second):
		}
	}
	return n, c.orFailure(err)
}

func (c *podConn) Write(p []byte) (int, error) {
	n, err := c.data.Write(p)
	if err != nil {
		err = c.orFailure(err)
	}
	return n, err
}

func (c *podConn) orFailure(err error) error {
	select {
	case <-c.failed:
		if c.err != nil {
			return c.err
		}
	default:
	}
	return err
}

// Close resets both streams: a stream that is only half closed, and that nobody
// reads, would block all others of its link.
func (c *podConn) Close() error {
	c.once.Do(func() {
		_ = c.data.Reset()
		_ = c.failure.Reset()
		c.link.conn.RemoveStreams(c.data, c.failure)
		c.link.release()
	})
	return nil
}

func (c *podConn) LocalAddr() net.Addr  { return podAddr("localhost") }
func (c *podConn) RemoteAddr() net.Addr { return podAddr(c.link.pod) }

// Streams have no deadlines. net/http does without them: a request that times
// out closes its connection.
func (c *podConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *podConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *podConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// podAddr is the name of a pod as a net.Addr.
type podAddr string

func (podAddr) Network() string  { return "portforward" }
func (a podAddr) String() string { return string(a) }
