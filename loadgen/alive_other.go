//go:build !unix

package loadgen

import "syscall"

// nothingToRead cannot tell here.
func nothingToRead(syscall.Conn) bool { return true }
