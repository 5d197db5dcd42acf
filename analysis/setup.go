package analysis

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"sigs.k8s.io/yaml"

	"github.com/hpabench/hpabench/record"
)

// differ lists how the setup of each trials differs from that of the first, by their first
// runs: "spec.autoscaler.max: 5 → 10", with the name of the trials where there are several.
// Where the scenarios do not differ, the HPAs may, of which a scenario says nothing if they
// were there before.
func differ(all []Trials) (list []string) {
	first := all[0].Results[0]
	for i, t := range all[1:] {
		r := t.Results[0]
		found := append(changes("scenario", first.Scenario, r.Scenario), surroundings(first, r)...)
		of := changes("", scenarioOf(all[0].Sources[0]), scenarioOf(t.Sources[0]))
		if len(of) == 0 {
			of = changes("hpa", valuesOf(first.Autoscaler), valuesOf(r.Autoscaler))
		}
		for _, line := range append(found, of...) {
			if len(all) > 2 {
				line = all[i+1].Name + ": " + line
			}
			list = append(list, line)
		}
	}
	return list
}

// surroundings lists how two runs differ in what is around the workload.
func surroundings(a, b *Result) []string {
	return slices.Concat(changes("hpabench", a.Hpabench, b.Hpabench), changes("cluster", clusterOf(a), clusterOf(b)), changes("way of the load", wayOf(a), wayOf(b)))
}

// changes lists where b differs from a, two values of JSON, by the path of each place.
func changes(path string, a, b any) (list []string) {
	if reflect.DeepEqual(a, b) {
		return nil
	}
	ours, theirs := fields(a), fields(b)
	switch {
	case path == "" && (ours == nil || theirs == nil): // one of them is no scenario
		return []string{fmt.Sprintf("scenario: %s → %s", short(a), short(b))}
	case a == nil && len(theirs) > 0 || b == nil && len(ours) > 0: // all of it is new, or gone
	case ours == nil || theirs == nil:
		x, y := text(a), text(b)
		if len(x)+len(y) > 2*longestValue {
			x, y = differing(x, y), differing(y, x)
		}
		return []string{fmt.Sprintf("%s: %s → %s", path, x, y)}
	}
	all := map[string]any{}
	maps.Copy(all, ours)
	maps.Copy(all, theirs)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, changes(strings.TrimPrefix(path+name, "."), ours[name], theirs[name])...)
	}
	return list
}

// expectation matches an expectation, and takes the figure that it begins with.
var expectation = regexp.MustCompile(`^([\w.]+) *[<>=!]=? *\S|\S (?:[<>=!]=?|in) \S`)

// fields are the values in an object, or in a list, by how a path goes on to them: items of a
// list by their names where each has one of its own, expectations by their figures or their text, else by
// their numbers. nil for any other value.
func fields(v any) map[string]any {
	in := map[string]any{}
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			in["."+key] = value
		}
	case []any:
		seen := map[string]int{}
		for _, item := range v {
			named, _ := item.(map[string]any)
			name, is := named["name"].(string)
			if text, _ := item.(string); expectation.MatchString(text) {
				name, is = cmp.Or(expectation.FindStringSubmatch(text)[1], text), true
				if seen[name]++; seen[name] > 1 {
					name = fmt.Sprintf("%s, %d", name, seen[name])
				}
			}
			if is {
				in["["+name+"]"] = item
			}
		}
		if len(in) == len(v) {
			break
		}
		clear(in)
		for i, item := range v {
			in[fmt.Sprintf("[%d]", i)] = item
		}
	default:
		return nil
	}
	return in
}

// longestValue is how many characters of a value are shown where another one has the others too.
const longestValue = 60

// text is a value as it is shown.
func text(v any) string {
	s, is := v.(string)
	if v == nil {
		s = "none"
	} else if !is {
		line, _ := json.Marshal(v, json.Deterministic(true)) // it was read from JSON
		s = string(line)
	}
	return s
}

// short is the begin of a value.
func short(v any) string {
	if r := []rune(text(v)); len(r) > longestValue {
		return string(r[:longestValue]) + "…"
	}
	return text(v)
}

// differing is a text without most of what it begins and ends with as another one does.
func differing(text, other string) string {
	a, b := []rune(text), []rune(other)
	first, last := 0, 0
	for first < min(len(a), len(b)) && a[first] == b[first] {
		first++
	}
	for last < min(len(a), len(b))-first && a[len(a)-1-last] == b[len(b)-1-last] {
		last++
	}
	const context = longestValue / 4
	before, after := "", ""
	if first > context {
		before, a = "…", a[first-context:]
	}
	if last > context {
		after, a = "…", a[:len(a)-last+context]
	}
	return before + string(a) + after
}

// scenarioOf are the values of a scenario's YAML; the text itself if it is none.
func scenarioOf(source string) (v any) {
	if yaml.Unmarshal([]byte(source), &v) != nil {
		return source
	}
	return v
}

// valuesOf are the values of an HPA as its JSON has them.
func valuesOf(a *Autoscaler) (v any) {
	line, err := json.Marshal(a)
	if err == nil {
		err = json.Unmarshal(line, &v)
	}
	if err != nil {
		return nil // numbers that JSON does not have
	}
	return v
}
func clusterOf(r *Result) string {
	if r.Cluster == nil {
		return "none"
	}
	s := fmt.Sprintf("Kubernetes %s, %s", r.Cluster.Version, record.Counted(len(r.Cluster.Nodes), "node"))
	if l := r.Cluster.Lab; l != nil {
		kind := "embedded"
		if l.Timing == record.SimulatedTiming {
			kind = l.Timing
		}
		s += fmt.Sprintf(", %s, metrics every %g s", kind, l.MetricsResolution)
	}
	if c := r.Cluster.Controllers; c != nil {
		s += fmt.Sprintf(", HPA every %g s", c.Sync.Seconds())
	}
	return s
}

func wayOf(r *Result) string {
	if r.Subject == nil || r.Subject.Way == "" {
		return "none"
	}
	return r.Subject.Way
}
