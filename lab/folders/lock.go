package folders

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

const (
	// lockLook is how often a lock that somebody holds is tried.
	lockLook = 20 * time.Millisecond
	// lockQuiet is how long a lock is waited for without a word: holders have it
	// for milliseconds.
	lockQuiet = 200 * time.Millisecond
)

// Locked is a lock that this process holds.
type Locked struct{ file *fileutil.LockedFile }

// Lock waits for the lock of a file, which is made if need be. After lockQuiet,
// say is told who holds it; nil: nobody is. Error: ctx ended first, with its cause.
func Lock(ctx context.Context, file string, say func(string)) (*Locked, error) {
	begun, said := time.Now(), false
	for {
		l, err := fileutil.TryLockFile(file, os.O_CREATE|os.O_RDWR, 0o600)
		switch {
		case err == nil && stillThere(l, file):
			sign(l)
			return &Locked{l}, nil
		case err == nil:
			_ = l.Close()
			continue
		case !errors.Is(err, fileutil.ErrLocked):
			return nil, fmt.Errorf("locking %s: %w", file, err)
		}
		if say != nil && !said && time.Since(begun) >= lockQuiet {
			say(fmt.Sprintf("waiting for %s, which holds the lock %s; Ctrl-C ends the waiting", holderOf(file), file))
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %s, which holds the lock %s: %w", holderOf(file), file, context.Cause(ctx))
		case <-time.After(lockLook):
		}
	}
}

// Close releases the lock.
func (l *Locked) Close() {
	_ = l.file.Truncate(0) // the holder is known no longer
	_ = l.file.Close()
}

// Remove releases the lock and removes its file.
func (l *Locked) Remove() {
	_ = os.Remove(l.file.Name())
	l.Close()
}

// stillThere says whether a lock is that of the file that has the name now, and not
// of one that was removed while it was waited for.
func stillThere(l *fileutil.LockedFile, file string) bool {
	ours, err := l.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(file)
	return err == nil && os.SameFile(ours, now)
}

// holder is who holds a lock, as the lock's file has it.
type holder struct {
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	Command []string  `json:"command"`
}

func sign(l *fileutil.LockedFile) {
	text, err := json.Marshal(holder{PID: os.Getpid(), Since: time.Now(), Command: os.Args})
	if err != nil {
		return
	}
	_ = l.Truncate(0)
	_, _ = l.WriteAt(text, 0) // whoever waits is told less then
}

// holderOf says who holds a lock: what the holder wrote, or what the system knows
// of a process that has the file open and did not write.
func holderOf(file string) string {
	var h holder
	if text, err := os.ReadFile(file); err == nil {
		_ = json.Unmarshal(text, &h)
	}
	return opener(file, h).String()
}

func (h holder) String() string {
	if h.PID == 0 {
		return "another process"
	}
	s := fmt.Sprintf("process %d", h.PID)
	if len(h.Command) > 0 {
		s += fmt.Sprintf(" (%s)", printable(strings.Join(h.Command, " ")))
	}
	if !h.Since.IsZero() {
		s += " since " + h.Since.Local().Format(time.DateTime)
	}
	return s
}

// maxCommand is how many characters of a command line are shown.
const maxCommand = 120

// printable is a command line without what could control a terminal.
func printable(command string) string {
	command = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.TrimSpace(command))
	if runes := []rune(command); len(runes) > maxCommand {
		command = string(runes[:maxCommand]) + "…"
	}
	return command
}
