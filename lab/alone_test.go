//go:build unix

package lab

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// nobody is the user as whom the lab's endpoints are tried.
const nobody = 65534

// TestTheLabIsItsUsersAlone tries, as another user, every address at which this
// process listens: unix sockets refuse the connection, and the one TCP server, that
// of the API, answers nothing without credentials.
func TestTheLabIsItsUsersAlone(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux lists the addresses at which a process listens")
	}
	l, client := theLab(t)
	for _, path := range []string{l.state.Dir, l.state.File("etcd"), l.Kubeconfig(), l.state.File(tokenFile), l.state.File(keyFile), l.state.File(logFile)} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("the mode of %s is %v, %v: others can read it", path, info.Mode(), err)
		}
	}
	endpoints := listening(t)
	services, err := client.CoreV1().Services(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range services.Items { // of other tests; their pods answer everybody
		for _, port := range s.Spec.Ports {
			endpoints = slices.DeleteFunc(endpoints, func(e string) bool { return e == fmt.Sprintf("tcp:127.0.0.1:%d", port.NodePort) })
		}
	}
	t.Logf("listening: %s", endpoints)
	for _, e := range endpoints {
		if strings.HasPrefix(e, "unix:@") {
			t.Errorf("%s is an abstract socket, which has no permissions", e)
		}
	}
	for _, want := range []string{"unix:" + l.state.File(etcdSocket), "unix:" + l.state.File(nodesSocket), "tcp:" + strings.TrimPrefix(l.config.Host, "https://")} {
		if !slices.Contains(endpoints, want) {
			t.Errorf("%s is not among the addresses at which this process listens: this test looks in the wrong place", want)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can try the addresses as another user")
	}
	cmd := exec.Command("/proc/self/exe") // the folder of the test's binary is root's alone
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), probeEndpoints+"="+strings.Join(endpoints, " "))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("probing as user %d: %v", nobody, err)
	}
	answers := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(answers) < len(endpoints) {
		t.Errorf("only %d answers of %d addresses", len(answers), len(endpoints))
	}
	api := 0
	for _, line := range answers {
		switch endpoint, answer, _ := strings.Cut(line, " "); {
		case strings.HasPrefix(endpoint, "unix:") && strings.HasSuffix(answer, "permission denied"):
		case strings.HasPrefix(endpoint, "tcp:"+strings.TrimPrefix(l.config.Host, "https://")) && answer == "401":
			api++
		case strings.HasPrefix(endpoint, "tcp:") && answer == "silent": // the guard of the node ports
		default:
			t.Errorf("user %d at %s: %q", nobody, endpoint, answer)
		}
	}
	if api != len(probePaths) {
		t.Errorf("the API server refused %d of %d paths", api, len(probePaths))
	}
}

// listening is the addresses at which this process listens.
func listening(t *testing.T) (endpoints []string) {
	t.Helper()
	ours := map[string]bool{}
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, "socket:[") {
			ours[strings.Trim(to, "socket:[]")] = true
		}
	}
	lines := func(file string) (fields [][]string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			fields = append(fields, strings.Fields(line))
		}
		return fields[1:]
	}
	const acceptsUnix, listensTCP = "00010000", "0A"
	for _, f := range lines("/proc/net/unix") { // Num RefCount Protocol Flags Type St Inode Path
		if len(f) >= 7 && f[3] == acceptsUnix && ours[f[6]] {
			endpoints = append(endpoints, "unix:"+strings.Join(f[7:], ""))
		}
	}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} { // sl local_address rem_address st … inode
		for _, f := range lines(file) {
			if f[3] != listensTCP || !ours[f[9]] {
				continue
			}
			host, port, _ := strings.Cut(f[1], ":")
			number, err := strconv.ParseInt(port, 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			if host != "0100007F" { // 127.0.0.1, on little-endian machines
				t.Errorf("port %d is open to other machines (%s)", number, host)
			}
			endpoints = append(endpoints, fmt.Sprintf("tcp:127.0.0.1:%d", number))
		}
	}
	return endpoints
}

// probePaths are what an API server may show to anybody, and what it never does.
var probePaths = []string{"/version", "/healthz", "/api", "/openapi/v2", "/metrics", "/api/v1/namespaces", "/api/v1/secrets", "/apis/metrics.k8s.io/v1beta1/nodes"}

// probe prints a line for each unix socket, "unix:PATH ERROR", and for each path at
// a TCP port, "tcp:ADDRESS STATUS"; "silent" for a port that does not talk.
func probe(endpoints []string) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, e := range endpoints {
		network, address, _ := strings.Cut(e, ":")
		conn, err := net.Dial(network, address)
		if err != nil {
			fmt.Println(e, err)
			continue
		}
		if network == "unix" {
			fmt.Println(e, "connected")
			continue
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := bufio.NewReader(conn).ReadByte(); err != nil {
			fmt.Println(e, "silent")
			continue
		}
		_ = conn.Close()
		for _, path := range probePaths {
			answer, err := client.Get("https://" + address + path)
			if err != nil {
				fmt.Println(e, err)
				continue
			}
			_ = answer.Body.Close()
			fmt.Println(e, answer.StatusCode)
		}
	}
}
