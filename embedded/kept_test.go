package embedded

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// home gives the test a home and a cache folder of its own.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "LocalAppData", "USERPROFILE"} {
		t.Setenv(name, dir)
	}
	t.Setenv("KUBECONFIG", "")
	return dir
}

func write(t *testing.T, file, server string, contexts ...string) {
	t.Helper()
	c := clientcmdapi.NewConfig()
	for _, name := range contexts {
		c.Clusters[name] = &clientcmdapi.Cluster{Server: server}
		c.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: name}
		c.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
		c.CurrentContext = contexts[0]
	}
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		t.Fatal(err)
	}
}

// show is the current context and the server of each, of a kubeconfig file.
func show(t *testing.T, file string) string {
	t.Helper()
	c, err := clientcmd.LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := "current " + c.CurrentContext
	for _, name := range []string{"one", "two", "hpabench-lab"} {
		if context := c.Contexts[name]; context != nil {
			s += ", " + name + " " + c.Clusters[context.Cluster].Server + " " + c.AuthInfos[context.AuthInfo].Token
		}
	}
	return s
}

func TestKubeconfig(t *testing.T) {
	dir := home(t)
	k := &Kept{Name: DefaultName}
	write(t, k.Kubeconfig(), "https://lab", "theirs")
	file := filepath.Join(dir, "config")
	write(t, file, "https://real", "one", "two")
	before := show(t, file)

	e, err := enter(k, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := show(t, file), "current hpabench-lab, one https://real one, two https://real two, hpabench-lab https://lab theirs"; got != want {
		t.Errorf("up: %s, want %s", got, want)
	}
	// A lab that was killed is still entered; what was current before it stays known.
	write(t, k.Kubeconfig(), "https://another", "theirs")
	if e, err = enter(k, file, e); err != nil {
		t.Fatal(err)
	}
	if got := show(t, file); !strings.HasSuffix(got, "hpabench-lab https://another theirs") {
		t.Errorf("up again: %s", got)
	}
	if err := e.leave(); err != nil {
		t.Fatal(err)
	}
	if got := show(t, file); got != before || e.Restored != "one" {
		t.Errorf("down: %s, restored %q, want %s", got, e.Restored, before)
	}

	// The user's own choice since then stays.
	if e, err = enter(k, file, nil); err != nil {
		t.Fatal(err)
	}
	c, _ := clientcmd.LoadFromFile(file)
	c.CurrentContext = "two"
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		t.Fatal(err)
	}
	if err := e.leave(); err != nil {
		t.Fatal(err)
	}
	if got, want := show(t, file), "current two, one https://real one, two https://real two"; got != want {
		t.Errorf("down after another choice: %s, want %s", got, want)
	}
}

// Of several files in KUBECONFIG each keeps what is its own, and the lab leaves
// them as they were even if KUBECONFIG is another by then.
func TestSeveralKubeconfigs(t *testing.T) {
	dir := home(t)
	k := &Kept{Name: DefaultName}
	write(t, k.Kubeconfig(), "https://lab", "theirs")
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	write(t, first, "https://first", "one")
	write(t, second, "https://second", "two")
	was := []string{show(t, first), show(t, second)}
	t.Setenv("KUBECONFIG", strings.Join([]string{first, second}, string(filepath.ListSeparator)))
	e, err := enter(k, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if c, err := rules.GetStartingConfig(); err != nil || c.CurrentContext != "hpabench-lab" || len(c.Contexts) != 3 {
		t.Errorf("kubectl would see %+v, %v", c, err)
	}
	t.Setenv("KUBECONFIG", "")
	if err := e.leave(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(was, []string{show(t, first), show(t, second)}); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

func TestNoKubeconfigYet(t *testing.T) {
	dir := home(t)
	k := &Kept{Name: DefaultName}
	write(t, k.Kubeconfig(), "https://lab", "theirs")
	file := filepath.Join(dir, "none", "config")
	e, err := enter(k, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := show(t, file), "current hpabench-lab, hpabench-lab https://lab theirs"; got != want || e.Before != "" {
		t.Errorf("up: %s, want %s", got, want)
	}
	if err := e.leave(); err != nil {
		t.Fatal(err)
	}
	if got := show(t, file); got != "current " {
		t.Errorf("down: %s", got)
	}
}

// A folder without a lock that is held is not a lab, whatever its pid file says:
// that may be a stranger's by now.
func TestFind(t *testing.T) {
	home(t)
	if k, err := Find(t.Context(), DefaultName, nil); k != nil || err != nil {
		t.Errorf("without any folder: %v, %v", k, err)
	}
	k := &Kept{Name: DefaultName, Options: Options{Timing: "fast"}}
	folder := filepath.Dir(k.Kubeconfig())
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"pid": "1\n", "lock": "", "../lock": ""} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.remember(); err != nil {
		t.Fatal(err)
	}
	if found, err := Find(t.Context(), DefaultName, nil); found != nil || err != nil {
		t.Errorf("of a lab that was killed: %v, %v", found, err)
	}
	lock, err := fileutil.TryLockFile(filepath.Join(folder, "lock"), os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	found, err := Find(t.Context(), DefaultName, nil)
	if err != nil || found == nil {
		t.Fatalf("of a lab that lives: %v, %v", found, err)
	}
	if diff := cmp.Diff(k, found, cmpopts.IgnoreUnexported(Kept{})); diff != "" || found.PID() != 1 {
		t.Errorf("pid %d (-written +read):\n%s", found.PID(), diff)
	}
	if all, err := All(t.Context(), nil); err != nil || len(all) != 1 {
		t.Errorf("all: %v, %v", all, err)
	}
	ended := found.Ended(t.Context())
	select {
	case <-ended:
		t.Error("a lab that lives has ended")
	case <-time.After(2 * endedEvery):
	}
	lock.Close()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("that a lab has ended is not noticed")
	}
}

func TestAllows(t *testing.T) {
	k := &Kept{Name: "x", Options: Options{Flags: []string{"nodes=20"}}}
	for _, o := range []Options{{}, {Timing: "real"}, {Flags: []string{"nodes=20"}}} {
		if err := k.Allows(o); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, o := range []Options{{Timing: "fast"}, {Flags: []string{"nodes=10"}}, {Flags: []string{"nodes=20", "node-cpu=2"}}} {
		if k.Allows(o) == nil {
			t.Errorf("%+v is not what is up", o)
		}
	}
}

func TestTail(t *testing.T) {
	var said tail
	if said.String() != "" {
		t.Errorf("of nothing: %q", &said)
	}
	for range 1000 {
		said.Write([]byte("before\n"))
	}
	said.Write([]byte("last words\n"))
	lines := strings.Split(said.String(), "\n")
	if len(lines) != tailLines+1 || lines[tailLines] != "last words" {
		t.Errorf("%q", lines)
	}
}
