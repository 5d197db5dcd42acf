package loadgen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// addressesFor is how long the addresses of a name are used before it is looked up
// again: long enough for thousands of connections a second, and short enough to
// follow a Service without an address of its own, or a failover by DNS.
const addressesFor = 5 * time.Second

// addresses looks names up, and gives connections to what stands behind one in
// turn: net.Dialer would always take the first that answers.
//
// A name stays in the part of the network (see zoneOf) in which it was when it was
// first looked up: whoever owns a public name must not turn the load, and the
// credentials in it, to this machine, the cluster or a metadata service (DNS
// rebinding).
type addresses struct {
	lookup func(ctx context.Context, host string) ([]string, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	names map[string]*addressesOf
}

type addressesOf struct {
	mu    sync.Mutex // held while the name is looked up
	list  []string
	zones []string // of the addresses of the first lookup
	err   error    // why none of the latest addresses is used
	since time.Time
	turn  int
}

func newAddresses() *addresses {
	return &addresses{
		lookup: net.DefaultResolver.LookupHost,
		dial:   (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext,
		names:  map[string]*addressesOf{},
	}
}

// connect tries the addresses of a name one after the other, beginning with another
// one each time.
func (a *addresses) connect(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || net.ParseIP(host) != nil {
		return a.dial(ctx, network, address)
	}
	list, err := a.of(ctx, host)
	if err != nil {
		return nil, err
	}
	var errs error
	for _, ip := range list {
		conn, err := a.dial(ctx, network, net.JoinHostPort(ip, port))
		if err == nil {
			return conn, nil
		}
		if errs = errors.Join(errs, err); ctx.Err() != nil {
			break
		}
	}
	return nil, errs
}

// of returns the addresses of a host, from another one on each time.
func (a *addresses) of(ctx context.Context, host string) ([]string, error) {
	a.mu.Lock()
	n := a.names[host]
	if n == nil {
		n = &addressesOf{}
		a.names[host] = n
	}
	a.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.list == nil || time.Since(n.since) >= addressesFor {
		list, err := a.lookup(ctx, host)
		switch {
		case err == nil:
			n.take(host, list)
		case n.list == nil:
			return nil, err // what was known before is better than nothing
		}
		n.since = time.Now()
	}
	if n.err != nil {
		return nil, n.err
	}
	first := n.turn % len(n.list)
	n.turn++
	return append(n.list[first:len(n.list):len(n.list)], n.list[:first]...), nil
}

// take keeps those addresses of a lookup that may be used.
func (n *addressesOf) take(host string, list []string) {
	if n.zones == nil {
		for _, ip := range list {
			n.zones = append(n.zones, zoneOf(ip))
		}
	}
	usable := slices.DeleteFunc(slices.Clone(list), func(ip string) bool { return !slices.Contains(n.zones, zoneOf(ip)) })
	if n.err = nil; len(usable) == 0 {
		n.err = fmt.Errorf("%s: %s is now at %s (%s), and was %s when the load began", errElsewhere, host, list[0], zoneOf(list[0]), n.zones[0])
		return
	}
	n.list = usable
}

// errElsewhere is the cause of a failure where a name has left its part of the network.
const errElsewhere = "DNS led elsewhere"

// sharedAddresses are private to a provider (RFC 6598); some clouds give them to pods.
var sharedAddresses = netip.MustParsePrefix("100.64.0.0/10")

// zoneOf is the part of the network that an address belongs to.
func zoneOf(address string) string {
	ip, err := netip.ParseAddr(address)
	switch ip = ip.Unmap(); {
	case err != nil:
		return "no address"
	case ip.IsLoopback() || ip.IsUnspecified():
		return "loopback"
	case ip.IsLinkLocalUnicast() || ip.IsMulticast():
		return "link-local"
	case ip.IsPrivate() || sharedAddresses.Contains(ip):
		return "private"
	}
	return "public"
}
