// Package nodeports is kube-proxy's part of the embedded cluster: it listens on
// 127.0.0.1 at the node port of every Service and hands each connection over to
// one of its endpoints, chosen at random. Nothing is copied: who takes a
// connection answers on it. It finds the endpoints for pods that call each other too.
package nodeports

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
)

// retryAfter is how long a port that could not be opened is left alone.
const retryAfter = 10 * time.Second

// Proxy listens on the node ports of all Services.
type Proxy struct {
	handoff  func(netip.AddrPort, net.Conn) error
	events   record.EventRecorder
	log      klog.Logger
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
	changed  chan struct{}
	open     map[int32]*port
	unopened map[int32]time.Time // when to try again
	finished sync.WaitGroup
}

// Start returns when the node ports of the Services that exist are open, and
// keeps them so until ctx is done. handoff takes over a connection to an endpoint
// or says why nobody listens there: the connection is reset then. Where a Service
// has no ready endpoint its port is closed, so that connections are refused, as
// kube-proxy's rules do.
//
// A port that cannot be opened, or whose connections do not arrive here, is
// logged, told by a Warning event of the Service, and tried again.
func Start(ctx context.Context, config *rest.Config, handoff func(netip.AddrPort, net.Conn) error) (*Proxy, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("starting the node ports: %w", err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	services, slices := factory.Core().V1().Services(), factory.Discovery().V1().EndpointSlices()
	p := &Proxy{
		handoff: handoff, log: klog.FromContext(ctx).WithName("nodeports"),
		changed: make(chan struct{}, 1), open: map[int32]*port{}, unopened: map[int32]time.Time{},
		services: services.Lister(), slices: slices.Lister(),
	}
	change := func(any) {
		select {
		case p.changed <- struct{}{}:
		default: // told already
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: change, DeleteFunc: change, UpdateFunc: func(_, o any) { change(o) },
	}
	for _, informer := range []cache.SharedIndexInformer{services.Informer(), slices.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, fmt.Errorf("starting the node ports: %w", err)
		}
	}
	factory.StartWithContext(ctx)
	if err := factory.WaitForCacheSyncWithContext(ctx).AsError(); err != nil {
		factory.Shutdown()
		return nil, fmt.Errorf("reading Services and EndpointSlices: %w", err)
	}

	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	p.events = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "hpabench-lab"})
	p.apply()
	p.finished.Go(func() {
		p.run(ctx)
		broadcaster.Shutdown()
		factory.Shutdown()
	})
	return p, nil
}

// Wait returns when, after the context's end, all ports are closed. Connections
// that were handed over stay open.
func (p *Proxy) Wait() { p.finished.Wait() }

func (p *Proxy) run(ctx context.Context) {
	retry := time.NewTicker(retryAfter)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, port := range p.open {
				_ = port.listener.Close()
			}
			return
		case <-p.changed:
		case <-retry.C:
		}
		p.apply()
	}
}

// Endpoint finds where a connection of a pod to a Service goes: to one of its endpoints that are ready, at random. The Service
// is named as DNS has it, by default in the namespace of the pod, or by its cluster IP, and with a port or without, which is 80 or its only one. Error:
// there is none of it, or it has no such endpoint, where a connection is refused.
func (p *Proxy) Endpoint(namespace, service string) (to netip.AddrPort, err error) {
	host, port, _ := strings.Cut(service, ":")
	ip, notIP := netip.ParseAddr(host)
	if name, of, _ := strings.Cut(host, "."); notIP != nil && of != "" {
		host = name
		namespace, _, _ = strings.Cut(of, ".")
	}
	is, err := p.services.Services(namespace).Get(host)
	if notIP == nil {
		all, err := p.services.List(labels.Everything())
		if err != nil {
			return to, err
		}
		i := slices.IndexFunc(all, func(s *corev1.Service) bool { return s.Spec.ClusterIP == ip.String() })
		if i < 0 {
			return to, fmt.Errorf("no Service has the address %s", ip)
		}
		is = all[i]
	} else if err != nil {
		return to, err
	}
	ports := is.Spec.Ports
	i := slices.IndexFunc(ports, func(has corev1.ServicePort) bool { return fmt.Sprint(has.Port) == cmp.Or(port, "80") })
	switch {
	case i >= 0:
	case port == "" && len(ports) == 1:
		i = 0
	default:
		return to, fmt.Errorf("Service %s has no port %s", is.Name, cmp.Or(port, "80"))
	}
	of, err := p.slices.EndpointSlices(is.Namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: is.Name}))
	if err != nil {
		return to, err
	}
	ready := endpoints(of, ports[i].Name)
	if len(ready) == 0 {
		return to, fmt.Errorf("no pod behind Service %s takes connections", is.Name)
	}
	return ready[rand.N(len(ready))], nil
}

// apply opens and closes ports as the table has them now.
func (p *Proxy) apply() {
	services, err := p.services.List(labels.Everything())
	of, err2 := p.slices.List(labels.Everything())
	table := routes(services, of)
	if err := errors.Join(err, err2); err != nil {
		p.log.Error(err, "Listing Services and EndpointSlices")
		return
	}
	for number, port := range p.open {
		if _, still := table[number]; !still {
			_ = port.listener.Close()
			delete(p.open, number)
		}
	}
	for number, r := range table {
		port := p.open[number]
		if port == nil || port.refuses && len(r.endpoints) > 0 {
			if time.Now().Before(p.unopened[number]) || !p.tryOpen(number, r) {
				continue
			}
			port = p.open[number]
		}
		port.route.Store(&r)
		if port.refuses = len(r.endpoints) == 0; port.refuses {
			_ = port.listener.Close()
		}
	}
}

func (p *Proxy) tryOpen(number int32, r route) (opened bool) {
	port, err := listen(number, r, p.handoff)
	if err != nil {
		p.unopened[number] = time.Now().Add(retryAfter)
		p.log.Error(err, "Opening a node port", "service", klog.KObj(r.service), "nodePort", number)
		p.events.Eventf(r.service, corev1.EventTypeWarning, "NodePortNotServed",
			"node port %d is not served: %v. It is tried again every %v; another nodePort in the Service helps at once", number, err, retryAfter)
		return false
	}
	delete(p.unopened, number)
	p.open[number] = port
	return true
}
