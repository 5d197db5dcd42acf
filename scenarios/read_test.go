package scenarios

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what the faults are now into testdata/faults")

// among opens manifests among the files of an archive.
func among(a *txtar.Archive) Open {
	return func(name string) (string, []byte, error) {
		for _, f := range a.Files {
			if f.Name == name {
				return name, f.Data, nil
			}
		}
		return "", nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
}

func nowhere(name string) (string, []byte, error) {
	return "", nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func faultFiles(t testing.TB) map[string]*txtar.Archive {
	files, err := filepath.Glob("testdata/faults/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no files in testdata/faults", err)
	}
	archives := map[string]*txtar.Archive{}
	for _, file := range files {
		if archives[file], err = txtar.ParseFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return archives
}

// Every archive holds a scenario.yaml, its manifests, and the faults that are wanted.
func TestFaults(t *testing.T) {
	for file, a := range faultFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			_, err := Parse("scenario.yaml", a.Files[0].Data, among(a))
			var faults Faults
			if !errors.As(err, &faults) {
				t.Fatalf("Parse gave %v, no faults", err)
			}
			got, last := faults.Error()+"\n", len(a.Files)-1
			if *update {
				if a.Files[last].Name != "want" {
					a.Files, last = append(a.Files, txtar.File{Name: "want"}), last+1
				}
				a.Files[last].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(a), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if a.Files[last].Name != "want" {
				t.Fatal("no faults are wanted; run with -update and look at the diff")
			}
			if diff := cmp.Diff(string(a.Files[last].Data), got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// The pod template is open: whatever the API server takes is no fault here.
func TestWholePodTemplate(t *testing.T) {
	f, err := Read("testdata/good/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.PodTemplate().Spec.Containers; len(got) != 2 || got[0].Name != "main" || len(got[0].Ports) != 2 {
		t.Errorf("containers %+v, want main with its two ports first, then logs", got)
	}
	if got := f.Requests()[0][0].Method; got != "POST" {
		t.Errorf("the method with a body is %s, want POST", got)
	}
}

func TestRead(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, file := range []string{"demo-nginx", "scenarios/demo-nginx.yaml"} {
		f, err := Read(file)
		if err != nil {
			t.Fatal(err)
		}
		if !f.Embedded || f.Path != file || f.Metadata.Name != "demo-nginx" {
			t.Errorf("Read(%q) gave %s, embedded %v", file, f.Metadata.Name, f.Embedded)
		}
	}
	for file, want := range map[string]string{
		"demo-ngnix":            "reading scenario demo-ngnix: no such file (did you mean demo-nginx? hpabench scenarios lists those of the library)",
		"demo-nginx.yaml":       "reading scenario demo-nginx.yaml: no such file",
		"other/demo-nginx.yaml": "reading scenario other/demo-nginx.yaml: no such file",
		"scenarios/demo-nginx":  "reading scenario scenarios/demo-nginx: no such file",
		".":                     "reading scenario .: is a directory",
	} {
		if _, err := Read(file); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Read(%q): %v, want %s…", file, err, want)
		}
	}
	// A file goes before the library, and its manifests stand beside it.
	if err := os.CopyFS(".", os.DirFS(filepath.Join(cwd, "testdata/good/manifests"))); err != nil {
		t.Fatal(err)
	}
	f, err := Read("scenarios/demo-nginx.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if f.Embedded || len(f.Manifests) != 4 || f.Manifests[0].File != filepath.Join("scenarios", "objects/web.yaml") {
		t.Errorf("embedded %v, manifests %v", f.Embedded, f.Manifests)
	}
}

var cwd, _ = os.Getwd()

func TestFaultPointsToALine(t *testing.T) {
	f, err := Read("demo-nginx")
	if err != nil {
		t.Fatal(err)
	}
	line := func(text string) int {
		before, _, found := strings.Cut(string(f.Source), text)
		if !found {
			t.Fatalf("no %q in the file", text)
		}
		return strings.Count(before, "\n") + 1
	}
	for path, want := range map[string]int{
		"spec.expect[1]":                line("- scaleUp.inService"),
		"/spec/expect/1":                line("- scaleUp.inService"),
		"spec.load.phases[2].duration":  line("name: calm"),
		"spec.workload.deployment.args": line("deployment:"),
		"nowhere":                       line("apiVersion"),
	} {
		if got := f.Fault(path, "m", "h"); got != (Fault{"demo-nginx", want, "m", "h"}) {
			t.Errorf("Fault(%q) = %+v, want line %d", path, got, want)
		}
	}
}

// TestFaultIsALine whatever the names in it are.
func TestFaultIsALine(t *testing.T) {
	if got := (Fault{"a\nb.yaml", 3, "manifest c\n::error::d", "h"}).Error(); got != `a\nb.yaml:3: manifest c\n::error::d (h)` {
		t.Error(got)
	}
	if got := (Fault{"a.yaml", 3, strings.Repeat("ä", 100_000), "h"}).Error(); len(got) > 2100 || !strings.HasSuffix(got, "ä… (h)") {
		t.Errorf("%d bytes", len(got))
	}
}
