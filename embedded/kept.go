package embedded

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/hpabench/hpabench/lab/folders"
)

// DefaultName is that of the lab that is kept unless another is named.
const DefaultName = "default"

// ErrElsewhere says that a lab was added to another kubeconfig than was named.
var ErrElsewhere = errors.New("another kubeconfig")

// ErrName says that no lab can have such a name.
var ErrName = folders.ErrName

// Stay is what a lab is told on its standard input to outlive whoever started it.
const Stay = "stay"

// Kept is a lab that stays, as Up made it.
type Kept struct {
	Name    string  `json:"name"`
	Options Options `json:"options"`
	Entry   *Entry  `json:"entry,omitempty"` // nil when it is in no kubeconfig but its own

	known bool // to Up, which wrote the above
}

// Timing is real or fast.
func (k *Kept) Timing() string { return cmp.Or(k.Options.Timing, "real") }

// In says whether it was entered into that kubeconfig by its name.
func (k *Kept) In(kubeconfig string) bool {
	file, err := filepath.Abs(kubeconfig)
	return err == nil && slices.Contains(k.files(), file)
}

// files are those into one of which it was entered, or that of its own alone.
func (k *Kept) files() []string {
	switch {
	case k.Entry == nil:
		return []string{k.Kubeconfig()}
	case k.Entry.File != "":
		return []string{k.Entry.File}
	}
	return k.Entry.Files
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

// path is that of a file of a lab, in the folder of all labs or in its own. Beside
// the folder of a lab that is kept there are NAME.json, a Kept, and NAME.log, what it
// printed; and NAME.lock while it is started or ended.
func path(name, file string) (string, error) {
	if err := folders.CheckName(name); err != nil {
		return "", err
	}
	root, err := folders.Root()
	return filepath.Join(root, name+file), err
}

// Kubeconfig is the path of the lab's own kubeconfig.
func (k *Kept) Kubeconfig() string { p, _ := path(k.Name, "/kubeconfig"); return filepath.FromSlash(p) }

// Log is the path of what Kubernetes logs in the lab.
func (k *Kept) Log() string { p, _ := path(k.Name, "/log"); return filepath.FromSlash(p) }

// Find returns the lab of that name, or nil when it is not up. It waits while another
// process starts or ends that lab; say is told what it waits for.
func Find(ctx context.Context, name string, say func(string)) (*Kept, error) {
	root, err := folders.Root()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(root); errors.Is(err, os.ErrNotExist) {
		return nil, folders.CheckName(name)
	}
	alone, err := folders.Starting(ctx, root, name, say)
	if err != nil {
		return nil, err
	}
	defer alone.Remove()
	return find(ctx, root, name, say)
}

// find is called when no other process starts or ends the lab. One that lives all the
// same and is not remembered is ending, if Up began it: its starter was killed.
func find(ctx context.Context, root, name string, say func(string)) (*Kept, error) {
	for {
		alive, err := folders.Alive(ctx, root, name, say)
		if err != nil || !alive {
			return nil, err
		}
		k, err := remembered(name)
		if err != nil || k.known {
			return k, err
		}
		if _, err := os.Stat(folders.Log(root, name)); err != nil {
			return k, nil // started by hand
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting until the embedded cluster %s, whose start was broken off, has ended: %w", name, context.Cause(ctx))
		}
	}
}

// endedEvery is how often Ended looks.
const endedEvery = 500 * time.Millisecond

// Ended is closed when the lab is not up any more, and never once ctx is done.
func (k *Kept) Ended(ctx context.Context) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		for ctx.Err() == nil {
			if alive, err := k.lives(ctx, func(string) {}); err == nil && !alive {
				close(ended)
				return
			}
			time.Sleep(endedEvery)
		}
	}()
	return ended
}

