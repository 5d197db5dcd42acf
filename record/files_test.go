package record

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The names of folders are names, and no patterns.
func TestFiles(t *testing.T) {
	for _, name := range []string{"tr", "tr[1]", "a*", "what?", `b\c`, "[", "{x,y}"} {
		dir := filepath.Join(t.TempDir(), name)
		var want []string
		for _, trial := range []string{"1", "[2]", "*"} {
			if err := os.MkdirAll(filepath.Join(dir, trial), 0o755); err != nil {
				t.Fatal(err)
			}
			want = append(want, filepath.Join(dir, trial, File))
		}
		if _, err := Files(dir); err == nil {
			t.Errorf("%s: folders without records were taken", name)
		}
		for _, file := range want {
			if err := os.WriteFile(file, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(want)
		if got, err := Files(dir); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if got := Folders(dir); len(got) != 3 || filepath.Join(got[0], File) != want[0] {
			t.Errorf("%s: folders %q", name, got)
		}
		if got, above := Folders(filepath.Dir(dir)), []string{dir}; !slices.Equal(got, above) {
			t.Errorf("above %s: folders %q", name, got)
		}
		one := filepath.Join(dir, "[2]")
		for _, name := range []string{one, filepath.Join(one, File)} {
			if got, err := Files(name); err != nil || len(Folders(name)) > 0 || !slices.Equal(got, []string{filepath.Join(one, File)}) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
	}
}
