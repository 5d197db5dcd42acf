package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const entrances = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: nginx, image: "nginx:1.15.2", imagePullPolicy: IfNotPresent, ports: [{containerPort: 80}], resources: {requests: {cpu: 500m}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 8085, targetPort: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: front}
spec:
  rules: [{host: "*.VIA.example.com", http: {paths: [{path: /shop, pathType: Prefix, backend: {service: {name: web, port: {number: 8085}}}}]}}]
`

// TestWays sends load by the API server's proxy, by a load balancer and by an
// Ingress. Their controllers are played by this test: it writes the addresses into
// the status, and is the proxy behind that of the Ingress.
func TestWays(t *testing.T) {
	needsKubelet(t)
	inFull(t)
	for _, via := range []string{"apiProxy", "loadBalancer", "ingress"} {
		t.Run(via, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "objects.yaml"), []byte(strings.ReplaceAll(entrances, "VIA", strings.ToLower(via))), 0o666); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "scenario.yaml")
			if err := os.WriteFile(file, fmt.Appendf(nil, "apiVersion: hpabench.dev/v1alpha1\nkind: Scenario\nmetadata: {name: ways}\nspec:\n  workload: {manifests: [objects.yaml]}\n"+
				"  autoscaler: {cpuPercent: 90, min: 2, max: 3}\n  load: {via: %s, phases: [{name: some, duration: 10s, rate: 31}, {name: again, duration: 3s, workers: 2, keepAlive: false}]}\n", via), 0o666); err != nil {
				t.Fatal(err)
			}
			run := startRun(t, file, "--keep")
			run.waitFor(`^creating HorizontalPodAutoscaler`, time.Minute)
			namespace := regexp.MustCompile(`creating namespace (\S+)`).FindStringSubmatch(run.stderr())[1]
			t.Cleanup(func() { kubectl(t, "delete", "namespace", namespace) })
			status := func(object, ip string) {
				kubectl(t, "patch", "-n", namespace, object, "--subresource=status", "--type=merge", "-p", fmt.Sprintf(`{"status":{"loadBalancer":{"ingress":[{"ip":%q}]}}}`, ip))
			}
			var proxied atomic.Int64
			switch via {
			case "loadBalancer":
				status("service/web", kubectl(t, "get", "nodes", "-o", `jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}`))
			case "ingress":
				to := must(url.Parse("http://127.0.0.1:" + kubectl(t, "get", "service", "web", "-n", namespace, "-o", "jsonpath={.spec.ports[0].nodePort}")))
				listener, err := net.Listen("tcp", "127.0.0.2:80")
				if err != nil {
					t.Skip(err)
				}
				proxy := httputil.NewSingleHostReverseProxy(to)
				go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if req.Host != "hpabench.ingress.example.com" || req.URL.Path != "/shop/" {
						t.Errorf("asked for %s%s", req.Host, req.URL)
					}
					proxied.Add(1)
					proxy.ServeHTTP(w, req)
				}))
				t.Cleanup(func() { listener.Close() })
				status("ingress/front", "127.0.0.2")
			}
			run.wait(0, 3*time.Minute)
			l := run.result().Load.Total
			n := served(t, run)
			t.Logf("%s: %d answered, nginx counted %d", run.result().Subject.URL, l.Answered, n)
			if l.Answered != n || l.Errors != 0 || l.Offered != l.Answered || l.Answered < 320 {
				t.Errorf("%d answered of %d, %d errors; nginx counted %d", l.Answered, l.Offered, l.Errors, n)
			}
			if via == "ingress" && uint64(proxied.Load()) != n {
				t.Errorf("%d requests came through the Ingress", proxied.Load())
			}
		})
	}
}
