package runner

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// marked are the processes that began with a variable, as NAME=value, in their environment.
// Those of other users cannot be seen.
func marked(variable string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		environment, _ := os.ReadFile(file)
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil && slices.Contains(strings.Split(string(environment), "\x00"), variable) {
			pids = append(pids, pid)
		}
	}
	return pids
}
