package embedded

import (
	"os"
	"syscall"
)

// apart keeps a console's Ctrl-C from the lab: the run removes its objects first.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

const detachedProcess = 0x00000008 // DETACHED_PROCESS of CreateProcess

// detached lets the lab outlive the console.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP | detachedProcess}
}

// terminate ends the lab at once: Windows has no signal for a process without a
// console. Down removes what is left of it.
func terminate(p *os.Process) error { return p.Kill() }
