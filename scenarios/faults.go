package scenarios

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with a scenario, where it stands, and what
// the user can do about it.
type Fault struct {
	File    string
	Line    int // counted from 1
	Message string
	Hint    string // may be empty
}

// Error gives the fault on one line: file:line: message (hint).
func (f Fault) Error() string {
	s := fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message)
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return s
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

// didYouMean is a hint with the word that a misspelt one stands for, or else
// with all words when they are few.
func didYouMean(word string, words []string) string {
	slices.Sort(words)
	if near := nearest(word, words); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(words) > 0 && len(words) <= 12 {
		return "known here: " + strings.Join(words, ", ")
	}
	return ""
}

// nearest is the word that another was probably meant to be, or "".
func nearest(word string, words []string) string {
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
