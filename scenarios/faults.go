package scenarios

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hpabench/hpabench/record"
)

// Fault is one thing that is wrong with a scenario, where it stands, and what
// the user can do about it.
type Fault struct {
	File    string
	Line    int // counted from 1; 0 where the File is none, but a flag
	Message string
	Hint    string // may be empty
}

// Error gives the fault on one line: file:line: message (hint).
func (f Fault) Error() string {
	s := fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message)
	if f.Line == 0 {
		s = f.File + ": " + f.Message
	}
	s = record.Cut(s)
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return strings.ReplaceAll(s, "\n", `\n`) // of a file's name, say
}

// Faults is everything that is wrong with a scenario and its manifests: those
// of the scenario file first, each file's by line.
type Faults []Fault

// Error gives one fault a line.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// sorted orders the faults for the reader of the file first and drops those
// that were found twice (through an alias, say) and those beyond maxFaults.
func (fs Faults) sorted(first string) Faults {
	slices.SortStableFunc(fs, func(a, b Fault) int {
		if (a.File == first) != (b.File == first) {
			if a.File == first {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Message, b.Message))
	})
	fs = slices.Compact(fs)
	if more := len(fs) - maxFaults; more > 0 {
		next := fs[maxFaults]
		fs = append(fs[:maxFaults:maxFaults], Fault{next.File, next.Line, fmt.Sprintf("%d more faults from here on are not shown", more), ""})
	}
	return fs
}

// DidYouMean is a hint with the word that a misspelt one stands for, or else
// with all words when they are few.
func DidYouMean(word string, words []string) string {
	slices.Sort(words)
	if near := Nearest(word, words); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(words) > 0 {
		return "known here: " + someOf(words)
	}
	return ""
}

// someOf lists words, of many the first ones.
func someOf(words []string) string {
	const most = 12
	if more := len(words) - most; more > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), more)
	}
	return strings.Join(words, ", ")
}

// inHours are the units of which durations of Go have hours alone.
var inHours = map[string]float64{"h": 1, "d": 24, "day": 24, "days": 24, "w": 7 * 24, "week": 7 * 24, "weeks": 7 * 24}

// otherUnits are names of units that Go has by another.
var otherUnits = map[string]string{"hour": "h", "hours": "h", "hr": "h", "hrs": "h", "min": "m", "mins": "m", "minute": "m", "minutes": "m",
	"sec": "s", "secs": "s", "second": "s", "seconds": "s", "msec": "ms", "millis": "ms", "milliseconds": "ms", "": "s"}

var numberAndUnit = regexp.MustCompile(`([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµ]*)\s*`)

// DurationHint says what to write for a text that is no duration of Go: 768h for 32d.
func DurationHint(text string) string {
	var meant strings.Builder
	hours := 0.0
	for i, part := range numberAndUnit.FindAllStringSubmatch(text, 20) {
		unit := strings.ToLower(part[2])
		if i > 0 && unit == "" {
			return "" // 1h30 can be meant in two ways
		}
		unit = cmp.Or(otherUnits[unit], unit)
		if in, is := inHours[unit]; is {
			n, _ := strconv.ParseFloat(part[1], 64) // infinite at worst
			hours += n * in
		} else {
			meant.WriteString(part[1] + unit)
		}
	}
	all := meant.String()
	if hours > 0 {
		all = strconv.FormatFloat(hours, 'f', -1, 64) + "h" + all
	}
	if d, err := time.ParseDuration(all); err != nil || d == 0 || strings.TrimSpace(numberAndUnit.ReplaceAllString(text, "")) != "" {
		return ""
	}
	return "write " + all
}

// Nearest is the word that another was probably meant to be, or "".
func Nearest(word string, words []string) string {
	best, least := "", len(word)/3+2
	if len(word) > 100 { // no name is so long
		return ""
	}
	for _, w := range words {
		if d := distance(strings.ToLower(word), strings.ToLower(w)); d < least {
			best, least = w, d
		}
	}
	return best
}

// distance is the Levenshtein distance of two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
