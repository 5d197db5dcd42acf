// Package e2e runs the hpabench binary against a cluster and compares what it
// reports with what independent observers saw: kubectl's watches and the counters
// of the servers under load.
//
// The cluster is the one of HPABENCH_E2E_KUBECONFIG, of which tests may do as they
// like and whose nodes have the images nginx:1.15.2, registry.k8s.io/hpa-example
// and busybox; without it, an embedded cluster that is started for the tests.
// Records and reports are kept in HPABENCH_E2E_OUT if it is set.
package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hpabench/hpabench/analysis"
	"github.com/hpabench/hpabench/record"
)

var (
	kubeconfig = os.Getenv("HPABENCH_E2E_KUBECONFIG")
	embedded   = kubeconfig == ""
	binary     string
)

func TestMain(m *testing.M) {
	if _, err := exec.LookPath("kubectl"); err != nil {
		fmt.Println("the end-to-end tests are skipped: there is no kubectl on the PATH")
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir := must(os.MkdirTemp("", "hpabench-e2e"))
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "hpabench")
	if out, err := exec.Command("go", "build", "-o", dir, "../cmd/...").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building hpabench: %v\n%s", err, out)
		return 1
	}
	if embedded {
		flag.Parse()
		if os.Getenv("HPABENCH_E2E_AGREE") == "" {
			must(0, flag.Set("test.parallel", "4")) // those that run beside each other wait more than they work
		}
		lab := exec.Command(filepath.Join(dir, "hpabench-lab"), "--stdin", "--timing", "fast", "--keda", "--name", fmt.Sprintf("e2e-%d", os.Getpid()))
		lab.Stderr = os.Stderr
		stdin := must(lab.StdinPipe())
		stdout := must(lab.StdoutPipe())
		if err := lab.Start(); err != nil {
			fmt.Fprintf(os.Stderr, "starting the embedded cluster: %v\n", err)
			return 1
		}
		defer lab.Wait()
		defer stdin.Close()
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err != nil {
			fmt.Fprintf(os.Stderr, "the embedded cluster did not start: %v\n", err)
			return 1
		}
		kubeconfig = strings.TrimSpace(line)
	}
	return m.Run()
}

// needsKubelet skips a test that says something of real nodes only.
func needsKubelet(t *testing.T) {
	t.Helper()
	if embedded {
		t.Skip("needs a real kubelet: set HPABENCH_E2E_KUBECONFIG")
	}
}

// inFull skips a test that takes its time unless all are wanted.
func inFull(t *testing.T) {
	t.Helper()
	if os.Getenv("HPABENCH_E2E_ALL") == "" {
		t.Skip("make e2e-all runs it")
	}
}

// embeddedWillDo skips a test on a real cluster, unless all are wanted, when the
// embedded one shows the same: CI would take too long otherwise.
func embeddedWillDo(t *testing.T) {
	t.Helper()
	if !embedded && os.Getenv("HPABENCH_E2E_ALL") == "" {
		t.Skip("make test runs it on the embedded cluster; set HPABENCH_E2E_ALL to run it on this one")
	}
}

// realWillDo skips a test that make e2e runs.
func realWillDo(t *testing.T) {
	t.Helper()
	if embedded && os.Getenv("HPABENCH_E2E_ALL") == "" {
		t.Skip("make e2e runs it on a real cluster; set HPABENCH_E2E_ALL to run it on the embedded one")
	}
}

// invocation is one hpabench process. Lines of its stderr can be waited for.
type invocation struct {
	t      *testing.T
	cmd    *exec.Cmd
	dir    string // of the record and the reports, for a run
	stdout bytes.Buffer

	mu     sync.Mutex
	lines  []string
	more   chan struct{}
	exited chan struct{}
	code   int
}

// hpabench starts the binary.
func hpabench(t *testing.T, args ...string) *invocation {
	t.Helper()
	i := &invocation{t: t, cmd: exec.Command(binary, args...), more: make(chan struct{}), exited: make(chan struct{})}
	i.cmd.Dir = t.TempDir()
	i.cmd.Stdout = &i.stdout
	stderr, err := i.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go i.follow(stderr)
	t.Cleanup(func() {
		select {
		case <-i.exited:
		default:
			i.cmd.Process.Kill()
			<-i.exited
		}
		if t.Failed() {
			t.Logf("hpabench %s\nexit code %d\n%s\n%s", strings.Join(args, " "), i.code, i.stderr(), i.stdout.String())
		}
	})
	return i
}

