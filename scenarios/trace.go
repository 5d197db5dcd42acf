package scenarios

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hpabench/hpabench/record"
)

// readTraces reads the files of all replays.
func (c *checker) readTraces(at string, phases []Phase) {
	for i := range phases {
		here := fmt.Sprintf("%s[%d]", at, i)
		c.readTraces(here+".phases", phases[i].Phases)
		if r := phases[i].Replay; r != nil {
			if err := c.readReplay(&phases[i]); err != nil {
				c.fault(here+".replay.file", lookedFor("traces", err), "%v", err)
			}
		}
	}
}

// readReplay reads the trace of a phase and looks at what its factors make of it.
func (c *checker) readReplay(p *Phase) error {
	r := p.Replay
	trace, known := c.files.traces[r.File]
	if !known {
		shown, source, err := c.beside(c.files.Open, r.File)
		if err != nil {
			return fmt.Errorf("trace %s: %w", r.File, cause(err))
		}
		if trace, err = readTrace(shown, source); err != nil {
			return err
		}
		c.files.traces[r.File] = trace
	}
	scale, stretch := r.factors()
	highest := slices.MaxFunc(trace, func(a, b record.RatePoint) int { return cmp.Compare(a.Rate, b.Rate) }).Rate
	switch length := trace[len(trace)-1].At * stretch; {
	case highest*scale > MaxRate:
		return fmt.Errorf("trace %s: its highest rate is %s requests/s, scaled by %s; the limit is %d", r.File, record.Plain(highest*scale, 6), record.Plain(scale, 0), MaxRate)
	case len(trace) == 1 && p.Duration.Duration == 0:
		return fmt.Errorf("trace %s has one row: give the phase a duration, or the trace a second row", r.File)
	case p.Duration.Duration == 0 && length < minDuration.Seconds():
		return fmt.Errorf("trace %s takes %s s, stretched by %s; the shortest phase takes %s", r.File, record.Plain(length, 6), record.Plain(stretch, 0), minDuration)
	}
	return nil
}

// readTrace reads a trace, see Replay.File. It has one point at least.
func readTrace(name string, source []byte) ([]record.RatePoint, error) {
	text, err := plainText(source)
	if err != nil {
		return nil, fmt.Errorf("trace %s: %w", name, err)
	}
	first := firstLine(text)
	if time, _, _ := bytes.Cut(first, []byte(",")); bytes.Count(first, []byte(",")) >= 7 && isDigits(time) {
		return countsOf(name, text)
	}
	steps, err := ReadSteps(name, source, rateColumn)
	if err != nil {
		return nil, err
	}
	return holding(name, steps)
}

func isDigits(text []byte) bool {
	return len(text) > 0 && !slices.ContainsFunc(text, func(b byte) bool { return b < '0' || b > '9' })
}

// holding makes each rate hold until the next, and the last one for as long as the one
// before it.
func holding(name string, steps []Step) (points []record.RatePoint, err error) {
	start := 0.0
	if first := steps[0]; first.clock {
		start = first.At
	} else if first.At != 0 {
		return nil, fmt.Errorf("%s:%d: a trace begins at second 0, this one at %s: subtract that from each time, or write dates or times of the day, which count from the first row", name, first.Line, record.Plain(first.At, 0))
	}
	for i, s := range steps {
		at := s.At - start
		if i > 0 {
			points = append(points, record.RatePoint{At: at, Rate: points[len(points)-1].Rate})
		}
		points = append(points, record.RatePoint{At: at, Rate: s.Value})
	}
	if n := len(steps); n > 1 {
		last := steps[n-1].At - start
		points = append(points, record.RatePoint{At: last + last - (steps[n-2].At - start), Rate: steps[n-1].Value})
	}
	return points, nil
}

// Column is a column of numbers of a CSV file: the names that it may have, the first of
// which messages use, and the greatest value.
type Column struct {
	Names []string
	Most  float64
}

var rateColumn = Column{[]string{"rate", "rps", "qps", "requests/s", "req/s"}, MaxRate}

// Step is a value that holds from a time on.
type Step struct {
	At    float64 // in seconds, since 1970 where the file has dates
	Value float64
	Line  int // of the file

	clock bool // At is a date or a time of the day, not a number of seconds since a start
}

var timeColumns = []string{"seconds", "time", "timestamp"}

// timesText says what a time may be.
const timesText = "seconds such as 90 or 90.5, 1m30s, 00:01:30, 2026-01-31T15:04:05Z, or seconds or milliseconds since 1970"

