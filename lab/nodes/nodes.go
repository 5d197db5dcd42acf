package nodes

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	baseversion "k8s.io/component-base/version"

	"github.com/hpabench/hpabench/model"
	"github.com/hpabench/hpabench/signals"
)

// Options of the modelled nodes. The zero value is a cluster of eight nodes of
// four processors each.
type Options struct {
	// Count of nodes. Default: 8.
	Count int
	// CPU and Memory of each node. Default: 4 and 16Gi.
	CPU, Memory resource.Quantity
	// Pods that fit on each node. Default: 110.
	Pods int
	// Housekeeping is how often the usage of a container is sampled: after one
	// to two times as long, and up to half as long again while nothing changes.
	// Default: 10 s, as kubelets do.
	Housekeeping time.Duration
	// Version that the kubelets tell. Default: that of the Kubernetes whose rules
	// they follow.
	Version string
	// Route finds an endpoint of a Service that takes connections. Default: none is found.
	Route Route
	// Prometheus scrapes what the containers show. Default: nobody does.
	Prometheus *signals.Store
}

// Route finds where a connection of a pod to a Service goes: the Service by its name, in the namespace of the pod, or by its
// cluster IP, and with a port or without. Error: there is no such Service, or it has no endpoint that is ready.
type Route func(namespace, service string) (netip.AddrPort, error)

func (o Options) withDefaults() Options {
	o.Count = cmp.Or(o.Count, 8)
	if o.CPU.IsZero() {
		o.CPU = resource.MustParse("4")
	}
	if o.Memory.IsZero() {
		o.Memory = resource.MustParse("16Gi")
	}
	o.Pods = cmp.Or(o.Pods, 110)
	o.Housekeeping = cmp.Or(o.Housekeeping, model.Housekeeping)
	o.Version = cmp.Or(o.Version, "v"+baseversion.DefaultKubeBinaryVersion+".0")
	return o
}

// Nodes are the modelled nodes of one cluster and the pods on them.
type Nodes struct {
	o         Options
	client    kubernetes.Interface
	byName    map[string]*node
	byIP      map[netip.Addr]*node
	transport *http.Transport // of probes and hooks
	kubelet   *handoffListener
	writes    workqueue.TypedDelayingInterface[*pod]
	started   time.Time
	wg        sync.WaitGroup
	ips       sync.Map // a *pod by its netip.Addr

	mu struct {
		sync.RWMutex
		pods map[types.UID]*pod
	}
}

var errNotListening = errors.New("nothing listens there")

// Start registers the nodes with an API server and takes up the pods that are
// bound to them, until ctx is cancelled. It returns when the nodes are there and
// Ready. Error: a node cannot be registered, say because one of its name is
// there already. The certificate is that of the kubelet API, which the API server does
// not check.
func Start(ctx context.Context, config *rest.Config, certificate tls.Certificate, o Options) (*Nodes, error) {
	o = o.withDefaults()
	config = rest.CopyConfig(config)
	config.QPS = -1 // the kubelets share this client, so their limit of 50 requests/s each does not bind
	config.ContentType, config.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for the modelled nodes: %w", err)
	}
	n := newNodes(client, o)
	networks, err := podNetworks(o.Count, o.Pods)
	if err != nil {
		return nil, err
	}
	for i, network := range networks {
		node := newNode(n, i, network)
		n.byName[node.name], n.byIP[node.ip] = node, node
	}

	ctx, cancel := context.WithCancel(ctx)
	if err := n.register(ctx, config); err != nil {
		cancel()
		n.writes.ShutDown()
		n.wg.Wait()
		return nil, err
	}
	n.wg.Go(func() { n.serveKubelet(ctx, certificate) })
	for range o.Count {
		n.wg.Go(func() { n.writeStatuses(ctx) })
	}
	n.wg.Go(func() { n.watch(ctx) })
	n.wg.Go(func() {
		<-ctx.Done()
		n.writes.ShutDown()
		cancel()
	})
	return n, nil
}

