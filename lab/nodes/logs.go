package nodes

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// maxLog is how many bytes of a container's output are kept: its newest ones.
// Kubelets keep 10 MiB on disk; here it is memory.
const maxLog = 64 << 10

// logs holds what a process has printed. It is an io.Writer that takes whole
// lines.
type logs struct {
	mu struct {
		sync.Mutex
		lines []logLine
		first int // the index of lines[0] since the start
		bytes int
		more  chan struct{} // closed when there is a new line or the end
		ended bool
	}
}

type logLine struct {
	at   time.Time
	text string
}

func newLogs() *logs {
	l := &logs{}
	l.mu.more = make(chan struct{})
	return l
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.ended { // a last word that came too late
		return len(b), nil
	}
	for line := range strings.Lines(string(b)) {
		text := strings.TrimSuffix(line, "\n")
		l.mu.lines = append(l.mu.lines, logLine{time.Now(), text})
		l.mu.bytes += len(text)
	}
	for l.mu.bytes > maxLog {
		l.mu.bytes -= len(l.mu.lines[0].text)
		l.mu.lines = l.mu.lines[1:]
		l.mu.first++
	}
	close(l.mu.more)
	l.mu.more = make(chan struct{})
	return len(b), nil
}

func (l *logs) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.mu.ended {
		l.mu.ended = true
		close(l.mu.more)
	}
}

// since gives the lines from an index on, the index after them, and what to
// wait for until there are more; nil: there will be none.
func (l *logs) since(i int) ([]logLine, int, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i = max(i, l.mu.first)
	lines := l.mu.lines[i-l.mu.first:]
	if l.mu.ended {
		return lines, i + len(lines), nil
	}
	return lines, i + len(lines), l.mu.more
}

// copy writes the lines that the options ask for, and with follow what comes
// after them until the container ends.
func (l *logs) copy(ctx context.Context, w io.Writer, o *corev1.PodLogOptions) error {
	from := time.Time{}
	if o.SinceTime != nil {
		from = o.SinceTime.Time
	} else if o.SinceSeconds != nil {
		from = time.Now().Add(-time.Duration(*o.SinceSeconds) * time.Second)
	}
	left := int64(-1)
	if o.LimitBytes != nil {
		left = *o.LimitBytes
	}
	lines, next, more := l.since(0)
	if o.TailLines != nil {
		lines = lines[max(0, len(lines)-int(*o.TailLines)):]
	}
	for {
		for _, line := range lines {
			if line.at.Before(from) {
				continue
			}
			text := line.text + "\n"
			if o.Timestamps {
				text = fmt.Sprintf("%s %s", line.at.Format(time.RFC3339Nano), text)
			}
			if left >= 0 {
				text = text[:min(int64(len(text)), left)]
				left -= int64(len(text))
			}
			if _, err := io.WriteString(w, text); err != nil || left == 0 {
				return err
			}
		}
		if !o.Follow || more == nil {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
		lines, next, more = l.since(next)
	}
}
