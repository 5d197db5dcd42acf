package record

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// formats are what files begin with that are no text in UTF-8, and how text is made of them
// (the magic numbers are those of file(1)).
var formats = []struct{ begin, is, mend string }{
	{"\xff\xfe\x00\x00", "UTF-32", "iconv -f UTF-32 -t UTF-8"},
	{"\x00\x00\xfe\xff", "UTF-32", "iconv -f UTF-32 -t UTF-8"},
	{"\xff\xfe", "UTF-16", "iconv -f UTF-16 -t UTF-8"},
	{"\xfe\xff", "UTF-16", "iconv -f UTF-16 -t UTF-8"},
	{"\x1f\x8b", "compressed by gzip", "gunzip"},
	{"PK\x03\x04", "a ZIP archive", "unzip"},
	{"\x28\xb5\x2f\xfd", "compressed by zstd", "unzstd"},
	{"BZh91AY&SY", "compressed by bzip2", "bunzip2"},
	{"\xfd7zXZ\x00", "compressed by xz", "unxz"},
}

// textHead is how much of a file's beginning PlainText looks at for bytes that no text has.
const textHead = 1 << 10

// PlainText is the text of a file, or its beginning, without a byte order mark. What is
// compressed, in UTF-16 or UTF-32, or has zero bytes, is an error that says so and what to do.
func PlainText(source []byte) ([]byte, error) {
	for _, f := range formats {
		if bytes.HasPrefix(source, []byte(f.begin)) {
			return nil, fmt.Errorf("it is %s, expected text in UTF-8: convert it with %s", f.is, f.mend)
		}
	}
	head := source[:min(len(source), textHead)]
	switch zero := bytes.IndexByte(head, 0); {
	case zero < 0:
	case len(head) > 1 && bytes.Count(head, []byte{0}) >= len(head)/2:
		return nil, fmt.Errorf("it is UTF-16, expected text in UTF-8: convert it with iconv -f UTF-16%s -t UTF-8", map[bool]string{true: "BE", false: "LE"}[zero == 0])
	default:
		return nil, fmt.Errorf("byte %d is zero, expected text in UTF-8", zero+1)
	}
	return bytes.TrimPrefix(source, []byte("\xef\xbb\xbf")), nil
}

// Bounds between which Plain writes a number without an exponent.
const leastPlain, mostPlain = 1e-9, 1e15

// Plain writes a number rounded to significant digits, all of them if that is 0, as people
// write it: 1200, not 1.2e+03.
func Plain(v float64, digits int) string {
	if digits > 0 {
		v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64) // infinite at worst
	}
	if size := math.Abs(v); size != 0 && (size < leastPlain || size >= mostPlain) {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// maxMessage is the length in bytes of a message, some twenty lines of a terminal.
const maxMessage = 2000

// Cut shortens a message to maxMessage, whatever lists and names it has.
func Cut(message string) string {
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	return message
}

// Counted is a number with its noun: 1 pod, 2 pods.
func Counted[N int | int32 | int64 | uint64](n N, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