func newNodes(client kubernetes.Interface, o Options) *Nodes {
	n := &Nodes{o: o, client: client, byName: map[string]*node{}, byIP: map[netip.Addr]*node{}, kubelet: &handoffListener{make(chan net.Conn), make(chan struct{})}, started: time.Now(),
		writes: workqueue.NewTypedDelayingQueue[*pod]()}
	n.transport = &http.Transport{DialContext: n.dial, DisableKeepAlives: true, DisableCompression: true}
	n.mu.pods = map[types.UID]*pod{}
	return n
}

// Wait returns when all of it has ended, after the context of Start is done.
func (n *Nodes) Wait() { n.wg.Wait() }

// register makes all nodes at once.
func (n *Nodes) register(ctx context.Context, config *rest.Config) error {
	var registering errgroup.Group
	for _, node := range n.byName {
		registering.Go(func() error {
			if err := node.register(ctx, config); err != nil {
				return fmt.Errorf("registering the modelled node %s: %w", node.name, err)
			}
			return nil
		})
	}
	return registering.Wait()
}

// watch follows the pods of all nodes with one informer: a kubelet each would
// cost a watch each.
func (n *Nodes) watch(ctx context.Context) {
	informer := coreinformers.NewPodInformer(n.client, metav1.NamespaceAll, 0, cache.Indexers{})
	_ = informer.SetTransform(func(o any) (any, error) {
		if pod, ok := o.(*corev1.Pod); ok {
			pod.ManagedFields = nil
		}
		return o, nil
	})
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { n.update(ctx, o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { n.update(ctx, o.(*corev1.Pod)) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			n.gone(o.(*corev1.Pod))
		},
	})
	informer.RunWithContext(ctx)
}

// update takes up a pod that is new, or tells its worker what has changed.
func (n *Nodes) update(ctx context.Context, api *corev1.Pod) {
	node := n.byName[api.Spec.NodeName]
	if node == nil {
		return
	}
	n.mu.Lock()
	p := n.mu.pods[api.UID]
	if p == nil {
		p = newPod(n, node, api)
		n.mu.pods[api.UID] = p
		n.mu.Unlock()
		n.wg.Go(func() { p.run(ctx) })
		return
	}
	n.mu.Unlock()
	p.update(api)
}

func (n *Nodes) gone(api *corev1.Pod) {
	n.mu.RLock()
	p := n.mu.pods[api.UID]
	n.mu.RUnlock()
	if p != nil {
		p.deleted(api)
	}
}

// forget drops a pod that is gone from the API and has ended.
func (n *Nodes) forget(p *pod) {
	for _, c := range p.st.all() {
		p.node.backOff.DeleteEntry(p.backOffKey(c))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.mu.pods, p.uid)
}

// find gives the pod of a name; of two, when one is on its way out, the newer.
func (n *Nodes) find(namespace, name string) (found *pod) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for _, p := range n.mu.pods {
		if p.namespace == namespace && p.name == name && (found == nil || p.st.seen.After(found.st.seen)) {
			found = p
		}
	}
	return found
}

// listener gives the process that listens at a pod's address.
func (n *Nodes) listener(to netip.AddrPort) (process, error) {
	if p, bound := n.ips.Load(to.Addr()); bound {
		if process := p.(*pod).at(int32(to.Port())); process != nil && process.Listening() {
			return process, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", to, errNotListening)
}

// Handoff gives an established connection to what listens at an address: a
// container at its pod's, or the kubelet API (TLS) at port 10250 of a node's.
// Nothing is copied. Error: nothing listens there, or it does not take the
// connection, which is then the caller's to reset.
func (n *Nodes) Handoff(to netip.AddrPort, conn net.Conn) error {
	if n.byIP[to.Addr()] != nil && to.Port() == kubeletPort {
		return n.kubelet.hand(conn)
	}
	process, err := n.listener(to)
	if err != nil {
		return err
	}
	return process.Serve(conn)
}

// jittered is a duration of up to half as long again, as kubelets wait after an
// error.
func jittered(d time.Duration) time.Duration {
	return d + time.Duration(rand.Float64()*0.5*float64(d))
}
