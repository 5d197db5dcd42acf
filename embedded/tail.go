package embedded

import (
	"os"
	"strings"
	"sync"
)

// tail keeps the last lines of what a process says.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const (
	tailBytes = 4096
	tailLines = 10
)

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = append([]byte(nil), t.text[over:]...)
	}
	return len(b), nil
}

// String is the last lines, to be put behind an error; empty if there are none.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return lastLines(string(t.text))
}

func lastLines(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	lines := strings.Split(text, "\n")
	return ":\n" + strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// tailOf is the last lines of a file.
func tailOf(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return lastLines(string(text))
}
