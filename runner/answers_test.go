package runner

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// TestEndlessAnswer wants an answer that goes on for ever to be cut, in bytes or in time, with
// an error that names it, and a watch or a log of whatever length to go on.
func TestEndlessAnswer(t *testing.T) {
	const most = 1 << 20
	line := append(bytes.Repeat([]byte("a"), 1000), '\n')
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Slow") != "" {
			_, _ = w.Write(line)
			_ = http.NewResponseController(w).Flush()
			sent.Store(0)
			<-r.Context().Done()
			return
		}
		if r.Header.Get("Fails") != "" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		chunk := bytes.Repeat(line, 50)
		if r.Header.Get("Line") != "" {
			chunk = bytes.ReplaceAll(chunk, []byte("\n"), []byte("a"))
		}
		end := 100 * most
		if strings.HasSuffix(r.URL.RawQuery, "=true") && r.Header.Get("Line") == "" {
			end = 3 * most
		}
		for n := 0; n < end; n += len(chunk) {
			sent.Store(int64(n))
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	for _, c := range []struct{ path, header, want string }{
		{"/version", "", "more than 1 MiB: is " + server.URL + " a Kubernetes API server?"},
		{"/api/v1/pods?limit=1", "", "GET /api/v1/pods has more than 1 MiB"},
		{"/version", "Fails", "more than 1 MiB"},
		{"/version", "Slow", "its answer did not end within 200ms"},
		{"/api/v1/pods?watch=true", "Line", "more than 1 MiB"},
		{"/api/v1/namespaces/log", "", "more than 1 MiB"},
		{"/api/v1/namespaces/a/pods/log", "", "more than 1 MiB"},
		{"/api/v1/pods?watch=true", "", ""},
		{"/api/v1/namespaces/a/pods/a/log?follow=true", "", ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		timeout := time.Minute
		switch c.header {
		case "":
		case "Slow":
			timeout = 200 * time.Millisecond
			fallthrough
		default:
			r.Header.Set(c.header, "yes")
		}
		response, err := answers{http.DefaultTransport, most, timeout}.RoundTrip(r)
		var read int64
		if err == nil {
			read, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		switch {
		case c.want == "" && (err != nil || read < 3*most):
			t.Errorf("%s: %v after %d bytes", c.path, err, read)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || read > most || sent.Load() > 50*most):
			t.Errorf("%s %s: %v after %d bytes, want %s", c.path, c.header, err, read, c.want)
		}
	}

	// Every client of a cluster is bounded so, and a deadline of the caller's stays its own.
	c, err := connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]rest.Interface{"discovery": c.Kube.Discovery().RESTClient(), "core": c.Kube.CoreV1().RESTClient(), "metrics": c.Metrics.MetricsV1beta1().RESTClient()} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := client.Get().AbsPath("/version").SetHeader("Slow", "yes").DoRaw(ctx)
		if cancel(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		var body answers
		rt := client.(*rest.RESTClient).Client.Transport
		for found := false; !found; {
			if body, found = rt.(answers); found {
				break
			}
			wrapper, ok := rt.(interface{ WrappedRoundTripper() http.RoundTripper })
			if !ok {
				t.Fatalf("%s: the answers are not bounded", name)
			}
			rt = wrapper.WrappedRoundTripper()
		}
		if body.most != maxAnswer || body.timeout != answerTimeout {
			t.Errorf("%s: bounded by %+v", name, body)
		}
	}
}

// TestEndlessKubeconfig wants a kubeconfig, and each file that it names, to be read within bounds.
func TestEndlessKubeconfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	config := func(name, cluster, user string) string {
		return write(name, `apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1"`+cluster+`}}, {name: other, cluster: {server: "https://127.0.0.1:1", certificate-authority: /dev/zero}}]
users: [{name: a, user: {`+user+`}}]
contexts: [{name: a, context: {cluster: a, user: a}}, {name: other, context: {cluster: other, user: a}}]
current-context: a
`)
	}
	large := write("large", strings.Repeat("#\n", maxKubeconfig/2+1))
	fine := config("fine", "", "token: a")
	const device, tooLarge = "whose end may never come", "more than 8 MiB"
	for _, c := range []struct{ name, file, context, want string }{
		{"a device", "/dev/zero", "", device},
		{"a large file", large, "", tooLarge},
		{"certificates", config("ca", ", certificate-authority: /dev/zero", ""), "", `certificate-authority of context "a": open /dev/zero`},
		{"large certificates", config("large-ca", ", certificate-authority: "+large, ""), "", tooLarge},
		{"a certificate", config("cert", "", "client-certificate: /dev/zero, client-key: "+fine), "", "client-certificate of"},
		{"a key", config("key", "", "client-key: /dev/zero, client-certificate: "+fine), "", "client-key of"},
		{"a token", config("token", "", "tokenFile: /dev/zero"), "", "tokenFile of"},
		{"a token beside another", config("tokens", "", "token: a, tokenFile: /dev/zero"), "", "tokenFile of"},
		{"another context", fine, "other", `certificate-authority of context "other"`},
		{"a context that is not used", fine, "", ""},
	} {
		_, err := Connect(c.file, c.context)
		var bad BadInput
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if c.context == "" && filepath.Dir(c.file) != dir || c.file == large {
			t.Setenv("KUBECONFIG", fine+string(filepath.ListSeparator)+c.file)
			if _, err := Connect("", "a"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s in KUBECONFIG: %v", c.name, err)
			}
		}
	}

	// What a shell puts in place of <(...).
	for content, want := range map[string]string{fine: "", large: tooLarge} {
		b, err := os.ReadFile(content)
		if err != nil {
			t.Fatal(err)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = w.Write(b)
			w.Close()
		}()
		c, err := Connect("/dev/fd/"+strconv.Itoa(int(r.Fd())), "")
		if want == "" && (err != nil || c.Config.BearerToken != "a") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("a pipe: %v, want %q", err, want)
		}
		r.Close()
	}
}
