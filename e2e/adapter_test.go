package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	custom "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"

	"github.com/hpabench/hpabench/model"
)

// adapter is what Prometheus and its adapter are together: it reads the counters of
// hpa-example again and again, from each pod at instants of its own, and serves the rate over
// a time as a metric of the pods.
type adapter struct {
	kube        kubernetes.Interface
	name        string
	every, over time.Duration

	mu       sync.Mutex
	began    time.Time
	readings map[string][]model.Reading // by the pod's UID
}

const (
	servedEvery = 5 * time.Second
	servedOver  = 30 * time.Second
)

const adapterObjects = `
apiVersion: v1
kind: Service
metadata: {name: custom-metrics, namespace: kube-system}
spec:
  ports: [{name: https, port: 443, targetPort: %[2]s}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: custom-metrics, namespace: kube-system, labels: {kubernetes.io/service-name: custom-metrics}}
addressType: IPv4
ports: [{name: https, port: %[2]s}]
endpoints: [{addresses: [%[1]s], conditions: {ready: true}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta2.custom.metrics.k8s.io}
spec:
  group: custom.metrics.k8s.io
  version: v1beta2
  groupPriorityMinimum: 100
  versionPriority: 200
  insecureSkipTLSVerify: true
  service: {name: custom-metrics, namespace: kube-system, port: 443}
`

// startAdapter registers an adapter with the cluster until the test is over.
func startAdapter(t *testing.T, name string, every, over time.Duration) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	a := &adapter{kube: kubernetes.NewForConfigOrDie(config), name: name, every: every, over: over, began: time.Now(), readings: map[string][]model.Reading{}}
	node := strings.TrimSpace(kubectl(t, "get", "nodes", "-o", `jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}`))
	listener, err := net.Listen("tcp", net.JoinHostPort(node, "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(a)
	server.Listener.Close()
	server.Listener = listener
	server.StartTLS()
	t.Cleanup(server.Close)
	go a.discover(t.Context())
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	apply(t, fmt.Sprintf(adapterObjects, host, port))
	kubectl(t, "wait", "--for=condition=Available", "--timeout=60s", "apiservice/v1beta2.custom.metrics.k8s.io")
}

// discover looks for pods each second.
func (a *adapter) discover(ctx context.Context) {
	known := map[string]bool{}
	for ; ctx.Err() == nil; time.Sleep(time.Second) {
		pods, err := a.kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for _, p := range pods.Items {
			if strings.Contains(p.Spec.Containers[0].Image, "hpa-example") && p.Status.Phase == corev1.PodRunning && p.Status.PodIP != "" && !known[string(p.UID)] {
				known[string(p.UID)] = true
				go a.scrape(ctx, string(p.UID), "http://"+p.Status.PodIP+"/served")
			}
		}
	}
}

// scrape reads a pod's counter until it has failed for a minute.
func (a *adapter) scrape(ctx context.Context, uid, url string) {
	client := http.Client{Timeout: time.Second}
	time.Sleep(rand.N(a.every))
	ticker := time.NewTicker(a.every)
	defer ticker.Stop()
	for failed := 0; failed < 12; {
		var count int
		at := time.Since(a.began)
		answer, err := client.Get(url)
		if err == nil {
			var body []byte
			body, err = io.ReadAll(answer.Body)
			answer.Body.Close()
			if err == nil {
				count, err = strconv.Atoi(strings.TrimSpace(string(body)))
			}
		}
		if failed++; err == nil {
			failed = 0
			a.mu.Lock()
			a.readings[uid] = append(a.readings[uid], model.Reading{At: at, Value: float64(count)})
			a.mu.Unlock()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (a *adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const root = "/apis/custom.metrics.k8s.io/v1beta2"
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == root {
		_ = json.NewEncoder(w).Encode(metav1.APIResourceList{
			TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: custom.SchemeGroupVersion.String(),
			APIResources: []metav1.APIResource{{Name: "pods/" + a.name, Namespaced: true, Kind: "MetricValueList", Verbs: metav1.Verbs{"get"}}},
		})
		return
	}
	namespace, found := strings.CutPrefix(r.URL.Path, root+"/namespaces/")
	namespace, rest, _ := strings.Cut(namespace, "/")
	if !found || rest != "pods/*/"+a.name {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	pods, err := a.kube.CoreV1().Pods(namespace).List(r.Context(), metav1.ListOptions{LabelSelector: r.URL.Query().Get("labelSelector")})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	list := custom.MetricValueList{TypeMeta: metav1.TypeMeta{Kind: "MetricValueList", APIVersion: custom.SchemeGroupVersion.String()}}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range pods.Items {
		rate, known := model.Rate(a.readings[string(p.UID)], time.Since(a.began), a.over)
		if !known {
			continue
		}
		list.Items = append(list.Items, custom.MetricValue{
			DescribedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name},
			Metric:          custom.MetricIdentifier{Name: a.name}, Timestamp: metav1.Now(),
			WindowSeconds: new(int64(a.over.Seconds())), Value: *resource.NewMilliQuantity(int64(rate*1000), resource.DecimalSI),
		})
	}
	_ = json.NewEncoder(w).Encode(list)
}