// ReadSteps reads a step function from CSV: a header, then a time and a value a row. The
// columns are separated by commas, semicolons or tabs; others beside the two make no
// difference, nor do case and spaces. Times rise. There is one step at least.
func ReadSteps(name string, source []byte, column Column) (steps []Step, err error) {
	text, err := plainText(source)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	rows := csv.NewReader(bytes.NewReader(text))
	rows.Comma = separatorOf(text)
	rows.FieldsPerRecord, rows.ReuseRecord, rows.TrimLeadingSpace, rows.Comment = -1, true, true, '#'
	want := column.header()
	head, err := rows.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s is empty: it needs %s and a row such as 0,10 at least", name, want)
	}
	if err != nil {
		return nil, noCSV(name, want, err)
	}
	at, value, err := columnsOf(head, column)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, lineOf(rows), err)
	}
	decimal := strings.NewReplacer()
	if rows.Comma == ';' {
		decimal = strings.NewReplacer(",", ".")
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, noCSV(name, want, err)
		}
		s := Step{Line: lineOf(rows)}
		fault := func(format string, args ...any) error {
			return fmt.Errorf("%s:%d: %s", name, s.Line, fmt.Sprintf(format, args...))
		}
		if len(row) <= max(at, value) {
			return nil, fault("the line is %s, and must have a time and a %s", shorten(strings.Join(row, string(rows.Comma))), column.Names[0])
		}
		if n := len(head); slices.ContainsFunc(row[min(n, len(row)):], func(cell string) bool { return strings.TrimSpace(cell) != "" }) {
			return nil, fault("the line has %d cells and the header %d: write numbers without commas", len(row), n)
		}
		for _, text := range []string{row[at], row[value]} {
			if rows.Comma == ';' && thousands.MatchString(strings.TrimSpace(text)) {
				return nil, fault("%s can be a fraction or have thousands apart: write thousands together, or a zero behind a fraction", shorten(text))
			}
		}
		var ok bool
		if s.At, s.clock, ok = parseTime(decimal.Replace(strings.TrimSpace(row[at]))); !ok {
			return nil, fault("%s is no time: expected %s", shorten(row[at]), timesText)
		}
		s.Value, err = strconv.ParseFloat(decimal.Replace(strings.TrimSpace(row[value])), 64)
		if err != nil || !(s.Value >= 0 && s.Value <= column.Most) {
			return nil, fault("%s is no %s: expected a number from 0 to %.0f", shorten(row[value]), column.Names[0], column.Most)
		}
		if n := len(steps); n > 0 {
			switch last := steps[n-1]; {
			case last.clock != s.clock:
				return nil, fault("time %s is written in another way than that of line %d", shorten(row[at]), last.Line)
			case s.At <= last.At:
				dates := ""
				if s.clock && s.At < 1e9 {
					dates = "; across midnight they need dates"
				}
				return nil, fault("time %s is not after that of line %d: times must rise%s", shorten(row[at]), last.Line, dates)
			}
		}
		if steps = append(steps, s); len(steps) > maxPoints/2 {
			return nil, fault("there are more than %d rows", maxPoints/2)
		}
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("%s has a header and no row such as 0,10", name)
	}
	return steps, nil
}

func (c Column) header() string { return fmt.Sprintf("the header %s,%s", timeColumns[0], c.Names[0]) }

// columnsOf finds the columns of the time and of the value by a header.
func columnsOf(head []string, column Column) (at, value int, err error) {
	at, value = columnOf(head, timeColumns), columnOf(head, column.Names)
	// The file may be any, and a secret: of its content only what makes it a trace is shown.
	read := ""
	switch {
	case at >= 0 && value >= 0:
		if again := columnOf(head[value+1:], column.Names); again >= 0 {
			return 0, 0, fmt.Errorf("columns %s and %s are both named as a %s is: rename the one that is not to be read", shorten(head[value]), shorten(head[value+1+again]), column.Names[0])
		}
		return at, value, nil
	case at >= 0:
		read = fmt.Sprintf("%s and no column of a %s", shorten(head[at]), column.Names[0])
	case value >= 0:
		read = fmt.Sprintf("%s and no column of a time", shorten(head[value]))
	case slices.ContainsFunc(head, isNumber):
		return 0, 0, fmt.Errorf("there is no header: the first line has numbers. Write %s,%s above it", timeColumns[0], column.Names[0])
	default:
		read = "no column of a time or a " + column.Names[0]
	}
	return 0, 0, fmt.Errorf("the first line has %s, and must be %s (a time may be named %s, and a %s %s)", read, column.header(),
		strings.Join(timeColumns[1:], " or "), column.Names[0], strings.Join(column.Names[1:], ", "))
}

func isNumber(text string) bool {
	_, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimSpace(text), ",", "."), 64)
	return err == nil
}

