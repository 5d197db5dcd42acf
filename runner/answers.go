package runner

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/hpabench/hpabench/record"
)

const (
	// maxAnswer is the most bytes of one answer of the API server that are read, and of one
	// line of a watch or a log. The largest list that is asked for is that of a namespace's
	// pods: 256 MiB are 25,000 of them at 10 KiB each, and a namespace of Kubernetes' largest
	// cluster is meant to hold 3,000 (its scalability thresholds).
	maxAnswer = 256 << 20
	// answerTimeout bounds a request without a deadline of its own, such as those of the
	// discovery, with its answer: the API server itself gives a request up after one minute
	// (kube-apiserver --request-timeout), and may take some time to say so.
	answerTimeout = time.Minute + requestTimeout
)

// answers bounds what the API server answers, in bytes and in time: client-go reads each
// answer whole, however long it goes on.
type answers struct {
	http.RoundTripper
	most    int64
	timeout time.Duration
}

// RoundTrip sends a request.
func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	path := strings.Split(r.URL.Path, "/")
	log := len(path) > 3 && path[len(path)-3] == "pods" && path[len(path)-1] == "log" // else an object may be called so
	stream := log || r.URL.Query().Get("watch") != ""
	cancel := context.CancelFunc(func() {})
	if _, has := r.Context().Deadline(); !has && !stream {
		var ctx context.Context
		ctx, cancel = context.WithTimeoutCause(r.Context(), a.timeout, fmt.Errorf("its answer did not end within %s", a.timeout))
		r = r.WithContext(ctx)
	}
	response, err := a.RoundTripper.RoundTrip(r)
	if err != nil {
		cancel()
		return nil, err
	}
	response.Body = &answer{ReadCloser: response.Body, request: r, most: a.most, stream: stream, cancel: cancel}
	return response, nil
}

// WrappedRoundTripper is for client-go, which closes idle connections by it.
func (a answers) WrappedRoundTripper() http.RoundTripper { return a.RoundTripper }

// answer is the body of an answer.
type answer struct {
	io.ReadCloser
	request    *http.Request
	read, most int64
	stream     bool // it may go on for ever, line by line
	cancel     context.CancelFunc
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	a.read += int64(n)
	if last := bytes.LastIndexByte(p[:n], '\n'); a.stream && last >= 0 {
		a.read = int64(n - last - 1)
	}
	u := a.request.URL
	switch {
	case a.read > a.most:
		return 0, fmt.Errorf("the answer to %s %s has more than %d MiB: is %s://%s a Kubernetes API server?", a.request.Method, record.ShownURL(u.Path), a.most>>20, u.Scheme, u.Host)
	case err != nil && err != io.EOF && !a.stream && a.request.Context().Err() != nil:
		return n, fmt.Errorf("the answer to %s %s: %w", a.request.Method, record.ShownURL(u.Path), context.Cause(a.request.Context()))
	}
	return n, err
}

func (a *answer) Close() error {
	defer a.cancel()
	return a.ReadCloser.Close()
}
