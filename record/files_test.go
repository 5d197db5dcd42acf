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
		if _, _, err := Files(dir); err == nil {
			t.Errorf("%s: folders without records were taken", name)
		}
		for _, file := range want {
			if err := os.WriteFile(file, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(want)
		if got, trials, err := Files(dir); err != nil || !trials || !slices.Equal(got, want) {
			t.Errorf("%s: %q, trials %t, %v", name, got, trials, err)
		}
		one := filepath.Join(dir, "[2]")
		for _, name := range []string{one, filepath.Join(one, File)} {
			if got, trials, err := Files(name); err != nil || trials || !slices.Equal(got, []string{filepath.Join(one, File)}) {
				t.Errorf("%s: %q, trials %t, %v", name, got, trials, err)
			}
		}
	}
}
