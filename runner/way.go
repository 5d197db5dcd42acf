package runner

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/hpabench/hpabench/loadgen"
	"github.com/hpabench/hpabench/scenarios"
	"github.com/hpabench/hpabench/watch"
)

// reachTimeout bounds one attempt to connect when a way is tried.
const reachTimeout = 3 * time.Second

// entranceTimeout is how long the way to a Service whose pods are not the target's is tried, each reachEvery.
const entranceTimeout, reachEvery = 10 * time.Second, 500 * time.Millisecond

// services returns the names of the Services whose endpoints say that a pod is
// in service, and the one that takes the load: the one that is named, or else
// those whose selector matches the pods, of which the only one takes the load. One that is named may stand in front
// of other pods: a gateway, or an API in front of a queue.
// Among is a label selector of the Services to look at; empty: all.
func (c *Cluster) services(ctx context.Context, namespace, among string, podLabels map[string]string, named string) ([]string, *corev1.Service, error) {
	list, err := c.Kube.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{LabelSelector: among})
	if err != nil {
		return nil, nil, fmt.Errorf("listing the Services of namespace %s: %w", namespace, err)
	}
	var names []string
	var load *corev1.Service
	for _, s := range list.Items {
		// An ExternalName leads out of the cluster, whatever it selects.
		if s.Spec.Type == corev1.ServiceTypeExternalName || len(s.Spec.Selector) == 0 || !labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(podLabels)) {
			continue
		}
		if named == s.Name {
			return []string{s.Name}, &s, nil
		}
		// Such a Service lists pods long before they are ready: to be in its slices
		// does not mean to be in service.
		if !s.Spec.PublishNotReadyAddresses {
			names, load = append(names, s.Name), &s
		}
	}
	if named != "" { // of what stands in front of the target
		i := slices.IndexFunc(list.Items, func(s corev1.Service) bool { return s.Name == named && s.Spec.Type != corev1.ServiceTypeExternalName })
		if i < 0 {
			return nil, nil, BadInput{fmt.Errorf("there is no Service %s in namespace %s; those that select the pods of the target: %v", named, namespace, names)}
		}
		return names, &list.Items[i], nil
	}
	if len(names) > 1 {
		load = nil // told when a way needs one
	}
	return names, load, nil
}

// way chooses how requests reach the workload, says why, and makes sure that a
// connection can be opened. That sends no request: each of those is counted.
func (p *preflight) way(ctx context.Context, service *corev1.Service, w *watch.Watcher) (way loadgen.Way, why string, err error) {
	empty := service != nil && len(w.ReadyPods()) == 0 && slices.Contains(w.Services(), service.Name)
	way, why, err = p.chooseWay(ctx, service, w, empty)
	if err == nil && tries(way.Kind(), empty) {
		err = checkReachable(ctx, way)
	}
	return way, why, err
}

// tries says whether a way is to be tried when it was chosen. A NodePort was before, and where the Service has no pod, as it
// is of a target at zero, port-forward leads nowhere yet.
func tries(kind string, empty bool) bool {
	return kind != scenarios.ViaNodePort && (kind != scenarios.ViaPortForward || !empty)
}

func (p *preflight) chooseWay(ctx context.Context, service *corev1.Service, w *watch.Watcher, empty bool) (way loadgen.Way, why string, err error) {
	load, embedded := &p.file.Spec.Load, p.cluster.Lab != nil
	via := load.ViaOrAuto()
	why = "the scenario says so"
	if via == scenarios.ViaURL || via == scenarios.ViaAuto && load.URL != "" {
		if way, err = loadgen.URL(load.URL); err != nil {
			return nil, "", BadInput{err}
		}
		return way, why, nil
	}
	if service == nil {
		return nil, "", BadInput{errNoService}
	}
	_, wanted := p.file.Service()
	port, err := servicePort(service, wanted)
	if err != nil {
		return nil, "", BadInput{err}
	}
	switch via {
	case scenarios.ViaAPIProxy:
		if embedded {
			return nil, "", BadInput{p.file.Fault("spec.load.via", "the pods of the embedded cluster are modelled, and its API server has no way to them", "leave via out")}
		}
		way, err = loadgen.APIProxy(p.Config, p.namespace, schemeOf(port), service.Name, port.Port)
		return way, why, err
	case scenarios.ViaLoadBalancer:
		way, err = p.loadBalancer(ctx, service, port)
		return way, why, err
	case scenarios.ViaIngress:
		way, err = p.ingress(ctx, service, port)
		return way, why, err
	}
	if via != scenarios.ViaPortForward {
		way, err = p.nodePort(ctx, service, port, embedded, empty)
		if via == scenarios.ViaNodePort {
			if err != nil {
				err = fmt.Errorf("reaching Service %s by a NodePort: %w (via: portForward needs no open port)", service.Name, err)
			}
			return way, why, err
		}
		if err == nil {
			return way, "a NodePort answers", nil
		}
		why = fmt.Sprintf("no NodePort answers: %v", err)
	}
	if !slices.Contains(w.Services(), service.Name) {
		return nil, "", BadInput{fmt.Errorf("port-forward leads to the pods of the target, and Service %s does not select those: give it a NodePort, or take via: job, loadBalancer, ingress or url (%s)", service.Name, why)}
	}
	target, err := targetPort(port, podsOr(w.Pods(), p.template))
	if err != nil {
		return nil, "", err
	}
	way, err = loadgen.PortForward(p.Config, p.namespace, target, w.ReadyPods)
	return way, why, err
}

