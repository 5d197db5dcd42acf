package loadgen

import (
	"syscall"
	"time"
)

// nap sleeps for a short time by the kernel's own timer, which is late by some 60 µs
// where those of Go's runtime are by up to a millisecond: they wait in epoll_wait,
// which counts whole ones.
func nap(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // what is left when a signal comes is seen by the caller
}
