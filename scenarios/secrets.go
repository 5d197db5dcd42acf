package scenarios

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/hpabench/hpabench/keda"
	"github.com/hpabench/hpabench/record"
	"github.com/hpabench/hpabench/signals"
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
			case key == "args", key == "command":
				m[key] = withoutArgs(inner, swap)
			case key == "metadata" && v["type"] != nil: // of a trigger of a ScaledObject
				m[key] = withoutTrigger(inner, swap)
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

// withoutArgs is without of a command line: --token=x, and --token x.
func withoutArgs(value any, swap func(was, is string) any) any {
	list, isList := value.([]any)
	if !isList {
		return value
	}
	shown := make([]any, len(list))
	before := ""
	for i, arg := range list {
		text, isText := arg.(string)
		name, _, named := strings.Cut(text, "=")
		switch shown[i] = arg; {
		case !isText:
		case named && record.SecretName(name):
			shown[i] = swap(text, name+"="+record.Hidden)
		case strings.HasPrefix(before, "-") && record.SecretName(before):
			shown[i] = swap(text, record.Hidden)
		case strings.Contains(text, "://"):
			shown[i] = swap(text, record.ShownURL(text))
		}
		before = text
	}
	return shown
}

// withoutTrigger is without of the metadata of a trigger.
func withoutTrigger(value any, swap func(was, is string) any) any {
	fields, isMap := value.(map[string]any)
	if !isMap {
		return value
	}
	shown := map[string]any{}
	for name, value := range fields {
		text, isText := value.(string)
		switch shown[name] = value; {
		case isText && (record.SecretName(name) || strings.HasPrefix(name, "connection") || name == "customHeaders"):
			shown[name] = swap(text, record.Hidden)
		case isText && strings.Contains(text, "://"):
			shown[name] = swap(text, record.ShownURL(text))
		}
	}
	return shown
}

// mostManifests bounds the text of the manifests in a record.
const mostManifests = 256 << 10

// shownManifests are those of the objects from which a simulation is made; empty where they are more than a record is to have.
func (f *File) shownManifests() string {
	var all strings.Builder
	for _, m := range f.Manifests {
		_, pods, _ := unstructured.NestedMap(m.Object.Object, "spec", "template")
		_, course := m.Object.GetLabels()[signals.CourseLabel]
		if kind := m.Object.GetKind(); !pods && !course && kind != "Service" && kind != "HorizontalPodAutoscaler" && kind != keda.Kind {
			continue
		}
		object := m.Object.DeepCopy()
		annotations := object.GetAnnotations() // others than these may hold what kubectl applied
		maps.DeleteFunc(annotations, func(name, _ string) bool {
			return !strings.HasPrefix(name, "hpabench.dev/") && !strings.HasPrefix(name, "autoscaling.keda.sh/")
		})
		object.SetAnnotations(annotations)
		text, err := YAML(without(object.Object, func(string, string) {}))
		if err != nil || all.Len()+len(text) > mostManifests {
			return ""
		}
		all.WriteString("---\n")
		all.Write(text)
	}
	return all.String()
}

// Recorded is the scenario of a record, with the manifests that its header has.
func Recorded(h *record.Header) (*File, error) {
	source, none := []byte(h.Source), func(name string) (string, []byte, error) {
		return name, nil, errors.New("is not in the record")
	}
	if docs, faults := readYAML(h.Scenario, source); h.Manifests != "" && len(docs) > 0 && len(faults) == 0 {
		root, _ := docs[0].value.(map[string]any)
		if spec, _ := root["spec"].(map[string]any); spec != nil {
			if workload, _ := spec["workload"].(map[string]any); workload != nil {
				delete(workload, "manifests")
			}
		}
		written, err := YAML(root)
		if err != nil {
			return nil, err
		}
		source = append(written, h.Manifests...)
	}
	return Parse(h.Scenario, source, none)
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
