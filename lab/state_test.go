package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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

func TestALabThatLivesIsLeftAlone(t *testing.T) {
	dir := root(t)
	alive, err := open(dir, "alive")
	if err != nil {
		t.Fatal(err)
	}
	other, err := open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(other.dir); !os.IsNotExist(err) {
		t.Errorf("the folder of a lab that has been closed: %v, want it gone", err)
	}
	if _, err := os.Stat(alive.file("pid")); err != nil {
		t.Errorf("the folder of the lab that lives: %v", err)
	}
	if _, err := open(dir, "alive"); err == nil || !strings.Contains(err.Error(), "running already as process ") {
		t.Errorf("a second lab of the name: %v, want an error that names the process", err)
	}
	if err := alive.close(); err != nil {
		t.Fatal(err)
	}
	again, err := open(dir, "alive")
	if err != nil {
		t.Fatalf("the name of a lab that has been closed: %v", err)
	}
	if err := again.close(); err != nil {
		t.Fatal(err)
	}
}

func TestNamesAndPathsThatCannotBe(t *testing.T) {
	dir := root(t)
	for _, name := range []string{"..", "a/b", "Upper", "-", strings.Repeat("a", 33)} {
		if s, err := open(dir, name); err == nil {
			t.Errorf("the name %q was taken: %s", name, s.dir)
		}
	}
	deep := filepath.Join(dir, strings.Repeat("d", 100))
	if _, err := open(deep, "a"); err == nil || !strings.Contains(err.Error(), "shorter folder") {
		t.Errorf("a folder whose path is too long for a socket: %v, want a hint", err)
	}
	if left, err := filepath.Glob(filepath.Join(deep, "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}
