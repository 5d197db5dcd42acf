package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// DefaultName is that of the lab that is kept unless another is named.
const DefaultName = "default"

// ErrName says that no lab can have such a name.
var ErrName = errors.New("the name of an embedded cluster has up to 32 small letters, digits and dashes within")

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// Kept is a lab that stays, as Up made it.
type Kept struct {
	Name    string  `json:"name"`
	Options Options `json:"options"`
	Entry   *Entry  `json:"entry,omitempty"` // nil when it is in no kubeconfig but its own
}

// Timing is real or fast.
func (k *Kept) Timing() string {
	if k.Options.Timing == "" {
		return "real"
	}
	return k.Options.Timing
}

// In says whether it was entered into that kubeconfig by its name.
func (k *Kept) In(kubeconfig string) bool {
	file, err := filepath.Abs(kubeconfig)
	return err == nil && k.Entry != nil && k.Entry.File == file
}

// Allows says whether a lab that was asked for with these options could be this one.
func (k *Kept) Allows(o Options) error {
	if o.Timing != "" && o.Timing != k.Timing() {
		return fmt.Errorf("the embedded cluster %s that is up has %s timing: hpabench lab down --name %s ends it", k.Name, k.Timing(), k.Name)
	}
	for _, f := range o.Flags {
		if !slices.Contains(k.Options.Flags, f) {
			return fmt.Errorf("the embedded cluster %s that is up was not started with %s: hpabench lab down --name %s ends it", k.Name, f, k.Name)
		}
	}
	return nil
}

// root is the folder of hpabench-lab with a folder for each lab. Beside that of a
// lab that is kept there are NAME.json, a Kept, and NAME.log, what it printed.
func root() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the folder of embedded clusters: %w", err)
	}
	return filepath.Join(cache, "hpabench", "labs"), nil
}

func path(name, file string) (string, error) {
	if !validName.MatchString(name) {
		return "", fmt.Errorf("%w, unlike %q", ErrName, name)
	}
	root, err := root()
	return filepath.Join(root, name+file), err
}

// Kubeconfig is the path of the lab's own kubeconfig.
func (k *Kept) Kubeconfig() string { p, _ := path(k.Name, "/kubeconfig"); return filepath.FromSlash(p) }

// Log is the path of what Kubernetes logs in the lab.
func (k *Kept) Log() string { p, _ := path(k.Name, "/log"); return filepath.FromSlash(p) }

// Find returns the lab of that name, or nil when it is not up.
func Find(name string) (*Kept, error) {
	alive, err := lives(name)
	if err != nil || !alive {
		return nil, err
	}
	return remembered(name)
}

// All returns the labs that are up, those of runs among them.
func All() ([]*Kept, error) {
	root, err := root()
	if err != nil {
		return nil, err
	}
	folders, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listing the embedded clusters: %w", err)
	}
	var all []*Kept
	for _, f := range folders {
		if !f.IsDir() {
			continue
		}
		k, err := Find(f.Name())
		if err != nil {
			return nil, err
		}
		if k != nil {
			all = append(all, k)
		}
	}
	return all, nil
}

// remembered is what Up wrote about a lab.
func remembered(name string) (*Kept, error) {
	k := &Kept{Name: name}
	file, err := path(name, ".json")
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return k, nil
	}
	if err == nil {
		err = json.Unmarshal(text, k)
	}
	if err != nil {
		return nil, fmt.Errorf("reading what is known of the embedded cluster %s: %w", name, err)
	}
	k.Name = name
	return k, nil
}

