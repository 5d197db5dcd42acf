package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"google.golang.org/grpc/test/bufconn"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/metrics-server/pkg/storage"

	"github.com/hpabench/hpabench/lab/nodes"
)

// cluster is what the control plane reaches of the modelled nodes. They come to
// be after the API server, which asks them by it: nil until then.
type cluster struct{ atomic.Pointer[nodes.Nodes] }

var errNoNodes = errors.New("the nodes have not started yet")

// dial connects the API server to a pod or to a node's kubelet API. Their
// addresses exist nowhere on the machine: the connection is one within the
// process, buffered as a socket is.
func (c *cluster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dialling a modelled address: %w", err)
	}
	n := c.Load()
	if n == nil {
		return nil, errNoNodes
	}
	between := bufconn.Listen(32 << 10)
	defer between.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := between.Accept()
		accepted <- conn
	}()
	ours, err := between.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	theirs := <-accepted
	if err := n.Handoff(to, theirs); err != nil {
		_ = ours.Close()
		_ = theirs.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	return ours, nil
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
