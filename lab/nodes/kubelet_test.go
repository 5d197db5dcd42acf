package nodes

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/transport/spdy"
)

// offline makes one node without an API server, and a pod of one server on it.
func offline(t *testing.T, api *corev1.Pod) (*Nodes, *pod) {
	t.Helper()
	n := newNodes(nil, Options{Count: 1}.withDefaults())
	networks, err := podNetworks(1, n.o.Pods)
	if err != nil {
		t.Fatal(err)
	}
	on := newNode(n, 0, networks[0])
	n.byName[on.name], n.byIP[on.ip] = on, on
	recorder := record.NewFakeRecorder(1000)
	recorder.IncludeObject = false
	on.recorder = recorder
	p := newPod(n, on, api)
	n.mu.pods[p.uid] = p
	return n, p
}

func serving(name string) *corev1.Pod {
	return &corev1.Pod{
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyAlways, Containers: []corev1.Container{{Name: name, Image: "nginx"}}},
	}
}

// kubeletClient reaches the kubelet API of the node on a loopback port, each
// connection to which is handed over.
func kubeletClient(t *testing.T, n *Nodes) (host string, client *http.Client) {
	t.Helper()
	server := httptest.NewTLSServer(nil) // for its certificate
	server.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go n.serveKubelet(t.Context(), server.TLS.Certificates[0])
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if err := n.Handoff(netip.MustParseAddrPort("10.0.0.1:10250"), conn); err != nil {
				conn.Close()
			}
		}
	}()
	return listener.Addr().String(),
		&http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
}

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestKubeletServesLogsAndPortForward(t *testing.T) {
	api := serving("c")
	api.Namespace, api.Name, api.UID = "here", "web", "1"
	n, p := offline(t, api)
	n.wg.Go(func() { p.runContainers() })
	defer func() {
		p.end()
		p.killAll(0)
		n.wg.Wait()
	}()
	host, client := kubeletClient(t, n)
	for at := time.Now(); p.at(80) == nil || !p.at(80).Listening(); time.Sleep(time.Millisecond) {
		if time.Since(at) > 10*time.Second {
			t.Fatal("the container does not listen")
		}
	}

	if code, text := get(t, client, "https://"+host+"/containerLogs/here/web/c?tailLines=1"); code != http.StatusOK || !strings.Contains(text, "listening") {
		t.Errorf("logs: %d %q", code, text)
	}
	if code, text := get(t, client, "https://"+host+"/containerLogs/here/web/c?previous=true"); code != http.StatusBadRequest {
		t.Errorf("logs of a previous container that there is not: %d %q", code, text)
	}
	if code, text := get(t, client, "https://"+host+"/exec/here/web/c?command=ls"); code != http.StatusNotImplemented || !strings.Contains(text, "modelled") {
		t.Errorf("exec: %d %q", code, text)
	}

	roundTripper, upgrader, err := spdy.RoundTripperFor(&rest.Config{Host: "https://" + host, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	where := &url.URL{Scheme: "https", Host: host, Path: "/portForward/here/web"}
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: roundTripper}, http.MethodPost, where)
	stop, ready := make(chan struct{}), make(chan struct{})
	forward, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:80"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- forward.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("port-forward ended: %v", err)
	}
	ports, err := forward.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if code, text := get(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local)); code != http.StatusOK || text == "" {
			t.Errorf("through the port-forward: %d %q", code, text)
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
