package lab

import (
	"context"
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

// startEtcd starts etcd on unix sockets in dir and waits until it has elected
// itself.
func startEtcd(ctx context.Context, dir string) (*embed.Etcd, error) {
	c := embed.NewConfig()
	c.Dir = filepath.Join(dir, "etcd")
	clients, peers := unixURL(dir, etcdSocket), unixURL(dir, etcdPeerSocket)
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{clients}, []url.URL{clients}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peers}, []url.URL{peers}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.UnsafeNoFsync = true // nothing is to outlive the process
	// A single member has to wait for an election timeout before it elects itself.
	c.TickMs, c.ElectionMs = 10, 50
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
	select {
	case <-e.Server.ReadyNotify():
		return e, nil
	case err = <-e.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	e.Close()
	return nil, fmt.Errorf("starting etcd: %w", err)
}

func unixURL(dir, name string) url.URL {
	return url.URL{Scheme: "unix", Path: filepath.ToSlash(filepath.Join(dir, name))}
}
