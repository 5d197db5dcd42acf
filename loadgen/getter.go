package loadgen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/hpabench/hpabench/record"
)

// Getter asks for one path where the load goes, beside the load: it is not counted, and has a connection of its own. What
// the load's requests have in their heads it has too, credentials among them. Redirects are not followed.
type Getter struct {
	way       Way
	path      string
	headers   http.Header
	transport *transport
	client    http.Client
}

// NewGetter returns one for a path, with its query. It goes the way of request, and takes no longer than its Timeout.
func NewGetter(way Way, request Request, path string) (*Getter, error) {
	if _, err := record.JoinURL(way.next(), path); err != nil {
		return nil, err
	}
	g := &Getter{way: way, path: path, headers: headers(way.host(), request.Headers, http.Header{"Accept": {"text/plain"}}),
		transport: newTransport(way, &request, true, func() {})}
	delete(g.headers, "Accept-Encoding") // the body is taken as it comes
	g.client = http.Client{Transport: asker{g.transport}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if w, is := way.(authenticated); is {
		g.client.Transport = w.wrap(g.client.Transport)
	}
	return g, nil
}

// asker is a transport that hands over the answer as it is.
type asker struct{ *transport }

// RoundTrip sends req once. No error has a secret of req.
func (a asker) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := a.ask(req)
	if err != nil {
		return nil, withoutSecrets(err, req)
	}
	return resp, nil
}

// Get gives the body of the answer, which is to be closed. An answer of another code than 200 is an error.
func (g *Getter) Get(ctx context.Context) (io.ReadCloser, error) {
	next := g.way.next
	if pods, is := g.way.(*forward); is {
		next = pods.first // so that the load goes to its pods in turn as before
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, next()+g.path, nil)
	if err != nil {
		return nil, err
	}
	req.Header = g.headers.Clone()
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := g.client.Do(req)
	if of, is := errors.AsType[*url.Error](err); is {
		return nil, of.Err // which is not said with a URL
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("the answer is %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return resp.Body, nil
}

// Close ends what is under way.
func (g *Getter) Close() { g.transport.close() }
