package scenarios

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Whatever a kustomization names, nothing is fetched for it: a server on this machine gets
// no connection.
func TestKustomizationFetchesNothing(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections := make(chan string, 1000)
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				close(connections)
				return
			}
			connections <- c.RemoteAddr().String()
			c.Close()
		}
	}()
	host := server.Addr().String()
	const generator = "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: x}\n"
	inline := func(plugin string) string { return "\n- |\n  " + strings.ReplaceAll(plugin, "\n", "\n  ") + "\n" }
	for name, text := range map[string]string{
		"file of a generator":     "generators: [gen.yaml]",
		"generator":               "generators:" + inline(generator+"files: [\"k=http://HOST/x\"]"),
		"generator, escaped":      "generators:" + inline(generator+`files: ["k=http:\x2f\x2fHOST/x"]`),
		"generator, one line":     `generators: ['{apiVersion: builtin, kind: ConfigMapGenerator, metadata: {name: x}, envs: ["http:\x2f\x2fHOST/x"]}']`,
		"transformer":             "transformers:" + inline("apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: x}\npath: \"http:\\x2f\\x2fHOST/x\""),
		"transformer of files":    "transformers:" + inline("apiVersion: builtin\nkind: ReplacementTransformer\nmetadata: {name: x}\nreplacements: [{path: \"http:\\x2f\\x2fHOST/x\"}]"),
		"validator":               "validators:" + inline("apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: x}\npath: \"http:\\x2f\\x2fHOST/x\""),
		"in capitals":             "GENERATORS: [gen.yaml]",
		"files":                   `configMapGenerator: [{name: c, files: ["http:\x2f\x2fHOST/x"]}]`,
		"files with key":          `secretGenerator: [{name: c, files: ["k=http:\x2f\x2fHOST/x"]}]`,
		"envs":                    "configMapGenerator: [{name: c, envs: ['HTTP://HOST/x']}]",
		"env":                     "secretGenerator: [{name: c, env: 'http://HOST/x'}]",
		"patch":                   "patches: [{path: 'http://HOST/x'}]",
		"JSON patch":              "patchesJson6902: [{target: {kind: Deployment, name: shop, version: v1}, path: 'http://HOST/x'}]",
		"strategic merge":         "patchesStrategicMerge: ['http://HOST/x']",
		"replacements":            "replacements: [{path: 'http://HOST/x'}]",
		"crds":                    "crds: ['http://HOST/x']",
		"configurations":          "configurations: ['http://HOST/x']",
		"openapi":                 "openapi: {path: 'http://HOST/x'}",
		"resource":                "resources: ['http://HOST/x']",
		"resource, on two lines":  "resources:\n- |\n  http://HOST/x\n",
		"bases":                   "bases: ['http://HOST/x']",
		"component":               "components: ['http://HOST/x//y?ref=v1']",
		"forced git":              "resources: ['git::http://HOST/a/b.git']",
		"ssh":                     "resources: ['ssh://git@HOST/a/b']",
		"ssh, on two lines":       "resources:\n- |\n  git@127.0.0.1:a/b\n",
		"chart":                   "helmCharts: [{name: c, repo: 'http://HOST/x'}]",
		"plugins of an alias":     "metadata: {name: &g gen.yaml}\ngenerators: [*g]",
		"with annotation of text": "commonAnnotations: {a: 'https://b'}\nresources: ['http://HOST/x']",
	} {
		for where, dir := range map[string]string{"itself": "top", "base": "base", "component": "component", "symlink": "linked"} {
			t.Run(name+"/"+where, func(t *testing.T) {
				files := map[string]string{
					"top/kustomization.yaml":       "resources: [../base]\ncomponents: [../component]\n",
					"base/kustomization.yaml":      "namePrefix: a-\nresources: [../linked]\n",
					"linked/other.yaml":            "resources: [shop.yaml]\n",
					"linked/shop.yaml":             shop,
					"component/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -b\n",
				}
				file := dir + "/kustomization.yaml"
				if dir == "linked" {
					file = "linked/other.yaml" // to which its kustomization.yaml points
				}
				hostile := strings.ReplaceAll(text, "HOST", host) + "\n"
				if dir == "component" {
					hostile = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n" + hostile
				}
				files[file], files[dir+"/gen.yaml"] = hostile, generator+"files: [\"k=http://"+host+"/x\"]\n"
				t.Chdir(t.TempDir())
				for name, text := range files {
					if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.Symlink("other.yaml", "linked/kustomization.yaml"); err != nil {
					t.Skip(err)
				}
				var c checker
				c.build("top/kustomization.yaml")
				if len(c.faults) == 0 || !strings.HasSuffix(c.faults[0].File, file) && !strings.HasSuffix(c.faults[0].File, dir+"/kustomization.yaml") || strings.Contains(c.faults.Error(), "cannot build") {
					t.Errorf("the faults are %v", c.faults)
				}
			})
		}
	}
	server.Close()
	for from := range connections {
		t.Errorf("a connection from %s", from)
	}
}