// startRun starts `hpabench run` of a scenario file or a name of the library.
func startRun(t *testing.T, scenario string, args ...string) *invocation {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	if keep := os.Getenv("HPABENCH_E2E_OUT"); keep != "" {
		dir = filepath.Join(keep, strings.ReplaceAll(t.Name(), "/", "-")+"-"+strconv.FormatInt(time.Now().Unix(), 10))
	}
	if strings.HasSuffix(scenario, ".yaml") {
		abs, err := filepath.Abs(scenario)
		if err != nil {
			t.Fatal(err)
		}
		scenario = abs
	}
	i := hpabench(t, append([]string{"run", "--kubeconfig", kubeconfig, "--out", dir, scenario}, args...)...)
	i.dir = dir
	return i
}

func (i *invocation) follow(stderr io.Reader) {
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		i.mu.Lock()
		i.lines = append(i.lines, lines.Text())
		close(i.more)
		i.more = make(chan struct{})
		i.mu.Unlock()
	}
	err := i.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		i.code = exit.ExitCode()
	}
	close(i.exited)
}

func (i *invocation) stderr() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return strings.Join(i.lines, "\n")
}

// waitFor waits until a line of stderr matches.
func (i *invocation) waitFor(pattern string, timeout time.Duration) {
	i.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(timeout)
	for seen := 0; ; {
		i.mu.Lock()
		lines, more := i.lines, i.more
		i.mu.Unlock()
		for ; seen < len(lines); seen++ {
			if re.MatchString(lines[seen]) {
				return
			}
		}
		select {
		case <-more:
		case <-i.exited:
			i.t.Fatalf("hpabench ended before it said %q", pattern)
		case <-deadline:
			i.t.Fatalf("hpabench did not say %q within %s", pattern, timeout)
		}
	}
}

// wait waits for the end and wants the exit code.
func (i *invocation) wait(code int, timeout time.Duration) {
	i.t.Helper()
	select {
	case <-i.exited:
	case <-time.After(timeout):
		i.t.Fatalf("hpabench did not end within %s", timeout)
	}
	if i.code != code {
		i.t.Fatalf("hpabench ended with %d, want %d", i.code, code)
	}
}

func (i *invocation) record() record.Run {
	i.t.Helper()
	run, err := record.Open(filepath.Join(i.dir, "record.jsonl"))
	if err != nil {
		i.t.Fatal(err)
	}
	return run
}

func (i *invocation) result() *analysis.Result {
	i.t.Helper()
	body, err := os.ReadFile(filepath.Join(i.dir, "result.json"))
	if err != nil {
		i.t.Fatal(err)
	}
	var r analysis.Result
	if err := json.Unmarshal(body, &r); err != nil {
		i.t.Fatal(err)
	}
	return &r
}

// kubectl runs kubectl and returns what it printed.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryKubectl(args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func tryKubectl(args ...string) (string, error) {
	cmd := exec.Command("kubectl", append([]string{"--kubeconfig", kubeconfig}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// apply creates objects from YAML, and deletes them at the end of the test.
func apply(t *testing.T, yaml string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o666); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "apply", "-f", file)
	t.Cleanup(func() { tryKubectl("delete", "--ignore-not-found", "--wait=false", "-f", file) })
}

// wantNothingLeft wants no object with a label of hpabench in the cluster.
func wantNothingLeft(t *testing.T) {
	t.Helper()
	for _, kinds := range []string{"namespaces", "deployments,statefulsets,jobs,services,hpa,leases.coordination.k8s.io,configmaps"} {
		if left := kubectl(t, "get", kinds, "-A", "-l", "hpabench.dev/run", "-o", "name"); strings.TrimSpace(left) != "" {
			t.Errorf("left in the cluster:\n%s", left)
		}
	}
}

// scenario writes a scenario file.
func scenario(t *testing.T, yaml string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "scenario.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o666); err != nil {
		t.Fatal(err)
	}
	return file
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