// thousands are numbers that two countries read in two ways.
var thousands = regexp.MustCompile(`^[1-9][0-9]{0,2}([.,][0-9]{3})+$`)

// noCSV is the error of a file whose text is no CSV.
func noCSV(name, want string, err error) error {
	var at *csv.ParseError
	if errors.As(err, &at) {
		return fmt.Errorf("%s:%d: the line is no CSV (%w): expected %s, and a time and a value a line", name, at.Line, at.Err, want)
	}
	return fmt.Errorf("%s: %w", name, err)
}

func lineOf(rows *csv.Reader) int {
	line, _ := rows.FieldPos(0)
	return line
}

// shorten quotes what a file has, for a message of one line: as much as the longest time of a
// trace has, since the rest of the file may be a secret.
func shorten(s string) string {
	const most = len("2026-01-31T15:04:05.000000+02:00")
	if cut := strings.ToValidUTF8(s[:min(len(s), most)], ""); len(s) > most {
		s = cut + "…"
	}
	return strconv.Quote(s)
}

// firstLine is the first one that is neither empty nor a comment.
func firstLine(text []byte) []byte {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 && line[0] != '#' {
			return line
		}
	}
	return nil
}

// separatorOf is the one that the first line has.
func separatorOf(text []byte) rune {
	head := firstLine(text)
	for _, separator := range ";\t" {
		if bytes.ContainsRune(head, separator) {
			return separator
		}
	}
	return ','
}

func columnOf(head, names []string) int {
	return slices.IndexFunc(head, func(column string) bool {
		return slices.Contains(names, strings.ToLower(strings.TrimSpace(column)))
	})
}

// layouts of dates. Those without a zone are UTC's.
var layouts = []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006/01/02 15:04:05"}

// parseTime reads one of the ways to write a time, see timesText. Clock says that it
// counts from 1970, or from midnight.
func parseTime(text string) (seconds float64, clock, ok bool) {
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		switch {
		case !(v >= 0 && v < 1e14): // 1e14 ms are in the year 5138
			return 0, false, false
		case v >= 1e11: // milliseconds since 1970: as seconds it is the year 5138
			return v / 1000, true, true
		}
		return v, v >= 1e9, true // 1e9 s since 1970 are in 2001, and since a start 31 years
	}
	if d, err := time.ParseDuration(text); err == nil {
		return d.Seconds(), false, d >= 0
	}
	if parts := strings.Split(text, ":"); len(parts) == 3 {
		h, err1 := strconv.ParseUint(parts[0], 10, 16)
		m, err2 := strconv.ParseUint(parts[1], 10, 16)
		s, err3 := strconv.ParseFloat(parts[2], 64)
		if errors.Join(err1, err2, err3) == nil && m < 60 && s >= 0 && s < 60 {
			return float64(h*3600+m*60) + s, true, true
		}
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil && t.Year() >= 1970 {
			return float64(t.UnixMicro()) / 1e6, true, true
		}
	}
	return 0, false, false
}

// plainText is record.PlainText with line feeds where carriage returns alone end its lines.
func plainText(source []byte) ([]byte, error) {
	source, err := record.PlainText(source)
	if !bytes.ContainsRune(source, '\n') {
		source = bytes.ReplaceAll(source, []byte("\r"), []byte("\n"))
	}
	return source, err
}

// countsOf counts vegeta's results by the second: their first field is the time
// of the sending, in nanoseconds since 1970.
func countsOf(name string, text []byte) (points []record.RatePoint, err error) {
	rows := csv.NewReader(bytes.NewReader(text))
	rows.FieldsPerRecord, rows.ReuseRecord = -1, true
	var times []int64
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("trace %s: %w", name, err)
		}
		t, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil || t < 0 {
			return nil, fmt.Errorf("%s:%d: %s is no time in nanoseconds since 1970, which results of vegeta begin with", name, lineOf(rows), shorten(row[0]))
		}
		times = append(times, t)
	}
	first := slices.Min(times)
	span := time.Duration(slices.Max(times) - first)
	if span > MaxDuration {
		return nil, fmt.Errorf("trace %s spans %.0f s: the limit is %.0f (%.0f days)", name, span.Seconds(), MaxDuration.Seconds(), MaxDuration.Hours()/24)
	}
	counts := make([]float64, int(span/time.Second)+1)
	for _, t := range times {
		counts[(t-first)/1e9]++
	}
	for s, n := range counts {
		points = append(points, record.RatePoint{At: float64(s), Rate: n}, record.RatePoint{At: float64(s + 1), Rate: n})
	}
	return points, nil
}
