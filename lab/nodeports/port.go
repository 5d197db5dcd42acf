package nodeports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// A port listens on one node port and hands each connection over to an endpoint.
type port struct {
	listener net.Listener
	handoff  func(netip.AddrPort, net.Conn) error
	route    atomic.Pointer[route]
	visits   map[netip.Addr]visit // each client's last one; the goroutine of serve alone uses it
	refuses  bool                 // it is closed until there is an endpoint; the proxy alone uses it
}

type visit struct {
	endpoint netip.AddrPort
	last     time.Time
}

// errHijacked is what is wrong when somebody else gets the connections.
var errHijacked = errors.New("connections to it arrive elsewhere, as happens when a kube-proxy on this machine has rules for the same port")

// listen opens a node port and makes sure that connections arrive here: rules of
// another cluster's kube-proxy take them away although nothing is listening.
func listen(number int32, r route, handoff func(netip.AddrPort, net.Conn) error) (*port, error) {
	l, err := net.Listen("tcp4", address(number))
	if err != nil {
		return nil, err
	}
	p := &port{listener: l, handoff: handoff, visits: map[netip.Addr]visit{}}
	p.route.Store(&r)
	early, err := selfTest(l.(*net.TCPListener), l.Addr(), selfTestPatience)
	if err != nil {
		_ = l.Close()
		for _, conn := range early {
			reset(conn)
		}
		return nil, err
	}
	go p.serve(early)
	return p, nil
}

func address[N int | int32](number N) string { return fmt.Sprintf("127.0.0.1:%d", number) }

// selfTestPatience is far above what loopback takes, even on a busy machine.
const selfTestPatience = 500 * time.Millisecond

// selfTest dials l's own address and makes sure that l accepts it. Connections of
// others that come meanwhile are returned.
func selfTest(l *net.TCPListener, at net.Addr, patience time.Duration) (others []net.Conn, err error) {
	deadline := time.Now().Add(patience)
	probe, err := net.DialTimeout("tcp4", at.String(), patience)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", errHijacked, err)
	}
	defer reset(probe) // a reset leaves no connection in TIME_WAIT
	_ = l.SetDeadline(deadline)
	defer func() { _ = l.SetDeadline(time.Time{}) }()
	for {
		conn, err := l.Accept()
		if err != nil {
			return others, errHijacked
		}
		if conn.RemoteAddr().String() == probe.LocalAddr().String() {
			reset(conn)
			return others, nil
		}
		others = append(others, conn)
	}
}

func (p *port) serve(early []net.Conn) {
	for _, conn := range early {
		p.give(conn)
	}
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of file descriptors, say
			continue
		}
		p.give(conn)
	}
}

// give hands conn to one of the endpoints. Where nobody listens it is reset: it was accepted already.
func (p *port) give(conn net.Conn) {
	to, ok := p.choose(conn)
	if !ok || p.handoff(to, conn) != nil {
		reset(conn)
	}
}

// choose takes a random endpoint; with affinity the one to which the client's
// last connection went, as long as it is ready.
func (p *port) choose(conn net.Conn) (netip.AddrPort, bool) {
	r := p.route.Load()
	if len(r.endpoints) == 0 {
		return netip.AddrPort{}, false
	}
	to := r.endpoints[rand.IntN(len(r.endpoints))]
	if r.affinity > 0 {
		client := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
		if v := p.visits[client]; time.Since(v.last) < r.affinity && slices.Contains(r.endpoints, v.endpoint) {
			to = v.endpoint
		}
		p.visits[client] = visit{to, time.Now()}
	}
	return to, true
}

func reset(conn net.Conn) {
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.SetLinger(0) // without it, an orderly end
	}
	_ = conn.Close()
}
