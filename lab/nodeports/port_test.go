package nodeports

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
)

var here, there = netip.MustParseAddrPort("10.244.0.1:80"), netip.MustParseAddrPort("10.244.0.2:80")

// open opens a free port whose endpoints answer with their own address.
func open(t *testing.T, r route) (*port, string) {
	t.Helper()
	base, _, guard, err := ClaimRange()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { guard.Close() })
	p, err := listen(int32(base), r, func(to netip.AddrPort, conn net.Conn) error {
		if to == there {
			return errors.New("nobody listens there")
		}
		go func() {
			io.WriteString(conn, to.String())
			conn.Close()
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.listener.Close() })
	return p, p.listener.Addr().String()
}

// read returns what comes on a connection; a reset can come before Dial is over.
func read(address string) (string, error) {
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(conn)
	return string(b), err
}

func TestConnectionsGoToTheEndpointsThatThereAre(t *testing.T) {
	p, address := open(t, route{endpoints: []netip.AddrPort{here}})
	if got, err := read(address); got != here.String() || err != nil {
		t.Errorf("one endpoint: %q, %v", got, err)
	}
	p.route.Store(&route{endpoints: []netip.AddrPort{there}})
	if got, err := read(address); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("nobody listens at the endpoint: %q, %v, want a reset", got, err)
	}
}

// A Service without a ready endpoint refuses connections, as often as its last one goes and comes back.
func TestRefusesWithoutEndpoint(t *testing.T) {
	base, _, guard, err := ClaimRange()
	if err != nil {
		t.Fatal(err)
	}
	defer guard.Close()
	services, of := cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil), cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil)
	p := &Proxy{
		handoff: func(to netip.AddrPort, conn net.Conn) error {
			go func() {
				io.WriteString(conn, to.String())
				conn.Close()
			}()
			return nil
		},
		services: corelisters.NewServiceLister(services), slices: discoverylisters.NewEndpointSliceLister(of),
		events: record.NewFakeRecorder(10), open: map[int32]*port{}, unopened: map[int32]time.Time{},
	}
	services.Add(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{NodePort: int32(base + 1)}}}})
	endpoints := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		Ports: []discoveryv1.EndpointPort{{Port: new(int32(80))}}, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.244.0.1"}}}}
	for range 2 {
		p.apply()
		if got, err := read(address(base + 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("no endpoint: %q, %v, want that it is refused", got, err)
		}
		of.Add(endpoints)
		p.apply()
		if got, err := read(address(base + 1)); got != here.String() || err != nil {
			t.Errorf("one endpoint: %q, %v", got, err)
		}
		of.Delete(endpoints)
	}
	p.apply()
}

// client is a connection of which only the address counts.
type client struct {
	net.Conn
	ip string
}

func (c client) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(c.ip), Port: 1234} }

func TestChoiceIsRandomByConnection(t *testing.T) {
	p := &port{}
	p.route.Store(&route{endpoints: []netip.AddrPort{here, there}})
	n := map[netip.AddrPort]int{}
	for range 1000 {
		to, _ := p.choose(client{ip: "127.0.0.1"})
		n[to]++
	}
	// Six standard deviations of 1,000 tosses of a coin are 95.
	if n[here]+n[there] != 1000 || n[here] < 405 || n[here] > 595 {
		t.Errorf("%v", n)
	}
}

func TestAffinityKeepsAClientAtItsEndpoint(t *testing.T) {
	p := &port{visits: map[netip.Addr]visit{}}
	p.route.Store(&route{endpoints: []netip.AddrPort{here, there}, affinity: time.Hour})
	for _, ip := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} {
		first, _ := p.choose(client{ip: ip})
		for range 50 {
			if to, _ := p.choose(client{ip: ip}); to != first {
				t.Fatalf("%s went to %v and then to %v", ip, first, to)
			}
		}
	}
	p.route.Store(&route{endpoints: []netip.AddrPort{there}, affinity: time.Hour})
	if to, _ := p.choose(client{ip: "127.0.0.1"}); to != there {
		t.Errorf("went to %v, which is no endpoint any more", to)
	}
}

func TestPortInUse(t *testing.T) {
	p, _ := open(t, route{})
	number := int32(p.listener.Addr().(*net.TCPAddr).Port)
	if _, err := listen(number, route{}, nil); err == nil {
		t.Error("one port was opened twice")
	}
}

// Where connections arrive elsewhere although the port could be bound, as a
// kube-proxy's rules bring about, the self-test is what finds it.
func TestSelfTestFindsAHijackedPort(t *testing.T) {
	bound, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer bound.Close()
	elsewhere, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := bound.(*net.TCPListener)
	if _, err := selfTest(l, elsewhere.Addr(), 50*time.Millisecond); !errors.Is(err, errHijacked) {
		t.Errorf("connections that arrive elsewhere: %v", err)
	}
	elsewhere.Close()
	if _, err := selfTest(l, elsewhere.Addr(), 50*time.Millisecond); !errors.Is(err, errHijacked) {
		t.Errorf("connections that are rejected: %v", err)
	}

	// What arrives of others meanwhile is not lost.
	other, err := net.Dial("tcp4", bound.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	early, err := selfTest(l, bound.Addr(), 10*time.Second)
	if err != nil || len(early) != 1 || early[0].RemoteAddr().String() != other.LocalAddr().String() {
		t.Errorf("%d early connections, %v", len(early), err)
	}
}
