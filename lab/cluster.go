package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/metrics-server/pkg/storage"

	"github.com/hpabench/hpabench/lab/nodeports"
	"github.com/hpabench/hpabench/lab/nodes"
)

// cluster is what the control plane reaches of the modelled nodes. They come to
// be after the API server, which asks them by it: nil until then.
type cluster struct {
	atomic.Pointer[nodes.Nodes]
	proxy atomic.Pointer[nodeports.Proxy]

	mu      sync.Mutex
	between net.Listener
}

var errNoNodes = errors.New("the nodes have not started yet")

// dial connects the API server to a pod or to a node's kubelet API. Their
// addresses exist nowhere on the machine.
func (c *cluster) dial(_ context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dialling a modelled address: %w", err)
	}
	ours, theirs, err := c.pair()
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", to, err)
	}
	if err := c.handoff(to, theirs); err != nil {
		_ = ours.Close()
		_ = theirs.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	return ours, nil
}

// route finds where a pod's connection to a Service goes.
func (c *cluster) route(namespace, service string) (netip.AddrPort, error) {
	proxy := c.proxy.Load()
	if proxy == nil {
		return netip.AddrPort{}, errNoNodes
	}
	return proxy.Endpoint(namespace, service)
}

// handoff is that of the nodes.
func (c *cluster) handoff(to netip.AddrPort, conn net.Conn) error {
	n := c.Load()
	if n == nil {
		return errNoNodes
	}
	return n.Handoff(to, conn)
}

// pair makes the two ends of a connection. It takes a socket for that: TLS, which
// kubelets speak, and upgrades to streams need buffers and deadlines that behave
// as a kernel's do.
func (c *cluster) pair() (ours, theirs net.Conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	address := c.between.Addr()
	if ours, err = net.Dial(address.Network(), address.String()); err != nil {
		return nil, nil, err
	}
	// Nobody else can reach the socket. What was dialled must be accepted, or the
	// next one would get this one's peer: out of file descriptors it waits for some.
	for {
		if theirs, err = c.between.Accept(); err == nil {
			return ours, theirs, nil
		}
		if errors.Is(err, net.ErrClosed) {
			_ = ours.Close()
			return nil, nil, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// metrics is what metrics-server scrapes of a node's kubelet.
func (c *cluster) metrics(_ context.Context, node *corev1.Node) (*storage.MetricsBatch, error) {
	n := c.Load()
	if n == nil {
		return nil, errNoNodes
	}
	batch := &storage.MetricsBatch{Nodes: map[string]storage.MetricsPoint{}, Pods: map[types.NamespacedName]storage.PodMetricsPoint{}}
	if u, ok := n.NodeUsage(node.Name); ok {
		batch.Nodes[node.Name] = point(u)
	}
	for _, pod := range n.Usage(node.Name) {
		containers := make(map[string]storage.MetricsPoint, len(pod.Containers))
		for _, u := range pod.Containers {
			containers[u.Name] = point(u)
		}
		batch.Pods[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] = storage.PodMetricsPoint{Containers: containers}
	}
	return batch, nil
}

func point(u nodes.ContainerUsage) storage.MetricsPoint {
	return storage.MetricsPoint{
		StartTime:         u.Start,
		Timestamp:         u.At,
		CumulativeCPUUsed: uint64(u.CPU.Nanoseconds()), // nanocores times seconds
		MemoryUsage:       uint64(u.Memory),
	}
}
