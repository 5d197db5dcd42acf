package runner

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/hpabench/hpabench/record"
)

// withCredentials is a cluster whose credentials come from a plugin, a shell script.
func withCredentials(t *testing.T, host, script string) *Cluster {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := connect(&rest.Config{Host: host, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, ExecProvider: &clientcmdapi.ExecConfig{
		APIVersion: "client.authentication.k8s.io/v1", Command: file, InteractiveMode: clientcmdapi.NeverExecInteractiveMode}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pluginOf is the guard in the clients of c.
func pluginOf(t *testing.T, c *Cluster) *plugin {
	t.Helper()
	p, ok := c.Kube.Discovery().RESTClient().(*rest.RESTClient).Client.Transport.(*plugin)
	if !ok {
		t.Fatal("the credential plugin is not bounded")
	}
	return p
}

// TestCredentialPlugin wants a plugin that answers to be of use, and one that hangs to
// be named when its time is over, and when the user ends the waiting.
func TestCredentialPlugin(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = w.Write([]byte(`{"gitVersion": "v1.37.2"}`))
	}))
	defer server.Close()
	get := func(ctx context.Context, c *Cluster) error {
		_, err := c.Kube.Discovery().RESTClient().Get().AbsPath("/version").DoRaw(ctx)
		return err
	}

	answers := withCredentials(t, server.URL, `echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "secret"}}'`)
	pluginOf(t, answers)
	for range 2 {
		if err := get(t.Context(), answers); err != nil {
			t.Errorf("with a plugin that answers: %v", err)
		}
	}
	if fails := withCredentials(t, server.URL, "exit 1"); get(t.Context(), fails) == nil || errors.Is(get(t.Context(), fails), errPlugin) {
		t.Errorf("with a plugin that fails: %v", get(t.Context(), fails))
	}

	gone := func(c *Cluster) {
		t.Helper()
		mark := pluginOf(t, c).mark
		for end := time.Now().Add(10 * time.Second); len(marked(mark, false)) > 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("processes %v of a plugin that was given up go on", marked(mark, false))
			}
		}
	}
	hangs := withCredentials(t, server.URL, "sleep 60\necho")
	pluginOf(t, hangs).timeout = 200 * time.Millisecond
	if err := get(t.Context(), hangs); !errors.Is(err, errPlugin) || !strings.Contains(err.Error(), "/plugin") || !strings.Contains(err.Error(), "200ms") {
		t.Errorf("with a plugin that hangs: %v", err)
	}
	gone(hangs)

	prints := withCredentials(t, server.URL, "yes secret")
	pluginOf(t, prints).memory = 4 << 20
	if err := get(t.Context(), prints); !errors.Is(err, errPlugin) || !strings.Contains(err.Error(), "4 MiB more") {
		t.Errorf("with a plugin that prints without end: %v", err)
	}
	gone(prints)

	login := withCredentials(t, server.URL, "sleep 60 & wait")
	p := pluginOf(t, login)
	p.timeout, p.login = 200*time.Millisecond, true
	if err := get(t.Context(), login); !errors.Is(err, errPlugin) {
		t.Errorf("with a login that hangs: %v", err)
	}
	if browser := marked(p.mark, false); runtime.GOOS == "linux" && len(browser) != 1 {
		t.Errorf("processes of a login that was given up: %v, want what it started", browser)
	}
	p.login = false
	p.end()
	gone(login)

	ended := withCredentials(t, server.URL, "sleep 60 & wait")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrInterrupted)
	if err := get(ctx, ended); err == nil {
		t.Error("the end of the context does not end the waiting")
	}
	ctx, cancel = context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(ErrInterrupted) })
	if err := get(ctx, ended); !errors.Is(err, errPlugin) || !strings.Contains(err.Error(), ErrInterrupted.Error()) {
		t.Errorf("when the user ends the waiting: %v", err)
	}
	gone(ended)
}

// TestVersionRefused goes on where the version may not be read.
func TestVersionRefused(t *testing.T) {
	for code, want := range map[int]string{
		http.StatusForbidden:    record.Warning,
		http.StatusUnauthorized: record.Fault,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/version" {
				code = http.StatusNotFound // of the ConfigMap that tells the embedded cluster
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_, _ = fmt.Fprintf(w, `{"kind": "Status", "apiVersion": "v1", "code": %d, "reason": %q, "message": "%0100000d"}`, code, http.StatusText(code), 1)
		}))
		c, err := connect(&rest.Config{Host: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		i := &inspection{Cluster: c, report: func(record.Check) {}, interrupted: func() bool { return false }}
		if ok := i.checkServer(t.Context()); ok != (want == record.Warning) || i.checks[0].Outcome != want || strings.Contains(i.checks[0].Message, "does not answer") || len(i.checks[0].Message) > 3000 {
			t.Errorf("%s: goes on %v, checks %+v", want, ok, i.checks)
		}
		server.Close()
	}
}

// TestNoNamespace wants what no namespace can be called to be refused before any
// request, wherever it is named.
func TestNoNamespace(t *testing.T) {
	for _, name := range []string{"../x", "a/b", "..", ".", "A", "a b", "a\nb", "-a", strings.Repeat("a", 64), "ä", "%2e%2e"} {
		c := &Cluster{} // any request would panic
		var bad BadInput
		for what, err := range map[string]error{
			"watch": func() error { _, err := NewObserver(c, "hpa/web", ObserveOptions{Namespace: name}, nil); return err }(),
			"clean": c.Clean(t.Context(), CleanOptions{Namespace: name}, nil),
			"run":   func() error { _, err := New(c, nil, Options{Namespace: name}, nil); return err }(),
		} {
			if !errors.As(err, &bad) || strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("%s -n %q: %v", what, name, err)
			}
		}
	}
	for _, name := range []string{"", "a", "kube-system", strings.Repeat("a", 63)} {
		if err := checkNamespaceName("-n", name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
