package loadgen

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// addressesFor is how long the addresses of a name are used before it is looked up
// again: long enough for thousands of connections a second, and short enough to
// follow a Service without an address of its own, or a failover by DNS.
const addressesFor = 5 * time.Second

// addresses looks names up, and gives connections to what stands behind one in
// turn: net.Dialer would always take the first that answers.
type addresses struct {
	lookup func(ctx context.Context, host string) ([]string, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	names map[string]*addressesOf
}

type addressesOf struct {
	mu    sync.Mutex // held while the name is looked up
	list  []string
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
			n.list = list
		case n.list == nil:
			return nil, err // what was known before is better than nothing
		}
		n.since = time.Now()
	}
	first := n.turn % len(n.list)
	n.turn++
	return append(n.list[first:len(n.list):len(n.list)], n.list[:first]...), nil
}
