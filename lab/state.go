package lab

import (
	"context"
	"os"
	"runtime"
	"sync"

	"k8s.io/klog/v2"

	"github.com/hpabench/hpabench/lab/folders"
)

// nodesSocket is that of the connections between the API server and the nodes.
const nodesSocket = "nodes.sock"

// state is the folder of the lab.
type state struct{ *folders.Folder }

// living is the folder of this process's lab.
var living struct {
	sync.Mutex
	folder *folders.Folder
}

// open takes a folder for the lab of this process, which stops when ctx is done.
func open(ctx context.Context, o Options) (*state, error) {
	living.Lock()
	defer living.Unlock()
	folder, err := folders.Open(ctx, o.Dir, o.Name, o.Say)
	if err != nil {
		return nil, err
	}
	living.folder = folder
	klog.OsExit = func(code int) { // a part of Kubernetes ends the process in place of an error
		if ctx.Err() != nil { // the part that is told to stop before it is ready; the lab stops by itself
			runtime.Goexit()
		}
		_ = Abandon()
		os.Exit(code)
	}
	return &state{folder}, nil
}

// Abandon removes the folder of this process's lab, whatever the lab does: the
// process has to end at once after it. Without a lab it does nothing.
func Abandon() error {
	living.Lock()
	defer living.Unlock()
	if living.folder == nil {
		return nil
	}
	return living.folder.Close()
}
