package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
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
	code := m.Run()
	if own.lab != nil {
		if err := own.lab.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func child(dir string) {
	l, err := Start(context.Background(), Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Kubeconfig())
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := l.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// theLab is the one lab of this process.
func theLab(t *testing.T) (*Lab, *kubernetes.Clientset) {
	t.Helper()
	own.once.Do(func() {
		own.lab, own.err = Start(context.Background(), Options{Timing: Fast})
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
	for key, want := range map[string]string{"timing": "fast", "hpaSyncPeriod": "5s", "metricsResolution": "5s", "downscaleStabilization": "5m0s", "tolerance": "0.1"} {
		if got := about.Data[key]; got != want {
			t.Errorf("%s is told as %q, want %q", key, got, want)
		}
	}
	eventually(t, "the default roles", func(ctx context.Context) error {
		_, err := client.RbacV1().ClusterRoles().Get(ctx, "view", metav1.GetOptions{})
		return err
	})
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
	next, err := open(dir, "next")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.close() }()
	if _, err := os.Stat(filepath.Dir(killedKubeconfig)); !os.IsNotExist(err) {
		t.Errorf("the folder of a lab that was killed, after the next start: %v, want it gone", err)
	}
}