// Text that is no name of a file may look like an address.
func TestKustomizationText(t *testing.T) {
	for name, text := range map[string]string{
		"annotations":    "generatorOptions: {annotations: {a: 'https://example.com/x'}, labels: {b: c}}\nconfigMapGenerator: [{name: c, literals: ['a=git@github.com:a/b']}]\n",
		"source value":   "replacements: [{sourceValue: 'nginx:1', targets: [{select: {kind: Deployment}, fieldPaths: ['spec.template.spec.containers.0.image']}]}]\n",
		"merge":          "patchesStrategicMerge:\n- |\n  apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: shop, annotations: {a: 'https://example.com/x'}}\n- '{apiVersion: apps/v1, kind: Deployment, metadata: {name: shop, annotations: {b: \"https://example.com/x\"}}}'\n",
		"two generators": "configMapGenerator: [{name: a, files: [big]}, {name: b, files: [other, k=big]}, {name: c, files: [more]}]\n",
		"image":          "images: [{name: nginx, newName: 'registry.example.com:5000/nginx', digest: 'sha256:" + strings.Repeat("0", 64) + "'}]\n",
		"annotation":     "commonAnnotations: {a: 'https://github.com/a/b?ref=c'}\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := written(t, "k8s", map[string]string{"k8s/kustomization.yaml": "resources: [shop.yaml, front.yaml, scaler.yaml]\n" + text,
				"k8s/shop.yaml": shop, "k8s/front.yaml": front, "k8s/scaler.yaml": scaler,
				"k8s/big": strings.Repeat("x", 500<<10), "k8s/other": strings.Repeat("x", 500<<10), "k8s/more": strings.Repeat("x", 500<<10)}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A kustomization that kustomize cannot take, or stops over, is one fault on one line.
func TestKustomizationThatStops(t *testing.T) {
	binding := "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: a}\nsubjects: [null, {kind: ServiceAccount}]\n"
	for name, c := range map[string][3]string{
		"image":              {"resources: [shop.yaml]\nimages: [{name: 'nginx[', newTag: x}]\n", "", "k/kustomization.yaml:1: kustomize cannot build it: it has a value that kustomize cannot take"},
		"subjects":           {"resources: [shop.yaml, x.yaml]\nnamespace: a\n", binding, "k/kustomization.yaml:1: kustomize cannot build it: it has a value"},
		"name of lines":      {"resources: [shop.yaml]\npatches: [{path: \"a\\nb\"}]\n", "", "k/kustomization.yaml:1: kustomize cannot build it: "},
		"file of 2 MiB":      {"resources: [shop.yaml]\nconfigMapGenerator: [{name: x, files: [x.yaml]}]\n", strings.Repeat("x", 2<<20), "k/x.yaml:1: the file has more than 1 MiB, which is the most that a ConfigMap"},
		"Secret of 2 MiB":    {"resources: [shop.yaml]\nsecretGenerator: [{name: x, files: ['k=./x.yaml']}]\n", strings.Repeat("x", 2<<20), "k/x.yaml:1: the file has more than 1 MiB"},
		"files of 1.4 MiB":   {"resources: [shop.yaml]\nconfigMapGenerator: [{name: x, files: [x.yaml, y.yaml]}]\n", strings.Repeat("x", 700<<10), "k/y.yaml:1: with this file, the files of one generator have more than 1 MiB"},
		"variables of 2 MiB": {"resources: [shop.yaml]\nsecretGenerator: [{name: x, envs: [x.yaml]}]\n", "A=" + strings.Repeat("x", 2<<20), "k/x.yaml:1: the file has more than 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := written(t, "k", map[string]string{"k/kustomization.yaml": c[0], "k/shop.yaml": shop, "k/x.yaml": c[1], "k/y.yaml": c[1]})
			if err == nil || !strings.HasPrefix(err.Error(), c[2]) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v\nwant %s", err, c[2])
			}
		})
	}
}

// What kustomize warns of, with the text of its files, is not printed past the output of the
// command.
func TestKustomizeWarnsNowhere(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, logged := os.Stderr, log.Writer()
	os.Stderr = write
	log.SetOutput(write)
	_, err = written(t, "k", map[string]string{"k/kustomization.yaml": "resources: [all.yaml]\ncommonLabels: {a: b}\npatchesStrategicMerge: []\n" +
		"vars: [{name: \"X\\e[31m\\n::error::x\", objref: {kind: Deployment, name: shop, apiVersion: apps/v1}}]\n", "k/all.yaml": shop + "---\n" + front + "---\n" + scaler})
	log.Print("after")
	log.SetOutput(logged)
	os.Stderr = stderr
	write.Close()
	printed, _ := io.ReadAll(read)
	if err != nil || !strings.HasSuffix(string(printed), "after\n") || strings.Count(string(printed), "\n") != 1 {
		t.Errorf("%v, and %q was printed", err, printed)
	}
}

// Bases that are reached on more ways than can be walked end in a fault, and soon.
func TestKustomizationOfManyWays(t *testing.T) {
	t.Run("symlinks", func(t *testing.T) {
		t.Chdir(t.TempDir())
		if err := os.WriteFile("kustomization.yaml", []byte("resources: [a, b]\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b"} {
			if err := os.Symlink(".", name); err != nil {
				t.Skip(err)
			}
		}
		refusedSoon(t, "kustomization.yaml", "cycle")
	})
	t.Run("bases", func(t *testing.T) {
		t.Chdir(t.TempDir())
		for depth := range 40 {
			for _, twin := range []string{"a", "b"} {
				dir := fmt.Sprint(twin, depth)
				if err := os.Mkdir(dir, 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(dir+"/kustomization.yaml", fmt.Appendf(nil, "resources: [../a%[1]d, ../b%[1]d]\n", depth+1), 0o666); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, dir := range []string{"a40", "b40"} {
			if err := os.Mkdir(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(dir+"/kustomization.yaml", []byte("namespace: x\n"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		refusedSoon(t, "a0/kustomization.yaml", "kustomize reads more than 2000 files")
	})
}

func refusedSoon(t *testing.T, file, want string) {
	t.Helper()
	done := make(chan Faults, 1)
	go func() {
		var c checker
		c.build(file)
		done <- c.faults
	}()
	select {
	case faults := <-done:
		if !strings.Contains(faults.Error(), want) {
			t.Errorf("the faults are %v, want %s", faults, want)
		}
	case <-time.After(time.Minute):
		t.Fatal("it is still read after a minute")
	}
}
