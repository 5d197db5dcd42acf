package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/portforward"
	metrics "k8s.io/metrics/pkg/client/clientset/versioned"

	"github.com/hpabench/hpabench/lab/folders"
)

// childRoot in the environment makes the test binary a lab that lives in that
// folder until its standard input ends: a process holds one lab only.
const childRoot = "HPABENCH_LAB_TEST_ROOT"

var own struct {
	once sync.Once
	lab  *Lab
	err  error
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(childRoot); dir != "" {
		child(dir)
		return
	}
	if endpoints := os.Getenv(probeEndpoints); endpoints != "" {
		probe(strings.Fields(endpoints))
		return
	}
	code := m.Run()
	if own.lab != nil {
		if err := own.lab.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// probeEndpoints in the environment makes the test binary try those addresses.
const probeEndpoints = "HPABENCH_LAB_TEST_PROBE"

// abandoned in the environment makes the child abandon its lab: "early" is before it
// starts it, "busy" while etcd is asked for its status all the time.
const abandoned = "HPABENCH_LAB_TEST_ABANDONED"

func child(dir string) {
	if os.Getenv(abandoned) == "early" {
		_ = Abandon()
	}
	l, err := Start(context.Background(), Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if os.Getenv(abandoned) == "busy" {
		abandonBusy(l)
	}
	fmt.Println(l.Kubeconfig())
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := l.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func abandonBusy(l *Lab) {
	var asked atomic.Int64
	for range 8 {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + l.state.File(etcdSocket)}})
		if err != nil {
			panic(err)
		}
		go func() {
			for {
				if _, err := client.Status(context.Background(), client.Endpoints()[0]); err == nil {
					asked.Add(1)
				}
			}
		}()
	}
	for asked.Load() < 100 {
		time.Sleep(time.Millisecond)
	}
	l.end()
	err := Abandon()
	time.Sleep(100 * time.Millisecond) // of requests to what is gone
	fmt.Println("abandoned", err)
	os.Exit(0)
}

// theLab is the one lab of this process.
func theLab(t *testing.T) (*Lab, *kubernetes.Clientset) {
	t.Helper()
	own.once.Do(func() {
		own.lab, own.err = Start(context.Background(), Options{Timing: Fast, KEDA: true})
	})
	if own.err != nil {
		t.Fatal(own.err)
	}
	client, err := kubernetes.NewForConfig(own.lab.Config())
	if err != nil {
		t.Fatal(err)
	}
	return own.lab, client
}

// root is a folder for labs whose path is short enough for a socket's, which
// that of t.TempDir is not everywhere.
func root(t *testing.T) string {
	dir, err := os.MkdirTemp("", "labs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func eventually(t *testing.T, what string, done func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		err := done(ctx)
		if err == nil {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func TestItIsKubernetes(t *testing.T) {
	_, client := theLab(t)
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(version.GitVersion, "v1.") || !strings.HasSuffix(version.GitVersion, "+hpabench-lab") {
		t.Errorf("its version is %s, want that of Kubernetes and a mark", version.GitVersion)
	}
	if _, err := client.SchedulingV1().PriorityClasses().Get(t.Context(), "system-node-critical", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	about, err := client.CoreV1().ConfigMaps(metav1.NamespacePublic).Get(t.Context(), ConfigMap, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"timing": "fast", "hpaSyncPeriod": "5s", "metricsResolution": "5s", "downscaleStabilization": "5m0s", "tolerance": "0.1", "nodes": "8", "nodeCPU": "4"} {
		if got := about.Data[key]; got != want {
			t.Errorf("%s is told as %q, want %q", key, got, want)
		}
	}
	eventually(t, "the default roles", func(ctx context.Context) error {
		_, err := client.RbacV1().ClusterRoles().Get(ctx, "view", metav1.GetOptions{})
		return err
	})
}

// TestAWorkloadRuns takes a Deployment through all parts: controllers, scheduler,
// nodes, a node port, the metrics API, and the API server's ways to a pod.
func TestAWorkloadRuns(t *testing.T) {
	l, client := theLab(t)
	labels := map[string]string{"app": "web"}
	_, err := client.AppsV1().Deployments("default").Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(2)),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "nginx:1.15.2"}}},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	service, err := client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Selector: labels, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready pods", func(ctx context.Context) error {
		d, err := client.AppsV1().Deployments("default").Get(ctx, "web", metav1.GetOptions{})
		if err == nil && d.Status.ReadyReplicas != 2 {
			err = fmt.Errorf("%d are ready", d.Status.ReadyReplicas)
		}
		return err
	})
	eventually(t, "an answer at the node port", func(context.Context) error {
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", service.Spec.Ports[0].NodePort))
		if err == nil {
			_ = answer.Body.Close()
		}
		return err
	})

	pods, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		t.Fatal(err)
	}
	pod := pods.Items[0].Name
	if _, err := client.CoreV1().Pods("default").ProxyGet("http", pod, "80", "/", nil).DoRaw(t.Context()); err != nil {
		t.Errorf("the pod through the API server: %v", err)
	}
	if log, err := client.CoreV1().Pods("default").GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(t.Context()); err != nil || len(log) == 0 {
		t.Errorf("the log of the pod is %q, %v", log, err)
	}

	forwardTo(t, l.Config(), client, pod)

	usage, err := metrics.NewForConfig(l.Config())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "usage", func(ctx context.Context) error {
		u, err := usage.MetricsV1beta1().PodMetricses("default").Get(ctx, pod, metav1.GetOptions{})
		if err == nil && (len(u.Containers) != 1 || u.Containers[0].Usage.Memory().IsZero() || u.Window.Duration <= 0) {
			t.Errorf("the usage of the pod is %+v", u)
		}
		return err
	})
	if n, err := usage.MetricsV1beta1().NodeMetricses().List(t.Context(), metav1.ListOptions{}); err != nil || len(n.Items) != 8 {
		t.Errorf("usage is known of %d nodes, %v; want 8", len(n.Items), err)
	}
}

