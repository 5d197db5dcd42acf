package runner

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestEntrance(t *testing.T) {
	port := corev1.ServicePort{Name: "web", Port: 8080}
	backend := func(service, name string, number int32) networkingv1.IngressBackend {
		return networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: service, Port: networkingv1.ServiceBackendPort{Name: name, Number: number}}}
	}
	rule := func(host, path string, b networkingv1.IngressBackend) networkingv1.IngressRule {
		return networkingv1.IngressRule{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
			Paths: []networkingv1.HTTPIngressPath{{Path: "/other", Backend: backend("other", "", 80)}, {Path: path, Backend: b}}}}}
	}
	ingress := func(ip, name string, spec networkingv1.IngressSpec) networkingv1.Ingress {
		i := networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Name: "front"}, Spec: spec}
		if ip+name != "" {
			i.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: ip, Hostname: name}}
		}
		return i
	}
	byDefault := backend("web", "", 8080)
	for name, c := range map[string]struct {
		ingress    networkingv1.Ingress
		base, host string
		bad, fails bool
	}{
		"by number":     {ingress: ingress("10.0.0.1", "", networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{rule("shop.example.com", "/", backend("web", "", 8080))}}), base: "http://10.0.0.1", host: "shop.example.com"},
		"below a path":  {ingress: ingress("", "lb.example.com", networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{rule("a", "/x", backend("y", "", 1)), rule("*.example.com", "/shop/", backend("web", "web", 0))}}), base: "http://lb.example.com/shop", host: "hpabench.example.com"},
		"by TLS":        {ingress: ingress("::1", "", networkingv1.IngressSpec{TLS: []networkingv1.IngressTLS{{Hosts: []string{"b"}}, {Hosts: []string{"a"}}}, Rules: []networkingv1.IngressRule{rule("a", "/", backend("web", "", 8080))}}), base: "https://[::1]", host: "a"},
		"by default":    {ingress: ingress("10.0.0.1", "", networkingv1.IngressSpec{DefaultBackend: &byDefault}), base: "http://10.0.0.1"},
		"without":       {ingress: ingress("", "", networkingv1.IngressSpec{DefaultBackend: &byDefault}), fails: true},
		"of a cloud":    {ingress: ingress("169.254.169.254", "", networkingv1.IngressSpec{DefaultBackend: &byDefault}), fails: true, bad: true},
		"of all":        {ingress: ingress("::", "", networkingv1.IngressSpec{DefaultBackend: &byDefault}), fails: true, bad: true},
		"of no name":    {ingress: ingress("", "u:p@evil.example/x", networkingv1.IngressSpec{DefaultBackend: &byDefault}), fails: true, bad: true},
		"of a port":     {ingress: ingress("", "evil.example:81", networkingv1.IngressSpec{DefaultBackend: &byDefault}), fails: true, bad: true},
		"of another":    {ingress: ingress("10.0.0.1", "", networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{rule("a", "/", backend("web", "", 80))}}), fails: true, bad: true},
		"of a resource": {ingress: ingress("10.0.0.1", "", networkingv1.IngressSpec{DefaultBackend: &networkingv1.IngressBackend{Resource: &corev1.TypedLocalObjectReference{}}}), fails: true, bad: true},
	} {
		base, host, err := entrance([]networkingv1.Ingress{c.ingress}, "web", port)
		if base != c.base || host != c.host || (err != nil) != c.fails || errors.As(err, new(BadInput)) != c.bad {
			t.Errorf("%s: %q as %q, %v", name, base, host, err)
		}
	}
}
