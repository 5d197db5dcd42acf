package nodeports

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func service(name string, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}, Spec: corev1.ServiceSpec{Ports: ports}}
}

// slice has endpoints of a service at a port: "1 2:out 3:leaving 4:gone" are
// 10.0.0.1, whose conditions are not set, and others that are not ready, serve
// while they terminate, and terminate.
func slice(of, portName string, port int32, text string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "n", Labels: map[string]string{discoveryv1.LabelServiceName: of}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port, Protocol: new(corev1.ProtocolTCP)}},
	}
	for _, e := range strings.Fields(text) {
		ip, condition, _ := strings.Cut(e, ":")
		var c discoveryv1.EndpointConditions
		switch condition {
		case "out":
			c = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(false), Terminating: new(false)}
		case "leaving":
			c = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
		case "gone":
			c = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(false), Terminating: new(true)}
		}
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{"10.0.0." + ip}, Conditions: c})
	}
	return s
}

func TestRoutes(t *testing.T) {
	web := corev1.ServicePort{Name: "", Port: 80, NodePort: 30080}
	named := corev1.ServicePort{Name: "http", Port: 80, NodePort: 30081}
	for name, c := range map[string]struct {
		services []*corev1.Service
		slices   []*discoveryv1.EndpointSlice
		want     map[int32]string
	}{
		"ready ones of all slices, once": {
			[]*corev1.Service{service("a", web)},
			[]*discoveryv1.EndpointSlice{slice("a", "", 8080, "2 1 3:out"), slice("a", "", 8080, "4 1")},
			map[int32]string{30080: "10.0.0.1:8080 10.0.0.2:8080 10.0.0.4:8080"},
		},
		"leaving ones only without ready ones": {
			[]*corev1.Service{service("a", web), service("b", named)},
			[]*discoveryv1.EndpointSlice{slice("a", "", 80, "1 2:leaving"), slice("b", "http", 80, "3:out 4:leaving 5:gone")},
			map[int32]string{30080: "10.0.0.1:80", 30081: "10.0.0.4:80"},
		},
		"ports by name, and pods with different ports": {
			[]*corev1.Service{service("a", web, named)},
			[]*discoveryv1.EndpointSlice{slice("a", "http", 80, "1"), slice("a", "http", 8080, "2"), slice("a", "", 9090, "1")},
			map[int32]string{30080: "10.0.0.1:9090", 30081: "10.0.0.1:80 10.0.0.2:8080"},
		},
		"a service without endpoints is there": {
			[]*corev1.Service{service("a", web)},
			[]*discoveryv1.EndpointSlice{slice("other", "", 80, "1")},
			map[int32]string{30080: ""},
		},
		"what has no node port or is not TCP is not": {
			[]*corev1.Service{service("a", corev1.ServicePort{Port: 80}, corev1.ServicePort{Port: 53, NodePort: 30053, Protocol: corev1.ProtocolUDP})},
			[]*discoveryv1.EndpointSlice{slice("a", "", 80, "1")},
			map[int32]string{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[int32]string{}
			for port, r := range routes(c.services, c.slices) {
				var at []string
				for _, e := range r.endpoints {
					at = append(at, e.String())
				}
				got[port] = strings.Join(at, " ")
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A slice of another namespace belongs to another service, and a domain name is
// no place to hand a connection to.
func TestRoutesLeaveOut(t *testing.T) {
	elsewhere := slice("a", "", 80, "1")
	elsewhere.Namespace = "m"
	domain := slice("a", "", 80, "2")
	domain.Endpoints[0].Addresses = []string{"example.com"}
	table := routes([]*corev1.Service{service("a", corev1.ServicePort{NodePort: 30080})}, []*discoveryv1.EndpointSlice{elsewhere, domain})
	if diff := cmp.Diff([]netip.AddrPort(nil), table[30080].endpoints); diff != "" {
		t.Error(diff)
	}
}

func TestAffinityTime(t *testing.T) {
	s := service("a", corev1.ServicePort{NodePort: 30080})
	of := func() time.Duration { return routes([]*corev1.Service{s}, nil)[30080].affinity }
	none := of()
	s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	byDefault := of()
	s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: new(int32(60))}}
	if got := []time.Duration{none, byDefault, of()}; !cmp.Equal(got, []time.Duration{0, 3 * time.Hour, time.Minute}) {
		t.Errorf("%v", got)
	}
}
