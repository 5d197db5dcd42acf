package runner

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// marked are the processes that began with a variable, as NAME=value, in their environment,
// and of them the children of this process alone if so wanted. Those of other users cannot be
// seen.
func marked(variable string, children bool) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		environment, _ := os.ReadFile(file)
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && slices.Contains(strings.Split(string(environment), "\x00"), variable) && (!children || parent(pid) == os.Getpid()) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// parent of a process; see proc_pid_stat(5).
func parent(pid int) (ppid int) {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, _ = fmt.Sscanf(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " %1s %d", new(string), &ppid)
	return ppid
}
