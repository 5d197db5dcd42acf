package loadgen

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Way is how requests reach the workload: URL, NodePort or PortForward.
type Way interface {
	// Kind is the word for it in a scenario and in a record.
	Kind() string
	// URL says where the requests go, for people.
	URL() string
	// Close gives back what the way holds. No request may be under way.
	Close() error

	next() string // base URL of the next request, without a slash at the end
	host() string // Host header of every request; "" for that of the URL
	dial(ctx context.Context, network, address string) (net.Conn, error)
}

// direct goes straight to one base URL.
type direct struct {
	kind  string
	base  string
	shown string // base without a password
}

// URL goes to base, an http or https URL; requests go to their path below it.
func URL(base string) (Way, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("reading the URL of the workload: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("reading the URL of the workload: %q is not like http://host:port/path; a query belongs to the path of the request", u.Redacted())
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return direct{"url", u.String(), u.Redacted()}, nil
}

// NodePort goes to a node's address and a Service's node port, by plain HTTP.
func NodePort(address string, port int32) Way {
	base := "http://" + net.JoinHostPort(address, strconv.Itoa(int(port)))
	return direct{"nodePort", base, base}
}

func (d direct) Kind() string { return d.kind }
func (d direct) URL() string  { return d.shown }
func (d direct) Close() error { return nil }
func (d direct) next() string { return d.base }
func (d direct) host() string { return "" }

func (d direct) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: 30 * time.Second}
	return dialer.DialContext(ctx, network, address)
}

// Reachable opens a connection to the workload and closes it again. It sends no
// request, because every request is counted.
func Reachable(ctx context.Context, way Way) error {
	u, err := url.Parse(way.next())
	if err != nil {
		return err
	}
	port := u.Port()
	if port == "" {
		port = u.Scheme // net knows the ports of http and https
	}
	conn, err := way.dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", way.URL(), err)
	}
	return conn.Close()
}
