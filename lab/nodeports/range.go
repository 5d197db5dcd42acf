package nodeports

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

// The node ports that Kubernetes uses by default (--service-node-port-range of
// kube-apiserver) are cut into blocks at the same places for everybody. The first
// port of a block is its guard: who listens there has the others.
const (
	firstPort = 30000
	lastPort  = 32767
	blockSize = 201
	enough    = 50 // ports, where no block is wholly free
)

// ClaimRange finds a stretch of 200 node ports for this process alone: base and
// the size-1 ports after it. None is taken, and a connection to each arrives here.
// Where others use so many ports that no block is free, the stretch is shorter, at
// least 50; less is an error. Of those who claim with this function no two have a
// port in common until they close the guard.
func ClaimRange() (base, size int, guard io.Closer, err error) {
	for _, i := range rand.Perm((lastPort - firstPort + 1) / blockSize) {
		first := firstPort + i*blockSize
		g, err := claim(first)
		if err != nil {
			continue
		}
		b, n := longestFree(first+1, first+blockSize-1)
		if n > size {
			if guard != nil {
				_ = guard.Close()
			}
			base, size, guard = b, n, g
		} else {
			_ = g.Close()
		}
		if size == blockSize-1 {
			break
		}
	}
	if size < enough {
		if guard != nil {
			_ = guard.Close()
		}
		return 0, 0, nil, fmt.Errorf("finding %d free node ports in a row within %d–%d: others use too many of them, at most %d are free: stop another cluster on this machine", enough, firstPort, lastPort, size)
	}
	return base, size, guard, nil
}

// longestFree returns the longest stretch of free ports from first to last.
func longestFree(first, last int) (base, size int) {
	start := first
	for p := first; p <= last+1; p++ {
		if p <= last {
			if l, err := claim(p); err == nil {
				_ = l.Close()
				continue
			}
		}
		if p-start > size {
			base, size = start, p-start
		}
		start = p + 1
	}
	return base, size
}

// claimPatience is short, because where a rule sends connections into the void
// it is spent on every such port.
const claimPatience = 50 * time.Millisecond

func claim(number int) (net.Listener, error) {
	l, err := net.Listen("tcp4", address(number))
	if err != nil {
		return nil, err
	}
	others, err := selfTest(l.(*net.TCPListener), l.Addr(), claimPatience)
	for _, conn := range others {
		reset(conn)
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}
