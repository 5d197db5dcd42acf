package lab

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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
	folder    *folders.Folder
	etcd      *embed.Etcd
	requests  gate // to etcd
	abandoned bool
}

// gate refuses requests once it is shut: after a HardStop, etcd reads from a backend that
// is nil and ends the process.
type gate struct {
	isShut   atomic.Bool
	underway atomic.Int64
}

func (g *gate) pass(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	g.underway.Add(1)
	defer g.underway.Add(-1)
	if g.isShut.Load() {
		return nil, status.Error(codes.Unavailable, "the cluster ends")
	}
	return handle(ctx, req)
}

// shutPatience is how long shut waits: requests without a leader last until the HardStop.
const shutPatience = 200 * time.Millisecond

// shut refuses what comes from now on, and waits for what is under way.
func (g *gate) shut() {
	g.isShut.Store(true)
	for end := time.Now().Add(shutPatience); g.underway.Load() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// open takes a folder for the lab of this process, which stops when ctx is done. The
// caller has locked living.
func open(ctx context.Context, o Options) (*state, error) {
	if living.abandoned { // the process may end between any two files that it made now
		return nil, errors.New("this process has abandoned its lab")
	}
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
// its Start has to be done before, and the process has to end at once after it. A Start
// that has no folder yet makes none any more.
func Abandon() error {
	living.Lock()
	defer living.Unlock()
	living.abandoned = true
	if living.folder == nil {
		return nil
	}
	if living.etcd != nil {
		living.requests.shut()
		living.etcd.Server.HardStop() // it ends the process where its files vanish
	}
	return living.folder.Close()
}

const etcdSocket = "etcd.sock"

// startEtcd starts etcd on a unix socket in dir, which nobody else can enter. It
// serves when it has elected itself, a quarter of a second later, for which nobody
// has to wait: clients do. The only member has no peers and does not listen for any:
// who reaches that API can write whatever they like, past the API server.
func startEtcd(dir string) (*embed.Etcd, error) {
	c := embed.NewConfig()
	c.Dir = filepath.Join(dir, "etcd")
	clients := []url.URL{unixURL(dir, etcdSocket)}
	c.ListenClientUrls, c.AdvertiseClientUrls = clients, clients
	c.ListenPeerUrls, c.AdvertisePeerUrls = nil, clients // a member has to have an address, which nobody dials
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainUnaryInterceptor(living.requests.pass)}
	c.UnsafeNoFsync = true // nothing is to outlive the process
	// A single member waits for an election timeout before it elects itself, so
	// that should be short; but each tick costs CPU for as long as it runs.
	c.TickMs, c.ElectionMs = 50, 250
	c.BackendBatchInterval = time.Second // it wakes up for that
	// What the disk of a busy machine makes slow is no news.
	c.LogLevel, c.LogOutputs = "error", []string{filepath.Join(dir, "etcd.log")}
	c.WarningApplyDuration, c.WarningUnaryRequestDuration = time.Minute, time.Minute

	if err := os.Mkdir(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("starting etcd: %w", err)
	}
	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("starting etcd: %w", err)
	}
	return e, nil
}

func unixURL(dir, name string) url.URL {
	return url.URL{Scheme: "unix", Path: filepath.ToSlash(filepath.Join(dir, name))}
}
