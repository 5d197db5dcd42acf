package loadgen

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hpabench/hpabench/record"
)

func TestTLS(t *testing.T) {
	var mu sync.Mutex
	protocols := map[string]int{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		protocols[req.Proto+" "+req.TLS.ServerName]++
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	way, err := URL(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for _, c := range []struct {
		name    string
		request Request
		want    map[string]int // answers by protocol and the name that was asked for
	}{
		{"trusted", Request{TLS: &TLS{CA: ca}}, map[string]int{"HTTP/1.1 ": 20}},
		{"HTTP/2 by another name", Request{TLS: &TLS{CA: ca, ServerName: "example.com"}, HTTP2: true}, map[string]int{"HTTP/2.0 example.com": 20}},
		{"unchecked", Request{TLS: &TLS{InsecureSkipVerify: true}}, map[string]int{"HTTP/1.1 ": 20}},
		{"unknown", Request{}, map[string]int{}},
		{"the wrong name", Request{TLS: &TLS{CA: ca, ServerName: "elsewhere"}}, map[string]int{}},
	} {
		clear(protocols)
		c.request.Path = "/"
		r := generate(t, []record.Phase{rate(100, 0.2)}, c.request, way, nil)
		if diff := cmp.Diff(c.want, protocols); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if p := r.phases[0]; len(c.want) == 0 && (p.Failed != 20 || !strings.Contains(strings.Join(r.notes, " "), "certificate")) {
			t.Errorf("%s: %d failed, notes %q", c.name, p.Failed, r.notes)
		}
	}
}
