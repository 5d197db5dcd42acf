package nodes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/component-helpers/apimachinery/lease"
	"k8s.io/utils/clock"

	"github.com/hpabench/hpabench/lab/containers"
	"github.com/hpabench/hpabench/model"
)

const (
	kubeletPort = 10250
	runtimeName = "hpabench-lab"
)

// node is one modelled node: what its kubelet and its runtime hold.
type node struct {
	nodes    *Nodes
	name     string
	ip       netip.Addr
	network  netip.Prefix
	cpu      *containers.CPU
	images   *images
	backOff  *flowcontrol.Backoff // of containers that end again and again
	phase    time.Duration        // of the ticks at which it looks for containers that have ended
	recorder record.EventRecorder
	endedCPU atomic.Int64
	toldCPU  atomic.Int64 // what NodeUsage said last

	mu struct {
		sync.Mutex
		next netip.Addr // the address to try next
		used map[netip.Addr]bool
	}
}

// podNetworks gives each node a network with room for twice its pods, so that
// those on their way out need not be counted, and at least a /24.
func podNetworks(count, pods int) ([]netip.Prefix, error) {
	bits := 8
	for 1<<bits < 2*pods+2 {
		bits++
	}
	if count < 1 || count > 250 || pods < 1 || count<<bits > 1<<18 {
		return nil, fmt.Errorf("%d nodes of %d pods: there can be 1 to 250 nodes, and 131,000 pods in all", count, pods)
	}
	var r []netip.Prefix
	for i := range count {
		a := uint32(10<<24|244<<16) + uint32(i<<bits)
		r = append(r, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)}), 32-bits))
	}
	return r, nil
}

func newNode(n *Nodes, i int, network netip.Prefix) *node {
	r := &node{nodes: n, name: fmt.Sprintf("lab-%d", i+1), ip: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), network: network,
		cpu: containers.NewCPU(n.o.CPU.AsApproximateFloat64()), images: &images{pulling: make(chan struct{}, 1), backOff: flowcontrol.NewBackOff(model.InitialBackOff, model.MaxBackOff)},
		backOff: flowcontrol.NewBackOff(model.InitialBackOff, model.MaxBackOff),
		phase:   time.Duration(rand.Float64() * float64(time.Second))}
	r.mu.next, r.mu.used = network.Addr(), map[netip.Addr]bool{}
	return r
}

// register creates the Node as a kubelet does, with its status, starts to renew
// its lease, and to send events.
func (n *node) register(ctx context.Context, config *rest.Config) error {
	client := n.nodes.client.CoreV1().Nodes()
	made, err := client.Create(ctx, n.object(), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	// The API server taints a new node until the node lifecycle controller finds
	// it Ready. It is Ready from the start, so there is nothing to wait for.
	if len(made.Spec.Taints) > 0 {
		if _, err := client.Patch(ctx, n.name, types.MergePatchType, []byte(`{"spec":{"taints":null}}`), metav1.PatchOptions{}); err != nil {
			return err
		}
	}

	setOwner := func(l *coordinationv1.Lease) error {
		l.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: made.Name, UID: made.UID}}
		return nil
	}
	leases := lease.NewController(clock.RealClock{}, n.nodes.client, n.name, 40, nil, 10*time.Second, n.name, corev1.NamespaceNodeLease, setOwner)
	n.nodes.wg.Go(func() { leases.Run(ctx) })

	events := rest.CopyConfig(config)
	events.QPS, events.Burst = 50, 100 // eventRecordQPS and eventBurst of a kubelet
	sink, err := typedcorev1.NewForConfig(events)
	if err != nil {
		return err
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: sink.Events("")})
	n.recorder = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: n.name})
	return nil
}

func (n *node) object() *corev1.Node {
	now := metav1.Now()
	capacity := corev1.ResourceList{
		corev1.ResourceCPU: n.nodes.o.CPU, corev1.ResourceMemory: n.nodes.o.Memory,
		corev1.ResourcePods:             *resource.NewQuantity(int64(n.nodes.o.Pods), resource.DecimalSI),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
	}
	condition := func(t corev1.NodeConditionType, s corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: t, Status: s, Reason: reason, Message: message, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.name, Labels: map[string]string{
			corev1.LabelHostname: n.name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: runtime.GOARCH,
			corev1.LabelInstanceTypeStable: runtimeName,
		}},
		Spec: corev1.NodeSpec{PodCIDR: n.network.String(), PodCIDRs: []string{n.network.String()}},
		Status: corev1.NodeStatus{
			Capacity: capacity, Allocatable: capacity,
			Conditions: []corev1.NodeCondition{
				condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
				condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
				condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
				condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status"),
			},
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: n.ip.String()}, {Type: corev1.NodeHostName, Address: n.name}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: kubeletPort}},
			NodeInfo: corev1.NodeSystemInfo{
				KubeletVersion: n.nodes.o.Version, ContainerRuntimeVersion: runtimeName + "://" + n.nodes.o.Version, OperatingSystem: "linux", Architecture: runtime.GOARCH,
				OSImage: "modelled by hpabench", KernelVersion: "none", MachineID: n.name, SystemUUID: n.name, BootID: n.name,
			},
		},
	}
}

// allocate gives an address of the node's network, the next free one: an address
// that has just become free is not taken again at once.
func (n *node) allocate() (netip.Addr, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for range 1 << (32 - n.network.Bits()) {
		a := n.mu.next
		if n.mu.next = a.Next(); !n.network.Contains(n.mu.next) {
			n.mu.next = n.network.Addr()
		}
		// The first address is the network's, the last one for broadcasts.
		if last := !n.network.Contains(a.Next()); a != n.network.Addr() && !last && !n.mu.used[a] {
			n.mu.used[a] = true
			return a, true
		}
	}
	return netip.Addr{}, false
}

func (n *node) release(a netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.mu.used, a)
}

// relist is how long it takes until the kubelet sees that a container has started or ended:
// it looks once in each model.Relist.
func (n *node) relist(now time.Time) time.Duration {
	return model.Relist - (time.Duration(now.UnixNano())+n.phase)%model.Relist
}

// running gives the pods of the node.
func (n *node) running() (r []*pod) {
	n.nodes.mu.RLock()
	defer n.nodes.mu.RUnlock()
	for _, p := range n.nodes.mu.pods {
		if p.node == n {
			r = append(r, p)
		}
	}
	return r
}
