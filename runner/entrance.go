package runner

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/hpabench/hpabench/loadgen"
	"github.com/hpabench/hpabench/scenarios"
)

// addressTimeout is how long a load balancer may take to get its address.
const addressTimeout = 2 * time.Minute

// schemeOf is what a Service's port speaks, by its name or appProtocol.
func schemeOf(port corev1.ServicePort) string {
	if port.Name == "https" || port.AppProtocol != nil && strings.EqualFold(*port.AppProtocol, "https") || port.Port == 443 {
		return "https"
	}
	return "http"
}

// loadBalancer goes to the address that the Service's load balancer has got.
func (c *Cluster) loadBalancer(ctx context.Context, service *corev1.Service, port corev1.ServicePort) (loadgen.Way, error) {
	if service.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil, BadInput{fmt.Errorf("via: loadBalancer, but Service %s is of type %s: make it a LoadBalancer, or take another way", service.Name, service.Spec.Type)}
	}
	host := ""
	err := awaitAddress(ctx, func(ctx context.Context) (err error) {
		if service, err = c.Kube.CoreV1().Services(service.Namespace).Get(ctx, service.Name, metav1.GetOptions{}); err != nil {
			return err
		}
		for _, i := range service.Status.LoadBalancer.Ingress {
			host = cmp.Or(i.IP, i.Hostname)
		}
		if host != "" && !usableAddress(host) {
			return BadInput{fmt.Errorf("the load balancer of Service %s has the address %s, which is no server's", service.Name, host)}
		}
		if host == "" {
			return fmt.Errorf("the load balancer of Service %s has no address: does the cluster give out any (cloud provider, MetalLB, cloud-provider-kind)?", service.Name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return loadgen.At(scenarios.ViaLoadBalancer, schemeOf(port)+"://"+net.JoinHostPort(host, strconv.Itoa(int(port.Port))), "")
}

// ingress goes to the address of the Ingress whose backend the Service is, and asks
// for its host.
func (c *Cluster) ingress(ctx context.Context, service *corev1.Service, port corev1.ServicePort) (loadgen.Way, error) {
	var base, host string
	err := awaitAddress(ctx, func(ctx context.Context) error {
		list, err := c.Kube.NetworkingV1().Ingresses(service.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		base, host, err = entrance(list.Items, service.Name, port)
		return err
	})
	if err != nil {
		return nil, err
	}
	return loadgen.At(scenarios.ViaIngress, base, host)
}

// awaitAddress looks again until find succeeds; a BadInput cannot be waited for.
func awaitAddress(ctx context.Context, find func(context.Context) error) error {
	return poll(ctx, time.Second, addressTimeout, func(ctx context.Context) (bool, error) {
		err := find(ctx)
		return err == nil, err
	})
}

// usableAddress says whether load can go to an address in the status of an Ingress or a
// Service. Whoever writes that status, which is not the user, could otherwise turn it to
// the metadata service of the cloud (169.254.169.254).
func usableAddress(address string) bool {
	if ip := net.ParseIP(address); ip != nil {
		return !ip.IsLinkLocalUnicast() && !ip.IsMulticast() && !ip.IsUnspecified()
	}
	return len(validation.IsDNS1123Subdomain(address)) == 0
}

// entrance is where an Ingress takes requests for a port of a Service, and the host
// to ask for: that of the first rule that has it, by the name of the Ingress.
func entrance(list []networkingv1.Ingress, service string, port corev1.ServicePort) (base, host string, err error) {
	is := func(b *networkingv1.IngressBackend) bool {
		return b != nil && b.Service != nil && b.Service.Name == service &&
			(b.Service.Port.Number == port.Port || b.Service.Port.Name != "" && b.Service.Port.Name == port.Name)
	}
	for _, i := range list {
		path, found := "", is(i.Spec.DefaultBackend)
		for _, rule := range i.Spec.Rules {
			if rule.HTTP == nil || found {
				continue
			}
			for _, p := range rule.HTTP.Paths {
				if is(&p.Backend) {
					path, found = p.Path, true
					host = strings.Replace(rule.Host, "*", "hpabench", 1)
					break
				}
			}
		}
		if !found {
			continue
		}
		scheme := "http"
		for _, t := range i.Spec.TLS {
			if len(t.Hosts) == 0 || slices.ContainsFunc(t.Hosts, func(h string) bool { return strings.Replace(h, "*", "hpabench", 1) == host }) {
				scheme = "https"
			}
		}
		if len(i.Status.LoadBalancer.Ingress) == 0 {
			return "", "", fmt.Errorf("Ingress %s has no address: does an ingress controller serve its class?", i.Name)
		}
		at := i.Status.LoadBalancer.Ingress[0]
		address := cmp.Or(at.IP, at.Hostname)
		if !usableAddress(address) {
			return "", "", BadInput{fmt.Errorf("Ingress %s has the address %q, which is no server's", i.Name, address)}
		}
		if strings.Contains(address, ":") {
			address = "[" + address + "]"
		}
		below := url.URL{Scheme: scheme, Host: address, Path: strings.TrimRight(path, "/")}
		return below.String(), host, nil
	}
	return "", "", BadInput{fmt.Errorf("via: ingress, but no Ingress of the namespace has port %d of Service %s behind it", port.Port, service)}
}
