//go:build unix

package embedded

import (
	"os"
	"syscall"
)

// apart keeps a terminal's Ctrl-C from the lab: the run removes its objects first.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// detached lets the lab outlive the terminal.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// terminate asks the lab to end in order.
func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
