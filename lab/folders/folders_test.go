package folders

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
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

func take(t *testing.T, root, name string) *Folder {
	t.Helper()
	f, err := Open(t.Context(), root, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestALabThatLivesIsLeftAlone(t *testing.T) {
	dir := root(t)
	alive := take(t, dir, "alive")
	other := take(t, dir, "")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(other.Dir); !os.IsNotExist(err) {
		t.Errorf("the folder of a lab that has been closed: %v, want it gone", err)
	}
	if _, err := os.Stat(alive.File(pidFile)); err != nil {
		t.Errorf("the folder of the lab that lives: %v", err)
	}
	if is, err := Alive(t.Context(), dir, "alive", nil); err != nil || !is || PID(dir, "alive") != os.Getpid() {
		t.Errorf("alive: %v, %v, process %d", is, err, PID(dir, "alive"))
	}
	_, err := Open(t.Context(), dir, "alive", nil)
	if err == nil || !strings.Contains(err.Error(), "runs already as process ") || !strings.Contains(err.Error(), filepath.Base(os.Args[0])) {
		t.Errorf("a second lab of the name: %v, want an error that names the process and its command", err)
	}
	if err := alive.Close(); err != nil {
		t.Fatal(err)
	}
	if is, err := Alive(t.Context(), dir, "alive", nil); err != nil || is {
		t.Errorf("closed, alive: %v, %v", is, err)
	}
	if err := take(t, dir, "alive").Close(); err != nil {
		t.Fatalf("the name of a lab that has been closed: %v", err)
	}
}

func TestAKilledLabIsSwept(t *testing.T) {
	dir := root(t)
	killed := take(t, dir, "killed")
	if err := os.WriteFile(killed.File("tokens.csv"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	killed.lock.file.Close() // as the system does
	if err := Sweep(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(killed.Dir); !os.IsNotExist(err) {
		t.Errorf("its folder: %v, want it gone", err)
	}
}

func TestNamesAndPathsThatCannotBe(t *testing.T) {
	dir := root(t)
	for _, name := range []string{"..", "a/b", "Upper", "-", strings.Repeat("a", 33)} {
		if f, err := Open(t.Context(), dir, name, nil); !errors.Is(err, ErrName) {
			t.Errorf("the name %q: %v, %v", name, f, err)
		}
	}
	deep := filepath.Join(dir, strings.Repeat("d", 100))
	if _, err := Open(t.Context(), deep, "a", nil); err == nil || !strings.Contains(err.Error(), "shorter folder") {
		t.Errorf("a folder whose path is too long for a socket: %v, want a hint", err)
	}
	if left, err := filepath.Glob(filepath.Join(deep, "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// A lock that somebody holds is waited for with a word on who holds it, until it is
// free or the waiting is given up.
func TestAHeldLockIsSaid(t *testing.T) {
	dir := root(t)
	file := filepath.Join(dir, lockFile)
	held, err := Lock(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	wants := []string{"process ", filepath.Base(os.Args[0]), " since ", file}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	interrupted := errors.New("interrupted")
	var said []string
	_, err = Open(ctx, dir, "a", func(line string) {
		said = append(said, line)
		cancel(interrupted)
	})
	if !errors.Is(err, interrupted) || len(said) != 1 {
		t.Fatalf("said %q, then %v", said, err)
	}
	for _, want := range wants {
		if !strings.Contains(said[0], want) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q and %q, want them to say %q", said[0], err, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "a")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}

	got := make(chan error, 1)
	go func() {
		l, err := Lock(t.Context(), file, nil)
		if err == nil {
			l.Remove()
		}
		got <- err
	}()
	time.Sleep(3 * lockLook)
	held.Remove() // the one that waits does not take the lock of a file that is gone
	if err := <-got; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the lock's file: %v, want it gone", err)
	}
}

// Who holds a lock without having written so is found by the open file.
func TestAStrangerHoldsTheLock(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux knows who has a file open")
	}
	dir := root(t)
	file := filepath.Join(dir, lockFile)
	if err := os.WriteFile(file, []byte(`{"pid":999999999,"command":["long","gone"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	stranger, stop := hold(t, file)
	defer stop()
	if got := holderOf(file); !strings.HasPrefix(got, "process "+stranger+" (sleep 60) since ") {
		t.Errorf("the holder is %q, want process %s and its command", got, stranger)
	}
}

func TestAFolderThatOthersCanChange(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows keeps a user's folder for caches from others")
	}
	base := root(t)
	home := filepath.Join(base, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	for _, c := range []struct {
		name string
		make func(dir string) error // of the folder within which that of labs is to be
		want string                 // in the error; empty: none
	}{
		{"of our own", func(dir string) error { return os.Mkdir(dir, 0o700) }, ""},
		{"that is not there", func(string) error { return nil }, ""},
		{"that others may read", func(dir string) error { return os.MkdirAll(filepath.Join(dir, "labs"), 0o755) }, ""},
		{"within one that a group may change", func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Dir(dir)+"/shared", 0o700), os.Chown(filepath.Dir(dir)+"/shared", -1, 65534), os.Chmod(filepath.Dir(dir)+"/shared", os.ModeSetgid|0o775),
				os.Mkdir(filepath.Dir(dir)+"/shared/hpabench", 0o700), os.Symlink("shared/hpabench", dir))
		}, "group 65534 may rename"},
		{"that everybody may change", func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777)) }, "everybody may rename"},
		{"that everybody may add to", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777|os.ModeSticky))
		}, ""},
		{"of another user", func(dir string) error { return errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, 65534, 65534)) }, "belongs to another user (uid 65534"},
		{"with labs of another user", func(dir string) error {
			labs := filepath.Join(dir, "labs")
			return errors.Join(os.MkdirAll(labs, 0o777), os.Chown(labs, 65534, 65534))
		}, "belongs to another user (uid 65534"},
		{"that a link of another user names", func(dir string) error {
			theirs := dir + "-theirs"
			return errors.Join(os.Mkdir(theirs, 0o755), os.Chown(theirs, 65534, 65534), os.Symlink(theirs, dir))
		}, "belongs to another user (uid 65534"},
	} {
		if strings.Contains(c.want, "65534") && os.Geteuid() != 0 {
			t.Logf("SKIPPED as only root can give folders away: a folder %s", c.name)
			continue
		}
		dir := filepath.Join(base, strings.ReplaceAll(c.name, " ", "-"))
		if err := c.make(dir); err != nil {
			t.Fatal(err)
		}
		labs := filepath.Join(dir, "labs")
		f, err := Open(t.Context(), labs, "a", nil)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("a folder %s: %v, want %q", c.name, err, c.want)
			}
			if left, _ := filepath.Glob(filepath.Join(labs, "*")); len(left) > 0 {
				t.Errorf("a folder %s: it left %v", c.name, left)
			}
			continue
		}
		if err != nil {
			t.Errorf("a folder %s: %v", c.name, err)
			continue
		}
		for _, path := range []string{labs, f.Dir} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("a folder %s: the mode of %s is %v, %v, want 0700", c.name, path, info.Mode(), err)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// hold starts a process of another program that has a file open.
func hold(t *testing.T, file string) (pid string, stop func()) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	return strconv.Itoa(cmd.Process.Pid), func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
}
