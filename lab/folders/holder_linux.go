package folders

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"
)

// opener is the process that has a file open: the one that wrote h into the file if
// it still has, else another. Processes of other users cannot be seen.
func opener(file string, h holder) holder {
	want, err := os.Stat(file)
	if err != nil {
		return h
	}
	found := 0
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
		if pid == os.Getpid() && pid != h.PID || found == pid {
			continue
		}
		if info, err := os.Stat(link); err != nil || !os.SameFile(info, want) {
			continue
		}
		if pid == h.PID {
			return h
		}
		found = pid
	}
	if found == 0 {
		return holder{}
	}
	h = holder{PID: found}
	if p, err := procfs.NewProc(found); err == nil {
		h.Command, _ = p.CmdLine()
		if stat, err := p.Stat(); err == nil {
			started, _ := stat.StartTime()
			h.Since = time.UnixMilli(int64(1000 * started))
		}
	}
	return h
}