func checkReachable(ctx context.Context, way loadgen.Way) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := loadgen.Reachable(ctx, way); err != nil {
		return fmt.Errorf("the workload cannot be reached: %w", err)
	}
	return nil
}

func servicePort(service *corev1.Service, wanted *intstr.IntOrString) (corev1.ServicePort, error) {
	ports := service.Spec.Ports
	if wanted == nil && len(ports) == 1 {
		return ports[0], nil
	}
	for _, p := range ports {
		if wanted != nil && (p.Port == wanted.IntVal || wanted.StrVal != "" && p.Name == wanted.StrVal) {
			return p, nil
		}
	}
	if wanted == nil {
		return corev1.ServicePort{}, fmt.Errorf("Service %s has %d ports: name one in load.port", service.Name, len(ports))
	}
	return corev1.ServicePort{}, fmt.Errorf("Service %s has no port %s (load.port)", service.Name, wanted)
}

// podsOr are the pods, or one that its target would make if there is none.
func podsOr(pods []*corev1.Pod, template *corev1.PodTemplateSpec) []*corev1.Pod {
	if len(pods) == 0 && template != nil {
		return []*corev1.Pod{{ObjectMeta: template.ObjectMeta, Spec: template.Spec}}
	}
	return pods
}

// targetPort returns the port of the pods behind a Service's port.
func targetPort(port corev1.ServicePort, pods []*corev1.Pod) (int32, error) {
	if port.TargetPort.Type == intstr.Int {
		if n := port.TargetPort.IntVal; n != 0 {
			return n, nil
		}
		return port.Port, nil
	}
	for _, pod := range pods {
		for _, c := range pod.Spec.Containers {
			for _, p := range c.Ports {
				if p.Name == port.TargetPort.StrVal {
					return p.ContainerPort, nil
				}
			}
		}
	}
	return 0, fmt.Errorf("no container of the target has a port named %q, to which the Service points", port.TargetPort.StrVal)
}

// nodePort tries the addresses at which the nodes may answer and returns the
// first that accepts a connection. The NodePorts of the embedded cluster are on
// loopback, and the addresses of its nodes exist nowhere.
//
// A Service whose target has no pod accepts none, and its first address is taken.
func (c *Cluster) nodePort(ctx context.Context, service *corev1.Service, port corev1.ServicePort, embedded, empty bool) (loadgen.Way, error) {
	if port.NodePort == 0 {
		return nil, errors.New("the Service has none")
	}
	if embedded {
		// Another process can have taken the port, and would get the load.
		events, err := c.Kube.CoreV1().Events(service.Namespace).List(ctx, metav1.ListOptions{
			FieldSelector: "reason=NodePortNotServed,involvedObject.uid=" + string(service.UID)})
		if err != nil {
			return nil, fmt.Errorf("looking whether the embedded cluster serves the node port: %w", err)
		}
		if len(events.Items) > 0 {
			return nil, errors.New(events.Items[0].Message)
		}
		way := loadgen.NodePort("127.0.0.1", port.NodePort)
		if empty {
			return way, nil
		}
		// The port is open once the nodes have seen an endpoint, as the watch has.
		_ = wait.PollUntilContextTimeout(ctx, reachEvery/10, reachTimeout, true, func(ctx context.Context) (bool, error) {
			err = checkReachable(ctx, way)
			return err == nil, nil
		})
		return way, err
	}
	nodes, err := c.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the nodes: %w", err)
	}
	tried := errors.New("the nodes have no address")
	for _, address := range nodeAddresses(nodes.Items) {
		way := loadgen.NodePort(address, port.NodePort)
		if tried = checkReachable(ctx, way); empty || tried == nil {
			return way, nil
		}
	}
	return nil, tried
}

// maxTries bounds how many nodes are tried: where three do not answer, a
// firewall is in between.
const maxTries = 3

// nodeAddresses returns where to try a NodePort. When a node is this very
// machine, loopback comes first: what listens there on the NodePort is then the
// node's own kube-proxy and nothing of the user's.
func nodeAddresses(nodes []corev1.Node) []string {
	local := map[string]bool{}
	if own, err := net.InterfaceAddrs(); err == nil {
		for _, a := range own {
			if ip, ok := a.(*net.IPNet); ok {
				local[ip.IP.String()] = true
			}
		}
	}
	var loopback, addresses []string
	for _, kind := range []corev1.NodeAddressType{corev1.NodeExternalIP, corev1.NodeInternalIP} {
		for _, n := range nodes {
			for _, a := range n.Status.Addresses {
				if a.Type != kind {
					continue
				}
				if local[a.Address] {
					loopback = []string{"127.0.0.1"}
				}
				addresses = append(addresses, a.Address)
			}
		}
	}
	return append(loopback, addresses[:min(len(addresses), maxTries)]...)
}
