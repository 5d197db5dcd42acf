package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/scenarios"
)

const attacked = `apiVersion: hpabench.dev/v1alpha1
kind: Scenario
metadata: {name: x}
spec:
  workload: {deployment: {image: "nginx:1.15.2", port: 80, resources: {requests: {cpu: 50m}}}}
  autoscaler: {cpuPercent: 20, min: 1, max: 5}
  load:
%s    phases: [{name: a, duration: 300ms, rate: 20}]
`

func attackScenario(t *testing.T, load string, files map[string]string) (*scenarios.File, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "s.yaml")
	if err := os.WriteFile(name, fmt.Appendf(nil, attacked, load), 0o600); err != nil {
		t.Fatal(err)
	}
	return scenarios.Read(name)
}

type nopCloser struct{ *bytes.Buffer }

func (nopCloser) Close() error { return nil }

// A password in a URL is sent, and in no record, progress or error.
func TestPasswordInURL(t *testing.T) {
	const secret = "s3cret"
	var good, bad atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if user, password, _ := req.BasicAuth(); user == "user" && password == secret || user == secret {
			good.Add(1)
		} else {
			bad.Add(1)
		}
	}))
	address := server.Listener.Addr().String()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, c := range []struct {
		where string
		flag  bool
		fails bool
	}{
		{"http://user:" + secret + "@" + address, true, false}, {"http://user:" + secret + "@" + address, false, false},
		{"http://user:" + secret + "@" + closed.Addr().String(), true, true}, {"http://user:" + secret + "@" + closed.Addr().String(), false, true},
		{"http://" + secret + "@" + address, true, false}, {"http://" + secret + "@" + address, false, false},
		{"http://" + secret + "@" + closed.Addr().String(), true, true}, {"http://" + secret + "@" + address + "/a/../b", true, true},
		{"http://" + address + "/?token=" + secret, true, true},
		{"http://user:" + secret + "@no such host", true, true}, {"user:" + secret + "@" + address, true, true},
		{"http://user:" + secret + "/x@" + address, true, true}, {"http://user:" + secret + "@" + address + "/?q", true, true},
		{"ftp://user:" + secret + "@" + address, true, true}, {"http://user:" + secret + "@%zz", true, true},
	} {
		load, flag := "    url: "+c.where+"\n", ""
		if c.flag {
			load, flag = "", c.where
		}
		file, err := attackScenario(t, load, nil)
		if err != nil {
			t.Fatal(err)
		}
		var written bytes.Buffer
		rec := record.NewRecorder(record.StartClock(), nopCloser{&written})
		err = errors.Join(CheckAttack(file, flag), Attack(context.Background(), file, flag, Options{ID: "x"}, rec, func(Progress) {}))
		rec.Close()
		if (err != nil) != c.fails {
			t.Errorf("%s: %v", c.where, err)
		}
		if all := written.String() + fmt.Sprint(err); strings.Contains(all, secret) {
			t.Errorf("%s, by flag %v: the password is in %s", c.where, c.flag, all)
		}
	}
	server.Close()
	if good.Load() == 0 || bad.Load() > 0 {
		t.Errorf("%d requests with the password, %d without", good.Load(), bad.Load())
	}
}

// A target that names another host than --url is refused before anything is sent.
func TestAttackTargets(t *testing.T) {
	for target, refused := range map[string]bool{"http://127.0.0.1:18081/": true, "https://127.0.0.1:18080/": true, "http://127.0.0.1:18080/x": false, "/x": false} {
		file, err := attackScenario(t, "    targets: [{file: t.txt}]\n", map[string]string{"t.txt": "GET " + target + "\n"})
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckAttack(file, "http://127.0.0.1:18080"); (err != nil) != refused || err != nil && (!errors.As(err, new(BadInput)) || !strings.Contains(err.Error(), "t.txt:1: ")) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

// A password in a kubeconfig's server is used and not shown.
func TestTakeCredentials(t *testing.T) {
	config := &rest.Config{Host: "https://user:s3cret@api.example:6443/x"}
	if err := takeCredentials(config); err != nil || config.Host != "https://api.example:6443/x" || config.Username != "user" || config.Password != "s3cret" {
		t.Errorf("%v: %+v", err, config)
	}
	config = &rest.Config{Host: "https://user:s3cret@api.example", BearerToken: "x"}
	if err := takeCredentials(config); err != nil || config.Host != "https://api.example" || config.Password != "" {
		t.Errorf("%v: %+v", err, config)
	}
	for _, host := range []string{"https://user:s3cret@a b", "http://s3cret:p@[::1", "http://127.0.0.1:1/\x1b[31m", "http://127.0.0.1:1\x7f", "http://127.0.0.1:x", "127.0.0.1:1/\n", "https://"} {
		if err := takeCredentials(&rest.Config{Host: host}); err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\x1b") || !strings.Contains(err.Error(), `" is no URL`) {
			t.Errorf("%q: %v", host, err)
		}
	}
	for _, host := range []string{"", "localhost", "127.0.0.1:8080", "[::1]:6443", "https://a/x"} {
		if err := takeCredentials(&rest.Config{Host: host}); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
}
