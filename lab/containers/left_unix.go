//go:build unix

package containers

import (
	"net"
	"syscall"
)

// left says whether the other side of a connection, from which nobody reads now, has closed it.
func left(c net.Conn) (closed bool) {
	of, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := of.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Read(func(fd uintptr) bool { // whose error, of a deadline, says nothing of the other side
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		closed = n == 0 && err == nil || err == syscall.ECONNRESET
		return true
	})
	return closed
}
