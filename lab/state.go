package lab

import (
	"context"
	"os"
	"runtime"
	"sync"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/klog/v2"

	"github.com/hpabench/hpabench/lab/folders"
)

// nodesSocket is that of the connections between the API server and the nodes.
const nodesSocket = "nodes.sock"

// state is the folder of the lab.
type state struct{ *folders.Folder }

// living is the folder of this process's lab, and the etcd that writes there. It is
// locked while files are made there.
var living struct {
	sync.Mutex
	folder *folders.Folder
	etcd   *embed.Etcd
}

// open takes a folder for the lab of this process, which stops when ctx is done. The
// caller has locked living.
func open(ctx context.Context, o Options) (*state, error) {
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

// Abandon ends this process's lab without order and removes its folder: the context of
// its Start has to be done before, and the process has to end at once after it. Without
// a lab it does nothing.
func Abandon() error {
	living.Lock()
	defer living.Unlock()
	if living.folder == nil {
		return nil
	}
	if living.etcd != nil {
		living.etcd.Server.HardStop() // it ends the process where its files vanish
	}
	return living.folder.Close()
}
