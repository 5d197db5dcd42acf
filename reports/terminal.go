package reports

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Visible writes control, bidirectional and other characters without a picture
// of their own (Unicode's Cc, Cf, Zl and Zp, but not tab and newline) and
// noncharacters, of which XML 1.0 (2.2, Char) forbids two, as JSON does, \u001b,
// and invalid UTF-8 as U+FFFD. In JSON the value stays the same.
func Visible(s string) string {
	var b strings.Builder
	done := 0
	for i, r := range s {
		if r >= ' ' && r <= '~' || !invisible(r) && r != utf8.RuneError {
			continue
		}
		size := utf8.RuneLen(r)
		b.WriteString(s[done:i])
		if r == utf8.RuneError {
			_, size = utf8.DecodeRuneInString(s[i:])
			b.WriteRune(r)
		} else {
			b.WriteString(escaped(r))
		}
		done = i + size
	}
	if done == 0 {
		return s
	}
	return b.String() + s[done:]
}

func invisible(r rune) bool {
	return r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Noncharacter_Code_Point)
}

func escaped(r rune) string {
	if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
		return fmt.Sprintf(`\u%04x\u%04x`, high, low)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// visible makes what is written Visible.
type visible struct {
	io.Writer
	part []byte // the beginning of a rune whose end is still to come
}

// Write implements io.Writer.
func (v *visible) Write(p []byte) (int, error) {
	whole, part := wholeRunes(append(v.part, p...))
	v.part = part
	if _, err := io.WriteString(v.Writer, Visible(string(whole))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// wholeRunes cuts off the beginning of a rune at the end of p.
func wholeRunes(p []byte) (whole, part []byte) {
	for n := 1; n <= min(utf8.UTFMax-1, len(p)); n++ {
		if c := p[len(p)-n]; utf8.RuneStart(c) {
			if !utf8.FullRune(p[len(p)-n:]) {
				return p[:len(p)-n], bytes.Clone(p[len(p)-n:])
			}
			break
		}
	}
	return p, nil
}

// Terminal is a writer for text that people and the logs of CI systems read. It
// makes characters Visible, and breaks what a CI system would take for a command
// of the job: "::error::" at the start of a line, "##[error]" and
// "##vso[…]" anywhere (GitHub, Azure), "##teamcity[…]". Command sequences for a
// terminal go to the writer below it.
type Terminal struct {
	io.Writer // the one below

	mu   sync.Mutex
	err  error  // the first of the writer below
	part []byte // the beginning of a rune whose end is still to come
	line []byte // what the present line has so far, without blanks before it; its end alone if it is long
}

// commandMarks are what stands before the [ of a command of a CI system.
var commandMarks = [][]byte{[]byte("##"), []byte("##vso"), []byte("##teamcity")}

// longestMark is how much of a line's end is looked at.
const longestMark = len("##teamcity")

// Write implements io.Writer.
func (t *Terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var whole []byte
	whole, t.part = wholeRunes(append(t.part, p...))
	var out bytes.Buffer
	for _, r := range string(whole) {
		switch {
		case invisible(r), r == '[' && t.endsInMark(), len(t.line) == 2 && string(t.line) == "::" && unicode.IsLetter(r):
			out.WriteString(escaped(r))
		default:
			out.WriteRune(r)
		}
		switch {
		case r == '\n':
			t.line = t.line[:0]
		case len(t.line) == 0 && unicode.IsSpace(r):
		default:
			t.line = utf8.AppendRune(t.line, r)
			if keep := 2*longestMark + utf8.UTFMax; len(t.line) > keep {
				t.line = append(t.line[:0], t.line[len(t.line)-longestMark:]...)
			}
		}
	}
	if _, err := t.Writer.Write(out.Bytes()); err != nil {
		t.err = cmp.Or(t.err, err)
		return 0, err
	}
	return len(p), nil
}

// Err is the first error of the writer below, of which whoever printed may not have heard.
func (t *Terminal) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

func (t *Terminal) endsInMark() bool {
	for _, mark := range commandMarks {
		if bytes.HasSuffix(t.line, mark) {
			return true
		}
	}
	return false
}
