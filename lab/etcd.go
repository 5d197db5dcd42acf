package lab

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

const (
	etcdSocket     = "etcd.sock"
	etcdPeerSocket = "peer.sock"
)

// startEtcd starts etcd on unix sockets in dir. It serves when it has elected
// itself, a quarter of a second later, for which nobody has to wait: clients do.
func startEtcd(dir string) (*embed.Etcd, error) {
	c := embed.NewConfig()
	c.Dir = filepath.Join(dir, "etcd")
	clients, peers := unixURL(dir, etcdSocket), unixURL(dir, etcdPeerSocket)
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{clients}, []url.URL{clients}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peers}, []url.URL{peers}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.UnsafeNoFsync = true // nothing is to outlive the process
	// A single member waits for an election timeout before it elects itself, so
	// that should be short; but each tick costs CPU for as long as it runs.
	c.TickMs, c.ElectionMs = 50, 250
	c.BackendBatchInterval = time.Second // it wakes up for that
	// What the disk of a busy machine makes slow is no news.
	c.LogLevel, c.LogOutputs = "error", []string{filepath.Join(dir, "etcd.log")}
	c.WarningApplyDuration, c.WarningUnaryRequestDuration = time.Minute, time.Minute

	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
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
