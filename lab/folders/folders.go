// Package folders is where embedded clusters (labs) keep their state: a folder for
// each lab within one folder of their user, which nobody else can enter. It is of
// use to the lab itself and to whoever starts, finds and stops labs.
//
//  1. Root is the folder of all labs; it is refused when another user could change
//     what is in it.
//  2. Open takes a folder for a lab. The lab holds a lock in it for as long as it
//     lives: the operating system releases the lock when the process ends, in
//     whatever way, so that a lab that lives can be told from one that was killed,
//     and its process from a stranger of the same number.
//  3. Sweep removes the folders of labs that were killed.
//
// The folder of all labs has a lock as well, which is held while a folder is taken,
// looked at or left. Lock waits for it and says who holds it.
package folders

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// ExitUsage is the exit code of a lab whose flags are at fault: EX_USAGE of sysexits.h, and not 2, which a panic has.
const ExitUsage = 64

const (
	lockFile     = "lock"
	pidFile      = "pid"
	startingFile = ".lock" // after the lab's name, beside its folder
)

// maxSocketPath is what fits into a socket address on all systems (104 bytes on
// macOS, 108 on Linux, each with a final zero).
const maxSocketPath = 100

// longestSocket is room for the longest name of a socket in a lab's folder.
const longestSocket = "nodes.sock"

// ErrName says that no lab can have such a name.
var ErrName = errors.New("the name of an embedded cluster has up to 32 small letters, digits and dashes within")

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// CheckName returns ErrName for what cannot be the name of a lab.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%w, unlike %q", ErrName, name)
	}
	return nil
}

// Root is the folder that holds a folder for each lab of this user. It need not be
// there yet. Error: another user could change what is in it.
func Root() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the folder of embedded clusters: %w", err)
	}
	return checked(filepath.Join(cache, "hpabench", "labs"))
}

// Prepare makes the folder of labs and returns its path without symbolic links.
// Error: it cannot be made, or another user could change what is in it.
func Prepare(root string) (string, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", fmt.Errorf("making the folder of embedded clusters: %w", err)
	}
	return checked(root)
}

// checked resolves the path of a folder, or of the part of it that is there, and
// refuses it if another user could change what is in it.
func checked(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("finding the folder of embedded clusters: %w", err)
	}
	there, missing := path, ""
	resolved, err := filepath.EvalSymlinks(there)
	for errors.Is(err, os.ErrNotExist) && there != filepath.Dir(there) {
		missing = filepath.Join(filepath.Base(there), missing)
		there = filepath.Dir(there)
		resolved, err = filepath.EvalSymlinks(there)
	}
	if err == nil {
		err = private(resolved, missing == "")
	}
	if err != nil {
		return "", fmt.Errorf("%w: embedded clusters keep keys in %s; name another folder for caches (XDG_CACHE_HOME on Linux)", err, path)
	}
	return filepath.Join(resolved, missing), nil
}

// Folder is that of one lab, which lives.
type Folder struct {
	Dir  string
	lock *Locked
}

// File is the path of a file in the folder.
func (f *Folder) File(name string) string { return filepath.Join(f.Dir, name) }

// Open makes the folder of a lab within root, by a fresh name if none is given,
// after it has removed what killed labs left there. Error: a lab of that name
// lives, another user could change what is in root, or ctx ended while another
// process held the lock of root, which say is told.
func Open(ctx context.Context, root, name string, say func(string)) (*Folder, error) {
	if name != "" {
		if err := CheckName(name); err != nil {
			return nil, err
		}
	}
	root, err := Prepare(root)
	if err != nil {
		return nil, err
	}
	all, err := Lock(ctx, filepath.Join(root, lockFile), say)
	if err != nil {
		return nil, err
	}
	defer all.Close()
	if err := sweep(root); err != nil {
		return nil, err
	}

	dir := filepath.Join(root, name)
	if name == "" {
		dir, err = os.MkdirTemp(root, "lab-")
	} else if err = os.Mkdir(dir, 0o700); errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("an embedded cluster named %s runs already as %s: choose another name, or stop it", name, holderOf(filepath.Join(dir, lockFile)))
	}
	if err != nil {
		return nil, fmt.Errorf("making the folder of the embedded cluster: %w", err)
	}
	f := &Folder{Dir: dir}
	if longest := f.File(longestSocket); len(longest) > maxSocketPath {
		err = fmt.Errorf("%s is too long for the path of a socket (%d bytes): choose a shorter folder for a user's caches (XDG_CACHE_HOME on Linux)", longest, maxSocketPath)
	} else if f.lock, err = Lock(ctx, f.File(lockFile), say); err == nil {
		err = os.WriteFile(f.File(pidFile), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing the folder of the embedded cluster: %w", err), f.remove())
	}
	return f, nil
}