func (k *Kept) remember() error {
	file, err := path(k.Name, ".json")
	if err != nil {
		return err
	}
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// lives says whether the lab holds its lock. The folders' own lock, which a lab
// holds while it takes or leaves its folder, keeps this look from being in the way.
func lives(name string) (bool, error) {
	file, err := path(name, "/lock")
	if err != nil {
		return false, err
	}
	root, err := root()
	if err != nil {
		return false, err
	}
	all, err := fileutil.LockFile(filepath.Join(root, "lock"), os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("locking the folder of embedded clusters: %w", err)
	}
	defer all.Close()
	lock, err := fileutil.TryLockFile(file, os.O_RDWR, 0o600)
	switch {
	case err == nil:
		return false, lock.Close()
	case errors.Is(err, fileutil.ErrLocked):
		return true, nil
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("looking whether the embedded cluster %s is up: %w", name, err)
}

// PID of the lab's process; 0 if it does not say.
func (k *Kept) PID() int {
	file, err := path(k.Name, "/pid")
	if err != nil {
		return 0
	}
	text, _ := os.ReadFile(file)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// Up starts a lab that outlives this process, and enters it into a kubeconfig:
// that in file, or the user's own. What it began is undone when a later step
// fails.
func Up(ctx context.Context, name string, o Options, file string) (*Kept, error) {
	k := &Kept{Name: name, Options: o}
	command, err := command()
	if err != nil {
		return nil, err
	}
	log, err := path(name, ".log")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		return nil, fmt.Errorf("starting the embedded cluster: %w", err)
	}
	said, err := os.OpenFile(log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting the embedded cluster: %w", err)
	}
	defer said.Close()
	cmd := exec.Command(command, o.args(name)...)
	cmd.Dir, cmd.Stderr, cmd.SysProcAttr = filepath.Dir(log), said, detached()
	ready, ended, err := start(cmd)
	if err != nil {
		return nil, fmt.Errorf("starting the embedded cluster: %w", err)
	}
	stop := func() {
		_ = terminate(cmd.Process)
		patiently(cmd, ended)
	}
	if _, err := await(ctx, ready, ended); err != nil {
		stop()
		return nil, fmt.Errorf("starting the embedded cluster: %w%s", err, tailOf(log))
	}
	before, err := remembered(name) // one that was killed, maybe
	if err == nil {
		k.Entry, err = enter(k, file, before.Entry)
	}
	if err == nil {
		if err = k.remember(); err != nil {
			err = errors.Join(err, k.Entry.leave())
		}
	}
	if err != nil {
		stop()
		return nil, err
	}
	return k, nil
}

// Down stops a lab and takes it out of the kubeconfig. It returns false when it
// was not up; what a killed one left in the kubeconfig is removed then too.
func Down(ctx context.Context, name string) (was bool, k *Kept, err error) {
	if k, err = remembered(name); err != nil {
		return false, nil, err
	}
	if was, err = k.stop(ctx); err != nil {
		return was, k, fmt.Errorf("stopping the embedded cluster %s: %w", name, err)
	}
	if k.Entry != nil {
		if err := k.Entry.leave(); err != nil {
			return was, k, err
		}
	}
	for _, end := range []string{".json", ".log"} {
		file, err := path(name, end)
		if err == nil {
			err = os.Remove(file)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return was, k, err
		}
	}
	return was, k, nil
}

// stop ends the lab's process and waits until it has let go of its lock.
func (k *Kept) stop(ctx context.Context) (was bool, err error) {
	// The process is taken hold of before the look at the lock: if the lab is
	// alive after that, and says the same pid, it is that process.
	pid := k.PID()
	process, found := os.FindProcess(max(pid, 1))
	if was, err = lives(k.Name); err != nil || !was {
		return was, err
	}
	if pid == 0 || found != nil || k.PID() != pid {
		return was, fmt.Errorf("its process cannot be told: see its folder, %s", filepath.Dir(k.Log()))
	}
	if err := terminate(process); err != nil {
		return was, fmt.Errorf("ending process %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*stopTimeout, fmt.Errorf("process %d goes on after %s, see %s", pid, 2*stopTimeout, k.Log()))
	defer cancel()
	for {
		alive, err := lives(k.Name)
		if err != nil || !alive {
			return was, err
		}
		select {
		case <-ctx.Done():
			return was, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
