package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// state is the folder of one lab. The lock in it is held for as long as the lab
// lives: the operating system releases it when the process ends, in whatever
// way, so that what a killed lab left can be told from a lab that lives.
type state struct {
	dir  string
	lock *fileutil.LockedFile
}

func (s *state) file(name string) string { return filepath.Join(s.dir, name) }

// maxSocketPath is what fits into a socket address on all systems (104 bytes on
// macOS, 108 on Linux, each with a final zero).
const maxSocketPath = 100

// nodesSocket has the longest name of a lab's sockets.
const nodesSocket = "nodes.sock"

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// Root is the folder that holds a folder for each lab of this user.
func Root() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the folder for the state of labs: %w", err)
	}
	return filepath.Join(cache, "hpabench", "labs"), nil
}

// open makes the folder of a lab within root, by a fresh name if none is given,
// after it has removed what killed labs left there.
func open(root, name string) (*state, error) {
	if name != "" && !validName.MatchString(name) {
		return nil, fmt.Errorf("the name of a lab has up to 32 small letters, digits and dashes, unlike %q", name)
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for the state of labs: %w", err)
	}
	unlock, err := lockRoot(root)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := sweep(root); err != nil {
		return nil, err
	}

	dir := filepath.Join(root, name)
	if name == "" {
		dir, err = os.MkdirTemp(root, "lab-")
	} else if err = os.Mkdir(dir, 0o700); errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("a lab named %s is running already%s: choose another name, or stop it", name, pidOf(dir))
	}
	if err != nil {
		return nil, fmt.Errorf("making the folder of the lab: %w", err)
	}
	s := &state{dir: dir}
	if longest := s.file(nodesSocket); len(longest) > maxSocketPath {
		err = fmt.Errorf("%s is too long for the path of a socket (%d bytes): choose a shorter folder for a user's caches (XDG_CACHE_HOME on Linux)", longest, maxSocketPath)
	} else if s.lock, err = fileutil.TryLockFile(s.file("lock"), os.O_CREATE|os.O_RDWR, 0o600); err == nil {
		err = os.WriteFile(s.file("pid"), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing the folder of the lab: %w", err), s.remove())
	}
	return s, nil
}

// close gives up the folder and all that is in it.
func (s *state) close() error {
	unlock, err := lockRoot(filepath.Dir(s.dir))
	if err != nil {
		return err
	}
	defer unlock()
	return s.remove()
}

func (s *state) remove() error {
	if s.lock != nil {
		_ = s.lock.Close()
	}
	if err := removeFolder(s.dir); err != nil {
		return fmt.Errorf("removing the state of the lab: %w", err)
	}
	return nil
}

// removeFolder removes the lock last, by which a sweep knows a lab's folder.
func removeFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "lock" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// lockRoot waits its turn to add or remove folders of labs, so that a sweep
// never meets a folder that is not locked yet.
func lockRoot(root string) (unlock func(), err error) {
	f, err := fileutil.LockFile(filepath.Join(root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the folder of labs: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// sweep removes the folders of labs that do not live.
func sweep(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return fmt.Errorf("sweeping the folder of labs: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		dir := filepath.Join(root, e.Name())
		lock, err := fileutil.TryLockFile(filepath.Join(dir, "lock"), os.O_RDWR, 0o600)
		if errors.Is(err, fileutil.ErrLocked) {
			continue
		}
		if errors.Is(err, os.ErrNotExist) {
			_ = os.Remove(dir) // of a lab that was killed at once; what is not empty is not a lab's
			continue
		}
		if err != nil {
			return fmt.Errorf("sweeping the folder of labs: %w", err)
		}
		_ = lock.Close()
		if err := removeFolder(dir); err != nil {
			return fmt.Errorf("sweeping what a killed lab left: %w", err)
		}
	}
	return nil
}

func pidOf(dir string) string {
	pid, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		return ""
	}
	return " as process " + strings.TrimSpace(string(pid))
}