// closePatience is how long Close waits for the lock of all folders, which is held
// for milliseconds, before it does without.
const closePatience = 500 * time.Millisecond

// Close removes the folder and all that is in it, and releases the lock.
func (f *Folder) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	all, err := Lock(ctx, filepath.Join(filepath.Dir(f.Dir), lockFile), nil)
	if err == nil {
		defer all.Close()
	} else if ctx.Err() == nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return f.remove()
}

func (f *Folder) remove() error {
	if f.lock != nil {
		f.lock.Close()
	}
	if err := removeFolder(f.Dir); err != nil {
		return fmt.Errorf("removing the folder of the embedded cluster: %w", err)
	}
	return nil
}

// removeTries is how often the removal of a folder is tried in which something may
// still be written.
const removeTries = 5

// removeFolder removes the lock last, by which a sweep knows a lab's folder.
func removeFolder(dir string) (err error) {
	for range removeTries {
		if err = removeAll(dir); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

func removeAll(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.Name() == lockFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// Alive says whether the lab of that name holds its lock. The lock of all folders
// keeps this look from being in the way of a lab that takes its folder.
func Alive(ctx context.Context, root, name string, say func(string)) (bool, error) {
	if _, err := os.Stat(root); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	all, err := Lock(ctx, filepath.Join(root, lockFile), say)
	if err != nil {
		return false, err
	}
	defer all.Close()
	alive, err := locked(filepath.Join(root, name, lockFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("looking whether the embedded cluster %s is up: %w", name, err)
	}
	return alive, nil
}

// locked says whether somebody holds a lock.
func locked(file string) (bool, error) {
	lock, err := fileutil.TryLockFile(file, os.O_RDWR, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, lock.Close()
}

// Starting waits until no other process starts or ends the lab of that name, which
// is to stay. Say is told who does.
func Starting(ctx context.Context, root, name string, say func(string)) (*Locked, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	root, err := Prepare(root)
	if err != nil {
		return nil, err
	}
	return Lock(ctx, filepath.Join(root, name+startingFile), say)
}

// Log is the file for what a lab that stays prints, beside its folder.
func Log(root, name string) string { return filepath.Join(root, name+".log") }

// sweepStart removes what is left of a start whose process was killed, but the log
// of a lab that lives.
func sweepStart(root, name string) {
	file := filepath.Join(root, name+startingFile)
	if held, err := locked(file); held || err != nil {
		return
	}
	_ = os.Remove(file)
	if alive, err := locked(filepath.Join(root, name, lockFile)); !alive && (err == nil || errors.Is(err, os.ErrNotExist)) {
		_ = os.Remove(Log(root, name))
	}
}

// PID is the process of a lab; 0 if it does not say.
func PID(root, name string) int {
	text, _ := os.ReadFile(filepath.Join(root, name, pidFile))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// Sweep removes what killed labs left in the folder of labs.
func Sweep(ctx context.Context, root string, say func(string)) error {
	if _, err := os.Stat(root); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	all, err := Lock(ctx, filepath.Join(root, lockFile), say)
	if err != nil {
		return err
	}
	defer all.Close()
	return sweep(root)
}

// sweep is called with the lock of root held.
func sweep(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return fmt.Errorf("sweeping the folder of embedded clusters: %w", err)
	}
	for _, e := range entries {
		if name, is := strings.CutSuffix(e.Name(), startingFile); is && CheckName(name) == nil {
			sweepStart(root, name)
		}
		if !e.IsDir() {
			continue
		}
		dir := filepath.Join(root, e.Name())
		alive, err := locked(filepath.Join(dir, lockFile))
		switch {
		case alive:
			continue
		case errors.Is(err, os.ErrNotExist):
			_ = os.Remove(dir) // of a lab that was killed at once; what is not empty is not a lab's
			continue
		case err == nil:
			err = removeFolder(dir)
		}
		if err != nil {
			return fmt.Errorf("sweeping what a killed embedded cluster left: %w", err)
		}
	}
	return nil
}
