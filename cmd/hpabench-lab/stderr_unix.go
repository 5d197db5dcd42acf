//go:build unix

package main

import (
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// ownStderr is standard error for what hpabench-lab says itself, whatever divert does.
func ownStderr() *os.File {
	fd, err := unix.FcntlInt(os.Stderr.Fd(), unix.F_DUPFD_CLOEXEC, unix.Stderr+1)
	if err != nil {
		return os.Stderr
	}
	own = os.NewFile(uintptr(fd), os.Stderr.Name())
	return own
}

var own *os.File // nil when there is no other standard error

// divert sends to the log what libraries print on standard error, as etcd's client does
// by a logger that nobody can replace. A panic is still seen.
func divert(log *os.File) error {
	if own == nil {
		return nil
	}
	if err := debug.SetCrashOutput(own, debug.CrashOptions{}); err != nil {
		return err
	}
	return unix.Dup2(int(log.Fd()), unix.Stderr)
}
