package reports

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"github.com/hpabench/hpabench/analysis"
)

// eventLine is one line of the table of events: an event, or several that say the same.
type eventLine struct {
	analysis.Event         // the first of them
	last           float64 // when the last of them was seen
	times          int32   // how often it happened, by the counts of the events
	about          []string
	message        string
	counts         map[string][]int32 // by object and message, the last count of each of its Events
}

// eventLines puts the events of one object, reason and message into one line, in the order of their first ones. The
// names of pods, and the UIDs and addresses that go with them, make no difference, nor do times in the messages: what all pods
// of a target say is one line.
func eventLines(r *analysis.Result) (lines []*eventLine) {
	pods := map[string]string{}
	for _, p := range r.Pods {
		pods[p.Name], pods[p.UID] = "POD", "UID"
	}
	for _, e := range r.Events {
		if e.Kind == "Pod" {
			pods[e.Name] = "POD"
		}
	}
	type key struct{ kind, name, level, reason, message string }
	by := map[key]*eventLine{}
	for _, e := range r.Events {
		message := oneLine(e.Message)
		k := key{e.Kind, e.Name, e.Type, e.Reason, word.ReplaceAllStringFunc(instant.ReplaceAllString(message, "TIME"), func(w string) string {
			if of := pods[w]; of != "" {
				return of
			}
			if _, err := netip.ParseAddr(w); err == nil && e.Kind == "Pod" {
				return "IP"
			}
			return w
		})}
		if e.Kind == "Pod" {
			k.name = ""
		}
		l := by[k]
		if l == nil {
			l = &eventLine{Event: e, message: message, counts: map[string][]int32{}}
			by[k], lines = l, append(lines, l)
		}
		if l.message != message {
			l.message = k.message
		}
		if !slices.Contains(l.about, e.Name) {
			l.about = append(l.about, e.Name)
		}
		l.last = e.AtSeconds
		l.count(e)
	}
	return lines
}

// instant matches a time as RFC 3339 has it.
var instant = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[-+]\d\d:\d\d)`)

// word matches what may be the name of a pod, its UID or an IPv4 address.
var word = regexp.MustCompile(`[0-9A-Za-z](?:[-.0-9A-Za-z]*[0-9A-Za-z])?`)

// mostAlike is among how many Events of one object and message a count is sought: the containers of a pod have one each.
const mostAlike = 16

// count takes the count of an event, which goes on from that of an Event of the same object and message with a lower
// one, or is that of a new Event.
func (l *eventLine) count(e analysis.Event) {
	of, n := e.Name+" "+e.Message, max(e.Count, 1)
	counts := l.counts[of]
	before := -1
	for i := max(0, len(counts)-mostAlike); i < len(counts); i++ {
		if counts[i] < n && (before < 0 || counts[i] > counts[before]) {
			before = i
		}
	}
	if before < 0 {
		l.counts[of] = append(counts, n)
		l.times += n
		return
	}
	l.times += n - counts[before]
	counts[before] = n
}

// eventTable is a table of some lines; without any that stands for several events it has no column for these.
func eventTable(lines []*eventLine) *grid {
	g := &grid{columns: []column{{name: "at"}, {name: "last"}, {name: "times"}, {name: "about", text: true, spare: 1}, {name: "reason", text: true}, {name: "message", text: true, give: true}}}
	for _, l := range lines {
		about, last, times := l.Kind+"/"+l.Name, "", ""
		if n := len(l.about) - 1; n > 0 {
			about += fmt.Sprintf(" and %d more", n)
		}
		if l.times > 1 {
			last, times = fmt.Sprintf("%.1f", l.last), fmt.Sprint(l.times)
		}
		g.add(fmt.Sprintf("%.1f", l.AtSeconds), last, times, about, l.Reason, l.message)
	}
	if slices.ContainsFunc(lines, func(l *eventLine) bool { return l.times > 1 }) {
		return g
	}
	g.columns = slices.Delete(g.columns, 1, 3)
	for i := range g.rows {
		g.rows[i] = slices.Delete(g.rows[i], 1, 3)
	}
	return g
}

func events(r *analysis.Result) section {
	if len(r.Events) == 0 {
		return section{}
	}
	return section{title: "Events", grid: eventTable(eventLines(r)), folded: true}
}
