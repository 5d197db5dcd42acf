package lab

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

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
