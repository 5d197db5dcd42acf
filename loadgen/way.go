package loadgen

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/hpabench/hpabench/record"
	"k8s.io/client-go/rest"
)

// Way is how requests reach the workload: URL, At, NodePort, PortForward or APIProxy.
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
	*addresses
	kind   string
	base   string
	shown  string // base without a password
	header string // Host and the name to ask for by TLS, if they are not those of base
}

// URL goes to base, an http or https URL; requests go to their path below it.
func URL(base string) (Way, error) { return At("url", base, "") }

// At is URL, by another kind and with a host to ask for in place of that of base,
// unless it is empty.
func At(kind, base, host string) (Way, error) {
	if err := record.CheckURL(base); err != nil {
		return nil, fmt.Errorf("the URL of the workload, %q: %w", record.ShownURL(base), err)
	}
	u, _ := url.Parse(base) // CheckURL has read it
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	d := &direct{addresses: newAddresses(), kind: kind, base: u.String(), shown: record.ShownURL(u.String()), header: host}
	if host != "" {
		d.shown += " as " + host
	}
	return d, nil
}

// NodePort goes to a node's address and a Service's node port, by plain HTTP.
func NodePort(address string, port int32) Way {
	base := "http://" + net.JoinHostPort(address, strconv.Itoa(int(port)))
	return &direct{addresses: newAddresses(), kind: "nodePort", base: base, shown: base}
}

func (d *direct) Kind() string { return d.kind }
func (d *direct) URL() string  { return d.shown }
func (d *direct) Close() error { return nil }
func (d *direct) next() string { return d.base }
func (d *direct) host() string { return d.header }

func (d *direct) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return d.connect(ctx, network, address)
}

// proxied goes through the API server, as the user that its configuration names.
type proxied struct {
	*direct
	config *rest.Config
	secure *tls.Config
}

// APIProxy goes to a port of a Service through the API server's service proxy. Scheme
// is what the Service speaks.
func APIProxy(config *rest.Config, namespace, scheme, service string, port int32) (Way, error) {
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("finding the API server: %w", err)
	}
	way, err := At("apiProxy", fmt.Sprintf("%s/api/v1/namespaces/%s/services/%s:%s:%d/proxy", strings.TrimRight(server.String(), "/"), namespace, scheme, service, port), "")
	if err != nil {
		return nil, err
	}
	secure, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, fmt.Errorf("preparing to ask the API server: %w", err)
	}
	if _, err := rest.HTTPWrappersForConfig(config, http.DefaultTransport); err != nil {
		return nil, fmt.Errorf("preparing to ask the API server: %w", err)
	}
	return &proxied{way.(*direct), config, secure}, nil
}

// authenticated is a Way that says how the server is checked and who asks.
type authenticated interface {
	tls() *tls.Config // nil for the default
	wrap(http.RoundTripper) http.RoundTripper
}

func (p *proxied) tls() *tls.Config { return p.secure }

func (p *proxied) wrap(t http.RoundTripper) http.RoundTripper {
	if as, err := rest.HTTPWrappersForConfig(p.config, t); err == nil {
		return as
	}
	return t // it worked in APIProxy
}

// Reachable opens a connection to the workload and closes it again. It sends no
// request, because every request is counted.
func Reachable(ctx context.Context, way Way) error {
	u, err := url.Parse(way.next())
	if err != nil {
		return fmt.Errorf("connecting to %s: it is no URL", way.URL())
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