// forwardTo does what kubectl port-forward does, once.
func forwardTo(t *testing.T, config *rest.Config, client kubernetes.Interface, pod string) {
	t.Helper()
	request := client.CoreV1().RESTClient().Post().Resource("pods").Namespace("default").Name(pod).SubResource("portforward")
	dialer, err := portforward.NewSPDYOverWebsocketDialer(request.URL(), config)
	if err != nil {
		t.Fatal(err)
	}
	stop, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.New(dialer, []string{"0:80"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	go func() { ended <- forwarder.ForwardPorts() }()
	defer close(stop)
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("forwarding a port: %v", err)
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
	if err != nil {
		t.Fatalf("asking at a forwarded port: %v", err)
	}
	_ = answer.Body.Close()
}

func TestOneInAProcess(t *testing.T) {
	theLab(t)
	if l, err := Start(t.Context(), Options{}); err == nil {
		_ = l.Stop()
		t.Error("a second lab started in the process")
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	hpa, err := HPADefaults(Real)
	if err != nil {
		t.Fatal(err)
	}
	hpa.ConcurrentHorizontalPodAutoscalerSyncs = 0
	for _, o := range []Options{{Timing: "slow"}, {HPA: hpa}} {
		if _, err := Start(t.Context(), o); err == nil || strings.Contains(err.Error(), "process") {
			t.Errorf("%+v: %v, want an error that tells of the option", o, err)
		}
	}
}

// A process that is told to end before its lab has a folder ends at once, maybe while
// Start goes on beside it.
func TestAnAbandonedLabMakesNoFolder(t *testing.T) {
	dir := root(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRoot+"="+dir, abandoned+"=early")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "abandoned") {
		t.Errorf("a start after the end: %v\n%s", err, out)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// What a lab is asked while it ends must not end its process before its folder is gone.
func TestABusyLabIsAbandonedWhole(t *testing.T) {
	dir := root(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRoot+"="+dir, abandoned+"=busy")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "abandoned <nil>\n") {
		t.Errorf("its end: %v\n%s", err, out)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "lab-*")); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// TestSideBySide starts two more labs, ends one and kills the other.
func TestSideBySide(t *testing.T) {
	dir := root(t)
	start := func() (cmd *exec.Cmd, stdin io.Closer, kubeconfig string) {
		cmd = exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childRoot+"="+dir)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatalf("a lab ended before it was ready: %v", err)
		}
		return cmd, in, strings.TrimSpace(line)
	}
	ended, stdin, kubeconfig := start()
	killed, _, killedKubeconfig := start()

	for _, path := range []string{kubeconfig, killedKubeconfig} {
		config, err := clientcmd.BuildConfigFromFlags("", path)
		if err != nil {
			t.Fatal(err)
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.CoreV1().Namespaces().Get(t.Context(), "default", metav1.GetOptions{}); err != nil {
			t.Errorf("a lab beside another: %v", err)
		}
	}

	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	_ = stdin.Close()
	if err := ended.Wait(); err != nil {
		t.Errorf("ending a lab: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(kubeconfig)); !os.IsNotExist(err) {
		t.Errorf("the folder of a lab that has ended: %v, want it gone", err)
	}
	if conn, err := net.Dial("tcp", server.Host); err == nil {
		_ = conn.Close()
		t.Errorf("%s is still listened at", server.Host)
	}

	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	if _, err := os.Stat(filepath.Dir(killedKubeconfig)); err != nil {
		t.Fatalf("the folder of a lab that was killed: %v, want it there until the next start", err)
	}
	next, err := folders.Open(t.Context(), dir, "next", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Close() }()
	if _, err := os.Stat(filepath.Dir(killedKubeconfig)); !os.IsNotExist(err) {
		t.Errorf("the folder of a lab that was killed, after the next start: %v, want it gone", err)
	}
}
