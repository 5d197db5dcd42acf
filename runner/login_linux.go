package runner

import (
	"os"
	"slices"

	"github.com/prometheus/procfs"
)

// marked are the processes that began with a variable, as NAME=value, in their environment,
// and of them the children of this process alone if so wanted. Those of other users cannot be
// seen.
func marked(variable string, children bool) (pids []int) {
	all, _ := procfs.AllProcs()
	for _, p := range all {
		if environment, _ := p.Environ(); !slices.Contains(environment, variable) {
			continue
		}
		if stat, err := p.Stat(); !children || err == nil && stat.PPID == os.Getpid() {
			pids = append(pids, p.PID)
		}
	}
	return pids
}
