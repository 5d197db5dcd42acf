package nodeports

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
)

// A route is where the connections to one node port go.
type route struct {
	service   *corev1.Service
	endpoints []netip.AddrPort // sorted; none: connections are refused
	affinity  time.Duration    // for so long a client stays with its endpoint; 0: each connection is on its own
}

// routes works out what listens on which port, as kube-proxy does: the endpoints
// that are ready, and only where there are none those that still serve while they
// terminate (https://kep.k8s.io/1669). Ports are found in the slices by name. Of
// two services with the same port, which the API server does not allow, the first
// has it.
func routes(services []*corev1.Service, endpointSlices []*discoveryv1.EndpointSlice) map[int32]route {
	type key struct{ namespace, service string }
	of := map[key][]*discoveryv1.EndpointSlice{}
	for _, s := range endpointSlices {
		k := key{s.Namespace, s.Labels[discoveryv1.LabelServiceName]}
		of[k] = append(of[k], s)
	}
	table := map[int32]route{}
	for _, s := range services {
		for _, p := range s.Spec.Ports {
			if p.NodePort == 0 || p.Protocol != corev1.ProtocolTCP && p.Protocol != "" {
				continue
			}
			if _, taken := table[p.NodePort]; taken {
				continue
			}
			table[p.NodePort] = route{s, endpoints(of[key{s.Namespace, s.Name}], p.Name), affinity(s)}
		}
	}
	return table
}

func affinity(s *corev1.Service) time.Duration {
	if s.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	seconds := corev1.DefaultClientIPServiceAffinitySeconds
	if c := s.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil {
		seconds = ptr.Deref(c.ClientIP.TimeoutSeconds, seconds)
	}
	return time.Duration(seconds) * time.Second
}

func endpoints(of []*discoveryv1.EndpointSlice, port string) []netip.AddrPort {
	var ready, leaving []netip.AddrPort
	for _, s := range of {
		for _, p := range s.Ports {
			if p.Port == nil || ptr.Deref(p.Name, "") != port || ptr.Deref(p.Protocol, corev1.ProtocolTCP) != corev1.ProtocolTCP {
				continue
			}
			for _, e := range s.Endpoints {
				if len(e.Addresses) == 0 {
					continue
				}
				// All addresses of an endpoint are the same one's; consumers take the first.
				ip, err := netip.ParseAddr(e.Addresses[0])
				if err != nil {
					continue // a slice of domain names
				}
				at := netip.AddrPortFrom(ip, uint16(*p.Port))
				switch c := e.Conditions; {
				case ptr.Deref(c.Ready, true):
					ready = append(ready, at)
				case ptr.Deref(c.Serving, false) && ptr.Deref(c.Terminating, false):
					leaving = append(leaving, at)
				}
			}
		}
	}
	if len(ready) == 0 {
		ready = leaving
	}
	slices.SortFunc(ready, netip.AddrPort.Compare)
	return slices.Compact(ready)
}
