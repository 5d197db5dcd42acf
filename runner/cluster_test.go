package runner

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// theLab is the one embedded cluster of this package's tests.
var theLab struct {
	once       sync.Once
	kubeconfig string
	err        error
	stop       func()
}

func TestMain(m *testing.M) {
	code := m.Run()
	if theLab.stop != nil {
		theLab.stop()
	}
	os.Exit(code)
}

// testCluster connects to the embedded cluster, which it starts when it is the
// first to need it. Change may change how it connects.
func testCluster(t *testing.T, change ...func(*rest.Config)) *Cluster {
	t.Helper()
	theLab.once.Do(func() { theLab.err = startLab() })
	if theLab.err != nil {
		t.Fatal(theLab.err)
	}
	config, err := Kubeconfig(theLab.kubeconfig, "").ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(config)
	}
	c, err := connect(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func startLab() error {
	dir, err := os.MkdirTemp("", "hpabench-runner")
	if err != nil {
		return err
	}
	binary := filepath.Join(dir, "hpabench-lab")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/hpabench-lab").CombinedOutput(); err != nil {
		return fmt.Errorf("building hpabench-lab: %w\n%s", err, out)
	}
	cmd := exec.Command(binary, "--stdin", "--timing=fast", "--name", fmt.Sprintf("runner-test-%d", os.Getpid()))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	theLab.stop = func() {
		_ = stdin.Close()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	theLab.kubeconfig = strings.TrimSpace(line)
	return err
}

// testNamespace makes a namespace of somebody else's, for the time of the test.
func testNamespace(t *testing.T, c *Cluster) string {
	t.Helper()
	n, err := c.Kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Kube.CoreV1().Namespaces().Delete(context.Background(), n.Name, metav1.DeleteOptions{})
	})
	return n.Name
}