// All returns the labs that are up, those of runs among them. Say is told what All
// waits for.
func All(ctx context.Context, say func(string)) ([]*Kept, error) {
	root, err := folders.Root()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listing the embedded clusters: %w", err)
	}
	var all []*Kept
	for _, f := range entries {
		if !f.IsDir() {
			continue
		}
		alive, err := folders.Alive(ctx, root, f.Name(), say)
		if err != nil {
			return nil, err
		}
		if !alive {
			continue
		}
		k, err := remembered(f.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, k)
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
	k.Name, k.known = name, true
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

// lives says whether the lab holds its lock.
func (k *Kept) lives(ctx context.Context, say func(string)) (bool, error) {
	root, err := folders.Root()
	if err != nil {
		return false, err
	}
	return folders.Alive(ctx, root, k.Name, say)
}

// PID of the lab's process; 0 if it does not say.
func (k *Kept) PID() int {
	root, err := folders.Root()
	if err != nil {
		return 0
	}
	return folders.PID(root, k.Name)
}

// Up starts a lab that outlives this process, and enters it into a kubeconfig:
// that in file, or the user's own. What it began is undone when a later step
// fails or ctx ends. If another process has just started that lab, it is returned
// with there = true. Say is told what Up waits for.
func Up(ctx context.Context, name string, o Options, file string, say func(string)) (k *Kept, there bool, err error) {
	root, err := folders.Root()
	if err != nil {
		return nil, false, err
	}
	alone, err := folders.Starting(ctx, root, name, say)
	if err != nil {
		return nil, false, err
	}
	defer alone.Remove()
	if k, err = find(ctx, root, name, say); k != nil || err != nil {
		return k, true, err
	}
	say("starting the embedded cluster…")
	command, err := command()
	if err != nil {
		return nil, false, err
	}
	k = &Kept{Name: name, Options: o}
	if err := k.up(ctx, command, folders.Log(root, name), file); err != nil {
		return nil, false, fmt.Errorf("starting the embedded cluster: %w", err)
	}
	return k, false, nil
}

// up starts the lab, whose process prints to the log.
func (k *Kept) up(ctx context.Context, command, log, file string) (err error) {
	said, err := os.OpenFile(log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer said.Close()
	defer func() {
		if err != nil {
			text, _ := os.ReadFile(log)
			err = fmt.Errorf("%w%s", err, lastLines(string(text)))
			_ = os.Remove(log)
		}
	}()
	// Until it is told to stay, the lab ends when this process does, however that ends.
	cmd := exec.Command(command, append(k.Options.args(k.Name), "--stdin")...)
	cmd.Dir, cmd.Stderr, cmd.SysProcAttr = filepath.Dir(log), said, detached()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	ready, ended, err := start(cmd)
	if err != nil {
		return err
	}
	defer func() {
		_ = stdin.Close()
		if err != nil {
			patiently(cmd, ended)
		}
	}()
	if _, err := await(ctx, cmd, ready, ended); err != nil {
		return err
	}
	before, err := remembered(k.Name) // one that was killed, maybe
	if err != nil {
		return err
	}
	if k.Entry, err = enter(k, file, before.Entry); err != nil {
		return err
	}
	if err = k.remember(); err == nil {
		if err = context.Cause(ctx); err == nil {
			_, err = io.WriteString(stdin, Stay)
		}
	}
	if err != nil {
		return errors.Join(err, k.Entry.leave(), k.forget())
	}
	return nil
}

// forget removes what was remembered about a lab.
func (k *Kept) forget() error {
	file, err := path(k.Name, ".json")
	if err != nil {
		return err
	}
	return removeIfThere(file)
}

func removeIfThere(file string) error {
	if err := os.Remove(file); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Down stops a lab and takes it out of the kubeconfig. It returns false when it
// was not up; what a killed one left, in the kubeconfig too, is removed then as well.
// Where it is in another kubeconfig than the one that is given, if one is, the error is ErrElsewhere.
// Say is told what Down waits for.
func Down(ctx context.Context, name, kubeconfig string, say func(string)) (was bool, k *Kept, err error) {
	root, err := folders.Root()
	if err != nil {
		return false, nil, err
	}
	alone, err := folders.Starting(ctx, root, name, say)
	if err != nil {
		return false, nil, err
	}
	defer alone.Remove()
	if k, err = remembered(name); err != nil {
		return false, nil, err
	}
	if kubeconfig != "" && k.known && !k.In(kubeconfig) {
		return false, nil, fmt.Errorf("embedded cluster %s is in %w than %s: %s", name, ErrElsewhere, kubeconfig, strings.Join(k.files(), " or "))
	}
	if was, err = k.stop(ctx, say); err != nil {
		return was, k, fmt.Errorf("stopping the embedded cluster %s: %w", name, err)
	}
	if k.Entry != nil {
		if err := k.Entry.leave(); err != nil {
			return was, k, err
		}
	}
	if err := errors.Join(k.forget(), removeIfThere(folders.Log(root, name))); err != nil {
		return was, k, err
	}
	return was, k, folders.Sweep(ctx, root, say)
}

// Sweep removes the folders of labs that were killed. Say is told what it waits for.
func Sweep(ctx context.Context, say func(string)) error {
	root, err := folders.Root()
	if err != nil {
		return err
	}
	return folders.Sweep(ctx, root, say)
}

// stop ends the lab's process and waits until it has let go of its lock.
func (k *Kept) stop(ctx context.Context, say func(string)) (was bool, err error) {
	// The process is taken hold of before the look at the lock: if the lab is
	// alive after that, and says the same pid, it is that process.
	pid := k.PID()
	process, found := os.FindProcess(max(pid, 1))
	if was, err = k.lives(ctx, say); err != nil || !was {
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
	err = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		alive, err := k.lives(ctx, say)
		return !alive, err
	})
	if wait.Interrupted(err) {
		err = context.Cause(ctx)
	}
	return was, err
}
