package scenarios

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/hpabench/hpabench/record"
)

// without gives a value of a scenario as it may be recorded: URLs and paths without their
// secrets, and no value of a header or of an environment variable whose name is that of a
// secret. replaced is called with each string that is another one then.
func without(value any, replaced func(was, is string)) any {
	swap := func(was, is string) any {
		if was != is {
			replaced(was, is)
		}
		return is
	}
	switch v := value.(type) {
	case map[string]any:
		name, _ := v["name"].(string)
		m := make(map[string]any, len(v))
		for key, inner := range v {
			headers, isMap := inner.(map[string]any)
			text, isText := inner.(string)
			switch {
			case isMap && key == "headers":
				shown := map[string]any{}
				for header, value := range headers {
					shown[header] = value
					if text, is := value.(string); is && record.SecretName(header) {
						shown[header] = swap(text, record.Hidden)
					}
				}
				m[key] = shown
			case isText && key == "value" && record.SecretName(name): // of an environment variable, or a probe's header
				m[key] = swap(text, record.Hidden)
			case isText && (key == "url" || key == "path"):
				m[key] = swap(text, record.ShownURL(text))
			default:
				m[key] = without(inner, replaced)
			}
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, inner := range v {
			list[i] = without(inner, replaced)
		}
		return list
	}
	return value
}

// shownText gives the value at a place within root as names may show it.
func shownText(root any, location []string) string {
	value := shownAt(root, location)
	if _, secret := value.(concealed); secret {
		return record.Hidden
	}
	last := location[len(location)-1]
	shown := without(map[string]any{last: value}, func(string, string) {})
	return fmt.Sprint(shown.(map[string]any)[last])
}

// shownSource is the scenario as it may be recorded: without its secrets and the objects that follow it, and
// otherwise as it is written if that is possible, for YAML can write the same text in many ways.
func (f *File) shownSource() string {
	docs, faults := readYAML(f.Path, f.Source)
	if len(docs) == 0 || len(faults) > 0 {
		return ""
	}
	replaced := map[string]string{}
	shown := without(docs[0].value, func(was, now string) { replaced[was] = now })
	if len(replaced) == 0 && len(docs) == 1 {
		return string(f.Source)
	}
	var swaps []string
	for _, was := range slices.SortedFunc(maps.Keys(replaced), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) {
		swaps = append(swaps, was, replaced[was])
	}
	source := strings.NewReplacer(swaps...).Replace(string(f.Source))
	if docs, faults := readYAML(f.Path, []byte(source)); len(docs) == 1 && len(faults) == 0 && reflect.DeepEqual(docs[0].value, shown) {
		return source
	}
	written, err := YAML(shown)
	if err != nil {
		return ""
	}
	return string(written)
}

// secretAt says whether the value at a pointer within root is one that no message shows: of
// credentials, of a header or variable with the name of a secret, of a Secret.
func secretAt(root any, location []string) bool {
	if o, _ := root.(map[string]any); o["kind"] == "Secret" && len(location) > 0 && (location[0] == "data" || location[0] == "stringData") {
		return true
	}
	for i, step := range location {
		switch {
		case step == "auth", i > 0 && location[i-1] == "headers" && record.SecretName(step):
			return true
		case step == "value" && i > 0:
			around, _ := find(root, location[:i]).(map[string]any)
			if name, _ := around["name"].(string); record.SecretName(name) {
				return true
			}
		}
	}
	return false
}

// concealed says of a value that no message shows only what it is.
type concealed string

// shownAt gives the value at a place within root as messages may show it.
func shownAt(root any, location []string) any {
	value := find(root, location)
	text, isText := value.(string)
	switch {
	case len(location) == 0 && isText:
		return concealed("a string") // it may be any file
	case !secretAt(root, location):
		if last := len(location) - 1; isText && last >= 0 && (location[last] == "url" || location[last] == "path") {
			return record.ShownURL(text)
		}
	case isText:
		return concealed("a string")
	case reflect.TypeOf(value) == reflect.TypeFor[json.Number]():
		return concealed("a number")
	}
	return value
}
