package reports

import (
	"bytes"
	"testing"
)

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"plain – ▏█ ü":                       "plain – ▏█ ü",
		"a\x1b[31mb\x00\x7f\u0085":           `a\u001b[31mb\u0000\u007f\u0085`,
		"\u202eevil\u2066\u200b\ufeff\u2028": `\u202eevil\u2066\u200b\ufeff\u2028`,
		"\U000e0041tag":                      `\udb40\udc41tag`,
		"not \ufdd0\ufffe\uffff\U0010ffff":   `not \ufdd0\ufffe\uffff\udbff\udfff`,
		"bad \xff\xfe\xc3":                   "bad \ufffd\ufffd\ufffd",
		"real \ufffd":                        "real \ufffd",
		"a\nb\tc\r":                          "a\nb\tc\\u000d",
		"":                                   "",
	} {
		if got := Visible(in); got != want {
			t.Errorf("Visible(%q) = %q, want %q", in, got, want)
		}
	}
}

// What a CI system takes for a command comes through broken, however it is cut into
// writes.
func TestTerminal(t *testing.T) {
	for in, want := range map[string]string{
		"::error::x\n":                         "::\\u0065rror::x\n",
		"a ::error::x\n":                       "a ::error::x\n",
		"a\n  \t ::add-mask::x\n":              "a\n  \t ::\\u0061dd-mask::x\n",
		"at [::1]:80 and\n::1 is\n":            "at [::1]:80 and\n::1 is\n",
		"x ##[group]y\n":                       "x ##\\u005bgroup]y\n",
		"a long line before ##vso[task.x]y\n":  "a long line before ##vso\\u005btask.x]y\n",
		"##teamcity[x]":                        "##teamcity\\u005bx]",
		"\x1b]8;;http://x\x07 ü \u202e\x9b\n":  "\\u001b]8;;http://x\\u0007 ü \\u202e\ufffd\n",
		"list[1] # [x] cpu 5 % → 4 [0.1, 0.2]": "list[1] # [x] cpu 5 % → 4 [0.1, 0.2]",
	} {
		for size := 1; size <= len(in); size++ {
			var b bytes.Buffer
			w := &Terminal{Writer: &b}
			for rest := []byte(in); len(rest) > 0; {
				n := min(size, len(rest))
				if _, err := w.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if b.String() != want {
				t.Errorf("%q in writes of %d came out as %q, want %q", in, size, &b, want)
				break
			}
		}
	}
}
