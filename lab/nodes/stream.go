package nodes

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// streamConn makes a connection of a stream, for a server that wants one.
// Deadlines for reading and writing are not kept: the streams have none.
type streamConn struct {
	io.ReadWriteCloser
	once sync.Once
	done chan struct{} // closed with the connection
}

func (c *streamConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = c.ReadWriteCloser.Close()
		close(c.done)
	})
	return err
}

func (c *streamConn) LocalAddr() net.Addr              { return loopback }
func (c *streamConn) RemoteAddr() net.Addr             { return loopback }
func (c *streamConn) SetDeadline(time.Time) error      { return nil }
func (c *streamConn) SetReadDeadline(time.Time) error  { return nil }
func (c *streamConn) SetWriteDeadline(time.Time) error { return nil }

var loopback net.Addr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
