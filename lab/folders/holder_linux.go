package folders

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
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
	command, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(found), "cmdline"))
	return holder{PID: found, Since: startOf(found), Command: strings.Split(strings.TrimRight(string(command), "\x00"), "\x00")}
}

// ticks is how many units of time /proc counts in a second (USER_HZ of Linux).
const ticks = 100

// startOf is when a process started; the zero time if the system does not say
// (proc_pid_stat(5), field 22, and proc_stat(5)).
func startOf(pid int) time.Time {
	text, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	_, after, _ := strings.Cut(string(text), ") ") // its name may have blanks
	fields := strings.Fields(after)
	system, _ := os.ReadFile("/proc/stat")
	_, boot, ok := strings.Cut(string(system), "\nbtime ")
	if !ok || len(fields) < 20 {
		return time.Time{}
	}
	boot, _, _ = strings.Cut(boot, "\n")
	since, err := strconv.ParseInt(boot, 10, 64)
	started, err2 := strconv.ParseInt(fields[19], 10, 64)
	if err != nil || err2 != nil {
		return time.Time{}
	}
	return time.Unix(since, 0).Add(time.Duration(started) * time.Second / ticks)
}
