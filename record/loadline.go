package record

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// loadLine decodes the line of a LoadSecond as this package writes it, of which a long record
// has one for each second: a tenth of the time that a decoder of any JSON takes. It is
// false for whatever else there is, which may be right all the same.
func loadLine(line []byte, e *Entry) bool {
	s := scanner{rest: line, ok: true}
	s.take(`{"at":`)
	at := s.number()
	if s.take(`,"load":{`); !s.ok || e.At.UnmarshalJSON(at) != nil {
		return false
	}
	l := new(LoadSecond)
	for first := true; s.ok && !s.has("}}"); first = false {
		if !first {
			s.take(",")
		}
		key := s.text()
		s.take(":")
		switch string(key) {
		case "worker":
			l.Worker = int(s.count())
		case "phase":
			l.Phase = int(s.count())
		case "second":
			l.Second = int(s.count())
		case "offered":
			l.Offered = s.count()
		case "sent":
			l.Sent = s.count()
		case "unsent":
			l.Unsent = s.count()
		case "answered":
			l.Answered = s.count()
		case "failed":
			l.Failed = s.count()
		case "aborted":
			l.Aborted = s.count()
		case "codes":
			s.ok = s.ok && l.Codes == nil // two would be one
			l.Codes = s.counts()
		case "errors":
			s.ok = s.ok && l.Errors == nil
			l.Errors = s.counts()
		case "bytesIn":
			l.BytesIn = s.count()
		case "bytesOut":
			l.BytesOut = s.count()
		case "late":
			l.Late = s.count()
		case "lateMaxSeconds":
			x, err := strconv.ParseFloat(string(s.number()), 64)
			l.LateMax, s.ok = x, s.ok && err == nil
		case "lateness":
			l.Lateness = Histogram(s.text())
		case "slowConnects":
			l.SlowConnects = s.count()
		case "latency":
			l.Latency = Histogram(s.text())
		default:
			return false
		}
	}
	if !s.ok || len(s.rest) > 0 {
		return false
	}
	e.Load = l
	return true
}

// scanner takes one thing after the other; ok is false once one was another.
type scanner struct {
	rest []byte
	ok   bool
}

func (s *scanner) has(text string) bool {
	if !bytes.HasPrefix(s.rest, []byte(text)) {
		return false
	}
	s.rest = s.rest[len(text):]
	return true
}

func (s *scanner) take(text string) { s.ok = s.has(text) && s.ok }

// number is the text of a number as JSON has it.
func (s *scanner) number() []byte {
	i := 0
	for i < len(s.rest) && (s.rest[i] >= '0' && s.rest[i] <= '9' || bytes.IndexByte([]byte("+-.eE"), s.rest[i]) >= 0) {
		i++
	}
	n := s.rest[:i]
	s.rest = s.rest[i:]
	s.ok = s.ok && json.Valid(n)
	return n
}

// count is a whole number of up to 18 digits, without a sign.
func (s *scanner) count() (n uint64) {
	i := 0
	for i < len(s.rest) && i < 19 && s.rest[i] >= '0' && s.rest[i] <= '9' {
		n = 10*n + uint64(s.rest[i]-'0')
		i++
	}
	s.ok = s.ok && i > 0 && i < 19 && (i == 1 || s.rest[0] != '0')
	s.rest = s.rest[i:]
	return n
}

// text is a string in which nothing is escaped, and all is ASCII.
func (s *scanner) text() []byte {
	s.take(`"`)
	for i, c := range s.rest {
		switch {
		case c == '"':
			text := s.rest[:i]
			s.rest = s.rest[i+1:]
			return text
		case c == '\\' || c < ' ' || c > '~':
			s.ok = false
			return nil
		}
	}
	s.ok = false
	return nil
}

func (s *scanner) counts() map[string]uint64 {
	counts := map[string]uint64{}
	s.take("{")
	for s.ok && !s.has("}") {
		if len(counts) > 0 {
			s.take(",")
		}
		key := s.text()
		s.take(":")
		counts[string(key)] = s.count()
	}
	return counts
}
